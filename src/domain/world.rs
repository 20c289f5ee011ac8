//! Everything the watcher knows: the durable records and, beside them, what lives in memory only.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    ActionId, ChainView, CloudTrouble, Decision, InstanceId, InstanceRef, KeyStates, Machine, MachineState,
    Maintenance, ReportHistory, Signals, Span, Step, Stuck, Time, TimeExt, Validator, ValidatorId, gate::GateSight,
};

/// All validators, and the chain they are on.
#[derive(Clone, Debug, Default)]
pub struct World {
    subjects: BTreeMap<ValidatorId, Subject>,
    pub chain: ChainView,
    unhealthy: usize,
}

/// One validator: its record in the ledger and what is known beside it.
#[derive(Clone, Debug, Default)]
pub struct Subject {
    /// As the ledger has it, or will have it before anything is done.
    pub record: Validator,
    pub live: Live,
}

/// What is lost in a restart, and should be: nobody has watched in between.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Live {
    pub signals: Signals,
    pub keys: Option<KeyStates>,
    /// Signs of a human at work on it.
    pub maintenance: Option<Maintenance>,
    /// Since when no witness is seen, if none was for long.
    pub witness_unseen: Option<Time>,
    /// What its gate does, as far as it was last seen.
    pub gate: Option<GateSight>,
    /// Since when enough independent sources have said down without a break and without a veto.
    pub down_since: Option<Time>,
    /// A source shows it at work although others say down.
    pub vetoed: bool,
    /// When a veto, or a gate's wait for silent epochs, last ended: no hold begins before.
    pub hold_from: Option<Time>,
    /// Since when nothing has said down.
    pub calm_since: Option<Time>,
    /// Since when the chain has shown it at work without a break, while an incident is open.
    pub healthy_since: Option<Time>,
    /// The action that was started and has not ended.
    pub started: Option<ActionId>,
    /// Somebody has asked for quiet since the last complete search: nothing is created on that one.
    pub paused_since_search: bool,
    /// Machines that no incident claimed in the last list.
    pub orphans: BTreeSet<InstanceId>,
    /// Of the last list, those that were promoted once or own the keys; `None` before there was one.
    pub promoted: Option<Vec<Machine>>,
    /// Since when nothing was wrong with the machine that owns the keys.
    pub owner_well_since: Option<Time>,
    /// Since when nobody may sign and no record says that anybody continues.
    pub stranded_since: Option<Time>,
    /// The one of them that is being deleted.
    pub deleting_orphan: Option<InstanceRef>,
    /// What was asked of the cloud and has failed each time since it last worked.
    pub troubles: BTreeMap<Step, CloudTrouble>,
    /// Zones that have not answered the last search: nothing is created there.
    pub unseen_zones: Vec<String>,
    /// The machine that was deleted last, as far as the cloud says.
    pub deleted: Option<InstanceId>,
    /// Numbers the polls, so that a late answer is known as one.
    pub polls: u32,
    /// Since when our clock can be trusted: a start, or its last jump.
    pub trusted_since: Option<Time>,
    /// The incident's machine, as it is observed.
    pub machine: Option<Box<MachineWatch>>,
}

/// What is observed of the incident's machine. Forgetting a machine is forgetting this as a whole.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MachineWatch {
    /// When the machine is looked at next.
    pub next_poll_at: Time,
    /// When all zones are searched next.
    pub next_list_at: Time,
    /// When it was last seen, and how.
    pub seen: Option<LastPoll>,
    /// It does not exist any more.
    pub gone: bool,
    /// The operator keeps it, as its label or its protection says; `None` before it was looked at.
    pub kept: Option<bool>,
    /// Since when it is on its way to be stopped or deleted.
    pub stopping_since: Option<Time>,
    /// Its last usable report, and what its reports have shown so far.
    pub report: Option<ReportHistory>,
    /// What its start-up script said last; `None` once there is a report.
    pub boot_status: Option<String>,
    /// Why what it wrote last is no report of its own: another incident's, an earlier boot's, unreadable.
    pub unusable: Option<String>,
    /// Since when the standby has had everything that a ready one needs, without a break.
    pub complete_since: Option<Time>,
    /// What keeps the standby from ever becoming ready, as of the last poll.
    pub stuck: Option<Stuck>,
}

/// One look at a machine that succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastPoll {
    pub at: Time,
    pub state: MachineState,
    /// It has written something, whatever it is.
    pub has_written: bool,
}

impl MachineWatch {
    /// A machine that is to be looked at and searched for at once.
    #[must_use]
    pub fn from(now: Time) -> Self {
        Self { next_poll_at: now, next_list_at: now, ..Self::default() }
    }

    /// Whether it is known to be stopped.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        !self.gone && self.seen.is_some_and(|seen| seen.state == MachineState::Stopped)
    }

    /// Whether the operator is known to keep it. One that is gone is nobody's.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        !self.gone && self.kept == Some(true)
    }
}

impl Live {
    /// Our clock jumped. Nothing that was observed before can be dated any more, every hold begins again, and the machine
    /// is looked at at once.
    pub fn clock_jumped(&mut self, by: Span, now: Time) {
        self.signals.clock_jumped(by, now);
        if let Some(maintenance) = &mut self.maintenance {
            maintenance.fresh_until = maintenance.fresh_until.plus(by);
        }
        if let Some(gate) = &mut self.gate {
            gate.clock_jumped(by);
        }
        (self.down_since, self.hold_from, self.calm_since, self.healthy_since) = (None, None, None, None);
        self.owner_well_since = None;
        self.stranded_since = None;
        self.trusted_since = Some(now);
        if let Some(machine) = &mut self.machine {
            (machine.next_poll_at, machine.next_list_at) = (now, now);
            machine.complete_since = None;
            machine.stopping_since = machine.stopping_since.map(|_| now);
            if let Some(seen) = &mut machine.seen {
                seen.at = seen.at.plus(by);
            }
            if let Some(report) = &mut machine.report {
                report.interrupt(now);
            }
        }
        for trouble in self.troubles.values_mut() {
            trouble.since = trouble.since.plus(by);
        }
    }

    /// The machine's last usable report.
    #[must_use]
    pub fn report(&self) -> Option<&ReportHistory> {
        self.machine.as_ref()?.report.as_ref()
    }
}

impl World {
    /// The world after a start: records as the ledger has them, every signal unknown.
    #[must_use]
    pub fn new(records: impl IntoIterator<Item = (ValidatorId, Validator)>) -> Self {
        let mut world = Self::default();
        for (id, record) in records {
            let record = record.after_restart();
            world.unhealthy += usize::from(record.case.is_some());
            world.subjects.insert(id, Subject { record, live: Live::default() });
        }
        world
    }

    /// Lets nothing that was written down before this moment count as waited for: it may be by another's clock.
    pub fn trust_clock_since(&mut self, now: Time) {
        for subject in self.subjects.values_mut() {
            subject.live.trusted_since = Some(now);
        }
    }

    #[must_use]
    pub fn get(&self, id: &ValidatorId) -> Option<&Subject> {
        self.subjects.get(id)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&ValidatorId, &Subject)> {
        self.subjects.iter()
    }

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

    pub fn unhealthy_names(&self) -> impl Iterator<Item = &ValidatorId> {
        self.subjects.iter().filter(|(_, subject)| subject.is_unhealthy()).map(|(id, _)| id)
    }

    /// Makes a decision the state of things. The runtime does so before the record is in the ledger, and starts no action and
    /// shows nothing of it until it is.
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
        self.live.down_since.is_some() || self.record.case.is_some()
    }
}
