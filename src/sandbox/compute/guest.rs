//! Guest attributes: what a machine says of itself through its metadata server, and how the API answers it.
//!
//! They are no log and no stream. Google asks for at most ten requests a minute and three a second of a machine, and
//! may drop what comes faster; the fake keeps all and lets a test count ([`super::FakeCompute::guest_writes`]).

use axum::body::Bytes;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{
    Answer,
    fault::Fault,
    routes::{Call, missing},
    world::{FakeMachine, World},
};
use crate::domain::Time;

/// The limit of a metadata value: 256 KiB. Google writes down no other one for a guest attribute.
pub(super) const VALUE_LIMIT: usize = 256 << 10;
/// The limit of a metadata key.
const NAME_LIMIT: usize = 128;

/// What can stand in a metadata key, and so in a namespace and in a key here: it becomes a part of a path.
pub(super) fn is_name(name: &str) -> bool {
    (1..NAME_LIMIT).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

fn said(status: StatusCode, why: &str) -> (StatusCode, Bytes) {
    (status, Bytes::copy_from_slice(why.as_bytes()))
}

/// PUT or DELETE of `namespace/key` by the machine itself.
pub(super) fn change(
    machine: &mut FakeMachine,
    verb: &Method,
    path: &str,
    body: &Bytes,
    now: Time,
) -> (StatusCode, Bytes) {
    if !machine.metadata().any(|(key, value)| key == "enable-guest-attributes" && value.eq_ignore_ascii_case("true")) {
        return said(StatusCode::FORBIDDEN, "guest attributes are not enabled for this machine\n");
    }
    let names = path.split_once('/').filter(|(namespace, key)| is_name(namespace) && is_name(key));
    let Some((namespace, key)) = names else {
        return said(StatusCode::BAD_REQUEST, "a guest attribute is NAMESPACE/KEY, of letters, digits, - and _\n");
    };
    let name = (namespace.to_owned(), key.to_owned());
    machine.guest_writes.push(now);
    match *verb {
        Method::PUT => {
            let Ok(value) = std::str::from_utf8(body) else { return said(StatusCode::BAD_REQUEST, "no UTF-8\n") };
            if value.len() > VALUE_LIMIT {
                return said(StatusCode::BAD_REQUEST, "a value has at most 262144 bytes\n");
            }
            machine.attributes.insert(name, value.to_owned());
            said(StatusCode::OK, "")
        }
        Method::DELETE if machine.attributes.remove(&name).is_some() => said(StatusCode::OK, ""),
        Method::DELETE => said(StatusCode::NOT_FOUND, ""),
        _ => said(StatusCode::METHOD_NOT_ALLOWED, ""),
    }
}

/// `getGuestAttributes`: a whole namespace (`queryPath=ns/`), everything (`/`), or one value (`ns/key`).
pub(super) fn get(world: &mut World, call: &Call<'_>, rest: &[&str], _fault: Option<&Fault>) -> Answer {
    let link = world.link(call.project, &format!("{}/getGuestAttributes", rest[..4].join("/")));
    let Some(machine) = world.find(rest[1], rest[3]) else { return missing(&rest.join("/")) };
    let asked = call.query.get("queryPath").or_else(|| call.query.get("variableKey")).map_or("", String::as_str);
    let (namespace, key) = asked.trim_start_matches('/').split_once('/').unwrap_or((asked.trim_matches('/'), ""));
    let wanted = |(found, name): &(String, String)| {
        (namespace.is_empty() || found == namespace) && (key.is_empty() || name == key)
    };
    let items: Vec<Value> = machine
        .attributes
        .iter()
        .filter(|(name, _)| wanted(name))
        .map(|((namespace, key), value)| json!({"namespace": namespace, "key": key, "value": value}))
        .collect();
    if items.is_empty() {
        let message = format!("The resource '{asked}' of type 'Guest Attribute' was not found.");
        return Answer::error(StatusCode::NOT_FOUND, "notFound", &message);
    }
    let mut body = json!({"kind": "compute#guestAttributes", "selfLink": link});
    if call.query.contains_key("queryPath") {
        body["queryPath"] = json!(asked);
        body["queryValue"] = json!({"items": items});
    } else {
        body["variableKey"] = json!(asked);
        body["variableValue"] = items[0]["value"].clone();
    }
    Answer::ok("GuestAttributes", body)
}
