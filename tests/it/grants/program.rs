//! `failover-gate` itself, with a ledger, real grants and a command of its own: what starts, what waits, what is given back.

use std::{
    fs,
    io::{BufRead as _, BufReader, Lines},
    path::PathBuf,
    process::{Child, ChildStderr, Command, Stdio},
    time::{Duration, Instant},
};

use failover::{
    domain::gate::{GatePhase, GateStatus, WaitKind},
    records,
};
use tempfile::TempDir;
use uuid::Uuid;

use super::rig::{Office, ROOT};

/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A container each, as far as processes go. `None` where this machine lets nobody make one.
fn container() -> Option<Command> {
    let root = rustix::process::geteuid().is_root();
    let more: &[&str] = if root { &[] } else { &["--user", "--map-root-user"] };
    let unshare = || {
        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork", "--kill-child", "--mount-proc"]).args(more);
        command
    };
    let there = unshare().arg("true").stderr(Stdio::null()).status().is_ok_and(|status| status.success());
    if !there {
        eprintln!("skipped: no namespace of processes can be made here");
    }
    there.then(unshare)
}

/// Two pods of one home: each has a state folder, and they share a ledger.
pub struct Home {
    pub office: Office,
    /// On a disk: what `/tmp` is made of may not survive, and nothing is resumed there.
    states: TempDir,
}

impl Home {
    pub fn new() -> Option<Self> {
        container()?;
        let office = Office::new()?;
        let states = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let adopted = office.signs("adopt", "ann", &[]);
        assert_eq!(adopted.code, 0, "{}", adopted.err);
        Some(Self { office, states })
    }

    /// Commands share a lock while they run. One that does not get it has found another, and says so in a file.
    fn pod(&self, name: &str, then: &str) -> Pod {
        let path = |name: &str| self.office.path(name).display().to_string();
        let (lock, two) = (path("lock"), path("two"));
        let script = format!("exec 8>{lock}; flock -n 8 || touch {two}; {then}");
        let state: PathBuf = self.states.path().join(name);
        let mut process = container()
            .unwrap()
            .arg(env!("CARGO_BIN_EXE_failover-gate"))
            .args(["run", "--validator", "eth-0", "--place", "home", "--chain", ROOT, "--duty-check", "off"])
            .args(["--ledger", &format!("sqlite:{}", path("ledger.sqlite")), "--listen", "127.0.0.1:0"])
            .args(["--allowed-signers", &path("allowed_signers"), "--stop-grace", "2s", "--state"])
            .arg(state)
            .args(["--", "sh", "-c", &script])
            .env("FAILOVER_LOG", "json")
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(process.stderr.take().unwrap()).lines();
        let address = log.find_map(|line| {
            let line: serde_json::Value = serde_json::from_str(&line.unwrap()).ok()?;
            line["address"].as_str().map(str::to_owned)
        });
        Pod { process, url: format!("http://{}", address.unwrap()), log: Some(log) }
    }

    pub fn runs(&self, name: &str) -> Pod {
        self.pod(name, "exec sleep 1000").heard()
    }

    fn two_have_run(&self) -> bool {
        self.office.path("two").exists()
    }
}

pub struct Pod {
    process: Child,
    pub url: String,
    log: Option<Lines<BufReader<ChildStderr>>>,
}

impl Pod {
    /// What the gate and its command write is read from now on.
    fn heard(mut self) -> Self {
        let log = self.log.take().unwrap();
        std::thread::spawn(move || log.count());
        self
    }

    /// What `failover-gate status` says, and its exit code.
    fn says(&self) -> (String, Option<i32>) {
        let said =
            Command::new(env!("CARGO_BIN_EXE_failover-gate")).args(["status", "--url", &self.url]).output().unwrap();
        let text = String::from_utf8([said.stdout, said.stderr].concat()).unwrap();
        (text, said.status.code())
    }

    fn status(&self) -> Option<GateStatus> {
        let asked =
            Command::new(env!("CARGO_BIN_EXE_failover-gate")).args(["status", "--json", "--url", &self.url]).output();
        serde_json::from_slice(&asked.unwrap().stdout).ok()
    }

