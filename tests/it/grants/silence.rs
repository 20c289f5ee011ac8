//! A session that is missing although a number was known: the chain is watched, and the time waited in which a gate may
//! still sign under the one that has gone.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use failover::{
    adapters::{
        beacon::{BeaconConfig, BeaconDuties, NodeConfig},
        clock::SystemClock,
    },
    domain::{
        LedgerKey, Time,
        chain::Epoch,
        gate::EpochSpan,
        ownership::{Adoption, Session},
    },
    gate::parts::GATE_REMEDIES,
    ports::{Clock, Duties, DutySeen, Ledger as _},
    records,
    runtime::grants::{SessionError, SessionWait, SilenceWatch, prepare_session},
    sandbox::beacon::{FakeChain, FakeChainConfig},
};
use futures::{FutureExt as _, future::BoxFuture};
use tokio::time::Instant;

use super::{
    rig::{Office, eth},
    session::adoption,
};
use crate::support::memory_ledger::MemoryLedger;

const EPOCH: Duration = Duration::from_secs(384);
const HOURS: Duration = Duration::from_hours(6);
/// The epoch in which the command begins, 100 seconds old.
const FIRST: u64 = 1000;

/// A chain by the clock of the test.
struct Chain {
    since: Instant,
    busy: BTreeSet<u64>,
    unknown: BTreeSet<u64>,
    /// In these no node says anything.
    away: std::ops::Range<u64>,
    asked: Mutex<Vec<u64>>,
}

impl Chain {
    fn new(busy: &[u64], unknown: &[u64]) -> Arc<Self> {
        Self::with_away(busy, unknown, 0..0)
    }

    fn with_away(busy: &[u64], unknown: &[u64], away: std::ops::Range<u64>) -> Arc<Self> {
        let set = |epochs: &[u64]| epochs.iter().copied().collect();
        let (busy, unknown) = (set(busy), set(unknown));
        Arc::new(Self { since: Instant::now(), busy, unknown, away, asked: Mutex::default() })
    }

    fn passed(&self) -> Duration {
        EPOCH * 1000 + Duration::from_secs(100) + self.since.elapsed()
    }

    fn epoch(&self) -> u64 {
        self.passed().as_secs() / EPOCH.as_secs()
    }

    /// With a session that says so, how it ends, how long it took, and what was waited for.
    async fn adopts(self: &Arc<Self>, ledger: &MemoryLedger, begun: Adoption<'_>) -> Ended {
        let (waits, since) = (Mutex::new(Vec::new()), Instant::now());
        let watch = SilenceWatch::new(self.clone(), self.clone());
        let note = |wait| waits.lock().unwrap().push(wait);
        let result = prepare_session(ledger, &eth(), begun, Some(watch), || since.elapsed(), note).await;
        Ended { result, took: since.elapsed(), waits: waits.into_inner().unwrap() }
    }
}

struct Ended {
    result: Result<(), SessionError>,
    took: Duration,
    waits: Vec<SessionWait>,
}

#[async_trait]
impl Duties for Chain {
    async fn now(&self) -> Result<EpochSpan, String> {
        if self.away.contains(&self.epoch()) {
            return Err("no node answers".into());
        }
        let began_at = Time::from_second(i64::try_from(self.epoch() * 384).unwrap()).unwrap();
        Ok(EpochSpan { epoch: Epoch(self.epoch()), began_at, length: EPOCH.try_into().unwrap() })
    }

    async fn in_epoch(&self, epoch: Epoch) -> DutySeen {
        assert_eq!(epoch.0 + 1, self.epoch(), "nobody can be asked about another one");
        self.asked.lock().unwrap().push(epoch.0);
        if self.busy.contains(&epoch.0) {
            DutySeen::Some { keys: 2 }
        } else if self.unknown.contains(&epoch.0) {
            DutySeen::Unknown("the node lags".into())
        } else {
            DutySeen::None
        }
    }
}

impl Clock for Chain {
    fn now(&self) -> Time {
        Time::UNIX_EPOCH + self.passed()
    }

