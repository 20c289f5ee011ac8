//! A ledger whose requests fail in chosen ways, a child that obeys its deadline, a chain, and clocks: all in paused time.

mod folder;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
pub use folder::Folder;
use futures::{FutureExt, future::BoxFuture};
use tokio::{
    sync::Notify,
    time::{Instant, sleep},
};

use crate::{
    domain::{
        Span, Time, TimeExt,
        chain::Epoch,
        gate::{ChildDeadline, EpochSpan},
    },
    gate::{
        child::{Child, ChildEnd, StartError},
        timing::RawClock,
    },
    ports::{Clock, Duties, DutySeen, Expect, Ledger, LedgerError, PutError, Stored, Version},
};

pub const EPOCH: Duration = Duration::from_secs(384);

/// What a gate's requests meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Net {
    Fine,
    Refuse,
    /// Nothing arrives and nothing is answered.
    Hang,
    /// Writes arrive after this time, and nobody hears of it.
    Late(Duration),
    /// Writes arrive; their reply is lost, as the adapter notices.
    LostReply,
    /// Reads are answered from what was there when this began.
    Old(BTreeMap<String, Stored>),
    Slow(Duration),
}

#[derive(Default)]
struct Records {
    records: BTreeMap<String, (Stored, Option<Instant>)>,
    counter: u64,
}

/// What everybody shares.
#[derive(Default)]
pub struct Bucket {
    records: Mutex<Records>,
    /// Whether it keeps a clock for everybody.
    has_clock: bool,
}

impl Bucket {
    pub fn new(has_clock: bool) -> Self {
        Self { has_clock, ..Self::default() }
    }

    pub fn put(&self, key: &str, bytes: Vec<u8>, expect: &Expect) -> Result<Version, PutError> {
        let mut records = self.records.lock().unwrap();
        let found = records.records.get(key).map(|(stored, _)| stored.clone());
        let expected = match expect {
            Expect::Absent => None,
            Expect::Version(version) => Some(version),
        };
        if found.as_ref().map(|stored| &stored.version) != expected {
            return Err(PutError::Conflict { found });
        }
        records.counter += 1;
        let version = Version(records.counter.to_string());
        let stored = Stored { bytes, version: version.clone() };
        records.records.insert(key.to_owned(), (stored, Some(Instant::now())));
        Ok(version)
    }

    pub fn set(&self, key: &str, bytes: Vec<u8>) {
        let expect = self.get(key).map_or(Expect::Absent, |stored| Expect::Version(stored.version));
        self.put(key, bytes, &expect).unwrap();
    }

    pub fn get(&self, key: &str) -> Option<Stored> {
        self.records.lock().unwrap().records.get(key).map(|(stored, _)| stored.clone())
    }

    pub fn remove(&self, key: &str) {
        self.records.lock().unwrap().records.remove(key);
    }

    pub fn snapshot(&self) -> BTreeMap<String, Stored> {
        let records = self.records.lock().unwrap();
        records.records.iter().map(|(key, (stored, _))| (key.clone(), stored.clone())).collect()
    }

    fn age(&self, key: &str, version: &Version) -> Option<Duration> {
        let records = self.records.lock().unwrap();
        let (stored, at) = records.records.get(key)?;
        (stored.version == *version).then(|| at.unwrap().elapsed())
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    Get(String),
    Put(String),
    Age,
}

/// One gate's way to the bucket.
pub struct Link {
    bucket: Arc<Bucket>,
    net: Mutex<Net>,
    pub log: Mutex<Vec<(Instant, Asked)>>,
}

impl Link {
    pub fn new(bucket: &Arc<Bucket>) -> Arc<Self> {
        Arc::new(Self { bucket: bucket.clone(), net: Mutex::new(Net::Fine), log: Mutex::default() })
    }

    pub fn set(&self, net: Net) {
        *self.net.lock().unwrap() = net;
    }

    pub fn old(&self) {
        self.set(Net::Old(self.bucket.snapshot()));
    }

