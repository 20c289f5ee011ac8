//! The session: who runs the signer at home.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::domain::Time;

/// How far two raw clocks may run apart in an hour, as a part of the time that is waited (a fiftieth).
const DRIFT: u32 = 50;
/// What is added to it, for the time between a clock and what acts by it.
const SLACK: Duration = Duration::from_secs(30);
/// How long the times in which a session was held are kept.
const KEPT: jiff::SignedDuration = jiff::SignedDuration::from_hours(8 * 24);
/// The most of them, so that a holder that starts over and over does not grow the record.
const MAX_HELD: usize = 512;

/// One for each validator. Its holder writes it; people write its number only.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Session {
    /// At most that of the grant in force. Above it a promotion has begun, and the holder stops.
    pub number: u64,
    /// Nobody when it was given back.
    pub holder: Option<Uuid>,
    pub on_loss: OnLedgerLoss,
    /// How long the holder may sign after a renewal, in seconds.
    pub ttl_seconds: u32,
    /// When it was held in the last eight days, by the holders' wall clocks, for people and for the gate *fenced*.
    #[serde(default)]
    pub held: Vec<Held>,
    /// Another one in each write, so that a writer knows its own.
    pub write: Uuid,
}

/// What a holder does that the ledger no longer answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnLedgerLoss {
    /// It stops before the session is old.
    Stop,
    /// It continues: the session is never old, and only giving it back frees it.
    Run,
}

/// A time in which the session was held.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Held {
    pub from: Time,
    /// The last renewal, or when it was given back.
    pub until: Time,
}

impl Session {
    /// A session that nobody holds, for the first grant.
    #[must_use]
    pub fn free(number: u64, write: Uuid) -> Self {
        Self { number, holder: None, on_loss: OnLedgerLoss::Stop, ttl_seconds: 0, held: Vec::new(), write }
    }

    /// How long it must not have changed to be old: until its holder has stopped for certain. `None`: never.
    #[must_use]
    pub fn old_after(&self) -> Option<Duration> {
        match self.on_loss {
            OnLedgerLoss::Run => None,
            OnLedgerLoss::Stop => Some(Self::old_with(Duration::from_secs(self.ttl_seconds.into()))),
        }
    }

    /// The same of any session with this ttl.
    #[must_use]
    pub fn old_with(ttl: Duration) -> Duration {
        ttl.saturating_add(ttl / DRIFT).saturating_add(SLACK)
    }

    /// Whether nobody can be signing under it: it was given back, or it has not changed for long enough.
    ///
    /// `unchanged` is by the store's own clock, or by one's own raw clock since this version was first seen.
    #[must_use]
    pub fn is_free(&self, unchanged: Duration) -> bool {
        self.holder.is_none() || self.old_after().is_some_and(|after| unchanged >= after)
    }

    /// Whether it is proof, at the end of a promotion's wait, that nobody at home can sign under it. One that was never
    /// held is none: home may never have been started through a gate.
    #[must_use]
    pub fn is_fence(&self, unchanged: Duration) -> bool {
        self.was_held() && self.is_free(unchanged)
    }

    /// Whether a gate has ever taken it.
    #[must_use]
    pub fn was_held(&self) -> bool {
        self.holder.is_some() || !self.held.is_empty()
    }

    /// As a holder writes it when it takes or renews it. The number stays: raising it is for people.
    #[must_use]
    pub fn held_by(&self, holder: Uuid, on_loss: OnLedgerLoss, ttl: Duration, now: Time, write: Uuid) -> Self {
        let mut held = self.held_until(now);
        // Whoever comes back later than it may sign without the ledger has not held it in between. Too short costs a
        // statement; too long hides what has signed outside the gate.
        let ttl_before = jiff::SignedDuration::from_secs(self.ttl_seconds.into());
        let is_sure = held.last() == self.held.last();
        match held.last_mut() {
            Some(last) if self.holder == Some(holder) && is_sure && now.duration_since(last.until) <= ttl_before => {
                last.until = now
            }
            Some(_) | None => held.push(Held { from: now, until: now }),
        }
        held.retain(|held| now.duration_since(held.until) <= KEPT);
        let surplus = held.len().saturating_sub(MAX_HELD);
        held.drain(..surplus);
        let ttl_seconds = u32::try_from(ttl.as_secs()).unwrap_or(u32::MAX);
        Self { number: self.number, holder: Some(holder), on_loss, ttl_seconds, held, write }
    }

    /// As its holder gives it back, when nothing that it started is left.
    #[must_use]
    pub fn given_back(&self, now: Time, write: Uuid) -> Self {
        let mut held = self.held_until(now);
        let ttl = jiff::SignedDuration::from_secs(self.ttl_seconds.into());
        if let (Some(_), Some(last)) = (self.holder, held.last_mut())
            && now.duration_since(last.until) <= ttl
        {
            last.until = now;
        }
        Self { holder: None, held, write, ..self.clone() }
    }

    /// What a clock that was ahead has written says nothing about the time since.
    fn held_until(&self, now: Time) -> Vec<Held> {
        let past = self.held.iter().filter(|held| held.from <= now);
        let sure = |held: &Held| if held.until <= now { held.until } else { held.from };
        past.map(|held| Held { from: held.from, until: sure(held) }).collect()
    }

    /// As a person raises it, so that its holder stops. Everything else stays.
    #[must_use]
    pub fn raised_to(&self, number: u64, write: Uuid) -> Self {
        Self { number: self.number.max(number), write, ..self.clone() }
    }

    /// As a person raises and frees it who has stated that nothing at home can sign. The times in which it was held stay as
    /// they were confirmed.
    #[must_use]
    pub fn freed_at(&self, number: u64, write: Uuid) -> Self {
        Self { holder: None, ..self.raised_to(number, write) }
    }
}
