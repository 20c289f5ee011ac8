//! Disks: made with a machine, or found standing there.
//!
//! The trap is Google's own: a `diskName` that exists is attached as it is, with whatever is on it, and no new disk is
//! made. Without a `diskName` the disk is named after the machine, and one of that name that exists is a conflict.

use serde_json::{Value, json};

use super::{
    Answer,
    fault::Fault,
    routes::{Call, missing},
    timestamp,
    world::World,
};

/// Why a machine's disks cannot be had.
pub(super) enum Conflict {
    /// 409: a disk of this name exists.
    Exists(String),
    /// The operation fails: the disk is attached to another machine.
    InUse(String),
}

/// What the disk will be called, and whether somebody asked for exactly that.
fn name_of(disk: &Value, machine: &str, index: usize) -> (String, bool) {
    match disk["initializeParams"]["diskName"].as_str() {
        Some(name) => (name.to_owned(), true),
        None if index == 0 => (machine.to_owned(), false),
        None => (format!("{machine}-{index}"), false),
    }
}

/// Looks at the disks of a machine that is asked for.
pub(super) fn conflict(world: &World, zone: &str, machine: &str, wanted: &Value) -> Option<Conflict> {
    for (index, disk) in wanted["disks"].as_array().into_iter().flatten().enumerate() {
        let (name, asked_for) = name_of(disk, machine, index);
        if !world.disks.contains_key(&(zone.to_owned(), name.clone())) {
            continue;
        }
        if !asked_for {
            return Some(Conflict::Exists(name));
        }
        if is_attached(world, zone, &name) {
            return Some(Conflict::InUse(name));
        }
    }
    None
}

fn is_attached(world: &World, zone: &str, name: &str) -> bool {
    let here = |disk: &Value| disk["source"].as_str().and_then(|source| source.rsplit('/').next()) == Some(name);
    let mut machines = world.machines.iter().filter(|machine| machine.zone == zone);
    machines.any(|machine| machine.json["disks"].as_array().into_iter().flatten().any(here))
}

/// A disk is made for each, unless one of the name asked for stands there: then that one is attached, as it is.
pub(super) fn attach(world: &mut World, call: &Call<'_>, zone: &str, machine: &str, instance: &mut Value) {
    let count = instance["disks"].as_array().map_or(0, Vec::len);
    for index in 0..count {
        let (name, _) = name_of(&instance["disks"][index], machine, index);
        let initialize = instance["disks"][index]["initializeParams"].clone();
        let source = make(world, call, zone, &name, &initialize);
        let attached = &mut instance["disks"][index];
        attached["kind"] = json!("compute#attachedDisk");
        attached["source"] = json!(source);
        attached["index"] = json!(index);
        if attached["deviceName"].is_null() {
            attached["deviceName"] = json!(format!("persistent-disk-{index}"));
        }
        attached["mode"] = json!("READ_WRITE");
        attached["type"] = json!("PERSISTENT");
        // Initial parameters are only for the request.
        if let Some(attached) = attached.as_object_mut() {
            attached.remove("initializeParams");
        }
    }
}

/// Makes the disk if it does not stand there; its link in any case.
fn make(world: &mut World, call: &Call<'_>, zone: &str, name: &str, initialize: &Value) -> String {
    let link = world.link(call.project, &format!("zones/{zone}/disks/{name}"));
    let key = (zone.to_owned(), name.to_owned());
    if !world.disks.contains_key(&key) {
        let kind = initialize["diskType"].as_str().and_then(|kind| kind.rsplit('/').next()).unwrap_or("pd-standard");
        let mut disk = json!({
            "kind": "compute#disk",
            "id": world.id().to_string(),
            "name": name,
            "creationTimestamp": timestamp(call.now),
            "sizeGb": size(initialize).to_string(),
            "status": "READY",
            "type": world.link(call.project, &format!("zones/{zone}/diskTypes/{kind}")),
            "zone": world.link(call.project, &format!("zones/{zone}")),
            "selfLink": link,
        });
        if initialize["labels"].is_object() {
            disk["labels"] = initialize["labels"].clone();
        }
        world.disks.insert(key, disk);
    }
    link
}

/// In gigabytes, of a disk or of the parameters of one. Debian's image has 10.
pub(super) fn size(disk: &Value) -> f64 {
    let size = if disk["sizeGb"].is_null() { &disk["diskSizeGb"] } else { &disk["sizeGb"] };
    size.as_f64().or_else(|| size.as_str()?.parse().ok()).unwrap_or(10.0)
}

/// Which quota it counts for. pd-balanced counts as SSD; what is neither has quotas of its own, not kept here.
pub(super) fn metric(disk: &Value) -> Option<&'static str> {
    let kind = disk["type"].as_str().or_else(|| disk["diskType"].as_str()).unwrap_or("pd-standard");
    match kind.rsplit('/').next().unwrap_or_default() {
        "pd-standard" => Some("DISKS_TOTAL_GB"),
        "pd-balanced" | "pd-ssd" => Some("SSD_TOTAL_GB"),
        _ => None,
    }
}

pub(super) fn get(world: &mut World, _call: &Call<'_>, rest: &[&str], _fault: Option<&Fault>) -> Answer {
    let found = world.disks.get(&(rest[1].to_owned(), rest[3].to_owned()));
    found.map_or_else(|| missing(&rest.join("/")), |disk| Answer::ok("Disk", disk.clone()))
}
