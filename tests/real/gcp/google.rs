//! A server that keeps what it is told, in the form of the six services which the scripts call: a resource is created in
//! its collection, found by its name, patched and deleted. It judges nothing: Google's own `gcloud` does, before it asks.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    extract::{Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};
use tokio::task::AbortHandle;

pub const NUMBER: &str = "123456789";

/// What there is, by path without the version; what was asked, by method and path.
#[derive(Default)]
struct Kept {
    resources: BTreeMap<String, Value>,
    policies: BTreeMap<String, Value>,
    changes: Vec<String>,
}

/// A running server; gone when dropped.
pub struct Google {
    pub url: String,
    kept: Arc<Mutex<Kept>>,
    server: AbortHandle,
}

impl Drop for Google {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Google {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let kept = Arc::new(Mutex::new(Kept::default()));
        let state = (url.clone(), kept.clone());
        let router = Router::new().fallback(handle).with_state(state);
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() }).abort_handle();
        Self { url, kept, server }
    }

    /// The one resource whose path ends so.
    pub fn resource(&self, end: &str) -> Value {
        let kept = self.kept.lock().unwrap();
        let found: Vec<_> = kept.resources.iter().filter(|(path, _)| path.ends_with(end)).collect();
        assert_eq!(found.len(), 1, "{end} in {:#?}", kept.resources.keys());
        found[0].1.clone()
    }

    /// Paths of all that is there and not deleted.
    pub fn there(&self) -> Vec<String> {
        let kept = self.kept.lock().unwrap();
        let is_there = |value: &Value| value["deleted"] != true && value["state"] != "DELETED";
        kept.resources.iter().filter(|(_, value)| is_there(value)).map(|(path, _)| path.clone()).collect()
    }

    /// Role, member and condition of each binding on what ends so.
    pub fn bindings(&self, end: &str) -> Vec<(String, String, String)> {
        let kept = self.kept.lock().unwrap();
        let policy = kept.policies.iter().find(|(path, _)| path.ends_with(end)).map(|(_, policy)| policy.clone());
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut all = Vec::new();
        for binding in policy.unwrap_or_default()["bindings"].as_array().into_iter().flatten() {
            for member in binding["members"].as_array().into_iter().flatten() {
                all.push((text(&binding["role"]), text(member), text(&binding["condition"]["expression"])));
            }
        }
        all
    }

    /// One more binding, under a condition, on what ends so.
    pub fn bind(&self, end: &str, role: &str, member: &str, title: &str, expression: &str) {
        let mut kept = self.kept.lock().unwrap();
        let policy = kept.policies.iter_mut().find(|(path, _)| path.ends_with(end)).map(|(_, policy)| policy).unwrap();
        let condition = json!({"title": title, "expression": expression});
        policy["bindings"]
            .as_array_mut()
            .unwrap()
            .push(json!({"role": role, "members": [member], "condition": condition}));
    }

    /// What was changed since this was asked last.
    pub fn changes(&self) -> Vec<String> {
        std::mem::take(&mut self.kept.lock().unwrap().changes)
    }
}

async fn handle(State((url, kept)): State<(String, Arc<Mutex<Kept>>)>, request: Request) -> Response {
    let method = request.method().to_string();
    let path = percent(request.uri().path());
    let query: BTreeMap<String, String> =
        url::form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes()).into_owned().collect();
    let bytes = axum::body::to_bytes(request.into_body(), 1 << 20).await.unwrap();
    let body: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let (status, answer) = match answer(&mut kept.lock().unwrap(), &url, &method, &path, &query, body) {
        Some(answer) => (StatusCode::OK, answer),
        None => {
            let error = json!({"code": 404, "message": format!("{path} was not found"), "status": "NOT_FOUND"});
            (StatusCode::NOT_FOUND, json!({"error": error}))
        }
    };
    (status, axum::Json(answer)).into_response()
}

fn percent(path: &str) -> String {
    path.replace("%2F", "/").replace("%2f", "/").replace("%3A", ":").replace("%40", "@")
}

