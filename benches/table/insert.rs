//! From an alert to the request for a machine: what this program itself adds to an outage.

use std::{
    fmt::Write as _,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use failover::{
    adapters::{clock::SystemClock, http},
    domain::{Span, Time},
    sandbox::{
        beacon::{FakeChain, FakeChainConfig},
        compute::{FakeCompute, RequestLine},
    },
};

use super::{row, watcher};

/// One incident each.
const VALIDATORS: u64 = 100;

/// The chain says down for all of them before the first alert comes, and the hold is a millisecond: the time goes into one
/// durable write of the alert, two of the validator's record, a look into every zone, and HTTP.
pub(super) async fn insert() {
    let folder = tempfile::tempdir().unwrap();
    let cloud = FakeCompute::start(&["us-central1-a"], Span::from_millis(20), Arc::new(SystemClock)).await.unwrap();
    for metric in ["CPUS", "N2_CPUS", "DISKS_TOTAL_GB", "SSD_TOTAL_GB", "IN_USE_ADDRESSES", "INSTANCES"] {
        cloud.set_quota(metric, 1e6);
    }
    let chain = FakeChain::new(FakeChainConfig {
        validators: 2 * VALIDATORS,
        slot: Duration::from_millis(250),
        slots_per_epoch: 4,
        genesis_time: Time::now().as_second() - 60,
    });
    chain.set_attesting(0..VALIDATORS, false);
    let beacon = chain.node().await.unwrap();
    let text = |port| config(folder.path(), port, &chain, &beacon.url(), cloud.url());
    let (_watcher, url, _) = watcher::serve(folder.path(), text).await;
    let client = http::client(Duration::from_secs(5)).unwrap();
    while !all_silent(&client, &url).await {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let mut requests = cloud.subscribe();
    let mut took = Vec::new();
    for number in 0..VALIDATORS as usize {
        let body = watcher::message(&format!("eth-{number}"), number);
        let since = Instant::now();
        let post = client.post(format!("{url}/webhook/alertmanager")).header("content-type", "application/json");
        assert_eq!(post.body(body).send().await.unwrap().status(), 200);
        while !is_insert(&requests.recv().await.unwrap()) {}
        took.push(since.elapsed());
    }
    took.sort();
    let millis = |at: usize| format!("{:.1} ms", took[took.len() * at / 100].as_secs_f64() * 1e3);
    row("alert in to instances.insert out: p50 / p99", &format!("{} / {}", millis(50), millis(99)), "p99 < 50 ms");
    assert_eq!(cloud.machines().len(), took.len(), "one machine for each incident");
}

fn is_insert(line: &RequestLine) -> bool {
    line.method == "POST" && line.path.split('?').next().is_some_and(|path| path.ends_with("/instances"))
}

async fn all_silent(client: &reqwest::Client, url: &str) -> bool {
    let status: serde_json::Value =
        client.get(format!("{url}/api/v1/status")).send().await.unwrap().json().await.unwrap_or_default();
    let says_down = |validator: &serde_json::Value| {
        let signals = validator["signals"].as_array().map(Vec::as_slice).unwrap_or_default();
        signals.iter().any(|signal| signal["source"] == "chain" && signal["verdict"] == "down")
    };
    status["validators"].as_array().is_some_and(|validators| validators.iter().all(says_down))
}

fn config(folder: &Path, port: u16, chain: &FakeChain, beacon: &str, cloud: &str) -> String {
    let mut text = format!(
        "site: bench\nmode: armed\nledger: {{sqlite: {{path: {folder}/ledger.sqlite}}}}\n\
         http: {{listen: '127.0.0.1:{port}'}}\nalertmanager: {{auth: none}}\n\
         ethereum: {{beacon_nodes: [{{name: home, url: '{beacon}'}}]}}\n\
         compute: {{project: bench, endpoint: '{cloud}', credentials: anonymous, \
         ladder: [{{zone: us-central1-a, machine_type: n2-standard-8}}], disk: {{type: pd-balanced, size_gb: 100}}}}\n\
         budget: {{per_incident_usd: 1000, per_month_usd: 1000000}}\n\
         policy: {{hold_down: 1ms, max_unhealthy: 1.0}}\nvalidators:\n",
        folder = folder.display(),
    );
    for number in 0..VALIDATORS {
        let key = chain.public_key(number);
        writeln!(
            text,
            "  - {{name: eth-{number}, kind: ethereum, public_keys: ['{key}'], \
             alerts: [{{matchers: '{{validator=\"eth-{number}\"}}', evidence: process}}]}}"
        )
        .unwrap();
    }
    text
}
