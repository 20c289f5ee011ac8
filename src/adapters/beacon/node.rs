//! One node: watched once a slot, asked once an epoch. It judges nothing; [`crate::domain::chain`] does.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use tokio::time::timeout;

use super::{api::Chain, client::Client, control::Sampler};
use crate::{
    domain::{
        PublicKey,
        chain::{ChainTime, Epoch, KeyInfo, Liveness, NodeEpoch, NodeTrouble, NodeWatch, SyncStatus, assess_about},
    },
    ports::Clock,
};

/// A node and all that is known of it.
pub(super) struct WatchedNode {
    pub(super) name: String,
    client: Client,
    expected: Option<String>,
    timeout: Duration,
    chain: Option<Chain>,
    /// Why there is no `chain`, as of the last try.
    pub(super) trouble: NodeTrouble,
    watch: NodeWatch,
    /// It was last seen on another chain: until it is seen on its own again, no look at it counts.
    strayed: bool,
    sampler: Sampler,
    refused: Vec<PublicKey>,
    /// Our keys that it has shown live in this epoch, in any of its answers.
    live: (Epoch, BTreeSet<PublicKey>),
    clock: Arc<dyn Clock>,
    /// Whether it is asked only about epochs throughout which it was watched.
    watched: bool,
}

/// What an epoch's liveness rests on.
struct Answers {
    keys: BTreeMap<PublicKey, KeyInfo>,
    liveness: Liveness,
}

impl WatchedNode {
    pub(super) fn new(
        name: String,
        client: Client,
        expected: Option<String>,
        timeout: Duration,
        sampler: Sampler,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let (watch, trouble) = (NodeWatch::default(), NodeTrouble::NotAsked);
        Self {
            name,
            client,
            expected,
            timeout,
            chain: None,
            trouble,
            watch,
            strayed: false,
            sampler,
            refused: Vec::new(),
            live: (Epoch(0), BTreeSet::new()),
            clock,
            watched: true,
        }
    }

    /// It is asked about an epoch even if nobody watched it then. What it shows of that is for others to weigh.
    pub(super) fn unwatched(self) -> Self {
        Self { watched: false, ..self }
    }

    /// How it is, by its own chain's time. Counts as a look.
    pub(super) async fn status(&mut self) -> Result<(ChainTime, SyncStatus), NodeTrouble> {
        self.connect().await?;
        let time = self.chain_time().ok_or(NodeTrouble::NotAsked)?;
        let answer = timeout(self.timeout, self.ask_status(&time)).await.unwrap_or(Err(NodeTrouble::NoAnswer));
        self.observe(answer.clone(), &time);
        answer.map(|status| (time, status))
    }

    pub(super) fn chain_time(&self) -> Option<ChainTime> {
        self.chain.as_ref().map(|chain| chain.time)
    }

    pub(super) fn genesis_root(&self) -> Option<String> {
        self.chain.as_ref().map(|chain| chain.genesis_root.clone())
    }

    /// Finds out which chain it follows, once.
    pub(super) async fn connect(&mut self) -> Result<(), NodeTrouble> {
        if self.chain.is_some() {
            return Ok(());
        }
        let answer = timeout(self.timeout, self.client.chain(self.expected.as_deref())).await;
        match answer.unwrap_or(Err(NodeTrouble::NoAnswer)) {
            Ok(chain) => {
                self.chain = Some(chain);
                Ok(())
            }
            Err(trouble) => {
                self.trouble = trouble.clone();
                Err(trouble)
            }
        }
    }

    /// One look at how it is, within `budget`.
    pub(super) async fn look(&mut self, time: &ChainTime, budget: Duration) {
        let answer = timeout(budget, self.ask_status(time)).await.unwrap_or(Err(NodeTrouble::NoAnswer));
        self.observe(answer, time);
    }

    async fn ask_status(&mut self, time: &ChainTime) -> Result<SyncStatus, NodeTrouble> {
        self.connect().await?;
        if let Some(chain) = self.chain.as_ref().filter(|chain| chain.time != *time) {
            return Err(NodeTrouble::OtherChain { genesis_root: chain.genesis_root.clone() });
        }
        if let Some(chain) = self.chain.as_ref().filter(|_| self.strayed) {
            self.client.still_on(chain).await?;
            self.strayed = false;
        }
        self.client.syncing().await
    }

    fn observe(&mut self, answer: Result<SyncStatus, NodeTrouble>, time: &ChainTime) {
        self.watch.observe(answer.as_ref().map_err(Clone::clone), time, self.clock.now());
    }

