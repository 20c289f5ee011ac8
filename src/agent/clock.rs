//! How far this machine's clock is off, as far as it is known. It sets no clock: that is chrony's work.

use std::time::Duration;

use super::report::UNKNOWN_CLOCK_OFFSET_MS;
use crate::domain::{ClockOffset, Span, Time, TimeExt};

/// Clocks of virtual machines drift by milliseconds an hour; a comparison costs nine small requests.
const COMPARE_EVERY: Duration = Duration::from_secs(5 * 60);
/// A comparison that could not be repeated for this long says nothing any more.
const BELIEVED_FOR: Duration = Duration::from_secs(15 * 60);
/// More than a comparison is inexact by: then somebody has set the clock, and what was found before is void.
const STEP: Span = Span::from_millis(250);

/// What was last found, and when.
#[derive(Clone, Copy, Debug, Default)]
pub struct ClockState(Option<Compared>);

#[derive(Clone, Copy, Debug)]
struct Compared {
    /// How far the right clock is ahead of ours.
    ahead: Span,
    at: Duration,
    /// By our clock; it moves only when the clock is set.
    booted: Time,
}

impl ClockState {
    /// Whether it is time to compare, `uptime` and `now` being this machine's.
    #[must_use]
    pub fn is_due(&self, uptime: Duration, now: Time) -> bool {
        self.known(uptime, now).is_none_or(|compared| uptime.saturating_sub(compared.at) >= COMPARE_EVERY)
    }

    /// Takes what a comparison came to.
    pub fn compared(&mut self, offset: &ClockOffset, uptime: Duration, now: Time) {
        let middle = offset.least_ms / 2 + offset.most_ms / 2;
        self.0 = Some(Compared { ahead: Span::from_millis(middle), at: uptime, booted: booted(uptime, now) });
    }

    /// The right time, as far as it is known.
    #[must_use]
    pub fn right_time(&self, uptime: Duration, now: Time) -> Time {
        self.known(uptime, now).map_or(now, |compared| now.plus(compared.ahead))
    }

    /// How far ours is ahead, in milliseconds; `None` when that is not known.
    #[must_use]
    pub fn offset_ms(&self, uptime: Duration, now: Time) -> Option<i64> {
        let ahead = self.known(uptime, now)?.ahead.as_millis();
        Some(i64::try_from(-ahead).unwrap_or(UNKNOWN_CLOCK_OFFSET_MS))
    }

    fn known(&self, uptime: Duration, now: Time) -> Option<&Compared> {
        let moved = |compared: &Compared| booted(uptime, now).duration_since(compared.booted).abs() > STEP;
        let old = |compared: &Compared| uptime.saturating_sub(compared.at) > BELIEVED_FOR;
        self.0.as_ref().filter(|compared| !moved(compared) && !old(compared))
    }
}

fn booted(uptime: Duration, now: Time) -> Time {
    now.checked_sub(uptime).unwrap_or(Time::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOW: ClockOffset = ClockOffset { least_ms: 119_950, most_ms: 120_050 };

    fn at(seconds: u64) -> (Duration, Time) {
        (Duration::from_secs(seconds), Time::from_second(1_800_000_000 + i64::try_from(seconds).unwrap()).unwrap())
    }

    #[test]
    fn a_clock_two_minutes_slow_is_said_to_be_and_does_not_count() {
        let mut state = ClockState::default();
        let (uptime, now) = at(100);
        assert_eq!((state.offset_ms(uptime, now), state.right_time(uptime, now)), (None, now));
        state.compared(&SLOW, uptime, now);
        assert_eq!(state.offset_ms(uptime, now), Some(-120_000));
        assert_eq!(state.right_time(uptime, now), now + Span::from_secs(120));
    }

    #[test]
    fn a_clock_that_was_set_is_compared_at_once_and_unknown_until_then() {
        let mut state = ClockState::default();
        let (uptime, now) = at(100);
        state.compared(&SLOW, uptime, now);
        let (uptime, later) = at(130);
        assert!(!state.is_due(uptime, later));
        let set = later + Span::from_secs(120);
        assert!(state.is_due(uptime, set));
        assert_eq!((state.offset_ms(uptime, set), state.right_time(uptime, set)), (None, set));
    }

    #[test]
    fn a_comparison_is_repeated_and_one_that_cannot_be_is_not_believed_for_ever() {
        let mut state = ClockState::default();
        assert!(state.is_due(at(0).0, at(0).1));
        state.compared(&SLOW, at(0).0, at(0).1);
        for (seconds, due, known) in [(30, false, true), (300, true, true), (900, true, true), (901, true, false)] {
            let (uptime, now) = at(seconds);
            assert_eq!((state.is_due(uptime, now), state.offset_ms(uptime, now).is_some()), (due, known), "{seconds}");
        }
    }
}
