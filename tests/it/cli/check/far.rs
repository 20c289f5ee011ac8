//! What is far away: releases, a mirror of them, and an Alertmanager that passes on what it is given, where it has a
//! route.

use std::sync::{Arc, Mutex};

use axum::{
    Json, Router,
    body::Body,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
    routing::get,
};
use futures::{StreamExt as _, stream};
use serde_json::{Value, json};

pub const RELEASE: &[u8] = b"\x7fELF a release";
/// `printf '\177ELF a release' | sha256sum`, made here so that it cannot be wrong.
pub fn digest() -> String {
    use sha2::Digest as _;
    sha2::Sha256::digest(RELEASE).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Where its Alertmanager sends, and as whom; nothing when it has no route for us.
pub type Route = Arc<Mutex<Option<(String, String)>>>;

pub struct Far {
    pub url: String,
    pub route: Route,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for Far {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Far {
    pub async fn start() -> Self {
        let route = Route::default();
        let alerts = get(|| async { Json(json!([])) }).post(take);
        let status = get(|| async { Json(json!({"uptime": "2026-01-01T00:00:00.000Z"})) });
        let router = Router::new()
            .route("/files/{name}", get(file))
            .route("/mirror/{name}", get(|| async { RELEASE }))
            .route("/am/api/v2/status", status)
            .route("/am/api/v2/alerts", alerts)
            .with_state(route.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, route, server }
    }
}

async fn file(Path(name): Path<String>) -> Response {
    match name.as_str() {
        "gone" => StatusCode::NOT_FOUND.into_response(),
        "page" => "<!DOCTYPE html><title>Downloads</title>".into_response(),
        "empty" => "".into_response(),
        "other" => "another version".into_response(),
        "moved" => Redirect::temporary("/files/good").into_response(),
        "cut" => {
            let ends = async {
                // What is there goes out first.
                tokio::task::yield_now().await;
                Err(std::io::Error::other("the disk is gone"))
            };
            let body = Body::from_stream(stream::iter([Ok(RELEASE)]).chain(stream::once(ends)));
            ([("content-length", "1000")], body).into_response()
        }
        _ => RELEASE.into_response(),
    }
}

/// As Alertmanager does with `group_wait: 0s`: the alert goes to where its route leads, with what it was given.
async fn take(State(route): State<Route>, Json(alerts): Json<Value>) -> StatusCode {
    let Some((webhook, token)) = route.lock().unwrap().clone() else { return StatusCode::OK };
    let mut alert = alerts[0].clone();
    alert["status"] = "firing".into();
    let message = json!({"version": "4", "truncatedAlerts": 0, "alerts": [alert]});
    tokio::spawn(async move {
        let client = failover::adapters::http::client(std::time::Duration::from_secs(5)).unwrap();
        client.post(webhook).bearer_auth(token).json(&message).send().await
    });
    StatusCode::OK
}
