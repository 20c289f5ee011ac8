//! What all sites together have seen of a validator: its silence from outside home, and the epochs with duties.

use std::collections::{BTreeMap, BTreeSet};

use super::{Epoch, EpochSeen, SiteEpochs, site::SiteTiming};
use crate::domain::{
    Interval, Span, Time, TimeExt,
    gates::{DutyEpochs, NODES, SilentEpochs},
};

/// The records of all sites, epoch by epoch.
#[derive(Clone, Debug, Default)]
pub struct ChainSightings {
    timing: Option<SiteTiming>,
    epochs: BTreeMap<u64, Sighting>,
    finalised: Option<Epoch>,
}

/// What is known of one epoch.
#[derive(Clone, Debug, Default)]
struct Sighting {
    /// Anybody has seen one, home included: that counts wherever it was seen.
    duty: bool,
    /// Who outside says *silent*: places, of which one node is one, whatever its addresses.
    outside: BTreeSet<u32>,
    /// So does somebody at home, or one elsewhere who is not known to be outside.
    inside: bool,
}

/// Which numbers are of one node: an address and the name that is known at it.
#[derive(Default)]
struct Places(BTreeMap<u32, u32>);

impl Places {
    fn of(&self, mut number: u32) -> u32 {
        while let Some(same) = self.0.get(&number) {
            number = *same;
        }
        number
    }

    fn join(&mut self, one: u32, other: u32) {
        let (one, other) = (self.of(one), self.of(other));
        if one != other {
            self.0.insert(one.max(other), one.min(other));
        }
    }
}

impl ChainSightings {
    /// Which of these records do not agree with most of them when an epoch begins. All, if no time is that of the most:
    /// then nothing says who is right.
    #[must_use]
    pub fn odd(records: &[&SiteEpochs]) -> Vec<bool> {
        let with = |timing: SiteTiming| records.iter().filter(|record| record.timing() == timing).count();
        let most = records.iter().map(|record| with(record.timing())).max().unwrap_or_default();
        let right: Vec<_> =
            records.iter().map(|record| record.timing()).filter(|timing| with(*timing) == most).collect();
        records.iter().map(|record| right.iter().any(|timing| *timing != record.timing())).collect()
    }

