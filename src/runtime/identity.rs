//! The ledger's own id, which its records and the machines created under it name, and the place where it is.
//!
//! **Invariant:** two ledgers that are written to have different ids. A copy knows that it is one by its place, and is a
//! ledger of its own from then on: it reads what it has, and no machine that was created before is its to delete unasked.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::store::{Envelope, FORM, StoreError};
use crate::{
    domain::{LedgerKey, Span, Time, TimeExt as _},
    ports::{Expect, Ledger, LedgerError, PutError},
    records::{self, RecordError},
};

/// So many earlier ids are known: more copies of copies than anybody makes.
const BEFORE: usize = 16;
/// For how long people are reminded that it has a new id.
const NEWS: Span = Span::from_hours(48);

/// The record under [`LedgerKey::IDENTITY`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LedgerIdentity {
    pub id: Uuid,
    /// [`Ledger::place`] of the store that this record was written into.
    pub place: String,
    /// Ids that it had before, the latest last. Records that name one of them are its own.
    pub before: Vec<Uuid>,
    /// When and why it has the present one, unless it is the first.
    pub renewed: Option<Renewed>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Renewed {
    pub at: Time,
    /// A sentence for people.
    pub why: String,
}

impl LedgerIdentity {
    /// Whether a record that names this ledger is this one's.
    #[must_use]
    pub fn knows(&self, ledger: Uuid) -> bool {
        self.id == ledger || self.before.contains(&ledger)
    }

    /// Until when a new id is news.
    pub(super) fn is_news_until(&self) -> Option<Time> {
        self.renewed.as_ref().map(|renewed| renewed.at.plus(NEWS))
    }

    /// What people have to know of it now.
    pub(super) fn changed(&self, now: Time) -> Option<String> {
        let renewed = self.renewed.as_ref()?;
        (now.duration_since(renewed.at).abs() < NEWS).then(|| {
            format!(
                "this ledger has a new id ({}): {}; standbys created before are used if needed, and never deleted as \
                 unclaimed; if another failover still uses the original, stop one of the two",
                self.id, renewed.why
            )
        })
    }
}

/// The identity of this ledger. Who leads first gives it one; a copy, and a ledger whose record is damaged or gone, gets
/// a new one. Only for the holder of the lease.
///
/// # Errors
/// [`StoreError`]; a newer record is left untouched.
pub async fn of(ledger: &dyn Ledger, now: Time) -> Result<LedgerIdentity, StoreError> {
    let (key, place) = (LedgerKey::IDENTITY, ledger.place());
    let found = ledger.get(&key).await?;
    let expect = found.as_ref().map_or(Expect::Absent, |stored| Expect::Version(stored.version.clone()));
    let known = found.map(|stored| records::decode::<LedgerIdentity>(&key, &stored.bytes)).transpose();
    let (before, why) = match known {
        Ok(Some(known)) if known.place == place => return Ok(known),
        Ok(Some(LedgerIdentity { id, mut before, place: original, .. })) => {
            before.push(id);
            (before, Some(format!("it is a copy, or was moved or restored: it was {original} and is {place}")))
        }
        Ok(None) => {
            let before = named_by_records(ledger).await?;
            let why = (!before.is_empty()).then(|| "its own record was gone".to_owned());
            (before, why)
        }
        Err(error @ (RecordError::Corrupt { .. } | RecordError::Older { .. })) => {
            (named_by_records(ledger).await?, Some(error.to_string()))
        }
        Err(error) => return Err(error.into()),
    };
    if let Some(why) = &why {
        tracing::warn!(why, "the ledger gets a new id");
    }
    let before = before[before.len().saturating_sub(BEFORE)..].to_vec();
    let new = LedgerIdentity { id: Uuid::new_v4(), place, before, renewed: why.map(|why| Renewed { at: now, why }) };
    match ledger.write(&key, records::encode(&key, &new), expect).await {
        Ok(_) => Ok(new),
        Err(PutError::Failed(error)) => Err(error.into()),
        Err(error @ PutError::TooLarge(_)) => Err(LedgerError::Unusable(error.to_string()).into()),
        Err(error @ (PutError::Conflict { .. } | PutError::UnknownOutcome(_))) => {
            Err(LedgerError::Unavailable(error.to_string()).into())
        }
    }
}

/// The ids that the validators' records name: they are sealed, so each is believed.
async fn named_by_records(ledger: &dyn Ledger) -> Result<Vec<Uuid>, StoreError> {
    let mut named = Vec::new();
    for key in ledger.list(LedgerKey::VALIDATORS, None).await? {
        let stored = match ledger.get(&key).await {
            Ok(Some(stored)) => stored,
            Ok(None) | Err(LedgerError::Oversized(_)) => continue,
            Err(error) => return Err(error.into()),
        };
        if let Ok(envelope) = records::decode_form::<Envelope>(&key, &stored.bytes, FORM)
            && !named.contains(&envelope.ledger)
        {
            named.push(envelope.ledger);
        }
    }
    Ok(named)
}
