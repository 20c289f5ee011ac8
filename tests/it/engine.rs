//! The loop: persisted before done, one leader at a time, and what it does when the ledger, the clock or a record
//! fails.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use failover::{
    domain::{
        ActionId, Case, ChainView, Command, CreateOutcome, Event, Evidence, Incident, IncidentId, InstanceRef,
        Interval, LedgerKey, Machine, MachineState, Mode, Pause, Policy, PricedRung, Reading, Role, Rung, Source, Span,
        Stage, Standby, StandbySpec, Time, Validator, ValidatorId, Verdict, Written,
    },
    ports::{
        Clock, CloudError, Disks, Inspection, Ledger, Machines, Notifier, Observed, Scope, SerialPort, Unpromoted,
    },
    records,
    runtime::{
        Deps, Engine, EngineConfig, Handle, identity, journal,
        lease::{LeaseConfig, LeaseHolder, LeaseRecord},
        requests,
        status::Status,
        store::{Envelope, FORM},
    },
};
use futures::{FutureExt, future::BoxFuture};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::memory_ledger::{Fault, MemoryLedger};

mod outbox;

/// A cloud that is empty, notes what it is asked, and looks at the ledger at that moment.
struct NotingCloud {
    ledger: Arc<MemoryLedger>,
    created: Mutex<Vec<(StandbySpec, String)>>,
    /// What every look at a machine shows, and how often one was asked for.
    shown: Mutex<Option<Observed>>,
    looks: AtomicI64,
}

#[async_trait]
impl Machines for NotingCloud {
    async fn find(&self, _: &Scope) -> Result<Vec<Machine>, CloudError> {
        Ok(Vec::new())
    }
    async fn create(&self, spec: &StandbySpec, _: uuid::Uuid) -> CreateOutcome {
        let record = self.ledger.dump().remove("validators/eth-0").unwrap_or_default();
        self.created.lock().unwrap().push((spec.clone(), record));
        CreateOutcome::Created(InstanceRef { zone: spec.rung.zone.clone(), name: spec.machine_name(), id: 7.into() })
    }
    async fn observe(&self, _: &InstanceRef) -> Result<Option<Observed>, CloudError> {
        self.looks.fetch_add(1, Ordering::SeqCst);
        let shown = self.shown.lock().unwrap().clone();
        shown.map(Some).ok_or_else(|| CloudError::Retry("not in this test".into()))
    }
    async fn delete(&self, _: &ActionId, _: &Unpromoted) -> Result<(), CloudError> {
        panic!("nothing is deleted in these tests");
    }
}

#[async_trait]
impl Inspection for NotingCloud {
    async fn serial_port(&self, _: &InstanceRef, _: i64) -> Result<Option<SerialPort>, CloudError> {
        Ok(None)
    }
}

#[async_trait]
impl Disks for NotingCloud {
    async fn disks(&self, _: &Scope) -> Result<Vec<String>, CloudError> {
        Ok(Vec::new())
    }
}

/// The wall clock, with somebody's hand on it.
#[derive(Default)]
struct WrongClock(AtomicI64);

impl Clock for WrongClock {
    fn now(&self) -> Time {
        Time::now() + Span::from_secs(self.0.load(Ordering::SeqCst))
    }
    fn sleep_until(&self, at: Time) -> BoxFuture<'static, ()> {
        let left = at.duration_since(self.now());
        tokio::time::sleep(left.try_into().unwrap_or_default()).boxed()
    }
}

struct Rig {
    ledger: Arc<MemoryLedger>,
    cloud: Arc<NotingCloud>,
    notifier: Option<Arc<dyn Notifier>>,
    clock: Arc<WrongClock>,
}

struct Running {
    handle: Handle,
    stop: CancellationToken,
    task: JoinHandle<Result<(), failover::runtime::EngineError>>,
}

impl Rig {
    fn new() -> Self {
        let ledger = Arc::new(MemoryLedger::default());
        let cloud = Arc::new(NotingCloud {
            ledger: ledger.clone(),
            created: Mutex::default(),
            shown: Mutex::default(),
            looks: AtomicI64::default(),
        });
        Self { ledger, cloud, notifier: None, clock: Arc::default() }
    }

    async fn start(&self, hold_down: Span) -> Running {
        let running = self.start_waiting(hold_down);
        running.leads().await;
        running
    }

    fn start_waiting(&self, hold_down: Span) -> Running {
        self.start_with(Policy { mode: Mode::Armed, hold_down, ..Policy::default() })
    }

