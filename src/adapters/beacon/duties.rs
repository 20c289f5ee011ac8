//! Duties, by beacon nodes: whether an epoch that is over shows these keys at work.
//!
//! It asks late in the epoch after it, and about no other epoch: nodes answer a wrong `false` about older ones. A gate, or
//! a command, has just been started, so nobody has watched the nodes before. One that was itself started or cut off in the middle
//! of the epoch shows everybody silent who signed in the part that it missed, us included, and nothing that it says of
//! itself tells. What tells is the control group: random others sign in random slots of the epoch, so the share of them
//! that it shows is the share of the epoch that it saw. Of a node that was not watched throughout, nearly all have to
//! be live.

use std::{collections::BTreeSet, sync::Arc};

use async_trait::async_trait;

use super::{BeaconConfig, NodeNow, UnwatchedNodes};
use crate::{
    domain::{
        Time,
        chain::{ChainTime, Epoch, KeyStatus, NodeEpoch, NodeTrouble, PublicKey, Slot, SyncStatus, assess, opinion},
        clock as written,
        gate::EpochSpan,
    },
    ports::{Clock, Duties, DutySeen},
};

/// How many eighths of the control group a node has to show live that was not watched throughout the epoch. On a
/// healthy chain some 99 in 100 are; on one that is not, the nodes have to be watched for an epoch first.
const UNWATCHED_LIVE: usize = 7;
const EIGHTHS: usize = 8;

/// What several nodes show of some keys. A caller that asks [`Duties::now`] at least every half minute has the nodes
/// watched by that.
pub struct BeaconDuties {
    nodes: UnwatchedNodes,
    keys: Vec<PublicKey>,
    clock: Arc<dyn Clock>,
    remedies: NodeRemedies,
}

/// What helps, where it depends on how the nodes and the keys were named.
#[derive(Clone, Copy, Debug)]
pub struct NodeRemedies {
    /// When a node does not answer.
    pub start: &'static str,
    /// When it follows another chain.
    pub chain: &'static str,
    /// Where the keys are written.
    pub keys: &'static str,
}

impl BeaconDuties {
    /// Prepares; nothing is sent. The configuration names the chain's genesis root.
    ///
    /// # Errors
    /// As [`crate::adapters::http::client`].
    pub fn new(
        config: BeaconConfig,
        keys: Vec<PublicKey>,
        clock: Arc<dyn Clock>,
        remedies: NodeRemedies,
    ) -> reqwest::Result<Self> {
        Ok(Self { nodes: UnwatchedNodes::new(config, &clock)?, keys, clock, remedies })
    }

    /// The chain's time, by every node that is well.
    async fn time(&self) -> Result<ChainTime, String> {
        let looks = self.nodes.look().await;
        self.chain_time(&looks, self.clock.now())
    }

    /// The chain's time, if nodes can answer about `epoch` now.
    async fn answerable(&self, epoch: Epoch) -> Result<ChainTime, String> {
        let time = self.time().await?;
        let now = self.clock.now();
        let current = time.epoch_at(now).ok_or("the chain has not begun")?;
        if epoch >= current {
            return Err(format!("too early: epoch {epoch} ends at {}", written(time.interval(epoch).to)));
        }
        if current.previous() != Some(epoch) {
            return Err(format!("epoch {epoch} is over for too long: nodes answer about epoch {} now", current.0 - 1));
        }
        let from = time.start_of(time.asked_from(current));
        if now < from {
            return Err(format!("too early: nodes are asked about epoch {epoch} at {}", written(from)));
        }
        Ok(time)
    }
}

#[async_trait]
impl Duties for BeaconDuties {
    async fn now(&self) -> Result<EpochSpan, String> {
        let time = self.time().await?;
        let epoch = time.epoch_at(self.clock.now()).ok_or("the chain has not begun")?;
        Ok(EpochSpan { epoch, began_at: time.interval(epoch).from, length: time.epoch() })
    }

    /// Too early and too late are *unknown*: the time to ask is the last [`ChainTime::asked_from`] part of the epoch after
    /// it, some 24 seconds. It does not wait for that.
    async fn in_epoch(&self, epoch: Epoch) -> DutySeen {
        match self.answerable(epoch).await {
            Ok(time) => self.judge(&self.nodes.ask(epoch, &self.keys, &time).await, &time),
            Err(why) => DutySeen::Unknown(why),
        }
    }
}

