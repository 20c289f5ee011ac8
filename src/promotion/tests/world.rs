//! The world that everybody shares: the records, the machine, home and its gate, in paused time. What must never happen
//! is looked for at every change.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use futures::{FutureExt as _, future::BoxFuture};
use tokio::time::Instant;
use uuid::Uuid;

use super::signatory::TestSigner;
use crate::{
    domain::{
        GRANT_KEY, IncidentId, InstanceRef, LedgerKey, MachinePower, MachineShape, PROMOTED_KEY, Report, RunLimit,
        Rung, ShapeStep, Span, Time, TimeExt as _, ValidatorId,
        ownership::{Grant, GrantPlace, OnLedgerLoss, Session, SignedGrant},
        promotion::PromotionRecord,
        record::{Case, Incident, Stage, Standby, Validator},
    },
    ports::{Clock, Expect, PutError, Stored, Version},
    records,
    runtime::{
        grants::{promotion_of, session_of},
        store,
    },
};

pub const CHAIN: &str = "0x4b363db94e286120d76eb905340fdd4e54bfe9f06bf33ff6cf5ad27f511bfe95";
pub const VARIABLES: &str = r#"{"promoted": {}}"#;
pub const TTL: Duration = Duration::from_mins(10);
const RENEWED_EVERY: Duration = Duration::from_mins(2);

pub fn validator() -> ValidatorId {
    ValidatorId::new("eth-0").unwrap()
}

pub fn instance() -> InstanceRef {
    InstanceRef { zone: "z".into(), name: "fo-eth-0".into(), id: 7.into() }
}

pub fn at_home() -> GrantPlace {
    GrantPlace::Home { site: "home".into() }
}

#[derive(Clone)]
pub struct TestClock(pub Instant);

impl TestClock {
    pub fn raw(&self) -> Duration {
        Duration::from_hours(1) + self.0.elapsed()
    }
}

impl Clock for TestClock {
    fn now(&self) -> Time {
        Time::UNIX_EPOCH.plus(Span::from_hours(24 * 300)).plus(Span::try_from(self.0.elapsed()).unwrap())
    }

    fn sleep_until(&self, at: Time) -> BoxFuture<'static, ()> {
        let left = at.duration_since(self.now());
        tokio::time::sleep(left.try_into().unwrap_or_default()).boxed()
    }
}

pub struct TestWorld {
    pub clock: TestClock,
    pub signer: Arc<TestSigner>,
    state: Mutex<State>,
}

pub struct State {
    records: BTreeMap<String, (Stored, Instant)>,
    versions: u64,
    pub machine: Option<TestMachine>,
    /// The gate at home reaches the ledger.
    pub home_up: bool,
    holder: Option<Uuid>,
    /// What it started may sign.
    home_signs: bool,
    home_wrote: Instant,
    pub keys_moved: bool,
    pub chain_says: bool,
    pub no_capacity: bool,
    /// The gates do not get the machine's report after the raise.
    pub hides_report: bool,
    /// With two operators a late act of one may undo what the other did, for a moment.
    pub two_people: bool,
    pub broken: Vec<String>,
    /// Writes to `owners/`.
    pub commits: usize,
}

#[derive(Clone)]
pub struct TestMachine {
    pub shape: MachineShape,
    boots: u32,
    booted: Instant,
    /// The last report of a boot stays where it is.
    last_report: Option<Report>,
    pub suspended: bool,
}

impl TestMachine {
    pub fn boot(&self) -> String {
        format!("boot-{}", self.boots)
    }

    fn runs(&self) -> bool {
        self.shape.power == MachinePower::Running
    }

    /// Synced some minutes after each boot.
    pub fn report(&self) -> Option<Report> {
        if !self.runs() {
            return self.last_report.clone();
        }
        let up = self.booted.elapsed();
        if up < Duration::from_mins(1) {
            return self.last_report.clone();
        }
        Some(Report {
            boot_id: self.boot(),
            counter: up.as_secs() / 30,
            progress_percent: 100,
            stage: "following the chain".into(),
            synced: up >= Duration::from_mins(4),
            promoted: self.shape.metadata.get(PROMOTED_KEY).is_some_and(Option::is_some),
            ..Report::default()
        })
    }
}

pub fn standby_shape() -> MachineShape {
    MachineShape {
        name: instance().name,
        power: MachinePower::Running,
        deletion_protection: false,
        run_limit: Some(RunLimit::After(Span::from_hours(72))),
        auto_delete: [("boot".to_owned(), true), ("chaindata".to_owned(), true)].into(),
        role: Some("standby".into()),
        ssh_tag: false,
        metadata: BTreeMap::new(),
    }
}

