//! A height that has to advance, followed over time.
//!
//! It knows nothing of failing answers: between two heights that are the same nothing has advanced, whatever happened
//! in between, as long as we were watching.

use crate::domain::{Interval, Span, Time};

/// The greatest height seen, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Height {
    greatest: i128,
    /// Since when it has been this.
    since: Time,
    /// When it was last seen at all.
    seen_at: Time,
    /// It was still lower at this time. `None` until it is seen to advance: one height proves no work.
    advanced_after: Option<Time>,
    /// Since when only lower ones are seen.
    lower_since: Option<Time>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeightProgress {
    Advanced(Time),
    /// It has not been seen to advance, but not for long.
    Waiting,
    /// It has stood still since then, which is too long.
    Stalled(Time),
    /// It is lower than this, which was seen before.
    Lower(i128),
}

impl Height {
    /// The first one seen.
    #[must_use]
    pub fn first(height: i128, about: Interval) -> Self {
        Self { greatest: height, since: about.to, seen_at: about.from, advanced_after: None, lower_since: None }
    }

    /// Nobody watched for a while: what was the same before and after may have been our own sleep.
    pub fn interrupt(&mut self, now: Time) {
        self.since = now;
        self.seen_at = now;
        self.advanced_after = None;
        self.lower_since = None;
    }

    /// Another height.
    ///
    /// A lower one is no progress and no failure: a short fork, or a node that was set back. Once that has lasted, it
    /// counts from the lower one on, or a single absurd height would hide everything after it.
    pub fn follow(&mut self, height: i128, about: Interval, stalled_after: Span) -> HeightProgress {
        let seen_before = self.seen_at;
        self.seen_at = about.from;
        if height < self.greatest {
            let greatest = self.greatest;
            let since = *self.lower_since.get_or_insert(about.to);
            if about.to.duration_since(since) >= stalled_after {
                *self = Self::first(height, about);
            }
            return HeightProgress::Lower(greatest);
        }
        self.lower_since = None;
        if height > self.greatest {
            *self = Self { advanced_after: Some(seen_before), ..Self::first(height, about) };
            return HeightProgress::Advanced(seen_before);
        }
        if about.to.duration_since(self.since) >= stalled_after {
            return HeightProgress::Stalled(self.since);
        }
        self.advanced_after.map_or(HeightProgress::Waiting, HeightProgress::Advanced)
    }
}
