//! The HTTP side of the fake API server: which request means what, and how a watch streams.

use std::{collections::HashMap, convert::Infallible, time::Duration};

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{Query, State},
    http::{Method, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use futures::{Stream, stream};
use serde_json::{Value, json};
use tokio::{sync::watch, time::Instant};

use super::{Change, Key, Mood, Shared};

pub(super) fn router(shared: Shared) -> Router {
    Router::new().fallback(answer).with_state(shared)
}

struct Path {
    resource: String,
    namespace: String,
    name: Option<String>,
}

impl Path {
    /// `/api/v1/…` or `/apis/GROUP/VERSION/…`, with or without a namespace and a name.
    fn parse(path: &str) -> Option<Self> {
        let mut parts = path.trim_matches('/').split('/');
        match parts.next()? {
            "api" => parts.nth(0)?,
            "apis" => parts.nth(1)?,
            _ => return None,
        };
        let rest: Vec<&str> = parts.collect();
        let (namespace, rest) = match rest.as_slice() {
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (*namespace, rest),
            rest => ("", rest),
        };
        let (resource, name) = match rest {
            [resource] => (*resource, None),
            [resource, name] => (*resource, Some((*name).to_owned())),
            _ => return None,
        };
        Some(Self { resource: resource.into(), namespace: namespace.into(), name })
    }
}

async fn answer(
    State(shared): State<Shared>,
    method: Method,
    uri: Uri,
    Query(query): Query<HashMap<String, String>>,
    body: Bytes,
) -> Response {
    let moved = shared.moved.subscribe();
    let is_watch = query.get("watch").is_some_and(|value| value == "true" || value == "1");
    let verb = match method {
        Method::GET if is_watch => "watch",
        Method::GET => "list",
        Method::POST => "create",
        Method::PATCH => "patch",
        _ => "other",
    };
    let path = Path::parse(uri.path());
    let named = path.as_ref().map_or_else(
        || uri.path().to_owned(),
        |path| {
            if path.namespace.is_empty() {
                path.resource.clone()
            } else {
                format!("{}/{}", path.namespace, path.resource)
            }
        },
    );
    shared.world().requests.push(format!("{verb} {named}"));
    let mut moods = moved.clone();
    while shared.world().mood == Mood::Hanging {
        if moods.changed().await.is_err() {
            break;
        }
    }
    let world = shared.world();
    if world.mood == Mood::Stopped {
        return status(StatusCode::SERVICE_UNAVAILABLE, "stopped");
    }
    if world.unauthorised {
        return status(StatusCode::UNAUTHORIZED, "Unauthorized");
    }
    let Some(path) = path else {
        drop(world);
        return if uri.path() == "/version" { version() } else { status(StatusCode::NOT_FOUND, "not found") };
    };
    if world.refused.contains(&(verb.to_owned(), path.resource.clone())) {
        return status(StatusCode::FORBIDDEN, &format!("cannot {verb} {}", path.resource));
    }
    if path.resource == "selfsubjectaccessreviews" {
        let mut review: Value = serde_json::from_slice(&body).unwrap_or_default();
        let text = |key: &str| review["spec"]["resourceAttributes"][key].as_str().unwrap_or_default().to_owned();
        let allowed = !world.refused.contains(&(text("verb"), text("resource")));
        review["status"] = json!({"allowed": allowed});
        return (StatusCode::CREATED, Json(review)).into_response();
    }
    drop(world);
    match verb {
        "list" => list(&shared, &path, &query),
        "watch" => watch(shared, path, &query, moved),
        "create" | "patch" => write(&shared, &path, &body),
        _ => status(StatusCode::METHOD_NOT_ALLOWED, "not here"),
    }
}

fn status(code: StatusCode, message: &str) -> Response {
    (code, Json(error(code, message))).into_response()
}

fn error(code: StatusCode, message: &str) -> Value {
    let reason = code.canonical_reason().unwrap_or_default().replace(' ', "");
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message,
           "reason": reason, "code": code.as_u16()})
}

fn version() -> Response {
    Json(json!({"major": "1", "minor": "33", "gitVersion": "v1.33.0", "gitCommit": "", "gitTreeState": "clean",
                "buildDate": "2026-01-01T00:00:00Z", "goVersion": "go1", "compiler": "gc", "platform": "linux/amd64"}))
    .into_response()
}

/// Which objects a query means: `metadata.name=…`, and labels that are equal.
#[derive(Clone)]
struct Filter {
    resource: String,
    namespace: String,
    name: Option<String>,
    labels: Vec<(String, String)>,
}

impl Filter {
    fn new(path: &Path, query: &HashMap<String, String>) -> Self {
        let name = query.get("fieldSelector").and_then(|fields| fields.strip_prefix("metadata.name="));
        let labels = query.get("labelSelector").map(String::as_str).unwrap_or_default();
        Self {
            resource: path.resource.clone(),
            namespace: path.namespace.clone(),
            name: path.name.clone().or_else(|| name.map(ToOwned::to_owned)),
            labels: labels
                .split(',')
                .filter_map(|term| term.split_once('='))
                .map(|(key, value)| (key.to_owned(), value.trim_start_matches('=').to_owned()))
                .collect(),
        }
    }