fn answer(
    kept: &mut Kept,
    url: &str,
    method: &str,
    path: &str,
    query: &BTreeMap<String, String>,
    body: Value,
) -> Option<Value> {
    // A service account is the same in `projects/-`.
    let path = path.replace("/projects/-/", "/projects/my-failover/");
    let (target, verb) = path.rsplit_once(':').unwrap_or((&path, ""));
    let target =
        if target.contains("serviceAccounts") && !verb.chars().all(char::is_alphabetic) { &path } else { target };
    if path.contains("/operations/") {
        return Some(operation(url, &path));
    }
    match (method, verb) {
        (_, "getIamPolicy") => return Some(policy(kept, target)),
        (_, "setIamPolicy") => {
            kept.changes.push(format!("{verb} {target}"));
            kept.policies.insert(target.to_owned(), body["policy"].clone());
            return Some(body["policy"].clone());
        }
        ("GET", "") if path.ends_with("/iam") => return Some(policy(kept, &path)),
        ("PUT", "") if path.ends_with("/iam") => {
            kept.changes.push(format!("setIamPolicy {path}"));
            kept.policies.insert(path, body.clone());
            return Some(body);
        }
        ("GET", "") if path.contains("/aggregated/") => return Some(json!({"items": {}})),
        ("GET", "") if path.ends_with("/namespaced") => {
            let name = query.get("name")?;
            return kept.resources.values().find(|value| value["namespacedName"] == name.as_str()).cloned();
        }
        ("GET", _) => return kept.resources.get(&path).cloned(),
        _ => kept.changes.push(format!("{method} {path}")),
    }
    match (method, verb) {
        ("POST", "batchEnable" | "enable") | ("PUT", _) => {}
        ("POST", "undelete") => {
            let resource = kept.resources.get_mut(target)?;
            resource["deleted"] = json!(false);
            resource["state"] = json!("ACTIVE");
            return Some(if target.contains("/roles/") { resource.clone() } else { operation(url, target) });
        }
        ("POST", _) => return Some(create(kept, url, &path, query, body)),
        ("PATCH", _) => {
            let resource = kept.resources.get_mut(&path)?;
            for (key, value) in body.as_object().into_iter().flatten() {
                resource[key] = value.clone();
            }
            return Some(if is_plain(&path) { resource.clone() } else { operation(url, &path) });
        }
        ("DELETE", _) => {
            let resource = kept.resources.get_mut(&path)?;
            if path.contains("/roles/") {
                resource["deleted"] = json!(true);
                return Some(resource.clone());
            }
            if path.contains("workloadIdentityPools") {
                resource["state"] = json!("DELETED");
            } else {
                kept.resources.remove(&path);
            }
            return Some(if is_plain(&path) { json!({}) } else { operation_of(url, &path, "delete") });
        }
        _ => return None,
    }
    Some(operation(url, &path))
}

fn policy(kept: &Kept, path: &str) -> Value {
    kept.policies.get(path).cloned().unwrap_or_else(|| json!({"version": 1, "etag": "YQ=="}))
}

/// What is answered with the resource and not with an operation.
fn is_plain(path: &str) -> bool {
    path.contains("/roles") || path.contains("/serviceAccounts") || path.contains("/storage/")
}

/// Done at once, in the form of Compute Engine and of everybody else together.
fn operation(url: &str, path: &str) -> Value {
    operation_of(url, path, if path.ends_with("/op-delete") { "delete" } else { "insert" })
}

fn operation_of(url: &str, path: &str, verb: &str) -> Value {
    let name = format!("op-{verb}");
    let base = path.split_once("/projects/my-failover/").map_or("", |(base, _)| base);
    let within = |kind: &'static str| {
        let name = path.split(&format!("/{kind}s/")).nth(1)?.split('/').next()?;
        Some((kind, format!("{kind}s/{name}")))
    };
    let place = within("region").or_else(|| within("zone"));
    if path.starts_with("/compute/") {
        let of = place.as_ref().map_or("global", |(_, place)| place);
        let link = format!("{url}{base}/projects/my-failover/{of}/operations/{name}");
        let target = if path.contains("/operations/") { String::new() } else { format!("{url}{path}") };
        let mut operation = json!({
            "kind": "compute#operation", "name": name, "id": "1", "status": "DONE", "progress": 100, "selfLink": link,
            "targetLink": target, "operationType": verb,
        });
        if let Some((kind, place)) = place {
            operation[kind] = json!(format!("{url}{base}/projects/my-failover/{place}"));
        }
        return operation;
    }
    json!({"name": "operations/op", "done": true, "response": {}})
}

fn create(kept: &mut Kept, url: &str, collection: &str, query: &BTreeMap<String, String>, mut body: Value) -> Value {
    let named = |key: &str| query.get(key).cloned();
    let own = |body: &Value, key: &str| body[key].as_str().unwrap_or_default().to_owned();
    let kind = collection.rsplit('/').next().unwrap_or_default();
    let id = match kind {
        "projects" => own(&body, "projectId"),
        "roles" => own(&body, "roleId"),
        "serviceAccounts" => format!("{}@my-failover.iam.gserviceaccount.com", own(&body, "accountId")),
        "workloadIdentityPools" => named("workloadIdentityPoolId").unwrap_or_default(),
        "providers" => named("workloadIdentityPoolProviderId").unwrap_or_default(),
        "denypolicies" => named("policyId").unwrap_or_default(),
        "tagKeys" | "tagValues" => own(&body, "shortName"),
        _ => own(&body, "name"),
    };
    assert!(!id.is_empty(), "{collection} {body}");
    let path = format!("{collection}/{id}");
    match kind {
        "projects" => body["projectNumber"] = json!(NUMBER),
        "roles" => {
            body = body["role"].clone();
            body["name"] = json!(format!("projects/my-failover/roles/{id}"));
        }
        "serviceAccounts" => {
            body = json!({"email": id, "name": format!("projects/my-failover/serviceAccounts/{id}")});
        }
        "workloadIdentityPools" | "providers" => body["state"] = json!("ACTIVE"),
        "tagKeys" => {
            body["name"] = json!(format!("tagKeys/{id}"));
            body["namespacedName"] = json!("my-failover/failover");
        }
        "tagValues" => {
            body["name"] = json!(format!("tagValues/{id}"));
            body["namespacedName"] = json!("my-failover/failover/promoted");
        }
        _ => {
            body["selfLink"] = json!(format!("{url}{path}"));
            if kind == "subnetworks" {
                body["region"] = json!(format!("{url}{}", collection.trim_end_matches("/subnetworks")));
            }
        }
    }
    kept.resources.insert(path.clone(), body.clone());
    if is_plain(&path) {
        return body;
    }
    let mut operation = operation(url, &path);
    if operation["done"] == true {
        operation["response"] = body;
    }
    operation
}
