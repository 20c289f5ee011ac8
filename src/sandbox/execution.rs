//! An execution client with a state of its own, asked over JSON-RPC: the far end of the agent's questions.
//!
//! It executes nothing: it answers as geth does in the states that a sync passes through, wrong answers included.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{
    Json, Router,
    body::Body,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::post,
};
use serde_json::{Value, json};

use super::server::Server;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    /// The newest block it has.
    pub block: u64,
    pub sync: Sync,
    pub peers: u64,
    /// What it answers to `eth_syncing` as another client, instead of what `sync` says.
    pub syncing: Option<Value>,
    /// It does not answer as an execution client at all.
    pub fault: Option<Fault>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sync {
    /// `false`: it has synced, or never begun. Which of them, it does not say.
    #[default]
    Not,
    To {
        /// The block it has to come to.
        highest: u64,
        /// Bytes of state it has.
        state_bytes: u64,
        /// Pieces of state that are known to be lacking.
        healing: u64,
    },
    /// It has everything and indexes transactions: it can be used, and says that it syncs.
    Indexing {
        /// Blocks still to be indexed.
        remaining: u64,
    },
}

/// How an answer can be spoilt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Html,
    Hang,
    /// This status, with an empty body.
    Status(u16),
    WrongTypes,
    Refuses,
    /// 16 MiB.
    Huge,
}

/// One execution client. It stops when it is dropped.
pub struct FakeExecution {
    condition: Arc<Mutex<Condition>>,
    server: Server,
}

impl FakeExecution {
    /// A new one, that has not begun to sync, on a free port of loopback.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn new() -> io::Result<Self> {
        let condition = Arc::new(Mutex::new(Condition { peers: 25, ..Condition::default() }));
        let router = Router::new().route("/", post(answer)).with_state(condition.clone());
        Ok(Self { condition, server: Server::http(router).await? })
    }

    #[must_use]
    pub fn url(&self) -> String {
        self.server.url()
    }

    pub fn change(&self, change: impl FnOnce(&mut Condition)) {
        change(&mut lock(&self.condition));
    }

    /// Stops it: its port refuses connections.
    pub async fn down(&self) {
        self.server.down().await;
    }

    /// Starts it again on the same port.
    ///
    /// # Errors
    /// When somebody else has taken the port meanwhile.
    pub async fn up(&self) -> io::Result<()> {
        self.server.up().await
    }
}

async fn answer(State(condition): State<Arc<Mutex<Condition>>>, Json(question): Json<Value>) -> Response {
    let condition = lock(&condition).clone();
    let whole = |body: Value| Json(body).into_response();
    match condition.fault {
        Some(Fault::Html) => return ([(CONTENT_TYPE, "text/html")], "<title>Log in</title>").into_response(),
        // The server ends it when it stops.
        Some(Fault::Hang) => return std::future::pending().await,
        Some(Fault::Status(status)) => {
            return StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR).into_response();
        }
        Some(Fault::WrongTypes) => return whole(json!({"jsonrpc": "2.0", "id": 1, "result": [[]]})),
        Some(Fault::Refuses) => {
            let error = json!({"code": -32601, "message": "the method does not exist/is not available"});
            return whole(json!({"jsonrpc": "2.0", "id": 1, "error": error}));
        }
        Some(Fault::Huge) => return Body::from(vec![b' '; 16 << 20]).into_response(),
        None => {}
    }
    let result = match question["method"].as_str() {
        Some("eth_syncing") => condition.syncing.clone().unwrap_or_else(|| syncing(&condition)),
        Some("eth_blockNumber") => quantity(condition.block),
        Some("net_peerCount") => quantity(condition.peers),
        Some("web3_clientVersion") => json!("FakeGeth/v1.0.0"),
        _ => return whole(json!({"jsonrpc": "2.0", "id": 1, "error": {"code": -32601, "message": "no such method"}})),
    };
    whole(json!({"jsonrpc": "2.0", "id": question["id"], "result": result}))
}

/// As geth 1.17 writes it.
fn syncing(condition: &Condition) -> Value {
    let (highest, state, healing, indexing) = match condition.sync {
        Sync::Not => return json!(false),
        Sync::To { highest, state_bytes, healing } => (highest, state_bytes, healing, 0),
        Sync::Indexing { remaining } => (condition.block, 0, 0, remaining),
    };
    json!({
        "startingBlock": "0x0",
        "currentBlock": quantity(condition.block),
        "highestBlock": quantity(highest),
        "syncedAccounts": quantity(state / 100),
        "syncedAccountBytes": quantity(state),
        "syncedBytecodes": "0x0",
        "syncedBytecodeBytes": "0x0",
        "syncedStorage": "0x0",
        "syncedStorageBytes": "0x0",
        "healedTrienodes": "0x0",
        "healedTrienodeBytes": "0x0",
        "healedBytecodes": "0x0",
        "healedBytecodeBytes": "0x0",
        "healingTrienodes": quantity(healing),
        "healingBytecode": "0x0",
        "txIndexFinishedBlocks": "0x0",
        "txIndexRemainingBlocks": quantity(indexing),
        "stateIndexRemaining": "0x0",
    })
}

fn quantity(number: u64) -> Value {
    format!("{number:#x}").into()
}

fn lock(condition: &Mutex<Condition>) -> MutexGuard<'_, Condition> {
    condition.lock().unwrap_or_else(PoisonError::into_inner)
}
