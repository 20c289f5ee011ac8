//! Home's watcher and witnesses on one ledger, in virtual time: each is a loop of its own with a wire of its own to the
//! ledger. What the chain shows is said by the test.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use failover::{
    domain::{
        ActionId, CreateOutcome, Delivery, Event, Evidence, InstanceRef, Interval, LedgerKey, Machine, Message, Mode,
        Policy, PricedRung, Reading, Rung, Source, Span, StandbySpec, Time, ValidatorId, Verdict,
    },
    ports::{
        Clock, CloudError, Disks, Expect, Finding, Inspection, Ledger, LedgerError, Machines, Notifier, Observed,
        PutError, Scope, SerialPort, Stored, Unpromoted, Version,
    },
    runtime::{
        Deps, Engine, EngineConfig, Handle,
        lease::{LeaseConfig, LeaseHolder},
    },
    sources::{Sources, site},
};
use futures::{FutureExt, future::BoxFuture};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::support::memory_ledger::MemoryLedger;

const MINUTE: Duration = Duration::from_mins(1);
const SECOND: Duration = Duration::from_secs(1);
const EPOCH: Duration = Duration::from_secs(384);

/// The ledger as one process reaches it.
struct Wire {
    ledger: Arc<MemoryLedger>,
    store_is_gone: Arc<AtomicBool>,
    is_cut: AtomicBool,
}

impl Wire {
    fn whole(&self) -> Result<(), LedgerError> {
        if self.is_cut.load(Ordering::SeqCst) || self.store_is_gone.load(Ordering::SeqCst) {
            return Err(LedgerError::Unavailable("cut".into()));
        }
        Ok(())
    }
}

#[async_trait]
impl Ledger for Wire {
    async fn get(&self, key: &str) -> Result<Option<Stored>, LedgerError> {
        self.whole()?;
        self.ledger.get(key).await
    }
    async fn put(&self, key: &str, bytes: Vec<u8>, expect: Expect) -> Result<Version, PutError> {
        self.whole()?;
        self.ledger.put(key, bytes, expect).await
    }
    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Vec<String>, LedgerError> {
        self.whole()?;
        self.ledger.list(prefix, after).await
    }
    async fn remove(&self, key: &str, version: &Version) -> Result<(), PutError> {
        self.whole()?;
        self.ledger.remove(key, version).await
    }
    fn describe(&self) -> String {
        "memory".into()
    }
    fn is_off_site(&self) -> bool {
        true
    }
}

/// Takes some minutes for a creation, and is asked for nothing else.
#[derive(Default)]
struct Cloud(Mutex<Vec<String>>);

#[async_trait]
impl Machines for Cloud {
    async fn find(&self, _: &Scope) -> Result<Vec<Machine>, CloudError> {
        Ok(Vec::new())
    }
    async fn create(&self, spec: &StandbySpec, _: Uuid) -> CreateOutcome {
        self.0.lock().unwrap().push(spec.machine_name());
        sleep(3 * SECOND).await;
        CreateOutcome::Created(InstanceRef { zone: spec.rung.zone.clone(), name: spec.machine_name(), id: 7.into() })
    }
    async fn observe(&self, _: &InstanceRef) -> Result<Option<Observed>, CloudError> {
        Err(CloudError::Retry("not in this test".into()))
    }
    async fn delete(&self, _: &ActionId, _: &Unpromoted) -> Result<(), CloudError> {
        panic!("nothing is deleted in these tests");
    }
}

#[async_trait]
impl Inspection for Cloud {
    async fn serial_port(&self, _: &InstanceRef, _: i64) -> Result<Option<SerialPort>, CloudError> {
        Ok(None)
    }
}

#[async_trait]
impl Disks for Cloud {
    async fn disks(&self, _: &Scope) -> Result<Vec<String>, CloudError> {
        Ok(Vec::new())
    }
}

#[derive(Default)]
struct Mails(Mutex<Vec<String>>);

