//! A home with real gates, real grants and a bucket that can misbehave; and who signs there, as the kernel lists it.

use std::{
    collections::{BTreeSet, HashMap},
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use failover::{
    domain::{
        LedgerKey, Time, ValidatorId,
        gate::{GatePhase, GateStatus, WaitKind},
        ownership::{Grant, GrantPlace, NAMESPACE, Session, SignedGrant},
    },
    records,
    sandbox::object_store::FakeObjectStore,
};
use futures::{FutureExt as _, future::BoxFuture};
use rustix::process::{Pid, Signal};
use tempfile::TempDir;
use uuid::Uuid;

use crate::placed::{PATIENCE, Place, children, is_there, send, skipped};

pub const CHAIN: &str = "0x9143aa7c615a7f7115e2b6aac319c03529df8242ae705fba9df39b79c59fa8b1";
pub const SESSION: &str = "sessions/eth-0";
pub const OWNER: &str = "owners/eth-0";
/// What a gate of these tests is given, so that nobody waits for hours.
pub const TTL: Duration = Duration::from_secs(12);
pub const GRACE: Duration = Duration::from_secs(4);
/// It renews so often, and looks twice as often.
pub const RENEWS: Duration = Duration::from_secs(2);
/// Of the first grant and its session.
pub const FIRST: u64 = 8;

pub fn eth() -> ValidatorId {
    ValidatorId::new("eth-0").unwrap()
}

pub fn at_home() -> GrantPlace {
    GrantPlace::Home { site: "home".into() }
}

/// Two people, one of whom may sign.
pub struct People(TempDir);

impl People {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        for name in ["ann", "eve"] {
            let mut made = Command::new("ssh-keygen");
            made.args(["-q", "-t", "ed25519", "-N", "", "-C", "", "-f"]).arg(folder.path().join(name));
            assert!(made.status().unwrap().success());
        }
        Self(folder)
    }

    pub fn allows(&self, name: &str) -> String {
        let public = fs::read_to_string(self.0.path().join(format!("{name}.pub"))).unwrap();
        format!("{name}@example.org namespaces=\"{NAMESPACE}\" {public}")
    }

    pub fn sign(&self, name: &str, namespace: &str, grant: Grant) -> SignedGrant {
        let mut signing = Command::new("ssh-keygen");
        signing.args(["-q", "-Y", "sign", "-n", namespace, "-f"]).arg(self.0.path().join(name));
        let mut child = signing.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(&grant.bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        SignedGrant { grant, signature: String::from_utf8(output.stdout).unwrap() }
    }
}

pub static PEOPLE: LazyLock<People> = LazyLock::new(People::new);

pub fn grant(number: u64, owner: GrantPlace) -> Grant {
    Grant {
        validator: eth(),
        chain: CHAIN.into(),
        owner,
        number,
        previous: None,
        issued_at: Time::UNIX_EPOCH,
        by: "ann@example.org".into(),
        reason: "a test".into(),
        evidence: None,
    }
}

pub fn signed(grant: Grant) -> Vec<u8> {
    PEOPLE.sign("ann", NAMESPACE, grant).bytes()
}

/// Whether real gates can be started here. Says what is missing.
pub fn can_run() -> bool {
    let signs = Command::new("ssh-keygen").arg("-?").stderr(Stdio::null()).status().is_ok();
    if !signs {
        skipped("there is no ssh-keygen here, install openssh-client");
    }
    signs && is_there(Place::Container)
}

/// One validator's home: its ledger is a bucket, and its command a `sleep` with a mark.
pub struct House {
    pub store: FakeObjectStore,
    pub folder: TempDir,
    /// On a disk: what `/tmp` is made of may not survive, and nothing is resumed there.
    states: TempDir,
    mark: String,
}

/// How its gates are started.
#[derive(Clone, Copy, Debug)]
pub struct Habits {
    pub ttl: Option<Duration>,
    pub grace: Duration,
    /// The command ignores SIGTERM.
    pub ignores: bool,
    pub on_loss: &'static str,
}

pub const USUAL: Habits = Habits { ttl: Some(TTL), grace: GRACE, ignores: false, on_loss: "stop" };

impl House {
    /// With a grant for home and a session that nobody holds.
    pub async fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let mark = format!("0.{:08}{:04}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let store = FakeObjectStore::start().await.unwrap();
        let states = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let house = Self { store, folder: TempDir::new().unwrap(), states, mark };
        fs::write(house.path("allowed_signers"), PEOPLE.allows("ann")).unwrap();
        house.store.set(OWNER, signed(grant(FIRST, at_home())));
        house.set_session(&Session::free(FIRST, Uuid::new_v4()));
        house
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn set_session(&self, session: &Session) {
        let key = LedgerKey::session(&eth());
        self.store.set(&key, records::encode(&key, session));
    }

    pub fn session(&self) -> Session {
        let key = LedgerKey::session(&eth());
        records::decode(&key, &self.store.get(&key).unwrap()).unwrap()
    }

    /// As a promotion begins.
    pub fn raise(&self, number: u64) {
        self.set_session(&self.session().raised_to(number, Uuid::new_v4()));
    }

    pub async fn pod(&self, name: &str, habits: Habits, more: &[&str]) -> Pod {
        let path = |name: &str| self.path(name).display().to_string();
        let ignores = if habits.ignores { "trap '' TERM; " } else { "" };
        // Commands share a lock while they run. One that does not get it has found another, and says so in a file.
        let (lock, two) = (path("lock"), path("two"));
        let script = format!("{ignores}exec 8>{lock}; flock -n 8 || touch {two}; exec sleep 1000000 {}", self.mark);
        let mut command = Command::new("unshare");
        command
            .args(["--pid", "--fork", "--kill-child", "--mount-proc", env!("CARGO_BIN_EXE_failover-gate"), "run"])
            .args(["--validator", "eth-0", "--place", "home", "--ledger", "gs://ledger", "--credentials", "anonymous"])
            .args(["--ledger-endpoint", self.store.url(), "--allowed-signers", &path("allowed_signers"), "--state"])
            .arg(self.states.path().join(name))
            .args(["--listen", "127.0.0.1:0", "--on-ledger-loss", habits.on_loss])
            .args(["--stop-grace", &format!("{}s", habits.grace.as_secs())]);
        if let Some(ttl) = habits.ttl {
            command.args(["--gate-ttl", &format!("{}s", ttl.as_secs())]);
        }
        if more.is_empty() {
            command.args(["--chain", CHAIN, "--duty-check", "off"]);
        }
        command.args(more).args(["--", "sh", "-c", &script]).env("FAILOVER_LOG", "json");
        let mut process = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let (log, errors) = (Arc::new(Mutex::new(String::new())), process.stderr.take().unwrap());
        let written = log.clone();
        thread::spawn(move || {
            for line in BufReader::new(errors).lines().map_while(Result::ok) {
                *written.lock().unwrap() += &(line + "\n");
            }
        });
        let mut pod = Pod { process, log, url: String::new() };
        let address = |log: &str| {
            let mut lines = log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
            lines.find_map(|line| line["address"].as_str().map(str::to_owned))
        };
        until("its port", || pod.log(), || address(&pod.log()).is_some()).await;
        pod.url = format!("http://{}/status", address(&pod.log()).unwrap());
        pod
    }

    /// Waits until so many commands run; since when that is so.
    pub async fn clients(&self, count: usize, what: &str) -> Instant {
        until(what, || format!("{:?}", self.seen()), || self.seen().now.len() == count).await;
        self.seen().changed.unwrap_or_else(Instant::now)
    }

    pub fn seen(&self) -> Seen {
        CLIENTS.seen.lock().unwrap().entry(self.mark.clone()).or_default().clone()
    }

    /// Looked at from outside, and by the commands themselves.
    pub fn never_two(&self) {
        assert!(self.seen().most <= 1 && !self.path("two").exists(), "{:?}", self.seen());
    }

    /// When the ledger last took a session, and which one by number.
    pub fn renewed(&self) -> (Instant, usize) {
        let asked = self.store.asked();
        let writes = asked.iter().filter(|asked| asked.what.starts_with("POST") && asked.answer == Some(200));
        (writes.clone().next_back().expect("it was written").at, writes.count())
    }

    /// Waits until the bucket has taken another renewal.
    pub async fn renews(&self, what: &str) {
        let (_, before) = self.renewed();
        until(what, || format!("{:?}", self.store.asked().last()), || self.renewed().1 > before).await;
    }
}

pub struct Pod {
    process: Child,
    log: Arc<Mutex<String>>,
    url: String,
}

impl Pod {
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub async fn status(&self) -> Option<GateStatus> {
        static CLIENT: LazyLock<reqwest::Client> =
            LazyLock::new(|| failover::adapters::http::client(Duration::from_secs(5)).unwrap());
        CLIENT.get(&self.url).send().await.ok()?.json().await.ok()
    }

    pub async fn until(&self, what: &str, is: impl Fn(&GatePhase) -> bool) {
        let began = Instant::now();
        loop {
            let status = self.status().await;
            if status.as_ref().is_some_and(|status| is(&status.state)) {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{what}: {status:?}\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub async fn runs(&self, what: &str) {
        self.until(what, |phase| matches!(phase, GatePhase::Running { .. })).await;
    }

    /// Waits until it waits for this, and says these words.
    pub async fn waits(&self, what: &str, kind: WaitKind, words: &str) {
        self.until(
            &format!("{what}: waits for {kind:?}, {words}"),
            |phase| matches!(phase, GatePhase::Waiting { kind: found, why, .. } if *found == kind && why.contains(words)),
        )
        .await;
    }

    /// The gate, which `unshare` has started.
    pub fn gate(&self) -> Pid {
        children(Pid::from_child(&self.process))[0]
    }

    /// Asks it to end, and waits for that.
    pub async fn ends(mut self) {
        send(self.gate(), Signal::TERM);
        let mut code = None;
        until(
            "its end",
            || self.log.lock().unwrap().clone(),
            || {
                code = self.process.try_wait().unwrap().map(|status| status.code());
                code.is_some()
            },
        )
        .await;
        assert_eq!(code, Some(Some(0)), "{}", self.log());
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub async fn until(what: &str, found: impl Fn() -> String, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "in vain: {what}: {}", found());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// One story with its name.
pub type Case = (String, BoxFuture<'static, ()>);

pub fn case(name: impl ToString, story: impl Future<Output = ()> + Send + 'static) -> Case {
    (name.to_string(), story.boxed())
}

/// All at once: they wait, and compute nothing.
pub async fn together(cases: impl IntoIterator<Item = Case>) {
    let begun: Vec<_> = cases.into_iter().map(|(name, story)| (name, tokio::spawn(story))).collect();
    let mut failed = Vec::new();
    for (name, story) in begun {
        if story.await.is_err() {
            failed.push(name);
        }
    }
    assert!(failed.is_empty(), "these have failed, each with its reason above: {failed:#?}");
}

/// Lets time pass in which nothing may happen.
pub async fn pause(time: Duration) {
    tokio::time::sleep(time).await;
}

/// The commands of one house.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub now: BTreeSet<u32>,
    pub all: BTreeSet<u32>,
    pub most: usize,
    changed: Option<Instant>,
}

struct Clients {
    seen: Arc<Mutex<HashMap<String, Seen>>>,
}

static CLIENTS: LazyLock<Clients> = LazyLock::new(|| {
    let seen = Arc::new(Mutex::new(HashMap::<String, Seen>::new()));
    let shared = seen.clone();
    thread::spawn(move || {
        // What has been something else for a while becomes no command any more.
        let mut others = HashMap::new();
        loop {
            let mut found = HashMap::<String, BTreeSet<u32>>::new();
            let pids = fs::read_dir("/proc").unwrap().flatten();
            let pids: Vec<u32> = pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
            others.retain(|pid, _| pids.contains(pid));
            for pid in pids {
                let looks = others.get(&pid).copied().unwrap_or(0);
                match if looks < 100 { mark(pid) } else { None } {
                    Some(mark) => drop(found.entry(mark).or_default().insert(pid)),
                    None => drop(others.insert(pid, looks + 1)),
                }
            }
            let mut seen = shared.lock().unwrap();
            for (mark, seen) in seen.iter_mut() {
                let now = found.remove(mark).unwrap_or_default();
                if now != seen.now {
                    (seen.most, seen.changed) = (seen.most.max(now.len()), Some(Instant::now()));
                    seen.all.extend(&now);
                    seen.now = now;
                }
            }
            drop(seen);
            thread::sleep(Duration::from_millis(15));
        }
    });
    Clients { seen }
});

fn mark(pid: u32) -> Option<String> {
    let line = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("cmdline")).ok()?;
    let words: Vec<_> = line.split('\0').collect();
    (words.len() > 2 && words[0] == "sleep" && words[1] == "1000000").then(|| words[2].to_owned())
}
