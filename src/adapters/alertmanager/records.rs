//! How an alert's record is written in the ledger: JSON with a version.

use serde::{Deserialize, Serialize};

use crate::domain::AlertRecord;

/// The version this build writes, and the only one it reads.
const VERSION: u32 = 1;

#[derive(Serialize)]
struct Written<'a> {
    v: u32,
    record: &'a AlertRecord,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Read {
    #[serde(rename = "v")]
    _version: u32,
    record: AlertRecord,
}

#[derive(Deserialize)]
struct VersionOnly {
    v: u32,
}

/// Why a record cannot be read. It is left as it is.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// A newer `failover` has written it.
    #[error("the record has version {0} and this build knows {VERSION}; run the newer failover again")]
    Newer(u32),
    /// Not a record at all, or a damaged one.
    #[error("the record cannot be read: {0}")]
    Unreadable(#[from] serde_json::Error),
}

pub(super) fn encode(record: &AlertRecord) -> Vec<u8> {
    serde_json::to_vec(&Written { v: VERSION, record }).expect("strings, numbers and times can always be written")
}

pub(super) fn decode(bytes: &[u8]) -> Result<AlertRecord, RecordError> {
    let VersionOnly { v } = serde_json::from_slice(bytes)?;
    if v != VERSION {
        return Err(RecordError::Newer(v));
    }
    Ok(serde_json::from_slice::<Read>(bytes)?.record)
}
