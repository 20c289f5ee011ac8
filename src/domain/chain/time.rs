//! Slots and epochs: the chain's own time, by what its node says of genesis and specification.
//!
//! It reads no clock; the moment is always an argument.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::domain::{Interval, Span, Time, TimeExt};

/// The smallest unit of the chain's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Slot(pub u64);

/// Some slots; every validator attests once in each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u64);

/// Genesis and the lengths of slot and epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainTime {
    genesis: Time,
    slot: Span,
    slots_per_epoch: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("slots of {slot_ms} ms, {slots_per_epoch} in an epoch, genesis at {genesis}: no chain has that")]
pub struct BadTiming {
    genesis: i64,
    slot_ms: u64,
    slots_per_epoch: u64,
}

/// Far below what any network can do, so that a nonsense answer does not make us ask without end.
const MIN_SLOT_MS: u64 = 50;
/// Far above what any network has.
const MAX_SLOT_MS: u64 = 600_000;
/// The mainnet has 32; test networks have fewer.
const MAX_SLOTS_PER_EPOCH: u64 = 4096;
/// Year 5138. Genesis later than that is nonsense, and additions below cannot overflow.
const MAX_GENESIS: i64 = 100_000_000_000;

impl ChainTime {
    /// Checks what a node said.
    ///
    /// # Errors
    /// [`BadTiming`] when the numbers are far from what a chain can be.
    pub fn new(genesis: i64, slot_ms: u64, slots_per_epoch: u64) -> Result<Self, BadTiming> {
        let bad = BadTiming { genesis, slot_ms, slots_per_epoch };
        let sane = (MIN_SLOT_MS..=MAX_SLOT_MS).contains(&slot_ms)
            && (1..=MAX_SLOTS_PER_EPOCH).contains(&slots_per_epoch)
            && (0..=MAX_GENESIS).contains(&genesis);
        if !sane {
            return Err(bad);
        }
        let genesis = Time::from_second(genesis).map_err(|_| bad)?;
        let slot = Span::from_millis(i64::try_from(slot_ms).map_err(|_| bad)?);
        Ok(Self { genesis, slot, slots_per_epoch })
    }

    #[must_use]
    pub fn slot(&self) -> Span {
        self.slot
    }

    #[must_use]
    pub fn slots_per_epoch(&self) -> u64 {
        self.slots_per_epoch
    }

    #[must_use]
    pub fn epoch(&self) -> Span {
        self.slot.saturating_mul(i32::try_from(self.slots_per_epoch).unwrap_or(i32::MAX))
    }

    /// The slot of a moment; `None` before genesis.
    #[must_use]
    pub fn slot_at(&self, at: Time) -> Option<Slot> {
        let since = at.duration_since(self.genesis);
        let slot = since.as_nanos().div_euclid(self.slot.as_nanos());
        u64::try_from(slot).ok().map(Slot)
    }

    /// When a slot begins; the end of all time for one that is beyond it.
    #[must_use]
    pub fn start_of(&self, slot: Slot) -> Time {
        let millis = i64::try_from(self.slot.as_millis()).unwrap_or(i64::MAX);
        let offset = i64::try_from(slot.0).unwrap_or(i64::MAX).saturating_mul(millis);
        self.genesis.plus(Span::from_millis(offset))
    }

    /// The epoch a slot is in.
    #[must_use]
    pub fn epoch_of(&self, slot: Slot) -> Epoch {
        Epoch(slot.0 / self.slots_per_epoch)
    }

    /// The epoch of a moment; `None` before genesis.
    #[must_use]
    pub fn epoch_at(&self, at: Time) -> Option<Epoch> {
        self.slot_at(at).map(|slot| self.epoch_of(slot))
    }

    /// The first slot of an epoch.
    #[must_use]
    pub fn first_slot(&self, epoch: Epoch) -> Slot {
        Slot(epoch.0.saturating_mul(self.slots_per_epoch))
    }

    /// From the start of an epoch to its end.
    #[must_use]
    pub fn interval(&self, epoch: Epoch) -> Interval {
        let next = Epoch(epoch.0.saturating_add(1));
        Interval { from: self.start_of(self.first_slot(epoch)), to: self.start_of(self.first_slot(next)) }
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl Epoch {
    /// The one before; `None` for the first.
    #[must_use]
    pub fn previous(self) -> Option<Self> {
        self.0.checked_sub(1).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_and_epochs_are_counted_from_genesis() {
        let time = ChainTime::new(1_000, 12_000, 32).unwrap();
        let at = |second| Time::from_second(second).unwrap();
        assert_eq!(time.slot_at(at(999)), None);
        assert_eq!(time.slot_at(at(1_011)), Some(Slot(0)));
        assert_eq!(time.slot_at(at(1_012)), Some(Slot(1)));
        assert_eq!(time.epoch_at(at(1_000 + 384)), Some(Epoch(1)));
        assert_eq!(time.interval(Epoch(2)), Interval { from: at(1_768), to: at(2_152) });
    }

    #[test]
    fn a_specification_no_chain_has_is_refused_and_large_numbers_do_not_overflow() {
        for (genesis, slot_ms, slots) in
            [(0, 0, 32), (0, 12_000, 0), (-1, 12_000, 32), (i64::MAX, 12_000, 32), (0, u64::MAX, 32), (0, 1, u64::MAX)]
        {
            assert!(ChainTime::new(genesis, slot_ms, slots).is_err(), "{genesis} {slot_ms} {slots}");
        }
        let time = ChainTime::new(0, 12_000, 32).unwrap();
        assert_eq!(time.start_of(Slot(u64::MAX)), Time::MAX);
        assert_eq!(time.interval(Epoch(u64::MAX)).to, Time::MAX);
    }
}
