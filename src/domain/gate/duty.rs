//! How a wait for silence ends: which epochs count, when each is judged, and what interrupts the count.
//!
//! Nobody's wall clock decides which epoch it is; the beacon nodes do. A wall clock only says how late in it.

use super::SilenceNeeded;
use crate::domain::{Span, Time, TimeExt, chain::Epoch};

/// An epoch is judged so long before the end of the next one: late attestations are in blocks by then, and a lost answer
/// can be asked for again. Nobody can be asked about it later (domain.md C.3: nodes answer a wrong *no*).
const ASKING: Span = Span::from_secs(24);

/// The epoch that it is now, by the beacon nodes, with its times by the chain's genesis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochSpan {
    pub epoch: Epoch,
    pub began_at: Time,
    pub length: Span,
}

impl EpochSpan {
    #[must_use]
    pub fn ends_at(&self) -> Time {
        self.began_at.plus(self.length)
    }

    /// How long it has lasted when the epoch before it is judged.
    #[must_use]
    pub fn judged_after(&self) -> Span {
        self.length - ASKING.min(self.length / 2)
    }

    /// Whether a wall clock shows a moment in this epoch.
    #[must_use]
    pub fn contains(&self, wall: Time) -> bool {
        (self.began_at..self.ends_at()).contains(&wall)
    }

    /// Whether something that was noted to have run until then ran in a part of the last whole epoch. Not believed when
    /// it lies ahead, or when the wall clock by which it was noted is more than an epoch away from what the nodes say.
    #[must_use]
    pub fn ran_in_last(&self, ran_until: Option<Time>, wall: Time) -> bool {
        let last_began = self.began_at.minus(self.length);
        let right = (last_began..=self.ends_at().plus(self.length)).contains(&wall);
        right && ran_until.is_some_and(|until| (last_began..=wall).contains(&until))
    }

    /// The first epoch that begins at this moment or later. Never one after the next: a moment beyond it is not believed.
    fn first_from(&self, at: Time) -> Epoch {
        let ahead = at.duration_since(self.began_at).as_nanos();
        let length = self.length.as_nanos().max(1);
        let ahead = ahead.div_euclid(length) + i128::from(ahead.rem_euclid(length) != 0);
        let epoch = i128::from(self.epoch.0) + ahead.min(1);
        Epoch(u64::try_from(epoch).unwrap_or_default())
    }
}

/// The count of silent epochs, one after the other without a gap, up to the last one that could be judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Silence {
    needed: u32,
    /// The first that counts.
    from: Epoch,
    silent: u32,
    judged: Option<Epoch>,
}

impl Silence {
    /// `None` when nothing is needed. `since`: when the first epoch that counts begins, as it was noted; without it that
    /// is the next one.
    #[must_use]
    pub fn before_start(needed: SilenceNeeded, now: &EpochSpan, since: Option<Time>) -> Option<Self> {
        let last = now.epoch.previous().unwrap_or(now.epoch);
        let (needed, from) = match needed {
            SilenceNeeded::None => return None,
            SilenceNeeded::LastEpoch => (1, last),
            SilenceNeeded::Later(needed) => (needed, now.first_from(since.unwrap_or(now.ends_at())).max(last)),
        };
        Some(Self { needed, from, silent: 0, judged: None })
    }

    /// What has to be judged late in this epoch: the one before, which nobody can be asked about afterwards.
    #[must_use]
    pub fn due(&self, now: Epoch) -> Option<Epoch> {
        now.previous().filter(|epoch| *epoch >= self.from && self.judged.is_none_or(|judged| *epoch > judged))
    }

    /// These keys did nothing in it.
    pub fn is_silent(&mut self, epoch: Epoch) {
        let follows = self.judged.is_some() && self.judged == epoch.previous();
        self.silent = if follows { self.silent + 1 } else { 1 };
        self.judged = Some(epoch);
    }

    /// Somebody signed in it: the count begins again after it.
    pub fn is_broken(&mut self, epoch: Epoch) {
        self.from = Epoch(epoch.0 + 1);
        self.silent = 0;
        self.judged = None;
    }

    /// Somebody else signed in it: whoever that is may come back after one silent epoch.
    pub fn is_strangers(&mut self, epoch: Epoch) {
        self.is_broken(epoch);
        self.needed = self.needed.max(2);
    }

    /// Whether a start may follow now. A count that ended longer ago says nothing about the epochs since.
    #[must_use]
    pub fn is_over(&self, now: Epoch) -> bool {
        self.silent >= self.needed && self.is_fresh(now)
    }

    /// Whether the last epoch that was judged is so new that no other could be judged since.
    #[must_use]
    pub fn is_fresh(&self, now: Epoch) -> bool {
        self.judged.is_some_and(|judged| now.0 <= judged.0 + 2)
    }

