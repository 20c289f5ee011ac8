//! One alert as Alertmanager tells it over time, and the rule by which each new word changes what is known.
//!
//! It does not know HTTP or the ledger; [`matchers`] select alerts, [`book`] turns many of them into an opinion.
//!
//! Messages come at least once, late, and in any order, so the state of an alert is a small machine:
//!
//! ```text
//!            firing                resolved, absent
//!  (nothing) ───────► Firing ─────────────────────► Resolved
//!                       ▲  ▲ ◄── firing, confirmed ── Silenced
//!             confirmed │  │ firing, 30 s later          │ firing
//!                       │  └───────── Doubtful ◄─────────┘   (resolved, absent: back to Resolved)
//! ```

pub mod book;
pub mod matchers;
#[cfg(test)]
mod tests;

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{Evidence, Span, Time, ValidatorId, one_line};

pub use book::{AlertBook, Freshness};
pub use matchers::{Labels, MatcherError, Matchers};

/// How long after the first firing message that follows a resolved one a second has to come to be believed.
///
/// Alertmanager itself says *resolved* when Prometheus is gone, and *firing* with the same start when it returns; a
/// late message looks the same. Messages that overtake each other do so within seconds (peers wait 15 s for each
/// other), so a repetition after 30 s is a new word.
pub const DOUBT: Span = Span::from_secs(30);

/// How old the stored `seen_at` may grow before a repetition is written again. Without it a repetition writes nothing,
/// and an alert that has been firing for a month would look forgotten after a restart.
pub const REWRITE_AFTER: Span = Span::from_hours(1);

/// Longest text taken over from an alert, in characters: for one line in a mail, and far below what a record may have.
pub const MAX_TEXT: usize = 256;

/// Alertmanager's name of a set of labels: 16 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Fingerprint(Arc<str>);

impl Fingerprint {
    /// Takes a fingerprint as Alertmanager writes it; anything else must not get into a key.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let ok = text.len() == 16 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        ok.then(|| Self(text.into()))
    }
}

impl TryFrom<String> for Fingerprint {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        Self::new(&text).ok_or_else(|| "a fingerprint has 16 hexadecimal digits".into())
    }
}

impl From<Fingerprint> for String {
    fn from(fingerprint: Fingerprint) -> Self {
        fingerprint.to_string()
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which alert, for which validator, and what it rests on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alert {
    pub validator: ValidatorId,
    pub fingerprint: Fingerprint,
    /// When it began, as Alertmanager says: it names the alert together with the fingerprint. Comes from outside, so
    /// it is never used as a time without a bound. `None` when it was not a time.
    pub starts_at: Option<Time>,
    /// What it rests on, by the mapping that took it.
    pub evidence: Evidence,
    /// The mapping that took it, so that an alert whose mapping is gone from the configuration stops to count.
    pub mapping: Arc<str>,
    pub name: Arc<str>,
    pub summary: Arc<str>,
}

impl Alert {
    /// Its key in the ledger, which is also its identity.
    #[must_use]
    pub fn key(&self) -> String {
        super::LedgerKey::alert(self).to_string()
    }
}

/// What is known of one alert. One record of the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlertRecord {
    pub alert: Alert,
    pub state: AlertState,
    /// When Alertmanager says it ended. For showing only.
    pub ends_at: Option<Time>,
    /// When it was last heard of, by the watcher's clock.
    pub seen_at: Time,
    /// When this record was last written, by the watcher's clock.
    pub saved_at: Time,
    /// Grows with every change that is written: of two states the larger is the later.
    pub revision: u64,
}

/// What is believed of an alert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum AlertState {
    Firing {
        /// Since when, never later than it was first heard; after a resolution, since it came back.
        since: Time,
    },
    /// It fires again after it was resolved, and only one message says so.
    Doubtful { since: Time },
    /// A human has said "I know".
    Silenced { by: Arc<str> },
    /// It does not fire any more, which is not recovery.
    Resolved {
        at: Time,
        /// Alertmanager did not say so, it only does not list it any more.
        absent: bool,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertUpdate {
    pub word: Word,
    /// When, by the watcher's clock. Of a listing: when it was asked for, so that it never outweighs a later message.
    pub at: Time,
}

/// What Alertmanager can say about an alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// A message says that it fires.
    Firing,
    /// A message says that it has ended.
    Resolved { ends_at: Option<Time> },
    /// It is in the list of alerts, not silenced.
    Listed,
    /// It is in the list, silenced.
    ListedSilenced { by: Arc<str> },
    /// It is not in the list.
    NotListed,
}

/// What a word makes of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merged {
    pub record: AlertRecord,
    /// Whether it has to be written. When not, only the time it was seen is new.
    pub write: bool,
}

