//! One listener of the fake world: a free port of loopback, something that serves it, and an end when it is dropped.
//!
//! It knows nothing of what is served. It can go down and come up again on the same port, as a machine does that loses
//! its power.

use std::{
    fmt,
    future::Future,
    io,
    net::{Ipv4Addr, SocketAddr},
    pin::Pin,
    sync::{Mutex, MutexGuard, PoisonError},
};

use axum::{
    Router,
    extract::{Request, State},
    http::StatusCode,
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

type Serving = Pin<Box<dyn Future<Output = ()> + Send>>;
/// Serves a listener until the token is cancelled.
type Serve = dyn Fn(TcpListener, CancellationToken) -> Serving + Send + Sync;

/// A port that is served; it stops when it is dropped.
pub(super) struct Server {
    address: SocketAddr,
    serve: Box<Serve>,
    running: Mutex<Option<(CancellationToken, JoinHandle<()>)>>,
}

impl Server {
    /// Serves this router on a free port.
    pub(super) async fn http(router: Router) -> io::Result<Self> {
        Self::start(Self::listen().await?, router)
    }

    /// A free port, for a router that has to know its own address.
    pub(super) async fn listen() -> io::Result<TcpListener> {
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await
    }

    /// Serves this router on this port.
    pub(super) fn start(listener: TcpListener, router: Router) -> io::Result<Self> {
        Self::raw(listener, move |listener, stop| http(listener, router.clone(), stop))
    }

    /// Serves this port by other means than HTTP. What is served ends when the token is cancelled.
    pub(super) fn raw<S>(
        listener: TcpListener,
        serve: impl Fn(TcpListener, CancellationToken) -> S + Send + Sync + 'static,
    ) -> io::Result<Self>
    where
        S: Future<Output = ()> + Send + 'static,
    {
        let serve: Box<Serve> = Box::new(move |listener, stop| Box::pin(serve(listener, stop)));
        let server = Self { address: listener.local_addr()?, serve, running: Mutex::default() };
        server.run(listener);
        Ok(server)
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Stops it: when this returns, the port refuses connections and those that were open are closed.
    pub(super) async fn down(&self) {
        let running = self.running().take();
        if let Some((stop, server)) = running {
            stop.cancel();
            // A task that was cancelled or has panicked serves no more either.
            let _ = server.await;
        }
    }

    /// Starts it on the same port; nothing happens if it runs.
    ///
    /// # Errors
    /// When somebody else has taken the port meanwhile.
    pub(super) async fn up(&self) -> io::Result<()> {
        if self.running().is_none() {
            self.run(TcpListener::bind(self.address).await?);
        }
        Ok(())
    }

    fn run(&self, listener: TcpListener) {
        let stop = CancellationToken::new();
        let server = tokio::spawn((self.serve)(listener, stop.clone()));
        *self.running() = Some((stop, server));
    }

    fn running(&self) -> MutexGuard<'_, Option<(CancellationToken, JoinHandle<()>)>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some((stop, server)) = self.running().take() {
            // Requests that hang end by the token; the listener is closed with its task.
            stop.cancel();
            server.abort();
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("address", &self.address).finish_non_exhaustive()
    }
}

async fn http(listener: TcpListener, router: Router, stop: CancellationToken) {
    let router = router.layer(middleware::from_fn_with_state(stop.clone(), until_stopped));
    if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await {
        tracing::warn!(%error, "a fake server has ended");
    }
}

/// A request that hangs by script must not keep the server from stopping.
async fn until_stopped(State(stop): State<CancellationToken>, request: Request, next: Next) -> Response {
    tokio::select! {
        biased;
        () = stop.cancelled() => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        response = next.run(request) => response,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::routing::get;

    use super::*;

    async fn answers(address: SocketAddr) -> bool {
        tokio::net::TcpStream::connect(address).await.is_ok()
    }

    #[tokio::test]
    async fn a_server_goes_down_and_comes_up_on_the_same_port_and_ends_when_dropped() {
        let server = Server::http(Router::new().route("/", get(|| async { "here" }))).await.unwrap();
        let address = server.address();
        assert!(answers(address).await);
        server.down().await;
        assert!(!answers(address).await);
        server.up().await.unwrap();
        server.up().await.unwrap();
        assert!(answers(address).await);
        drop(server);
        let gone = async { while answers(address).await {} };
        tokio::time::timeout(Duration::from_secs(10), gone).await.expect("its task ends as soon as it is polled");
    }

    #[tokio::test]
    async fn a_request_that_hangs_does_not_keep_the_server_from_stopping() {
        let hang = || async { std::future::pending::<()>().await };
        let (met, mut meets) = tokio::sync::mpsc::unbounded_channel();
        let router =
            Router::new().route("/", get(hang)).layer(middleware::from_fn(move |request: Request, next: Next| {
                let _ = met.send(());
                next.run(request)
            }));
        let server = Server::http(router).await.unwrap();
        crate::adapters::http::install_tls_provider();
        let asked = tokio::spawn(reqwest::get(server.url()));
        meets.recv().await.unwrap();
        server.down().await;
        let answer = asked.await.unwrap();
        assert!(answer.is_err() || answer.is_ok_and(|answer| answer.status() == 503));
    }
}
