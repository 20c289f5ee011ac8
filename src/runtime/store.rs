//! The validators' records in the ledger: read, fenced, written.
//!
//! Every record names its writer's lease token and a write id, so that a write whose reply was lost is recognised, and
//! a writer that has lost the lease finds its next write refused.

use std::{collections::HashMap, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{identity::LedgerIdentity, lease::Lease, patience::Patience};
use crate::{
    domain::{Backoff, LedgerKey, Span, Time, Validator, ValidatorId},
    ports::{Expect, Ledger, LedgerError, PutError, Version},
    records::{self, RecordError},
};

/// How a validator's record is laid out. Nothing reads another one.
pub const FORM: u64 = 4;

/// A write is tried again for as long as the lease lasts, which is seconds.
const AGAIN: Backoff = Backoff::new(Span::from_millis(50), Span::from_secs(1));

/// A validator's record as the ledger has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Envelope {
    pub form: u64,
    pub ledger: Uuid,
    /// When it was written, by its writer's clock.
    pub written_at: Time,
    /// The lease under which it was written.
    pub token: u64,
    pub write_id: Uuid,
    pub validator: Validator,
}

/// Why a record could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The record; it is left as it is.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// Somebody else writes: we no longer hold the lease, whatever we thought.
    #[error("somebody else has written {key}: this watcher steps down")]
    Fenced { key: LedgerKey },
    /// A write of an earlier holder came late, after its record was taken over: it has to be read again.
    #[error("a late write of an earlier watcher is in {key}: it is read again")]
    Overtaken { key: LedgerKey },
    /// The lease ran out while the ledger did not answer.
    #[error("the lease ran out before {key} was written")]
    OutOfTime { key: LedgerKey },
}

/// Reads one record, for showing.
///
/// # Errors
/// [`StoreError`].
pub async fn read(ledger: &dyn Ledger, id: &ValidatorId) -> Result<Option<(Version, Envelope)>, StoreError> {
    let key = LedgerKey::validator(id);
    let found = ledger.get(&key).await.map_err(|error| match error {
        LedgerError::Oversized(why) => RecordError::Corrupt { key: key.to_string(), why }.into(),
        LedgerError::Unavailable(_) | LedgerError::Refused(..) | LedgerError::Unusable(_) => StoreError::from(error),
    })?;
    let Some(stored) = found else { return Ok(None) };
    Ok(Some((stored.version, records::decode_form(&key, &stored.bytes, FORM)?)))
}

/// Ends when one of these records can be read, or is there no longer.
pub(super) async fn mended(
    ledger: Arc<dyn Ledger>,
    identity: LedgerIdentity,
    unreadable: Vec<ValidatorId>,
    every: Duration,
) {
    if unreadable.is_empty() {
        return std::future::pending().await;
    }
    loop {
        tokio::time::sleep(every).await;
        for id in &unreadable {
            match read(&*ledger, id).await {
                Ok(found) if found.as_ref().is_none_or(|(_, envelope)| identity.knows(envelope.ledger)) => return,
                Ok(_) | Err(_) => {}
            }
        }
    }
}

pub struct Store {
    ledger: Arc<dyn Ledger>,
    identity: LedgerIdentity,
    lease: Lease,
    versions: HashMap<ValidatorId, Version>,
}

impl Store {
    /// A store that writes as long as this lease is held.
    #[must_use]
    pub fn new(ledger: Arc<dyn Ledger>, identity: LedgerIdentity, lease: Lease) -> Self {
        Self { ledger, identity, lease, versions: HashMap::new() }
    }

    /// The ledger's id.
    #[must_use]
    pub fn identity(&self) -> Uuid {
        self.identity.id
    }

