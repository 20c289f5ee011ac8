//! The watcher's own port: health, metrics, the status page and its JSON. Alertmanager's webhook is mounted beside it.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::{Html, IntoResponse, Response},
    routing::get,
};

use askama::Template as _;
use prometheus_client::registry::Registry;

use crate::runtime::{
    Handle,
    status::{Status, WebhookStatus},
};

pub mod metrics;
mod page;

#[derive(Clone)]
pub struct WebState {
    pub engine: Handle,
    /// What is to be said beside the engine's own warnings.
    pub warnings: Arc<dyn Fn() -> Option<String> + Send + Sync>,
    /// What has come to the webhook beside it.
    pub arrived: Arc<dyn Fn() -> Option<WebhookStatus> + Send + Sync>,
    pub counters: Arc<Registry>,
}

impl WebState {
    /// As this process sees it; one that waits for the lease says so in it. Nothing when the engine does not answer.
    async fn status(&self) -> Option<Status> {
        let mut status = self.engine.see().await?;
        status.warnings.extend((self.warnings)());
        status.webhook = (self.arrived)();
        Some(status)
    }
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
    if state.engine.leads() {
        "ok\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, NOT_THE_HOLDER).into_response()
    }
}

async fn status(State(state): State<WebState>) -> Response {
    match state.status().await {
        Some(status) => Json(status).into_response(),
        None => (StatusCode::SERVICE_UNAVAILABLE, STUCK).into_response(),
    }
}

async fn show(State(state): State<WebState>) -> Response {
    match state.status().await {
        Some(status) => {
            Html(page::Page { status: &status }.render().expect("a page is written into memory")).into_response()
        }
        None => (StatusCode::SERVICE_UNAVAILABLE, STUCK).into_response(),
    }
}

async fn show_metrics(State(state): State<WebState>) -> Response {
    let text = metrics::render(state.status().await.as_ref(), &state.counters);
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response()
}
