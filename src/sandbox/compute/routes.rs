//! Paths to answers. What is not here is answered with 501.

use std::collections::BTreeMap;

use axum::body::Bytes;
use http::{Method as Verb, StatusCode};
use serde_json::{Value, json};

use super::{
    Answer,
    fault::{Fault, Method},
    timestamp,
    world::{FakeMachine, Target, Then, World},
};
use crate::domain::Time;

pub(super) enum Reply {
    Answer(Answer),
    Closed,
    Hang,
}

type Query = BTreeMap<String, String>;
/// What answers one kind of path: the segments after the project, and the fault it meets.
type Route = fn(&mut World, &Call<'_>, &[&str], Option<&Fault>) -> Answer;

/// What Google's schema calls the body of a POST.
pub(super) fn request_schema(path: &str) -> Option<&'static str> {
    if path.ends_with("/instances") {
        Some("Instance")
    } else if path.ends_with("/setLabels") {
        Some("InstancesSetLabelsRequest")
    } else if path.ends_with("/setScheduling") {
        Some("Scheduling")
    } else {
        None
    }
}

pub(super) fn route(world: &mut World, verb: &Verb, path: &str, query: &str, body: &Bytes, now: Time) -> Reply {
    let query: Query = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    if let ["v3", "projects", what] = segments[..]
        && what.ends_with(":testIamPermissions")
    {
        return Reply::Answer(permissions(world, body));
    }
    let ["compute", "v1", "projects", project, rest @ ..] = &segments[..] else { return not_implemented(path) };
    let call = Call { project, query: &query, body, now };
    let (method, answer): (Option<Method>, Route) = match (verb.as_str(), rest) {
        ("POST", ["zones", _, "instances"]) => (Some(Method::Insert), insert),
        ("GET", ["aggregated", "instances"]) => (Some(Method::AggregatedList), aggregated_list),
        ("GET", ["zones", _, "instances"]) => (None, list),
        ("GET", ["zones", _, "instances", _]) => (Some(Method::Get), get),
        ("DELETE", ["zones", _, "instances", _]) => (Some(Method::Delete), delete),
        ("GET", ["zones", _, "instances", _, "getGuestAttributes"]) => {
            (Some(Method::GuestAttributes), guest_attributes)
        }
        ("POST", ["zones", _, "instances", _, "setLabels"]) => (Some(Method::SetLabels), set_labels),
        ("POST", ["zones", _, "instances", _, "setDeletionProtection"]) => (None, set_deletion_protection),
        ("POST", ["zones", _, "instances", _, "setScheduling"]) => (Some(Method::SetScheduling), set_scheduling),
        ("GET", ["zones", _, "operations", _]) => (Some(Method::Operation), operation),
        ("GET", ["zones", _]) => (None, zone),
        ("GET", ["zones", _, "machineTypes", _]) => (None, machine_type),
        ("GET", ["regions", _]) => (None, region),
        ("GET", ["global", "images", "family", _]) => (None, image),
        _ => return not_implemented(path),
    };
    let fault = method.and_then(|method| world.faults.take(method));
    if let ["zones", zone, ..] = rest {
        if !world.zones.contains(*zone) {
            return Reply::Answer(missing(&format!("zones/{zone}")));
        }
        if world.is_unreachable(zone) {
            return Reply::Answer(Answer::error(StatusCode::SERVICE_UNAVAILABLE, "backendError", "zone unreachable"));
        }
    }
    match &fault {
        Some(Fault::Drop) => return Reply::Closed,
        Some(Fault::Hang) => return Reply::Hang,
        Some(Fault::NoOperation) => return Reply::Answer(Answer::ok("Operation", json!({}))),
        Some(Fault::Status(code, reason)) => {
            let status = StatusCode::from_u16(*code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            return Reply::Answer(Answer::error(status, reason, "as the script says"));
        }
        Some(Fault::LoseReply | Fault::OutOfStock | Fault::Quota | Fault::Slow(_) | Fault::Late(_)) | None => {}
    }
    let mut answer = answer(world, &call, rest, fault.as_ref());
    answer.lost = fault == Some(Fault::LoseReply);
    Reply::Answer(answer)
}

struct Call<'a> {
    project: &'a str,
    query: &'a Query,
    body: &'a Bytes,
    now: Time,
}

