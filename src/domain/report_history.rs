//! What a machine's reports have shown over time, by the watcher's clock.
//!
//! It is not a judgement: whether a standby is ready or stuck is the machine's, in [`super::machine`].

mod trouble;

use super::{Report, Span, Time, TimeExt, UNKNOWN_HEAD_AGE_SECONDS, elapsed};

pub use trouble::ReportTrouble;

/// A head that is newer by less than this is not newer: a report is up to two looks old when it is read, so the moment
/// of its head is known no better than that.
const HEAD_STEP: Span = Span::from_mins(2);
/// A fall of the percentage by more than this is another count (a sync that began again), not a slip of rounding.
const FALL: u8 = 5;
/// How many changes are remembered of each kind; enough for every threshold, and bounded whatever a machine sends.
const KEPT: usize = 16;

/// A machine's last report, and what its reports have shown since it was first seen.
#[derive(Clone, Debug, PartialEq)]
pub struct ReportHistory {
    pub report: Report,
    /// When its counter last grew or its boot id changed, by our clock. `None` for the first one seen: it may be days
    /// old.
    pub moved_at: Option<Time>,
    /// When this watcher first saw the machine, or began to count again after its clock had jumped.
    pub since: Time,
    /// When the percentage last grew, or the head last became newer.
    pub progress_at: Time,
    /// When the percentage last grew.
    pub percent_at: Time,
    pub peerless: ReportTrouble,
    /// It cannot rule a signer out.
    pub hidden: ReportTrouble,
    /// Its clock is off by more than is allowed.
    pub clock_off: ReportTrouble,
    best_percent: u8,
    head_at: Time,
    /// Boot ids that are over, oldest first.
    past_boots: Vec<String>,
    /// When the machine was seen to have booted again.
    boots: Vec<Time>,
    /// When its clients were seen to have been started again, and how many of them.
    restarts: Vec<(Time, u32)>,
    /// When the percentage grew, and to what: for the rate.
    percents: Vec<(Time, u8)>,
}

impl ReportHistory {
    /// The first report of a machine. It may be days old, so it only counts once it moves.
    #[must_use]
    pub fn first(report: Report, now: Time) -> Self {
        let percent = report.progress_percent.min(100);
        let mut history = Self {
            moved_at: None,
            since: now,
            progress_at: now,
            percent_at: now,
            peerless: ReportTrouble::default(),
            hidden: ReportTrouble::default(),
            clock_off: ReportTrouble::default(),
            best_percent: percent,
            head_at: head_at(&report, now),
            past_boots: Vec::new(),
            boots: Vec::new(),
            restarts: Vec::new(),
            percents: vec![(now, percent)],
            report,
        };
        history.peerless.record(history.report.peers == 0, now);
        history.hidden.record(history.report.signer_hidden.is_some(), now);
        history
    }

    /// Whether this is a report of a boot that is over: somebody repeats an old one.
    #[must_use]
    pub fn is_of_an_earlier_boot(&self, report: &Report) -> bool {
        report.boot_id != self.report.boot_id && self.past_boots.contains(&boot(report))
    }

    /// Takes in the next report. `clock_limit` is how far its clock may be off.
    pub fn record(&mut self, report: &Report, clock_limit: Span, now: Time) {
        let rebooted = self.report.boot_id != report.boot_id;
        // Within a boot the counter only grows: a smaller one is an older report, repeated by somebody.
        if !rebooted && report.counter <= self.report.counter {
            return;
        }
        if rebooted {
            push(&mut self.past_boots, boot(&self.report));
            push(&mut self.boots, now);
            // The count of restarts begins again with every boot.
            self.restarts.clear();
        } else {
            let more = report.restarts.saturating_sub(self.report.restarts);
            if more > 0 {
                push(&mut self.restarts, (now, more));
            }
        }
        self.moved_at = Some(now);
        self.advance(report, now);
        self.peerless.record(report.peers == 0, now);
        self.hidden.record(report.signer_hidden.is_some(), now);
        let off = Span::from_millis(report.clock_offset_ms.saturating_abs()) > clock_limit;
        self.clock_off.record(off, now);
        self.report = report.clone();
    }

