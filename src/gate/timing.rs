//! How often a gate asks, how long it waits for an answer, and the clock that its deadlines are on.

use std::{future::Future, sync::Arc, time::Duration};

use crate::{domain::gate::ChildDeadline, raw_clock};

/// Time since an arbitrary moment, by a clock that nobody sets.
pub type RawClock = Arc<dyn Fn() -> Duration + Send + Sync>;

/// How often a running gate looks at its session, at least: a promotion stops home within that time.
pub const LOOK: Duration = Duration::from_secs(30);
/// How often it renews, at least. Twelve writes an hour, and 70 of them may fail one after the other before a `gate_ttl` of 6h ends.
pub const RENEW: Duration = Duration::from_secs(300);
/// How often the notes say that the command runs; more often where an epoch is shorter than four of these.
pub const NOTE: Duration = Duration::from_secs(60);
/// Without a confirmed renewal for so long it is loud.
pub const LOUD: Duration = Duration::from_secs(30 * 60);
/// How often a gate that waits reads session and grant.
pub const WAIT: Duration = Duration::from_secs(60);
/// How soon a state folder that is in use is tried again, at first; then after twice as long each time, up to [`RETRY`].
pub const FOLDER_AGAIN: Duration = Duration::from_millis(20);
/// How soon it asks again after no answer, or after somebody else has changed the session.
pub const RETRY: Duration = Duration::from_secs(10);
/// How long one read may take, and one write with the read that finds out what became of it. Together they are shorter
/// than [`LOOK`], so that looks and notes keep their time whatever the ledger does.
pub const READ: Duration = Duration::from_secs(10);
pub const WRITE: Duration = Duration::from_secs(15);
/// How long giving the session back may take, tries and all.
pub const GIVE_BACK: Duration = Duration::from_secs(10);
/// How long the command may take to begin. Much less than the port lets the loop be silent.
pub const START: Duration = Duration::from_secs(60);
/// How soon a command that could not be started is tried again: first, and at most.
pub const START_AGAIN: Duration = Duration::from_secs(10);
pub const START_AGAIN_MOST: Duration = Duration::from_secs(600);
/// The length of an epoch as long as no beacon node has said it.
pub const USUAL_EPOCH: Duration = Duration::from_secs(384);

/// Below it a slow answer would be taken for none.
const PATIENCE: Duration = Duration::from_secs(1);

/// How a gate at home keeps to the constants above, whose relations hold for a short `gate_ttl` too: several tries fit
/// between a renewal and the SIGTERM that it puts off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GatePace {
    pub renew: Duration,
    pub look: Duration,
    pub read: Duration,
    pub write: Duration,
    pub retry: Duration,
    pub wait: Duration,
}

impl GatePace {
    #[must_use]
    pub fn of(ttl: Duration, stop_grace: Duration) -> Self {
        let renew = RENEW.min(ttl.saturating_sub(stop_grace) / 4);
        let look = LOOK.min(renew / 2);
        let part = |whole: Duration| whole.mul_f64(look.div_duration_f64(LOOK)).max(PATIENCE);
        Self { renew, look, read: part(READ), write: part(WRITE), retry: part(RETRY), wait: part(WAIT) }
    }
}

/// The clock of production.
#[must_use]
pub fn raw() -> RawClock {
    Arc::new(raw_clock::now)
}

/// A deadline that nothing reaches, for a child that only its gate ends.
#[must_use]
pub fn never(now: Duration) -> ChildDeadline {
    const HUNDRED_YEARS: Duration = Duration::from_secs(100 * 365 * 86_400);
    let kill = now.saturating_add(HUNDRED_YEARS);
    ChildDeadline { ask: kill, kill }
}

/// The answer, or that there was none in time. A request that is given up may still be carried out.
pub async fn within<T, E: ToString>(
    limit: Duration,
    request: impl Future<Output = Result<T, E>> + Send,
) -> Result<T, String> {
    match tokio::time::timeout(limit, request).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {} s", limit.as_secs())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn several_renewals_may_fail_before_sigterm_however_short_its_time_is() {
        let usual = GatePace { renew: RENEW, look: LOOK, read: READ, write: WRITE, retry: RETRY, wait: WAIT };
        assert_eq!(GatePace::of(secs(6 * 3600), secs(60)), usual);
        assert_eq!(GatePace::of(secs(21 * 60), secs(60)), usual);
        for (ttl, grace) in [(120, 60), (240, 60), (120, 100), (14, 4), (600, 300)] {
            let pace = GatePace::of(secs(ttl), secs(grace));
            assert_eq!(pace.renew * 4, secs(ttl - grace), "{pace:?}");
            assert_eq!(pace.look, LOOK.min(pace.renew / 2), "{pace:?}");
            assert!(pace.read >= PATIENCE && pace.write >= PATIENCE && pace.retry >= PATIENCE, "{pace:?}");
        }
    }
}