impl TestWorld {
    /// Home signs by grant 4, the standby is ready.
    pub fn new() -> Arc<Self> {
        let signer = TestSigner::new();
        let now = Instant::now();
        let machine = TestMachine {
            shape: standby_shape(),
            boots: 1,
            booted: now.checked_sub(Duration::from_hours(9)).unwrap_or(now),
            last_report: None,
            suspended: false,
        };
        let state = State {
            records: BTreeMap::new(),
            versions: 0,
            machine: Some(machine),
            home_up: true,
            holder: None,
            home_signs: false,
            home_wrote: now,
            keys_moved: false,
            chain_says: true,
            no_capacity: false,
            hides_report: false,
            two_people: false,
            broken: Vec::new(),
            commits: 0,
        };
        let world = Arc::new(Self { clock: TestClock(now), signer, state: Mutex::new(state) });
        let first = world.signer.sign(4, at_home(), None);
        world.set(&LedgerKey::owner(&validator()), first.bytes());
        let session = Session::free(4, Uuid::new_v4());
        let key = LedgerKey::session(&validator());
        world.set(&key, records::encode(&key, &session));
        let key = LedgerKey::validator(&validator());
        let envelope = store::Envelope {
            form: store::FORM,
            ledger: Uuid::nil(),
            written_at: world.clock.now(),
            token: 1,
            write_id: Uuid::nil(),
            validator: watched(world.clock.now()),
        };
        world.set(&key, records::encode(&key, &envelope));
        world.gate_looks();
        world.state().broken.clear();
        assert!(world.state().home_signs, "home runs");
        world
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub fn set(&self, key: &str, bytes: Vec<u8>) {
        let expect = self.get(key).map_or(Expect::Absent, |stored| Expect::Version(stored.version));
        self.put(key, bytes, &expect).unwrap();
    }

    pub fn get(&self, key: &str) -> Option<Stored> {
        self.state().records.get(key).map(|(stored, _)| stored.clone())
    }

    pub fn age(&self, key: &str, version: &Version) -> Option<Duration> {
        let state = self.state();
        let (stored, at) = state.records.get(key)?;
        (stored.version == *version).then(|| at.elapsed())
    }

    pub fn put(&self, key: &str, bytes: Vec<u8>, expect: &Expect) -> Result<Version, PutError> {
        let mut state = self.state();
        let found = state.records.get(key).map(|(stored, _)| stored.clone());
        let expected = match expect {
            Expect::Absent => None,
            Expect::Version(version) => Some(version),
        };
        if found.as_ref().map(|stored| &stored.version) != expected {
            return Err(PutError::Conflict { found });
        }
        state.versions += 1;
        let version = Version(state.versions.to_string());
        let stored = Stored { bytes, version: version.clone() };
        state.records.insert(key.to_owned(), (stored, Instant::now()));
        if key == LedgerKey::owner(&validator()).to_string() {
            state.commits += 1;
            state.committed();
        }
        state.look();
        Ok(version)
    }

    pub fn keys(&self, prefix: &str) -> Vec<String> {
        self.state().records.keys().filter(|key| key.starts_with(prefix)).cloned().collect()
    }

    pub fn record(&self) -> Option<PromotionRecord> {
        self.state().record()
    }

    pub fn grant(&self) -> Grant {
        self.state().grant()
    }

    /// What the gate at home does every few seconds, by the same rules as the real one.
    pub fn gate_looks(&self) {
        let (grant, session, holder, up) = {
            let mut state = self.state();
            let ttl_over = state.home_wrote.elapsed() >= TTL;
            if ttl_over {
                // It has not been confirmed: it stops by itself.
                state.home_signs = false;
            }
            (state.grant(), state.session(), state.holder, state.home_up)
        };
        if !up {
            return;
        }
        let now = self.clock.now();
        let write = Uuid::new_v4();
        let is_mine = holder.is_some() && session.holder == holder;
        let may = grant.owner == at_home() && session.number <= grant.number;
        let due = self.state().home_wrote.elapsed() >= RENEWED_EVERY;
        let next = match (is_mine, may) {
            (true, true) if !due => return,
            (true, true) => session.held_by(holder.unwrap(), OnLedgerLoss::Stop, TTL, now, write),
            (true, false) => {
                self.state().home_signs = false;
                session.given_back(now, write)
            }
            (false, true) if session.is_free(self.state().session_age()) => {
                session.held_by(Uuid::new_v4(), OnLedgerLoss::Stop, TTL, now, write)
            }
            (false, _) => {
                self.state().home_signs = false;
                return;
            }
        };
        let key = LedgerKey::session(&validator());
        let stored = self.get(&key).unwrap();
        if self.put(&key, records::encode(&key, &next), &Expect::Version(stored.version)).is_ok() {
            let mut state = self.state();
            state.home_wrote = Instant::now();
            (state.home_signs, state.holder) = (may, next.holder.or(holder));
            state.look();
        }
    }

    /// As the cloud does it: some of it of a stopped machine only. `false`: it has nothing to start it on.
    pub fn change(&self, step: &ShapeStep) -> bool {
        let mut state = self.state();
        let no_capacity = state.no_capacity;
        let Some(machine) = &mut state.machine else { return true };
        if machine.shape.has(step) {
            return true;
        }
        assert!(!step.needs_stop() || machine.shape.power == MachinePower::Terminated, "{step} of a machine that runs");
        match step {
            ShapeStep::Protect(on) => machine.shape.deletion_protection = *on,
            ShapeStep::Stop => {
                machine.last_report = machine.report();
                machine.shape.power = MachinePower::Terminated;
            }
            ShapeStep::Limit(limit) => machine.shape.run_limit = limit.clone(),
            ShapeStep::AutoDelete { device, on } => {
                machine.shape.auto_delete.insert(device.clone(), *on);
            }
            ShapeStep::Role(role) => machine.shape.role = role.clone(),
            ShapeStep::SshTag(on) => machine.shape.ssh_tag = *on,
            ShapeStep::Metadata(items) => {
                for (key, value) in items {
                    machine.shape.metadata.insert(key.clone(), value.clone());
                }
                machine.shape.metadata.retain(|_, value| value.is_some());
            }
            ShapeStep::Rename(name) => machine.shape.name = name.clone(),
            ShapeStep::Start if no_capacity => return false,
            ShapeStep::Start => {
                machine.shape.power = MachinePower::Running;
                machine.boots += 1;
                machine.booted = Instant::now();
            }
        }
        state.look();
        true
    }
}

impl State {
    fn text(&self, key: &LedgerKey) -> Option<&Stored> {
        self.records.get::<str>(key).map(|(stored, _)| stored)
    }

