//! What all watches have said, kept small, and put together again for one validator.
//!
//! It judges nothing and asks nobody. Moments are kept by the monotone clock: neither a jump of the wall clock nor the
//! sleep of this machine makes anything older than it is.

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::Instant;

use super::{
    Named, Target,
    convert::{Item, Items, OwnerRef, What},
    entry::{ClockPair, QueryState},
    memory::{Memory, Seen},
    topic::{ObjectQuery, WatchEvent, WorkloadKind},
};
use crate::domain::kube::{
    self, Blindness, Claim, ClaimState, Facts, Health, Known, NodeFacts, NodeLease, NodeState, PauseNote, Pod,
    WorkloadFacts,
};

pub(super) struct Index {
    pub(super) watched: Vec<Watched>,
    topics: BTreeMap<ObjectQuery, QueryState>,
}

/// A target, and what is kept of it.
pub(super) struct Watched {
    pub(super) target: Target,
    memory: Memory,
    /// What it was last said to be.
    pub(super) reported: Option<Reported>,
    /// Since when it, being down, seems to be on its way.
    pub(super) passing_since: Option<Instant>,
    /// Since when it is judged to be in a state that has to be proven.
    pub(super) grave_since: Option<Instant>,
}

/// What was reported last, and when.
pub(super) struct Reported {
    pub(super) health: Health,
    pub(super) pause: Option<PauseNote>,
    pub(super) at: Instant,
}

impl Index {
    pub(super) fn new(targets: Vec<Target>) -> Self {
        let watched = |target| Watched {
            target,
            memory: Memory::default(),
            reported: None,
            passing_since: None,
            grave_since: None,
        };
        Self { watched: targets.into_iter().map(watched).collect(), topics: BTreeMap::new() }
    }

    /// Takes in what a topic has said. It was so at `said_at` at the earliest: a reading may be as old as its question.
    /// A topic nobody needs any more is ignored.
    pub(super) fn apply(&mut self, topic: &ObjectQuery, event: WatchEvent, said_at: Instant, at: ClockPair) {
        let Some(entry) = self.topics.get_mut(topic) else { return };
        let gone = match event {
            WatchEvent::Doubt => return,
            WatchEvent::Refused(why) => {
                entry.refused = Some((why, at.mono));
                return;
            }
            WatchEvent::All(items) => {
                let all: Items = items.into_iter().map(|item| (item.name.clone(), item)).collect();
                let old = std::mem::replace(&mut entry.items, all);
                entry.answered = true;
                // While the server did not answer, no kubelet could renew its lease either.
                if entry.blind.take().is_some() {
                    entry.leases.values_mut().for_each(|lease| lease.changed_at = at.mono);
                }
                let same = |item: &Item| entry.items.get(&item.name).is_some_and(|new| new.uid == item.uid);
                old.into_values().filter(|item| !same(item)).collect()
            }
            WatchEvent::One(item) => entry
                .items
                .insert(item.name.clone(), item.clone())
                .filter(|old| old.uid != item.uid)
                .into_iter()
                .collect(),
            WatchEvent::Gone(item) => {
                entry.items.remove(&item.name);
                vec![item]
            }
        };
        entry.proven_at = entry.proven_at.max(Some(said_at));
        entry.was_there |= !entry.items.is_empty();
        entry.renew(at);
        if matches!(topic, ObjectQuery::Pods { .. }) {
            self.bury(topic, &gone, at);
        }
        self.remember(at);
    }

    /// Takes in that a topic cannot be read.
    pub(super) fn blind(&mut self, topic: &ObjectQuery, why: Blindness) {
        if let Some(entry) = self.topics.get_mut(topic) {
            entry.blind = Some(why);
        }
    }

    /// Makes the topics those that are needed now, and says which began and which ended.
    pub(super) fn settle(&mut self, now: Instant) -> (Vec<ObjectQuery>, Vec<ObjectQuery>) {
        for entry in self.topics.values_mut() {
            entry.forgive(now);
        }
        let needed: BTreeSet<ObjectQuery> = self.watched.iter().flat_map(|watched| self.topics_of(watched)).collect();
        let ended: Vec<ObjectQuery> = self.topics.keys().filter(|topic| !needed.contains(topic)).cloned().collect();
        for topic in &ended {
            self.topics.remove(topic);
        }
        let begun: Vec<ObjectQuery> = needed.into_iter().filter(|topic| !self.topics.contains_key(topic)).collect();
        for topic in &begun {
            self.topics.insert(topic.clone(), QueryState::default());
        }
        (begun, ended)
    }

