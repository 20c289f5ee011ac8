//! All alerts of one validator, and the opinion they add up to. It holds what it is given; nothing is stored here.

use std::{collections::BTreeMap, sync::Arc};

use super::{AlertRecord, AlertState};
use crate::domain::{Evidence, Interval, Reading, Span, Time, TimeExt, human};

/// The most alerts remembered for one validator. More at one time than any rule set has; the rest stays in the ledger.
pub const MAX_ALERTS: usize = 1_000;

/// Without a word for so long an alert is no longer believed even while the Watchdog comes: Alertmanager repeats a
/// firing alert at the latest when its own memory of having sent it ends (`--data.retention`, 120 h).
pub const MAX_SILENCE: Span = Span::from_hours(121);

/// How alerts are known to be fresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// The always-firing Watchdog alert is routed to us: while it comes, the whole way from Prometheus works.
    Watchdog {
        /// Without one for so long, nothing is known.
        timeout: Span,
    },
    /// Each alert by itself: Alertmanager repeats it.
    Repetition { stale_after: Span },
}

impl Freshness {
    /// Five missed messages of a route with `repeat_interval: 1m`.
    pub const WATCHDOG_TIMEOUT: Span = Span::from_mins(5);
    /// Alertmanager's default `repeat_interval` of 4 h, and two of its default `group_interval`s of 5 min.
    pub const STALE_AFTER: Span = Span::from_mins(4 * 60 + 10);
}

#[derive(Clone, Debug, Default)]
pub struct AlertBook {
    alerts: BTreeMap<Arc<str>, Arc<AlertRecord>>,
}

impl AlertBook {
    /// Takes a record, unless a later one is known. The order in which records come does not matter.
    pub fn apply(&mut self, record: Arc<AlertRecord>) {
        let key = record.alert.key();
        match self.alerts.get_mut(key.as_str()) {
            Some(known) => {
                if (record.revision, record.seen_at) > (known.revision, known.seen_at) {
                    *known = record;
                }
            }
            None => {
                self.alerts.insert(key.into(), record);
                if self.alerts.len() > MAX_ALERTS {
                    self.forget_one();
                }
            }
        }
    }

    /// Everything known, in the order of the keys.
    pub fn alerts(&self) -> impl Iterator<Item = &AlertRecord> {
        self.alerts.values().map(AsRef::as_ref)
    }

    /// One opinion for each evidence about which anything was ever said. No alert is no opinion, not *up*.
    #[must_use]
    pub fn readings(&self, now: Time, freshness: &Freshness, watchdog_seen: Option<Time>) -> Vec<Reading> {
        let mut by_evidence: BTreeMap<Evidence, Vec<&AlertRecord>> = BTreeMap::new();
        for record in self.alerts.values() {
            by_evidence.entry(record.alert.evidence).or_default().push(record);
        }
        let silent = watchdog_is_missing(now, freshness, watchdog_seen);
        by_evidence
            .into_iter()
            .map(|(evidence, records)| match &silent {
                Some(why) => Reading::unknown(evidence, now, why.as_str()),
                None => opinion(evidence, &records, now, freshness, watchdog_seen),
            })
            .collect()
    }

    /// Drops what matters least: what does not fire before what fires, and of these what was heard longest ago.
    fn forget_one(&mut self) {
        let least = self.alerts.iter().min_by_key(|(_, record)| (rank(&record.state), record.seen_at));
        if let Some(key) = least.map(|(key, _)| Arc::clone(key)) {
            self.alerts.remove(&key);
        }
    }
}

fn rank(state: &AlertState) -> u8 {
    match state {
        AlertState::Resolved { .. } => 0,
        AlertState::Silenced { .. } => 1,
        AlertState::Doubtful { .. } => 2,
        AlertState::Firing { .. } => 3,
    }
}

fn watchdog_is_missing(now: Time, freshness: &Freshness, seen: Option<Time>) -> Option<String> {
    match (freshness, seen) {
        (Freshness::Repetition { .. }, _) => None,
        (Freshness::Watchdog { .. }, None) => Some("no Watchdog from Alertmanager since the start".into()),
        (Freshness::Watchdog { timeout }, Some(seen)) => {
            let age = now.duration_since(seen);
            (age > *timeout).then(|| format!("no Watchdog from Alertmanager for {}", human(age)))
        }
    }
}

fn opinion(
    evidence: Evidence,
    records: &[&AlertRecord],
    now: Time,
    freshness: &Freshness,
    watchdog_seen: Option<Time>,
) -> Reading {
    let fresh_until = |record: &AlertRecord| match freshness {
        Freshness::Watchdog { timeout } => {
            record.seen_at.plus(MAX_SILENCE).min(watchdog_seen.map_or(record.seen_at, |seen| seen.plus(*timeout)))
        }
        Freshness::Repetition { stale_after } => record.seen_at.plus(*stale_after),
    };
    let mut firing: Option<(Interval, Time, &AlertRecord)> = None;
    for record in records {
        let AlertState::Firing { since } = &record.state else { continue };
        let until = fresh_until(record);
        if now > until {
            continue;
        }
        let about = Interval { from: *since, to: heard_until(record, freshness, watchdog_seen).max(*since) };
        firing = Some(match firing {
            None => (about, until, record),
            // Two alerts together speak about all the time either does; the one heard last is named.
            Some((known, known_until, named)) => (
                Interval { from: known.from.min(about.from), to: known.to.max(about.to) },
                known_until.max(until),
                if record.seen_at > named.seen_at { record } else { named },
            ),
        });
    }
    match firing {
        Some((about, fresh_until, record)) => {
            Reading { verdict: crate::domain::Verdict::Down, evidence, about, fresh_until, why: firing_why(record) }
        }
        None => Reading::unknown(evidence, now, unknown_why(records, now)),
    }
}

/// Up to when what it says is known to hold. While the Watchdog comes, an alert that had ended would have been told as
/// resolved, so it still fires when the last Watchdog came, although Alertmanager repeats it only every few hours.
fn heard_until(record: &AlertRecord, freshness: &Freshness, watchdog_seen: Option<Time>) -> Time {
    match freshness {
        Freshness::Watchdog { .. } => watchdog_seen.map_or(record.seen_at, |seen| seen.max(record.seen_at)),
        Freshness::Repetition { .. } => record.seen_at,
    }
}

fn firing_why(record: &AlertRecord) -> Arc<str> {
    let alert = &record.alert;
    if alert.summary.is_empty() {
        format!("{} fires", alert.name).into()
    } else {
        format!("{} fires: {}", alert.name, alert.summary).into()
    }
}

/// Why nothing is known although something was said: the alert that came nearest to an opinion, heard last.
fn unknown_why(records: &[&AlertRecord], now: Time) -> String {
    let Some(record) = records.iter().max_by_key(|record| (rank(&record.state), record.seen_at)) else {
        return "no alert".into();
    };
    let name = &record.alert.name;
    match &record.state {
        AlertState::Firing { .. } => {
            format!("{name} was last heard {} ago", human(now.duration_since(record.seen_at)))
        }
        AlertState::Doubtful { .. } => {
            format!("{name} fires again after it was resolved, and only one message says so yet")
        }
        AlertState::Silenced { by } => format!("{name} is silenced by {by}"),
        AlertState::Resolved { at, absent: false } => {
            format!("{name} was resolved at {:.0}, which is not recovery", record.ends_at.unwrap_or(*at))
        }
        AlertState::Resolved { at, absent: true } => {
            format!("{name} was no longer listed by Alertmanager at {at:.0}, which is not recovery")
        }
    }
}
