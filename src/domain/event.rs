//! What can happen, and what is to be done: the two ends of [`super::step`].

use serde::{Deserialize, Serialize};

use super::{
    ActionId, ChainHealth, CreateOutcome, IncidentId, InstanceRef, KeyStates, Machine, MachineState, Owner,
    PromotionView, Reading, Role, Source, Span, StandbySpec, Time, Validator, ValidatorId, Written, gate::GateSight,
};

/// Something that happened. Time passing is one of them.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    Observed(ValidatorId, Source, Reading),
    /// The chain was asked what became of the validator's keys.
    KeysSeen(ValidatorId, KeyStates),
    /// The chain was looked at as a whole.
    ChainSeen(ChainView),
    /// The cluster shows that a human may be at work on it, or no longer does.
    MaintenanceSeen(ValidatorId, Option<Maintenance>),
    /// Its gate was asked what it does.
    GateSeen(ValidatorId, GateSight),
    /// The verified grant, and the session beside it, were read.
    OwnerSeen(ValidatorId, Owner),
    /// The number of the grant in force, and the record of promotions beside it, were read.
    PromotionSeen(ValidatorId, Option<u64>, Option<Box<PromotionView>>),
    /// Whether any witness was seen lately: since when none was, if so.
    WitnessSeen(ValidatorId, Option<Time>),
    Requested(ValidatorId, Request),
    /// All machines of the validator, whatever incident they are of; sent every so often.
    MachinesListed(ValidatorId, Vec<Listed>),
    /// That list could not be had, or not completely. It is about all validators, and one is enough to say it.
    MachinesUnlisted(ValidatorId, String),
    Finished(ValidatorId, ActionId, Outcome),
    /// Mail about it was delivered, or not.
    MailSettled(ValidatorId, uuid::Uuid, super::Delivery),
    /// The wall clock jumped by this much, or nothing was observed for so long: no hold survives that, and no deadline
    /// passes by it.
    ClockJumped(ValidatorId, Span),
    /// The moment has come that a decision asked to be woken at.
    Due(ValidatorId),
}

impl Event {
    /// Whose event it is; `None` for one that is about the chain.
    #[must_use]
    pub fn validator(&self) -> Option<&ValidatorId> {
        match self {
            Self::Observed(id, ..)
            | Self::KeysSeen(id, _)
            | Self::MaintenanceSeen(id, _)
            | Self::GateSeen(id, _)
            | Self::OwnerSeen(id, _)
            | Self::PromotionSeen(id, ..)
            | Self::WitnessSeen(id, _)
            | Self::Requested(id, _)
            | Self::MachinesListed(id, _)
            | Self::MachinesUnlisted(id, _)
            | Self::Finished(id, ..)
            | Self::MailSettled(id, ..)
            | Self::ClockJumped(id, _)
            | Self::Due(id) => Some(id),
            Self::ChainSeen(_) => None,
        }
    }
}

/// The chain as a whole, as the beacon nodes agree on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChainView {
    pub health: ChainHealth,
    /// Which chain it is, `0x…`; a standby has to follow the same one.
    pub genesis_root: Option<String>,
}

/// Signs of a human at work on a validator: scaled to zero, deleted, a template changed. While they are fresh nothing
/// opens by itself, because such an outage is a question and not an emergency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Maintenance {
    /// What was seen, to stand after "because".
    pub why: std::sync::Arc<str>,
    /// After this moment it is not known any more, and holds nothing back.
    pub fresh_until: Time,
}

/// One machine of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct Listed {
    pub machine: Machine,
    /// Its label names this ledger. One of another ledger may be in use by another watcher.
    pub ours: bool,
}

/// An operator's request, as it is in the ledger under `requests/`. Ownership is never among them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Its name; a repetition is recognised by it.
    pub id: String,
    pub validator: ValidatorId,
    pub by: String,
    pub reason: String,
    pub command: Command,
    /// The incident that was open when the operator asked; `close` and `retain` are about that one only.
    pub incident: Option<IncidentId>,
    /// After this moment it is not carried out any more. What creates or deletes machines has one.
    pub expires_at: Option<Time>,
}

/// What creates or deletes machines is carried out within this time or not at all: the caller waits for 90 seconds,
/// and a watcher that comes back hours later may find quite another situation.
pub const REQUEST_LIFETIME: Span = Span::from_mins(15);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    Open,
    /// End the incident and let its machine go.
    Close,
    /// Do nothing until then.
    Pause {
        until: Time,
    },
    Resume,
    /// The machine was retained by the operator: leave it alone.
    Retain,
}

