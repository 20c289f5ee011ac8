//! The whole of it, on real parts: a validator client is killed on a real network, a real Alertmanager and the chain
//! agree, the real program asks the (fake) cloud for a machine, and that machine is really booted. Its start-up script
//! and roles make a node of it, which syncs with the network, reports, and is said to be ready.
//!
//! What is not real: the cloud's API, and that the machine shares a kernel with the test. Every step is timed.

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use failover::{
    adapters::clock::SystemClock,
    domain::{Report, Span},
    sandbox::{
        compute::{FakeCompute, Machines},
        smtp::SmtpSink,
    },
};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    alertmanager::server::Alertmanager,
    chain::{Devnet, Network},
    mirror::Mirror,
    nspawn::Nspawn,
    parts::part,
    program::{Program, free_port},
};

mod faults;
mod steps;

use steps::Steps;

const ZONE: &str = "us-central1-a";

/// The house, the cloud, and the machine in it.
struct World {
    cloud: FakeCompute,
    nspawn: Arc<Nspawn>,
    mirror: Mirror,
    mail: SmtpSink,
    client: reqwest::Client,
    program: Program,
    alertmanager: Alertmanager,
    devnet: Devnet,
    folder: TempDir,
}

impl World {
    async fn start(network: Network) -> (Self, Machines) {
        let devnet = Devnet::up_with_a_block(network).await;
        let mirror = Mirror::start(&releases(&devnet)).await;
        let cloud = FakeCompute::start(&[ZONE], Span::from_millis(200), Arc::new(SystemClock)).await.unwrap();
        let (p2p, _) = devnet.peer();
        // Beside its metadata server it reaches the mirror, and one other node.
        let nspawn = Nspawn::new(part("debian")).reaching([mirror.port(), p2p]).with_disk(4 << 30);
        let nspawn = Arc::new(nspawn);
        let machines = Machines::boot(&cloud, nspawn.clone());
        let (mail, folder, port) = (SmtpSink::start().await.unwrap(), tempfile::tempdir().unwrap(), free_port());
        let file = folder.path().join("failover.yaml");
        fs::write(folder.path().join("token"), "s3cret").unwrap();
        fs::write(&file, config(&devnet, &mirror, &cloud, &mail, &folder, port).await).unwrap();
        let program = Program::serve(&file, port);
        let alertmanager = Alertmanager::start(&program.webhook()).await;
        let client = failover::adapters::http::client(Duration::from_secs(5)).unwrap();
        (Self { cloud, nspawn, mirror, mail, client, program, alertmanager, devnet, folder }, machines)
    }

    fn machine(&self) -> String {
        let machines = self.cloud.machines();
        assert_eq!(machines.len(), 1, "one machine and never a second one");
        machines[0].name.clone()
    }

    /// A guest attribute of the namespace `failover`.
    fn attribute(&self, wanted: &str) -> Option<String> {
        let attributes = self.cloud.guest_attributes(&self.machine());
        let mut found = attributes.into_iter().filter(|(namespace, _, _)| namespace == "failover");
        found.find(|(_, key, _)| key == wanted).map(|(_, _, value)| value)
    }

    /// The last report, if there is one.
    fn report(&self) -> Option<Report> {
        self.attribute("report").map(|text| serde_json::from_str(&text).unwrap())
    }

    /// What the start-up script has said last beside its console.
    fn boot_word(&self) -> String {
        self.attribute("boot").unwrap_or_default()
    }

    fn url(&self, rest: &str) -> String {
        format!("{}/compute/v1/projects/devnet/zones/{ZONE}/instances/{}{rest}", self.cloud.url(), self.machine())
    }

    async fn console(&self) -> String {
        let answer = self.client.get(self.url("/serialPort")).send().await.unwrap();
        answer.json::<Value>().await.unwrap()["contents"].as_str().unwrap_or_default().to_owned()
    }

