//! What is so on the fake chain, before any node has its own view of it.

use std::sync::{Arc, Mutex};

use super::{FakeChainConfig, lock};
use crate::ports::Clock;

pub(super) const GENESIS_ROOT: &str = "0x5ca1ab1e5ca1ab1e5ca1ab1e5ca1ab1e5ca1ab1e5ca1ab1e5ca1ab1e5ca1ab1e";
pub(super) const OTHER_ROOT: &str = "0x0ddba110ddba110ddba110ddba110ddba110ddba110ddba110ddba110ddba110";

pub(super) struct World {
    pub(super) config: FakeChainConfig,
    clock: Arc<dyn Clock>,
    validators: Mutex<Vec<Validator>>,
    finality_stopped: Mutex<Option<u64>>,
}

#[derive(Clone)]
pub(super) struct Validator {
    pub(super) status: String,
    /// When it began or ceased to attest, in order.
    switched: Vec<(i64, bool)>,
}

impl Validator {
    pub(super) fn is_slashed(&self) -> bool {
        matches!(self.status.as_str(), "active_slashed" | "exited_slashed")
    }

    pub(super) fn is_active(&self) -> bool {
        self.status.starts_with("active")
    }

    fn attested(&self, at_ms: i64) -> bool {
        let last = self.switched.iter().rev().find(|(since, _)| *since <= at_ms);
        self.is_active() && last.is_none_or(|(_, attesting)| *attesting)
    }
}

/// Recognisable, and of the right length: 0x8f, the index, and filling.
pub(super) fn public_key(index: u64) -> String {
    format!("0x8f{index:06x}{}", "5a".repeat(44))
}

impl World {
    pub(super) fn new(config: FakeChainConfig, clock: Arc<dyn Clock>) -> Self {
        let fresh = Validator { status: "active_ongoing".into(), switched: Vec::new() };
        let count = usize::try_from(config.validators).unwrap_or(usize::MAX);
        Self { config, clock, validators: Mutex::new(vec![fresh; count]), finality_stopped: Mutex::default() }
    }

    pub(super) fn now_ms(&self) -> i64 {
        self.clock.now().as_millisecond()
    }

    pub(super) fn slot_ms(&self) -> i64 {
        i64::try_from(self.config.slot.as_millis()).unwrap_or(i64::MAX).max(1)
    }

    /// The slot by the clock; 0 before genesis.
    pub(super) fn slot(&self) -> u64 {
        let since = self.now_ms() - self.config.genesis_time * 1000;
        u64::try_from(since / self.slot_ms()).unwrap_or(0)
    }

    pub(super) fn epoch_of(&self, slot: u64) -> u64 {
        slot / self.config.slots_per_epoch
    }

    pub(super) fn start_ms(&self, slot: u64) -> i64 {
        self.config.genesis_time * 1000 + i64::try_from(slot).unwrap_or(i64::MAX / 2).saturating_mul(self.slot_ms())
    }

    /// The one slot of the epoch in which this validator attests.
    pub(super) fn duty(&self, index: u64, epoch: u64) -> u64 {
        epoch * self.config.slots_per_epoch + index % self.config.slots_per_epoch
    }

    pub(super) fn validators(&self) -> Vec<Validator> {
        lock(&self.validators).clone()
    }

    /// Whether this validator did its duty: it attests when a third of its slot is over.
    pub(super) fn attested(&self, index: u64, epoch: u64) -> bool {
        let at = self.start_ms(self.duty(index, epoch)) + self.slot_ms() / 3;
        let validators = lock(&self.validators);
        usize::try_from(index).ok().and_then(|index| validators.get(index)).is_some_and(|v| v.attested(at))
    }

    pub(super) fn set_attesting(&self, indices: impl IntoIterator<Item = u64>, attesting: bool) {
        let now = self.now_ms();
        let mut validators = lock(&self.validators);
        for index in indices {
            let validator = usize::try_from(index).ok().and_then(|index| validators.get_mut(index));
            if let Some(validator) = validator {
                validator.switched.push((now, attesting));
            }
        }
    }

    pub(super) fn set_status(&self, index: u64, status: &str) {
        let mut validators = lock(&self.validators);
        if let Some(validator) = usize::try_from(index).ok().and_then(|index| validators.get_mut(index)) {
            validator.status = status.to_owned();
        }
    }

    pub(super) fn stop_finalising(&self, stopped: bool) {
        let at = stopped.then(|| self.finalised(self.epoch_of(self.slot())));
        *lock(&self.finality_stopped) = at;
    }

    /// The last finalised epoch as of `current`: the newest that is, like the one after it, attested by two thirds.
    pub(super) fn finalised(&self, current: u64) -> u64 {
        if let Some(stopped) = *lock(&self.finality_stopped) {
            return stopped;
        }
        let mut next_justified = self.is_justified(current.saturating_sub(1));
        for epoch in (0..current.saturating_sub(1)).rev() {
            let justified = self.is_justified(epoch);
            if justified && next_justified {
                return epoch;
            }
            next_justified = justified;
        }
        0
    }

    fn is_justified(&self, epoch: u64) -> bool {
        let validators = lock(&self.validators);
        let (mut active, mut attested) = (0, 0);
        for (index, validator) in (0..).zip(validators.iter()).filter(|(_, validator)| validator.is_active()) {
            active += 1;
            let at = self.start_ms(self.duty(index, epoch)) + self.slot_ms() / 3;
            attested += usize::from(validator.attested(at));
        }
        attested * 3 >= active * 2
    }
}
