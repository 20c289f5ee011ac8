//! What a human has to look at, and how grave it is. An overlay of the case: nothing stops under it but what it names.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Lines, Text};

/// Why a human has to look. Declared from the least grave to the gravest: a graver one takes the place of a lesser one,
/// and whatever holds beside it is seen again once it is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, strum::EnumDiscriminants)]
#[strum_discriminants(
    name(AttentionKind),
    derive(PartialOrd, Ord, Serialize, Deserialize, strum::EnumIter),
    serde(rename_all = "snake_case"),
    doc = "An [`Attention`] without its details: people are notified of each once a day."
)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Attention {
    /// The mode is observe and an incident is open: nothing is created or deleted for it.
    ObserveMode,
    /// Nobody has decided anything until the machine's time was over.
    TtlEnded,
    /// As many machines as are allowed were made, and none has booted.
    NeverBooted {
        attempts: u32,
        /// The last of what the last one's serial port has printed.
        console: Lines,
    },
    /// The machine was stopped, by its own limit or by somebody.
    Stopped,
    /// The machine is gone and we did not delete it.
    Vanished,
    /// Home was back and is down again, and no standby of this incident can take over.
    DownAgain,
    /// Home is back, but the machine does not show that nothing on it signs.
    RecoveredButSilent,
    /// A machine must not be touched; the check that said so.
    Untouchable(Text),
    /// A process that could sign was seen on the machine.
    SignerSeen,
    /// A process that could sign was seen on the machine, and home's own process runs.
    TwoSigners,
}

impl Attention {
    #[must_use]
    pub fn kind(&self) -> AttentionKind {
        self.into()
    }

    /// Whether it lasts until a human has answered, even when what was seen is seen no longer: nothing is created or
    /// deleted meanwhile.
    #[must_use]
    pub fn is_latched(&self) -> bool {
        match self {
            Self::NeverBooted { .. } | Self::Untouchable(_) | Self::SignerSeen | Self::TwoSigners => true,
            Self::ObserveMode
            | Self::TtlEnded
            | Self::Stopped
            | Self::Vanished
            | Self::DownAgain
            | Self::RecoveredButSilent => false,
        }
    }
}

impl AttentionKind {
    /// Its name in Message-IDs. Written out: a renamed variant is the same mail.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ObserveMode => "observe_mode",
            Self::TtlEnded => "ttl_ended",
            Self::NeverBooted => "never_booted",
            Self::Stopped => "stopped",
            Self::Vanished => "vanished",
            Self::DownAgain => "down_again",
            Self::RecoveredButSilent => "recovered_but_silent",
            Self::Untouchable => "untouchable",
            Self::SignerSeen => "signer_seen",
            Self::TwoSigners => "two_signers",
        }
    }
}

impl fmt::Display for Attention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ObserveMode => {
                f.write_str("the mode is observe while an incident is open, so nothing is created or deleted for it")
            }
            Self::TtlEnded => f.write_str("the standby's time has ended and nobody has decided what becomes of it"),
            Self::NeverBooted { attempts: 1, .. } => f.write_str("the standby has not booted"),
            Self::NeverBooted { attempts, .. } => write!(f, "{attempts} standbys were made and none has booted"),
            Self::Stopped => f.write_str("the standby was stopped, by its own time limit or by somebody"),
            Self::Vanished => f.write_str("the standby is gone and failover did not delete it"),
            Self::DownAgain => {
                f.write_str("home was back and is down again, and no standby of this incident takes over")
            }
            Self::RecoveredButSilent => {
                f.write_str("home is back, but the standby does not show that nothing on it signs")
            }
            Self::Untouchable(check) => write!(f, "{check}"),
            Self::SignerSeen => f.write_str("a process that could sign was seen on the standby"),
            Self::TwoSigners => {
                f.write_str("a process that could sign was seen on the standby while home's own runs: two signers")
            }
        }
    }
}
