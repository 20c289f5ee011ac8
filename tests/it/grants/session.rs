//! A session is never freed by people: it is raised and waited out.

use std::{sync::Mutex, time::Duration};

use async_trait::async_trait;
use failover::{
    domain::{
        LedgerKey, Time,
        ownership::{Adoption, OnLedgerLoss, Session},
    },
    ports::{Expect, Ledger, LedgerError, PutError, Stored, Version},
    records,
    runtime::grants::{SessionError, SessionWait, prepare_session},
};
use tokio::time::Instant;
use uuid::Uuid;

use super::rig::eth;
use crate::support::memory_ledger::MemoryLedger;

const TTL: Duration = Duration::from_hours(6);

fn put(ledger: &MemoryLedger, session: &Session) {
    let key = LedgerKey::session(&eth());
    ledger.set(&key, records::encode(&key, session));
}

fn held(on_loss: OnLedgerLoss) -> Session {
    Session::free(3, Uuid::nil()).held_by(Uuid::from_u128(1), on_loss, TTL, Time::UNIX_EPOCH, Uuid::from_u128(2))
}

async fn session(ledger: &MemoryLedger) -> Session {
    let key = LedgerKey::session(&eth());
    records::decode(&key, &ledger.get(&key).await.unwrap().unwrap().bytes).unwrap()
}

/// Of number 4, where a number was known before.
pub fn adoption(session: Option<&Session>) -> Adoption<'_> {
    Adoption {
        number: 4,
        over: None,
        keeps: false,
        machines_terminated: true,
        session,
        unchanged: Duration::ZERO,
        was_known: true,
        longest: None,
        silent: 0,
        stated: false,
    }
}

/// How long it took, on the clock of the test.
async fn wait(ledger: &MemoryLedger, during: impl Fn(Duration)) -> (Result<(), SessionError>, Duration) {
    let since = Instant::now();
    let before = held(OnLedgerLoss::Stop);
    let adoption = adoption(Some(&before));
    let ended = prepare_session(ledger, &eth(), adoption, None, || since.elapsed(), |_| during(since.elapsed())).await;
    (ended, since.elapsed())
}

#[tokio::test(start_paused = true)]
async fn one_that_is_held_is_raised_with_its_holder_and_waited_out_to_the_second() {
    let ledger = MemoryLedger::default();
    put(&ledger, &held(OnLedgerLoss::Stop));
    let (ended, took) = wait(&ledger, |_| {}).await;
    ended.unwrap();
    let old_after = held(OnLedgerLoss::Stop).old_after().unwrap();
    assert!(took >= old_after && took < old_after + Duration::from_secs(2), "{took:?}, not {old_after:?}");
    let raised = session(&ledger).await;
    assert_eq!((raised.number, raised.holder), (4, Some(Uuid::from_u128(1))), "never freed");
}

#[tokio::test(start_paused = true)]
async fn one_that_is_given_back_is_free_at_the_next_look() {
    let ledger = MemoryLedger::default();
    for on_loss in [OnLedgerLoss::Stop, OnLedgerLoss::Run] {
        put(&ledger, &held(on_loss));
        let back = held(on_loss).raised_to(4, Uuid::nil()).given_back(Time::UNIX_EPOCH, Uuid::from_u128(9));
        let (ended, took) = wait(&ledger, |since| {
            if since >= Duration::from_mins(2) {
                put(&ledger, &back);
            }
        })
        .await;
        ended.unwrap();
        assert!(took < Duration::from_mins(4), "{on_loss:?}: {took:?}");
    }
}

/// `on_ledger_loss: run`: time proves nothing.
#[tokio::test(start_paused = true)]
async fn one_whose_holder_continues_without_the_ledger_is_never_free_by_its_age() {
    let ledger = MemoryLedger::default();
    put(&ledger, &held(OnLedgerLoss::Run));
    let waits = Mutex::new(Vec::new());
    let since = Instant::now();
    let eth = eth();
    let before = held(OnLedgerLoss::Run);
    let waiting = adoption(Some(&before));
    let waiting =
        prepare_session(&ledger, &eth, waiting, None, || since.elapsed(), |wait| waits.lock().unwrap().push(wait));
    tokio::time::timeout(Duration::from_hours(100), waiting).await.unwrap_err();
    assert!(waits.lock().unwrap().iter().all(|wait| *wait == SessionWait::GivenBack));
}

