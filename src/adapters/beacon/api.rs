//! The calls of the beacon API that are used, each by its meaning.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::join_all;

use super::{
    client::Client,
    wire::{
        AttestationRewards, Checkpoints, Data, Genesis, Identity, LivenessAnswer, NodeVersion, PeerCount, Spec,
        StateValidator, Syncing, Verified, Versions,
    },
};
use crate::domain::{
    brief,
    chain::{ChainTime, Epoch, NodeTrouble, SyncStatus},
};

/// More ids in one GET are refused (beacon API: "max 64").
const MAX_IDS_IN_URL: usize = 64;

/// Requests to find the ids that a node refuses: enough for a dozen bad keys among a thousand.
const MAX_ASKED_APART: usize = 256;

/// Which chain a node follows, and its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chain {
    pub(super) genesis_root: String,
    pub(super) time: ChainTime,
}

impl Client {
    /// Chain and time. If `expected` is given, a node of another chain is in trouble.
    pub(super) async fn chain(&self, expected: Option<&str>) -> Result<Chain, NodeTrouble> {
        let genesis = self.get::<Data<Genesis>>("/eth/v1/beacon/genesis").await?.data;
        let genesis_root = genesis.root()?;
        if expected.is_some_and(|expected| !expected.eq_ignore_ascii_case(&genesis_root)) {
            return Err(NodeTrouble::OtherChain { genesis_root });
        }
        let spec = self.get::<Data<Spec>>("/eth/v1/config/spec").await?.data;
        Ok(Chain { genesis_root, time: spec.time(&genesis)? })
    }

    /// Whether it still follows this chain: behind one address another node may stand by now.
    pub(super) async fn still_on(&self, chain: &Chain) -> Result<(), NodeTrouble> {
        let genesis_root = self.get::<Data<Genesis>>("/eth/v1/beacon/genesis").await?.data.root()?;
        if genesis_root == chain.genesis_root { Ok(()) } else { Err(NodeTrouble::OtherChain { genesis_root }) }
    }

    pub(super) async fn syncing(&self) -> Result<SyncStatus, NodeTrouble> {
        let answer = self.get::<Data<Syncing>>("/eth/v1/node/syncing").await?;
        Ok(SyncStatus::from(&answer.data))
    }

    /// The validators of these ids (public keys or indices) at the head. Those it does not know are left out.
    pub(super) async fn validators(&self, ids: &[String]) -> Result<Vec<StateValidator>, NodeTrouble> {
        const PATH: &str = "/eth/v1/beacon/states/head/validators";
        if ids.is_empty() {
            // An empty list asks for all there are.
            return Ok(Vec::new());
        }
        let body = serde_json::json!({ "ids": ids });
        match self.post::<Data<Vec<StateValidator>>>(PATH, &body).await {
            // Older nodes have the GET only.
            Err(NodeTrouble::Status { status: 404 | 405 | 415 | 501, .. }) => {}
            other => return other.map(|answer| answer.data),
        }
        let mut all = Vec::new();
        for ids in ids.chunks(MAX_IDS_IN_URL) {
            let path = format!("{PATH}?id={}", ids.join(","));
            all.extend(self.get::<Data<Vec<StateValidator>>>(&path).await?.data);
        }
        Ok(all)
    }

    /// [`Self::validators`] of keys and indices, and which keys the node refuses by themselves: some answer 400 to the
    /// whole request when one key is no point of the curve, and that one must not blind us for all others.
    ///
    /// # Errors
    /// As for one request; also when it refuses the indices, which are never wrong, or too many keys to find them all.
    pub(super) async fn validators_apart(
        &self,
        keys: &[String],
        indices: &[String],
    ) -> Result<(Vec<StateValidator>, Vec<String>), NodeTrouble> {
        match self.validators(&[keys, indices].concat()).await {
            Err(NodeTrouble::Status { status: 400, .. }) => {}
            other => return other.map(|found| (found, Vec::new())),
        }
        let (mut found, (ours, refused)) = tokio::try_join!(self.validators(indices), self.halved(keys))?;
        found.extend(ours);
        Ok((found, refused))
    }

