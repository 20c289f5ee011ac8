//! Machines: made, looked at, deleted. What changes one that exists is in [`super::changes`].

use std::collections::{BTreeMap, BTreeSet};

use http::StatusCode;
use serde_json::{Value, json};

use super::{
    Answer,
    disks::{self, Conflict},
    fault::Fault,
    guest,
    operation::{self, Then},
    quota,
    routes::{Call, invalid, missing},
    scheduling,
    serial::Port,
    timestamp,
    world::{FakeMachine, World},
};

/// All keys and values together: 512 KB.
const METADATA_LIMIT: usize = 512 << 10;

pub(super) fn is_name(name: &str) -> bool {
    (1..=63).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && !name.ends_with('-')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

/// What is wrong with a machine that is asked for, as a message for a 400.
fn check(zone: &str, name: &str, instance: &Value) -> Result<(), String> {
    if !is_name(name) {
        return Err(format!("Invalid value for field 'resource.name': '{name}'"));
    }
    let machine_type = instance["machineType"].as_str().unwrap_or_default();
    if !machine_type.contains(&format!("zones/{zone}/machineTypes/")) {
        return Err(format!("Invalid value for field 'resource.machineType': '{machine_type}'"));
    }
    if instance["disks"].as_array().is_none_or(Vec::is_empty) {
        return Err("Invalid value for field 'resource.disks': '[]'. No disks are specified".into());
    }
    check_metadata(&instance["metadata"])?;
    scheduling::check(&instance["scheduling"])
}

/// Google's limits: of a key, of a value, and of all of them.
pub(super) fn check_metadata(metadata: &Value) -> Result<(), String> {
    let mut keys = BTreeSet::new();
    let mut size = 0;
    for item in metadata["items"].as_array().into_iter().flatten() {
        let (key, value) = (item["key"].as_str().unwrap_or_default(), item["value"].as_str().unwrap_or_default());
        if !guest::is_name(key) || !keys.insert(key) {
            return Err(format!("Invalid value for field 'resource.metadata.items.key': '{key}'"));
        }
        if value.len() > guest::VALUE_LIMIT {
            return Err(format!("Metadata value for key '{key}' is too large: maximum is 262144 characters"));
        }
        size += key.len() + value.len();
    }
    if size >= METADATA_LIMIT {
        return Err(format!("Metadata of {size} bytes is too large: maximum is {METADATA_LIMIT}"));
    }
    Ok(())
}

pub(super) fn insert(world: &mut World, call: &Call<'_>, rest: &[&str], fault: Option<&Fault>) -> Answer {
    let zone = rest[1];
    if let Some(answer) = operation::again(world, call) {
        return answer;
    }
    let Ok(mut instance) = serde_json::from_slice::<Value>(call.body) else { return invalid("not JSON") };
    let name = instance["name"].as_str().unwrap_or_default().to_owned();
    if let Err(message) = check(zone, &name, &instance) {
        return invalid(&message);
    }
    if world.find(zone, &name).is_some() {
        return exists(call, zone, &format!("instances/{name}"));
    }
    let conflict = disks::conflict(world, zone, &name, &instance);
    if let Some(Conflict::Exists(disk)) = &conflict {
        return exists(call, zone, &format!("disks/{disk}"));
    }
    let then = end(world, zone, &instance, fault, conflict);
    let id = world.id();
    complete(world, call, zone, &name, id, &mut instance);
    if !matches!(then, Then::Fail { .. }) {
        // What fails has made no disk.
        disks::attach(world, call, zone, &name, &mut instance);
    } else {
        instance["disks"] = json!([]);
    }
    world.machines.push(FakeMachine {
        id,
        name: name.clone(),
        zone: zone.to_owned(),
        json: instance,
        attributes: BTreeMap::new(),
        guest_writes: Vec::new(),
        metadata_fault: None,
        console: Port::default(),
        stops_at: None,
        boots: 0,
        hidden_for: if let Some(Fault::Late(lists)) = fault { *lists } else { 0 },
    });
    operation::begin_for(world, call, call.target(zone, &name), "insert", fault, then)
}

/// How the creation will end: failures stand in the operation, not in the call.
fn end(world: &World, zone: &str, wanted: &Value, fault: Option<&Fault>, conflict: Option<Conflict>) -> Then {
    if fault == Some(&Fault::OutOfStock) {
        let message = "The zone does not have enough resources available to fulfill the request.".into();
        return Then::Fail { code: "ZONE_RESOURCE_POOL_EXHAUSTED", message };
    }
    if fault == Some(&Fault::Quota) {
        return Then::Fail { code: "QUOTA_EXCEEDED", message: "Quota 'CPUS' exceeded. Limit: 8.0 in region.".into() };
    }
    if let Some(Conflict::InUse(disk)) = conflict {
        let message = format!("The disk resource '{disk}' is already being used by another machine");
        return Then::Fail { code: "RESOURCE_IN_USE_BY_ANOTHER_RESOURCE", message };
    }
    match quota::exceeded(world, zone, wanted) {
        Some(message) => Then::Fail { code: "QUOTA_EXCEEDED", message },
        None => Then::Run,
    }
}

pub(super) fn exists(call: &Call<'_>, zone: &str, what: &str) -> Answer {
    let message = format!("The resource 'projects/{}/zones/{zone}/{what}' already exists", call.project);
    Answer::error(StatusCode::CONFLICT, "alreadyExists", &message)
}

fn complete(world: &mut World, call: &Call<'_>, zone: &str, name: &str, id: u64, instance: &mut Value) {
    let machine_type = instance["machineType"].as_str().and_then(|url| url.rsplit('/').next()).unwrap_or_default();
    let added = json!({
        "kind": "compute#instance",
        "id": id.to_string(),
        "creationTimestamp": timestamp(call.now),
        "status": "PROVISIONING",
        "zone": world.link(call.project, &format!("zones/{zone}")),
        "machineType": world.link(call.project, &format!("zones/{zone}/machineTypes/{machine_type}")),
        "selfLink": world.link(call.project, &format!("zones/{zone}/instances/{name}")),
        "labelFingerprint": world.fingerprint(),
        "fingerprint": world.fingerprint(),
        "cpuPlatform": "Unknown CPU Platform",
        "startRestricted": false,
    });
    for (key, value) in added.as_object().into_iter().flatten() {
        instance[key] = value.clone();
    }
    for part in ["metadata", "tags"] {
        instance[part]["fingerprint"] = json!(world.fingerprint());
    }
}

pub(super) fn get(world: &mut World, _call: &Call<'_>, rest: &[&str], _fault: Option<&Fault>) -> Answer {
    match world.find(rest[1], rest[3]) {
        Some(machine) if machine.hidden_for == 0 => Answer::ok("Instance", machine.json.clone()),
        _ => missing(&rest.join("/")),
    }
}

pub(super) fn delete(world: &mut World, call: &Call<'_>, rest: &[&str], fault: Option<&Fault>) -> Answer {
    if let Some(answer) = operation::again(world, call) {
        return answer;
    }
    match world.find(rest[1], rest[3]) {
        None => return missing(&rest.join("/")),
        Some(machine) if machine.json["deletionProtection"] == true => {
            let message = "Invalid resource usage: 'Resource cannot be deleted if it's protected against deletion.'";
            return Answer::error(StatusCode::BAD_REQUEST, "invalidResourceUsage", message);
        }
        Some(machine) => machine.json["status"] = json!("STOPPING"),
    }
    operation::begin(world, call, rest, "delete", fault, Then::Remove)
}
