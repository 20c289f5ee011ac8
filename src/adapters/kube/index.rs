//! What all watches have said, kept small, and put together again for one validator.
//!
//! It judges nothing and asks nobody. Moments are kept by the monotone clock: neither a jump of the wall clock nor the
//! sleep of this machine makes anything older than it is.

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::Instant;

use super::{
    Named, Target,
    convert::{Item, Items, Owner, What},
    entry::{Entry, Moment},
    memory::Memory,
    topic::{Heard, Kind, Topic},
};
use crate::domain::kube::{self, Blindness, Claim, ClaimState, Facts, Lease, Node, Pod, Seen, Workload};

pub(super) struct Index {
    targets: Vec<Target>,
    topics: BTreeMap<Topic, Entry>,
    memories: Vec<Memory>,
}

impl Index {
    pub(super) fn new(targets: Vec<Target>) -> Self {
        let memories = targets.iter().map(|_| Memory::default()).collect();
        Self { targets, topics: BTreeMap::new(), memories }
    }

    pub(super) fn targets(&self) -> &[Target] {
        &self.targets
    }

    /// Takes in what a topic has said. It was so at `said_at` at the earliest: a reading may be as old as its question.
    /// A topic nobody needs any more is ignored.
    pub(super) fn hear(&mut self, topic: &Topic, heard: Heard, said_at: Instant, at: Moment) {
        let Some(entry) = self.topics.get_mut(topic) else { return };
        let gone = match heard {
            Heard::Doubt => return,
            Heard::Refused(why) => {
                entry.refused = Some((why, at.mono));
                return;
            }
            Heard::All(items) => {
                let all: Items = items.into_iter().map(|item| (item.name.clone(), item)).collect();
                let old = std::mem::replace(&mut entry.items, all);
                entry.answered = true;
                // While the server did not answer, no kubelet could renew its lease either.
                if let (Some(_), Some(lease)) = (entry.blind.take(), &mut entry.lease) {
                    lease.changed_at = at.mono;
                }
                let same = |item: &Item| entry.items.get(&item.name).is_some_and(|new| new.uid == item.uid);
                old.into_values().filter(|item| !same(item)).collect()
            }
            Heard::One(item) => entry
                .items
                .insert(item.name.clone(), item.clone())
                .filter(|old| old.uid != item.uid)
                .into_iter()
                .collect(),
            Heard::Gone(item) => {
                entry.items.remove(&item.name);
                vec![item]
            }
        };
        entry.proven_at = entry.proven_at.max(Some(said_at));
        entry.was_there |= !entry.items.is_empty();
        entry.renew(at);
        if matches!(topic, Topic::Pods { .. }) {
            self.bury(topic, &gone, at);
        }
        self.remember(at);
    }

    /// Takes in that a topic cannot be read.
    pub(super) fn blind(&mut self, topic: &Topic, why: Blindness) {
        if let Some(entry) = self.topics.get_mut(topic) {
            entry.blind = Some(why);
        }
    }

    /// Makes the topics those that are needed now, and says which began and which ended.
    pub(super) fn settle(&mut self, now: Instant) -> (Vec<Topic>, Vec<Topic>) {
        for entry in self.topics.values_mut() {
            entry.forgive(now);
        }
        let needed: BTreeSet<Topic> = (0..self.targets.len()).flat_map(|target| self.topics_of(target)).collect();
        let ended: Vec<Topic> = self.topics.keys().filter(|topic| !needed.contains(topic)).cloned().collect();
        for topic in &ended {
            self.topics.remove(topic);
        }
        let begun: Vec<Topic> = needed.into_iter().filter(|topic| !self.topics.contains_key(topic)).collect();
        for topic in &begun {
            self.topics.insert(topic.clone(), Entry::default());
        }
        (begun, ended)
    }

    /// Everything an opinion on this target rests on.
    pub(super) fn topics_of(&self, target: usize) -> Vec<Topic> {
        let namespace = &self.targets[target].namespace;
        let mut topics = Vec::new();
        topics.extend(workload_topic(&self.targets[target]));
        let Some(selector) = self.selector(target) else { return topics };
        topics.push(Topic::Pods { namespace: namespace.clone(), selector });
        let pods = self.pods(target);
        let Memory { gone, node: last, .. } = &self.memories[target];
        let gone = gone.as_ref().map(|gone| &gone.pod);
        for node in pods.iter().copied().chain(gone).filter_map(|pod| pod.node.as_ref()).chain(last) {
            topics.push(Topic::Node(node.clone()));
            topics.push(Topic::Lease(node.clone()));
        }
        for name in pods.iter().flat_map(|pod| &pod.claims) {
            topics.push(Topic::Claim { namespace: namespace.clone(), name: name.clone() });
        }
        topics.sort();
        topics.dedup();
        topics
    }