#[tokio::test(start_paused = true)]
async fn a_session_that_changes_meanwhile_is_waited_out_again_and_a_higher_number_ends_it() {
    let ledger = MemoryLedger::default();
    put(&ledger, &held(OnLedgerLoss::Stop));
    let again = held(OnLedgerLoss::Stop).raised_to(4, Uuid::from_u128(5));
    let half = TTL / 2;
    let done = Mutex::new(false);
    let (ended, took) = wait(&ledger, |since| {
        let mut done = done.lock().unwrap();
        if since >= half && !*done {
            put(&ledger, &again);
            *done = true;
        }
    })
    .await;
    ended.unwrap();
    assert!(took >= half + again.old_after().unwrap(), "{took:?}");
    put(&ledger, &held(OnLedgerLoss::Stop));
    let (ended, _) = wait(&ledger, |_| put(&ledger, &held(OnLedgerLoss::Stop).raised_to(5, Uuid::nil()))).await;
    assert!(matches!(ended, Err(SessionError::Overtaken(5))), "{ended:?}");
    let (ended, _) = wait(&ledger, |_| {}).await;
    assert!(matches!(ended, Err(SessionError::Overtaken(5))), "{ended:?}: it is not lowered");
    assert_eq!(session(&ledger).await.number, 5);
}

#[tokio::test(start_paused = true)]
async fn a_ledger_that_does_not_answer_frees_nothing() {
    let ledger = MemoryLedger::default();
    put(&ledger, &held(OnLedgerLoss::Stop));
    let (ended, took) = wait(&ledger, |since| ledger.fail_reads(since > Duration::from_mins(5) && since < TTL)).await;
    ended.unwrap();
    assert!(took >= held(OnLedgerLoss::Stop).old_after().unwrap(), "{took:?}");
}

/// Somebody else writes this before the first write of an adoption.
struct Raced(MemoryLedger, Mutex<Option<Session>>);

impl Raced {
    fn by(session: Session) -> Self {
        Self(MemoryLedger::default(), Mutex::new(Some(session)))
    }
}

#[async_trait]
impl Ledger for Raced {
    async fn get(&self, key: &str) -> Result<Option<Stored>, LedgerError> {
        self.0.get(key).await
    }

