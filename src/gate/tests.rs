//! The two loops in paused time, against a bucket that fails in chosen ways.

mod cloud;
mod fakes;
mod faults;
mod found;
mod grants;
mod home;
mod home_silence;
mod home_starts;
mod home_waits;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::{
    rand::SystemRandom,
    signature::{Ed25519KeyPair, KeyPair as _},
};
use sha2::{Digest as _, Sha512};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    home::{HomeLoop, HomeSettings},
    state::{GateParts, first_status},
};
use crate::{
    domain::{
        LedgerKey, Time, ValidatorId,
        gate::{GatePhase, GateStatus, WaitKind},
        ownership::{AllowedSigners, Grant, GrantPlace, NAMESPACE, OnLedgerLoss, Session, SignedGrant},
    },
    ports::Duties,
    records,
};
use fakes::{Bucket, Clocks, FakeChild, FakeDuties, Folder, Link};

const CHAIN: &str = "0x9143aa7c615a7f7115e2b6aac319c03529df8242ae705fba9df39b79c59fa8b1";
const TTL: Duration = Duration::from_secs(6 * 3600);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

fn eth_0() -> ValidatorId {
    ValidatorId::new("eth-0").unwrap()
}

fn at_home() -> GrantPlace {
    GrantPlace::Home { site: "home".into() }
}

fn in_cloud(boot: &str) -> GrantPlace {
    GrantPlace::Cloud { project: "p".into(), zone: "z".into(), instance_id: 7.into(), boot_id: boot.into() }
}

/// Somebody who signs grants.
struct Signatory(Ed25519KeyPair);

impl Signatory {
    fn new() -> Self {
        let key = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self(Ed25519KeyPair::from_pkcs8(key.as_ref()).unwrap())
    }

    fn key(&self) -> Vec<u8> {
        [text(b"ssh-ed25519"), text(self.0.public_key().as_ref())].concat()
    }

    fn allowed(&self) -> AllowedSigners {
        AllowedSigners::parse(&format!("op@example.org ssh-ed25519 {}", STANDARD.encode(self.key()))).unwrap()
    }

    fn sign(&self, grant: Grant) -> SignedGrant {
        let digest = Sha512::digest(grant.bytes());
        let parts = [text(NAMESPACE.as_bytes()), text(b""), text(b"sha512")].concat();
        let signature = self.0.sign(&[b"SSHSIG".to_vec(), parts.clone(), text(&digest)].concat());
        let signature = [text(b"ssh-ed25519"), text(signature.as_ref())].concat();
        let start = [b"SSHSIG".to_vec(), 1_u32.to_be_bytes().to_vec(), text(&self.key())].concat();
        let blob = STANDARD.encode([start, parts, text(&signature)].concat());
        let signature = format!("-----BEGIN SSH SIGNATURE-----\n{blob}\n-----END SSH SIGNATURE-----\n");
        SignedGrant { grant, signature }
    }
}

