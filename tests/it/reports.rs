//! What a machine writes about itself, through the fake Compute Engine and the real adapter to the decision: nothing of
//! it makes a standby ready that is not, and nothing stops the watcher.

mod boots;
mod read;
mod restarts;

use failover::{
    domain::{
        Action, ActionId, ChainView, Command, CreateOutcome, Event, IncidentId, InstanceRef, Mode, Outcome, Policy,
        PricedRung, Report, Request, Rung, Seen, Span, Time, Usd, Validator, ValidatorId, World, explain, step,
    },
    ports::{Disks as _, Inspection as _, Machines as _, Scope},
};
use serde_json::{Value, json};

use crate::compute::{Rig, ZONES, incident, rig, spec, validator};

/// The pure half of the watcher, which is told what the real adapter has seen.
struct Watcher {
    rig: Rig,
    world: World,
    policy: Policy,
    now: Time,
    started: Option<(ActionId, Action)>,
}

impl Watcher {
    /// A watcher whose standby has just been created.
    async fn with_a_standby() -> Self {
        let rig = rig().await;
        let priced = PricedRung {
            rung: Rung { zone: ZONES[0].into(), machine_type: "n2-standard-8".into() },
            per_hour: Some(Usd(0.75)),
            at_most: Some(Usd(54.0)),
            stopped_per_month: None,
        };
        let policy = Policy {
            mode: Mode::Armed,
            ladder: vec![priced],
            simulated: false,
            ready_hold: Span::from_mins(2),
            mail_to: vec!["a@example.org".into()],
            ..Policy::default()
        };
        let mut world = World::new([(validator(), Validator::default())]);
        world.chain = ChainView { genesis_root: Some("0x4b36".into()), ..ChainView::default() };
        let mut watcher = Self { rig, world, policy, now: Time::UNIX_EPOCH, started: None };
        let (by, reason) = ("me".to_owned(), "a test".to_owned());
        let command = Command::Open;
        let request =
            Request { id: "1".into(), validator: validator(), by, reason, command, incident: None, expires_at: None };
        watcher.happen(Event::Requested(validator(), request));
        watcher.settle().await;
        assert_eq!(watcher.phase(), "syncing");
        watcher
    }

    fn phase(&self) -> &'static str {
        self.world.get(&validator()).unwrap().record.phase().name()
    }

    fn says(&self) -> String {
        explain(&self.world, &validator(), self.now, &self.policy).unwrap().to_string()
    }

    fn mails(&self) -> Vec<Value> {
        let outbox = &self.world.get(&validator()).unwrap().record.outbox;
        outbox.iter().map(|outgoing| serde_json::to_value(&outgoing.notice.kind).unwrap()).collect()
    }

    fn instance(&self) -> InstanceRef {
        self.world.get(&validator()).unwrap().record.standby().unwrap().instance.clone()
    }

    fn incident(&self) -> Option<IncidentId> {
        self.world.get(&validator()).unwrap().record.incident().map(|incident| incident.id)
    }

    fn happen(&mut self, event: Event) {
        let mut decision = step(&self.world, &event, self.now, &self.policy).unwrap();
        self.world.commit(Some(&validator()), &mut decision);
        for started in decision.actions {
            assert!(self.started.replace(started).is_none(), "one action at a time");
        }
    }

    /// Carries out whatever is asked for, until nothing is.
    async fn settle(&mut self) {
        while let Some((id, action)) = self.started.take() {
            let outcome = self.carry_out(id, &action).await;
            self.happen(Event::Finished(validator(), id, outcome));
        }
    }

    async fn carry_out(&self, id: ActionId, action: &Action) -> Outcome {
        let gce = &self.rig.gce;
        match action {
            Action::Find => Outcome::Found(gce.find(&Scope::Incident(validator(), id.incident)).await.unwrap()),
            Action::Create(spec) => Outcome::Created(gce.create(spec, uuid::Uuid::nil()).await),
            Action::Observe(instance) => match gce.observe(instance).await {
                Ok(observed) => Outcome::Observed(observed.map(|observed| Seen {
                    state: observed.machine.state,
                    role: observed.machine.role,
                    deletion_protection: observed.machine.deletion_protection,
                    written: observed.written,
                })),
                Err(error) => Outcome::Failed(error.to_string()),
            },
            Action::Console(instance) => match gce.serial_port(instance, -16_384).await {
                Ok(port) => Outcome::Console(port.unwrap().contents),
                Err(error) => Outcome::Failed(error.to_string()),
            },
            Action::Delete(instance) | Action::Abandon(instance) | Action::Reclaim(instance) => {
                self.rig.fake.vanish(&instance.name);
                Outcome::Deleted
            }
            Action::Disks => Outcome::Disks(gce.disks(&Scope::Incident(validator(), id.incident)).await.unwrap()),
        }
    }

    /// The machine writes, half a minute passes, and it is looked at.
    async fn writes(&mut self, text: &str) {
        let name = self.instance().name;
        self.rig.fake.guest_attribute(&name, "report", text);
        self.passes(Span::from_secs(30)).await;
    }

    async fn passes(&mut self, span: Span) {
        self.now += span;
        self.happen(Event::Due(validator()));
        self.settle().await;
    }

    /// What a well standby of this incident writes.
    fn well(&self, counter: u64) -> Report {
        let machine = &self.rig.fake.machines()[0];
        Report {
            incident: machine.label("incident").to_owned(),
            boot_id: "first".into(),
            counter,
            progress_percent: 100,
            stage: "synced".into(),
            synced: true,
            head_age_seconds: 6,
            peers: 50,
            genesis_root: "0x4b36".into(),
            ..Report::default()
        }
    }

    async fn reports(&mut self, counter: u64, change: impl FnOnce(&mut Report)) {
        let mut report = self.well(counter);
        change(&mut report);
        self.writes(&serde_json::to_string(&report).unwrap()).await;
    }

    /// What a start of the watcher leaves: the record. Which chain is the right one is not known at first.
    fn restarts(&mut self) {
        let record = self.world.get(&validator()).unwrap().record.clone();
        self.world = World::new([(validator(), record)]);
        self.world.trust_clock_since(self.now);
        self.started = None;
    }

    /// Well for longer than readiness is held.
    async fn becomes_ready(&mut self, from: u64) {
        for counter in from..from + 8 {
            self.reports(counter, |_| {}).await;
        }
        assert_eq!(self.phase(), "ready", "{}", self.says());
    }
}

