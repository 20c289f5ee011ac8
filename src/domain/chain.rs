//! What the chain shows of a validator's keys, and of itself: the judgement, from answers that a beacon node gave.
//!
//! It asks nobody: [`crate::adapters::beacon`] asks, once an epoch, and hands the answers in. The rules, each measured
//! on a running network: only the epoch just ended is judged, late in the next one; an answer in which the control
//! group is silent says nothing; a node counts only if it was well throughout; *silent* is written down at once and
//! never asked for later, because nodes answer a wrong `false` about older epochs.

mod agree;
mod judge;
mod key;
mod record;
mod sightings;
mod site;
#[cfg(test)]
mod tests;
mod time;
mod tolerance;
mod trouble;
mod watch;

pub use agree::{Agreed, agree, cannot_say, chain_view, observe};
pub use judge::{KeyInfo, KeyStatus, Liveness, NodeEpoch, NodeOpinion, key_states, opinion};
pub use key::{BadKey, PublicKey, chain_name, genesis_root, key_lines, written_key};
pub use record::{ChainEvidence, Control, EpochRecord, KeyCounts, Rewards};
pub use sightings::ChainSightings;
pub use site::{EpochSeen, SiteEpochs, SiteLook, node_number};
pub use time::{BadTiming, ChainTime, Epoch, Slot};
pub use tolerance::newest_until;
pub use trouble::NodeTrouble;
pub use watch::{NodeWatch, SyncStatus, assess, assess_about, is_worth_asking_again};

use super::{ChainView, Reading, ValidatorId};

/// What became of the keys that were asked about.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct KeyStates {
    /// `active_*` and not slashed: these have duties.
    pub active: usize,
    pub pending: usize,
    pub exited: usize,
    pub slashed: Vec<PublicKey>,
    /// All that were asked about; empty when nobody said.
    pub configured: Vec<PublicKey>,
    /// The chain does not know them: a typing error, or a deposit not yet seen.
    pub missing: usize,
    /// Active and silent in the last epoch judged.
    pub silent: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ChainHealth {
    Finalising,
    /// The last finalised epoch is older than [`MAX_UNFINALISED`] epochs.
    NotFinalising {
        epochs: u64,
    },
    #[default]
    Unknown,
}

/// From here on the chain leaks inactive validators (`MIN_EPOCHS_TO_INACTIVITY_PENALTY`, consensus-specs): not normal
/// by the chain's own measure. In good times the last finalised epoch is two or three old.
pub const MAX_UNFINALISED: u64 = 4;

impl ChainHealth {
    /// From the last finalised epoch.
    #[must_use]
    pub fn of(current: Epoch, finalised: Epoch) -> Self {
        match current.0.saturating_sub(finalised.0) {
            epochs if epochs > MAX_UNFINALISED => Self::NotFinalising { epochs },
            _ => Self::Finalising,
        }
    }

    /// What two nodes say together: one that sees it not finalising is enough. One that cannot say counts for nothing.
    #[must_use]
    pub fn worst(self, other: Self) -> Self {
        match (self, other) {
            (Self::NotFinalising { epochs: a }, Self::NotFinalising { epochs: b }) => {
                Self::NotFinalising { epochs: a.max(b) }
            }
            (sick @ Self::NotFinalising { .. }, _) | (_, sick @ Self::NotFinalising { .. }) => sick,
            (Self::Finalising, _) | (_, Self::Finalising) => Self::Finalising,
            (Self::Unknown, Self::Unknown) => Self::Unknown,
        }
    }
}

impl KeyStates {
    /// What two nodes say together, where nothing may be made better by asking one more: each number is the worse one, and
    /// a key that either calls slashed is.
    #[must_use]
    pub fn worst(mut self, other: Self) -> Self {
        let of = |mine: &mut Vec<PublicKey>, theirs: Vec<PublicKey>| {
            for key in theirs {
                if !mine.contains(&key) {
                    mine.push(key);
                }
            }
        };
        of(&mut self.slashed, other.slashed);
        of(&mut self.configured, other.configured);
        Self {
            active: self.active.min(other.active),
            pending: self.pending.max(other.pending),
            exited: self.exited.max(other.exited),
            missing: self.missing.max(other.missing),
            silent: self.silent.max(other.silent),
            ..self
        }
    }
}

/// What one look at an epoch came to, for all validators: to be sent to the loop and written down, once.
#[derive(Clone, Debug)]
pub struct ChainObservation {
    /// The epoch that was judged; `None` while there was nothing to judge yet.
    pub epoch: Option<Epoch>,
    pub chain: ChainView,
    /// Every validator, in the order given.
    pub validators: Vec<ValidatorObservation>,
}

#[derive(Clone, Debug)]
pub struct ValidatorObservation {
    pub validator: ValidatorId,
    /// The opinion on which the nodes agree.
    pub reading: Reading,
    /// What became of its keys, if any node could say.
    pub keys: Option<KeyStates>,
    /// What each node said, for `chain/<validator>` in the ledger ([`ChainEvidence::add`]).
    pub records: Vec<EpochRecord>,
}
