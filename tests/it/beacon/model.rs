//! A chain and its node, by lot: empty slots, blocks that come late, attestations that wait for a block, a node that
//! pauses and answers slowly. It judges nothing.

use std::fmt;

use failover::domain::chain::{ChainTime, Slot, SyncStatus};

/// Slots and epochs of a chain.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub name: &'static str,
    pub slot_seconds: u32,
    pub slots: u32,
    pub named: bool,
}

impl Shape {
    pub fn epoch_seconds(self) -> f64 {
        f64::from(self.slot_seconds * self.slots)
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}{} s × {}", self.name, self.slot_seconds, self.slots))
    }
}

pub const SHAPES: [Shape; 28] = shapes();

const fn shapes() -> [Shape; 28] {
    const SLOT: [u32; 7] = [2, 3, 4, 5, 6, 8, 12];
    const SLOTS: [u32; 4] = [6, 8, 16, 32];
    let mut all = [Shape { name: "", slot_seconds: 0, slots: 0, named: false }; 28];
    let mut at = 0;
    while at < 28 {
        let (slot_seconds, slots) = (SLOT[at / 4], SLOTS[at % 4]);
        let name = match (slot_seconds, slots) {
            (5, 16) => "Gnosis, ",
            (12, 32) => "Ethereum, ",
            _ => "",
        };
        all[at] = Shape { name, slot_seconds, slots, named: !name.is_empty() };
        at += 1;
    }
    all
}

/// Which slots are empty: this share on the whole, and so often the one after an empty one.
#[derive(Clone, Copy, Debug)]
pub struct Missed {
    pub share: f64,
    pub again: f64,
}

/// One in so many of the others is offline by itself.
const OFFLINE: u64 = 50;
/// So often an attestation comes into the next block, and otherwise into the one after.
const NEXT_BLOCK: f64 = 0.97;

pub struct Chain {
    shape: Shape,
    missed: Missed,
    rng: fastrand::Rng,
    seed: u64,
    /// When the node had the block of each slot; `None` where there is none.
    blocks: Vec<Option<f64>>,
    /// When the node does not answer, and when it gets no blocks: the next of each.
    stall: (f64, f64),
    cut: Option<(f64, f64)>,
    stops: Option<(u64, f64)>,
    /// How far its clock is off.
    skew: f64,
}

impl Chain {
    pub fn new(shape: Shape, missed: Missed, cuts: bool, seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let skew = (rng.f64() - 0.5) * 0.4;
        let cut = cuts.then_some((60.0, 90.0));
        Self { shape, missed, rng, seed, blocks: Vec::new(), stall: (30.0, 32.0), cut, stops: None, skew }
    }

    pub fn time(&self) -> ChainTime {
        ChainTime::new(0, u64::from(self.shape.slot_seconds) * 1000, self.shape.slots.into()).unwrap()
    }

    /// From this moment on this validator does nothing.
    pub fn stops(&mut self, index: u64, at: f64) {
        self.stops = Some((index, at));
    }

    fn waits(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.rng.f64()).ln()
    }

    fn slot_at(&self, at: f64) -> u64 {
        (at / f64::from(self.shape.slot_seconds)).max(0.0) as u64
    }

    /// A block takes some tenths of a second to be made and spread; one in fifty takes seconds.
    fn block(&mut self, slot: usize) -> Option<f64> {
        while self.blocks.len() <= slot {
            let number = self.blocks.len();
            let start = number as f64 * f64::from(self.shape.slot_seconds);
            let Missed { share, again } = self.missed;
            let after_block = share * (1.0 - again) / (1.0 - share);
            let was_empty = self.blocks.last().is_some_and(Option::is_none);
            let empty = number > 0 && self.rng.f64() < if was_empty { again } else { after_block };
            let late = if self.rng.u32(..50) == 0 { self.rng.f64() * 4.0 } else { 0.0 };
            let came = start + 0.4 + self.waits(0.6) + late;
            // A block waits for its parent.
            let came = self.blocks.iter().rev().find_map(|block| *block).map_or(came, |parent| came.max(parent));
            self.blocks.push((!empty).then_some(came));
            self.cut_off(number);
        }
        self.blocks[slot]
    }

    /// While it is cut off the node gets nothing, and then fifty blocks a second.
    fn cut_off(&mut self, slot: usize) {
        let Some((from, to)) = self.cut else { return };
        let came = self.blocks[slot].filter(|came| (from..to).contains(came));
        if came.is_some() {
            let behind = slot as u64 - self.slot_at(from).min(slot as u64);
            self.blocks[slot] = Some(to + behind as f64 / 50.0);
        }
        if slot as f64 * f64::from(self.shape.slot_seconds) > to {
            let next = to + self.waits(6.0 * self.shape.epoch_seconds());
            self.cut = Some((next, next + 5.0 + self.rng.f64() * 295.0));
        }
    }

    fn head(&mut self, at: f64) -> u64 {
        let mut slot = self.slot_at(at);
        while slot > 0 && self.block(slot as usize).is_none_or(|came| came > at) {
            slot -= 1;
        }
        slot
    }

    /// What it says of itself at this moment; never that it syncs.
    pub fn status(&mut self, at: f64) -> SyncStatus {
        let head = self.head(at);
        let distance = self.slot_at(at + self.skew).saturating_sub(head);
        SyncStatus { head: Slot(head), distance, syncing: false, optimistic: false, el_offline: false, untold: None }
    }

    /// When it looks at itself to answer a question asked now, and when the answer is there. Most take some hundredths
    /// of a second, one in a hundred takes seconds; and every ten minutes it pauses, for up to four.
    pub fn answer(&mut self, asked: f64, weight: f64) -> (f64, f64) {
        while self.stall.1 < asked {
            let from = self.stall.1 + self.waits(600.0);
            self.stall = (from, from + 1.0 + self.rng.f64() * 3.0);
        }
        let from = if asked >= self.stall.0 { self.stall.1 } else { asked };
        let slow = if self.rng.u32(..100) == 0 { 0.5 + self.rng.f64() * 3.5 } else { 0.0 };
        let looked = from + 0.005 + self.waits(0.04) * weight + slow;
        (looked, looked + 0.005)
    }

    /// Whether the node has seen that this validator attested in this epoch, by the blocks it has then.
    pub fn is_live(&mut self, index: u64, epoch: u64, at: f64) -> bool {
        let mut lot = fastrand::Rng::with_seed(self.seed ^ index << 40 ^ epoch);
        let first = epoch * u64::from(self.shape.slots);
        let slot = first + lot.u64(..u64::from(self.shape.slots));
        let attests = slot as f64 * f64::from(self.shape.slot_seconds) + f64::from(self.shape.slot_seconds) / 3.0;
        if self.stops.is_some_and(|(stopped, from)| stopped == index && attests >= from) {
            return false;
        }
        if index >= 100 && lot.u64(..OFFLINE) == 0 {
            return false;
        }
        let mut waits = u32::from(lot.f64() >= NEXT_BLOCK);
        // Up to the end of the next epoch it may come into a block.
        for slot in slot + 1..first + 2 * u64::from(self.shape.slots) {
            match self.block(slot as usize) {
                None => {}
                Some(_) if waits > 0 => waits -= 1,
                Some(came) => return came <= at,
            }
        }
        false
    }
}
