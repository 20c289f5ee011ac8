//! What a promotion does to its machine, with the operator's rights. The watcher's identity may do hardly any of it, and
//! nothing of the watcher calls it.
//!
//! Each step reads first and does only what is missing, so that it may be repeated after any failure; labels, tags and
//! metadata are changed under the fingerprint that was read, so that what others have written stays.

use std::{collections::BTreeMap, time::Instant};

use async_trait::async_trait;
use google_cloud_compute_v1::model::{
    Duration, Instance, InstancesSetLabelsRequest, InstancesSetNameRequest, Metadata, Operation, Scheduling, Tags,
    instance::Status, metadata::Items, scheduling,
};

use super::{Gce, errors::Failure, operation::OperationState, read};
use crate::{
    bundle::{MAX_TOTAL, MAX_VALUE},
    domain::{InstanceRef, MachinePower, MachineShape, PROMOTION_KEYS, RunLimit, SSH_TAG, ShapeStep, Span},
    ports::{CloudError, PromotionMachines, ShapeError, StepProgress, StepState},
};

/// What a promotion needs beside reading, each as the method's page in the Compute Engine reference names it. The role of
/// `docs/gcp/roles/operator.yaml` has them, and a test holds that.
pub const PROMOTION_PERMISSIONS: &[&str] = &[
    "compute.instances.get",
    "compute.instances.getGuestAttributes",
    "compute.instances.list",
    "compute.instances.setDeletionProtection",
    "compute.instances.setDiskAutoDelete",
    "compute.instances.setLabels",
    "compute.instances.setMetadata",
    "compute.instances.setName",
    "compute.instances.setScheduling",
    "compute.instances.setTags",
    "compute.instances.start",
    "compute.instances.stop",
    "compute.zoneOperations.get",
];

/// How often one step is tried: a fingerprint goes stale when somebody else changes the machine, a reply is lost, an
/// operation of somebody else is under way.
const TRIES: usize = 5;

#[async_trait]
impl PromotionMachines for Gce {
    async fn shape(&self, instance: &InstanceRef) -> Result<Option<MachineShape>, ShapeError> {
        match self.get_exactly(instance).await.map_err(CloudError::from)? {
            Some(found) => Ok(Some(self.shape_of(instance, &found)?)),
            None => Ok(None),
        }
    }

    async fn take_step(
        &self,
        instance: &InstanceRef,
        step: &ShapeStep,
        progress: &StepProgress<'_>,
    ) -> Result<MachineShape, ShapeError> {
        let mut last = not_shown(step);
        for _ in 0..TRIES {
            let found = match self.settled(instance, step, progress).await {
                Ok(found) => found.ok_or_else(|| ShapeError::Gone(instance.clone()))?,
                Err(failure) => {
                    last = self.again(step, failure, progress).await?;
                    continue;
                }
            };
            let shape = self.shape_of(instance, &found)?;
            if shape.has(step) {
                progress(step, StepState::Done);
                return Ok(shape);
            }
            if shape.power == MachinePower::Suspended && depends_on_power(step) {
                return Err(ShapeError::Suspended(instance.clone()));
            }
            progress(step, StepState::Asked);
            let on_state = |state: OperationState<'_>| {
                let operation = state.name.to_owned();
                progress(step, StepState::Runs { operation, percent: state.percent });
            };
            let done = match self.ask(&found, step).await {
                Ok(operation) => self.follow_with(&instance.zone, operation, on_state).await,
                Err(failure) => Err(failure),
            };
            match done {
                Ok(()) => last = not_shown(step),
                Err(failure) => last = self.again(step, failure, progress).await?,
            }
        }
        Err(CloudError::from(last).into())
    }
}

impl Gce {
    /// What this machine's own account of itself is, once nothing keeps this step from being asked for: the cloud changes
    /// nothing about a machine that is on its way. Bounded by the time in which one operation is followed.
    async fn settled(
        &self,
        instance: &InstanceRef,
        step: &ShapeStep,
        progress: &StepProgress<'_>,
    ) -> Result<Option<Instance>, Failure> {
        let until = Instant::now() + self.config.operation_timeout;
        loop {
            let Some(found) = self.get_exactly(instance).await? else { return Ok(None) };
            if !depends_on_power(step) || power(found.status.as_ref()) != MachinePower::Changing {
                return Ok(Some(found));
            }
            if Instant::now() >= until {
                let status = found.status.as_ref().and_then(Status::name).unwrap_or("nothing").to_owned();
                return Err(Failure::Unanswered(format!("{instance} is {status} all the time")));
            }
            progress(step, StepState::Waits);
            tokio::time::sleep(self.config.poll_every).await;
        }
    }

