//! Vectors of slashing protection, in the form of EIP-3076's public tests.

use serde::{Deserialize, Serialize};
use serde_json::Value;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vector {
    pub name: String,
    pub genesis_validators_root: String,
    pub steps: Vec<Step>,
}

/// A file that is imported, and what is asked to be signed after it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    pub should_succeed: bool,
    pub contains_slashable_data: bool,
    pub interchange: Value,
    pub blocks: Vec<BlockAttempt>,
    pub attestations: Vec<VoteAttempt>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockAttempt {
    pub pubkey: String,
    #[serde(flatten)]
    pub block: Block,
    /// For who keeps the latest message only.
    pub should_succeed: bool,
    /// For who keeps all messages.
    pub should_succeed_complete: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VoteAttempt {
    pub pubkey: String,
    #[serde(flatten)]
    pub vote: Vote,
    pub should_succeed: bool,
    pub should_succeed_complete: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    #[serde(with = "quoted")]
    pub slot: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signing_root: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vote {
    #[serde(rename = "source_epoch", with = "quoted")]
    pub source: u64,
    #[serde(rename = "target_epoch", with = "quoted")]
    pub target: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signing_root: Option<String>,
}

mod quoted {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub fn serialize<S: Serializer>(number: &u64, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(number)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// It keeps every message.
    Complete,
    /// It keeps the latest slot, source and target.
    Minimal,
}

impl Step {
    /// What a signer is to answer.
    pub fn expected(&self, strategy: Strategy) -> (bool, Vec<bool>, Vec<bool>) {
        let of = |minimal: bool, complete: bool| match strategy {
            Strategy::Minimal => minimal,
            Strategy::Complete => complete,
        };
        let blocks = self.blocks.iter().map(|asked| of(asked.should_succeed, asked.should_succeed_complete));
        let votes = self.attestations.iter().map(|asked| of(asked.should_succeed, asked.should_succeed_complete));
        (self.should_succeed, blocks.collect(), votes.collect())
    }
}
