//! Our keys' indices, and the control group: random validators on duty that are not ours, drawn again for every epoch.
//!
//! The whole list of validators is never asked for: on the mainnet that would be hundreds of megabytes.

use std::collections::{BTreeMap, BTreeSet};

use super::{client::Client, wire::StateValidator};
use crate::domain::{
    PublicKey,
    chain::{KeyInfo, NodeTrouble},
};

/// How many others are asked about. With 32, two thirds are missed by chance less than once in a million epochs while
/// nine in ten of all validators are live.
const CONTROL: usize = 32;
/// How many are drawn to find so many on duty: on the mainnet about half of all indices have left.
const DRAWN: u64 = 4 * CONTROL as u64;
/// More validators than this no chain will have for long: it has four times as many indices as today's mainnet.
const MAX_POWER: u32 = 23;

/// Draws control groups on one node.
pub(super) struct Sampler {
    rng: fastrand::Rng,
    /// Every index is below this; at least half of those below exist.
    bound: Option<u64>,
}

impl Sampler {
    pub(super) fn new(rng: fastrand::Rng) -> Self {
        Self { rng, bound: None }
    }

    /// Our keys as the chain knows them, and a control group.
    pub(super) async fn resolve(
        &mut self,
        client: &Client,
        ours: &[PublicKey],
    ) -> Result<(BTreeMap<PublicKey, KeyInfo>, Vec<u64>), NodeTrouble> {
        let bound = match self.bound {
            Some(bound) => bound,
            None => *self.bound.insert(find_bound(client).await?),
        };
        let drawn = self.draw(bound);
        let ids: Vec<String> = ours.iter().map(PublicKey::to_hex).chain(drawn.iter().map(u64::to_string)).collect();
        let answer = client.validators(&ids).await?;
        let (mut keys, mut others) = (BTreeMap::new(), BTreeSet::new());
        for validator in &answer {
            let (key, info) = validator.info()?;
            if ours.contains(&key) {
                keys.insert(key, info);
            } else if validator.is_ongoing() && drawn.contains(&info.index) {
                others.insert(info.index);
            }
        }
        let mut others: Vec<u64> = others.into_iter().collect();
        self.rng.shuffle(&mut others);
        others.truncate(CONTROL);
        Ok((keys, others))
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
