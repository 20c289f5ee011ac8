//! A real validator client under the gate, on a real network: two pods of one home, killed and started again, a promotion
//! that begins, a grant that comes back. However it goes, one process signs.

use std::{
    collections::BTreeSet,
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use failover::{
    adapters::ledger_sqlite::LedgerSqlite,
    domain::{
        LedgerKey, PublicKey, ValidatorId,
        gate::{GatePhase, GateStatus, WaitKind},
        ownership::Session,
    },
    ports::{Expect, Ledger as _},
    records,
};
use tempfile::TempDir;
use uuid::Uuid;

use crate::{
    chain::{Devnet, Network},
    parts::part,
};

/// An epoch of this network.
const EPOCH: Duration = Duration::from_secs(24);
/// The most that a gate may need until it has seen silent epochs. Two are needed, but a network that has just begun on a
/// busy machine misses votes, and an epoch without its control group counts for nothing.
const SILENCE: Duration = Duration::from_secs(20 * EPOCH.as_secs());
const NAME: &str = "eth-0";

/// Every process that signs with our keys, as the kernel lists them: the judge from outside.
struct Signers {
    /// Of the home, with the gates' logs.
    folder: PathBuf,
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<Seen>>,
    task: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Seen {
    now: BTreeSet<u32>,
    most: usize,
    looks: u64,
    /// When the set last changed.
    changed: Option<Instant>,
}

impl Signers {
    fn watch(home: &Path, folder: &Path) -> Self {
        let (stop, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Seen::default())));
        let (stopped, shared, folder) = (stop.clone(), seen.clone(), folder.to_owned());
        let task = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let now = signers(&folder);
                let mut seen = shared.lock().unwrap();
                seen.looks += 1;
                seen.most = seen.most.max(now.len());
                if seen.now != now {
                    seen.now = now;
                    seen.changed = Some(Instant::now());
                }
                drop(seen);
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        Self { folder: home.to_owned(), stop, seen, task: Some(task) }
    }

    fn now(&self) -> usize {
        self.seen.lock().unwrap().now.len()
    }

    /// Waits until so many sign; how long it took.
    async fn until(&self, count: usize, most: Duration, what: &str) -> Duration {
        let began = Instant::now();
        while self.now() != count {
            if began.elapsed() >= most {
                panic!("{what}: {} signers after {:?}\n{}", self.now(), began.elapsed(), last_lines(&self.folder));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        println!("{what}: after {:.1} s", began.elapsed().as_secs_f64());
        began.elapsed()
    }
}

impl Drop for Signers {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.task.take().map(JoinHandle::join);
    }
}

/// What the gates have said last, each.
fn last_lines(folder: &Path) -> String {
    let mut lines = String::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.extension().is_none_or(|extension| extension != "log") {
            continue;
        }
        let log = fs::read_to_string(&path).unwrap_or_default();
        let from = log.lines().count().saturating_sub(40);
        lines.extend([format!("--- {}\n", path.display())]);
        lines.extend(log.lines().skip(from).map(|line| format!("{line}\n")));
    }
    lines
}

/// The clients of keys 0 to 7 that run in this folder. A stub that will become one is none yet.
fn signers(folder: &Path) -> BTreeSet<u32> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let Ok(line) = fs::read(entry.path().join("cmdline")) else { continue };
        let words: Vec<_> = line.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
        let ours = words.first().is_some_and(|word| word.ends_with("/validator"))
            && words.windows(2).any(|pair| pair == ["--interop-start-index", "0"])
            && fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd == folder);
        if ours {
            found.insert(pid);
        }
    }
    found
}

/// One pod: the gate as the first process of its own namespace, with a state folder and a client's data of its own.
struct Pod {
    name: &'static str,
    url: String,
    listen: String,
    process: Child,
}

struct Home {
    devnet: Devnet,
    folder: TempDir,
    chain: String,
    keys: Vec<PublicKey>,
    signers: Signers,
}

