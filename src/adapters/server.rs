//! The watcher's own port: who may connect and for how long, TLS, logins, and how much memory all of it may take.
//!
//! It does not know what is served. What anybody can cause from outside is bounded here, whatever comes;
//! `docs/decisions/0013` says by how much, and why.

pub mod access;
pub mod budget;
mod connections;
mod lines;
pub mod tls;

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use hyper::{body::Incoming, server::conn::http1, service::Service as _};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpSocket, TcpStream},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use connections::{ArrivingBody, Connection, Connections};
pub use lines::LINES;
use tls::PortTls;

/// How much the port may cost.
#[derive(Clone, Copy, Debug)]
pub struct PortLimits {
    /// How many connections are held. When all are, a new one takes the place of the one that has waited longest.
    pub connections: usize,
    /// How long a new connection may take until its first request has arrived, the handshake included.
    pub first_request: Duration,
    /// How long a connection may do nothing, or take nothing of an answer, before it is closed.
    pub idle: Duration,
}

impl Default for PortLimits {
    /// A house has one Prometheus, some Alertmanagers, the kubelet and a browser.
    fn default() -> Self {
        Self { connections: 128, first_request: Duration::from_secs(10), idle: Duration::from_secs(60) }
    }
}

impl PortLimits {
    /// Asks for as many open files as this process may have, and leaves half of them to everything else.
    #[must_use]
    pub fn within_open_files(self) -> Self {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let limit = getrlimit(Resource::Nofile);
        // Refused only where somebody has lowered the limit meanwhile; then the lower one counts.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
        let open = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX) / 2;
        Self { connections: self.connections.min(usize::try_from(open).unwrap_or(usize::MAX)).max(1), ..self }
    }
}

/// How many connections may wait to be accepted. One that comes when the queue is full is tried again a second later by
/// its caller's system.
const BACKLOG: u32 = 4096;
/// The largest head of a request, and the buffer of a connection. Prometheus and browsers send 1 KiB.
const MAX_HEAD: usize = 16 << 10;
/// How long is waited after the system has refused a connection, because it has no files left for example.
const AFTER_REFUSAL: Duration = Duration::from_millis(100);

/// Takes the port.
///
/// # Errors
/// What the system says.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A port is free again as soon as its last owner has ended.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves until the token is cancelled; then requests that are being answered may end. Dropping it ends everything.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Arc<PortTls>>,
    router: Router,
    limits: PortLimits,
    stop: CancellationToken,
) {
    let (open, mut tasks) = (Connections::new(limits), JoinSet::new());
    loop {
        let stream = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(_) = tasks.join_next() => continue,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    refused_by_the_system(&open, &error).await;
                    continue;
                }
            },
        };
        let Some(connection) = open.admit().await else { continue };
        let (router, tls, stop) = (router.clone(), tls.clone(), stop.clone());
        tasks.spawn(async move {
            tokio::select! {
                () = connection.overdue() => {}
                () = drive(stream, tls, router, &connection, stop) => {}
            }
        });
    }
    drop(listener);
    while tasks.join_next().await.is_some() {}
}

async fn refused_by_the_system(open: &Connections, error: &io::Error) {
    // Somebody hung up before we came to it.
    if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
        return;
    }
    if let Some(times) = LINES.due("accept") {
        tracing::error!(times, %error, "the system gives no connection; the one that has waited longest is closed");
    }
    open.close_one();
    tokio::time::sleep(AFTER_REFUSAL).await;
}

async fn drive(
    stream: TcpStream,
    tls: Option<Arc<PortTls>>,
    router: Router,
    connection: &Arc<Connection>,
    stop: CancellationToken,
) {
    // A small answer must not wait for the next one.
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else { return answer(stream, router, connection, stop).await };
    let accepted = tokio::select! {
        accepted = tls.acceptor().accept(stream) => accepted,
        () = stop.cancelled() => return,
    };
    match accepted {
        Ok(stream) => answer(stream, router, connection, stop).await,
        Err(error) => {
            if let Some(times) = LINES.due("handshake") {
                tracing::warn!(times, %error, "a TLS handshake failed; does the caller trust our authority?");
            }
        }
    }
}

async fn answer(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    connection: &Arc<Connection>,
    stop: CancellationToken,
) {
    let router = TowerToHyperService::new(router);
    let service = hyper::service::service_fn(move |request: http::Request<Incoming>| {
        let request = request.map(|body| ArrivingBody::new(body, connection));
        let (answer, connection) = (router.call(request), Arc::clone(connection));
        connection.works();
        async move {
            let answer = answer.await;
            connection.waits();
            Ok::<_, Infallible>(answer.unwrap_or_else(|never| match never {}))
        }
    });
    let mut serving =
        std::pin::pin!(http1::Builder::new().max_buf_size(MAX_HEAD).serve_connection(TokioIo::new(stream), service));
    // An error is the caller's: it hung up, or does not speak HTTP.
    tokio::select! {
        _ = serving.as_mut() => return,
        () = stop.cancelled() => serving.as_mut().graceful_shutdown(),
    }
    let _ = serving.await;
}
