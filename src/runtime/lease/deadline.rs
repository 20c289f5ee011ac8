//! Until when a lease is certain, by two clocks of this machine. It knows nothing of the record.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// A moment on both clocks; whichever reaches it first counts.
///
/// The monotonic clock stands still while the machine is suspended, and a successor does not wait for a laptop's lid.
/// The wall clock continues, but somebody may set it back; then the monotonic one holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline {
    monotonic: Instant,
    wall: SystemTime,
}

impl Deadline {
    pub(super) fn after(since: Moment, span: Duration) -> Self {
        Self { monotonic: since.0 + span, wall: since.1 + span }
    }

    /// How much time there is for certain.
    pub(super) fn left(self) -> Duration {
        self.left_at(Moment::now())
    }

    fn left_at(self, Moment(monotonic, wall): Moment) -> Duration {
        // A wall clock that has passed it leaves nothing.
        let by_wall = self.wall.duration_since(wall).unwrap_or(Duration::ZERO);
        self.monotonic.saturating_duration_since(monotonic).min(by_wall)
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Moment(Instant, SystemTime);

impl Moment {
    pub(super) fn now() -> Self {
        Self(Instant::now(), SystemTime::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(30);
    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_machine_that_slept_has_no_lease_left_although_the_monotonic_clock_stood_still() {
        let Moment(monotonic, wall) = Moment::now();
        let deadline = Deadline::after(Moment(monotonic, wall), LEASE);
        assert_eq!(deadline.left_at(Moment(monotonic + SECOND, wall + SECOND)), LEASE - SECOND);
        assert_eq!(deadline.left_at(Moment(monotonic + SECOND, wall + 60 * SECOND)), Duration::ZERO);
    }

    #[test]
    fn a_wall_clock_set_back_does_not_lengthen_the_lease() {
        let Moment(monotonic, wall) = Moment::now();
        let deadline = Deadline::after(Moment(monotonic, wall), LEASE);
        assert_eq!(deadline.left_at(Moment(monotonic + LEASE, wall - 3600 * SECOND)), Duration::ZERO);
        assert_eq!(deadline.left_at(Moment(monotonic + SECOND, wall - 3600 * SECOND)), LEASE - SECOND);
    }
}
