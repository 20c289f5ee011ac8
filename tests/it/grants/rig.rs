//! A house whose validator has grants, and people with real keys.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use failover::{
    adapters::ledger_sqlite::LedgerSqlite,
    domain::{
        LedgerKey, Time, ValidatorId,
        ownership::{Grant, GrantPlace, NAMESPACE, Session, SignedGrant},
    },
    ports::{Expect, Ledger as _},
    records,
};
use uuid::Uuid;

use crate::cli::rig::{Ended, House};

pub const ROOT: &str = "0x9143aa7c615a7f7115e2b6aac319c03529df8242ae705fba9df39b79c59fa8b1";

pub fn eth() -> ValidatorId {
    ValidatorId::new("eth-0").unwrap()
}

pub fn home() -> GrantPlace {
    GrantPlace::Home { site: "home".into() }
}

pub fn cloud(instance: u64, boot: u8) -> GrantPlace {
    let boot_id = Uuid::from_u128(boot.into()).to_string();
    let zone = "us-central1-a".into();
    GrantPlace::Cloud { project: "home-failover".into(), zone, instance_id: instance.into(), boot_id }
}

/// Whether there is an ssh-keygen; without one these tests look at nothing, and say so.
pub fn can_sign() -> bool {
    let there = Command::new("ssh-keygen").arg("-?").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !there {
        eprintln!("skipped: there is no ssh-keygen here, install openssh-client");
    }
    there
}

/// A house, its ledger, and two people who may sign.
pub struct Office {
    pub house: House,
    pub text: String,
}

impl Office {
    pub fn new() -> Option<Self> {
        Self::with("")
    }

    pub fn with(more: &str) -> Option<Self> {
        can_sign().then(|| Self::over("{sqlite: {path: ledger.sqlite}}", more))
    }

    /// With its keys on this chain, as this node shows it.
    pub fn on(node: &str, root: &str, key: &str) -> Option<Self> {
        let office = Self::new()?;
        let old = format!("0x{:096x}", 7);
        let text = office.text.replace("http://127.0.0.1:1", node).replace(ROOT, root).replace(&old, key);
        office.house.write(&text);
        Some(Self { text, ..office })
    }

    pub fn over(ledger: &str, more: &str) -> Self {
        let house = House::new("");
        let text = format!(
            "site: home\nledger: {ledger}\n{more}\
             grants: {{allowed_signers: allowed_signers}}\n\
             ethereum: {{beacon_nodes: [{{name: a, url: 'http://127.0.0.1:1'}}], genesis_root: '{ROOT}'}}\n\
             validators:\n  - {{name: eth-0, kind: ethereum, public_keys: ['0x{:096x}']}}\n",
            7
        );
        house.write(&text);
        drop(LedgerSqlite::open(&house.folder.path().join("ledger.sqlite")).unwrap());
        let office = Self { house, text };
        for name in ["ann", "bob", "eve"] {
            let made = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-C", "", "-f"])
                .arg(office.key(name))
                .status();
            assert!(made.unwrap().success());
        }
        office.allow(&["ann", "bob"]);
        office
    }

    pub fn allow(&self, names: &[&str]) {
        let line = |name: &&str| format!("{name}@example.org namespaces=\"{NAMESPACE}\" {}", self.public(name));
        fs::write(self.path("allowed_signers"), names.iter().map(line).collect::<String>()).unwrap();
    }

    pub fn public(&self, name: &str) -> String {
        fs::read_to_string(self.path(&format!("{name}.pub"))).unwrap()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.house.folder.path().join(name)
    }

    pub fn key(&self, name: &str) -> PathBuf {
        self.path(name)
    }

    /// `failover COMMAND eth-0 --yes --key NAME --reason …`.
    pub fn signs(&self, command: &str, name: &str, more: &[&str]) -> Ended {
        let key = self.key(name).display().to_string();
        let first = [command, "eth-0", "--yes", "--key", &key, "--reason", "a test"];
        self.house.run(&[&first[..], more].concat())
    }

    pub fn ledger(&self) -> LedgerSqlite {
        LedgerSqlite::open(&self.path("ledger.sqlite")).unwrap()
    }

    /// Everything that is in the ledger.
    pub async fn dump(&self) -> Vec<(String, Vec<u8>)> {
        let ledger = self.ledger();
        let mut all = Vec::new();
        for key in ledger.list("", None).await.unwrap() {
            let stored = ledger.get(&key).await.unwrap().unwrap();
            all.push((key, stored.bytes));
        }
        all
    }

    pub async fn set(&self, key: &str, bytes: Vec<u8>) {
        let ledger = self.ledger();
        let expect = match ledger.get(key).await.unwrap() {
            Some(stored) => Expect::Version(stored.version),
            None => Expect::Absent,
        };
        ledger.put(key, bytes, expect).await.unwrap();
    }

    pub async fn ledger_bytes(&self, key: &str) -> Vec<u8> {
        self.ledger().get(key).await.unwrap().unwrap().bytes
    }

    pub async fn remove(&self, key: &str) {
        let ledger = self.ledger();
        let stored = ledger.get(key).await.unwrap().unwrap();
        ledger.remove(key, &stored.version).await.unwrap();
    }

    pub async fn grant(&self) -> SignedGrant {
        let stored = self.ledger().get(&LedgerKey::owner(&eth())).await.unwrap().unwrap();
        SignedGrant::parse(&stored.bytes).unwrap()
    }

    pub async fn session(&self) -> Session {
        let key = LedgerKey::session(&eth());
        let stored = self.ledger().get(&key).await.unwrap().unwrap();
        records::decode(&key, &stored.bytes).unwrap()
    }

    pub async fn set_session(&self, session: &Session) {
        let key = LedgerKey::session(&eth());
        self.set(&key, records::encode(&key, session)).await;
    }

    /// A grant as somebody signs it beside the program.
    pub fn signed(&self, name: &str, grant: Grant) -> SignedGrant {
        let signature = sign(&self.key(name), NAMESPACE, &grant.bytes());
        SignedGrant { grant, signature }
    }

    /// Puts such a grant into force, and the session beside it.
    pub async fn put(&self, owner: GrantPlace, number: u64) -> SignedGrant {
        let signed = self.signed("ann", grant(owner, number));
        self.set(&LedgerKey::owner(&eth()), signed.bytes()).await;
        self.set_session(&Session::free(number, Uuid::new_v4())).await;
        signed
    }
}

pub fn grant(owner: GrantPlace, number: u64) -> Grant {
    Grant {
        validator: eth(),
        chain: ROOT.into(),
        owner,
        number,
        previous: None,
        issued_at: Time::UNIX_EPOCH,
        by: "ann@example.org".into(),
        reason: "a test".into(),
        evidence: None,
    }
}

pub fn sign(key: &Path, namespace: &str, bytes: &[u8]) -> String {
    let mut child = Command::new("ssh-keygen")
        .args(["-q", "-Y", "sign", "-n", namespace, "-f"])
        .arg(key)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(bytes).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}
