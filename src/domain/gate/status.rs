//! What a gate says about itself on its port, for the watcher and for people.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::domain::{Time, ValidatorId, clock};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateStatus {
    pub validator: ValidatorId,
    /// `home` or `cloud`.
    pub place: String,
    pub version: String,
    #[serde(flatten)]
    pub state: GatePhase,
    /// The number of the newest verified grant.
    pub number: Option<u64>,
    /// When the ledger last confirmed the session.
    pub renewed_at: Option<Time>,
    /// What is wrong without stopping the command: the ledger has not answered for long.
    pub trouble: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum GatePhase {
    /// Nothing runs; it starts by itself when what it waits for comes.
    Waiting {
        why: String,
        kind: WaitKind,
        since: Time,
        /// When it starts at the latest, if nothing else comes between.
        until: Option<Time>,
    },
    Running {
        since: Time,
        /// When the command ends unless the ledger answers before. `None` with `on_ledger_loss: run`, and in the cloud.
        until: Option<Time>,
    },
    Stopping {
        why: String,
        since: Time,
    },
}

impl fmt::Display for GateStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {} ", self.validator, self.place)?;
        match &self.state {
            GatePhase::Waiting { why, since, .. } => write!(f, "waits since {}: {why}", clock(*since)),
            GatePhase::Running { since, .. } => write!(f, "runs since {}", clock(*since)),
            GatePhase::Stopping { why, since } => write!(f, "is stopping since {}: {why}", clock(*since)),
        }
    }
}

/// What a gate waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, strum::EnumIter, strum::IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum WaitKind {
    /// The ledger does not answer, or what it holds cannot be used.
    Ledger,
    /// There is no grant for this place, or none that can be verified.
    Grant,
    /// Another process at home holds the session, or may still.
    Session,
    /// A promotion has raised the session's number.
    Moving,
    /// Epochs without a duty by these keys have to pass. This wait has an end and counts as maintenance.
    Duties,
    /// These keys had duties although this gate runs nothing. Epochs without one have to pass, as with `Duties`.
    SomebodySigns,
    /// The command ended, or cannot be started.
    Command,
}
