//! Connections that do nothing: each has an end, and they never keep anybody else out.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Bytes,
    routing::{get, post},
};
use failover::adapters::server::{PortLimits, serve};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Notify,
};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Two places, and no end that a test would reach.
const LIMITS: PortLimits =
    PortLimits { connections: 2, first_request: Duration::from_secs(600), idle: Duration::from_secs(600) };
const SHORT: Duration = Duration::from_millis(100);
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: w\r\n\r\n";

struct Port {
    address: std::net::SocketAddr,
    /// How many requests hang, and what ends them.
    hanging: Arc<AtomicUsize>,
    more: Arc<Notify>,
    end: Arc<Notify>,
    _stop: DropGuard,
}

impl Port {
    async fn start(limits: PortLimits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (hanging, more, end) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()), Arc::new(Notify::new()));
        let hang = {
            let (hanging, more, end) = (hanging.clone(), more.clone(), end.clone());
            async move || {
                hanging.fetch_add(1, Ordering::SeqCst);
                more.notify_one();
                end.notified().await;
            }
        };
        let router = Router::new()
            .route("/", get(async || "here"))
            .route("/hang", get(hang))
            .route("/take", post(async |_: Bytes| ()));
        let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
        tokio::spawn(serve(listener, None, router, limits, stop.clone()));
        Self { address, hanging, more, end, _stop: stop.drop_guard() }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// A connection that was answered once, and is kept.
    async fn used(&self) -> TcpStream {
        let mut stream = self.connect().await;
        assert!(answered(&mut stream).await);
        stream
    }

    async fn hangs(&self) -> TcpStream {
        let (mut stream, before) = (self.connect().await, self.hanging.load(Ordering::SeqCst));
        stream.write_all(b"GET /hang HTTP/1.1\r\nHost: w\r\n\r\n").await.unwrap();
        while self.hanging.load(Ordering::SeqCst) == before {
            self.more.notified().await;
        }
        stream
    }
}

/// Asks once more; whether that was answered.
async fn answered(stream: &mut TcpStream) -> bool {
    let mut answer = Vec::new();
    if stream.write_all(REQUEST).await.is_err() {
        return false;
    }
    while !answer.ends_with(b"here") {
        if !matches!(stream.read_buf(&mut answer).await, Ok(1..)) {
            return false;
        }
    }
    answer.starts_with(b"HTTP/1.1 200")
}

/// How long it takes until the other side has closed it.
async fn closed_after(mut stream: TcpStream) -> Duration {
    let since = Instant::now();
    let _ = stream.read_to_end(&mut Vec::new()).await;
    since.elapsed()
}

#[tokio::test]
async fn a_head_that_does_not_end_is_not_waited_for() {
    let port = Port::start(PortLimits { first_request: SHORT, ..LIMITS }).await;
    let mut stream = port.connect().await;
    stream.write_all(&REQUEST[..20]).await.unwrap();
    assert!(closed_after(stream).await < LIMITS.idle / 2);
}

#[tokio::test]
async fn a_connection_that_was_used_is_kept_for_a_while_and_then_closed() {
    let port = Port::start(PortLimits { idle: SHORT, ..LIMITS }).await;
    let stream = port.used().await;
    let kept = closed_after(stream).await;
    assert!(SHORT / 2 < kept && kept < LIMITS.first_request / 2, "{kept:?}");
}

#[tokio::test]
async fn a_request_that_is_worked_on_is_no_idle_connection() {
    let port = Port::start(PortLimits { idle: SHORT, ..LIMITS }).await;
    let mut stream = port.hangs().await;
    for _ in 0..3 {
        closed_after(port.used().await).await;
    }
    port.end.notify_one();
    let mut answer = Vec::new();
    stream.read_buf(&mut answer).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
}

#[tokio::test]
async fn when_all_places_are_taken_the_one_that_has_waited_longest_goes() {
    let port = Port::start(LIMITS).await;
    let (mut first, mut second) = (port.used().await, port.used().await);
    let mut third = port.used().await;
    assert!(!answered(&mut first).await, "it has waited longest");
    assert!(answered(&mut second).await && answered(&mut third).await);
}

#[tokio::test]
async fn a_body_that_does_not_come_keeps_nobody_out() {
    let port = Port::start(LIMITS).await;
    let mut stalled = Vec::new();
    for _ in 0..3 {
        let mut stream = port.connect().await;
        stream.write_all(b"POST /take HTTP/1.1\r\nHost: w\r\nContent-Length: 9\r\n\r\n1").await.unwrap();
        stalled.push(stream);
    }
    assert!(answered(&mut port.connect().await).await);
    assert!(answered(&mut port.connect().await).await);
}

#[tokio::test]
async fn when_all_are_worked_on_a_new_one_is_refused_and_none_is_cut_off() {
    let port = Port::start(LIMITS).await;
    let (mut first, mut second) = (port.hangs().await, port.hangs().await);
    assert!(!answered(&mut port.connect().await).await);
    port.end.notify_waiters();
    for stream in [&mut first, &mut second] {
        let mut answer = Vec::new();
        stream.read_buf(&mut answer).await.unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 200"));
    }
    assert!(answered(&mut port.connect().await).await);
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let port = Port::start(LIMITS).await;
    let mut stream = port.connect().await;
    let head = format!("GET / HTTP/1.1\r\nHost: w\r\nX: {}\r\n\r\n", "x".repeat(17 << 10));
    // It may have been refused before all of it was sent.
    let _ = stream.write_all(head.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 431"), "{}", String::from_utf8_lossy(&answer));
    assert!(answered(&mut port.connect().await).await);
}
