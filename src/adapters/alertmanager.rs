//! Alertmanager: its webhook messages come in here, and its list of alerts is asked for here.
//!
//! It decides nothing about a validator: what an alert means is [`crate::domain::alerts`].
//!
//! Alertmanager repeats what was answered with 5xx or not at all, and drops for good what was answered with 4xx, 429
//! included. So: 200 only when the ledger has it, 503 for whatever may be better later, and 4xx only for what would
//! be as wrong the next time.

pub mod api;
pub mod bounded;
pub mod load;
pub mod mapping;
mod payload;
pub mod receiver;
pub mod stats;
pub mod store;
pub mod test_alert;

use std::{sync::Arc, time::Instant};

use axum::{
    Router,
    extract::{Request, State},
    response::{IntoResponse, Response},
    routing::post,
};
use http::{StatusCode, header};

use super::server::{
    LINES,
    budget::{BodyBudget, BodyRefusal, MAX_BODY},
};
use crate::domain::one_line;

pub use api::{Api, ReconcileError};
pub use bounded::Excess;
pub use mapping::{Mapping, Mappings};
pub use payload::PayloadError;
pub use receiver::{AlertEvent, Receiver, ReceiverConfig, Reconciled};
pub use stats::AlertmanagerStats;

/// The longest text of a refusal, in characters.
const MAX_REFUSAL: usize = 500;

/// Where Alertmanager has to send to.
pub const WEBHOOK_PATH: &str = "/webhook/alertmanager";

pub fn routes(receiver: Arc<Receiver>) -> Router {
    let webhook = Webhook { receiver, bodies: Arc::default() };
    Router::new().route(WEBHOOK_PATH, post(take_message)).with_state(webhook)
}

#[derive(Clone)]
struct Webhook {
    receiver: Arc<Receiver>,
    bodies: Arc<BodyBudget>,
}

/// Why a message is answered with something else than 200.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("wrong or missing credentials; set authorization or basic_auth in the http_config of the webhook_config")]
    Unauthorised,
    #[error("the body has more than {} MiB; use a finer group_by or max_alerts in the webhook_config", MAX_BODY >> 20)]
    TooLarge,
    #[error("the message has {0}; use a finer group_by or max_alerts in the webhook_config")]
    TooMuch(#[from] Excess),
    #[error(transparent)]
    Malformed(#[from] PayloadError),
    #[error("{0}")]
    NotRead(BodyRefusal),
    #[error(transparent)]
    NotTaken(#[from] receiver::ReceiveError),
}

impl From<BodyRefusal> for Refusal {
    fn from(refusal: BodyRefusal) -> Self {
        match refusal {
            BodyRefusal::TooLarge => Self::TooLarge,
            BodyRefusal::NoRoom | BodyRefusal::Interrupted(_) => Self::NotRead(refusal),
        }
    }
}

async fn take_message(State(webhook): State<Webhook>, request: Request) -> Response {
    match webhook.take(request).await {
        Ok(()) => StatusCode::OK.into_response(),
        Err(refusal) => refuse(&webhook.receiver, &refusal),
    }
}

impl Webhook {
    async fn take(&self, request: Request) -> Result<(), Refusal> {
        let (head, body) = request.into_parts();
        let receiver = &self.receiver;
        if !receiver.access().allows(head.headers.get(header::AUTHORIZATION), Instant::now()) {
            return Err(Refusal::Unauthorised);
        }
        if !(receiver.config.holds_lease)() {
            return Err(receiver::ReceiveError::NotTheHolder.into());
        }
        let body = self.bodies.read(body).await?;
        let (body, weight) = body.work(bounded::weigh).await;
        // Until it is stored, because what it becomes takes memory for as long; and while it is worked on, also when the
        // caller has hung up meanwhile.
        let turn = self.bodies.turn(weight?).await;
        let (body, (message, _turn)) = body.work(move |bytes| (payload::parse(bytes), turn)).await;
        drop(body);
        Ok(receiver.take(message?).await?)
    }
}

fn refuse(receiver: &Receiver, refusal: &Refusal) -> Response {
    let stats = receiver.stats();
    // A malformed body may be quoted in it.
    let refusal_text = one_line(&refusal.to_string(), MAX_REFUSAL);
    let text = format!("{refusal_text}\n");
    match refusal {
        Refusal::Unauthorised => {
            stats.unauthorised.inc();
            if let Some(times) = LINES.due("webhook without credentials") {
                tracing::warn!(times, "a message to the Alertmanager webhook had wrong or no credentials");
            }
            let challenge = receiver.access().challenge();
            (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, challenge)], text).into_response()
        }
        Refusal::TooLarge | Refusal::TooMuch(_) => {
            stats.too_large.inc();
            if let Some(times) = LINES.due("webhook too large") {
                tracing::error!(times, "ALERTS ARE LOST: {refusal_text}");
            }
            (StatusCode::PAYLOAD_TOO_LARGE, text).into_response()
        }
        Refusal::Malformed(_) => {
            stats.malformed.inc();
            if let Some(times) = LINES.due("webhook malformed") {
                tracing::error!(times, "ALERTS ARE LOST: {refusal_text}");
            }
            (StatusCode::BAD_REQUEST, text).into_response()
        }
        Refusal::NotRead(_) | Refusal::NotTaken(_) => {
            stats.refused.inc();
            if let Some(times) = LINES.due("webhook refused") {
                tracing::warn!(times, "alertmanager has to send a message again: {refusal_text}");
            }
            (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
        }
    }
}
