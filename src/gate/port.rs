//! The gate's port: what it does and why, for the watcher, for people and for kubelet. It takes no orders.

use std::{
    collections::VecDeque,
    convert::Infallible,
    fmt::Write as _,
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use strum::IntoEnumIterator as _;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{AbortHandle, JoinSet},
};
use tokio_util::sync::CancellationToken;

use crate::{
    domain::{
        Time, elapsed,
        gate::{GatePhase, GateStatus, WaitKind},
    },
    raw_clock,
};

/// Connections at a time. With one more the oldest is closed: who opens many and says nothing must not keep kubelet
/// out.
const CONNECTIONS: usize = 16;
/// How long the head of a request may take.
const HEAD: Duration = Duration::from_secs(5);
/// How long a connection lasts, idle or not.
const CONNECTION: Duration = Duration::from_secs(30);
/// The head of a request, in bytes; the least that hyper takes.
const MAX_HEAD: usize = 8 << 10;
const MAX_HEADERS: usize = 32;
/// A loop that has not turned for so long hangs: it looks at the session every 30 seconds, and one request may take
/// ten.
pub(super) const HANGS: Duration = Duration::from_secs(120);

/// What the loop shows.
pub struct Board {
    status: watch::Receiver<GateStatus>,
    /// When the loop turned last, in milliseconds since boot.
    turned: AtomicU64,
}

impl Board {
    #[must_use]
    pub fn new(status: watch::Receiver<GateStatus>) -> Self {
        Self { status, turned: AtomicU64::new(now()) }
    }

    /// The clock that nobody sets, for the loop and nobody else: each reading is a sign that the loop turns.
    pub fn clock(self: &Arc<Self>) -> Arc<dyn Fn() -> Duration + Send + Sync> {
        let board = self.clone();
        Arc::new(move || {
            board.turned.store(now(), Ordering::Relaxed);
            raw_clock::now()
        })
    }

    /// While the command ends it waits for that, which its keeper limits.
    pub fn turns(&self) -> bool {
        if matches!(self.status.borrow().state, GatePhase::Stopping { .. }) {
            return true;
        }
        u128::from(now().saturating_sub(self.turned.load(Ordering::Relaxed))) < HANGS.as_millis()
    }

    /// What is true now.
    #[must_use]
    pub fn status(&self) -> GateStatus {
        self.status.borrow().clone()
    }

    #[cfg(test)]
    pub(crate) fn hang(&self) {
        let hung = now().saturating_sub(u64::try_from(HANGS.as_millis()).unwrap());
        self.turned.store(hung, Ordering::Relaxed);
    }
}

fn now() -> u64 {
    u64::try_from(raw_clock::now().as_millis()).unwrap_or(u64::MAX)
}

/// Answers until it is stopped; no connection outlives it.
pub async fn serve(listener: TcpListener, board: Arc<Board>, stopped: CancellationToken) {
    let mut tasks = JoinSet::new();
    let mut open = VecDeque::<AbortHandle>::new();
    loop {
        let accepted = tokio::select! {
            () = stopped.cancelled() => break,
            Some(_) = tasks.join_next() => {
                open.retain(|task| !task.is_finished());
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                if open.len() >= CONNECTIONS
                    && let Some(oldest) = open.pop_front()
                {
                    oldest.abort();
                }
                open.push_back(tasks.spawn(connection(stream, board.clone())));
            }
            Err(error) => not_accepted(&error).await,
        }
    }
    tasks.shutdown().await;
}

/// No file descriptor is left, for example. It may pass, and asking at once would only be busy.
async fn not_accepted(error: &io::Error) {
    tracing::warn!(%error, "the port takes no connection");
    tokio::time::sleep(Duration::from_millis(200)).await;
}

async fn connection(stream: TcpStream, board: Arc<Board>) {
    let answers = service_fn(move |request: Request<Incoming>| {
        let response = answer(request.method(), request.uri().path(), &board);
        async { Ok::<_, Infallible>(response) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(stream), answers);
    // How a connection ended concerns nobody.
    let _ = tokio::time::timeout(CONNECTION, serving).await;
}

fn answer(method: &Method, path: &str, board: &Board) -> Response<Full<Bytes>> {
    const TEXT: &str = "text/plain; charset=utf-8";
    let known = matches!(path, "/status" | "/livez" | "/metrics");
    let (status, kind, body) = match path {
        _ if known && method != Method::GET => (StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET\n".to_owned()),
        "/status" => {
            let json = serde_json::to_string(&board.status()).expect("a status is a struct with text keys");
            (StatusCode::OK, "application/json", json + "\n")
        }
        "/livez" if board.turns() => (StatusCode::OK, TEXT, "ok\n".to_owned()),
        "/livez" => (StatusCode::SERVICE_UNAVAILABLE, TEXT, "the loop hangs\n".to_owned()),
        "/metrics" => (StatusCode::OK, "text/plain; version=0.0.4", metrics(&board.status(), Time::now())),
        _ => (StatusCode::NOT_FOUND, TEXT, "there are /status, /livez and /metrics\n".to_owned()),
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET"));
    }
    // What comes with a request is not read, so nothing may follow it.
    if !method.is_safe() {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// In the text form of Prometheus. No value that is shown needs escaping.
fn metrics(status: &GateStatus, now: Time) -> String {
    let mut text = String::new();
    let mut gauge = |name: &str, help: &str, samples: &[(String, f64)]| {
        if !samples.is_empty() {
            let _ = writeln!(text, "# HELP failover_gate_{name} {help}\n# TYPE failover_gate_{name} gauge");
        }
        for (labels, value) in samples {
            let _ = writeln!(text, "failover_gate_{name}{labels} {value}");
        }
    };
    let version = env!("CARGO_PKG_VERSION");
    gauge("info", "The program.", &[(format!("{{version=\"{version}\"}}"), 1.0)]);
    let flag = |yes: bool| f64::from(u8::from(yes));
    let one = |value: f64| vec![(String::new(), value)];
    let runs = matches!(status.state, GatePhase::Running { .. });
    gauge("running", "1 while the command runs.", &one(flag(runs)));
    let waits = |kind: WaitKind| matches!(&status.state, GatePhase::Waiting { kind: found, .. } if *found == kind);
    let kinds = WaitKind::iter().map(|kind| (format!("{{kind=\"{}\"}}", <&str>::from(kind)), flag(waits(kind))));
    gauge("waiting", "1 for what it waits for.", &kinds.collect::<Vec<_>>());
    let age = status.renewed_at.map(|at| one(elapsed(at, now).as_secs_f64())).unwrap_or_default();
    gauge("session_age_seconds", "Since the ledger last confirmed the session.", &age);
    #[expect(clippy::cast_precision_loss, reason = "a number counts promotions")]
    let number = status.number.map(|number| one(number as f64)).unwrap_or_default();
    gauge("grant_number", "The number of the newest verified grant.", &number);
    text
}

#[cfg(test)]
pub(crate) mod tests;
