//! A standby without a machine: its nodes, its metadata server, and a folder that looks like its kernel's files.

use std::{
    fs,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::{Path as UrlPath, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, put},
};
use failover::{
    adapters::{clock::SystemClock, metadata::MetadataServer},
    agent::{Agent, AgentConfig, machine::LocalMachine},
    domain::{Report, Span, Time},
    ports::Clock,
    sandbox::{
        beacon::{FakeBeacon, FakeChain, FakeChainConfig},
        execution::FakeExecution,
    },
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{sync::watch, task::JoinHandle};

/// What it does with what it is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    #[default]
    Takes,
    Hangs,
    Answers(u16),
}

#[derive(Clone)]
struct Shared {
    mode: Arc<Mutex<Mode>>,
    /// What the metadata of a promotion are.
    promoted: Arc<Mutex<Option<String>>>,
    /// How many requests were begun, and what was taken.
    puts: watch::Sender<(usize, Vec<Bytes>)>,
}

/// A metadata server that keeps every report.
pub struct Metadata {
    pub address: String,
    shared: Shared,
    server: JoinHandle<()>,
}

impl Drop for Metadata {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Metadata {
    pub async fn start() -> Self {
        let shared =
            Shared { mode: Arc::default(), promoted: Arc::default(), puts: watch::Sender::new((0, Vec::new())) };
        let router = Router::new()
            .route("/computeMetadata/v1/instance/guest-attributes/{namespace}/{key}", put(take))
            .route("/computeMetadata/v1/instance/attributes/failover-promoted", get(promoted))
            .with_state(shared.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, shared, server }
    }

    pub fn set(&self, mode: Mode) {
        *self.shared.mode.lock().unwrap() = mode;
    }

    /// What a promotion has written into its metadata.
    pub fn promote(&self, settings: Option<&str>) {
        *self.shared.promoted.lock().unwrap() = settings.map(str::to_owned);
    }

    /// How many times it was asked to take a report.
    pub fn asked(&self) -> usize {
        self.shared.puts.borrow().0
    }

    /// The first report after these many that fits.
    pub async fn report_that(&self, after: usize, fits: impl Fn(&Report) -> bool) -> Report {
        let mut changes = self.shared.puts.subscribe();
        let read = |bytes: &Bytes| serde_json::from_slice::<Report>(bytes).unwrap();
        let found = |(_, taken): &(usize, Vec<Bytes>)| taken.iter().skip(after).map(read).find(|report| fits(report));
        let waited = tokio::time::timeout(Duration::from_secs(60), changes.wait_for(|all| found(all).is_some()));
        found(&waited.await.expect("no such report was left").unwrap()).unwrap()
    }

