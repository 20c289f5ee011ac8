//! How far an execution client is that works in stages (reth, erigon), one after the other over all blocks: its head is 0
//! until the last one has run, which takes hours or days. Pure.

use super::{done_of, percent as share};
use crate::adapters::execution::{SyncProgress, SyncStage};

/// In the order in which they run; those of other names come after them. Reth lists its stages by their names.
const ORDER: [&str; 12] = [
    "Snapshots",
    "OtterSync",
    "Headers",
    "BlockHashes",
    "Bodies",
    "Senders",
    "SenderRecovery",
    "Execution",
    "AccountHashing",
    "StorageHashing",
    "MerkleExecute",
    "TransactionLookup",
];

/// To execute every block takes longer than all other stages together. Where it counted as one of a dozen, a percent of
/// the whole would take longer than a standby may go without one (`domain::machine::stuck`).
const EXECUTION: (&str, u64) = ("Execution", 60);

/// The newest block that it knows: of reth the stages alone tell, its `highestBlock` is its head.
pub(super) fn highest(progress: &SyncProgress) -> u64 {
    let known = progress.stages.iter().map(|stage| stage.block);
    known.fold(progress.highest_block.max(progress.current_block), u64::max)
}

pub(super) fn percent(progress: &SyncProgress) -> u8 {
    let of = highest(progress);
    let (name, weight) = EXECUTION;
    let (executes, others): (Vec<_>, Vec<_>) = progress.stages.iter().partition(|stage| stage.name == name);
    let mean = |stages: &[&SyncStage]| {
        let sum: u64 = stages.iter().map(|stage| u64::from(share(stage.block, of))).sum();
        sum.checked_div(stages.len() as u64)
    };
    let whole = match (mean(&executes), mean(&others)) {
        (Some(executed), Some(rest)) => (executed * weight + rest * (100 - weight)) / 100,
        (Some(only), None) | (None, Some(only)) => only,
        (None, None) => share(progress.current_block, of).into(),
    };
    u8::try_from(whole).unwrap_or(100)
}

/// The stage that is at work, in words: the first that has begun and is not done, or the first that has not begun.
pub(super) fn at_work(progress: &SyncProgress) -> Option<String> {
    let of = highest(progress);
    let place = |stage: &&SyncStage| ORDER.iter().position(|name| *name == stage.name).unwrap_or(ORDER.len());
    let open = || progress.stages.iter().filter(|stage| stage.block < of);
    let stage = open().filter(|stage| stage.block > 0).min_by_key(place).or_else(|| open().min_by_key(place))?;
    let (all, done) = (progress.stages.len(), progress.stages.len() - open().count());
    Some(format!("stage {}, {} blocks, {done} of {all} stages done", stage.name, done_of(stage.block, of)))
}
