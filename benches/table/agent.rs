//! What the agent costs the machine whose memory the clients need, and how much a machine is given.

use std::{
    fs,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{Router, routing::put};
use failover::{
    bundle::{Bundle, MAX_TOTAL},
    config::{self, Checks, EXAMPLE},
    domain::{IncidentId, Time},
    sandbox::{
        beacon::{FakeChain, FakeChainConfig},
        execution::FakeExecution,
    },
};

use super::{row, usage};

const QUIET: Duration = Duration::from_secs(20);

pub(super) async fn agent() {
    metadata();
    let taken = Arc::new(AtomicUsize::new(0));
    let server = metadata_server(taken.clone()).await;
    let genesis_time = Time::now().as_second() - 4000;
    let shape = FakeChainConfig { validators: 8, slot: Duration::from_secs(2), slots_per_epoch: 32, genesis_time };
    let chain = FakeChain::new(shape);
    let (beacon, execution) = (chain.node().await.unwrap(), FakeExecution::new().await.unwrap());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("agent.json");
    let settings = serde_json::json!({
        "incident": "abcd1234", "validator": "eth-0", "kind": "ethereum", "interval_seconds": 1,
        "beacon": beacon.url(), "execution": execution.url(), "genesis_root": chain.genesis_root(),
        "data": folder.path(), "units": [], "probes": [],
    });
    fs::write(&file, settings.to_string()).unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_failover"))
        .args(["agent", "--config"])
        .arg(&file)
        .env("GCE_METADATA_HOST", server)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let agent = Ended(child);
    while taken.load(Ordering::SeqCst) == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (before, reports, since) = (usage::processor(agent.0.id()), taken.load(Ordering::SeqCst), Instant::now());
    tokio::time::sleep(QUIET).await;
    let spent = usage::processor(agent.0.id()) - before;
    let reports = (taken.load(Ordering::SeqCst) - reports) as f64;
    assert!(reports > 5.0, "it has to report all the while: {reports} in {:?}", since.elapsed());
    let (now, most) = usage::resident(agent.0.id());
    row("agent: resident, now / most", &format!("{now:.1} / {most:.1} MB"), "<= 15 MB");
    row("agent: processor for one report", &format!("{:.1} ms", spent / reports * 1e3), "");
}

/// What the example's machine is given.
fn metadata() {
    let checks = Checks { files: false, ..Checks::default() };
    let (config, _) = config::parse(EXAMPLE, "example", &checks).unwrap();
    let validator = &config.validators[0].name;
    let items = Bundle::new(&config).unwrap().metadata(validator, IncidentId::derive(validator, Time::UNIX_EPOCH));
    let bytes: usize = items.iter().map(|(key, value)| key.len() + value.len()).sum();
    row("metadata of one standby", &format!("{bytes} bytes"), &format!("<= {MAX_TOTAL}"));
}

/// Takes every report, and counts them.
async fn metadata_server(taken: Arc<AtomicUsize>) -> String {
    let take = move || {
        let taken = taken.clone();
        async move {
            taken.fetch_add(1, Ordering::SeqCst);
        }
    };
    let router = Router::new().route("/computeMetadata/v1/instance/guest-attributes/failover/report", put(take));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    address
}

struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
