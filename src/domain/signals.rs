//! All opinions about one validator, and what they amount to together.
//!
//! Nothing here decides: [`super::machine`] does, from what [`Signals::assess`] answers.

use std::sync::Arc;

use super::{Evidence, Interval, Reading, Source, Span, Time, TimeExt, Verdict};

/// A reading about a time later than this ahead of now comes from a clock that is wrong.
const AHEAD: Span = Span::from_secs(60);

/// The current opinion of each source on each kind of evidence.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Signals {
    slots: Vec<SignalSlot>,
}

/// One source's current opinion on one kind of evidence, and since when it has been that.
#[derive(Clone, Debug, PartialEq)]
pub struct SignalSlot {
    pub source: Source,
    pub reading: Reading,
    /// Since when, by our clock, the verdict has been this one without a break.
    pub since: Time,
}

/// What the signals amount to at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assessment {
    pub down: bool,
    pub up: bool,
    /// A source that shows the work itself says up.
    pub works: bool,
    /// Since when as many independent opinions as are needed have said down together, each without a break.
    pub enough_since: Option<Time>,
    /// Since when some keys are silent, if they are.
    pub partial_since: Option<Time>,
    /// The chain, or a generic node itself, shows the validator at work after the suspicion began.
    pub vetoed: bool,
    /// The next moment at which an opinion goes stale.
    pub stale_at: Option<Time>,
}

impl Signals {
    /// Takes a reading in. An older one than what is known says nothing new; one about the future is *unknown*.
    pub fn fold(&mut self, source: Source, reading: &Reading, now: Time) {
        let reading = if reading.about.to > now.plus(AHEAD) {
            Reading::unknown(reading.evidence, now, "it speaks of a time that has not come: a clock is wrong")
        } else {
            reading.clone()
        };
        let Some(slot) =
            self.slots.iter_mut().find(|slot| slot.source == source && slot.reading.evidence == reading.evidence)
        else {
            self.slots.push(SignalSlot { source, reading, since: now });
            return;
        };
        if reading.about.to < slot.reading.about.to {
            return;
        }
        let gap = slot.reading.verdict != Verdict::Unknown && slot.reading.fresh_until < now;
        if gap || reading.verdict != slot.reading.verdict {
            slot.since = now;
        }
        slot.reading = reading;
    }

    /// What they amount to. `needed` is how many independent opinions confirm an outage; a veto is an *up* or *partial*
    /// of a source that sees it work, about a time after `suspected_since`.
    #[must_use]
    pub fn assess(&self, suspected_since: Time, needed: usize, now: Time) -> Assessment {
        let mut result = Assessment {
            down: false,
            up: false,
            works: false,
            enough_since: None,
            partial_since: None,
            vetoed: false,
            stale_at: None,
        };
        for slot in &self.slots {
            let verdict = slot.reading.verdict_at(now);
            if verdict != Verdict::Unknown {
                let stale_at = slot.reading.fresh_until;
                result.stale_at = Some(result.stale_at.map_or(stale_at, |earlier| earlier.min(stale_at)));
            }
            if verdict == Verdict::Partial {
                result.partial_since = Some(result.partial_since.map_or(slot.since, |since| since.min(slot.since)));
            }
            result.down |= verdict == Verdict::Down && slot.source.says_down();
            result.up |= verdict == Verdict::Up;
            result.works |= verdict == Verdict::Up && slot.source.shows_work();
            if matches!(verdict, Verdict::Up | Verdict::Partial) && slot.source.shows_work() {
                result.vetoed |= slot.reading.about.from >= suspected_since;
            }
        }
        if result.down {
            result.enough_since = self.enough_since(needed, now);
        }
        result
    }

    /// **Invariant:** a hold belongs to the opinions that make it up. What another one does beside them, however often
    /// it changes, neither begins it again nor ends it.
    fn enough_since(&self, needed: usize, now: Time) -> Option<Time> {
        let down = |slot: &&SignalSlot| slot.source.says_down() && slot.reading.verdict_at(now) == Verdict::Down;
        let mut downs: Vec<&SignalSlot> = self.slots.iter().filter(down).collect();
        downs.sort_by_key(|slot| slot.since);
        let mut evidence_of = [0u8; SOURCES];
        for slot in downs {
            evidence_of[slot.source as usize] |= 1 << slot.reading.evidence as u8;
            if independent(&evidence_of, 0) >= needed {
                return Some(slot.since);
            }
        }
        None
    }

