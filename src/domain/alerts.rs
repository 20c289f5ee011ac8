//! One alert as Alertmanager tells it over time, and the rule by which each new word changes what is known.
//!
//! It does not know HTTP or the ledger; [`matchers`] select alerts, [`book`] turns many of them into an opinion.
//!
//! An alert is its set of labels. Its start is not a part of it: of two Prometheus replicas each has its own, and
//! Alertmanager's messages move from one to the other. Messages come at least once, late, and in any order, so the state
//! of an alert is a small machine:
//!
//! ```text
//!            firing                resolved, absent
//!  (nothing) ───────► Firing ─────────────────────► Resolved ── firing, begun after the end ──► Firing
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

use super::{Evidence, Span, Time, TimeExt, ValidatorId, one_line};

pub use book::{AlertBook, Freshness};
pub use matchers::{Labels, MatcherError, Matchers};

/// How long after the first firing message that follows a resolved one a second has to come to be believed.
///
/// Alertmanager itself says *resolved* when Prometheus is gone, and *firing* with the same start when it returns; a
/// late message looks the same. Messages that overtake each other do so within seconds (peers wait 15 s for each
/// other), so a repetition after 30 s is a new word.
pub const DOUBT: Span = Span::from_secs(30);

/// For how long what has ended is kept: far longer than messages overtake each other, and a person can still look it up.
pub const KEPT: Span = Span::from_hours(1);

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
    /// When it began, by the clock of who evaluates the rule. In a record the latest such time; of two replicas each
    /// has its own. `None` when it was not a time or, in a record, in the future.
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
    /// The latest end that was ever reported. What began before has ended, whatever comes late; what began after it is
    /// another outage.
    pub ends_at: Option<Time>,
    /// When a message or a list last named it, by the watcher's clock.
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
    Resolved { at: Time, ending: Ending },
}

/// How it is known that an alert does not fire any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// A message says so.
    Resolved,
    /// Alertmanager does not list it any more.
    NotListed,
    /// Its rule could not be evaluated, so it says nothing about the validator.
    NotEvaluated,
}

impl AlertRecord {
    /// Whether nobody needs it any more: it has long ended, or has long been too old to be believed.
    #[must_use]
    pub fn is_over(&self, now: Time, stale_after: Span) -> bool {
        match &self.state {
            AlertState::Resolved { at, .. } => now.duration_since(*at) > KEPT,
            // What is stored may be older by so much than what was heard.
            AlertState::Firing { .. } | AlertState::Doubtful { .. } | AlertState::Silenced { .. } => {
                now.duration_since(self.seen_at) > stale_after.saturating_add(REWRITE_AFTER).saturating_add(KEPT)
            }
        }
    }
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
    /// A message says that its rule could not be evaluated, or something that is neither firing nor resolved.
    NotEvaluated,
    /// It is in the list of alerts, not silenced.
    Listed,
    /// It is in the list, silenced.
    ListedSilenced { by: Arc<str> },
    /// It is not in the list.
    NotListed,
}

/// What was seen so much later than a word that comes now was seen by a clock that was set back since. A list is asked
/// for within seconds of its answer.
const CLOCK_SET_BACK: Span = Span::from_mins(5);

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
/// their order or number; and an alert of which no start is later than the latest end never counts as firing when that
/// end was heard last.
#[must_use]
pub fn merge(known: Option<&AlertRecord>, alert: &Alert, heard: &AlertUpdate) -> Merged {
    // A start in the future is of a clock that is not ours, and cannot be compared.
    let start = alert.starts_at.filter(|start| *start <= heard.at);
    let end = end(&heard.word, start, heard.at);
    let Some(known) = known else {
        let alert = Alert { starts_at: start, ..alert.clone() };
        let state = first(&heard.word, start, heard.at);
        let record = AlertRecord { alert, state, ends_at: end, seen_at: heard.at, saved_at: heard.at, revision: 1 };
        return Merged { record, write: true };
    };
    let by_list = matches!(heard.word, Word::Listed | Word::ListedSilenced { .. } | Word::NotListed);
    // A clock that was set back shows earlier moments, and what comes now is the later word all the same.
    let seen_at = known.seen_at.min(heard.at.plus(CLOCK_SET_BACK));
    if by_list && heard.at < seen_at && seen_at == known.seen_at {
        // A list that was asked for before the last message came says nothing new.
        return Merged { record: known.clone(), write: false };
    }
    let (starts_at, ends_at) = (known.alert.starts_at.max(start), known.ends_at.max(end));
    let fresh = start.filter(|start| known.ends_at.is_some_and(|end| *start > end));
    let state = match &heard.word {
        Word::Firing => firing(known, start, fresh, heard.at),
        Word::Listed => listed(known, start, fresh, heard.at),
        Word::ListedSilenced { by } => AlertState::Silenced { by: one_line(by, MAX_TEXT).into() },
        // An end that comes late ends nothing that began after it.
        Word::Resolved { .. } if starts_at > ends_at => known.state.clone(),
        Word::Resolved { .. } => ended(&known.state, heard.at, Ending::Resolved),
        Word::NotEvaluated => ended(&known.state, heard.at, Ending::NotEvaluated),
        Word::NotListed => ended(&known.state, heard.at, Ending::NotListed),
    };
    let remapped = known.alert.evidence != alert.evidence || known.alert.mapping != alert.mapping;
    let old = heard.at.duration_since(known.saved_at) >= REWRITE_AFTER;
    let moved = starts_at != known.alert.starts_at || ends_at != known.ends_at;
    let write = remapped || old || moved || state != known.state || seen_at != known.seen_at;
    let record = AlertRecord {
        alert: Alert { starts_at, ..alert.clone() },
        state,
        ends_at,
        seen_at: if seen_at == known.seen_at { seen_at.max(heard.at) } else { heard.at },
        saved_at: if write { heard.at } else { known.saved_at },
        revision: known.revision + u64::from(write),
    };
    Merged { record, write }
}

