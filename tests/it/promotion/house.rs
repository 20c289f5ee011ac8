//! One validator at home and its standby in the cloud.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use failover::{
    adapters::{clock::SystemClock, ledger_sqlite::LedgerSqlite},
    domain::{
        ChainHealth, ChainView, ClockOffset, InstanceRef, Interval, KeyStates, LedgerKey, Report, Rung, Span, Time,
        TimeExt as _,
        gates::{DutyEpochs, FenceFacts, GateEvidence, MissedDuties, SilentEpochs},
        ownership::{Grant, GrantPlace, OnLedgerLoss, Session, SignedGrant},
        promotion::{PromotionOrder, PromotionRecord},
        record::{Case, Incident, Stage, Standby, Validator},
    },
    ports::{Expect, Ledger, Machines, Scope},
    promotion::{
        GateContext, GrantDraft, GrantSigner, GrantSigning, MadeWatermark, PromotionDeps, PromotionError,
        PromotionEvidence, PromotionExecutor, PromotionOutcome, PromotionProgress, PromotionTask, PromotionWay,
    },
    raw_clock, records,
    runtime::{
        grants::{GrantRules, promotion_of, session_of},
        store,
    },
    sandbox::Then,
};
use uuid::Uuid;

use crate::{
    compute::{Rig, ZONES, created, gce_with, incident, rig},
    grants::rig::{Office, ROOT, eth},
};

pub const VARIABLES: &str = r#"{"promoted": {}}"#;
const TTL: Duration = Duration::from_secs(3600);
const EPOCH: Span = Span::from_secs(384);

