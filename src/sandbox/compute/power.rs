//! The power button of a machine: stopped, reset, started.

use http::StatusCode;
use serde_json::json;

use super::{
    Answer,
    fault::Fault,
    operation::{self, Then},
    quota,
    routes::{Call, missing},
    world::World,
};

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
    // Want of capacity stands in the operation, and leaves the machine stopped.
    let then = match fault {
        Some(Fault::OutOfStock) => {
            let message = "The zone does not have enough resources available to fulfill the request.".into();
            Then::StayStopped { code: "ZONE_RESOURCE_POOL_EXHAUSTED", message }
        }
        Some(Fault::Ends) => Then::RunAndEnd,
        Some(_) | None => Then::Run,
    };
    operation::begin(world, call, rest, "start", fault, then)
}
