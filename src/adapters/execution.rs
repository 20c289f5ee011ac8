//! An execution client on this machine, asked over JSON-RPC: how far it is, its peers, its version.
//!
//! It judges nothing. It uses the open port and never the one for the consensus client, whose secret it does not know.

use std::time::Duration;

use ::http::HeaderMap;
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::{Value, json};
use url::Url;

use super::{
    http::{self, PageError},
    json_rpc::{self, RpcError},
};
use crate::domain::brief;

/// All answers together have some two thousand bytes.
const MAX_BODY: usize = 64 << 10;

/// What it said in one look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecutionLook {
    /// Whether it is syncing, and how far.
    pub syncing: Result<ExecutionSync, RpcError>,
    /// The number of its newest block.
    pub block: Result<u64, RpcError>,
    pub peers: Result<u64, RpcError>,
    pub version: Result<String, RpcError>,
}

/// `eth_syncing`. That it is not syncing does not mean that it has synced: it says so before it ever began as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExecutionSync {
    NotSyncing,
    Syncing(SyncProgress),
}

/// How far a sync is, as geth says it; other clients say the blocks alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SyncProgress {
    /// The block it has come to.
    #[serde(deserialize_with = "quantity")]
    pub current_block: u64,
    /// The block it knows it has to come to.
    #[serde(deserialize_with = "quantity")]
    pub highest_block: u64,
    /// Accounts of the state that were fetched.
    #[serde(deserialize_with = "quantity")]
    pub synced_accounts: u64,
    /// Their bytes.
    #[serde(deserialize_with = "quantity")]
    pub synced_account_bytes: u64,
    /// Bytes of contracts' storage that were fetched.
    #[serde(deserialize_with = "quantity")]
    pub synced_storage_bytes: u64,
    /// Pieces of the state that were repaired: it moved on while it was fetched.
    #[serde(deserialize_with = "quantity")]
    pub healed_trienodes: u64,
    /// Pieces that are known to need that.
    #[serde(deserialize_with = "quantity")]
    pub healing_trienodes: u64,
    /// Code that is known to be lacking.
    #[serde(deserialize_with = "quantity")]
    pub healing_bytecode: u64,
    /// Blocks whose transactions are still to be indexed. The node can be used meanwhile.
    #[serde(deserialize_with = "quantity")]
    pub tx_index_remaining_blocks: u64,
    /// Blocks whose state history is still to be indexed. The node can be used meanwhile.
    #[serde(deserialize_with = "quantity")]
    pub state_index_remaining: u64,
}

/// A number in hexadecimal with `0x`, as JSON-RPC writes it; a plain number is taken too, because some clients send one.
fn quantity<'de, D: Deserializer<'de>>(input: D) -> Result<u64, D::Error> {
    let value = Value::deserialize(input)?;
    number(&value).ok_or_else(|| serde::de::Error::custom("a quantity is not a number"))
}

fn number(value: &Value) -> Option<u64> {
    match value {
        Value::String(text) => u64::from_str_radix(text.strip_prefix("0x")?, 16).ok(),
        Value::Number(number) => number.as_u64(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

pub struct Execution {
    http: reqwest::Client,
    url: Url,
}

impl Execution {
    /// Takes its address; nothing is sent.
    ///
    /// # Errors
    /// As [`http::plain_client`].
    pub fn new(url: &Url, timeout: Duration) -> reqwest::Result<Self> {
        Ok(Self { http: http::plain_client(timeout, HeaderMap::new())?, url: url.clone() })
    }

    /// Asks everything, one after the other on one connection. What fails for the first is not asked again.
    pub async fn look(&self) -> ExecutionLook {
        let syncing = match self.ask::<Value>("eth_syncing").await {
            Ok(Value::Bool(false)) => Ok(ExecutionSync::NotSyncing),
            Ok(Value::Object(object)) => serde_json::from_value(Value::Object(object))
                .map(ExecutionSync::Syncing)
                .map_err(|error| json_rpc::not_rpc(&error)),
            Ok(_) => Err(RpcError::NotRpc("eth_syncing is neither false nor an object".into())),
            Err(error) => Err(error),
        };
        if let Err(error @ (RpcError::Page(_) | RpcError::Status(_))) = &syncing {
            let (block, peers, version) = (Err(error.clone()), Err(error.clone()), Err(error.clone()));
            return ExecutionLook { block, peers, version, syncing };
        }
        ExecutionLook {
            syncing,
            block: self.number("eth_blockNumber").await,
            peers: self.number("net_peerCount").await,
            version: self.ask::<String>("web3_clientVersion").await.map(|version| brief(&version)),
        }
    }

    async fn number(&self, method: &'static str) -> Result<u64, RpcError> {
        let value = self.ask::<Value>(method).await?;
        number(&value).ok_or_else(|| RpcError::NotRpc(format!("{method} is not a number")))
    }

    async fn ask<T: DeserializeOwned>(&self, method: &'static str) -> Result<T, RpcError> {
        let question = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": []});
        let sent = self.http.post(self.url.clone()).json(&question).send().await;
        let response = sent.map_err(PageError::from)?;
        let status = response.status().as_u16();
        let body = http::read_body(response, MAX_BODY).await.map_err(PageError::from)?;
        json_rpc::read(method, status, &body)
    }
}
