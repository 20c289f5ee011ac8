//! A fake Compute Engine: Google's JSON over HTTP, with state, operations that take time, and faults by script.
//!
//! Whatever it does not implement it answers with 501, in Google's own form, and says so. It is driven by the official
//! clients, and its bodies are checked against Google's published schema (`tests/real/compute.rs`).

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};
use tokio::sync::broadcast;

use super::{Hook, Then, server::Server};
use crate::{
    domain::{Span, Time},
    ports::Clock,
};

mod boot;
mod changes;
mod disks;
mod fault;
mod filter;
mod guest;
mod held;
mod instances;
mod lists;
mod metadata;
mod network;
mod operation;
mod places;
mod power;
mod quota;
mod rights;
mod routes;
mod scheduling;
mod script;
mod serial;
mod world;

pub use boot::{Machines, Powered, System};
pub use fault::{Fault, Method};
pub use held::Held;
pub use metadata::MetadataFault;
pub use world::FakeMachine;
use world::World;

/// One request, as the log shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestLine {
    pub method: String,
    pub path: String,
    /// What was answered; 0 when the connection was closed instead.
    pub status: u16,
}

/// A body that was taken or sent, and what Google's schema calls it.
#[derive(Clone, Debug)]
pub struct Recorded {
    pub schema: &'static str,
    pub body: Value,
}

#[derive(Clone)]
struct Shared {
    world: Arc<Mutex<World>>,
    log: Arc<Mutex<Vec<RequestLine>>>,
    bodies: Arc<Mutex<Vec<Recorded>>>,
    hook: Arc<Mutex<Option<Hook>>>,
    gate: Arc<Mutex<Option<held::Gate>>>,
    lines: broadcast::Sender<RequestLine>,
    clock: Arc<dyn Clock>,
}

/// Metadata servers, by the number of the machine.
type Servers = BTreeMap<u64, Server>;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A running fake; gone when dropped.
pub struct FakeCompute {
    url: String,
    shared: Shared,
    /// Not among what is shared: the servers hold that themselves, and nothing would ever end.
    servers: Arc<Mutex<Servers>>,
    _server: Server,
}

impl FakeCompute {
    /// Starts it on a free port, with these zones and with operations that take this long.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start(zones: &[&str], operation_time: Span, clock: Arc<dyn Clock>) -> io::Result<Self> {
        let listener = Server::listen().await?;
        let url = format!("http://{}", listener.local_addr()?);
        let world = World::new(url.clone(), zones, operation_time);
        let shared = Shared {
            world: Arc::new(Mutex::new(world)),
            log: Arc::default(),
            bodies: Arc::default(),
            hook: Arc::default(),
            gate: Arc::default(),
            lines: broadcast::channel(1024).0,
            clock,
        };
        let router = Router::new().fallback(handle).with_state(shared.clone());
        Ok(Self { url, shared, servers: Arc::default(), _server: Server::start(listener, router)? })
    }

    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The next call of this method meets this.
    pub fn fault(&self, method: Method, fault: Fault) {
        lock(&self.shared.world).faults.push(method, fault);
    }

    /// The next creation is on its way until it is released.
    pub fn hold_insert(&self) -> Held {
        let (gate, held) = held::Gate::new();
        *lock(&self.shared.gate) = Some(gate);
        held
    }

    /// How many creations have come, carried out or not.
    #[must_use]
    pub fn inserts(&self) -> usize {
        let is_insert = |line: &&RequestLine| {
            line.method == "POST" && line.path.split('?').next().is_some_and(|path| path.ends_with("/instances"))
        };
        lock(&self.shared.log).iter().filter(is_insert).count()
    }

    /// A zone that does not answer, or answers again.
    pub fn set_reachable(&self, zone: &str, reachable: bool) {
        lock(&self.shared.world).set_reachable(zone, reachable);
    }

    /// The address of the metadata server that this machine sees; it is started when it is asked for first.
    ///
    /// # Errors
    /// When there is no such machine, or no port can be had.
    pub async fn metadata_server(&self, machine: &str) -> io::Result<SocketAddr> {
        let found = lock(&self.shared.world).machines.iter().find(|found| found.name == machine).map(|found| found.id);
        let id = found.ok_or_else(|| io::Error::other(format!("there is no machine {machine}")))?;
        metadata_server(&self.shared, &self.servers, id).await
    }

    #[must_use]
    pub fn log(&self) -> Vec<RequestLine> {
        lock(&self.shared.log).clone()
    }

    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<RequestLine> {
        self.shared.lines.subscribe()
    }

    /// Every body taken or sent so far.
    #[must_use]
    pub fn bodies(&self) -> Vec<Recorded> {
        lock(&self.shared.bodies).clone()
    }

    /// Called before each request is handled.
    pub fn on_request(&self, hook: Hook) {
        *lock(&self.shared.hook) = Some(hook);
    }
}

