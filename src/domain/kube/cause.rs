//! What is the matter with a validator in a cluster, in an operator's words.
//!
//! Whether that makes it *down* is not decided here.

use std::fmt;

use super::Blindness;
use crate::domain::{Span, human};

/// What to write where the workload is of a kind that we do not watch.
pub const BY_SELECTOR: &str =
    "a pod that something else runs (an Argo Rollout, an OpenKruise set) is named by `kubernetes.selector`";

/// What is the matter. The text stands after "because" or "says down: ".
#[derive(Clone, Debug, PartialEq)]
pub enum Cause {
    /// It runs and is ready, on a node that is well. That is only *not down*.
    Ready {
        pod: String,
        node: String,
    },
    /// It runs and is not ready, which says what its author wrote there.
    NotReady {
        pod: String,
    },
    /// It is being started and has time left.
    Starting {
        pod: String,
        what: String,
    },
    /// Its node gives no sign of life.
    NodeGone {
        node: String,
        how: Gone,
    },
    /// Its node is there and not well.
    NodeSick {
        node: String,
        what: String,
        /// The pod runs nevertheless.
        runs: bool,
    },
    Pending {
        pod: String,
        why: String,
        /// Whether that began with a change.
        changed: Changed,
    },
    Image {
        container: String,
        why: String,
        /// Whether that began with a change.
        changed: Changed,
    },
    /// The container ends again and again.
    CrashLoop {
        container: String,
        /// How often it was started again.
        restarts: i32,
        end: End,
        /// Whether that began with a change.
        changed: Changed,
    },
    /// All containers have ended and nobody starts them again.
    Ended {
        pod: String,
        end: End,
        /// Whether that began with a change.
        changed: Changed,
    },
    Volume {
        pod: String,
        /// Which claim, and what is wrong with it; or that the kubelet has not mounted all.
        why: String,
        /// Whether that began with a change.
        changed: Changed,
    },
    /// A container waits for something else.
    Waiting {
        container: String,
        /// The kubelet's word, with its message.
        why: String,
        /// Whether that began with a change.
        changed: Changed,
    },
    ScaledToZero,
    Deleted {
        what: String,
    },
    /// A human has closed its node for new pods and taken it off.
    Drained {
        pod: String,
        /// Which node; `None` when that was before we watched.
        node: Option<String>,
    },
    /// The cluster, not a human, has taken the pod off its node.
    Evicted {
        pod: String,
        by: String,
    },
    /// Its pod went with its node.
    LostWithNode {
        pod: String,
        node: String,
    },
    /// A changed template is being rolled out and has time left.
    Rollout {
        left: Span,
    },
    /// Nothing can be said.
    Unseen(Unseen),
}

/// How it is known that a node is gone.
#[derive(Clone, Debug, PartialEq)]
pub enum Gone {
    LeaseStale {
        /// For so long, by our clock.
        silent: Span,
    },
    /// The cluster itself has given it up: `Ready` is Unknown.
    ReadyUnknown { why: String },
    /// The node object itself was removed while its pod is still there.
    Removed,
}

/// Whether a fault began with a change of the template. A change needs a human; a fault out of nothing looks like a dead
/// disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changed {
    /// The template has changed and its pod has not been ready since.
    Yes,
    No,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct End {
    /// Its exit code, if the kubelet says.
    pub code: Option<i32>,
    /// It was killed because it took more memory than it may.
    pub out_of_memory: bool,
    /// The last lines it left behind.
    pub message: String,
}