    fn net(&self, asked: Asked) -> Net {
        self.log.lock().unwrap().push((Instant::now(), asked));
        self.net.lock().unwrap().clone()
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.log.lock().unwrap().iter().map(|(_, asked)| asked.clone()).collect()
    }

    pub fn puts(&self) -> usize {
        self.asked().iter().filter(|asked| matches!(asked, Asked::Put(_))).count()
    }
}

fn refused<T>() -> Result<T, LedgerError> {
    Err(LedgerError::Unavailable("scripted".into()))
}

#[async_trait]
impl Ledger for Link {
    async fn get(&self, key: &str) -> Result<Option<Stored>, LedgerError> {
        match self.net(Asked::Get(key.to_owned())) {
            Net::Fine | Net::LostReply | Net::Late(_) => Ok(self.bucket.get(key)),
            Net::Refuse => refused(),
            Net::Hang => std::future::pending().await,
            Net::Old(records) => Ok(records.get(key).cloned()),
            Net::Slow(delay) => {
                sleep(delay / 2).await;
                let found = self.bucket.get(key);
                sleep(delay / 2).await;
                Ok(found)
            }
        }
    }

    async fn put(&self, key: &str, bytes: Vec<u8>, expect: Expect) -> Result<Version, PutError> {
        match self.net(Asked::Put(key.to_owned())) {
            Net::Fine | Net::Old(_) => self.bucket.put(key, bytes, &expect),
            Net::Refuse => Ok(refused()?),
            Net::Hang => std::future::pending().await,
            Net::Late(delay) => {
                let (bucket, key) = (self.bucket.clone(), key.to_owned());
                tokio::spawn(async move {
                    sleep(delay).await;
                    bucket.put(&key, bytes, &expect).ok();
                });
                std::future::pending().await
            }
            Net::LostReply => {
                self.bucket.put(key, bytes, &expect).ok();
                Err(PutError::UnknownOutcome("scripted".into()))
            }
            Net::Slow(delay) => {
                sleep(delay / 2).await;
                let answer = self.bucket.put(key, bytes, &expect);
                sleep(delay / 2).await;
                answer
            }
        }
    }

    async fn list(&self, _: &str, _: Option<&str>) -> Result<Vec<String>, LedgerError> {
        unimplemented_here()
    }

    async fn remove(&self, _: &str, _: &Version) -> Result<(), PutError> {
        Ok(unimplemented_here()?)
    }

    async fn age(&self, key: &str, version: &Version) -> Result<Option<Span>, LedgerError> {
        if !self.bucket.has_clock {
            return Ok(None);
        }
        match self.net(Asked::Age) {
            Net::Fine | Net::LostReply | Net::Late(_) => {}
            Net::Slow(delay) => sleep(delay).await,
            Net::Refuse => return refused(),
            Net::Hang => std::future::pending().await,
            Net::Old(_) => return Ok(None),
        }
        Ok(self.bucket.age(key, version).map(|age| age.try_into().unwrap()))
    }

    fn describe(&self) -> String {
        "a test".into()
    }

    fn is_off_site(&self) -> bool {
        true
    }
}

fn unimplemented_here<T>() -> Result<T, LedgerError> {
    Err(LedgerError::Unusable("a gate never lists and never removes".into()))
}

/// A machine's clocks. Its raw clock runs at a rate of its own, its wall clock may be wrong.
#[derive(Clone)]
pub struct Clocks {
    base: Instant,
    /// In millionths.
    rate: u32,
    /// In seconds.
    wrong: Arc<AtomicI64>,
    /// When somebody last read the raw clock.
    read: Arc<Mutex<Option<Instant>>>,
}

/// When the tests begin: 100 s into epoch 1000, whose chain began at the epoch of Unix.
pub fn start() -> Time {
    Time::UNIX_EPOCH.plus(Span::from_secs(384 * 1000 + 100))
}

impl Clocks {
    pub fn new(base: Instant, rate: u32) -> Self {
        Self { base, rate, wrong: Arc::default(), read: Arc::default() }
    }