    fn record(&self) -> Option<PromotionRecord> {
        let stored = self.text(&LedgerKey::promotion(&validator()))?;
        Some(promotion_of(&validator(), &stored.bytes).unwrap())
    }

    fn grant(&self) -> Grant {
        SignedGrant::parse(&self.text(&LedgerKey::owner(&validator())).unwrap().bytes).unwrap().grant
    }

    pub fn session(&self) -> Session {
        session_of(&validator(), &self.text(&LedgerKey::session(&validator())).unwrap().bytes).unwrap()
    }

    fn session_age(&self) -> Duration {
        self.records.get::<str>(&LedgerKey::session(&validator())).unwrap().1.elapsed()
    }

    pub fn home_signs(&self) -> bool {
        self.home_signs && self.home_wrote.elapsed() < TTL
    }

    /// The gate there has the grant of this boot.
    pub fn cloud_signs(&self) -> bool {
        let Some(machine) = self.machine.as_ref().filter(|machine| machine.runs()) else { return false };
        let carried = machine.shape.metadata.get(GRANT_KEY).and_then(Option::as_deref);
        carried.and_then(|text| SignedGrant::parse(text.as_bytes()).ok()).is_some_and(|signed| {
            matches!(&signed.grant.owner, GrantPlace::Cloud { instance_id, boot_id, .. }
                if *instance_id == instance().id && *boot_id == machine.boot())
        })
    }

    /// A grant has just come into force.
    fn committed(&mut self) {
        let (grant, session) = (
            self.grant(),
            match self.text(&LedgerKey::session(&validator())) {
                Some(_) => self.session(),
                None => return,
            },
        );
        if grant.owner != at_home() {
            let is_fenced = session.number >= grant.number && !self.home_signs();
            if !is_fenced {
                self.broken.push(format!("grant {} came into force without the fence", grant.number));
            }
        }
    }

    /// What must never be.
    fn look(&mut self) {
        if self.home_signs() && self.cloud_signs() {
            self.broken.push("TWO SIGNERS".into());
        }
        let is_clouds = self.text(&LedgerKey::owner(&validator())).is_some() && self.grant().owner != at_home();
        let is_open = self.record().is_some_and(|record| record.state.is_open());
        if let Some(machine) = &self.machine {
            let protected = machine.shape.deletion_protection;
            if is_clouds && !protected && !self.two_people {
                self.broken.push("the machine has the grant and can be deleted".into());
            }
            if protected && !is_clouds && !is_open && self.record().is_none() {
                self.broken.push("a protected machine that no record names".into());
            }
        }
    }
}

fn watched(now: Time) -> Validator {
    let id = IncidentId::derive(&validator(), now);
    let rung = Rung { zone: "z".into(), machine_type: "t".into() };
    let mut standby = Standby::new(instance(), rung, now);
    standby.ready = true;
    let incident = Incident::new(id, now, "home is dark".into());
    let case = Case { incident, stage: Stage::Standing(standby), attention: None };
    Validator { case: Some(case), ..Validator::default() }
}

pub fn seen_by_the_watcher(world: &TestWorld) -> Validator {
    watched(world.clock.now())
}
