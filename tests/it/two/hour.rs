//! Watchers on a bucket over an hour of paused time: what they ask of it and what that costs, how soon another leads,
//! how soon a request is seen, and what a bucket that refuses them does.

use std::time::Duration;

use failover::{
    adapters::ledger_gcs::{GcsConfig, LedgerGcs},
    assembly::Watcher,
    config::{self, Checks},
    domain::{Command, LedgerKey, Time, ValidatorId},
    ports::{Expect, Ledger},
    runtime::{Handle, patience::REFUSED_FOR, requests, store},
    sandbox::object_store::{FakeObjectStore, Operations},
};
use google_cloud_auth::credentials::anonymous;
use tokio::{task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;

use super::proxy::{Proxy, Wire};

const HOUR: Duration = Duration::from_hours(1);
const SECOND: Duration = Duration::from_secs(1);
/// As often as Prometheus asks for metrics.
const SCRAPE: Duration = Duration::from_secs(30);

/// Google's list price of one operation, standard storage in one region of the United States, as of 2026-11-21.
const CLASS_A: f64 = 0.005 / 1000.0;
const CLASS_B: f64 = 0.0004 / 1000.0;

#[allow(clippy::cast_precision_loss, reason = "some thousands")]
fn dollars_a_month(hour: Operations) -> f64 {
    730.0 * (hour.class_a as f64 * CLASS_A + hour.class_b as f64 * CLASS_B)
}

/// A watcher with everything that an idle one does, in this process.
struct Running {
    handle: Handle,
    stop: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
    scraper: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
        self.scraper.abort();
    }
}

async fn watcher(bucket: &str) -> Running {
    let key = "ab".repeat(48);
    let text = format!(
        "site: home\nledger: {{gcs: {{bucket: ledger, endpoint: '{bucket}', credentials: anonymous}}}}\n\
         http: {{listen: '127.0.0.1:0'}}\nalertmanager: {{auth: none}}\n\
         validators: [{{name: eth-0, kind: ethereum, public_keys: ['0x{key}'], \
         alerts: [{{matchers: '{{validator=\"eth-0\"}}', evidence: process}}]}}]\n"
    );
    let (config, _) = config::parse(&text, "failover.yaml", &Checks { files: false, ..Checks::default() }).unwrap();
    failover::adapters::http::install_tls_provider();
    let watcher = Watcher::build(&config).await.unwrap();
    let (handle, stop) = (watcher.handle().clone(), CancellationToken::new());
    let scraped = handle.clone();
    let scraper = tokio::spawn(async move {
        loop {
            tokio::time::sleep(SCRAPE).await;
            assert!(scraped.see().await.is_some() || !scraped.is_running());
        }
    });
    let task = tokio::spawn(watcher.run(stop.clone()));
    Running { handle, stop, task, scraper }
}

impl Running {
    async fn leads(&self) {
        let mut leadership = self.handle.leadership();
        let leads = leadership.wait_for(|leads| *leads);
        tokio::time::timeout(2 * HOUR, leads).await.expect("it never leads").unwrap();
    }

    async fn stop(mut self) {
        self.stop.cancel();
        (&mut self.task).await.unwrap().unwrap();
    }
}

fn ledger(store: &FakeObjectStore) -> LedgerGcs {
    LedgerGcs::new(GcsConfig {
        endpoint: Some(store.url().parse().unwrap()),
        bucket: "ledger".into(),
        prefix: String::new(),
        login: std::sync::Arc::new(anonymous::Builder::new().build()),
        timeout: 10 * SECOND,
    })
    .unwrap()
}

fn eth_0() -> ValidatorId {
    ValidatorId::new("eth-0").unwrap()
}

/// What so many watchers ask of the bucket in an hour, once the first leads.
async fn hour_of(watchers: usize) -> Operations {
    let store = FakeObjectStore::start().await.unwrap();
    let mut running = Vec::new();
    for _ in 0..watchers {
        running.push(watcher(store.url()).await);
        running[0].leads().await;
    }
    tokio::time::sleep(Duration::from_mins(1)).await;
    let before = store.operations();
    tokio::time::sleep(HOUR).await;
    let after = store.operations();
    assert!(running[0].handle.leads() && running.iter().filter(|running| running.handle.leads()).count() == 1);
    let asked = Operations { class_a: after.class_a - before.class_a, class_b: after.class_b - before.class_b };
    println!("{watchers}: {asked:?} an hour, ${:.2} a month", dollars_a_month(asked));
    for running in running {
        running.stop().await;
    }
    asked
}

#[tokio::test(start_paused = true)]
async fn a_watcher_on_a_bucket_costs_a_dollar_a_month_at_most_and_a_pair_two() {
    let (one, pair) = (dollars_a_month(hour_of(1).await), dollars_a_month(hour_of(2).await));
    assert!(one > 0.5 && one <= 1.0, "one costs ${one:.2}");
    assert!(pair > one && pair <= 2.0, "a pair costs ${pair:.2}");
    for (who, counted) in [("one watcher", one), ("a pair", pair)] {
        let row = include_str!("../../../docs/gcp.md").split_once(&format!("| {who} | $")).unwrap().1;
        let said: f64 = row.split(' ').next().unwrap().parse().unwrap();
        // A busy machine may count one more or less.
        assert!((said - counted).abs() < 0.02, "docs/gcp.md has to say of {who}: ${counted:.2}");
    }
}

