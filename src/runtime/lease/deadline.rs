//! Until when a lease is certain, by a clock that nobody sets. It knows nothing of the record.

use std::time::Duration;

use rustix::time::{ClockId, Timespec, clock_gettime};

/// A moment after which the lease is not certain any more.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline(Moment);

impl Deadline {
    pub(super) fn after(since: Moment, span: Duration) -> Self {
        Self(Moment(since.0.saturating_add(span)))
    }

    /// How much time there is for certain.
    pub(super) fn left(self) -> Duration {
        self.left_at(Moment::now())
    }

    fn left_at(self, now: Moment) -> Duration {
        self.0.0.saturating_sub(now.0)
    }
}

/// How long this machine has been up, the time asleep included.
///
/// `MONOTONIC_RAW` follows no time server, but stands still while the machine is suspended; by how much is what `BOOTTIME`
/// is ahead of `MONOTONIC`. Neither of these two will do alone: chrony slews both by up to a twelfth, and the wall clock
/// can be set back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment(Duration);

impl Moment {
    /// The order of the three counts. A process that is stopped between them gets the moment before it was stopped: a
    /// deadline is then too early and never too late.
    pub(super) fn now() -> Self {
        let [raw, boot, monotonic] = [ClockId::MonotonicRaw, ClockId::Boottime, ClockId::Monotonic]
            .map(|clock| since_boot(clock_gettime(clock)));
        Self::of(raw, boot, monotonic)
    }

    fn of(raw: Duration, boot: Duration, monotonic: Duration) -> Self {
        Self((raw + boot).saturating_sub(monotonic))
    }
}

fn since_boot(at: Timespec) -> Duration {
    Duration::try_from(at).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(30);
    const SECOND: Duration = Duration::from_secs(1);
    const HOUR: Duration = Duration::from_secs(3600);
    /// The three clocks, up for an hour; asleep for a minute of it, with a slewed `MONOTONIC`.
    const RAW: Duration = Duration::from_secs(3540);
    const BOOT: Duration = Duration::from_secs(3700);
    const MONOTONIC: Duration = Duration::from_secs(3640);

    #[test]
    fn time_asleep_counts() {
        let deadline = Deadline::after(Moment::of(RAW, BOOT, MONOTONIC), LEASE);
        let awake = Moment::of(RAW + SECOND, BOOT + SECOND, MONOTONIC + SECOND);
        assert_eq!(deadline.left_at(awake), LEASE - SECOND);
        let slept = Moment::of(RAW + SECOND, BOOT + 11 * SECOND, MONOTONIC + SECOND);
        assert_eq!(deadline.left_at(slept), LEASE - 11 * SECOND);
        let longer = Moment::of(RAW + SECOND, BOOT + HOUR, MONOTONIC + SECOND);
        assert_eq!(deadline.left_at(longer), Duration::ZERO);
    }

    /// A time server slows both by a twelfth.
    #[test]
    fn a_slewed_clock_does_not_lengthen_the_lease() {
        let deadline = Deadline::after(Moment::of(RAW, BOOT, MONOTONIC), LEASE);
        let slewed = Moment::of(RAW + 24 * SECOND, BOOT + 22 * SECOND, MONOTONIC + 22 * SECOND);
        assert_eq!(deadline.left_at(slewed), 6 * SECOND);
    }

    #[test]
    fn a_process_that_is_stopped_between_the_readings_gets_the_earlier_moment() {
        let before = Moment::of(RAW, BOOT, MONOTONIC);
        assert_eq!(Moment::of(RAW, BOOT + HOUR, MONOTONIC + HOUR), before, "stopped after the first");
        let earlier = Moment::of(RAW, BOOT, MONOTONIC + SECOND);
        assert!(earlier.0 < before.0, "stopped after the second");
    }

    #[test]
    fn the_clocks_of_this_machine_run() {
        let first = Moment::now();
        let deadline = Deadline::after(first, LEASE);
        assert!(Moment::now().0 >= first.0 && deadline.left() <= LEASE && deadline.left() > Duration::ZERO);
    }
}
