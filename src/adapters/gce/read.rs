//! Compute Engine's words as ours. What cannot be read is not guessed.

use google_cloud_compute_v1::model::{
    GuestAttributesEntry, Instance, InstanceAggregatedList, instance::Status, instances_scoped_list,
};

use super::{APP, BOOT, MAX_REPORT, REPORT};
use crate::{
    domain::{IncidentId, InstanceRef, Machine, MachineState, Report, Role, ValidatorId, Written},
    ports::Scope,
};

/// AIP-160, as Compute Engine reads it.
pub(super) fn filter(site: &str, scope: &Scope) -> String {
    let ours = format!("(labels.app=\"{APP}\") (labels.site=\"{site}\")");
    match scope {
        Scope::Everything => ours,
        Scope::Validator(validator) => format!("{ours} (labels.validator=\"{validator}\")"),
        Scope::Incident(validator, incident) => {
            format!("{ours} (labels.validator=\"{validator}\") (labels.incident=\"{incident}\")")
        }
    }
}

/// A server that does not filter must not make us touch what is not ours.
pub(super) fn in_scope(machine: &Machine, scope: &Scope) -> bool {
    match scope {
        Scope::Everything => true,
        Scope::Validator(validator) => machine.validator == validator.as_str(),
        Scope::Incident(validator, incident) => {
            machine.validator == validator.as_str() && machine.incident == incident.to_string()
        }
    }
}

/// Whether every zone has answered.
pub(super) fn is_complete(page: &InstanceAggregatedList) -> bool {
    let is_empty = |warning: &instances_scoped_list::Warning| {
        warning.code == Some(instances_scoped_list::warning::Code::NoResultsOnPage)
    };
    page.unreachables.is_empty()
        && page.warning.is_none()
        && page.items.values().all(|scoped| scoped.warning.as_ref().is_none_or(is_empty))
}

/// Whether a machine is this incident's.
pub(super) fn is_ours(found: &Instance, validator: &ValidatorId, incident: IncidentId) -> bool {
    let label = |key: &str| found.labels.get(key).map(String::as_str);
    label("app") == Some(APP)
        && label("validator") == Some(validator.as_str())
        && label("incident") == Some(incident.to_string().as_str())
}

pub(super) fn instance_ref(found: &Instance) -> Option<InstanceRef> {
    let zone = found.zone.as_deref()?.rsplit('/').next()?.to_owned();
    Some(InstanceRef { zone, name: found.name.clone()?, id: found.id?.into() })
}

/// `None` for a machine that is not ours or that has no name, zone or id. Another site may have a validator of the same
/// name, and its machine is none of our business.
pub(super) fn machine(found: &Instance, site: &str) -> Option<Machine> {
    let label = |key: &str| found.labels.get(key).cloned().unwrap_or_default();
    if label("app") != APP || label("site") != site {
        return None;
    }
    let machine_type = found.machine_type.as_deref().and_then(|url| url.rsplit('/').next()).unwrap_or_default();
    Some(Machine {
        instance: instance_ref(found)?,
        validator: label("validator"),
        incident: label("incident"),
        ledger: label("ledger"),
        role: role(&label("role")),
        state: state(found.status.as_ref()),
        deletion_protection: found.deletion_protection == Some(true),
        machine_type: machine_type.to_owned(),
        created_at: found.creation_timestamp.as_deref().and_then(|text| text.parse().ok()),
    })
}

fn role(label: &str) -> Role {
    match label {
        "standby" => Role::Standby,
        "retained" => Role::Retained,
        "promoted" => Role::Promoted,
        _ => Role::Other,
    }
}

pub(super) fn state(status: Option<&Status>) -> MachineState {
    match status {
        Some(Status::Running | Status::Repairing) => MachineState::Running,
        // An insert that fails for want of capacity and a deletion pass through it as well.
        Some(Status::Stopping | Status::Suspending) => MachineState::Stopping,
        Some(Status::Stopped | Status::Terminated | Status::Suspended) => MachineState::Stopped,
        // Provisioning, staging, and whatever Google adds: wait and look again.
        Some(_) | None => MachineState::Starting,
    }
}

/// What a machine has written: its report, whatever its start-up script has said before or since. A report that cannot be
/// read counts as one, for it may be a signer's word that is lost.
pub(super) fn written(items: Vec<GuestAttributesEntry>) -> Written {
    let (mut said, mut starts) = (None, None);
    for item in items {
        // An entry without a value was written all the same.
        let value = item.value.unwrap_or_default();
        match (item.namespace, item.key) {
            (Some(namespace), Some(key)) if is(REPORT, &namespace, &key) => said = Some(report(&value)),
            (Some(namespace), Some(key)) if is(BOOT, &namespace, &key) => starts = Some(Written::starting(&value)),
            _ => {}
        }
    }
    said.or(starts).unwrap_or_default()
}

fn is(name: &str, namespace: &str, key: &str) -> bool {
    name.split_once('/') == Some((namespace, key))
}

/// Any process on the machine may have written this: it is taken as a hint, or not at all. Why it is not, is shown to
/// people, so the reason repeats nothing of what was written.
fn report(text: &str) -> Written {
    if text.len() > MAX_REPORT {
        return Written::Unreadable(format!("it has {} bytes, more than a report may have", text.len()));
    }
    match serde_json::from_str::<Report>(text) {
        Ok(report) => report.into(),
        Err(error) => Written::Unreadable(format!("it is not one, line {} column {}", error.line(), error.column())),
    }
}
