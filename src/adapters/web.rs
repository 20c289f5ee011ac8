//! The watcher's own pages: health, metrics, the status page and its JSON. Alertmanager's webhook is mounted beside
//! them.

use std::{
    sync::{Arc, LazyLock},
    time::Instant,
};

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderValue, Method, StatusCode, header},
    middleware::{self, Next},
    response::{Html, IntoResponse, Response},
    routing::get,
};

use askama::Template as _;
use prometheus_client::registry::Registry;

use super::server::{LINES, access::Access};
use crate::{
    domain::{one_line, visible, visible_html, visible_json},
    runtime::{
        Handle,
        status::{Status, WebhookStatus},
    },
};

pub mod metrics;
mod page;
mod refused;

use refused::RefusedBecause;
pub use refused::RefusedRequests;

/// How much of a path that anybody may have written is shown, in characters.
const MAX_PATH: usize = 60;

#[derive(Clone)]
pub struct WebState {
    pub engine: Handle,
    /// What is to be said beside the engine's own warnings.
    pub warnings: Arc<dyn Fn() -> Vec<String> + Send + Sync>,
    /// What has come to the webhook beside it.
    pub arrived: Arc<dyn Fn() -> Option<WebhookStatus> + Send + Sync>,
    pub counters: Arc<Registry>,
    /// Who may see more than health.
    pub login: Arc<Access>,
    /// Where Alertmanager has to send to, if there is a webhook.
    pub webhook_path: Option<&'static str>,
    pub refused: Arc<RefusedRequests>,
}

impl WebState {
    /// As this process sees it; one that waits for the lease says so in it. Nothing when the engine does not answer.
    async fn status(&self) -> Option<Status> {
        let mut status = self.engine.see().await?;
        status.warnings.extend((self.warnings)());
        status.warnings.extend(self.refused.warning(self.webhook_path, Instant::now()));
        status.webhook = (self.arrived)();
        Some(status)
    }
}

/// Everything that is served on the port: our own pages, and `beside` them what brings its own login.
pub fn routes(state: WebState, beside: Router) -> Router {
    let (unknown, wrong_method) = (state.clone(), state.clone());
    Router::new()
        .route("/", get(show))
        .route("/api/v1/status", get(status))
        .route("/metrics", get(show_metrics))
        .route_layer(middleware::from_fn_with_state(state.clone(), only_logged_in))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .with_state(state)
        .merge(beside)
        .fallback(async move |request: Request| nothing_here(&unknown, &request, StatusCode::NOT_FOUND))
        .method_not_allowed_fallback(async move |request: Request| {
            nothing_here(&wrong_method, &request, StatusCode::METHOD_NOT_ALLOWED)
        })
        .layer(middleware::map_response(with_headers))
}

async fn only_logged_in(State(state): State<WebState>, request: Request, next: Next) -> Response {
    if state.login.allows(request.headers().get(header::AUTHORIZATION), Instant::now()) {
        return next.run(request).await;
    }
    state.refused.count(RefusedBecause::Unauthorised);
    if let Some(times) = LINES.due("page without login") {
        tracing::warn!(times, path = %one_line(request.uri().path(), MAX_PATH), "somebody asked without the right login");
    }
    let text = "wrong or missing credentials: this needs the login in http.login\n";
    (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, state.login.challenge())], text).into_response()
}

/// What is not there. A message that was sent to the wrong place is lost: Alertmanager does not repeat what gets a 4xx.
fn nothing_here(state: &WebState, request: &Request, status: StatusCode) -> Response {
    let path = one_line(request.uri().path(), MAX_PATH);
    if request.method() != Method::POST {
        state.refused.count(RefusedBecause::NotFound);
        if let Some(times) = LINES.due("not found") {
            tracing::info!(times, method = %request.method(), path, "somebody asked for what is not here");
        }
        return (status, format!("there is nothing for {} {path}\n", request.method())).into_response();
    }
    state.refused.post(&path, Instant::now());
    let remedy = where_to(state.webhook_path);
    if let Some(times) = LINES.due("post not found") {
        tracing::error!(times, path, "ALERTS MAY BE LOST: a POST was sent to where nothing is; {remedy}");
    }
    (status, format!("there is nothing for POST {path}; {remedy}\n")).into_response()
}

fn where_to(webhook: Option<&str>) -> String {
    match webhook {
        Some(path) => format!("Alertmanager must send to {path}"),
        None => "there is no webhook for Alertmanager: add the section `alertmanager`".to_owned(),
    }
}

/// What a browser may do with an answer: show it, by itself, once.
async fn with_headers(mut response: Response) -> Response {
    static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
        let policy = format!(
            "default-src 'none'; style-src 'sha256-{}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
            page::style_digest()
        );
        HeaderValue::from_str(&policy).expect("a header")
    });
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, POLICY.clone());
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
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
