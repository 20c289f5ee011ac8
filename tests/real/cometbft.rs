//! The agent against a real CometBFT network: two validators make blocks of the `kvstore` application, and a third
//! node, whose key is not among theirs, starts from an empty folder as a standby does.
//!
//! Whether a head is old is asked with a clock that is ahead, never by waiting.

#[path = "../common/cometbft.rs"]
mod fake;
mod signer;

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use failover::{
    adapters::{clock::SystemClock, http, metadata::MetadataServer},
    agent::{Agent, AgentConfig, machine::LocalMachine},
    domain::{Report, Span, Time},
    ports::Clock,
};
use futures::future::BoxFuture;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{parts::part, program::free_port};

/// The chain id that both genesis files get.
const NETWORK: &str = "standby-test-1";
/// A slow machine makes a block in three seconds, and a node looks for its peers for as long.
const LONG: Duration = Duration::from_secs(60);

/// The network's files and ports; the last node is the one that is not in the set.
struct Network {
    folder: TempDir,
    program: std::path::PathBuf,
    ports: Vec<(u16, u16)>,
    ids: Vec<String>,
}

/// One node that runs. It ends when it is dropped.
struct Node(Child);

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Network {
    fn new(validators: usize) -> Self {
        let (folder, program) = (tempfile::tempdir().unwrap(), part("cometbft").join("cometbft"));
        let run = |arguments: &[&str]| {
            let output = Command::new(&program).args(arguments).output().unwrap();
            assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).unwrap().trim().to_owned()
        };
        let home = folder.path().to_str().unwrap();
        let count = validators.to_string();
        run(&["testnet", "--v", &count, "--n", "1", "--o", home, "--populate-persistent-peers=false"]);
        for node in 0..=validators {
            // Its own name is another one in every run.
            let genesis = folder.path().join(format!("node{node}/config/genesis.json"));
            let mut content: Value = serde_json::from_slice(&fs::read(&genesis).unwrap()).unwrap();
            content["chain_id"] = json!(NETWORK);
            fs::write(genesis, content.to_string()).unwrap();
        }
        let ids =
            (0..=validators).map(|node| run(&["show-node-id", "--home", &format!("{home}/node{node}")])).collect();
        Self { program, ports: (0..=validators).map(|_| (free_port(), free_port())).collect(), ids, folder }
    }

    /// Starts a node that looks for these others and for nobody else.
    fn start(&self, node: usize, peers: &[usize]) -> Node {
        let home = self.folder.path().join(format!("node{node}"));
        let peers = peers.iter().map(|peer| format!("{}@127.0.0.1:{}", self.ids[*peer], self.ports[*peer].0));
        let log = fs::File::create(home.join("log")).unwrap();
        let mut command = Command::new(&self.program);
        command.args(["start", "--proxy_app=kvstore", "--p2p.pex=false", "--log_level=error", "--home"]).arg(home);
        command.arg(format!("--p2p.laddr=tcp://127.0.0.1:{}", self.ports[node].0));
        command.arg(format!("--rpc.laddr=tcp://127.0.0.1:{}", self.ports[node].1));
        command.arg(format!("--p2p.persistent_peers={}", peers.collect::<Vec<_>>().join(",")));
        Node(command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap())
    }

    fn rpc(&self, node: usize) -> String {
        format!("http://127.0.0.1:{}", self.ports[node].1)
    }

    /// `agent.json` of a standby whose node is this one.
    fn settings(&self, node: usize, network: &str) -> std::path::PathBuf {
        let settings = json!({
            "incident": "abcd1234", "validator": "bera-0", "kind": "generic", "interval_seconds": 1,
            "data": self.folder.path(), "node": {"cometbft": {"rpc": self.rpc(node), "network": network}},
        });
        let path = self.folder.path().join(format!("agent-{node}-{network}.json"));
        fs::write(&path, settings.to_string()).unwrap();
        path
    }

    /// The agent on a machine where nothing else runs, by a clock that is so far ahead.
    fn agent(&self, node: usize, network: &str, ahead: Span) -> Agent {
        let root = self.folder.path().join("machine");
        empty_machine(&root);
        let nowhere = MetadataServer::at(Some("127.0.0.1:1".into()), Duration::from_secs(1)).unwrap();
        let config = AgentConfig::load(&self.settings(node, network)).unwrap();
        Agent::new(config, LocalMachine::at(root), nowhere, Arc::new(Ahead(ahead))).unwrap()
    }

    async fn report(&self, node: usize, ahead: Span) -> Report {
        self.agent(node, NETWORK, ahead).report().await.unwrap()
    }

    /// What a node answers, with its status of HTTP.
    async fn ask(&self, node: usize, path: &str) -> (u16, Value) {
        let client = http::client(Duration::from_secs(5)).unwrap();
        let answer = client.get(self.rpc(node) + path).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }
}

