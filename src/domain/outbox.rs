//! Mail that is on its way: who still waits for it, and when it is tried again.
//!
//! It is not the sending; it is what the ledger keeps so that a server that is down for an hour loses nothing.

use serde::{Deserialize, Serialize};

use super::{Backoff, Notice, Span, Text, Time, TimeExt};

/// A mail is never more than the longest pause late once the server is back.
const AGAIN: Backoff = Backoff::new(Span::from_secs(10), Span::from_mins(10));

/// A notice that not everybody has yet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outgoing {
    pub notice: Notice,
    pub attempts: u32,
    pub next_try_at: Time,
    /// Who has neither received nor finally refused it.
    pub waiting_for: Vec<String>,
    pub delivered_to: Vec<String>,
    /// Whom the server refuses for good, and why.
    pub refused: Vec<Refusal>,
    /// Why the last try did not reach everybody, for the status.
    pub last_error: Option<Text>,
}

/// A recipient the server does not accept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    pub recipient: String,
    pub why: Text,
}

/// What one try has achieved, recipient by recipient. A recipient in none of the lists still waits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delivery {
    /// The server has taken the mail for these.
    pub accepted: Vec<String>,
    /// The server will never take it for these (5xx), and why.
    pub rejected: Vec<(String, String)>,
    /// It may work later for these (no connection, 4xx, no login), and why not now.
    pub retry: Vec<(String, String)>,
}

/// How far a notice has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutboxState {
    /// Somebody still waits: keep it.
    Waiting,
    /// Nobody waits and at least one has it: it may go.
    Delivered,
    /// Every recipient was refused for good: nobody has been notified. Keep it visible until the operator has seen it.
    Failed,
}

impl Outgoing {
    /// A notice that is due at once.
    #[must_use]
    pub fn new(notice: Notice, to: &[String], now: Time) -> Self {
        Self {
            notice,
            attempts: 0,
            next_try_at: now,
            waiting_for: to.to_vec(),
            delivered_to: Vec::new(),
            refused: Vec::new(),
            last_error: None,
        }
    }

    /// Whether it is to be tried now.
    #[must_use]
    pub fn is_due(&self, now: Time) -> bool {
        self.state() == OutboxState::Waiting && now >= self.next_try_at
    }

    #[must_use]
    pub fn state(&self) -> OutboxState {
        if !self.waiting_for.is_empty() {
            OutboxState::Waiting
        } else if self.delivered_to.is_empty() && !self.refused.is_empty() {
            OutboxState::Failed
        } else {
            OutboxState::Delivered
        }
    }

    /// Takes in what one try has achieved. Names that were not waited for change nothing, so a repetition is harmless.
    pub fn settle(&mut self, delivery: &Delivery, now: Time) -> OutboxState {
        for recipient in &delivery.accepted {
            if self.no_longer_waits(recipient) {
                self.delivered_to.push(recipient.clone());
            }
        }
        for (recipient, why) in &delivery.rejected {
            if self.no_longer_waits(recipient) {
                self.refused.push(Refusal { recipient: recipient.clone(), why: why.as_str().into() });
            }
        }
        let reason = delivery.retry.first().or_else(|| delivery.rejected.first());
        self.last_error = reason.map(|(recipient, why)| format!("{recipient}: {why}").into());
        self.next_try_at = now.plus(AGAIN.pause(self.attempts));
        self.attempts = self.attempts.saturating_add(1);
        self.state()
    }

    fn no_longer_waits(&mut self, recipient: &str) -> bool {
        let before = self.waiting_for.len();
        self.waiting_for.retain(|waiting| waiting != recipient);
        self.waiting_for.len() < before
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Blocker, Lines, NoticeKind, ValidatorId};

    fn at(seconds: i64) -> Time {
        Time::from_second(1_800_000_000 + seconds).unwrap()
    }