    pub async fn asked_at_least(&self, times: usize) {
        let mut changes = self.shared.puts.subscribe();
        let waited = tokio::time::timeout(Duration::from_secs(60), changes.wait_for(|(asked, _)| *asked >= times));
        drop(waited.await.expect("it was not asked that often").unwrap());
    }
}

async fn promoted(State(shared): State<Shared>) -> Response {
    match shared.promoted.lock().unwrap().clone() {
        Some(settings) => ([("metadata-flavor", "Google")], settings).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn take(
    State(shared): State<Shared>,
    UrlPath((namespace, key)): UrlPath<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mode = *shared.mode.lock().unwrap();
    shared.puts.send_modify(|(asked, _)| *asked += 1);
    if headers.get("metadata-flavor").is_none_or(|flavor| flavor != "Google") {
        return StatusCode::FORBIDDEN.into_response();
    }
    assert_eq!((namespace.as_str(), key.as_str()), ("failover", "report"));
    assert!(body.len() <= 8 << 10);
    match mode {
        Mode::Takes => {
            shared.puts.send_modify(|(_, taken)| taken.push(body));
            StatusCode::OK.into_response()
        }
        Mode::Hangs => std::future::pending().await,
        Mode::Answers(status) => StatusCode::from_u16(status).unwrap().into_response(),
    }
}

/// As far off as it says.
pub struct Off(pub Span);

impl Clock for Off {
    fn now(&self) -> Time {
        SystemClock.now() + self.0
    }

    fn sleep_until(&self, at: Time) -> futures::future::BoxFuture<'static, ()> {
        SystemClock.sleep_until(at - self.0)
    }
}

pub struct Rig {
    pub beacon: FakeBeacon,
    pub execution: FakeExecution,
    pub chain: FakeChain,
    pub metadata: Metadata,
    pub root: TempDir,
}

impl Rig {
    /// A synced node of a chain with slots of two seconds, on a machine where nothing signs.
    pub async fn synced() -> Self {
        let genesis_time = SystemClock.now().as_second() - 4000;
        let config = FakeChainConfig { validators: 8, slot: Duration::from_secs(2), slots_per_epoch: 32, genesis_time };
        let chain = FakeChain::new(config);
        let execution = FakeExecution::new().await.unwrap();
        execution.change(|is| is.block = 2000);
        let root = tempfile::tempdir().unwrap();
        kernel_files(root.path());
        Self { beacon: chain.node().await.unwrap(), execution, chain, metadata: Metadata::start().await, root }
    }

    /// Its `agent.json`, with these keys instead.
    pub fn settings(&self, other: &Value) -> Value {
        let mut settings = json!({
            "incident": "abcd1234", "validator": "eth-0", "kind": "ethereum", "interval_seconds": 1,
            "beacon": self.beacon.url(), "execution": self.execution.url(), "genesis_root": self.chain.genesis_root(),
            "data": self.root.path(), "units": [], "probes": [],
        });
        for (key, value) in other.as_object().unwrap() {
            settings[key] = value.clone();
        }
        settings
    }

    pub fn config(&self, other: &Value) -> AgentConfig {
        let path = self.root.path().join("agent.json");
        fs::write(&path, self.settings(other).to_string()).unwrap();
        AgentConfig::load(&path).unwrap()
    }

    pub fn agent(&self) -> Agent {
        self.agent_with(&json!({}), Arc::new(SystemClock))
    }

    pub fn agent_with(&self, other: &Value, clock: Arc<dyn Clock>) -> Agent {
        let metadata = MetadataServer::at(Some(self.metadata.address.clone().into()), Duration::from_secs(1)).unwrap();
        Agent::new(self.config(other), LocalMachine::at(self.root.path()), metadata, clock).unwrap()
    }

    /// Another process on the machine.
    pub fn process(&self, id: u32, arguments: &[&str], unit: &str) {
        let folder = self.root.path().join(format!("proc/{id}"));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("cmdline"), arguments.join("\0") + "\0").unwrap();
        fs::write(folder.join("comm"), "x\n").unwrap();
        fs::write(folder.join("cgroup"), format!("0::/system.slice/{unit}\n")).unwrap();
    }
}

/// What a fresh machine with our roles shows.
fn kernel_files(root: &Path) {
    let write = |path: &str, text: &str| {
        fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
        fs::write(root.join(path), text).unwrap();
    };
    write("proc/sys/kernel/random/boot_id", "0f3c1e9a-1111-2222-3333-444455556666\n");
    write("proc/uptime", "1234.56 2000.00\n");
    write("proc/meminfo", "MemTotal:       16000000 kB\nMemFree: 1 kB\nMemAvailable:    4000000 kB\n");
    write("proc/1/cmdline", "/sbin/init\0");
    write("proc/1/comm", "systemd\n");
    write("proc/1/cgroup", "0::/init.scope\n");
    write("proc/77/cmdline", "/usr/local/bin/lighthouse\0bn\0--network\0mainnet\0");
    write("proc/77/comm", "lighthouse\n");
    write("proc/77/cgroup", "0::/system.slice/failover-lighthouse.service\n");
    write("etc/systemd/system/failover-lighthouse.service", "");
    // 127.0.0.1:5052 and 9000 listen; a connection to port 5062 elsewhere is none that listens.
    write(
        "proc/net/tcp",
        "  sl  local_address rem_address   st tx_queue rx_queue\n   0: 0100007F:13BC 00000000:0000 0A 0\n   \
         1: 00000000:2328 00000000:0000 0A 0\n   2: 0100007F:13C6 0100007F:13BC 01 0\n",
    );
}
