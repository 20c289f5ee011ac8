//! What is remembered of a target beyond its objects: since when, and what was there before.
//!
//! It is lost in a restart, and every grace begins again.

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::Instant;

use super::entry::ClockPair;
use crate::domain::kube::{BACK_OFF, CALM, Container, ContainerState, ELSEWHERE, GonePod, Pod, WorkloadFacts};

#[derive(Default)]
pub(super) struct Memory {
    /// The selector of its workload, which outlives it.
    pub(super) selector: Option<String>,
    /// The pod that was there last, while none stands on a node.
    pub(super) gone: Option<GonePod>,
    /// The node a pod of it stood on last. It stays watched, because the next one will most likely stand there too.
    pub(super) node: Option<String>,
    /// The template that its pods should have, and since when we see it.
    pub(super) wanted: Option<(String, Instant)>,
    /// Since when its template is unproven.
    pub(super) changing_since: Option<Instant>,
    /// When a pod of another template than the last one's came.
    pub(super) switched_at: Option<Instant>,
    /// Since when it has neither replicas nor a pod, while somebody else's matches its selector.
    pub(super) elsewhere_since: Option<Instant>,
    /// The template of the pod that came last.
    revision: Option<String>,
    /// Templates of which a pod has been ready.
    proven: BTreeSet<String>,
    pods: BTreeMap<String, PodMemory>,
}

#[derive(Default)]
struct PodMemory {
    idle_since: Option<Instant>,
    was_ready: bool,
    containers: BTreeMap<String, Restarts>,
}

/// How often a container was started, as we saw it.
#[derive(Clone, Copy, Default)]
struct Restarts {
    count: i32,
    at: Option<Instant>,
    in_a_row: u32,
    /// It waits in the kubelet's back-off.
    waits: bool,
    backed_off: bool,
}

impl Restarts {
    fn see(&mut self, container: &Container, at: Instant) {
        if container.restarts > self.count {
            let soon = self.at.is_some_and(|last| at.duration_since(last) < CALM.unsigned_abs());
            self.in_a_row = if soon { self.in_a_row + 1 } else { 1 };
            (self.count, self.at, self.backed_off) = (container.restarts, Some(at), self.waits);
        }
        self.waits = match &container.state {
            ContainerState::Waiting { reason, .. } => reason == BACK_OFF,
            ContainerState::Running | ContainerState::Ended(_) | ContainerState::Unsaid => false,
        };
    }
}

/// What a memory learns of its workload.
pub(super) struct Seen<'a> {
    pub(super) workload: &'a WorkloadFacts,
    pub(super) selector: Option<String>,
    /// A pod that is not its own matches its selector.
    pub(super) others_pod: bool,
}

impl Memory {
    /// Brings it up to what is known now. `named`: the container that signs, if one is named.
    pub(super) fn update(&mut self, seen: Option<Seen<'_>>, pods: &[Pod], named: Option<&str>, at: Instant) {
        for pod in pods.iter().filter(|pod| pod.works(named) || pod.worked) {
            self.proven.extend(pod.revision.clone());
        }
        let newest = pods.iter().max_by_key(|pod| pod.created_at).and_then(|pod| pod.revision.as_ref());
        if let Some(newest) = newest.filter(|newest| self.revision.as_ref() != Some(newest)) {
            self.switched_at = self.revision.is_some().then_some(at);
            self.revision = Some(newest.clone());
        }
        if let Some(Seen { workload, selector, others_pod }) = seen {
            self.selector = selector;
            let same = |(known, _): &(String, Instant)| workload.revision.as_ref() == Some(known);
            if !self.wanted.as_ref().is_some_and(same) {
                self.wanted = workload.revision.clone().map(|revision| (revision, at));
            }
            let proven = workload.revision.as_ref().is_some_and(|revision| self.proven.contains(revision));
            self.changing_since = (workload.unproven && !proven).then(|| self.changing_since.unwrap_or(at));
            // Once somebody else's pod has run for long enough to be believed, its end is no human's work either.
            let believed = self.elsewhere_since.is_some_and(|since| at - since >= ELSEWHERE.unsigned_abs());
            let elsewhere = workload.replicas == 0 && (believed || (workload.pods == 0 && others_pod));
            self.elsewhere_since = elsewhere.then(|| self.elsewhere_since.unwrap_or(at));
            let (wanted, last) = (&workload.revision, &self.revision);
            self.proven.retain(|one| wanted.as_ref() == Some(one) || last.as_ref() == Some(one));
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
            memory.idle_since = (!runs(pod, named)).then(|| memory.idle_since.unwrap_or(at));
            memory.was_ready |= pod.works(named) || pod.worked;
            for container in &pod.containers {
                let first = Restarts { count: container.restarts, ..Restarts::default() };
                memory.containers.entry(container.name.clone()).or_insert(first).see(container, at);
            }
        }
    }

