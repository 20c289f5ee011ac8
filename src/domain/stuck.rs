//! *Stuck*: what keeps a standby from ever becoming ready unless somebody does something, and what that is.
//!
//! It judges nothing; that is [`super::machine`]'s.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Time, start_word};

/// Why it will not become ready by itself, with what was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, strum::EnumDiscriminants)]
#[strum_discriminants(
    name(StuckKind),
    derive(PartialOrd, Ord, Serialize, Deserialize, strum::EnumIter, strum::IntoStaticStr),
    serde(rename_all = "snake_case"),
    strum(serialize_all = "snake_case"),
    doc = "A [`Stuck`] without what was seen."
)]
#[serde(rename_all = "snake_case")]
pub enum Stuck {
    OtherChain {
        /// The genesis root or the name that it reports. Written `root` before chains had names.
        #[serde(alias = "root")]
        chain: String,
    },
    /// The disk with the chain's data is nearly full.
    DiskFull { percent: u8 },
    /// The machine boots again and again.
    BootLoop { boots: usize },
    /// Its clients are started again and again.
    RestartLoop { restarts: u32 },
    /// Its clock has been wrong for long.
    ClockOff {
        milliseconds: i64,
        /// For at least this long.
        since: Time,
    },
    /// It could for long not look everywhere for a signer.
    SignerHidden { why: String, since: Time },
    /// It has had no peers for long.
    NoPeers { since: Time },
    /// It has booted, but its start-up script has come to no agent that reports.
    StartUp { word: String, since: Time },
    /// It has reported and does no longer, or what it writes is no report.
    Silent { since: Time },
    /// Neither the percentage nor the head continues.
    NoProgress { percent: u8, since: Time },
}

impl Stuck {
    #[must_use]
    pub fn kind(&self) -> StuckKind {
        self.into()
    }
}

impl StuckKind {
    /// Its name in metrics, in JSON and in Message-IDs.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// What a person can do about it.
    #[must_use]
    pub fn advice(self) -> &'static str {
        match self {
            Self::OtherChain => {
                "correct the network (and its genesis, where it is named) of this standby in the configuration, then \
                 close this incident: the next standby is created again from the start"
            }
            Self::DiskFull => "make `compute.disk.size_gb` larger and grow this machine's data disk in the console",
            Self::BootLoop => "read the serial port with `failover logs`; a machine of another type or zone may help",
            Self::RestartLoop => "read the serial port with `failover logs`; a client's own message says why it ends",
            Self::ClockOff => "look whether the network lets NTP through; the machine asks Google's own time server",
            Self::SignerHidden => {
                "look on the machine what keeps the unit failover-agent from reading it; until then it is neither ready \
                 nor deleted"
            }
            Self::NoPeers => "look whether the network lets the p2p ports out and in (see docs/gcp.md)",
            Self::StartUp => {
                "read the serial port with `failover logs`; the script tries again by itself, so it continues once what \
                 it says is corrected"
            }
            Self::Silent => "read the serial port with `failover logs`; without reports it is never called ready",
            Self::NoProgress => {
                "read the serial port with `failover logs`; a slow disk or too few peers are the usual causes"
            }
        }
    }
}

impl fmt::Display for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherChain { chain } => write!(f, "it follows another chain ({chain})"),
            Self::DiskFull { percent } => write!(f, "its disk is nearly full, {percent} % is free"),
            Self::BootLoop { boots } => write!(f, "it has booted again {boots} times"),
            Self::RestartLoop { restarts } => write!(f, "its clients were started again {restarts} times"),
            Self::ClockOff { milliseconds, since } => {
                write!(f, "its clock is off by {milliseconds} ms since {}", super::clock(*since))
            }
            Self::SignerHidden { why, since } => {
                write!(f, "it cannot rule out a signer since {}: {why}", super::clock(*since))
            }
            Self::NoPeers { since } => write!(f, "it has had no peers since {}", super::clock(*since)),
            Self::StartUp { word, since } => {
                write!(f, "it has not come to report since {}; {}", super::clock(*since), start_word(word))
            }
            Self::Silent { since } => {
                write!(f, "it has not sent a report that counts since {}", super::clock(*since))
            }
            Self::NoProgress { percent, since } => {
                write!(f, "it stands at {percent} % since {}", super::clock(*since))
            }
        }
    }
}
