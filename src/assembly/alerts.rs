//! Alerts to opinions: one task keeps a book for each validator and tells the loop what it adds up to.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{
    adapters::alertmanager::{AlertEvent, Api, Receiver},
    domain::{
        AlertRecord, Event, Source, Time, ValidatorId,
        alerts::{AlertBook, Freshness},
    },
    ports::Clock,
    runtime::Handle,
};

/// How often opinions are made anew without anything having been heard: so often a Watchdog can be found missing.
const REVIEW: Duration = Duration::from_secs(15);

/// How often Alertmanager's list is looked at without a reason.
const RECONCILE: Duration = Duration::from_mins(5);

pub(super) struct Alerts {
    pub(super) receiver: Arc<Receiver>,
    pub(super) events: mpsc::Receiver<AlertEvent>,
    pub(super) api: Option<Api>,
    pub(super) freshness: Freshness,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) handle: Handle,
    /// Set while this process leads and has read what the ledger has.
    pub(super) receiving: Arc<AtomicBool>,
}

impl Alerts {
    /// Runs until told to stop. Each time this process begins to lead, it starts from the ledger.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut leadership = self.handle.leadership();
        while !stop.is_cancelled() {
            let leads = leadership.wait_for(|leads| *leads);
            tokio::select! {
                led = leads => if led.is_err() { return },
                () = stop.cancelled() => return,
            }
            let mut ended = self.handle.leadership();
            tokio::select! {
                () = self.lead() => {}
                _ = ended.wait_for(|leads| !*leads) => {}
                () = stop.cancelled() => {}
            }
            self.receiving.store(false, Ordering::Release);
        }
    }

    async fn lead(&mut self) {
        let mut books: BTreeMap<ValidatorId, AlertBook> = BTreeMap::new();
        let loaded = loop {
            match self.receiver.load().await {
                Ok(loaded) => break loaded,
                Err(error) => tracing::warn!(%error, "alerts cannot be read from the ledger, webhooks are refused"),
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        };
        let changed = take(&mut books, loaded.records);
        self.receiving.store(true, Ordering::Release);
        self.tell(&books, changed).await;
        let mut review = tokio::time::interval(REVIEW);
        // Beside this loop: it may take a minute, and what it finds comes back as events.
        let _reconciling = AbortOnDrop(tokio::spawn(reconcile(self.receiver.clone(), self.api.clone())));
        loop {
            let changed = tokio::select! {
                Some(event) = self.events.recv() => match event {
                    AlertEvent::Heard { records } => take(&mut books, records),
                    AlertEvent::WatchdogSeen(_) => books.keys().cloned().collect(),
                },
                _ = review.tick() => books.keys().cloned().collect(),
            };
            self.tell(&books, changed).await;
        }
    }

    async fn tell(&self, books: &BTreeMap<ValidatorId, AlertBook>, changed: BTreeSet<ValidatorId>) {
        let now: Time = self.clock.now();
        let watchdog = self.receiver.stats().last_watchdog();
        for id in changed {
            let Some(book) = books.get(&id) else { continue };
            for reading in book.readings(now, &self.freshness, watchdog) {
                self.handle.tell(Event::Observed(id.clone(), Source::Alert, reading)).await;
            }
        }
    }
}

/// Compares with Alertmanager's own list whenever something was doubtful, and every few minutes: a silence is seen only
/// there.
async fn reconcile(receiver: Arc<Receiver>, api: Option<Api>) {
    let Some(api) = api else { return };
    loop {
        match receiver.reconcile(&api).await {
            Ok(found) => {
                tracing::debug!(listed = found.listed, ended = found.ended, "compared with Alertmanager's list");
            }
            Err(error) => tracing::warn!(%error, "Alertmanager's list could not be read"),
        }
        tokio::select! {
            () = receiver.reconcile_wanted() => {}
            () = tokio::time::sleep(RECONCILE) => {}
        }
    }
}

/// Ends a task with whoever started it.
struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn take(books: &mut BTreeMap<ValidatorId, AlertBook>, records: Vec<Arc<AlertRecord>>) -> BTreeSet<ValidatorId> {
    let mut changed = BTreeSet::new();
    for record in records {
        let id = record.alert.validator.clone();
        books.entry(id.clone()).or_default().apply(record);
        changed.insert(id);
    }
    changed
}
