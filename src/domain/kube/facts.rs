//! What is kept of the objects of a cluster: the few fields a judgement uses, as owned values.
//!
//! They are not the objects: everything else is dropped where an object is read, however large it is.

use crate::domain::{Span, Time};

/// Everything the cluster has shown of one validator, when it was judged.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// What the configuration names, for people: `statefulset eth/validator`.
    pub named: String,
    /// The statefulset or deployment; `None` for a plain selector.
    pub workload: Option<Known<WorkloadFacts>>,
    pub pods: Known<Vec<Pod>>,
    /// The container that signs, if the configuration names one; otherwise all of the pod's containers count.
    pub container: Option<String>,
    /// The nodes its pods stand on, and the node of the last one that went.
    pub nodes: Vec<NodeFacts>,
    pub claims: Vec<Claim>,
    /// Every node of the cluster. It is asked for only while the scheduler does not name the taints that keep a pod from
    /// its place, and nobody saw the last one go.
    pub all_nodes: Known<Vec<(String, NodeState)>>,
    /// The pod that was there last and is gone, until another one stands on a node.
    pub gone: Option<GonePod>,
    /// The last of its pods that ended and is still listed.
    pub left_over: Option<Pod>,
    /// Other validators whose names lead to the same pod.
    pub shared_with: Vec<String>,
    /// Since when, by our clock, its template has not been proven by a pod that worked.
    pub changing_since: Option<Time>,
    /// When its template changed at the latest, or its pod became one of another template; `None` when nobody says.
    pub changed_at: Option<Time>,
    /// Since when it is scaled to zero and has no pod, while one of somebody else's matches its selector.
    pub elsewhere_since: Option<Time>,
}

