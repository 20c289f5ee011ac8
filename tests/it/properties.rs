//! What must never happen, over random orders of events, duplicates, clock jumps, lost replies and restarts anywhere.

use std::collections::BTreeMap;

use failover::domain::{
    Action, ActionId, Ask, ChainHealth, ChainView, CreateOutcome, Event, Evidence, GivenUp, InstanceRef, Interval,
    KeyStates, Machine, MachineState, Mode, OtherChain, Outcome, Phase, Policy, PricedRung, Reading, Report, Request,
    Role, Rung, Seen, Source, Span, Step, Time, Usd, Validator, ValidatorId, Verdict, World, Written, machine_name,
    step,
};
use proptest::prelude::*;

/// One thing that may happen next.
#[derive(Clone, Debug)]
enum Op {
    Wait(u16),
    Signal(Source, Verdict, Evidence, i16),
    Keys {
        active: u8,
        slashed: bool,
    },
    ChainStuck(bool),
    Ask(u8),
    /// How the action under way goes on.
    Answer(Fate),
    /// The same outcome a second time, as after a confusion of tasks.
    Repeat,
    Restart,
    ClockJump,
    Vanish,
    ShowSigner,
    /// The machine hangs in its boot, if it has not reported yet.
    Hang,
    /// Somebody promotes the machine with other tools.
    Promote,
}

/// A machine as it is, whatever the watcher knows.
#[derive(Clone, Debug, Default)]
struct Real {
    incident: String,
    signer: bool,
    hangs: bool,
    promoted: bool,
    spoke: bool,
}

#[derive(Clone, Copy, Debug)]
enum Fate {
    Works,
    /// It happens, and nobody hears of it.
    ReplyLost,
    /// It does not happen.
    Fails,
    OutOfStock,
    Quota,
    /// The creation happens only after the next look.
    Late,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let verdict = prop_oneof![
        4 => Just(Verdict::Down), 2 => Just(Verdict::Up), 1 => Just(Verdict::Unknown), 1 => Just(Verdict::Partial)
    ];
    let source = prop_oneof![
        Just(Source::Alert),
        Just(Source::Kube),
        Just(Source::Chain),
        Just(Source::Process),
        Just(Source::Probe)
    ];
    let evidence =
        prop_oneof![Just(Evidence::Host), Just(Evidence::Kube), Just(Evidence::Chain), Just(Evidence::Process)];
    let fate = prop_oneof![
        5 => Just(Fate::Works), 1 => Just(Fate::ReplyLost), 1 => Just(Fate::Fails), 1 => Just(Fate::OutOfStock),
        1 => Just(Fate::Quota), 1 => Just(Fate::Late)
    ];
    let op = prop_oneof![
        4 => (1u16..900).prop_map(Op::Wait),
        5 => (source, verdict, evidence, -400i16..100).prop_map(|(s, v, e, about)| Op::Signal(s, v, e, about)),
        8 => fate.prop_map(Op::Answer),
        1 => (0u8..3, proptest::bool::weighted(0.1)).prop_map(|(active, slashed)| Op::Keys { active, slashed }),
        1 => proptest::bool::weighted(0.2).prop_map(Op::ChainStuck),
        1 => (0u8..5).prop_map(Op::Ask),
        1 => Just(Op::Repeat),
        1 => Just(Op::Restart),
        1 => Just(Op::ClockJump),
        1 => Just(Op::Vanish),
        1 => Just(Op::ShowSigner),
        2 => Just(Op::Hang),
        1 => proptest::bool::weighted(0.2).prop_map(|promotes| if promotes { Op::Promote } else { Op::Wait(300) }),
    ];
    proptest::collection::vec(op, 1..120)
}

/// The cloud and the watcher, with the truth beside what the watcher knows.
struct Model {
    id: ValidatorId,
    now: Time,
    world: World,
    policy: Policy,
    under_way: Option<(ActionId, Action)>,
    last_outcome: Option<(ActionId, Outcome)>,
    machines: BTreeMap<u64, Real>,
    late: Vec<String>,
    next_id: u64,
    counter: u64,
    requests: u32,
    /// The last complete look since a creation might have happened was empty.
    known_empty: bool,
    operator_opened: bool,
}

