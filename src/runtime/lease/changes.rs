//! Which changes of the cloud may still be under way under one lease, so that it is given back only after the last one.
//!
//! It makes no call itself: a caller asks here first, and keeps to the time it asked for.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;

/// Shared by all who act under one lease.
#[derive(Debug, Default)]
pub(super) struct Changes {
    closed: CancellationToken,
    /// By when the last one has surely ended.
    end_by: Mutex<Option<Instant>>,
}

impl Changes {
    /// Notes that a call begins now and ends within this time. False when none may begin any more.
    pub(super) fn begin(&self, within: Duration) -> bool {
        let mut end_by = self.end_by.lock().unwrap_or_else(PoisonError::into_inner);
        // Under the lock, so that the closing side has seen every call that was let through.
        if self.closed.is_cancelled() {
            return false;
        }
        let ends = Instant::now() + within;
        *end_by = Some(end_by.map_or(ends, |known| known.max(ends)));
        true
    }

    /// Lets no further call begin. How long the last one may still take.
    pub(super) fn close(&self) -> Duration {
        let end_by = self.end_by.lock().unwrap_or_else(PoisonError::into_inner);
        self.closed.cancel();
        end_by.map_or(Duration::ZERO, |end_by| end_by.saturating_duration_since(Instant::now()))
    }

    pub(super) async fn closed(&self) {
        self.closed.cancelled().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_closing_nothing_begins_and_what_began_is_waited_for() {
        let changes = Changes::default();
        assert_eq!(Changes::default().close(), Duration::ZERO);
        assert!(changes.begin(Duration::from_secs(60)));
        assert!(changes.begin(Duration::from_secs(1)));
        assert!(changes.close() > Duration::from_secs(50), "the longest counts, not the last");
        assert!(!changes.begin(Duration::ZERO));
    }
}
