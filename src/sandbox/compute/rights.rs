//! Who may do what with a machine: the watcher's two bindings of `docs/gcp/setup.sh`, by the machine's name.
//!
//! It knows machines alone: what the watcher may do elsewhere is in [`super::places`] and in the list of what is denied.

use http::{HeaderMap, Method, StatusCode, header};
use serde_json::{Value, json};

use super::{
    Answer,
    fault::Fault,
    routes::{Call, invalid, missing},
    world::World,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Caller {
    Anyone,
    Watcher,
}

pub(super) fn caller(world: &World, headers: &HeaderMap) -> Caller {
    let token = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    if token.is_some_and(|token| world.watchers.contains(token)) { Caller::Watcher } else { Caller::Anyone }
}

/// The permission that a call to a machine needs, as its page in the reference names it.
fn permission(verb: &Method, what: &[&str]) -> Option<String> {
    let verb = match (verb.as_str(), what) {
        ("GET", []) => "get",
        ("DELETE", []) => "delete",
        ("GET", ["serialPort"]) => "getSerialPortOutput",
        // Anyone may ask what he may do.
        (_, ["testIamPermissions"]) => return None,
        (_, [method, ..]) => method,
        _ => return None,
    };
    Some(format!("compute.instances.{verb}"))
}

/// By the first binding machines called `fo-…`, by the second those called `kept-…`; no others.
fn may(by: Caller, name: &str, permission: &str) -> bool {
    if by == Caller::Anyone {
        return true;
    }
    let verbs: &[&str] = if name.starts_with("fo-") {
        &["delete", "get", "getGuestAttributes", "getSerialPortOutput", "setLabels", "setMetadata", "setTags"]
    } else if name.starts_with("kept-") {
        &["get", "getGuestAttributes"]
    } else {
        &[]
    };
    permission.strip_prefix("compute.instances.").is_some_and(|verb| verbs.contains(&verb))
}

pub(super) fn refusal(call: &Call<'_>, verb: &Method, rest: &[&str]) -> Option<Answer> {
    let ["zones", zone, "instances", name, what @ ..] = rest else { return None };
    let permission = permission(verb, what).filter(|permission| !may(call.by, name, permission))?;
    let resource = format!("projects/{}/zones/{zone}/instances/{name}", call.project);
    let message = format!("Required '{permission}' permission for '{resource}'");
    Some(Answer::error(StatusCode::FORBIDDEN, "forbidden", &message))
}

/// `testIamPermissions` of one machine.
pub(super) fn of_machine(world: &mut World, call: &Call<'_>, rest: &[&str], _fault: Option<&Fault>) -> Answer {
    if world.find(rest[1], rest[3]).is_none() {
        return missing(&rest.join("/"));
    }
    let Ok(asked) = serde_json::from_slice::<Value>(call.body) else { return invalid("not JSON") };
    let granted = asked["permissions"].as_array().into_iter().flatten().filter(|permission| {
        let permission = permission.as_str().unwrap_or_default();
        !world.denied.contains(permission) && may(call.by, rest[3], permission)
    });
    Answer::ok("TestPermissionsResponse", json!({"permissions": granted.collect::<Vec<_>>()}))
}
