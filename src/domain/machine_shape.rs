//! What a promotion changes of its machine: as the cloud shows it, as it is to be, and the steps between the two. Pure.
//!
//! Compute Engine changes the run limit and the name of a stopped machine only, so that a machine whose limit or name is
//! wrong is stopped first and started last.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::Span;

/// What a machine's name begins with while it is the watcher's to create, change and delete.
pub const STANDBY_PREFIX: &str = "fo-";
/// What it begins with from a promotion on: outside the condition under which the watcher may change machines.
pub const KEPT_PREFIX: &str = "kept-";
/// The network tag that the firewall rule for ssh through Google's Identity-Aware Proxy is for.
pub const SSH_TAG: &str = "failover-ssh";

/// The signed grant in force, for the gate on the machine.
pub const GRANT_KEY: &str = "failover-grant";
/// What the start-up script makes a promoted machine of: `Bundle::promoted`.
pub const PROMOTED_KEY: &str = "failover-promoted";
/// The slashing protection that the new signer begins with.
pub const WATERMARK_KEY: &str = "failover-watermark";
/// Metadata of a promotion; the machine's other keys are nobody's business here. Anyone who can view the machine can
/// read it.
pub const PROMOTION_KEYS: [&str; 3] = [GRANT_KEY, PROMOTED_KEY, WATERMARK_KEY];

/// The name that a standby of this name gets with its promotion. Any other name stays.
#[must_use]
pub fn kept_name(name: &str) -> String {
    name.strip_prefix(STANDBY_PREFIX).map_or_else(|| name.to_owned(), |rest| format!("{KEPT_PREFIX}{rest}"))
}

/// What a machine is doing, as far as it decides what can be changed of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MachinePower {
    Running,
    /// On its way to be anything: it is waited for.
    Changing,
    /// It would resume with its memory. Nothing here does that.
    Suspended,
    Terminated,
}

/// When the cloud ends the machine by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunLimit {
    /// So long after each start.
    After(Span),
    /// RFC 3339, as the cloud has it.
    At(String),
}

/// All that a promotion changes of its machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MachineShape {
    pub name: String,
    pub power: MachinePower,
    pub deletion_protection: bool,
    pub run_limit: Option<RunLimit>,
    /// For each disk, by its device name, whether it is deleted with the machine.
    pub auto_delete: BTreeMap<String, bool>,
    /// Its `role` label.
    pub role: Option<String>,
    /// Whether it carries [`SSH_TAG`].
    pub ssh_tag: bool,
    /// Of [`PROMOTION_KEYS`]. In a shape that is wanted, a key without a value has to be absent, and one that is not
    /// listed may be as it is.
    pub metadata: BTreeMap<String, Option<String>>,
}

/// One thing to be done to a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShapeStep {
    Protect(bool),
    Stop,
    Limit(Option<RunLimit>),
    AutoDelete {
        device: String,
        on: bool,
    },
    /// `None` takes the label away.
    Role(Option<String>),
    SshTag(bool),
    /// `None` takes the key away.
    Metadata(BTreeMap<String, Option<String>>),
    Rename(String),
    Start,
}

impl MachineShape {
    /// As it is after step 3 of a promotion: its own end cleared, its disks its own, out of the watcher's reach, and
    /// running. `variables` is what its start-up script makes it of.
    #[must_use]
    pub fn promoted(&self, variables: &str) -> Self {
        Self {
            name: kept_name(&self.name),
            power: MachinePower::Running,
            deletion_protection: true,
            run_limit: None,
            auto_delete: self.auto_delete.keys().map(|device| (device.clone(), false)).collect(),
            role: Some("promoted".into()),
            ssh_tag: true,
            metadata: [(PROMOTED_KEY.to_owned(), Some(variables.to_owned()))].into(),
        }
    }

    /// The same as a goal to go back to: what a promotion has added to the metadata has to go again.
    #[must_use]
    pub fn restored(&self) -> Self {
        let value = |key: &str| self.metadata.get(key).cloned().flatten();
        let metadata = PROMOTION_KEYS.map(|key| (key.to_owned(), value(key)));
        Self { metadata: metadata.into(), ..self.clone() }
    }

    /// The same without running: for a zone that has no machine to give.
    #[must_use]
    pub fn stopped(self) -> Self {
        Self { power: MachinePower::Terminated, ..self }
    }

