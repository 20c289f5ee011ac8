//! The loop: one task owns the world; everybody else only sends events.
//!
//! For each batch of events: step, commit in memory, persist, act. Nothing that a decision asks for is started before
//! its record is in the ledger; while the ledger does not answer, the loop waits, and when the lease runs out it drops
//! everything it knew of the records. Without the lease it only listens.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{broadcast, mpsc, watch},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use super::{
    LedgerTroubles,
    executor::Executor,
    grants::GrantRules,
    handle::{Handle, Input, STEPS, Step},
    identity,
    last_observations::LastObservations,
    leadership::Leadership,
    lease::{self, Keeper, Lease, LeaseConfig, LeaseError},
    requests,
    store::{self, Store, StoreError},
    sweep, troubles,
};
use crate::{
    domain::{Policy, ValidatorId, World},
    ports::{ACTION_TIMEOUT, Clock, Cloud, Ledger, Notifier},
};

/// How many events are taken at once at the most; one batch is persisted together.
pub(super) const BATCH: usize = 256;

/// Everything the loop needs to know of its surroundings.
#[derive(Clone)]
pub struct EngineConfig {
    pub site: String,
    pub validators: Vec<ValidatorId>,
    pub policy: Policy,
    pub lease: LeaseConfig,
    /// How often requests are looked for.
    pub requests_every: Duration,
    /// How long one call to the cloud that changes something may take.
    pub call_timeout: Duration,
    /// A difference between the wall clock and time passed larger than this is a jump.
    pub clock_jump: Duration,
    /// By which it is known who may sign.
    pub grants: GrantRules,
    /// How the operator calls this program; is in mails.
    pub cli: String,
}

/// What the loop depends on.
#[derive(Clone)]
pub struct Deps {
    pub ledger: Arc<dyn Ledger>,
    /// Machines; without it nothing is created.
    pub cloud: Option<Arc<dyn Cloud>>,
    /// Mail; without it nobody is notified.
    pub notifier: Option<Arc<dyn Notifier>>,
    pub clock: Arc<dyn Clock>,
}

pub struct Engine {
    pub(super) config: EngineConfig,
    pub(super) deps: Deps,
    inputs: mpsc::Receiver<Input>,
    pub(super) sender: mpsc::Sender<Input>,
    leads: watch::Sender<bool>,
    lease: watch::Sender<Option<Lease>>,
    pub(super) steps: broadcast::Sender<Step>,
    pub(super) troubles: LedgerTroubles,
}

#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The lease could not be asked for.
    #[error(transparent)]
    Lease(#[from] LeaseError),
}

impl Engine {
    /// A loop and the way to it.
    #[must_use]
    pub fn new(config: EngineConfig, deps: Deps) -> (Self, Handle) {
        let (sender, inputs) = mpsc::channel(4 * BATCH);
        let (leads, leading) = watch::channel(false);
        let (lease, held) = watch::channel(None);
        let steps = broadcast::Sender::new(STEPS);
        let troubles = LedgerTroubles::default();
        let engine = Self { config, deps, inputs, sender, leads, lease, steps, troubles };
        let handle = Handle { leads: leading, lease: held, ..engine.handle() };
        (engine, handle)
    }

    /// Leads whenever the lease can be had, until stopped. Stopping lets what runs end, then gives the lease back.
    ///
    /// # Errors
    /// [`EngineError`] when the ledger cannot be used at all.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<(), EngineError> {
        let (clock, notifier) = (self.deps.clock.clone(), self.deps.notifier.clone());
        let (site, cli) = (self.config.site.clone(), self.config.cli.clone());
        let ended = CancellationToken::new();
        // For the whole run, so that one who leads again and again does not send the same mail again and again.
        tokio::spawn(troubles::mail(self.troubles.clone(), notifier, clock, site, cli, ended.clone()));
        let _ended = ended.drop_guard();
        let mut observations = LastObservations::new(&self.config.site, &self.config.validators, &self.config.policy);
        loop {
            let taken = self.wait(&mut observations, &shutdown).await;
            let (lease, keeper) = match taken {
                Ok(taken) => taken,
                Err(LeaseError::Shutdown) => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            tracing::info!(token = lease.token(), "this watcher holds the lease");
            self.lease.send_replace(Some(lease.clone()));
            observations = self.lead(lease, keeper, observations, &shutdown).await;
            self.lease.send_replace(None);
            if shutdown.is_cancelled() {
                return Ok(());
            }
            tracing::warn!("this watcher no longer holds the lease");
        }
    }

    /// Waits for the lease, and hears and answers meanwhile.
    async fn wait(
        &mut self,
        observations: &mut LastObservations,
        shutdown: &CancellationToken,
    ) -> Result<(Lease, Keeper), LeaseError> {
        let (deps, config) = (self.deps.clone(), self.config.lease.clone());
        let acquiring = lease::acquire(&deps.ledger, &config, shutdown);
        tokio::pin!(acquiring);
        let mut batch = Vec::with_capacity(BATCH);
        let mut answering = JoinSet::new();
        loop {
            tokio::select! {
                taken = &mut acquiring => return taken,
                _ = self.inputs.recv_many(&mut batch, BATCH) => {}
                Some(_) = answering.join_next() => continue,
            }
            for input in batch.drain(..) {
                match input {
                    Input::Event(event) => observations.apply(&event, deps.clock.now()),
                    // It is not in the ledger, so there is no answer.
                    Input::Acknowledged(..) => {}
                    Input::HandOver => {}
                    Input::Show(answer) => {
                        let status = observations.status(deps.ledger.clone(), deps.clock.now());
                        answering.spawn(async move { answer.send(status.await) });
                    }
                }
            }
        }
    }

