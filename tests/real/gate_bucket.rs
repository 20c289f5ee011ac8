//! The gate over a real server of Cloud Storage's API: start, renewal, a raised number, the grant that comes back, stop.

use std::{
    fs,
    net::TcpListener,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use failover::{
    adapters::ledger_gcs::LedgerGcs,
    domain::{
        LedgerKey, Time, ValidatorId,
        gate::{GatePhase, GateStatus, WaitKind},
        ownership::{Grant, GrantPlace, NAMESPACE, Session, SignedGrant},
    },
    ports::{Expect, Ledger as _, Stored},
    records,
};
use tempfile::TempDir;
use uuid::Uuid;

use crate::ledger::{ledger, start};

const CHAIN: &str = "cosmoshub-4";
const PATIENCE: Duration = Duration::from_secs(30);

struct Home {
    ledger: LedgerGcs,
    folder: TempDir,
    url: String,
    port: String,
}

impl Home {
    fn new(url: String) -> Self {
        let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let at = |name: &str| folder.path().join(name);
        let mut made = Command::new("ssh-keygen");
        made.args(["-q", "-t", "ed25519", "-N", "", "-C", "", "-f"]).arg(at("key"));
        assert!(made.status().unwrap().success());
        let public = fs::read_to_string(at("key.pub")).unwrap();
        fs::write(at("allowed"), format!("ann@example.org namespaces=\"{NAMESPACE}\" {public}")).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        Self { ledger: ledger(&url, "ledger"), folder, url, port: port.to_string() }
    }

    fn key() -> LedgerKey {
        LedgerKey::session(&ValidatorId::new("eth-0").unwrap())
    }

    async fn put(&self, key: &LedgerKey, bytes: Vec<u8>) {
        loop {
            let found = self.ledger.get(key).await.unwrap();
            let expect = found.map_or(Expect::Absent, |Stored { version, .. }| Expect::Version(version));
            // The gate may have renewed meanwhile.
            if self.ledger.put(key, bytes.clone(), expect).await.is_ok() {
                return;
            }
        }
    }

    async fn grant(&self, number: u64) {
        let validator = ValidatorId::new("eth-0").unwrap();
        let key = LedgerKey::owner(&validator);
        let grant = Grant {
            validator,
            chain: CHAIN.into(),
            owner: GrantPlace::Home { site: "home".into() },
            number,
            previous: None,
            issued_at: Time::UNIX_EPOCH,
            by: "ann@example.org".into(),
            reason: "a test".into(),
            evidence: None,
        };
        let file = self.folder.path().join("grant");
        fs::write(&file, grant.bytes()).unwrap();
        let mut signing = Command::new("ssh-keygen");
        signing.args(["-q", "-Y", "sign", "-n", NAMESPACE, "-f"]).arg(self.folder.path().join("key")).arg(&file);
        assert!(signing.stderr(Stdio::null()).status().unwrap().success());
        let sig = file.with_extension("sig");
        let signature = fs::read_to_string(&sig).unwrap();
        fs::remove_file(sig).unwrap();
        self.put(&key, SignedGrant { grant, signature }.bytes()).await;
    }

    async fn session(&self) -> Session {
        let stored = self.ledger.get(&Self::key()).await.unwrap().unwrap();
        records::decode(&Self::key(), &stored.bytes).unwrap()
    }

    fn gate(&self) -> Gate {
        let at = |name: &str| self.folder.path().join(name);
        let mut command = Command::new("unshare");
        command
            .args(["--pid", "--fork", "--kill-child", "--mount-proc", env!("CARGO_BIN_EXE_failover-gate"), "run"])
            .args(["--validator", "eth-0", "--place", "home", "--chain", CHAIN, "--duty-check", "off"])
            .args(["--ledger", "gs://ledger/home", "--ledger-endpoint", &self.url, "--credentials", "anonymous"])
            .args(["--gate-ttl", "14s", "--stop-grace", "4s", "--listen", &self.port, "--allowed-signers"])
            .arg(at("allowed"))
            .arg("--state")
            .arg(at("state"))
            .args(["--", "sh", "-c", "touch $0; exec sleep 1000"])
            .arg(at("ran"));
        Gate(command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    async fn until(&self, what: &str, is: impl Fn(&GatePhase) -> bool) {
        let client = failover::adapters::http::client(Duration::from_secs(2)).unwrap();
        let began = Instant::now();
        loop {
            let answer = client.get(format!("http://{}/status", self.port)).send().await;
            let status: Option<GateStatus> = match answer {
                Ok(answer) => answer.json().await.ok(),
                Err(_) => None,
            };
            if status.as_ref().is_some_and(|status| is(&status.state)) {
                println!("{what}: after {:.1} s", began.elapsed().as_secs_f64());
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{what}: {status:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

struct Gate(Child);

impl Drop for Gate {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Gate {
    /// Asks the gate to end, which `unshare` has started.
    fn ends(mut self) {
        let children = format!("/proc/{0}/task/{0}/children", self.0.id());
        let gate = fs::read_to_string(children).unwrap();
        assert!(Command::new("kill").args(["-TERM", gate.trim()]).status().unwrap().success());
        assert_eq!(self.0.wait().unwrap().code(), Some(0));
    }
}

fn runs(phase: &GatePhase) -> bool {
    matches!(phase, GatePhase::Running { .. })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gate_holds_its_session_in_a_real_bucket_and_gives_it_back() {
    let (_server, url) = start().await;
    let home = Home::new(url);
    let gate = home.gate();
    home.until("no grant", |phase| matches!(phase, GatePhase::Waiting { kind: WaitKind::Grant, .. })).await;
    home.grant(8).await;
    home.put(&Home::key(), records::encode(&Home::key(), &Session::free(8, Uuid::new_v4()))).await;
    home.until("runs", runs).await;
    let taken = home.session().await;
    assert!(taken.holder.is_some() && taken.ttl_seconds == 14);
    let began = Instant::now();
    while home.session().await.write == taken.write {
        assert!(began.elapsed() < PATIENCE, "it does not renew");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let renewed = home.session().await;
    assert_eq!((renewed.holder, renewed.held.len()), (taken.holder, 1));

    home.put(&Home::key(), records::encode(&Home::key(), &renewed.raised_to(9, Uuid::new_v4()))).await;
    home.until("its number raised", |phase| matches!(phase, GatePhase::Waiting { kind: WaitKind::Moving, .. })).await;
    let given_back = home.session().await;
    assert_eq!((given_back.holder, given_back.number), (None, 9));
    fs::remove_file(home.folder.path().join("ran")).unwrap();
    home.grant(9).await;
    home.until("home's grant is back", runs).await;
    assert!(home.session().await.holder == taken.holder && home.folder.path().join("ran").exists());
    gate.ends();
    let session = home.session().await;
    assert_eq!((session.holder, session.number, session.held.len()), (None, 9, 2));
}
