//! What a witness makes of home's silence, and of its return. Time is how much has passed by the witness's own clock, so
//! that no two clocks are ever compared.

use super::{Evidence, Interval, Reading, Span, Time, TimeExt, Verdict, human};

/// What a look at home's records has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HomeSight {
    /// There is no record of home's, and never was as far as anybody can tell.
    Nothing,
    /// They are as they were.
    Unchanged,
    /// Home has written since, or somebody nobody can name has.
    Changed,
}

/// For how long home's watcher has not been seen.
#[derive(Clone, Debug, Default)]
pub struct HomeWatch {
    /// `None` before anything of home's was seen.
    unseen: Option<Span>,
}

impl HomeWatch {
    /// Takes in a look that was answered, this long after the one before. How much of that counts is the caller's to say:
    /// nothing is silent because nobody could look.
    pub fn looked(&mut self, sight: HomeSight, passed: Span) {
        self.unseen = match (sight, self.unseen) {
            (HomeSight::Nothing, before) => before.map(|unseen| unseen.saturating_add(passed)),
            (HomeSight::Changed, _) | (HomeSight::Unchanged, None) => Some(Span::ZERO),
            (HomeSight::Unchanged, Some(unseen)) => Some(unseen.saturating_add(passed)),
        };
    }

    #[must_use]
    pub fn unseen(&self) -> Option<Span> {
        self.unseen
    }

    /// What that says of home's validators, good for `fresh` from now on. Only silence says anything: a watcher that runs
    /// shows no validator at work.
    #[must_use]
    pub fn reading(&self, site_silence: Span, now: Time, fresh: Span) -> Reading {
        let unknown = |why: String| Reading::unknown(Evidence::Host, now, why);
        match self.unseen {
            None => unknown("home's watcher has never been seen in this ledger".into()),
            Some(unseen) if unseen < site_silence => {
                unknown("home's watcher was seen lately, which says nothing of its validators".into())
            }
            Some(unseen) => Reading {
                verdict: Verdict::Down,
                evidence: Evidence::Host,
                about: Interval { from: now.minus(unseen), to: now },
                fresh_until: now.plus(fresh),
                why: format!("home's watcher has not been seen for {}", human(unseen)).into(),
            },
        }
    }
}

/// How many times a watcher has to say without a break that it wants the lease: at every half a minute for two minutes.
const BEATS: i32 = 4;
/// So many may be missing between two of them.
const MISSING: i32 = 3;

/// Whether home's watcher is back, by its record that says that it wants the lease.
#[derive(Clone, Debug, Default)]
pub struct Comeback {
    /// Since the last change of that record.
    quiet: Span,
    /// For how long it has been changing in time.
    fresh: Option<Span>,
}

impl Comeback {
    /// Takes in a look at the record, this long after the one before. `every`: how often it is written while home wants the
    /// lease; `None` when it does not say so.
    pub fn looked(&mut self, every: Option<Span>, changed: bool, passed: Span) {
        let Some(every) = every else {
            *self = Self::default();
            return;
        };
        self.quiet = if changed { Span::ZERO } else { self.quiet.saturating_add(passed) };
        self.fresh = match self.fresh {
            // Nobody knows how old the first one is that is found.
            None => changed.then_some(Span::ZERO),
            Some(_) if passed > every * MISSING || self.quiet > every * MISSING => None,
            Some(fresh) => Some(fresh.saturating_add(passed)),
        };
    }

    /// Whether it has said so for long enough, and still does.
    #[must_use]
    pub fn is_back(&self, every: Span) -> bool {
        self.fresh.is_some_and(|fresh| fresh >= every * BEATS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SILENCE: Span = Span::from_mins(10);
    const LOOK: Span = Span::from_secs(20);
    const EVERY: Span = Span::from_secs(30);

    fn verdict(watch: &HomeWatch) -> Verdict {
        watch.reading(SILENCE, Time::UNIX_EPOCH, LOOK).verdict
    }

    #[test]
    fn home_is_down_once_it_was_not_seen_for_the_silence_and_unknown_before() {
        let mut watch = HomeWatch::default();
        watch.looked(HomeSight::Unchanged, Span::ZERO);
        for look in 1..=60 {
            watch.looked(HomeSight::Unchanged, LOOK);
            assert_eq!(verdict(&watch) == Verdict::Down, LOOK * look >= SILENCE, "{look}");
        }
        let now = Time::UNIX_EPOCH.plus(Span::from_hours(1));
        let reading = watch.reading(SILENCE, now, LOOK);
        assert_eq!(reading.about, Interval { from: now.minus(LOOK * 60), to: now });
        assert_eq!((reading.evidence, reading.fresh_until), (Evidence::Host, now.plus(LOOK)));
        watch.looked(HomeSight::Changed, LOOK);
        assert_eq!(verdict(&watch), Verdict::Unknown, "it is seen again, and says nothing of its validators");
    }

    #[test]
    fn a_home_that_was_never_there_is_not_down() {
        let mut watch = HomeWatch::default();
        for _ in 0..1000 {
            watch.looked(HomeSight::Nothing, Span::from_hours(1));
        }
        assert_eq!(verdict(&watch), Verdict::Unknown);
        watch.looked(HomeSight::Changed, Span::ZERO);
        watch.looked(HomeSight::Nothing, SILENCE);
        assert_eq!(verdict(&watch), Verdict::Down, "its record was taken away, and nobody writes it");
    }

    #[test]
    fn home_is_back_when_it_has_asked_for_the_lease_for_two_minutes_and_not_by_an_old_wish() {
        let mut back = Comeback::default();
        for _ in 0..100 {
            back.looked(Some(EVERY), false, LOOK);
            assert!(!back.is_back(EVERY), "it is as it was left");
        }
        for second in (0..=120).step_by(20) {
            back.looked(Some(EVERY), second % 30 == 0 || second % 40 == 0, LOOK);
            assert_eq!(back.is_back(EVERY), second == 120, "{second}");
        }
        back.looked(None, true, LOOK);
        assert!(!back.is_back(EVERY), "it does not want it any more");
    }

    #[test]
    fn a_break_begins_the_two_minutes_again() {
        let mut back = Comeback::default();
        let asks = |back: &mut Comeback, times: usize| {
            (0..times).for_each(|_| back.looked(Some(EVERY), true, EVERY));
        };
        asks(&mut back, 4);
        assert!(!back.is_back(EVERY));
        for _ in 0..4 {
            back.looked(Some(EVERY), false, EVERY);
        }
        asks(&mut back, 4);
        assert!(!back.is_back(EVERY), "home was gone in between");
        asks(&mut back, 1);
        assert!(back.is_back(EVERY));
        back.looked(Some(EVERY), true, Span::from_hours(1));
        assert!(!back.is_back(EVERY), "nobody looked in between");
    }
}
