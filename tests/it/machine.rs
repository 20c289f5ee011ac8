//! Rules of the machine that the language of scenarios cannot say: labels and protections apart from each other, late
//! answers, keys by their names.

use failover::domain::{
    Action, ActionId, AttentionKind, Command, CreateOutcome, Decision, Event, InstanceRef, KeyStates, Machine,
    MachineState, Mode, Outcome, Policy, PricedRung, PublicKey, Reason, Report, Request, Role, Rung, Seen, Span, Stage,
    Time, TimeExt as _, Validator, ValidatorId, World, Written, explain, step,
};

fn eth() -> ValidatorId {
    ValidatorId::new("eth-0").unwrap()
}

fn rung() -> Rung {
    Rung { zone: "us-central1-a".into(), machine_type: "n2-standard-8".into() }
}

/// An armed watcher of one validator, event by event.
struct Watcher {
    world: World,
    policy: Policy,
    now: Time,
    under_way: Option<(ActionId, Action)>,
    /// Every reason so far.
    reasons: Vec<Reason>,
}

impl Watcher {
    fn new() -> Self {
        let priced = PricedRung { rung: rung(), per_hour: None, at_most: None, stopped_per_month: None };
        let policy = Policy { mode: Mode::Armed, ladder: vec![priced], ready_hold: Span::ZERO, ..Policy::default() };
        let world = World::new([(eth(), Validator::default())]);
        Self { world, policy, now: Time::constant(1_767_225_600, 0), under_way: None, reasons: Vec::new() }
    }

    /// One whose machine 101 stands.
    fn with_a_standby() -> Self {
        let mut watcher = Self::new();
        watcher.open();
        watcher.answer(Outcome::Found(Vec::new()));
        watcher.answer(Outcome::Created(CreateOutcome::Created(instance(101))));
        watcher.answer(Outcome::Found(vec![machine(101, Role::Standby, false)]));
        watcher
    }

    fn open(&mut self) {
        let (by, reason) = ("me".to_owned(), "a test".to_owned());
        let request = Request {
            id: "1".into(),
            validator: eth(),
            by,
            reason,
            command: Command::Open,
            incident: None,
            expires_at: None,
        };
        self.happen(Event::Requested(eth(), request));
    }

    fn happen(&mut self, event: Event) -> Decision {
        let mut decision = step(&self.world, &event, self.now, &self.policy).unwrap();
        self.world.commit(Some(&eth()), &mut decision);
        self.reasons.extend(decision.reasons.iter().cloned());
        if let Some(started) = decision.actions.first() {
            self.under_way = Some(started.clone());
        }
        decision
    }

    fn answer(&mut self, mut outcome: Outcome) -> ActionId {
        if let (Outcome::Found(machines), Some(incident)) = (&mut outcome, self.record().incident()) {
            let unnamed = machines.iter_mut().filter(|machine| machine.incident.is_empty());
            unnamed.for_each(|machine| machine.incident = incident.id.to_string());
        }
        let (id, _) = self.under_way.take().expect("something is under way");
        self.happen(Event::Finished(eth(), id, outcome));
        id
    }

    fn asked(&self) -> Option<&Action> {
        self.under_way.as_ref().map(|(_, action)| action)
    }

    fn record(&self) -> &Validator {
        &self.world.get(&eth()).unwrap().record
    }

    fn says(&self) -> String {
        explain(&self.world, &eth(), self.now, &self.policy).unwrap().to_string()
    }
}

fn instance(id: u64) -> InstanceRef {
    InstanceRef { zone: rung().zone, name: "fo-eth-0-x".into(), id: id.into() }
}

fn machine(id: u64, role: Role, deletion_protection: bool) -> Machine {
    Machine {
        instance: instance(id),
        validator: "eth-0".into(),
        incident: String::new(),
        ledger: String::new(),
        role,
        state: MachineState::Running,
        deletion_protection,
        machine_type: rung().machine_type,
        created_at: None,
    }
}

fn seen(deletion_protection: bool, written: Written) -> Outcome {
    Outcome::Observed(Some(Seen { state: MachineState::Running, role: Role::Standby, deletion_protection, written }))
}

/// Its label and its protection each say so by themselves.
#[test]
fn of_two_machines_the_one_that_must_not_be_deleted_is_the_incidents() {
    for keep in [machine(102, Role::Retained, false), machine(102, Role::Standby, true)] {
        let mut watcher = Watcher::new();
        watcher.open();
        let found = vec![machine(101, Role::Standby, false), keep];
        watcher.answer(Outcome::Found(found.clone()));
        assert_eq!(watcher.record().standby().unwrap().instance, instance(102), "{found:?}");
        watcher.answer(Outcome::Found(found));
        assert_eq!(watcher.asked(), Some(&Action::Delete(instance(101))));
    }
}

