//! Keeping a machine, with the operator's rights. The watcher's own identity may not do any of this, and nothing here
//! stops or starts a machine.

use google_cloud_compute_v1::model::{InstancesSetLabelsRequest, Scheduling};

use super::{Gce, errors::Failure, read};
use crate::{
    domain::{InstanceRef, MachineState},
    ports::{CloudError, Retained},
};

/// A fingerprint goes stale when somebody else changes the labels; more often than this it is a quarrel.
const TRIES: usize = 5;

impl Gce {
    /// With the operator's own credentials: deletion protection on, role `retained`, the limit cleared if that is
    /// possible without stopping the machine. It stops none; what is left by hand it says.
    ///
    /// # Errors
    /// [`CloudError`] when the machine is gone, or the protection or the label could not be set.
    pub async fn retain(&self, instance: &InstanceRef) -> Result<Retained, CloudError> {
        if self.get_exactly(instance).await?.is_none() {
            return Err(CloudError::Refused(format!("{instance} does not exist any more")));
        }
        let request = self
            .instances
            .set_deletion_protection()
            .set_project(&self.config.project)
            .set_zone(&instance.zone)
            .set_resource(&instance.name)
            .set_deletion_protection(true);
        let operation = self.bounded(self.once(request).send()).await?;
        self.follow(&instance.zone, operation).await?;
        set_role(self, instance, "retained").await?;
        let cleared = clear_limit(self, instance).await;
        // Looked at afterwards: what is left to do by hand follows from how it stands now.
        let state = self
            .get_exactly(instance)
            .await?
            .and_then(|found| read::machine(&found, &self.config.site))
            .map(|machine| machine.state);
        let remaining = by_hand(self, instance, state, cleared.as_ref().err());
        Ok(Retained { protected: true, limit_cleared: cleared.is_ok(), remaining })
    }
}

/// What is left to the operator. A machine is never stopped from here: the operator may already sign on it.
fn by_hand(
    gce: &Gce,
    instance: &InstanceRef,
    state: Option<MachineState>,
    failure: Option<&Failure>,
) -> Option<String> {
    let command = |verb: &str, flags: &str| {
        let (name, zone, project) = (&instance.name, &instance.zone, &gce.config.project);
        format!("`gcloud compute instances {verb} {name} --zone {zone} --project {project}{flags}`")
    };
    let start = command("start", "");
    let Some(failure) = failure else {
        // Cleared, so it was stopped, by its limit or by someone.
        return (state == Some(MachineState::Stopped)).then(|| format!("it is stopped; to run it: {start}"));
    };
    let set = command("set-scheduling", " --clear-max-run-duration --clear-instance-termination-action");
    Some(match state {
        Some(MachineState::Stopped) => {
            format!("clearing it has failed ({failure}); it is stopped: {set}, then {start}")
        }
        Some(MachineState::Running | MachineState::Starting | MachineState::Stopping) | None => format!(
            "Compute Engine changes it on a stopped machine only ({failure}). Until then the machine stops at its end, and is not deleted. When an interruption does no harm: {}, then {set}, then {start}",
            command("stop", "")
        ),
    })
}

async fn set_role(gce: &Gce, instance: &InstanceRef, role: &str) -> Result<(), CloudError> {
    for _ in 0..TRIES {
        let Some(found) = gce.get_exactly(instance).await? else {
            return Err(CloudError::Refused(format!("{instance} does not exist any more")));
        };
        let mut labels = found.labels;
        labels.insert("role".into(), role.into());
        let body =
            InstancesSetLabelsRequest::new().set_labels(labels).set_or_clear_label_fingerprint(found.label_fingerprint);
        let request = gce
            .instances
            .set_labels()
            .set_project(&gce.config.project)
            .set_zone(&instance.zone)
            .set_instance(&instance.name)
            .set_body(body);
        let done = match gce.bounded(gce.once(request).send()).await {
            Ok(operation) => gce.follow(&instance.zone, operation).await,
            Err(failure) => Err(failure),
        };
        match done {
            Ok(()) => return Ok(()),
            // Somebody else was quicker: read again.
            Err(Failure::Stale(_)) => {}
            Err(failure) => return Err(failure.into()),
        }
    }
    Err(CloudError::Retry(format!("the labels of {instance} change all the time")))
}

/// Everything of its scheduling stays but the end.
async fn clear_limit(gce: &Gce, instance: &InstanceRef) -> Result<(), Failure> {
    let found = gce.get_exactly(instance).await?;
    let mut body = found.and_then(|found| found.scheduling).unwrap_or_else(Scheduling::new);
    body.max_run_duration = None;
    body.instance_termination_action = None;
    body.termination_time = None;
    let request = gce
        .instances
        .set_scheduling()
        .set_project(&gce.config.project)
        .set_zone(&instance.zone)
        .set_instance(&instance.name)
        .set_body(body);
    let operation = gce.bounded(gce.once(request).send()).await?;
    gce.follow(&instance.zone, operation).await
}