/// The worst case: the holder dies the moment a renewal of its has arrived.
#[tokio::test(start_paused = true)]
async fn on_a_bucket_another_leads_within_a_minute_of_a_silent_death_and_never_beside_the_first() {
    let store = FakeObjectStore::start().await.unwrap();
    let wire = Proxy::before(store.url()).await;
    let first = watcher(&wire.url()).await;
    first.leads().await;
    let second = watcher(store.url()).await;
    tokio::time::sleep(Duration::from_mins(2)).await;
    let lease = || store.dump()["lease"].clone();
    let before = lease();
    while lease() == before {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    wire.set(Wire::Hangs).await;
    let died = Instant::now();
    while first.handle.leads() {
        assert!(!second.handle.leads(), "two lead after {:?}", died.elapsed());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let stopped = died.elapsed();
    second.leads().await;
    let replaced = died.elapsed();
    println!("it stops after {stopped:?}, the other leads after {replaced:?}");
    assert!(stopped <= 55 * SECOND && replaced > stopped && replaced <= 61 * SECOND, "{stopped:?} {replaced:?}");
    assert!(!first.handle.leads());
}

#[tokio::test(start_paused = true)]
async fn on_a_bucket_a_clean_stop_is_followed_within_two_seconds() {
    let store = FakeObjectStore::start().await.unwrap();
    let first = watcher(store.url()).await;
    first.leads().await;
    let second = watcher(store.url()).await;
    tokio::time::sleep(Duration::from_mins(2)).await;
    let since = Instant::now();
    first.stop().await;
    second.leads().await;
    assert!(since.elapsed() <= Duration::from_millis(2500), "{:?}", since.elapsed());
}

/// How long until the answer to this request is in the validator's record.
async fn answered(ledger: &LedgerGcs, id: &str) -> Duration {
    let since = Instant::now();
    loop {
        if let Some((_, envelope)) = store::read(ledger, &eth_0()).await.unwrap()
            && envelope.validator.applied.iter().any(|applied| applied.id == id)
        {
            return since.elapsed();
        }
        assert!(since.elapsed() < HOUR, "nobody takes the request");
        tokio::time::sleep(SECOND / 10).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_in_a_bucket_is_taken_within_ten_seconds_and_one_that_nothing_announces_within_ten_minutes() {
    let store = FakeObjectStore::start().await.unwrap();
    let running = watcher(store.url()).await;
    running.leads().await;
    tokio::time::sleep(Duration::from_mins(1)).await;
    let ledger = ledger(&store);
    let send = async || {
        let command = Command::Resume;
        requests::send(&ledger, Time::now(), &eth_0(), "me", "a test", command, None).await.unwrap()
    };
    for _ in 0..3 {
        let id = send().await;
        let took = answered(&ledger, &id).await;
        assert!(took <= 11 * SECOND, "{took:?}");
    }
    // Another one, whose sender ends before it says so.
    let last = ledger.get(&LedgerKey::LAST_REQUEST).await.unwrap().unwrap();
    running.stop().await;
    let id = send().await;
    let key = LedgerKey::request(&id);
    let request = ledger.get(&key).await.unwrap().unwrap();
    ledger.remove(&key, &request.version).await.unwrap();
    let running = watcher(store.url()).await;
    running.leads().await;
    tokio::time::sleep(Duration::from_mins(1)).await;
    ledger.put(&key, request.bytes, Expect::Absent).await.unwrap();
    let took = answered(&ledger, &id).await;
    assert!(took > 60 * SECOND && took <= Duration::from_mins(11), "{took:?}");
    assert_ne!(ledger.get(&LedgerKey::LAST_REQUEST).await.unwrap().unwrap().version, last.version);
    assert!(!store.dump().keys().any(|key| key.starts_with("requests/")), "and it is taken away");
}

#[tokio::test(start_paused = true)]
async fn a_login_that_is_refused_for_three_seconds_ends_nothing() {
    let store = FakeObjectStore::start().await.unwrap();
    for status in [401, 403] {
        store.refuse(Some(status));
        let running = watcher(store.url()).await;
        tokio::time::sleep(3 * SECOND).await;
        assert!(!running.handle.leads() && !running.task.is_finished(), "{status}");
        store.refuse(None);
        let since = Instant::now();
        running.leads().await;
        assert!(since.elapsed() <= 10 * SECOND, "{status}: {:?}", since.elapsed());
        // And while it leads: over a renewal, so that one is refused.
        let record = || store.dump()["lease"].clone();
        let token = |text: &str| text.split("\"token\":").nth(1).unwrap().split([',', '}']).next().unwrap().to_owned();
        let before = record();
        store.refuse(Some(status));
        tokio::time::sleep(25 * SECOND).await;
        assert!(running.handle.leads(), "{status}");
        store.refuse(None);
        tokio::time::sleep(60 * SECOND).await;
        assert!(running.handle.leads() && record() != before, "{status}");
        assert_eq!(token(&record()), token(&before), "{status}: it has led all the time");
        running.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_login_or_a_role_that_is_refused_for_good_ends_the_process_with_what_is_wrong() {
    let says = [
        (401, ["does not accept our login", "ledger.gcs.credentials"], "objectUser"),
        (403, ["does not let us", "roles/storage.objectUser"], "login"),
    ];
    for (status, wanted, unfit) in says {
        let store = FakeObjectStore::start().await.unwrap();
        let mut running = watcher(store.url()).await;
        running.leads().await;
        store.refuse(Some(status));
        let since = Instant::now();
        let ended = (&mut running.task).await.unwrap();
        let (took, why) = (since.elapsed(), format!("{:#}", ended.unwrap_err()));
        assert!(took >= REFUSED_FOR && took < REFUSED_FOR + Duration::from_mins(2), "{status}: {took:?}");
        assert!(wanted.iter().all(|part| why.contains(part)) && !why.contains(unfit), "{status}: {why}");
    }
}
