//! Grants and sessions as they are in the ledger: read and verified here, changed in `adoption` and `replace`.
//!
//! No watcher writes any of them. What cannot be read or verified is no answer, and never taken for home.

mod adoption;
mod chain;
mod replace;
mod silence;

use std::{collections::BTreeMap, path::PathBuf};

use crate::{
    domain::{
        LedgerKey, ValidatorId,
        ownership::{AllowedSigners, GrantError, OwnershipView, Session, SignedGrant, VerifiedGrant},
        promotion::PromotionRecord,
    },
    files,
    ports::{Ledger, LedgerError, Stored},
    records,
};

pub use adoption::{SessionError, SessionWait, prepare_session};
pub use chain::{GrantChain, GrantRow, SessionRow, chain};
pub use replace::{ReplaceError, replace};
pub use silence::SilenceWatch;

/// By what grants are verified. The file is read again at each use.
#[derive(Clone, Debug, Default)]
pub struct GrantRules {
    pub allowed_signers: Option<PathBuf>,
    /// Whether a signature of a hardware key that nobody touched counts.
    pub allow_untouched: bool,
    /// The chain of each validator that may have grants.
    pub chains: BTreeMap<ValidatorId, String>,
}

impl GrantRules {
    /// Who may sign at this moment.
    ///
    /// # Errors
    /// Why nobody may, with what to do.
    pub fn signers(&self) -> Result<AllowedSigners, String> {
        let path =
            self.allowed_signers.as_ref().ok_or("nobody may sign a grant: configure `grants.allowed_signers`")?;
        let text = files::read_text(path, files::MOST)
            .map_err(|error| format!("{} (grants.allowed_signers) cannot be read: {error}", path.display()))?;
        AllowedSigners::parse(&text).map_err(|error| format!("{}: {error}", path.display()))
    }

    /// The chain that this validator's grants are for.
    ///
    /// # Errors
    /// What to configure.
    pub fn chain(&self, validator: &ValidatorId) -> Result<&str, String> {
        let chain = self.chains.get(validator).map(String::as_str);
        chain.ok_or_else(|| {
            format!("no chain is configured for {validator}: add `ethereum.genesis_root`, or its `chain`")
        })
    }

    /// # Errors
    /// Why it is no grant for this validator, with what to do.
    pub fn verify(&self, validator: &ValidatorId, grant: SignedGrant) -> Result<VerifiedGrant, String> {
        let (signers, chain) = (self.signers()?, self.chain(validator)?);
        grant.verify(validator, chain, &signers, self.allow_untouched).map_err(|error| error.to_string())
    }

    /// Whether a grant that is refused was good but for its signer, who is not listed (under this name) any more: of a
    /// grant that was replaced that is a note only.
    #[must_use]
    pub fn has_left(&self, validator: &ValidatorId, grant: SignedGrant) -> bool {
        let (Ok(signers), Ok(chain)) = (self.signers(), self.chain(validator)) else { return false };
        let verified = grant.verify(validator, chain, &signers, self.allow_untouched);
        matches!(verified, Err(GrantError::Signer(_) | GrantError::Principal { .. }))
    }

    /// The same from its bytes.
    ///
    /// # Errors
    /// As [`Self::verify`].
    pub fn read(&self, validator: &ValidatorId, bytes: &[u8]) -> Result<VerifiedGrant, String> {
        let grant = SignedGrant::parse(bytes).map_err(|error| error.to_string())?;
        self.verify(validator, grant)
    }
}

/// Who may sign, as the ledger says it now: the grant is read first, see [`OwnershipView`].
///
/// # Errors
/// The ledger did not answer.
pub async fn view(
    ledger: &dyn Ledger,
    rules: &GrantRules,
    validator: &ValidatorId,
) -> Result<OwnershipView, LedgerError> {
    let (owner, session) = (LedgerKey::owner(validator), LedgerKey::session(validator));
    let grant = get(ledger, &owner).await?.and_then(|stored| {
        stored.map(|stored| rules.read(validator, &stored.bytes).map_err(|why| format!("{owner}: {why}"))).transpose()
    });
    let session = get(ledger, &session)
        .await?
        .and_then(|stored| stored.map(|stored| session_of(validator, &stored.bytes)).transpose());
    let promotion = get(ledger, &LedgerKey::promotion(validator))
        .await?
        .and_then(|stored| stored.map(|stored| promotion_of(validator, &stored.bytes)).transpose());
    Ok(OwnershipView { grant, session, promotion })
}

/// The record of the promotion in these bytes.
///
/// # Errors
/// Why it cannot be read, with what to do.
pub fn promotion_of(validator: &ValidatorId, bytes: &[u8]) -> Result<PromotionRecord, String> {
    let key = LedgerKey::promotion(validator);
    // Taken away, it would free machines that hold keys.
    let unreadable = |why: String| format!("{key} cannot be read ({why}): put back a good copy of it");
    let record: PromotionRecord = records::decode(&key, bytes).map_err(|error| match error {
        records::RecordError::Corrupt { why, .. } => unreadable(why),
        newer if newer.is_of_a_newer_failover() => newer.to_string(),
        _ => unreadable("it is of another form".to_owned()),
    })?;
    record.check(validator).map_err(unreadable)?;
    Ok(record)
}

/// The session in these bytes.
///
/// # Errors
/// Why it cannot be read, with what to do.
pub fn session_of(validator: &ValidatorId, bytes: &[u8]) -> Result<Session, String> {
    // The advice of other records, to take it away, would free it.
    records::decode(&LedgerKey::session(validator), bytes).map_err(|error| {
        let why = match error {
            records::RecordError::Corrupt { why, .. } => why,
            newer if newer.is_of_a_newer_failover() => return newer.to_string(),
            _ => "it is of another form".to_owned(),
        };
        format!("{} cannot be read ({why}): put back a good copy of it", LedgerKey::session(validator))
    })
}

/// A record, or why this one alone cannot be read.
pub(super) async fn get(ledger: &dyn Ledger, key: &str) -> Result<Result<Option<Stored>, String>, LedgerError> {
    match ledger.get(key).await {
        Ok(stored) => Ok(Ok(stored)),
        Err(LedgerError::Oversized(why)) => Ok(Err(format!("{why}: put back a good copy of it"))),
        Err(error) => Err(error),
    }
}

/// The numbers of the grants that were replaced, in order.
///
/// # Errors
/// The ledger did not answer.
pub async fn history(ledger: &dyn Ledger, validator: &ValidatorId) -> Result<Vec<u64>, LedgerError> {
    use crate::domain::KeyKind;
    let keys = ledger.list(&LedgerKey::owner_histories(validator), None).await?;
    let number = |key: String| match KeyKind::of(&key) {
        Some(KeyKind::OwnerHistory(_, number)) => Some(number),
        _ => None,
    };
    let mut numbers: Vec<u64> = keys.into_iter().filter_map(number).collect();
    numbers.sort_unstable();
    Ok(numbers)
}
