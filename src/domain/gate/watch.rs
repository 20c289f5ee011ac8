//! What the watcher makes of a gate's own words. The gate is believed about what it waits for, and not about how long that
//! may be taken for maintenance.

use std::{sync::Arc, time::Duration};

use super::{GatePhase, GateStatus, WaitKind};
use crate::domain::{
    Evidence, Interval, Reading, Span, Text, Time, TimeExt, ValidatorId, Verdict, clock, elapsed, one_line,
};

/// As long as a duty check takes at most: six epochs. By our own clock, from when we first saw it wait.
const DUTY_CHECK: Duration = Duration::from_secs(6 * 384);
/// Who has run for so long has started well, and may take as long again the next time: four epochs, as for the gate itself.
const WELL: Duration = Duration::from_secs(4 * 384);
/// Two lost answers in a row, at one every 30 s.
const FRESH: Span = Span::from_secs(75);
/// A wait that lasts so long needs a human.
const LONG: Duration = Duration::from_mins(30);
/// In characters: what a gate says is a sentence.
const WHY: usize = 300;

/// One look at a gate, judged.
#[derive(Clone, Debug, PartialEq)]
pub struct GateSight {
    /// Rests on the process, as what the process's own port says.
    pub reading: Reading,
    /// Until then its wait is maintenance that ends by itself: no hold begins before.
    pub holds_until: Option<Time>,
    pub need: GateNeed,
}

/// Whether a gate needs a human.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GateNeed {
    /// It does not answer, or it waits and has not for long: what people were notified of is neither over nor news.
    NotKnown,
    Nothing,
    Look {
        why: Text,
        since: Time,
        /// The process runs, for now.
        runs: bool,
    },
    /// It runs nothing, and has seen duties of its keys.
    Stranger {
        why: Text,
        since: Time,
    },
}

impl GateSight {
    pub fn clock_jumped(&mut self, by: Span) {
        self.reading.fresh_until = self.reading.fresh_until.plus(by);
        self.reading.about = Interval { from: Time::MIN, to: Time::MIN };
        self.holds_until = self.holds_until.map(|until| until.plus(by));
    }

    fn unknown(now: Time, why: impl Into<Arc<str>>) -> Self {
        let reading = Reading::unknown(Evidence::Process, now, why);
        Self { reading, holds_until: None, need: GateNeed::NotKnown }
    }
}

/// What was seen of one gate so far. Spans are by a clock that nobody sets.
#[derive(Clone, Debug, Default)]
pub struct GateWatch {
    /// Since when it was seen running, without having been seen otherwise.
    runs_since: Option<Duration>,
    /// When its first wait for silent epochs was seen since it last ran well.
    duties_since: Option<Duration>,
    /// Since when it was not seen running.
    waits_since: Option<Duration>,
    /// Since when it has been taken for down.
    down_since: Option<Time>,
}

impl GateWatch {
    /// `answer`: what it says, or why that cannot be had, to stand after "its gate". `asked_at` and `now`: around the question;
    /// `raw`: now, by a clock that nobody sets.
    pub fn judge(
        &mut self,
        validator: &ValidatorId,
        answer: Result<GateStatus, String>,
        (asked_at, now): (Time, Time),
        raw: Duration,
    ) -> GateSight {
        let status = match answer.and_then(|status| status.at_home_of(validator)) {
            Ok(status) => status,
            Err(why) => return GateSight::unknown(now, why),
        };
        let trouble = status.trouble.as_deref().map(said);
        match &status.state {
            GatePhase::Running { since, .. } => {
                let runs_since = *self.runs_since.get_or_insert(raw);
                if raw.saturating_sub(runs_since) >= WELL {
                    self.duties_since = None;
                }
                (self.waits_since, self.down_since) = (None, None);
                let need = match &trouble {
                    Some(why) => {
                        let since = status.renewed_at.unwrap_or(*since).min(now);
                        GateNeed::Look { why: why.as_str().into(), since, runs: true }
                    }
                    None => GateNeed::Nothing,
                };
                let but = trouble.map_or_else(String::new, |why| format!(", but {why}"));
                let why = format!("it runs the process{but}").into();
                let about = Interval { from: asked_at, to: now };
                let fresh_until = now.plus(FRESH);
                let reading = Reading { verdict: Verdict::Up, evidence: Evidence::Process, about, fresh_until, why };
                GateSight { reading, holds_until: None, need }
            }
            GatePhase::Stopping { why, .. } => {
                self.runs_since = None;
                self.waits_since.get_or_insert(raw);
                self.down_since = None;
                GateSight::unknown(now, format!("it stops the process: {}", said(why)))
            }
            GatePhase::Waiting { why, kind, since, until } => {
                self.runs_since = None;
                self.waits(&said(why), *kind, (*since).min(now), *until, now, raw)
            }
        }
    }