    fn sleep_until(&self, _: Time) -> BoxFuture<'static, ()> {
        std::future::pending().boxed()
    }
}

fn lost() -> Adoption<'static> {
    Adoption { longest: Some(Session::old_with(HOURS)), ..adoption(None) }
}

async fn made(ledger: &MemoryLedger) -> Option<Session> {
    let key = LedgerKey::session(&eth());
    Some(records::decode(&key, &ledger.get(&key).await.unwrap()?.bytes).unwrap())
}

#[tokio::test(start_paused = true)]
async fn five_whole_epochs_from_the_start_are_watched_and_the_longest_time_of_a_session_waited() {
    let (ledger, chain) = (MemoryLedger::default(), Chain::new(&[], &[]));
    let ended = chain.adopts(&ledger, lost()).await;
    ended.result.unwrap();
    let asked = chain.asked.lock().unwrap().clone();
    assert_eq!(asked, (FIRST + 1..chain.epoch()).collect::<Vec<_>>()[..asked.len()], "none from before the start");
    assert!(asked.last().unwrap() + 2 >= chain.epoch(), "watched to the end: {asked:?}");
    let old_after = Session::old_with(HOURS);
    assert!(ended.took >= old_after && ended.took < old_after + Duration::from_secs(2), "{:?}", ended.took);
    assert!(ended.waits.iter().any(|wait| matches!(wait, SessionWait::MayStart(_))));
    let session = made(&ledger).await.unwrap();
    assert_eq!((session.number, session.holder), (4, None));
    // Where no gate could sign for long, the epochs are what takes the time.
    let (ledger, chain) = (MemoryLedger::default(), Chain::new(&[], &[]));
    let ended = chain.adopts(&ledger, Adoption { longest: Some(Duration::ZERO), ..lost() }).await;
    ended.result.unwrap();
    assert!(ended.took > EPOCH * 6, "the rest of one, five, and late in the next: {:?}", ended.took);
}

#[tokio::test(start_paused = true)]
async fn an_epoch_that_nobody_could_judge_begins_the_count_again_and_says_why() {
    let (ledger, chain) = (MemoryLedger::default(), Chain::new(&[], &[FIRST + 4]));
    let ended = chain.adopts(&ledger, Adoption { longest: Some(Duration::ZERO), ..lost() }).await;
    ended.result.unwrap();
    let asked: BTreeSet<u64> = chain.asked.lock().unwrap().iter().copied().collect();
    assert_eq!(asked.last(), Some(&(FIRST + 9)), "five after it");
    let why =
        |wait: &SessionWait| matches!(wait, SessionWait::Silence { trouble: Some(why), .. } if why == "the node lags");
    assert!(ended.waits.iter().any(why), "{:?}", ended.waits);
}

#[tokio::test(start_paused = true)]
async fn a_duty_in_any_of_them_ends_it_and_nothing_is_made() {
    let (ledger, chain) = (MemoryLedger::default(), Chain::new(&[FIRST + 3], &[]));
    let ended = chain.adopts(&ledger, lost()).await;
    let signing =
        matches!(ended.result, Err(SessionError::Signing { epoch: Epoch(epoch), keys: 2 }) if epoch == FIRST + 3);
    assert!(signing, "{:?}", ended.result);
    assert!(ledger.dump().is_empty());
}

