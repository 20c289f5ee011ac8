//! From a message to the ledger and then to the runtime. It knows nothing of HTTP; [`super::routes`] does.

use std::sync::Arc;

use futures::{StreamExt, stream};
use tokio::sync::{Mutex, Notify, mpsc};

use super::{
    api::{Api, ReconcileError},
    load::{Loaded, Walk},
    mapping::Mappings,
    payload::{AlertStatus, WebhookAlert, WebhookMessage},
    stats::AlertmanagerStats,
    store::{AlertStore, AlertStoreError},
    test_alert,
};
use crate::{
    adapters::server::access::Access,
    domain::{
        AlertRecord, Time,
        alerts::{Alert, AlertState, AlertUpdate, Freshness, MAX_TEXT, Word},
        one_line,
    },
    ports::{Ledger, LedgerError},
};

/// What the runtime is told. Everything in it is durable already.
#[derive(Clone, Debug)]
pub enum AlertEvent {
    /// Alerts as they are known now; those that only were repeated have a new `seen_at`.
    AlertUpdate {
        /// One for each alert and validator.
        records: Vec<Arc<AlertRecord>>,
    },
    /// The Watchdog came: the way from Prometheus to here works.
    WatchdogSeen(Time),
}

/// What the receiver has to know.
pub struct ReceiverConfig {
    pub mappings: Mappings,
    /// Who may send.
    pub access: Arc<Access>,
    /// How alerts are known to be fresh; a Watchdog that comes back after a gap asks for reconciliation.
    pub freshness: Freshness,
    pub now: Arc<dyn Fn() -> Time + Send + Sync>,
    /// Whether this process holds the lease *and* has called [`Receiver::begin`] since it took it.
    pub holds_lease: Arc<dyn Fn() -> bool + Send + Sync>,
}

/// Takes alerts for the holder of the lease.
pub struct Receiver {
    pub(super) config: ReceiverConfig,
    store: AlertStore,
    walk: Mutex<Walk>,
    events: mpsc::Sender<AlertEvent>,
    stats: Arc<AlertmanagerStats>,
    reconcile_wanted: Notify,
}

/// Why a message was not taken. Alertmanager sends it again.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// Another process is to take it.
    #[error("this process does not hold the lease")]
    NotTheHolder,
    /// The ledger does not have it.
    #[error("the ledger does not have {missing} of {all} alerts: {error}")]
    AlertStore {
        /// How many are missing.
        missing: usize,
        all: usize,
        /// Why, for the first of them.
        error: AlertStoreError,
    },
    /// The runtime is gone; the ledger has it, but nobody would act on it.
    #[error("failover is shutting down")]
    Closed,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reconciled {
    /// Alerts in Alertmanager's list that count for a validator.
    pub listed: usize,
    /// Alerts that were believed to fire and are not in the list.
    pub ended: usize,
    /// Whether what the list lacks was believed.
    pub complete: bool,
}

impl Receiver {
    /// Makes a receiver; [`super::routes`] connects it to HTTP.
    #[must_use]
    pub fn new(config: ReceiverConfig, ledger: Arc<dyn Ledger>, events: mpsc::Sender<AlertEvent>) -> Self {
        let (store, stats) = (AlertStore::new(ledger), Arc::default());
        Self { config, store, walk: Mutex::default(), events, stats, reconcile_wanted: Notify::new() }
    }

    #[must_use]
    pub fn access(&self) -> &Arc<Access> {
        &self.config.access
    }

    #[must_use]
    pub fn stats(&self) -> &Arc<AlertmanagerStats> {
        &self.stats
    }

    /// Ends when Alertmanager's list should be looked at: after a start, a truncated message, a Watchdog that was
    /// missing, an alert that is doubtful. One call is enough for any number of reasons.
    pub async fn reconcile_wanted(&self) {
        self.reconcile_wanted.notified().await;
    }

    /// Forgets what it knew. Called each time this process takes the lease, before it takes messages: another holder may
    /// have changed every record.
    pub async fn begin(&self) {
        *self.walk.lock().await = Walk::default();
        self.store.clear();
        self.reconcile_wanted.notify_one();
    }