    fn advance(&mut self, report: &Report, now: Time) {
        let percent = report.progress_percent.min(100);
        if percent > self.best_percent {
            self.best_percent = percent;
            self.percent_at = now;
            self.progress_at = now;
            push(&mut self.percents, (now, percent));
        } else if percent.saturating_add(FALL) < self.best_percent {
            self.best_percent = percent;
            self.percents.clear();
            self.percents.push((now, percent));
        }
        if report.head_age_seconds >= UNKNOWN_HEAD_AGE_SECONDS {
            // An age that is not known stays the same while time passes; that is no head that moves.
            return;
        }
        let head_at = head_at(report, now);
        if elapsed(self.head_at, head_at) > HEAD_STEP {
            self.head_at = head_at;
            self.progress_at = now;
        }
    }

    /// Whether the machine has shown signs of life within this span.
    #[must_use]
    pub fn is_fresh(&self, stale_after: Span, now: Time) -> bool {
        self.moved_at.is_some_and(|at| elapsed(at, now) <= stale_after)
    }

    /// How often the machine has booted again within this span.
    #[must_use]
    pub fn boots_within(&self, span: Span, now: Time) -> usize {
        self.boots.iter().filter(|at| elapsed(**at, now) <= span).count()
    }

    /// How often its clients were started again within this span.
    #[must_use]
    pub fn restarts_within(&self, span: Span, now: Time) -> u32 {
        let recent = self.restarts.iter().filter(|(at, _)| elapsed(*at, now) <= span);
        recent.fold(0, |sum, (_, more)| sum.saturating_add(*more))
    }

    /// How fast it continues, over the last changes of the percentage that this watcher has seen; `None` before two.
    #[must_use]
    pub fn percent_per_hour(&self) -> Option<f64> {
        let ((from, low), (to, high)) = (*self.percents.first()?, *self.percents.last()?);
        let hours = elapsed(from, to).as_secs_f64() / 3600.0;
        (hours > 0.0).then(|| f64::from(high.saturating_sub(low)) / hours)
    }

    /// Our clock jumped: how long anything has lasted is not known any more, and is counted from now.
    pub fn interrupt(&mut self, now: Time) {
        (self.since, self.progress_at, self.percent_at) = (now, now, now);
        // After a step back it would be fresh until the clock has caught up; the next report is half a minute away.
        self.moved_at = None;
        self.head_at = head_at(&self.report, now);
        for trouble in [&mut self.peerless, &mut self.hidden, &mut self.clock_off] {
            trouble.interrupt(now);
        }
        self.boots.clear();
        self.restarts.clear();
        self.percents = vec![(now, self.best_percent)];
    }
}

/// Enough of a boot id to tell two apart; a real one has 36 characters.
fn boot(report: &Report) -> String {
    report.boot_id.chars().take(64).collect()
}

/// When the head it reports was made, by our clock.
fn head_at(report: &Report, now: Time) -> Time {
    let age = Span::from_secs(i64::try_from(report.head_age_seconds).unwrap_or(i64::MAX).min(LONG));
    now.minus(age)
}

/// A hundred years: a head that is older, or a number that is no age, is simply old.
const LONG: i64 = 100 * 366 * 24 * 3600;

