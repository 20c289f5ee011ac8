//! What is remembered of a target beyond its objects: since when, and what was there before.
//!
//! It is lost in a restart, and every grace begins again.

use std::collections::BTreeMap;

use tokio::time::Instant;

use super::entry::ClockPair;
use crate::domain::kube::{ContainerState, GonePod, Pod, PodPhase};

#[derive(Default)]
pub(super) struct Memory {
    /// The selector of its workload, which outlives it.
    pub(super) selector: Option<String>,
    /// The pod that was there last, while none stands on a node.
    pub(super) gone: Option<GonePod>,
    /// The node a pod of it stood on last. It stays watched, because the next one will most likely stand there too.
    pub(super) node: Option<String>,
    /// Since when its template is unproven.
    pub(super) changing_since: Option<Instant>,
    pods: BTreeMap<String, PodMemory>,
}

#[derive(Default)]
struct PodMemory {
    idle_since: Option<Instant>,
    restarts: BTreeMap<String, (i32, Option<Instant>)>,
}

impl Memory {
    /// Brings it up to what is known now. `workload`: whether its template is unproven, and its selector.
    pub(super) fn update(&mut self, workload: Option<(bool, Option<String>)>, pods: &[Pod], at: Instant) {
        if let Some((unproven, selector)) = workload {
            self.selector = selector;
            self.changing_since = unproven.then(|| self.changing_since.unwrap_or(at));
        }
        // While its successor has no place, why the last one went is what there is to know.
        if pods.iter().any(|pod| pod.node.is_some()) {
            self.gone = None;
        }
        if let Some(node) = pods.iter().filter_map(|pod| pod.node.as_ref()).next_back() {
            self.node = Some(node.clone());
        }
        self.pods.retain(|uid, _| pods.iter().any(|pod| pod.uid == *uid));
        for pod in pods {
            let memory = self.pods.entry(pod.uid.clone()).or_default();
            memory.idle_since = (!runs(pod)).then(|| memory.idle_since.unwrap_or(at));
            for container in &pod.containers {
                let (restarts, restarted_at) =
                    memory.restarts.entry(container.name.clone()).or_insert((container.restarts, None));
                if container.restarts > *restarts {
                    (*restarts, *restarted_at) = (container.restarts, Some(at));
                }
            }
        }
    }

    /// The pod, with what is remembered of it.
    pub(super) fn recall(&self, pod: &Pod, at: ClockPair) -> Pod {
        let mut pod = pod.clone();
        let Some(memory) = self.pods.get(&pod.uid) else { return pod };
        pod.idle_since = memory.idle_since.map(|since| at.wall_at(since));
        for container in &mut pod.containers {
            let restarted_at = memory.restarts.get(&container.name).and_then(|(_, restarted_at)| *restarted_at);
            container.restarted_at = restarted_at.map(|then| at.wall_at(then));
        }
        pod
    }
}

fn runs(pod: &Pod) -> bool {
    let mut containers = pod.containers.iter().filter(|container| !container.init).peekable();
    pod.phase == PodPhase::Running
        && containers.peek().is_some()
        && containers.all(|container| container.state == ContainerState::Running)
}