    /// Whether it is seen at work throughout some time after `from`: by the chain, or for a generic one by its probes.
    #[must_use]
    pub fn working_after(&self, from: Time, now: Time) -> bool {
        self.slots.iter().any(|slot| {
            slot.source.shows_work() && slot.reading.verdict_at(now) == Verdict::Up && slot.reading.about.from >= from
        })
    }

    /// Whether nothing has been observed yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Whether home's own process is seen running now. The chain does not show that: anybody may attest.
    #[must_use]
    pub fn process_seen(&self, now: Time) -> bool {
        self.slots.iter().any(|slot| slot.source.shows_process() && slot.reading.verdict_at(now) == Verdict::Up)
    }

    /// What this source says, if it says this now, and since when by our clock.
    #[must_use]
    pub fn says(&self, source: Source, verdict: Verdict, now: Time) -> Option<&SignalSlot> {
        self.slots.iter().find(|slot| slot.source == source && slot.reading.verdict_at(now) == verdict)
    }

    /// Whether this source says down, and no other one does.
    #[must_use]
    pub fn alone_says_down(&self, source: Source, now: Time) -> bool {
        let mut downs = self.slots.iter().filter(|slot| slot.reading.verdict_at(now) == Verdict::Down).peekable();
        downs.peek().is_some() && downs.all(|slot| slot.source == source)
    }

    /// Whether it is probed. Only a validator of kind `generic` is, and what the beacon nodes' chain does is not about
    /// that one.
    #[must_use]
    pub fn is_probed(&self) -> bool {
        self.slots.iter().any(|slot| slot.source == Source::Probe)
    }

    /// Our clock jumped. What was said keeps its age and loses its date: it neither vetoes nor shows recovery, any
    /// later word takes its place, and no hold that began before counts.
    pub fn clock_jumped(&mut self, by: Span, now: Time) {
        for slot in &mut self.slots {
            slot.since = now;
            slot.reading.about = Interval { from: Time::MIN, to: Time::MIN };
            slot.reading.fresh_until = slot.reading.fresh_until.plus(by);
        }
    }

    /// Every opinion as of now, in a fixed order, for showing.
    #[must_use]
    pub fn views(&self, now: Time) -> Vec<View> {
        let mut views: Vec<View> = self.slots.iter().map(|slot| slot.view(now)).collect();
        views.sort_by_key(|view| (view.source, view.evidence));
        views
    }
}

/// One opinion as people see it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct View {
    pub source: Source,
    pub evidence: Evidence,
    /// What it says, as of now.
    pub verdict: Verdict,
    pub for_seconds: i64,
    pub about: Interval,
    pub why: Arc<str>,
}

impl SignalSlot {
    fn view(&self, now: Time) -> View {
        let verdict = self.reading.verdict_at(now);
        let stale = verdict != self.reading.verdict;
        let (since, why) = if stale {
            (self.reading.fresh_until, format!("nothing new since it said {}", self.reading.verdict).into())
        } else {
            (self.since, self.reading.why.clone())
        };
        let for_seconds = super::elapsed(since, now).as_secs();
        let evidence = self.reading.evidence;
        View { source: self.source, evidence, verdict, for_seconds, about: self.reading.about, why }
    }
}

const SOURCES: usize = 7;

/// How many opinions are independent: they come from different sources *and* rest on different evidence. An alert
/// computed from kube-state-metrics is the API server's opinion a second time; two alerts of different evidence still
/// come through one Prometheus.
fn independent(evidence_of: &[u8; SOURCES], taken: u8) -> usize {
    let Some(source) = evidence_of.iter().position(|&mask| mask != 0) else { return 0 };
    let mut rest = *evidence_of;
    rest[source] = 0;
    let mut best = independent(&rest, taken);
    let mut free = evidence_of[source] & !taken;
    while free != 0 {
        let evidence = free & free.wrapping_neg();
        best = best.max(1 + independent(&rest, taken | evidence));
        free &= !evidence;
    }
    best
}
