//! What is the matter with a pod that stands on a node that lives, or on none yet.
//!
//! What that means is decided in [`super::judge()`]; how the pod's node is, in [`mod@super::node`].

use super::{
    BACK_OFF, CALM, Cause, Changed, ClaimState, Container, ContainerExit, ContainerRole, ContainerState, End, Facts,
    Pod, PodPhase, Thresholds, Unseen,
};
use crate::domain::{Span, Time, TimeExt};

/// So many restarts in a row are a loop and not an accident.
const LOOP: u32 = 3;

/// After a back-off, a run has to last at least this long before it says anything.
const RUNS: Span = Span::from_secs(30);

/// The waiting reasons of the kubelet that are about images (`pkg/kubelet/images/types.go`).
const IMAGE: [&str; 6] = [
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "ImageInspectError",
    "RegistryUnavailable",
];

/// What waits without anything being wrong.
const BEGINNING: [&str; 3] = ["ContainerCreating", "PodInitializing", ""];

/// Somebody has asked for an eviction: a human who drains a node, or a program that moves pods about.
pub(super) const EVICTION: &str = "EvictionByEvictionAPI";

/// Why the cluster itself takes a pod away: reasons of the condition `DisruptionTarget` and of `status.reason`.
const TAKEN: [(&str, &str); 9] = [
    ("DeletionByTaintManager", "because the node does not answer (taint manager)"),
    (EVICTION, "by an eviction"),
    ("PreemptionByScheduler", "for a pod of a higher priority"),
    ("TerminationByKubelet", "by its node, which is short of something or shuts down"),
    ("DeletionByPodGC", "because its node is no longer there"),
    ("Evicted", "by its node, which is short of something (Evicted)"),
    ("NodeLost", "because the node is lost"),
    ("NodeShutdown", "because the node shuts down"),
    ("Terminated", "because the node shut down"),
];

/// By what the cluster has taken the pod away, if it was the cluster.
pub(super) fn taken_by(pod: &Pod) -> Option<&'static str> {
    let said = [pod.disruption.as_deref(), pod.reason.as_deref()];
    TAKEN.iter().find(|(reason, _)| said.contains(&Some(reason))).map(|(_, words)| *words)
}

/// A pod looked at, with what it takes to judge it.
pub(super) struct Look<'a> {
    pub(super) facts: &'a Facts,
    pub(super) pod: &'a Pod,
    pub(super) changed: Changed,
    pub(super) now: Time,
    pub(super) thresholds: &'a Thresholds,
    pub(super) review_at: Option<Time>,
}

