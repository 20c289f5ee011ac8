//! A house with the real program: a ledger in a file, grants that a person has signed, and clients that are counted from
//! outside, by what the kernel lists.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::Write as _,
    ops::{Deref, DerefMut},
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use failover::{
    adapters::ledger_sqlite::LedgerSqlite,
    domain::{
        LedgerKey, Time, ValidatorId,
        gate::{GatePhase, GateStatus, WaitKind},
        ownership::{Grant, GrantPlace, NAMESPACE, Session, SignedGrant},
    },
    files,
    ports::{Expect, Ledger as _},
    records,
};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use uuid::Uuid;

use crate::{
    driver::EXE,
    placed::{Left, Place, Placed, Spot, skipped, until},
};

pub const ROOT: &str = "0x9143aa7c615a7f7115e2b6aac319c03529df8242ae705fba9df39b79c59fa8b1";
/// A client that nobody has to coax.
pub const CLIENT: &str = "exec $CLIENT 1000";

pub fn home() -> GrantPlace {
    GrantPlace::Home { site: "home".into() }
}

fn eth() -> ValidatorId {
    ValidatorId::new("eth-0").unwrap()
}

pub struct House {
    folder: TempDir,
    runtime: Runtime,
    clients: Clients,
    /// How many gates.
    started: AtomicUsize,
}

impl House {
    /// On a disk: what `/tmp` is made of may not survive, and nothing is resumed there. `None` without an ssh-keygen.
    pub fn new() -> Option<Self> {
        Self::within(Path::new(env!("CARGO_TARGET_TMPDIR")))
    }

    pub fn within(folder: &Path) -> Option<Self> {
        let there = Command::new("ssh-keygen").arg("-?").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
        if !there {
            skipped("there is no ssh-keygen here, install openssh-client");
            return None;
        }
        let folder = TempDir::new_in(folder).unwrap();
        // For a gate of another user too.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        fs::copy("/bin/sleep", folder.path().join("client")).unwrap();
        let clients = Clients::watch(folder.path().join("client"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let house = Self { folder, runtime, clients, started: AtomicUsize::new(0) };
        drop(LedgerSqlite::open(&house.path("ledger.sqlite")).unwrap());
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", "", "-f"])
            .arg(house.path("key"))
            .status();
        assert!(made.unwrap().success());
        let public = files::read_text(&house.path("key.pub"), files::MOST).unwrap();
        fs::write(house.path("allowed_signers"), format!("ann@example.org namespaces=\"{NAMESPACE}\" {public}"))
            .unwrap();
        Some(house)
    }

    /// One that has its first grant.
    pub fn granted() -> Option<Self> {
        let house = Self::new()?;
        house.grant(home(), 1);
        Some(house)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn put(&self, key: &LedgerKey, bytes: Vec<u8>) {
        let ledger = LedgerSqlite::open(&self.path("ledger.sqlite")).unwrap();
        self.runtime.block_on(async {
            let expect = match ledger.get(key).await.unwrap() {
                Some(stored) => Expect::Version(stored.version),
                None => Expect::Absent,
            };
            ledger.put(key, bytes, expect).await.unwrap();
        });
    }

    pub fn session(&self) -> Session {
        let ledger = LedgerSqlite::open(&self.path("ledger.sqlite")).unwrap();
        let key = LedgerKey::session(&eth());
        let stored = self.runtime.block_on(ledger.get(&key)).unwrap().unwrap();
        records::decode(&key, &stored.bytes).unwrap()
    }

    /// Puts a signed grant into force, and a free session beside it.
    pub fn grant(&self, owner: GrantPlace, number: u64) -> SignedGrant {
        let grant = Grant {
            validator: eth(),
            chain: ROOT.into(),
            owner,
            number,
            previous: None,
            issued_at: Time::UNIX_EPOCH,
            by: "ann@example.org".into(),
            reason: "a test".into(),
            evidence: None,
        };
        let mut sign = Command::new("ssh-keygen")
            .args(["-q", "-Y", "sign", "-n", NAMESPACE, "-f"])
            .arg(self.path("key"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        sign.stdin.take().unwrap().write_all(&grant.bytes()).unwrap();
        let signature = String::from_utf8(sign.wait_with_output().unwrap().stdout).unwrap();
        let signed = SignedGrant { grant, signature };
        self.put(&LedgerKey::owner(&eth()), signed.bytes());
        let session = LedgerKey::session(&eth());
        self.put(&session, records::encode(&session, &Session::free(number, Uuid::new_v4())));
        signed
    }

    /// A gate at home without a duty check, as it may be changed before it is started.
    pub fn gate(&self, place: Place, name: &str, script: &str) -> Start<'_> {
        Start {
            house: self,
            spot: Spot::new(place),
            name: name.into(),
            place: "home",
            script: script.into(),
            more: vec![],
        }
    }

    /// Starts a usual one and waits for its client.
    pub fn starts(&self, place: Place, name: &str) -> Gate {
        let mut gate = self.gate(place, name, CLIENT).start();
        gate.hears_up();
        gate
    }

    /// How many clients run now.
    pub fn clients(&self) -> usize {
        clients(&self.path("client"))
    }

    /// By what was seen from outside, and by a lock that clients share: one that does not get it has met another.
    pub fn never_two(&self) {
        assert_eq!(self.clients.most.load(Ordering::Relaxed).max(1), 1, "two clients at once");
        assert!(!self.path("two").exists(), "two clients at once");
    }

    pub fn nothing_has_run(&self) {
        assert_eq!(self.clients.most.load(Ordering::Relaxed), 0);
        assert!(!self.path("lock").exists(), "a client was started");
    }
}

/// What a gate is started with.
pub struct Start<'a> {
    house: &'a House,
    spot: Spot,
    name: String,
    place: &'static str,
    script: String,
    more: Vec<String>,
}

impl Start<'_> {
    pub fn with(mut self, more: &[&str]) -> Self {
        self.more.extend(more.iter().map(|word| (*word).to_owned()));
        self
    }

    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.spot.command.env(name, value);
        self
    }

    /// In its place, before it is the gate.
    pub fn after(mut self, script: &str) -> Self {
        self.spot.command.args(["sh", "-c", &format!("{script} && exec \"$@\""), "-"]);
        self
    }

    pub fn in_the_cloud(mut self, metadata: &str) -> Self {
        self.place = "cloud";
        self.env("GCE_METADATA_HOST", metadata)
    }

    pub fn start(self) -> Gate {
        let Self { house, mut spot, name, place, script, more } = self;
        let path = |name: &str| house.path(name).display().to_string();
        let left = Left::at(&house.path(&format!("left-{name}")));
        let hold = format!(
            "exec 9>{} 8>{}; flock -n 8 || touch {}; CLIENT={}; echo up >&9; ",
            path(&format!("left-{name}")),
            path("lock"),
            path("two"),
            path("client")
        );
        let log = house.path(&format!("log-{name}-{}", house.started.fetch_add(1, Ordering::Relaxed)));
        let errors = File::create(&log).unwrap();
        // The build may be in a folder that only root can enter.
        let gate = house.path("gate");
        if !gate.exists() {
            fs::hard_link(program(), &gate).or_else(|_| fs::copy(program(), &gate).map(|_| ())).unwrap();
        }
        let command = spot.command.arg(gate).args(["run", "--validator", "eth-0", "--place", place, "--chain", ROOT]);
        if place == "home" {
            command.args(["--ledger", &format!("sqlite:{}", path("ledger.sqlite"))]);
        }
        if !more.iter().any(|word| word == "--duty-check") {
            command.args(["--duty-check", "off"]);
        }
        if !more.iter().any(|word| word == "--state") {
            command.args(["--state", &path(&format!("state-{name}"))]);
        }
        command.args(["--stop-grace", "1s", "--listen", "127.0.0.1:0", "--allowed-signers", &path("allowed_signers")]);
        command.args(more).args(["--", "sh", "-c", &format!("{hold}{script}")]);
        command.env("FAILOVER_LOG", "json").stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors).process_group(0);
        Gate { placed: spot.spawn(), left, log }
    }
}