/// What is known of something that was asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Known<T> {
    #[default]
    NotYet,
    /// It is not there and was not since we watch.
    Missing,
    /// It was there and somebody removed it.
    Removed,
    /// The API server does not let us see it, or does not answer.
    Blind(Blindness),
    Is(T),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Blindness {
    /// No answer, or one that makes no sense.
    Unreachable { why: String },
    /// 403: the role lacks this.
    Refused {
        /// The verb and the object: "list pods in namespace eth".
        permission: String,
    },
    /// 401: the token or certificate is not accepted, or no longer.
    Unauthenticated,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkloadFacts {
    /// How many pods it should have.
    pub replicas: i32,
    /// How many pods it has itself, by its controller.
    pub pods: i32,
    /// Its template has changed, by its controller, which rolls it out.
    pub unproven: bool,
    /// When somebody wrote its template last.
    pub changed_at: Option<Time>,
    /// The revision its pods should have, by their label; `None` when it is not written down.
    pub revision: Option<String>,
    /// Somebody has asked for its deletion.
    pub deleting: bool,
    /// What the operator has written on it.
    pub pause: Option<PauseNote>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PauseNote {
    /// Until when.
    pub until: String,
    pub reason: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    pub name: String,
    /// Tells it from an older one of the same name.
    pub uid: String,
    /// Where it is, once it does.
    pub node: Option<String>,
    /// When the API server made it.
    pub created_at: Time,
    /// Since when it has not been running, by our clock; the adapter keeps it over changes.
    pub idle_since: Option<Time>,
    /// Somebody has asked for its deletion: it is to have gone by then, its grace included.
    pub deleting: Option<Time>,
    /// Where it is in its life.
    pub phase: PodPhase,
    /// `status.reason`, for example `Evicted` or `NodeLost`.
    pub reason: Option<String>,
    pub ready: bool,
    /// Why the scheduler finds no place, if it says so.
    pub unschedulable: Option<String>,
    /// The condition `DisruptionTarget`: who wants it away, by reason.
    pub disruption: Option<String>,
    /// Since when that condition is so.
    pub taken_at: Option<Time>,
    /// Its volumes and its network are made; `None` on servers that do not say.
    pub sandbox_made: Option<bool>,
    /// The revision of the template it was made of.
    pub revision: Option<String>,
    /// It, or another one of its revision, has been ready: its own conditions say so, or the adapter remembers it.
    pub worked: bool,
    /// The only node it may stand on, if its template names one.
    pub pinned_to: Option<String>,
    /// Its containers, init containers first.
    pub containers: Vec<Container>,
    pub claims: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PodPhase {
    Pending,
    /// At least one container was started.
    Running,
    Succeeded,
    /// All containers have ended, at least one badly.
    Failed,
    /// The node does not say, or the server used another word.
    #[default]
    Unknown,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Container {
    pub name: String,
    pub role: ContainerRole,
    pub state: ContainerState,
    pub ready: bool,
    /// How often it was started again.
    pub restarts: i32,
    /// When we last saw it started again; `None` when not since we watch. The adapter keeps it over changes.
    pub restarted_at: Option<Time>,
    /// How often we saw it started again in a row, each time less than [`CALM`] after the time before.
    pub in_a_row: u32,
    /// The kubelet made it wait before it was started again (`CrashLoopBackOff`).
    pub backed_off: bool,
    /// How it ended the last time.
    pub last_exit: Option<ContainerExit>,
}

/// What a container is in its pod, by the pod's spec: the status mixes the last two up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ContainerRole {
    #[default]
    Main,
    /// It ends before the others start, and they wait for it.
    Init,
    /// Written among the init containers with `restartPolicy: Always`: it runs beside the others.
    Sidecar,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ContainerState {
    Running,
    Waiting {
        reason: String,
        message: String,
    },
    Ended(ContainerExit),
    #[default]
    Unsaid,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerExit {
    pub code: i32,
    pub reason: String,
    /// The last lines of what it left behind.
    pub message: String,
    /// For how long it had run, if the kubelet knows.
    pub ran: Option<Span>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct NodeFacts {
    pub name: String,
    pub object: Known<NodeState>,
    pub lease: Known<NodeLease>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeState {
    pub ready: Ready,
    /// What the kubelet, or the controller in its place, says about it.
    pub message: String,
    /// Conditions that are true and should not be: `DiskPressure`, `MemoryPressure`, `PIDPressure`.
    pub pressures: Vec<String>,
    pub cordoned: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ready {
    True,
    /// Its kubelet says it is not.
    False,
    /// Its kubelet has not said anything for too long.
    Unknown,
    /// The condition is not there: a node that has just come.
    #[default]
    Unsaid,
}

/// A node's lease, as seen by our own clock.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeLease {
    /// When we last saw it change; when we first saw it, before that.
    pub changed_at: Time,
    /// We have seen it change, so `changed_at` is a sign of life and not only the beginning of watching.
    pub seen_alive: bool,
    /// For how long one renewal holds.
    pub duration: Span,
    /// How far its own time was ahead of our clock when it changed; negative when behind.
    pub skew: Span,
    /// When the lease of another node changed last: of that one whose time is nearest to `changed_at`.
    pub nearest: Option<Time>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    pub name: String,
    pub state: ClaimState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimState {
    Bound,
    Pending,
    Lost,
    Missing,
    /// Not known, or not to be seen: it says nothing.
    Unknown,
}

/// A pod that was there and is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GonePod {
    /// As it was last seen.
    pub pod: Pod,
    pub at: Time,
    /// Its node was gone or not ready then.
    pub node_was_sick: bool,
    /// Its node was closed for new pods then, or has been since.
    pub node_was_cordoned: bool,
}

/// The kubelet forgets earlier crashes when a container has run for this long: twice its longest back-off.
pub const CALM: Span = Span::from_mins(10);

/// For how long a pod that is not the workload's own has to match its selector. Watches are moments apart.
pub const ELSEWHERE: Span = Span::from_secs(5);

/// The kubelet's word for a container that waits because it ended again and again.
pub const BACK_OFF: &str = "CrashLoopBackOff";

/// The pods that are one, if they are: what has ended is left out while one lives. A node that shuts down, and one that
/// is short of something, leaves its pods behind for weeks, and only the last of them says anything.
#[must_use]
pub fn without_left_overs(mut pods: Vec<&Pod>) -> Vec<&Pod> {
    if pods.iter().any(|pod| !pod.has_ended()) {
        pods.retain(|pod| !pod.has_ended());
        return pods;
    }
    pods.into_iter().max_by_key(|pod| pod.created_at).into_iter().collect()
}

impl Pod {
    /// All its containers have ended and none is started again.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        matches!(self.phase, PodPhase::Failed | PodPhase::Succeeded)
    }

    /// What has to run is ready. A named container may be while its pod, for what is beside it, is not.
    #[must_use]
    pub fn works(&self, named: Option<&str>) -> bool {
        let mut runners = self.runners(named).peekable();
        if named.is_some() { runners.peek().is_some() && runners.all(|container| container.ready) } else { self.ready }
    }

    /// The scheduler says that it did not get a node because of a taint, and not which one: since 1.36. Then only the
    /// nodes themselves say whether one has died.
    #[must_use]
    pub fn has_unnamed_taints(&self) -> bool {
        self.unschedulable.as_ref().is_some_and(|why| why.contains("taint") && !why.contains("taint {"))
    }

    /// The containers that have to run: the one that signs or, if none is named, all but those that only prepare.
    pub fn runners<'a>(&'a self, named: Option<&'a str>) -> impl Iterator<Item = &'a Container> + Clone {
        let runs = move |container: &&Container| {
            container.role != ContainerRole::Init && named.is_none_or(|named| named == container.name)
        };
        self.containers.iter().filter(runs)
    }
}