    /// When the server last said anything about a topic.
    pub(super) fn proven_at(&self, topic: &Topic) -> Option<Instant> {
        self.topics.get(topic)?.proven_at
    }

    /// Whether it cannot be seen now.
    pub(super) fn is_blind(&self, topic: &Topic) -> bool {
        self.topics.get(topic).is_some_and(|entry| entry.blind.is_some() || entry.refused.is_some())
    }

    /// Whether it shows that the server still speaks to us: a lease, or the node where it has none.
    pub(super) fn is_pulse(&self, topic: &Topic) -> bool {
        let has_lease = |name: &str| {
            let lease = self.topics.get(&Topic::Lease(name.to_owned()));
            lease.is_some_and(|entry| entry.lease.is_some() && entry.blind.is_none() && entry.refused.is_none())
        };
        match topic {
            Topic::Lease(name) => has_lease(name),
            Topic::Node(name) => !has_lease(name),
            Topic::Workload { .. } | Topic::Pods { .. } | Topic::Claim { .. } => false,
        }
    }

    pub(super) fn facts(&self, target: usize, at: Moment) -> Facts {
        let Target { container, .. } = &self.targets[target];
        let memory = &self.memories[target];
        let pods_topic = self.pods_topic(target);
        let entry = pods_topic.as_ref().and_then(|topic| self.topics.get(topic));
        let pods = match entry {
            None => Seen::NotYet,
            Some(entry) => match entry.state() {
                Seen::Blind(why) => Seen::Blind(why),
                Seen::NotYet => Seen::NotYet,
                Seen::Missing | Seen::Removed | Seen::Is(()) => {
                    Seen::Is(self.pods(target).into_iter().map(|pod| memory.recall(pod, at)).collect())
                }
            },
        };
        let mut names: BTreeSet<&String> = self.pods(target).into_iter().filter_map(|pod| pod.node.as_ref()).collect();
        names.extend(memory.gone.as_ref().and_then(|gone| gone.pod.node.as_ref()));
        Facts {
            named: self.targets[target].to_string(),
            workload: workload_topic(&self.targets[target]).map(|topic| self.workload(&topic)),
            pods,
            container: container.clone(),
            nodes: names.into_iter().map(|name| self.node(name, at)).collect(),
            claims: self.claims(target),
            gone: memory.gone.clone(),
            shared_with: self.shared_with(target),
            changing_since: memory.changing_since.map(|since| at.wall_at(since)),
        }
    }

    fn workload(&self, topic: &Topic) -> Seen<Workload> {
        let Some(entry) = self.topics.get(topic) else { return Seen::NotYet };
        entry.state().with(entry.only(What::workload).map(|(workload, _)| workload.clone()))
    }

    fn node(&self, name: &str, at: Moment) -> Node {
        let object = self
            .topics
            .get(&Topic::Node(name.to_owned()))
            .map_or(Seen::NotYet, |entry| entry.state().with(entry.only(What::node).cloned()));
        let lease = self.topics.get(&Topic::Lease(name.to_owned())).map_or(Seen::NotYet, |entry| {
            let lease = entry.lease.as_ref().map(|renewal| Lease {
                changed_at: at.wall_at(renewal.changed_at),
                seen_alive: renewal.seen_alive,
                duration: renewal.duration,
                skew: renewal.skew,
            });
            entry.state().with(lease)
        });
        Node { name: name.to_owned(), object, lease }
    }

    fn claims(&self, target: usize) -> Vec<Claim> {
        let namespace = &self.targets[target].namespace;
        let names: BTreeSet<&String> = self.pods(target).into_iter().flat_map(|pod| &pod.claims).collect();
        let state = |name: &str| {
            let topic = Topic::Claim { namespace: namespace.clone(), name: name.to_owned() };
            let Some(entry) = self.topics.get(&topic) else { return ClaimState::Unknown };
            match entry.state() {
                Seen::NotYet | Seen::Blind(_) => ClaimState::Unknown,
                Seen::Missing | Seen::Removed => ClaimState::Missing,
                Seen::Is(()) => entry.only(What::claim).unwrap_or(ClaimState::Unknown),
            }
        };
        names.into_iter().map(|name| Claim { name: name.clone(), state: state(name) }).collect()
    }