/// The metadata server of this machine, started if there is none. Those of machines that are gone end here.
async fn metadata_server(shared: &Shared, servers: &Mutex<Servers>, machine: u64) -> io::Result<SocketAddr> {
    {
        let world = lock(&shared.world);
        let mut servers = lock(servers);
        servers.retain(|id, _| world.machines.iter().any(|found| found.id == *id));
        if let Some(server) = servers.get(&machine) {
            return Ok(server.address());
        }
    }
    let server = Server::http(metadata::router(shared.clone(), machine)).await?;
    // Somebody may have asked meanwhile; there is one server for one machine.
    Ok(lock(servers).entry(machine).or_insert(server).address())
}

struct Answer {
    status: StatusCode,
    schema: &'static str,
    body: Value,
    lost: bool,
}

impl Answer {
    fn ok(schema: &'static str, body: Value) -> Self {
        Self { status: StatusCode::OK, schema, body, lost: false }
    }

    fn error(status: StatusCode, reason: &str, message: &str) -> Self {
        let errors = json!([{"message": message, "domain": "global", "reason": reason}]);
        let body = json!({"error": {"code": status.as_u16(), "message": message, "errors": errors}});
        Self { status, schema: "", body, lost: false }
    }
}

async fn handle(State(shared): State<Shared>, request: Request) -> Response {
    let method = request.method().to_string();
    let path = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
    let then = lock(&shared.hook).as_ref().map_or(Then::Handle, |hook| hook(&method, &path));
    if then == Then::Lose {
        return broken();
    }
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 4 << 20).await.unwrap_or_default();
    let is_insert = head.method == http::Method::POST && head.uri.path().ends_with("/instances");
    let gate = if is_insert { lock(&shared.gate).take() } else { None };
    let Some(gate) = gate else { return answer(&shared, &head, &body).await };
    // In a task of its own: this one ends with the connection.
    let task = tokio::spawn(async move {
        gate.pass().await;
        answer(&shared, &head, &body).await
    });
    task.await.unwrap_or_else(|_| broken())
}

async fn answer(shared: &Shared, head: &http::request::Parts, body: &Bytes) -> Response {
    let method = head.method.to_string();
    let path = head.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
    let now = shared.clock.now();
    let answer = {
        let mut world = lock(&shared.world);
        world.advance(now);
        routes::route(&mut world, head, body, now)
    };
    let hang = matches!(answer, routes::Reply::Hang);
    let answer = match answer {
        routes::Reply::Answer(answer) => answer,
        routes::Reply::Closed | routes::Reply::Hang => {
            note(shared, &method, &path, 0);
            if hang {
                std::future::pending::<()>().await;
            }
            return broken();
        }
    };
    record(shared, &head.method, head.uri.path(), body, &answer);
    note(shared, &method, &path, if answer.lost { 0 } else { answer.status.as_u16() });
    if answer.lost {
        return broken();
    }
    (answer.status, [(header::CONTENT_TYPE, "application/json; charset=UTF-8")], answer.body.to_string())
        .into_response()
}

fn note(shared: &Shared, method: &str, path: &str, status: u16) {
    let line = RequestLine { method: method.to_owned(), path: path.to_owned(), status };
    lock(&shared.log).push(line.clone());
    let _ = shared.lines.send(line);
}

fn record(shared: &Shared, method: &http::Method, path: &str, body: &Bytes, answer: &Answer) {
    let mut bodies = lock(&shared.bodies);
    if method == http::Method::POST
        && let (Some(schema), Ok(body)) = (routes::request_schema(path), serde_json::from_slice(body))
    {
        bodies.push(Recorded { schema, body });
    }
    if !answer.schema.is_empty() {
        bodies.push(Recorded { schema: answer.schema, body: answer.body.clone() });
    }
}

/// An answer that breaks off: the caller cannot know what has happened.
fn broken() -> Response {
    let body = futures::stream::once(async { Err::<Bytes, _>(io::Error::other("the connection breaks")) });
    ([(header::CONTENT_LENGTH, "100")], Body::from_stream(body)).into_response()
}

/// RFC 3339 as Google writes it.
fn timestamp(at: Time) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S%.3f+00:00").to_string()
}
