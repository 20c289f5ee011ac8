//! How fast a piece of work continues, and so how long it will take. Pure: time is an argument.
//!
//! It is an estimate over the last quarter of an hour and no promise; where it cannot tell, it says nothing.

use std::{collections::VecDeque, time::Duration};

/// Long enough to even out a client that writes in bursts, short enough to notice that it has become slow.
const WINDOW: Duration = Duration::from_secs(15 * 60);
/// Less than this says nothing about a rate.
const LEAST: Duration = Duration::from_secs(10);
/// One report in half a minute, for a quarter of an hour; more often reported ones look back less far.
const SAMPLES: usize = 32;
/// Nobody waits longer than this; a rate so low is as good as none.
const LONGEST: u64 = 90 * 24 * 3600;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    Blocks,
    Slots,
    /// Seconds between a node's head and now.
    ChainSeconds,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outlook {
    /// How many seconds the rest will take.
    pub seconds_to_go: u64,
    /// How many pieces nearer it comes in a second.
    pub per_second: f64,
}

/// The last samples of one piece of work.
#[derive(Clone, Debug, Default)]
pub struct Pace {
    work: Option<Work>,
    samples: VecDeque<Sample>,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Duration,
    done: u64,
    remaining: u64,
}

impl Pace {
    /// Takes what is done and what remains at a moment (of a clock that only goes forward), and says how it continues.
    /// What remains counts, not what is done: the chain's head moves on while a node syncs.
    pub fn outlook(&mut self, work: Work, at: Duration, done: u64, remaining: u64) -> Option<Outlook> {
        let last = self.samples.back();
        // A client that was started again may have less than before, and another piece of work has its own rate.
        if self.work != Some(work) || last.is_some_and(|last| done < last.done || at < last.at) {
            self.samples.clear();
            self.work = Some(work);
        }
        self.samples.push_back(Sample { at, done, remaining });
        while self.samples.len() > SAMPLES || self.samples.front().is_some_and(|first| at - first.at > WINDOW) {
            self.samples.pop_front();
        }
        let first = self.samples.front()?;
        let (lasted, came_nearer) = (at - first.at, first.remaining.checked_sub(remaining)?);
        if lasted < LEAST || came_nearer == 0 {
            return None;
        }
        let seconds = u128::from(remaining) * lasted.as_millis() / u128::from(came_nearer) / 1000;
        let seconds_to_go = u64::try_from(seconds).ok().filter(|seconds| *seconds <= LONGEST)?;
        Some(Outlook { seconds_to_go, per_second: came_nearer as f64 / lasted.as_secs_f64() })
    }

    /// Forgets everything: nothing is being worked off.
    pub fn rest(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    impl Pace {
        fn seconds_to_go(&mut self, work: Work, at: Duration, done: u64, remaining: u64) -> Option<u64> {
            self.outlook(work, at, done, remaining).map(|outlook| outlook.seconds_to_go)
        }
    }

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn a_steady_rate_tells_the_time_to_go_and_a_moving_target_counts() {
        let mut pace = Pace::default();
        assert_eq!(pace.seconds_to_go(Work::Blocks, seconds(0), 0, 1000), None);
        // 5 blocks a second done, but the head moves on by one a second: 4 a second nearer.
        let outlook = pace.outlook(Work::Blocks, seconds(100), 500, 600);
        assert_eq!(outlook, Some(Outlook { seconds_to_go: 150, per_second: 4.0 }));
    }

    #[test]
    fn work_that_stands_still_or_falls_back_has_no_time_to_go() {
        let mut pace = Pace::default();
        for at in [0, 30, 60] {
            assert_eq!(pace.seconds_to_go(Work::Blocks, seconds(at), 100, 1000 + at), None);
        }
        // Started again with less than before: the old samples are not compared with.
        assert_eq!(pace.seconds_to_go(Work::Blocks, seconds(90), 10, 900), None);
        assert_eq!(pace.seconds_to_go(Work::Blocks, seconds(120), 310, 600), Some(60));
        // Other work begins again.
        assert_eq!(pace.seconds_to_go(Work::Slots, seconds(150), 9999, 1), None);
    }

    #[test]
    fn only_the_last_quarter_of_an_hour_counts() {
        let mut pace = Pace::default();
        pace.seconds_to_go(Work::Slots, seconds(0), 0, 100_000);
        pace.seconds_to_go(Work::Slots, seconds(1000), 90_000, 10_000);
        assert_eq!(pace.seconds_to_go(Work::Slots, seconds(1100), 90_100, 9_900), Some(9_900));
    }

    proptest! {
        #[test]
        fn whatever_a_client_says_nothing_overflows_and_no_wait_is_endless(
            samples in prop::collection::vec((any::<u64>(), any::<u64>(), any::<u32>(), any::<bool>()), 1..80)
        ) {
            let mut pace = Pace::default();
            for (done, remaining, at, blocks) in samples {
                let work = if blocks { Work::Blocks } else { Work::Slots };
                let to_go = pace.seconds_to_go(work, Duration::from_millis(at.into()), done, remaining);
                prop_assert!(to_go.is_none_or(|to_go| to_go <= LONGEST));
                prop_assert!(pace.samples.len() <= SAMPLES);
            }
        }
    }
}
