//! Objects of the API as facts: everything that is not used is dropped here, at once.
//!
//! Nothing is judged here. Fields that an older or newer API server leaves out are simply not known.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, StatefulSet},
        coordination::v1::Lease,
        core::v1::{self as core, ContainerStateTerminated, ContainerStatus},
    },
    apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta},
};

use crate::domain::{
    Span, Time, TimeExt, end_of_line,
    kube::{
        CALM, ClaimState, Container, ContainerExit, ContainerRole, ContainerState, NodeState, PauseNote, Pod, PodPhase,
        Ready, WorkloadFacts,
    },
    one_line,
};

/// The names of the annotations that an operator may set begin with this.
pub const PREFIX: &str = "failover.dev/";

/// A condition that was set later than this after the kubelet took the pod has turned.
const TURNED: Span = Span::from_secs(10);

/// The most that is kept of any text: a status can be megabytes.
const TEXT: usize = 300;

/// What one object says, under the name it has in its list.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) what: What,
}

#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "there are a handful, and every second one is a pod")]
pub(super) enum What {
    Workload { workload: WorkloadFacts, selector: Option<String> },
    Pod { pod: Pod, owner: Option<OwnerRef> },
    Node(NodeState),
    Lease { renewed_at: Option<Time>, duration: Option<Span> },
    Claim(ClaimState),
}

/// Each topic holds one kind of thing, so every reader asks for that kind.
impl What {
    pub(super) fn workload(&self) -> Option<(&WorkloadFacts, &Option<String>)> {
        if let Self::Workload { workload, selector } = self { Some((workload, selector)) } else { None }
    }

    pub(super) fn pod(&self) -> Option<(&Pod, &Option<OwnerRef>)> {
        if let Self::Pod { pod, owner } = self { Some((pod, owner)) } else { None }
    }

    pub(super) fn node(&self) -> Option<&NodeState> {
        if let Self::Node(state) = self { Some(state) } else { None }
    }

    pub(super) fn lease(&self) -> Option<(Option<Time>, Option<Span>)> {
        if let Self::Lease { renewed_at, duration } = self { Some((*renewed_at, *duration)) } else { None }
    }