pub struct House {
    pub rig: Arc<Rig>,
    pub instance: InstanceRef,
    pub first_boot: String,
    office: Arc<Office>,
    ledger: Arc<LedgerSqlite>,
    progress: Mutex<Vec<PromotionProgress>>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Drop for House {
    fn drop(&mut self) {
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

impl House {
    /// `None` without `ssh-keygen`.
    pub async fn new() -> Option<Self> {
        let office = Arc::new(Office::new()?);
        let fake = rig().await.fake;
        // Nothing here is about time, and the machine may be busy.
        let gce = gce_with(&fake, "home", |config| config.call_timeout = Duration::from_secs(30)).await;
        let rig = Arc::new(Rig { fake, gce });
        let instance = created(&rig).await;
        office.put(GrantPlace::Home { site: "home".into() }, 1).await;
        let ledger = Arc::new(office.ledger());
        let now = Time::now();
        let mut standby = Standby::new(instance.clone(), rung(), now);
        standby.ready = true;
        let incident = Incident::new(incident(), now, "home is dark".into());
        let case = Case { incident, stage: Stage::Standing(standby), attention: None };
        let key = LedgerKey::validator(&eth());
        let envelope = store::Envelope {
            form: store::FORM,
            ledger: Uuid::nil(),
            written_at: now,
            token: 1,
            write_id: Uuid::nil(),
            validator: Validator { case: Some(case), ..Validator::default() },
        };
        office.set(&key, records::encode(&key, &envelope)).await;
        let (agents, gates) = (rig.clone(), ledger.clone());
        let tasks = vec![tokio::spawn(agent(agents)), tokio::spawn(gate(gates))];
        let progress = Mutex::default();
        let house = Self { rig, instance, first_boot: String::new(), office, ledger, progress, tasks };
        house.until_home_signs().await;
        Some(Self::booted(house))
    }

    fn booted(mut house: Self) -> Self {
        house.first_boot = boot(&house.rig);
        house
    }

    pub async fn walk(&self, way: PromotionWay) -> Result<PromotionOutcome, PromotionError> {
        let rules = GrantRules {
            allowed_signers: Some(self.office.path("allowed_signers")),
            allow_untouched: false,
            chains: [(eth(), ROOT.to_owned())].into(),
        };
        let evidence = Fine { rig: self.rig.clone() };
        let signer = Ann(self.office.clone());
        let report = |progress: &PromotionProgress| self.progress.lock().unwrap().push(progress.clone());
        let deps = PromotionDeps {
            ledger: &*self.ledger,
            rules: &rules,
            cloud: &self.rig.gce,
            evidence: &evidence,
            signer: &signer,
            clock: &SystemClock,
            raw: &raw_clock::now,
            report: &report,
            site: "home",
            project: "home-failover",
            variables: VARIABLES,
            look_every: Duration::from_millis(20),
        };
        let order = PromotionOrder {
            validator: eth(),
            by: "ann@example.org".into(),
            reason: "home is dark".into(),
            until: None,
            statement: None,
            overrides: Vec::new(),
            signs_nothing: false,
            forges: false,
        };
        let mut executor = PromotionExecutor::new(deps, PromotionTask { way, order });
        let ended = tokio::time::timeout(Duration::from_secs(120), executor.run()).await;
        ended.unwrap_or_else(|_| panic!("it waits: {:#?}", self.said()))
    }

    /// Whether it came so far. The request arrives nowhere, and the program ends.
    pub async fn killed_at(&self, at: usize, way: PromotionWay) -> bool {
        let (seen, cut) = (AtomicUsize::new(0), Arc::new(tokio::sync::Notify::new()));
        let signal = cut.clone();
        self.rig.fake.on_request(Box::new(move |_, _| {
            if seen.fetch_add(1, Ordering::SeqCst) < at {
                return Then::Handle;
            }
            signal.notify_one();
            Then::Lose
        }));
        let was_cut = tokio::select! {
            biased;
            () = cut.notified() => true,
            _ = self.walk(way) => false,
        };
        self.rig.fake.on_request(Box::new(|_, _| Then::Handle));
        was_cut
    }

    pub fn said(&self) -> Vec<String> {
        self.progress.lock().unwrap().iter().map(|progress| progress.text.clone()).collect()
    }

    pub async fn grant(&self) -> SignedGrant {
        self.office.grant().await
    }

    pub async fn copy(&self, number: u64) -> Vec<u8> {
        self.office.ledger_bytes(&LedgerKey::owner_history(&eth(), number)).await
    }

    pub async fn session(&self) -> Session {
        self.office.session().await
    }

    pub async fn record(&self) -> Option<PromotionRecord> {
        let stored = self.ledger.get(&LedgerKey::promotion(&eth())).await.unwrap()?;
        Some(promotion_of(&eth(), &stored.bytes).unwrap())
    }

    pub async fn until_home_signs(&self) {
        let held = async {
            while self.session().await.holder.is_none() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), held).await.expect("home takes its session");
    }
}

fn rung() -> Rung {
    Rung { zone: ZONES[0].into(), machine_type: "n2-standard-8".into() }
}

/// Its last start names the boot.
fn boot(rig: &Rig) -> String {
    rig.fake.machines()[0].json["lastStartTimestamp"].as_str().unwrap_or_default().to_owned()
}

async fn agent(rig: Arc<Rig>) {
    for counter in 1.. {
        tokio::time::sleep(Duration::from_millis(5)).await;
        let Some(machine) = rig.fake.machines().into_iter().next() else { return };
        if machine.status() == "RUNNING" {
            let promoted = machine.metadata().any(|(key, _)| key == failover::domain::PROMOTED_KEY);
            let boot_id = boot(&rig);
            let report = Report { boot_id, counter, synced: true, promoted, ..Report::default() };
            rig.fake.report(&machine.name, &report);
        }
    }
}

/// By the rules of the real one; its child starts and stops at once.
async fn gate(ledger: Arc<LedgerSqlite>) {
    let mine = Uuid::new_v4();
    loop {
        tokio::time::sleep(Duration::from_millis(10)).await;
        let key = LedgerKey::session(&eth());
        let (Ok(Some(owner)), Ok(Some(stored))) = (ledger.get(&LedgerKey::owner(&eth())).await, ledger.get(&key).await)
        else {
            continue;
        };
        let grant = SignedGrant::parse(&owner.bytes).unwrap().grant;
        let session = session_of(&eth(), &stored.bytes).unwrap();
        let may = matches!(grant.owner, GrantPlace::Home { .. }) && session.number <= grant.number;
        let write = Uuid::new_v4();
        let next = match (session.holder, may) {
            (None, true) => session.held_by(mine, OnLedgerLoss::Stop, TTL, Time::now(), write),
            (Some(_), false) => session.given_back(Time::now(), write),
            (None, false) | (Some(_), true) => continue,
        };
        let _ = ledger.put(&key, records::encode(&key, &next), Expect::Version(stored.version)).await;
    }
}

struct Ann(Arc<Office>);

#[async_trait]
impl GrantSigner for Ann {
    async fn sign(&self, draft: &GrantDraft) -> Result<GrantSigning, String> {
        let grant = crate::grants::rig::grant(draft.owner.clone(), draft.number);
        let grant = Grant { previous: Some(draft.previous.clone()), ..grant };
        Ok(GrantSigning::Signed(self.0.signed("ann", grant).into()))
    }
}

/// Every gate passes by it.
struct Fine {
    rig: Arc<Rig>,
}

#[async_trait]
impl PromotionEvidence for Fine {
    fn saw_ready(&self, _: Option<&str>, _: Duration) {}

    async fn gates(&self, known: &GateContext<'_>) -> GateEvidence {
        let now = Time::now();
        let rig = &self.rig;
        let machines = rig.gce.find(&Scope::Validator(eth())).await.ok();
        let about = Interval { from: now.minus(EPOCH * 9), to: now };
        let mut standby = Standby::new(machines.as_ref().unwrap()[0].instance.clone(), rung(), now);
        standby.ready = true;
        let observed = rig.gce.observe(&standby.instance).await.ok().flatten();
        let incident = Incident::new(incident(), now, String::new());
        let case = Case { incident, stage: Stage::Standing(standby), attention: None };
        GateEvidence {
            record: Some(Validator { case: Some(case), ..Validator::default() }),
            machines,
            report: observed.and_then(|seen| seen.written.report().cloned()),
            keys: Some(KeyStates { active: 1, ..KeyStates::default() }),
            chain: ChainView { health: ChainHealth::Finalising, ..ChainView::default() },
            ready_epochs: Some(9),
            silent_outside: Some(SilentEpochs { count: 9, last: 9, nodes: 2, about, each: EPOCH }),
            missed: Some(MissedDuties { epochs: 3, made: 0, missed: 9, control_made: true }),
            fence: Some(FenceFacts {
                session: known.session.cloned(),
                silent: known.silent,
                number: known.record.map_or(0, |record| record.number),
                cloud: Vec::new(),
                duties: Some(DutyEpochs { known: Span::from_hours(48), epochs: 450, with: Vec::new() }),
                records_for: Span::from_hours(24),
                behind_gate: Some(true),
            }),
            clock_offset: Some(ClockOffset { least_ms: 0, most_ms: 0 }),
            ..GateEvidence::default()
        }
    }

    async fn is_chain_fine(&self) -> bool {
        true
    }

    async fn watermark(&self, epoch: Option<u64>) -> Result<MadeWatermark, String> {
        let epoch = epoch.unwrap_or(11);
        Ok(MadeWatermark { epoch, bytes: format!("watermark of {epoch}").into_bytes() })
    }

    async fn duty_since(&self, _: &Grant) -> Option<Time> {
        None
    }
}
