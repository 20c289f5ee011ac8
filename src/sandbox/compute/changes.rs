//! Changes to a machine that exists. Each is done when its operation has ended, not when it was asked for.

use http::StatusCode;
use serde_json::{Value, json};

use super::{
    Answer,
    fault::Fault,
    operation::{self, Change, Then},
    quota,
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

pub(super) fn stop(world: &mut World, call: &Call<'_>, rest: &[&str], fault: Option<&Fault>) -> Answer {
    let Some(machine) = world.find(rest[1], rest[3]) else { return missing(&rest.join("/")) };
    if machine.status() == "RUNNING" {
        machine.json["status"] = json!("STOPPING");
    }
    operation::begin(world, call, rest, "stop", fault, Then::Stop)
}

/// The reset button. Of a machine that does not run it is an error.
pub(super) fn reset(world: &mut World, call: &Call<'_>, rest: &[&str], fault: Option<&Fault>) -> Answer {
    let Some(machine) = world.find(rest[1], rest[3]) else { return missing(&rest.join("/")) };
    if machine.status() != "RUNNING" {
        let message = format!("The resource is {} and cannot be reset", machine.status());
        return Answer::error(StatusCode::BAD_REQUEST, "resourceNotReady", &message);
    }
    operation::begin(world, call, rest, "reset", fault, Then::Reset)
}

pub(super) fn start(world: &mut World, call: &Call<'_>, rest: &[&str], fault: Option<&Fault>) -> Answer {
    let Some(machine) = world.find(rest[1], rest[3]) else { return missing(&rest.join("/")) };
    if machine.status() != "TERMINATED" {
        let message = format!("The resource is {} and cannot be started", machine.status());
        return Answer::error(StatusCode::BAD_REQUEST, "resourceNotReady", &message);
    }
    let json = machine.json.clone();
    if let Some(message) = quota::exceeded_by_start(world, rest[1], &json) {
        return Answer::error(StatusCode::FORBIDDEN, "quotaExceeded", &message);
    }
    if let Some(machine) = world.find(rest[1], rest[3]) {
        machine.json["status"] = json!("STAGING");
    }
    operation::begin(world, call, rest, "start", fault, Then::Run)
}
