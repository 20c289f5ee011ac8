//! Why a node cannot say. Data, so that the same words are shown everywhere.

use std::fmt;

use super::{Epoch, Slot};

/// Why a node's answer counts for nothing. Its text is what comes after "its node": "is 9 slots behind".
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeTrouble {
    /// It has not been asked yet.
    NotAsked,
    Refused,
    NoAnswer,
    /// The connection broke, or what came was no HTTP.
    Broken(String),
    Status {
        status: u16,
        message: String,
    },
    /// It sent a web page: a proxy or a login in front of it.
    Html,
    /// What came ended in the middle.
    HalfJson,
    /// It sent more than so many bytes, which no such answer has.
    TooLarge(usize),
    /// It sent something that is not what the beacon API says.
    NotBeaconApi(String),
    /// Another chain than the configured one, or than before.
    OtherChain {
        genesis_root: String,
    },
    /// It says that it is syncing.
    Syncing {
        /// How far it has to go.
        distance: u64,
    },
    Behind {
        slots: u64,
    },
    /// Its head is old by this clock, yet it calls itself in step by its own.
    ClocksDiffer {
        slots: u64,
    },
    /// Its head is not verified by its execution layer.
    Optimistic,
    /// Its execution layer does not answer.
    ExecutionOffline,
    /// It answers, and leaves out whether that is so, or gives it as null.
    Untold {
        field: &'static str,
    },
    /// It shows a slot that by this clock has not come.
    ClockBehind {
        head: Slot,
        slots: u64,
    },
    /// It was well only since this epoch, or was only watched since.
    WellSince {
        /// The epoch in which that began.
        epoch: Epoch,
        /// What was wrong before, if it is known.
        before: Option<Box<NodeTrouble>>,
    },
    /// Its answer came when the next epoch had begun; then it is wrong about the one asked for.
    TooLate,
    /// It left out indices that were asked for.
    Incomplete {
        answered: usize,
        asked: usize,
    },
    /// There is nobody to compare with.
    NoControl {
        found: usize,
    },
    /// The control group is silent as well.
    ControlSilent {
        /// How many of it were live.
        live: usize,
        total: usize,
    },
    BeforeGenesis,
    /// This process could not look in time.
    Unobserved,
}

impl fmt::Display for NodeTrouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAsked => f.write_str("has not been asked yet"),
            Self::Refused => f.write_str("refuses connections"),
            Self::NoAnswer => f.write_str("did not answer in time"),
            Self::Broken(why) => write!(f, "did not answer ({why})"),
            Self::Status { status, message } if message.is_empty() => write!(f, "answered {status}"),
            Self::Status { status, message } => write!(f, "answered {status} ({message})"),
            Self::Html => f.write_str("answered HTML, not the beacon API"),
            Self::HalfJson => f.write_str("answered half a JSON"),
            Self::TooLarge(most) => write!(f, "sent an answer larger than {most} bytes"),
            Self::NotBeaconApi(why) => write!(f, "does not answer as the beacon API says ({why})"),
            Self::OtherChain { genesis_root } => write!(f, "follows another chain (genesis root {genesis_root})"),
            Self::Syncing { distance } => write!(f, "is syncing, {}", to_go(*distance)),
            Self::Behind { slots } => write!(f, "is {} behind", count(*slots)),
            Self::ClocksDiffer { slots } => {
                write!(f, "is {} behind this clock but not by its own: one of the two is wrong", count(*slots))
            }
            Self::Optimistic => f.write_str("is optimistic: its execution layer has not verified the head"),
            Self::ExecutionOffline => f.write_str("says that the execution layer is offline"),
            Self::Untold { field } => write!(f, "does not say {field}"),
            Self::ClockBehind { head, slots } => {
                write!(f, "shows slot {head}, {} ahead: this clock is behind the chain", count(*slots))
            }
            Self::WellSince { epoch, before: None } => {
                write!(f, "has been watched only since epoch {epoch}")
            }
            Self::WellSince { epoch, before: Some(before) } => {
                write!(f, "has been well only since epoch {epoch} (before that it {before})")
            }
            Self::TooLate => f.write_str("answered when the next epoch had begun, which is too late"),
            Self::Incomplete { answered, asked } => write!(f, "answered about {answered} of {asked} keys"),
            Self::NoControl { found } => write!(f, "knows only {found} other validators, too few to compare with"),
            Self::ControlSilent { live, total } => {
                write!(f, "shows only {live} of {total} others live, so its silence means nothing")
            }
            Self::BeforeGenesis => f.write_str("is on a chain that has not begun"),
            Self::Unobserved => f.write_str("could not be asked in time"),
        }
    }
}

impl NodeTrouble {
    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            // Teku has it off by default.
            Self::Status { message, .. } if message.contains("iveness tracking") => {
                "start that beacon node with `--beacon-liveness-tracking-enabled=true` (Teku has it off by default); \
                 without it the chain is never a signal"
            }
            Self::Status { status: 401 | 403, .. } | Self::Html => {
                "something in front of the node wants a login: name the node's own address in `ethereum.beacon_nodes`"
            }
            Self::Status { status: 404 | 405 | 410 | 501, .. } => {
                "correct the node's `url`; if it is right, this client does not offer the call: name another node"
            }
            Self::Refused | Self::NoAnswer | Self::Broken(_) => {
                "start the node, open its HTTP API to this machine, or correct its `url` in `ethereum.beacon_nodes`"
            }
            Self::Status { .. }
            | Self::HalfJson
            | Self::TooLarge(_)
            | Self::NotBeaconApi(_)
            | Self::Incomplete { .. } => "look at the node's log, and whether its `url` is a beacon node's HTTP API",
            Self::OtherChain { .. } => "correct the node's `url` or `ethereum.genesis_root`",
            Self::Syncing { .. } | Self::Behind { .. } | Self::WellSince { .. } | Self::BeforeGenesis => {
                "wait until the node follows the head; if it does not catch up, look at its log"
            }
            Self::ClocksDiffer { .. } | Self::ClockBehind { .. } => "set both clocks (chrony, systemd-timesyncd)",
            Self::Optimistic | Self::ExecutionOffline => "repair the node's execution client",
            Self::Untold { .. } => "update the node: its client has said that for years",
            Self::NoControl { .. } => "the chain has too few validators to compare with: use other signals",
            Self::ControlSilent { .. } => {
                "a node that has just started says that of the epoch before: run this again in two epochs"
            }
            Self::NotAsked | Self::TooLate | Self::Unobserved => "run this again",
        }
    }
}

fn count(slots: u64) -> String {
    if slots == 1 { "1 slot".into() } else { format!("{slots} slots") }
}

fn to_go(distance: u64) -> String {
    format!("{} to go", count(distance))
}
