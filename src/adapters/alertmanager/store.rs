//! Brings words about alerts into the ledger, each alert under its own key. It does not know where the words come from.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Semaphore;

use crate::{
    domain::{
        AlertRecord,
        alerts::{Alert, AlertState, AlertUpdate, merge},
    },
    ports::{Expect, Ledger, LedgerError, PutError, Version},
    records::{RecordError, decode, encode},
};

/// How many alerts are remembered to spare a read: about 10 MB at most.
const MAX_CACHED: usize = 10_000;
/// How many alerts are on their way to the ledger at one time. Enough for SQLite to commit many together, few enough
/// for an object store's connections.
const MAX_WRITES: usize = 128;
/// How often one alert is tried against other writers. Only this process writes alerts while it holds the lease, so
/// more than two means that something is wrong.
const ATTEMPTS: u32 = 8;

/// Why an alert is not in the ledger.
#[derive(Debug, thiserror::Error)]
pub enum AlertStoreError {
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// Others change the same record all the time.
    #[error("{0} is being changed by somebody else all the time; is there a second watcher?")]
    Contended(String),
    /// A reply was lost, and reading again did not tell.
    #[error("it is not known whether {key} was written: {reason}")]
    UnknownOutcome { key: String, reason: String },
    /// What is there cannot be read, and is left as it is.
    #[error(transparent)]
    Unreadable(#[from] RecordError),
    /// Cannot happen while texts are bounded.
    #[error("the record of {key} would have {bytes} bytes")]
    TooLarge { key: String, bytes: usize },
}

pub(super) struct AlertStore {
    ledger: Arc<dyn Ledger>,
    cache: Mutex<Cache>,
    writes: Semaphore,
}

#[derive(Default)]
struct Cache {
    known: HashMap<Arc<str>, (Version, Arc<AlertRecord>)>,
    order: VecDeque<Arc<str>>,
}

impl AlertStore {
    pub(super) fn new(ledger: Arc<dyn Ledger>) -> Self {
        Self { ledger, cache: Mutex::default(), writes: Semaphore::new(MAX_WRITES) }
    }

    pub(super) fn ledger(&self) -> &dyn Ledger {
        &*self.ledger
    }

    /// Forgets all that was known: another holder may have changed every record.
    pub(super) fn clear(&self) {
        *self.cache() = Cache::default();
    }

    pub(super) fn known(&self, key: &str) -> Option<(Version, Arc<AlertRecord>)> {
        self.cache().known.get(key).cloned()
    }

    /// Takes what was read from the ledger, and answers with what is known now: a word may have come meanwhile.
    pub(super) fn learn(&self, version: Version, record: Arc<AlertRecord>) -> Arc<AlertRecord> {
        let key: Arc<str> = record.alert.key().into();
        let mut cache = self.cache();
        cache.advance(Arc::clone(&key), version, Arc::clone(&record));
        cache.known.get(&key).map_or(record, |(_, known)| Arc::clone(known))
    }

    pub(super) fn forget(&self, key: &str) {
        self.cache().known.remove(key);
    }

    /// The alerts remembered that could be ended by a listing in which they are missing.
    pub(super) fn unresolved(&self) -> Vec<Arc<AlertRecord>> {
        let cache = self.cache();
        let records = cache.known.values().map(|(_, record)| record);
        records.filter(|record| !is_resolved(record)).map(Arc::clone).collect()
    }

    /// Answers when the word is durable, with the record it made.
    pub(super) async fn record(&self, alert: &Alert, heard: &AlertUpdate) -> Result<Arc<AlertRecord>, AlertStoreError> {
        let key: Arc<str> = alert.key().into();
        let _permit = self.writes.acquire().await.expect("it is never closed");
        for _ in 0..ATTEMPTS {
            let known = self.known(&key);
            let merged = merge(known.as_ref().map(|(_, record)| &**record), alert, heard);
            let record = Arc::new(merged.record);
            let expect = match known {
                Some((version, _)) if !merged.write => {
                    self.cache().advance(key, version, Arc::clone(&record));
                    return Ok(record);
                }
                Some((version, _)) => Expect::Version(version),
                None => Expect::Absent,
            };
            match self.ledger.write(&key, encode(&key, &record), expect).await {
                Ok(version) => {
                    self.cache().advance(key, version, Arc::clone(&record));
                    return Ok(record);
                }
                Err(PutError::Conflict { found: Some(found) }) => {
                    let record: AlertRecord = decode(&key, &found.bytes)?;
                    self.cache().set(Arc::clone(&key), found.version, Arc::new(record));
                }
                Err(PutError::Conflict { found: None }) => self.forget(&key),
                Err(PutError::UnknownOutcome(reason)) => {
                    self.forget(&key);
                    return Err(AlertStoreError::UnknownOutcome { key: key.to_string(), reason });
                }
                Err(PutError::Failed(error)) => return Err(error.into()),
                Err(PutError::TooLarge(bytes)) => {
                    return Err(AlertStoreError::TooLarge { key: key.to_string(), bytes });
                }
            }
        }
        Err(AlertStoreError::Contended(key.to_string()))
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cache {
    /// Takes a record unless a later one is there: answers of several writers overtake each other.
    fn advance(&mut self, key: Arc<str>, version: Version, record: Arc<AlertRecord>) {
        let later = |known: &AlertRecord| (known.revision, known.seen_at) > (record.revision, record.seen_at);
        if !self.known.get(&key).is_some_and(|(_, known)| later(known)) {
            self.set(key, version, record);
        }
    }

    fn set(&mut self, key: Arc<str>, version: Version, record: Arc<AlertRecord>) {
        if self.known.insert(Arc::clone(&key), (version, record)).is_none() {
            self.order.push_back(key);
        }
        // A key forgotten and learned again is listed twice in the order; then it only goes earlier than it had to.
        while self.order.len() > MAX_CACHED {
            self.evict();
        }
    }

    /// Drops the oldest; but one that is not resolved gets a second chance while there are others.
    fn evict(&mut self) {
        for _ in 0..16 {
            let Some(oldest) = self.order.pop_front() else { return };
            match self.known.get(&oldest) {
                Some((_, record)) if !is_resolved(record) => self.order.push_back(oldest),
                Some(_) | None => {
                    self.known.remove(&oldest);
                    return;
                }
            }
        }
        if let Some(oldest) = self.order.pop_front() {
            self.known.remove(&oldest);
        }
    }
}

fn is_resolved(record: &AlertRecord) -> bool {
    matches!(record.state, AlertState::Resolved { .. })
}