    /// When it is over, if every epoch from here on is silent.
    #[must_use]
    pub fn over_at(&self, now: &EpochSpan) -> Time {
        let next = self.due(now.epoch).unwrap_or(self.from.max(now.epoch));
        let follows = self.judged.is_some() && self.judged == next.previous();
        let left = self.needed.saturating_sub(if follows { self.silent } else { 0 }).max(1);
        // Late in the epoch after the last one that is needed.
        let ahead = next.0.saturating_add(left.into()).saturating_sub(now.epoch.0);
        let ahead = i32::try_from(ahead).unwrap_or(i32::MAX);
        now.began_at.plus(now.length.saturating_mul(ahead)).plus(now.judged_after())
    }

    #[must_use]
    pub fn needed(&self) -> u32 {
        self.needed
    }

    /// How many it has counted.
    #[must_use]
    pub fn silent(&self) -> u32 {
        self.silent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: Span = Span::from_secs(384);

    fn at(epoch: u64) -> EpochSpan {
        EpochSpan { epoch: Epoch(epoch), began_at: start(epoch), length: LENGTH }
    }

    fn start(epoch: u64) -> Time {
        Time::UNIX_EPOCH.plus(LENGTH * i32::try_from(epoch).unwrap())
    }

    fn later(needed: u32, now: u64, since: Option<Time>) -> Silence {
        Silence::before_start(SilenceNeeded::Later(needed), &at(now), since).unwrap()
    }

    #[test]
    fn it_ran_in_the_last_whole_epoch_only_by_a_clock_that_fits_the_chain() {
        let second = Span::from_secs(1);
        let now = start(10).plus(second * 100);
        let ran = |until, wall| at(10).ran_in_last(until, wall);
        assert!(ran(Some(now.minus(second)), now));
        assert!(ran(Some(start(9)), now) && ran(Some(now), now));
        assert!(!ran(Some(start(9).minus(second)), now), "before it began");
        assert!(!ran(Some(now.plus(second)), now), "that lies ahead");
        assert!(!ran(None, now));
        for wall in [start(9).minus(second), start(12).plus(second)] {
            assert!(!ran(Some(start(9)), wall), "the clock is wrong");
        }
    }

    #[test]
    fn a_new_folder_waits_for_two_whole_epochs_and_each_is_judged_late_in_the_next() {
        let mut silence = later(2, 10, None);
        assert_eq!(silence.due(Epoch(10)), None);
        assert_eq!(silence.due(Epoch(11)), None, "epoch 10 had begun already");
        assert_eq!(silence.over_at(&at(10)), start(13).plus(Span::from_secs(360)));
        assert_eq!(silence.due(Epoch(12)), Some(Epoch(11)));
        silence.is_silent(Epoch(11));
        assert!(!silence.is_over(Epoch(12)) && silence.due(Epoch(12)).is_none());
        assert_eq!(silence.over_at(&at(12)), start(13).plus(Span::from_secs(360)));
        silence.is_silent(Epoch(12));
        assert!(silence.is_over(Epoch(13)) && silence.is_over(Epoch(14)));
        assert!(!silence.is_over(Epoch(15)), "too long ago");
    }

    #[test]
    fn an_epoch_that_nobody_judged_interrupts_the_count_and_one_with_a_duty_begins_it_again() {
        let mut silence = later(2, 10, Some(start(10)));
        silence.is_silent(Epoch(10));
        silence.is_silent(Epoch(12));
        assert!(!silence.is_over(Epoch(13)), "11 is unknown");
        silence.is_broken(Epoch(13));
        assert_eq!((silence.due(Epoch(14)), silence.due(Epoch(15))), (None, Some(Epoch(14))));
        silence.is_silent(Epoch(14));
        assert!(!silence.is_over(Epoch(15)));
        silence.is_silent(Epoch(15));
        assert!(silence.is_over(Epoch(16)));
    }

    #[test]
    fn what_was_noted_counts_on_after_a_restart_and_what_lies_ahead_is_not_believed() {
        assert_eq!(later(1, 10, Some(start(3))).from, Epoch(9), "older ones cannot be judged any more");
        assert_eq!(later(1, 10, Some(start(10))).from, Epoch(10));
        assert_eq!(later(1, 10, Some(start(10).plus(Span::from_secs(1)))).from, Epoch(11));
        assert_eq!(later(1, 10, Some(start(4000))).from, Epoch(11));
        let last = Silence::before_start(SilenceNeeded::LastEpoch, &at(10), None).unwrap();
        assert_eq!(last.due(Epoch(10)), Some(Epoch(9)));
        assert_eq!(Silence::before_start(SilenceNeeded::None, &at(10), None), None);
    }
}