impl<'a> Call<'a> {
    fn target(&self, zone: &'a str, name: &'a str) -> Target<'a> {
        Target { project: self.project, zone, name }
    }
}

fn not_implemented(path: &str) -> Reply {
    let message = format!("this fake of Compute Engine does not implement {path}");
    Reply::Answer(Answer::error(StatusCode::NOT_IMPLEMENTED, "notImplemented", &message))
}

fn missing(what: &str) -> Answer {
    Answer::error(StatusCode::NOT_FOUND, "notFound", &format!("The resource '{what}' was not found"))
}

fn invalid(message: &str) -> Answer {
    Answer::error(StatusCode::BAD_REQUEST, "invalid", message)
}

fn find<'a>(world: &'a mut World, zone: &str, name: &str) -> Option<&'a mut FakeMachine> {
    world.machines.iter_mut().find(|machine| machine.zone == zone && machine.name == name)
}

fn is_name(name: &str) -> bool {
    (1..=63).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && !name.ends_with('-')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

fn insert(world: &mut World, call: &Call<'_>, rest: &[&str], fault: Option<&Fault>) -> Answer {
    let zone = rest[1];
    let request = call.query.get("requestId").cloned();
    if let Some(known) = request.as_ref().and_then(|id| world.requests.get(id)) {
        // The same request again: the same operation, whatever has become of it.
        return world
            .operations
            .get(known)
            .map_or_else(|| missing(known), |operation| Answer::ok("Operation", operation.json.clone()));
    }
    let Ok(mut instance) = serde_json::from_slice::<Value>(call.body) else { return invalid("not JSON") };
    let name = instance["name"].as_str().unwrap_or_default().to_owned();
    if !is_name(&name) {
        return invalid(&format!("Invalid value for field 'resource.name': '{name}'"));
    }
    let machine_type = instance["machineType"].as_str().unwrap_or_default();
    if !machine_type.contains(&format!("zones/{zone}/machineTypes/")) {
        return invalid(&format!("Invalid value for field 'resource.machineType': '{machine_type}'"));
    }
    if find(world, zone, &name).is_some() {
        let what = format!("projects/{}/zones/{zone}/instances/{name}", call.project);
        let message = format!("The resource '{what}' already exists");
        return Answer::error(StatusCode::CONFLICT, "alreadyExists", &message);
    }
    complete(world, call, zone, &name, &mut instance);
    attach_disks(world, call, zone, &name, &mut instance);
    let hidden_for = if let Some(Fault::Late(lists)) = fault { *lists } else { 0 };
    world.machines.push(FakeMachine {
        name: name.clone(),
        zone: zone.to_owned(),
        json: instance,
        attributes: BTreeMap::new(),
        stops_at: None,
        hidden_for,
    });
    let then = match fault {
        Some(Fault::OutOfStock) => Then::Fail {
            name: name.clone(),
            code: "ZONE_RESOURCE_POOL_EXHAUSTED",
            message: "The zone does not have enough resources available to fulfill the request.",
        },
        Some(Fault::Quota) => Then::Fail {
            name: name.clone(),
            code: "QUOTA_EXCEEDED",
            message: "Quota 'CPUS' exceeded. Limit: 8.0 in region.",
        },
        _ => Then::Run(name.clone()),
    };
    let mut operation = world.operate(call.target(zone, &name), "insert", fault, then, call.now);
    if let Some(request) = request {
        let operation_name = operation["name"].as_str().unwrap_or_default().to_owned();
        operation["clientOperationId"] = json!(request);
        if let Some(kept) = world.operations.get_mut(&operation_name) {
            kept.json["clientOperationId"] = json!(request);
        }
        world.requests.insert(request, operation_name);
    }
    Answer::ok("Operation", operation)
}

/// What the server adds.
fn complete(world: &mut World, call: &Call<'_>, zone: &str, name: &str, instance: &mut Value) {
    let id = world.id();
    let machine_type = instance["machineType"].as_str().and_then(|url| url.rsplit('/').next()).unwrap_or_default();
    let added = json!({
        "kind": "compute#instance",
        "id": id.to_string(),
        "creationTimestamp": timestamp(call.now),
        "status": "PROVISIONING",
        "zone": world.link(call.project, &format!("zones/{zone}")),
        "machineType": world.link(call.project, &format!("zones/{zone}/machineTypes/{machine_type}")),
        "selfLink": world.link(call.project, &format!("zones/{zone}/instances/{name}")),
        "labelFingerprint": "AAAAAAAAAAE=",
        "fingerprint": "AAAAAAAAAAE=",
        "cpuPlatform": "Unknown CPU Platform",
        "startRestricted": false,
    });
    for (key, value) in added.as_object().into_iter().flatten() {
        instance[key] = value.clone();
    }
}

/// A disk is made for each, unless one of the name asked for stands there: then that one is attached, as it is.
fn attach_disks(world: &mut World, call: &Call<'_>, zone: &str, name: &str, instance: &mut Value) {
    let count = instance["disks"].as_array().map_or(0, Vec::len);
    for index in 0..count {
        let wanted = instance["disks"][index]["initializeParams"]["diskName"].as_str().map(str::to_owned);
        let disk = wanted.unwrap_or_else(|| if index == 0 { name.to_owned() } else { format!("{name}-{index}") });
        let source = world.link(call.project, &format!("zones/{zone}/disks/{disk}"));
        let key = (zone.to_owned(), disk.clone());
        if !world.disks.contains_key(&key) {
            let id = world.id();
            world.disks.insert(key, json!({"kind": "compute#disk", "id": id.to_string(), "name": disk}));
        }
        let attached = &mut instance["disks"][index];
        attached["kind"] = json!("compute#attachedDisk");
        attached["source"] = json!(source);
        attached["index"] = json!(index);
        attached["mode"] = json!("READ_WRITE");
        attached["type"] = json!("PERSISTENT");
        // Initial parameters are only for the request.
        if let Some(attached) = attached.as_object_mut() {
            attached.remove("initializeParams");
        }
    }
}

/// `labels.a="b"` parts, all of which have to hold. That is what our client sends; another filter is refused.
fn matches(filter: &str, machine: &FakeMachine) -> Result<bool, Answer> {
    for part in filter.split(['(', ')']).flat_map(|part| part.split(" AND ")) {
        let part = part.trim();
        if part.is_empty() {
            continue;
        }
        let label = part.strip_prefix("labels.").and_then(|rest| rest.split_once('='));
        let Some((key, value)) = label else {
            return Err(invalid(&format!("this fake understands labels.KEY=\"VALUE\" only, not {part}")));
        };
        if machine.label(key.trim()) != value.trim().trim_matches('"') {
            return Ok(false);
        }
    }
    Ok(true)
}

fn selected(world: &mut World, call: &Call<'_>, zone: Option<&str>) -> Result<Vec<Value>, Answer> {
    let filter = call.query.get("filter").cloned().unwrap_or_default();
    let mut found = Vec::new();
    for machine in &mut world.machines {
        if zone.is_some_and(|zone| zone != machine.zone) || !matches(&filter, machine)? {
            continue;
        }
        if machine.hidden_for > 0 {
            machine.hidden_for -= 1;
        } else {
            found.push(machine.json.clone());
        }
    }
    Ok(found)
}

fn page(call: &Call<'_>, all: Vec<Value>) -> (Vec<Value>, Option<String>) {
    let most = call.query.get("maxResults").and_then(|most| most.parse().ok()).unwrap_or(500).max(1);
    let from: usize = call.query.get("pageToken").and_then(|token| token.parse().ok()).unwrap_or(0);
    let next = (from + most < all.len()).then(|| (from + most).to_string());
    (all.into_iter().skip(from).take(most).collect(), next)
}

fn aggregated_list(world: &mut World, call: &Call<'_>, _rest: &[&str], _fault: Option<&Fault>) -> Answer {
    let partial = call.query.get("returnPartialSuccess").is_some_and(|value| value == "true");
    let unreachable = world.unreachable().cloned();
    if let Some(zone) = unreachable.as_ref().filter(|_| !partial) {
        let message = format!("zone {zone} did not answer");
        return Answer::error(StatusCode::SERVICE_UNAVAILABLE, "backendError", &message);
    }
    let all = match selected(world, call, None) {
        Ok(all) => all,
        Err(answer) => return answer,
    };
    let (page, next) = page(call, all);
    let mut items = serde_json::Map::new();
    for zone in world.zones.clone() {
        let here: Vec<Value> = page.iter().filter(|json| ends_with(&json["zone"], &zone)).cloned().collect();
        let scope = format!("zones/{zone}");
        let scoped = if world.is_unreachable(&zone) {
            json!({"warning": {"code": "UNREACHABLE", "message": format!("{zone} did not answer")}})
        } else if here.is_empty() {
            let data = json!([{"key": "scope", "value": scope}]);
            let message = format!("There are no results for scope '{scope}' on this page.");
            json!({"warning": {"code": "NO_RESULTS_ON_PAGE", "message": message, "data": data}})
        } else {
            json!({"instances": here})
        };
        items.insert(scope, scoped);
    }
    let mut answer = json!({
        "kind": "compute#instanceAggregatedList",
        "id": format!("projects/{}/aggregated/instances", call.project),
        "items": items,
        "selfLink": world.link(call.project, "aggregated/instances"),
    });
    if let Some(next) = next {
        answer["nextPageToken"] = json!(next);
    }
    if let Some(zone) = unreachable {
        answer["unreachables"] = json!([world.link(call.project, &format!("zones/{zone}"))]);
    }
    Answer::ok("InstanceAggregatedList", answer)
}

fn ends_with(link: &Value, name: &str) -> bool {
    link.as_str().and_then(|link| link.rsplit('/').next()) == Some(name)
}

fn list(world: &mut World, call: &Call<'_>, rest: &[&str], _fault: Option<&Fault>) -> Answer {
    let all = match selected(world, call, Some(rest[1])) {
        Ok(all) => all,
        Err(answer) => return answer,
    };
    let (page, next) = page(call, all);
    let path = format!("zones/{}/instances", rest[1]);
    let mut answer = json!({"kind": "compute#instanceList", "id": path, "items": page});
    answer["selfLink"] = json!(world.link(call.project, &path));
    if let Some(next) = next {
        answer["nextPageToken"] = json!(next);
    }
    Answer::ok("InstanceList", answer)
}

fn get(world: &mut World, _call: &Call<'_>, rest: &[&str], _fault: Option<&Fault>) -> Answer {
    match find(world, rest[1], rest[3]) {
        Some(machine) if machine.hidden_for == 0 => Answer::ok("Instance", machine.json.clone()),
        _ => missing(&rest.join("/")),
    }
}

fn delete(world: &mut World, call: &Call<'_>, rest: &[&str], fault: Option<&Fault>) -> Answer {
    let (zone, name) = (rest[1], rest[3]);
    match find(world, zone, name) {
        None => return missing(&rest.join("/")),
        Some(machine) if machine.json["deletionProtection"] == true => {
            let message = "Invalid resource usage: 'Resource cannot be deleted if it's protected against deletion.'";
            return Answer::error(StatusCode::BAD_REQUEST, "invalidResourceUsage", message);
        }
        Some(machine) => machine.json["status"] = json!("STOPPING"),
    }
    let then = Then::Remove(name.to_owned());
    Answer::ok("Operation", world.operate(call.target(zone, name), "delete", fault, then, call.now))
}

fn guest_attributes(world: &mut World, call: &Call<'_>, rest: &[&str], _fault: Option<&Fault>) -> Answer {
    let link = world.link(call.project, &format!("{}/getGuestAttributes", rest[..4].join("/")));
    let Some(machine) = find(world, rest[1], rest[3]) else { return missing(&rest.join("/")) };
    if machine.attributes.is_empty() {
        return missing("guest attributes");
    }
    let item = |(key, value): (&String, &String)| json!({"namespace": "failover", "key": key, "value": value});
    let items: Vec<Value> = machine.attributes.iter().map(item).collect();
    let query = call.query.get("queryPath").cloned().unwrap_or_default();
    let value = json!({"items": items});
    let kind = "compute#guestAttributes";
    Answer::ok("GuestAttributes", json!({"kind": kind, "selfLink": link, "queryPath": query, "queryValue": value}))
}

fn done(world: &mut World, call: &Call<'_>, rest: &[&str], kind: &str) -> Answer {
    Answer::ok("Operation", world.operate(call.target(rest[1], rest[3]), kind, None, Then::Nothing, call.now))
}

fn set_labels(world: &mut World, call: &Call<'_>, rest: &[&str], _fault: Option<&Fault>) -> Answer {
    let Ok(body) = serde_json::from_slice::<Value>(call.body) else { return invalid("not JSON") };
    let Some(machine) = find(world, rest[1], rest[3]) else { return missing(&rest.join("/")) };
    if body["labelFingerprint"] != machine.json["labelFingerprint"] {
        let message = "Labels fingerprint either invalid or resource labels have changed";
        return Answer::error(StatusCode::PRECONDITION_FAILED, "conditionNotMet", message);
    }
    machine.json["labels"] = body["labels"].clone();
    machine.json["labelFingerprint"] = json!("AAAAAAAAAAI=");
    done(world, call, rest, "setLabels")
}

fn set_deletion_protection(world: &mut World, call: &Call<'_>, rest: &[&str], _fault: Option<&Fault>) -> Answer {
    let Some(machine) = find(world, rest[1], rest[3]) else { return missing(&rest.join("/")) };
    let on = call.query.get("deletionProtection").is_none_or(|value| value == "true");
    machine.json["deletionProtection"] = json!(on);
    done(world, call, rest, "setDeletionProtection")
}

fn set_scheduling(world: &mut World, call: &Call<'_>, rest: &[&str], _fault: Option<&Fault>) -> Answer {
    let Ok(body) = serde_json::from_slice::<Value>(call.body) else { return invalid("not JSON") };
    let Some(machine) = find(world, rest[1], rest[3]) else { return missing(&rest.join("/")) };
    machine.stops_at = None;
    machine.json["scheduling"] = body;
    done(world, call, rest, "setScheduling")
}

fn operation(world: &mut World, _call: &Call<'_>, rest: &[&str], _fault: Option<&Fault>) -> Answer {
    let found = world.operations.get(rest[3]);
    found.map_or_else(|| missing(&rest.join("/")), |operation| Answer::ok("Operation", operation.json.clone()))
}

fn zone(world: &mut World, call: &Call<'_>, rest: &[&str], _fault: Option<&Fault>) -> Answer {
    let link = world.link(call.project, &rest.join("/"));
    Answer::ok("Zone", json!({"kind": "compute#zone", "name": rest[1], "status": "UP", "selfLink": link}))
}

fn machine_type(_world: &mut World, _call: &Call<'_>, rest: &[&str], _fault: Option<&Fault>) -> Answer {
    let cpus: Option<u32> = rest[3].rsplit('-').next().and_then(|count| count.parse().ok());
    match cpus {
        None => missing(&rest.join("/")),
        Some(cpus) => {
            let kind = "compute#machineType";
            Answer::ok("MachineType", json!({"kind": kind, "name": rest[3], "guestCpus": cpus, "zone": rest[1]}))
        }
    }
}

fn region(_world: &mut World, _call: &Call<'_>, rest: &[&str], _fault: Option<&Fault>) -> Answer {
    let quota = |metric: &str, limit: f64| json!({"metric": metric, "limit": limit, "usage": 0.0});
    let quotas = [quota("CPUS", 72.0), quota("N2_CPUS", 24.0), quota("SSD_TOTAL_GB", 4096.0), quota("INSTANCES", 24.0)];
    Answer::ok("Region", json!({"kind": "compute#region", "name": rest[1], "status": "UP", "quotas": quotas}))
}

fn image(_world: &mut World, _call: &Call<'_>, rest: &[&str], _fault: Option<&Fault>) -> Answer {
    let name = format!("{}-v20261101", rest[3]);
    Answer::ok("Image", json!({"kind": "compute#image", "name": name, "family": rest[3], "status": "READY"}))
}

fn permissions(world: &mut World, body: &Bytes) -> Answer {
    let asked: Value = serde_json::from_slice(body).unwrap_or_default();
    let withheld = ["setDeletionProtection", "setScheduling", "setServiceAccount", "createSnapshot"];
    let granted = asked["permissions"].as_array().into_iter().flatten().filter(|permission| {
        let name = permission.as_str().unwrap_or_default();
        !world.denied.contains(name) && !withheld.iter().any(|end| name.ends_with(end))
    });
    Answer::ok("", json!({"permissions": granted.collect::<Vec<_>>()}))
}
