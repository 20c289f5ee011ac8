//! Everything the watcher knows: the durable records and, beside them, what lives in memory only.

use std::collections::BTreeMap;

use super::{ActionId, ChainView, Decision, Hands, Heard, KeyStates, Signals, Stuck, Time, Validator, ValidatorId};

/// All validators, and the chain they are on.
#[derive(Clone, Debug, Default)]
pub struct World {
    subjects: BTreeMap<ValidatorId, Subject>,
    /// The chain as a whole.
    pub chain: ChainView,
    unhealthy: usize,
}

/// One validator: its record in the ledger and what is known beside it.
#[derive(Clone, Debug, Default)]
pub struct Subject {
    /// As the ledger has it, or will have it before anything is done.
    pub record: Validator,
    /// Rebuilt after a start.
    pub live: Live,
}

/// What is lost in a restart, and should be: nobody has watched in between.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Live {
    /// The opinions.
    pub signals: Signals,
    /// What became of its keys.
    pub keys: Option<KeyStates>,
    /// Signs of a human at work on it.
    pub hands: Option<Hands>,
    /// Since when enough signals have said down without a break.
    pub held_since: Option<Time>,
    /// Since when the chain has shown it at work without a break, while an incident is open.
    pub healthy_since: Option<Time>,
    /// The action that was started and has not ended.
    pub started: Option<ActionId>,
    /// When the machine is looked at next.
    pub look_at: Option<Time>,
    /// When all zones are searched next.
    pub recheck_at: Option<Time>,
    /// Numbers the looks, so that a late answer is known as one.
    pub looks: u32,
    /// The machine's last usable report, and what its reports have shown so far.
    pub report: Option<Heard>,
    /// What its start-up script said last; `None` once there is a report.
    pub starting: Option<String>,
    /// Why what it wrote last is no report of its own: another incident's, an earlier boot's, unreadable.
    pub unusable: Option<String>,
    /// Since when the standby has had everything that a ready one needs, without a break.
    pub whole_since: Option<Time>,
    /// What keeps the standby from ever becoming ready, as of the last look.
    pub stuck: Option<Stuck>,
    /// Set when our clock jumped: what is counted from a moment in the ledger is counted from then.
    pub clock_trusted_since: Option<Time>,
}

impl World {
    /// The world after a start: records as the ledger has them, every signal unknown.
    #[must_use]
    pub fn new(records: impl IntoIterator<Item = (ValidatorId, Validator)>) -> Self {
        let mut world = Self::default();
        for (id, record) in records {
            let record = record.after_restart();
            world.unhealthy += usize::from(record.phase.incident().is_some());
            world.subjects.insert(id, Subject { record, live: Live::default() });
        }
        world
    }

    /// Lets nothing that was written down before this moment count as waited for: it may be by another's clock.
    pub fn trust_clock_since(&mut self, now: Time) {
        for subject in self.subjects.values_mut() {
            subject.live.clock_trusted_since = Some(now);
        }
    }

    /// One validator.
    #[must_use]
    pub fn get(&self, id: &ValidatorId) -> Option<&Subject> {
        self.subjects.get(id)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&ValidatorId, &Subject)> {
        self.subjects.iter()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.subjects.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.subjects.is_empty()
    }

    /// How many are down by enough signals or have an incident. Kept up to date, so that one event costs the same with
    /// ten validators and with a thousand.
    #[must_use]
    pub fn unhealthy(&self) -> usize {
        self.unhealthy
    }

    /// Their names.
    pub fn unhealthy_names(&self) -> impl Iterator<Item = &ValidatorId> {
        self.subjects.iter().filter(|(_, subject)| subject.is_unhealthy()).map(|(id, _)| id)
    }

    /// Makes a decision the state of things. The runtime calls it once the record is in the ledger.
    pub fn commit(&mut self, id: Option<&ValidatorId>, decision: &mut Decision) {
        if let Some(chain) = decision.chain.take() {
            self.chain = chain;
        }
        let Some(subject) = id.and_then(|id| self.subjects.get_mut(id)) else { return };
        self.unhealthy -= usize::from(subject.is_unhealthy());
        if let Some(record) = decision.record.take() {
            subject.record = record;
        }
        if let Some(live) = decision.live.take() {
            subject.live = live;
        }
        self.unhealthy += usize::from(subject.is_unhealthy());
    }
}

impl Subject {
    fn is_unhealthy(&self) -> bool {
        self.live.held_since.is_some() || self.record.phase.incident().is_some()
    }
}