/// What a word makes of what was known.
///
/// **Invariant:** of words heard within [`DOUBT`] of each other the verdict depends only on which there were, not on
/// their order or number; and after a last word *resolved* the alert never counts as firing.
#[must_use]
pub fn merge(known: Option<&AlertRecord>, alert: &Alert, heard: &AlertUpdate) -> Merged {
    let Some(known) = known else { return first(alert, heard) };
    let state = match &heard.word {
        // A list that was asked for before the last message came says nothing new.
        Word::Listed | Word::ListedSilenced { .. } | Word::NotListed if heard.at < known.seen_at => {
            return Merged { record: known.clone(), write: false };
        }
        Word::Firing => firing(&known.state, heard.at),
        Word::Resolved { .. } => resolved(&known.state, heard.at, false),
        Word::Listed => listed(&known.state, heard.at),
        Word::ListedSilenced { by } => AlertState::Silenced { by: one_line(by, MAX_TEXT).into() },
        Word::NotListed => resolved(&known.state, heard.at, true),
    };
    let ends_at = match &heard.word {
        Word::Resolved { ends_at } => known.ends_at.max(*ends_at),
        Word::Firing | Word::Listed | Word::ListedSilenced { .. } | Word::NotListed => known.ends_at,
    };
    let remapped = known.alert.evidence != alert.evidence || known.alert.mapping != alert.mapping;
    let old = heard.at.duration_since(known.saved_at) >= REWRITE_AFTER;
    let write = remapped || old || state != known.state;
    let record = AlertRecord {
        alert: alert.clone(),
        state,
        ends_at,
        seen_at: known.seen_at.max(heard.at),
        saved_at: if write { heard.at } else { known.saved_at },
        revision: known.revision + u64::from(write),
    };
    Merged { record, write }
}

fn first(alert: &Alert, heard: &AlertUpdate) -> Merged {
    let (state, ends_at) = match &heard.word {
        Word::Firing | Word::Listed => (AlertState::Firing { since: bounded_start(alert, heard.at) }, None),
        Word::Resolved { ends_at } => (AlertState::Resolved { at: heard.at, absent: false }, *ends_at),
        Word::ListedSilenced { by } => (AlertState::Silenced { by: one_line(by, MAX_TEXT).into() }, None),
        Word::NotListed => (AlertState::Resolved { at: heard.at, absent: true }, None),
    };
    let record =
        AlertRecord { alert: alert.clone(), state, ends_at, seen_at: heard.at, saved_at: heard.at, revision: 1 };
    Merged { record, write: true }
}

fn firing(known: &AlertState, at: Time) -> AlertState {
    match known {
        AlertState::Doubtful { since } if at.duration_since(*since) >= DOUBT => AlertState::Firing { since: *since },
        AlertState::Firing { .. } | AlertState::Doubtful { .. } => known.clone(),
        // Messages are only sent about alerts that are not silenced, so the silence has ended.
        AlertState::Silenced { .. } => AlertState::Firing { since: at },
        AlertState::Resolved { .. } => AlertState::Doubtful { since: at },
    }
}

fn listed(known: &AlertState, at: Time) -> AlertState {
    match known {
        AlertState::Firing { .. } => known.clone(),
        AlertState::Doubtful { since } => AlertState::Firing { since: *since },
        AlertState::Silenced { .. } | AlertState::Resolved { .. } => AlertState::Firing { since: at },
    }
}

fn resolved(known: &AlertState, at: Time, absent: bool) -> AlertState {
    match known {
        AlertState::Resolved { .. } => known.clone(),
        AlertState::Firing { .. } | AlertState::Doubtful { .. } | AlertState::Silenced { .. } => {
            AlertState::Resolved { at, absent }
        }
    }
}

/// A start from outside is never later than now.
fn bounded_start(alert: &Alert, now: Time) -> Time {
    alert.starts_at.map_or(now, |start| start.min(now))
}
