//! From facts to health: which fact counts, and what it means.
//!
//! Every doubt ends in [`Cause::Unseen`], and that is *unknown*: it opens nothing and excuses nothing.

use super::{
    Cause, Changed, ELSEWHERE, Facts, GonePod, Health, Known, NodeFacts, NodeState, OnCrash, Pod, Ready, Thresholds,
    Unseen, WorkloadFacts,
    node::{self, NodeView},
    pod::{EVICTION, Look, taken_by},
};
use crate::domain::{Span, Time, TimeExt, Verdict};

/// Who changes a template looks at what becomes of it on the same day. What is broken a day later is an outage like any
/// other, whatever it began with.
const ATTENDED: Span = Span::from_hours(24);

/// How every scheduler says that a node is closed for new pods.
const CLOSED: &str = "node(s) were unschedulable";

/// A drain is maintenance for so long after its pod went: a reboot, a new disk, an upgrade of the system. Who needs longer
/// writes a pause, and a machine that a program has drained and that never came back is an outage.
const MAINTENANCE: Span = Span::from_hours(2);

/// So soon after the kubelet has taken a pod away its successor comes, which the grace of the pod may delay.
const SUCCESSION: Span = Span::from_mins(10);

/// The taints of a node that has died, or whose kubelet takes pods away because it is short of something. Any other one, a
/// control plane's for example, is there all the time.
const TROUBLE: [&str; 5] = [
    "node.kubernetes.io/unreachable",
    "node.kubernetes.io/not-ready",
    "node.kubernetes.io/disk-pressure",
    "node.kubernetes.io/memory-pressure",
    "node.kubernetes.io/pid-pressure",
];

#[must_use]
pub fn judge(facts: &Facts, now: Time, thresholds: &Thresholds) -> Health {
    let mut judge = Judge { facts, now, thresholds, review_at: None };
    let cause = judge.cause();
    let (verdict, hold) = meaning(&cause, thresholds);
    Health { evidence: judge.evidence(), cause, verdict, hold, review_at: judge.review_at }
}

/// What a cause means, and whether a human is to be asked before anything opens.
fn meaning(cause: &Cause, thresholds: &Thresholds) -> (Verdict, bool) {
    let by = |on: OnCrash| match on {
        OnCrash::Wait => (Verdict::Unknown, true),
        OnCrash::Down => (Verdict::Down, false),
    };
    match cause {
        Cause::Ready { .. } => (Verdict::Up, false),
        Cause::NodeGone { .. }
        | Cause::NodeSick { runs: false, .. }
        | Cause::Evicted { .. }
        | Cause::LostWithNode { .. } => (Verdict::Down, false),
        Cause::CrashLoop { changed: Changed::No, .. } | Cause::Ended { changed: Changed::No, .. } => {
            by(thresholds.crash)
        }
        Cause::Pending { changed: Changed::No, .. }
        | Cause::Image { changed: Changed::No, .. }
        | Cause::Volume { changed: Changed::No, .. }
        | Cause::Waiting { changed: Changed::No, .. } => (Verdict::Down, false),
        Cause::CrashLoop { changed: Changed::Yes, .. }
        | Cause::Ended { changed: Changed::Yes, .. }
        | Cause::Pending { changed: Changed::Yes, .. }
        | Cause::Image { changed: Changed::Yes, .. }
        | Cause::Volume { changed: Changed::Yes, .. }
        | Cause::Waiting { changed: Changed::Yes, .. } => by(thresholds.crash_after_change),
        Cause::ScaledToZero | Cause::Deleted { .. } | Cause::Drained { .. } | Cause::Rollout { .. } => {
            (Verdict::Unknown, true)
        }
        Cause::NotReady { .. } | Cause::Starting { .. } | Cause::NodeSick { runs: true, .. } | Cause::Unseen(_) => {
            (Verdict::Unknown, false)
        }
    }
}

/// Whether a human may have sent it away: a drain asks for an eviction, or deletes. What the cluster does by itself has
/// other reasons.
fn may_be_human(pod: &Pod) -> bool {
    taken_by(pod).is_none() || pod.disruption.as_deref() == Some(EVICTION)
}