    /// Asks everything about `epoch`, which has to be the one before the current: about any other, nodes answer
    /// wrongly.
    pub(super) async fn ask(&mut self, epoch: Epoch, ours: &[PublicKey], time: &ChainTime) -> NodeEpoch {
        if self.live.0 != epoch {
            self.live = (epoch, BTreeSet::new());
        }
        let end = time.interval(Epoch(epoch.0 + 1)).to;
        let budget = Duration::try_from(end.duration_since(self.clock.now())).unwrap_or_default();
        let asked = timeout(budget, self.ask_liveness(epoch, ours, time)).await.unwrap_or(Err(NodeTrouble::NoAnswer));
        let (keys, liveness) = match asked {
            Ok((answers, judged)) => (Some(answers.keys), judged.map(|()| answers.liveness)),
            Err(trouble) => (None, Err(trouble)),
        };
        let well = self.watched && self.watch.well_since().is_some() && keys.is_some();
        let indices: BTreeSet<u64> = liveness.as_ref().map(|l| l.live.keys().copied().collect()).unwrap_or_default();
        let (rewards, finalised, peer) = if well {
            let rewards = async {
                let before = epoch.previous().ok_or(NodeTrouble::NotAsked)?;
                if indices.is_empty() {
                    return Err(NodeTrouble::NotAsked);
                }
                self.client.rewards(before, &indices).await
            };
            let both = timeout(self.timeout, async { tokio::join!(rewards, self.client.finalised()) });
            let (both, peer) = tokio::join!(both, timeout(self.timeout, self.client.peer_id()));
            let (rewards, finalised) = both.unwrap_or((Err(NodeTrouble::NoAnswer), Err(NodeTrouble::NoAnswer)));
            (rewards, finalised, peer.ok().and_then(Result::ok))
        } else {
            (Err(NodeTrouble::NotAsked), Err(NodeTrouble::NotAsked), None)
        };
        NodeEpoch {
            node: self.name.clone(),
            peer,
            epoch,
            genesis_root: self.genesis_root(),
            well_since: self.watch.well_since(),
            keys,
            live: self.live.1.clone(),
            liveness,
            rewards,
            finalised: finalised.ok(),
            observed_at: self.clock.now(),
        }
    }

    /// The part that has to be over before the epoch is. The inner result is about liveness only: a node that is well
    /// now can say what became of the keys, even if it was not well throughout.
    async fn ask_liveness(
        &mut self,
        epoch: Epoch,
        ours: &[PublicKey],
        time: &ChainTime,
    ) -> Result<(Answers, Result<(), NodeTrouble>), NodeTrouble> {
        self.status_now(epoch, time).await?;
        if let Some(chain) = &self.chain
            && let Err(trouble) = self.client.still_on(chain).await
        {
            // From here on it counts for nothing until it is back on its chain, and then only from the next epoch on.
            self.strayed = matches!(trouble, NodeTrouble::OtherChain { .. });
            self.watch.observe(Err(trouble.clone()), time, self.clock.now());
            return Err(trouble);
        }
        let resolved = self.sampler.resolve(&self.client, ours).await?;
        self.warn_of(&resolved.refused);
        let throughout = match self.watch.well_throughout(time.interval(epoch), time) {
            Err(trouble) if self.watched => Err(trouble),
            Ok(_) | Err(_) => Ok(()),
        };
        // Of one that was not watched throughout, *silent* is no answer, and *live* is one.
        let live = self.client.liveness(epoch, &resolved.indices()).await;
        if let Ok(live) = &live {
            let is_live = |(_, info): &(&PublicKey, &KeyInfo)| live.get(&info.index) == Some(&true);
            self.live.1.extend(resolved.keys.iter().filter(is_live).map(|(key, _)| *key));
        }
        // It may have stumbled while it answered, and the answer is right only while the next epoch lasts.
        self.status_now(epoch, time).await?;
        let answered_in = time.epoch_at(self.clock.now());
        let judged = throughout.and(live).and_then(|live| resolved.liveness(live, epoch, answered_in));
        let (liveness, judged) = match judged {
            Ok(liveness) => (liveness, Ok(())),
            Err(trouble) => (Liveness::default(), Err(trouble)),
        };
        Ok((Answers { keys: resolved.keys, liveness }, judged))
    }

    /// Says once which of our keys the node refuses: they count as not on the chain.
    fn warn_of(&mut self, refused: &[PublicKey]) {
        if self.refused != refused {
            for key in refused {
                let node = &self.name;
                tracing::warn!(%node, key = ?key, "the node refuses this key, it is left out: correct public_keys");
            }
            self.refused = refused.to_vec();
        }
    }

    async fn status_now(&mut self, epoch: Epoch, time: &ChainTime) -> Result<(), NodeTrouble> {
        let answer = self.ask_status(time).await;
        let now = answer.clone();
        self.observe(answer, time);
        now.and_then(|status| assess_about(epoch, &status, time, self.clock.now()))
    }
}