/// A gate that could not start until then, or a copy of the keys.
#[tokio::test(start_paused = true)]
async fn the_chain_is_watched_until_the_longest_time_of_a_session_is_over() {
    let late = FIRST + 50;
    let (ledger, chain) = (MemoryLedger::default(), Chain::new(&[late], &[]));
    let ended = chain.adopts(&ledger, lost()).await;
    let Err(error) = ended.result else { panic!("it was adopted") };
    assert!(matches!(error, SessionError::Signing { epoch: Epoch(epoch), keys: 2 } if epoch == late), "{error}");
    assert!(error.to_string().contains("nothing was signed"), "{error}");
    assert!(ended.waits.iter().any(|wait| matches!(wait, SessionWait::MayStart(_))));
    assert!(ledger.dump().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_gap_in_what_was_watched_costs_five_epochs_more_and_none_is_adopted_into() {
    // The six hours end in epoch 1057.
    for (unknown, away) in [(vec![FIRST + 54], 0..0), (vec![], FIRST + 54..FIRST + 60)] {
        let (ledger, chain) = (MemoryLedger::default(), Chain::with_away(&[], &unknown, away.clone()));
        chain.adopts(&ledger, lost()).await.result.unwrap();
        // Late in the epoch in which they answer again, they say what was in the one before.
        let gap = away.end.saturating_sub(1).max(FIRST + 55);
        let mut asked = chain.asked.lock().unwrap().clone();
        asked.dedup();
        let (last, many) = (*asked.last().unwrap(), asked.len());
        assert!(last >= gap + 4 && last + 2 >= chain.epoch(), "{unknown:?} {away:?}: {last}");
        let tail: Vec<u64> = (last - 4..=last).collect();
        assert_eq!(asked[many - 5..], tail, "five in a row");
        assert!(made(&ledger).await.is_some());
    }
}

/// Real nodes as far as the sandbox has them, with slots of 50 ms.
fn quick_chain() -> FakeChain {
    FakeChain::new(FakeChainConfig {
        validators: 100,
        slot: Duration::from_millis(50),
        slots_per_epoch: 32,
        genesis_time: Time::now().as_second() - 60,
    })
}

#[tokio::test]
async fn beacon_nodes_that_show_five_silent_epochs_free_a_lost_session_end_to_end() {
    let (chain, ledger) = (quick_chain(), MemoryLedger::default());
    chain.set_attesting([7], false);
    let node = chain.node().await.unwrap();
    let nodes = vec![NodeConfig { name: "a".into(), url: node.url().parse().unwrap() }];
    let config = BeaconConfig { genesis_root: Some(chain.genesis_root()), ..BeaconConfig::new(nodes) };
    let keys = vec![chain.public_key(7).parse().unwrap()];
    let duties = BeaconDuties::new(config, keys, Arc::new(SystemClock), GATE_REMEDIES).unwrap();
    let duties: Arc<dyn Duties> = Arc::new(duties);
    let began = duties.now().await.unwrap().epoch;
    let watch = SilenceWatch::new(duties, Arc::new(SystemClock));
    let begun = Adoption { longest: Some(Duration::from_secs(1)), ..lost() };
    let since = Instant::now();
    let eth = eth();
    let ended = prepare_session(&ledger, &eth, begun, Some(watch), || since.elapsed(), |_| {});
    tokio::time::timeout(Duration::from_secs(120), ended).await.unwrap().unwrap();
    assert_eq!(made(&ledger).await.unwrap().number, 4);
    let asked = node.requests();
    let asked = asked.iter().filter_map(|request| request.split_once("/liveness/")?.1.parse::<u64>().ok());
    let asked: BTreeSet<u64> = asked.collect();
    assert!(asked.len() >= 5 && asked.iter().all(|epoch| *epoch > began.0), "{began:?} {asked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_whose_chain_shows_a_duty_refuses_and_changes_nothing() {
    let chain = quick_chain();
    let node = chain.node().await.unwrap();
    let Some(office) = Office::on(&node.url(), &chain.genesis_root(), &chain.public_key(7)) else { return };
    let ended = tokio::task::block_in_place(|| office.signs("adopt", "ann", &["--number", "3", "--longest-ttl", "1h"]));
    assert_eq!(ended.code, 3, "{}{}", ended.out, ended.err);
    assert!(ended.err.contains("SOMEBODY SIGNS WITH THESE KEYS"), "{}", ended.err);
    assert!(ended.out.contains("5 whole epochs without a duty are watched, and 1h"), "{}", ended.out);
    assert!(ended.err.contains("5 whole epochs more"), "progress: {}", ended.err);
    assert!(office.dump().await.is_empty());
}