impl Model {
    fn new(mode: Mode) -> Self {
        let id = ValidatorId::new("eth-0").unwrap();
        let rung = |zone: &str| PricedRung {
            rung: Rung { zone: zone.into(), machine_type: "n2-standard-8".into() },
            per_hour: Some(Usd(0.75)),
            until_fuse: Some(Usd(54.0)),
            after_fuse_per_month: Some(Usd(200.0)),
        };
        let policy = Policy {
            mode,
            hold_down: Span::from_mins(2),
            healthy_delay: Span::from_mins(2),
            cooldown: Span::from_mins(1),
            ready_hold: Span::from_mins(2),
            boot_deadline: Span::from_mins(5),
            stuck_after: Span::from_mins(5),
            simulated: false,
            ladder: vec![rung("us-central1-a"), rung("us-central1-b"), rung("europe-west4-a")],
            mail_to: vec!["a@example.org".into()],
            ..Policy::default()
        };
        let mut world = World::new([(id.clone(), Validator::default())]);
        world.chain.genesis_root = Some("0x01".into());
        Self {
            id,
            now: Time::constant(1_767_225_600, 0),
            world,
            policy,
            under_way: None,
            last_outcome: None,
            machines: BTreeMap::new(),
            late: Vec::new(),
            next_id: 1,
            counter: 0,
            requests: 0,
            known_empty: false,
            operator_opened: false,
        }
    }

    fn phase(&self) -> Phase {
        self.world.get(&self.id).unwrap().record.phase.clone()
    }

    fn happen(&mut self, event: Event) {
        let before = self.phase();
        let mut decision = step(&self.world, &event, self.now, &self.policy).unwrap();
        if let Some(record) = &decision.record {
            let json = serde_json::to_vec(record).unwrap();
            let back: Validator = serde_json::from_slice(&json).unwrap();
            assert_eq!(&back, record, "the ledger gives back what it was given");
            assert!(json.len() < 200_000, "a record stays small");
        }
        self.check_opening(&before, decision.record.as_ref().map(|record| &record.phase), &event);
        let actions = std::mem::take(&mut decision.actions);
        let id = event.validator().cloned();
        self.world.commit(id.as_ref(), &mut decision);
        for (action_id, action) in actions {
            self.check_action(&action);
            assert!(self.under_way.is_none(), "one action at a time");
            self.under_way = Some((action_id, action));
        }
        if let Some(at) = decision.wake_at {
            assert!(at > self.now || !matches!(event, Event::Due(_)), "a wake-up leads somewhere: {:?}", self.phase());
        }
    }

    /// **Invariant 5 and the opening rule**: without an operator, an incident needs two independent fresh *down*.
    fn check_opening(&mut self, before: &Phase, after: Option<&Phase>, event: &Event) {
        let (None, Some(Some(_))) = (before.incident(), after.map(Phase::incident)) else { return };
        self.known_empty = false;
        if matches!(event, Event::Requested(_, request) if request.ask == Ask::Open) {
            self.operator_opened = true;
            return;
        }
        self.operator_opened = false;
        let live = &self.world.get(&self.id).unwrap().live;
        let downs: Vec<(Source, Evidence)> = live
            .signals
            .views(self.now)
            .iter()
            .filter(|view| view.verdict == Verdict::Down && view.source != Source::Process)
            .map(|view| (view.source, view.evidence))
            .collect();
        let independent = downs.iter().any(|a| downs.iter().any(|b| a.0 != b.0 && a.1 != b.1));
        assert!(independent, "opened on {downs:?}");
        assert_eq!(self.policy.mode, Mode::Armed, "observe opens nothing");
    }

