//! How far a chain and its nodes may lag before an answer counts for nothing: every bound, with its reason.
//!
//! What the network costs (a block that comes late, an answer that is slow, a node that pauses) takes seconds, whatever
//! the chain's slots are. So no bound is a number of slots or a share of an epoch alone: on Gnosis two slots are ten
//! seconds. `tests/it/beacon/tolerances.rs` measures them on chains of many shapes; decision 0017 has the table.

use super::{ChainTime, Epoch, Slot};
use crate::domain::{Span, Time, TimeExt};

/// How old a well node's head may be. Slots stay empty now and then, several in a row. Lighthouse's validator client
/// takes a node for synced up to 8 slots of the mainnet behind (`--beacon-node-sync-tolerances`), which are 96 seconds;
/// half as much again is what bursts of empty slots need (decision 0017). It may be this much, because it is not what
/// keeps a node that lags from being believed: [`ChainTime::head_needed`] is.
const LAG: Span = Span::from_secs(144);

/// After so long without a word nobody knows what was in between: three slots of the mainnet. One lost answer is
/// nothing, and a node that compacts its database is silent for some seconds; a process that was suspended, or a network
/// that was down, is more. Never longer than an epoch, so that one without a single word is not taken for watched.
const GAP: Span = Span::from_secs(36);
const GAP_SLOTS: i32 = 3;

/// Five questions about an epoch are asked one after the other, and all answers have to come before the next one ends.
/// Two slots of the mainnet are enough for that, and for asking once more when an answer was lost or the head was not far
/// enough; a node far away, or one that pauses, needs as long with any slot.
const ASKING: Span = Span::from_secs(24);
/// But no more than a half of the epoch, because before that late attestations are still on their way into blocks.
const ASKING_SHARE: u64 = 2;

/// An attestation of an epoch's last slot is in the block of the next slot at the earliest, sometimes in a later one, and
/// slots are empty. A node whose head has not come so far into the next epoch takes somebody who attested late for
/// silent. Never more than a quarter of the epoch, or nobody could be asked in time.
const INCLUDED_SLOTS: u64 = 3;
const INCLUDED_SHARE: u64 = 4;

/// How many epochs after its end a reading is believed: the next one is due two after it, and one more for an answer
/// that was missed. With short epochs that is less than a beacon node's restart, so there is a floor.
const BELIEVED_EPOCHS: i32 = 3;
const BELIEVED: Span = Span::from_mins(2);

/// How long after its end an epoch is written down at the latest: late in the next one, so the one after it has not
/// ended yet while the last word is that old; and some minutes for a node that is slow.
const WRITTEN_EPOCHS: i32 = 2;
const WRITTEN: Span = Span::from_mins(2);

/// `MAXIMUM_GOSSIP_CLOCK_DISPARITY` of the consensus-specs: how far the clocks of two honest nodes may be apart.
const DISPARITY: Span = Span::from_millis(500);

impl ChainTime {
    /// How many slots a node's head may lag behind the clock.
    #[must_use]
    pub fn lag_allowed(&self) -> u64 {
        self.slots_in(LAG)
    }

    /// How long a node may say nothing without a break in what is known of it.
    #[must_use]
    pub fn gap_allowed(&self) -> Span {
        GAP.min(self.epoch()).max(self.slot().saturating_mul(GAP_SLOTS))
    }

    /// From which slot of `current` on nodes are asked about the epoch before it.
    #[must_use]
    pub fn asked_from(&self, current: Epoch) -> Slot {
        let all = self.slots_per_epoch();
        let asking = self.slots_in(ASKING).clamp(1, all.div_ceil(ASKING_SHARE));
        Slot(self.first_slot(current).0.saturating_add(all - asking))
    }

    /// How far a node's head has to have come before it can say who was live in `epoch`.
    #[must_use]
    pub fn head_needed(&self, epoch: Epoch) -> Slot {
        let all = self.slots_per_epoch();
        let into_next = INCLUDED_SLOTS.min(all.div_ceil(INCLUDED_SHARE)).min(all - 1);
        Slot(self.first_slot(Epoch(epoch.0.saturating_add(1))).0.saturating_add(into_next))
    }

    /// How long after an epoch's end what was said of it is believed.
    #[must_use]
    pub fn believed_for(&self) -> Span {
        self.epoch().saturating_mul(BELIEVED_EPOCHS).max(BELIEVED)
    }

    /// How far the clocks of two honest nodes may be apart; never more than a quarter of a (test network's) slot.
    #[must_use]
    pub fn disparity(&self) -> Span {
        DISPARITY.min(self.slot() / 4)
    }

    /// When a slot is looked at next, never the one just looked at: `into` of each has to be over.
    #[must_use]
    pub fn next_look(&self, now: Time, into: Span) -> (Slot, Time) {
        let at = |slot| self.start_of(slot).plus(into);
        let slot = self.slot_at(now).unwrap_or(Slot(0));
        if at(slot) > now { (slot, at(slot)) } else { (Slot(slot.0 + 1), at(Slot(slot.0 + 1))) }
    }

    /// As many slots as this takes, rounded up.
    fn slots_in(&self, span: Span) -> u64 {
        let (span, slot) = (span.as_millis().unsigned_abs(), self.slot().as_millis().unsigned_abs().max(1));
        u64::try_from(span.div_ceil(slot)).unwrap_or(u64::MAX)
    }
}

/// Until when the last of several epochs, which ended at this moment, is the last one that could be known.
#[must_use]
pub fn newest_until(ended: Time, epoch: Span) -> Time {
    ended.plus(epoch.saturating_mul(WRITTEN_EPOCHS)).plus(WRITTEN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_bound_becomes_seconds_where_slots_are_short_and_the_mainnets_stay() {
        let of = |slot_ms, slots| {
            let time = ChainTime::new(0, slot_ms, slots).unwrap();
            let asked = time.first_slot(Epoch(8)).0 - time.asked_from(Epoch(7)).0;
            let seconds = |span: Span| span.as_secs();
            (time.lag_allowed(), seconds(time.gap_allowed()), asked, seconds(time.believed_for()))
        };
        assert_eq!(of(12_000, 32), (12, 36, 2, 3 * 384));
        assert_eq!(of(5_000, 16), (29, 36, 5, 3 * 80), "Gnosis");
        assert_eq!(of(2_000, 32), (72, 36, 12, 3 * 64));
        assert_eq!(of(2_000, 6), (72, 12, 3, 120), "half of the epoch, and no gap longer than one");
        assert_eq!(of(60_000, 1), (3, 180, 1, 180));
    }

    #[test]
    fn an_epoch_is_only_told_by_a_head_that_has_left_it_behind() {
        let time = ChainTime::new(0, 5_000, 16).unwrap();
        assert_eq!(time.head_needed(Epoch(9)), Slot(163), "the fourth slot of the epoch after it");
        assert!(time.asked_from(Epoch(10)) > time.head_needed(Epoch(9)));
        let odd = ChainTime::new(0, 5_000, 1).unwrap();
        assert_eq!(odd.head_needed(Epoch(9)), Slot(10));
    }
}
