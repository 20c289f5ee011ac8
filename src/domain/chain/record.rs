//! What is written down of each epoch, in the ledger under `chain/<validator>`.
//!
//! Nodes cannot be asked later: about older epochs they answer a wrong `false` with status 200. So an epoch that was
//! not written down when it ended stays unknown forever.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::Epoch;
use crate::domain::{Interval, Time, Verdict};

/// How many epochs are kept: seven hours of the mainnet, far more than any gate asks for, some 30 kB for each node.
const MAX_EPOCHS: usize = 64;

/// The last epochs of one validator, oldest first. Written with [`crate::records::encode`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChainEvidence {
    records: VecDeque<EpochRecord>,
}

/// What one node said of one validator in one epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EpochRecord {
    pub epoch: Epoch,
    /// From its beginning to its end; earlier builds did not write it.
    #[serde(default)]
    pub about: Option<Interval>,
    pub node: String,
    /// By what name it is known among its peers, if it says: the same under every address. It is for the record of the site
    /// and not kept here.
    #[serde(skip)]
    pub peer: Option<String>,
    /// When it answered, by our clock.
    pub observed_at: Time,
    pub verdict: Verdict,
    /// Why that is unknown, if it is.
    pub unknown_because: Option<String>,
    /// Since when the node had been synced, not optimistic and with its execution layer, without a break.
    pub synced_since: Option<Time>,
    pub genesis_root: Option<String>,
    /// Also where the verdict is unknown and one of them was live.
    pub keys: Option<KeyCounts>,
    pub control: Option<Control>,
    /// What the canonical chain says of the epoch before.
    pub rewards: Option<Rewards>,
    /// The last finalised epoch.
    pub finalised: Option<Epoch>,
}

/// How many of the keys were seen how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyCounts {
    pub live: usize,
    pub silent: usize,
    pub pending: usize,
    pub exited: usize,
    pub slashed: usize,
    /// Not on the chain at all.
    pub missing: usize,
}

/// Random active validators that are not ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Control {
    /// How many of them were live.
    pub live: usize,
    pub total: usize,
}

/// Evidence of the canonical chain, by `rewards/attestations`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rewards {
    /// The epoch it is about: the one before the record's.
    pub epoch: Epoch,
    /// Keys that were paid for the right target: somebody signed.
    pub made: usize,
    /// Keys that were fined for a missing one.
    pub missed: usize,
    pub control_made: usize,
    pub control_total: usize,
}

impl ChainEvidence {
    /// Adds what was just seen. What is there already stays: an epoch is written once, and never filled in later.
    pub fn add(&mut self, records: impl IntoIterator<Item = EpochRecord>) {
        for record in records {
            let newest = self.records.back().map(|newest| newest.epoch);
            let repeated = self.records.iter().any(|old| old.epoch == record.epoch && old.node == record.node);
            if !repeated && newest.is_none_or(|newest| newest <= record.epoch) {
                self.records.push_back(record);
            }
        }
        let Some(newest) = self.records.back().map(|newest| newest.epoch) else { return };
        self.records.retain(|record| record.epoch.0 + MAX_EPOCHS as u64 > newest.0);
    }

    /// The records, oldest first.
    pub fn records(&self) -> impl DoubleEndedIterator<Item = &EpochRecord> {
        self.records.iter()
    }
}
