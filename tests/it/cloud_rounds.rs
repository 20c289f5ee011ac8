//! A cloud that refuses, is silent or is seen in parts for hours, answered by script on a clock of our own: how often it is
//! asked, where, and what people are notified of.

use std::collections::BTreeMap;

use failover::domain::{
    Action, Attention, Command, Context, CreateOutcome, Event, InstanceRef, Machine, MachineState, Mode, Outcome,
    Policy, PricedRung, Reason, Request, Role, Rung, Seen, Span, Step, Time, TimeExt as _, Validator, ValidatorId,
    World, Written, elapsed, explain, machine_name, render, step,
};

fn eth() -> ValidatorId {
    ValidatorId::new("eth-0").unwrap()
}

/// One armed watcher with an incident that an operator has opened.
struct Night {
    world: World,
    policy: Policy,
    start: Time,
    now: Time,
    wake_at: Option<Time>,
    asked: Vec<(Time, Action)>,
    mails: Vec<(Time, String)>,
    reasons: Vec<Reason>,
}

impl Night {
    /// With so many places, each in a region of its own.
    fn with(places: usize) -> Self {
        let priced = |index: usize| PricedRung {
            rung: Rung { zone: format!("region{index}-a"), machine_type: "n2-standard-8".into() },
            per_hour: None,
            at_most: None,
            stopped_per_month: None,
        };
        let policy = Policy {
            mode: Mode::Armed,
            simulated: false,
            ladder: (0..places).map(priced).collect(),
            mail_to: vec!["me@home.example".into()],
            ..Policy::default()
        };
        let start = Time::constant(1_767_225_600, 0);
        Self {
            world: World::new([(eth(), Validator::default())]),
            policy,
            start,
            now: start,
            wake_at: None,
            asked: Vec::new(),
            mails: Vec::new(),
            reasons: Vec::new(),
        }
    }

    /// Lets so much time pass; every action is answered two seconds after it was asked.
    fn pass(&mut self, span: Span, mut answer: impl FnMut(&Self, &Action) -> Outcome) {
        let until = self.now.plus(span);
        let mut under_way: BTreeMap<Time, _> = BTreeMap::new();
        let mut next = (self.now == self.start).then(|| Event::Requested(eth(), open()));
        loop {
            if let Some(event) = next.take() {
                let queued = self.record().outbox.len();
                let mut decision = step(&self.world, &event, self.now, &self.policy).unwrap();
                self.world.commit(Some(&eth()), &mut decision);
                self.wake_at = decision.wake_at;
                self.reasons.append(&mut decision.reasons);
                let new = self.record().outbox.iter().skip(queued).map(|mail| mail.notice.kind.topic().to_string());
                let new: Vec<_> = new.map(|topic| (self.now, topic)).collect();
                self.mails.extend(new);
                for (id, action) in decision.actions {
                    self.asked.push((self.now, action.clone()));
                    under_way.insert(self.now.plus(Span::from_secs(2)), (id, action));
                }
            }
            let answered_at = under_way.keys().next().copied();
            let Some(at) = answered_at.into_iter().chain(self.wake_at).min().filter(|at| *at <= until) else { break };
            self.now = self.now.max(at);
            next = Some(match answered_at.filter(|answered_at| *answered_at == at) {
                Some(at) => {
                    let (id, action) = under_way.remove(&at).unwrap();
                    Event::Finished(eth(), id, answer(self, &action))
                }
                None => Event::Due(eth()),
            });
        }
        assert!(under_way.is_empty(), "a span ends between an action and its answer: choose another one");
        self.now = until;
    }

    fn record(&self) -> &Validator {
        &self.world.get(&eth()).unwrap().record
    }

    fn creations(&self) -> Vec<(Span, String)> {
        let zone = |(at, action): &(Time, Action)| match action {
            Action::Create(spec) => Some((elapsed(self.start, *at), spec.rung.zone.clone())),
            _ => None,
        };
        self.asked.iter().filter_map(zone).collect()
    }

    fn count(&self, what: Step) -> usize {
        self.asked.iter().filter(|(_, action)| action.step() == what).count()
    }

    fn mails_about(&self, topic: &str) -> usize {
        self.mails.iter().filter(|(_, mailed)| mailed.starts_with(topic)).count()
    }

    fn says(&self) -> String {
        explain(&self.world, &eth(), self.now, &self.policy).unwrap().to_string()
    }

