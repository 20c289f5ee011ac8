//! The standby: what is asked of the cloud, and what the cloud and the machine say of it.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{ActionId, IncidentId, Span, Time, ValidatorId};

/// One rung of the ladder: where, and on what.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rung {
    /// For example `us-central1-a`.
    pub zone: String,
    /// For example `n2-standard-8`.
    pub machine_type: String,
}

impl Rung {
    /// The region of the zone. Quotas are regional: a rung in the same region fails with the same quota.
    #[must_use]
    pub fn region(&self) -> &str {
        self.zone.rsplit_once('-').map_or(&self.zone, |(region, _)| region)
    }
}

impl fmt::Display for Rung {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}", self.machine_type, self.zone)
    }
}

/// What the cloud is to create. Everything that can differ between two standbys; the rest is the adapter's rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StandbySpec {
    /// The action this creation is; its request id and the machine's name come from it.
    pub action: ActionId,
    /// Whose standby it is.
    pub validator: ValidatorId,
    /// Where and on what.
    pub rung: Rung,
    /// After this long the cloud stops the machine by itself.
    pub max_run_duration: Span,
}

impl StandbySpec {
    /// The machine's name, the same at every repetition: `fo-<validator>-<incident>`.
    #[must_use]
    pub fn machine_name(&self) -> String {
        machine_name(&self.validator, self.action.incident)
    }
}

/// The name of an incident's machine. At most 3 + 32 + 1 + 8 of the 63 characters a name may have, and two more once it
/// is promoted.
#[must_use]
pub fn machine_name(validator: &ValidatorId, incident: IncidentId) -> String {
    format!("{}{validator}-{incident}", super::STANDBY_PREFIX)
}

/// Names one machine forever: a machine of the same name made later has another id.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct InstanceRef {
    /// Where it is, in the provider's words.
    pub zone: String,
    /// Its name.
    pub name: String,
    /// The provider's own id, which no other machine ever has.
    pub id: InstanceId,
}

/// A machine's id as its provider has it. Text, because Compute Engine's are larger than the numbers that JSON keeps exactly
/// in most programs (2^53), and another provider's are none.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InstanceId(std::sync::Arc<str>);

impl From<u64> for InstanceId {
    fn from(number: u64) -> Self {
        Self(number.to_string().into())
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for InstanceRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}", self.name, self.zone)
    }
}

/// What the cloud says a machine is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MachineState {
    /// Being made: it may still fail for want of capacity.
    Starting,
    /// It says nothing about what runs inside.
    Running,
    /// On its way to be stopped, suspended or deleted: which one, only its end tells.
    Stopping,
    Stopped,
}

/// What a machine is, by its labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Keyless, may be deleted by automation.
    Standby,
    /// The operator keeps it: not ours to delete.
    Retained,
    /// It may hold keys: untouchable.
    Promoted,
    /// A label we do not know: untouchable.
    Other,
}

/// One machine as a listing shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// Which one.
    pub instance: InstanceRef,
    /// Its `validator` label.
    pub validator: String,
    /// Its `incident` label.
    pub incident: String,
    /// Its `ledger` label: the id of the ledger that it was created under. Empty when it has none.
    pub ledger: String,
    /// Its `role` label.
    pub role: Role,
    /// What it is doing.
    pub state: MachineState,
    /// The cloud's own guard against deletion.
    pub deletion_protection: bool,
    /// For example `n2-standard-8`.
    pub machine_type: String,
    /// By the cloud's clock; for showing and for choosing the older of two, never for deciding about time.
    pub created_at: Option<Time>,
}

/// How the creation of a machine ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CreateOutcome {
    /// The operation ended without an error, or a machine of this name stood there with our labels.
    Created(InstanceRef),
    /// This zone has no such machine to give: try the next rung.
    OutOfStock(String),
    /// A regional quota: the next rung of the same region would fail as well.
    QuotaExceeded(String),
    /// It will not work in this place until somebody changes something: no such machine type, no address left, a name
    /// taken by a stranger. Another place may take it.
    RefusedHere(String),
    /// It will not work anywhere until somebody changes something: a permission, billing, a machine to look at first.
    Refused(String),
    /// Nothing was made and nobody has to change anything: a rate, a resource that is not ready. A minute mends it.
    Busy(String),
    /// It is there under this incident's labels, or its operation has ended well, and it is not yet shown as what it is
    /// going to be: it may still vanish.
    BeingMade(String),
    /// It may or may not have happened: look before acting again.
    Unknown(String),
}