    /// Everything an opinion on this target rests on.
    pub(super) fn topics_of(&self, watched: &Watched) -> Vec<ObjectQuery> {
        let namespace = &watched.target.namespace;
        let mut topics = Vec::new();
        topics.extend(workload_topic(&watched.target));
        let Some(pods) = watched.pods_topic() else { return topics };
        topics.push(pods);
        let pods = self.pods(watched);
        let Memory { gone, node: last, .. } = &watched.memory;
        let gone = gone.as_ref().map(|gone| &gone.pod);
        for node in pods.iter().copied().chain(gone).filter_map(|pod| pod.node.as_ref()).chain(last) {
            topics.push(ObjectQuery::Node(node.clone()));
            topics.push(ObjectQuery::Leases);
        }
        let nowhere = |pod: &&Pod| pod.node.is_none() && pod.has_unnamed_taints();
        if watched.memory.gone.is_none() && pods.iter().any(nowhere) {
            topics.push(ObjectQuery::AllNodes);
        }
        for name in pods.iter().flat_map(|pod| &pod.claims) {
            topics.push(ObjectQuery::Claim { namespace: namespace.clone(), name: name.clone() });
        }
        topics.sort();
        topics.dedup();
        topics
    }

    /// When the server last said anything about a topic.
    pub(super) fn proven_at(&self, topic: &ObjectQuery) -> Option<Instant> {
        self.topics.get(topic)?.proven_at
    }

    /// Whether it cannot be seen now.
    pub(super) fn is_blind(&self, topic: &ObjectQuery) -> bool {
        self.topics.get(topic).is_some_and(|entry| entry.blind.is_some() || entry.refused.is_some())
    }

    /// Whether it may be read and not be watched.
    pub(super) fn is_refused(&self, topic: &ObjectQuery) -> bool {
        self.topics.get(topic).is_some_and(|entry| entry.refused.is_some())
    }

    /// Whether it shows that the server still speaks to us: a lease, or the node where it has none.
    pub(super) fn is_pulse(&self, topic: &ObjectQuery) -> bool {
        let leases = self.topics.get(&ObjectQuery::Leases);
        let seen = leases.filter(|entry| entry.blind.is_none() && entry.refused.is_none());
        match topic {
            ObjectQuery::Leases => seen.is_some_and(|entry| !entry.leases.is_empty()),
            ObjectQuery::Node(name) => !seen.is_some_and(|entry| entry.leases.contains_key(name)),
            ObjectQuery::Workload { .. }
            | ObjectQuery::Pods { .. }
            | ObjectQuery::Claim { .. }
            | ObjectQuery::AllNodes => false,
        }
    }

    pub(super) fn facts(&self, watched: &Watched, at: ClockPair) -> Facts {
        let Watched { target, memory, .. } = watched;
        let entry = watched.pods_topic().and_then(|topic| self.topics.get(&topic));
        let pods = match entry {
            None => Known::NotYet,
            Some(entry) => match entry.state() {
                Known::Blind(why) => Known::Blind(why),
                Known::NotYet => Known::NotYet,
                Known::Missing | Known::Removed | Known::Is(()) => {
                    Known::Is(self.pods(watched).into_iter().map(|pod| memory.recall(pod, at)).collect())
                }
            },
        };
        let mut names: BTreeSet<&String> = self.pods(watched).into_iter().filter_map(|pod| pod.node.as_ref()).collect();
        names.extend(memory.gone.as_ref().and_then(|gone| gone.pod.node.as_ref()));
        let workload = workload_topic(target).map(|topic| self.workload(&topic));
        let changed_at = match &workload {
            // The API server's note moves with other fields too; what was seen to be wanted before has not changed since.
            Some(Known::Is(workload)) => {
                let seen_at = memory.wanted.as_ref().map(|(_, since)| at.wall_at(*since));
                workload.changed_at.map(|noted| seen_at.map_or(noted, |seen| seen.min(noted)))
            }
            Some(Known::NotYet | Known::Missing | Known::Removed | Known::Blind(_)) | None => None,
        };
        Facts {
            named: target.to_string(),
            workload,
            pods,
            container: target.container.clone(),
            nodes: names.into_iter().map(|name| self.node(name, at)).collect(),
            claims: self.claims(watched),
            all_nodes: self.all_nodes(),
            gone: memory.gone.clone(),
            left_over: self.left_over(watched).cloned(),
            shared_with: self.shared_with(watched),
            changing_since: memory.changing_since.map(|since| at.wall_at(since)),
            changed_at: changed_at.max(memory.switched_at.map(|then| at.wall_at(then))),
            elsewhere_since: memory.elsewhere_since.map(|since| at.wall_at(since)),
        }
    }

