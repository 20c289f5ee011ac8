//! What is written down of each epoch, in the ledger under `chain/<validator>`.
//!
//! Nodes cannot be asked later: about older epochs they answer a wrong `false` with status 200. So an epoch that was
//! not written down when it ended stays unknown forever.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::Epoch;
use crate::domain::{Interval, Time, Verdict, gates::SilentEpochs};

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
    /// From its beginning to its end; earlier builds did not write it, and their records count for nothing.
    #[serde(default)]
    pub about: Option<Interval>,
    pub node: String,
    /// When it answered, by our clock.
    pub observed_at: Time,
    pub verdict: Verdict,
    /// Why that is unknown, if it is.
    pub unknown_because: Option<String>,
    /// Since when the node had been synced, not optimistic and with its execution layer, without a break.
    pub synced_since: Option<Time>,
    pub genesis_root: Option<String>,
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

    /// How many epochs in a row, up to the latest, every node that had an opinion saw the validator silent; only those
    /// that began after `since`.
    #[must_use]
    pub fn silent_epochs(&self, since: Time) -> Option<SilentEpochs> {
        let last = self.records.back()?;
        let about = last.about?;
        let (mut count, mut nodes, mut from, mut epoch) = (0, usize::MAX, about.to, last.epoch.0);
        loop {
            let seen: Vec<_> = self.records.iter().filter(|record| record.epoch.0 == epoch).collect();
            let silent = seen.iter().filter(|record| record.verdict == Verdict::Down).count();
            let other = seen.iter().any(|record| matches!(record.verdict, Verdict::Up | Verdict::Partial));
            let began = seen.iter().filter_map(|record| record.about).map(|about| about.from).min();
            let Some(began) = began.filter(|began| silent > 0 && !other && *began >= since) else { break };
            (count, nodes, from) = (count + 1, nodes.min(silent), began);
            let Some(previous) = epoch.checked_sub(1) else { break };
            epoch = previous;
        }
        let nodes = if count == 0 { 0 } else { nodes };
        let each = about.to.duration_since(about.from);
        Some(SilentEpochs { count, last: last.epoch.0, nodes, about: Interval { from, to: about.to }, each })
    }

    /// The records, oldest first.
    pub fn records(&self) -> impl DoubleEndedIterator<Item = &EpochRecord> {
        self.records.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Span;

    #[test]
    fn only_epochs_that_began_after_the_incident_are_counted() {
        let at = |epoch: u64| Time::UNIX_EPOCH + Span::from_secs(80 * i64::try_from(epoch).unwrap());
        let record = |epoch, about| EpochRecord {
            epoch: Epoch(epoch),
            about,
            node: "a".into(),
            observed_at: at(epoch + 2),
            verdict: Verdict::Down,
            unknown_because: None,
            synced_since: None,
            genesis_root: None,
            keys: None,
            control: None,
            rewards: None,
            finalised: None,
        };
        let mut evidence = ChainEvidence::default();
        evidence.add((1..=20).map(|epoch| record(epoch, Some(Interval { from: at(epoch), to: at(epoch + 1) }))));
        let counted = |since| evidence.silent_epochs(since).unwrap();
        let all = counted(Time::MIN);
        assert_eq!((all.count, all.nodes, all.about), (20, 1, Interval { from: at(1), to: at(21) }));
        assert_eq!(all.each, Span::from_secs(80));
        let after = counted(at(14));
        assert_eq!((after.count, after.about), (7, Interval { from: at(14), to: at(21) }));
        assert_eq!(counted(at(14) + Span::from_secs(1)).count, 6, "one that it began in is not after it");
        assert_eq!((counted(at(22)).count, counted(at(22)).nodes), (0, 0));
        let mut older = ChainEvidence::default();
        older.add((1..=20).map(|epoch| record(epoch, None)));
        assert_eq!(older.silent_epochs(Time::MIN), None);
    }
}
