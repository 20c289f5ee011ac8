//! One node's opinion of one validator in one epoch, from the raw answers.
//!
//! Every doubt ends in a [`NodeTrouble`], which counts for nothing; *silent* is only said with the control group live.

use std::collections::{BTreeMap, BTreeSet};

use super::{Control, Epoch, KeyStates, NodeTrouble, PublicKey, Rewards};
use crate::domain::{Time, Verdict};

/// What a beacon state says of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyInfo {
    /// Its index, by which liveness is asked.
    pub index: u64,
    /// Where it is in its life.
    pub status: KeyStatus,
}

/// The statuses of the beacon API, as far as they make a difference here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyStatus {
    Pending,
    Active,
    Exited,
    /// `active_slashed`, `exited_slashed`, or the flag beside them.
    Slashed,
}

impl KeyStatus {
    /// From the API's words; `None` for a word that is not among them.
    #[must_use]
    pub fn from_api(status: &str, slashed: bool) -> Option<Self> {
        Some(match status {
            "pending_initialized" | "pending_queued" => Self::Pending,
            "active_ongoing" | "active_exiting" if !slashed => Self::Active,
            "exited_unslashed" | "withdrawal_possible" | "withdrawal_done" if !slashed => Self::Exited,
            "active_ongoing"
            | "active_exiting"
            | "active_slashed"
            | "exited_unslashed"
            | "exited_slashed"
            | "withdrawal_possible"
            | "withdrawal_done" => Self::Slashed,
            _ => return None,
        })
    }
}

/// Who was live in the epoch that was asked about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Liveness {
    /// Every index that was asked about.
    pub live: BTreeMap<u64, bool>,
    /// Those of them that are the control group.
    pub control: Vec<u64>,
}

/// Everything one node answered at the end of one epoch.
#[derive(Clone, Debug)]
pub struct NodeEpoch {
    pub node: String,
    /// The epoch that is judged: the one before the current.
    pub epoch: Epoch,
    /// By what name it is known among its peers, if it said.
    pub peer: Option<String>,
    /// The chain it follows, if it said.
    pub genesis_root: Option<String>,
    /// Since when it has been well without a break.
    pub well_since: Option<Time>,
    /// The keys it knows of those that were asked for. `None` when it could not say.
    pub keys: Option<BTreeMap<PublicKey, KeyInfo>>,
    /// Those of them that it has shown live, in whatever answer: that a key has signed needs no control group, and no node
    /// that was well throughout.
    pub live: BTreeSet<PublicKey>,
    /// Who was live and who was not, or why that cannot be known.
    pub liveness: Result<Liveness, NodeTrouble>,
    /// The reward for the right target in the epoch *before* the judged one, by index: below zero it was missed on the
    /// canonical chain.
    pub rewards: Result<BTreeMap<u64, i64>, NodeTrouble>,
    /// The last finalised epoch, if the node is well and said.
    pub finalised: Option<Epoch>,
    pub observed_at: Time,
}

/// What one node's answers mean for one validator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeOpinion {
    /// Up, partial or down. There is no opinion *unknown*: that is a [`NodeTrouble`].
    pub verdict: Verdict,
    /// How many active keys were live.
    pub live: usize,
    /// The active keys that were not.
    pub silent: Vec<PublicKey>,
    pub control: Control,
}

/// Fewer others than this are no group: one of them offline for its own reasons would weigh too much.
const MIN_CONTROL: usize = 8;

/// What one node says of the validator with these keys. `Ok(None)` when none of them has duties.
///
/// # Errors
/// Why its answer counts for nothing.
pub fn opinion(look: &NodeEpoch, keys: &[PublicKey]) -> Result<Option<NodeOpinion>, NodeTrouble> {
    let liveness = look.liveness.as_ref().map_err(Clone::clone)?;
    let known = look.keys.as_ref().ok_or(NodeTrouble::NotAsked)?;
    let control = Control::of(liveness);
    if control.total < MIN_CONTROL {
        return Err(NodeTrouble::NoControl { found: control.total });
    }
    // The chain itself needs two thirds to finalise: a node that sees less of a random sample sees a sick chain or
    // only a part of it, and in both cases our silence is not ours.
    if control.live * 3 < control.total * 2 {
        return Err(NodeTrouble::ControlSilent { live: control.live, total: control.total });
    }
    let (mut live, mut silent, mut unanswered) = (0, Vec::new(), 0);
    for key in keys {
        let Some(info) = known.get(key).filter(|info| info.status == KeyStatus::Active) else { continue };
        match liveness.live.get(&info.index) {
            Some(true) => live += 1,
            Some(false) => silent.push(*key),
            None => unanswered += 1,
        }
    }
    let asked = live + silent.len() + unanswered;
    if unanswered > 0 {
        return Err(NodeTrouble::Incomplete { answered: asked - unanswered, asked });
    }
    if asked == 0 {
        return Ok(None);
    }
    let verdict = match (live, silent.len()) {
        (_, 0) => Verdict::Up,
        (0, _) => Verdict::Down,
        (_, _) => Verdict::Partial,
    };
    Ok(Some(NodeOpinion { verdict, live, silent, control }))
}

/// How many of these keys have signed in this epoch, by one node's word, also where that says nothing about the others.
pub(super) fn live(look: &NodeEpoch, keys: &[PublicKey]) -> usize {
    keys.iter().filter(|key| look.live.contains(key)).count()
}

/// What became of these keys, by one node's word. `silent` is left at zero.
#[must_use]
pub fn key_states(known: &BTreeMap<PublicKey, KeyInfo>, keys: &[PublicKey]) -> KeyStates {
    let mut states = KeyStates { configured: keys.to_vec(), ..KeyStates::default() };
    for key in keys {
        match known.get(key).map(|info| info.status) {
            Some(KeyStatus::Active) => states.active += 1,
            Some(KeyStatus::Pending) => states.pending += 1,
            Some(KeyStatus::Exited) => states.exited += 1,
            Some(KeyStatus::Slashed) => states.slashed.push(*key),
            None => states.missing += 1,
        }
    }
    states
}

impl Control {
    fn of(liveness: &Liveness) -> Self {
        let live = |index| liveness.live.get(index).copied().unwrap_or(false);
        Self { live: liveness.control.iter().filter(|index| live(index)).count(), total: liveness.control.len() }
    }
}

/// What the canonical chain paid these keys, by one node's word; `None` when it could not say.
pub(super) fn rewards(look: &NodeEpoch, keys: &[PublicKey]) -> Option<Rewards> {
    let paid = look.rewards.as_ref().ok()?;
    let known = look.keys.as_ref()?;
    let control = &look.liveness.as_ref().ok()?.control;
    let mut rewards = Rewards { epoch: look.epoch.previous()?, made: 0, missed: 0, control_made: 0, control_total: 0 };
    for key in keys {
        match known.get(key).and_then(|info| paid.get(&info.index)) {
            Some(target) if *target < 0 => rewards.missed += 1,
            Some(target) if *target > 0 => rewards.made += 1,
            // Nothing is paid to anybody while the chain leaks, nor to who had no duty.
            Some(_) | None => {}
        }
    }
    for target in control.iter().filter_map(|index| paid.get(index)) {
        rewards.control_total += 1;
        rewards.control_made += usize::from(*target > 0);
    }
    Some(rewards)
}
