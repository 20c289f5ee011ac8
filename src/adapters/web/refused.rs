//! Requests that nothing here answers: counted for the metrics, and those that look like lost alerts for the status.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

use super::where_to;

/// For how long lost POSTs are warned of: longer than Alertmanager's `repeat_interval`, so that the warning lasts as
/// long as the mistake.
const SHOWN: Duration = Duration::from_hours(6);

#[derive(Clone, Copy, Debug, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub(super) enum RefusedBecause {
    NotFound,
    PostNotFound,
    Unauthorised,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct For {
    reason: &'static str,
}

impl From<RefusedBecause> for For {
    fn from(reason: RefusedBecause) -> Self {
        Self { reason: reason.into() }
    }
}

/// Since the start.
#[derive(Debug, Default)]
pub struct RefusedRequests {
    counts: Family<For, Counter>,
    last_post: Mutex<Option<(String, Instant)>>,
}

impl RefusedRequests {
    /// Has them exported.
    pub fn register(&self, registry: &mut Registry) {
        let help = "Requests that were refused before anything was looked at, the webhook's own apart";
        registry.register("http_requests_refused", help, self.counts.clone());
    }

    pub(super) fn count(&self, reason: RefusedBecause) {
        self.counts.get_or_create(&reason.into()).inc();
    }

    /// Notes a POST to where nothing is.
    pub(super) fn post(&self, path: &str, now: Instant) {
        self.count(RefusedBecause::PostNotFound);
        *self.last_post.lock().unwrap_or_else(PoisonError::into_inner) = Some((path.to_owned(), now));
    }

    /// What to say of them, while the last one is not long ago.
    pub(super) fn warning(&self, webhook: Option<&str>, now: Instant) -> Option<String> {
        let last = self.last_post.lock().unwrap_or_else(PoisonError::into_inner);
        let (path, at) = last.as_ref()?;
        if now.saturating_duration_since(*at) >= SHOWN {
            return None;
        }
        let count = self.counts.get_or_create(&RefusedBecause::PostNotFound.into()).get();
        let posts = if count == 1 { "1 POST was".to_owned() } else { format!("{count} POSTs were") };
        Some(format!("{posts} sent to where nothing is, the last to {path}; {}", where_to(webhook)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_post_to_a_wrong_path_is_warned_of_for_as_long_as_it_may_be_repeated() {
        let (refused, now) = (RefusedRequests::default(), Instant::now());
        assert_eq!(refused.warning(Some("/right"), now), None);
        refused.post("/alerts", now);
        refused.post("/alert", now);
        let warning = refused.warning(Some("/right"), now + SHOWN / 2).expect("a warning");
        assert_eq!(
            warning,
            "2 POSTs were sent to where nothing is, the last to /alert; Alertmanager must send to /right"
        );
        assert_eq!(refused.warning(Some("/right"), now + SHOWN), None);
        assert!(refused.warning(None, now).is_some_and(|warning| warning.contains("add the section `alertmanager`")));
    }
}