    /// Waits for this, and shows everything there is to see when it does not come.
    async fn until(&self, what: &str, patience: Duration, mut look: impl AsyncFnMut(&Self) -> bool) {
        let wait = async {
            while !look(self).await {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        if tokio::time::timeout(patience, wait).await.is_ok() {
            return;
        }
        let machine = self.machine();
        let units = ["sh", "-c", "systemctl --failed --no-pager; journalctl --no-pager -n 60 -u 'failover-*'"];
        let units = self.nspawn.run_on(&machine, &units).await;
        panic!(
            "waited in vain for this: {what}\nreport: {:?}\nfailures: {:?}\n{}\n--- console\n{}\n--- watcher\n{}",
            self.report(),
            self.nspawn.failures(),
            String::from_utf8_lossy(&units.stdout),
            self.console().await,
            fs::read_to_string(self.folder.path().join("failover.log")).unwrap_or_default(),
        );
    }

    async fn phase(&self, phase: &str) {
        let wanted = format!(r#""phase":"{phase}""#);
        self.program.wait_for(&format!("phase {phase}"), |status| status.contains(&wanted)).await;
    }

    async fn mailed(&self, subject: &str) {
        let patience = Duration::from_secs(60);
        let has_it = async |world: &Self| {
            let mails = world.mail.mails();
            mails.iter().any(|mail| mail.header("Subject").is_some_and(|found| found.contains(subject)))
        };
        self.until(&format!("a mail about {subject}"), patience, has_it).await;
    }
}

/// What the machine will fetch, each file from where it was built.
fn releases(devnet: &Devnet) -> Vec<PathBuf> {
    let built = PathBuf::from(env!("CARGO_BIN_EXE_failover"));
    let (geth, prysm) = (part("geth").join("geth"), part("prysm").join("beacon-chain"));
    vec![built, geth, prysm, devnet.file("genesis.json"), devnet.file("ethereum.yml"), devnet.file("genesis.ssz")]
}

async fn config(
    devnet: &Devnet,
    mirror: &Mirror,
    cloud: &FakeCompute,
    mail: &SmtpSink,
    folder: &TempDir,
    port: u16,
) -> String {
    let keys: Vec<String> = devnet.our_keys().await.iter().map(|key| format!("\"{}\"", key.to_hex())).collect();
    let (p2p, peer) = devnet.peer();
    let quoted = |args: &[String]| args.iter().map(|arg| format!("'{arg}'")).collect::<Vec<_>>().join(", ");
    // As the other nodes of the network are started, `tests/parts/ethereum.sh`.
    let geth_args = ["--syncmode", "full", "--nodiscover", "--maxpeers", "0", "--nat", "none"].map(String::from);
    let prysm_args = [
        "--no-discovery",
        "--bootstrap-node=",
        "--minimum-peers-per-subnet",
        "0",
        "--min-sync-peers",
        "1",
        "--contract-deployment-block",
        "0",
        "--p2p-host-ip",
        "127.0.0.1",
        "--p2p-local-ip",
        "127.0.0.1",
        "--peer",
        &format!("/ip4/127.0.0.1/tcp/{p2p}/p2p/{peer}"),
    ]
    .map(String::from);
    format!(
        "site: devnet\nmode: armed\nledger: {{sqlite: {{path: {folder}/ledger.sqlite}}}}\n\
         http: {{listen: '127.0.0.1:{port}'}}\n\
         alertmanager: {{auth: {{bearer_file: {folder}/token}}}}\n\
         ethereum: {{beacon_nodes: [{{name: home, url: '{beacon}'}}], genesis_root: '{root}'}}\n\
         validators:\n  - name: eth-0\n    kind: ethereum\n    public_keys: [{keys}]\n    \
           alerts: [{{matchers: '{{alertname=\"ValidatorDown\"}}', evidence: process}}]\n\
         policy: {{hold_down: 5s, lease: 3s, min_peers: 1, max_head_age: 30s, ready_hold: 40s, stuck_after: 5m}}\n\
         compute:\n  project: devnet\n  endpoint: '{cloud}'\n  credentials: anonymous\n  \
           ladder: [{{zone: {ZONE}, machine_type: n2-standard-8}}]\n  disk: {{type: pd-balanced, size_gb: 100}}\n\
         mail: {{host: 127.0.0.1, port: {smtp}, tls: none, from: failover@home.example, to: [me@home.example]}}\n\
         standby:\n  failover: {{{failover}}}\n  mirror: 'http://127.0.0.1:{mirror_port}/'\n  ethereum:\n    \
           network: devnet\n    geth: {{{geth}, genesis: {{{genesis}}}, extra_args: [{geth_args}]}}\n    \
           prysm: {{{prysm}, config: {{{chain}}}, genesis_state: {{{state}}}, extra_args: [{prysm_args}]}}\n",
        folder = folder.path().display(),
        beacon = devnet.beacon(),
        root = devnet.genesis_root().await,
        keys = keys.join(", "),
        cloud = cloud.url(),
        smtp = mail.address().port(),
        mirror_port = mirror.port(),
        failover = mirror.named("failover"),
        geth = mirror.named("geth"),
        genesis = mirror.named("genesis.json"),
        geth_args = quoted(&geth_args),
        prysm = mirror.named("beacon-chain"),
        chain = mirror.named("ethereum.yml"),
        state = mirror.named("genesis.ssz"),
        prysm_args = quoted(&prysm_args),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_validator_gets_a_standby_that_builds_itself_syncs_and_is_said_to_be_ready() {
    let (world, machines) = World::start(Network::mine().await).await;
    let minutes = |n: u64| Duration::from_secs(n * 60);
    world.program.wait_for("the chain says up", |status| status.contains(r#""verdict":"up""#)).await;
    assert!(world.cloud.machines().is_empty());

    world.devnet.stop("ours");
    let mut steps = Steps::begin("the validator client is killed");
    world.alertmanager.fire("ValidatorDown", &Alertmanager::now(), None).await;
    steps.done("the alert fires");
    world.phase("syncing").await;
    steps.done("alert and chain agree, and the machine is created");

    world
        .until("the start-up script begins", minutes(2), async |w| w.console().await.contains("failover: start"))
        .await;
    steps.done("its start-up script begins");
    world.until("it says so where the watcher reads it", minutes(1), async |w| !w.boot_word().is_empty()).await;
    world.until("a first report", minutes(5), async |w| w.report().is_some()).await;
    steps.done("the agent's first report has come");
    let first = world.report().unwrap();
    assert_eq!(first.signer, None, "{first:?}");

    // The reset button, while the roles are at work.
    assert_eq!(world.client.post(world.url("/reset")).send().await.unwrap().status(), 200);
    let scripts = async |w: &World| boots(&w.console().await) == 2;
    world.until("it boots again", minutes(2), scripts).await;
    steps.done("after a reset in the middle it has booted again");
    world.until("the script ends well", minutes(8), async |w| w.console().await.contains("failover: done in ")).await;
    steps.done("the roles are done, both clients run");
    for unit in ["failover-geth", "failover-prysm", "failover-agent"] {
        let active = world.nspawn.run_on(&world.machine(), &["systemctl", "is-active", unit]).await;
        assert_eq!(String::from_utf8_lossy(&active.stdout).trim(), "active", "{unit}");
    }

    let synced = async |w: &World| w.report().is_some_and(|report| report.synced && !report.optimistic);
    world.until("it has synced", minutes(8), synced).await;
    steps.done("it reports that it has synced");
    let report = world.report().unwrap();
    // Not the boot id: a hardened unit on a container sees the host's, which had no reset.
    assert_eq!(boots(&world.console().await), 2, "the reset is to be seen");
    assert_eq!((report.genesis_root.as_str(), report.signer_seen), (&*world.devnet.genesis_root().await, false));
    assert!(report.peers >= 1, "{report:?}");
    world.phase("ready").await;
    steps.done("readiness was held, and the standby is said to be ready");
    world.mailed("standby ready, decide").await;
    steps.done("the mail has arrived");
    assert!(world.boot_word().starts_with("done in "), "{}", world.boot_word());

    writes_are_few(&world);
    faults::plant_keystores(&world).await;
    faults::a_clock_three_minutes_off(&world).await;
    steps.done("for a minute its clock was three minutes off: not ready, and then ready again");
    faults::keystores_that_nothing_started_change_nothing(&world).await;
    faults::another_chain(&world).await;
    steps.done("its node follows another chain: not ready, and said so by mail");
    steps.print();
    a_signer_makes_it_untouchable(&world).await;
    assert_eq!(world.cloud.inserts(), 1);
    machines.power_off().await;
}

/// How many boots a console shows. A line may stand there twice: by the script itself, and by the unit that runs it.
fn boots(console: &str) -> usize {
    let starts = console.lines().filter_map(|line| line.split("failover: start, ").nth(1));
    starts.map(str::trim).collect::<std::collections::BTreeSet<_>>().len()
}

/// Google asks for at most ten requests a minute; what it writes is one of them each time.
fn writes_are_few(world: &World) {
    let writes = world.cloud.guest_writes(&world.machine());
    let most = writes
        .iter()
        .map(|at| writes.iter().filter(|other| **other >= *at && **other < *at + Span::from_mins(1)).count());
    assert!(most.max().unwrap_or_default() <= 10, "{writes:?}");
    let fetched = world.mirror.fetched();
    for file in ["failover", "geth", "beacon-chain", "genesis.json", "ethereum.yml", "genesis.ssz"] {
        assert!(fetched.iter().any(|name| name == file), "{file} came from the mirror: {fetched:?}");
    }
}

/// Somebody starts what looks like a validator client on the machine. From then on nobody but a human touches it.
async fn a_signer_makes_it_untouchable(world: &World) {
    let start = "cp /bin/sleep /usr/local/bin/validator && systemd-run --unit=by-hand /usr/local/bin/validator 3600";
    let started = world.nspawn.run_on(&world.machine(), &["sh", "-c", start]).await;
    assert!(started.status.success(), "{started:?}");
    let seen = async |w: &World| w.report().is_some_and(|report| report.signer_seen);
    world.until("the agent sees it", Duration::from_secs(120), seen).await;
    world.phase("needs human").await;
    world.mailed("a signer was seen on the standby").await;
    let deletions = world.cloud.log().into_iter().filter(|line| line.method == "DELETE").count();
    assert_eq!((deletions, world.cloud.machines().len()), (0, 1), "nobody touches it");
}
