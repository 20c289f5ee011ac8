//! The waits: each is a pause, after which everything is read again, and each ends.

use std::{collections::BTreeMap, time::Duration};

use super::{
    ProgressKind, PromotionError, PromotionExecutor, PromotionOutcome, executor::Round, failure::Failure,
    reading::Reading,
};
use crate::domain::{
    Report, Span,
    gates::{GateName, GatePass, GateState},
    promotion::PromotionWait,
};

/// The gates ask everybody, so they are looked at more seldom: so many times in an epoch, which is the only thing that changes
/// what they say of the chain.
const GATES_IN_AN_EPOCH: u32 = 4;
/// But not much more seldom than the machine, whose *ready* has to be seen without a gap ([`super::ReadyWatch`]).
const GATES_LESS: u32 = 3;

/// A sync from a checkpoint takes hours, from nothing a day and more.
const READY_FOR: Duration = Duration::from_hours(48);
/// Longer than any ttl that makes sense; one that continues without the ledger is freed by a person.
const FENCE_FOR: Duration = Duration::from_hours(7 * 24);
const WATERMARK_FOR: Duration = Duration::from_hours(6);
/// Five silent epochs that have to be finalised, and some more.
const GATES_FOR: Duration = Duration::from_hours(3);

/// Since when each thing is waited for, until something is done. One wait does not end another.
#[derive(Default)]
pub(super) struct WaitLimit {
    since: BTreeMap<&'static str, Duration>,
    said: Option<String>,
}

impl WaitLimit {
    pub(super) fn ended(&mut self) {
        *self = Self::default();
    }

    /// How long it has been waited for.
    fn waited(&mut self, what: &'static str, raw: Duration) -> Duration {
        raw.saturating_sub(*self.since.entry(what).or_insert(raw))
    }
}

impl PromotionExecutor<'_> {
    pub(super) fn wait(&mut self, reading: &Reading, wait: PromotionWait) -> Result<Round, Failure> {
        let every = self.deps.look_every;
        let (text, every, most, left) = match wait {
            PromotionWait::Ready => (ready_words(reading.report.as_ref()), every, READY_FOR, seconds(reading)),
            PromotionWait::Fence(left) => {
                let soon = left.unwrap_or(every).max(Duration::from_secs(1)).min(every);
                (wait.words().what, soon, FENCE_FOR, left)
            }
            PromotionWait::Watermark => (wait.words().what, every, WATERMARK_FOR, None),
            PromotionWait::Keys => return Ok(Round::End(PromotionOutcome::Keys)),
            PromotionWait::Watch(until) => return Ok(Round::End(PromotionOutcome::Watch(until))),
        };
        let waited = self.limit.waited(wait.words().name, (self.deps.raw)());
        if waited >= most {
            return Err(PromotionError::Waited(wait, waited).into());
        }
        self.report(ProgressKind::Waits, text, percent(reading, wait), left);
        Ok(Round::Pause(every))
    }

    pub(super) fn wait_for_watermark(&mut self, why: String) -> Result<Round, Failure> {
        let waited = self.limit.waited(PromotionWait::Watermark.words().name, (self.deps.raw)());
        if waited >= WATERMARK_FOR {
            return Err(PromotionError::Waited(PromotionWait::Watermark, waited).into());
        }
        self.once(format!("{}: {why}", PromotionWait::Watermark.words().what));
        Ok(Round::Pause(self.deps.look_every))
    }

    /// Before anything is done it is an end. After the wait nobody signs, so that what time brings is waited for.
    pub(super) fn refused(&mut self) -> Round {
        let Some(report) = self.gates.take() else { return Round::Next };
        let fails = report.gates.iter().any(|gate| match gate.state {
            GateState::Fail => !passes_by_itself(gate.id),
            GateState::NotChecked => true,
            GateState::Pass | GateState::Unknown | GateState::NotYet | GateState::Overridden => false,
        });
        let waited = self.limit.waited("gates", (self.deps.raw)());
        let before_the_wait = match report.pass {
            GatePass::First | GatePass::HomeFirst | GatePass::SignsNothing => true,
            GatePass::Second | GatePass::Home => false,
        };
        if before_the_wait || fails || waited >= GATES_FOR {
            return Round::End(PromotionOutcome::Refused(report));
        }
        let pause = gates_again(self.deps.look_every, report.epoch);
        let blocking: Vec<String> = report.blocking().iter().map(ToString::to_string).collect();
        self.once(format!("these gates do not pass yet: {}", blocking.join(", ")));
        Round::Pause(pause)
    }

    fn once(&mut self, text: String) {
        if self.limit.said.as_ref() != Some(&text) {
            self.say(ProgressKind::Waits, text.clone());
            self.limit.said = Some(text);
        }
    }
}

/// When gates that do not pass are looked at again.
fn gates_again(every: Duration, epoch: Option<Span>) -> Duration {
    let epoch = epoch.and_then(|epoch| Duration::try_from(epoch).ok()).unwrap_or(Duration::MAX);
    (epoch / GATES_IN_AN_EPOCH).max(Duration::from_secs(1)).min(every * GATES_LESS)
}

/// What home did until it stopped is still seen for some epochs, and a node may fall back for a while.
fn passes_by_itself(gate: GateName) -> bool {
    match gate {
        GateName::Silent | GateName::Missed | GateName::Ready | GateName::Finalising | GateName::Watermark => true,
        GateName::Keys
        | GateName::Fenced
        | GateName::OnlyOne
        | GateName::NoPause
        | GateName::Clock
        | GateName::Export => false,
    }
}

fn ready_words(report: Option<&Report>) -> String {
    let what = PromotionWait::Ready.words().what;
    match report {
        None => format!("{what}: it has not reported"),
        Some(report) => format!("{what}: {}", report.stage),
    }
}

fn percent(reading: &Reading, wait: PromotionWait) -> Option<i32> {
    let report = reading.report.as_ref().filter(|_| wait == PromotionWait::Ready)?;
    Some(report.progress_percent.into())
}

fn seconds(reading: &Reading) -> Option<Duration> {
    reading.report.as_ref()?.seconds_to_go.map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::promotion::{LOOK_EVERY, ReadyWatch};

    #[test]
    fn gates_that_do_not_pass_are_looked_at_a_few_times_in_an_epoch_and_a_ready_machine_in_between() {
        let again = |seconds| gates_again(LOOK_EVERY, Some(Span::from_secs(seconds)));
        assert_eq!(
            (again(24), again(80), again(384)),
            (Duration::from_secs(6), Duration::from_secs(20), Duration::from_secs(60))
        );
        assert_eq!(gates_again(LOOK_EVERY, None), again(384), "nobody has said how long an epoch is");
        // A round asks slow nodes as well.
        let (round, mut watch, mut at) = (Duration::from_secs(20), ReadyWatch::default(), Duration::ZERO);
        for _ in 0..20 {
            watch.saw(Some("a boot"), at);
            at += gates_again(LOOK_EVERY, None) + round;
        }
        assert_eq!(watch.lasted(), Some(Duration::from_secs(19 * 80)), "else nothing is ever ready for three epochs");
    }
}
