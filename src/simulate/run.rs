//! A scenario against the machine: events in order of time, wake-ups in between, expectations checked where they stand.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use super::{Answer, Expect, Scenario, Statement, Wrote};
use crate::domain::{
    Action, ActionId, Ask, ChainView, CreateOutcome, Event, Hands, InstanceRef, Interval, KeyStates, Machine,
    MachineState, NoticeKind, Outcome, Policy, Reading, Reason, Report as AgentReport, Request, Role, Seen, Span, Time,
    ValidatorId, World, Written, explain, step,
};

/// What a run has shown.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Report {
    /// Decisions and checked expectations, in order, to be printed.
    pub transcript: String,
    /// How many expectations were checked.
    pub checked: usize,
    /// Those that were not met.
    pub failures: Vec<String>,
}

/// Changes every event on its way to the machine, and the policy beforehand. The tests switch a rule off with it, to see
/// its scenario fail.
pub trait Tamper {
    /// Once, before the first event.
    fn policy(&self, _policy: &mut Policy) {}
    /// For each event; `None` drops it.
    fn event(&self, event: Event) -> Option<Event> {
        Some(event)
    }
}

/// Nothing is changed.
struct Honest;
impl Tamper for Honest {}

/// Runs a scenario as it stands.
#[must_use]
pub fn run(scenario: &Scenario) -> Report {
    run_with(scenario, &Honest)
}

/// Runs a scenario with something changed on the way.
#[must_use]
pub fn run_with(scenario: &Scenario, tamper: &dyn Tamper) -> Report {
    let mut policy = scenario.policy.clone();
    tamper.policy(&mut policy);
    let mut simulation = Simulation::new(scenario, policy, tamper);
    for line in &scenario.lines {
        let now = simulation.start.checked_add(line.at).unwrap_or(Time::MAX);
        simulation.pass_time(now);
        simulation.now = now;
        simulation.state(line.number, &line.statement);
    }
    simulation.report
}

/// The genesis root of the simulated chain; reports follow it unless they say otherwise.
const GENESIS_ROOT: &str = "0x4b36";

struct Simulation<'a> {
    start: Time,
    now: Time,
    world: World,
    policy: Policy,
    tamper: &'a dyn Tamper,
    wake: BTreeMap<ValidatorId, Time>,
    under_way: BTreeMap<ValidatorId, (ActionId, Action)>,
    created: BTreeMap<ValidatorId, usize>,
    mails: BTreeMap<ValidatorId, Vec<String>>,
    mailed: BTreeSet<uuid::Uuid>,
    opened: usize,
    machines: u64,
    last_said: BTreeMap<ValidatorId, String>,
    report: Report,
}

impl<'a> Simulation<'a> {
    fn new(scenario: &Scenario, mut policy: Policy, tamper: &'a dyn Tamper) -> Self {
        if policy.mail_to.is_empty() {
            policy.mail_to.push("operator@example.org".into());
        }
        // Any moment will do; this one makes printed times easy to read.
        let start = Time::constant(1_767_225_600, 0);
        let mut world = World::new(scenario.validators.iter().map(|id| (id.clone(), Default::default())));
        world.chain.genesis_root = Some(GENESIS_ROOT.into());
        Self {
            start,
            now: start,
            world,
            policy,
            tamper,
            wake: BTreeMap::new(),
            under_way: BTreeMap::new(),
            created: BTreeMap::new(),
            mails: BTreeMap::new(),
            mailed: BTreeSet::new(),
            opened: 0,
            machines: 100,
            last_said: BTreeMap::new(),
            report: Report::default(),
        }
    }

    /// Wakes whoever asked for it until then.
    fn pass_time(&mut self, until: Time) {
        // A decision that wakes itself for ever at one moment would hang the run; no real one needs so many.
        for _ in 0..100_000 {
            let Some((id, at)) = self.wake.iter().min_by_key(|(_, at)| **at).map(|(id, at)| (id.clone(), *at)) else {
                return;
            };
            if at > until {
                return;
            }
            self.wake.remove(&id);
            self.now = self.now.max(at);
            self.happen(Event::Due(id));
        }
        self.report.failures.push(format!("{}: it wakes itself without end", self.stamp()));
    }