    fn takes(&self, key: &Key, object: &Value) -> bool {
        let (resource, namespace, name) = key;
        *resource == self.resource
            && (self.namespace.is_empty() || *namespace == self.namespace)
            && self.name.as_ref().is_none_or(|wanted| wanted == name)
            && self.labels.iter().all(|(key, value)| object["metadata"]["labels"][key] == *value.as_str())
    }
}

/// A page is as long as it was asked for; the next one begins after the object that the token names.
fn list(shared: &Shared, path: &Path, query: &HashMap<String, String>) -> Response {
    let (filter, world) = (Filter::new(path, query), shared.world());
    let limit = query.get("limit").and_then(|limit| limit.parse().ok()).filter(|limit| *limit > 0);
    let after = query.get("continue").and_then(|token| token.split_once('/'));
    let wanted = |(key, object): &(&Key, &Value)| {
        filter.takes(key, object) && after.is_none_or(|after| (key.1.as_str(), key.2.as_str()) > after)
    };
    let mut found = world.objects.iter().filter(wanted).peekable();
    let page: Vec<_> = found.by_ref().take(limit.unwrap_or(usize::MAX)).collect();
    let mut metadata = json!({"resourceVersion": world.version.to_string()});
    if let (Some(_), Some(((_, namespace, name), _))) = (found.peek(), page.last()) {
        metadata["continue"] = json!(format!("{namespace}/{name}"));
    }
    let items: Vec<&Value> = page.into_iter().map(|(_, object)| object).collect();
    Json(json!({"kind": "List", "apiVersion": "v1", "metadata": metadata, "items": items})).into_response()
}

fn write(shared: &Shared, path: &Path, body: &[u8]) -> Response {
    let Ok(mut object) = serde_json::from_slice::<Value>(body) else {
        return status(StatusCode::BAD_REQUEST, "no JSON");
    };
    let name = path.name.clone().or_else(|| object["metadata"]["name"].as_str().map(ToOwned::to_owned));
    let key = (path.resource.clone(), path.namespace.clone(), name.unwrap_or_default());
    let result = shared.change(|world| {
        let found = world.objects.get(&key);
        match (found, path.name.is_some()) {
            (Some(_), false) => return Err(StatusCode::CONFLICT),
            (None, true) => return Err(StatusCode::NOT_FOUND),
            (Some(old), true) => {
                let mut merged = old.clone();
                merge(&mut merged, &object);
                object = merged;
            }
            (None, false) => {}
        }
        world.version += 1;
        object["metadata"]["resourceVersion"] = json!(world.version.to_string());
        world.objects.insert(key, object.clone());
        Ok(object)
    });
    match result {
        Ok(object) => (StatusCode::CREATED, Json(object)).into_response(),
        Err(code) => status(code, "not so"),
    }
}

/// A merge patch (RFC 7396).
fn merge(target: &mut Value, patch: &Value) {
    match patch {
        Value::Object(fields) => {
            for (key, value) in fields {
                if value.is_null() {
                    target.as_object_mut().map(|target| target.remove(key));
                } else {
                    merge(&mut target[key], value);
                }
            }
        }
        other => *target = other.clone(),
    }
}

/// One watch as it is sent: from which version on, and until when.
struct WatchStream {
    shared: Shared,
    filter: Filter,
    moved: watch::Receiver<u64>,
    sent: u64,
    ends_at: Instant,
    over: bool,
}

fn watch(shared: Shared, path: Path, query: &HashMap<String, String>, moved: watch::Receiver<u64>) -> Response {
    let from = query.get("resourceVersion").and_then(|version| version.parse().ok()).unwrap_or(0);
    let seconds = query.get("timeoutSeconds").and_then(|seconds| seconds.parse().ok()).unwrap_or(300);
    let filter = Filter::new(&path, query);
    let ends_at = Instant::now() + Duration::from_secs(seconds);
    let watch = WatchStream { shared, filter, moved, sent: from, ends_at, over: false };
    Body::from_stream(lines(watch)).into_response()
}

fn lines(watch: WatchStream) -> impl Stream<Item = Result<String, Infallible>> {
    stream::unfold(watch, |mut watch| async move {
        let line = watch.next().await?;
        Some((Ok(line), watch))
    })
}

impl WatchStream {
    /// The next lines; `None` at the end of the watch.
    async fn next(&mut self) -> Option<String> {
        while !self.over {
            self.moved.mark_unchanged();
            if let Some(lines) = self.news()? {
                return Some(lines);
            }
            tokio::select! {
                changed = self.moved.changed() => changed.ok()?,
                () = tokio::time::sleep_until(self.ends_at) => return None,
            }
        }
        None
    }

    /// What has happened since; `None` when the watch is cut.
    fn news(&mut self) -> Option<Option<String>> {
        let world = self.shared.world();
        match world.mood {
            Mood::Stopped => return None,
            Mood::Hanging => return Some(None),
            Mood::Well => {}
        }
        if self.sent < world.compacted {
            self.over = true;
            let gone = error(StatusCode::GONE, "too old resource version");
            return Some(Some(format!("{}\n", json!({"type": "ERROR", "object": gone}))));
        }
        let (sent, filter) = (self.sent, &self.filter);
        let news: Vec<&Change> =
            world.log.iter().filter(|one| one.version > sent && filter.takes(&one.key, &one.object)).collect();
        let lines: String =
            news.iter().map(|one| format!("{}\n", json!({"type": one.what, "object": one.object}))).collect();
        self.sent = world.version;
        Some((!lines.is_empty()).then_some(lines))
    }
}
