//! The beacon API of one fake node, with the quirks that were measured on real ones (Prysm 5.3.1):
//!
//! liveness of the current epoch is `false` for all, of the one before right, of older ones a wrong `false` with status
//! 200, of the future a 400; one unknown index makes the whole call a 400; unknown validators are left out in silence;
//! rewards are a 404 until two epochs have passed, and never called final; without discovery a node does not say who it is.

use std::sync::Arc;

use axum::{
    Json, Router,
    body::{Body, Bytes, to_bytes},
    extract::{Path, RawQuery, Request, State},
    http::{StatusCode, header::CONTENT_TYPE},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::{Value, json};

use super::{Condition, Fault, NodeState, lock, world};

type Node = State<Arc<NodeState>>;
type Answer = Result<Json<Value>, Refusal>;

/// An error as the beacon API writes it.
pub(super) struct Refusal(StatusCode, String);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.0, Json(json!({"code": self.0.as_u16(), "message": self.1}))).into_response()
    }
}

fn refuse<T>(status: StatusCode, message: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal(status, message.into()))
}

pub(super) fn router(node: Arc<NodeState>) -> Router {
    Router::new()
        .route("/eth/v1/beacon/genesis", get(genesis))
        .route("/eth/v1/config/spec", get(spec))
        .route("/eth/v1/node/syncing", get(syncing))
        .route("/eth/v1/node/version", get(version))
        .route("/eth/v1/node/peer_count", get(peers))
        .route("/eth/v1/node/identity", get(identity))
        .route("/eth/v1/beacon/states/head/validators", get(validators_by_get).post(validators_by_post))
        .route("/eth/v1/beacon/states/head/finality_checkpoints", get(finality))
        .route("/eth/v1/validator/liveness/{epoch}", post(liveness))
        // What a checkpoint sync fetches; nobody here reads it.
        .route("/eth/v2/debug/beacon/states/finalized", get(|| async { [0_u8; 64] }))
        .route("/eth/v1/beacon/rewards/attestations/{epoch}", post(rewards))
        .layer(from_fn_with_state(node.clone(), spoil))
        .with_state(node)
}

/// Logs the request and spoils the answer as scripted.
async fn spoil(State(node): Node, request: Request, next: Next) -> Response {
    lock(&node.requests).push(format!("{} {}", request.method(), request.uri()));
    let fault = node.condition().fault;
    match fault {
        None => next.run(request).await,
        Some(Fault::Html) => ([(CONTENT_TYPE, "text/html")], "<!doctype html><title>Log in</title>").into_response(),
        Some(Fault::HalfJson) => {
            let whole = to_bytes(next.run(request).await.into_body(), usize::MAX).await.unwrap_or_default();
            let half = whole.slice(..whole.len() / 2);
            ([(CONTENT_TYPE, "application/json")], half).into_response()
        }
        // The server ends it when it stops.
        Some(Fault::Hang) => std::future::pending().await,
        Some(Fault::ServerError) => {
            Refusal(StatusCode::INTERNAL_SERVER_ERROR, "database is corrupt".into()).into_response()
        }
        Some(Fault::Status(status)) => {
            StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR).into_response()
        }
        Some(Fault::WrongTypes) => Json(json!({"data": {"head_slot": {}, "genesis_time": []}})).into_response(),
        Some(Fault::Huge) => ([(CONTENT_TYPE, "application/json")], Body::from(vec![b' '; 16 << 20])).into_response(),
    }
}

async fn genesis(State(node): Node) -> Answer {
    let other = node.condition().other_chain;
    data(&json!({
        "genesis_time": node.world.config.genesis_time.to_string(),
        "genesis_validators_root": if other { world::OTHER_ROOT } else { world::GENESIS_ROOT },
        "genesis_fork_version": "0x20000089",
    }))
}

