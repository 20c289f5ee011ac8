//! Which slot of Cardano is when. It holds for the networks whose beginning is known, and for no slot length but theirs.
//!
//! A slot had twenty seconds before the Shelley era and has one since. Both beginnings of a network are written down
//! apart, from its genesis files; that they fit each other is tested.

use crate::{
    config::CardanoNetwork,
    domain::{Span, Time},
};

/// Seconds of a slot before Shelley.
const BYRON_SLOT: i64 = 20;

/// What gives every slot of a network its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slots {
    /// When slot 0 began.
    start: i64,
    /// The first slot of one second.
    shelley_slot: u64,
    shelley_start: i64,
}

impl Slots {
    pub(super) const fn of(network: CardanoNetwork) -> Self {
        match network {
            // 2017-09-23T21:44:51Z and 2020-07-29T21:44:51Z.
            CardanoNetwork::Mainnet => {
                Self { start: 1_506_203_091, shelley_slot: 4_492_800, shelley_start: 1_596_059_091 }
            }
            // 2022-06-01T00:00:00Z and 2022-06-21T00:00:00Z.
            CardanoNetwork::Preprod => {
                Self { start: 1_654_041_600, shelley_slot: 86_400, shelley_start: 1_655_769_600 }
            }
            // 2022-10-25T00:00:00Z; it never had other slots.
            CardanoNetwork::Preview => Self { start: 1_666_656_000, shelley_slot: 0, shelley_start: 1_666_656_000 },
        }
    }

    /// When slot 0 began.
    pub(super) fn start(self) -> Time {
        Time::from_second(self.start).expect("the beginning of a network is a time")
    }

    /// When a slot begins; `None` where it would be after the end of time.
    pub(super) fn time_of(self, slot: u64) -> Option<Time> {
        let (from, since) = match slot.checked_sub(self.shelley_slot) {
            Some(since) => (self.shelley_start, i64::try_from(since).ok()?),
            None => (self.start, i64::try_from(slot).ok()?.checked_mul(BYRON_SLOT)?),
        };
        Time::from_second(from).ok()?.checked_add(Span::from_secs(since)).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [CardanoNetwork; 3] = [CardanoNetwork::Mainnet, CardanoNetwork::Preprod, CardanoNetwork::Preview];

    fn time_of(network: CardanoNetwork, slot: u64) -> String {
        Slots::of(network).time_of(slot).unwrap().to_string()
    }

    #[test]
    fn the_two_beginnings_of_a_network_fit_each_other() {
        for network in ALL {
            let slots = Slots::of(network);
            let byron = i64::try_from(slots.shelley_slot).unwrap() * BYRON_SLOT;
            assert_eq!(slots.start + byron, slots.shelley_start, "{network:?}");
            assert_eq!(slots.time_of(0), Some(slots.start()), "{network:?}");
        }
    }

    #[test]
    fn slots_have_the_times_that_are_published() {
        for (network, slot, time) in [
            (CardanoNetwork::Mainnet, 0, "2017-09-23T21:44:51Z"),
            (CardanoNetwork::Mainnet, 4_492_799, "2020-07-29T21:44:31Z"),
            (CardanoNetwork::Mainnet, 4_492_800, "2020-07-29T21:44:51Z"),
            // The first slot of epoch 507, with which the Conway era began.
            (CardanoNetwork::Mainnet, 4_492_800 + (507 - 208) * 432_000, "2024-09-01T21:44:51Z"),
            (CardanoNetwork::Preprod, 0, "2022-06-01T00:00:00Z"),
            (CardanoNetwork::Preprod, 86_400, "2022-06-21T00:00:00Z"),
            (CardanoNetwork::Preview, 0, "2022-10-25T00:00:00Z"),
            (CardanoNetwork::Preview, 86_400, "2022-10-26T00:00:00Z"),
        ] {
            assert_eq!(time_of(network, slot), time, "{network:?} {slot}");
        }
    }

    #[test]
    fn a_slot_beyond_all_time_has_none() {
        for network in ALL {
            assert_eq!(Slots::of(network).time_of(u64::MAX), None);
            assert_eq!(Slots::of(network).time_of(i64::MAX as u64), None);
        }
    }
}