    fn check_action(&mut self, action: &Action) {
        let subject = self.world.get(&self.id).unwrap();
        match action {
            Action::Create(_) => {
                assert!(self.known_empty, "nothing is created before a complete look showed that there is none");
                assert_eq!(self.policy.mode, Mode::Armed);
                assert!(subject.record.paused_at(self.now).is_none(), "paused");
                assert!(subject.live.keys.as_ref().is_none_or(|keys| keys.slashed.is_empty()), "frozen");
                let Phase::Provisioning(_, pending) = &subject.record.phase else {
                    panic!("created in {:?}", subject.record.phase)
                };
                assert!(matches!(pending.action, Action::Create(_)), "the intent is in the record before the call");
                let incident = subject.record.phase.incident().unwrap();
                let left = incident.given_up.iter().find(|gone| self.machines.contains_key(&gone.instance.id));
                assert!(left.is_none(), "the next one is created while one that was given up stands: {left:?}");
                let limit = usize::try_from(self.policy.max_boot_attempts).unwrap();
                assert!(incident.given_up.len() < limit, "no more attempts than allowed");
                assert!(incident.given_up.iter().all(|gone| gone.gone_at.is_some()), "their bills have ended");
            }
            Action::Delete(instance) | Action::GiveUp(instance) => match &subject.record.phase {
                Phase::Releasing(_, pending) => assert_eq!(pending.action, *action, "persisted before the call"),
                Phase::Syncing(_, standby) | Phase::Ready(_, standby) => {
                    assert_ne!(standby.instance.id, instance.id, "the ledger's machine stays");
                    assert_eq!(
                        standby.extra.as_ref().map(|extra| &extra.action),
                        Some(action),
                        "persisted before the call"
                    );
                }
                Phase::Provisioning(incident, pending) => {
                    assert_eq!(pending.action, *action, "persisted before the call");
                    let of = |gone: &GivenUp| gone.instance.id == instance.id;
                    assert!(incident.given_up.iter().any(of), "only one that was given up");
                    let spoke = self.machines.get(&instance.id).is_some_and(|machine| machine.spoke);
                    assert!(!spoke, "a machine that has reported is never given up as not booted");
                }
                other => panic!("deleted in {other:?}"),
            },
            Action::Console(instance) => {
                assert!(subject.record.phase.standby().is_some_and(|standby| standby.instance == *instance));
            }
            Action::Disks => assert!(matches!(subject.record.phase, Phase::Releasing(..))),
            Action::Find | Action::Observe(_) => {}
        }
    }

    fn listing(&mut self, incident: &str) -> Vec<Machine> {
        let of_this = self.machines.iter().filter(|(_, machine)| machine.incident == incident);
        let machines = of_this.map(|(id, machine)| Machine {
            instance: InstanceRef { zone: "us-central1-a".into(), name: "m".into(), id: *id },
            validator: self.id.to_string(),
            incident: machine.incident.clone(),
            role: if machine.promoted { Role::Promoted } else { Role::Standby },
            state: MachineState::Running,
            deletion_protection: false,
            machine_type: "n2-standard-8".into(),
            created_at: Some(self.now),
        });
        machines.collect()
    }

