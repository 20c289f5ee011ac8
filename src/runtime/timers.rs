//! Who wants to be woken when. One entry a validator; a new wish replaces the old one.

use std::collections::{BTreeSet, HashMap};

use crate::domain::{Time, ValidatorId};

/// The wishes, ordered by time.
#[derive(Debug, Default)]
pub(super) struct Timers {
    by_time: BTreeSet<(Time, ValidatorId)>,
    of: HashMap<ValidatorId, Time>,
}

impl Timers {
    /// Replaces the wish of this validator.
    pub(super) fn set(&mut self, id: &ValidatorId, at: Option<Time>) {
        if let Some(old) = self.of.remove(id) {
            self.by_time.remove(&(old, id.clone()));
        }
        if let Some(at) = at {
            self.of.insert(id.clone(), at);
            self.by_time.insert((at, id.clone()));
        }
    }

    pub(super) fn next(&self) -> Option<Time> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Takes everyone out whose time has come.
    pub(super) fn due(&mut self, now: Time) -> Vec<ValidatorId> {
        let mut due = Vec::new();
        while let Some((at, id)) = self.by_time.first().cloned() {
            if at > now {
                break;
            }
            self.set(&id, None);
            due.push(id);
        }
        due
    }
}
