//! A fake bucket: the part of Cloud Storage's JSON API that the ledger uses, with generations and scripted faults.
//!
//! Whether it answers as the real one does is shown by the same conformance suite against a real server.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{DefaultBodyLimit, Path, Query, Request, State},
    http::{StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::json;

use super::{Hook, Then, server::Server};
use crate::domain::{Span, Time, TimeExt};

/// What happens to the next change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is done, and the connection closes without a reply.
    LoseReply,
    /// It is not done; 503.
    Unavailable,
    /// It is not done; 429.
    Busy,
}

/// How it answers until something else is said.
#[derive(Clone, Debug, Default)]
pub enum Answers {
    #[default]
    AsUsual,
    /// Everything with this status, like 401.
    Status(StatusCode),
    /// It takes requests and is silent.
    Never,
    /// Reads as they were answered then. Changes meet what is there now.
    Old(Past),
}

/// Everything that was in a bucket at one moment.
#[derive(Clone, Debug)]
pub struct Past(BTreeMap<String, Object>);

/// What was asked, and what came of it.
#[derive(Clone, Debug)]
pub struct Asked {
    pub at: Instant,
    /// `GET sessions/eth-0`, `GET sessions/eth-0 metadata`, `POST sessions/eth-0 over 3`.
    pub what: String,
    /// `None` as long as there is no answer.
    pub answer: Option<u16>,
}

#[derive(Default)]
struct Bucket {
    objects: BTreeMap<String, Object>,
    generation: u64,
    faults: VecDeque<Fault>,
    log: Vec<String>,
    asked: Vec<Asked>,
    answers: Answers,
    read_only: Vec<String>,
    location: String,
}

/// What was asked of the bucket, by the classes of the price list. Deletions cost nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Operations {
    /// Writes and listings.
    pub class_a: u64,
    /// Reads.
    pub class_b: u64,
}

#[derive(Clone, Debug)]
struct Object {
    generation: u64,
    created: Time,
    bytes: Vec<u8>,
}

#[derive(Clone, Default)]
struct Shared {
    bucket: Arc<Mutex<Bucket>>,
    hook: Arc<Mutex<Option<Hook>>>,
}

impl Shared {
    fn bucket(&self) -> MutexGuard<'_, Bucket> {
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask_hook(&self, method: &str, path: &str) -> Then {
        let hook = self.hook.lock().unwrap_or_else(PoisonError::into_inner);
        hook.as_ref().map_or(Then::Handle, |hook| hook(method, path))
    }
}

/// A running fake bucket; gone when dropped.
pub struct FakeObjectStore {
    url: String,
    shared: Shared,
    server: Server,
}

impl FakeObjectStore {
    /// Starts it on a free port. Every bucket's name is served and is the same bucket.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start() -> io::Result<Self> {
        let shared = Shared::default();
        shared.bucket().location = "US-EAST1".into();
        let router = Router::new()
            .route("/upload/storage/v1/b/{bucket}/o", post(upload))
            .route("/storage/v1/b/{bucket}", get(metadata))
            .route("/storage/v1/b/{bucket}/o", get(list))
            .route("/storage/v1/b/{bucket}/o/{*object}", get(read).delete(remove))
            .layer(DefaultBodyLimit::max(8 << 20))
            .layer(middleware::from_fn_with_state(shared.clone(), note))
            .with_state(shared.clone());
        let server = Server::http(router).await?;
        Ok(Self { url: server.url(), shared, server })
    }

    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The next changes meet these, in this order.
    pub fn script(&self, faults: impl IntoIterator<Item = Fault>) {
        self.shared.bucket().faults.extend(faults);
    }

    /// "POST /upload/…", in order.
    #[must_use]
    pub fn log(&self) -> Vec<String> {
        self.shared.bucket().log.clone()
    }

    /// What all requests so far come to. A refusal, which a real one does not charge for, counts as well.
    #[must_use]
    pub fn operations(&self) -> Operations {
        let mut all = Operations::default();
        for line in &self.shared.bucket().log {
            match line.split_once(' ') {
                Some(("POST", _)) => all.class_a += 1,
                Some(("GET", path)) if path.ends_with("/o") => all.class_a += 1,
                Some(("GET", _)) => all.class_b += 1,
                _ => {}
            }
        }
        all
    }

    /// From now on everything is answered with this status, like 401; `None` ends it.
    ///
    /// # Panics
    /// For a number that is no status.
    pub fn refuse(&self, status: Option<u16>) {
        let status = status.map(|status| StatusCode::from_u16(status).expect("a status"));
        self.answers(status.map_or(Answers::AsUsual, Answers::Status));
    }

    pub fn answers(&self, answers: Answers) {
        self.shared.bucket().answers = answers;
    }

    #[must_use]
    pub fn past(&self) -> Past {
        Past(self.shared.bucket().objects.clone())
    }

    /// Stops it: its port refuses connections.
    pub async fn down(&self) {
        self.server.down().await;
    }

    /// Starts it again on the same port.
    ///
    /// # Errors
    /// When somebody else has taken the port meanwhile.
    pub async fn up(&self) -> io::Result<()> {
        self.server.up().await
    }

    /// What has arrived, in order, with preconditions and answers.
    #[must_use]
    pub fn asked(&self) -> Vec<Asked> {
        self.shared.bucket().asked.clone()
    }

    /// Writes an object beside everybody, whatever is there: a generation more.
    pub fn set(&self, name: &str, bytes: Vec<u8>) {
        self.shared.bucket().write(name, bytes);
    }

    /// Takes an object away beside everybody.
    pub fn forget(&self, name: &str) {
        self.shared.bucket().objects.remove(name);
    }

    #[must_use]
    pub fn get(&self, name: &str) -> Option<Vec<u8>> {
        self.shared.bucket().objects.get(name).map(|object| object.bytes.clone())
    }

    /// Objects with these prefixes can be read and not changed, as by an IAM condition.
    pub fn read_only(&self, prefixes: &[&str]) {
        self.shared.bucket().read_only = prefixes.iter().map(|&prefix| prefix.to_owned()).collect();
    }

    /// Where it is, in Google's large letters.
    pub fn place(&self, location: &str) {
        self.shared.bucket().location = location.to_owned();
    }

    /// Called before each request is handled.
    pub fn on_request(&self, hook: Hook) {
        *self.shared.hook.lock().unwrap_or_else(PoisonError::into_inner) = Some(hook);
    }

    /// Every object as text, by name.
    #[must_use]
    pub fn dump(&self) -> BTreeMap<String, String> {
        let bucket = self.shared.bucket();
        let text = |(name, object): (&String, &Object)| (name.clone(), String::from_utf8_lossy(&object.bytes).into());
        bucket.objects.iter().map(text).collect()
    }

    /// Has an object, if it is there, be this much older.
    pub fn age(&self, name: &str, by: Span) {
        if let Some(object) = self.shared.bucket().objects.get_mut(name) {
            object.created = object.created.minus(by);
        }
    }
}

