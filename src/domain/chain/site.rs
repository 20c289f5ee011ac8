//! What one site has seen of a validator, epoch by epoch, in the ledger under `chain/<site>/<validator>`.
//!
//! Every watcher that sees the chain writes it, lease or not, and so does a promotion on the operator's machine. Epochs
//! that look the same are one entry, so that a week of them is small. What was not judged when it ended stays unknown.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{Epoch, EpochRecord, PublicKey};
use crate::domain::{Span, Time, TimeExt, Verdict};

/// A day more than the gate *fenced* looks back.
const KEPT: Span = Span::from_hours(8 * 24);
/// The same where an epoch takes less than 42 seconds.
const MAX_EPOCHS: u64 = 16_384;
/// Entries that are kept, some 60 kB. A validator that is silent in every other epoch of four days has so many.
const MAX_RUNS: usize = 2_048;
/// Nodes that are named of one epoch. More would only count for more.
const MAX_NODES: usize = 8;
/// Nodes of which it is kept who they are: those of a week in which every one was replaced.
const MAX_PEERS: usize = 8 * MAX_NODES;
/// By how much the clocks of two sites may differ.
const CLOCKS_MAY_DIFFER: Span = Span::from_mins(1);
/// By so many epochs a look may be late, as when the ledger did not answer. What is written of a later time is no
/// record of ours.
const LATE: u64 = 32;
/// From the shortest slot to the longest epoch that a chain may have ([`super::ChainTime::new`]).
const EPOCH_MS: std::ops::RangeInclusive<u64> = 50..=600_000 * 4_096;

/// How one validator was seen in one epoch. What counts for more is larger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EpochSeen {
    /// Nodes were asked, and none could say.
    Unknown,
    /// Of every key, with the control group live.
    Silent,
    /// Of one key at least.
    Duty,
}

/// One record. Written with [`crate::records::encode`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SiteEpochs {
    /// The genesis validators root: silence on another chain says nothing.
    chain: String,
    genesis: Time,
    epoch_ms: u64,
    /// A digest of the public keys that were asked for: silence of others says nothing. Earlier builds did not write it.
    #[serde(default)]
    keys: String,
    /// The last finalised epoch that one of the nodes outside has shown.
    finalised: Option<Epoch>,
    /// Who the nodes are that are named, as far as they say: [`SiteLook::peers`].
    #[serde(default)]
    peers: BTreeMap<u32, u32>,
    /// In order, without overlaps. Nobody has looked at the epochs between them.
    runs: Vec<EpochRun>,
}

/// Epochs in a row that look the same: the first, how many, how, and who says so, by [`SiteLook::nodes`]. Silence that
/// nobody says is that of nodes which are not outside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct EpochRun(Epoch, u64, EpochSeen, Vec<u32>);

/// What one site makes of one epoch that has just ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiteLook {
    pub epoch: Epoch,
    pub seen: EpochSeen,
    /// Which of the nodes outside say so: the number of each one's address ([`node_number`]).
    pub nodes: Vec<u32>,
    /// By the number of its address, that of the name by which a node is known among its peers: under two addresses it is
    /// the same one.
    pub peers: BTreeMap<u32, u32>,
    pub finalised: Option<Epoch>,
    chain: String,
    genesis: Time,
    epoch_ms: u64,
    keys: String,
}

/// A number for the address or the name of a node, the same wherever it is asked from.
#[must_use]
pub fn node_number(of: &str) -> u32 {
    let digest = Sha256::digest(of);
    u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]])
}

