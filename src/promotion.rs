//! Carries a promotion or a demotion out: reads everything, asks the pure rules for one thing, does exactly that, and
//! reads again. It decides nothing itself ([`crate::domain::promotion`]).
//!
//! Nothing that a crash could lose is kept here but what the gates said and a signature that is in force nowhere yet: to
//! resume is to begin.

pub mod check_keys;
mod effects;
pub mod evidence;
mod executor;
mod failure;
mod reading;
mod ready_watch;
mod signing;
mod silence;
#[cfg(test)]
mod tests;
mod waits;

use std::time::Duration;

use async_trait::async_trait;
use serde::Serialize;

use crate::{
    domain::{
        Time, ValidatorId,
        gates::{GateEvidence, GatePass, GateReport},
        ownership::{Grant, GrantPlace, Session, SignedGrant},
        promotion::{PromotionEnd, PromotionOrder, PromotionRecord},
    },
    ports::{Clock, Ledger, Machines, PromotionMachines},
    runtime::grants::GrantRules,
};

pub use executor::PromotionExecutor;
pub use failure::PromotionError;
pub use ready_watch::ReadyWatch;
pub use silence::{EpochWatch, WatchedEpochs};

/// Which of the three ways is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PromotionWay {
    ToCloud,
    ToHome,
    /// Of a promotion or a demotion, whichever is open.
    Back,
}

/// The cloud, with the operator's own rights.
pub trait PromotionCloud: Machines + PromotionMachines {}

impl<T: Machines + PromotionMachines> PromotionCloud for T {}

/// What neither the ledger's records of ownership nor the machine says. Each look is made just then.
#[async_trait]
pub trait PromotionEvidence: Send + Sync {
    /// For the gates. What could not be found out is missing in it, which refuses.
    async fn gates(&self, known: &GateContext<'_>) -> GateEvidence;
    /// At every look at the machine: the boot by whose fresh report it is ready, and when, by a clock that nobody sets.
    fn saw_ready(&self, boot: Option<&str>, at: Duration);
    /// Whether the chain's view says that a machine that reports to be synced is.
    async fn is_chain_fine(&self) -> bool;
    /// The slashing protection for this epoch, or without one for now: above all that was signed until this moment.
    ///
    /// # Errors
    /// Why there is none, in words.
    async fn watermark(&self, epoch: Option<u64>) -> Result<MadeWatermark, String>;
    /// Since when the chain shows duties by these keys under this grant.
    async fn duty_since(&self, grant: &Grant) -> Option<Time>;
}

/// What the executor has read before it asks for the gates.
pub struct GateContext<'a> {
    pub validator: &'a ValidatorId,
    pub pass: GatePass,
    /// The open one.
    pub record: Option<&'a PromotionRecord>,
    pub grant: Option<&'a Grant>,
    pub session: Option<&'a Session>,
    /// How long the session's holder has not written it at least.
    pub silent: Duration,
}

/// Public data: no key is part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MadeWatermark {
    pub epoch: u64,
    pub bytes: Vec<u8>,
}

/// What is to be signed.
#[derive(Clone, Debug)]
pub struct GrantDraft {
    pub validator: ValidatorId,
    pub owner: GrantPlace,
    pub number: u64,
    /// Digest of the grant that it replaces.
    pub previous: String,
    pub statement: Option<String>,
    /// Digest of the record.
    pub evidence: String,
}

/// Shows a person what is to be signed, and has it signed.
#[async_trait]
pub trait GrantSigner: Send + Sync {
    /// # Errors
    /// Why it cannot be signed; nothing was written.
    async fn sign(&self, draft: &GrantDraft) -> Result<GrantSigning, String>;
}

#[derive(Clone, Debug)]
pub enum GrantSigning {
    Signed(Box<SignedGrant>),
    /// The operator does not want it.
    Declined,
    /// What is to be signed is in a file, for a key on another machine.
    Printed,
}

/// Agents report every half minute, and a holder renews every few minutes.
pub const LOOK_EVERY: Duration = Duration::from_secs(20);

/// All that the executor works with.
#[derive(Clone, Copy)]
pub struct PromotionDeps<'a> {
    pub ledger: &'a dyn Ledger,
    pub rules: &'a GrantRules,
    pub cloud: &'a dyn PromotionCloud,
    pub evidence: &'a dyn PromotionEvidence,
    pub signer: &'a dyn GrantSigner,
    pub clock: &'a dyn Clock,
    /// Counts the time asleep, and nobody sets it.
    pub raw: &'a (dyn Fn() -> Duration + Send + Sync),
    pub report: &'a (dyn Fn(&PromotionProgress) + Send + Sync),
    /// Of the home that a grant names.
    pub site: &'a str,
    /// The cloud's project.
    pub project: &'a str,
    /// What the machine is given when it is promoted: the text of `Bundle::promoted`.
    pub variables: &'a str,
    /// How often what is waited for is looked at; [`LOOK_EVERY`].
    pub look_every: Duration,
}

/// What is asked for, and which way.
#[derive(Clone, Debug)]
pub struct PromotionTask {
    pub way: PromotionWay,
    pub order: PromotionOrder,
}

/// What happens, for people and as one object of JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PromotionProgress {
    pub at: Time,
    pub event: ProgressKind,
    pub text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percent: Option<i32>,
    /// How long it takes at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds_left: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ProgressKind {
    Gates,
    /// The record was written.
    Noted,
    /// An effect begins.
    Begins,
    Continues,
    Waits,
    Signs,
    /// Somebody else was first, so that everything is read again.
    Overtaken,
    /// Something did not answer and is asked again.
    Trouble,
}

/// How it ended. The record and the cloud say the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PromotionOutcome {
    Done,
    /// The grant is in force, and the operator moves the keys.
    Keys,
    /// The cloud signs, and signs of home are looked for until then.
    Watch(Time),
    Refused(GateReport),
    Declined,
    Printed,
    Ended(PromotionEnd),
}