#[async_trait]
impl Notifier for Mails {
    fn recipients(&self) -> Vec<String> {
        vec!["me@example.org".into()]
    }
    async fn send(&self, message: &Message, _: Uuid, to: &[String]) -> Delivery {
        self.0.lock().unwrap().push(message.subject.clone());
        Delivery { accepted: to.to_vec(), ..Delivery::default() }
    }
    async fn check(&self) -> Vec<Finding> {
        Vec::new()
    }
}

/// Virtual time, read by somebody whose clock is set wrong.
#[derive(Clone)]
struct Shifted {
    began: Instant,
    base: Time,
}

impl Clock for Shifted {
    fn now(&self) -> Time {
        self.base + Span::try_from(self.began.elapsed()).unwrap()
    }
    fn sleep_until(&self, at: Time) -> BoxFuture<'static, ()> {
        let left = at.duration_since(self.now());
        sleep(left.try_into().unwrap_or_default()).boxed()
    }
}

struct World {
    ledger: Arc<MemoryLedger>,
    store_is_gone: Arc<AtomicBool>,
    cloud: Arc<Cloud>,
    mails: Arc<Mails>,
    began: Instant,
    /// What the chain shows.
    attests: Arc<AtomicBool>,
    handles: Arc<Mutex<Vec<Handle>>>,
    watching: JoinHandle<()>,
}

impl Drop for World {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

struct Running {
    handle: Handle,
    wire: Arc<Wire>,
    engine: JoinHandle<()>,
    sources: Sources,
    chain: JoinHandle<()>,
}

fn eth_0() -> ValidatorId {
    ValidatorId::new("eth-0").unwrap()
}

impl World {
    fn new() -> Self {
        let handles: Arc<Mutex<Vec<Handle>>> = Arc::default();
        let all = handles.clone();
        // In every test, at every second: never two.
        let watching = tokio::spawn(async move {
            loop {
                let leaders = all.lock().unwrap().iter().filter(|handle| handle.leads()).count();
                assert!(leaders <= 1, "two lead");
                sleep(SECOND).await;
            }
        });
        Self {
            ledger: Arc::default(),
            store_is_gone: Arc::default(),
            cloud: Arc::default(),
            mails: Arc::default(),
            began: Instant::now(),
            attests: Arc::new(AtomicBool::new(true)),
            handles,
            watching,
        }
    }

    fn home(&self) -> Running {
        self.start(None, Span::ZERO)
    }

    fn witness(&self, name: &str) -> Running {
        self.start(Some(name), Span::ZERO)
    }