async fn note(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
    let whole = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
    if shared.ask_hook(&method, &whole) == Then::Lose {
        return lost();
    }
    let (answers, number) = {
        let mut bucket = shared.bucket();
        bucket.log.push(format!("{method} {path}"));
        bucket.asked.push(Asked { at: Instant::now(), what: in_words(&method, &whole), answer: None });
        (bucket.answers.clone(), bucket.asked.len() - 1)
    };
    let response = match answers {
        Answers::Status(StatusCode::UNAUTHORIZED) => {
            refuse(StatusCode::UNAUTHORIZED, "authError", "Invalid Credentials")
        }
        Answers::Status(status) => refuse(status, "forbidden", "the caller does not have storage.objects access"),
        // Whoever has asked ends it, or the server when it stops.
        Answers::Never => std::future::pending().await,
        Answers::AsUsual | Answers::Old(_) => next.run(request).await,
    };
    shared.bucket().asked[number].answer = Some(response.status().as_u16());
    response
}

fn in_words(method: &str, path: &str) -> String {
    let Ok(url) = url::Url::parse(&format!("http://bucket{path}")) else { return format!("{method} {path}") };
    let params: BTreeMap<_, _> = url.query_pairs().collect();
    let object = url.path().split_once("/o/").map(|(_, object)| object.replace("%2F", "/"));
    let name = object.or_else(|| params.get("name").map(ToString::to_string)).unwrap_or_else(|| url.path().to_owned());
    let about = if method == "GET" && !params.contains_key("alt") { " metadata" } else { "" };
    let over = params.get("ifGenerationMatch").map(|generation| format!(" over {generation}")).unwrap_or_default();
    format!("{method} {name}{about}{over}")
}

type Params = Query<BTreeMap<String, String>>;

fn refuse(status: StatusCode, reason: &str, message: &str) -> Response {
    let errors = json!([{"message": message, "domain": "global", "reason": reason}]);
    (status, Json(json!({"error": {"code": status.as_u16(), "message": message, "errors": errors}}))).into_response()
}

/// Before a change: a fault that prevents it. After it: a fault that hides it.
fn faulty(fault: Option<Fault>) -> Option<Response> {
    match fault {
        Some(Fault::Unavailable) => Some(refuse(StatusCode::SERVICE_UNAVAILABLE, "backendError", "try again")),
        Some(Fault::Busy) => Some(refuse(StatusCode::TOO_MANY_REQUESTS, "rateLimitExceeded", "slow down")),
        Some(Fault::LoseReply) | None => None,
    }
}

