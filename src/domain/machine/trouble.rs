//! What is asked of the cloud and fails each time: one count, one report and one withdrawal for every kind of it.
//!
//! **Invariant:** nothing fails without end unreported: after a few tries people are notified with the answer, again
//! when the answer becomes another refusal and once a day; status shows it from the first failure on. No deadline waits
//! for it.

use super::Transition;
use crate::domain::{CloudTrouble, Failed, Notified, Reason, Step, Time, TimeExt};

/// Once this many tries have failed, the next failure is notified: the pauses before it add up to five minutes, longer
/// than what mends itself.
pub(super) const NOTIFY_AFTER: u32 = 5;
/// The part of the time between two reminders for which what has worked in between is not mailed again.
const QUIET: i32 = 4;

impl Transition<'_> {
    /// Takes in a failure after `before` others of its kind in a row.
    pub(super) fn keeps_failing(&mut self, step: Step, said: &str, before: u32, retry_at: Time) {
        let now = self.now;
        let trouble = self.live.troubles.entry(step).or_insert_with(|| CloudTrouble {
            since: now,
            failures: 0,
            answer: String::new(),
            reported: false,
        });
        (trouble.failures, trouble.answer) = (before.saturating_add(1), said.to_owned());
        if before < NOTIFY_AFTER {
            return;
        }
        let (failed, failures) = (failed_by(step), trouble.failures);
        if self.notify_of_failure(failed, said, Some(retry_at)) {
            self.live.troubles.entry(step).and_modify(|trouble| trouble.reported = true);
            self.say(Reason::KeepsFailing { step, failures, said: said.to_owned() });
        }
    }

    /// It works again: the report is withdrawn, and some hours later the next time is news. At once it would be mailed
    /// with every turn of what fails and works by turns.
    pub(super) fn works_again(&mut self, step: Step) {
        if self.live.troubles.remove(&step).is_some_and(|trouble| trouble.reported) {
            self.say(Reason::WorksAgain { step });
        }
        let (topics, quiet) = (failed_by(step).topics(), self.policy.remind_every / QUIET);
        let news_at = self.now.plus(quiet);
        let known = |notified: &&Notified| notified.topic.is_of(topics);
        let Some(again_at) =
            self.record.notified.iter().find(known).map(|it| it.last_at.plus(self.policy.remind_every))
        else {
            return;
        };
        if again_at <= self.now {
            self.record.to_mut().notified.retain(|notified| !notified.topic.is_of(topics));
        } else if again_at > news_at {
            let last_at = news_at.minus(self.policy.remind_every);
            for notified in self.record.to_mut().notified.iter_mut().filter(|it| it.topic.is_of(topics)) {
                notified.last_at = last_at;
            }
        }
    }

    /// How often it has failed in a row, as far as this process has seen.
    pub(super) fn failures_of(&self, step: Step) -> u32 {
        self.live.troubles.get(&step).map_or(0, |trouble| trouble.failures)
    }
}

fn failed_by(step: Step) -> Failed {
    match step {
        Step::Find | Step::Disks => Failed::List,
        Step::Observe | Step::Console => Failed::Poll,
        Step::Delete | Step::Abandon | Step::Reclaim => Failed::Delete,
        Step::Create => Failed::Refused,
    }
}