    /// What is to be done to reach this shape, in the order in which it has to be done. Empty when nothing is missing.
    ///
    /// **Invariant:** protection is on before anything else changes and goes off after everything else has, and a machine
    /// starts only with the limit, the label and the name that it is to have.
    #[must_use]
    pub fn missing(&self, wanted: &Self) -> Vec<ShapeStep> {
        let mut changes = self.changes(wanted);
        if !wanted.deletion_protection {
            changes.reverse();
        }
        let needs_stop = changes.iter().any(ShapeStep::needs_stop) || wanted.power == MachinePower::Terminated;
        let stops = needs_stop && self.power != MachinePower::Terminated;
        let starts = wanted.power == MachinePower::Running && (stops || self.power != MachinePower::Running);
        let protect = (self.deletion_protection != wanted.deletion_protection)
            .then_some(ShapeStep::Protect(wanted.deletion_protection));
        let (first, last) = if wanted.deletion_protection { (protect, None) } else { (None, protect) };
        let stop = stops.then_some(ShapeStep::Stop);
        let start = starts.then_some(ShapeStep::Start);
        first.into_iter().chain(stop).chain(changes).chain(start).chain(last).collect()
    }

    /// What differs beside power and protection, in the order of a promotion.
    fn changes(&self, wanted: &Self) -> Vec<ShapeStep> {
        let mut steps = Vec::new();
        if self.run_limit != wanted.run_limit {
            steps.push(ShapeStep::Limit(wanted.run_limit.clone()));
        }
        let of_a_disk = |(device, on): (&String, &bool)| {
            let differs = self.auto_delete.get(device).is_some_and(|is_on| is_on != on);
            differs.then(|| ShapeStep::AutoDelete { device: device.clone(), on: *on })
        };
        steps.extend(wanted.auto_delete.iter().filter_map(of_a_disk));
        if self.role != wanted.role {
            steps.push(ShapeStep::Role(wanted.role.clone()));
        }
        let differs = |(key, value): &(&String, &Option<String>)| self.metadata.get(*key).cloned().flatten() != **value;
        let items: BTreeMap<_, _> =
            wanted.metadata.iter().filter(differs).map(|(key, value)| (key.clone(), value.clone())).collect();
        if !items.is_empty() {
            steps.push(ShapeStep::Metadata(items));
        }
        if self.ssh_tag != wanted.ssh_tag {
            steps.push(ShapeStep::SshTag(wanted.ssh_tag));
        }
        if self.name != wanted.name {
            steps.push(ShapeStep::Rename(wanted.name.clone()));
        }
        steps
    }

    /// Whether this step has been done already.
    #[must_use]
    pub fn has(&self, step: &ShapeStep) -> bool {
        match step {
            ShapeStep::Protect(on) => self.deletion_protection == *on,
            ShapeStep::Stop => self.power == MachinePower::Terminated,
            ShapeStep::Limit(limit) => self.run_limit == *limit,
            ShapeStep::AutoDelete { device, on } => self.auto_delete.get(device) == Some(on),
            ShapeStep::Role(role) => self.role == *role,
            ShapeStep::SshTag(on) => self.ssh_tag == *on,
            ShapeStep::Metadata(items) => {
                items.iter().all(|(key, value)| self.metadata.get(key).cloned().flatten() == *value)
            }
            ShapeStep::Rename(name) => self.name == *name,
            ShapeStep::Start => self.power == MachinePower::Running,
        }
    }
}

impl ShapeStep {
    /// Whether the cloud takes it of a machine that is TERMINATED alone.
    #[must_use]
    pub fn needs_stop(&self) -> bool {
        match self {
            Self::Limit(_) | Self::Rename(_) => true,
            Self::Protect(_)
            | Self::Stop
            | Self::AutoDelete { .. }
            | Self::Role(_)
            | Self::SshTag(_)
            | Self::Metadata(_)
            | Self::Start => false,
        }
    }
}

impl std::fmt::Display for ShapeStep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Protect(true) => write!(f, "deletion protection on"),
            Self::Protect(false) => write!(f, "deletion protection off"),
            Self::Stop => write!(f, "stop"),
            Self::Limit(None) => write!(f, "clear the run limit"),
            Self::Limit(Some(RunLimit::After(span))) => write!(f, "run limit of {}", super::human(*span)),
            Self::Limit(Some(RunLimit::At(at))) => write!(f, "run limit at {at}"),
            Self::AutoDelete { device, on: true } => write!(f, "disk {device} goes with the machine"),
            Self::AutoDelete { device, on: false } => write!(f, "disk {device} stays without the machine"),
            Self::Role(Some(role)) => write!(f, "label role={role}"),
            Self::Role(None) => write!(f, "no label role"),
            Self::SshTag(true) => write!(f, "network tag {SSH_TAG}"),
            Self::SshTag(false) => write!(f, "no network tag {SSH_TAG}"),
            Self::Metadata(items) => {
                let keys: BTreeSet<&str> = items.keys().map(String::as_str).collect();
                write!(f, "metadata {}", keys.into_iter().collect::<Vec<_>>().join(", "))
            }
            Self::Rename(name) => write!(f, "rename to {name}"),
            Self::Start => write!(f, "start"),
        }
    }
}

#[cfg(test)]
mod tests;
