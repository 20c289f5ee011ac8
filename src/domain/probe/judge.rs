//! From the answers of all probes of one validator to one opinion.
//!
//! It asks nobody. What it remembers is lost in a restart, and should be: nobody has watched in between.

use std::sync::Arc;

use super::{FailsFor, Height, ProbeAnswer, ProbeObservation, Rule, WantedValue, height::HeightProgress};
use crate::domain::{Evidence, Interval, Reading, Span, Time, TimeExt, Verdict, human};

/// The probes of one validator, with what each has shown.
#[derive(Clone, Debug)]
pub struct Judge {
    probes: Vec<Probe>,
}

#[derive(Clone, Debug)]
struct Probe {
    rule: Rule,
    failing: Option<Failing>,
    height: Option<Height>,
    heard_at: Option<Time>,
    opinion: Option<Opinion>,
}

/// Answers that failed, one after the other.
#[derive(Clone, Copy, Debug)]
struct Failing {
    times: u32,
    from: Interval,
}

/// What one probe says, by itself.
#[derive(Clone, Debug)]
struct Opinion {
    verdict: Verdict,
    from: Time,
    fresh_until: Time,
    why: String,
}

impl Judge {
    /// Nothing is known yet.
    #[must_use]
    pub fn new(rules: impl IntoIterator<Item = Rule>) -> Self {
        let probe = |rule| Probe { rule, failing: None, height: None, heard_at: None, opinion: None };
        Self { probes: rules.into_iter().map(probe).collect() }
    }

    /// Takes the answer of the probe with this number in, and says what all of them amount to.
    ///
    /// Each probe names something without which the validator does not work: one that is down makes it down, and it is
    /// up only when all are.
    ///
    /// # Panics
    /// When there is no probe with this number.
    pub fn observe(&mut self, probe: usize, answer: &ProbeAnswer, about: Interval) -> Reading {
        self.probes[probe].observe(answer, about);
        self.reading(about.to)
    }

    fn reading(&self, now: Time) -> Reading {
        let (mut downs, mut doubts, mut ups) = (Vec::new(), Vec::new(), Vec::new());
        for probe in &self.probes {
            let name = &probe.rule.name;
            match &probe.opinion {
                None => doubts.push(format!("{name} has not been asked yet")),
                Some(opinion) if opinion.fresh_until < now => doubts.push(format!("{name} has not answered for long")),
                Some(opinion) => match opinion.verdict {
                    Verdict::Up => ups.push((name, opinion)),
                    Verdict::Down => downs.push((name, opinion)),
                    Verdict::Partial | Verdict::Unknown => doubts.push(format!("{name}: {}", opinion.why)),
                },
            }
        }
        let all = |said: &[(&String, &Opinion)]| -> Arc<str> {
            said.iter().map(|(name, opinion)| format!("{name}: {}", opinion.why)).collect::<Vec<_>>().join(", ").into()
        };
        let earliest = |said: &[(&String, &Opinion)]| said.iter().map(|(_, opinion)| opinion.from).min().unwrap_or(now);
        let known = |verdict, from: Time, fresh_until, why| {
            // A clock that was set back must not make an opinion about a time after its end.
            let about = Interval { from: from.min(now), to: now };
            Reading { verdict, evidence: Evidence::Process, about, fresh_until, why }
        };
        if !downs.is_empty() {
            let fresh_until = downs.iter().map(|(_, opinion)| opinion.fresh_until).max().unwrap_or(now);
            return known(Verdict::Down, earliest(&downs), fresh_until, all(&downs));
        }
        if !doubts.is_empty() || ups.is_empty() {
            return Reading::unknown(Evidence::Process, now, doubts.join(", "));
        }
        // As old as the oldest thing it rests on: anyone who asks for work after some moment needs all of it after
        // that.
        let fresh_until = ups.iter().map(|(_, opinion)| opinion.fresh_until).min().unwrap_or(now);
        known(Verdict::Up, earliest(&ups), fresh_until, all(&ups))
    }
}

impl Probe {
    fn observe(&mut self, answer: &ProbeAnswer, about: Interval) {
        let in_order = |before: Time| about.to >= before && about.to.duration_since(before) <= self.rule.believed_for;
        if !self.heard_at.is_none_or(in_order) {
            self.failing = None;
            self.opinion = None;
            if let Some(height) = &mut self.height {
                height.interrupt(about.to);
            }
        }
        self.heard_at = Some(about.to);
        let (verdict, from, why) = self.judge(&ProbeObservation::of(answer, &self.rule), about);
        // One lost answer is nothing: what was up stays up, for as long as that was to be believed anyway. What was
        // down does not stay down: a hold has no break.
        let stays = verdict == Verdict::Unknown
            && self.opinion.as_ref().is_some_and(|old| old.verdict == Verdict::Up && about.to <= old.fresh_until);
        if !stays {
            let fresh_until = about.to.plus(self.rule.believed_for);
            self.opinion = Some(Opinion { verdict, from, fresh_until, why });
        }
    }

    fn judge(&mut self, sight: &ProbeObservation, about: Interval) -> (Verdict, Time, String) {
        let failing = self.failing.take();
        match sight {
            ProbeObservation::Works(why) => (Verdict::Up, about.from, why.clone()),
            ProbeObservation::Doubt(why) => (Verdict::Unknown, about.to, why.clone()),
            ProbeObservation::Height(height) => self.follow(*height, about),
            ProbeObservation::Fails(why) => {
                let mut failing = failing.unwrap_or(Failing { times: 0, from: about });
                failing.times = failing.times.saturating_add(1);
                self.failing = Some(failing);
                // From the end of the first to the end of the last: that is how long it surely failed.
                let lasted = about.to.duration_since(failing.from.to);
                let (enough, of) = match self.rule.fails_for {
                    FailsFor::Times(times) => (failing.times >= times, format!("{times} times")),
                    FailsFor::Time(span) => (lasted >= span && failing.times > 1, human(span)),
                };
                if enough {
                    let why = format!("{why}, {} times in a row", failing.times);
                    (Verdict::Down, failing.from.from, why)
                } else {
                    (Verdict::Unknown, about.to, format!("{why}, {} in a row; down means {of}", failing.times))
                }
            }
        }
    }

    fn follow(&mut self, height: i128, about: Interval) -> (Verdict, Time, String) {
        let stalled_after = self.stalled_after();
        let progress = match &mut self.height {
            Some(known) => known.follow(height, about, stalled_after),
            none => {
                *none = Some(Height::first(height, about));
                HeightProgress::Waiting
            }
        };
        match progress {
            HeightProgress::Advanced(after) => (Verdict::Up, after, format!("its height {height} advances")),
            HeightProgress::Waiting => {
                (Verdict::Unknown, about.to, format!("its height {height} was not seen to advance yet"))
            }
            HeightProgress::Stalled(since) => {
                let lasted = human(about.to.duration_since(since));
                (Verdict::Down, since, format!("its height {height} has not advanced for {lasted}"))
            }
            HeightProgress::Lower(greatest) => {
                (Verdict::Unknown, about.to, format!("its height {height} is lower than {greatest}, seen before"))
            }
        }
    }

    fn stalled_after(&self) -> Span {
        match self.rule.wanted.as_ref().map(|wanted| &wanted.value) {
            Some(WantedValue::Advances { stalled_after }) => *stalled_after,
            // A height is only seen where one is wanted.
            Some(WantedValue::Compares(_)) | None => Span::MAX,
        }
    }
}
