//! Alertmanager: its webhook messages come in here, and its list of alerts is asked for here.
//!
//! It decides nothing about a validator: what an alert means is [`crate::domain::alerts`].
//!
//! Alertmanager repeats what was answered with 5xx or not at all, and drops for good what was answered with 4xx, 429
//! included. So: 200 only when the ledger has it, 503 for whatever may be better later, and 4xx only for what would
//! be as wrong the next time.

pub mod api;
pub mod auth;
pub mod load;
pub mod mapping;
mod payload;
pub mod receiver;
pub mod stats;
pub mod store;
pub mod test_alert;

use std::{error::Error as _, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes, HttpBody},
    extract::{Request, State},
    response::{IntoResponse, Response},
    routing::post,
};
use http::{StatusCode, header};
use http_body_util::LengthLimitError;

pub use api::{Api, ReconcileError};
pub use auth::{Access, WebhookCredentials, WebhookSecret};
pub use mapping::{Mapping, Mappings};
pub use payload::PayloadError;
pub use receiver::{AlertEvent, Receiver, ReceiverConfig, Reconciled};
pub use stats::AlertmanagerStats;

/// The largest body taken. 413 is final for Alertmanager, so it is far above what any real group has.
pub const MAX_BODY: usize = 16 << 20;
/// How long a body may take to arrive. Alertmanager itself gives up after its `group_interval`.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

pub fn routes(receiver: Arc<Receiver>) -> Router {
    Router::new().route("/webhook/alertmanager", post(webhook)).with_state(receiver)
}

/// Why a message is answered with something else than 200.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("wrong or missing credentials; set authorization or basic_auth in the http_config of the webhook_config")]
    Unauthorised,
    #[error("the body has more than 16 MiB; use a finer group_by or max_alerts in the webhook_config")]
    TooLarge,
    #[error(transparent)]
    Malformed(#[from] PayloadError),
    #[error("the body did not arrive: {0}")]
    Interrupted(String),
    #[error(transparent)]
    NotTaken(#[from] receiver::ReceiveError),
}

async fn webhook(State(receiver): State<Arc<Receiver>>, request: Request) -> Response {
    match take(&receiver, request).await {
        Ok(()) => StatusCode::OK.into_response(),
        Err(refusal) => refuse(&receiver, &refusal),
    }
}

async fn take(receiver: &Receiver, request: Request) -> Result<(), Refusal> {
    let (head, body) = request.into_parts();
    if !receiver.access().allows(head.headers.get(header::AUTHORIZATION)) {
        return Err(Refusal::Unauthorised);
    }
    if !(receiver.config.holds_lease)() {
        return Err(receiver::ReceiveError::NotTheHolder.into());
    }
    let body = tokio::time::timeout(BODY_TIMEOUT, read(body))
        .await
        .map_err(|_| Refusal::Interrupted(format!("not within {} s", BODY_TIMEOUT.as_secs())))??;
    let message = payload::parse(&body)?;
    drop(body);
    Ok(receiver.take(message).await?)
}

async fn read(body: Body) -> Result<Bytes, Refusal> {
    // What is announced as too large is not read first.
    if body.size_hint().lower() > MAX_BODY as u64 {
        return Err(Refusal::TooLarge);
    }
    axum::body::to_bytes(body, MAX_BODY).await.map_err(|error| {
        let too_large = error.source().is_some_and(|cause| cause.is::<LengthLimitError>());
        if too_large { Refusal::TooLarge } else { Refusal::Interrupted(error.to_string()) }
    })
}

fn refuse(receiver: &Receiver, refusal: &Refusal) -> Response {
    let stats = receiver.stats();
    let text = format!("{refusal}\n");
    match refusal {
        Refusal::Unauthorised => {
            stats.unauthorised.inc();
            tracing::warn!("a message to the Alertmanager webhook had wrong or no credentials");
            let challenge = receiver.access().challenge();
            (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, challenge)], text).into_response()
        }
        Refusal::TooLarge => {
            stats.too_large.inc();
            tracing::error!("ALERTS ARE LOST: {refusal}");
            (StatusCode::PAYLOAD_TOO_LARGE, text).into_response()
        }
        Refusal::Malformed(_) => {
            stats.malformed.inc();
            tracing::error!("ALERTS ARE LOST: {refusal}");
            (StatusCode::BAD_REQUEST, text).into_response()
        }
        Refusal::Interrupted(_) | Refusal::NotTaken(_) => {
            stats.refused.inc();
            tracing::warn!("alertmanager has to send a message again: {refusal}");
            (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
        }
    }
}
