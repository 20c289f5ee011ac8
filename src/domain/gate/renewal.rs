//! Until when a child may run, by what the ledger has confirmed.

use std::time::Duration;

use super::ChildDeadline;

/// A request that renews or takes the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RenewalId(u64);

/// The requests of one start. Times are since an arbitrary moment on a clock that nobody sets.
///
/// **Invariant:** the deadline counts from before the very request that the ledger has said yes to: not from its answer,
/// and not from a later request, which may still be lost.
#[derive(Clone, Debug)]
pub struct Renewals {
    ttl: Duration,
    stop_grace: Duration,
    next: u64,
    /// Not answered yet, oldest first.
    begun: Vec<(RenewalId, Duration)>,
    deadline: Option<ChildDeadline>,
}

impl Renewals {
    #[must_use]
    pub fn new(ttl: Duration, stop_grace: Duration) -> Self {
        Self { ttl, stop_grace, next: 0, begun: Vec::new(), deadline: None }
    }

    /// Before a request is sent. The requests before it are still waited for: one whose answer was lost is confirmed
    /// when the session is read with its write id.
    pub fn begin(&mut self, requested: Duration) -> RenewalId {
        let id = RenewalId(self.next);
        self.next += 1;
        // A yes to these would come after the end that it gives.
        self.begun.retain(|(_, before)| requested < before.saturating_add(self.ttl));
        self.begun.push((id, requested));
        id
    }

    /// The ledger has said yes to this request. The deadline, which is never earlier than the one before; `None` when
    /// the request gives none, because it is unknown or a later one was confirmed.
    pub fn confirmed(&mut self, id: RenewalId) -> Option<ChildDeadline> {
        let at = self.begun.iter().position(|(begun, _)| *begun == id)?;
        let (_, requested) = self.begun.drain(..=at).next_back()?;
        let new = ChildDeadline::after(requested, self.ttl, self.stop_grace);
        let later = self.deadline.filter(|before| before.kill > new.kill).unwrap_or(new);
        self.deadline = Some(later);
        self.deadline
    }

    /// What the last confirmed request gives.
    #[must_use]
    pub fn deadline(&self) -> Option<ChildDeadline> {
        self.deadline
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn min(minutes: u64) -> Duration {
        Duration::from_secs(60 * minutes)
    }

    fn renewals() -> Renewals {
        Renewals::new(min(360), min(1))
    }

    #[test]
    fn an_extension_counts_from_the_request_that_was_confirmed_and_not_from_a_later_one() {
        let mut renewals = renewals();
        assert_eq!(renewals.deadline(), None, "nothing was confirmed");
        let (first, second) = (renewals.begin(min(0)), renewals.begin(min(5)));
        assert_eq!(renewals.deadline(), None, "asking extends nothing");
        let of = |requested| Some(ChildDeadline { ask: requested + min(359), kill: requested + min(360) });
        assert_eq!(renewals.confirmed(first), of(min(0)));
        assert_eq!(renewals.confirmed(second), of(min(5)));
        assert_eq!(renewals.deadline(), of(min(5)));
    }

    #[test]
    fn a_request_is_confirmed_once_and_none_that_is_older_than_a_confirmed_one() {
        let mut renewals = renewals();
        let (first, second) = (renewals.begin(min(0)), renewals.begin(min(5)));
        let deadline = renewals.confirmed(second);
        assert_eq!(renewals.confirmed(first), None);
        assert_eq!(renewals.confirmed(second), None);
        assert_eq!(renewals.deadline(), deadline, "never earlier");
    }

    #[test]
    fn requests_that_nobody_answers_are_forgotten_once_they_give_no_time() {
        let mut renewals = renewals();
        let first = renewals.begin(min(0));
        for minutes in (5..=3600).step_by(5) {
            renewals.begin(min(minutes));
        }
        assert_eq!(renewals.begun.len(), 72);
        assert_eq!(renewals.confirmed(first), None);
    }
}
