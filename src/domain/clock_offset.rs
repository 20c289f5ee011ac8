//! How far this machine's clock is off, from the `Date` that other machines put on their answers.
//!
//! A `Date` has whole seconds only, but several of them at different moments of a second leave little room.

use serde::Serialize;

use super::{Span, Time};

/// One answer of another machine, and when it was asked and received by our clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DateSample {
    pub sent: Time,
    pub received: Time,
    /// What its `Date` said: it was written within the second that begins then.
    pub date: Time,
}

/// How far their clock is ahead of ours: certainly within these bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ClockOffset {
    /// At least.
    pub least_ms: i64,
    /// At most.
    pub most_ms: i64,
}

/// What a comparison with a limit says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accuracy {
    Right,
    Wrong,
    /// The bounds are on both sides of it.
    Unclear,
}

impl ClockOffset {
    /// What all samples allow together. `None` without samples, or when they contradict each other: a clock was changed
    /// meanwhile, or one of the machines lies.
    #[must_use]
    pub fn from_samples(samples: &[DateSample]) -> Option<Self> {
        let least = samples.iter().map(|sample| millis(sample.date, sample.received)).max()?;
        let most = samples.iter().map(|sample| millis(sample.date, sample.sent) + 1000).min()?;
        (least <= most).then_some(Self { least_ms: least, most_ms: most })
    }

    /// Whether the clock is right to within this limit.
    #[must_use]
    pub fn accuracy(&self, limit: Span) -> Accuracy {
        let limit = i64::try_from(limit.as_millis()).unwrap_or(i64::MAX);
        if self.least_ms >= -limit && self.most_ms <= limit {
            Accuracy::Right
        } else if self.least_ms > limit || self.most_ms < -limit {
            Accuracy::Wrong
        } else {
            Accuracy::Unclear
        }
    }
}

fn millis(later: Time, earlier: Time) -> i64 {
    later.as_millisecond().saturating_sub(earlier.as_millisecond())
}

impl std::fmt::Display for ClockOffset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let seconds = |ms: i64| ms as f64 / 1000.0;
        write!(f, "between {:+.1} s and {:+.1} s", seconds(self.least_ms), seconds(self.most_ms))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMIT: Span = Span::from_millis(500);

    fn at(ms: i64) -> Time {
        Time::from_millisecond(1_800_000_000_000 + ms).unwrap()
    }

    /// Their clock is `offset` ahead; the answer is written in the middle of the round trip.
    fn sample(at_ms: i64, offset: i64, round_trip: i64) -> DateSample {
        let written = at_ms + round_trip / 2 + offset;
        DateSample { sent: at(at_ms), received: at(at_ms + round_trip), date: at(written.div_euclid(1000) * 1000) }
    }

    proptest! {
        #[test]
        fn the_true_offset_is_always_within_the_bounds(offset in -5000i64..5000, trips in prop::collection::vec(0i64..400, 1..12)) {
            let samples: Vec<_> = trips.iter().zip(0..).map(|(trip, n)| sample(n * 137, offset, *trip)).collect();
            let found = ClockOffset::from_samples(&samples).unwrap();
            prop_assert!(found.least_ms <= offset && offset <= found.most_ms, "{offset} not {found}");
            let clear = found.accuracy(LIMIT);
            prop_assert!(clear != Accuracy::Right || offset.abs() <= 500);
            prop_assert!(clear != Accuracy::Wrong || offset.abs() > 500);
        }
    }

    #[test]
    fn eight_samples_within_a_second_are_enough_to_tell() {
        let samples = |offset| (0..8).map(|n| sample(n * 130, offset, 20)).collect::<Vec<_>>();
        let accuracy = |offset| ClockOffset::from_samples(&samples(offset)).unwrap().accuracy(LIMIT);
        assert_eq!((accuracy(3), accuracy(900), accuracy(-7000)), (Accuracy::Right, Accuracy::Wrong, Accuracy::Wrong));
        assert_eq!(ClockOffset::from_samples(&samples(0)[..1]).unwrap().accuracy(LIMIT), Accuracy::Unclear);
    }

    #[test]
    fn what_contradicts_itself_says_nothing() {
        assert_eq!(ClockOffset::from_samples(&[]), None);
        assert_eq!(ClockOffset::from_samples(&[sample(0, 0, 20), sample(500, 4000, 20)]), None);
    }
}
