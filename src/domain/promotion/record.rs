//! The record `promotions/<validator>`: what is being promoted or demoted, and every machine that ever was.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::domain::{InstanceId, InstanceRef, MachineShape, Time, ValidatorId, gates::GateName};

/// Machines that are remembered: years of a promotion each week.
const MAX_PROMOTED: usize = 512;
/// Letters of a reason or a statement.
const MAX_TEXT: usize = 4000;
/// Bytes of the machine's shape, of which the metadata are the most: below what a record may have.
const MAX_SHAPE: usize = 768 << 10;

/// One for each validator, replaced by compare-and-swap over exactly what was read. Only people write it.
///
/// **Invariant:** an effect is in `steps` before it is begun; while a grant for a machine may be signed or is in
/// force, the record is open or the machine is in `promoted`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PromotionRecord {
    pub validator: ValidatorId,
    pub kind: PromotionKind,
    pub state: PromotionState,
    /// By its name at the beginning; a rename leaves its id.
    pub instance: InstanceRef,
    /// The machine before anything was done to it: what an abort of a promotion goes back to.
    #[serde(default)]
    pub shape: Option<MachineShape>,
    /// The boot that it had reported last before it was started: what is reported of that one says nothing about the
    /// start.
    #[serde(default)]
    pub boot: Option<String>,
    /// Of the grant that is to be signed: that of `over`, and one more. 0 if nothing is signed.
    pub number: u64,
    /// Digest of the grant that is replaced; empty if nothing is signed.
    pub over: String,
    pub opened_at: Time,
    pub by: String,
    pub reason: String,
    /// A drill ends after this effect and is taken back.
    #[serde(default)]
    pub until: Option<PromotionEffect>,
    /// How home is physically prevented from coming back, as the operator typed it.
    #[serde(default)]
    pub statement: Option<String>,
    #[serde(default)]
    pub overrides: Vec<NotedOverride>,
    /// What was begun, each once, in the order in which it was begun first.
    #[serde(default)]
    pub steps: Vec<NotedStep>,
    #[serde(default)]
    pub raise: Option<NotedRaise>,
    #[serde(default)]
    pub watermark: Option<NotedWatermark>,
    /// Every machine of this validator whose grant was in force once: it may hold keys. A record without it says nothing
    /// of them, and is no record.
    pub promoted: Vec<InstanceId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PromotionKind {
    ToCloud,
    ToHome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PromotionState {
    Open,
    /// Somebody takes it back: only that continues, unless the grant was signed first.
    Aborting,
    Aborted,
    /// Its grant is in force.
    Done,
}

impl PromotionState {
    /// Whether no machine of the validator may be touched.
    #[must_use]
    pub fn is_open(self) -> bool {
        match self {
            Self::Open | Self::Aborting => true,
            Self::Aborted | Self::Done => false,
        }
    }
}

/// An effect, and when it was begun first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NotedStep {
    pub effect: PromotionEffect,
    pub at: Time,
}

/// The session before its number is raised, so that the time that its holder has not written counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NotedRaise {
    /// `write` of the session that is replaced.
    pub over: Uuid,
    /// `write` of the session that the raise makes, of its own for each note: whoever finds it in the session knows
    /// that it has replaced exactly `over`.
    pub write: Uuid,
    /// How long `over` had not changed at least when this was noted, in seconds.
    pub unchanged_seconds: u64,
}

/// A gate that the operator passes over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NotedOverride {
    pub gate: GateName,
    pub reason: String,
}

/// The slashing protection that the new signer begins with, made after the wait; the same bytes are made of it again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NotedWatermark {
    /// The epoch or the height after the last moment at which the old signer can have signed.
    pub epoch: u64,
    /// SHA-256 of the file, in hex.
    pub digest: String,
}

/// What is done outside of the record. Each may be repeated.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    strum::EnumIter,
    strum::IntoStaticStr,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum PromotionEffect {
    /// Deletion protection on, and read back.
    Protect,
    Stop,
    /// No maximum run duration, disks that stay, the label of the role, metadata and tags.
    MakePermanent,
    /// `fo-…` → `kept-…`: outside of what the watcher's role may touch.
    Rename,
    Start,
    /// The session's number, over exactly the version that was noted.
    Raise,
    /// The watermark into the machine's metadata.
    PutWatermark,
    /// The grant: signed, and written over exactly the one that was read.
    Sign,
    /// The grant in force into the machine's metadata.
    Carry,
    /// The grant for home that takes a raise back.
    SignHome,
    RenameBack,
    MakeTemporary,
    Unprotect,
}

impl PromotionRecord {
    #[must_use]
    pub fn has_begun(&self, effect: PromotionEffect) -> bool {
        self.steps.iter().any(|step| step.effect == effect)
    }

    /// The same with this effect begun.
    #[must_use]
    pub(super) fn with(&self, effect: PromotionEffect, now: Time) -> Self {
        let mut record = self.clone();
        if !self.has_begun(effect) {
            record.steps.push(NotedStep { effect, at: now });
        }
        record
    }

    pub(super) fn keep(&mut self, instance: InstanceId) {
        if !self.promoted.contains(&instance) {
            self.promoted.push(instance);
        }
    }

    /// Whether automation must leave this machine alone.
    #[must_use]
    pub fn forbids(&self, instance: &InstanceId) -> bool {
        self.state.is_open() || self.promoted.contains(instance)
    }

    /// What serde does not see: sizes, and whose it is.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self, validator: &ValidatorId) -> Result<(), String> {
        let long = |text: &str| text.chars().count() > MAX_TEXT;
        let texts = [&self.by, &self.reason, &self.over];
        match () {
            () if self.validator != *validator => Err(format!("it is of the validator {}", self.validator)),
            () if self.promoted.len() > MAX_PROMOTED => Err(format!("it names over {MAX_PROMOTED} machines")),
            () if texts.into_iter().chain(&self.statement).any(|text| long(text)) => {
                Err(format!("it has a text of over {MAX_TEXT} letters"))
            }
            () if self.shape.as_ref().is_some_and(is_large) => Err("its machine has too much metadata".to_owned()),
            () if self.has_repeated() => Err("it names something twice".to_owned()),
            () if self.has_signed() && !self.promoted.contains(&self.instance.id) => {
                Err("its grant was in force, and its machine is not among those that may hold keys".to_owned())
            }
            () => Ok(()),
        }
    }

    /// Whether a grant for its machine was in force.
    fn has_signed(&self) -> bool {
        match self.kind {
            PromotionKind::ToCloud => self.number != 0 && self.state == PromotionState::Done,
            PromotionKind::ToHome => true,
        }
    }

    /// Nothing is in it twice, which bounds steps and overrides as well.
    fn has_repeated(&self) -> bool {
        fn twice<T: PartialEq>(all: impl Iterator<Item = T> + Clone) -> bool {
            all.clone().enumerate().any(|(at, one)| all.clone().take(at).any(|before| before == one))
        }
        twice(self.steps.iter().map(|step| step.effect))
            || twice(self.overrides.iter().map(|over| over.gate))
            || twice(self.promoted.iter())
    }
}

fn is_large(shape: &MachineShape) -> bool {
    serde_json::to_vec(shape).is_ok_and(|bytes| bytes.len() > MAX_SHAPE)
}
