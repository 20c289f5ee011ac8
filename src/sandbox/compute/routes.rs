//! Paths to what answers them, and the faults on the way. What is not here is answered with 501.

use std::collections::BTreeMap;

use axum::body::Bytes;
use http::{StatusCode, request::Parts};
use serde_json::json;

use super::{
    Answer, changes, disks,
    fault::{Fault, Method},
    guest, instances, lists, network,
    operation::{self, Target},
    places, power, rights,
    rights::Caller,
    serial,
    world::World,
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
    } else if path.ends_with("/setMetadata") {
        Some("Metadata")
    } else if path.ends_with("/setTags") {
        Some("Tags")
    } else if path.ends_with("/setName") {
        Some("InstancesSetNameRequest")
    } else if path.ends_with("/testIamPermissions") {
        Some("TestPermissionsRequest")
    } else {
        None
    }
}

pub(super) fn route(world: &mut World, head: &Parts, body: &Bytes, now: Time) -> Reply {
    let (verb, path, query) = (&head.method, head.uri.path(), head.uri.query().unwrap_or_default());
    let by = rights::caller(world, &head.headers);
    let query: Query = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    if let ["v3", "projects", what] = segments[..]
        && what.ends_with(":testIamPermissions")
    {
        return Reply::Answer(places::permissions(world, body));
    }
    let ["compute", "v1", "projects", project, rest @ ..] = &segments[..] else { return not_implemented(path) };
    let call = Call { project, query: &query, body, now, by };
    if let Some(refused) = rights::refusal(&call, verb, rest) {
        return Reply::Answer(refused);
    }
    let (method, answer): (Option<Method>, Route) = match (verb.as_str(), rest) {
        ("POST", ["zones", _, "instances"]) => (Some(Method::Insert), instances::insert),
        ("GET", ["aggregated", "instances"]) => (Some(Method::AggregatedList), lists::aggregated),
        ("GET", ["zones", _, "instances"]) => (None, lists::zonal),
        ("GET", ["zones", _, "instances", _]) => (Some(Method::Get), instances::get),
        ("DELETE", ["zones", _, "instances", _]) => (Some(Method::Delete), instances::delete),
        ("GET", ["zones", _, "instances", _, "getGuestAttributes"]) => (Some(Method::GuestAttributes), guest::get),
        ("GET", ["zones", _, "instances", _, "serialPort"]) => (Some(Method::SerialPort), serial::output),
        ("POST", ["zones", _, "instances", _, "setLabels"]) => (Some(Method::SetLabels), changes::set_labels),
        ("POST", ["zones", _, "instances", _, "setDeletionProtection"]) => {
            (Some(Method::SetDeletionProtection), changes::set_deletion_protection)
        }
        ("POST", ["zones", _, "instances", _, "setScheduling"]) => {
            (Some(Method::SetScheduling), changes::set_scheduling)
        }
        ("POST", ["zones", _, "instances", _, "setDiskAutoDelete"]) => {
            (Some(Method::SetDiskAutoDelete), changes::set_disk_auto_delete)
        }
        ("POST", ["zones", _, "instances", _, "setMetadata"]) => (Some(Method::SetMetadata), changes::set_metadata),
        ("POST", ["zones", _, "instances", _, "setTags"]) => (Some(Method::SetTags), changes::set_tags),
        ("POST", ["zones", _, "instances", _, "setName"]) => (Some(Method::SetName), changes::set_name),
        ("POST", ["zones", _, "instances", _, "testIamPermissions"]) => (None, rights::of_machine),
        ("POST", ["zones", _, "instances", _, "stop"]) => (Some(Method::Stop), power::stop),
        ("POST", ["zones", _, "instances", _, "reset"]) => (None, power::reset),
        ("POST", ["zones", _, "instances", _, "start"]) => (Some(Method::Start), power::start),
        ("GET", ["aggregated", "disks"]) => (Some(Method::Disks), lists::disks),
        ("GET", ["zones", _, "disks", _]) => (None, disks::get),
        ("GET", ["zones", _, "operations", _]) => (Some(Method::Operation), operation::get),
        ("GET", ["zones", _]) => (None, places::zone),
        ("GET", ["zones", _, "machineTypes", _]) => (None, places::machine_type),
        ("GET", ["regions", _, "subnetworks", _]) => (None, network::subnetwork),
        ("GET", ["global", "firewalls"]) => (None, network::firewalls),
        ("GET", ["regions", _]) => (None, places::region),
        ("GET", ["global", "images", "family", _]) => (None, places::image),
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
        Some(Fault::LoseReply | Fault::OutOfStock | Fault::Quota | Fault::Slow(_) | Fault::Late(_) | Fault::Ends)
        | None => {}
    }
    let mut answer = answer(world, &call, rest, fault.as_ref());
    answer.lost = fault == Some(Fault::LoseReply);
    Reply::Answer(answer)
}

pub(super) struct Call<'a> {
    pub(super) project: &'a str,
    pub(super) query: &'a Query,
    pub(super) body: &'a Bytes,
    pub(super) now: Time,
    pub(super) by: Caller,
}

impl<'a> Call<'a> {
    pub(super) fn target(&self, zone: &'a str, name: &'a str) -> Target<'a> {
        Target { project: self.project, zone, name }
    }
}

fn not_implemented(path: &str) -> Reply {
    let message = format!("this fake of Compute Engine does not implement {path}");
    Reply::Answer(Answer::error(StatusCode::NOT_IMPLEMENTED, "notImplemented", &message))
}

pub(super) fn missing(what: &str) -> Answer {
    Answer::error(StatusCode::NOT_FOUND, "notFound", &format!("The resource '{what}' was not found"))
}

pub(super) fn invalid(message: &str) -> Answer {
    Answer::error(StatusCode::BAD_REQUEST, "invalid", message)
}