    /// Waits before the next try. What another try does not mend is the error.
    async fn again(
        &self,
        step: &ShapeStep,
        failure: Failure,
        progress: &StepProgress<'_>,
    ) -> Result<Failure, ShapeError> {
        match failure {
            Failure::OutOfStock(said) => return Err(ShapeError::OutOfStock(said)),
            Failure::Quota(said) => return Err(ShapeError::Quota(said)),
            // Found out by reading again: done, not done, or the machine is gone or has been renamed.
            Failure::Stale(_) | Failure::Busy(_) | Failure::Unanswered(_) | Failure::NotFound(_) => {}
            Failure::Exists(_) | Failure::Refused(_) | Failure::Invalid(_) => {
                return Err(CloudError::from(failure).into());
            }
        }
        progress(step, StepState::Again(failure.to_string()));
        tokio::time::sleep(self.config.poll_every).await;
        Ok(failure)
    }

    fn shape_of(&self, instance: &InstanceRef, found: &Instance) -> Result<MachineShape, CloudError> {
        if read::machine(found, &self.config.site).is_none() {
            return Err(CloudError::Refused(format!(
                "{instance} has lost its name, its zone, its id or the labels of this site: put them back by hand"
            )));
        }
        shape(found).map_err(|why| CloudError::Refused(format!("{instance}: {why}")))
    }

    async fn ask(&self, found: &Instance, step: &ShapeStep) -> Result<Operation, Failure> {
        let name = found.name.clone().unwrap_or_default();
        let zone = found.zone.as_deref().and_then(|zone| zone.rsplit('/').next()).unwrap_or_default();
        macro_rules! call {
            ($method:ident) => {
                self.instances.$method().set_project(&self.config.project).set_zone(zone).set_instance(&name)
            };
        }
        macro_rules! send {
            ($request:expr) => {
                self.bounded(self.once($request).send()).await
            };
        }
        match step {
            ShapeStep::Protect(on) => {
                let request = self.instances.set_deletion_protection().set_project(&self.config.project);
                send!(request.set_zone(zone).set_resource(&name).set_deletion_protection(*on))
            }
            ShapeStep::Stop => send!(call!(stop)),
            ShapeStep::Start => send!(call!(start)),
            ShapeStep::Limit(limit) => send!(call!(set_scheduling).set_body(scheduling_with(found, limit.as_ref()))),
            ShapeStep::AutoDelete { device, on } => {
                send!(call!(set_disk_auto_delete).set_device_name(device).set_auto_delete(*on))
            }
            ShapeStep::Role(role) => send!(call!(set_labels).set_body(labels_with(found, role.as_deref()))),
            ShapeStep::SshTag(on) => send!(call!(set_tags).set_body(tags_with(found, *on))),
            ShapeStep::Metadata(items) => {
                let metadata = metadata_with(found, items);
                fit(&metadata).map_err(Failure::Invalid)?;
                send!(call!(set_metadata).set_body(metadata))
            }
            ShapeStep::Rename(new) => {
                send!(call!(set_name).set_body(InstancesSetNameRequest::new().set_current_name(&name).set_name(new)))
            }
        }
    }
}

/// Whether the cloud takes this only of a machine that is not on its way.
fn depends_on_power(step: &ShapeStep) -> bool {
    step.needs_stop() || matches!(step, ShapeStep::Stop | ShapeStep::Start)
}

/// What an operation that has succeeded has not brought about.
fn not_shown(step: &ShapeStep) -> Failure {
    if *step == ShapeStep::Start {
        return Failure::Busy("it was started, and has ended again at once: look at its serial port".into());
    }
    Failure::Unanswered("the operation has ended, but the change is not shown".into())
}

/// Whether Compute Engine takes so much metadata of one machine. Its own refusal names no key of several.
fn fit(metadata: &Metadata) -> Result<(), String> {
    let mut total = 0;
    for item in &metadata.items {
        let (key, value) = (item.key.as_deref().unwrap_or_default(), item.value.as_deref().unwrap_or_default());
        if value.len() > MAX_VALUE {
            let bytes = value.len();
            return Err(format!(
                "{key} would have {bytes} bytes, and Compute Engine takes {MAX_VALUE}: fewer keys a validator"
            ));
        }
        total += key.len() + value.len();
    }
    if total >= MAX_TOTAL {
        return Err(format!(
            "its metadata would have {total} bytes, and Compute Engine takes {MAX_TOTAL}: take away what others have added"
        ));
    }
    Ok(())
}