    /// Looks at the next part of what the ledger has: what an earlier holder knew is on its way to the runtime then, and
    /// what is old is removed. Messages are taken meanwhile.
    ///
    /// # Errors
    /// [`LedgerError`] when it cannot be read; the next call looks again.
    pub async fn load(&self) -> Result<Loaded, LedgerError> {
        let (mappings, stale_after) = (&self.config.mappings, self.config.freshness.stale_after);
        let mut walk = self.walk.lock().await;
        let (loaded, records) = walk.step(&self.store, mappings, (self.config.now)(), stale_after).await?;
        if let Some(first) = loaded.problems.first() {
            tracing::error!(count = loaded.problems.len(), first, "alerts in the ledger count for nothing");
        }
        if loaded.removed > 0 {
            tracing::info!(removed = loaded.removed, left = loaded.left, "old alerts are removed from the ledger");
        }
        if !records.is_empty() {
            // Without a runtime nobody misses them.
            let _ = self.tell_later(AlertEvent::AlertUpdate { records });
        }
        Ok(loaded)
    }

    /// Takes one message. When it answers `Ok` everything in it is durable and on its way to the runtime.
    pub(super) async fn take(&self, message: WebhookMessage) -> Result<(), ReceiveError> {
        let now = (self.config.now)();
        let (heard, watchdog) = self.sort(message, now);
        let all = heard.len();
        let (records, failed) = self.store_all(heard).await;
        if records.iter().any(|record| matches!(record.state, AlertState::Doubtful { .. })) {
            self.reconcile_wanted.notify_one();
        }
        // A holder that lost the lease meanwhile may have written after its successor has read everything.
        if !(self.config.holds_lease)() {
            return Err(ReceiveError::NotTheHolder);
        }
        // What is durable is told even when the rest is not: the sooner it is known the better.
        if !records.is_empty() {
            self.tell(AlertEvent::AlertUpdate { records }).await?;
        }
        if watchdog {
            self.tell(AlertEvent::WatchdogSeen(now)).await?;
        }
        let missing = failed.len();
        match failed.into_iter().next() {
            None => Ok(()),
            Some(error) => Err(ReceiveError::AlertStore { missing, all, error }),
        }
    }

    fn sort(&self, message: WebhookMessage, now: Time) -> (Vec<(Alert, AlertUpdate)>, bool) {
        self.stats.received.inc_by(message.alerts.len() as u64);
        if message.truncated > 0 {
            self.stats.truncated.inc_by(message.truncated);
            tracing::warn!(
                missing = message.truncated,
                "alertmanager has left alerts out of a message; remove max_alerts from the webhook_config"
            );
            self.reconcile_wanted.notify_one();
        }
        if message.unreadable.count > 0 {
            self.stats.unreadable.inc_by(message.unreadable.count);
            let (count, why) = (message.unreadable.count, &message.unreadable.why);
            tracing::warn!(count, why, "alerts in a message cannot be read and are skipped; the others are taken");
        }
        let mut watchdog = false;
        let mut heard = Vec::with_capacity(message.alerts.len());
        for told in message.alerts {
            if test_alert::is_one(&told.labels) {
                self.stats.tested.inc();
                if let (Some(id), AlertStatus::Firing) = (test_alert::id(&told.labels), told.status) {
                    self.stats.test(id, now);
                }
            } else if self.config.mappings.is_watchdog(&told.labels) {
                // A Watchdog that has ended is no sign of life.
                watchdog |= told.status == AlertStatus::Firing;
            } else {
                self.sort_one(told, now, &mut heard);
            }
        }
        if watchdog {
            self.note_watchdog(now);
        }
        (heard, watchdog)
    }