    fn insert(&mut self, incident: String) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.machines.insert(id, Real { incident, ..Real::default() });
        id
    }

    fn answer(&mut self, fate: Fate) {
        let Some((id, action)) = self.under_way.take() else { return };
        let incident = id.incident.to_string();
        let lost = || Outcome::Failed("lost".into());
        let outcome = match (action, fate) {
            (Action::Find, Fate::Works | Fate::OutOfStock | Fate::Quota | Fate::Late) => {
                let found = self.listing(&incident);
                self.known_empty = found.is_empty();
                // What was late has arrived by the look after this one.
                for incident in std::mem::take(&mut self.late) {
                    self.insert(incident);
                }
                Outcome::Found(found)
            }
            (Action::Create(spec), Fate::Works) => {
                self.known_empty = false;
                let number = self.insert(incident);
                let name = machine_name(&self.id, id.incident);
                Outcome::Created(CreateOutcome::Created(InstanceRef { zone: spec.rung.zone, name, id: number }))
            }
            (Action::Create(_), Fate::ReplyLost) => {
                self.known_empty = false;
                self.insert(incident);
                Outcome::Created(CreateOutcome::Unknown("lost".into()))
            }
            (Action::Create(_), Fate::Late) => {
                self.known_empty = false;
                self.late.push(incident);
                Outcome::Created(CreateOutcome::Unknown("late".into()))
            }
            (Action::Create(_), Fate::OutOfStock) => Outcome::Created(CreateOutcome::OutOfStock("none".into())),
            (Action::Create(_), Fate::Quota) => Outcome::Created(CreateOutcome::QuotaExceeded("quota".into())),
            (Action::Create(_), Fate::Fails) => Outcome::Created(CreateOutcome::Refused("no".into())),
            (Action::Observe(instance), Fate::Works) => {
                self.counter += 1;
                let seen = self.machines.get_mut(&instance.id).map(|machine| {
                    // Its start-up script's word comes first.
                    let starts = !std::mem::replace(&mut machine.spoke, !machine.hangs);
                    Seen {
                        state: MachineState::Running,
                        role: if machine.promoted { Role::Promoted } else { Role::Standby },
                        deletion_protection: machine.promoted,
                        written: if machine.hangs {
                            Written::Nothing
                        } else if starts {
                            Written::starting("start")
                        } else {
                            report(&machine.incident, self.counter, machine.signer).into()
                        },
                    }
                });
                Outcome::Observed(seen)
            }
            (Action::Delete(instance) | Action::GiveUp(instance), Fate::Works | Fate::ReplyLost) => {
                let untouchable = |machine: &Real| machine.signer || machine.promoted;
                if self.machines.get(&instance.id).is_some_and(untouchable) {
                    // What the executor's own check answers.
                    Outcome::Untouchable("it reports a process that could sign".into())
                } else {
                    self.machines.remove(&instance.id);
                    if matches!(fate, Fate::Works) { Outcome::Deleted } else { lost() }
                }
            }
            (Action::Console(_), Fate::Works) => Outcome::Console("Kernel panic\n".repeat(900)),
            (Action::Disks, Fate::Works) => Outcome::Disks(Vec::new()),
            (
                Action::Find
                | Action::Observe(_)
                | Action::Delete(_)
                | Action::GiveUp(_)
                | Action::Console(_)
                | Action::Disks,
                _,
            ) => lost(),
        };
        self.last_outcome = Some((id, outcome.clone()));
        self.happen(Event::Finished(self.id.clone(), id, outcome));
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::Wait(seconds) => {
                self.now += Span::from_secs(i64::from(*seconds));
                self.happen(Event::Due(self.id.clone()));
            }
            Op::Signal(source, verdict, evidence, about) => {
                let to = self.now + Span::from_secs(i64::from(*about));
                let reading = Reading {
                    verdict: *verdict,
                    evidence: *evidence,
                    about: Interval { from: to - Span::from_secs(30), to },
                    fresh_until: self.now + Span::from_mins(20),
                    why: "random".into(),
                };
                self.happen(Event::Observed(self.id.clone(), *source, reading));
            }
            Op::Keys { active, slashed } => {
                let slashed = if *slashed { vec!["0x01".to_owned()] } else { Vec::new() };
                let keys = KeyStates { active: usize::from(*active), slashed, ..KeyStates::default() };
                self.happen(Event::KeysSeen(self.id.clone(), keys));
            }
            Op::ChainStuck(stuck) => {
                let health = if *stuck { ChainHealth::NotFinalising { epochs: 9 } } else { ChainHealth::Finalising };
                self.happen(Event::ChainSeen(ChainView { health, genesis_root: Some("0x01".into()) }));
            }
            Op::Ask(kind) => {
                self.requests += 1;
                let ask = match kind {
                    0 => Ask::Open,
                    1 => Ask::Close,
                    2 => Ask::Pause { until: self.now + Span::from_mins(30) },
                    3 => Ask::Resume,
                    _ => Ask::Retain,
                };
                let (by, reason) = ("me".to_owned(), "random".to_owned());
                let request = Request { id: self.requests.to_string(), validator: self.id.clone(), by, reason, ask };
                self.happen(Event::Requested(self.id.clone(), request));
            }
            Op::Answer(fate) => self.answer(*fate),
            Op::Repeat => {
                if let Some((id, outcome)) = self.last_outcome.clone()
                    && self.under_way.as_ref().is_none_or(|(under_way, _)| *under_way != id)
                {
                    let before = self.phase();
                    self.happen(Event::Finished(self.id.clone(), id, outcome));
                    if id.step == Step::Create {
                        assert_eq!(before.incident().map(|i| i.creation), self.phase().incident().map(|i| i.creation));
                    }
                }
            }
            Op::Restart => {
                // What was under way happens or not; nobody hears of it.
                if let Some((id, Action::Create(_))) = self.under_way.take() {
                    self.known_empty = false;
                    self.late.push(id.incident.to_string());
                }
                let record = self.world.get(&self.id).unwrap().record.clone();
                let chain = self.world.chain.clone();
                self.world = World::new([(self.id.clone(), record)]);
                self.world.chain = chain;
                self.happen(Event::Due(self.id.clone()));
            }
            Op::ClockJump => self.happen(Event::ClockJumped(self.id.clone())),
            Op::Vanish => {
                self.machines.pop_first();
            }
            Op::ShowSigner => {
                if let Some(machine) = self.machines.values_mut().next() {
                    machine.signer = true;
                }
            }
            Op::Hang => {
                if let Some(machine) = self.machines.values_mut().find(|machine| !machine.spoke) {
                    machine.hangs = true;
                }
            }
            Op::Promote => {
                if let Some(machine) = self.machines.values_mut().next() {
                    machine.promoted = true;
                }
            }
        }
    }

    /// The cloud answers everything from now on; the watcher puts its house in order.
    fn settle(&mut self) {
        for _ in 0..400 {
            if self.under_way.is_some() {
                self.answer(Fate::Works);
            } else {
                self.now += Span::from_secs(60);
                self.happen(Event::Due(self.id.clone()));
            }
        }
    }
}

