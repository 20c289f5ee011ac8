//! All alerts of one validator, and the opinion they add up to. It holds what it is given; nothing is stored here.

use std::{collections::BTreeMap, sync::Arc};

use super::{AlertRecord, AlertState, Ending};
use crate::domain::{Evidence, Interval, Reading, Span, Time, TimeExt, human};

/// The most alerts remembered for one validator. More at one time than any rule set has; the rest stays in the ledger.
pub const MAX_ALERTS: usize = 1_000;

/// For how long an alert is believed. One that ended while nobody notified us would otherwise never end here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freshness {
    /// After the last message or list that named it: longer than Alertmanager's `repeat_interval`.
    pub stale_after: Span,
    /// Where the always-firing Watchdog is routed to us, not longer than this after the last of them: while it comes, the
    /// whole way from Prometheus works.
    pub watchdog: Option<Span>,
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

    /// Drops what nobody needs any more.
    pub fn forget_old(&mut self, now: Time, stale_after: Span) {
        self.alerts.retain(|_, record| !record.is_over(now, stale_after));
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
    let timeout = freshness.watchdog?;
    let Some(seen) = seen else { return Some("no Watchdog from Alertmanager since the start".into()) };
    let age = now.duration_since(seen);
    (age > timeout).then(|| format!("no Watchdog from Alertmanager for {}", human(age)))
}

fn opinion(
    evidence: Evidence,
    records: &[&AlertRecord],
    now: Time,
    freshness: &Freshness,
    watchdog_seen: Option<Time>,
) -> Reading {
    // While the Watchdog comes, an alert that had ended would have been reported as resolved, so it still fires when the
    // last Watchdog came, although Alertmanager repeats it more seldom.
    let watched = freshness.watchdog.zip(watchdog_seen);
    let heard_until = |record: &AlertRecord| watched.map_or(record.seen_at, |(_, seen)| seen.max(record.seen_at));
    let fresh_until = |record: &AlertRecord| {
        let stale = record.seen_at.plus(freshness.stale_after);
        watched.map_or(stale, |(timeout, seen)| stale.min(seen.plus(timeout)))
    };
    let mut firing: Option<(Interval, Time, &AlertRecord)> = None;
    for record in records {
        let AlertState::Firing { since } = &record.state else { continue };
        let until = fresh_until(record);
        if now > until {
            continue;
        }
        let about = Interval { from: *since, to: heard_until(record).max(*since) };
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
        AlertState::Resolved { at, ending: Ending::Resolved } => {
            format!("{name} was resolved at {:.0}, which is not recovery", record.ends_at.unwrap_or(*at))
        }
        AlertState::Resolved { at, ending: Ending::NotListed } => {
            format!("{name} was no longer listed by Alertmanager at {at:.0}, which is not recovery")
        }
        AlertState::Resolved { at, ending: Ending::NotEvaluated } => {
            format!("{name} says nothing since {at:.0}: its rule could not be evaluated")
        }
    }
}