async fn spec(State(node): Node) -> Answer {
    let config = &node.world.config;
    let mut spec = json!({
        "CONFIG_NAME": "sandbox",
        "SECONDS_PER_SLOT": config.slot.as_secs().max(1).to_string(),
        "SLOTS_PER_EPOCH": config.slots_per_epoch.to_string(),
    });
    if config.slot.subsec_nanos() != 0 {
        spec["SLOT_DURATION_MS"] = node.world.slot_ms().to_string().into();
    }
    data(&spec)
}

async fn syncing(State(node): Node) -> Answer {
    let condition = node.condition();
    let distance = if condition.believes_in_step { 0 } else { condition.behind };
    data(&json!({
        "head_slot": node.head().to_string(),
        "sync_distance": distance.to_string(),
        "is_syncing": condition.syncing,
        "is_optimistic": condition.optimistic,
        "el_offline": condition.el_offline,
    }))
}

async fn version() -> Answer {
    data(&json!({"version": "FakeBeacon/v1.0.0"}))
}

async fn peers() -> Answer {
    data(&json!({"disconnected": "4", "connecting": "0", "connected": "56", "disconnecting": "0"}))
}

async fn identity(State(node): Node) -> Answer {
    match node.condition().peer_id {
        Some(peer_id) => data(&json!({"peer_id": peer_id, "enr": "", "p2p_addresses": [], "discovery_addresses": []})),
        None => refuse(StatusCode::INTERNAL_SERVER_ERROR, "could not obtain enr"),
    }
}

async fn validators_by_get(State(node): Node, RawQuery(query): RawQuery) -> Answer {
    let query = query.unwrap_or_default();
    let ids = query.split('&').filter_map(|pair| pair.strip_prefix("id=")).flat_map(|ids| ids.split(','));
    let ids: Vec<String> = ids.map(|id| id.replace("%2C", ",")).collect();
    if ids.len() > 64 {
        return refuse(StatusCode::URI_TOO_LONG, "at most 64 ids");
    }
    node.validators(&ids)
}

async fn validators_by_post(State(node): Node, body: Bytes) -> Answer {
    if node.condition().no_post {
        return refuse(StatusCode::METHOD_NOT_ALLOWED, "method not allowed");
    }
    match serde_json::from_slice::<Value>(&body).ok().and_then(|body| texts(&body["ids"])) {
        Some(ids) => node.validators(&ids),
        None => refuse(StatusCode::BAD_REQUEST, "the body is not {\"ids\": [...]}"),
    }
}

async fn finality(State(node): Node) -> Answer {
    let finalised = node.world.finalised(node.epoch());
    let point = |epoch: u64| json!({"epoch": epoch.to_string(), "root": world::GENESIS_ROOT});
    let justified = (finalised + 1).min(node.epoch());
    let checkpoints = json!({
        "previous_justified": point(finalised), "current_justified": point(justified), "finalized": point(finalised),
    });
    Ok(Json(json!({"execution_optimistic": false, "finalized": false, "data": checkpoints})))
}

async fn liveness(State(node): Node, Path(epoch): Path<u64>, body: Bytes) -> Answer {
    if node.condition().no_liveness {
        let message = "Validator liveness tracking is not enabled on this beacon node, cannot service request";
        return refuse(StatusCode::BAD_REQUEST, message);
    }
    let indices = node.indices(&body)?;
    let current = node.epoch();
    if epoch > current {
        return refuse(StatusCode::BAD_REQUEST, format!("request epoch {epoch} is in the future"));
    }
    let live = |index: u64| epoch + 1 == current && node.saw(index, epoch);
    let answers = indices.iter().map(|index| json!({"index": index.to_string(), "is_live": live(*index)}));
    data(&answers.collect())
}

