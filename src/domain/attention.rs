//! What a human has to look at, and how grave it is. An overlay of the case: nothing stops under it but what it names.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Lines, Text};

/// Why a human has to look. Declared from the least grave to the gravest: a graver one takes the place of a lesser one,
/// and whatever holds beside it is seen again once it is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, strum::EnumDiscriminants)]
#[strum_discriminants(
    name(AttentionKind),
    derive(PartialOrd, Ord, Serialize, Deserialize, strum::EnumIter, strum::IntoStaticStr),
    serde(rename_all = "snake_case"),
    strum(serialize_all = "snake_case"),
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
    /// Its name in Message-IDs.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// What a mail says of an attention.
pub(super) struct Words {
    /// The end of the subject.
    pub subject: &'static str,
    /// What has happened and what to do; `{id}` is the validator's name.
    pub what: String,
    /// The next command keeps the machine; otherwise it ends the incident.
    pub keep: bool,
}

impl Attention {
    pub(super) fn words(&self) -> Words {
        let close = |subject, what: &str| Words { subject, what: what.to_owned(), keep: false };
        let keep = |subject, what: &str| Words { subject, what: what.to_owned(), keep: true };
        match self {
            Self::Vanished => close(
                "the standby has vanished",
                "The standby of {id} is gone, and failover did not delete it. Find out who did. No new one is created \
                 until you say so.",
            ),
            Self::Stopped => close(
                "the standby was stopped",
                "The standby of {id} was stopped, by its run limit or by someone. Its disk still costs. Decide whether it \
                 is still needed.",
            ),
            Self::SignerSeen => keep(
                "a signer was seen on the standby",
                "A process that could sign runs on the standby of {id}. Make sure that home cannot sign. failover does \
                 not touch this machine any more.",
            ),
            Self::TwoSigners => keep(
                "TWO SIGNERS",
                "A process that could sign runs on the standby of {id}, and home's own runs as well. Stop one of them \
                 now: two signers are slashed. failover does not touch this machine any more.",
            ),
            Self::DownAgain => close(
                "down again, and no standby takes over",
                "Home of {id} was back and is down again, and this incident has no standby that takes over. Look at it, \
                 then end the incident, and ask for another one.",
            ),
            Self::ObserveMode => close(
                "observe mode holds an incident",
                "An incident of {id} is open and the mode is observe, so nothing is created or deleted for it. Set \
                 `mode: armed`, or delete its machine by hand and end the incident.",
            ),
            Self::TtlEnded => keep(
                "nothing was decided in time",
                "The standby of {id} has run for as long as it may and nobody has decided. Keep it, or end the \
                 incident; its run limit stops it now.",
            ),
            Self::RecoveredButSilent => close(
                "home is back, the standby is silent",
                "Home of {id} works again, but the standby does not show that nothing on it signs, so it is not \
                 deleted. Look at the machine, then end the incident.",
            ),
            Self::Untouchable(check) => Words {
                subject: "the standby must not be touched",
                what: format!(
                    "The standby of {{id}} should go, but a check forbids to delete it: {check}. Look at the machine \
                     and delete it yourself if it holds no keys."
                ),
                keep: false,
            },
            Self::NeverBooted { attempts, .. } => Words {
                subject: "no standby boots",
                what: format!(
                    "No standby of {{id}} has booted, {attempts} of {attempts} tried. No further one is created. Read \
                     below what the last one's console has printed, then end the incident; the last machine stays \
                     until you do, or until its run limit stops it."
                ),
                keep: false,
            },
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
