//! One operator's program: its ways to the ledger and to the cloud, which can be cut or killed at any call.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use tokio::sync::Notify;

use super::{
    evidence::TestEvidence,
    world::{TestWorld, VARIABLES, instance, validator},
};
use crate::{
    domain::{
        ActionId, CreateOutcome, InstanceRef, LedgerKey, Machine, MachinePower, MachineShape, MachineState, Role,
        ShapeStep, Span, StandbySpec, promotion::PromotionOrder,
    },
    ports::{
        CloudError, Expect, Ledger, LedgerError, Machines, Observed, PromotionMachines, PutError, Scope, ShapeError,
        StepProgress, StepState, Stored, Unpromoted, Version,
    },
    promotion::{
        PromotionDeps, PromotionError, PromotionExecutor, PromotionOutcome, PromotionProgress, PromotionTask,
        PromotionWay,
    },
};

/// Whether the call at which a program dies has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    Before,
    After,
}

pub struct Hand {
    pub world: Arc<TestWorld>,
    /// Calls that change something, and from `counts_reads` on the others as well.
    calls: AtomicUsize,
    dies_at: Option<(usize, Death)>,
    counts_reads: bool,
    dead: Notify,
    /// From this call on so many fail, each as if nothing were connected.
    cut: Option<(usize, usize)>,
    owner_read: Mutex<Option<Version>>,
    pub progress: Mutex<Vec<PromotionProgress>>,
}

impl Hand {
    pub fn new(world: &Arc<TestWorld>) -> Self {
        Self {
            world: world.clone(),
            calls: AtomicUsize::new(0),
            dies_at: None,
            counts_reads: false,
            dead: Notify::new(),
            cut: None,
            owner_read: Mutex::default(),
            progress: Mutex::default(),
        }
    }

    pub fn dying(world: &Arc<TestWorld>, at: usize, death: Death, counts_reads: bool) -> Self {
        Self { dies_at: Some((at, death)), counts_reads, ..Self::new(world) }
    }

    /// So many calls fail from this one on.
    pub fn cut(world: &Arc<TestWorld>, from: usize, calls: usize) -> Self {
        Self { cut: Some((from, calls)), counts_reads: true, ..Self::new(world) }
    }

    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    pub fn said(&self) -> Vec<String> {
        self.progress.lock().unwrap().iter().map(|progress| progress.text.clone()).collect()
    }

    /// `None` when the program died on the way.
    pub async fn walk(
        &self,
        way: PromotionWay,
        change: impl FnOnce(&mut PromotionOrder),
    ) -> Option<Result<PromotionOutcome, PromotionError>> {
        let mut order = order();
        change(&mut order);
        let rules = self.world.signer.rules();
        let evidence = TestEvidence(self.world.clone());
        let clock = self.world.clock.clone();
        let raw = || clock.raw();
        let report = |progress: &PromotionProgress| self.progress.lock().unwrap().push(progress.clone());
        let deps = PromotionDeps {
            ledger: self,
            rules: &rules,
            cloud: self,
            evidence: &evidence,
            signer: &*self.world.signer,
            clock: &clock,
            raw: &raw,
            report: &report,
            site: "home",
            project: "p",
            variables: VARIABLES,
            look_every: crate::promotion::LOOK_EVERY,
        };
        let mut executor = PromotionExecutor::new(deps, PromotionTask { way, order });
        tokio::select! {
            biased;
            () = self.dead.notified() => None,
            outcome = executor.run() => Some(outcome),
        }
    }

    /// Before a call: whether it is cut. A dead program's call never ends.
    async fn begins(&self, changes: bool) -> Result<usize, String> {
        // So that two operators take turns.
        tokio::time::sleep(Duration::from_millis(100)).await;
        if !changes && !self.counts_reads {
            return Ok(0);
        }
        let call = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        if self.dies_at == Some((call, Death::Before)) {
            self.dead.notify_one();
            std::future::pending::<()>().await;
        }
        match self.cut {
            Some((from, most)) if (from..from + most).contains(&call) => Err("nothing is connected".into()),
            Some(_) | None => Ok(call),
        }
    }

    async fn ends(&self, call: usize) {
        if call != 0 && self.dies_at == Some((call, Death::After)) {
            self.dead.notify_one();
            std::future::pending::<()>().await;
        }
    }
}

pub fn order() -> PromotionOrder {
    PromotionOrder {
        validator: validator(),
        by: "op@example.org".into(),
        reason: "home is dark".into(),
        until: None,
        statement: None,
        overrides: Vec::new(),
        signs_nothing: false,
        forges: false,
    }
}