/// The gate that is tried: the one that was built with this test, or another one, the image's for example.
pub fn program() -> PathBuf {
    std::env::var_os(EXE).unwrap_or_else(|| env!("CARGO_BIN_EXE_failover-gate").into()).into()
}

pub struct Gate {
    placed: Placed,
    left: Left,
    log: PathBuf,
}

impl Gate {
    pub fn hears_up(&mut self) {
        assert_eq!(self.left.heard(), "up\n");
    }

    pub fn hears_up_within(&mut self, most: Duration) {
        assert!(self.left.says_something(most), "its client does not run");
        self.hears_up();
    }

    pub fn is_gone(&self, within: Duration) -> bool {
        self.left.is_gone(within)
    }

    pub fn log(&self) -> String {
        files::read_text(&self.log, files::MOST).unwrap()
    }

    pub fn says(&self) -> Option<GateStatus> {
        let log = self.log();
        let mut lines = log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        let address = lines.find_map(|line| line["address"].as_str().map(str::to_owned))?;
        let asked = Command::new(program()).args(["status", "--json", "--url", &format!("http://{address}")]).output();
        serde_json::from_slice(&asked.unwrap().stdout).ok()
    }

    pub fn until(&self, what: &str, is: impl Fn(&GatePhase) -> bool) {
        until(what, || self.says().is_some_and(|status| is(&status.state)));
    }

    /// What it waits for, with these words in the reason.
    pub fn waits(&self, kind: WaitKind, words: &str) {
        self.until(&format!("waits: {words}"), |phase| {
            matches!(phase, GatePhase::Waiting { kind: found, why, .. } if *found == kind && why.contains(words))
        });
    }

    pub fn runs(&self) {
        self.until("runs", |phase| matches!(phase, GatePhase::Running { .. }));
    }
}

impl Deref for Gate {
    type Target = Placed;

    fn deref(&self) -> &Placed {
        &self.placed
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{}: it says {:?}; its log:\n{}", self.log.display(), self.says(), self.log());
        }
    }
}

impl DerefMut for Gate {
    fn deref_mut(&mut self) -> &mut Placed {
        &mut self.placed
    }
}

/// Counts them all the time.
struct Clients {
    stop: Arc<AtomicBool>,
    most: Arc<AtomicUsize>,
    task: Option<JoinHandle<()>>,
}

impl Clients {
    fn watch(program: PathBuf) -> Self {
        let (stop, most) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (stopped, shared) = (stop.clone(), most.clone());
        let task = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                shared.fetch_max(clients(&program), Ordering::Relaxed);
                // What falls between two looks meets the lock.
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        Self { stop, most, task: Some(task) }
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.task.take().map(JoinHandle::join);
    }
}

/// The processes that run this file, whatever they call themselves. One that has ended runs none.
fn clients(program: &Path) -> usize {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes.filter(|entry| fs::read_link(entry.path().join("exe")).is_ok_and(|exe| exe == program)).count()
}