    async fn put(&self, key: &str, bytes: Vec<u8>, expect: Expect) -> Result<Version, PutError> {
        if let Some(session) = self.1.lock().unwrap().take() {
            put(&self.0, &session);
        }
        self.0.put(key, bytes, expect).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Vec<String>, LedgerError> {
        self.0.list(prefix, after).await
    }

    async fn remove(&self, key: &str, version: &Version) -> Result<(), PutError> {
        self.0.remove(key, version).await
    }

    fn describe(&self) -> String {
        self.0.describe()
    }

    fn is_off_site(&self) -> bool {
        false
    }
}

async fn at_once(ledger: &dyn Ledger, adoption: Adoption<'_>) -> Result<(), SessionError> {
    let raw = || Duration::ZERO;
    tokio::time::timeout(Duration::from_secs(1), prepare_session(ledger, &eth(), adoption, None, raw, |_| {}))
        .await
        .expect("it waits for nothing")
}

#[tokio::test(start_paused = true)]
async fn one_that_appears_meanwhile_is_not_made_again() {
    let ledger = Raced::by(held(OnLedgerLoss::Stop));
    let first = Adoption { was_known: false, ..adoption(None) };
    let made = at_once(&ledger, first).await;
    assert!(matches!(made, Err(SessionError::Contended)), "{made:?}");
    assert_eq!(session(&ledger.0).await, held(OnLedgerLoss::Stop));
}

#[tokio::test(start_paused = true)]
async fn one_that_is_missing_is_not_made_by_an_adoption_that_cannot_watch_the_chain() {
    let ledger = MemoryLedger::default();
    let ended = at_once(&ledger, Adoption { longest: Some(Duration::ZERO), ..adoption(None) }).await;
    assert!(matches!(ended, Err(SessionError::Unwatched)), "{ended:?}");
    // It was there when people were asked.
    let before = held(OnLedgerLoss::Stop);
    let ended = at_once(&ledger, adoption(Some(&before))).await;
    assert!(matches!(ended, Err(SessionError::Gone)), "{ended:?}");
    assert!(ledger.dump().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_statement_frees_exactly_the_session_that_was_read_before_it() {
    for on_loss in [OnLedgerLoss::Stop, OnLedgerLoss::Run] {
        let (ledger, before) = (MemoryLedger::default(), held(on_loss));
        put(&ledger, &before);
        let stated = Adoption { stated: true, ..adoption(Some(&before)) };
        at_once(&ledger, stated).await.unwrap();
        let freed = session(&ledger).await;
        assert_eq!((freed.number, freed.holder, &freed.held), (4, None, &before.held), "its times stay as they were");
        // Again, after an end before the grant was signed.
        at_once(&ledger, Adoption { session: Some(&freed), ..stated }).await.unwrap();
        assert_eq!(session(&ledger).await, freed);

        // Somebody at home has renewed it since: then something there runs.
        let renewed = before.held_by(Uuid::from_u128(1), on_loss, TTL, Time::UNIX_EPOCH, Uuid::from_u128(77));
        put(&ledger, &renewed);
        let ended = at_once(&ledger, stated).await;
        assert!(matches!(ended, Err(SessionError::NotAsStated)), "{ended:?}");
        assert_eq!(session(&ledger).await, renewed);
        // Just now.
        let ledger = Raced::by(renewed.clone());
        put(&ledger.0, &before);
        let ended = at_once(&ledger, stated).await;
        assert!(matches!(ended, Err(SessionError::NotAsStated)), "{ended:?}");
        assert_eq!(session(&ledger.0).await, renewed);
    }
    let ledger = MemoryLedger::default();
    at_once(&ledger, Adoption { stated: true, ..adoption(None) }).await.unwrap();
    assert_eq!((session(&ledger).await.number, session(&ledger).await.holder), (4, None), "a missing one is made");
}

/// The operator's login ends within the hours of the wait: it is renewed beside it.
#[tokio::test(start_paused = true)]
async fn a_ledger_that_refuses_us_meanwhile_is_waited_through_with_a_notice() {
    let ledger = MemoryLedger::default();
    put(&ledger, &held(OnLedgerLoss::Stop));
    let (since, waits) = (Instant::now(), Mutex::new(Vec::new()));
    let eth = eth();
    let during = |wait| {
        let passed = since.elapsed();
        ledger.refuse_reads(passed > Duration::from_mins(5) && passed < TTL);
        waits.lock().unwrap().push(wait);
    };
    let before = held(OnLedgerLoss::Stop);
    let adoption = adoption(Some(&before));
    prepare_session(&ledger, &eth, adoption, None, || since.elapsed(), during).await.unwrap();
    assert!(since.elapsed() >= held(OnLedgerLoss::Stop).old_after().unwrap());
    assert!(waits.lock().unwrap().contains(&SessionWait::Barred));
}

#[tokio::test(start_paused = true)]
async fn what_ends_the_wait_says_that_home_is_stopped_and_how_to_repeat() {
    let ledger = MemoryLedger::default();
    put(&ledger, &held(OnLedgerLoss::Stop));
    let (ended, _) = wait(&ledger, |_| ledger.set(&LedgerKey::session(&eth()), "{}")).await;
    let why = ended.unwrap_err().to_string();
    assert!(why.contains("home is stopped") && why.contains("`--renew`"), "{why}");
    // Before the raise nothing is stopped.
    let (ended, _) = wait(&ledger, |_| {}).await;
    assert!(!ended.unwrap_err().to_string().contains("stopped"));
}