    fn state(&mut self, line: usize, statement: &Statement) {
        match statement {
            Statement::Expect(expect) => self.check(line, expect),
            Statement::Restart => self.restart(),
            Statement::ClockJump => {
                for id in self.world.iter().map(|(id, _)| id.clone()).collect::<Vec<_>>() {
                    self.happen(Event::ClockJumped(id));
                }
            }
            Statement::Chain(health) => {
                let view = ChainView { health: *health, genesis_root: Some(GENESIS_ROOT.into()) };
                self.happen(Event::ChainSeen(view));
                for id in self.world.iter().map(|(id, _)| id.clone()).collect::<Vec<_>>() {
                    self.happen(Event::Due(id));
                }
            }
            Statement::Signal { validator, source, verdict, evidence, about, fresh } => {
                let at = |offset: Span| self.now.checked_add(offset).unwrap_or(self.now);
                let reading = Reading {
                    verdict: *verdict,
                    evidence: *evidence,
                    about: Interval { from: at(about.0), to: at(about.1) },
                    fresh_until: at(*fresh),
                    why: "as the scenario says".into(),
                };
                self.happen(Event::Observed(validator.clone(), *source, reading));
            }
            Statement::Keys { validator, active, slashed, silent } => {
                let slashed = (0..*slashed).map(|key| format!("0x{key:02x}")).collect();
                let keys = KeyStates { active: *active, slashed, silent: *silent, ..KeyStates::default() };
                self.happen(Event::KeysSeen(validator.clone(), keys));
            }
            Statement::Hands { validator, why, fresh } => {
                let fresh_until = self.now.checked_add(*fresh).unwrap_or(Time::MAX);
                let hands = why.as_ref().map(|why| Hands { why: why.as_str().into(), fresh_until });
                self.happen(Event::HandsSeen(validator.clone(), hands));
            }
            Statement::Request { validator, id, ask, until } => {
                let ask = match ask.as_str() {
                    "open" => Ask::Open,
                    "close" => Ask::Close,
                    "pause" => {
                        let span = until.unwrap_or(Span::from_hours(1));
                        Ask::Pause { until: self.now.checked_add(span).unwrap_or(Time::MAX) }
                    }
                    "resume" => Ask::Resume,
                    _ => Ask::Retain,
                };
                let id = id.clone().unwrap_or_else(|| format!("line-{line}"));
                let (by, reason) = ("operator".to_owned(), "as the scenario says".to_owned());
                self.happen(Event::Requested(
                    validator.clone(),
                    Request { id, validator: validator.clone(), by, reason, ask },
                ));
            }
            Statement::Answer { validator, answer } => match self.under_way.remove(validator) {
                Some((id, action)) => {
                    let outcome = self.outcome(validator, id, &action, answer);
                    self.happen(Event::Finished(validator.clone(), id, outcome));
                }
                None => self.report.failures.push(format!("line {line}: nothing is under way for {validator}")),
            },
        }
    }

