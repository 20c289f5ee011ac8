//! The lease: who decides and acts. There is one record, and holding it *is* the heartbeat.
//!
//! It is judged by the reader's own clock since the record last changed, never by comparing clocks. The holder counts
//! from before it sent its renewal, so it always thinks of the end earlier than whoever waits for it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

mod changes;
mod deadline;

use changes::Changes;
use deadline::{Deadline, Moment};

use crate::{
    domain::LedgerKey,
    ports::{Expect, Ledger, LedgerError, PutError, Stored, Version},
    records::{self, RecordError},
};

/// How soon a holder notices that its machine has slept through the end of the lease.
const LOOK_AT_THE_CLOCK: Duration = Duration::from_millis(250);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeaseRecord {
    /// Which process holds it; empty when it was given back.
    pub holder: String,
    pub site: String,
    /// Where its status can be asked for.
    pub address: Option<String>,
    /// Grows with every take-over.
    pub token: u64,
    /// Grows with every renewal, so that equal bytes never hide a heartbeat.
    pub beat: u64,
    /// How long a silence means that the holder is gone, in milliseconds.
    pub ttl_ms: u64,
}

/// Who we are and how long the lease lasts.
#[derive(Clone, Debug)]
pub struct LeaseConfig {
    pub site: String,
    pub address: Option<String>,
    /// How long a silence means that the holder is gone.
    pub ttl: Duration,
}

/// A lease that is held, as long as it is renewed.
#[derive(Clone, Debug)]
pub struct Lease {
    token: u64,
    ttl: Duration,
    until: watch::Receiver<Deadline>,
    lost: CancellationToken,
    changes: Arc<Changes>,
}

#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The record cannot be read; it is left as it is.
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error("shut down while waiting for the lease")]
    Shutdown,
}

impl Lease {
    /// The fencing token: every record names its writer's.
    #[must_use]
    pub fn token(&self) -> u64 {
        self.token
    }

    /// How much of it is left for certain.
    #[must_use]
    pub fn margin(&self) -> Duration {
        if self.lost.is_cancelled() {
            return Duration::ZERO;
        }
        self.until.borrow().left()
    }

    /// Waits until a change that ends within this time, if it begins now, ends before the lease does. False when the
    /// lease is lost or no change may begin under it any more: then it must not be made.
    ///
    /// **Invariant:** a successor that has waited the lease out need not wait for a change made under it.
    pub async fn may_change(&self, within: Duration) -> bool {
        // A lease that is shorter than the call can only promise what a fresh renewal has.
        let margin = within.min(self.ttl.mul_f32(0.6));
        let mut until = self.until.clone();
        loop {
            if self.margin() >= margin {
                return self.changes.begin(within);
            }
            tokio::select! {
                changed = until.changed() => if changed.is_err() { return false },
                () = self.lost.cancelled() => return false,
                () = self.changes.closed() => return false,
            }
        }
    }

    /// Lets no change begin under it any more, and says how long the last one may still take.
    pub(super) fn close(&self) -> Duration {
        self.changes.close()
    }

    /// Ends when the lease is lost.
    pub async fn lost(&self) {
        self.lost.cancelled().await;
    }
}

/// Waits until the lease is ours, then keeps it until `release` is cancelled, and gives it back.
///
/// # Errors
/// [`LeaseError`]: the ledger cannot be used, or the record cannot be read.
pub async fn acquire(
    ledger: &Arc<dyn Ledger>,
    config: &LeaseConfig,
    shutdown: &CancellationToken,
) -> Result<(Lease, Keeper), LeaseError> {
    let mut seen: Option<(Version, Instant)> = None;
    loop {
        let wait = match try_take(ledger, config, &mut seen).await? {
            Attempt::Taken(record, version, since) => {
                return Ok(keep(ledger.clone(), config.clone(), record, version, since));
            }
            Attempt::Wait(wait) => wait,
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = shutdown.cancelled() => return Err(LeaseError::Shutdown),
        }
    }
}

enum Attempt {
    Taken(LeaseRecord, Version, Moment),
    Wait(Duration),
}

