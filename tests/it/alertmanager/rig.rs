//! A receiver on a real port, with a ledger that fails on demand and a clock that moves on demand.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use failover::{
    adapters::{
        alertmanager::{self, AlertEvent, Mapping, Mappings, Receiver, ReceiverConfig},
        http::install_tls_provider,
        server::access::Access,
    },
    config::{HttpAuth, SecretFile},
    domain::{
        AlertRecord, Evidence, Span, Time, ValidatorId,
        alerts::{AlertState, Ending, Freshness},
    },
};
use prometheus_client::metrics::counter::Counter;
use tokio::{net::TcpListener, sync::mpsc, task::JoinHandle};

use crate::support::memory_ledger::MemoryLedger;

pub const WATCHDOG: &str = r#"{"status":"firing","labels":{"alertname":"Watchdog"},"fingerprint":"00000000000000ff"}"#;

pub const STALE_AFTER: Span = Span::from_mins(15);

/// What the watcher's clock says first: 2026-11-21T02:00:00Z.
const START: i64 = 1_795_226_400;

pub struct Rig {
    pub ledger: Arc<MemoryLedger>,
    pub receiver: Arc<Receiver>,
    pub events: mpsc::Receiver<AlertEvent>,
    pub holds_lease: Arc<AtomicBool>,
    pub url: String,
    pub client: reqwest::Client,
    /// The file with the secret.
    pub secret: tempfile::NamedTempFile,
    clock: Arc<AtomicI64>,
    server: JoinHandle<()>,
}

/// A record that can be asked for the name of its state.
pub struct Known(pub Arc<AlertRecord>);

impl Known {
    pub fn state_name(&self) -> &'static str {
        match &self.0.state {
            AlertState::Firing { .. } => "firing",
            AlertState::Doubtful { .. } => "doubtful",
            AlertState::Silenced { .. } => "silenced",
            AlertState::Resolved { ending: Ending::Resolved, .. } => "resolved",
            AlertState::Resolved { ending: Ending::NotListed, .. } => "absent",
            AlertState::Resolved { ending: Ending::NotEvaluated, .. } => "not evaluated",
        }
    }
}

impl Rig {
    pub async fn start() -> Self {
        Self::with(Arc::default()).await
    }

    /// A new process over an old ledger.
    pub async fn with(ledger: Arc<MemoryLedger>) -> Self {
        install_tls_provider();
        let clock = Arc::new(AtomicI64::new(START));
        let holds_lease = Arc::new(AtomicBool::new(true));
        let (sender, events) = mpsc::channel(64);
        let secret = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(&secret, "s3cret\n").expect("written");
        let (time, lease) = (Arc::clone(&clock), Arc::clone(&holds_lease));
        let config = ReceiverConfig {
            mappings: mappings(),
            access: Arc::new(
                Access::read(&HttpAuth::Bearer(SecretFile::new(secret.path())), Instant::now()).expect("read"),
            ),
            freshness: Freshness { stale_after: STALE_AFTER, watchdog: Some(Freshness::WATCHDOG_TIMEOUT) },
            now: Arc::new(move || Time::from_second(time.load(Ordering::SeqCst)).expect("a time")),
            holds_lease: Arc::new(move || lease.load(Ordering::SeqCst)),
        };
        let receiver = Arc::new(Receiver::new(config, Arc::clone(&ledger) as _, sender));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/webhook/alertmanager", listener.local_addr().expect("an address"));
        let app = alertmanager::routes(Arc::clone(&receiver));
        let server = tokio::spawn(async move { axum::serve(listener, app).await.expect("serves") });
        Self { ledger, receiver, events, holds_lease, url, client: reqwest::Client::new(), secret, clock, server }
    }

    pub fn now(&self) -> Time {
        Time::from_second(self.clock.load(Ordering::SeqCst)).expect("a time")
    }

    pub fn pass(&self, seconds: i64) {
        self.clock.fetch_add(seconds, Ordering::SeqCst);
    }

    pub async fn post(&self, body: &str) -> (u16, String) {
        let request = self.client.post(&self.url).bearer_auth("s3cret").body(body.to_owned());
        let response = request.send().await.expect("an answer");
        (response.status().as_u16(), response.text().await.expect("a text"))
    }

    /// The next event, which is alerts.
    pub fn heard(&mut self) -> Vec<Known> {
        match self.events.try_recv() {
            Ok(AlertEvent::AlertUpdate { records }) => records.into_iter().map(Known).collect(),
            other => panic!("expected alerts, got {other:?}"),
        }
    }

    pub fn assert_silent(&mut self) {
        assert!(self.events.try_recv().is_err(), "the runtime hears something it should not");
    }

    pub async fn wants_reconciliation(&self, why: &str) {
        let wanted = tokio::time::timeout(Duration::from_secs(5), self.receiver.reconcile_wanted());
        wanted.await.unwrap_or_else(|_| panic!("nobody asks for reconciliation: {why}"));
    }

    pub fn count(counter: &Counter) -> u64 {
        counter.get()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.server.abort();
    }
}

pub fn mappings() -> Mappings {
    let mapping = Mapping {
        validator: ValidatorId::new("eth-0").expect("a name"),
        matchers: "alertname=ValidatorDown".parse().expect("matchers"),
        evidence: Evidence::Process,
    };
    Mappings::new(vec![mapping], Some("alertname=Watchdog".parse().expect("matchers")))
}

/// An alert of the validator; the number makes its fingerprint.
pub fn alert(status: &str, number: u64) -> String {
    format!(
        r#"{{"status":"{status}","labels":{{"alertname":"ValidatorDown","n":"{number}"}},
            "annotations":{{"summary":"it is down"}},"startsAt":"2026-11-21T01:00:00Z",
            "endsAt":"0001-01-01T00:00:00Z","fingerprint":"{number:016x}"}}"#
    )
}

pub fn body(alerts: &str) -> String {
    format!(r#"{{"version":"4","truncatedAlerts":0,"alerts":[{alerts}]}}"#)
}

pub fn firing(number: u64) -> String {
    body(&alert("firing", number))
}

pub fn resolved(number: u64) -> String {
    body(&alert("resolved", number))
}
