//! How long a record has not changed, as one reader knows it: by its own clock, and by looks that were answered.

use std::time::Duration;

use tokio::time::Instant;

use crate::ports::Version;

/// One version of a record, for as long as it is what is found.
#[derive(Debug)]
pub struct Unchanged {
    version: Version,
    looked_at: Instant,
    lasts: Duration,
}

impl Unchanged {
    /// Takes in a look whose answer came at `now`. Of the time since the look before at most `gap` counts. Says for how long
    /// the record has not changed: nothing at the first look, and at one that finds another version.
    pub fn look(seen: &mut Option<Self>, version: &Version, now: Instant, gap: Duration) -> Duration {
        match seen {
            Some(seen) if seen.version == *version => {
                let passed = now.saturating_duration_since(seen.looked_at);
                seen.lasts = seen.lasts.saturating_add(passed.min(gap));
                seen.looked_at = now;
                seen.lasts
            }
            Some(_) | None => {
                *seen = Some(Self { version: version.clone(), looked_at: now, lasts: Duration::ZERO });
                Duration::ZERO
            }
        }
    }
}
