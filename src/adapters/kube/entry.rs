//! What one topic has said, and since when.
//!
//! What several of them amount to for one validator is put together in [`super::index`].

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

use super::convert::{Items, What};
use crate::domain::{
    Span, Time, TimeExt,
    kube::{Blindness, Known},
};

/// How long a lease holds that does not say (the kubelet's `nodeLeaseDurationSeconds`).
const LEASE: Span = Span::from_secs(40);

/// A watch that is refused is tried again within ten seconds. Not refused for this long, it works.
const REFUSED: Duration = Duration::from_secs(90);

#[derive(Clone, Copy, Debug)]
pub(super) struct ClockPair {
    pub(super) wall: Time,
    pub(super) mono: Instant,
}

impl ClockPair {
    /// What the wall clock would have shown then, had it never jumped.
    pub(super) fn wall_at(&self, then: Instant) -> Time {
        let ago = Span::try_from(self.mono.saturating_duration_since(then)).unwrap_or(Span::MAX);
        self.wall.minus(ago)
    }
}

#[derive(Default)]
pub(super) struct QueryState {
    pub(super) items: Items,
    pub(super) answered: bool,
    /// The last reading failed like this.
    pub(super) blind: Option<Blindness>,
    /// It may be listed but not watched, as of then.
    pub(super) refused: Option<(Blindness, Instant)>,
    /// When the server last said anything about it.
    pub(super) proven_at: Option<Instant>,
    pub(super) was_there: bool,
    /// Of a topic of leases: each node's.
    pub(super) leases: BTreeMap<String, Renewal>,
}

/// A lease as we saw it change.
pub(super) struct Renewal {
    pub(super) renewed_at: Option<Time>,
    pub(super) changed_at: Instant,
    pub(super) seen_alive: bool,
    pub(super) duration: Span,
    pub(super) skew: Span,
}

impl QueryState {
    /// The one object of a topic that names one, if this is its kind.
    pub(super) fn only<'a, T>(&'a self, kind: impl Fn(&'a What) -> Option<T>) -> Option<T> {
        self.items.values().find_map(|item| kind(&item.what))
    }

    /// Forgets a refusal that was not repeated.
    pub(super) fn forgive(&mut self, now: Instant) {
        self.refused.take_if(|(_, at)| now.duration_since(*at) > REFUSED);
    }

    pub(super) fn state(&self) -> Known<()> {
        let blind = self.blind.as_ref().or(self.refused.as_ref().map(|(why, _)| why));
        match (blind, self.answered, self.items.is_empty()) {
            (Some(why), _, _) => Known::Blind(why.clone()),
            (None, false, _) => Known::NotYet,
            (None, true, false) => Known::Is(()),
            (None, true, true) if self.was_there => Known::Removed,
            (None, true, true) => Known::Missing,
        }
    }

    /// A lease counts by when we see it change; what it says itself is compared with our clock only to find clocks that
    /// are wrong.
    pub(super) fn renew(&mut self, at: ClockPair) {
        let items = &self.items;
        self.leases.retain(|name, _| items.contains_key(name));
        for (name, item) in items {
            let Some((renewed_at, duration)) = item.what.lease() else { continue };
            let duration = duration.filter(|duration| *duration > Span::ZERO).unwrap_or(LEASE);
            let known = self.leases.get_mut(name);
            let seen_alive = known.is_some();
            if let Some(lease) = known.filter(|lease| lease.renewed_at == renewed_at) {
                lease.duration = duration;
                continue;
            }
            let skew = renewed_at.map_or(Span::ZERO, |time| time.duration_since(at.wall));
            let lease = Renewal { renewed_at, changed_at: at.mono, seen_alive, duration, skew };
            self.leases.insert(name.clone(), lease);
        }
    }

    /// When another node's lease changed last: of that one whose time is nearest to this one's. One that we have seen
    /// alive is compared with such, and says nothing of one that may have been dead before we came.
    pub(super) fn nearest(&self, name: &str) -> Option<Instant> {
        let ours = self.leases.get(name)?;
        let others = || self.leases.iter().filter(|(other, _)| *other != name).map(|(_, lease)| lease);
        if !ours.seen_alive && others().any(|other| other.seen_alive) {
            return None;
        }
        let apart = |other: &Instant| other.max(&ours.changed_at).duration_since(*other.min(&ours.changed_at));
        let same = others().filter(|other| other.seen_alive == ours.seen_alive).map(|other| other.changed_at);
        same.min_by_key(apart)
    }
}

impl Known<()> {
    pub(super) fn with<T>(self, value: Option<T>) -> Known<T> {
        match (self, value) {
            (Known::Is(()), Some(value)) => Known::Is(value),
            (Known::Is(()) | Known::NotYet, _) => Known::NotYet,
            (Known::Missing, _) => Known::Missing,
            (Known::Removed, _) => Known::Removed,
            (Known::Blind(why), _) => Known::Blind(why),
        }
    }
}