impl Look<'_> {
    /// What is the matter with it. Its node is taken to be well.
    pub(super) fn cause(&mut self) -> Cause {
        let (pod, changed) = (self.pod, self.changed);
        let name = || pod.name.clone();
        if let Some(wanted) = &self.facts.container
            && !pod.containers.is_empty()
            && !pod.containers.iter().any(|container| container.name == *wanted)
        {
            return Cause::Unseen(Unseen::NoContainer { pod: name(), container: wanted.clone() });
        }
        if pod.has_ended() {
            return match taken_by(pod) {
                Some(by) => Cause::Evicted { pod: name(), by: by.into() },
                None => Cause::Ended { pod: name(), end: self.last_end(), changed },
            };
        }
        if let Some(why) = self.bad_claim() {
            return Cause::Volume { pod: name(), why, changed };
        }
        if let Some(why) = &pod.unschedulable {
            let why = why.clone();
            // Only what is wrong with a claim. That a volume is on another node is so of every node but one.
            return if why.to_ascii_lowercase().contains("persistentvolumeclaim") {
                Cause::Volume { pod: name(), why, changed }
            } else {
                Cause::Pending { pod: name(), why, changed }
            };
        }
        let counted: Vec<&Container> = pod.containers.iter().filter(|container| self.counts(container)).collect();
        if let Some(calm_at) = counted.iter().filter_map(|container| self.restless(container)).min() {
            self.review(calm_at);
        }
        if let Some(fault) = counted.into_iter().find_map(|container| self.fault(container)) {
            return fault;
        }
        self.running_or_starting()
    }

    fn named(&self) -> Option<&str> {
        self.facts.container.as_deref()
    }

    /// Whether what is wrong with this container is wrong with the validator: it has to run, or what has to run waits
    /// for it.
    fn counts(&self, container: &Container) -> bool {
        let waits = |one: &Container| match &one.state {
            ContainerState::Waiting { reason, .. } => reason == "PodInitializing",
            ContainerState::Unsaid => true,
            ContainerState::Running | ContainerState::Ended(_) => false,
        };
        self.named().is_none_or(|named| named == container.name)
            || match container.role {
                ContainerRole::Main => false,
                ContainerRole::Init => true,
                ContainerRole::Sidecar => self.pod.runners(self.named()).any(waits),
            }
    }

    fn fault(&self, container: &Container) -> Option<Cause> {
        let changed = self.changed;
        match &container.state {
            ContainerState::Running if self.restless(container).is_some() => Some(self.crash_loop(container)),
            ContainerState::Ended(_) if self.restless(container).is_some() && container.role != ContainerRole::Init => {
                Some(self.crash_loop(container))
            }
            ContainerState::Running | ContainerState::Unsaid | ContainerState::Ended(_) => None,
            ContainerState::Waiting { reason, message } => match reason.as_str() {
                BACK_OFF => Some(self.crash_loop(container)),
                word if IMAGE.contains(&word) => {
                    Some(Cause::Image { container: container.name.clone(), why: said(word, message), changed })
                }
                word if BEGINNING.contains(&word) => None,
                word => Some(Cause::Waiting { container: container.name.clone(), why: said(word, message), changed }),
            },
        }
    }

    /// Until when a container that runs counts as one that crashes again and again. How often it was started in its
    /// life says nothing: a machine that reboots once a week makes a number of that as well.
    fn restless(&self, container: &Container) -> Option<Time> {
        let calm = if container.in_a_row >= LOOP {
            CALM
        } else if container.backed_off {
            // It has only just left the back-off. While it has not run for longer than before, it is in the same loop.
            let ran = container.last_exit.as_ref().and_then(|exit| exit.ran).unwrap_or_default();
            (ran * 2).clamp(RUNS, CALM)
        } else {
            return None;
        };
        let calm_at = container.restarted_at?.plus(calm);
        (calm_at > self.now).then_some(calm_at)
    }

    fn crash_loop(&self, container: &Container) -> Cause {
        let exit = match &container.state {
            ContainerState::Ended(exit) => Some(exit),
            ContainerState::Running | ContainerState::Waiting { .. } | ContainerState::Unsaid => {
                container.last_exit.as_ref()
            }
        };
        Cause::CrashLoop {
            container: container.name.clone(),
            restarts: container.restarts,
            end: exit.map(End::from).unwrap_or_default(),
            changed: self.changed,
        }
    }

    fn last_end(&self) -> End {
        let counted = self.pod.containers.iter().filter(|container| self.counts(container));
        let exits = counted.filter_map(|container| match &container.state {
            ContainerState::Ended(exit) => Some(exit),
            ContainerState::Running | ContainerState::Waiting { .. } | ContainerState::Unsaid => None,
        });
        // The one that ended badly is the one to read.
        exits.max_by_key(|exit| exit.code != 0).map(End::from).unwrap_or_default()
    }

    /// A claim that cannot be mounted. One that is pending before the pod has a node may only wait for its consumer.
    fn bad_claim(&self) -> Option<String> {
        if self.pod.phase != PodPhase::Pending {
            return None;
        }
        self.facts.claims.iter().filter(|claim| self.pod.claims.contains(&claim.name)).find_map(|claim| {
            let name = &claim.name;
            match claim.state {
                ClaimState::Missing => Some(format!("there is no claim {name}")),
                ClaimState::Lost => Some(format!("the volume of claim {name} is lost")),
                ClaimState::Pending if self.pod.node.is_some() => Some(format!("claim {name} has no volume")),
                ClaimState::Bound | ClaimState::Pending | ClaimState::Unknown => None,
            }
        })
    }

    fn running_or_starting(&mut self) -> Cause {
        let pod = self.pod;
        let runs = |container: &&Container| container.state == ContainerState::Running;
        let named = self.facts.container.clone();
        let mut counted = pod.runners(named.as_deref()).peekable();
        if counted.peek().is_none() {
            return self.starting("its containers are not made yet".into());
        }
        if counted.clone().all(|container| runs(&container)) {
            let ready = match &self.facts.container {
                Some(_) => counted.all(|container| container.ready),
                None => pod.ready,
            };
            let (name, node) = (pod.name.clone(), pod.node.clone().unwrap_or_default());
            return if ready { Cause::Ready { pod: name, node } } else { Cause::NotReady { pod: name } };
        }
        let waits = counted.find(|container| !runs(container)).expect("not all of them run");
        let what = match &waits.state {
            ContainerState::Waiting { reason, message } if !reason.is_empty() => said(reason, message),
            ContainerState::Ended(exit) => format!("container {} is started again; {}", waits.name, End::from(exit)),
            ContainerState::Waiting { .. } | ContainerState::Running | ContainerState::Unsaid => {
                format!("container {} is not started yet", waits.name)
            }
        };
        self.starting(what)
    }

    /// Starting, as long as that may take; then it waits for something that does not come.
    fn starting(&mut self, what: String) -> Cause {
        let pod = self.pod;
        let Some(since) = pod.idle_since else { return Cause::Unseen(Unseen::Unsaid { pod: pod.name.clone() }) };
        let late_at = since.plus(self.thresholds.start_grace);
        if self.now < late_at {
            self.review(late_at);
            return Cause::Starting { pod: pod.name.clone(), what };
        }
        let (name, changed) = (pod.name.clone(), self.changed);
        let for_long = crate::domain::human(self.now.duration_since(since));
        if pod.node.is_none() {
            return Cause::Pending {
                pod: name,
                why: format!("the scheduler has said nothing for {for_long}"),
                changed,
            };
        }
        if pod.sandbox_made == Some(false) {
            let why = format!("its node has not mounted all volumes, or not made its network, in {for_long}");
            return Cause::Volume { pod: name, why, changed };
        }
        Cause::Waiting { container: name, why: format!("{what}, for {for_long}"), changed }
    }

    fn review(&mut self, at: Time) {
        self.review_at = Some(self.review_at.map_or(at, |earlier| earlier.min(at)));
    }
}

impl From<&ContainerExit> for End {
    fn from(exit: &ContainerExit) -> Self {
        Self { code: Some(exit.code), out_of_memory: exit.reason == "OOMKilled", message: exit.message.clone() }
    }
}

fn said(word: &str, message: &str) -> String {
    if message.is_empty() { word.into() } else { format!("{word} ({message})") }
}
