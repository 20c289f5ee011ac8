//! One look at one node, for `failover check`: what would fail on the day. It is not the watch.

use std::{sync::Arc, time::Duration};

use serde::Serialize;
use tokio::time::timeout;

use super::{NodeConfig, client::Client, wire::StateValidator};
use crate::{
    domain::{
        PublicKey, Time,
        chain::{ChainHealth, KeyStates, NodeTrouble, assess, key_states},
    },
    ports::Clock,
};

type Asked<T> = Result<T, NodeTrouble>;

/// What a node shows of itself. What could not be found out carries the reason.
#[derive(Clone, Debug, Serialize)]
pub struct NodeProbe {
    pub name: String,
    /// It answers, and this is what it calls itself.
    pub version: Result<String, String>,
    /// The chain it follows; an error if that is not the configured one.
    pub genesis_root: Result<String, String>,
    /// Synced, not optimistic, its execution layer online, its clock ours; else what is wrong.
    pub synced: Result<(), String>,
    /// Whether the chain finalises, as this node sees it.
    #[serde(skip)]
    pub finality: Result<ChainHealth, String>,
    pub peers: Result<u64, String>,
    pub keys: Result<KeyStates, String>,
}

/// Asks one node once.
pub async fn probe(
    node: &NodeConfig,
    expected_root: Option<&str>,
    keys: &[PublicKey],
    limit: Duration,
    clock: Arc<dyn Clock>,
) -> NodeProbe {
    let client = match Client::new(&node.url, limit) {
        Ok(client) => client,
        Err(error) => return NodeProbe::failed(&node.name, &format!("cannot be asked ({error})")),
    };
    // Each call has its own limit; this is for all of them together.
    let asked = timeout(limit.saturating_mul(4), ask(&node.name, &client, expected_root, keys, &*clock)).await;
    asked.unwrap_or_else(|_| NodeProbe::failed(&node.name, &NodeTrouble::NoAnswer.to_string()))
}

async fn ask(
    name: &str,
    client: &Client,
    expected_root: Option<&str>,
    keys: &[PublicKey],
    clock: &dyn Clock,
) -> NodeProbe {
    let (version, chain, status, peers, found, finalised) = tokio::join!(
        client.version(),
        client.chain(expected_root),
        client.syncing(),
        client.peers(),
        states(client, keys),
        client.finalised()
    );
    let now: Time = clock.now();
    let synced: Asked<()> = match (&chain, status) {
        (Ok(chain), Ok(status)) => assess(&status, &chain.time, now),
        (_, Err(trouble)) => Err(trouble),
        (Err(trouble), _) => Err(trouble.clone()),
    };
    let text = |trouble: NodeTrouble| trouble.to_string();
    let finality = match (&chain, finalised) {
        (Ok(chain), Ok(finalised)) => {
            Ok(chain.time.epoch_at(now).map_or(ChainHealth::Unknown, |current| ChainHealth::of(current, finalised)))
        }
        (_, Err(trouble)) => Err(trouble),
        (Err(trouble), _) => Err(trouble.clone()),
    };
    NodeProbe {
        name: name.to_owned(),
        version: version.map_err(text),
        genesis_root: chain.map(|chain| chain.genesis_root).map_err(text),
        synced: synced.map_err(text),
        finality: finality.map_err(text),
        peers: peers.map_err(text),
        keys: found.map_err(text),
    }
}

async fn states(client: &Client, keys: &[PublicKey]) -> Asked<KeyStates> {
    let ids: Vec<String> = keys.iter().map(PublicKey::to_hex).collect();
    let known = client.validators(&ids).await?;
    let known = known.iter().map(StateValidator::info).collect::<Asked<_>>()?;
    Ok(key_states(&known, keys))
}

impl NodeProbe {
    fn failed(name: &str, why: &str) -> Self {
        let why = || why.to_owned();
        Self {
            name: name.to_owned(),
            version: Err(why()),
            genesis_root: Err(why()),
            synced: Err(why()),
            finality: Err(why()),
            peers: Err(why()),
            keys: Err(why()),
        }
    }
}