/// One report that is not one of a ready standby, and the words that have to say why.
type Bad = (&'static str, fn(&mut Report));

const NOT_READY: &[Bad] = &[
    ("it is of incident 0badc0de", |report| report.incident = "0badc0de".into()),
    ("its head is 1h old", |report| report.head_age_seconds = 3600),
    ("old", |report| report.head_age_seconds = u64::MAX),
    ("0 peers, needs 5", |report| report.peers = 0),
    ("it follows another chain (0xdead)", |report| report.genesis_root = "0xdead".into()),
    ("it does not say yet which chain it follows", |report| report.genesis_root.clear()),
    ("its clock is off by 120000 ms", |report| report.clock_offset_ms = 120_000),
    ("its clock is off by", |report| report.clock_offset_ms = i64::MIN),
    ("the execution layer has not verified its head", |report| report.optimistic = true),
    ("still at it (100 %)", |report| {
        (report.synced, report.progress_percent, report.stage) = (false, 255, "still\u{1b}[2J at it".into());
    }),
];

#[tokio::test]
async fn no_report_makes_a_standby_ready_that_is_not_and_each_says_why() {
    let mut watcher = Watcher::with_a_standby().await;
    watcher.becomes_ready(1).await;
    let mut counter = 100;
    for (words, change) in NOT_READY {
        watcher.reports(counter, change).await;
        let said = watcher.says();
        assert!(watcher.phase() == "syncing" && said.replace(" [2J", "").contains(words), "{words}: {said}");
        assert!(!said.chars().any(char::is_control), "{said:?}");
        watcher.becomes_ready(counter + 1).await;
        counter += 100;
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_said_and_the_next_report_counts_again() {
    let mut watcher = Watcher::with_a_standby().await;
    watcher.becomes_ready(1).await;
    let well = serde_json::to_value(watcher.well(50)).unwrap();
    let with = |key: &str, value: Value| {
        let mut report = well.clone();
        report[key] = value;
        report.to_string()
    };
    let unreadable = [
        "x".repeat(1_000_000),
        String::new(),
        "{".into(),
        "[]".into(),
        "\u{0}\u{7}\u{1b}]0;title".into(),
        with("counter", json!(-1)),
        with("counter", json!(1e300)),
        with("progress_percent", json!(256)),
        with("head_age_seconds", json!(-60)),
        with("peers", json!("many")),
        with("boot_id", Value::Null),
        with("stage", json!("y".repeat(20_000))),
    ];
    for (number, text) in unreadable.iter().enumerate() {
        watcher.writes(text).await;
        let said = watcher.says();
        let short: String = text.chars().take(60).collect();
        assert!(said.contains("its report does not count: it cannot be read"), "{short}: {said}");
        assert!(said.len() < 300 && !said.chars().any(char::is_control), "{said:?}");
        watcher.becomes_ready(100 * (number as u64 + 1)).await;
    }
}

#[tokio::test]
async fn a_counter_that_stands_still_or_falls_is_no_report() {
    let mut watcher = Watcher::with_a_standby().await;
    watcher.becomes_ready(100).await;
    for _ in 0..25 {
        watcher.reports(100, |_| {}).await;
    }
    assert_eq!(watcher.phase(), "syncing");
    assert!(watcher.says().contains("its report has not moved for"), "{}", watcher.says());
    watcher.reports(u64::MAX, |_| {}).await;
    for counter in 200..225 {
        watcher.reports(counter, |_| {}).await;
    }
    assert!(watcher.says().contains("has not moved for"), "a counter from the future: {}", watcher.says());
}

#[tokio::test]
async fn a_signer_said_by_whomever_makes_the_machine_untouchable() {
    let mut watcher = Watcher::with_a_standby().await;
    watcher
        .reports(1, |report| {
            (report.incident, report.signer_seen) = ("0badc0de".into(), true);
        })
        .await;
    assert_eq!(watcher.phase(), "needs human");
    assert!(watcher.says().contains("a process that could sign"), "{}", watcher.says());
    watcher.passes(Span::from_hours(2)).await;
    assert_eq!(watcher.rig.fake.machines().len(), 1, "nothing is deleted, and nothing made");
}

#[tokio::test]
async fn after_a_release_nothing_is_left_or_it_is_told() {
    for keeps_a_disk in [false, true] {
        let mut watcher = Watcher::with_a_standby().await;
        let name = watcher.instance().name;
        if keeps_a_disk {
            watcher.rig.fake.tamper(&name, |json| json["disks"][1]["autoDelete"] = json!(false));
        }
        let (by, reason) = ("me".to_owned(), "a test".to_owned());
        let (command, incident) = (Command::Close, watcher.incident());
        let request =
            Request { id: "2".into(), validator: validator(), by, reason, command, incident, expires_at: None };
        watcher.happen(Event::Requested(validator(), request));
        watcher.settle().await;
        assert_eq!((watcher.phase(), watcher.rig.fake.machines().len()), ("watching", 0));
        let left = watcher.mails().last().unwrap()["over"]["left"].clone();
        let expected =
            if keeps_a_disk { json!([format!("disk {name}-1 in {} (2048 GB)", ZONES[0])]) } else { json!([]) };
        assert_eq!(left, expected);
    }
}

#[tokio::test]
async fn a_console_is_read_in_parts_and_a_machine_that_is_gone_has_none() {
    let rig = rig().await;
    let CreateOutcome::Created(instance) = rig.gce.create(&spec(ZONES[0], 0), uuid::Uuid::nil()).await else {
        panic!("not created")
    };
    rig.fake.serial_write(&instance.name, b"one\n");
    let first = rig.gce.serial_port(&instance, 0).await.unwrap().unwrap();
    assert_eq!((first.contents.as_str(), first.start, first.next), ("one\n", 0, 4));
    rig.fake.serial_write(&instance.name, b"two\n");
    let second = rig.gce.serial_port(&instance, first.next).await.unwrap().unwrap();
    assert_eq!((second.contents.as_str(), second.next), ("two\n", 8));
    assert_eq!(rig.gce.serial_port(&instance, -3).await.unwrap().unwrap().contents, "wo\n");
    rig.fake.serial_write(&instance.name, &b"0123456789abcdef".repeat(1 << 17));
    let all = rig.gce.serial_port(&instance, 8).await.unwrap().unwrap();
    assert_eq!((all.contents.len(), all.start), (1 << 20, 8 + (1 << 20)), "what is older is gone, and it is said");
    rig.fake.vanish(&instance.name);
    assert_eq!(rig.gce.serial_port(&instance, 0).await.unwrap(), None);
}

#[tokio::test]
async fn a_zone_that_does_not_answer_makes_the_look_for_disks_unknown() {
    let rig = rig().await;
    assert!(rig.gce.disks(&Scope::Incident(validator(), incident())).await.unwrap().is_empty());
    let CreateOutcome::Created(_) = rig.gce.create(&spec(ZONES[0], 0), uuid::Uuid::nil()).await else {
        panic!("not created")
    };
    let scope = |name: &str| Scope::Validator(ValidatorId::new(name).unwrap());
    assert_eq!(rig.gce.disks(&scope("eth-0")).await.unwrap().len(), 2);
    assert!(rig.gce.disks(&scope("eth-9")).await.unwrap().is_empty(), "another validator's are not ours");
    rig.fake.set_reachable(ZONES[1], false);
    assert!(rig.gce.disks(&Scope::Everything).await.is_err());
}