impl BeaconDuties {
    /// Which time the chain has, by the nodes that are well and whose own idea of it agrees with this clock.
    fn chain_time(&self, looks: &[NodeNow], now: Time) -> Result<ChainTime, String> {
        let (mut times, mut doubts) = (Vec::new(), Vec::new());
        for NodeNow { node, said } in looks {
            match said.clone().and_then(|(time, status)| assess(&status, &time, now).map(|()| (time, status))) {
                Ok((time, status)) if in_step(&time, &status, now) => times.push(time),
                Ok((_, status)) => {
                    let slot = status.head.0.saturating_add(status.distance);
                    doubts.push(format!(
                        "node {node} is in slot {slot}, another epoch than by this clock: set both clocks"
                    ));
                }
                Err(trouble) => doubts.push(self.in_words(node, &trouble)),
            }
        }
        match times.split_first() {
            Some((time, others)) if others.iter().all(|other| other == time) => Ok(*time),
            Some(_) => {
                Err("the beacon nodes do not agree about the chain's genesis and slots: ask only one's own".into())
            }
            None => Err(doubts.join("; ")),
        }
    }

    /// A duty that any node shows counts. Silence counts when one node, which is well, shows it of every key.
    fn judge(&self, looks: &[NodeEpoch], time: &ChainTime) -> DutySeen {
        let live: BTreeSet<_> = looks.iter().flat_map(|look| &look.live).collect();
        if !live.is_empty() {
            return DutySeen::Some { keys: live.len() };
        }
        let mut doubts = Vec::new();
        for look in looks {
            match self.silent(look, time) {
                Ok(()) => return DutySeen::None,
                Err(why) => doubts.push(why),
            }
        }
        DutySeen::Unknown(doubts.join("; "))
    }

    /// Whether this node can say that none of the keys did anything, given that it shows none at work.
    fn silent(&self, look: &NodeEpoch, time: &ChainTime) -> Result<(), String> {
        let node = &look.node;
        let liveness = look.liveness.as_ref().map_err(|trouble| self.in_words(node, trouble))?;
        let none = Default::default();
        let known = look.keys.as_ref().unwrap_or(&none);
        for key in &self.keys {
            match known.get(key).map(|info| info.status) {
                // It had no duty before it was activated, and has none after it has left.
                Some(KeyStatus::Active | KeyStatus::Pending | KeyStatus::Exited) => {}
                Some(KeyStatus::Slashed) => {
                    return Err(format!(
                        "the key {key} was slashed: find out who else signed, then take it out of {}",
                        self.remedies.keys
                    ));
                }
                // Nobody can sign with it, but then it is perhaps not the key that is signed with.
                None => {
                    return Err(format!(
                        "node {node} does not know the key {key}: correct {}; one whose deposit \
                         is not on the chain yet belongs in there later",
                        self.remedies.keys
                    ));
                }
            }
        }
        opinion(look, &self.keys).map_err(|trouble| self.in_words(node, &trouble))?;
        let watched = look.well_since.is_some_and(|since| since <= time.interval(look.epoch).from);
        let (total, live) =
            (liveness.control.len(), liveness.control.iter().filter(|index| liveness.live[index]).count());
        if !watched && live * EIGHTHS < total * UNWATCHED_LIVE {
            return Err(format!(
                "node {node} shows {live} of {total} others live and may have missed a part of the epoch: it is watched \
                 until a whole one has passed"
            ));
        }
        Ok(())
    }

    fn in_words(&self, node: &str, trouble: &NodeTrouble) -> String {
        match trouble {
            NodeTrouble::Refused | NodeTrouble::NoAnswer | NodeTrouble::Broken(_) => {
                format!("node {node} {trouble}: {}", self.remedies.start)
            }
            NodeTrouble::Status { message, .. } if message.contains("iveness tracking") => {
                format!("node {node} {trouble}: start it with --beacon-liveness-tracking-enabled=true")
            }
            NodeTrouble::OtherChain { .. } => format!("node {node} {trouble}: {}", self.remedies.chain),
            _ => format!("node {node} {trouble}"),
        }
    }
}

fn in_step(time: &ChainTime, status: &SyncStatus, now: Time) -> bool {
    let theirs = time.epoch_of(Slot(status.head.0.saturating_add(status.distance)));
    time.epoch_at(now).is_some_and(|ours| ours.0.abs_diff(theirs.0) <= 1)
}
