//! A CometBFT node on this machine, asked over its RPC: what it follows, how far it is, its peers, and whether its own
//! key has a vote.
//!
//! It judges nothing. It asks with GET, so nothing of what it sends could be a transaction, and it opens no file: the
//! node's own key is known only by the weight the node itself gives it.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::Value;
use url::Url;

use super::{
    http::Pages,
    json_rpc::{self, RpcError},
};
use crate::domain::{Time, brief};

/// `/status` has some two thousand bytes, `/abci_info` some hundred.
const MAX_BODY: usize = 64 << 10;
/// `/net_info` describes every peer in some two thousand bytes; a node has fifty by default, and few have hundreds.
const MAX_PEERS: usize = 768 << 10;

/// What it said in one look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CometbftLook {
    pub status: Result<CometbftStatus, RpcError>,
    pub peers: Result<u32, RpcError>,
    /// What the application it drives calls itself; many say nothing.
    pub application: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CometbftStatus {
    pub network: String,
    pub version: Option<String>,
    /// The number of its newest block; 0 while it has none.
    pub height: u64,
    /// When that block was made, by the chain's time.
    pub latest: Time,
    /// When the oldest block it keeps was made; older versions do not say.
    pub earliest: Option<Time>,
    /// It fetches blocks or a state, and takes no part.
    pub catching_up: bool,
    /// The votes of its own key at its newest block; `None` when that was not readable.
    pub voting_power: Option<u64>,
}

pub struct CometbftClient {
    pages: Pages,
    url: Url,
}

impl CometbftClient {
    /// Takes the address of its RPC; nothing is sent.
    ///
    /// # Errors
    /// As [`Pages::new`].
    pub fn new(url: &Url, timeout: Duration) -> reqwest::Result<Self> {
        let mut url = url.clone();
        url.set_query(None);
        url.set_fragment(None);
        Ok(Self { pages: Pages::new(timeout)?, url })
    }

    /// Asks everything, one after the other on one connection. What fails for the first is not asked again.
    pub async fn look(&self) -> CometbftLook {
        let status = match self.ask::<Status>("status", MAX_BODY).await {
            Ok(status) => Ok(CometbftStatus::from(status)),
            Err(error) => {
                return CometbftLook { status: Err(error.clone()), peers: Err(error), application: None };
            }
        };
        let peers = self.ask::<NetInfo>("net_info", MAX_PEERS).await.map(|info| info.n_peers);
        let info = self.ask::<AbciInfo>("abci_info", MAX_BODY).await.ok();
        let application = info.and_then(|info| info.response.version).filter(|version| !version.is_empty());
        CometbftLook { status, peers, application: application.map(|version| brief(&version)) }
    }

    async fn ask<T: DeserializeOwned>(&self, path: &'static str, most: usize) -> Result<T, RpcError> {
        let mut url = self.url.clone();
        url.set_path(&format!("{}/{path}", self.url.path().trim_end_matches('/')));
        let (status, body) = self.pages.get(url, most).await?;
        json_rpc::read(path, status, &body)
    }
}

#[derive(Deserialize)]
struct Status {
    node_info: NodeInfo,
    sync_info: SyncInfo,
    /// Its form is the node's matter as long as it has the one number.
    #[serde(default)]
    validator_info: Value,
}

#[derive(Deserialize)]
struct NodeInfo {
    network: String,
    #[serde(default)]
    version: Option<String>,
}

#[derive(Deserialize)]
struct SyncInfo {
    #[serde(deserialize_with = "number")]
    latest_block_height: u64,
    latest_block_time: Time,
    #[serde(default)]
    earliest_block_time: Option<Time>,
    catching_up: bool,
}

#[derive(Deserialize)]
struct NetInfo {
    #[serde(deserialize_with = "number")]
    n_peers: u32,
}

#[derive(Deserialize)]
struct AbciInfo {
    response: AbciResponse,
}

#[derive(Deserialize)]
struct AbciResponse {
    #[serde(default)]
    version: Option<String>,
}

impl From<Status> for CometbftStatus {
    fn from(status: Status) -> Self {
        Self {
            network: status.node_info.network,
            version: status.node_info.version.map(|version| brief(&version)),
            height: status.sync_info.latest_block_height,
            latest: status.sync_info.latest_block_time,
            earliest: status.sync_info.earliest_block_time,
            catching_up: status.sync_info.catching_up,
            voting_power: whole(&status.validator_info["voting_power"]),
        }
    }
}

/// A number in decimal as a string, as its JSON has all of 64 bits; a plain number is taken too.
fn number<'de, D: Deserializer<'de>, T: TryFrom<u64>>(input: D) -> Result<T, D::Error> {
    let value = Value::deserialize(input)?;
    let number = whole(&value).and_then(|number| T::try_from(number).ok());
    number.ok_or_else(|| serde::de::Error::custom("a number is not one"))
}

fn whole(value: &Value) -> Option<u64> {
    match value {
        Value::String(text) => text.parse().ok(),
        Value::Number(number) => number.as_u64(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}