    /// Takes a record over: reads it and writes it back under our token, which fences the previous holder. What it
    /// says of moments is by its writer's clock; it is brought to ours where that is behind.
    ///
    /// # Errors
    /// [`StoreError`]; an unreadable record is left untouched.
    pub async fn take_over(&mut self, id: &ValidatorId, now: Time) -> Result<Validator, StoreError> {
        loop {
            let found = tokio::select! {
                found = read(&*self.ledger, id) => found?,
                () = self.lease.lost() => return Err(StoreError::OutOfTime { key: LedgerKey::validator(id) }),
            };
            let Some((version, envelope)) = found else {
                // A record that says only "watching" need not be there: nothing can be lost with it. What an earlier
                // holder may still write there is met by our first write.
                self.versions.remove(id);
                return Ok(Validator::default());
            };
            if !self.identity.knows(envelope.ledger) {
                let (found, ours) = (envelope.ledger, self.identity.id);
                return Err(RecordError::OtherLedger { key: LedgerKey::validator(id).to_string(), found, ours }.into());
            }
            let mut validator = envelope.validator;
            // Its writer's clock was ahead of ours, or ours was set back: nothing of it lies in the future.
            let by = now.duration_since(envelope.written_at);
            if by.is_negative() {
                validator.shift(by);
            }
            self.versions.insert(id.clone(), version);
            match self.put(id, &validator, now).await {
                Ok(()) => return Ok(validator),
                // It landed between our look and our write, and there is no second one on its way for each look.
                Err(StoreError::Overtaken { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Writes a record, again and again while the ledger does not answer and the lease lasts.
    ///
    /// # Errors
    /// [`StoreError::Fenced`], [`StoreError::Overtaken`] and [`StoreError::OutOfTime`] mean: step down. Nothing may be
    /// done on this record then.
    pub async fn put(&mut self, id: &ValidatorId, validator: &Validator, now: Time) -> Result<(), StoreError> {
        let envelope = self.envelope(validator, now);
        let version = write(&*self.ledger, &self.lease, id, &envelope, self.versions.get(id)).await?;
        self.versions.insert(id.clone(), version);
        Ok(())
    }

    /// Writes several at once; the adapter lets them share a commit where it can.
    ///
    /// # Errors
    /// The first error met, once all have ended.
    pub async fn put_all(&mut self, records: Vec<(ValidatorId, Validator)>, now: Time) -> Result<(), StoreError> {
        let records: Vec<_> = records.into_iter().map(|(id, record)| (id, self.envelope(&record, now))).collect();
        let (ledger, lease, versions) = (&*self.ledger, &self.lease, &self.versions);
        let writes = records.iter().map(|(id, envelope)| write(ledger, lease, id, envelope, versions.get(id)));
        let results = futures::future::join_all(writes).await;
        let mut failed = None;
        for ((id, _), result) in records.into_iter().zip(results) {
            match result {
                Ok(version) => {
                    self.versions.insert(id, version);
                }
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(()), Err)
    }

    fn envelope(&self, validator: &Validator, now: Time) -> Envelope {
        Envelope {
            form: FORM,
            ledger: self.identity.id,
            written_at: now,
            token: self.lease.token(),
            write_id: Uuid::new_v4(),
            validator: validator.clone(),
        }
    }
}

/// A ledger that hangs must not outlast the lease: what may still be on its way is met by the next holder.
async fn write(
    ledger: &dyn Ledger,
    lease: &Lease,
    id: &ValidatorId,
    envelope: &Envelope,
    version: Option<&Version>,
) -> Result<Version, StoreError> {
    let key = LedgerKey::validator(id);
    tokio::select! {
        written = write_until_known(ledger, lease, &key, envelope, version) => written,
        () = lease.lost() => Err(StoreError::OutOfTime { key }),
    }
}

async fn write_until_known(
    ledger: &dyn Ledger,
    lease: &Lease,
    key: &LedgerKey,
    envelope: &Envelope,
    version: Option<&Version>,
) -> Result<Version, StoreError> {
    let bytes = records::encode(key, envelope);
    let expect = version.map_or(Expect::Absent, |version| Expect::Version(version.clone()));
    let mut failures = 0;
    let mut patience = Patience::default();
    loop {
        if lease.margin().is_zero() {
            return Err(StoreError::OutOfTime { key: key.clone() });
        }
        match ledger.write(key, bytes.clone(), expect.clone()).await {
            Ok(version) => return Ok(version),
            Err(PutError::Conflict { found: Some(stored) }) => {
                let found: Envelope = records::decode_form(key, &stored.bytes, FORM)?;
                if found.token > envelope.token {
                    return Err(StoreError::Fenced { key: key.clone() });
                }
                if version != Some(&stored.version) {
                    // Trying again would be refused forever: what we know of this record is not what is there.
                    return Err(StoreError::Overtaken { key: key.clone() });
                }
            }
            // Somebody has taken it away, as `failover ledger remove` does: what is there is read again.
            Err(PutError::Conflict { found: None }) if version.is_some() => {
                return Err(StoreError::Overtaken { key: key.clone() });
            }
            Err(PutError::Conflict { found: None }) => {}
            Err(PutError::UnknownOutcome(why)) => tracing::warn!(%key, why, "not written yet, trying again"),
            Err(PutError::Failed(error)) => {
                let why = patience.try_again(error)?;
                tracing::warn!(%key, why, "not written yet, trying again");
            }
            Err(PutError::TooLarge(size)) => {
                let why =
                    format!("the record {key} has {size} bytes, which cannot happen: everything in it is bounded");
                return Err(LedgerError::Unusable(why).into());
            }
        }
        tokio::time::sleep(AGAIN.pause(failures).unsigned_abs()).await;
        failures += 1;
    }
}