    fn instance(&self, zone: &str) -> InstanceRef {
        let name = machine_name(&eth(), self.record().incident().unwrap().id);
        InstanceRef { zone: zone.into(), name, id: 7.into() }
    }

    fn machine(&self, state: MachineState) -> Machine {
        let id = self.record().incident().unwrap().id.to_string();
        Machine {
            instance: self.instance("region0-a"),
            validator: "eth-0".into(),
            incident: id,
            ledger: String::new(),
            role: Role::Standby,
            state,
            deletion_protection: false,
            machine_type: "n2-standard-8".into(),
            created_at: None,
        }
    }
}

fn open() -> Request {
    Request {
        id: "1".into(),
        validator: eth(),
        by: "me".into(),
        reason: "a test".into(),
        command: Command::Open,
        incident: None,
        expires_at: None,
    }
}

fn created(outcome: CreateOutcome) -> Outcome {
    Outcome::Created(outcome)
}

/// An answer where nothing is found and every creation ends like this.
fn nothing_but(outcome: impl Fn(&Rung) -> CreateOutcome) -> impl FnMut(&Night, &Action) -> Outcome {
    move |_, action| match action {
        Action::Find => Outcome::Found(Vec::new()),
        Action::Create(spec) => created(outcome(&spec.rung)),
        other => panic!("not expected: {other:?}"),
    }
}

#[test]
fn a_total_stock_out_asks_for_at_most_thirty_machines_in_its_first_hour_however_long_the_ladder() {
    for places in 1..=30 {
        let mut night = Night::with(places);
        night.pass(Span::from_hours(1), nothing_but(|_| CreateOutcome::OutOfStock("none".into())));
        let creations = night.creations();
        assert!(creations.len() <= 30, "{places} places: {} creations", creations.len());
        let rounds = if 2 * places > 30 { 1 } else { 2 };
        assert!(creations.len() >= rounds * places, "{places} places: too few: {}", creations.len());
        // Every place of a round is asked at once, in the order of the ladder.
        let rounds: Vec<_> = creations.chunks(places).collect();
        for round in &rounds {
            let spread = round.last().unwrap().0 - round[0].0;
            assert!(spread <= Span::from_secs(2 * i64::try_from(places).unwrap()), "{places} places: {spread:#}");
            let zones: Vec<_> = round.iter().map(|(_, zone)| zone.clone()).collect();
            let ladder: Vec<_> = (0..round.len()).map(|index| format!("region{index}-a")).collect();
            assert_eq!(zones, ladder, "{places} places");
        }
        let pauses: Vec<Span> = rounds.windows(2).map(|pair| pair[1][0].0 - pair[0][0].0).collect();
        assert!(pauses.is_sorted(), "{places} places: {pauses:?}");
        println!("{places} places: {} creations in {} rounds", creations.len(), rounds.len());
        assert_eq!(night.mails_about("failure/out_of_stock"), 1, "{places} places: {:?}", night.mails);
        assert_eq!(night.mails_about("failure/place"), 0, "no place is anybody's to mend: {:?}", night.mails);
        assert!(night.says().contains("of rung 1"), "{}", night.says());
    }
}

#[test]
fn a_right_that_is_missing_is_asked_for_in_one_place_with_pauses_that_double() {
    let mut night = Night::with(3);
    let refused = || CreateOutcome::Refused("403 forbidden: Required 'compute.instances.create' permission".into());
    night.pass(Span::from_mins(20), nothing_but(|_| refused()));
    let creations = night.creations();
    assert!(creations.iter().all(|(_, zone)| zone == "region0-a"), "{creations:?}");
    let pauses: Vec<i64> = creations.windows(2).map(|pair| (pair[1].0 - pair[0].0).as_secs() - 4).collect();
    assert_eq!(pauses, [10, 20, 40, 80, 160, 320]);
    assert_eq!(night.mails_about("failure/refused/403 forbidden"), 1, "{:?}", night.mails);
    let says = night.says();
    assert!(says.contains("last n2-standard-8 in region0-a: 403") && says.contains("service account"), "{says}");
    assert!(
        says.contains("failed tries: 7") && says.contains("next is try 8 of rung 1"),
        "attempts, not looks: {says}"
    );
}

