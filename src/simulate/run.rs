//! A scenario against the machine: events in order of time, wake-ups in between, expectations checked where they stand.

mod answers;

use std::{collections::BTreeMap, fmt::Write as _};

use super::{Expectation, Scenario, Statement, parse};
use crate::domain::{
    Action, ActionId, ChainView, Command, Delivery, Event, IncidentId, Interval, KeyStates, Listed, Maintenance,
    Outgoing, Policy, PublicKey, REQUEST_LIFETIME, Reading, Reason, Request, Span, Time, TimeExt, ValidatorId, World,
    explain, step,
};

#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct SimulationReport {
    /// Decisions and checked expectations, in order, to be printed.
    pub transcript: String,
    pub checked: usize,
    pub failures: Vec<String>,
    /// Answers that came while nothing was under way, so that nothing happened.
    pub unused: Vec<String>,
}

/// Changes every event on its way to the machine, and the policy beforehand. The tests switch a rule off with it, to
/// see its scenario fail.
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
pub fn run(scenario: &Scenario) -> SimulationReport {
    run_with(scenario, &Honest)
}

/// Runs a scenario with something changed on the way.
#[must_use]
pub fn run_with(scenario: &Scenario, tamper: &dyn Tamper) -> SimulationReport {
    let mut policy = scenario.policy.clone();
    tamper.policy(&mut policy);
    let mut simulation = Simulation::new(scenario, policy, tamper);
    for line in &scenario.lines {
        let now = simulation.start.plus(line.at).plus(simulation.clock_off);
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
    /// By how much the clock was moved since the start.
    clock_off: Span,
    world: World,
    policy: Policy,
    tamper: &'a dyn Tamper,
    wake: BTreeMap<ValidatorId, Time>,
    under_way: BTreeMap<ValidatorId, (ActionId, Action)>,
    created: BTreeMap<ValidatorId, usize>,
    mails: BTreeMap<ValidatorId, Vec<String>>,
    reminders: BTreeMap<ValidatorId, Vec<String>>,
    opened: usize,
    machines: u64,
    last_said: BTreeMap<ValidatorId, String>,
    report: SimulationReport,
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
            clock_off: Span::ZERO,
            world,
            policy,
            tamper,
            wake: BTreeMap::new(),
            under_way: BTreeMap::new(),
            created: BTreeMap::new(),
            mails: BTreeMap::new(),
            reminders: BTreeMap::new(),
            opened: 0,
            machines: 100,
            last_said: BTreeMap::new(),
            report: SimulationReport::default(),
        }
    }

    /// Wakes those who asked for it until then.
    fn pass_time(&mut self, until: Time) {
        // A decision that wakes itself forever at one moment would hang the run; no real one needs so many.
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
            Statement::Expectation(expect) => self.check(line, expect),
            Statement::Restart => self.restart(),
            Statement::ClockJump(by) => {
                self.clock_off = self.clock_off.saturating_add(*by);
                self.now = self.now.plus(*by);
                self.all(|id| Event::ClockJumped(id, *by));
            }
            Statement::Policy(words) => {
                if let Err(why) = parse::policy(&mut self.policy, words) {
                    self.report.failures.push(format!("line {line}: {why}"));
                }
                self.all(Event::Due);
            }
            Statement::Owner { validator, owner } => {
                self.happen(Event::OwnerSeen(validator.clone(), owner.clone()));
            }
            Statement::Promotion { validator, says } => {
                let record = self.world.get(validator).map(|subject| &subject.record);
                let before = record.and_then(|record| record.promotion.as_deref());
                let view = says.view(before, self.now);
                let event = Event::PromotionSeen(validator.clone(), Some(view.number), Some(Box::new(view)));
                self.happen(event);
            }
            Statement::Chain(health) => {
                let view = ChainView { health: *health, genesis_root: Some(GENESIS_ROOT.into()) };
                self.happen(Event::ChainSeen(view));
                self.all(Event::Due);
            }
            Statement::Signal { validator, source, verdict, evidence, about, fresh } => {
                let at = |offset: Span| self.now.plus(offset);
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
                let slashed = (0..*slashed).map(|key| PublicKey::new([key as u8; 48])).collect();
                let keys = KeyStates { active: *active, slashed, silent: *silent, ..KeyStates::default() };
                self.happen(Event::KeysSeen(validator.clone(), keys));
            }
            Statement::Maintenance { validator, why, fresh } => {
                let fresh_until = self.now.plus(*fresh);
                let maintenance = why.as_ref().map(|why| Maintenance { why: why.as_str().into(), fresh_until });
                self.happen(Event::MaintenanceSeen(validator.clone(), maintenance));
            }
            Statement::Gate { validator, says, fresh } => {
                self.happen(Event::GateSeen(validator.clone(), says.sight(*fresh, self.now)));
            }
            Statement::Delivered(validator) => {
                let waiting = self.world.get(validator).map_or(&[][..], |subject| &subject.record.outbox).to_vec();
                for mail in waiting {
                    let delivery = Delivery { accepted: mail.waiting_for, ..Delivery::default() };
                    self.happen(Event::MailSettled(validator.clone(), mail.notice.id, delivery));
                }
            }
            Statement::Machines { validator, listed, ours } => {
                let all = self.machines_of(validator, "00000000", listed);
                let all = all.into_iter().map(|machine| Listed { machine, ours: *ours }).collect();
                self.happen(Event::MachinesListed(validator.clone(), all));
            }
            Statement::Request { validator, id, ask, until, incident, written } => {
                let command = match ask.as_str() {
                    "open" => Command::Open,
                    "close" => Command::Close,
                    "pause" => Command::Pause { until: self.now.plus(until.unwrap_or(Span::from_hours(1))) },
                    "resume" => Command::Resume,
                    _ => Command::Retain,
                };
                // Unless the line says otherwise the operator has just looked.
                let open = self.world.get(validator).and_then(|subject| subject.record.incident()).map(|open| open.id);
                let request = Request {
                    id: id.clone().unwrap_or_else(|| format!("line-{line}")),
                    validator: validator.clone(),
                    by: "operator".into(),
                    reason: "as the scenario says".into(),
                    command,
                    incident: incident.clone().map_or(open, |incident| IncidentId::try_from(incident).ok()),
                    expires_at: Some(self.now.plus(*written).plus(REQUEST_LIFETIME)),
                };
                self.happen(Event::Requested(validator.clone(), request));
            }
            Statement::ScriptedAnswer { validator, answer } => match self.under_way.remove(validator) {
                Some((id, action)) => {
                    let outcome = self.outcome(validator, id, &action, answer);
                    self.happen(Event::Finished(validator.clone(), id, outcome));
                }
                None => {
                    self.print(&format!("{validator}: nothing is under way, so there is nothing to answer"));
                    self.report.unused.push(format!("line {line}: nothing is under way for {validator}"));
                }
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
        self.all(Event::Due);
    }

    fn all(&mut self, event: impl Fn(ValidatorId) -> Event) {
        for id in self.world.iter().map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            self.happen(event(id));
        }
    }

    fn happen(&mut self, event: Event) {
        let Some(event) = self.tamper.event(event) else { return };
        let id = event.validator().cloned();
        let mut decision = match step(&self.world, &event, self.now, &self.policy) {
            Ok(decision) => decision,
            Err(rejected) => return self.report.failures.push(format!("{}: {rejected}", self.stamp())),
        };
        let waited = id.as_ref().and_then(|id| self.world.get(id)).map(|subject| subject.record.outbox.clone());
        self.world.commit(id.as_ref(), &mut decision);
        let Some(id) = id else { return };
        match decision.wake_at {
            Some(at) => self.wake.insert(id.clone(), at),
            None => self.wake.remove(&id),
        };
        for reason in &decision.reasons {
            self.opened += usize::from(matches!(reason, Reason::Opened { .. } | Reason::DownAgain { .. }));
            self.print(&format!("{id}: {reason}"));
        }
        for (action_id, action) in decision.actions {
            *self.created.entry(id.clone()).or_default() += usize::from(matches!(action, Action::Create(_)));
            self.print(&format!("{id}: asks the cloud: {}", name_of(&action)));
            self.under_way.insert(id.clone(), (action_id, action));
        }
        self.read_outbox(&id, &waited.unwrap_or_default());
        self.print_standing(&id);
    }

    /// Every notice that was queued counts, also one that says the same a second time.
    fn read_outbox(&mut self, id: &ValidatorId, waited: &[Outgoing]) {
        let Some(subject) = self.world.get(id) else { return };
        let before = |queued: &Outgoing| waited.iter().filter(|old| old.notice.id == queued.notice.id).count();
        let outbox = &subject.record.outbox;
        let again = |index: usize| {
            let same = |old: &&Outgoing| old.notice.id == outbox[index].notice.id;
            outbox[..index].iter().filter(same).count()
        };
        let new = (0..outbox.len()).filter(|index| again(*index) >= before(&outbox[*index]));
        let new: Vec<_> = new.map(|index| outbox[index].notice.clone()).collect();
        for notice in new {
            let kind = notice.kind.about().name.to_owned();
            let (list, word) = match notice.first_at {
                None => (&mut self.mails, "mail"),
                Some(_) => (&mut self.reminders, "reminder"),
            };
            list.entry(id.clone()).or_default().push(kind.clone());
            self.print(&format!("{id}: {word}: {kind}"));
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

    fn check(&mut self, line: usize, expect: &Expectation) {
        self.report.checked += 1;
        let (what, wanted, seen) = match expect {
            Expectation::Phase(id, wanted) => {
                let seen = self.world.get(id).map(|subject| subject.record.phase().to_string()).unwrap_or_default();
                (format!("{id} phase"), wanted.clone(), seen)
            }
            Expectation::Says(id, wanted) => {
                let seen = self.standing(id);
                let seen = if seen.contains(wanted.as_str()) { wanted.clone() } else { seen };
                (format!("{id} says"), wanted.clone(), seen)
            }
            Expectation::Asked(id, wanted) => {
                let seen = self.under_way.get(id).map_or_else(|| "nothing".to_owned(), |(_, action)| name_of(action));
                let seen = if seen.starts_with(wanted.as_str()) { wanted.clone() } else { seen };
                (format!("{id} asked"), wanted.clone(), seen)
            }
            Expectation::Created(id, wanted) => {
                let seen = self.created.get(id).copied().unwrap_or_default();
                (format!("{id} created"), wanted.to_string(), seen.to_string())
            }
            Expectation::Mails(id, wanted) => {
                let seen = self.mails.get(id).cloned().unwrap_or_default();
                (format!("{id} mails"), wanted.join(" "), seen.join(" "))
            }
            Expectation::Reminders(id, wanted) => {
                let seen = self.reminders.get(id).cloned().unwrap_or_default();
                (format!("{id} reminders"), wanted.join(" "), seen.join(" "))
            }
            Expectation::Incidents(wanted) => ("incidents".to_owned(), wanted.to_string(), self.opened.to_string()),
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
        let since = self.now.duration_since(self.start).saturating_sub(self.clock_off);
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
        Action::Delete(instance) | Action::Reclaim(instance) => format!("delete {}", instance.id),
        Action::Abandon(instance) => format!("abandon {}", instance.id),
        Action::Console(_) => "console".into(),
        Action::Disks => "disks".into(),
    }
}
