//! What has come in, counted for the metrics and the status page. Nothing is decided by these numbers.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
};

use prometheus_client::{metrics::counter::Counter, registry::Registry};
use uuid::Uuid;

use crate::domain::{Time, alerts::MAX_TEXT, one_line};

/// How many names of unmatched alerts are kept: what fits on a status page.
const KEPT: usize = 20;
/// How many test alerts are remembered: more than people try at a time.
const TESTS: usize = 8;

/// Counters since the start, and two things worth showing.
#[derive(Debug, Default)]
pub struct AlertmanagerStats {
    pub received: Counter,
    /// Of these, counted for at least one validator.
    pub matched: Counter,
    /// Of these, neither matched nor the Watchdog.
    pub unmatched: Counter,
    /// Alerts that Alertmanager left out because of `max_alerts`.
    pub truncated: Counter,
    /// Parts of messages that are no alert; the rest of the message is taken.
    pub unreadable: Counter,
    /// Messages without the right credentials.
    pub unauthorised: Counter,
    /// Messages larger than we take, which Alertmanager drops for good.
    pub too_large: Counter,
    /// Messages that are not a payload of Alertmanager or Grafana.
    pub malformed: Counter,
    /// Messages refused with 503, which Alertmanager sends again.
    pub refused: Counter,
    /// Test alerts of `failover check`, which are never evidence.
    pub tested: Counter,
    /// In milliseconds since 1970; 0 is never.
    watchdog: AtomicI64,
    names: Mutex<VecDeque<Arc<str>>>,
    tests: Mutex<VecDeque<(Uuid, Time)>>,
}

impl AlertmanagerStats {
    /// Has its counters exported.
    pub fn register(&self, registry: &mut Registry) {
        for (name, help, counter) in [
            ("alerts_received", "Alerts received, each time", &self.received),
            ("alerts_matched", "Alerts that counted for a validator", &self.matched),
            ("alerts_unmatched", "Alerts that no mapping takes", &self.unmatched),
            ("alerts_truncated", "Alerts that Alertmanager left out", &self.truncated),
            ("alerts_unreadable", "Parts of messages that are no alert", &self.unreadable),
            ("alerts_tested", "Test alerts of `failover check`", &self.tested),
            ("webhooks_unauthorised", "Messages without the right credentials", &self.unauthorised),
            ("webhooks_too_large", "Messages that were too large and are lost", &self.too_large),
            ("webhooks_malformed", "Messages that are not a payload of Alertmanager or Grafana", &self.malformed),
            ("webhooks_refused", "Messages answered with 503, which come again", &self.refused),
        ] {
            registry.register(name, help, counter.clone());
        }
    }

    /// When the last Watchdog came.
    #[must_use]
    pub fn last_watchdog(&self) -> Option<Time> {
        let milliseconds = self.watchdog.load(Ordering::Relaxed);
        (milliseconds != 0).then(|| Time::from_millisecond(milliseconds).unwrap_or(Time::MAX))
    }

    /// Names of the last alerts that no mapping took, each once, the latest last.
    #[must_use]
    pub fn unmatched_names(&self) -> Vec<Arc<str>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// The last test alerts, the latest last, each with when it came first.
    #[must_use]
    pub fn tests(&self) -> Vec<(Uuid, Time)> {
        self.tests.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect()
    }

    pub(super) fn test(&self, id: Uuid, at: Time) {
        let mut tests = self.tests.lock().unwrap_or_else(PoisonError::into_inner);
        if tests.iter().all(|(known, _)| *known != id) {
            tests.push_back((id, at));
        }
        if tests.len() > TESTS {
            tests.pop_front();
        }
    }

    /// Notes a Watchdog and answers when the one before came.
    pub(super) fn watchdog(&self, at: Time) -> Option<Time> {
        let before = self.last_watchdog();
        // Not the latest one: after a clock was set back that would stand for one that comes.
        self.watchdog.store(at.as_millisecond(), Ordering::Relaxed);
        before
    }

    pub(super) fn unmatched(&self, name: &str) {
        self.unmatched.inc();
        let name = one_line(name, MAX_TEXT).into();
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.retain(|known| *known != name);
        names.push_back(name);
        if names.len() > KEPT {
            names.pop_front();
        }
    }
}