#[test]
fn a_place_that_does_not_answer_is_tried_twice_and_then_the_next_one() {
    for silent in [CreateOutcome::Unknown("503".into()), CreateOutcome::Busy("429 rateLimitExceeded".into())] {
        let mut night = Night::with(2);
        let answer = |rung: &Rung| match rung.zone.as_str() {
            "region0-a" => silent.clone(),
            _ => CreateOutcome::OutOfStock("none".into()),
        };
        night.pass(Span::from_secs(61), nothing_but(answer));
        let zones: Vec<String> = night.creations().into_iter().map(|(_, zone)| zone).collect();
        assert_eq!(zones, ["region0-a", "region0-a", "region1-a"], "{silent:?}");
        assert_eq!(night.mails_about("failure/refused"), 0, "a minute may mend it: {:?}", night.mails);
        let numbers = night.asked.iter().filter_map(|(_, action)| match action {
            Action::Create(spec) => Some(spec.action.attempt),
            _ => None,
        });
        // What may have happened is asked for under the same number, what has not under another one.
        let same = matches!(silent, CreateOutcome::Unknown(_));
        assert_eq!(numbers.collect::<Vec<_>>(), if same { [0, 0, 1] } else { [0, 1, 3] }, "{silent:?}");
    }
}

#[test]
fn a_cloud_that_is_silent_everywhere_is_mailed_as_late_with_its_last_answer_and_never_as_a_refusal() {
    let mut night = Night::with(2);
    night.pass(Span::from_hours(2), nothing_but(|_| CreateOutcome::Unknown("502, which is no answer".into())));
    assert_eq!(night.mails_about("failure/refused"), 0, "{:?}", night.mails);
    assert_eq!(night.mails_about("failure/too_slow"), 1, "{:?}", night.mails);
    let late = night.record().outbox.iter().find(|mail| mail.notice.kind.topic().to_string() == "failure/too_slow");
    assert!(serde_json::to_string(&late).unwrap().contains("502"), "{late:?}");
    assert!(night.count(Step::Create) <= 40, "{}", night.count(Step::Create));
}

#[test]
fn zones_that_do_not_answer_a_search_keep_nothing_from_being_created_elsewhere() {
    let mut night = Night::with(2);
    let unseen = || Outcome::FoundWithout {
        machines: Vec::new(),
        unseen_zones: vec!["region0-a".into()],
        why: "region0-a: 503".into(),
    };
    night.pass(Span::from_mins(5), |_, action| match action {
        Action::Find => unseen(),
        Action::Create(spec) => created(CreateOutcome::OutOfStock(spec.rung.zone.clone())),
        other => panic!("not expected: {other:?}"),
    });
    let creations = night.creations();
    assert!(!creations.is_empty(), "{:?}", night.asked);
    assert!(creations.iter().all(|(_, zone)| zone == "region1-a"), "not where nobody sees it: {creations:?}");
    assert!(creations[0].0 >= Span::from_mins(1), "not after a moment: {creations:?}");
}

#[test]
fn a_machine_that_is_still_being_made_is_waited_for_and_its_place_is_left_when_it_vanishes() {
    for state in [MachineState::Starting, MachineState::Stopping] {
        let mut night = Night::with(2);
        night.pass(Span::from_mins(4), |night, action| match action {
            Action::Find if night.creations().is_empty() => Outcome::Found(Vec::new()),
            Action::Find if night.now < night.start.plus(Span::from_mins(3)) => {
                Outcome::Found(vec![night.machine(state)])
            }
            Action::Find => Outcome::Found(Vec::new()),
            Action::Create(spec) if spec.rung.zone == "region0-a" => created(CreateOutcome::Unknown("409".into())),
            Action::Create(_) => created(CreateOutcome::OutOfStock("none".into())),
            other => panic!("not expected: {other:?}"),
        });
        let zones: Vec<String> = night.creations().into_iter().map(|(_, zone)| zone).collect();
        assert_eq!(zones[..2], ["region0-a", "region1-a"], "{state:?}");
        assert!(night.record().attention().is_none(), "{state:?}: {:?}", night.record().attention());
    }
}