/// Up to when a word ends what has begun. A message that ends an alert ends at least the one whose start it names.
fn end(word: &Word, start: Option<Time>, at: Time) -> Option<Time> {
    match word {
        Word::Resolved { ends_at } => Some(ends_at.unwrap_or(at)).max(start),
        Word::NotEvaluated | Word::NotListed => Some(at),
        Word::Firing | Word::Listed | Word::ListedSilenced { .. } => None,
    }
}

fn first(word: &Word, start: Option<Time>, at: Time) -> AlertState {
    match word {
        Word::Firing | Word::Listed => AlertState::Firing { since: start.unwrap_or(at) },
        Word::ListedSilenced { by } => AlertState::Silenced { by: one_line(by, MAX_TEXT).into() },
        Word::Resolved { .. } => AlertState::Resolved { at, ending: Ending::Resolved },
        Word::NotEvaluated => AlertState::Resolved { at, ending: Ending::NotEvaluated },
        Word::NotListed => AlertState::Resolved { at, ending: Ending::NotListed },
    }
}

/// `fresh` is the start when it is later than every end that is known.
fn firing(known: &AlertRecord, start: Option<Time>, fresh: Option<Time>, at: Time) -> AlertState {
    match &known.state {
        AlertState::Firing { since } => AlertState::Firing { since: stretch(known, *since, start) },
        AlertState::Doubtful { since } if at.duration_since(*since) >= DOUBT => {
            AlertState::Firing { since: fresh.unwrap_or(*since) }
        }
        AlertState::Doubtful { .. } => fresh.map_or(known.state.clone(), |since| AlertState::Firing { since }),
        // Messages are only sent about alerts that are not silenced, so the silence has ended.
        AlertState::Silenced { .. } => AlertState::Firing { since: at },
        AlertState::Resolved { .. } => {
            fresh.map_or(AlertState::Doubtful { since: at }, |since| AlertState::Firing { since })
        }
    }
}

fn listed(known: &AlertRecord, start: Option<Time>, fresh: Option<Time>, at: Time) -> AlertState {
    AlertState::Firing {
        since: match &known.state {
            AlertState::Firing { since } => stretch(known, *since, start),
            AlertState::Doubtful { since } => fresh.unwrap_or(*since),
            AlertState::Silenced { .. } => at,
            AlertState::Resolved { .. } => fresh.unwrap_or(at),
        },
    }
}

/// Since when an alert fires that fires already: since the earlier of two replicas' starts, but not since before it ended
/// or was silenced; and since the new start when that is later than the last we heard of the old one.
fn stretch(known: &AlertRecord, since: Time, start: Option<Time>) -> Time {
    let from_a_start = known.alert.starts_at == Some(since);
    match start {
        Some(start) if start > known.seen_at => start,
        Some(start) if from_a_start && known.ends_at.is_none_or(|end| start > end) => since.min(start),
        Some(_) | None => since,
    }
}

fn ended(known: &AlertState, at: Time, ending: Ending) -> AlertState {
    match known {
        AlertState::Resolved { .. } => known.clone(),
        AlertState::Firing { .. } | AlertState::Doubtful { .. } | AlertState::Silenced { .. } => {
            AlertState::Resolved { at, ending }
        }
    }
}
