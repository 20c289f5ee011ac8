//! For how long something has been wrong with a machine. What comes and goes is wrong for as long as it comes again
//! soon: a machine that alternates would never be told of otherwise.

use crate::domain::{Span, Time, elapsed};

/// What is wrong is over when it has not been seen for so long.
const OVER: Span = Span::from_mins(5);

/// Something that is wrong, over time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReportTrouble(Option<Lasting>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Lasting {
    since: Time,
    /// When it was last seen.
    seen_at: Time,
    /// Whether the last report shows it.
    shown: bool,
}

impl ReportTrouble {
    /// Since when it has been so; `None` while the last report does not show it.
    #[must_use]
    pub fn since(&self) -> Option<Time> {
        self.0.filter(|lasting| lasting.shown).map(|lasting| lasting.since)
    }

    pub(super) fn record(&mut self, shown: bool, now: Time) {
        match &mut self.0 {
            None => self.0 = shown.then_some(Lasting { since: now, seen_at: now, shown }),
            Some(lasting) if shown => (lasting.seen_at, lasting.shown) = (now, true),
            Some(lasting) if elapsed(lasting.seen_at, now) < OVER => lasting.shown = false,
            Some(_) => self.0 = None,
        }
    }

    pub(super) fn interrupt(&mut self, now: Time) {
        if let Some(lasting) = &mut self.0 {
            (lasting.since, lasting.seen_at) = (now, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minutes: i64) -> Time {
        Time::UNIX_EPOCH + Span::from_mins(minutes)
    }

    #[test]
    fn what_comes_and_goes_lasts_and_what_stays_away_is_over() {
        let mut trouble = ReportTrouble::default();
        trouble.record(false, at(0));
        for minute in 1..=20 {
            let shown = minute % 2 == 1;
            trouble.record(shown, at(minute));
            assert_eq!(trouble.since(), shown.then_some(at(1)), "only while it is so: minute {minute}");
        }
        trouble.record(false, at(24));
        trouble.record(true, at(25));
        assert_eq!(trouble.since(), Some(at(25)), "it was away for five minutes");
    }

    #[test]
    fn after_a_jump_of_our_clock_it_is_counted_from_then() {
        let mut trouble = ReportTrouble::default();
        trouble.interrupt(at(3));
        assert_eq!(trouble, ReportTrouble::default(), "nothing does not begin by it");
        trouble.record(true, at(5));
        trouble.interrupt(at(600));
        assert_eq!(trouble.since(), Some(at(600)));
    }
}