    fn shared_with(&self, target: usize) -> Vec<String> {
        let ours: BTreeSet<&str> = self.pods(target).into_iter().map(|pod| pod.uid.as_str()).collect();
        if ours.is_empty() {
            return Vec::new();
        }
        let others = (0..self.targets.len()).filter(|other| *other != target);
        let sharing = others.filter(|other| self.pods(*other).iter().any(|pod| ours.contains(pod.uid.as_str())));
        sharing.map(|other| self.targets[other].validator.to_string()).collect()
    }

    /// The selector of its pods: the one written down, or that of its workload, also of one that is gone.
    fn selector(&self, target: usize) -> Option<String> {
        match &self.targets[target].named {
            Named::Selector(selector) => Some(selector.clone()),
            Named::Workload { .. } => self.memories[target].selector.clone(),
        }
    }

    fn pods_topic(&self, target: usize) -> Option<Topic> {
        let namespace = self.targets[target].namespace.clone();
        Some(Topic::Pods { namespace, selector: self.selector(target)? })
    }

    /// Its pods: those that match and, if a workload is named, are that workload's.
    fn pods(&self, target: usize) -> Vec<&Pod> {
        let Some(entry) = self.pods_topic(target).and_then(|topic| self.topics.get(&topic)) else { return Vec::new() };
        entry.items.values().filter_map(|item| pod_of(&self.targets[target], item)).collect()
    }

    /// Remembers pods that went, and how their nodes were at that moment.
    fn bury(&mut self, topic: &Topic, gone: &[Item], at: Moment) {
        for target in 0..self.targets.len() {
            if self.pods_topic(target).as_ref() != Some(topic) {
                continue;
            }
            let ours = gone.iter().filter_map(|item| pod_of(&self.targets[target], item)).next_back();
            let Some(pod) = ours.cloned() else { continue };
            // A successor that never stood anywhere says nothing about why the last one that did has gone. A drain that
            // asks twice takes it away as well.
            if pod.node.is_none() && self.memories[target].gone.is_some() {
                continue;
            }
            let node = pod.node.as_ref().map(|name| self.node(name, at));
            let node_was_cordoned = node.as_ref().is_some_and(Node::is_cordoned);
            let node_was_sick = node.is_some_and(|node| kube::is_sick(&node, at.wall));
            self.memories[target].gone = Some(kube::GonePod { pod, at: at.wall, node_was_sick, node_was_cordoned });
        }
    }

    /// Brings every memory up to what is known now.
    fn remember(&mut self, at: Moment) {
        for target in 0..self.targets.len() {
            let workload = workload_topic(&self.targets[target]).and_then(|topic| {
                let (workload, selector) = self.topics.get(&topic)?.only(What::workload)?;
                Some((workload.unproven, selector.clone()))
            });
            let pods: Vec<Pod> = self.pods(target).into_iter().cloned().collect();
            self.memories[target].update(workload, &pods, at.mono);
            // Watches are not in step: that the node was closed is often heard after its pod has gone.
            let left = self.memories[target].gone.as_ref().and_then(|gone| gone.pod.node.clone());
            let cordoned = left.is_some_and(|name| self.node(&name, at).is_cordoned());
            if let Some(gone) = &mut self.memories[target].gone {
                gone.node_was_cordoned |= cordoned;
            }
        }
    }
}

fn workload_topic(target: &Target) -> Option<Topic> {
    match &target.named {
        Named::Selector(_) => None,
        Named::Workload { kind, name } => {
            Some(Topic::Workload { kind: *kind, namespace: target.namespace.clone(), name: name.clone() })
        }
    }
}

/// The pod, if it is this target's. A deployment's pods belong to a replica set, whose name is the deployment's and a
/// hash.
fn pod_of<'a>(target: &Target, item: &'a Item) -> Option<&'a Pod> {
    let (pod, owner) = item.what.pod()?;
    let ours = match (&target.named, owner) {
        (Named::Selector(_), _) => true,
        (Named::Workload { kind: Kind::StatefulSet, name }, Some(Owner { kind, name: owner })) => {
            kind == "StatefulSet" && owner == name
        }
        (Named::Workload { kind: Kind::Deployment, name }, Some(Owner { kind, name: owner })) => {
            let hash = owner.strip_prefix(name.as_str()).and_then(|rest| rest.strip_prefix('-'));
            kind == "ReplicaSet" && hash.is_some_and(|hash| !hash.is_empty() && !hash.contains('-'))
        }
        (Named::Workload { .. }, None) => false,
    };
    ours.then_some(pod)
}