    /// Of records that were checked ([`SiteEpochs::check`]), each with whether that site is home.
    ///
    /// # Errors
    /// They do not agree when an epoch begins ([`Self::odd`]).
    pub fn of<'a>(records: impl IntoIterator<Item = (&'a SiteEpochs, bool)>) -> Result<Self, String> {
        let records: Vec<_> = records.into_iter().collect();
        let (mut all, mut places) = (Self::default(), Places::default());
        records.iter().flat_map(|(record, _)| record.peers()).for_each(|(address, name)| places.join(address, name));
        for (record, is_home) in records {
            if *all.timing.get_or_insert(record.timing()) != record.timing() {
                return Err("the sites do not agree about the chain's genesis and epochs: correct their nodes".into());
            }
            // What home says to be finalised would let silence count that nobody outside has seen settled.
            if !is_home {
                all.finalised = all.finalised.max(record.finalised());
            }
            for (epoch, seen, nodes) in record.epochs() {
                let sighting = all.epochs.entry(epoch).or_default();
                match (seen, is_home) {
                    (EpochSeen::Unknown, _) => {}
                    (EpochSeen::Duty, _) => sighting.duty = true,
                    (EpochSeen::Silent, false) if !nodes.is_empty() => {
                        sighting.outside.extend(nodes.iter().map(|node| places.of(*node)));
                    }
                    (EpochSeen::Silent, _) => sighting.inside = true,
                }
            }
        }
        Ok(all)
    }

    /// Silent epochs in a row up to the last that was judged, those that began after `since`. Where fewer than
    /// [`NODES`] places saw the older ones, only the newer ones count.
    #[must_use]
    pub fn silent_outside(&self, since: Time) -> Option<SilentEpochs> {
        self.silent(since, |sighting| sighting.outside.len())
    }

    /// The same as home has it, which is shown and not counted.
    #[must_use]
    pub fn silent_at_home(&self, since: Time) -> Option<SilentEpochs> {
        self.silent(since, |sighting| usize::from(sighting.inside))
    }

    /// How many of [`Self::silent_outside`] nobody can show to be otherwise: an attestation may be in a block of the next
    /// epoch, so that has to be final too.
    #[must_use]
    pub fn silent_finalised(&self, since: Time) -> Option<u64> {
        let SilentEpochs { count, last, .. } = self.silent_outside(since)?;
        let settled = self.finalised?.0.saturating_sub(1).min(last + 1);
        Some(settled.saturating_sub(last + 1 - count))
    }

    fn silent(&self, since: Time, nodes: impl Fn(&Sighting) -> usize) -> Option<SilentEpochs> {
        let timing = self.timing?;
        let anybody = self.epochs.values().any(|sighting| nodes(sighting) > 0);
        let judged = |sighting: &Sighting| nodes(sighting) > 0 || sighting.duty;
        let (last, _) = self.epochs.iter().rev().find(|(_, sighting)| anybody && judged(sighting))?;
        let mut places = Vec::new();
        for epoch in (0..=*last).rev() {
            let sighting = self.epochs.get(&epoch).filter(|sighting| !sighting.duty && nodes(sighting) > 0);
            let Some(sighting) = sighting.filter(|_| timing.interval(epoch).from >= since) else { break };
            places.push(nodes(sighting));
        }
        let enough = places.iter().take_while(|places| **places >= NODES).count();
        places.truncate(if enough > 0 { enough } else { places.len() });
        let about = timing.interval(*last);
        let count = places.len() as u64;
        let from = if count == 0 { about.to } else { timing.interval(*last + 1 - count).from };
        Some(SilentEpochs {
            count,
            last: *last,
            nodes: places.into_iter().min().unwrap_or_default(),
            about: Interval { from, to: about.to },
            each: timing.each(),
        })
    }

    /// In which epochs these keys had duties, by anybody's record, and of how much time between `since` and `until` that is
    /// known: the silence of an outage says nothing about who signed before it.
    #[must_use]
    pub fn duties(&self, since: Time, until: Time) -> DutyEpochs {
        let Some(timing) = self.timing else { return DutyEpochs::default() };
        let (mut known, mut epochs, mut with) = (Span::ZERO, 0, Vec::new());
        for (epoch, sighting) in &self.epochs {
            let about = timing.interval(*epoch);
            let is_known = sighting.duty || !sighting.outside.is_empty() || sighting.inside;
            if is_known && about.from >= since && about.from <= until {
                known = known.saturating_add(timing.each());
                epochs += 1;
            }
            if sighting.duty {
                with.push(about);
            }
        }
        DutyEpochs { known, epochs, with }
    }

    /// When the first epoch with a duty began that began at this moment or later.
    #[must_use]
    pub fn duty_since(&self, at: Time) -> Option<Time> {
        self.duties(at, Time::MAX).with.iter().map(|epoch| epoch.from).find(|from| *from >= at)
    }

    /// How many whole epochs lie between these moments. `None` when no record says how long one is.
    #[must_use]
    pub fn whole_epochs(&self, from: Time, to: Time) -> Option<u64> {
        let timing = self.timing?;
        let length = timing.each().as_nanos();
        let since = |at: Time| at.duration_since(timing.genesis).as_nanos();
        let first = since(from).div_euclid(length) + i128::from(since(from).rem_euclid(length) != 0);
        u64::try_from(since(to).div_euclid(length) - first).ok().or(Some(0))
    }

    /// Whether any record says anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.epochs.is_empty()
    }
}

impl SiteTiming {
    pub(super) fn each(self) -> Span {
        Span::from_millis(i64::try_from(self.epoch_ms).unwrap_or(i64::MAX))
    }

    pub(super) fn interval(self, epoch: u64) -> Interval {
        let start = |epoch: u64| {
            let millis = u128::from(epoch) * u128::from(self.epoch_ms);
            self.genesis.plus(Span::from_millis(i64::try_from(millis).unwrap_or(i64::MAX)))
        };
        Interval { from: start(epoch), to: start(epoch.saturating_add(1)) }
    }
}
