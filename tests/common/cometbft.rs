//! What a CometBFT node answers, in the JSON of the real one: version 1.0.1, which a test against it compares.
//!
//! It is no server: it knows paths and answers.

use failover::domain::{Span, Time};
use serde_json::{Value, json};

/// How the node is.
#[derive(Clone, Debug)]
pub struct Comet {
    pub network: String,
    /// Its newest block; with 0 it has none.
    pub height: u64,
    /// When that one was made.
    pub latest: Time,
    pub catching_up: bool,
    pub peers: usize,
    /// As it is written: a text, in the real one.
    pub voting_power: Value,
    /// It refuses this path.
    pub refuses: Option<&'static str>,
}

impl Comet {
    /// A full node in step with its chain.
    pub fn in_step(network: &str) -> Self {
        let network = network.to_owned();
        Self {
            network,
            height: 100_000,
            latest: Time::now() - Span::from_secs(2),
            catching_up: false,
            peers: 3,
            voting_power: json!("0"),
            refuses: None,
        }
    }

    /// The status and the text of an answer.
    pub fn answer(&self, path: &str) -> (u16, String) {
        if self.refuses == Some(path) {
            let error = json!({"code": -32603, "message": "Internal error", "data": "the node is busy"});
            return (500, json!({"jsonrpc": "2.0", "id": -1, "error": error}).to_string());
        }
        let result = match path {
            "/status" => self.status(),
            "/net_info" => self.net_info(),
            "/abci_info" => json!({"response": {
                "data": "{\"size\":0}", "version": "2.1.0", "app_version": "1",
                "last_block_height": self.height.to_string(), "last_block_app_hash": "AAAAAAAAAAA=",
            }}),
            _ => return (404, "404 page not found\n".into()),
        };
        (200, json!({"jsonrpc": "2.0", "id": -1, "result": result}).to_string())
    }

    fn node_info(&self, moniker: &str) -> Value {
        json!({
            "protocol_version": {"p2p": "9", "block": "11", "app": "1"},
            "id": "467b67e3d5da919cbd142821d669f43f8533859c",
            "listen_addr": "tcp://127.0.0.1:26656",
            "network": self.network,
            "version": "1.0.1",
            "channels": "402021222330386061",
            "moniker": moniker,
            "other": {"tx_index": "on", "rpc_address": "tcp://127.0.0.1:26657"},
        })
    }

    fn status(&self) -> Value {
        let (hash, latest, earliest, first) = if self.height == 0 {
            ("", Time::UNIX_EPOCH, Time::UNIX_EPOCH, 0)
        } else {
            // Its chain began with a block in two seconds.
            let lasted = Span::from_secs(2 * i64::try_from(self.height).unwrap());
            ("CFEE033DED115BA1FBB6C7A32C59CD6B9AF24600EC9C542CECEF9F3526FCF3AD", self.latest, self.latest - lasted, 1)
        };
        json!({
            "node_info": self.node_info("standby"),
            "sync_info": {
                "latest_block_hash": hash,
                "latest_app_hash": "0000000000000000",
                "latest_block_height": self.height.to_string(),
                "latest_block_time": latest.to_string(),
                "earliest_block_hash": hash,
                "earliest_app_hash": "0000000000000000",
                "earliest_block_height": first.to_string(),
                "earliest_block_time": earliest.to_string(),
                "catching_up": self.catching_up,
            },
            "validator_info": {
                "address": "00F7C0F84E9F7D2A005B7133E47E5B33AE862234",
                "pub_key": {"type": "tendermint/PubKeyEd25519", "value": "ubXLzWlAZb08CmfdpdjSjL85Pg6J2y4iN0Ciug6ArTk="},
                "voting_power": self.voting_power,
            },
        })
    }

    fn net_info(&self) -> Value {
        let monitor = json!({
            "Start": "2026-11-21T16:25:10.9Z", "Bytes": "3874", "Samples": "14", "InstRate": "5440", "CurRate": "1121",
            "AvgRate": "1041", "PeakRate": "11790", "BytesRem": "0", "Duration": "3720000000", "Idle": "40000000",
            "TimeRem": "0", "Progress": 0, "Active": true,
        });
        let channel =
            json!({"ID": 48, "SendQueueCapacity": "1", "SendQueueSize": "0", "Priority": "5", "RecentlySent": "0"});
        let peer = json!({
            "node_info": self.node_info("another"),
            "is_outbound": true,
            "connection_status": {
                "Duration": "3781841193", "SendMonitor": monitor, "RecvMonitor": monitor, "Channels": [channel],
            },
            "remote_ip": "127.0.0.1",
        });
        let peers = vec![peer; self.peers];
        json!({"listening": true, "listeners": ["Listener(@)"], "n_peers": self.peers.to_string(), "peers": peers})
    }
}