    fn workload(&self, topic: &ObjectQuery) -> Known<WorkloadFacts> {
        let Some(entry) = self.topics.get(topic) else { return Known::NotYet };
        entry.state().with(entry.only(What::workload).map(|(workload, _)| workload.clone()))
    }

    fn node(&self, name: &str, at: ClockPair) -> NodeFacts {
        let object = self
            .topics
            .get(&ObjectQuery::Node(name.to_owned()))
            .map_or(Known::NotYet, |entry| entry.state().with(entry.only(What::node).cloned()));
        let lease = self.topics.get(&ObjectQuery::Leases).map_or(Known::NotYet, |entry| {
            let lease = entry.leases.get(name).map(|renewal| NodeLease {
                changed_at: at.wall_at(renewal.changed_at),
                seen_alive: renewal.seen_alive,
                duration: renewal.duration,
                skew: renewal.skew,
                nearest: entry.nearest(name).map(|then| at.wall_at(then)),
            });
            match (entry.state(), lease) {
                (Known::Is(()), None) => Known::Missing,
                (state, lease) => state.with(lease),
            }
        });
        NodeFacts { name: name.to_owned(), object, lease }
    }

    fn all_nodes(&self) -> Known<Vec<(String, NodeState)>> {
        let Some(entry) = self.topics.get(&ObjectQuery::AllNodes) else { return Known::NotYet };
        let nodes = entry.items.iter().filter_map(|(name, item)| Some((name.clone(), item.what.node()?.clone())));
        entry.state().with(Some(nodes.collect()))
    }

    fn claims(&self, watched: &Watched) -> Vec<Claim> {
        let namespace = &watched.target.namespace;
        let names: BTreeSet<&String> = self.pods(watched).into_iter().flat_map(|pod| &pod.claims).collect();
        let state = |name: &str| {
            let topic = ObjectQuery::Claim { namespace: namespace.clone(), name: name.to_owned() };
            let Some(entry) = self.topics.get(&topic) else { return ClaimState::Unknown };
            match entry.state() {
                Known::NotYet | Known::Blind(_) => ClaimState::Unknown,
                Known::Missing | Known::Removed => ClaimState::Missing,
                Known::Is(()) => entry.only(What::claim).unwrap_or(ClaimState::Unknown),
            }
        };
        names.into_iter().map(|name| Claim { name: name.clone(), state: state(name) }).collect()
    }

    fn shared_with(&self, watched: &Watched) -> Vec<String> {
        let ours: BTreeSet<&str> = self.pods(watched).into_iter().map(|pod| pod.uid.as_str()).collect();
        let others = self.watched.iter().filter(|other| other.target.validator != watched.target.validator);
        let sharing = others.filter(|other| self.pods(other).iter().any(|pod| ours.contains(pod.uid.as_str())));
        sharing.map(|other| other.target.validator.to_string()).collect()
    }

    /// Its pods: those that match and, if a workload is named, are that workload's, without what earlier ones left.
    fn pods(&self, watched: &Watched) -> Vec<&Pod> {
        let Some(entry) = watched.pods_topic().and_then(|topic| self.topics.get(&topic)) else { return Vec::new() };
        kube::without_left_overs(entry.items.values().filter_map(|item| pod_of(&watched.target, item)).collect())
    }

    /// Its last pod that has ended, beside one that lives.
    fn left_over(&self, watched: &Watched) -> Option<&Pod> {
        let entry = self.topics.get(&watched.pods_topic()?)?;
        let pods = entry.items.values().filter_map(|item| pod_of(&watched.target, item));
        pods.filter(|pod| pod.has_ended()).max_by_key(|pod| (pod.taken_at, pod.created_at))
    }