/// Why nothing can be said.
#[derive(Clone, Debug, PartialEq)]
pub enum Unseen {
    /// Not everything has been answered yet.
    NotYet {
        /// What is missing.
        what: String,
    },
    /// The API server does not let us see, or does not answer.
    Blind {
        what: String,
        why: Blindness,
    },
    /// The named object is not there, and has not been since we watch.
    Missing {
        named: String,
    },
    NoPod {
        named: String,
    },
    /// A workload has no pod yet, though it should have one.
    NoPodYet {
        named: String,
    },
    /// Several pods, and a validator is one process.
    ManyPods {
        named: String,
        pods: usize,
    },
    /// Two validators lead to one pod.
    Shared {
        pod: String,
        with: Vec<String>,
    },
    /// The pod has no container of that name.
    NoContainer {
        pod: String,
        container: String,
    },
    /// The lease's time and our clock disagree.
    ClockSkew {
        node: String,
        /// How far its time is ahead of ours; negative when behind.
        skew: Span,
    },
    /// Leases of several nodes stopped together: rather than all these machines, the cluster's store may have stopped.
    LeasesStopped {
        node: String,
        silent: Span,
    },
    /// It is scaled to zero, and a pod that is not its own runs.
    RunByAnother {
        named: String,
    },
    /// The pod's status makes no sense to us.
    Unsaid {
        pod: String,
    },
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready { pod, node } => write!(f, "pod {pod} runs and is ready on node {node}"),
            Self::NotReady { pod } => {
                write!(f, "pod {pod} runs but is not ready, which alone says little")
            }
            Self::Starting { pod, what } => write!(f, "pod {pod} is starting: {what}"),
            Self::NodeGone { node, how } => write!(f, "node {node} is gone: {how}"),
            Self::NodeSick { node, what, runs: true } => {
                write!(f, "node {node} is sick: {what}; its pod still runs")
            }
            Self::NodeSick { node, what, runs: false } => write!(f, "node {node} is sick: {what}"),
            Self::Pending { pod, why, changed } => write!(f, "pod {pod} has no node: {why}{changed}"),
            Self::Image { container, why, changed } => {
                write!(f, "the image of container {container} cannot be pulled: {why}{changed}")
            }
            Self::CrashLoop { container, restarts, end, changed } => {
                write!(f, "container {container} crashes again and again, {restarts} times so far; {end}{changed}")
            }
            Self::Ended { pod, end, changed } => write!(f, "pod {pod} has ended; {end}{changed}"),
            Self::Volume { pod, why, changed } => write!(f, "a volume of pod {pod} cannot be mounted: {why}{changed}"),
            Self::Waiting { container, why, changed } => write!(f, "container {container} waits: {why}{changed}"),
            Self::ScaledToZero => f.write_str("it was scaled to zero, is this maintenance?"),
            Self::Deleted { what } => write!(f, "{what} was deleted by hand, is this maintenance?"),
            Self::Drained { pod, node: Some(node) } => {
                write!(f, "node {node} was drained of pod {pod}, is this maintenance?")
            }
            Self::Drained { pod, node: None } => {
                write!(f, "pod {pod} has no node while one is closed for new pods (cordoned), is this maintenance?")
            }
            Self::Evicted { pod, by } => write!(f, "pod {pod} was taken off its node {by}"),
            Self::LostWithNode { pod, node } => write!(f, "pod {pod} went with its node {node}, which was not well"),
            Self::Rollout { left } => {
                write!(f, "a changed template is being rolled out, {} are left for it", human(*left))
            }
            Self::Unseen(unseen) => write!(f, "{unseen}"),
        }
    }
}

impl fmt::Display for Gone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LeaseStale { silent } => write!(f, "its lease was not renewed for {}", human(*silent)),
            Self::ReadyUnknown { why } if why.is_empty() => f.write_str("the cluster says Ready is Unknown"),
            Self::ReadyUnknown { why } => write!(f, "the cluster says Ready is Unknown ({why})"),
            Self::Removed => f.write_str("the node was removed from the cluster while its pod is still listed"),
        }
    }
}

impl fmt::Display for Changed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Yes => f.write_str("; this began with a change of its template"),
            Self::No => Ok(()),
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.out_of_memory, self.code) {
            (true, _) => f.write_str("it was killed because it used more memory than it may (OOMKilled)")?,
            (false, Some(code)) => write!(f, "it ended with exit code {code}")?,
            (false, None) => f.write_str("how it ended is not known")?,
        }
        if self.message.is_empty() { Ok(()) } else { write!(f, ", last words: {}", self.message) }
    }
}

impl fmt::Display for Unseen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotYet { what } => write!(f, "the API server has not answered about {what} yet"),
            Self::Blind { what: _, why: Blindness::Refused { permission } } => {
                write!(f, "the API server refuses (403): the role lacks the permission to {permission}")
            }
            Self::Blind { what, why } => write!(f, "{what} cannot be seen: {why}"),
            Self::Missing { named } => write!(f, "there is no {named}; {BY_SELECTOR}"),
            Self::NoPod { named } => write!(f, "no pod matches {named}"),
            Self::NoPodYet { named } => write!(f, "{named} has no pod yet"),
            Self::ManyPods { named, pods } => {
                write!(f, "{named} has {pods} pods, and a validator is one: name a selector that matches one pod")
            }
            Self::Shared { pod, with } => {
                write!(f, "pod {pod} is also that of validator {}: each has to name its own", with.join(", "))
            }
            Self::NoContainer { pod, container } => write!(f, "pod {pod} has no container {container}"),
            Self::ClockSkew { node, skew } => {
                let (span, side) = if skew.is_negative() { (skew.abs(), "behind") } else { (*skew, "ahead of") };
                write!(f, "the lease of node {node} is {} {side} our clock: one of the clocks is wrong", human(span))
            }
            Self::LeasesStopped { node, silent } => write!(
                f,
                "the lease of node {node} was not renewed for {}, but others stopped with it: the cluster's store may \
                 take no writes",
                human(*silent)
            ),
            Self::RunByAnother { named } => {
                write!(f, "{named} is scaled to zero, and a pod that is not its own runs; {BY_SELECTOR}")
            }
            Self::Unsaid { pod } => write!(f, "the status of pod {pod} says nothing yet"),
        }
    }
}

impl fmt::Display for Blindness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable { why } => write!(f, "the API server does not answer ({why})"),
            Self::Refused { permission } => write!(f, "the role lacks the permission to {permission}"),
            Self::Unauthenticated => f.write_str("the API server does not accept our token or certificate (401)"),
        }
    }
}