async fn try_take(
    ledger: &Arc<dyn Ledger>,
    config: &LeaseConfig,
    seen: &mut Option<(Version, Instant)>,
) -> Result<Attempt, LeaseError> {
    let retry = Attempt::Wait(config.ttl / 6);
    let current = match ledger.get(&LedgerKey::LEASE).await {
        Ok(current) => current,
        Err(LedgerError::Unavailable(why)) => {
            tracing::warn!(why, "the ledger is not available, waiting for it");
            return Ok(Attempt::Wait(config.ttl / 3));
        }
        Err(error @ LedgerError::Unusable(_)) => return Err(error.into()),
    };
    let (token, expect) = match &current {
        None => (1, Expect::Absent),
        Some(stored) => {
            let record: LeaseRecord = records::decode(&LedgerKey::LEASE, &stored.bytes)?;
            if let Some(left) = still_held(stored, &record, seen) {
                // A holder that hands over does so at any moment; look often enough to follow within a second.
                return Ok(Attempt::Wait(left.min(config.ttl / 6).min(Duration::from_millis(500))));
            }
            (record.token + 1, Expect::Version(stored.version.clone()))
        }
    };
    let record = LeaseRecord {
        // Another one for each try: what is found is then this very write, which `since` came before.
        holder: Uuid::new_v4().to_string(),
        site: config.site.clone(),
        address: config.address.clone(),
        token,
        beat: 0,
        ttl_ms: u64::try_from(config.ttl.as_millis()).unwrap_or(u64::MAX),
    };
    let since = Moment::now();
    match ledger.write(&LedgerKey::LEASE, records::encode(&record), expect).await {
        Ok(version) => Ok(Attempt::Taken(record, version, since)),
        // Whoever was quicker shows at the next look.
        Err(
            PutError::Conflict { .. } | PutError::UnknownOutcome(_) | PutError::Failed(LedgerError::Unavailable(_)),
        ) => Ok(retry),
        Err(PutError::Failed(error @ LedgerError::Unusable(_))) => Err(error.into()),
        Err(PutError::TooLarge(size)) => {
            Err(LedgerError::Unusable(format!("it does not take a lease of {size} bytes")).into())
        }
    }
}

/// How long it may still be held, by our own clock since we saw it change. `None`: given back, or silent for too long.
fn still_held(stored: &Stored, record: &LeaseRecord, seen: &mut Option<(Version, Instant)>) -> Option<Duration> {
    if record.holder.is_empty() {
        return None;
    }
    let changed = seen.as_ref().is_none_or(|(version, _)| *version != stored.version);
    if changed {
        *seen = Some((stored.version.clone(), Instant::now()));
    }
    let silent_for = seen.as_ref().map_or(Duration::ZERO, |(_, since)| since.elapsed());
    Duration::from_millis(record.ttl_ms).checked_sub(silent_for).filter(|left| !left.is_zero())
}

/// Renews the lease in a task of its own until told to stop.
#[derive(Debug)]
pub struct Keeper {
    release: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Keeper {
    /// Gives the lease back, so that a successor need not wait. Only to be called once nothing started under it runs.
    pub async fn release(self) {
        self.release.cancel();
        let _ = self.task.await;
    }
}

fn keep(
    ledger: Arc<dyn Ledger>,
    config: LeaseConfig,
    record: LeaseRecord,
    version: Version,
    since: Moment,
) -> (Lease, Keeper) {
    let (sender, until) = watch::channel(Deadline::after(since, config.ttl));
    let (lost, release) = (CancellationToken::new(), CancellationToken::new());
    let changes = Arc::default();
    let lease = Lease { token: record.token, ttl: config.ttl, until: until.clone(), lost: lost.clone(), changes };
    let renewing = renew(ledger, config, record, version, sender, release.clone());
    let task = tokio::spawn(async move {
        let _lost_at_the_end = lost.drop_guard();
        // A ledger that hangs must not keep anybody in the belief that the lease is held.
        tokio::select! {
            () = renewing => {}
            () = over(until) => tracing::warn!("the lease has run out"),
        }
    });
    (lease, Keeper { release, task })
}

/// Ends when the lease has run out.
async fn over(until: watch::Receiver<Deadline>) {
    loop {
        let left = until.borrow().left();
        if left.is_zero() {
            return;
        }
        // Not in one piece: the wall clock may jump meanwhile.
        tokio::time::sleep(left.min(LOOK_AT_THE_CLOCK)).await;
    }
}

async fn renew(
    ledger: Arc<dyn Ledger>,
    config: LeaseConfig,
    mut record: LeaseRecord,
    mut version: Version,
    until: watch::Sender<Deadline>,
    release: CancellationToken,
) {
    loop {
        let giving_back = tokio::select! {
            () = tokio::time::sleep(config.ttl / 3) => false,
            () = release.cancelled() => true,
        };
        record.beat += 1;
        if giving_back {
            record.holder = String::new();
        }
        let since = Moment::now();
        match ledger.write(&LedgerKey::LEASE, records::encode(&record), Expect::Version(version.clone())).await {
            Ok(next) => {
                version = next;
                let _ = until.send(Deadline::after(since, config.ttl));
            }
            Err(PutError::Conflict { found }) => match found.filter(|found| is_same(found, &record)) {
                // An earlier beat of ours, whose reply was lost; how long ago it came is not known.
                Some(earlier) => version = earlier.version,
                None => {
                    tracing::warn!("another watcher has taken the lease");
                    return;
                }
            },
            Err(error) => tracing::warn!(%error, "the lease could not be renewed"),
        }
        if giving_back || until.borrow().left().is_zero() {
            return;
        }
    }
}

fn is_same(found: &Stored, ours: &LeaseRecord) -> bool {
    records::decode::<LeaseRecord>(&LedgerKey::LEASE, &found.bytes)
        .is_ok_and(|found| found.holder == ours.holder && found.token == ours.token)
}