    /// Whether a pod matches that lives, that nobody takes away, and that another controller runs in place of the one
    /// that was scaled to zero. A job of the maintenance, or a second set with the same labels, is no such.
    fn has_live_pod(&self, watched: &Watched) -> bool {
        let entry = watched.pods_topic().and_then(|topic| self.topics.get(&topic));
        let mut pods = entry.into_iter().flat_map(|entry| entry.items.values()).filter_map(|item| item.what.pod());
        let may_run = |owner: &OwnerRef| !matches!(owner.kind.as_str(), "StatefulSet" | "DaemonSet" | "Job");
        pods.any(|(pod, owner)| pod.deleting.is_none() && !pod.has_ended() && owner.as_ref().is_some_and(may_run))
    }

    /// Remembers pods that went, and how their nodes were at that moment.
    fn bury(&mut self, topic: &ObjectQuery, gone: &[Item], at: ClockPair) {
        for number in 0..self.watched.len() {
            let watched = &self.watched[number];
            if watched.pods_topic().as_ref() != Some(topic) {
                continue;
            }
            let ours = gone.iter().filter_map(|item| pod_of(&watched.target, item)).next_back();
            let Some(pod) = ours.cloned() else { continue };
            // What is cleared away behind its successor is not the validator that went.
            if pod.has_ended() && !self.pods(watched).is_empty() {
                continue;
            }
            // A successor that never stood anywhere says nothing about why the last one that did has gone. A drain that
            // asks twice takes it away as well.
            if pod.node.is_none() && watched.memory.gone.is_some() {
                continue;
            }
            let node = pod.node.as_ref().map(|name| self.node(name, at));
            let node_was_cordoned = node.as_ref().is_some_and(NodeFacts::is_cordoned);
            let node_was_sick = node.is_some_and(|node| kube::is_sick(&node, at.wall));
            let gone = kube::GonePod { pod, at: at.wall, node_was_sick, node_was_cordoned };
            self.watched[number].memory.gone = Some(gone);
        }
    }

    /// Brings every memory up to what is known now.
    fn remember(&mut self, at: ClockPair) {
        for number in 0..self.watched.len() {
            let watched = &self.watched[number];
            let others_pod = self.has_live_pod(watched);
            let seen = workload_topic(&watched.target).and_then(|topic| {
                let (workload, selector) = self.topics.get(&topic)?.only(What::workload)?;
                Some(Seen { workload, selector: selector.clone(), others_pod })
            });
            let pods: Vec<Pod> = self.pods(watched).into_iter().cloned().collect();
            let Watched { target, memory, .. } = &mut self.watched[number];
            memory.update(seen, &pods, target.container.as_deref(), at.mono);
            // Watches are not in step: that the node was closed is often seen after its pod has gone.
            let left = memory.gone.as_ref().and_then(|gone| gone.pod.node.clone());
            let cordoned = left.is_some_and(|name| self.node(&name, at).is_cordoned());
            if let Some(gone) = &mut self.watched[number].memory.gone {
                gone.node_was_cordoned |= cordoned;
            }
        }
    }
}

impl Watched {
    /// Its pods, by the selector written down, or by that of its workload, also of one that is gone.
    fn pods_topic(&self) -> Option<ObjectQuery> {
        let selector = match &self.target.named {
            Named::Selector(selector) => selector.clone(),
            Named::Workload { .. } => self.memory.selector.clone()?,
        };
        Some(ObjectQuery::Pods { namespace: self.target.namespace.clone(), selector })
    }
}

fn workload_topic(target: &Target) -> Option<ObjectQuery> {
    match &target.named {
        Named::Selector(_) => None,
        Named::Workload { kind, name } => {
            Some(ObjectQuery::Workload { kind: *kind, namespace: target.namespace.clone(), name: name.clone() })
        }
    }
}

/// The pod, if it is this target's. A deployment's pods belong to a replica set, whose name is the deployment's and a
/// hash.
fn pod_of<'a>(target: &Target, item: &'a Item) -> Option<&'a Pod> {
    let (pod, owner) = item.what.pod()?;
    let ours = match (&target.named, owner) {
        (Named::Selector(_), _) => true,
        (Named::Workload { kind: WorkloadKind::StatefulSet, name }, Some(OwnerRef { kind, name: owner })) => {
            kind == "StatefulSet" && owner == name
        }
        (Named::Workload { kind: WorkloadKind::Deployment, name }, Some(OwnerRef { kind, name: owner })) => {
            let hash = owner.strip_prefix(name.as_str()).and_then(|rest| rest.strip_prefix('-'));
            kind == "ReplicaSet" && hash.is_some_and(|hash| !hash.is_empty() && !hash.contains('-'))
        }
        (Named::Workload { .. }, None) => false,
    };
    ours.then_some(pod)
}
