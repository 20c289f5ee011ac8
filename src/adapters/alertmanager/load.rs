//! What the ledger knew of alerts before this process had the lease, and the removal of what nobody needs any more.

use std::sync::Arc;

use futures::{StreamExt, stream};

use super::mapping::Mappings;
use crate::{
    domain::{AlertRecord, LedgerKey, Span, Time, alerts::AlertState},
    ports::{Ledger, LedgerError, Version},
    records::decode,
};

/// A resolved alert is kept for a week, for people who ask what happened.
pub const RESOLVED_KEPT: Span = Span::from_hours(7 * 24);
/// Nothing heard for a month: Alertmanager would have repeated it after five days at the latest.
pub const UNTOUCHED_KEPT: Span = Span::from_hours(30 * 24);
const READS: usize = 32;

#[derive(Debug, Default)]
pub struct Loaded {
    /// Alerts that a mapping still takes. They belong into the books.
    pub records: Vec<Arc<AlertRecord>>,
    /// How many were removed because of their age.
    pub removed: usize,
    /// How many no mapping takes any more. They are left to grow old.
    pub unmapped: usize,
    /// Records that cannot be read, left as they are. Their alerts are no opinion.
    pub problems: Vec<String>,
}

pub(super) async fn load(
    ledger: &dyn Ledger,
    mappings: &Mappings,
    now: Time,
) -> Result<(Loaded, Vec<(Version, Arc<AlertRecord>)>), LedgerError> {
    let keys = ledger.list(LedgerKey::ALERTS, None).await?;
    let mut reads = stream::iter(keys)
        .map(|key| async move {
            let stored = ledger.get(&key).await;
            (key, stored)
        })
        .buffer_unordered(READS);
    let mut loaded = Loaded::default();
    let mut known = Vec::new();
    while let Some((key, stored)) = reads.next().await {
        let Some(stored) = stored? else { continue };
        let record = match decode::<AlertRecord>(&key, &stored.bytes) {
            Ok(record) => record,
            Err(error) => {
                tracing::error!(%error, "an alert counts for nothing");
                loaded.problems.push(error.to_string());
                continue;
            }
        };
        if is_old(&record, now) {
            match ledger.remove(&key, &stored.version).await {
                Ok(()) => loaded.removed += 1,
                Err(error) => tracing::warn!(key, %error, "an old alert is not removed, the next start tries again"),
            }
        } else if mappings.still_has(&record.alert) {
            let record = Arc::new(record);
            loaded.records.push(Arc::clone(&record));
            known.push((stored.version, record));
        } else {
            loaded.unmapped += 1;
        }
    }
    Ok((loaded, known))
}

fn is_old(record: &AlertRecord, now: Time) -> bool {
    let resolved = match &record.state {
        AlertState::Resolved { at, .. } => now.duration_since(*at) > RESOLVED_KEPT,
        AlertState::Firing { .. } | AlertState::Doubtful { .. } | AlertState::Silenced { .. } => false,
    };
    resolved || now.duration_since(record.seen_at) > UNTOUCHED_KEPT
}
