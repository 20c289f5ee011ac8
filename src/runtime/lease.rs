//! A lease: a record that one process holds as long as it renews it, and renewing it *is* the heartbeat. Who holds
//! `lease` decides and acts.
//!
//! It is judged by the reader's own clock since the record last changed, never by comparing clocks.
//!
//! **Why never two.** A renewal is sent at `s`, is in the ledger at `w` and is first seen by the one who waits at `r`:
//! `s < w < r`, by any clock. The holder stops at `s + ttl` by its clock, and counts only renewals that were answered; the
//! other begins at `r + ttl + ttl/50` by its own. So it begins later while the two clocks *run* at most 2 % apart,
//! however they are set and however seldom it looks. A clock that is slewed faster than that is not covered.
//!
//! **What it costs, and how soon.** In a bucket each renewal is a write and each look a read, and both are paid for
//! (docs/gcp.md; `tests/it/two/hour.rs` counts them): three renewals in a `ttl`, so that two may fail, and 28 looks. A
//! holder that dies just after a renewal is replaced after at most `ttl × (1 + 1/50 + 1/28)`, plus the three answers
//! it takes to see the record, to see it again and to take it: 58.1 s and the answers with the 55 s of a bucket. A clean
//! stop is found within `ttl/28`.
//!
//! **A witness** takes it only when the record has not changed for longer than `silence`, whoever held it and whether or
//! not it was given back, and never for less than the time above: so the proof holds for it as well. A ledger that does not
//! answer shows nothing: of the time between two looks that were answered only a tenth of `silence` counts, so an
//! outage of the store that ends for the witness first gives it nothing.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

mod changes;
mod deadline;
mod unchanged;

use changes::Changes;
use deadline::{Deadline, Moment};
pub use unchanged::Unchanged;

use super::patience::Patience;
use crate::{
    domain::LedgerKey,
    ports::{Expect, Ledger, LedgerError, PutError, Stored, Version},
    records::{self, RecordError},
};

/// How soon a holder notices that its machine has slept through the end of the lease.
const LOOK_AT_THE_CLOCK: Duration = Duration::from_millis(250);

/// The record; `T` is what its holder says about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeaseRecord<T = LeaseHolder> {
    /// Which process holds it; empty when it was given back.
    pub holder: String,
    #[serde(flatten)]
    pub about: T,
    /// Grows with every take-over.
    pub token: u64,
    /// Grows with every renewal, so that equal bytes never hide a heartbeat.
    pub beat: u64,
    /// How long a silence means that the holder is gone, in milliseconds.
    pub ttl_ms: u64,
}

/// What a watcher says about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseHolder {
    pub site: String,
    /// Where its status can be asked for.
    pub address: Option<String>,
    /// Its name, if it is a witness of that site.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub witness: Option<String>,
}

impl LeaseHolder {
    /// Under which name it writes what it sees.
    #[must_use]
    pub fn name(&self) -> &str {
        self.witness.as_deref().unwrap_or(&self.site)
    }
}

/// Which lease, who we are and how long it lasts.
#[derive(Clone, Debug)]
pub struct LeaseConfig<T = LeaseHolder> {
    pub key: LedgerKey,
    pub about: T,
    /// How long a silence means that the holder is gone.
    pub ttl: Duration,
    /// A witness: for how long nobody must have touched the record before it is taken. `None`: one who takes it as soon as
    /// it is free.
    pub silence: Option<Duration>,
}

/// Into how many looks a witness divides its `silence`: the lease is found silent a thirtieth late at most.
const LOOKS: u32 = 30;

/// Of the time between two looks of one who waits for this silence, as much counts for it: two looks may fail.
#[must_use]
pub fn longest_gap(silence: Duration) -> Duration {
    look_every(silence) * 3
}

/// How often one who waits for this silence looks.
#[must_use]
pub fn look_every(silence: Duration) -> Duration {
    silence / LOOKS
}