#[test]
fn a_machine_that_is_protected_against_deletion_is_kept_whatever_its_label_says() {
    let mut watcher = Watcher::with_a_standby();
    watcher.answer(seen(true, Written::Nothing));
    let (by, reason, incident) = ("me".to_owned(), "done".to_owned(), watcher.record().incident().unwrap().id);
    let (id, command) = ("2".to_owned(), Command::Close);
    let close = Request { id, validator: eth(), by, reason, command, incident: Some(incident), expires_at: None };
    watcher.happen(Event::Requested(eth(), close));
    let answer = watcher.record().applied.last().unwrap();
    assert!(!answer.accepted && answer.answer.contains("retained"), "{answer:?}");
}

/// A poll that comes late, or a second time, says nothing about what is there now.
#[test]
fn an_answer_to_what_is_not_under_way_changes_nothing() {
    let mut watcher = Watcher::with_a_standby();
    let poll = watcher.answer(seen(false, Written::Nothing));
    for late in [Outcome::Observed(None), Outcome::Found(Vec::new()), Outcome::Untouchable("late".into())] {
        let decision = watcher.happen(Event::Finished(eth(), poll, late));
        assert!(decision.record.is_none() && decision.live.is_none() && decision.actions.is_empty(), "{decision:?}");
    }
    assert_eq!(watcher.record().attention(), None);
}

#[test]
fn a_machine_with_a_signer_is_not_ready() {
    let mut watcher = Watcher::with_a_standby();
    watcher.world.chain.genesis_root = Some("0x4b36".into());
    for (counter, signer_seen) in [(1, false), (2, true)] {
        let incident = watcher.record().incident().unwrap().id.to_string();
        let report = Report {
            incident,
            boot_id: "first".into(),
            counter,
            synced: true,
            peers: 50,
            genesis_root: "0x4b36".into(),
            signer_seen,
            ..Report::default()
        };
        watcher.answer(seen(false, report.into()));
        watcher.now = watcher.now.plus(watcher.policy.observe_every);
        watcher.happen(Event::Due(eth()));
    }
    assert!(!watcher.record().standby().unwrap().ready, "{}", watcher.says());
}

/// The log and the journal say what has happened, not what still holds.
#[test]
fn what_a_human_has_to_look_at_is_said_when_it_begins_and_not_again() {
    let mut watcher = Watcher::with_a_standby();
    let incident = watcher.record().incident().unwrap().id.to_string();
    let signs = Report { incident, boot_id: "first".into(), signer_seen: true, ..Report::default() };
    let stopped = || {
        let (role, written) = (Role::Standby, Written::Nothing);
        Outcome::Observed(Some(Seen { state: MachineState::Stopped, role, deletion_protection: false, written }))
    };
    let signing = |counter| seen(false, Report { counter, ..signs.clone() }.into());
    for outcome in [stopped(), stopped(), signing(1), signing(2), signing(3)] {
        watcher.answer(outcome);
        watcher.now = watcher.now.plus(watcher.policy.observe_every);
        watcher.happen(Event::Due(eth()));
    }
    let said = watcher.reasons.iter().filter_map(|reason| match reason {
        Reason::NeedsHuman { attention, .. } => Some(attention.kind()),
        _ => None,
    });
    assert_eq!(said.collect::<Vec<_>>(), [AttentionKind::Stopped, AttentionKind::SignerSeen]);
}

/// A key that is taken out of the configuration is somebody else's; until then not seeing it slashed frees nothing.
#[test]
fn a_slashed_key_freezes_for_as_long_as_it_is_configured() {
    let (slashed, other) = (PublicKey::new([1; 48]), PublicKey::new([2; 48]));
    let mut watcher = Watcher::new();
    let mut keys = |slashed: &[&PublicKey], configured: &[&PublicKey]| {
        let copied = |keys: &[&PublicKey]| keys.iter().map(|key| **key).collect();
        let (slashed, configured) = (copied(slashed), copied(configured));
        watcher.happen(Event::KeysSeen(eth(), KeyStates { active: 1, slashed, configured, ..KeyStates::default() }));
        watcher.record().slashed.len()
    };
    assert_eq!(keys(&[&slashed], &[&slashed, &other]), 1);
    assert_eq!(keys(&[], &[&slashed, &other]), 1);
    assert_eq!(keys(&[], &[]), 1);
    assert_eq!(keys(&[], &[&other]), 0);
}

