//! A CometBFT node on this machine, asked over its RPC: what it follows, how far it is, its peers, and whether its own
//! key has a vote.
//!
//! It judges nothing. It asks with GET, so nothing of what it sends could be a transaction, and it opens no file: the
//! node's own key is known only by the weight the node itself gives it.

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;
use url::Url;

use super::{
    http::Pages,
    json_rpc::{self, RpcError, whole},
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

/// What it left out, or gave as null, is `None`: nothing is known of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CometbftStatus {
    pub network: Option<String>,
    pub version: Option<String>,
    /// The number of its newest block; 0 while it has none.
    pub height: Option<u64>,
    /// When that block was made, by the chain's time.
    pub latest: Option<Time>,
    /// When the oldest block it keeps was made; older versions do not say.
    pub earliest: Option<Time>,
    /// It fetches blocks or a state, and takes no part.
    pub catching_up: Option<bool>,
    /// The votes of its own key at its newest block.
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
        let status = match self.ask::<Value>("status", MAX_BODY).await.and_then(|answer| status(&answer)) {
            Ok(status) => Ok(status),
            Err(error) => {
                return CometbftLook { status: Err(error.clone()), peers: Err(error), application: None };
            }
        };
        let peers = self.ask::<Value>("net_info", MAX_PEERS).await.and_then(|info| peers(&info));
        let info = self.ask::<Value>("abci_info", MAX_BODY).await.ok();
        let application =
            info.and_then(|info| text(&info["response"]["version"])).filter(|version| !version.is_empty());
        CometbftLook { status, peers, application: application.map(|version| brief(&version)) }
    }

    async fn ask<T: DeserializeOwned>(&self, path: &'static str, most: usize) -> Result<T, RpcError> {
        let mut url = self.url.clone();
        url.set_path(&format!("{}/{path}", self.url.path().trim_end_matches('/')));
        let (status, body) = self.pages.get(url, most).await?;
        json_rpc::read(path, status, &body)
    }
}

/// Field by field, because what one of them is does not change what the others say.
fn status(answer: &Value) -> Result<CometbftStatus, RpcError> {
    let (node, sync, own) = (&answer["node_info"], &answer["sync_info"], &answer["validator_info"]);
    if !node.is_object() && !sync.is_object() {
        return Err(RpcError::NotRpc("a status without node_info and sync_info".into()));
    }
    let time = |said: &Value| said.as_str()?.parse::<Time>().ok();
    Ok(CometbftStatus {
        network: text(&node["network"]),
        version: text(&node["version"]).map(|version| brief(&version)),
        height: whole(&sync["latest_block_height"]),
        latest: time(&sync["latest_block_time"]),
        earliest: time(&sync["earliest_block_time"]),
        catching_up: sync["catching_up"].as_bool(),
        voting_power: whole(&own["voting_power"]),
    })
}

/// How many it counts, or else how many it lists.
fn peers(info: &Value) -> Result<u32, RpcError> {
    let listed = || info["peers"].as_array().and_then(|peers| u64::try_from(peers.len()).ok());
    let all = whole(&info["n_peers"]).or_else(listed).ok_or(RpcError::Nothing { question: "net_info" })?;
    Ok(u32::try_from(all).unwrap_or(u32::MAX))
}

fn text(said: &Value) -> Option<String> {
    said.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_null_or_left_out_is_not_known_and_hides_nothing_else() {
        let said = json!({
            "node_info": {"network": "bera", "version": null},
            "sync_info": {"latest_block_height": "12", "latest_block_time": "2026-01-02T03:04:05.123456789Z",
                          "earliest_block_time": null, "catching_up": null},
            "validator_info": null,
        });
        let known = status(&said).unwrap();
        assert_eq!((known.network.as_deref(), known.height), (Some("bera"), Some(12)));
        assert!(known.latest.is_some() && known.earliest.is_none() && known.version.is_none());
        assert_eq!((known.catching_up, known.voting_power), (None, None));
        assert_eq!(status(&json!({"sync_info": {}, "node_info": null})), Ok(CometbftStatus::default()));
        assert!(matches!(status(&json!({"version": 1})), Err(RpcError::NotRpc(_))));
    }

    #[test]
    fn peers_are_counted_where_their_number_is_left_out() {
        assert_eq!(peers(&json!({"n_peers": "12", "peers": []})), Ok(12));
        assert_eq!(peers(&json!({"n_peers": null, "peers": [{}, {}]})), Ok(2));
        assert_eq!(peers(&json!({"listening": true})), Err(RpcError::Nothing { question: "net_info" }));
    }
}