/// Whose chain the standby is on: ours, or one that is judged by its probes or by what its agent counts.
const CHAINS: [Option<fn() -> OtherChain>; 3] =
    [None, Some(|| OtherChain::Probed), Some(|| OtherChain::Read { chain_id: Some("here-1".into()) })];

fn report(incident: &str, counter: u64, signer_seen: bool) -> Report {
    Report {
        incident: incident.into(),
        boot_id: "b".into(),
        counter,
        progress_percent: 100,
        stage: "synced".into(),
        synced: true,
        optimistic: false,
        head_age_seconds: 3,
        peers: 50,
        genesis_root: "0x01".into(),
        chain_id: Some("here-1".into()),
        clock_offset_ms: 0,
        signer_seen,
        ..Report::default()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_order_of_events_breaks_an_invariant(
        ops in ops(), armed in proptest::bool::weighted(0.9), chain in proptest::sample::select(CHAINS.to_vec()),
    ) {
        let mut model = Model::new(if armed { Mode::Armed } else { Mode::Observe });
        model.policy.other_chains.extend(chain.map(|chain| (model.id.clone(), chain())));
        for op in &ops {
            model.apply(op);
        }
        model.settle();
        // **Invariant 3**: at most one machine of the open incident is kept. Where a human was asked, or asked for
        // quiet, or a key is slashed, nothing is touched any more, so nothing is claimed.
        let subject = model.world.get(&model.id).unwrap();
        let quiet = subject.record.paused_at(model.now).is_some()
            || subject.live.keys.as_ref().is_some_and(|keys| !keys.slashed.is_empty());
        if let (Phase::Syncing(incident, _) | Phase::Ready(incident, _), false) = (&subject.record.phase, quiet) {
            let kept = model.machines.values().filter(|machine| machine.incident == incident.id.to_string()).count();
            prop_assert!(kept <= 1, "{kept} machines of {:?}", subject.record.phase);
        }
        if !armed {
            prop_assert!(model.machines.is_empty(), "observe creates nothing");
        }
    }
}