    pub(super) fn claim(&self) -> Option<ClaimState> {
        if let Self::Claim(state) = self { Some(*state) } else { None }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OwnerRef {
    pub(super) kind: String,
    pub(super) name: String,
}

fn item(metadata: &ObjectMeta, what: What) -> Item {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    Item { name: text(&metadata.name), uid: text(&metadata.uid), what }
}

pub(super) fn stateful_set(object: StatefulSet) -> Item {
    let spec = object.spec.unwrap_or_default();
    let status = object.status.unwrap_or_default();
    // A partition that reaches over the one pod there is keeps it at the old template: nothing is rolled out.
    let partition = spec.update_strategy.and_then(|strategy| strategy.rolling_update?.partition).unwrap_or(0);
    // The controller makes both the same when every pod of the new revision is ready; under OnDelete it never does.
    let changes = status.update_revision.is_some() && status.current_revision != status.update_revision;
    let workload = WorkloadFacts {
        replicas: spec.replicas.unwrap_or(1),
        pods: status.replicas,
        unproven: changes && partition < 1,
        changed_at: changed_at(&object.metadata),
        revision: status.update_revision,
        deleting: object.metadata.deletion_timestamp.is_some(),
        pause: pause(&object.metadata),
    };
    item(&object.metadata, What::Workload { workload, selector: selector(&spec.selector) })
}

pub(super) fn deployment(object: Deployment) -> Item {
    let spec = object.spec.unwrap_or_default();
    let status = object.status.unwrap_or_default();
    let conditions = status.conditions.unwrap_or_default();
    // Stays so until the template changes again, whatever becomes of the pods.
    let proven = conditions.iter().find(|condition| condition.type_ == "Progressing");
    let changes = proven.is_some_and(|condition| condition.reason.as_deref() != Some("NewReplicaSetAvailable"));
    let workload = WorkloadFacts {
        replicas: spec.replicas.unwrap_or(1),
        pods: status.replicas.unwrap_or(0),
        // Nothing is rolled out while it is paused, and a pause may be forever.
        unproven: changes && !spec.paused.unwrap_or(false),
        changed_at: changed_at(&object.metadata),
        revision: None,
        deleting: object.metadata.deletion_timestamp.is_some(),
        pause: pause(&object.metadata),
    };
    item(&object.metadata, What::Workload { workload, selector: selector(&spec.selector) })
}

/// When somebody wrote the pods' template last, by the API server's own notes. Writing the same again changes nothing.
fn changed_at(metadata: &ObjectMeta) -> Option<Time> {
    let entries = metadata.managed_fields.iter().flatten().filter(|entry| entry.subresource.is_none());
    let of_template = entries.filter(|entry| {
        entry.fields_v1.as_ref().is_some_and(|fields| fields.0.pointer("/f:spec/f:template").is_some())
    });
    of_template.filter_map(|entry| entry.time.as_ref().map(|time| time.0)).max()
}

fn pause(metadata: &ObjectMeta) -> Option<PauseNote> {
    let annotations = metadata.annotations.as_ref()?;
    let get = |key: &str| annotations.get(&format!("{PREFIX}{key}")).map(|text| short(text));
    Some(PauseNote { until: get("pause-until")?, reason: get("pause-reason") })
}

/// A selector as the API takes it in a query; `None` if it is empty, which would match every pod.
fn selector(selector: &LabelSelector) -> Option<String> {
    let mut terms = Vec::new();
    for (key, value) in selector.match_labels.iter().flatten() {
        terms.push(format!("{key}={value}"));
    }
    for expression in selector.match_expressions.iter().flatten() {
        let (key, values) = (&expression.key, expression.values.clone().unwrap_or_default().join(","));
        terms.push(match expression.operator.as_str() {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "DoesNotExist" => format!("!{key}"),
            _ => key.clone(),
        });
    }
    (!terms.is_empty()).then(|| terms.join(","))
}

pub(super) fn pod(object: core::Pod) -> Item {
    let metadata = object.metadata;
    let spec = object.spec.unwrap_or_default();
    let status = object.status.unwrap_or_default();
    let conditions = status.conditions.unwrap_or_default();
    let condition = |name: &str| conditions.iter().find(|condition| condition.type_ == name);
    let is = |name: &str| condition(name).map(|condition| condition.status == "True");
    // Not `SchedulerError`: that is the scheduler's own stumbling, and it tries again.
    let unscheduled = condition("PodScheduled")
        .filter(|condition| condition.status == "False" && condition.reason.as_deref() == Some("Unschedulable"));
    let disruption = condition("DisruptionTarget").filter(|condition| condition.status == "True");
    let restarted = |one: &core::Container| one.restart_policy.as_deref() == Some("Always");
    let first = spec.init_containers.unwrap_or_default().into_iter().map(|one| {
        let role = if restarted(&one) { ContainerRole::Sidecar } else { ContainerRole::Init };
        (one.name, role)
    });
    let main = spec.containers.into_iter().map(|one| (one.name, ContainerRole::Main));
    let statuses = [status.init_container_statuses, status.container_statuses];
    let containers = containers(first.chain(main).collect(), statuses.into_iter().flatten().flatten());
    let worked = has_worked(condition("Ready"), status.start_time.as_ref().map(|time| time.0), &containers);
    let label = |key: &str| metadata.labels.as_ref().and_then(|labels| labels.get(key).cloned());
    let volumes = spec.volumes.unwrap_or_default().into_iter();
    let owner =
        metadata.owner_references.as_ref().and_then(|owners| owners.iter().find(|one| one.controller == Some(true)));
    let owner = owner.map(|owner| OwnerRef { kind: owner.kind.clone(), name: owner.name.clone() });
    let pod = Pod {
        name: metadata.name.clone().unwrap_or_default(),
        uid: metadata.uid.clone().unwrap_or_default(),
        node: spec.node_name.filter(|name| !name.is_empty()),
        created_at: metadata.creation_timestamp.as_ref().map_or(Time::MIN, |time| time.0),
        idle_since: None,
        deleting: metadata.deletion_timestamp.as_ref().map(|time| time.0),
        phase: phase(status.phase.as_deref()),
        reason: status.reason,
        ready: is("Ready").unwrap_or(false),
        unschedulable: unscheduled
            .map(|condition| short(condition.message.as_deref().or(condition.reason.as_deref()).unwrap_or_default())),
        disruption: disruption.and_then(|condition| condition.reason.clone()),
        taken_at: disruption.and_then(|condition| condition.last_transition_time.as_ref().map(|time| time.0)),
        sandbox_made: is("PodReadyToStartContainers"),
        revision: label("controller-revision-hash").or_else(|| label("pod-template-hash")),
        worked,
        pinned_to: spec.node_selector.and_then(|mut wanted| wanted.remove("kubernetes.io/hostname")),
        containers,
        claims: volumes.filter_map(|volume| volume.persistent_volume_claim).map(|claim| claim.claim_name).collect(),
    };
    item(&metadata, What::Pod { pod, owner })
}

/// Whether it was ready before it was not: its kubelet sets the condition when it takes the pod, and moves its time only
/// when it turns. Where no probe decides, a container that crashes is ready each time until it does, so there has to be
/// more time than restarts in a back-off explain.
fn has_worked(ready: Option<&core::PodCondition>, taken_at: Option<Time>, containers: &[Container]) -> bool {
    let unready = ready.filter(|ready| ready.status == "False").and_then(|ready| ready.last_transition_time.as_ref());
    let Some((unready, taken_at)) = unready.zip(taken_at) else { return false };
    let restarts = containers.iter().map(|container| container.restarts).max().unwrap_or(0);
    unready.0 > taken_at.plus(TURNED).plus(CALM.saturating_mul(restarts))
}

fn phase(phase: Option<&str>) -> PodPhase {
    match phase {
        Some("Pending") => PodPhase::Pending,
        Some("Running") => PodPhase::Running,
        Some("Succeeded") => PodPhase::Succeeded,
        Some("Failed") => PodPhase::Failed,
        Some(_) | None => PodPhase::Unknown,
    }
}

/// The containers that the spec names, in its order, each with its status: what a container is, the spec alone says.
fn containers(named: Vec<(String, ContainerRole)>, statuses: impl Iterator<Item = ContainerStatus>) -> Vec<Container> {
    let mut statuses: BTreeMap<String, ContainerStatus> =
        statuses.map(|status| (status.name.clone(), status)).collect();
    let mut of = |(name, role)| match statuses.remove(&name) {
        Some(status) => container(status, role),
        None => Container { name, role, ..Container::default() },
    };
    named.into_iter().map(&mut of).collect()
}

fn container(status: ContainerStatus, role: ContainerRole) -> Container {
    let state = status.state.unwrap_or_default();
    let state = if state.running.is_some() {
        ContainerState::Running
    } else if let Some(ended) = state.terminated {
        ContainerState::Ended(exit(ended))
    } else if let Some(waiting) = state.waiting {
        let reason = waiting.reason.unwrap_or_default();
        ContainerState::Waiting { reason, message: short(&waiting.message.unwrap_or_default()) }
    } else {
        ContainerState::Unsaid
    };
    Container {
        name: status.name,
        role,
        state,
        ready: status.ready,
        restarts: status.restart_count,
        restarted_at: None,
        in_a_row: 0,
        backed_off: false,
        last_exit: status.last_state.and_then(|last| last.terminated).map(exit),
    }
}

fn exit(ended: ContainerStateTerminated) -> ContainerExit {
    ContainerExit {
        code: ended.exit_code,
        reason: ended.reason.unwrap_or_default(),
        message: last_lines(&ended.message.unwrap_or_default()),
        ran: ended.started_at.zip(ended.finished_at).map(|(from, to)| to.0.duration_since(from.0)),
    }
}

pub(super) fn node(object: core::Node) -> Item {
    let conditions = object.status.and_then(|status| status.conditions).unwrap_or_default();
    let ready = conditions.iter().find(|condition| condition.type_ == "Ready");
    let pressed = conditions.iter().filter(|condition| {
        condition.status == "True"
            && matches!(condition.type_.as_str(), "DiskPressure" | "MemoryPressure" | "PIDPressure")
    });
    let state = NodeState {
        ready: match ready.map(|condition| condition.status.as_str()) {
            Some("True") => Ready::True,
            Some("False") => Ready::False,
            Some(_) => Ready::Unknown,
            None => Ready::Unsaid,
        },
        message: ready.and_then(|condition| condition.message.as_deref()).map(short).unwrap_or_default(),
        pressures: pressed.map(|condition| condition.type_.clone()).collect(),
        cordoned: object.spec.and_then(|spec| spec.unschedulable).unwrap_or(false),
    };
    item(&object.metadata, What::Node(state))
}

pub(super) fn lease(object: Lease) -> Item {
    let spec = object.spec.unwrap_or_default();
    let renewed_at = spec.renew_time.map(|time| time.0);
    let duration = spec.lease_duration_seconds.map(|seconds| Span::from_secs(seconds.into()));
    item(&object.metadata, What::Lease { renewed_at, duration })
}

pub(super) fn claim(object: core::PersistentVolumeClaim) -> Item {
    let phase = object.status.and_then(|status| status.phase);
    let state = match phase.as_deref() {
        Some("Bound") => ClaimState::Bound,
        Some("Pending") => ClaimState::Pending,
        Some("Lost") => ClaimState::Lost,
        Some(_) | None => ClaimState::Unknown,
    };
    item(&object.metadata, What::Claim(state))
}

fn short(text: &str) -> String {
    one_line(&joined(text), TEXT)
}

fn last_lines(text: &str) -> String {
    end_of_line(&joined(text), TEXT)
}

/// Several lines as one in which they can still be distinguished.
fn joined(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" / ")
}

/// What is kept of a whole list, by name.
pub(super) type Items = BTreeMap<String, Item>;

#[cfg(test)]
mod tests;