    /// Halves are asked at once, because there is no more than a part of a slot for all of it.
    async fn halved(&self, keys: &[String]) -> Result<(Vec<StateValidator>, Vec<String>), NodeTrouble> {
        let (mut found, mut refused, mut asked) = (Vec::new(), Vec::new(), 0);
        let mut parts = vec![keys];
        while !parts.is_empty() {
            asked += parts.len();
            let answers = join_all(parts.iter().map(|part| self.validators(part))).await;
            let mut halves = Vec::new();
            for (part, answer) in parts.into_iter().zip(answers) {
                match (answer, part) {
                    (Ok(known), _) => found.extend(known),
                    (Err(NodeTrouble::Status { status: 400, .. }), [one]) => refused.push(one.clone()),
                    (Err(NodeTrouble::Status { status: 400, .. }), several) if asked < MAX_ASKED_APART => {
                        halves.extend(<[&[String]; 2]>::from(several.split_at(several.len() / 2)));
                    }
                    (Err(trouble), _) => return Err(trouble),
                }
            }
            parts = halves;
        }
        Ok((found, refused))
    }

    /// Who was live. An index that was asked for and is not in the answer is not in the map.
    pub(super) async fn liveness(
        &self,
        epoch: Epoch,
        asked: &BTreeSet<u64>,
    ) -> Result<BTreeMap<u64, bool>, NodeTrouble> {
        let path = format!("/eth/v1/validator/liveness/{epoch}");
        let answer = self.post::<Data<Vec<LivenessAnswer>>>(&path, &texts(asked)).await?;
        let live = answer.data.iter().map(|live| (live.index, live.is_live));
        Ok(live.filter(|(index, _)| asked.contains(index)).collect())
    }

    /// The reward for the right target in this epoch, by index.
    pub(super) async fn rewards(&self, epoch: Epoch, asked: &BTreeSet<u64>) -> Result<BTreeMap<u64, i64>, NodeTrouble> {
        let path = format!("/eth/v1/beacon/rewards/attestations/{epoch}");
        let answer = self.post::<Data<AttestationRewards>>(&path, &texts(asked)).await?;
        Ok(answer.data.total_rewards.iter().map(|reward| (reward.validator_index, reward.target)).collect())
    }

    /// The same of an epoch whose duties are final by [`Self::finalised`].
    pub(super) async fn final_rewards(
        &self,
        epoch: Epoch,
        asked: &BTreeSet<u64>,
    ) -> Result<BTreeMap<u64, i64>, NodeTrouble> {
        let path = format!("/eth/v1/beacon/rewards/attestations/{epoch}");
        let answer = self.post::<Verified<AttestationRewards>>(&path, &texts(asked)).await?.data()?;
        let paid = answer.total_rewards.iter().map(|reward| (reward.validator_index, reward.target));
        Ok(paid.filter(|(index, _)| asked.contains(index)).collect())
    }

    /// The last finalised epoch: what this checkpoint has behind it is final, whatever else is called so.
    pub(super) async fn finalised(&self) -> Result<Epoch, NodeTrouble> {
        let path = "/eth/v1/beacon/states/head/finality_checkpoints";
        Ok(self.get::<Verified<Checkpoints>>(path).await?.data()?.finalised())
    }

    /// What it calls itself. The newer `/eth/v2` is not everywhere yet.
    pub(super) async fn version(&self) -> Result<String, NodeTrouble> {
        let answer = self.get::<Data<NodeVersion>>("/eth/v1/node/version").await?;
        Ok(brief(&answer.data.version))
    }

    /// The same of any node: where the older call is gone, the newer one is asked.
    pub(super) async fn any_version(&self) -> Result<String, NodeTrouble> {
        match self.version().await {
            Err(NodeTrouble::Status { status: 404 | 405 | 410 | 501, .. }) => {
                let program = self.get::<Data<Versions>>("/eth/v2/node/version").await?.data.beacon_node;
                Ok(brief(&format!("{}/{}", program.name, program.version)))
            }
            other => other,
        }
    }

    /// By what name its peers know it, wherever it is asked: not every node says so.
    pub(super) async fn peer_id(&self) -> Result<String, NodeTrouble> {
        Ok(self.get::<Data<Identity>>("/eth/v1/node/identity").await?.data.peer_id)
    }

    pub(super) async fn peers(&self) -> Result<u64, NodeTrouble> {
        Ok(self.get::<Data<PeerCount>>("/eth/v1/node/peer_count").await?.data.connected)
    }
}

fn texts(indices: &BTreeSet<u64>) -> Vec<String> {
    indices.iter().map(u64::to_string).collect()
}
