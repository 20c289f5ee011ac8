//! What the ledger says about who may sign, put together.

use super::{Grant, GrantPlace, Session, VerifiedGrant};
use crate::domain::{InstanceId, Owner, promotion::PromotionRecord};

/// The records as they were read, the grant first and the promotion last: a promotion raises the session before it
/// replaces the grant, and its record names the machine before it closes, so one that begins or ends between the reads
/// is seen.
///
/// An error says why a record is no answer, and what helps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnershipView {
    pub grant: Result<Option<VerifiedGrant>, String>,
    pub session: Result<Option<Session>, String>,
    pub promotion: Result<Option<PromotionRecord>, String>,
}

impl OwnershipView {
    /// A validator for which nobody has ever signed a grant: home runs without a gate.
    pub const ABSENT: Self = Self { grant: Ok(None), session: Ok(None), promotion: Ok(None) };

    /// Who may sign. [`Owner::Unknown`]: nobody has ever signed a grant.
    ///
    /// # Errors
    /// Why that is not known. It is neither home nor safe then.
    pub fn owner(&self) -> Result<Owner, String> {
        const REMEDY: &str = "find out which place signs, then `failover adopt`";
        let grant = self.grant.as_ref().map_err(Clone::clone)?;
        let session = self.session.as_ref().map_err(Clone::clone)?;
        match (grant, session) {
            (None, None) => Ok(Owner::Unknown),
            (None, Some(_)) => Err(format!("there is a session and no grant: {REMEDY}")),
            // Then nothing at home may start, and the machine needs no session.
            (Some(grant), None) if matches!(grant.grant().owner, GrantPlace::Cloud { .. }) => Ok(grant.owner(None)),
            (Some(_), None) => Err(format!("there is a grant and no session, so the ledger is damaged: {REMEDY}")),
            (Some(grant), Some(session)) => Ok(grant.owner(Some(session.number))),
        }
    }

    /// Why the record of promotions forbids to touch this machine, if it does.
    #[must_use]
    pub fn promotion_forbids(&self, instance: &InstanceId) -> Option<String> {
        match &self.promotion {
            Ok(None) => None,
            Ok(Some(record)) if record.state.is_open() => {
                Some(format!("{} has opened a promotion or demotion of {}", record.by, record.instance))
            }
            Ok(Some(record)) => record.forbids(instance).then(|| "it was promoted once, and may hold keys".to_owned()),
            Err(why) => Some(format!("what is promoted is not known: {why}")),
        }
    }
}

/// How a grant is linked to the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GrantLink {
    /// It names none before it.
    First,
    Ok,
    /// It names a grant that is not among the copies.
    MissingCopy,
    /// It names another grant than the copy before it, or one that does not come before it.
    Broken,
}

impl GrantLink {
    /// `before` is the grant with the next smaller number, if there is one.
    #[must_use]
    pub fn of(grant: &Grant, before: Option<&Grant>) -> Self {
        match (&grant.previous, before) {
            (None, None) => Self::First,
            (None, Some(_)) => Self::Broken,
            (Some(_), None) => Self::MissingCopy,
            (Some(previous), Some(before)) if *previous == before.digest() && grant.comes_after(before.number) => {
                Self::Ok
            }
            // The one in between is missing.
            (Some(previous), Some(before))
                if *previous != before.digest() && before.number.saturating_add(1) < grant.number =>
            {
                Self::MissingCopy
            }
            (Some(_), Some(_)) => Self::Broken,
        }
    }
}
