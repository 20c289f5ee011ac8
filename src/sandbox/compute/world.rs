//! The state: machines, disks, operations, and what the passing of time does to them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{
    fault::{Fault, Faults},
    metadata::MetadataFault,
    network::Network,
    operation::{Change, Operation, Target, Then},
    quota::Quotas,
    serial, timestamp,
};
use crate::domain::{Span, Time};

/// A machine, with its resource as Google shows it.
#[derive(Clone, Debug)]
pub struct FakeMachine {
    pub name: String,
    pub zone: String,
    pub json: Value,
    pub(super) id: u64,
    /// Guest attributes, by namespace and key.
    pub(super) attributes: BTreeMap<(String, String), String>,
    pub(super) guest_writes: Vec<Time>,
    pub(super) metadata_fault: Option<MetadataFault>,
    /// Its first serial port.
    pub(super) console: serial::Port,
    pub(super) stops_at: Option<Time>,
    /// How often it was powered on.
    pub(super) boots: u64,
    /// Lists that still do not show it.
    pub(super) hidden_for: u32,
}

impl FakeMachine {
    #[must_use]
    pub fn label(&self, key: &str) -> &str {
        self.json["labels"][key].as_str().unwrap_or_default()
    }

    #[must_use]
    pub fn status(&self) -> &str {
        self.json["status"].as_str().unwrap_or_default()
    }

    /// Its project, as its link has it.
    #[must_use]
    pub fn project(&self) -> &str {
        let link = self.json["selfLink"].as_str().unwrap_or_default();
        link.split("/projects/").nth(1).and_then(|rest| rest.split('/').next()).unwrap_or_default()
    }

    /// What it was given: key and value of its metadata.
    pub fn metadata(&self) -> impl Iterator<Item = (&str, &str)> {
        let items = self.json["metadata"]["items"].as_array().into_iter().flatten();
        items.filter_map(|item| Some((item["key"].as_str()?, item["value"].as_str()?)))
    }

    fn run(&mut self, now: Time) {
        self.boots += 1;
        self.json["status"] = json!("RUNNING");
        self.json["lastStartTimestamp"] = json!(timestamp(now));
        let limit = super::scheduling::max_run_duration(&self.json["scheduling"]).map(Span::from_secs);
        self.stops_at = limit.map(|limit| now + limit);
    }

    pub(super) fn stop(&mut self, now: Time) {
        self.json["status"] = json!("TERMINATED");
        self.json["lastStopTimestamp"] = json!(timestamp(now));
        self.stops_at = None;
    }
}

pub(super) struct World {
    pub(super) url: String,
    pub(super) zones: BTreeSet<String>,
    unreachable: BTreeSet<String>,
    pub(super) machines: Vec<FakeMachine>,
    pub(super) disks: BTreeMap<(String, String), Value>,
    pub(super) operations: BTreeMap<String, Operation>,
    pub(super) requests: BTreeMap<String, String>,
    pub(super) quotas: Quotas,
    pub(super) network: Network,
    pub(super) faults: Faults,
    pub(super) denied: BTreeSet<String>,
    /// Tokens with which somebody comes as the watcher.
    pub(super) watchers: BTreeSet<String>,
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
            quotas: Quotas::default(),
            network: Network::default(),
            faults: Faults::default(),
            denied: BTreeSet::new(),
            watchers: BTreeSet::new(),
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

    /// Another fingerprint than any before, in the base64 that Google writes them in.
    pub(super) fn fingerprint(&mut self) -> String {
        format!("{:010X}A=", self.id() & 0xff_ffff_ffff)
    }

    pub(super) fn link(&self, project: &str, rest: &str) -> String {
        format!("{}/compute/v1/projects/{project}/{rest}", self.url)
    }

    /// The machine of this name in this zone: names are not unique beyond a zone.
    pub(super) fn find(&mut self, zone: &str, name: &str) -> Option<&mut FakeMachine> {
        self.machines.iter_mut().find(|machine| machine.zone == zone && machine.name == name)
    }

    /// Lets time pass: operations end, machines reach their run duration.
    pub(super) fn advance(&mut self, now: Time) {
        let mut due: Vec<(Time, String)> = self
            .operations
            .iter()
            .filter(|(_, operation)| operation.json["status"] != "DONE" && operation.ends_at <= now)
            .map(|(name, operation)| (operation.ends_at, name.clone()))
            .collect();
        due.sort();
        for (_, name) in due {
            self.end(&name, now);
        }
        for machine in &mut self.machines {
            if machine.status() == "RUNNING" && machine.stops_at.is_some_and(|at| at <= now) {
                machine.stop(now);
            }
        }
    }

