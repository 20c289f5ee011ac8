//! The grant, as people replace it: a compare-and-swap over exactly what was read before, which may be repeated after a
//! crash.

use crate::{
    domain::{LedgerKey, ValidatorId, ownership::SignedGrant},
    ports::{Expect, Ledger, LedgerError, PutError, Stored},
};

/// Why a grant was not replaced.
#[derive(Debug, thiserror::Error)]
pub enum ReplaceError {
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error("the copy of the grant before, {key}, is of another grant: put back the right one; nothing was replaced")]
    OtherCopy { key: LedgerKey },
    #[error("somebody else has replaced the grant meanwhile, so this one is thrown away: see `failover grants`")]
    Lost,
    #[error("the grant could not be written: {0}")]
    Write(PutError),
    #[error("whether the grant was written is not known ({0}): see `failover grants`")]
    Unknown(String),
}

/// Replaces exactly the grant that was read before, which is copied first. `Ok` only when `owners/` was read to hold exactly
/// the new one; before that it must be written nowhere else.
///
/// # Errors
/// [`ReplaceError`].
pub async fn replace(
    ledger: &dyn Ledger,
    validator: &ValidatorId,
    before: Option<&Stored>,
    grant: &SignedGrant,
) -> Result<(), ReplaceError> {
    let key = LedgerKey::owner(validator);
    let expect = match before {
        None => Expect::Absent,
        Some(stored) => {
            if let Ok(earlier) = SignedGrant::parse(&stored.bytes) {
                copy(ledger, LedgerKey::owner_history(validator, earlier.grant.number), stored).await?;
            }
            Expect::Version(stored.version.clone())
        }
    };
    let bytes = grant.bytes();
    match ledger.write(&key, bytes.clone(), expect).await {
        Ok(_) => {}
        Err(PutError::Conflict { .. }) => return Err(ReplaceError::Lost),
        Err(PutError::UnknownOutcome(why)) => return Err(ReplaceError::Unknown(why)),
        Err(error @ (PutError::Failed(_) | PutError::TooLarge(_))) => return Err(ReplaceError::Write(error)),
    }
    match ledger.get(&key).await {
        Ok(Some(stored)) if stored.bytes == bytes => Ok(()),
        Ok(_) => Err(ReplaceError::Lost),
        Err(error) => Err(ReplaceError::Unknown(error.to_string())),
    }
}

async fn copy(ledger: &dyn Ledger, key: LedgerKey, stored: &Stored) -> Result<(), ReplaceError> {
    match ledger.write(&key, stored.bytes.clone(), Expect::Absent).await {
        Ok(_) => Ok(()),
        Err(PutError::Conflict { .. }) => Err(ReplaceError::OtherCopy { key }),
        Err(PutError::UnknownOutcome(why)) => Err(ReplaceError::Unknown(why)),
        Err(error) => Err(ReplaceError::Write(error)),
    }
}