impl<T> LeaseConfig<T> {
    fn renew_every(&self) -> Duration {
        self.ttl / 3
    }

    /// How often a lease that is held is looked at by one who wants it.
    fn look_every(&self) -> Duration {
        self.silence.map_or(self.ttl / 28, look_every)
    }

    fn gap(&self) -> Duration {
        self.silence.map_or(Duration::MAX, longest_gap)
    }

    /// How soon what has failed is tried again: often enough that one failure costs nobody the lease.
    pub(super) fn retry_after(&self) -> Duration {
        self.ttl / 12
    }
}

/// How far apart two clocks may run, as a part of the time that both measure.
const CLOCKS_RUN_APART: u32 = 50;

/// What a holder can say about itself.
pub trait HolderInfo: Clone + Serialize + DeserializeOwned + Send + Sync + 'static {}
impl<T: Clone + Serialize + DeserializeOwned + Send + Sync + 'static> HolderInfo for T {}

/// A lease that is held, as long as it is renewed.
#[derive(Clone, Debug)]
pub struct Lease {
    key: LedgerKey,
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
    #[must_use]
    pub fn key(&self) -> &LedgerKey {
        &self.key
    }

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
pub async fn acquire<T: HolderInfo>(
    ledger: &Arc<dyn Ledger>,
    config: &LeaseConfig<T>,
    shutdown: &CancellationToken,
) -> Result<(Lease, Keeper), LeaseError> {
    let mut seen = None;
    let mut patience = Patience::default();
    loop {
        let wait = match try_take(ledger, config, &mut seen).await {
            Ok(Attempt::Taken(record, version, since)) => {
                return Ok(keep(ledger.clone(), config.clone(), record, version, since));
            }
            Ok(Attempt::Wait(wait)) => {
                patience.answered();
                wait
            }
            Err(LeaseError::Ledger(error)) => {
                let why = patience.try_again(error)?;
                tracing::warn!(why, "the lease cannot be had yet, trying again");
                config.retry_after()
            }
            Err(error @ (LeaseError::Record(_) | LeaseError::Shutdown)) => return Err(error),
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = shutdown.cancelled() => return Err(LeaseError::Shutdown),
        }
    }
}

enum Attempt<T> {
    Taken(LeaseRecord<T>, Version, Moment),
    Wait(Duration),
}

async fn try_take<T: HolderInfo>(
    ledger: &Arc<dyn Ledger>,
    config: &LeaseConfig<T>,
    seen: &mut Option<Unchanged>,
) -> Result<Attempt<T>, LeaseError> {
    let current = ledger.get(&config.key).await?;
    let (token, expect) = match &current {
        // Nobody has ever led here, so there is no home to stand in for.
        None if config.silence.is_some() => return Ok(Attempt::Wait(config.look_every())),
        None => (1, Expect::Absent),
        Some(stored) => {
            let read = records::decode::<LeaseRecord<T>>(&config.key, &stored.bytes);
            let (is_free, ttl, token) = match read {
                Ok(record) => (record.holder.is_empty(), Duration::from_millis(record.ttl_ms), record.token + 1),
                // Nobody knows who holds it. A holder that lives writes it again within a third of its time, and nothing
                // but a heartbeat is lost with it. Seconds are more than all take-overs that were ever counted.
                Err(error @ (RecordError::Corrupt { .. } | RecordError::Older { .. })) => {
                    tracing::error!(%error, "it is taken for held, and replaced when nobody renews it");
                    let token = u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or_default();
                    (false, config.ttl * 3, token)
                }
                Err(error) => return Err(error.into()),
            };
            if let Some(left) = still_held(stored, is_free, ttl, config, seen) {
                return Ok(Attempt::Wait(left.min(config.look_every())));
            }
            (token, Expect::Version(stored.version.clone()))
        }
    };
    let record = LeaseRecord {
        // Another one for each try: what is found is then this very write, which `since` came before.
        holder: Uuid::new_v4().to_string(),
        about: config.about.clone(),
        token,
        beat: 0,
        ttl_ms: u64::try_from(config.ttl.as_millis()).unwrap_or(u64::MAX),
    };
    let since = Moment::now();
    match ledger.write(&config.key, records::encode(&config.key, &record), expect).await {
        Ok(version) => Ok(Attempt::Taken(record, version, since)),
        // Whoever was quicker shows at the next look.
        Err(PutError::Conflict { .. } | PutError::UnknownOutcome(_)) => Ok(Attempt::Wait(config.retry_after())),
        Err(PutError::Failed(error)) => Err(error.into()),
        Err(PutError::TooLarge(size)) => {
            Err(LedgerError::Unusable(format!("it does not take a lease of {size} bytes")).into())
        }
    }
}

/// How long it may still be held, by our own clock since we saw it change. `None`: given back, or silent for too long.
fn still_held<T>(
    stored: &Stored,
    is_free: bool,
    ttl: Duration,
    config: &LeaseConfig<T>,
    seen: &mut Option<Unchanged>,
) -> Option<Duration> {
    let until_gone = ttl.saturating_add(ttl / CLOCKS_RUN_APART);
    let needed = match config.silence {
        None if is_free => return None,
        None => until_gone,
        Some(silence) => silence.max(until_gone),
    };
    let silent_for = Unchanged::look(seen, &stored.version, Instant::now(), config.gap());
    needed.checked_sub(silent_for).filter(|left| !left.is_zero())
}

/// Renews the lease in a task of its own until stopped.
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

fn keep<T: HolderInfo>(
    ledger: Arc<dyn Ledger>,
    config: LeaseConfig<T>,
    record: LeaseRecord<T>,
    version: Version,
    since: Moment,
) -> (Lease, Keeper) {
    let (sender, until) = watch::channel(Deadline::after(since, config.ttl));
    let (lost, release) = (CancellationToken::new(), CancellationToken::new());
    let changes = Arc::default();
    let (key, token, ttl) = (config.key.clone(), record.token, config.ttl);
    let lease = Lease { key, token, ttl, until: until.clone(), lost: lost.clone(), changes };
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

async fn renew<T: HolderInfo>(
    ledger: Arc<dyn Ledger>,
    config: LeaseConfig<T>,
    mut record: LeaseRecord<T>,
    mut version: Version,
    until: watch::Sender<Deadline>,
    release: CancellationToken,
) {
    let mut pause = config.renew_every();
    let us = record.holder.clone();
    loop {
        let giving_back = tokio::select! {
            () = tokio::time::sleep(pause) => false,
            () = release.cancelled() => true,
        };
        record.beat += 1;
        if giving_back {
            record.holder = String::new();
        }
        let since = Moment::now();
        pause = config.retry_after();
        match ledger.write(&config.key, records::encode(&config.key, &record), Expect::Version(version.clone())).await {
            Ok(next) => {
                version = next;
                pause = config.renew_every();
                let _ = until.send(Deadline::after(since, config.ttl));
            }
            Err(PutError::Conflict { found }) => {
                match found.filter(|found| is_same::<T>(&config.key, found, &us, record.token)) {
                    // An earlier beat of ours, whose reply was lost; how long ago it came is not known.
                    Some(earlier) => {
                        version = earlier.version;
                        if giving_back {
                            continue;
                        }
                    }
                    None => {
                        tracing::warn!(key = %config.key, "another process has taken the lease");
                        return;
                    }
                }
            }
            Err(error) => tracing::warn!(key = %config.key, %error, "the lease could not be renewed"),
        }
        if giving_back || until.borrow().left().is_zero() {
            return;
        }
    }
}

fn is_same<T: HolderInfo>(key: &LedgerKey, found: &Stored, holder: &str, token: u64) -> bool {
    records::decode::<LeaseRecord<T>>(key, &found.bytes)
        .is_ok_and(|found| found.holder == holder && found.token == token)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// This is in ledgers, beside programs of another version.
    #[test]
    fn the_watchers_record_is_flat_and_takes_no_unknown_field() {
        let about = LeaseHolder { site: "home".into(), address: None, witness: None };
        let record = LeaseRecord { holder: "h".into(), about, token: 3, beat: 1, ttl_ms: 30_000 };
        let text = r#"{"address":null,"beat":1,"holder":"h","site":"home","token":3,"ttl_ms":30000,"v":2,"sum":"#;
        let written = String::from_utf8(records::encode(&LedgerKey::LEASE, &record)).unwrap();
        assert!(written.starts_with(text), "{written}");
        assert_eq!(records::decode::<LeaseRecord>(&LedgerKey::LEASE, written.as_bytes()).unwrap(), record);
        let mut more = serde_json::to_value(&record).unwrap();
        more["boat"] = 1.into();
        let more = records::encode(&LedgerKey::LEASE, &more);
        let refused = records::decode::<LeaseRecord>(&LedgerKey::LEASE, &more).unwrap_err();
        assert!(refused.to_string().contains("unknown field `boat`"), "{refused}");
        let about = LeaseHolder { witness: Some("oslo".into()), ..record.about.clone() };
        let of_a_witness = LeaseRecord { about, ..record };
        let written = records::encode(&LedgerKey::LEASE, &of_a_witness);
        assert_eq!(records::decode::<LeaseRecord>(&LedgerKey::LEASE, &written).unwrap(), of_a_witness);
    }

    fn config(silence: Option<Duration>) -> LeaseConfig<()> {
        LeaseConfig { key: LedgerKey::LEASE, about: (), ttl: Duration::from_secs(50), silence }
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_counts_two_percent_longer_than_the_holder_and_from_when_it_saw_the_record_change() {
        let ttl = Duration::from_secs(50);
        let stored = |version: &str| Stored { bytes: Vec::new(), version: Version(version.into()) };
        let (mut seen, config) = (None, config(None));
        for version in ["1", "2"] {
            assert_eq!(still_held(&stored(version), false, ttl, &config, &mut seen), Some(Duration::from_secs(51)));
            tokio::time::advance(Duration::from_millis(50_999)).await;
            assert_eq!(still_held(&stored(version), false, ttl, &config, &mut seen), Some(Duration::from_millis(1)));
        }
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(still_held(&stored("2"), false, ttl, &config, &mut seen), None);
        assert_eq!(still_held(&stored("3"), true, ttl, &config, &mut seen), None, "given back");
    }

    #[tokio::test(start_paused = true)]
    async fn a_witness_waits_for_its_silence_whoever_holds_it_and_never_for_less_than_another_would() {
        let (minute, second) = (Duration::from_mins(1), Duration::from_secs(1));
        let stored = Stored { bytes: Vec::new(), version: Version("1".into()) };
        let ttl = 50 * second;
        for (silence, ttl, needed) in [(10 * minute, ttl, 10 * minute), (10 * minute, 20 * minute, 1224 * second)] {
            for is_free in [true, false] {
                let (mut seen, config) = (None, config(Some(silence)));
                let mut waited = Duration::ZERO;
                while let Some(left) = still_held(&stored, is_free, ttl, &config, &mut seen) {
                    assert_eq!(left, needed - waited, "{is_free}");
                    let pause = left.min(config.look_every());
                    tokio::time::advance(pause).await;
                    waited += pause;
                }
                assert_eq!(waited, needed, "{is_free}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_witness_could_not_look_at_was_not_silent() {
        let stored = Stored { bytes: Vec::new(), version: Version("1".into()) };
        let (silence, ttl) = (Duration::from_mins(10), Duration::from_secs(50));
        let (mut seen, config) = (None, config(Some(silence)));
        assert_eq!(still_held(&stored, false, ttl, &config, &mut seen), Some(silence));
        tokio::time::advance(Duration::from_hours(3)).await;
        assert_eq!(still_held(&stored, false, ttl, &config, &mut seen), Some(Duration::from_mins(9)));
    }
}