    fn waits(
        &mut self,
        why: &str,
        kind: WaitKind,
        since: Time,
        until: Option<Time>,
        now: Time,
        raw: Duration,
    ) -> GateSight {
        let waited = raw.saturating_sub(*self.waits_since.get_or_insert(raw));
        let text = |end: String| -> Arc<str> { format!("it waits since {}: {why}{end}", clock(since)).into() };
        let named = until.map_or_else(String::new, |until| format!(", until {} at the latest", clock(until)));
        // It counts silent epochs, so this is no outage, whatever else it is.
        let counts = matches!(kind, WaitKind::Duties | WaitKind::SomebodySigns);
        let stranger = (kind == WaitKind::SomebodySigns).then(|| GateNeed::Stranger { why: why.into(), since });
        if counts && let Some(until) = until.filter(|until| now <= *until) {
            let left = DUTY_CHECK.saturating_sub(raw.saturating_sub(*self.duties_since.get_or_insert(raw)));
            if !left.is_zero() {
                self.down_since = None;
                let bound = now.plus(left.try_into().unwrap_or(Span::ZERO));
                let holds_until = Some(until.min(bound).min(now.plus(FRESH)));
                let need = stranger.unwrap_or(GateNeed::Nothing);
                return GateSight { holds_until, need, ..GateSight::unknown(now, text(named)) };
            }
        }
        // Not before we saw it: what it was meanwhile nobody knows.
        let from = since.max(*self.down_since.get_or_insert(now)).min(now);
        let reading = Reading {
            verdict: Verdict::Down,
            evidence: Evidence::Process,
            about: Interval { from, to: now },
            fresh_until: now.plus(FRESH),
            why: text(named),
        };
        let is_long = waited >= LONG || elapsed(since, now) >= Span::try_from(LONG).unwrap_or(Span::MAX);
        let need = if is_long { GateNeed::Look { why: why.into(), since, runs: false } } else { GateNeed::NotKnown };
        GateSight { reading, holds_until: None, need: stranger.unwrap_or(need) }
    }
}

impl GateStatus {
    /// # Errors
    /// Why this is not what the gate at home of this validator says.
    pub fn at_home_of(self, validator: &ValidatorId) -> Result<Self, String> {
        if self.validator != *validator {
            return Err(format!("this is the gate of {}: correct `gate.url`", self.validator));
        }
        if self.place != "home" {
            let place = one_line(&self.place, 40);
            return Err(format!("this is a gate at the place {place}, and not at home: correct `gate.url`"));
        }
        Ok(self)
    }
}

