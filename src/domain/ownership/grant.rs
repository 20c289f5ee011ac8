//! A grant: one person's signed word about where a validator may sign.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{AllowedSigners, NAMESPACE, SshsigError, sshsig};
use crate::domain::{InstanceId, Owner, Time, ValidatorId, brief, one_line};

/// The largest grant that is read, in bytes.
pub const MAX_GRANT: usize = 64 * 1024;
/// The largest number: the last one that every reader of JSON keeps exactly.
pub const MAX_NUMBER: u64 = (1 << 53) - 1;

/// What is signed. Its bytes are this struct as JSON, the fields in this order, without blanks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    pub validator: ValidatorId,
    /// Which chain: the genesis validators root, or the chain's id.
    pub chain: String,
    pub owner: GrantPlace,
    /// The fencing token: above that of the grant before, and for the cloud one more.
    pub number: u64,
    /// SHA-256 of what was signed in the grant before, in hex, so that the history is a chain. `None` in the first.
    pub previous: Option<String>,
    pub issued_at: Time,
    /// Who signs: a principal of `allowed_signers`.
    pub by: String,
    pub reason: String,
    /// Digest of the record of the promotion that led to it. A statement that stood in for a proof is in the reason.
    pub evidence: Option<String>,
}

/// Where the validator may sign.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum GrantPlace {
    Home {
        site: String,
    },
    /// One boot of one machine: after a reboot it needs another grant.
    Cloud {
        project: String,
        zone: String,
        instance_id: InstanceId,
        boot_id: String,
    },
}

/// A grant as it is kept, signature and all. Nothing is known about it before [`Self::verify`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedGrant {
    pub grant: Grant,
    /// As `ssh-keygen -Y sign` printed it.
    pub signature: String,
}

/// Why a grant is no answer: nothing starts by it, and nothing that runs is stopped by it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    #[error("the grant cannot be read ({0})")]
    Unreadable(String),
    #[error("the grant has {0} bytes, more than {MAX_GRANT}")]
    TooLarge(usize),
    #[error("the grant is for validator {found}, and {expected} was asked for")]
    OtherValidator { found: String, expected: ValidatorId },
    #[error("the grant is for the chain {found}, and the validator is on {expected}")]
    OtherChain { found: String, expected: String },
    #[error("the grant's number {0} is not in 1 to {MAX_NUMBER}")]
    Number(u64),
    #[error("the grant's signature is refused: {0}")]
    Signature(#[from] SshsigError),
    #[error("the grant is signed with the key {0}, which allowed_signers does not name")]
    Signer(String),
    #[error("the grant says it is by {by}; the key that signed it is allowed for {allowed}")]
    Principal { by: String, allowed: String },
    #[error(
        "the grant is signed with a hardware key that nobody touched: sign again and touch it, or set allow_untouched"
    )]
    Untouched,
    #[error("grant {number} does not follow grant {before}: {why}")]
    Chain { number: u64, before: u64, why: &'static str },
    #[error(
        "a grant of number {known} was seen here, and the ledger has {found}: the ledger was put back. Find out which \
         place signs, then `failover adopt --number {known}`"
    )]
    PutBack { known: u64, found: u64 },
}

