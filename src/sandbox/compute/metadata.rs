//! The metadata server that one machine sees: who it is, what it was given, and where it writes what it has to say.
//!
//! It gives nobody a right: there is no service account and no token behind it, as on a machine that was made without.
//! What it does not implement (`wait_for_change`, for which nothing of ours asks) it answers with 501 and says so.

use axum::{
    Router,
    body::Bytes,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use jiff::fmt::rfc2822;
use serde_json::{Value, json};

use super::{Shared, guest, lock, world::FakeMachine};
use crate::domain::{Span, Time};

/// What a script can do to the metadata server of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetadataFault {
    Hang,
    Status(u16),
    /// Every request is answered, with a `Date` so far ahead. The machine cannot tell that from a clock of its own that
    /// is so far behind.
    Ahead(Span),
}

/// For which machine, by its number: one of the same name made later has a server of its own.
#[derive(Clone)]
struct Seat {
    shared: Shared,
    machine: u64,
}

pub(super) fn router(shared: Shared, machine: u64) -> Router {
    let seat = Seat { shared, machine };
    let signed = middleware::from_fn_with_state(seat.clone(), signed);
    Router::new().fallback(handle).layer(signed).with_state(seat)
}

/// Every answer says who gives it: a client that misses this header is talking to somebody else.
async fn signed(State(seat): State<Seat>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    if let Some(MetadataFault::Ahead(ahead)) = seat.fault()
        && let Some(date) = date(seat.shared.clock.now(), ahead)
    {
        headers.insert(header::DATE, date);
    }
    headers.insert("metadata-flavor", HeaderValue::from_static("Google"));
    headers.insert(header::SERVER, HeaderValue::from_static("Metadata Server for VM"));
    response
}

async fn handle(State(seat): State<Seat>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    // The limit is checked below, where it has a name.
    let body = axum::body::to_bytes(body, 4 << 20).await.unwrap_or_default();
    match seat.fault() {
        Some(MetadataFault::Hang) => std::future::pending::<()>().await,
        Some(MetadataFault::Status(status)) => {
            return StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE).into_response();
        }
        Some(MetadataFault::Ahead(_)) | None => {}
    }
    if let Some(why) = refusal(&head.headers, head.uri.path()) {
        return (StatusCode::FORBIDDEN, why).into_response();
    }
    let query: Vec<(String, String)> =
        url::form_urlencoded::parse(head.uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
    let path = head.uri.path();
    if let Some(guest_path) = path.strip_prefix("/computeMetadata/v1/instance/guest-attributes/")
        && head.method != http::Method::GET
    {
        let now = seat.shared.clock.now();
        let answer = seat.with(|machine| guest::change(machine, &head.method, guest_path, &body, now));
        return answer.unwrap_or_else(gone).into_response();
    }
    if head.method != http::Method::GET {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    if path == "/" {
        return "computeMetadata/\n".into_response();
    }
    let Some(tree) = seat.with(|machine| tree(machine)) else { return gone().into_response() };
    show(&tree, path, &query, &head.headers)
}

impl Seat {
    /// Does this with the machine; `None` when it is gone.
    fn with<T>(&self, work: impl FnOnce(&mut FakeMachine) -> T) -> Option<T> {
        let mut world = lock(&self.shared.world);
        world.machines.iter_mut().find(|machine| machine.id == self.machine).map(work)
    }

    fn fault(&self) -> Option<MetadataFault> {
        self.with(|machine| machine.metadata_fault).flatten()
    }
}

/// As a `Date` says it, to the second.
fn date(now: Time, ahead: Span) -> Option<HeaderValue> {
    let then = now.checked_add(ahead).ok()?;
    let text = rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&then).ok()?;
    HeaderValue::from_str(&text).ok()
}

fn gone() -> (StatusCode, Bytes) {
    (StatusCode::SERVICE_UNAVAILABLE, Bytes::from_static(b"this machine is gone"))
}

/// Why a request is refused: one that somebody else has made the machine send lacks a header, or has one of a proxy.
fn refusal(headers: &HeaderMap, path: &str) -> Option<&'static str> {
    if headers.contains_key("x-forwarded-for") {
        return Some("requests with X-Forwarded-For are refused\n");
    }
    // The root is how a program finds out that it runs in the cloud.
    let flavor = headers.get("metadata-flavor").and_then(|value| value.to_str().ok());
    (path != "/" && flavor != Some("Google")).then_some("Missing Metadata-Flavor:Google header.\n")
}