    fn start_with(&self, policy: Policy) -> Running {
        let rung = Rung { zone: "us-central1-a".into(), machine_type: "n2-standard-8".into() };
        let priced = PricedRung { rung, per_hour: None, at_most: None, stopped_per_month: None };
        let config = EngineConfig {
            site: "home".into(),
            validators: vec![eth(0), eth(1)],
            policy: Policy { ladder: vec![priced], ..policy },
            lease: LeaseConfig {
                key: LedgerKey::LEASE,
                about: LeaseHolder { site: "home".into(), address: None, witness: None },
                ttl: Duration::from_secs(2),
                silence: None,
            },
            requests_every: Duration::from_millis(20),
            call_timeout: Duration::from_millis(500),
            clock_jump: Duration::from_secs(30),
            grants: failover::runtime::grants::GrantRules::default(),
            cli: "failover".into(),
        };
        let deps = Deps {
            ledger: self.ledger.clone(),
            cloud: Some(self.cloud.clone()),
            notifier: self.notifier.clone(),
            clock: self.clock.clone(),
        };
        let (engine, handle) = Engine::new(config, deps);
        let stop = CancellationToken::new();
        Running { handle, task: tokio::spawn(engine.run(stop.clone())), stop }
    }
}

impl Running {
    async fn leads(&self) {
        self.handle.leadership().wait_for(|leads| *leads).await.unwrap();
    }

    async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
    }

    async fn down(&self, clock: &WrongClock, source: Source, evidence: Evidence) {
        let at = clock.now();
        let fresh_until = at + Span::from_hours(5);
        let about = Interval { from: at, to: at };
        let reading = Reading { verdict: Verdict::Down, evidence, about, fresh_until, why: "a test".into() };
        self.handle.send(Event::Observed(eth(0), source, reading)).await;
    }

    async fn both_down(&self, clock: &WrongClock) {
        self.down(clock, Source::Alert, Evidence::Process).await;
        self.down(clock, Source::Chain, Evidence::Chain).await;
    }

    async fn until(&self, what: impl Fn(&Status) -> bool) -> Status {
        let wait = async {
            loop {
                if let Some(status) = self.handle.status().await
                    && what(&status)
                {
                    return status;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), wait).await.expect("it comes")
    }
}