    /// The pod, with what is remembered of it.
    pub(super) fn recall(&self, pod: &Pod, at: ClockPair) -> Pod {
        let mut pod = pod.clone();
        let Some(memory) = self.pods.get(&pod.uid) else { return pod };
        pod.worked = memory.was_ready || pod.revision.as_ref().is_some_and(|revision| self.proven.contains(revision));
        pod.idle_since = memory.idle_since.map(|since| at.wall_at(since));
        for container in &mut pod.containers {
            let seen = memory.containers.get(&container.name).copied().unwrap_or_default();
            container.restarted_at = seen.at.map(|then| at.wall_at(then));
            (container.in_a_row, container.backed_off) = (seen.in_a_row, seen.backed_off);
        }
        pod
    }
}

/// Whether all of it that has to run does. Its phase would not say: that counts what is beside the validator as well.
fn runs(pod: &Pod, named: Option<&str>) -> bool {
    let mut runners = pod.runners(named).peekable();
    runners.peek().is_some() && runners.all(|container| container.state == ContainerState::Running)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::Time;

    fn container(name: &str, restarts: i32, state: ContainerState) -> Container {
        Container { name: name.into(), restarts, state, ..Container::default() }
    }

    fn waits(reason: &str) -> ContainerState {
        ContainerState::Waiting { reason: reason.into(), message: String::new() }
    }

    fn pod(uid: &str, revision: &str, containers: Vec<Container>) -> Pod {
        Pod { uid: uid.into(), revision: Some(revision.into()), containers, ..Pod::default() }
    }

    /// What is remembered of the pod's first container after it was seen with these numbers of restarts, minutes apart.
    fn seen(restarts: &[(i32, u64)]) -> (u32, bool) {
        let (start, mut memory) = (Instant::now(), Memory::default());
        let (mut at, mut last) = (start, pod("1", "r1", Vec::new()));
        for (restarts, minutes) in restarts {
            at += Duration::from_secs(60 * minutes);
            last = pod("1", "r1", vec![container("vc", *restarts, ContainerState::Running)]);
            memory.update(None, std::slice::from_ref(&last), None, at);
        }
        let recalled = memory.recall(&last, ClockPair { wall: Time::UNIX_EPOCH, mono: at });
        (recalled.containers[0].in_a_row, recalled.containers[0].restarted_at.is_some())
    }

    #[test]
    fn restarts_count_in_a_row_only_and_not_over_a_life() {
        assert_eq!(seen(&[(6, 0)]), (0, false), "what was before we watch");
        assert_eq!(seen(&[(6, 0), (7, 60)]), (1, true));
        assert_eq!(seen(&[(6, 0), (7, 60), (8, 9), (9, 9)]), (3, true));
        assert_eq!(seen(&[(6, 0), (7, 60), (8, 9), (9, 10)]), (1, true), "the kubelet has forgotten those before");
        // A server that did not answer for hours shows them at once; how far apart they were is not known.
        assert_eq!(seen(&[(6, 0), (11, 300)]), (1, true));
    }

    #[test]
    fn a_container_that_comes_out_of_the_back_off_is_remembered_so() {
        let (start, mut memory) = (Instant::now(), Memory::default());
        let mut backed_off = |restarts, state| {
            let pod = pod("1", "r1", vec![container("vc", restarts, state)]);
            memory.update(None, std::slice::from_ref(&pod), None, start);
            memory.recall(&pod, ClockPair { wall: Time::UNIX_EPOCH, mono: start }).containers[0].backed_off
        };
        assert!(!backed_off(6, waits(BACK_OFF)));
        assert!(backed_off(7, ContainerState::Running));
        assert!(!backed_off(8, ContainerState::Running), "this one was started at once");
    }

    #[test]
    fn a_template_is_proven_by_a_pod_that_was_ready_and_by_no_other_templates() {
        let (start, mut memory) = (Instant::now(), Memory::default());
        let workload = WorkloadFacts { unproven: true, revision: Some("r2".into()), ..WorkloadFacts::default() };
        let mut update = |pods: &[Pod]| {
            memory.update(Some(Seen { workload: &workload, selector: None, others_pod: false }), pods, None, start);
            let worked =
                pods.first().map(|pod| memory.recall(pod, ClockPair { wall: Time::UNIX_EPOCH, mono: start }).worked);
            (memory.changing_since.is_some(), memory.switched_at.is_some(), worked)
        };
        let ready = |pod: Pod| Pod { ready: true, ..pod };
        assert_eq!(
            update(&[ready(pod("1", "r1", Vec::new()))]),
            (true, false, Some(true)),
            "the old one says nothing of it"
        );
        assert_eq!(update(&[pod("2", "r2", Vec::new())]), (true, true, Some(false)));
        assert_eq!(update(&[ready(pod("2", "r2", Vec::new()))]), (false, true, Some(true)));
        assert_eq!(update(&[pod("2", "r2", Vec::new())]), (false, true, Some(true)), "it broke by itself");
        assert_eq!(update(&[]), (false, true, None));
        assert_eq!(update(&[pod("3", "r2", Vec::new())]), (false, true, Some(true)), "its successor is of the same");
    }

    /// Only that it is wanted is new to a watcher that starts; other fields of the object may change later.
    #[test]
    fn a_template_is_as_old_as_when_it_was_first_seen_and_not_as_the_last_note() {
        let (start, mut memory) = (Instant::now(), Memory::default());
        let mut wanted = |revision: &str, minutes: u64| {
            let at = start + Duration::from_secs(60 * minutes);
            let workload = WorkloadFacts { revision: Some(revision.into()), ..WorkloadFacts::default() };
            memory.update(Some(Seen { workload: &workload, selector: None, others_pod: false }), &[], None, at);
            memory.wanted.as_ref().map(|(_, since)| since.duration_since(start).as_secs() / 60)
        };
        assert_eq!([wanted("r1", 0), wanted("r1", 5), wanted("r2", 7), wanted("r2", 60)], [0, 0, 7, 7].map(Some));
    }

    #[test]
    fn a_pod_that_says_itself_that_it_worked_proves_its_template_to_a_watcher_that_has_just_started() {
        let (start, mut memory) = (Instant::now(), Memory::default());
        let workload = WorkloadFacts { unproven: true, revision: Some("r2".into()), ..WorkloadFacts::default() };
        let told = Pod { worked: true, ..pod("1", "r2", Vec::new()) };
        memory.update(Some(Seen { workload: &workload, selector: None, others_pod: false }), &[told], None, start);
        assert!(memory.changing_since.is_none());
        let successor = memory.recall(&pod("2", "r2", Vec::new()), ClockPair { wall: Time::UNIX_EPOCH, mono: start });
        assert!(!successor.worked, "not seen yet");
        let new = pod("2", "r2", Vec::new());
        memory.update(None, std::slice::from_ref(&new), None, start);
        assert!(memory.recall(&new, ClockPair { wall: Time::UNIX_EPOCH, mono: start }).worked, "it is of the same");
    }

    #[test]
    fn what_runs_beside_the_named_container_does_not_make_the_pod_idle() {
        let (start, mut memory) = (Instant::now(), Memory::default());
        let pod =
            pod("1", "r1", vec![container("side", 3, waits(BACK_OFF)), container("vc", 0, ContainerState::Running)]);
        let at = ClockPair { wall: Time::UNIX_EPOCH, mono: start };
        memory.update(None, std::slice::from_ref(&pod), Some("vc"), start);
        assert_eq!(memory.recall(&pod, at).idle_since, None);
        memory.update(None, std::slice::from_ref(&pod), None, start);
        assert!(memory.recall(&pod, at).idle_since.is_some(), "where none is named, all have to run");
    }

    #[test]
    fn somebody_elses_pod_counts_from_when_it_is_seen_and_until_the_workload_has_replicas() {
        let (start, mut memory) = (Instant::now(), Memory::default());
        let mut since = |seconds, replicas, pods, others_pod| {
            let (workload, at) =
                (WorkloadFacts { replicas, pods, ..WorkloadFacts::default() }, Duration::from_secs(seconds));
            memory.update(Some(Seen { workload: &workload, selector: None, others_pod }), &[], None, start + at);
            memory.elsewhere_since.is_some()
        };
        assert!(!since(0, 1, 1, true));
        assert!(!since(1, 0, 1, true), "its own pod is going");
        assert!(since(2, 0, 0, true));
        assert!(!since(6, 0, 0, false), "it was its own, seen a moment longer: a human scaled it to zero");
        assert!(since(7, 0, 0, true));
        assert!(since(12, 0, 0, false), "it has run for long enough: its end is no human's work");
        assert!(!since(13, 1, 0, false));
    }
}
