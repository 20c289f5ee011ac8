//! A signer that is written from the rules of EIP-3076 and shares no code with the program.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::vectors::{Block, Step, Strategy, Vote};

/// Without a root nobody can say that two messages are one.
fn is_repeat(one: Option<&String>, other: Option<&String>) -> bool {
    one.is_some() && one == other
}

impl Block {
    /// Slashable: two blocks of one slot.
    pub fn contradicts(&self, other: &Self) -> bool {
        self.slot == other.slot && !is_repeat(self.signing_root.as_ref(), other.signing_root.as_ref())
    }
}

impl Vote {
    /// Slashable (consensus-specs, `is_slashable_attestation_data`): two votes for one target, or one around the other.
    pub fn contradicts(&self, other: &Self) -> bool {
        let around = |outer: &Self, inner: &Self| outer.source < inner.source && inner.target < outer.target;
        let double = self.target == other.target && !is_repeat(self.signing_root.as_ref(), other.signing_root.as_ref());
        double || around(self, other) || around(other, self)
    }
}

/// Everything that one key has signed, as far as a signer knows.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    pub blocks: Vec<Block>,
    pub votes: Vec<Vote>,
}

impl Memory {
    /// Whether a message in it contradicts another one, or itself.
    fn is_slashable(&self) -> bool {
        let blocks = self.blocks.iter().enumerate();
        let votes = self.votes.iter().enumerate();
        blocks.clone().any(|(at, block)| self.blocks[..at].iter().any(|before| before.contradicts(block)))
            || votes.clone().any(|(at, vote)| self.votes[..at].iter().any(|before| before.contradicts(vote)))
            || self.votes.iter().any(|vote| vote.source > vote.target)
    }

    /// The latest of each alone, of which no root says that it is the same again.
    fn forget(&mut self) {
        let slot = self.blocks.iter().map(|block| block.slot).max();
        let source = self.votes.iter().map(|vote| vote.source).max();
        let target = self.votes.iter().map(|vote| vote.target).max();
        self.blocks = slot.map(|slot| Block { slot, signing_root: None }).into_iter().collect();
        let votes = source.zip(target).map(|(source, target)| Vote { source, target, signing_root: None });
        self.votes = votes.into_iter().collect();
    }
}

pub const STRATEGIES: [Strategy; 2] = [Strategy::Complete, Strategy::Minimal];

/// A signer after what it has imported and signed.
#[derive(Clone, Debug)]
pub struct Signer {
    root: String,
    strategy: Strategy,
    pub keys: BTreeMap<String, Memory>,
}

#[derive(Deserialize)]
struct Interchange {
    metadata: Metadata,
    data: Vec<Entry>,
}

#[derive(Deserialize)]
struct Metadata {
    interchange_format_version: String,
    genesis_validators_root: String,
}

#[derive(Deserialize)]
struct Entry {
    pubkey: String,
    signed_blocks: Vec<Block>,
    signed_attestations: Vec<Vote>,
}

impl Signer {
    pub fn new(root: &str, strategy: Strategy) -> Self {
        Self { root: root.to_owned(), strategy, keys: BTreeMap::new() }
    }

    /// Whether the file was taken.
    pub fn import(&mut self, interchange: &Value) -> bool {
        let Ok(file) = Interchange::deserialize(interchange) else { return false };
        if file.metadata.interchange_format_version != "5" || file.metadata.genesis_validators_root != self.root {
            return false;
        }
        for entry in file.data {
            let memory = self.keys.entry(entry.pubkey).or_default();
            memory.blocks.extend(entry.signed_blocks);
            memory.votes.extend(entry.signed_attestations);
            self.settle();
        }
        true
    }

    fn settle(&mut self) {
        if self.strategy == Strategy::Minimal {
            self.keys.values_mut().for_each(Memory::forget);
        }
    }

    /// Whether a file has a message that contradicts another one of it, or that this signer would not sign.
    pub fn finds_slashable(&self, interchange: &Value) -> bool {
        let mut alone = Self::new(&self.root, self.strategy);
        alone.import(interchange);
        alone.is_slashable()
            || alone.keys.iter().any(|(key, memory)| {
                memory.blocks.iter().any(|block| !self.clone().sign_block(key, block))
                    || memory.votes.iter().any(|vote| !self.clone().sign_vote(key, vote))
            })
    }

    pub fn is_slashable(&self) -> bool {
        self.keys.values().any(Memory::is_slashable)
    }

    /// Conditions 1 and 2 of the EIP. What it signs it remembers.
    pub fn sign_block(&mut self, key: &str, block: &Block) -> bool {
        let memory = self.keys.entry(key.to_owned()).or_default();
        let is_same = |known: &Block| known.slot == block.slot && !known.contradicts(block);
        let is_above = memory.blocks.iter().map(|known| known.slot).min().is_none_or(|lowest| block.slot > lowest);
        let is_repeat = memory.blocks.iter().any(is_same);
        if memory.blocks.iter().any(|known| known.contradicts(block)) || !(is_above || is_repeat) {
            return false;
        }
        memory.blocks.push(block.clone());
        self.settle();
        true
    }

    /// Conditions 3, 4 and 5.
    pub fn sign_vote(&mut self, key: &str, vote: &Vote) -> bool {
        let memory = self.keys.entry(key.to_owned()).or_default();
        let is_same = |known: &Vote| known.target == vote.target && !known.contradicts(vote);
        let (sources, targets) = (memory.votes.iter().map(|known| known.source), memory.votes.iter().map(|v| v.target));
        let is_above = sources.min().is_none_or(|lowest| vote.source >= lowest)
            && targets.min().is_none_or(|lowest| vote.target > lowest);
        let is_repeat = memory.votes.iter().any(is_same);
        let contradicts = memory.votes.iter().any(|known| known.contradicts(vote)) || vote.source > vote.target;
        if contradicts || !(is_above || is_repeat) {
            return false;
        }
        memory.votes.push(vote.clone());
        self.settle();
        true
    }

    /// What this signer answers to each step: whether the file was taken, and what was signed.
    pub fn run(&mut self, step: &Step) -> (bool, Vec<bool>, Vec<bool>) {
        let taken = self.import(&step.interchange);
        let blocks = step.blocks.iter().map(|asked| self.sign_block(&asked.pubkey, &asked.block)).collect();
        let votes = step.attestations.iter().map(|asked| self.sign_vote(&asked.pubkey, &asked.vote)).collect();
        (taken, blocks, votes)
    }
}