/// A machine is what its fields say; without one of them it is not known what is missing.
fn shape(found: &Instance) -> Result<MachineShape, String> {
    let name = found.name.clone().filter(|name| !name.is_empty()).ok_or("it has no name")?;
    let scheduling = found.scheduling.as_ref().ok_or("its scheduling is not shown, and so not its end either")?;
    let after = match &scheduling.max_run_duration {
        Some(limit) => Some(limit.seconds.ok_or("its run limit has no length")?),
        None => None,
    };
    let mut auto_delete = BTreeMap::new();
    for disk in &found.disks {
        let device = disk.device_name.clone().ok_or("one of its disks has no device name")?;
        auto_delete.insert(device, disk.auto_delete == Some(true));
    }
    if auto_delete.is_empty() {
        return Err("none of its disks is shown".into());
    }
    let mut metadata = BTreeMap::new();
    for item in found.metadata.iter().flat_map(|metadata| &metadata.items) {
        let key = item.key.as_deref().ok_or("one of its metadata has no key")?;
        if PROMOTION_KEYS.contains(&key) {
            let value = item.value.clone().ok_or_else(|| format!("its metadata {key} has no value"))?;
            metadata.insert(key.to_owned(), Some(value));
        }
    }
    Ok(MachineShape {
        name,
        power: power(Some(found.status.as_ref().ok_or("its status is not shown")?)),
        deletion_protection: found.deletion_protection == Some(true),
        run_limit: after
            .map(|seconds| RunLimit::After(Span::from_secs(seconds)))
            .or_else(|| scheduling.termination_time.clone().map(RunLimit::At)),
        auto_delete,
        role: found.labels.get("role").cloned(),
        ssh_tag: found.tags.as_ref().is_some_and(|tags| tags.items.iter().any(|tag| tag == SSH_TAG)),
        metadata,
    })
}

pub(super) fn power(status: Option<&Status>) -> MachinePower {
    match status {
        Some(Status::Running) => MachinePower::Running,
        Some(Status::Terminated | Status::Stopped) => MachinePower::Terminated,
        Some(Status::Suspended) => MachinePower::Suspended,
        // Also under repair, and whatever Google adds.
        Some(_) | None => MachinePower::Changing,
    }
}

/// Everything of its scheduling stays but the end, which is a stop whenever there is one.
fn scheduling_with(found: &Instance, limit: Option<&RunLimit>) -> Scheduling {
    let mut body = found.scheduling.clone().unwrap_or_default();
    body.instance_termination_action = limit.map(|_| scheduling::InstanceTerminationAction::Stop);
    (body.max_run_duration, body.termination_time) = match limit {
        Some(RunLimit::After(span)) => (Some(Duration::new().set_seconds(span.as_secs())), None),
        Some(RunLimit::At(at)) => (None, Some(at.clone())),
        None => (None, None),
    };
    body
}

fn labels_with(found: &Instance, role: Option<&str>) -> InstancesSetLabelsRequest {
    let mut labels = found.labels.clone();
    match role {
        Some(role) => labels.insert("role".into(), role.into()),
        None => labels.remove("role"),
    };
    InstancesSetLabelsRequest::new().set_labels(labels).set_or_clear_label_fingerprint(found.label_fingerprint.clone())
}

fn tags_with(found: &Instance, ssh: bool) -> Tags {
    let mut tags = found.tags.clone().unwrap_or_default();
    tags.items.retain(|tag| tag != SSH_TAG);
    tags.items.extend(ssh.then(|| SSH_TAG.to_owned()));
    tags
}

fn metadata_with(found: &Instance, items: &BTreeMap<String, Option<String>>) -> Metadata {
    let mut metadata = found.metadata.clone().unwrap_or_default();
    metadata.items.retain(|item| item.key.as_ref().is_none_or(|key| !items.contains_key(key)));
    let set = items.iter().filter_map(|(key, value)| Some(Items::new().set_key(key).set_value(value.as_ref()?)));
    metadata.items.extend(set);
    metadata
}