    pub fn set_wrong(&self, seconds: i64) {
        self.wrong.store(seconds, Ordering::SeqCst);
    }

    pub fn raw_now(&self) -> Duration {
        // Not zero at the beginning, as on a machine that has been up.
        Duration::from_secs(5000) + self.base.elapsed() * self.rate / 1_000_000
    }

    pub fn raw(&self) -> RawClock {
        let own = self.clone();
        Arc::new(move || {
            *own.read.lock().unwrap() = Some(Instant::now());
            own.raw_now()
        })
    }

    /// For how long nobody has read the raw clock, by which the port says whether the loop turns.
    pub fn unread(&self) -> Duration {
        self.read.lock().unwrap().map_or(Duration::MAX, |read| read.elapsed())
    }

    /// When the raw clock shows this.
    fn at(&self, raw: Duration) -> Instant {
        let left = raw.saturating_sub(Duration::from_secs(5000));
        let left = left.min(Duration::from_secs(400 * 86_400));
        self.base + left * 1_000_000 / self.rate
    }
}

impl Clock for Clocks {
    fn now(&self) -> Time {
        let passed = Span::try_from(self.base.elapsed()).unwrap();
        start().plus(passed).plus(Span::from_secs(self.wrong.load(Ordering::SeqCst)))
    }

    fn sleep_until(&self, _: Time) -> BoxFuture<'static, ()> {
        std::future::pending().boxed()
    }
}

#[derive(Default)]
pub struct ChildLog {
    pub starts: Vec<Instant>,
    pub deadlines: Vec<ChildDeadline>,
    pub extends: Vec<ChildDeadline>,
    /// When nothing of it was left any more.
    pub ended: Vec<(Instant, ChildEnd)>,
    running: Option<ChildDeadline>,
    /// How the command itself has ended, while something of it is left.
    over: Option<ChildEnd>,
    /// How long it needs to stop.
    pub slow: Duration,
    pub refuses: bool,
    /// A start neither begins nor fails.
    pub hangs: bool,
    pub stops: usize,
}

/// A child that nobody has to look after to end at its deadline.
#[derive(Clone)]
pub struct FakeChild {
    pub clocks: Clocks,
    pub log: Arc<Mutex<ChildLog>>,
    changed: Arc<Notify>,
    /// All of one validator. Two at once are written down.
    family: Arc<Mutex<Vec<FakeChild>>>,
    pub twice: Arc<Mutex<Vec<String>>>,
}

impl FakeChild {
    pub fn new(clocks: &Clocks, family: &Arc<Mutex<Vec<FakeChild>>>, twice: &Arc<Mutex<Vec<String>>>) -> Self {
        let child = Self {
            clocks: clocks.clone(),
            log: Arc::default(),
            changed: Arc::default(),
            family: family.clone(),
            twice: twice.clone(),
        };
        family.lock().unwrap().push(child.clone());
        child
    }

    pub fn runs(&self) -> bool {
        let running = self.log.lock().unwrap().running;
        running.is_some_and(|deadline| self.clocks.raw_now() < deadline.kill)
    }

    /// By itself, and leaves something behind.
    pub fn leave(&self, end: ChildEnd) {
        self.log.lock().unwrap().over = Some(end);
        self.changed.notify_waiters();
    }

    /// As if it did so by itself, or as if somebody else did it.
    pub fn end(&self, end: ChildEnd) {
        let mut log = self.log.lock().unwrap();
        if log.running.take().is_some() {
            log.ended.push((Instant::now(), end));
        }
        self.changed.notify_waiters();
    }
}

