//! The cloud as it is, whatever the watcher knows of it, and what it answers.

use std::collections::BTreeMap;

use failover::domain::{
    Action, ActionId, CreateOutcome, InstanceId, InstanceRef, Machine, MachineState, Outcome, Report, Role, Rung, Seen,
    Step, Time, ValidatorId, Written, machine_name,
};

use super::{
    ops::{Failing, Fate, Happens, Lie},
    script::{self, CHAIN, ROOT},
};

/// The number by which the model knows this machine.
pub fn number(id: &InstanceId) -> u64 {
    id.to_string().parse().unwrap()
}

/// A machine as it is.
#[derive(Clone, Debug)]
pub struct Real {
    pub validator: ValidatorId,
    pub incident: String,
    pub signer: bool,
    pub hangs: bool,
    pub promoted: bool,
    pub retained: bool,
    /// It was seen to have written something.
    pub spoke: bool,
    pub starting: bool,
    pub stopped: bool,
    pub lie: Lie,
    pub boot: u32,
    pub counter: u64,
}

impl Real {
    fn new(validator: &ValidatorId, incident: &str, starting: bool) -> Self {
        Self {
            validator: validator.clone(),
            incident: incident.into(),
            signer: false,
            hangs: false,
            promoted: false,
            retained: false,
            spoke: false,
            starting,
            stopped: false,
            lie: Lie::Honest,
            boot: 1,
            counter: 0,
        }
    }

    /// In the language of scenarios, and by its label and its state.
    fn kind(&self) -> (&'static str, Role, MachineState) {
        match self {
            _ if self.promoted => ("promoted", Role::Promoted, MachineState::Running),
            _ if self.retained => ("retained", Role::Retained, MachineState::Running),
            _ if self.stopped => ("stopped", Role::Standby, MachineState::Stopped),
            _ if self.starting => ("starting", Role::Standby, MachineState::Starting),
            _ => ("running", Role::Standby, MachineState::Running),
        }
    }

    /// What the check right before a deletion forbids.
    pub fn is_untouchable(&self) -> bool {
        self.signer || self.promoted || self.retained
    }

    fn report(&self) -> Report {
        let honest = Report {
            incident: self.incident.clone(),
            boot_id: format!("boot-{}", self.boot),
            counter: self.counter,
            progress_percent: 100,
            stage: "synced".into(),
            synced: true,
            head_age_seconds: 6,
            peers: 50,
            genesis_root: ROOT.into(),
            chain_id: Some(CHAIN.into()),
            clock_offset_ms: 3,
            signer_seen: self.signer,
            disk_free_percent: Some(60),
            ..Report::default()
        };
        match self.lie {
            Lie::OtherIncident => Report { incident: "deadbeef".into(), ..honest },
            Lie::EarlierBoot => Report { boot_id: format!("boot-{}", self.boot.saturating_sub(1)), ..honest },
            Lie::LastCounter => Report { counter: u64::MAX, ..honest },
            Lie::OldCounter => Report { counter: 0, ..honest },
            Lie::Highest => Report {
                counter: u64::MAX,
                progress_percent: u8::MAX,
                seconds_to_go: Some(u64::MAX),
                head_age_seconds: u64::MAX,
                peers: u32::MAX,
                clock_offset_ms: i64::MAX,
                restarts: u32::MAX,
                disk_free_percent: Some(u8::MAX),
                memory_free_percent: Some(u8::MAX),
                ..honest
            },
            Lie::Lowest => Report {
                counter: self.counter,
                progress_percent: 0,
                seconds_to_go: Some(0),
                head_age_seconds: 0,
                peers: 0,
                clock_offset_ms: i64::MIN,
                disk_free_percent: Some(0),
                ..honest
            },
            Lie::Huge => {
                let huge = || "\u{1b}[2J\u{202e}huge".repeat(10_000);
                Report {
                    boot_id: huge(),
                    stage: huge(),
                    genesis_root: huge(),
                    chain_id: Some(huge()),
                    signer: Some(huge()),
                    versions: BTreeMap::from([(huge(), huge())]),
                    synced: false,
                    ..honest
                }
            }
            Lie::Unsynced => Report { synced: false, progress_percent: 10, head_age_seconds: 90_000, ..honest },
            Lie::Hidden => Report { signer_hidden: Some("no_permission".into()), ..honest },
            Lie::OtherChain => Report { genesis_root: "0xff".into(), chain_id: Some("there-1".into()), ..honest },
            Lie::Honest | Lie::Unreadable | Lie::Starting => honest,
        }
    }