async fn rewards(State(node): Node, Path(epoch): Path<u64>, body: Bytes) -> Answer {
    if node.condition().no_rewards {
        return refuse(StatusCode::NOT_FOUND, "state not found");
    }
    let indices = node.indices(&body)?;
    if epoch + 2 > node.epoch() {
        return refuse(StatusCode::NOT_FOUND, "rewards are available after two epoch transitions");
    }
    let reward = |index: u64| {
        let (made, missed) = if node.world.attested(index, epoch) { ("1600", "3100") } else { ("-1570", "-3000") };
        let head = if made.starts_with('-') { "0" } else { "800" };
        json!({"validator_index": index.to_string(), "head": head, "source": made, "target": missed, "inactivity": "0"})
    };
    let total: Vec<Value> = indices.iter().map(|index| reward(*index)).collect();
    let optimistic = node.condition().optimistic_rewards;
    let rewards = json!({"ideal_rewards": [], "total_rewards": total});
    Ok(Json(json!({"data": rewards, "execution_optimistic": optimistic, "finalized": false})))
}

fn data(data: &Value) -> Answer {
    Ok(Json(json!({"data": data})))
}

fn texts(value: &Value) -> Option<Vec<String>> {
    value.as_array()?.iter().map(|text| text.as_str().map(str::to_owned)).collect()
}

impl NodeState {
    fn condition(&self) -> Condition {
        lock(&self.condition).clone()
    }

    fn head(&self) -> u64 {
        self.world.slot().saturating_sub(self.condition().behind)
    }

    /// By its own clock, which is everybody's unless it is as wrong as its head.
    fn epoch(&self) -> u64 {
        let slot = if self.condition().believes_in_step { self.head() } else { self.world.slot() };
        self.world.epoch_of(slot)
    }

    /// Whether this node has seen it attest: it was up from before the epoch on, and its head has come that far.
    fn saw(&self, index: u64, epoch: u64) -> bool {
        let first = epoch * self.world.config.slots_per_epoch;
        let watched = *lock(&self.started_ms) <= self.world.start_ms(first);
        let condition = self.condition();
        watched
            && !condition.blind
            && !condition.deaf_to.contains(&index)
            && !condition.syncing
            && self.world.duty(index, epoch) <= self.head()
            && self.world.attested(index, epoch)
    }

    fn validators(&self, ids: &[String]) -> Answer {
        let all = self.world.validators();
        let no_points = self.condition().no_points;
        if let Some(id) = ids.iter().find(|id| no_points.contains(id)) {
            return refuse(StatusCode::BAD_REQUEST, format!("Invalid public key: {id}"));
        }
        let mut found = Vec::new();
        for id in ids {
            let index = match id.strip_prefix("0x8f").and_then(|rest| rest.get(..6)) {
                Some(digits) => u64::from_str_radix(digits, 16).ok().filter(|index| world::public_key(*index) == *id),
                None if id.starts_with("0x") && id.len() == 98 => None,
                None => match id.parse::<u64>() {
                    Ok(index) => Some(index),
                    Err(_) => return refuse(StatusCode::BAD_REQUEST, format!("invalid validator id {id}")),
                },
            };
            let known = index.and_then(|index| Some((index, all.get(usize::try_from(index).ok()?)?)));
            let Some((index, validator)) = known else { continue };
            found.push(json!({
                "index": index.to_string(),
                "balance": "32000000000",
                "status": validator.status,
                "validator": {
                    "pubkey": world::public_key(index),
                    "slashed": validator.is_slashed(),
                    "effective_balance": "32000000000",
                },
            }));
        }
        Ok(Json(json!({"execution_optimistic": false, "finalized": false, "data": found})))
    }

    fn indices(&self, body: &[u8]) -> Result<Vec<u64>, Refusal> {
        let texts = serde_json::from_slice::<Value>(body).ok().and_then(|body| texts(&body));
        let Some(texts) = texts else { return refuse(StatusCode::BAD_REQUEST, "the body is not a list of indices") };
        let mut indices = Vec::new();
        for text in texts {
            match text.parse::<u64>() {
                Ok(index) if index < self.world.config.validators => indices.push(index),
                _ => return refuse(StatusCode::BAD_REQUEST, format!("validator index {text} is invalid")),
            }
        }
        Ok(indices)
    }
}
