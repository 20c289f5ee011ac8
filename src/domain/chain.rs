//! What the chain shows of a validator's keys, and of itself.

/// What became of the keys that were asked about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyStates {
    /// active_*
    pub active: usize,
    /// pending_*
    pub pending: usize,
    /// exited, withdrawn
    pub exited: usize,
    /// slashed
    pub slashed: Vec<String>,
    /// active and silent in the last epoch judged
    pub silent: usize,
}

/// Whether the chain finalises.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ChainHealth {
    /// yes
    Finalising,
    /// no
    NotFinalising {
        /// epochs
        epochs: u64,
    },
    /// unknown
    #[default]
    Unknown,
}
