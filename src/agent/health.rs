//! What one look at the node comes to, whatever kind it is. It holds no opinion of its own.

use super::signer::Signs;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeHealth {
    /// 0 to 100; 100 only when synced.
    pub percent: u8,
    /// What it is doing, or what keeps it from being ready.
    pub stage: String,
    /// If it continues as it went.
    pub seconds_to_go: Option<u64>,
    /// It follows its chain, right up to now.
    pub synced: bool,
    pub optimistic: bool,
    pub head_age_seconds: u64,
    /// How many peers it has; 0 when that is not known.
    pub peers: u32,
    /// The chain it follows; empty when that is not known.
    pub genesis_root: String,
    /// The chain's name, where chains have names.
    pub chain_id: Option<String>,
    /// What the node says of signing by itself; nothing when it says that it signs nothing, or there is nothing to ask.
    pub signs: Signs,
    /// Something takes connections where the node is asked. Where nothing does, the node may not run at all.
    pub listens: bool,
    /// Versions as the programs say them.
    pub versions: Vec<(&'static str, String)>,
}

pub use crate::domain::UNKNOWN_HEAD_AGE_SECONDS;

/// The share of `done` in `of` as a percentage that is 100 only at the end, and 0 of nothing.
#[must_use]
pub fn percent(done: u64, of: u64) -> u8 {
    if of == 0 {
        return 0;
    }
    let percent = u128::from(done.min(of)) * 100 / u128::from(of);
    u8::try_from(percent).unwrap_or(100)
}
