//! What stands around machines: zones, machine types, regions with their quotas, images, and who may do what.

use axum::body::Bytes;
use serde_json::{Value, json};

use super::{
    Answer,
    fault::Fault,
    quota,
    routes::{Call, missing},
    world::World,
};

pub(super) fn zone(world: &mut World, call: &Call<'_>, rest: &[&str], _fault: Option<&Fault>) -> Answer {
    let link = world.link(call.project, &rest.join("/"));
    Answer::ok("Zone", json!({"kind": "compute#zone", "name": rest[1], "status": "UP", "selfLink": link}))
}

pub(super) fn machine_type(_world: &mut World, _call: &Call<'_>, rest: &[&str], _fault: Option<&Fault>) -> Answer {
    match quota::cpus(rest[3]) {
        None => missing(&rest.join("/")),
        Some(cpus) => {
            let kind = "compute#machineType";
            Answer::ok("MachineType", json!({"kind": kind, "name": rest[3], "guestCpus": cpus, "zone": rest[1]}))
        }
    }
}

pub(super) fn region(world: &mut World, _call: &Call<'_>, rest: &[&str], _fault: Option<&Fault>) -> Answer {
    let quotas = quota::shown(world, rest[1]);
    Answer::ok("Region", json!({"kind": "compute#region", "name": rest[1], "status": "UP", "quotas": quotas}))
}

pub(super) fn image(_world: &mut World, _call: &Call<'_>, rest: &[&str], _fault: Option<&Fault>) -> Answer {
    let name = format!("{}-v20261101", rest[3]);
    Answer::ok("Image", json!({"kind": "compute#image", "name": name, "family": rest[3], "status": "READY"}))
}

pub(super) fn permissions(world: &mut World, body: &Bytes) -> Answer {
    let asked: Value = serde_json::from_slice(body).unwrap_or_default();
    let withheld = [
        "setDeletionProtection",
        "setDiskAutoDelete",
        "setName",
        "setScheduling",
        "setServiceAccount",
        "createSnapshot",
    ];
    let granted = asked["permissions"].as_array().into_iter().flatten().filter(|permission| {
        let name = permission.as_str().unwrap_or_default();
        !world.denied.contains(name) && !withheld.iter().any(|end| name.ends_with(end))
    });
    Answer::ok("", json!({"permissions": granted.collect::<Vec<_>>()}))
}