#[test]
fn a_machine_that_is_being_made_without_end_is_given_up_as_one_that_never_boots() {
    let mut night = Night::with(2);
    let mut deleted = false;
    night.pass(Span::from_mins(40), |night, action| match action {
        Action::Find if night.creations().is_empty() || deleted => Outcome::Found(Vec::new()),
        Action::Find => Outcome::Found(vec![night.machine(MachineState::Starting)]),
        Action::Create(spec) if spec.rung.zone == "region0-a" => created(CreateOutcome::Unknown("409".into())),
        Action::Create(_) => created(CreateOutcome::OutOfStock("none".into())),
        Action::Observe(_) => Outcome::Observed(Some(Seen {
            state: MachineState::Starting,
            role: Role::Standby,
            deletion_protection: false,
            written: Written::Nothing,
        })),
        Action::Console(_) => Outcome::Console(String::new()),
        Action::Abandon(_) => {
            deleted = true;
            Outcome::Deleted
        }
        other => panic!("not expected: {other:?}"),
    });
    assert!(deleted, "{:?}", night.reasons);
    assert!(night.creations().iter().any(|(_, zone)| zone == "region1-a"), "{:?}", night.creations());
}

/// A policy of the organisation forbids guest attributes: the machine runs, costs and cannot be looked at.
#[test]
fn looks_that_always_fail_are_reported_with_the_answer_and_no_deadline_waits_for_them() {
    const ANSWER: &str = "the cloud refused: 412 conditionNotMet: Constraint \
                          constraints/compute.disableGuestAttributesAccess violated for project invented.";
    let mut night = Night::with(1);
    let answer = |said: &'static str| {
        move |night: &Night, action: &Action| match action {
            Action::Find if night.creations().is_empty() => Outcome::Found(Vec::new()),
            Action::Find => Outcome::Found(vec![night.machine(MachineState::Running)]),
            Action::Create(spec) => created(CreateOutcome::Created(night.instance(&spec.rung.zone))),
            Action::Observe(_) if said.is_empty() => Outcome::Observed(Some(Seen {
                state: MachineState::Running,
                role: Role::Standby,
                deletion_protection: false,
                written: Written::starting("downloads"),
            })),
            Action::Observe(_) => Outcome::Failed(said.into()),
            other => panic!("not expected: {other:?}"),
        }
    };
    night.pass(Span::from_mins(30), answer(ANSWER));
    assert_eq!(night.mails_about("failure/poll/412 conditionNotMet"), 1, "{:?}", night.mails);
    let reported =
        |night: &Night| night.reasons.iter().filter(|said| matches!(said, Reason::KeepsFailing { .. })).count();
    assert_eq!(reported(&night), 1, "once in the journal");
    let says = night.says();
    assert!(says.contains("disableGuestAttributesAccess") && says.contains("allow it for this project"), "{says}");
    let looks = night.count(Step::Observe);
    assert!((10..=25).contains(&looks), "it is looked at on, with pauses: {looks}");

    // Another refusal is news; the same one in other words is not.
    night.pass(
        Span::from_mins(30),
        answer("the cloud refused: 403 forbidden: Required 'compute.instances.get' permission"),
    );
    assert_eq!(night.mails_about("failure/poll"), 2, "{:?}", night.mails);
    night.pass(
        Span::from_mins(30),
        answer("the cloud refused: 403 forbidden: Required 'compute.instances.getGuestAttributes'"),
    );
    assert_eq!(night.mails_about("failure/poll"), 2, "{:?}", night.mails);

    // The run limit and its warning come all the same, and people are reminded once a day.
    night.pass(
        Span::from_hours(72),
        answer("the cloud refused: 403 forbidden: Required 'compute.instances.get' permission"),
    );
    assert_eq!(night.mails_about("failure/poll"), 5, "{:?}", night.mails);
    assert_eq!(night.mails_about("money/expires_soon"), 1, "{:?}", night.mails);
    assert_eq!(night.record().attention(), Some(&Attention::TtlEnded));

    night.pass(Span::from_mins(5), answer(""));
    assert!(night.reasons.contains(&Reason::WorksAgain { step: Step::Observe }), "the report is withdrawn");
    assert!(night.world.get(&eth()).unwrap().live.troubles.is_empty());
    night.pass(Span::from_hours(7), answer(""));
    assert!(!night.record().notified.iter().any(|known| known.topic.is_of("failure/poll")), "it is news again");
}

#[test]
fn lists_that_always_fail_are_reported_and_tried_less_and_less() {
    let mut night = Night::with(2);
    night.pass(Span::from_hours(1), |_, action| match action {
        Action::Find => Outcome::Failed("the cloud refused: 403 forbidden: Required 'compute.instances.list'".into()),
        other => panic!("nothing is created without a list: {other:?}"),
    });
    assert_eq!(night.mails_about("failure/list/403 forbidden"), 1, "{:?}", night.mails);
    assert_eq!(night.mails_about("failure/too_slow"), 1, "{:?}", night.mails);
    assert!(night.count(Step::Find) <= 15, "{}", night.count(Step::Find));
    assert!(night.says().contains("listing the machines"), "{}", night.says());
}