/// All that can be read, as folders (objects) and values.
fn tree(machine: &FakeMachine) -> Value {
    let last = |field: &str| machine.json[field].as_str().and_then(|url| url.rsplit('/').next()).unwrap_or_default();
    let project = machine.project();
    // The number that a project has beside its name; every path of a place has it.
    let number = 1_077_000_000_000_u64;
    let mut guest = json!({});
    for ((namespace, key), value) in &machine.attributes {
        guest[namespace][key] = json!(value);
    }
    let attributes: serde_json::Map<String, Value> =
        machine.metadata().map(|(key, value)| (key.to_owned(), json!(value))).collect();
    let tags = &machine.json["tags"]["items"];
    json!({"computeMetadata": {"v1": {
        "instance": {
            "attributes": attributes,
            "cpu-platform": machine.json["cpuPlatform"],
            "guest-attributes": guest,
            "hostname": format!("{}.{}.c.{project}.internal", machine.name, machine.zone),
            "id": machine.id,
            "machine-type": format!("projects/{number}/machineTypes/{}", last("machineType")),
            "name": machine.name,
            "service-accounts": {},
            "tags": if tags.is_array() { tags.clone() } else { json!([]) },
            "zone": format!("projects/{number}/zones/{}", machine.zone),
        },
        "project": {
            "attributes": {},
            "numeric-project-id": number,
            "project-id": project,
        },
    }}})
}

fn show(tree: &Value, path: &str, query: &[(String, String)], headers: &HeaderMap) -> Response {
    let option = |key: &str| query.iter().find(|(found, _)| found == key).map(|(_, value)| value.as_str());
    if option("wait_for_change").is_some() {
        let message = "this fake of the metadata server does not implement wait_for_change\n";
        return (StatusCode::NOT_IMPLEMENTED, message).into_response();
    }
    let mut found = tree;
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        match found.as_object().and_then(|folder| folder.get(segment)) {
            Some(next) => found = next,
            None => return StatusCode::NOT_FOUND.into_response(),
        }
    }
    if found.is_object() && !path.ends_with('/') {
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let rest = query.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join("&");
        let mark = if rest.is_empty() { "" } else { "?" };
        let location = format!("http://{host}{path}/{mark}{rest}");
        return (StatusCode::MOVED_PERMANENTLY, [(header::LOCATION, location)]).into_response();
    }
    let recursive = option("recursive").is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let as_json = match option("alt") {
        Some("json") => true,
        Some("text") => false,
        None => recursive && found.is_object(),
        Some(other) => return (StatusCode::BAD_REQUEST, format!("alt={other} is unknown\n")).into_response(),
    };
    let (kind, body) = match (as_json, recursive) {
        (true, true) => ("application/json", shown_whole(path, found).to_string()),
        (true, false) => ("application/json", listed(found).to_string()),
        (false, true) => ("application/text", lines("", found)),
        (false, false) => ("application/text", text(found)),
    };
    ([(header::CONTENT_TYPE, kind)], body).into_response()
}

/// A folder as the names in it; a value as it is.
fn listed(value: &Value) -> Value {
    match value.as_object() {
        Some(folder) => folder.iter().map(|(name, inner)| entry(name, inner)).collect(),
        None => value.clone(),
    }
}

fn entry(name: &str, inner: &Value) -> String {
    if inner.is_object() { format!("{name}/") } else { name.to_owned() }
}

fn text(value: &Value) -> String {
    match value {
        Value::Object(folder) => folder.iter().map(|(name, inner)| entry(name, inner) + "\n").collect(),
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) => value.to_string(),
    }
}

/// Everything below, a path and its value in each line.
fn lines(path: &str, value: &Value) -> String {
    match value.as_object() {
        Some(folder) => folder.iter().map(|(name, inner)| lines(&format!("{path}/{name}"), inner)).collect(),
        None if path.is_empty() => text(value),
        None => format!("{} {}\n", path.trim_start_matches('/'), text(value)),
    }
}

/// As JSON the server's own names lose their hyphens; the keys that somebody has chosen stay as they are.
fn shown_whole(path: &str, value: &Value) -> Value {
    if path.contains("/attributes") || path.contains("/guest-attributes") {
        return value.clone();
    }
    match value.as_object() {
        Some(folder) => {
            folder.iter().map(|(name, inner)| (camel(name), shown_whole(&format!("/{name}"), inner))).collect()
        }
        None => value.clone(),
    }
}

fn camel(name: &str) -> String {
    let mut words = name.split('-');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |all, word| {
        let (head, tail) = word.split_at(word.len().min(1));
        all + &head.to_uppercase() + tail
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_server_lose_their_hyphens_and_keys_of_the_user_keep_them() {
        assert_eq!(camel("numeric-project-id"), "numericProjectId");
        let instance = json!({"machine-type": "n2", "attributes": {"startup-script": "#!"}});
        let shown = shown_whole("/computeMetadata/v1/instance/", &instance);
        assert_eq!(shown, json!({"machineType": "n2", "attributes": {"startup-script": "#!"}}));
    }
}
