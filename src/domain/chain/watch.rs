//! Whether a node was well throughout: looked at once a slot, because one look late in an epoch cannot know.
//!
//! A node that was down, behind or cut off for a part of an epoch wrongly shows validators as silent in it.

use super::{ChainTime, Epoch, NodeEpoch, NodeTrouble, Slot};
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
    /// Which of these it left out, or gave as null. What is not known is not well.
    pub untold: Option<&'static str>,
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
    match status.untold {
        Some(field) => Err(NodeTrouble::Untold { field }),
        None => Ok(()),
    }
}

/// [`assess`], and whether its head has come far enough to say who was live in `epoch`.
///
/// # Errors
/// As [`assess`].
pub fn assess_about(epoch: Epoch, status: &SyncStatus, time: &ChainTime, now: Time) -> Result<(), NodeTrouble> {
    assess(status, time, now)?;
    if status.head < time.head_needed(epoch) {
        let clock = time.slot_at(now).unwrap_or(status.head);
        return Err(NodeTrouble::Behind { slots: clock.0.saturating_sub(status.head.0) });
    }
    Ok(())
}

/// Whether no node could say, for a reason that may be over in the next slot, and that slot is of the same epoch.
#[must_use]
pub fn is_worth_asking_again(looks: &[NodeEpoch], time: &ChainTime, now: Time) -> bool {
    let passes = |look: &NodeEpoch| {
        matches!(look.liveness, Err(NodeTrouble::NoAnswer | NodeTrouble::Broken(_) | NodeTrouble::Behind { .. }))
    };
    let Some(slot) = time.slot_at(now) else { return false };
    let next = time.epoch_of(Slot(slot.0.saturating_add(1)));
    looks.iter().all(|look| passes(look) && next == Epoch(look.epoch.0.saturating_add(1)))
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

impl NodeWatch {
    /// Takes one look in: how the node answered, at `now`.
    pub fn observe(&mut self, answer: Result<&SyncStatus, NodeTrouble>, time: &ChainTime, now: Time) {
        let gap = time.gap_allowed();
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