    fn end(&mut self, operation: &str, now: Time) {
        let Some(found) = self.operations.get_mut(operation) else { return };
        found.json["status"] = json!("DONE");
        found.json["progress"] = json!(100);
        found.json["endTime"] = json!(timestamp(now));
        let id = found.machine;
        let then = found.then.clone();
        // Somebody may have taken the machine away meanwhile; then there is nothing to do to it.
        let Some(index) = self.machines.iter().position(|machine| machine.id == id) else { return };
        match then {
            Then::Run => self.machines[index].run(now),
            Then::RunAndEnd => {
                self.machines[index].run(now);
                self.machines[index].stop(now);
            }
            Then::Stop => self.machines[index].stop(now),
            Then::Reset => self.machines[index].boots += 1,
            Then::Remove => self.remove(id),
            Then::Fail { code, message } => {
                self.fail(operation, code, &message);
                self.remove(id);
            }
            Then::StayStopped { code, message } => {
                self.machines[index].json["status"] = json!("TERMINATED");
                self.fail(operation, code, &message);
            }
            Then::Change(change) => self.change(operation, index, change),
        }
    }

    fn change(&mut self, operation: &str, index: usize, change: Change) {
        let fingerprint = self.fingerprint();
        let name = self.machines[index].name.clone();
        let machine = &mut self.machines[index].json;
        match change {
            Change::Labels { expected, labels } => {
                if machine["labelFingerprint"] != expected {
                    self.fail(operation, "CONDITION_NOT_MET", "The labels have changed since they were read.");
                    return;
                }
                machine["labels"] = labels;
                machine["labelFingerprint"] = json!(fingerprint);
            }
            Change::DeletionProtection(on) => machine["deletionProtection"] = json!(on),
            Change::Scheduling(scheduling) => machine["scheduling"] = scheduling,
            Change::AutoDelete { device, on } => {
                for disk in machine["disks"].as_array_mut().into_iter().flatten() {
                    if disk["deviceName"] == device.as_str() {
                        disk["autoDelete"] = json!(on);
                    }
                }
            }
            Change::Items { field, expected, items } => {
                if machine[field]["fingerprint"] != expected {
                    self.fail(operation, "CONDITION_NOT_MET", "It has changed since it was read.");
                    return;
                }
                machine[field] = json!({"fingerprint": fingerprint});
                if field == "metadata" {
                    machine[field]["kind"] = json!("compute#metadata");
                }
                if !items.is_null() {
                    machine[field]["items"] = items;
                }
            }
            // Its disks keep their names.
            Change::Name(new) => {
                let link = machine["selfLink"].as_str().unwrap_or_default();
                let link = link.strip_suffix(&name).map(|start| format!("{start}{new}")).unwrap_or_default();
                machine["selfLink"] = json!(link);
                machine["name"] = json!(new);
                self.machines[index].name = new;
            }
        }
    }

    fn fail(&mut self, operation: &str, code: &str, message: &str) {
        let Some(found) = self.operations.get_mut(operation) else { return };
        let status = match code {
            "QUOTA_EXCEEDED" => 403,
            "CONDITION_NOT_MET" => 412,
            "RESOURCE_IN_USE_BY_ANOTHER_RESOURCE" => 400,
            _ => 503,
        };
        found.json["error"] = json!({"errors": [{"code": code, "message": message}]});
        found.json["httpErrorStatusCode"] = json!(status);
        found.json["httpErrorMessage"] = json!(message);
    }

    /// The machine goes, and every disk of it that goes with it.
    pub(super) fn remove(&mut self, id: u64) {
        let Some(index) = self.machines.iter().position(|machine| machine.id == id) else { return };
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
        let machine = self.find(zone, target).map_or(0, |machine| machine.id);
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
            "targetId": machine.to_string(),
            "selfLink": self.link(project, &format!("zones/{zone}/operations/{name}")),
        });
        let operation = Operation { json: json.clone(), machine, ends_at: now + duration, then };
        self.operations.insert(name, operation);
        json
    }
}