/// The system's clock, ahead.
struct Ahead(Span);

impl Clock for Ahead {
    fn now(&self) -> Time {
        SystemClock.now() + self.0
    }

    fn sleep_until(&self, at: Time) -> BoxFuture<'static, ()> {
        SystemClock.sleep_until(at - self.0)
    }
}

fn empty_machine(root: &Path) {
    for (path, text) in [
        ("proc/sys/kernel/random/boot_id", "0f3c1e9a-1111-2222-3333-444455556666\n"),
        ("proc/uptime", "1234.56 2000.00\n"),
        ("proc/meminfo", "MemTotal: 16000000 kB\nMemAvailable: 4000000 kB\n"),
        ("proc/net/tcp", "  sl  local_address rem_address   st\n"),
        ("proc/1/cmdline", "/sbin/init\0"),
        ("proc/1/comm", "systemd\n"),
        ("proc/1/cgroup", "0::/init.scope\n"),
    ] {
        fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
        fs::write(root.join(path), text).unwrap();
    }
}

/// Looks until the report is so; that it has to be, says the test.
async fn until(agent: &mut Agent, what: &str, is: impl Fn(&Report) -> bool) -> Report {
    let mut last = None;
    let wait = async {
        loop {
            let report = agent.report().await.unwrap();
            if is(&report) {
                return report;
            }
            last = Some(report);
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let found = tokio::time::timeout(LONG, wait).await;
    found.unwrap_or_else(|_| panic!("waited in vain for this: {what}\n{last:?}"))
}

/// What an answer is made of: every path in it, and what kind of value is there.
fn shape(value: &Value, path: &str, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => object.iter().for_each(|(key, value)| shape(value, &format!("{path}.{key}"), into)),
        Value::Array(array) => array.iter().for_each(|value| shape(value, &format!("{path}[]"), into)),
        Value::String(_) => drop(into.insert(format!("{path}: text"))),
        Value::Number(_) => drop(into.insert(format!("{path}: number"))),
        Value::Bool(_) => drop(into.insert(format!("{path}: yes or no"))),
        Value::Null => drop(into.insert(format!("{path}: nothing"))),
    }
}

fn shape_of(value: &Value) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    shape(value, "", &mut all);
    all
}

