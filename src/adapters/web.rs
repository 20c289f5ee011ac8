//! The watcher's own port: health, metrics, the status page and its JSON. Alertmanager's webhook is mounted beside it.

use std::{future::Future, pin::Pin, sync::Arc};

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::{Html, IntoResponse, Response},
    routing::get,
};

use askama::Template as _;
use prometheus_client::registry::Registry;

use crate::runtime::status::Status;

pub mod metrics;
mod page;

/// Answers what everybody may see, or nothing when this process does not come to answering.
pub type Ask = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Option<Status>> + Send>> + Send + Sync>;

#[derive(Clone)]
pub struct WebState {
    /// The status as this process sees it; one that waits for the lease says so in it.
    pub ask: Ask,
    pub leads: Arc<dyn Fn() -> bool + Send + Sync>,
    pub counters: Arc<Registry>,
}

pub fn routes(state: WebState) -> Router {
    Router::new()
        .route("/", get(show))
        .route("/api/v1/status", get(status))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(show_metrics))
        .with_state(state)
}

const NOT_THE_HOLDER: &str = "this process does not hold the lease\n";
const STUCK: &str = "this process does not answer: it begins or ends to lead, or waits for its ledger\n";

async fn ready(State(state): State<WebState>) -> Response {
    if (state.leads)() {
        "ok\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, NOT_THE_HOLDER).into_response()
    }
}

async fn status(State(state): State<WebState>) -> Response {
    match (state.ask)().await {
        Some(status) => Json(status).into_response(),
        None => (StatusCode::SERVICE_UNAVAILABLE, STUCK).into_response(),
    }
}

async fn show(State(state): State<WebState>) -> Response {
    match (state.ask)().await {
        Some(status) => {
            Html(page::Page { status: &status }.render().expect("a page is written into memory")).into_response()
        }
        None => (StatusCode::SERVICE_UNAVAILABLE, STUCK).into_response(),
    }
}

async fn show_metrics(State(state): State<WebState>) -> Response {
    let text = metrics::render((state.ask)().await.as_ref(), &state.counters);
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response()
}