fn said(why: &str) -> String {
    one_line(why, WHY)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Span = Span::from_hours(1);

    struct Watched {
        watch: GateWatch,
        raw: Duration,
        start: Time,
    }

    impl Watched {
        fn new() -> Self {
            Self { watch: GateWatch::default(), raw: Duration::ZERO, start: "2026-11-21T07:00:00Z".parse().unwrap() }
        }

        fn now(&self) -> Time {
            self.start.plus(self.raw.try_into().unwrap())
        }

        /// One look, a minute after the last one.
        fn look(&mut self, state: GatePhase, trouble: Option<&str>) -> GateSight {
            self.raw += Duration::from_secs(60);
            let status = status(state, trouble);
            let (now, raw) = (self.now(), self.raw);
            self.watch.judge(&eth(), Ok(status), (now, now), raw)
        }

        fn waits(&mut self, kind: WaitKind, until: Option<Span>) -> GateSight {
            let now = self.now();
            let until = until.map(|until| now.plus(until));
            self.look(GatePhase::Waiting { why: "of a reason".into(), kind, since: now, until }, None)
        }

        fn runs(&mut self) -> GateSight {
            let since = self.start;
            self.look(GatePhase::Running { since, until: None }, None)
        }
    }

    fn eth() -> ValidatorId {
        ValidatorId::new("eth-0").unwrap()
    }

    fn status(state: GatePhase, trouble: Option<&str>) -> GateStatus {
        GateStatus {
            validator: eth(),
            place: "home".into(),
            version: "1".into(),
            state,
            number: Some(7),
            renewed_at: None,
            trouble: trouble.map(str::to_owned),
        }
    }

    #[test]
    fn a_wait_for_silent_epochs_holds_until_the_time_it_names() {
        let mut gate = Watched::new();
        for _ in 0..12 {
            let sight = gate.waits(WaitKind::Duties, Some(Span::from_secs(90)));
            assert_eq!(sight.reading.verdict, Verdict::Unknown);
            assert_eq!(sight.holds_until, Some(gate.now().plus(Span::from_secs(30))), "not beyond it");
            assert_eq!(sight.need, GateNeed::Nothing);
            assert!(sight.reading.why.contains("of a reason, until 2026-11-21 07:"), "{}", sight.reading.why);
        }
        let sight = gate.waits(WaitKind::Duties, Some(HOUR));
        assert_eq!(sight.holds_until, Some(gate.now().plus(FRESH)), "no longer than it is heard");
        let over = gate.waits(WaitKind::Duties, Some(Span::from_secs(30)));
        assert_eq!((over.reading.verdict, over.holds_until), (Verdict::Down, None), "the time it named is over");
        let nothing_named = gate.waits(WaitKind::Duties, None);
        assert_eq!((nothing_named.reading.verdict, nothing_named.holds_until), (Verdict::Down, None));
    }

    #[test]
    fn a_gate_that_moves_its_time_on_and_on_holds_for_six_epochs() {
        // With `since` and `until` new at every look, other waits between, no answers, and short runs.
        for between in 0..4 {
            let mut gate = Watched::new();
            let mut held = 0;
            for _ in 0..120 {
                held += u32::from(gate.waits(WaitKind::Duties, Some(HOUR)).holds_until.is_some());
                match between {
                    1 => assert!(gate.waits(WaitKind::Session, Some(HOUR)).holds_until.is_none()),
                    2 => assert!(gate.runs().holds_until.is_none()),
                    3 => {
                        let (now, raw) = (gate.now(), gate.raw);
                        gate.watch.judge(&eth(), Err("does not answer".into()), (now, now), raw);
                    }
                    _ => {}
                }
            }
            assert!((19..=39).contains(&held), "{between}: {held} minutes");
            let last = gate.waits(WaitKind::Duties, Some(HOUR));
            assert_eq!((last.reading.verdict, last.holds_until), (Verdict::Down, None), "{between}");
        }
    }

    #[test]
    fn after_it_ran_well_it_may_wait_as_long_again() {
        let mut gate = Watched::new();
        while gate.waits(WaitKind::Duties, Some(HOUR)).holds_until.is_some() {}
        for _ in 0..20 {
            gate.runs();
        }
        assert_eq!(gate.waits(WaitKind::Duties, Some(HOUR)).holds_until, None, "it ended early");
        for _ in 0..27 {
            gate.runs();
        }
        assert!(gate.waits(WaitKind::Duties, Some(HOUR)).holds_until.is_some());
    }

    #[test]
    fn another_wait_is_down_since_then_and_not_before_it_was_seen() {
        let mut gate = Watched::new();
        let first = gate.now();
        let long_ago = first.minus(Span::from_mins(10));
        for _ in 0..3 {
            let (kind, why) = (WaitKind::Session, "x\u{1b}[2J\n".repeat(500));
            let sight = gate.look(GatePhase::Waiting { why, kind, since: long_ago, until: None }, None);
            let seen = first.plus(Span::from_mins(1));
            assert_eq!(sight.reading.about, Interval { from: seen, to: gate.now() });
            assert_eq!((sight.reading.verdict, sight.reading.evidence), (Verdict::Down, Evidence::Process));
            assert!(sight.reading.why.chars().count() < 400 && !sight.reading.why.contains('\n'));
        }
        let ahead = gate.now().plus(HOUR);
        let kind = WaitKind::Ledger;
        let sight = gate.look(GatePhase::Waiting { why: String::new(), kind, since: ahead, until: None }, None);
        assert!(sight.reading.about.from <= gate.now(), "its clock is ahead");
        let since = gate.now();
        let stopping = gate.look(GatePhase::Stopping { why: "moved".into(), since }, None);
        assert_eq!((stopping.reading.verdict, stopping.need), (Verdict::Unknown, GateNeed::NotKnown));
    }

    #[test]
    fn half_an_hour_without_a_start_needs_a_human_and_so_does_its_own_trouble() {
        let mut gate = Watched::new();
        let looks = |sight: &GateSight| matches!(sight.need, GateNeed::Look { .. });
        // Whatever it waits for, and however new it says that is.
        let kinds = [WaitKind::Session, WaitKind::Ledger, WaitKind::Grant, WaitKind::Command, WaitKind::Moving];
        let minutes = (1..).find(|minute| looks(&gate.waits(kinds[minute % 5], None)));
        assert_eq!(minutes, Some(31));
        assert_eq!(gate.runs().need, GateNeed::Nothing);
        assert_eq!(gate.waits(WaitKind::Session, None).need, GateNeed::NotKnown, "neither over nor news");
        let since = gate.start;
        let running = GatePhase::Running { since, until: None };
        let sight = gate.look(running, Some("not confirmed for 31m"));
        assert_eq!(sight.reading.verdict, Verdict::Up);
        assert_eq!(sight.need, GateNeed::Look { why: "not confirmed for 31m".into(), since, runs: true });
    }

    #[test]
    fn a_stranger_who_signs_with_its_keys_needs_a_human_at_once_and_is_no_outage() {
        let mut gate = Watched::new();
        let until = Some(HOUR);
        assert_eq!(gate.waits(WaitKind::Duties, until).need, GateNeed::Nothing);
        let since = gate.now();
        let sight = gate.waits(WaitKind::SomebodySigns, until);
        assert_eq!(sight.need, GateNeed::Stranger { why: "of a reason".into(), since });
        assert_eq!((sight.reading.verdict, sight.holds_until.is_some()), (Verdict::Unknown, true));
        // As any wait for epochs it may not last.
        while gate.waits(WaitKind::SomebodySigns, until).holds_until.is_some() {}
        let sight = gate.waits(WaitKind::SomebodySigns, until);
        assert_eq!(sight.reading.verdict, Verdict::Down);
        assert!(matches!(sight.need, GateNeed::Stranger { .. }));
        assert_eq!(gate.runs().need, GateNeed::Nothing);
    }

    #[test]
    fn what_another_gate_says_is_unknown() {
        let running = || status(GatePhase::Running { since: Time::UNIX_EPOCH, until: None }, None);
        let other = GateStatus { validator: ValidatorId::new("eth-1").unwrap(), ..running() };
        let cloud = GateStatus { place: "cloud\n".into(), ..running() };
        for (answer, words) in [
            (Ok(other), "this is the gate of eth-1: correct `gate.url`"),
            (Ok(cloud), "this is a gate at the place cloud, and not at home: correct `gate.url`"),
            (Err("does not answer in time".to_owned()), "does not answer in time"),
        ] {
            let mut gate = Watched::new();
            let (now, raw) = (gate.now(), gate.raw);
            let sight = gate.watch.judge(&eth(), answer, (now, now), raw);
            assert_eq!((sight.reading.verdict, &*sight.reading.why), (Verdict::Unknown, words));
            assert_eq!((sight.holds_until, sight.need), (None, GateNeed::NotKnown));
        }
    }
}
