//! Machines that no open incident claims: a creation that came after its incident had ended, or one that a lost watcher
//! left behind. Each is seen in two sweeps before it goes, and goes only through the same check as every other.

use std::{collections::BTreeSet, time::Duration};

use tokio_util::sync::CancellationToken;

use super::{Handle, executor::Executor};
use crate::{
    domain::{Action, ActionId, IncidentId, InstanceRef, Machine, Outcome, Role, Step, ValidatorId},
    ports::Scope,
    runtime::status::Status,
};

/// Sweeps every so often, until stopped.
pub(super) async fn watch(executor: Executor, handle: Handle, every: Duration, stop: CancellationToken) {
    let mut seen_before = BTreeSet::new();
    loop {
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            () = stop.cancelled() => return,
        }
        // What is open is asked for after the machines were listed: an incident that began in between claims its own.
        let machines = match executor.cloud.find(&Scope::Everything).await {
            Ok(machines) => machines,
            Err(error) => {
                tracing::warn!(%error, "not swept: the list of machines is not complete");
                continue;
            }
        };
        let Some(status) = handle.status().await else { continue };
        let orphans = orphans(&machines, &status);
        let mut seen_now = BTreeSet::new();
        for (validator, incident, instance) in orphans {
            if seen_before.contains(&instance) {
                remove(&executor, &validator, incident, &instance).await;
            }
            seen_now.insert(instance);
        }
        seen_before = seen_now;
    }
}

/// Machines of our own validators whose incident is not the open one. Those of other sites are left alone.
fn orphans(machines: &[Machine], status: &Status) -> Vec<(ValidatorId, IncidentId, InstanceRef)> {
    let orphan = |machine: &Machine| {
        let validator = status.validators.iter().find(|found| found.name.as_str() == machine.validator)?;
        let incident = IncidentId::try_from(machine.incident.clone()).ok()?;
        if validator.pause.is_some() {
            return None;
        }
        let open = validator.incident.as_ref().map(|incident| incident.id);
        let free = machine.role == Role::Standby && !machine.deletion_protection && open != Some(incident);
        free.then(|| (validator.name.clone(), incident, machine.instance.clone()))
    };
    machines.iter().filter_map(orphan).collect()
}

async fn remove(executor: &Executor, validator: &ValidatorId, incident: IncidentId, instance: &InstanceRef) {
    tracing::warn!(%validator, %instance, "no open incident claims this machine: it is deleted");
    // Nothing is persisted for it: the next sweep finds what this one could not delete.
    let id = ActionId { incident, step: Step::Delete, attempt: u32::MAX };
    match executor.carry_out(validator, id, &Action::Delete(instance.clone())).await {
        Outcome::Deleted => tracing::info!(%instance, "deleted"),
        other => tracing::error!(%instance, ?other, "it could not be deleted"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::{MachineState, Policy, Time, Validator},
        runtime::status,
    };

    fn machine(validator: &str, role: Role) -> Machine {
        Machine {
            instance: InstanceRef { zone: "z".into(), name: format!("fo-{validator}"), id: 1 },
            validator: validator.into(),
            incident: "0000beef".into(),
            role,
            state: MachineState::Running,
            deletion_protection: false,
            machine_type: "t".into(),
            created_at: None,
        }
    }

    #[test]
    fn only_keyless_machines_of_our_own_validators_without_an_open_incident_are_orphans() {
        let id = ValidatorId::new("eth-0").unwrap();
        let world = crate::domain::World::new([(id, Validator::default())]);
        let status = status::of_world(&world, "home", &Policy::default(), Time::UNIX_EPOCH);
        assert_eq!(orphans(&[machine("eth-0", Role::Standby)], &status).len(), 1);
        assert!(orphans(&[machine("eth-0", Role::Retained)], &status).is_empty());
        assert!(orphans(&[machine("eth-0", Role::Promoted)], &status).is_empty());
        assert!(orphans(&[machine("eth-0", Role::Other)], &status).is_empty());
        assert!(orphans(&[machine("eth-9", Role::Standby)], &status).is_empty(), "another site's");
        let protected = Machine { deletion_protection: true, ..machine("eth-0", Role::Standby) };
        assert!(orphans(&[protected], &status).is_empty());
    }
}
