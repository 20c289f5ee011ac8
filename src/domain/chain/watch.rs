//! Whether a node was well throughout: looked at once a slot, because one look late in an epoch cannot know.
//!
//! A node that was down, behind or cut off for a part of an epoch wrongly shows validators as silent in it.

use super::{ChainTime, Epoch, NodeTrouble, Slot};
use crate::domain::{Interval, Time, TimeExt};

/// What a node says of itself (`/eth/v1/node/syncing`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncStatus {
    /// Its newest block's slot.
    pub head: Slot,
    /// How far behind it believes to be.
    pub distance: u64,
    pub syncing: bool,
    /// Its head is not verified by the execution layer.
    pub optimistic: bool,
    /// Its execution layer does not answer.
    pub el_offline: bool,
}

/// Whether a node's answers count right now.
///
/// # Errors
/// The first thing that is wrong with it, the most telling first.
pub fn assess(status: &SyncStatus, time: &ChainTime, now: Time) -> Result<(), NodeTrouble> {
    let latest = now.plus(time.disparity());
    let (Some(clock), Some(latest)) = (time.slot_at(now), time.slot_at(latest)) else {
        return Err(NodeTrouble::BeforeGenesis);
    };
    if status.head > latest {
        return Err(NodeTrouble::ClockBehind { head: status.head, slots: status.head.0 - clock.0 });
    }
    if status.el_offline {
        return Err(NodeTrouble::ExecutionOffline);
    }
    let behind = clock.0.saturating_sub(status.head.0);
    if status.syncing {
        return Err(NodeTrouble::Syncing { distance: status.distance.max(behind) });
    }
    if status.optimistic {
        return Err(NodeTrouble::Optimistic);
    }
    let allowed = time.lag_allowed();
    if status.distance > allowed {
        return Err(NodeTrouble::Behind { slots: status.distance });
    }
    if behind > allowed {
        return Err(if status.distance == 0 {
            NodeTrouble::ClocksDiffer { slots: behind }
        } else {
            NodeTrouble::Behind { slots: behind }
        });
    }
    Ok(())
}

/// One node's record of being well. Fed once a slot.
#[derive(Clone, Debug, Default)]
pub struct NodeWatch {
    /// Since when it has been well without a break.
    since: Option<Time>,
    /// When it was last seen to be well.
    last_well_at: Option<Time>,
    /// What is wrong now, or was before `since`.
    trouble: Option<NodeTrouble>,
}

/// After so many slots without a word nobody knows what was in between. One lost answer is nothing; a process that was
/// suspended, or a network that was down, is.
const MAX_GAP_SLOTS: i32 = 3;

impl NodeWatch {
    /// Takes one look in: how the node answered, at `now`.
    pub fn observe(&mut self, answer: Result<&SyncStatus, NodeTrouble>, time: &ChainTime, now: Time) {
        let gap = time.slot().saturating_mul(MAX_GAP_SLOTS);
        if self.last_well_at.is_some_and(|last| now < last || now.duration_since(last) > gap) {
            self.since = None;
            self.last_well_at = None;
            self.trouble = Some(NodeTrouble::Unobserved);
        }
        match answer.and_then(|status| assess(status, time, now)) {
            Ok(()) => {
                self.since.get_or_insert(now);
                self.last_well_at = Some(now);
            }
            Err(trouble) => self.fail(trouble),
        }
    }

    fn fail(&mut self, trouble: NodeTrouble) {
        // A lost answer is not an answer: only if several are lost, the gap above breaks the watch.
        let lost = matches!(trouble, NodeTrouble::NoAnswer | NodeTrouble::Broken(_));
        if !lost || self.since.is_none() {
            self.since = None;
            self.last_well_at = None;
            self.trouble = Some(trouble);
        }
    }

    /// Since when it has been well without a break, if it is.
    #[must_use]
    pub fn well_since(&self) -> Option<Time> {
        self.since
    }

    /// Whether it was well from before this epoch began until now.
    ///
    /// # Errors
    /// What is wrong, or since when it is right.
    pub fn well_throughout(&self, epoch: Interval, time: &ChainTime) -> Result<Time, NodeTrouble> {
        match self.since {
            Some(since) if since <= epoch.from => Ok(since),
            Some(since) => {
                let epoch = time.epoch_at(since).unwrap_or(Epoch(0));
                Err(NodeTrouble::WellSince { epoch, before: self.trouble.clone().map(Box::new) })
            }
            None => Err(self.trouble.clone().unwrap_or(NodeTrouble::NotAsked)),
        }
    }
}