#[async_trait]
impl Ledger for Hand {
    async fn get(&self, key: &str) -> Result<Option<Stored>, LedgerError> {
        let call = self.begins(false).await.map_err(LedgerError::Unavailable)?;
        let found = self.world.get(key);
        if key == &*LedgerKey::owner(&validator()) {
            *self.owner_read.lock().unwrap() = found.as_ref().map(|stored| stored.version.clone());
        }
        self.ends(call).await;
        Ok(found)
    }

    async fn put(&self, key: &str, bytes: Vec<u8>, expect: Expect) -> Result<Version, PutError> {
        let call = self.begins(true).await.map_err(LedgerError::Unavailable)?;
        if key == &*LedgerKey::owner(&validator()) {
            let read = self.owner_read.lock().unwrap().clone().map(Expect::Version);
            assert_eq!(Some(&expect), read.as_ref(), "owners/ is written over exactly what was read");
        }
        let written = self.world.put(key, bytes, &expect);
        self.ends(call).await;
        written
    }

    async fn list(&self, prefix: &str, _: Option<&str>) -> Result<Vec<String>, LedgerError> {
        Ok(self.world.keys(prefix))
    }

    async fn remove(&self, _: &str, _: &Version) -> Result<(), PutError> {
        panic!("a promotion removes nothing")
    }

    async fn age(&self, key: &str, version: &Version) -> Result<Option<Span>, LedgerError> {
        let call = self.begins(false).await.map_err(LedgerError::Unavailable)?;
        let age = self.world.age(key, version);
        self.ends(call).await;
        Ok(age.map(|age| Span::try_from(age).unwrap()))
    }

    fn describe(&self) -> String {
        "a test".into()
    }

    fn is_off_site(&self) -> bool {
        true
    }
}

#[async_trait]
impl Machines for Hand {
    async fn find(&self, _: &Scope) -> Result<Vec<Machine>, CloudError> {
        panic!("it is known which machine")
    }

    async fn create(&self, _: &StandbySpec, _: uuid::Uuid) -> CreateOutcome {
        panic!("nothing is created")
    }

    async fn observe(&self, looked_at: &InstanceRef) -> Result<Option<Observed>, CloudError> {
        let call = self.begins(false).await.map_err(CloudError::Retry)?;
        assert_eq!(looked_at.id, instance().id);
        let machine = self.world.state().machine.clone();
        self.ends(call).await;
        Ok(machine.map(|machine| Observed {
            machine: Machine {
                instance: InstanceRef { name: machine.shape.name.clone(), ..instance() },
                validator: "eth-0".into(),
                incident: String::new(),
                ledger: String::new(),
                role: Role::Standby,
                state: if machine.shape.power == MachinePower::Terminated {
                    MachineState::Stopped
                } else {
                    MachineState::Running
                },
                deletion_protection: machine.shape.deletion_protection,
                machine_type: "t".into(),
                created_at: None,
            },
            written: machine.report().map(Into::into).unwrap_or_default(),
        }))
    }

    async fn delete(&self, _: &ActionId, _: &Unpromoted) -> Result<(), CloudError> {
        panic!("nothing is deleted")
    }
}

#[async_trait]
impl PromotionMachines for Hand {
    async fn shape(&self, looked_at: &InstanceRef) -> Result<Option<MachineShape>, ShapeError> {
        let call = self.begins(false).await.map_err(CloudError::Retry)?;
        assert_eq!(looked_at.id, instance().id);
        let machine = self.world.state().machine.clone();
        self.ends(call).await;
        Ok(machine.map(|machine| match machine.suspended {
            true => MachineShape { power: MachinePower::Suspended, ..machine.shape },
            false => machine.shape,
        }))
    }

    async fn take_step(
        &self,
        looked_at: &InstanceRef,
        step: &ShapeStep,
        progress: &StepProgress<'_>,
    ) -> Result<MachineShape, ShapeError> {
        let call = self.begins(true).await.map_err(CloudError::Retry)?;
        assert_eq!(looked_at.id, instance().id);
        progress(step, StepState::Runs { operation: "o".into(), percent: Some(50) });
        let Some(machine) = self.world.state().machine.clone() else {
            return Err(ShapeError::Gone(looked_at.clone()));
        };
        if step.needs_stop() && machine.shape.power != MachinePower::Terminated {
            return Err(CloudError::Retry("it runs".into()).into());
        }
        if machine.suspended && matches!(step, ShapeStep::Stop | ShapeStep::Start) {
            return Err(ShapeError::Suspended(looked_at.clone()));
        }
        if !self.world.change(step) {
            return Err(ShapeError::OutOfStock("ZONE_RESOURCE_POOL_EXHAUSTED".into()));
        }
        let shape = self.world.state().machine.as_ref().map(|machine| machine.shape.clone());
        self.ends(call).await;
        progress(step, StepState::Done);
        shape.ok_or_else(|| ShapeError::Gone(looked_at.clone()))
    }
}
