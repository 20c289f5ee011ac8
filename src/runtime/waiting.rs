//! The records under `waiting/`: a watcher and a witness each show there that they run, and a watcher that it wants the
//! lease back. They are judged by whether they change, never by what time they say.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::lease::LeaseHolder;
use crate::{
    domain::LedgerKey,
    ports::{Expect, Ledger, PutError},
    records::{self, RecordError},
};

/// How often who only shows that it runs does so: each time is a write that is paid for.
pub const SHOWN_EVERY: Duration = Duration::from_hours(1);

/// More often nobody else writes the same record in the same seconds.
const TRIES: usize = 3;

/// The record under [`LedgerKey::waiting`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WaitingRecord {
    /// The home whose validators it watches.
    pub site: String,
    /// Its name, if it is a witness.
    pub witness: Option<String>,
    /// It does not lead, and is to.
    pub wants_lease: bool,
    /// How often it is written as long as that is so, in milliseconds.
    pub every_ms: u64,
    /// Which process wrote it, and how many times: no two are equal.
    pub process: Uuid,
    pub beat: u64,
}

impl WaitingRecord {
    /// # Errors
    /// One that is damaged, or of another program's making.
    pub fn read(name: &str, bytes: &[u8]) -> Result<Self, RecordError> {
        let key = LedgerKey::waiting(name);
        let read: Self = records::decode(&key, bytes)?;
        if read.witness.as_ref().unwrap_or(&read.site) == name {
            return Ok(read);
        }
        let why = format!("it is that of {}", read.witness.as_ref().unwrap_or(&read.site));
        Err(RecordError::Corrupt { key: key.to_string(), why: crate::domain::brief(&why) })
    }
}

/// Who writes the record of one process.
pub struct WaitingWriter {
    ledger: Arc<dyn Ledger>,
    key: LedgerKey,
    record: WaitingRecord,
    /// As it was written or found last.
    known: Option<Expect>,
}

impl WaitingWriter {
    #[must_use]
    pub fn new(ledger: Arc<dyn Ledger>, about: &LeaseHolder) -> Self {
        let record = WaitingRecord {
            site: about.site.clone(),
            witness: about.witness.clone(),
            wants_lease: false,
            every_ms: 0,
            process: Uuid::new_v4(),
            beat: 0,
        };
        Self { ledger, key: LedgerKey::waiting(about.name()), record, known: None }
    }

    /// Writes it again, whatever is there: others of this name say the same.
    ///
    /// # Errors
    /// The ledger does not take it.
    pub async fn write(&mut self, wants_lease: bool, every: Duration) -> anyhow::Result<()> {
        self.record.wants_lease = wants_lease;
        self.record.every_ms = u64::try_from(every.as_millis())?;
        for _ in 0..TRIES {
            self.record.beat += 1;
            let expect = match self.known.take() {
                Some(known) => known,
                None => expectation(self.ledger.get(&self.key).await?.map(|stored| stored.version)),
            };
            match self.ledger.write(&self.key, records::encode(&self.key, &self.record), expect).await {
                Ok(version) => {
                    self.known = Some(Expect::Version(version));
                    return Ok(());
                }
                Err(PutError::Conflict { found }) => {
                    self.known = Some(expectation(found.map(|stored| stored.version)));
                }
                Err(error) => return Err(error.into()),
            }
        }
        anyhow::bail!(
            "somebody else writes {} all the time: give each home and each witness a name of its own",
            self.key
        )
    }
}

fn expectation(found: Option<crate::ports::Version>) -> Expect {
    found.map_or(Expect::Absent, Expect::Version)
}
