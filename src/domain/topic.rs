//! What people are notified of: each at most once a day for as long as it lasts.

use serde::{Deserialize, Serialize};

use super::{AttentionKind, StuckKind};

/// One thing people are notified of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Topic {
    /// Suspected for long and not confirmed.
    SuspectedTooLong,
    Confirmed,
    ChainSick,
    Partial,
    Slashed,
    /// Over budget, or the price is unknown.
    Money,
    /// A rule against flapping holds an incident back.
    Flapping,
    /// A human seems to be at work on it.
    Hands,
    /// No capacity on the whole ladder.
    OutOfStock,
    Quota,
    Refused,
    TooSlow,
    /// A machine never booted and another one is tried.
    NeverBooted,
    Ready,
    /// The machine's own limit stops it soon.
    FuseSoon,
    /// A machine that should go cannot be deleted.
    DeleteFails,
    /// The machine cannot be looked at.
    PollFails,
    /// Home is back, and the operator keeps the machine.
    Kept,
    Recovered,
    /// The standby does not get on.
    Stuck(StuckKind),
    Attention(AttentionKind),
}

impl Topic {
    /// Its name in Message-IDs. Written out: a renamed variant is the same mail.
    #[must_use]
    pub fn name(self) -> String {
        let plain = match self {
            Self::SuspectedTooLong => "suspected_too_long",
            Self::Confirmed => "confirmed",
            Self::ChainSick => "chain_sick",
            Self::Partial => "partial",
            Self::Slashed => "slashed",
            Self::Money => "money",
            Self::Flapping => "flapping",
            Self::Hands => "hands",
            Self::OutOfStock => "out_of_stock",
            Self::Quota => "quota",
            Self::Refused => "refused",
            Self::TooSlow => "too_slow",
            Self::NeverBooted => "never_booted",
            Self::Ready => "ready",
            Self::FuseSoon => "fuse_soon",
            Self::DeleteFails => "delete_fails",
            Self::PollFails => "poll_fails",
            Self::Kept => "kept",
            Self::Recovered => "recovered",
            Self::Stuck(kind) => return format!("stuck/{}", kind.name()),
            Self::Attention(kind) => return format!("attention/{}", kind.name()),
        };
        plain.to_owned()
    }

    /// Whether it is about the validator's health and not about an incident's machine. Those are forgotten only after the
    /// validator was calm for a while, so that one that flaps does not send a mail with every flap.
    #[must_use]
    pub fn is_of_the_watch(self) -> bool {
        match self {
            Self::SuspectedTooLong
            | Self::Confirmed
            | Self::ChainSick
            | Self::Partial
            | Self::Slashed
            | Self::Money
            | Self::Flapping
            | Self::Hands => true,
            Self::OutOfStock
            | Self::Quota
            | Self::Refused
            | Self::TooSlow
            | Self::NeverBooted
            | Self::Ready
            | Self::FuseSoon
            | Self::DeleteFails
            | Self::PollFails
            | Self::Kept
            | Self::Recovered
            | Self::Stuck(_)
            | Self::Attention(_) => false,
        }
    }

    /// What is dropped last when more mail waits than can be kept.
    #[must_use]
    pub fn is_urgent(self) -> bool {
        matches!(self, Self::Attention(_) | Self::Slashed)
    }
}
