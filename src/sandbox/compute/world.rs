//! The state: machines, disks, operations, and what the passing of time does to them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{
    fault::{Fault, Faults},
    timestamp,
};
use crate::domain::{Span, Time};

/// A machine, with its resource as Google shows it.
#[derive(Clone, Debug)]
pub struct FakeMachine {
    /// Its name.
    pub name: String,
    /// Its zone.
    pub zone: String,
    /// The `Instance` resource.
    pub json: Value,
    pub(super) attributes: BTreeMap<String, String>,
    pub(super) stops_at: Option<Time>,
    /// Lists that still do not show it.
    pub(super) hidden_for: u32,
}

impl FakeMachine {
    /// One of its labels.
    #[must_use]
    pub fn label(&self, key: &str) -> &str {
        self.json["labels"][key].as_str().unwrap_or_default()
    }

    /// PROVISIONING, RUNNING, TERMINATED …
    #[must_use]
    pub fn status(&self) -> &str {
        self.json["status"].as_str().unwrap_or_default()
    }
}

#[derive(Clone, Debug)]
pub(super) struct Operation {
    pub(super) json: Value,
    pub(super) ends_at: Time,
    pub(super) then: Then,
}

/// Which machine an operation is about.
#[derive(Clone, Copy)]
pub(super) struct Target<'a> {
    pub(super) project: &'a str,
    pub(super) zone: &'a str,
    pub(super) name: &'a str,
}

/// What an operation does when it ends.
#[derive(Clone, Debug)]
pub(super) enum Then {
    Run(String),
    Fail { name: String, code: &'static str, message: &'static str },
    Remove(String),
    Nothing,
}

pub(super) struct World {
    pub(super) url: String,
    pub(super) zones: BTreeSet<String>,
    unreachable: BTreeSet<String>,
    pub(super) machines: Vec<FakeMachine>,
    /// Disks by zone and name, with the machine they are attached to.
    pub(super) disks: BTreeMap<(String, String), Value>,
    pub(super) operations: BTreeMap<String, Operation>,
    pub(super) requests: BTreeMap<String, String>,
    pub(super) faults: Faults,
    pub(super) denied: BTreeSet<String>,
    operation_time: Span,
    next_id: u64,
}

impl World {
    pub(super) fn new(url: String, zones: &[&str], operation_time: Span) -> Self {
        Self {
            url,
            zones: zones.iter().map(|zone| (*zone).to_owned()).collect(),
            unreachable: BTreeSet::new(),
            machines: Vec::new(),
            disks: BTreeMap::new(),
            operations: BTreeMap::new(),
            requests: BTreeMap::new(),
            faults: Faults::default(),
            denied: BTreeSet::new(),
            operation_time,
            next_id: 4_611_686_018_427_387_904,
        }
    }

    pub(super) fn set_reachable(&mut self, zone: &str, reachable: bool) {
        if reachable {
            self.unreachable.remove(zone);
        } else {
            self.unreachable.insert(zone.to_owned());
        }
    }

    pub(super) fn unreachable(&self) -> Option<&String> {
        self.unreachable.first()
    }

    pub(super) fn is_unreachable(&self, zone: &str) -> bool {
        self.unreachable.contains(zone)
    }

    pub(super) fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    pub(super) fn link(&self, project: &str, rest: &str) -> String {
        format!("{}/compute/v1/projects/{project}/{rest}", self.url)
    }

    /// Lets time pass: operations end, fuses burn.
    pub(super) fn advance(&mut self, now: Time) {
        let due: Vec<String> = self
            .operations
            .iter()
            .filter(|(_, operation)| operation.json["status"] != "DONE" && operation.ends_at <= now)
            .map(|(name, _)| name.clone())
            .collect();
        for name in due {
            self.end(&name, now);
        }
        for machine in &mut self.machines {
            if machine.status() == "RUNNING" && machine.stops_at.is_some_and(|at| at <= now) {
                machine.json["status"] = json!("TERMINATED");
                machine.json["lastStopTimestamp"] = json!(timestamp(now));
            }
        }
    }

    fn end(&mut self, operation: &str, now: Time) {
        let Some(found) = self.operations.get_mut(operation) else { return };
        found.json["status"] = json!("DONE");
        found.json["progress"] = json!(100);
        found.json["endTime"] = json!(timestamp(now));
        match found.then.clone() {
            Then::Run(name) => {
                if let Some(machine) = self.machines.iter_mut().find(|machine| machine.name == name) {
                    machine.json["status"] = json!("RUNNING");
                    machine.json["lastStartTimestamp"] = json!(timestamp(now));
                    let seconds = machine.json["scheduling"]["maxRunDuration"]["seconds"].as_str();
                    let fuse = seconds.and_then(|seconds| seconds.parse().ok()).map(Span::from_secs);
                    machine.stops_at = fuse.map(|fuse| now + fuse);
                }
            }
            Then::Fail { name, code, message } => {
                found.json["error"] = json!({"errors": [{"code": code, "message": message}]});
                let status = if code == "QUOTA_EXCEEDED" { 403 } else { 503 };
                found.json["httpErrorStatusCode"] = json!(status);
                found.json["httpErrorMessage"] = json!(message);
                self.remove(&name);
            }
            Then::Remove(name) => self.remove(&name),
            Then::Nothing => {}
        }
    }

    /// The machine goes, and every disk of it that goes with it.
    fn remove(&mut self, name: &str) {
        let Some(index) = self.machines.iter().position(|machine| machine.name == name) else { return };
        let machine = self.machines.remove(index);
        for disk in machine.json["disks"].as_array().into_iter().flatten() {
            if disk["autoDelete"] == true
                && let Some(name) = disk["source"].as_str().and_then(|source| source.rsplit('/').next())
            {
                self.disks.remove(&(machine.zone.clone(), name.to_owned()));
            }
        }
    }

    /// Begins an operation and returns its resource.
    pub(super) fn operate(
        &mut self,
        target: Target<'_>,
        kind: &str,
        fault: Option<&Fault>,
        then: Then,
        now: Time,
    ) -> Value {
        let Target { project, zone, name: target } = target;
        let id = self.id();
        let name = format!("operation-{id}");
        let duration = if let Some(Fault::Slow(duration)) = fault { *duration } else { self.operation_time };
        let target_id = self.machines.iter().find(|machine| machine.name == target);
        let target_id = target_id.map_or(json!("0"), |machine| machine.json["id"].clone());
        let json = json!({
            "kind": "compute#operation",
            "id": id.to_string(),
            "name": name,
            "operationType": kind,
            "status": "RUNNING",
            "progress": 0,
            "user": "somebody@example.org",
            "insertTime": timestamp(now),
            "startTime": timestamp(now),
            "zone": self.link(project, &format!("zones/{zone}")),
            "targetLink": self.link(project, &format!("zones/{zone}/instances/{target}")),
            "targetId": target_id,
            "selfLink": self.link(project, &format!("zones/{zone}/operations/{name}")),
        });
        let operation = Operation { json: json.clone(), ends_at: now + duration, then };
        self.operations.insert(name, operation);
        json
    }
}