    /// What it has written; in the language of scenarios as well, and whether that is exact.
    fn written(&mut self) -> (Written, String, bool) {
        if !self.stopped && !self.starting {
            self.counter += 1;
        }
        if !self.spoke && (self.hangs || self.starting) {
            return (Written::Nothing, String::new(), true);
        }
        // Its start-up script's word comes first.
        let starts = !std::mem::replace(&mut self.spoke, true);
        match self.lie {
            Lie::Unreadable => (Written::Unreadable("not JSON".into()), "unreadable".into(), true),
            Lie::Starting => {
                let word = format!("\u{1b}[31mfetching\u{202e} {}", "x".repeat(500));
                (Written::starting(&word), format!("starting {}", script::quoted("fetching")), true)
            }
            _ if starts => (Written::starting("start"), "starting \"start\"".into(), true),
            _ => {
                let report = self.report();
                let (words, exact) = script::report(&report, &self.incident);
                (report.into(), words, exact)
            }
        }
    }
}

/// An answer, and how a scenario says it.
pub struct Answer {
    pub outcome: Outcome,
    pub words: String,
    pub exact: bool,
    /// A complete search was empty.
    pub empty: bool,
}

#[derive(Clone, Debug, Default)]
pub struct Cloud {
    pub machines: BTreeMap<u64, Real>,
    /// Creations that happen after the next look.
    late: Vec<(ValidatorId, String)>,
    /// Which kinds of action fail, and how.
    pub broken: Vec<(Step, Failing)>,
    /// What is created hangs in its boot.
    pub hanging: bool,
    answered: u64,
    unanswered: u64,
}

impl Cloud {
    /// `answered` machines have the numbers that a simulated run gives them.
    fn insert(&mut self, validator: &ValidatorId, incident: &str, answered: bool) -> u64 {
        let id = if answered {
            self.answered += 1;
            100 + self.answered
        } else {
            self.unanswered += 1;
            1_000_000 + self.unanswered
        };
        let starting = !answered && self.unanswered.is_multiple_of(2);
        let real = Real { hangs: self.hanging, ..Real::new(validator, incident, starting) };
        self.machines.insert(id, real);
        id
    }

    pub fn of(&self, validator: &ValidatorId, incident: &str) -> usize {
        self.machines.values().filter(|real| real.validator == *validator && real.incident == incident).count()
    }

    /// What was under way when nobody was there any more to hear of it.
    pub fn abandoned(&mut self, validator: &ValidatorId, id: ActionId, action: &Action, happens: bool) {
        match action {
            Action::Create(_) if happens => self.late.push((validator.clone(), id.incident.to_string())),
            Action::Delete(instance) | Action::Abandon(instance) | Action::Reclaim(instance)
                if happens && self.machines.get(&number(&instance.id)).is_some_and(|real| !real.is_untouchable()) =>
            {
                self.machines.remove(&number(&instance.id));
            }
            _ => {}
        }
    }

    pub fn happens(&mut self, validator: &ValidatorId, what: Happens) {
        let Some(id) = self.machines.iter().find(|(_, real)| real.validator == *validator).map(|(id, _)| *id) else {
            return;
        };
        let real = self.machines.get_mut(&id).unwrap();
        match what {
            Happens::Vanishes => drop(self.machines.remove(&id)),
            Happens::Signs => real.signer = true,
            Happens::Hangs => real.hangs = true,
            Happens::Promoted => real.promoted = true,
            Happens::Retained => real.retained = true,
            Happens::GivenBack => (real.retained, real.promoted) = (false, false),
            Happens::Stops => real.stopped = true,
            Happens::Starts => real.stopped = false,
            Happens::Reboots => (real.boot, real.counter) = (real.boot + 1, 0),
            Happens::Writes(lie) => real.lie = lie,
        }
    }

    fn fate(&self, step: Step, fate: Fate) -> Fate {
        let step = if matches!(step, Step::Abandon | Step::Reclaim) { Step::Delete } else { step };
        match self.broken.iter().find(|(broken, _)| *broken == step) {
            None => fate,
            Some((_, Failing::Fails)) => Fate::Fails,
            Some((Step::Create, Failing::OutOfStock)) => Fate::OutOfStock,
            Some((Step::Create, Failing::Quota)) => Fate::Quota,
            // What is lost forever must not happen each time, or there are machines without end.
            Some(_) => Fate::Fails,
        }
    }

