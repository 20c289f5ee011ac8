//! Changes to a machine that exists. Each is done when its operation has ended, not when it was asked for.

use http::StatusCode;
use serde_json::Value;

use super::{
    Answer,
    fault::Fault,
    instances,
    operation::{self, Change, Then},
    routes::{Call, invalid, missing},
    scheduling,
    world::World,
};

pub(super) fn set_labels(world: &mut World, call: &Call<'_>, rest: &[&str], fault: Option<&Fault>) -> Answer {
    let Ok(body) = serde_json::from_slice::<Value>(call.body) else { return invalid("not JSON") };
    let Some(machine) = world.find(rest[1], rest[3]) else { return missing(&rest.join("/")) };
    let expected = body["labelFingerprint"].clone();
    if expected != machine.json["labelFingerprint"] {
        let message = "Labels fingerprint either invalid or resource labels have changed";
        return Answer::error(StatusCode::PRECONDITION_FAILED, "conditionNotMet", message);
    }
    let change = Change::Labels { expected, labels: body["labels"].clone() };
    operation::begin(world, call, rest, "setLabels", fault, Then::Change(change))
}

pub(super) fn set_deletion_protection(
    world: &mut World,
    call: &Call<'_>,
    rest: &[&str],
    fault: Option<&Fault>,
) -> Answer {
    if world.find(rest[1], rest[3]).is_none() {
        return missing(&rest.join("/"));
    }
    let on = call.query.get("deletionProtection").is_none_or(|value| value == "true");
    operation::begin(world, call, rest, "setDeletionProtection", fault, Then::Change(Change::DeletionProtection(on)))
}

/// Only of a machine that is stopped, as Google's reference says of this method.
pub(super) fn set_scheduling(world: &mut World, call: &Call<'_>, rest: &[&str], fault: Option<&Fault>) -> Answer {
    let Ok(body) = serde_json::from_slice::<Value>(call.body) else { return invalid("not JSON") };
    let Some(machine) = world.find(rest[1], rest[3]) else { return missing(&rest.join("/")) };
    if machine.status() != "TERMINATED" {
        let message = format!(
            "Invalid resource usage: 'The instance is {}; its scheduling can be changed only when it is TERMINATED.'",
            machine.status()
        );
        return Answer::error(StatusCode::BAD_REQUEST, "invalidResourceUsage", &message);
    }
    if let Err(message) = scheduling::check(&body) {
        return invalid(&message);
    }
    operation::begin(world, call, rest, "setScheduling", fault, Then::Change(Change::Scheduling(body)))
}

/// Of one disk, by the name that the machine knows it under.
pub(super) fn set_disk_auto_delete(world: &mut World, call: &Call<'_>, rest: &[&str], fault: Option<&Fault>) -> Answer {
    let Some(machine) = world.find(rest[1], rest[3]) else { return missing(&rest.join("/")) };
    let (Some(device), Some(on)) = (call.query.get("deviceName"), call.query.get("autoDelete")) else {
        let message = "Required parameters: 'deviceName' and 'autoDelete'";
        return Answer::error(StatusCode::BAD_REQUEST, "required", message);
    };
    let disks = machine.json["disks"].as_array();
    if !disks.into_iter().flatten().any(|disk| disk["deviceName"] == device.as_str()) {
        return invalid(&format!("No attached disk found with device name '{device}'"));
    }
    let change = Change::AutoDelete { device: device.clone(), on: on == "true" };
    operation::begin(world, call, rest, "setDiskAutoDelete", fault, Then::Change(change))
}

/// All of the metadata at once: what is not in the body is gone.
pub(super) fn set_metadata(world: &mut World, call: &Call<'_>, rest: &[&str], fault: Option<&Fault>) -> Answer {
    let Ok(body) = serde_json::from_slice::<Value>(call.body) else { return invalid("not JSON") };
    if let Err(message) = instances::check_metadata(&body) {
        return invalid(&message);
    }
    replace(world, call, rest, fault, ("setMetadata", "metadata"), &body)
}

pub(super) fn set_tags(world: &mut World, call: &Call<'_>, rest: &[&str], fault: Option<&Fault>) -> Answer {
    let Ok(body) = serde_json::from_slice::<Value>(call.body) else { return invalid("not JSON") };
    for tag in body["items"].as_array().into_iter().flatten() {
        if !tag.as_str().is_some_and(instances::is_name) {
            return invalid(&format!("Invalid value for field 'items': '{tag}'. Must be a match of RFC 1035"));
        }
    }
    replace(world, call, rest, fault, ("setTags", "tags"), &body)
}

/// A part of the machine that has a fingerprint of its own: it is replaced as a whole, and only what was read before.
fn replace(
    world: &mut World,
    call: &Call<'_>,
    rest: &[&str],
    fault: Option<&Fault>,
    (kind, field): (&'static str, &'static str),
    body: &Value,
) -> Answer {
    let Some(machine) = world.find(rest[1], rest[3]) else { return missing(&rest.join("/")) };
    let expected = body["fingerprint"].clone();
    if expected != machine.json[field]["fingerprint"] {
        let message = format!("Supplied fingerprint does not match current {field} fingerprint.");
        return Answer::error(StatusCode::PRECONDITION_FAILED, "conditionNotMet", &message);
    }
    let items = body["items"].clone();
    operation::begin(world, call, rest, kind, fault, Then::Change(Change::Items { field, expected, items }))
}

/// Only of a machine that is stopped (Google's *Rename a VM*), under a name that nothing else in the zone has.
pub(super) fn set_name(world: &mut World, call: &Call<'_>, rest: &[&str], fault: Option<&Fault>) -> Answer {
    let Ok(body) = serde_json::from_slice::<Value>(call.body) else { return invalid("not JSON") };
    let name = body["name"].as_str().unwrap_or_default().to_owned();
    let Some(machine) = world.find(rest[1], rest[3]) else { return missing(&rest.join("/")) };
    if !instances::is_name(&name) {
        return invalid(&format!("Invalid value for field 'name': '{name}'. Must be a match of RFC 1035"));
    }
    if body["currentName"] != machine.name.as_str() {
        let message = format!("The current name of the instance is '{}', not {}.", machine.name, body["currentName"]);
        return Answer::error(StatusCode::PRECONDITION_FAILED, "conditionNotMet", &message);
    }
    if machine.status() != "TERMINATED" {
        let message = format!(
            "Invalid resource usage: 'The instance is {}; it can be renamed only when it is TERMINATED.'",
            machine.status()
        );
        return Answer::error(StatusCode::BAD_REQUEST, "invalidResourceUsage", &message);
    }
    if world.find(rest[1], &name).is_some() {
        return instances::exists(call, rest[1], &format!("instances/{name}"));
    }
    operation::begin(world, call, rest, "setName", fault, Then::Change(Change::Name(name)))
}