#[test]
fn a_list_that_always_fails_is_reported_while_nothing_is_wrong_at_home() {
    let mut night = Night::with(1);
    let said = "the cloud refused: 403 forbidden: Required 'compute.instances.list'";
    let happen = |night: &mut Night, event: Event| {
        let mut decision = step(&night.world, &event, night.now, &night.policy).unwrap();
        night.world.commit(Some(&eth()), &mut decision);
        night.now = night.now.plus(Span::from_mins(10));
    };
    for _ in 0..40 {
        happen(&mut night, Event::MachinesUnlisted(eth(), said.into()));
    }
    let topics = |night: &Night| -> Vec<String> {
        night.record().outbox.iter().map(|mail| mail.notice.kind.topic().to_string()).collect()
    };
    assert_eq!(topics(&night), ["failure/list/403 forbidden"]);
    assert_eq!(night.world.get(&eth()).unwrap().live.troubles[&Step::Find].failures, 40);
    happen(&mut night, Event::MachinesListed(eth(), Vec::new()));
    assert!(night.world.get(&eth()).unwrap().live.troubles.is_empty());
    // By turns it fails and works: no mail each time.
    for _ in 0..4 {
        for _ in 0..6 {
            happen(&mut night, Event::MachinesUnlisted(eth(), said.into()));
        }
        happen(&mut night, Event::MachinesListed(eth(), Vec::new()));
    }
    assert_eq!(topics(&night).len(), 1, "within six hours it is not mailed again");
    for _ in 0..37 {
        happen(&mut night, Event::MachinesListed(eth(), Vec::new()));
    }
    assert!(night.record().notified.is_empty(), "some hours later the next time is news");
}

/// No list shows it, and the name is taken: its place has as long as a machine has to boot.
#[test]
fn a_machine_that_only_its_name_shows_is_waited_for_with_a_deadline() {
    let mut night = Night::with(2);
    let answer = |rung: &Rung| match rung.zone.as_str() {
        "region0-a" => CreateOutcome::BeingMade("still being created".into()),
        _ => CreateOutcome::OutOfStock("none".into()),
    };
    night.pass(Span::from_mins(19), nothing_but(answer));
    assert!(night.creations().iter().all(|(_, zone)| zone == "region0-a"), "{:?}", night.creations());
    night.pass(Span::from_mins(3), nothing_but(answer));
    assert!(night.creations().iter().any(|(_, zone)| zone == "region1-a"), "{:?}", night.creations());
}

#[test]
fn each_place_that_somebody_has_to_mend_is_mailed_once_in_an_incident_and_again_a_day_later() {
    let refused = |rung: &Rung| match rung.zone.as_str() {
        "region0-a" => CreateOutcome::RefusedHere("400 invalid: Machine type does not exist".into()),
        "region1-a" => CreateOutcome::QuotaExceeded("QUOTA_EXCEEDED: Quota 'CPUS' exceeded".into()),
        _ => CreateOutcome::OutOfStock("none".into()),
    };
    let mut night = Night::with(3);
    night.pass(Span::from_hours(23), nothing_but(refused));
    assert!(night.creations().len() > 30, "it is asked in every round");
    let named = |night: &Night, zone| night.mails_about(&format!("failure/place/n2-standard-8 in {zone}"));
    assert_eq!([named(&night, "region0-a"), named(&night, "region1-a")], [1, 1], "{:?}", night.mails);
    assert_eq!(night.mails_about("failure/place"), 2, "{:?}", night.mails);
    let mail = night.record().outbox.iter().find(|mail| mail.notice.kind.topic().is_of("failure/place"));
    let context = Context { site: "home", cli: "failover" };
    let body = render(&mail.unwrap().notice, &context).body;
    let body = body.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(body.contains("Machine type does not exist") && body.contains("compute.ladder"), "{body}");
    night.pass(Span::from_mins(150), nothing_but(refused));
    assert_eq!([named(&night, "region0-a"), named(&night, "region1-a")], [2, 2], "{:?}", night.mails);
}
