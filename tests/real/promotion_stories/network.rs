//! The network of the stories: the judge. Node 1 is home's, node 2 is the standby's and has the slasher.

use std::{
    ops::Range,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};

use crate::chain::{Devnet, Network};

pub const SLOT: Duration = Duration::from_secs(4);
pub const SLOTS: u64 = 6;
pub const EPOCH: Duration = Duration::from_secs(24);
/// Of each lane. Two lanes of one network have an eighth of its keys each or less, and whatever is dark three quarters vote.
pub const KEYS: u64 = 8;
pub const HOME: u8 = 1;
pub const STANDBY: u8 = 2;

pub fn epochs(time: Duration) -> f64 {
    time.as_secs_f64() / EPOCH.as_secs_f64()
}

pub struct Net {
    devnet: Devnet,
    client: reqwest::Client,
    genesis: u64,
    pub root: String,
}

/// A slashing that a block has brought onto the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slashing {
    pub slot: u64,
    pub kind: &'static str,
    pub keys: Vec<u64>,
}

impl Net {
    /// With so many lanes, whose keys are nobody's when this returns, an epoch after the first block.
    pub async fn up(lanes: u64) -> Self {
        let ours = lanes * KEYS;
        let all = (4 * ours).max(64).to_string();
        let devnet = Devnet::up_of(Network::mine().await, &["--ours", &ours.to_string(), "--all", &all]).await;
        // What has kept the first slot from staying empty is no part of any story. Its votes are of the first epoch.
        devnet.stop("ours");
        devnet.run(&["node"], &["2"]);
        let client = failover::adapters::http::client(Duration::from_secs(5)).unwrap();
        let found: Value = client
            .get(format!("{}/eth/v1/beacon/genesis", devnet.beacon()))
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        let word = |name: &str| found["data"][name].as_str().unwrap().to_owned();
        let net = Self {
            devnet,
            client,
            genesis: word("genesis_time").parse().unwrap(),
            root: word("genesis_validators_root"),
        };
        let next = net.epoch() + 1;
        net.until_epoch(next).await;
        net
    }

    pub fn folder(&self) -> std::path::PathBuf {
        std::fs::canonicalize(self.devnet.file("")).unwrap()
    }

    pub fn beacon(&self, node: u8) -> String {
        self.devnet.beacon_of(node)
    }

    /// Where a validator client finds it.
    pub fn rpc(&self, node: u8) -> String {
        let ports = std::fs::read_to_string(self.devnet.file(&format!("node{node}.ports"))).unwrap();
        format!("127.0.0.1:{}", ports.split_whitespace().next().unwrap())
    }

    fn since_genesis(&self) -> Duration {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        now.saturating_sub(Duration::from_secs(self.genesis))
    }

    pub fn slot(&self) -> u64 {
        self.since_genesis().as_secs() / SLOT.as_secs()
    }

    pub fn epoch(&self) -> u64 {
        self.slot() / SLOTS
    }

    pub async fn until_epoch(&self, epoch: u64) {
        let begins = EPOCH * u32::try_from(epoch).unwrap();
        tokio::time::sleep(begins.saturating_sub(self.since_genesis())).await;
    }

    /// Whether the votes of this epoch are in blocks: two slots after its end, in which one may stay empty.
    pub fn is_known(&self, epoch: u64) -> bool {
        self.slot() >= (epoch + 1) * SLOTS + 2
    }

    pub async fn until_known(&self, epoch: u64) {
        while !self.is_known(epoch) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    pub async fn asked(&self, node: u8, path: &str, body: Option<Value>) -> Option<Value> {
        let url = format!("{}{path}", self.beacon(node));
        let request = match body {
            Some(body) => self.client.post(url).json(&body),
            None => self.client.get(url),
        };
        request.send().await.ok()?.error_for_status().ok()?.json().await.ok()
    }

    /// How many of these keys had a duty in this epoch, the present one or the one before.
    pub async fn live(&self, node: u8, epoch: u64, keys: &Range<u64>) -> Option<usize> {
        let indices: Vec<_> = keys.clone().map(|index| json!(index.to_string())).collect();
        let answer = self.asked(node, &format!("/eth/v1/validator/liveness/{epoch}"), Some(indices.into())).await?;
        let answer = answer["data"].as_array()?;
        let all = answer.len() == usize::try_from(keys.end - keys.start).unwrap();
        all.then(|| answer.iter().filter(|key| key["is_live"] == true).count())
    }

    /// How many of these keys are slashed, by the state of the head.
    pub async fn slashed(&self, keys: &Range<u64>) -> Option<usize> {
        let ids: Vec<_> = keys.clone().map(|index| index.to_string()).collect();
        let path = format!("/eth/v1/beacon/states/head/validators?id={}", ids.join(","));
        let answer = self.asked(HOME, &path, None).await?;
        let answer = answer["data"].as_array()?;
        (answer.len() == ids.len()).then(|| answer.iter().filter(|key| key["validator"]["slashed"] == true).count())
    }

    pub async fn public_keys(&self, keys: &Range<u64>) -> Vec<String> {
        let ids: Vec<_> = keys.clone().map(|index| index.to_string()).collect();
        let path = format!("/eth/v1/beacon/states/genesis/validators?id={}", ids.join(","));
        let answer = self.asked(HOME, &path, None).await.expect("node 1 knows its validators");
        let found = answer["data"].as_array().unwrap().iter();
        found.map(|key| key["validator"]["pubkey"].as_str().unwrap().to_owned()).collect()
    }

    /// Every slashing that is on the chain, and whom it is about.
    pub async fn slashings(&self) -> Vec<Slashing> {
        let mut found = Vec::new();
        for slot in 1..=self.slot() {
            let Some(block) = self.asked(HOME, &format!("/eth/v2/beacon/blocks/{slot}"), None).await else { continue };
            let body = &block["data"]["message"]["body"];
            let number = |value: &Value| value.as_str().and_then(|text| text.parse::<u64>().ok());
            for proposer in body["proposer_slashings"].as_array().into_iter().flatten() {
                let key = number(&proposer["signed_header_1"]["message"]["proposer_index"]);
                found.push(Slashing { slot, kind: "two blocks", keys: key.into_iter().collect() });
            }
            for attester in body["attester_slashings"].as_array().into_iter().flatten() {
                let of = |which: &str| -> Vec<u64> {
                    attester[which]["attesting_indices"].as_array().into_iter().flatten().filter_map(number).collect()
                };
                let other = of("attestation_2");
                let keys = of("attestation_1").into_iter().filter(|key| other.contains(key)).collect();
                found.push(Slashing { slot, kind: "two votes", keys });
            }
        }
        found
    }
}
