//! What this identity may do with machines that a promotion has renamed: the watcher reads them and no more.

use google_cloud_compute_v1::model::TestPermissionsRequest;

use super::{Failure, failed};
use crate::{
    adapters::gce::Gce,
    domain::{InstanceRef, KEPT_PREFIX},
    ports::{Finding, Machines as _, Scope},
};

/// The permissions of `docs/gcp/roles/reader.yaml`.
pub const KEPT_PERMISSIONS: &[&str] = &["compute.instances.get", "compute.instances.getGuestAttributes"];

/// With any of these it could end what signs there, or become root on it at its next boot.
const OUT_OF_REACH: &[&str] = &[
    "compute.instances.delete",
    "compute.instances.reset",
    "compute.instances.setDeletionProtection",
    "compute.instances.setDiskAutoDelete",
    "compute.instances.setLabels",
    "compute.instances.setMetadata",
    "compute.instances.setName",
    "compute.instances.setScheduling",
    "compute.instances.setServiceAccount",
    "compute.instances.setTags",
    "compute.instances.stop",
];

/// One line for each promoted machine; none while there is none, or while the list cannot be had, which is said elsewhere.
pub(super) async fn kept(gce: &Gce) -> Vec<Finding> {
    let machines = gce.find(&Scope::Everything).await.unwrap_or_default();
    let kept = machines.into_iter().map(|machine| machine.instance);
    let kept = kept.filter(|instance| instance.name.starts_with(KEPT_PREFIX));
    futures::future::join_all(kept.map(|instance| judged(gce, instance))).await
}

async fn judged(gce: &Gce, instance: InstanceRef) -> Finding {
    let subject = format!("promoted machine {instance}");
    let asked = KEPT_PERMISSIONS.iter().chain(OUT_OF_REACH).map(|permission| (*permission).to_owned());
    let request = gce
        .instances
        .test_iam_permissions()
        .set_project(&gce.config.project)
        .set_zone(&instance.zone)
        .set_resource(&instance.name)
        .set_body(TestPermissionsRequest::new().set_permissions(asked));
    let granted = match gce.bounded(gce.once(request).send()).await {
        Ok(answer) => answer.permissions,
        Err(failure @ Failure::NotFound(_)) => return failed(subject, &failure, "run this again: it has just gone"),
        Err(failure) => return failed(subject, &failure, "see docs/gcp.md"),
    };
    let has = |permission: &&&str| granted.iter().any(|granted| granted == **permission);
    let missing: Vec<&str> = KEPT_PERMISSIONS.iter().filter(|permission| !has(permission)).copied().collect();
    let excess: Vec<&str> = OUT_OF_REACH.iter().filter(has).copied().collect();
    let remedy = "bind the watcher's two roles by the machine's name, as docs/gcp/setup.sh does: run it again";
    if !missing.is_empty() {
        Finding::problem(subject, format!("it cannot be followed; missing: {}", missing.join(", ")), remedy)
    } else if excess.is_empty() {
        Finding::ok(subject, "it is read, and out of reach for everything else")
    } else {
        let detail = format!("within reach, and should not be within the watcher's: {}", excess.join(", "));
        Finding::warning(subject, detail, format!("right for you, wrong for the watcher: {remedy}"))
    }
}