    pub fn answer(
        &mut self,
        validator: &ValidatorId,
        id: ActionId,
        action: &Action,
        fate: Fate,
        first: &Rung,
        now: Time,
    ) -> Answer {
        let incident = id.incident.to_string();
        let lost_for_ever = self.broken.contains(&(Step::Create, Failing::ReplyLost));
        let fate = self.fate(action.step(), fate);
        let said = || "as the scenario says".to_owned();
        let plain = |outcome: Outcome, words: &str| Answer { outcome, words: words.into(), exact: true, empty: false };
        match (action, fate) {
            (Action::Find, Fate::Works | Fate::OutOfStock | Fate::Quota | Fate::Late | Fate::Lies) => {
                self.find(validator, first, now)
            }
            (Action::Create(_), _) if lost_for_ever => {
                plain(Outcome::Created(CreateOutcome::Unknown(said())), "unknown")
            }
            (Action::Create(spec), Fate::Works | Fate::Lies) => {
                let number = self.insert(validator, &incident, true);
                let name = machine_name(validator, id.incident);
                let instance = InstanceRef { zone: spec.rung.zone.clone(), name, id: number.into() };
                plain(Outcome::Created(CreateOutcome::Created(instance)), "created")
            }
            (Action::Create(_), Fate::ReplyLost) => {
                self.insert(validator, &incident, false);
                plain(Outcome::Created(CreateOutcome::Unknown(said())), "unknown")
            }
            (Action::Create(_), Fate::Late) => {
                self.late.push((validator.clone(), incident));
                plain(Outcome::Created(CreateOutcome::Unknown(said())), "unknown")
            }
            (Action::Create(_), Fate::OutOfStock) => {
                plain(Outcome::Created(CreateOutcome::OutOfStock(said())), "out-of-stock")
            }
            (Action::Create(_), Fate::Quota) => plain(Outcome::Created(CreateOutcome::QuotaExceeded(said())), "quota"),
            (Action::Create(_), Fate::Fails) => plain(Outcome::Created(CreateOutcome::Refused(said())), "refused"),
            (Action::Observe(instance), Fate::Works | Fate::Late | Fate::Lies) => self.look(number(&instance.id)),
            (Action::Delete(_) | Action::Abandon(_) | Action::Reclaim(_), Fate::Lies) => {
                plain(Outcome::Deleted, "deleted")
            }
            (
                Action::Delete(instance) | Action::Abandon(instance) | Action::Reclaim(instance),
                Fate::Works | Fate::ReplyLost,
            ) => {
                let real = self.machines.get(&number(&instance.id));
                let gives_up = matches!(action, Action::Abandon(_));
                if real.is_some_and(|real| real.is_untouchable() || (gives_up && real.spoke)) {
                    // What the executor's own check answers.
                    return plain(Outcome::Untouchable(said()), "untouchable");
                }
                self.machines.remove(&number(&instance.id));
                if fate == Fate::Works {
                    plain(Outcome::Deleted, "deleted")
                } else {
                    plain(Outcome::Failed(said()), "failed")
                }
            }
            (Action::Console(_), Fate::Works | Fate::Late) => {
                plain(Outcome::Console("Kernel panic\n".repeat(900)), "console \"Kernel panic\"")
            }
            (Action::Disks, Fate::Works) => plain(Outcome::Disks(Vec::new()), "disks none"),
            (Action::Disks, Fate::Lies) => plain(Outcome::Disks(vec!["left".into()]), "disks left"),
            (
                Action::Find
                | Action::Observe(_)
                | Action::Delete(_)
                | Action::Abandon(_)
                | Action::Reclaim(_)
                | Action::Console(_)
                | Action::Disks,
                _,
            ) => plain(Outcome::Failed(said()), "failed"),
        }
    }

    fn find(&mut self, validator: &ValidatorId, first: &Rung, now: Time) -> Answer {
        let (found, words) = self.list(validator, first, now);
        // What was late has arrived by the look after this one.
        for (validator, incident) in std::mem::take(&mut self.late) {
            self.insert(&validator, &incident, false);
        }
        let empty = found.is_empty();
        Answer { outcome: Outcome::Found(found), words: format!("found{words}"), exact: true, empty }
    }

    /// All machines of the validator, whatever incident they are of.
    pub fn list(&mut self, validator: &ValidatorId, first: &Rung, now: Time) -> (Vec<Machine>, String) {
        let mut found = Vec::new();
        let mut words = String::new();
        for (number, real) in &mut self.machines {
            if real.validator != *validator {
                continue;
            }
            let (kind, role, state) = real.kind();
            real.starting = false;
            words.push_str(&format!(" {kind}@{}={number}", real.incident));
            // Where a simulated run lists a machine: on the first rung, whatever it was created on.
            let instance = InstanceRef {
                zone: first.zone.clone(),
                name: format!("fo-{validator}-{}", real.incident),
                id: (*number).into(),
            };
            found.push(Machine {
                instance,
                validator: validator.to_string(),
                incident: real.incident.clone(),
                ledger: String::new(),
                role,
                state,
                deletion_protection: role != Role::Standby,
                machine_type: first.machine_type.clone(),
                created_at: Some(now),
            });
        }
        if found.is_empty() {
            words.push_str(" none");
        }
        (found, words)
    }

    fn look(&mut self, number: u64) -> Answer {
        let Some(real) = self.machines.get_mut(&number) else {
            return Answer { outcome: Outcome::Observed(None), words: "gone".into(), exact: true, empty: false };
        };
        real.starting = false;
        let (kind, role, state) = real.kind();
        let (written, words, exact) = real.written();
        let seen = Seen { state, role, deletion_protection: role != Role::Standby, written };
        let words = format!("seen {kind} {words}");
        Answer { outcome: Outcome::Observed(Some(seen)), words, exact, empty: false }
    }
}