impl Home {
    async fn start(network: Network) -> Self {
        let devnet = Devnet::up_with_a_block(network).await;
        devnet.stop("ours");
        let folder = tempfile::tempdir().unwrap();
        let (chain, keys) = (devnet.genesis_root().await, devnet.our_keys().await);
        let at = |name: &str| folder.path().join(name);
        fs::write(at("public-keys"), keys.iter().map(|key| key.to_hex() + "\n").collect::<String>()).unwrap();
        let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(at("key")).status();
        assert!(made.unwrap().success());
        let public = fs::read_to_string(at("key.pub")).unwrap();
        let words: Vec<_> = public.split(' ').take(2).collect();
        fs::write(at("allowed"), format!("me@home namespaces=\"failover-grant\" {}\n", words.join(" "))).unwrap();
        let config = format!(
            "site: home\nledger: {{sqlite: {{path: '{}'}}}}\ngrants: {{allowed_signers: '{}'}}\n\
             ethereum: {{beacon_nodes: [{{name: one, url: '{}'}}], genesis_root: '{chain}'}}\n\
             validators: [{{name: {NAME}, kind: ethereum, public_keys_file: '{}', process: {{url: 'http://127.0.0.1:1'}}}}]\n",
            at("ledger").display(),
            at("allowed").display(),
            devnet.beacon(),
            at("public-keys").display(),
        );
        fs::write(at("failover.yaml"), config).unwrap();
        // The watcher makes it.
        drop(LedgerSqlite::open(&at("ledger")).unwrap());
        let signers = Signers::watch(folder.path(), &fs::canonicalize(devnet.file("")).unwrap());
        Self { devnet, folder, chain, keys, signers }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The operator's own command, with the key.
    fn failover(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_failover"));
        command.args(arguments).arg("--config").arg(self.at("failover.yaml")).env_remove("RUST_LOG");
        let output = command.stdin(Stdio::null()).output().unwrap();
        let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "{arguments:?}: {} {}", said(&output.stdout), said(&output.stderr));
        said(&output.stdout)
    }

    fn adopt(&self, more: &[&str]) {
        let key = self.at("key");
        let all = [&["adopt", NAME, "--yes", "--by", "me@home", "--key", key.to_str().unwrap()], more].concat();
        println!("{}", self.failover(&all));
    }

    fn pod(&self, name: &'static str) -> Pod {
        let listen = free_address();
        let process = self.gate(name, &listen);
        Pod { name, url: format!("http://{listen}/status"), listen, process }
    }

    fn gate(&self, name: &str, listen: &str) -> Child {
        let [state, allowed, keys, ledger] =
            [&format!("state-{name}"), "allowed", "public-keys", "ledger"].map(|name| self.at(name));
        let rpc = fs::read_to_string(self.devnet.file("node1.ports")).unwrap();
        let rpc = rpc.split_whitespace().next().unwrap();
        let log = fs::File::options().create(true).append(true).open(self.at(&format!("{name}.log"))).unwrap();
        let mut command = Command::new("setpriv");
        command
            // It ends with this test, however that ends.
            .args(["--pdeathsig", "KILL", "unshare"])
            .args(["--pid", "--fork", "--kill-child", "--mount-proc"])
            .args([env!("CARGO_BIN_EXE_failover-gate"), "run", "--validator", NAME, "--place", "home"])
            .args(["--chain", &self.chain, "--ledger", &format!("sqlite:{}", ledger.display()), "--gate-ttl", "2m"])
            .args(["--stop-grace", "10s", "--beacon-node", &self.devnet.beacon(), "--listen", listen])
            .arg("--allowed-signers")
            .arg(allowed)
            .arg("--public-keys-file")
            .arg(keys)
            .arg("--state")
            .arg(state)
            .arg("--")
            .arg(part("prysm").join("validator"))
            .args(["--datadir", &format!("client-{name}"), "--accept-terms-of-use", "--disable-monitoring"])
            .args(["--chain-config-file", "ethereum.yml", "--beacon-rpc-provider", &format!("127.0.0.1:{rpc}")])
            .args(["--interop-start-index", "0", "--interop-num-validators", "8", "--graffiti", name])
            .args(["--rpc-port", &free_port(), "--http-port", &free_port()])
            .current_dir(self.devnet.file(""))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        command.spawn().unwrap()
    }