    fn sort_one(&self, told: WebhookAlert, now: Time, heard: &mut Vec<(Alert, AlertUpdate)>) {
        let taken = self.config.mappings.take(&told.labels);
        let word = match told.status {
            AlertStatus::Firing => Word::Firing,
            AlertStatus::Resolved => Word::Resolved { ends_at: told.ends_at },
            AlertStatus::NotEvaluated => Word::NotEvaluated,
        };
        if taken.is_empty() {
            self.stats.unmatched(told.name());
            return;
        }
        self.stats.matched.inc();
        let name: Arc<str> = one_line(told.name(), MAX_TEXT).into();
        let summary: Arc<str> = one_line(&told.summary, MAX_TEXT).into();
        for taken in taken {
            let alert = Alert {
                validator: taken.validator,
                evidence: taken.evidence,
                mapping: taken.mapping,
                fingerprint: told.fingerprint.clone(),
                starts_at: told.starts_at,
                name: Arc::clone(&name),
                summary: Arc::clone(&summary),
            };
            heard.push((alert, AlertUpdate { word: word.clone(), at: now }));
        }
    }

    fn note_watchdog(&self, now: Time) {
        let before = self.stats.watchdog(now);
        if let (Some(timeout), Some(before)) = (self.config.freshness.watchdog, before)
            && now.duration_since(before) > timeout
        {
            self.reconcile_wanted.notify_one();
        }
    }

    /// All at once; the store bounds how many are under way.
    async fn store_all(&self, heard: Vec<(Alert, AlertUpdate)>) -> (Vec<Arc<AlertRecord>>, Vec<AlertStoreError>) {
        let mut records = Vec::with_capacity(heard.len());
        let mut failed = Vec::new();
        let mut writes = stream::iter(heard)
            .map(|(alert, heard)| async move { self.store.record(&alert, &heard).await })
            .buffer_unordered(64);
        while let Some(outcome) = writes.next().await {
            match outcome {
                Ok(record) => records.push(record),
                Err(error) => failed.push(error),
            }
        }
        (records, failed)
    }

    async fn tell(&self, event: AlertEvent) -> Result<(), ReceiveError> {
        self.events.send(event).await.map_err(|_| ReceiveError::Closed)
    }

    /// Tells without waiting: whoever reconciles may be the one who takes the events, and would wait for itself when
    /// the channel is full. The books do not depend on the order of events.
    fn tell_later(&self, event: AlertEvent) -> Result<(), ReconcileError> {
        match self.events.try_send(event) {
            Ok(()) => Ok(()),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(ReconcileError::Closed),
            Err(mpsc::error::TrySendError::Full(event)) => {
                let events = self.events.clone();
                // It ends when there is room or when nobody takes events any more, and then there is nobody to tell.
                tokio::spawn(async move { events.send(event).await });
                Ok(())
            }
        }
    }

    /// Asks Alertmanager what it has, and believes it about everything that no later message is about.
    ///
    /// # Errors
    /// [`ReconcileError`]; then nothing is lost, and it can be called again.
    pub async fn reconcile(&self, api: &Api) -> Result<Reconciled, ReconcileError> {
        let asked_at = (self.config.now)();
        let listing = api.list(&self.config.mappings).await?;
        if !(self.config.holds_lease)() {
            return Err(ReconcileError::NotTheHolder);
        }
        let listed = listing.alerts.len();
        let mut heard: Vec<_> =
            listing.alerts.into_iter().map(|(alert, word)| (alert, AlertUpdate { word, at: asked_at })).collect();
        if listing.complete {
            let there: std::collections::HashSet<String> = heard.iter().map(|(alert, _)| alert.key()).collect();
            for record in self.store.unresolved() {
                if record.seen_at <= asked_at && !there.contains(&record.alert.key()) {
                    heard.push((record.alert.clone(), AlertUpdate { word: Word::NotListed, at: asked_at }));
                }
            }
        }
        let ended = heard.len() - listed;
        let (records, failed) = self.store_all(heard).await;
        if !records.is_empty() {
            self.tell_later(AlertEvent::AlertUpdate { records })?;
        }
        match failed.into_iter().next() {
            Some(error) => Err(error.into()),
            None => Ok(Reconciled { listed, ended, complete: listing.complete }),
        }
    }
}