fn eth(number: usize) -> ValidatorId {
    ValidatorId::new(&format!("eth-{number}")).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_intent_is_in_the_ledger_before_the_machine_is_asked_for() {
    let rig = Rig::new();
    let running = rig.start(Span::ZERO).await;
    running.both_down(&rig.clock).await;
    running.until(|status| status.validators[0].phase == "syncing").await;
    let created = rig.cloud.created.lock().unwrap().clone();
    assert_eq!(created.len(), 1);
    assert!(created[0].1.contains(r#""create":"#), "the record at that moment: {}", created[0].1);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_ledger_does_not_answer_nothing_is_done_and_then_it_is_done_once() {
    let rig = Rig::new();
    let running = rig.start(Span::ZERO).await;
    rig.ledger.script([Fault::Unavailable, Fault::LostRequest, Fault::LostReply]);
    running.both_down(&rig.clock).await;
    running.until(|status| status.validators[0].phase == "syncing").await;
    assert_eq!(rig.cloud.created.lock().unwrap().len(), 1);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clean_stop_hands_over_at_once_and_the_successor_knows_the_incident() {
    let rig = Rig::new();
    let first = rig.start(Span::ZERO).await;
    first.both_down(&rig.clock).await;
    let opened = first.until(|status| status.validators[0].phase == "syncing").await;
    let second = rig.start_waiting(Span::ZERO);
    assert!(!second.handle.leads(), "one leader at a time");
    first.stop().await;
    let since = std::time::Instant::now();
    second.leads().await;
    assert!(since.elapsed() < Duration::from_secs(1), "{:?}", since.elapsed());
    let known = second.until(|_| true).await;
    let id = |status: &Status| status.validators[0].incident.as_ref().map(|incident| incident.id);
    assert_eq!((id(&known), known.validators[0].phase.as_str()), (id(&opened), "syncing"));
    assert_eq!(rig.cloud.created.lock().unwrap().len(), 1, "nothing is created a second time");
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_whose_lease_is_taken_steps_down() {
    let rig = Rig::new();
    let running = rig.start(Span::from_hours(1)).await;
    let other = LeaseRecord {
        holder: "another".into(),
        about: LeaseHolder { site: "elsewhere".into(), address: None, witness: None },
        token: 99,
        beat: 0,
        ttl_ms: 60_000,
    };
    rig.ledger.set("lease", records::encode("lease", &other));
    running.handle.leadership().wait_for(|leads| !*leads).await.unwrap();
    assert!(running.handle.status().await.is_none(), "who does not lead knows nothing");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_jump_of_the_clock_in_either_direction_restarts_every_hold() {
    for jump in [3600, -3600] {
        let rig = Rig::new();
        let running = rig.start(Span::from_mins(30)).await;
        running.both_down(&rig.clock).await;
        running.until(|status| status.validators[0].reason.starts_with("holding")).await;
        rig.clock.0.store(jump, Ordering::SeqCst);
        // Half an hour of hold would be over by the wall clock; it has begun again instead.
        let status = running.until(|status| status.at.duration_since(Time::now()).abs() > Span::from_mins(50)).await;
        assert_eq!(status.validators[0].phase, "suspected", "jump of {jump}");
        assert!(rig.cloud.created.lock().unwrap().is_empty());
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_cannot_be_read_is_left_alone_and_the_others_are_watched() {
    for (bytes, said) in [(&b"{\"v\":2,"[..], "cannot be read"), (b"{\"v\":3}", "upgrade failover")] {
        let rig = Rig::new();
        rig.ledger.set("validators/eth-0", bytes);
        let running = rig.start(Span::ZERO).await;
        let status = running.until(|_| true).await;
        assert_eq!(status.validators.len(), 1, "eth-1 is watched");
        assert!(status.unreadable[0].contains(said), "{:?}", status.unreadable);
        running.both_down(&rig.clock).await;
        running.until(|_| true).await;
        assert!(rig.cloud.created.lock().unwrap().is_empty(), "nothing is done for a validator nobody can read");
        running.stop().await;
        assert_eq!(rig.ledger.dump()["validators/eth-0"].as_bytes(), bytes);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_taken_answered_in_the_record_and_removed() {
    let rig = Rig::new();
    let running = rig.start(Span::from_hours(1)).await;
    let command = failover::domain::Command::Open;
    let id = requests::send(&*rig.ledger, Time::now(), &eth(0), "me", "the disk is dead", command, None).await.unwrap();
    running.until(|status| status.validators[0].phase == "syncing").await;
    let record = rig.ledger.get("validators/eth-0").await.unwrap().unwrap();
    let envelope: Envelope = records::decode_form("validators/eth-0", &record.bytes, FORM).unwrap();
    assert!(envelope.validator.applied.iter().any(|applied| applied.id == id && applied.accepted));
    running.until(|_| rig.ledger.dump().keys().all(|key| !key.starts_with("requests/"))).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_journal_says_what_was_decided_and_who_had_asked() {
    let rig = Rig::new();
    let running = rig.start(Span::from_hours(1)).await;
    let command = failover::domain::Command::Open;
    requests::send(&*rig.ledger, Time::now(), &eth(0), "me", "the disk is dead", command, None).await.unwrap();
    running.until(|status| status.validators[0].phase == "syncing").await;
    running.stop().await;
    let entries = journal::read(&*rig.ledger, Some(&eth(0)), 10).await.unwrap();
    let steps: Vec<_> = entries.iter().map(|entry| (entry.from.as_str(), entry.to.as_str())).collect();
    assert_eq!(steps, [("watching", "provisioning"), ("provisioning", "provisioning"), ("provisioning", "syncing")]);
    assert_eq!(entries[0].asked_by.as_deref(), Some("me"));
    assert_eq!(entries[0].asked.as_deref(), Some("open: the disk is dead"));
    assert!(entries[1].reasons.iter().any(|reason| reason.starts_with("creating ")), "{:?}", entries[1].reasons);
    assert!(journal::read(&*rig.ledger, Some(&eth(1)), 10).await.unwrap().is_empty(), "nothing was decided there");
    assert_eq!(journal::read(&*rig.ledger, None, 1).await.unwrap(), entries[2..]);
}

/// A record of another holder, by whose clock the machine had its time for booting long ago.
async fn never_booted(ledger: &dyn Ledger, instance: &InstanceRef, since: Time) -> Envelope {
    let rung = Rung { zone: instance.zone.clone(), machine_type: "n2-standard-8".into() };
    let incident = Incident {
        steps: 1,
        machine_since: Some(since),
        ..Incident::new(IncidentId::derive(&eth(0), since), since, "a test".into())
    };
    let instance = instance.clone();
    let standby = Standby::new(instance, rung, since);
    let case = Case { incident, stage: Stage::Standing(standby), attention: None };
    let validator = Validator { case: Some(case), ..Validator::default() };
    let ledger = identity::of(ledger, Time::now()).await.unwrap().id;
    Envelope { form: FORM, ledger, written_at: since, token: 0, write_id: uuid::Uuid::nil(), validator }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_in_a_record_of_another_holder_is_not_counted_by_his_clock() {
    let rig = Rig::new();
    let instance = InstanceRef { zone: "us-central1-a".into(), name: "fo-eth-0".into(), id: 7.into() };
    let record = never_booted(&*rig.ledger, &instance, Time::now() - Span::from_hours(5)).await;
    let machine = Machine {
        instance,
        validator: "eth-0".into(),
        incident: record.validator.incident().unwrap().id.to_string(),
        ledger: String::new(),
        role: Role::Standby,
        state: MachineState::Running,
        deletion_protection: false,
        machine_type: "n2-standard-8".into(),
        created_at: None,
    };
    *rig.cloud.shown.lock().unwrap() = Some(Observed { machine, written: Written::Nothing });
    rig.ledger.set("validators/eth-0", records::encode("validators/eth-0", &record));
    let observe_every = Span::from_millis(20);
    let policy = Policy { mode: Mode::Armed, simulated: false, observe_every, ..Policy::default() };
    let running = rig.start_with(policy);
    running.leads().await;
    let status = running.until(|_| rig.cloud.looks.load(Ordering::SeqCst) >= 4).await;
    assert_eq!(status.validators[0].phase, "syncing", "it has its time for booting from here on");
    assert_eq!(status.validators[0].reason, "syncing: the machine has not reported");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_for_a_validator_nobody_knows_changes_nothing() {
    let rig = Rig::new();
    let running = rig.start(Span::ZERO).await;
    running.handle.send(Event::Due(eth(9))).await;
    running.handle.send(Event::ChainSeen(ChainView::default())).await;
    let status = running.until(|_| true).await;
    assert_eq!(status.validators.len(), 2);
    assert!(rig.ledger.dump().keys().all(|key| key == "lease" || key == "ledger"), "{:?}", rig.ledger.dump().keys());
    running.stop().await;
}

/// A write of an earlier holder that was on its way while its lease ran out, and lands in a record that was taken over.
#[tokio::test(flavor = "multi_thread")]
async fn a_late_write_of_an_earlier_holder_is_read_again_and_not_fought_for_ever() {
    let rig = Rig::new();
    let running = rig.start(Span::from_hours(1)).await;
    let until = Time::now() + Span::from_hours(2);
    let pause = Pause { until, reason: "new disk".into(), by: "me".into() };
    let validator = Validator { pause: Some(pause), ..Validator::default() };
    let ledger = identity::of(&*rig.ledger, Time::now()).await.unwrap().id;
    let late =
        Envelope { form: FORM, ledger, written_at: Time::now(), token: 0, write_id: uuid::Uuid::nil(), validator };
    rig.ledger.set("validators/eth-0", records::encode("validators/eth-0", &late));
    // The next write meets it.
    running.both_down(&rig.clock).await;
    let status = running.until(|status| status.validators[0].pause.is_some()).await;
    assert!(status.holds_lease && status.validators[0].pause.as_ref().unwrap().contains("new disk"));
    // And it writes again, under its own token.
    running.both_down(&rig.clock).await;
    running.until(|status| status.validators[0].phase == "suspected").await;
    let record = rig.ledger.get("validators/eth-0").await.unwrap().unwrap();
    let written: Envelope = records::decode_form("validators/eth-0", &record.bytes, FORM).unwrap();
    assert!(written.token > 1 && written.validator.pause.is_some(), "token {}", written.token);
    running.stop().await;
}

/// As `failover ledger remove` does.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_taken_away_is_begun_again_and_keeps_no_other_from_being_followed() {
    let rig = Rig::new();
    let running = rig.start(Span::from_hours(1)).await;
    running.both_down(&rig.clock).await;
    running.until(|status| status.validators[0].phase == "suspected").await;
    let stored = rig.ledger.get("validators/eth-0").await.unwrap().unwrap();
    rig.ledger.remove("validators/eth-0", &stored.version).await.unwrap();
    // The next write misses it. What asked for that write is not lost.
    let pause = Command::Pause { until: Time::now() + Span::from_hours(2) };
    requests::send(&*rig.ledger, Time::now(), &eth(0), "me", "new disk", pause, None).await.unwrap();
    running.until(|status| status.holds_lease && status.validators[0].pause.is_some()).await;
    let token = |bytes: &[u8]| records::decode_form::<Envelope>("validators/eth-0", bytes, FORM).unwrap().token;
    let again = rig.ledger.get("validators/eth-0").await.unwrap().unwrap();
    assert!(token(&again.bytes) > token(&stored.bytes), "it was read again, by leading again");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_heard_while_waiting_is_shown_and_known_at_once_when_it_leads() {
    let rig = Rig::new();
    let first = rig.start(Span::from_hours(1)).await;
    let second = rig.start_waiting(Span::from_hours(1));
    second.down(&rig.clock, Source::Chain, Evidence::Chain).await;
    let says_down = |status: &Status| status.validators[0].signals.iter().any(|signal| signal.verdict == "down");
    let waiting = second.handle.see().await.unwrap();
    assert!(!waiting.holds_lease && says_down(&waiting), "{waiting:#?}");
    assert_eq!(waiting.validators[0].phase, "watching", "the phase is the ledger's");
    assert!(second.handle.status().await.is_none(), "it is no leader's status");
    assert!(rig.ledger.dump().keys().all(|key| key == "lease" || key == "ledger"), "and nothing was written");
    first.stop().await;
    second.leads().await;
    let leading = second.until(|status| status.validators[0].phase == "suspected").await;
    assert!(says_down(&leading), "{leading:#?}");
    second.stop().await;
}

/// A record that was copied from another ledger speaks of another home's machines.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_of_another_ledger_is_left_as_it_is() {
    let rig = Rig::new();
    identity::of(&*rig.ledger, Time::now()).await.unwrap();
    let (ledger, written_at) = (uuid::Uuid::from_u128(7), Time::now());
    let validator = Validator::default();
    let copied = Envelope { form: FORM, ledger, written_at, token: 0, write_id: uuid::Uuid::nil(), validator };
    let copied = records::encode("validators/eth-0", &copied);
    rig.ledger.set("validators/eth-0", copied.clone());
    let running = rig.start(Span::from_hours(1)).await;
    let status = running.until(|status| !status.unreadable.is_empty()).await;
    assert!(status.unreadable[0].contains("belongs to ledger 00000000"), "{:?}", status.unreadable);
    // Taking everything over again would not help; only when it is gone does it.
    let mut leads = running.handle.leadership();
    leads.mark_unchanged();
    let lease = async || rig.ledger.get("lease").await.unwrap().unwrap().version;
    // It is looked at as often as the lease is renewed.
    for _ in 0..3 {
        let before = lease().await;
        while lease().await == before {
            tokio::task::yield_now().await;
        }
    }
    assert!(!leads.has_changed().unwrap(), "it continues leading");
    assert_eq!(rig.ledger.get("validators/eth-0").await.unwrap().unwrap().bytes, copied);
    running.stop().await;
}

/// The earlier holder's clock was five hours ahead: a pause that had an hour left has an hour left.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_from_a_clock_that_was_ahead_says_nothing_about_the_future() {
    let rig = Rig::new();
    let ledger = identity::of(&*rig.ledger, Time::now()).await.unwrap().id;
    let written_at = Time::now() + Span::from_hours(5);
    let pause = Pause { until: written_at + Span::from_hours(1), reason: "new disk".into(), by: "me".into() };
    let validator = Validator { pause: Some(pause), ..Validator::default() };
    let ahead = Envelope { form: FORM, ledger, written_at, token: 0, write_id: uuid::Uuid::nil(), validator };
    rig.ledger.set("validators/eth-0", records::encode("validators/eth-0", &ahead));
    let running = rig.start(Span::from_hours(1)).await;
    let record = rig.ledger.get("validators/eth-0").await.unwrap().unwrap();
    let taken: Envelope = records::decode_form("validators/eth-0", &record.bytes, FORM).unwrap();
    let left = taken.validator.pause.unwrap().until.duration_since(Time::now());
    assert!(left > Span::from_mins(50) && left <= Span::from_hours(1), "{left:?}");
    running.stop().await;
}