/// The same of these keys, whatever their order.
pub(super) fn digest_of(keys: &[PublicKey]) -> String {
    let sorted: BTreeSet<String> = keys.iter().map(PublicKey::to_hex).collect();
    let text = sorted.into_iter().collect::<Vec<_>>().join(",");
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl SiteLook {
    /// From what each node said of these keys in one epoch. `outside` gives the number of one that is outside, by its
    /// name: only those are named. A duty that any node has seen is one, whoever else says *silent*. `None` when no node
    /// has said which chain it follows.
    #[must_use]
    pub fn of(records: &[EpochRecord], keys: &[PublicKey], outside: impl Fn(&str) -> Option<u32>) -> Option<Self> {
        let seen = |record: &EpochRecord| match record.verdict {
            // Whatever it makes of the others: a key that signed has signed.
            _ if record.keys.is_some_and(|keys| keys.live > 0) => EpochSeen::Duty,
            Verdict::Up | Verdict::Partial => EpochSeen::Duty,
            Verdict::Down => EpochSeen::Silent,
            Verdict::Unknown => EpochSeen::Unknown,
        };
        let best = records.iter().max_by_key(|record| (seen(record), record.genesis_root.is_some()))?;
        let of_it: Vec<_> = records.iter().filter(|record| seen(record) == seen(best)).collect();
        let about = best.about?;
        let chain = best.genesis_root.clone()?;
        if of_it.iter().any(|record| record.genesis_root.as_ref().is_some_and(|root| *root != chain)) {
            return None;
        }
        let epoch_ms = u64::try_from(about.to.duration_since(about.from).as_millis()).ok()?;
        let before = i64::try_from(u128::from(best.epoch.0) * u128::from(epoch_ms)).ok()?;
        let mut nodes: Vec<u32> = of_it.iter().filter_map(|record| outside(&record.node)).collect();
        nodes.sort_unstable();
        nodes.dedup();
        nodes.truncate(MAX_NODES);
        let peer = |record: &&EpochRecord| {
            let number = outside(&record.node).filter(|number| nodes.contains(number))?;
            Some((number, node_number(record.peer.as_ref()?)))
        };
        let peers = of_it.iter().copied().filter_map(|record| peer(&record)).collect();
        Some(Self {
            epoch: best.epoch,
            seen: seen(best),
            nodes: if seen(best) == EpochSeen::Unknown { Vec::new() } else { nodes },
            peers,
            finalised: records.iter().filter(|it| outside(&it.node).is_some()).filter_map(|it| it.finalised).max(),
            chain,
            genesis: about.from.minus(Span::from_millis(before)),
            epoch_ms,
            keys: digest_of(keys),
        })
    }
}

impl SiteEpochs {
    /// A record of nothing, for what this look is about.
    #[must_use]
    pub fn begun_by(look: &SiteLook) -> Self {
        let SiteLook { chain, genesis, epoch_ms, keys, .. } = look.clone();
        Self { chain, genesis, epoch_ms, keys, finalised: None, peers: BTreeMap::new(), runs: Vec::new() }
    }

    /// Takes a look in. An epoch before the last one is never filled in; of the last one, another process at the same
    /// site may have seen more.
    pub fn add(&mut self, look: &SiteLook) {
        // Nodes say nothing to a clock that is wrong, so what they said is of the right time.
        let is_judged = look.seen != EpochSeen::Unknown;
        while is_judged
            && self.end() > look.epoch.0 + 1
            && self.last().is_some_and(|(seen, _)| seen == EpochSeen::Unknown)
        {
            self.runs.pop();
        }
        let is_other = (&self.chain, self.genesis, self.epoch_ms, &self.keys)
            != (&look.chain, look.genesis, look.epoch_ms, &look.keys);
        let late = self.timing().interval(look.epoch.0.saturating_add(LATE)).to;
        if is_other || is_judged && self.problem(&look.chain, &look.keys, late).is_some() {
            *self = Self::begun_by(look);
        }
        let newest = look.epoch.max(Epoch(self.end().saturating_sub(1)));
        let said = look.finalised.filter(|finalised| *finalised <= look.epoch);
        self.finalised = self.finalised.max(said).filter(|finalised| *finalised <= newest);
        let (mut seen, mut nodes) = (look.seen, look.nodes.clone());
        match self.end() {
            end if end > look.epoch.0.saturating_add(1) => return,
            end if end == look.epoch.0.saturating_add(1) => {
                if let Some((before, said_by)) = self.last() {
                    match before.cmp(&seen) {
                        std::cmp::Ordering::Greater => (seen, nodes) = (before, said_by.to_vec()),
                        std::cmp::Ordering::Equal => nodes.extend(said_by),
                        std::cmp::Ordering::Less => {}
                    }
                }
                self.drop_from(look.epoch.0);
            }
            _ => {}
        }
        nodes.sort_unstable();
        nodes.dedup();
        nodes.truncate(MAX_NODES);
        match self.runs.last_mut() {
            Some(EpochRun(first, count, same, by))
                if first.0.saturating_add(*count) == look.epoch.0 && *same == seen && *by == nodes =>
            {
                *count += 1;
            }
            Some(_) | None => self.runs.push(EpochRun(look.epoch, 1, seen, nodes)),
        }
        self.trim(if is_judged { KEPT } else { Span::MAX });
        self.peers.extend(&look.peers);
        let named = self.nodes();
        self.peers.retain(|node, _| named.contains(node));
        if self.peers.len() > MAX_PEERS {
            self.peers = look.peers.clone();
        }
    }

    /// One after the last epoch.
    fn end(&self) -> u64 {
        self.runs.last().map_or(0, |EpochRun(first, count, ..)| first.0.saturating_add(*count))
    }

    fn last(&self) -> Option<(EpochSeen, &[u32])> {
        self.runs.last().map(|EpochRun(_, _, seen, nodes)| (*seen, nodes.as_slice()))
    }

    /// Takes away this epoch and every later one.
    fn drop_from(&mut self, epoch: u64) {
        self.runs.retain(|EpochRun(first, ..)| first.0 < epoch);
        if let Some(EpochRun(first, count, ..)) = self.runs.last_mut() {
            *count = (*count).min(epoch - first.0);
        }
    }

    fn trim(&mut self, kept: Span) {
        let kept = u64::try_from(kept.as_millis()).unwrap_or(u64::MAX) / self.epoch_ms.max(1);
        let oldest = self.end().saturating_sub(kept.clamp(1, MAX_EPOCHS));
        self.runs.retain(|EpochRun(first, count, ..)| first.0.saturating_add(*count) > oldest);
        if let Some(EpochRun(first, count, ..)) = self.runs.first_mut().filter(|run| run.0.0 < oldest) {
            (*first, *count) = (Epoch(oldest), first.0.saturating_add(*count) - oldest);
        }
        let surplus = self.runs.len().saturating_sub(MAX_RUNS);
        self.runs.drain(..surplus);
    }

    /// Why it is no answer about these keys on this chain at this moment.
    ///
    /// # Errors
    /// In words, with what to do.
    pub fn check(&self, chain: &str, keys: &[PublicKey], now: Time) -> Result<(), String> {
        self.problem(chain, &digest_of(keys), now).map_or(Ok(()), Err)
    }

    fn problem(&self, chain: &str, keys: &str, now: Time) -> Option<String> {
        if !self.chain.eq_ignore_ascii_case(chain) {
            let theirs: String = self.chain.chars().take(12).collect();
            return Some(format!("it is of another chain ({theirs}…): correct that site's beacon nodes"));
        }
        if self.keys != keys {
            return Some("it is about other keys: make `public_keys` there and here the same".to_owned());
        }
        let odd = "it is not one that this program writes: take it away with `failover ledger remove`";
        if !EPOCH_MS.contains(&self.epoch_ms) || self.runs.len() > MAX_RUNS || self.peers.len() > MAX_PEERS {
            return Some(odd.to_owned());
        }
        let mut end = self.runs.first().map_or(0, |run| run.0.0);
        let begin = end;
        for EpochRun(first, count, seen, nodes) in &self.runs {
            let next = first.0.checked_add(*count);
            let fits = first.0 >= end && *count > 0 && nodes.len() <= MAX_NODES;
            let Some(next) = next.filter(|_| fits && (*seen != EpochSeen::Unknown || nodes.is_empty())) else {
                return Some(odd.to_owned());
            };
            end = next;
        }
        if end - begin > MAX_EPOCHS {
            return Some(odd.to_owned());
        }
        if !self.runs.is_empty() && self.timing().interval(end - 1).to > now.plus(CLOCKS_MAY_DIFFER) {
            return Some("it lies in the future: set the clock of that site".to_owned());
        }
        None
    }

    /// Every epoch that was looked at, in order, with those who say so. Only of one that was [`Self::check`]ed.
    pub(super) fn epochs(&self) -> impl Iterator<Item = (u64, EpochSeen, &[u32])> {
        self.runs.iter().flat_map(|EpochRun(first, count, seen, nodes)| {
            (first.0..first.0.saturating_add(*count)).map(|epoch| (epoch, *seen, nodes.as_slice()))
        })
    }

    /// Which names go with which addresses, by number.
    pub(super) fn peers(&self) -> impl Iterator<Item = (u32, u32)> {
        self.peers.iter().map(|(address, name)| (*address, *name))
    }

    pub(super) fn finalised(&self) -> Option<Epoch> {
        self.finalised
    }

    pub(super) fn timing(&self) -> SiteTiming {
        SiteTiming { genesis: self.genesis, epoch_ms: self.epoch_ms }
    }

    /// The last epoch that was looked at, how it was seen, and by how many nodes outside.
    #[must_use]
    pub fn newest(&self) -> Option<(Epoch, EpochSeen, usize)> {
        let (seen, nodes) = self.last()?;
        Some((Epoch(self.end().saturating_sub(1)), seen, nodes.len()))
    }

    /// How many epochs it knows something of.
    #[must_use]
    pub fn judged(&self) -> u64 {
        let judged = self.runs.iter().filter(|run| run.2 != EpochSeen::Unknown);
        judged.fold(0, |sum, run| sum.saturating_add(run.1))
    }

    /// Who outside has said anything, in this record.
    #[must_use]
    pub fn nodes(&self) -> BTreeSet<u32> {
        self.runs.iter().flat_map(|run| run.3.iter().copied()).collect()
    }
}

/// When epochs begin, as a site has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SiteTiming {
    pub(super) genesis: Time,
    pub(super) epoch_ms: u64,
}

#[cfg(test)]
mod tests;
