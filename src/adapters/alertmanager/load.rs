//! The walk over the alerts in the ledger: it brings what an earlier holder knew, and removes what nobody needs any more.
//!
//! Messages do not wait for it, because a word about an alert reads the record that it needs. One step of it is bounded,
//! so that a ledger with very many alerts costs a bucket no more reads at once than any other.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use futures::{StreamExt, stream};

use super::{mapping::Mappings, store::AlertStore};
use crate::{
    domain::{AlertRecord, LedgerKey, Span, Time},
    ports::{LedgerError, PutError, Version},
    records::decode,
};

/// The most records that one step reads: more than a house has, and a minute's worth of a bucket's patience.
pub const STEP: usize = 2_000;
const READS: usize = 32;

/// What one step found.
#[derive(Debug, Default)]
pub struct Loaded {
    /// Records that were read from the ledger.
    pub read: usize,
    /// How many were removed: long over, or of an earlier build.
    pub removed: usize,
    /// How many no mapping takes any more. They are left to grow old.
    pub unmapped: usize,
    /// Records that cannot be read, left as they are. Their alerts are no opinion.
    pub problems: Vec<String>,
    /// How many the next steps will look at; 0 at the end of the walk.
    pub left: usize,
}

/// Which records are still to be looked at.
#[derive(Debug, Default)]
pub(super) struct Walk {
    keys: VecDeque<String>,
    /// What a step that failed has read and not passed on.
    learnt: Vec<Arc<AlertRecord>>,
}

/// What is to be done about one record.
enum Found {
    Gone,
    /// Of an earlier build, whose keys had the start of an alert in them. What still fires is named again.
    Outdated(Version),
    Record(Version, Arc<AlertRecord>),
    Unreadable(String),
}

impl Walk {
    /// Takes the next step, or begins again. Answers with the records that belong into the books.
    pub(super) async fn step(
        &mut self,
        store: &AlertStore,
        mappings: &Mappings,
        now: Time,
        stale_after: Span,
    ) -> Result<(Loaded, Vec<Arc<AlertRecord>>), LedgerError> {
        if self.keys.is_empty() {
            self.keys = in_turn(store.ledger().list(LedgerKey::ALERTS, None).await?);
        }
        let mut loaded = Loaded::default();
        let mut records = std::mem::take(&mut self.learnt);
        let mut unread = Vec::new();
        while unread.len() < STEP
            && let Some(key) = self.keys.pop_front()
        {
            match store.known(&key) {
                Some((version, record)) if record.is_over(now, stale_after) => {
                    loaded.removed += usize::from(remove(store, &key, &version).await);
                }
                Some(_) => {}
                None => unread.push(key),
            }
        }
        loaded.read = unread.len();
        let again = unread.clone();
        let mut reads = stream::iter(unread)
            .map(|key| async move {
                let found = read(store, &key).await;
                (key, found)
            })
            .buffer_unordered(READS);
        while let Some((key, found)) = reads.next().await {
            let found = match found {
                Ok(found) => found,
                Err(error) => {
                    self.keys.extend(again);
                    self.learnt = records;
                    return Err(error);
                }
            };
            match found {
                Found::Gone => {}
                Found::Outdated(version) => loaded.removed += usize::from(remove(store, &key, &version).await),
                Found::Record(version, record) if record.is_over(now, stale_after) => {
                    loaded.removed += usize::from(remove(store, &key, &version).await);
                }
                Found::Record(version, record) if mappings.still_has(&record.alert) => {
                    records.push(store.learn(version, record));
                }
                Found::Record(..) => loaded.unmapped += 1,
                Found::Unreadable(why) => loaded.problems.push(why),
            }
        }
        loaded.left = self.keys.len();
        Ok((loaded, records))
    }
}

async fn read(store: &AlertStore, key: &str) -> Result<Found, LedgerError> {
    let stored = match store.ledger().get(key).await {
        Ok(Some(stored)) => stored,
        Ok(None) => return Ok(Found::Gone),
        Err(LedgerError::Oversized(why)) => return Ok(Found::Unreadable(why)),
        Err(error) => return Err(error),
    };
    if LedgerKey::validator_of_alert(key).is_none() {
        return Ok(Found::Outdated(stored.version));
    }
    Ok(match decode::<AlertRecord>(key, &stored.bytes) {
        Ok(record) => Found::Record(stored.version, Arc::new(record)),
        Err(error) => Found::Unreadable(error.to_string()),
    })
}

async fn remove(store: &AlertStore, key: &str, version: &Version) -> bool {
    // First, so that a word about it that comes now asks the ledger.
    store.forget(key);
    match store.ledger().remove(key, version).await {
        Ok(()) => true,
        // A word came meanwhile, and it is needed again.
        Err(PutError::Conflict { .. }) => false,
        Err(error) => {
            tracing::warn!(key, %error, "an old alert is not removed; the next walk tries again");
            false
        }
    }
}

/// The first of each validator before the second of any, so that a storm about one does not delay the others. Keys of an
/// earlier build are last: they are only removed.
fn in_turn(keys: Vec<String>) -> VecDeque<String> {
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut turns: Vec<(usize, String)> = Vec::with_capacity(keys.len());
    for key in keys {
        let turn = match LedgerKey::validator_of_alert(&key) {
            Some(validator) => match seen.get_mut(validator) {
                Some(turn) => {
                    *turn += 1;
                    *turn
                }
                None => {
                    seen.insert(validator.to_owned(), 0);
                    0
                }
            },
            None => usize::MAX,
        };
        turns.push((turn, key));
    }
    turns.sort_by_key(|(turn, _)| *turn);
    turns.into_iter().map(|(_, key)| key).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_about_one_validator_does_not_delay_the_others() {
        let key = |validator: &str, number: u64| format!("alerts/{validator}/{number:016x}");
        let old = "alerts/a/0000000000000001-1795222800000".to_owned();
        let keys = vec![key("a", 1), old.clone(), key("a", 2), key("a", 3), key("b", 1), key("b", 2)];
        let expected = [key("a", 1), key("b", 1), key("a", 2), key("b", 2), key("a", 3), old];
        assert_eq!(in_turn(keys), expected);
    }
}
