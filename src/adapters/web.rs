//! The watcher's own port: health, metrics, the status page and its JSON. Alertmanager's webhook is mounted beside it.

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{Html, IntoResponse, Response},
    routing::get,
};

use askama::Template as _;
use prometheus_client::registry::Registry;

use crate::{
    domain::{visible, visible_html, visible_json},
    runtime::{Handle, status::Status},
};

pub mod metrics;
mod page;

#[derive(Clone)]
pub struct WebState {
    pub engine: Handle,
    /// What is to be said beside the engine's own warnings.
    pub warnings: Arc<dyn Fn() -> Option<String> + Send + Sync>,
    pub counters: Arc<Registry>,
}

impl WebState {
    /// As this process sees it; one that waits for the lease says so in it. Nothing when the engine does not answer.
    async fn status(&self) -> Option<Status> {
        let mut status = self.engine.see().await?;
        status.warnings.extend((self.warnings)());
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
        Some(status) => {
            let json = serde_json::to_string(&status).expect("a status has only names as keys");
            ([(header::CONTENT_TYPE, "application/json")], visible_json(&json)).into_response()
        }
        None => (StatusCode::SERVICE_UNAVAILABLE, STUCK).into_response(),
    }
}

async fn show(State(state): State<WebState>) -> Response {
    match state.status().await {
        Some(status) => {
            let page = page::Page { status: &status }.render().expect("a page is written into memory");
            Html(visible_html(&page)).into_response()
        }
        None => (StatusCode::SERVICE_UNAVAILABLE, STUCK).into_response(),
    }
}

async fn show_metrics(State(state): State<WebState>) -> Response {
    let text = visible(&metrics::render(state.status().await.as_ref(), &state.counters));
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response()
}