    async fn lead(
        &mut self,
        lease: Lease,
        keeper: Keeper,
        observations: LastObservations,
        shutdown: &CancellationToken,
    ) -> LastObservations {
        let identity = tokio::select! {
            identity = identity::of(&*self.deps.ledger, self.deps.clock.now()) => identity,
            () = lease.lost() => Err(StoreError::OutOfTime { key: lease.key().clone() }),
        };
        let identity = match identity {
            Ok(identity) => identity,
            Err(error) => return self.step_aside(&error, keeper, observations).await,
        };
        self.troubles.clear();
        self.troubles.set_whole(identity.changed(self.deps.clock.now()));
        let id = identity.id;
        let mut store = Store::new(self.deps.ledger.clone(), identity.clone(), lease.clone());
        let (mut records, mut unreadable) = (Vec::new(), Vec::new());
        for id in &self.config.validators {
            match store.take_over(id, self.deps.clock.now()).await {
                Ok(record) => records.push((id.clone(), record)),
                // One record that cannot be read must not keep the others from being watched; it is left as it is.
                Err(StoreError::Record(error)) => {
                    tracing::error!(validator = %id, %error, "nothing is done for this validator");
                    unreadable.push((id.clone(), error.to_string()));
                }
                Err(error) => return self.step_aside(&error, keeper, observations).await,
            }
        }
        let stop = CancellationToken::new();
        if let Some(until) = identity.is_news_until() {
            let (over, troubles, stopped) = (self.deps.clock.sleep_until(until), self.troubles.clone(), stop.clone());
            tokio::spawn(async move {
                tokio::select! {
                    () = over => troubles.set_whole(None),
                    () = stopped.cancelled() => {}
                }
            });
        }
        let watch = requests::watch(self.handle(), self.deps.ledger.clone(), self.config.requests_every, stop.clone());
        let requests = tokio::spawn(watch);
        let sweeper = self.sweeper(id, &stop);
        self.troubles.set("validators", unreadable.iter().map(|(_, why)| why.clone()).collect());
        // What somebody has mended is taken over as everything is: by leading again.
        let unread = unreadable.into_iter().map(|(id, _)| id).collect();
        let ended_or_mended = shutdown.child_token();
        let mended = store::mended(self.deps.ledger.clone(), identity, unread, self.config.lease.ttl / 3);
        let (ends, stopped) = (ended_or_mended.clone(), stop.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = mended => {
                    tracing::info!("a record that could not be read has been mended or taken away: reading all again");
                    ends.cancel();
                }
                () = stopped.cancelled() => {}
            }
        });
        let mut world = World::new(records);
        world.trust_clock_since(self.deps.clock.now());
        let mut leadership = Leadership::new(self, lease.clone(), store, world, observations);
        let _ = self.leads.send(true);
        let ended = leadership.run(&mut self.inputs, &ended_or_mended).await;
        // First of all nobody is notified any more that this process leads.
        let _ = self.leads.send(false);
        stop.cancel();
        if let Err(error) = &ended {
            tracing::error!(%error, "stepping down");
        }
        // From here on no change begins. Once those under way have ended, nothing keeps a successor from acting: what
        // else runs only reads, or writes what it may write twice.
        let observations = leadership.finish(lease.close()).await;
        self.troubles.clear();
        requests.abort();
        if let Some(sweeper) = sweeper {
            sweeper.abort();
        }
        keeper.release().await;
        observations
    }
}

impl Engine {
    /// Gives the lease back without having led. Whoever is next may have more luck; trying again at once would only
    /// load the ledger.
    async fn step_aside(&self, error: &StoreError, keeper: Keeper, observations: LastObservations) -> LastObservations {
        tracing::warn!(%error, "the records could not be taken over");
        self.troubles.set_whole(Some(format!("nothing is watched: the records could not be taken over: {error}")));
        keeper.release().await;
        tokio::time::sleep(self.config.lease.retry_after()).await;
        observations
    }

    fn handle(&self) -> Handle {
        Handle {
            inputs: self.sender.clone(),
            leads: self.leads.subscribe(),
            lease: self.lease.subscribe(),
            steps: self.steps.clone(),
            troubles: self.troubles.clone(),
        }
    }

    fn sweeper(&self, identity: uuid::Uuid, stop: &CancellationToken) -> Option<tokio::task::JoinHandle<()>> {
        if self.config.policy.mode != crate::domain::Mode::Armed {
            return None;
        }
        let cloud = self.deps.cloud.clone()?;
        let every = self.config.policy.recheck_every.try_into().unwrap_or(Duration::MAX);
        let (handle, validators) = (self.handle(), self.config.validators.clone());
        Some(tokio::spawn(sweep::watch(cloud, identity, validators, handle, every, stop.clone())))
    }
}

/// What carries out actions under this lease; `None` without a cloud.
pub(super) fn executor(config: &EngineConfig, deps: &Deps, lease: &Lease, identity: uuid::Uuid) -> Option<Executor> {
    Some(Executor {
        cloud: deps.cloud.clone()?,
        ledger: deps.ledger.clone(),
        grants: config.grants.clone(),
        identity,
        lease: lease.clone(),
        call_timeout: config.call_timeout,
        action_timeout: ACTION_TIMEOUT.try_into().unwrap_or(Duration::MAX),
        fresh_every: super::executor::FRESH_EVERY,
    })
}