fn text(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

fn grant(number: u64, owner: GrantPlace) -> Grant {
    Grant {
        validator: eth_0(),
        chain: CHAIN.into(),
        owner,
        number,
        previous: None,
        issued_at: Time::UNIX_EPOCH,
        by: "op@example.org".into(),
        reason: "a test".into(),
        evidence: None,
    }
}

/// One validator, its ledger and its chain.
struct World {
    base: Instant,
    bucket: Arc<Bucket>,
    signatory: Signatory,
    signers: Arc<Mutex<Result<AllowedSigners, String>>>,
    duties: Arc<FakeDuties>,
    family: Arc<Mutex<Vec<FakeChild>>>,
    twice: Arc<Mutex<Vec<String>>>,
}

impl World {
    /// With grant 8 for home and a session that nobody holds.
    fn new() -> Self {
        let world = Self::empty(Bucket::default());
        world.grant(8, at_home());
        world.set_session(&Session::free(8, Uuid::nil()));
        world
    }

    fn empty(bucket: Bucket) -> Self {
        let (base, signatory) = (Instant::now(), Signatory::new());
        let signers = Arc::new(Mutex::new(Ok(signatory.allowed())));
        let (family, twice) = (Arc::default(), Arc::default());
        Self { base, bucket: Arc::new(bucket), signatory, signers, duties: FakeDuties::new(base), family, twice }
    }

    fn grant(&self, number: u64, owner: GrantPlace) {
        self.grant_at(number, owner, Time::UNIX_EPOCH);
    }

    fn grant_at(&self, number: u64, owner: GrantPlace, issued_at: Time) {
        let signed = self.signatory.sign(Grant { issued_at, ..grant(number, owner) });
        self.bucket.set(&LedgerKey::owner(&eth_0()), signed.bytes());
    }

    fn set_session(&self, session: &Session) {
        let key = LedgerKey::session(&eth_0());
        self.bucket.set(&key, records::encode(&key, session));
    }

    fn session(&self) -> Session {
        let key = LedgerKey::session(&eth_0());
        records::decode(&key, &self.bucket.get(&key).unwrap().bytes).unwrap()
    }

    /// As an operator does who promotes.
    fn raise(&self, number: u64) {
        self.set_session(&self.session().raised_to(number, Uuid::new_v4()));
    }

    fn home(&self, holder: u128) -> House {
        House {
            holder: Uuid::from_u128(holder),
            resumes: true,
            ttl: TTL,
            on_loss: OnLedgerLoss::Stop,
            check: false,
            clocks: Clocks::new(self.base, 1_000_000),
            folder: Arc::default(),
            link: Link::new(&self.bucket),
        }
    }
}

/// Where a gate runs at home: what survives its process.
#[derive(Clone)]
struct House {
    holder: Uuid,
    resumes: bool,
    ttl: Duration,
    on_loss: OnLedgerLoss,
    /// Whether the duty check is on.
    check: bool,
    clocks: Clocks,
    folder: Arc<Folder>,
    link: Arc<Link>,
}

impl House {
    fn with_check(self) -> Self {
        Self { check: true, ..self }
    }

    fn start(&self, world: &World) -> Running {
        let settings = HomeSettings {
            validator: eth_0(),
            chain: CHAIN.into(),
            site: "home".into(),
            holder: self.holder,
            resumes: self.resumes,
            gate_ttl: self.ttl,
            stop_grace: MINUTE,
            on_ledger_loss: self.on_loss,
            allow_untouched: false,
        };
        let child = FakeChild::new(&self.clocks, &world.family, &world.twice);
        let (status, watched) = watch::channel(first_status(eth_0(), "home", fakes::start()));
        let duties = self.check.then(|| world.duties.clone() as Arc<dyn Duties>);
        let parts = GateParts {
            duties,
            memory: Box::new(self.folder.clone()),
            raw: self.clocks.raw(),
            clock: Arc::new(self.clocks.clone()),
            status,
        };
        let signers = world.signers.clone();
        let signers = Box::new(move || signers.lock().unwrap().clone());
        let gate = HomeLoop::new(settings, self.link.clone(), Box::new(child.clone()), signers, parts);
        Running::new(child, watched, |cancel| tokio::spawn(gate.run(cancel)))
    }
}

/// A gate's process.
struct Running {
    child: FakeChild,
    status: watch::Receiver<GateStatus>,
    cancel: CancellationToken,
    task: JoinHandle<u8>,
}

impl Running {
    fn new(
        child: FakeChild,
        status: watch::Receiver<GateStatus>,
        run: impl FnOnce(CancellationToken) -> JoinHandle<u8>,
    ) -> Self {
        let cancel = CancellationToken::new();
        let task = run(cancel.clone());
        Self { child, status, cancel, task }
    }

    fn status(&self) -> GateStatus {
        self.status.borrow().clone()
    }

    /// Why it waits.
    fn waits(&self) -> (WaitKind, String) {
        match self.status().state {
            GatePhase::Waiting { why, kind, .. } => (kind, why),
            other => panic!("it does not wait: {other:?}"),
        }
    }

    fn waits_until(&self) -> Option<Time> {
        match self.status().state {
            GatePhase::Waiting { until, .. } => until,
            other => panic!("it does not wait: {other:?}"),
        }
    }

    fn runs(&self) -> bool {
        self.child.runs()
    }

    fn starts(&self) -> usize {
        self.child.log.lock().unwrap().starts.len()
    }

    /// As `kill -9` of gate, keeper and child.
    fn kill(self) {
        self.task.abort();
        self.child.end(super::child::ChildEnd::Signalled(9));
    }

    /// As SIGTERM to the gate.
    async fn terminate(self) -> u8 {
        self.cancel.cancel();
        self.task.await.unwrap()
    }

    async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let limit = Instant::now() + 48 * 60 * MINUTE;
        while !holds(self) {
            assert!(!self.task.is_finished() || holds(self), "{what}: it has ended");
            assert!(Instant::now() < limit, "{what}: {:?}", self.status());
            sleep(SECOND / 4).await;
        }
    }

    async fn until_it_runs(&self) {
        self.until("the start", Self::runs).await;
        // The status follows.
        sleep(SECOND / 4).await;
        assert!(matches!(self.status().state, GatePhase::Running { .. }), "{:?}", self.status());
    }
}
