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

use super::EventSource;
use crate::{
    adapters::{
        alertmanager::{AlertEvent, Api, Mapping, Mappings, Receiver, ReceiverConfig},
        server::access::Access,
    },
    config::{AlertSettings, AlertmanagerSettings, Config, ValidatorSettings},
    domain::{
        AlertRecord, Event, Source, Time, ValidatorId,
        alerts::{AlertBook, Freshness},
    },
    ports::Clock,
    runtime::{Deps, Handle, LedgerTroubles},
};

/// How often opinions are made again without anything having been heard: so often a Watchdog can be found missing.
const REVIEW: Duration = Duration::from_secs(15);

/// How often Alertmanager's list is looked at without a reason; and how soon again when it was not complete yet.
const RECONCILE: Duration = Duration::from_mins(5);
const AGAIN: Duration = Duration::from_mins(1);

/// How often the ledger is gone through for what is old; and how soon after a part of it the next one is looked at.
const UPKEEP: Duration = Duration::from_hours(1);
const NEXT_STEP: Duration = Duration::from_secs(15);

pub struct AlertSource {
    receiver: Arc<Receiver>,
    events: mpsc::Receiver<AlertEvent>,
    api: Option<Api>,
    freshness: Freshness,
    clock: Arc<dyn Clock>,
    /// Set while this process leads and has forgotten what it knew before.
    receiving: Arc<AtomicBool>,
}

impl AlertSource {
    /// # Errors
    /// Secrets that cannot be read.
    pub fn new(config: &Config, settings: &AlertmanagerSettings, deps: &Deps, engine: &Handle) -> anyhow::Result<Self> {
        let watchdog = settings.watchdog.as_ref().map(|watchdog| watchdog.timeout);
        let freshness = Freshness { stale_after: settings.stale_after, watchdog };
        let (receiving, clock) = (Arc::new(AtomicBool::new(false)), deps.clock.clone());
        let (now, holds, leading) = (clock.clone(), receiving.clone(), engine.clone());
        let receiver_config = ReceiverConfig {
            mappings: mappings(config),
            access: Arc::new(Access::read(&settings.auth, std::time::Instant::now())?),
            freshness,
            now: Arc::new(move || now.now()),
            holds_lease: Arc::new(move || holds.load(Ordering::Acquire) && leading.leads()),
        };
        let (sender, events) = mpsc::channel(1024);
        let receiver = Arc::new(Receiver::new(receiver_config, deps.ledger.clone(), sender));
        Ok(Self { receiver, events, api: Api::of(settings), freshness, clock, receiving })
    }

    /// What takes the webhook's messages.
    #[must_use]
    pub fn receiver(&self) -> &Arc<Receiver> {
        &self.receiver
    }
}

/// Which alerts count for whom.
#[must_use]
pub fn mappings(config: &Config) -> Mappings {
    let of = |validator: &ValidatorSettings| {
        let mapping = |alert: &AlertSettings| Mapping {
            validator: validator.name.clone(),
            matchers: alert.matchers.clone(),
            evidence: alert.evidence,
        };
        validator.alerts.iter().map(mapping).collect::<Vec<_>>()
    };
    let watchdog = config.alertmanager.as_ref().and_then(|settings| settings.watchdog.as_ref());
    Mappings::new(config.validators.iter().flat_map(of), watchdog.map(|watchdog| watchdog.matchers.clone()))
}

impl EventSource for AlertSource {
    fn name(&self) -> String {
        "alerts".into()
    }

    /// Each time this process begins to lead, it starts from the ledger.
    async fn run(mut self, engine: Handle) {
        let mut leadership = engine.leadership();
        while leadership.wait_for(|leads| *leads).await.is_ok() {
            let mut ended = engine.leadership();
            tokio::select! {
                () = self.lead(&engine) => {}
                _ = ended.wait_for(|leads| !*leads) => {}
            }
            self.receiving.store(false, Ordering::Release);
        }
    }
}

impl AlertSource {
    async fn lead(&mut self, engine: &Handle) {
        let mut books: BTreeMap<ValidatorId, AlertBook> = BTreeMap::new();
        self.receiver.begin().await;
        self.receiving.store(true, Ordering::Release);
        let mut review = tokio::time::interval(REVIEW);
        // Beside this loop: they may take a minute, and what they find comes back as events.
        let _upkeep = AbortOnDrop(tokio::spawn(upkeep(self.receiver.clone(), engine.troubles().clone())));
        let _reconciling = AbortOnDrop(tokio::spawn(reconcile(self.receiver.clone(), self.api.clone())));
        loop {
            let changed = tokio::select! {
                Some(event) = self.events.recv() => match event {
                    AlertEvent::AlertUpdate { records } => take(&mut books, records),
                    AlertEvent::WatchdogSeen(_) => books.keys().cloned().collect(),
                },
                _ = review.tick() => {
                    let now = self.clock.now();
                    books.values_mut().for_each(|book| book.forget_old(now, self.freshness.stale_after));
                    books.keys().cloned().collect()
                }
            };
            self.tell(engine, &books, changed).await;
        }
    }

    async fn tell(&self, engine: &Handle, books: &BTreeMap<ValidatorId, AlertBook>, changed: BTreeSet<ValidatorId>) {
        let now: Time = self.clock.now();
        let watchdog = self.receiver.stats().last_watchdog();
        for id in changed {
            let Some(book) = books.get(&id) else { continue };
            for reading in book.readings(now, &self.freshness, watchdog) {
                engine.send(Event::Observed(id.clone(), Source::Alert, reading)).await;
            }
        }
    }
}

/// Brings what the ledger has into the books, part by part, and then looks for what is old every hour.
async fn upkeep(receiver: Arc<Receiver>, troubles: LedgerTroubles) {
    let mut unreadable = Vec::new();
    loop {
        let pause = match receiver.load().await {
            Ok(loaded) => {
                unreadable.extend(loaded.problems);
                // What was found before is not yet looked at again in the middle of a walk.
                if loaded.left == 0 {
                    troubles.set("alerts", std::mem::take(&mut unreadable));
                }
                if loaded.left == 0 { UPKEEP } else { NEXT_STEP }
            }
            Err(error) => {
                tracing::warn!(%error, "alerts from before the start cannot be read from the ledger yet");
                NEXT_STEP
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// Compares with Alertmanager's own list whenever something was doubtful, and every few minutes: a silence is seen only
/// there.
async fn reconcile(receiver: Arc<Receiver>, api: Option<Api>) {
    let Some(api) = api else { return };
    loop {
        let pause = match receiver.reconcile(&api).await {
            Ok(found) => {
                tracing::debug!(listed = found.listed, ended = found.ended, "compared with Alertmanager's list");
                if found.complete { RECONCILE } else { AGAIN }
            }
            Err(error) => {
                tracing::warn!(%error, "Alertmanager's list could not be read");
                AGAIN
            }
        };
        tokio::select! {
            () = receiver.reconcile_wanted() => {}
            () = tokio::time::sleep(pause) => {}
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
