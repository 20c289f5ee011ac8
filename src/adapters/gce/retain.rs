//! Keeping a machine, with the operator's rights. The watcher's own identity may not do any of this.

use google_cloud_compute_v1::model::{InstancesSetLabelsRequest, Scheduling};

use super::{Gce, errors::Failure};
use crate::{
    domain::InstanceRef,
    ports::{CloudError, Retained},
};

/// A fingerprint goes stale when somebody else changes the labels; more often than this it is a quarrel.
const TRIES: usize = 5;

pub(super) async fn retain(gce: &Gce, instance: &InstanceRef) -> Result<Retained, CloudError> {
    if gce.get_exactly(instance).await?.is_none() {
        return Err(CloudError::Refused(format!("{instance} does not exist any more")));
    }
    let request = gce
        .instances
        .set_deletion_protection()
        .set_project(&gce.config.project)
        .set_zone(&instance.zone)
        .set_resource(&instance.name)
        .set_deletion_protection(true);
    let operation = gce.bounded(gce.once(request).send()).await?;
    gce.follow(&instance.zone, operation).await?;
    set_role(gce, instance, "retained").await?;
    let cleared = clear_fuse(gce, instance).await;
    let remaining = cleared.as_ref().err().map(|failure| {
        format!(
            "Compute Engine refuses it on a running machine ({failure}); stop it, then \
             `gcloud compute instances set-scheduling {} --zone {} --clear-max-run-duration`, then start it",
            instance.name, instance.zone
        )
    });
    Ok(Retained { protected: true, fuse_cleared: cleared.is_ok(), remaining })
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
        match gce.bounded(gce.once(request).send()).await {
            Ok(operation) => return Ok(gce.follow(&instance.zone, operation).await?),
            // Somebody else was quicker: read again.
            Err(Failure::Stale(_)) => {}
            Err(failure) => return Err(failure.into()),
        }
    }
    Err(CloudError::Retry(format!("the labels of {instance} change all the time")))
}

/// Everything of its scheduling stays but the end.
async fn clear_fuse(gce: &Gce, instance: &InstanceRef) -> Result<(), Failure> {
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