    fn start(&self, witness: Option<&str>, ahead: Span) -> Running {
        let rung = Rung { zone: "us-central1-a".into(), machine_type: "n2-standard-8".into() };
        let priced = PricedRung { rung, per_hour: None, at_most: None, stopped_per_month: None };
        let to = vec!["me@example.org".to_owned()];
        let policy = Policy { mode: Mode::Armed, ladder: vec![priced], mail_to: to, ..Policy::default() };
        let silence = Duration::try_from(policy.site_silence).unwrap();
        let about = LeaseHolder { site: "home".into(), address: None, witness: witness.map(str::to_owned) };
        let config = EngineConfig {
            site: "home".into(),
            validators: vec![eth_0()],
            lease: LeaseConfig { key: LedgerKey::LEASE, about, ttl: 55 * SECOND, silence: witness.map(|_| silence) },
            requests_every: 10 * SECOND,
            call_timeout: 10 * SECOND,
            // The loop compares virtual time with the real one.
            clock_jump: Duration::from_hours(24 * 365),
            grants: failover::runtime::grants::GrantRules::default(),
            cli: "failover".into(),
            policy,
        };
        let wire = Arc::new(Wire {
            ledger: self.ledger.clone(),
            store_is_gone: self.store_is_gone.clone(),
            is_cut: AtomicBool::new(false),
        });
        let base = Time::constant(1_795_222_800, 0) + ahead;
        let clock = Arc::new(Shifted { began: self.began, base });
        let deps = Deps {
            ledger: wire.clone(),
            cloud: Some(self.cloud.clone()),
            notifier: Some(self.mails.clone()),
            clock: clock.clone(),
        };
        let (home, off_site) = site::sites(&config, &deps, false).unwrap();
        let (engine, handle) = Engine::new(config, deps);
        let mut sources = Sources::new(handle.clone());
        sources.spawn_all(home);
        sources.spawn_all(off_site);
        let engine = tokio::spawn(engine.run(CancellationToken::new()).map(|ended| ended.unwrap()));
        self.handles.lock().unwrap().push(handle.clone());
        let (attests, seen) = (self.attests.clone(), handle.clone());
        let chain = tokio::spawn(async move {
            let mut silent = 0;
            loop {
                sleep(EPOCH).await;
                let works = attests.load(Ordering::SeqCst);
                silent = if works { 0 } else { silent + 1 };
                let verdict = match silent {
                    0 => Verdict::Up,
                    1 => Verdict::Unknown,
                    _ => Verdict::Down,
                };
                let now = clock.now();
                let about = Interval { from: now - Span::try_from(EPOCH).unwrap(), to: now };
                let fresh_until = now + Span::try_from(2 * EPOCH).unwrap();
                let why = "the test says so".into();
                let reading = Reading { verdict, evidence: Evidence::Chain, about, fresh_until, why };
                seen.send(Event::Observed(eth_0(), Source::Chain, reading)).await;
            }
        });
        Running { handle, wire, engine, sources, chain }
    }

    fn created(&self) -> Vec<String> {
        self.cloud.0.lock().unwrap().clone()
    }

    fn mails(&self, about: &str) -> usize {
        self.mails.0.lock().unwrap().iter().filter(|subject| subject.contains(about)).count()
    }
}

impl Running {
    /// How long it takes until it leads.
    async fn leads_within(&self, limit: Duration) -> Duration {
        let since = Instant::now();
        while !self.handle.leads() {
            assert!(since.elapsed() <= limit, "it does not lead");
            sleep(SECOND).await;
        }
        since.elapsed()
    }

    async fn does_not_lead_for(&self, span: Duration) {
        let since = Instant::now();
        while since.elapsed() < span {
            assert!(!self.handle.leads(), "it leads after {:?}", since.elapsed());
            sleep(SECOND).await;
        }
    }

    fn cut(&self, is_cut: bool) {
        self.wire.is_cut.store(is_cut, Ordering::SeqCst);
    }