    /// What a crash leaves: the records. What was under way may have happened or not.
    fn restart(&mut self) {
        let records: Vec<_> = self.world.iter().map(|(id, subject)| (id.clone(), subject.record.clone())).collect();
        let chain = self.world.chain.clone();
        self.world = World::new(records);
        self.world.trust_clock_since(self.now);
        self.world.chain = chain;
        self.under_way.clear();
        self.wake.clear();
        self.print("restarted");
        for id in self.world.iter().map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            self.happen(Event::Due(id));
        }
    }

    fn happen(&mut self, event: Event) {
        let Some(event) = self.tamper.event(event) else { return };
        let id = event.validator().cloned();
        let mut decision = match step(&self.world, &event, self.now, &self.policy) {
            Ok(decision) => decision,
            Err(rejected) => return self.report.failures.push(format!("{}: {rejected}", self.stamp())),
        };
        self.world.commit(id.as_ref(), &mut decision);
        let Some(id) = id else { return };
        match decision.wake_at {
            Some(at) => self.wake.insert(id.clone(), at),
            None => self.wake.remove(&id),
        };
        for reason in &decision.reasons {
            self.opened += usize::from(matches!(reason, Reason::Opened { .. }));
            self.print(&format!("{id}: {reason}"));
        }
        for (action_id, action) in decision.actions {
            *self.created.entry(id.clone()).or_default() += usize::from(matches!(action, Action::Create(_)));
            self.print(&format!("{id}: asks the cloud: {}", name_of(&action)));
            self.under_way.insert(id.clone(), (action_id, action));
        }
        self.read_outbox(&id);
        self.print_standing(&id);
    }

    fn read_outbox(&mut self, id: &ValidatorId) {
        let Some(subject) = self.world.get(id) else { return };
        let new: Vec<String> = subject
            .record
            .outbox
            .iter()
            .filter(|outgoing| self.mailed.insert(outgoing.notice.id))
            .map(|outgoing| kind_name(&outgoing.notice.kind))
            .collect();
        for kind in new {
            self.print(&format!("{id}: mail: {kind}"));
            self.mails.entry(id.clone()).or_default().push(kind);
        }
    }

    fn print_standing(&mut self, id: &ValidatorId) {
        let said = self.standing(id);
        // The words change with every second of waiting; only another kind of standing is worth a line.
        let kind: String = said.chars().filter(|c| c.is_alphabetic()).take(24).collect();
        if self.last_said.get(id) != Some(&kind) {
            self.last_said.insert(id.clone(), kind);
            self.print(&format!("{id}: {said}"));
        }
    }

    fn standing(&self, id: &ValidatorId) -> String {
        explain(&self.world, id, self.now, &self.policy).map(|reason| reason.to_string()).unwrap_or_default()
    }

    fn outcome(&mut self, validator: &ValidatorId, id: ActionId, action: &Action, answer: &Answer) -> Outcome {
        let said = || "as the scenario says".to_owned();
        match answer {
            Answer::Found(kinds) => {
                let first = self.machines;
                let machines = kinds
                    .iter()
                    .zip(first..)
                    .map(|((role, state), number)| self.machine(validator, id, action, *role, *state, number));
                Outcome::Found(machines.collect())
            }
            Answer::Created | Answer::Exists => {
                // A machine of this name that stands there already is the one made last.
                self.machines += u64::from(matches!(answer, Answer::Created));
                let zone = match action {
                    Action::Create(spec) => spec.rung.zone.clone(),
                    Action::Find
                    | Action::Observe(_)
                    | Action::Delete(_)
                    | Action::GiveUp(_)
                    | Action::Console(_)
                    | Action::Disks => "nowhere".into(),
                };
                let name = crate::domain::machine_name(validator, id.incident);
                // The number that `found` gives to its first machine from now on.
                Outcome::Created(CreateOutcome::Created(InstanceRef { zone, name, id: self.machines }))
            }
            Answer::OutOfStock => Outcome::Created(CreateOutcome::OutOfStock(said())),
            Answer::Quota => Outcome::Created(CreateOutcome::QuotaExceeded(said())),
            Answer::Refused => Outcome::Created(CreateOutcome::Refused(said())),
            Answer::Unknown => Outcome::Created(CreateOutcome::Unknown(said())),
            Answer::Seen { state, role, written } => Outcome::Observed(Some(Seen {
                state: *state,
                role: *role,
                deletion_protection: *role != Role::Standby,
                written: match written {
                    Wrote::Nothing => Written::Nothing,
                    Wrote::Unreadable => Written::Unreadable(said()),
                    Wrote::Report(fields) => agent_report(fields, id).into(),
                },
            })),
            Answer::Gone => Outcome::Observed(None),
            Answer::Deleted => Outcome::Deleted,
            Answer::Untouchable => Outcome::Untouchable(said()),
            Answer::Failed => Outcome::Failed(said()),
            Answer::Console(text) => Outcome::Console(text.clone()),
            Answer::Disks(left) => Outcome::Disks(left.clone()),
        }
    }

    fn machine(
        &self,
        validator: &ValidatorId,
        id: ActionId,
        action: &Action,
        role: Role,
        state: MachineState,
        number: u64,
    ) -> Machine {
        let _ = action;
        let rung = self.policy.ladder.first().map(|priced| priced.rung.clone());
        let zone = rung.as_ref().map_or_else(|| "nowhere".to_owned(), |rung| rung.zone.clone());
        Machine {
            instance: InstanceRef { zone, name: crate::domain::machine_name(validator, id.incident), id: number },
            validator: validator.to_string(),
            incident: id.incident.to_string(),
            role,
            state,
            deletion_protection: role != Role::Standby,
            machine_type: rung.map_or_else(String::new, |rung| rung.machine_type),
            created_at: Some(self.now),
        }
    }

    fn check(&mut self, line: usize, expect: &Expect) {
        self.report.checked += 1;
        let (what, wanted, seen) = match expect {
            Expect::Phase(id, wanted) => {
                let seen = self.world.get(id).map(|subject| subject.record.phase.name().to_owned()).unwrap_or_default();
                (format!("{id} phase"), wanted.clone(), seen)
            }
            Expect::Says(id, wanted) => {
                let seen = self.standing(id);
                let seen = if seen.contains(wanted.as_str()) { wanted.clone() } else { seen };
                (format!("{id} says"), wanted.clone(), seen)
            }
            Expect::Asked(id, wanted) => {
                let seen = self.under_way.get(id).map_or_else(|| "nothing".to_owned(), |(_, action)| name_of(action));
                let seen = if seen.starts_with(wanted.as_str()) { wanted.clone() } else { seen };
                (format!("{id} asked"), wanted.clone(), seen)
            }
            Expect::Created(id, wanted) => {
                let seen = self.created.get(id).copied().unwrap_or_default();
                (format!("{id} created"), wanted.to_string(), seen.to_string())
            }
            Expect::Mails(id, wanted) => {
                let seen = self.mails.get(id).cloned().unwrap_or_default();
                (format!("{id} mails"), wanted.join(" "), seen.join(" "))
            }
            Expect::Incidents(wanted) => ("incidents".to_owned(), wanted.to_string(), self.opened.to_string()),
        };
        if wanted == seen {
            self.print(&format!("as expected: {what} {wanted}"));
        } else {
            let failure = format!("line {line}: expected {what} to be '{wanted}', it is '{seen}'");
            self.print(&format!("NOT as expected: {failure}"));
            self.report.failures.push(failure);
        }
    }

    fn stamp(&self) -> String {
        let since = self.now.duration_since(self.start);
        format!("{since:#}")
    }

    fn print(&mut self, text: &str) {
        let _ = writeln!(self.report.transcript, "{:>12}  {text}", self.stamp());
    }
}