/// Ours (101), made at this second, and another incident's (102), made at that one.
fn of_two_watchers(ours: i64, theirs: i64) -> [Machine; 2] {
    let at = |second| Some(Time::constant(1_767_225_600 + second, 0));
    let other = Machine { incident: "0badc0de".into(), created_at: at(theirs), ..machine(102, Role::Standby, false) };
    [Machine { created_at: at(ours), ..machine(101, Role::Standby, false) }, other]
}

fn lists(found: &[Machine], before: impl FnOnce(&mut Watcher)) -> (Watcher, String) {
    let mut watcher = Watcher::new();
    watcher.open();
    watcher.answer(Outcome::Found(Vec::new()));
    watcher.answer(Outcome::Created(CreateOutcome::Created(instance(101))));
    let incident = watcher.record().incident().unwrap().id.to_string();
    before(&mut watcher);
    watcher.answer(Outcome::Found(found.to_vec()));
    (watcher, incident)
}

/// Two watchers that do not know of each other have looked in the same moment: each made one, and both keep the same.
#[test]
fn of_two_watchers_machines_the_older_serves_and_the_younger_goes() {
    let (mut watcher, incident) = lists(&of_two_watchers(9, 8), |_| {});
    assert_eq!(watcher.record().standby().unwrap().instance, instance(102));
    assert_eq!(watcher.record().incident().unwrap().id.to_string(), "0badc0de", "it continues under the other's name");
    assert_eq!(watcher.asked(), Some(&Action::Find), "nothing is deleted before the older one was seen");
    watcher.answer(Outcome::Found(of_two_watchers(9, 8).to_vec()));
    watcher.answer(seen(false, Written::Nothing));
    assert_eq!(watcher.asked(), Some(&Action::Delete(instance(101))));
    let (id, _) = watcher.under_way.clone().unwrap();
    assert_eq!(id.incident.to_string(), incident, "checked against the label that ours has");
    watcher.answer(Outcome::Deleted);
    assert!(watcher.record().standby().unwrap().extra.is_none());
    let (watcher, incident) = lists(&of_two_watchers(8, 9), |_| {});
    assert_eq!(watcher.record().standby().unwrap().instance, instance(101), "the other one yields");
    assert_eq!(watcher.record().incident().unwrap().id.to_string(), incident);
    assert!(!watcher.asked().is_some_and(Action::deletes), "{:?}", watcher.asked());
}

/// What is ready, what a human keeps, and what is not surely there and older is no reason.
#[test]
fn a_machine_gives_way_only_to_one_that_runs_is_free_and_surely_older_and_only_before_it_is_ready() {
    let [ours, theirs] = of_two_watchers(9, 8);
    for (ours, theirs) in [
        (ours.clone(), Machine { state: MachineState::Starting, ..theirs.clone() }),
        (ours.clone(), Machine { state: MachineState::Stopped, ..theirs.clone() }),
        (ours.clone(), Machine { role: Role::Retained, ..theirs.clone() }),
        (ours.clone(), Machine { deletion_protection: true, ..theirs.clone() }),
        (ours.clone(), Machine { created_at: None, ..theirs.clone() }),
        (ours.clone(), Machine { incident: "nobody's".into(), ..theirs.clone() }),
        (Machine { deletion_protection: true, ..ours.clone() }, theirs.clone()),
        (Machine { role: Role::Retained, ..ours.clone() }, theirs.clone()),
        (Machine { created_at: None, ..ours.clone() }, theirs.clone()),
    ] {
        let found = [ours, theirs];
        let (watcher, _) = lists(&found, |_| {});
        assert_eq!(watcher.record().standby().unwrap().instance, instance(101), "{found:?}");
        assert!(!watcher.asked().is_some_and(Action::deletes), "{found:?}");
    }
    let (watcher, _) = lists(&[ours, theirs], |watcher| {
        let mut record = watcher.record().clone();
        let Some(Stage::Standing(standby)) = record.case.as_mut().map(|case| &mut case.stage) else {
            panic!("it stands")
        };
        standby.ready = true;
        let mut ready = Decision { record: Some(record), ..Decision::default() };
        watcher.world.commit(Some(&eth()), &mut ready);
    });
    assert_eq!(watcher.record().standby().unwrap().instance, instance(101), "a ready one is worth more than a rule");
}