#[async_trait]
impl Child for FakeChild {
    async fn start(&mut self, deadline: ChildDeadline) -> Result<(), StartError> {
        if self.log.lock().unwrap().hangs {
            std::future::pending::<()>().await;
        }
        if self.log.lock().unwrap().refuses {
            return Err(StartError::Command { command: "false".into(), error: "no such file".into() });
        }
        if self.clocks.raw_now() >= deadline.ask {
            return Err(StartError::Late);
        }
        if self.family.lock().unwrap().iter().any(FakeChild::runs) {
            self.twice.lock().unwrap().push(format!("two at {:?}", self.clocks.now()));
        }
        let mut log = self.log.lock().unwrap();
        log.starts.push(Instant::now());
        log.deadlines.push(deadline);
        (log.running, log.over) = (Some(deadline), None);
        Ok(())
    }

    async fn extend(&mut self, deadline: ChildDeadline) {
        let mut log = self.log.lock().unwrap();
        log.extends.push(deadline);
        let now = self.clocks.raw_now();
        if let Some(running) = &mut log.running
            && now < running.kill
        {
            assert!(deadline.kill >= running.kill, "never earlier");
            *running = deadline;
        }
        self.changed.notify_waiters();
    }

    async fn stop(&mut self) -> ChildEnd {
        let slow = {
            let mut log = self.log.lock().unwrap();
            log.stops += 1;
            log.slow
        };
        sleep(slow).await;
        self.end(ChildEnd::Stopped);
        ChildEnd::Stopped
    }

    async fn ended(&self) -> ChildEnd {
        loop {
            let changed = self.changed.clone();
            let changed = changed.notified();
            let running = {
                let log = self.log.lock().unwrap();
                match (log.running, log.ended.last()) {
                    (Some(running), _) => running,
                    (None, Some((_, end))) => return *end,
                    (None, None) => panic!("it was never started"),
                }
            };
            tokio::select! {
                () = tokio::time::sleep_until(self.clocks.at(running.kill)) => {
                    if !self.runs() {
                        self.end(ChildEnd::Stopped);
                    }
                }
                () = changed => {}
            }
        }
    }

    async fn command_ended(&self) -> ChildEnd {
        loop {
            let changed = self.changed.notified();
            let over = self.log.lock().unwrap().over;
            match over {
                Some(end) => return end,
                None => changed.await,
            }
        }
    }
}

/// A chain whose beacon nodes have the right time.
pub struct FakeDuties {
    base: Instant,
    pub state: Mutex<Chain>,
}

#[derive(Default)]
pub struct Chain {
    /// In these epochs somebody signed with the keys.
    pub busy: BTreeSet<u64>,
    pub unknown: bool,
    pub away: bool,
    /// Which epoch was asked about, and how long the next one had lasted.
    pub asked: Vec<(u64, Duration)>,
}

impl FakeDuties {
    pub fn new(base: Instant) -> Arc<Self> {
        Arc::new(Self { base, state: Mutex::default() })
    }

    /// The epoch, and how long it has lasted.
    pub fn epoch(&self) -> (u64, Duration) {
        let passed = self.base.elapsed() + EPOCH * 1000 + Duration::from_secs(100);
        let epoch = u64::try_from(passed.as_nanos() / EPOCH.as_nanos()).unwrap();
        (epoch, passed - EPOCH * u32::try_from(epoch).unwrap())
    }
}

#[async_trait]
impl Duties for FakeDuties {
    async fn now(&self) -> Result<EpochSpan, String> {
        if self.state.lock().unwrap().away {
            return Err("connection refused".into());
        }
        let (epoch, _) = self.epoch();
        let began_at = Time::from_second(i64::try_from(epoch * 384).unwrap()).unwrap();
        Ok(EpochSpan { epoch: Epoch(epoch), began_at, length: EPOCH.try_into().unwrap() })
    }

    async fn in_epoch(&self, epoch: Epoch) -> DutySeen {
        let (now, lasted) = self.epoch();
        let mut state = self.state.lock().unwrap();
        assert_eq!(epoch.0 + 1, now, "nobody can be asked about another one");
        state.asked.push((epoch.0, lasted));
        if state.unknown {
            DutySeen::Unknown("the control group is silent too".into())
        } else if state.busy.contains(&epoch.0) {
            DutySeen::Some { keys: 2 }
        } else {
            DutySeen::None
        }
    }
}