fn push<T>(list: &mut Vec<T>, item: T) {
    list.push(item);
    let excess = list.len().saturating_sub(KEPT);
    list.drain(..excess);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(counter: u64, percent: u8) -> Report {
        let boot_id = "a".to_owned();
        Report { boot_id, counter, progress_percent: percent, head_age_seconds: 9000, ..Report::default() }
    }

    fn at(minutes: i64) -> Time {
        Time::UNIX_EPOCH + Span::from_mins(minutes)
    }

    fn record(history: &mut ReportHistory, report: &Report, minutes: i64) {
        history.record(report, Span::from_millis(500), at(minutes));
    }

    #[test]
    fn the_percentage_is_progress_when_it_grows_and_a_slip_of_rounding_is_not() {
        let mut history = ReportHistory::first(report(1, 40), at(0));
        for (minutes, percent) in [(10, 39), (20, 40), (30, 39), (40, 40)] {
            record(
                &mut history,
                &Report { head_age_seconds: 9000 + 60 * minutes, ..report(minutes, percent) },
                minutes as i64,
            );
        }
        assert_eq!(history.progress_at, at(0));
        record(&mut history, &Report { head_age_seconds: 12_000, ..report(50, 41) }, 50);
        assert_eq!((history.progress_at, history.percent_at), (at(50), at(50)));
    }

    #[test]
    fn after_a_step_back_of_our_clock_only_a_new_report_is_fresh() {
        let mut history = ReportHistory::first(report(1, 40), at(60));
        record(&mut history, &report(2, 40), 61);
        assert!(history.is_fresh(Span::from_mins(10), at(61)));
        history.interrupt(at(10));
        assert!(!history.is_fresh(Span::from_mins(10), at(11)), "nothing has come by the clock that counts now");
        record(&mut history, &report(3, 40), 12);
        assert!(history.is_fresh(Span::from_mins(10), at(12)));
    }

    #[test]
    fn an_age_that_is_not_known_is_no_head_that_moves() {
        let unknown = |counter| Report { head_age_seconds: UNKNOWN_HEAD_AGE_SECONDS, ..report(counter, 40) };
        let mut history = ReportHistory::first(unknown(1), at(0));
        for minutes in [10, 20, 30] {
            record(&mut history, &unknown(minutes), minutes as i64);
        }
        assert_eq!(history.progress_at, at(0));
    }

    #[test]
    fn a_sync_that_began_again_is_measured_anew() {
        let mut history = ReportHistory::first(report(1, 80), at(0));
        record(&mut history, &report(2, 3), 10);
        record(&mut history, &report(3, 4), 70);
        assert_eq!(history.percent_at, at(70));
        assert_eq!(history.percent_per_hour(), Some(1.0));
    }

    #[test]
    fn the_same_or_an_older_report_moves_nothing() {
        let mut history = ReportHistory::first(report(5, 40), at(0));
        record(&mut history, &report(5, 90), 10);
        record(&mut history, &report(4, 90), 20);
        assert_eq!((history.moved_at, history.report.progress_percent), (None, 40));
    }

    #[test]
    fn a_boot_is_counted_and_an_earlier_one_is_known_however_long_its_name() {
        let long = "x".repeat(10_000);
        let mut history = ReportHistory::first(Report { boot_id: long.clone(), ..report(9, 1) }, at(0));
        record(&mut history, &report(1, 1), 5);
        assert_eq!((history.boots_within(Span::from_hours(1), at(6)), history.moved_at), (1, Some(at(5))));
        assert_eq!(history.boots_within(Span::from_mins(1), at(60)), 0);
        assert!(history.is_of_an_earlier_boot(&Report { boot_id: long, ..report(10, 1) }));
        assert!(!history.is_of_an_earlier_boot(&report(2, 1)));
    }

    #[test]
    fn restarts_are_counted_within_a_span_and_anew_with_every_boot() {
        let mut history = ReportHistory::first(Report { restarts: 7, ..report(1, 1) }, at(0));
        record(&mut history, &Report { restarts: 9, ..report(2, 1) }, 5);
        record(&mut history, &Report { restarts: 10, ..report(3, 1) }, 50);
        assert_eq!(history.restarts_within(Span::from_hours(1), at(50)), 3, "the first seven may be days old");
        assert_eq!(history.restarts_within(Span::from_mins(30), at(50)), 1);
        record(&mut history, &Report { boot_id: "b".into(), restarts: 2, ..report(1, 1) }, 51);
        assert_eq!(history.restarts_within(Span::from_hours(1), at(51)), 0);
    }

    #[test]
    fn whatever_a_machine_sends_little_is_kept() {
        let mut history = ReportHistory::first(report(0, 0), at(0));
        for number in 1..10_000u32 {
            let boot_id = number.to_string().repeat(100);
            let report =
                Report { boot_id, restarts: number, clock_offset_ms: i64::MIN, ..report(0, (number % 101) as u8) };
            record(&mut history, &Report { head_age_seconds: u64::MAX, ..report }, i64::from(number));
        }
        let kept = [history.past_boots.len(), history.boots.len(), history.restarts.len(), history.percents.len()];
        assert!(kept.iter().all(|kept| *kept <= KEPT), "{kept:?}");
    }

    #[test]
    fn after_a_jump_of_our_clock_everything_is_counted_from_then() {
        let mut history = ReportHistory::first(Report { clock_offset_ms: 9000, ..report(1, 40) }, at(0));
        record(&mut history, &Report { clock_offset_ms: 9000, ..report(2, 40) }, 1);
        history.interrupt(at(600));
        assert_eq!((history.progress_at, history.percent_at), (at(600), at(600)));
        assert_eq!((history.peerless.since(), history.clock_off.since()), (Some(at(600)), Some(at(600))));
        assert_eq!(history.percent_per_hour(), None);
    }
}