impl Cause {
    /// Whether every pod passes through this when it is replaced, for moments in which nothing is wrong with it yet.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Starting { .. }
            | Self::Unseen(Unseen::NoPodYet { .. } | Unseen::NotYet { .. } | Unseen::Unsaid { .. }) => true,
            Self::Unseen(
                Unseen::Blind { .. }
                | Unseen::Missing { .. }
                | Unseen::NoPod { .. }
                | Unseen::ManyPods { .. }
                | Unseen::Shared { .. }
                | Unseen::NoContainer { .. }
                | Unseen::ClockSkew { .. }
                | Unseen::LeasesStopped { .. }
                | Unseen::RunByAnother { .. },
            )
            | Self::Ready { .. }
            | Self::NotReady { .. }
            | Self::NodeGone { .. }
            | Self::NodeSick { .. }
            | Self::Pending { .. }
            | Self::Image { .. }
            | Self::CrashLoop { .. }
            | Self::Ended { .. }
            | Self::Volume { .. }
            | Self::Waiting { .. }
            | Self::ScaledToZero
            | Self::Deleted { .. }
            | Self::Drained { .. }
            | Self::Evicted { .. }
            | Self::LostWithNode { .. }
            | Self::Rollout { .. } => false,
        }
    }
}

struct Judge<'a> {
    facts: &'a Facts,
    now: Time,
    thresholds: &'a Thresholds,
    review_at: Option<Time>,
}

impl<'a> Judge<'a> {
    fn cause(&mut self) -> Cause {
        let facts = self.facts;
        let named = || facts.named.clone();
        match &facts.workload {
            None => {}
            Some(Known::NotYet) => return Cause::Unseen(Unseen::NotYet { what: named() }),
            Some(Known::Missing) => return Cause::Unseen(Unseen::Missing { named: named() }),
            Some(Known::Blind(why)) => return Cause::Unseen(Unseen::Blind { what: named(), why: why.clone() }),
            Some(Known::Removed) => return Cause::Deleted { what: named() },
            Some(Known::Is(workload)) if workload.deleting => return Cause::Deleted { what: named() },
            Some(Known::Is(workload)) if workload.replicas == 0 => return self.scaled_to_zero(),
            Some(Known::Is(workload)) if workload.replicas > 1 => {
                let pods = usize::try_from(workload.replicas).unwrap_or(usize::MAX);
                return Cause::Unseen(Unseen::ManyPods { named: named(), pods });
            }
            Some(Known::Is(_)) => {}
        }
        let pods = match &facts.pods {
            Known::NotYet => return Cause::Unseen(Unseen::NotYet { what: format!("the pods of {}", named()) }),
            Known::Blind(why) => {
                return Cause::Unseen(Unseen::Blind { what: format!("the pods of {}", named()), why: why.clone() });
            }
            Known::Missing | Known::Removed => &[],
            Known::Is(pods) => pods.as_slice(),
        };
        let Some(pod) = self.choose(pods) else { return self.without_pod() };
        if !facts.shared_with.is_empty() {
            return Cause::Unseen(Unseen::Shared { pod: pod.name.clone(), with: facts.shared_with.clone() });
        }
        let standing = pods.iter().filter(|pod| pod.deleting.is_none()).count();
        if facts.workload.is_none() && standing > 1 {
            return Cause::Unseen(Unseen::ManyPods { named: named(), pods: standing });
        }
        self.of_pod(pod)
    }

    /// A human's work, unless somebody else's pod runs in its place. That is believed only when it lasts, because a pod
    /// that goes is seen a moment longer than its workload's number.
    fn scaled_to_zero(&mut self) -> Cause {
        let Some(since) = self.facts.elsewhere_since else { return Cause::ScaledToZero };
        let believed_at = since.plus(ELSEWHERE);
        if self.now < believed_at {
            self.review(Some(believed_at));
            return Cause::ScaledToZero;
        }
        Cause::Unseen(Unseen::RunByAnother { named: self.facts.named.clone() })
    }