/// A body that breaks off before its end: the client cannot tell whether the change was made.
fn lost() -> Response {
    let broken = futures::stream::once(async { Err::<Bytes, _>(io::Error::other("the connection breaks")) });
    ([(header::CONTENT_LENGTH, "100")], Body::from_stream(broken)).into_response()
}

impl Bucket {
    fn write(&mut self, name: &str, bytes: Vec<u8>) -> u64 {
        self.generation += 1;
        let object = Object { generation: self.generation, created: Time::now(), bytes };
        self.objects.insert(name.to_owned(), object);
        self.generation
    }

    /// Rights are looked at before anything else of the request.
    fn forbids(&self, name: &str) -> Option<Response> {
        let message = "the caller does not have storage.objects.create access";
        let protected = self.read_only.iter().any(|prefix| name.starts_with(prefix));
        protected.then(|| refuse(StatusCode::FORBIDDEN, "forbidden", message))
    }
}

fn as_expected(found: Option<u64>, params: &BTreeMap<String, String>) -> bool {
    params.get("ifGenerationMatch").is_none_or(|wanted| *wanted == found.unwrap_or(0).to_string())
}

fn mismatch() -> Response {
    refuse(
        StatusCode::PRECONDITION_FAILED,
        "conditionNotMet",
        "At least one of the pre-conditions you specified did not hold.",
    )
}

async fn upload(State(shared): State<Shared>, Query(params): Params, body: Bytes) -> Response {
    let mut bucket = shared.bucket();
    let fault = bucket.faults.pop_front();
    if let Some(response) = faulty(fault) {
        return response;
    }
    let Some(name) = params.get("name").cloned() else {
        return refuse(StatusCode::BAD_REQUEST, "required", "Required object name");
    };
    if let Some(refusal) = bucket.forbids(&name) {
        return refusal;
    }
    let found = bucket.objects.get(&name).map(|object| object.generation);
    if !as_expected(found, &params) {
        return mismatch();
    }
    let generation = bucket.write(&name, body.to_vec());
    if fault == Some(Fault::LoseReply) {
        return lost();
    }
    Json(json!({"kind": "storage#object", "name": name, "generation": generation.to_string()})).into_response()
}

/// The bytes with `alt=media`, else the metadata.
async fn read(
    State(shared): State<Shared>,
    Path((_, name)): Path<(String, String)>,
    Query(params): Params,
) -> Response {
    let bucket = shared.bucket();
    let is_wanted = |object: &&Object| params.get("generation").is_none_or(|it| *it == object.generation.to_string());
    let objects = match &bucket.answers {
        Answers::Old(Past(objects)) => objects,
        Answers::AsUsual | Answers::Status(_) | Answers::Never => &bucket.objects,
    };
    match objects.get(&name).filter(is_wanted) {
        None => refuse(StatusCode::NOT_FOUND, "notFound", "No such object"),
        Some(object) if params.get("alt").is_some_and(|alt| alt == "media") => {
            ([("x-goog-generation", object.generation.to_string())], object.bytes.clone()).into_response()
        }
        Some(object) => {
            let generation = object.generation.to_string();
            Json(json!({"generation": generation, "timeCreated": object.created})).into_response()
        }
    }
}

async fn remove(
    State(shared): State<Shared>,
    Path((_, object)): Path<(String, String)>,
    Query(params): Params,
) -> Response {
    let mut bucket = shared.bucket();
    let fault = bucket.faults.pop_front();
    if let Some(response) = faulty(fault) {
        return response;
    }
    if let Some(refusal) = bucket.forbids(&object) {
        return refusal;
    }
    let found = bucket.objects.get(&object).map(|object| object.generation);
    if found.is_none() {
        return refuse(StatusCode::NOT_FOUND, "notFound", "No such object");
    }
    if !as_expected(found, &params) {
        return mismatch();
    }
    bucket.objects.remove(&object);
    if fault == Some(Fault::LoseReply) { lost() } else { StatusCode::NO_CONTENT.into_response() }
}

async fn metadata(State(shared): State<Shared>) -> Response {
    Json(json!({"location": shared.bucket().location})).into_response()
}

/// Pages of two, so that paging is met by every test.
async fn list(State(shared): State<Shared>, Query(params): Params) -> Response {
    let bucket = shared.bucket();
    let text = |key: &str| params.get(key).cloned().unwrap_or_default();
    let (prefix, from, token) = (text("prefix"), text("startOffset"), text("pageToken"));
    let wanted = |name: &&String| name.starts_with(&prefix) && **name >= from && **name > token;
    let mut names = bucket.objects.keys().filter(wanted);
    let page: Vec<&String> = names.by_ref().take(2).collect();
    let mut answer = json!({"kind": "storage#objects"});
    if !page.is_empty() {
        answer["items"] = page.iter().map(|name| json!({"name": name})).collect();
    }
    if names.next().is_some() {
        answer["nextPageToken"] = json!(page.last());
    }
    Json(answer).into_response()
}
