//! Until when a lease is certain, by a clock that nobody sets. It knows nothing of the record.

use std::time::Duration;

use tokio::time::Instant;

use crate::raw_clock;

/// A moment after which the lease is not certain any more.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline(Moment);

impl Deadline {
    pub(super) fn after(since: Moment, span: Duration) -> Self {
        Self(Moment { up: since.up.saturating_add(span), timer: since.timer + span })
    }

    /// How much time there is for certain.
    pub(super) fn left(self) -> Duration {
        self.left_at(Moment::now())
    }

    fn left_at(self, now: Moment) -> Duration {
        self.0.up.saturating_sub(now.up).min(self.0.timer.saturating_duration_since(now.timer))
    }
}

/// Now, on two clocks; whichever reaches a deadline first counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    up: Duration,
    /// The clock of our timers. A time server may slow it and it stands still while the machine sleeps, so by itself it
    /// would not do; tests can move it.
    timer: Instant,
}

impl Moment {
    pub(super) fn now() -> Self {
        // The timer first: a process that is stopped between the two gets the earlier moment.
        let timer = Instant::now();
        Self { up: raw_clock::now(), timer }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raw_clock::up;

    const LEASE: Duration = Duration::from_secs(30);
    const SECOND: Duration = Duration::from_secs(1);
    const HOUR: Duration = Duration::from_secs(3600);
    /// The three clocks, up for an hour; asleep for a minute of it, with a slewed `MONOTONIC`.
    const RAW: Duration = Duration::from_secs(3540);
    const BOOT: Duration = Duration::from_secs(3700);
    const MONOTONIC: Duration = Duration::from_secs(3640);

    /// What is left of a lease that began at `RAW`, `BOOT` and `MONOTONIC`, while our timers stand still.
    fn left(raw: Duration, boot: Duration, monotonic: Duration) -> Duration {
        let timer = Instant::now();
        let deadline = Deadline::after(Moment { up: up(RAW, BOOT, MONOTONIC), timer }, LEASE);
        deadline.left_at(Moment { up: up(raw, boot, monotonic), timer })
    }

    #[test]
    fn time_asleep_counts() {
        assert_eq!(left(RAW + SECOND, BOOT + SECOND, MONOTONIC + SECOND), LEASE - SECOND);
        assert_eq!(left(RAW + SECOND, BOOT + 11 * SECOND, MONOTONIC + SECOND), LEASE - 11 * SECOND);
        assert_eq!(left(RAW + SECOND, BOOT + HOUR, MONOTONIC + SECOND), Duration::ZERO);
    }

    /// A time server slows both by a twelfth.
    #[test]
    fn a_slewed_clock_does_not_lengthen_the_lease() {
        assert_eq!(left(RAW + 24 * SECOND, BOOT + 22 * SECOND, MONOTONIC + 22 * SECOND), 6 * SECOND);
    }

    #[test]
    fn a_process_that_is_stopped_between_the_readings_gets_the_earlier_moment() {
        let before = up(RAW, BOOT, MONOTONIC);
        assert_eq!(up(RAW, BOOT + HOUR, MONOTONIC + HOUR), before, "stopped after the first");
        assert!(up(RAW, BOOT, MONOTONIC + SECOND) < before, "stopped after the second");
    }

    #[test]
    fn the_clocks_of_this_machine_run() {
        let first = Moment::now();
        let deadline = Deadline::after(first, LEASE);
        assert!(Moment::now().up >= first.up && deadline.left() <= LEASE && deadline.left() > Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_timer_that_is_due_leaves_nothing() {
        let deadline = Deadline::after(Moment::now(), LEASE);
        tokio::time::advance(LEASE).await;
        assert_eq!(deadline.left(), Duration::ZERO);
    }
}