fn name_of(action: &Action) -> String {
    match action {
        Action::Find => "find".into(),
        Action::Create(spec) => format!("create {}", spec.rung),
        Action::Observe(_) => "observe".into(),
        Action::Delete(instance) => format!("delete {}", instance.id),
        Action::GiveUp(instance) => format!("give up {}", instance.id),
        Action::Console(_) => "console".into(),
        Action::Disks => "disks".into(),
    }
}

/// "standby_ready": the name under which the ledger keeps it.
fn kind_name(kind: &NoticeKind) -> String {
    if let NoticeKind::Recovered { left, .. } = kind
        && !left.is_empty()
    {
        return "recovered_with_rest".into();
    }
    match serde_json::to_value(kind) {
        Ok(serde_json::Value::Object(object)) => object.keys().next().cloned().unwrap_or_default(),
        Ok(serde_json::Value::String(name)) => name,
        _ => "unreadable".into(),
    }
}

fn agent_report(fields: &BTreeMap<String, String>, id: ActionId) -> AgentReport {
    let text = |key: &str, usual: &str| fields.get(key).cloned().unwrap_or_else(|| usual.to_owned());
    let number = |key: &str, usual: i64| fields.get(key).and_then(|value| value.parse().ok()).unwrap_or(usual);
    AgentReport {
        incident: text("incident", &id.incident.to_string()),
        boot_id: text("boot", "first"),
        counter: number("counter", 1).unsigned_abs(),
        progress_percent: u8::try_from(number("progress", 100)).unwrap_or(100),
        stage: text("stage", "synced"),
        synced: text("synced", "yes") == "yes",
        optimistic: text("optimistic", "no") == "yes",
        head_age_seconds: number("head_age", 6).unsigned_abs(),
        peers: u32::try_from(number("peers", 50)).unwrap_or_default(),
        genesis_root: text("root", GENESIS_ROOT),
        chain_id: fields.get("chain").cloned(),
        clock_offset_ms: number("offset", 3),
        signer_seen: text("signer", "no") == "yes",
        restarts: u32::try_from(number("restarts", 0)).unwrap_or_default(),
        disk_free_percent: Some(u8::try_from(number("disk", 60)).unwrap_or_default()),
        ..AgentReport::default()
    }
}