    fn until(&self, what: &str, is: impl Fn(&GatePhase) -> bool) -> Duration {
        let began = Instant::now();
        loop {
            let status = self.status();
            if status.as_ref().is_some_and(|status| is(&status.state)) {
                return began.elapsed();
            }
            assert!(began.elapsed() < PATIENCE, "{what}: it says {status:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The gate, which `unshare` has started.
    fn gate(&self) -> u32 {
        children(self.process.id())[0]
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.gate().to_string()]).status();
        assert!(sent.unwrap().success());
    }

    /// The code with which it ends, in bounded time.
    fn ends(mut self) -> Option<i32> {
        let began = Instant::now();
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                let (said, code) = self.says();
                assert!(code == Some(2) && said.contains("refuses connections: look whether it runs"), "{said}");
                return status.code();
            }
            assert!(began.elapsed() < PATIENCE, "it does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
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

fn running(phase: &GatePhase) -> bool {
    matches!(phase, GatePhase::Running { .. })
}

fn waits(kind: WaitKind) -> impl Fn(&GatePhase) -> bool {
    move |phase| matches!(phase, GatePhase::Waiting { kind: found, .. } if *found == kind)
}

#[test]
fn one_pod_of_a_home_signs_and_after_a_kill_it_is_the_same_at_once() {
    let Some(home) = Home::new() else { return };
    let one = home.runs("one");
    one.until("runs", running);
    let other = home.runs("other");
    other.until("waits", waits(WaitKind::Session));
    let (said, code) = other.says();
    assert!(code == Some(1) && said.starts_with("eth-0 at home waits since"), "{said}");
    assert_eq!(one.says().1, Some(0));
    one.signal("KILL");
    assert_ne!(one.ends(), Some(0));
    let again = home.runs("one");
    println!("started again: it runs after {:?}", again.until("runs again", running));
    other.until("still waits", waits(WaitKind::Session));
    assert!(!home.two_have_run());
}

#[tokio::test]
async fn who_is_asked_to_end_gives_the_session_back() {
    let Some(home) = Home::new() else { return };
    let pod = home.runs("one");
    pod.until("runs", running);
    assert!(home.office.session().await.holder.is_some());
    pod.signal("TERM");
    assert_eq!(pod.ends(), Some(0));
    let session = home.office.session().await;
    assert_eq!((session.holder, session.held.len()), (None, 1), "for how long it was held is kept");
    home.runs("other").until("nobody has to wait until it is old", running);
    assert!(!home.two_have_run());
}

#[tokio::test]
async fn the_commands_own_end_is_the_gates_and_frees_the_session() {
    let Some(home) = Home::new() else { return };
    assert_eq!(home.pod("one", "exit 7").heard().ends(), Some(7));
    assert_eq!(home.office.session().await.holder, None);
}

/// The command fills the pipe that it shares with the gate's log.
#[tokio::test]
async fn a_log_that_nobody_reads_holds_nothing_up() {
    let Some(home) = Home::new() else { return };
    let pod = home.pod("one", "sleep 1000 & exec yes 1>&2");
    pod.until("runs", running);
    let id = pod.gate();
    let full = || {
        let Some(yes) = children(id).first().and_then(|keeper| children(*keeper).first().copied()) else {
            return false;
        };
        // Asleep: it waits for room in the pipe.
        fs::read_to_string(format!("/proc/{yes}/stat")).is_ok_and(|stat| stat.contains("(yes) S "))
    };
    let began = Instant::now();
    while !full() {
        assert!(began.elapsed() < PATIENCE, "the pipe is not full");
        std::thread::sleep(Duration::from_millis(20));
    }
    pod.until("it answers", running);
    pod.signal("TERM");
    assert_eq!(pod.ends(), Some(0));
    assert_eq!(home.office.session().await.holder, None);
}

#[tokio::test]
async fn nothing_starts_while_a_promotion_is_under_way_or_the_grant_is_the_clouds() {
    let Some(home) = Home::new() else { return };
    let session = home.office.session().await;
    home.office.set_session(&session.raised_to(session.number + 1, Uuid::new_v4())).await;
    home.runs("one").until("a promotion is under way", waits(WaitKind::Moving));
    home.office.put(super::rig::cloud(7, 1), 2).await;
    home.runs("one").until("the cloud signs", waits(WaitKind::Grant));
    assert!(!home.office.path("lock").exists(), "the command was never started");
}

/// Old, unreadable, missing: none of it is a reason to start, and each says what to do.
#[tokio::test]
async fn a_ledger_that_was_damaged_or_put_back_starts_nothing() {
    let Some(home) = Home::new() else { return };
    let (first, session) = (home.office.grant().await, home.office.session().await);
    let renewed = home.office.signs("adopt", "ann", &["--renew"]);
    assert_eq!(renewed.code, 0, "{}", renewed.err);
    let pod = home.runs("one");
    pod.until("runs", running);
    pod.signal("TERM");
    pod.ends();
    let owner = "owners/eth-0";
    let newest = home.office.ledger_bytes(owner).await;
    fs::remove_file(home.office.path("lock")).unwrap();

    home.office.set(owner, first.bytes()).await;
    home.office.set_session(&session).await;
    let pod = home.runs("one");
    pod.until(
        "it was put back",
        |phase| matches!(phase, GatePhase::Waiting { why, .. } if why.contains("the ledger was put back")),
    );
    drop(pod);
    home.office.set(owner, b"{}".to_vec()).await;
    home.runs("one").until("it cannot be read", waits(WaitKind::Grant));
    home.office.set(owner, newest).await;
    home.office.remove("sessions/eth-0").await;
    home.runs("one")
        .until("it is missing", |phase| matches!(phase, GatePhase::Waiting { why, .. } if why.contains("no session")));
    home.office.set("sessions/eth-0", records::encode("sessions/eth-1", &session)).await;
    home.runs("one").until("it belongs elsewhere", waits(WaitKind::Ledger));
    assert!(!home.office.path("lock").exists(), "the command was never started");
}