    async fn session(&self) -> (Session, failover::ports::Version) {
        let ledger = LedgerSqlite::open(&self.at("ledger")).unwrap();
        let key = LedgerKey::session(&ValidatorId::new(NAME).unwrap());
        let stored = ledger.get(&key).await.unwrap().unwrap();
        (records::decode(&key, &stored.bytes).unwrap(), stored.version)
    }

    /// As a promotion begins.
    async fn raise(&self) -> u64 {
        let ledger = LedgerSqlite::open(&self.at("ledger")).unwrap();
        let key = LedgerKey::session(&ValidatorId::new(NAME).unwrap());
        loop {
            let (session, version) = self.session().await;
            let raised = session.raised_to(session.number + 1, Uuid::new_v4());
            if ledger.put(&key, records::encode(&key, &raised), Expect::Version(version)).await.is_ok() {
                return raised.number;
            }
        }
    }
}

impl Pod {
    async fn status(&self) -> Option<GateStatus> {
        let answer = failover::adapters::http::client(Duration::from_secs(2)).unwrap().get(&self.url).send().await;
        answer.ok()?.json().await.ok()
    }

    async fn until(&self, most: Duration, what: &str, is: impl Fn(&GatePhase) -> bool) -> Duration {
        let began = Instant::now();
        loop {
            let status = self.status().await;
            if status.as_ref().is_some_and(|status| is(&status.state)) {
                println!("{} {what}: after {:.1} s", self.name, began.elapsed().as_secs_f64());
                return began.elapsed();
            }
            assert!(began.elapsed() < most, "{}: {what}: it says {status:?}", self.name);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// The gate's own process, which `unshare` has started.
    fn gate(&self) -> u32 {
        children(self.process.id())[0]
    }

    fn kill(&mut self) {
        let killed = Command::new("kill").args(["-KILL", &self.gate().to_string()]).status();
        assert!(killed.unwrap().success());
        self.process.wait().unwrap();
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Whatever its threads have started.
fn children(process: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists.flat_map(|list| list.split_whitespace().map(|id| id.parse().unwrap()).collect::<Vec<_>>()).collect()
}

fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

fn free_port() -> String {
    free_address().rsplit(':').next().unwrap().to_owned()
}

fn runs(phase: &GatePhase) -> bool {
    matches!(phase, GatePhase::Running { .. })
}

fn waits(kind: WaitKind) -> impl Fn(&GatePhase) -> bool {
    move |phase| matches!(phase, GatePhase::Waiting { kind: found, .. } if *found == kind)
}

impl Home {
    async fn asked(&self, path: &str, body: Option<serde_json::Value>) -> Option<serde_json::Value> {
        let client = failover::adapters::http::client(Duration::from_secs(5)).unwrap();
        let url = format!("{}{path}", self.devnet.beacon());
        let request = match body {
            Some(body) => client.post(url).json(&body),
            None => client.get(url),
        };
        request.send().await.ok()?.json().await.ok()
    }

    /// Waits until an epoch has votes of each of our keys.
    async fn until_all_attest(&self) {
        let began = Instant::now();
        loop {
            let head = self.asked("/eth/v1/node/syncing", None).await;
            let slot = head.and_then(|head| head["data"]["head_slot"].as_str()?.parse::<u64>().ok()).unwrap_or(0);
            let epoch = (slot / 6).saturating_sub(1);
            let keys: Vec<_> = (0..8).map(|index: u64| index.to_string()).collect();
            let live = self.asked(&format!("/eth/v1/validator/liveness/{epoch}"), Some(keys.into())).await;
            let live = live
                .and_then(|live| Some(live["data"].as_array()?.iter().filter(|key| key["is_live"] == true).count()));
            if live == Some(8) {
                println!("all keys attest in epoch {epoch}: after {:.0} s", began.elapsed().as_secs_f64());
                return;
            }
            assert!(began.elapsed() < SILENCE, "{live:?} of 8 keys attest in epoch {epoch}");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    /// What it is all for.
    async fn nobody_is_slashed_and_never_two_signed(&self) {
        let found = self.asked("/eth/v1/beacon/states/head/validators?id=0,1,2,3,4,5,6,7", None).await.unwrap();
        let keys = found["data"].as_array().unwrap();
        assert_eq!((keys.len(), self.keys.len()), (8, 8));
        assert!(keys.iter().all(|key| key["validator"]["slashed"] == false), "{found}");
        let seen = self.signers.seen.lock().unwrap();
        println!("{} looks at the processes: at most {} signed", seen.looks, seen.most);
        assert_eq!(seen.most, 1);
    }

    /// Both pods, and which of them signs.
    async fn two_pods(&self) -> (Pod, Pod) {
        let (one, other) = (self.pod("a"), self.pod("b"));
        self.signers.until(1, SILENCE, "new folders: two silent epochs, then one signs").await;
        let first = one.status().await.is_some_and(|status| runs(&status.state));
        if first { (one, other) } else { (other, one) }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_pods_of_one_home_never_sign_at_once_whatever_is_killed() {
    let home = Home::start(Network::mine().await).await;
    home.adopt(&["--reason", "the first grant"]);
    let (mut signing, waiting) = home.two_pods().await;
    waiting.until(EPOCH, "waits for the session", waits(WaitKind::Session)).await;
    home.until_all_attest().await;

    signing.kill();
    home.signers.until(0, Duration::from_secs(1), "its first process killed: no signer").await;
    signing.process = home.gate(signing.name, &signing.listen);
    // Its notes are of the last minute, in which two of these short epochs have passed: one has to be silent.
    home.signers.until(1, SILENCE, "started again, with its folder").await;
    signing.until(EPOCH, "runs", runs).await;

    let number = home.raise().await;
    home.signers.until(0, Duration::from_secs(45), "the number raised: no signer").await;
    for pod in [&signing, &waiting] {
        pod.until(Duration::from_secs(70), "a promotion is under way", waits(WaitKind::Moving)).await;
    }
    let (session, _) = home.session().await;
    assert_eq!((session.holder, session.number), (None, number), "given back, with its number");

    home.adopt(&["--renew", "--reason", "the promotion was given up"]);
    home.signers.until(1, SILENCE, "home's grant is back: it signs again by itself").await;
    home.until_all_attest().await;
    home.nobody_is_slashed_and_never_two_signed().await;
}

/// Some ten minutes: run by `make test-gate`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "long"]
async fn a_gate_or_keeper_that_hangs_or_ends_hands_over_only_after_its_client_has_ended() {
    let home = Home::start(Network::mine().await).await;
    home.adopt(&["--reason", "the first grant"]);
    let (mut signing, mut waiting) = home.two_pods().await;
    home.until_all_attest().await;

    // Longer than its time: the keeper ends the client, and the other pod takes over when the session is old.
    let signal = |process: u32, name: &str| {
        assert!(Command::new("kill").args([&format!("-{name}"), &process.to_string()]).status().unwrap().success());
    };
    signal(signing.gate(), "STOP");
    home.signers.until(0, Duration::from_secs(125), "the gate hangs: its keeper ends the client at the deadline").await;
    home.signers.until(1, Duration::from_secs(153) + SILENCE, "the other pod signs").await;
    signal(signing.gate(), "CONT");
    signing.until(EPOCH, "has lost the session", waits(WaitKind::Session)).await;
    std::mem::swap(&mut signing, &mut waiting);

    signal(children(signing.gate())[0], "KILL");
    home.signers.until(0, Duration::from_secs(5), "the keeper killed: no signer").await;
    assert_eq!(signing.process.wait().unwrap().code(), Some(1), "it ends, and whoever started it starts it again");
    home.signers.until(1, SILENCE, "it had given the session back: the other one signs").await;
    signing.process = home.gate(signing.name, &signing.listen);

    // Asked to end: the session is given back, and nobody has to wait until it is old.
    signal(waiting.gate(), "TERM");
    home.signers.until(0, Duration::from_secs(30), "asked to end").await;
    assert_eq!(waiting.process.wait().unwrap().code(), Some(0));
    home.signers.until(1, SILENCE, "the one that was started again signs").await;
    home.until_all_attest().await;
    home.nobody_is_slashed_and_never_two_signed().await;
}
