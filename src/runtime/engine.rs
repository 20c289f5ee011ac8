//! The loop: one task owns the world; everybody else only sends events.
//!
//! For each batch of events: step, commit in memory, persist, act. Nothing that a decision asks for is started before
//! its record is in the ledger; while the ledger does not answer, the loop waits, and when the lease runs out it drops
//! everything it knew.

use std::{sync::Arc, time::Duration};

use tokio::sync::{broadcast, mpsc};
use tokio_util::sync::CancellationToken;

use super::{
    executor::Executor,
    handle::{Handle, Input, STEPS, Step},
    lease::{self, Keeper, Lease, LeaseConfig, LeaseError},
    requests,
    store::{Store, StoreError},
    sweep,
    term::Term,
};
use crate::{
    domain::{Policy, ValidatorId, World},
    ports::{Clock, Cloud, Ledger, Notifier},
};

/// How many events are taken at once at the most; one batch is persisted together.
pub(super) const BATCH: usize = 256;

/// Everything the loop needs to know of its surroundings.
#[derive(Clone)]
pub struct EngineConfig {
    /// Which home.
    pub site: String,
    /// The validators it watches.
    pub validators: Vec<ValidatorId>,
    /// The thresholds.
    pub policy: Policy,
    /// The lease.
    pub lease: LeaseConfig,
    /// How often requests are looked for.
    pub requests_every: Duration,
    /// How long one call to the cloud that changes something may take.
    pub call_timeout: Duration,
    /// A difference between the wall clock and time passed larger than this is a jump.
    pub clock_jump: Duration,
    /// How the operator calls this program; stands in mails.
    pub cli: String,
}

/// The outside as the loop sees it.
#[derive(Clone)]
pub struct Outside {
    /// State.
    pub ledger: Arc<dyn Ledger>,
    /// Machines; without it nothing is created.
    pub cloud: Option<Arc<dyn Cloud>>,
    /// Mail; without it nobody is told.
    pub notifier: Option<Arc<dyn Notifier>>,
    /// Time.
    pub clock: Arc<dyn Clock>,
}

/// The loop, not yet running.
pub struct Engine {
    pub(super) config: EngineConfig,
    pub(super) outside: Outside,
    inputs: mpsc::Receiver<Input>,
    pub(super) sender: mpsc::Sender<Input>,
    leads: tokio::sync::watch::Sender<bool>,
    pub(super) steps: broadcast::Sender<Step>,
}

/// Why it ended.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The lease could not be asked for.
    #[error(transparent)]
    Lease(#[from] LeaseError),
}

impl Engine {
    /// A loop and the way to it.
    #[must_use]
    pub fn new(config: EngineConfig, outside: Outside) -> (Self, Handle) {
        let (sender, inputs) = mpsc::channel(4 * BATCH);
        let (leads, leading) = tokio::sync::watch::channel(false);
        let steps = broadcast::Sender::new(STEPS);
        let handle = Handle { inputs: sender.clone(), leads: leading, steps: steps.clone() };
        (Self { config, outside, inputs, sender, leads, steps }, handle)
    }

    /// Leads whenever the lease can be had, until told to stop. Stopping lets what runs end, then gives the lease back.
    ///
    /// # Errors
    /// [`EngineError`] when the ledger cannot be used at all.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<(), EngineError> {
        loop {
            let taken = lease::acquire(&self.outside.ledger, &self.config.lease, &shutdown).await;
            let (lease, keeper) = match taken {
                Ok(taken) => taken,
                Err(LeaseError::Shutdown) => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            tracing::info!(token = lease.token(), "this watcher holds the lease");
            self.lead(lease, keeper, &shutdown).await;
            let _ = self.leads.send(false);
            // What was sent while leading is about a world that is gone.
            while self.inputs.try_recv().is_ok() {}
            if shutdown.is_cancelled() {
                return Ok(());
            }
            tracing::warn!("this watcher no longer holds the lease");
        }
    }

    async fn lead(&mut self, lease: Lease, keeper: Keeper, shutdown: &CancellationToken) {
        let mut store = Store::new(self.outside.ledger.clone(), lease.clone());
        let mut unreadable = Vec::new();
        let mut records = Vec::new();
        for id in &self.config.validators {
            match store.take_over(id).await {
                Ok(record) => records.push((id.clone(), record)),
                // One record that cannot be read must not keep the others from being watched; it is left as it is.
                Err(StoreError::Record(error)) => {
                    tracing::error!(validator = %id, %error, "nothing is done for this validator");
                    unreadable.push(error.to_string());
                }
                Err(error) => {
                    tracing::warn!(%error, "the records could not be taken over");
                    keeper.release().await;
                    // Whoever is next may have more luck; trying again at once would only load the ledger.
                    tokio::time::sleep(self.config.lease.ttl / 3).await;
                    return;
                }
            }
        }
        let stop = CancellationToken::new();
        let watch =
            requests::watch(self.outside.ledger.clone(), self.config.requests_every, self.sender.clone(), stop.clone());
        let requests = tokio::spawn(watch);
        let sweeper = self.sweeper(&lease, &stop);
        let mut term = Term::new(self, lease, store, World::new(records), unreadable);
        let _ = self.leads.send(true);
        let ended = term.run(&mut self.inputs, shutdown).await;
        stop.cancel();
        if let Err(error) = &ended {
            tracing::error!(%error, "stepping down");
        }
        let idle = term.finish().await;
        requests.abort();
        if let Some(sweeper) = sweeper {
            // A deletion under way ends by its own time-out, and within what the lease has left.
            sweeper.abort();
        }
        if ended.is_ok() && idle { keeper.release().await } else { keeper.abandon() }
    }
}

impl Engine {
    fn sweeper(&self, lease: &Lease, stop: &CancellationToken) -> Option<tokio::task::JoinHandle<()>> {
        if self.config.policy.mode != crate::domain::Mode::Armed {
            return None;
        }
        let executor = executor(&self.config, &self.outside, lease)?;
        let every = self.config.policy.recheck_every.try_into().unwrap_or(Duration::MAX);
        let handle = Handle { inputs: self.sender.clone(), leads: self.leads.subscribe(), steps: self.steps.clone() };
        Some(tokio::spawn(sweep::watch(executor, handle, every, stop.clone())))
    }
}

/// What carries out actions under this lease; `None` without a cloud.
pub(super) fn executor(config: &EngineConfig, outside: &Outside, lease: &Lease) -> Option<Executor> {
    Some(Executor {
        cloud: outside.cloud.clone()?,
        ledger: outside.ledger.clone(),
        lease: lease.clone(),
        call_timeout: config.call_timeout,
        action_timeout: config.policy.action_timeout.try_into().unwrap_or(Duration::MAX),
    })
}