    /// As a plug that is pulled: nothing of it reaches anybody any more.
    async fn kill(self) {
        self.cut(true);
        self.engine.abort();
        self.chain.abort();
        self.sources.stop().await;
    }
}

/// Pulls the plug of a house at work, whose clock is ahead by this much, and lets it come back.
async fn dark_house(ahead: Span) {
    let world = World::new();
    let home = world.start(None, ahead);
    home.leads_within(5 * MINUTE).await;
    let witness = world.witness("oslo");
    witness.does_not_lead_for(60 * MINUTE).await;
    home.kill().await;
    world.attests.store(false, Ordering::SeqCst);
    let took = witness.leads_within(11 * MINUTE).await;
    assert!(took >= Duration::from_secs(590), "{took:?}");
    sleep(40 * MINUTE).await;
    let created = world.created();
    assert_eq!(created.len(), 1, "{created:?}");
    assert_eq!(world.mails("down, creating a standby"), 1, "{:?}", world.mails.0.lock().unwrap());
    // The power is back.
    world.attests.store(true, Ordering::SeqCst);
    let home = world.start(None, ahead);
    let took = home.leads_within(4 * MINUTE).await;
    assert!(took >= 2 * MINUTE, "{took:?}");
    let status = home.handle.see().await.unwrap();
    assert!(status.validators[0].incident.is_some(), "the incident is in the record");
    witness.does_not_lead_for(3 * 60 * MINUTE).await;
    assert!(home.handle.leads());
    assert_eq!(world.created(), created);
}

#[tokio::test(start_paused = true)]
async fn a_dark_house_gets_one_standby_and_its_watcher_the_lease_when_it_is_back() {
    dark_house(Span::ZERO).await;
}

#[tokio::test(start_paused = true)]
async fn clocks_an_hour_apart_change_nothing() {
    dark_house(Span::from_hours(1)).await;
    dark_house(Span::from_hours(-1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_dead_watcher_in_a_house_at_work_opens_nothing_and_is_reported_once_a_day() {
    let world = World::new();
    let home = world.home();
    home.leads_within(5 * MINUTE).await;
    let witness = world.witness("oslo");
    sleep(5 * MINUTE).await;
    home.kill().await;
    witness.leads_within(11 * MINUTE).await;
    sleep(20 * 60 * MINUTE).await;
    assert_eq!((world.created().len(), world.mails("home's watcher is not seen, its validators work")), (0, 1));
    sleep(24 * 60 * MINUTE).await;
    assert_eq!((world.created().len(), world.mails("home's watcher is not seen, its validators work")), (0, 2));
    assert_eq!(world.mails("may be down"), 0, "it is no suspicion");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_gone_for_everybody_gives_a_witness_nothing() {
    let world = World::new();
    let home = world.home();
    home.leads_within(5 * MINUTE).await;
    let witness = world.witness("oslo");
    sleep(9 * MINUTE).await;
    world.store_is_gone.store(true, Ordering::SeqCst);
    sleep(60 * MINUTE).await;
    assert!(!home.handle.leads());
    world.store_is_gone.store(false, Ordering::SeqCst);
    witness.does_not_lead_for(30 * MINUTE).await;
    assert!(home.handle.leads());
    assert!(world.created().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_witness_that_is_cut_off_and_back_creates_nothing_a_second_time() {
    let world = World::new();
    let home = world.home();
    home.leads_within(5 * MINUTE).await;
    let witness = world.witness("oslo");
    sleep(5 * MINUTE).await;
    home.kill().await;
    world.attests.store(false, Ordering::SeqCst);
    witness.leads_within(11 * MINUTE).await;
    sleep(40 * MINUTE).await;
    assert_eq!(world.created().len(), 1);
    witness.cut(true);
    sleep(5 * MINUTE).await;
    assert!(!witness.handle.leads());
    witness.cut(false);
    witness.leads_within(11 * MINUTE).await;
    sleep(60 * MINUTE).await;
    assert_eq!(world.created().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_dead_witness_does_not_block_the_next_and_home_gets_the_lease_from_either() {
    let world = World::new();
    let home = world.home();
    home.leads_within(5 * MINUTE).await;
    let (first, second) = (world.witness("oslo"), world.witness("bern"));
    sleep(5 * MINUTE).await;
    home.kill().await;
    world.attests.store(false, Ordering::SeqCst);
    sleep(11 * MINUTE).await;
    let (leader, other) = if first.handle.leads() { (first, second) } else { (second, first) };
    assert!(leader.handle.leads());
    sleep(40 * MINUTE).await;
    leader.kill().await;
    other.leads_within(11 * MINUTE).await;
    sleep(30 * MINUTE).await;
    assert_eq!(world.created().len(), 1);
    let home = world.home();
    home.leads_within(4 * MINUTE).await;
    other.does_not_lead_for(60 * MINUTE).await;
}

#[tokio::test(start_paused = true)]
async fn a_witness_on_a_ledger_that_home_never_used_leads_nothing() {
    let world = World::new();
    world.attests.store(false, Ordering::SeqCst);
    world.witness("oslo").does_not_lead_for(120 * MINUTE).await;
    assert!(world.created().is_empty());
}