impl Grant {
    /// The bytes that are signed.
    ///
    /// # Panics
    /// Never: a grant is a struct with text keys.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a grant is a struct with text keys")
    }

    /// SHA-256 of what is signed, in hex: what the next grant names as `previous`. Not of the signature: the same words,
    /// signed again or written in another way, are the same grant.
    #[must_use]
    pub fn digest(&self) -> String {
        Sha256::digest(self.bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Whether its number may come directly after that one. An adoption passes over numbers that a session has, or that
    /// were known elsewhere; what makes a machine sign passes over none.
    pub(super) fn comes_after(&self, before: u64) -> bool {
        match self.owner {
            GrantPlace::Home { .. } => self.number > before,
            GrantPlace::Cloud { .. } => before.checked_add(1) == Some(self.number),
        }
    }
}

impl SignedGrant {
    /// Reads a grant and checks nothing about it.
    ///
    /// # Errors
    /// [`GrantError::TooLarge`] and [`GrantError::Unreadable`].
    pub fn parse(bytes: &[u8]) -> Result<Self, GrantError> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Written {
            grant: Grant,
            signature: String,
        }
        if bytes.len() > MAX_GRANT {
            return Err(GrantError::TooLarge(bytes.len()));
        }
        let written: Written =
            serde_json::from_slice(bytes).map_err(|error| GrantError::Unreadable(one_line(&error.to_string(), 200)))?;
        Ok(Self { grant: written.grant, signature: written.signature })
    }

    /// As it is kept in the ledger.
    ///
    /// # Panics
    /// Never: it is a struct with text keys.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Written<'a> {
            grant: &'a Grant,
            signature: &'a str,
        }
        serde_json::to_vec(&Written { grant: &self.grant, signature: &self.signature })
            .expect("a grant is a struct with text keys")
    }

    /// Checks that somebody who may do so has signed it, for this validator on this chain.
    ///
    /// Not by the clock: at home it may be wrong after a power cut, and the number orders grants.
    ///
    /// # Errors
    /// [`GrantError`] says which check failed.
    pub fn verify(
        self,
        validator: &ValidatorId,
        chain: &str,
        allowed: &AllowedSigners,
        allow_untouched: bool,
    ) -> Result<VerifiedGrant, GrantError> {
        let grant = &self.grant;
        if grant.validator != *validator {
            let found = brief(grant.validator.as_str());
            return Err(GrantError::OtherValidator { found, expected: validator.clone() });
        }
        if grant.chain != chain {
            return Err(GrantError::OtherChain { found: brief(&grant.chain), expected: chain.to_owned() });
        }
        if !(1..=MAX_NUMBER).contains(&grant.number) {
            return Err(GrantError::Number(grant.number));
        }
        let signed = sshsig::verify(&self.signature, NAMESPACE, &grant.bytes())?;
        let names = allowed.names_of(&signed.by).ok_or_else(|| GrantError::Signer(signed.by.fingerprint()))?;
        if !names.contains(&grant.by.as_str()) {
            return Err(GrantError::Principal { by: brief(&grant.by), allowed: brief(&names.join(", ")) });
        }
        if signed.untouched && !allow_untouched {
            return Err(GrantError::Untouched);
        }
        let digest = grant.digest();
        Ok(VerifiedGrant { grant: self.grant, digest, key: signed.by.fingerprint() })
    }
}

/// A grant that a person who may do so has signed.
///
/// **Invariant:** only [`SignedGrant::verify`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedGrant {
    grant: Grant,
    digest: String,
    key: String,
}

/// The newest grant that a place has seen, kept there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LastGrant {
    pub number: u64,
    pub digest: String,
}

impl VerifiedGrant {
    #[must_use]
    pub fn grant(&self) -> &Grant {
        &self.grant
    }

    /// SHA-256 of what is signed, in hex: what the next one names as `previous`.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Fingerprint of the key that signed it.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Whether it directly follows this one.
    ///
    /// # Errors
    /// [`GrantError::Chain`].
    pub fn follows(&self, before: &Self) -> Result<(), GrantError> {
        let broken = |why| GrantError::Chain { number: self.grant.number, before: before.grant.number, why };
        if self.grant.chain != before.grant.chain {
            Err(broken("it is for another chain"))
        } else if !self.grant.comes_after(before.grant.number) {
            Err(broken("its number is not a next one"))
        } else if self.grant.previous.as_deref() != Some(&before.digest) {
            Err(broken("it names another grant as the one before"))
        } else {
            Ok(())
        }
    }

    /// Whether a place that has seen `last` may act on this one.
    ///
    /// # Errors
    /// [`GrantError::PutBack`] when the ledger is older than what was seen, or tells another history.
    pub fn is_news_after(&self, last: Option<&LastGrant>) -> Result<(), GrantError> {
        match last {
            Some(last)
                if self.grant.number < last.number
                    || (self.grant.number == last.number && self.digest != last.digest) =>
            {
                Err(GrantError::PutBack { known: last.number, found: self.grant.number })
            }
            Some(_) | None => Ok(()),
        }
    }

    #[must_use]
    pub fn last(&self) -> LastGrant {
        LastGrant { number: self.grant.number, digest: self.digest.clone() }
    }

    /// Who may sign, by this grant and the number of the session.
    #[must_use]
    pub fn owner(&self, session: Option<u64>) -> Owner {
        let number = self.grant.number;
        match (session, &self.grant.owner) {
            (Some(session), _) if session > number => Owner::Moving { number: session },
            (_, GrantPlace::Home { .. }) => Owner::Home,
            (_, GrantPlace::Cloud { instance_id, boot_id, .. }) => {
                Owner::Cloud { number, instance: instance_id.clone(), boot: boot_id.clone() }
            }
        }
    }
}
