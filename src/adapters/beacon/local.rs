//! The beacon node of a standby, asked by the agent beside it: how far it is, on which chain, with how many peers.
//!
//! It judges nothing, and asks for no validator: a standby has none.

use std::time::Duration;

use ::http::HeaderMap;
use url::Url;

use super::{api::Chain, client::Client};
use crate::{
    adapters::http,
    domain::chain::{ChainTime, NodeTrouble, SyncStatus},
};

/// What is asked here is answered in a few hundred bytes; a specification has some ten thousand.
const MAX_BODY: usize = 256 << 10;

/// One beacon node on this machine.
pub struct LocalNode {
    client: Client,
    /// Which chain, once it has said: asked again only after it was not reached, because then another may have started.
    chain: Option<Chain>,
}

/// What it said in one look. Each answer stands for itself: a node that is starting gives some and not others.
#[derive(Clone, Debug)]
pub struct LocalLook {
    /// The chain's genesis validators root and its time.
    pub chain: Result<(String, ChainTime), NodeTrouble>,
    pub status: Result<SyncStatus, NodeTrouble>,
    pub peers: Result<u64, NodeTrouble>,
    pub version: Result<String, NodeTrouble>,
}

impl LocalNode {
    /// Takes its address; nothing is sent.
    ///
    /// # Errors
    /// As [`http::plain_client`].
    pub fn new(url: &Url, timeout: Duration) -> reqwest::Result<Self> {
        Ok(Self { client: Client::with(http::plain_client(timeout, HeaderMap::new())?, url, MAX_BODY), chain: None })
    }

    /// Asks everything at once.
    pub async fn look(&mut self) -> LocalLook {
        let (chain, status, peers, version) =
            tokio::join!(self.chain(), self.client.syncing(), self.client.peers(), self.client.any_version());
        self.chain = match (&chain, &status) {
            (Ok(chain), Ok(_)) => Some(chain.clone()),
            (Ok(_) | Err(_), _) => None,
        };
        LocalLook { chain: chain.map(|chain| (chain.genesis_root, chain.time)), status, peers, version }
    }

    async fn chain(&self) -> Result<Chain, NodeTrouble> {
        match &self.chain {
            // Its specification does not change while it runs; its genesis is what tells chains apart.
            Some(chain) => self.client.still_on(chain).await.map(|()| chain.clone()),
            None => self.client.chain(None).await,
        }
    }
}
