//! Which gates there are, and which of them are judged when.

use serde::{Deserialize, Serialize};

use crate::domain::promotion::PromotionKind;

/// Which gate, as `--override` names it.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    strum::EnumIter,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::Display,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum GateName {
    Ready,
    Keys,
    Finalising,
    Silent,
    Missed,
    Fenced,
    OnlyOne,
    Watermark,
    NoPause,
    Clock,
    Export,
}

impl GateName {
    /// Whether an operator may pass over it. Never over what stands between two signers.
    #[must_use]
    pub fn may_be_overridden(self) -> bool {
        match self {
            Self::Ready | Self::Missed | Self::Watermark | Self::NoPause | Self::Clock | Self::Export => true,
            Self::Keys | Self::Finalising | Self::Silent | Self::Fenced | Self::OnlyOne => false,
        }
    }

    /// Whether the raise and the wait bring it about.
    pub(super) fn is_after_the_wait(self) -> bool {
        match self {
            Self::Silent | Self::Missed | Self::Fenced | Self::Watermark => true,
            Self::Ready
            | Self::Keys
            | Self::Finalising
            | Self::OnlyOne
            | Self::NoPause
            | Self::Clock
            | Self::Export => false,
        }
    }

    /// Whether it says something of a validator that forges: for it neither duties nor slashing protection are known.
    pub(super) fn is_for_a_forger(self) -> bool {
        match self {
            Self::Ready | Self::Fenced | Self::OnlyOne | Self::NoPause | Self::Clock => true,
            Self::Keys | Self::Finalising | Self::Silent | Self::Missed | Self::Watermark | Self::Export => false,
        }
    }

    /// Whether it is about the machine, whatever the validator signs.
    fn is_for_any_machine(self) -> bool {
        match self {
            Self::Ready | Self::OnlyOne | Self::NoPause | Self::Clock => true,
            Self::Keys
            | Self::Finalising
            | Self::Silent
            | Self::Missed
            | Self::Fenced
            | Self::Watermark
            | Self::Export => false,
        }
    }

    /// Whether a way home needs it too: there the machine that is TERMINATED is the fence.
    fn is_for_home(self) -> bool {
        match self {
            Self::Keys | Self::Finalising | Self::Silent | Self::Clock => true,
            Self::Ready
            | Self::Missed
            | Self::Fenced
            | Self::OnlyOne
            | Self::Watermark
            | Self::NoPause
            | Self::Export => false,
        }
    }
}

/// When the gates are judged, and which of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, strum::Display, strum::EnumIter)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum GatePass {
    /// Before anything is done.
    First,
    /// After the wait.
    Second,
    /// Before a demotion stops the machine.
    HomeFirst,
    /// Before a demotion's signature.
    Home,
    /// Before the machine of a validator that signs nothing is made permanent.
    SignsNothing,
}

impl GatePass {
    /// Which way it is on.
    #[must_use]
    pub fn kind(self) -> PromotionKind {
        match self {
            Self::First | Self::Second | Self::SignsNothing => PromotionKind::ToCloud,
            Self::HomeFirst | Self::Home => PromotionKind::ToHome,
        }
    }

    pub(super) fn asks(self, gate: GateName) -> bool {
        match self {
            Self::First | Self::Second => true,
            Self::HomeFirst | Self::Home => gate.is_for_home(),
            Self::SignsNothing => gate.is_for_any_machine(),
        }
    }

    /// Whether what only the wait brings about does not count yet.
    pub(super) fn is_before_the_wait(self) -> bool {
        match self {
            Self::First | Self::HomeFirst => true,
            Self::Second | Self::Home | Self::SignsNothing => false,
        }
    }
}
