//! Beacon nodes that are asked about an epoch in which nobody watched them: for a gate, which has just been started.

use std::sync::Arc;

use futures::future::join_all;
use tokio::sync::Mutex;

use super::{BeaconConfig, node::WatchedNode, nodes};
use crate::{
    domain::{
        PublicKey,
        chain::{ChainTime, Epoch, NodeEpoch, NodeTrouble, SyncStatus},
    },
    ports::Clock,
};

/// What a node says of the chain's time and of itself.
#[derive(Clone, Debug)]
pub struct NodeNow {
    pub node: String,
    pub said: Result<(ChainTime, SyncStatus), NodeTrouble>,
}

pub struct UnwatchedNodes {
    nodes: Mutex<Vec<WatchedNode>>,
}

impl UnwatchedNodes {
    /// Prepares; nothing is sent.
    ///
    /// # Errors
    /// As [`crate::adapters::http::client`].
    pub fn new(config: BeaconConfig, clock: &Arc<dyn Clock>) -> reqwest::Result<Self> {
        let nodes = nodes(config, clock)?.into_iter().map(WatchedNode::unwatched).collect();
        Ok(Self { nodes: Mutex::new(nodes) })
    }

    /// Every node, in the order given. From the first look on, each is known to be well for as long as looks find it
    /// so.
    pub async fn look(&self) -> Vec<NodeNow> {
        let mut nodes = self.nodes.lock().await;
        join_all(nodes.iter_mut().map(async |node| NodeNow { said: node.status().await, node: node.name.clone() }))
            .await
    }

    /// What each shows of these keys in `epoch`, which has to be the one before the current: about any other, nodes
    /// answer wrongly. A node whose chain has another time is in trouble.
    pub async fn ask(&self, epoch: Epoch, keys: &[PublicKey], time: &ChainTime) -> Vec<NodeEpoch> {
        let mut nodes = self.nodes.lock().await;
        join_all(nodes.iter_mut().map(|node| node.ask(epoch, keys, time))).await
    }
}
