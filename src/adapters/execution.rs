//! An execution client on this machine, asked over JSON-RPC: how far it is, its peers, its version.
//!
//! It judges nothing. It uses the open port and never the one for the consensus client, whose secret it does not know.

use std::time::Duration;

use ::http::HeaderMap;
use serde::de::DeserializeOwned;
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExecutionSync {
    NotSyncing,
    Syncing(SyncProgress),
}

/// How far a sync is. All clients say the blocks; geth says more of its state, reth and erigon of their stages. What an
/// answer leaves out, or gives as null, is 0 here: nothing is known of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SyncProgress {
    /// The block it has come to. Of a client with stages it is the last one's, and 0 for as long as the first run takes.
    pub current_block: u64,
    /// The block it knows it has to come to.
    pub highest_block: u64,
    /// Accounts of the state that were fetched.
    pub synced_accounts: u64,
    /// Their bytes.
    pub synced_account_bytes: u64,
    /// Bytes of contracts' storage that were fetched.
    pub synced_storage_bytes: u64,
    /// Pieces of the state that were repaired: it moved on while it was fetched.
    pub healed_trienodes: u64,
    /// Pieces that are known to need that.
    pub healing_trienodes: u64,
    /// Code that is known to be lacking.
    pub healing_bytecode: u64,
    /// Blocks whose transactions are still to be indexed. The node can be used meanwhile.
    pub tx_index_remaining_blocks: u64,
    /// Blocks whose state history is still to be indexed. The node can be used meanwhile.
    pub state_index_remaining: u64,
    /// What it does one after the other, each with the block to which that is done.
    pub stages: Vec<SyncStage>,
    /// What it is doing, in its own word (nethermind's `syncMode`).
    pub mode: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncStage {
    pub name: String,
    pub block: u64,
}

/// No client has more, and a report has no room for them.
const MAX_STAGES: usize = 64;

impl SyncProgress {
    /// Field by field, because what one of them is does not change what the others say.
    fn read(answer: &Value) -> Result<Self, RpcError> {
        let field = |name: &str| json_rpc::whole(&answer[name]);
        let block = |name: &str| match &answer[name] {
            Value::Null => Ok(0),
            said => {
                json_rpc::whole(said).ok_or_else(|| RpcError::NotRpc(format!("{name} of eth_syncing is not a number")))
            }
        };
        let count = |name| field(name).unwrap_or(0);
        Ok(Self {
            current_block: block("currentBlock")?,
            highest_block: block("highestBlock")?,
            synced_accounts: count("syncedAccounts"),
            synced_account_bytes: count("syncedAccountBytes"),
            synced_storage_bytes: count("syncedStorageBytes"),
            healed_trienodes: count("healedTrienodes"),
            healing_trienodes: count("healingTrienodes"),
            healing_bytecode: count("healingBytecode"),
            tx_index_remaining_blocks: count("txIndexRemainingBlocks"),
            state_index_remaining: count("stateIndexRemaining"),
            stages: stages(&answer["stages"]),
            mode: answer["syncMode"].as_str().map(brief).filter(|mode| !mode.is_empty()),
        })
    }
}

/// A list, as reth (`name`, `block`) and erigon (`stage_name`, `block_number`) write it, or a map of names to blocks. A
/// stage without a number has not begun.
fn stages(said: &Value) -> Vec<SyncStage> {
    let stage = |name: &str, block: &Value| SyncStage { name: brief(name), block: json_rpc::whole(block).unwrap_or(0) };
    match said {
        Value::Array(list) => {
            let named = list.iter().filter_map(|item| {
                let name = item["name"].as_str().or_else(|| item["stage_name"].as_str())?;
                let block = if item["block"].is_null() { &item["block_number"] } else { &item["block"] };
                Some(stage(name, block))
            });
            named.take(MAX_STAGES).collect()
        }
        Value::Object(map) => map.iter().map(|(name, block)| stage(name, block)).take(MAX_STAGES).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
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
            Ok(answer @ Value::Object(_)) => SyncProgress::read(&answer).map(ExecutionSync::Syncing),
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
        json_rpc::whole(&value).ok_or_else(|| RpcError::NotRpc(format!("{method} is not a number")))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn read(answer: &Value) -> SyncProgress {
        SyncProgress::read(answer).unwrap()
    }

    #[test]
    fn what_is_null_or_left_out_is_not_known_and_hides_nothing_else() {
        let besu = json!({"startingBlock": "0x0", "currentBlock": "0x112a000", "highestBlock": "0x112a880",
                          "pulledStates": null, "knownStates": null});
        let blocks = |progress: SyncProgress| (progress.current_block, progress.highest_block);
        assert_eq!(blocks(read(&besu)), (17_997_824, 18_000_000));
        let geth = json!({"currentBlock": "0x10", "highestBlock": "0x20", "syncedAccounts": null,
                          "healedTrienodes": [], "syncedAccountBytes": "0x7"});
        assert_eq!((blocks(read(&geth)), read(&geth).synced_account_bytes), ((16, 32), 7));
        assert_eq!(read(&json!({"currentBlock": null, "highestBlock": "0x20", "stages": null})).highest_block, 32);
        assert_eq!(read(&json!({})), SyncProgress::default());
        for wrong in [json!({"currentBlock": true}), json!({"highestBlock": "many"})] {
            assert!(matches!(SyncProgress::read(&wrong), Err(RpcError::NotRpc(_))), "{wrong}");
        }
    }

    #[test]
    fn stages_are_read_in_every_form_that_clients_write() {
        let expected = [("Headers", 18_000_000), ("Execution", 0)];
        let expected = expected.map(|(name, block)| SyncStage { name: name.into(), block });
        for stages in [
            json!([{"name": "Headers", "block": "0x112a880"}, {"name": "Execution", "block": "0x0"}]),
            json!([{"name": "Headers", "block": 18_000_000}, {"name": "Execution", "block": null}, {"block": "0x1"}]),
            json!([{"stage_name": "Headers", "block_number": "0x112a880"}, {"stage_name": "Execution"}]),
        ] {
            assert_eq!(read(&json!({ "stages": stages })).stages, expected);
        }
        let map = read(&json!({"stages": {"Headers": "0x20", "Execution": null}})).stages;
        let named: Vec<_> = map.iter().map(|stage| (&*stage.name, stage.block)).collect();
        assert_eq!(named, [("Execution", 0), ("Headers", 32)]);
        assert_eq!(read(&json!({"syncMode": "SnapSync"})).mode.as_deref(), Some("SnapSync"));
        assert!(read(&json!({"stages": vec![json!({"name": "x"}); 10_000]})).stages.len() <= MAX_STAGES);
    }
}