    fn outgoing(to: &[&str]) -> Outgoing {
        let notice = Notice {
            id: uuid::Uuid::nil(),
            validator: ValidatorId::new("eth-0").unwrap(),
            incident: None,
            at: at(0),
            first_at: None,
            kind: NoticeKind::Blocked(Blocker::ChainNotFinalising { epochs: 7 }),
            evidence: Lines::default(),
        };
        let to: Vec<String> = to.iter().map(ToString::to_string).collect();
        Outgoing::new(notice, &to, at(0))
    }

    fn retry(to: &str) -> Delivery {
        Delivery { retry: vec![(to.into(), "no connection".into())], ..Delivery::default() }
    }

    #[test]
    fn a_server_that_is_down_for_an_hour_delays_and_loses_nothing() {
        let mut mail = outgoing(&["a@x"]);
        let mut now = at(0);
        let mut pauses = Vec::new();
        while now < at(3600) {
            assert_eq!(mail.settle(&retry("a@x"), now), OutboxState::Waiting);
            assert!(!mail.is_due(now), "a failed try must not be repeated at once");
            pauses.push(mail.next_try_at.duration_since(now).as_secs());
            now = mail.next_try_at;
            assert!(mail.is_due(now));
        }
        assert_eq!(pauses[..8], [10, 20, 40, 80, 160, 320, 600, 600]);
        assert!(pauses.iter().all(|pause| *pause <= 600), "the cap is the longest pause, not the shortest");
        let delivery = Delivery { accepted: vec!["a@x".into()], ..Delivery::default() };
        assert_eq!(mail.settle(&delivery, now), OutboxState::Delivered);
        assert!(!mail.is_due(Time::MAX));
    }

    #[test]
    fn a_refused_recipient_does_not_keep_the_others_waiting_nor_is_it_tried_again() {
        let mut mail = outgoing(&["bad@x", "late@x", "good@x"]);
        let delivery = Delivery {
            accepted: vec!["good@x".into()],
            rejected: vec![("bad@x".into(), "550 no such user".into())],
            retry: vec![("late@x".into(), "451 greylisted".into())],
        };
        assert_eq!(mail.settle(&delivery, at(1)), OutboxState::Waiting);
        assert_eq!(mail.waiting_for, ["late@x"]);
        assert_eq!(mail.last_error.as_ref().unwrap().as_str(), "late@x: 451 greylisted");
        let done = Delivery { accepted: vec!["late@x".into()], ..Delivery::default() };
        assert_eq!(mail.settle(&done, at(20)), OutboxState::Delivered);
        assert_eq!(mail.delivered_to, ["good@x", "late@x"]);
    }

    #[test]
    fn a_mail_that_everybody_refused_is_failed_and_still_there() {
        let mut mail = outgoing(&["bad@x"]);
        let delivery = Delivery { rejected: vec![("bad@x".into(), "550 no".into())], ..Delivery::default() };
        assert_eq!(mail.settle(&delivery, at(1)), OutboxState::Failed);
        assert!(!mail.is_due(Time::MAX));
        assert_eq!(mail.refused[0].why.as_str(), "550 no");
    }

    #[test]
    fn a_repeated_result_changes_nobody_twice() {
        let mut mail = outgoing(&["a@x", "b@x"]);
        let delivery = Delivery { accepted: vec!["a@x".into()], ..Delivery::default() };
        mail.settle(&delivery, at(1));
        mail.settle(&delivery, at(2));
        assert_eq!(mail.delivered_to, ["a@x"]);
        assert_eq!(mail.waiting_for, ["b@x"]);
    }

    #[test]
    fn the_ledger_gives_back_what_it_was_given_and_refuses_what_it_does_not_know() {
        let mut mail = outgoing(&["a@x"]);
        mail.settle(&retry("a@x"), at(1));
        let mut json = serde_json::to_value(&mail).unwrap();
        assert_eq!(serde_json::from_value::<Outgoing>(json.clone()).unwrap(), mail);
        json["notice"]["surprise"] = 1.into();
        assert!(serde_json::from_value::<Outgoing>(json).is_err());
    }
}
