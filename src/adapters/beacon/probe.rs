//! One look at one node, for `failover check`: what would fail on the day, by the code of the day. It is not the watch.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tokio::time::timeout;

use super::{
    NodeConfig,
    api::Chain,
    client::Client,
    control::{Resolved, Sampler},
};
use crate::{
    domain::{
        PublicKey, Time,
        chain::{ChainHealth, Epoch, KeyStates, NodeEpoch, NodeOpinion, NodeTrouble, assess, key_states, opinion},
    },
    ports::Clock,
};

type Asked<T> = Result<T, NodeTrouble>;

/// How often liveness is asked when the epoch ends meanwhile.
const TRIES: usize = 3;

/// What a node shows of itself. What could not be found out carries the reason.
#[derive(Clone, Debug)]
pub struct NodeProbe {
    /// It answers, and this is what it calls itself.
    pub version: Asked<String>,
    /// The chain it follows; an error if that is not the configured one.
    pub genesis_root: Asked<String>,
    /// Synced, not optimistic, its execution layer online, its clock ours; else what is wrong.
    pub synced: Asked<()>,
    /// Whether the chain finalises, as this node sees it.
    pub finality: Asked<ChainHealth>,
    pub peers: Asked<u64>,
    pub keys: Asked<KeyStates>,
    /// Keys that the chain has never heard of.
    pub missing: Vec<PublicKey>,
    /// Keys that the node refuses: no key has these bytes.
    pub refused: Vec<PublicKey>,
    /// What the watcher would make of the epoch that has just ended; `None` when none of the keys has duties.
    pub liveness: Asked<Option<NodeOpinion>>,
    /// Whether it can say what the canonical chain paid.
    pub rewards: Asked<()>,
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
        Err(error) => return NodeProbe::failed(&NodeTrouble::Broken(error.to_string())),
    };
    // Each call has its own limit; this is for all of them together.
    let asked = timeout(limit.saturating_mul(6), ask(&node.name, &client, expected_root, keys, &*clock)).await;
    asked.unwrap_or_else(|_| NodeProbe::failed(&NodeTrouble::NoAnswer))
}

/// The chain that is followed at this address, where a standby would get its state: an error if it is another one.
///
/// # Errors
/// [`NodeTrouble`]
pub async fn followed(client: reqwest::Client, url: &url::Url, expected_root: Option<&str>) -> Asked<String> {
    let client = Client::with(client, url, super::client::MAX_BODY);
    client.chain(expected_root).await.map(|chain| chain.genesis_root)
}

/// What time it is on a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainNow {
    pub genesis_root: String,
    pub epoch: Epoch,
    pub slots_per_epoch: u64,
}

/// The present epoch, by a node that is synced and by this machine's clock, which have to agree.
///
/// # Errors
/// [`NodeTrouble`]
pub async fn present(
    node: &NodeConfig,
    expected_root: Option<&str>,
    limit: Duration,
    clock: &dyn Clock,
) -> Asked<ChainNow> {
    let client = Client::new(&node.url, limit).map_err(|error| NodeTrouble::Broken(error.to_string()))?;
    let (chain, status) = tokio::try_join!(client.chain(expected_root), client.syncing())?;
    let now = clock.now();
    assess(&status, &chain.time, now)?;
    let epoch = chain.time.epoch_at(now).ok_or(NodeTrouble::BeforeGenesis)?;
    Ok(ChainNow { genesis_root: chain.genesis_root, epoch, slots_per_epoch: chain.time.slots_per_epoch() })
}

async fn ask(
    name: &str,
    client: &Client,
    expected_root: Option<&str>,
    keys: &[PublicKey],
    clock: &dyn Clock,
) -> NodeProbe {
    let mut sampler = Sampler::new(fastrand::Rng::new());
    let (version, chain, status, peers, resolved, finalised) = tokio::join!(
        client.any_version(),
        client.chain(expected_root),
        client.syncing(),
        client.peers(),
        sampler.resolve(client, keys),
        client.finalised()
    );
    let now: Time = clock.now();
    let synced: Asked<()> = match (&chain, status) {
        (Ok(chain), Ok(status)) => assess(&status, &chain.time, now),
        (_, Err(trouble)) => Err(trouble),
        (Err(trouble), _) => Err(trouble.clone()),
    };
    let finality = match (&chain, finalised) {
        (Ok(chain), Ok(finalised)) => {
            Ok(chain.time.epoch_at(now).map_or(ChainHealth::Unknown, |current| ChainHealth::of(current, finalised)))
        }
        (_, Err(trouble)) => Err(trouble),
        (Err(trouble), _) => Err(trouble.clone()),
    };
    let (liveness, rewards) = match (&synced, &chain, &resolved) {
        (Ok(()), Ok(chain), Ok(resolved)) => epoch_ended(name, client, chain, resolved, keys, clock).await,
        (Err(trouble), ..) | (_, Err(trouble), _) | (.., Err(trouble)) => (Err(trouble.clone()), Err(trouble.clone())),
    };
    let missing = match &resolved {
        Ok(Resolved { keys: known, refused, .. }) => {
            keys.iter().filter(|key| !known.contains_key(key) && !refused.contains(key)).copied().collect()
        }
        Err(_) => Vec::new(),
    };
    NodeProbe {
        version,
        genesis_root: chain.map(|chain| chain.genesis_root),
        synced,
        finality,
        peers,
        keys: resolved.as_ref().map(|resolved| key_states(&resolved.keys, keys)).map_err(Clone::clone),
        missing,
        refused: resolved.map(|resolved| resolved.refused).unwrap_or_default(),
        liveness,
        rewards,
    }
}

/// What the watcher would conclude at the end of this epoch, and whether the node can say what was paid.
async fn epoch_ended(
    name: &str,
    client: &Client,
    chain: &Chain,
    resolved: &Resolved,
    keys: &[PublicKey],
    clock: &dyn Clock,
) -> (Asked<Option<NodeOpinion>>, Asked<()>) {
    let indices = resolved.indices();
    let mut liveness = Err(NodeTrouble::BeforeGenesis);
    let mut epoch = Epoch(0);
    for _ in 0..TRIES {
        let Some(ended) = chain.time.epoch_at(clock.now()).and_then(Epoch::previous) else { break };
        epoch = ended;
        let live = client.liveness(epoch, &indices).await;
        liveness = live.and_then(|live| resolved.liveness(live, epoch, chain.time.epoch_at(clock.now())));
        if !matches!(liveness, Err(NodeTrouble::TooLate)) {
            break;
        }
    }
    let rewards = match epoch.previous() {
        Some(before) => client.rewards(before, &indices).await.map(|_| ()),
        None => Err(NodeTrouble::BeforeGenesis),
    };
    let look = NodeEpoch {
        node: name.to_owned(),
        epoch,
        peer: None,
        genesis_root: Some(chain.genesis_root.clone()),
        well_since: None,
        keys: Some(resolved.keys.clone()),
        live: BTreeSet::new(),
        liveness,
        rewards: Err(NodeTrouble::NotAsked),
        finalised: None,
        observed_at: clock.now(),
    };
    (opinion(&look, keys), rewards)
}

impl NodeProbe {
    fn failed(why: &NodeTrouble) -> Self {
        Self {
            version: Err(why.clone()),
            genesis_root: Err(why.clone()),
            synced: Err(why.clone()),
            finality: Err(why.clone()),
            peers: Err(why.clone()),
            keys: Err(why.clone()),
            missing: Vec::new(),
            refused: Vec::new(),
            liveness: Err(why.clone()),
            rewards: Err(why.clone()),
        }
    }
}