impl std::fmt::Display for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Open => f.write_str("open"),
            Self::Close => f.write_str("close"),
            Self::Pause { until } => write!(f, "pause until {until:.0}"),
            Self::Resume => f.write_str("resume"),
            Self::Retain => f.write_str("retain"),
        }
    }
}

/// Something to be done outside. Each may be repeated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, strum::EnumDiscriminants)]
#[strum_discriminants(
    name(Step),
    derive(Hash, PartialOrd, Ord, Serialize, Deserialize, strum::EnumIter, strum::IntoStaticStr),
    serde(rename_all = "snake_case"),
    strum(serialize_all = "snake_case"),
    doc = "An [`Action`] without its details. Part of its name, so that a repeated action has the same name."
)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Action {
    /// Look for the incident's machines in every zone.
    Find,
    Create(StandbySpec),
    /// Read the machine's state and its report.
    Observe(InstanceRef),
    /// Delete a machine, after checking that it may be.
    Delete(InstanceRef),
    /// Delete a machine if it has still never written anything.
    #[strum_discriminants(strum(serialize = "delete"))]
    Abandon(InstanceRef),
    /// Delete a machine that no incident claims, if it has never written anything or its report moves.
    #[strum_discriminants(strum(serialize = "delete"))]
    Reclaim(InstanceRef),
    /// Read the last of what its serial port has printed.
    Console(InstanceRef),
    /// Look for disks of the incident that no machine took with it.
    Disks,
}

impl Step {
    /// Its name in request ids, under which the cloud recognises a request that it has already carried out: a golden
    /// test holds them.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// What it does, for people.
    #[must_use]
    pub fn doing(self) -> &'static str {
        match self {
            Self::Find => "listing the machines",
            Self::Create => "creating a standby",
            Self::Observe => "looking at the standby",
            Self::Delete | Self::Abandon | Self::Reclaim => "deleting a machine",
            Self::Console => "reading its console",
            Self::Disks => "listing the disks",
        }
    }
}

impl Action {
    #[must_use]
    pub fn step(&self) -> Step {
        self.into()
    }

    #[must_use]
    pub fn deletes(&self) -> bool {
        matches!(self, Self::Delete(_) | Self::Abandon(_) | Self::Reclaim(_))
    }

    /// The machine it is about, once there is one.
    #[must_use]
    pub fn instance(&self) -> Option<&InstanceRef> {
        match self {
            Self::Observe(instance)
            | Self::Delete(instance)
            | Self::Abandon(instance)
            | Self::Reclaim(instance)
            | Self::Console(instance) => Some(instance),
            Self::Find | Self::Create(_) | Self::Disks => None,
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    Found(Vec<Machine>),
    /// A search without some zones, and what those have answered: it shows what is there, never what is not.
    FoundWithout {
        machines: Vec<Machine>,
        unseen_zones: Vec<String>,
        why: String,
    },
    Created(CreateOutcome),
    /// The machine as it is; `None` when it is gone.
    Observed(Option<Seen>),
    Deleted,
    /// The last of what its serial port has printed, as it was printed.
    Console(String),
    /// The disks of the incident that are still there, for people.
    Disks(Vec<String>),
    /// It must not be deleted; the check that said so.
    Untouchable(String),
    /// The cloud did not answer, or not completely: unknown.
    Failed(String),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    pub state: MachineState,
    /// What it is, by its label.
    pub role: Role,
    pub deletion_protection: bool,
    pub written: Written,
}

/// What is to be persisted first, and done second.
#[derive(Clone, Debug, Default)]
pub struct Decision {
    /// The validator's new record, if it changed.
    pub record: Option<Validator>,
    /// The validator's new state in memory, if it changed.
    pub live: Option<super::Live>,
    /// The chain as a whole, if it changed.
    pub chain: Option<ChainView>,
    /// To be started once `record` is in the ledger.
    pub actions: Vec<(ActionId, Action)>,
    pub wake_at: Option<Time>,
    /// What changed, in order, for the log and the journal.
    pub reasons: Vec<super::Reason>,
}

/// An event that cannot be: nothing changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// No validator of this name is configured.
    #[error("no validator is called {0}")]
    UnknownValidator(ValidatorId),
}