#[tokio::test]
async fn a_standby_of_a_real_chain_is_synced_exactly_while_it_follows_it_and_signs_nothing() {
    let network = Network::new(2);
    let (first, second) = (network.start(0, &[1]), network.start(1, &[0]));
    let mut agent = network.agent(2, NETWORK, Span::ZERO);
    assert!(agent.report().await.unwrap().stage.starts_with("CometBFT refuses connections"));

    // From nothing, and alone.
    let alone = network.start(2, &[]);
    let report = until(&mut agent, "the node answers", |report| report.chain_id.is_some()).await;
    assert!(report.stage.starts_with("CometBFT has no block yet"), "{report:?}");
    assert_eq!((report.synced, report.progress_percent, report.peers, report.seconds_to_go), (false, 0, 0, None));
    drop(alone);

    // With peers it fetches what there is, and is in step.
    let mut validator = network.agent(0, NETWORK, Span::ZERO);
    until(&mut validator, "the validators make blocks", |report| report.head_age_seconds < 60).await;
    let standby = network.start(2, &[0, 1]);
    let report = until(&mut agent, "it is synced", |report| report.synced && report.peers == 2).await;
    assert!(report.stage.starts_with("synced") && report.progress_percent == 100, "{report:?}");
    assert_eq!((report.chain_id.as_deref(), report.signer_seen), (Some(NETWORK), false), "{report:?}");
    assert!(report.head_age_seconds <= 60 && !report.optimistic, "{report:?}");
    let ((_, status), (_, info)) = (network.ask(2, "/status").await, network.ask(2, "/abci_info").await);
    assert_eq!(status["result"]["node_info"]["version"], json!(report.versions["CometBFT"]));
    assert_eq!(info["result"]["response"]["version"], json!(report.versions["application"]));

    the_fake_answers_in_the_same_form(&network).await;

    // Whoever expects another chain is told of this one.
    let report = network.agent(2, "standby-test-2", Span::ZERO).report().await.unwrap();
    assert!(!report.synced && report.chain_id.as_deref() == Some(NETWORK), "{report:?}");
    let says = "CometBFT follows another chain (standby-test-1, not standby-test-2)";
    assert!(report.stage.starts_with(says), "{}", report.stage);

    the_program_sees_a_validator(&network).await;

    // Started again without peers it has blocks, and does not claim to be in step.
    drop(standby);
    let alone = network.start(2, &[]);
    let report = until(&mut agent, "the node answers again", |report| report.chain_id.is_some()).await;
    assert!(!report.synced && report.stage.starts_with("CometBFT catches up: block "), "{report:?}");
    assert!(report.progress_percent < 100 && report.head_age_seconds < 60, "{report:?}");
    drop(alone);

    // One of two validators is no majority: the chain stands, and the node continues to say that it is in step.
    let standby = network.start(2, &[0, 1]);
    until(&mut agent, "it is synced again", |report| report.synced && report.peers == 2).await;
    drop(second);
    until(&mut agent, "one peer is gone", |report| report.peers == 1).await;
    let (_, status) = network.ask(2, "/status").await;
    assert_eq!(status["result"]["sync_info"]["catching_up"], json!(false));
    let report = network.report(2, Span::from_secs(90)).await;
    assert!(!report.synced && report.peers == 1, "{report:?}");
    assert!(report.stage.starts_with("CometBFT says it is in step, but its head is old: block "), "{}", report.stage);
    assert!(report.head_age_seconds > 60, "{report:?}");

    drop(first);
    let report = until(&mut agent, "it is alone", |report| report.peers == 0).await;
    assert!(!report.synced && report.stage.starts_with("CometBFT "), "{report:?}");
    drop(standby);
    // The look that finds its connection cut says that first.
    let report = until(&mut agent, "nobody is there", |report| report.stage.contains("refuses connections")).await;
    assert!(!report.synced, "{report:?}");
}

/// The fake of the other tests has the same fields, of the same kinds.
async fn the_fake_answers_in_the_same_form(network: &Network) {
    let fake = fake::Comet { peers: 2, ..fake::Comet::in_step(NETWORK) };
    let parsed = |path: &str, fake: &fake::Comet| {
        let (status, text) = fake.answer(path);
        (status, serde_json::from_str::<Value>(&text).unwrap())
    };
    for path in ["/status", "/net_info", "/abci_info"] {
        let ((real_status, real), (status, ours)) = (network.ask(2, path).await, parsed(path, &fake));
        assert_eq!((status, shape_of(&ours)), (real_status, shape_of(&real)), "{path}");
    }
    let refusing = fake::Comet { refuses: Some("/block"), ..fake };
    let (real_status, real) = network.ask(2, "/block?height=99999999").await;
    let (status, ours) = parsed("/block", &refusing);
    assert_eq!((status, shape_of(&ours)), (real_status, shape_of(&real)), "a refusal");
}

/// The real program, asked at a node whose key has a vote. This machine may have other signers, so only this one
/// counts.
async fn the_program_sees_a_validator(network: &Network) {
    let settings = network.settings(0, NETWORK);
    let mut command = Command::new(env!("CARGO_BIN_EXE_failover"));
    command.args(["agent", "--once", "--config"]).arg(settings).env("GCE_METADATA_HOST", "127.0.0.1:1");
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Report = serde_json::from_slice(&output.stdout).unwrap();
    assert!(report.signer_seen && !report.synced, "{report:?}");
    let signer = report.signer.unwrap();
    assert!(signer.starts_with("the CometBFT node's own key has a voting power of 1"), "{signer}");
}