    /// The pod that is the validator: a ready one before others, one that stays before one that goes, then the newest.
    fn choose(&self, pods: &'a [Pod]) -> Option<&'a Pod> {
        pods.iter().max_by_key(|pod| (pod.deleting.is_none(), pod.ready, pod.created_at))
    }

    fn of_pod(&mut self, pod: &Pod) -> Cause {
        let mut pressure = None;
        if let Some(name) = &pod.node {
            let unheard = NodeFacts { name: name.clone(), ..NodeFacts::default() };
            let known = self.facts.nodes.iter().find(|node| node.name == *name).unwrap_or(&unheard);
            let (view, ends_at) = node::view(known, self.now);
            self.review(ends_at);
            match view {
                NodeView::Well => {}
                NodeView::Pressed(what) => pressure = Some((name.clone(), what)),
                NodeView::Gone(how) => return Cause::NodeGone { node: name.clone(), how },
                NodeView::Sick(what) => return Cause::NodeSick { node: name.clone(), what, runs: false },
                NodeView::Unseen(unseen) => return Cause::Unseen(unseen),
            }
        }
        if let Some(by) = pod.deleting {
            return self.of_deleted(pod, by);
        }
        if pod.node.is_none()
            && let Some(cause) = self.drained_before(pod)
        {
            return cause;
        }
        let changed = self.changed(pod);
        let (facts, now, thresholds) = (self.facts, self.now, self.thresholds);
        let mut look = Look { facts, pod, changed, now, thresholds, review_at: None };
        let cause = look.cause();
        let review_at = look.review_at;
        self.review(review_at);
        match (cause, pressure) {
            (Cause::Ready { .. } | Cause::NotReady { .. }, Some((node, what))) => {
                Cause::NodeSick { node, what, runs: true }
            }
            (cause @ (Cause::Starting { .. } | Cause::NotReady { .. }), _) => self.rollout().unwrap_or(cause),
            (cause, _) => cause,
        }
    }

    /// Somebody wants the pod away, and its node is well.
    fn of_deleted(&mut self, pod: &Pod, gone_by: Time) -> Cause {
        let stands_on = |node: &&NodeFacts| pod.node.as_ref() == Some(&node.name);
        let cordoned = self.facts.nodes.iter().find(stands_on).is_some_and(NodeFacts::is_cordoned);
        if cordoned && may_be_human(pod) {
            let drained = Cause::Drained { pod: pod.name.clone(), node: pod.node.clone() };
            let by = taken_by(pod).unwrap_or("by a deletion that does not end");
            let stuck = Cause::Evicted { pod: pod.name.clone(), by: by.into() };
            return self.maintenance(drained, gone_by).unwrap_or(stuck);
        }
        if let Some(by) = taken_by(pod) {
            return Cause::Evicted { pod: pod.name.clone(), by: by.into() };
        }
        self.rollout().unwrap_or_else(|| Cause::Deleted { what: format!("pod {}", pod.name) })
    }

    /// A pod without a node, whose predecessor a human has sent away. It stays a question until the pod stands somewhere:
    /// who drains a node switches it off next, and a moment after it was opened again the scheduler has not looked yet.
    fn drained_before(&mut self, pod: &Pod) -> Option<Cause> {
        if let Some(gone) = &self.facts.gone {
            return self.drained(gone);
        }
        let just_before =
            |left: &&Pod| left.taken_at.is_some_and(|at| at.duration_since(pod.created_at).abs() < SUCCESSION);
        if self.facts.left_over.as_ref().filter(just_before).is_some_and(|left| !may_be_human(left)) {
            return None;
        }
        // We have not seen it go; the scheduler still says which nodes it may not have.
        let why = pod.unschedulable.as_deref()?;
        if !why.contains(CLOSED) || TROUBLE.iter().any(|taint| why.contains(taint)) {
            return None;
        }
        let drained = self.maintenance(Cause::Drained { pod: pod.name.clone(), node: None }, pod.created_at)?;
        if !pod.has_unnamed_taints() {
            return Some(drained);
        }
        let what = "the cluster's nodes".to_owned();
        let nodes = match &self.facts.all_nodes {
            Known::Is(nodes) => nodes,
            Known::Blind(why) => return Some(Cause::Unseen(Unseen::Blind { what, why: why.clone() })),
            Known::NotYet => return Some(Cause::Unseen(Unseen::NotYet { what })),
            Known::Missing | Known::Removed => return None,
        };
        let may_stand = |name: &str| pod.pinned_to.as_ref().is_none_or(|only| only == name);
        let mut places = nodes.iter().filter(|(name, _)| may_stand(name)).map(|(_, state)| state);
        let died = |node: &NodeState| matches!(node.ready, Ready::False | Ready::Unknown) && !node.cordoned;
        let in_trouble = |node: &NodeState| died(node) || !node.pressures.is_empty();
        let is_human = places.clone().any(|node| node.cordoned) && !places.any(in_trouble);
        is_human.then_some(drained)
    }

    /// That a human has drained the node of this pod, if that is what it was.
    fn drained(&mut self, gone: &GonePod) -> Option<Cause> {
        let by_hand = gone.node_was_cordoned && !gone.node_was_sick && may_be_human(&gone.pod);
        let drained = || Cause::Drained { pod: gone.pod.name.clone(), node: gone.pod.node.clone() };
        self.maintenance(by_hand.then(drained)?, gone.at)
    }

    /// What a human did then, for as long as that may be maintenance.
    fn maintenance(&mut self, cause: Cause, since: Time) -> Option<Cause> {
        let ends_at = since.plus(MAINTENANCE);
        if self.now >= ends_at {
            return None;
        }
        self.review(Some(ends_at));
        Some(cause)
    }

    fn without_pod(&mut self) -> Cause {
        let facts = self.facts;
        let named = facts.named.clone();
        if let Some(gone @ GonePod { pod, node_was_sick, .. }) = &facts.gone {
            if let Some(cause) = self.drained(gone) {
                return cause;
            }
            if let Some(by) = taken_by(pod) {
                return Cause::Evicted { pod: pod.name.clone(), by: by.into() };
            }
            if *node_was_sick {
                let node = pod.node.clone().unwrap_or_default();
                return Cause::LostWithNode { pod: pod.name.clone(), node };
            }
            if facts.workload.is_none() {
                return Cause::Deleted { what: format!("pod {}", pod.name) };
            }
        }
        if facts.workload.is_none() {
            return Cause::Unseen(Unseen::NoPod { named });
        }
        self.rollout().unwrap_or(Cause::Unseen(Unseen::NoPodYet { named }))
    }

    /// A rollout, while it may take its time.
    fn rollout(&mut self) -> Option<Cause> {
        let noticed = self.facts.changing_since?;
        let since = self.facts.changed_at.unwrap_or(noticed);
        let ends_at = since.plus(self.thresholds.rollout_grace);
        if self.now >= ends_at {
            return None;
        }
        self.review(Some(ends_at));
        Some(Cause::Rollout { left: ends_at.duration_since(self.now) })
    }

    /// Whether what is wrong with this pod began with a change: it is of the new template, no pod of which has ever
    /// worked, and the change is not long ago. Where a controller finishes no rollout (`OnDelete`, a partition, a paused
    /// deployment), only that ends it.
    fn changed(&mut self, pod: &Pod) -> Changed {
        let is_new = match &self.facts.workload {
            Some(Known::Is(WorkloadFacts { unproven: true, revision, .. })) => {
                !pod.worked && (revision.is_none() || *revision == pod.revision)
            }
            None | Some(Known::Is(_) | Known::NotYet | Known::Missing | Known::Removed | Known::Blind(_)) => false,
        };
        // It was made of the changed template, so the change is older, whatever moved the note of it since.
        let changed_at = self.facts.changed_at.map_or(pod.created_at, |at| at.min(pod.created_at));
        let attended_until = changed_at.plus(ATTENDED);
        if !is_new || self.now >= attended_until {
            return Changed::No;
        }
        self.review(Some(attended_until));
        Changed::Yes
    }

    fn review(&mut self, at: Option<Time>) {
        self.review_at = match (self.review_at, at) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
    }

    fn evidence(&self) -> Vec<String> {
        let mut lines = vec![self.facts.named.clone()];
        if let Known::Is(pods) = &self.facts.pods {
            for pod in pods {
                let node = pod.node.as_deref().unwrap_or("no node");
                let ready = if pod.ready { "ready" } else { "not ready" };
                lines.push(format!("pod {} on {node}: {:?}, {ready}", pod.name, pod.phase));
            }
        }
        for node in &self.facts.nodes {
            if let Known::Is(state) = &node.object {
                lines.push(format!("node {}: Ready {:?} {}", node.name, state.ready, state.message).trim_end().into());
            }
        }
        lines
    }
}
