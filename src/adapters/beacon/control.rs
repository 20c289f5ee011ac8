//! Our keys' indices, and the control group: random validators on duty that are not ours, drawn again for every epoch.
//!
//! The whole list of validators is never asked for: on the mainnet that would be hundreds of megabytes.

use std::collections::{BTreeMap, BTreeSet};

use super::{client::Client, wire::StateValidator};
use crate::domain::{
    PublicKey,
    chain::{Epoch, KeyInfo, KeyStatus, Liveness, NodeTrouble},
};

/// How many others are asked about. With 32, two thirds are missed by chance less than once in a million epochs while
/// nine in ten of all validators are live.
const CONTROL: usize = 32;
/// How many are drawn to find so many on duty: on the mainnet about half of all indices have left.
const DRAWN: u64 = 4 * CONTROL as u64;
/// More validators than this no chain will have for long: it has four times as many indices as today's mainnet.
const MAX_POWER: u32 = 23;

/// Who is asked about, as one node knows them now.
pub(super) struct Resolved {
    pub(super) keys: BTreeMap<PublicKey, KeyInfo>,
    /// Keys of ours that the node refuses as none.
    pub(super) refused: Vec<PublicKey>,
    /// Indices of others.
    pub(super) control: Vec<u64>,
}

impl Resolved {
    /// Whose liveness is asked: our active keys and the others.
    pub(super) fn indices(&self) -> BTreeSet<u64> {
        let active = self.keys.values().filter(|info| info.status == KeyStatus::Active).map(|info| info.index);
        active.chain(self.control.iter().copied()).collect()
    }

    /// What was answered about all [`Self::indices`] in `epoch`, if it can be right.
    pub(super) fn liveness(
        &self,
        live: BTreeMap<u64, bool>,
        epoch: Epoch,
        answered_in: Option<Epoch>,
    ) -> Result<Liveness, NodeTrouble> {
        let asked = self.indices().len();
        // About any epoch but the one before the current, nodes answer wrongly.
        if answered_in != Some(Epoch(epoch.0 + 1)) {
            return Err(NodeTrouble::TooLate);
        }
        if live.len() < asked {
            return Err(NodeTrouble::Incomplete { answered: live.len(), asked });
        }
        Ok(Liveness { live, control: self.control.clone() })
    }
}

/// Draws control groups on one node.
pub(super) struct Sampler {
    rng: fastrand::Rng,
    /// Every index is below this; at least half of those below exist.
    bound: Option<u64>,
    /// Keys of ours that the node has refused.
    refused: BTreeSet<PublicKey>,
}

impl Sampler {
    pub(super) fn new(rng: fastrand::Rng) -> Self {
        Self { rng, bound: None, refused: BTreeSet::new() }
    }

    /// Our keys as the chain knows them, and a control group.
    pub(super) async fn resolve(&mut self, client: &Client, ours: &[PublicKey]) -> Result<Resolved, NodeTrouble> {
        let bound = match self.bound {
            Some(bound) => bound,
            None => *self.bound.insert(find_bound(client).await?),
        };
        let drawn = self.draw(bound);
        let hex = |keys: &[PublicKey]| keys.iter().map(PublicKey::to_hex).collect::<Vec<_>>();
        let (bad, good): (Vec<_>, Vec<_>) = ours.iter().copied().partition(|key| self.refused.contains(key));
        let (good, bad) = (hex(&good), hex(&bad));
        let indices: Vec<String> = drawn.iter().map(u64::to_string).collect();
        // What was refused is asked for by itself: to search for it each time takes longer than there is.
        let (answer, again) = tokio::join!(client.validators_apart(&good, &indices), client.validators(&bad));
        let (mut answer, refused) = answer?;
        if let Ok(known) = again {
            answer.extend(known);
            self.refused.clear();
        }
        self.refused.extend(ours.iter().filter(|key| refused.contains(&key.to_hex())));
        let (mut keys, mut others) = (BTreeMap::new(), BTreeSet::new());
        for validator in &answer {
            let (key, info) = validator.info()?;
            if ours.contains(&key) {
                keys.insert(key, info);
            } else if validator.is_ongoing() && drawn.contains(&info.index) {
                others.insert(info.index);
            }
        }
        let mut control: Vec<u64> = others.into_iter().collect();
        self.rng.shuffle(&mut control);
        control.truncate(CONTROL);
        Ok(Resolved { keys, refused: self.refused.iter().copied().collect(), control })
    }

    fn draw(&mut self, bound: u64) -> BTreeSet<u64> {
        if bound <= DRAWN {
            return (0..bound).collect();
        }
        let mut drawn = BTreeSet::new();
        while (drawn.len() as u64) < DRAWN {
            drawn.insert(self.rng.u64(..bound));
        }
        drawn
    }
}

/// Indices are given out in order, so of the powers of two exactly those below the number of validators exist.
async fn find_bound(client: &Client) -> Result<u64, NodeTrouble> {
    let powers: Vec<String> = (0..=MAX_POWER).map(|power| (1u64 << power).to_string()).collect();
    let answer = client.validators(&powers).await?;
    Ok(answer.iter().map(StateValidator::index).max().map_or(2, |largest| largest.saturating_mul(2)))
}
