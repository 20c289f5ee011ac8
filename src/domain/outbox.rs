//! Mail that is on its way: who still waits for it, what the server says, and when it is tried again.
//!
//! It is not the sending; it is what the ledger keeps so that a server that is down for days, or refuses us until somebody
//! has mended it, loses nothing without a trace.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Backoff, Notice, Span, Text, Time, TimeExt, Topic, human};

/// What may pass by itself is tried often: a mail is never more than the longest pause late once the server is back.
const AGAIN: Backoff = Backoff::new(Span::from_secs(10), Span::from_mins(10));
/// What somebody has to mend is tried as often at first, while they may be at it, and later no server is pestered.
const SLOWLY: Backoff = Backoff::new(Span::from_secs(10), Span::from_hours(2));
/// What the server may have: each try may be one more copy. Lost it is not, but it comes late where it was.
pub const UNSURE: Backoff = Backoff::new(Span::from_mins(10), Span::from_hours(24));
/// RFC 5321, 4.5.4.1: at least four to five days. What lasts is a newer notice by then.
const GIVEN_UP_AFTER: Span = Span::from_hours(5 * 24);

/// A notice that not everybody has yet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outgoing {
    pub notice: Notice,
    pub attempts: u32,
    pub next_try_at: Time,
    /// A try that fails after this is the last one.
    pub expires_at: Time,
    /// Who has neither received it nor is given up.
    pub waiting_for: Vec<String>,
    pub delivered_to: Vec<String>,
    /// What the last try met with, for those who wait.
    pub refused: Vec<Refusal>,
    /// Who may have it already.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unsure: Vec<Unsure>,
}

/// A recipient whose copy the server has not said to have taken, although it had all of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unsure {
    pub recipient: String,
    /// How many it may have.
    pub copies: u32,
    pub again_at: Time,
}

/// Why one recipient does not have a notice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    pub recipient: String,
    pub fault: MailFault,
    /// In the server's own words, if it has said anything.
    pub why: Text,
    pub remedy: Text,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.recipient, self.why, self.remedy)
    }
}

/// Whose a refusal is, and so how long it lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, strum::AsRefStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum MailFault {
    /// May pass by itself: no connection, greylisting, a full disk.
    Passing,
    /// The server had the whole mail and has not answered: it may have it.
    Unsure,
    /// Lasts until somebody mends a setting, here or at the server: login, TLS, sender, policy.
    Setting,
    /// The server knows no such recipient. Others may have the notice.
    Recipient,
    /// The server will never take this content.
    Content,
}

/// What one try has achieved, recipient by recipient. A recipient in none of the lists still waits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delivery {
    /// The server has taken the mail for these.
    pub accepted: Vec<String>,
    pub refused: Vec<Refusal>,
}

/// Copies that went to nobody, since the validator's record began.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dropped {
    pub count: u64,
    pub last: Option<DroppedNotice>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DroppedNotice {
    pub at: Time,
    pub topic: Topic,
    /// In the server's words, where it had any.
    pub why: Text,
}

impl Dropped {
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.count == 0
    }
}

/// How far a notice has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutboxState {
    /// Somebody still waits: keep it.
    Waiting,
    /// Nobody waits and at least one has it: it may go.
    Delivered,
    /// Nobody waits and nobody has it. It may go too, and that is never silent.
    Lost,
}

impl Outgoing {
    /// A notice that is due at once.
    #[must_use]
    pub fn new(notice: Notice, to: &[String], now: Time) -> Self {
        Self {
            notice,
            attempts: 0,
            next_try_at: now,
            expires_at: now.plus(GIVEN_UP_AFTER),
            waiting_for: to.to_vec(),
            delivered_to: Vec::new(),
            refused: Vec::new(),
            unsure: Vec::new(),
        }
    }

    /// Who is to be tried now: who may have it waits longer than the others.
    #[must_use]
    pub fn due(&self, now: Time) -> Vec<String> {
        let rests = |to: &&String| self.unsure.iter().any(|it| it.recipient == **to && now < it.again_at);
        self.waiting_for.iter().filter(|to| !rests(to)).cloned().collect()
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
        } else if self.delivered_to.is_empty() {
            OutboxState::Lost
        } else {
            OutboxState::Delivered
        }
    }

    /// What keeps it, the gravest first.
    #[must_use]
    pub fn obstacle(&self) -> Option<&Refusal> {
        self.refused.iter().max_by_key(|refusal| refusal.fault)
    }

    /// Takes in what one try has achieved, and returns the copies that are given up by it. Names that were not waited for
    /// change nothing, so a repetition is harmless.
    ///
    /// **Invariant:** what a setting can mend gives nothing up before the notice expires. A recipient that does not exist
    /// is given up once somebody else has the notice: a server that has lost its list of users for a minute says the same.
    pub fn settle(&mut self, delivery: &Delivery, now: Time) -> Vec<Refusal> {
        for recipient in &delivery.accepted {
            if self.no_longer_waits(recipient) {
                self.delivered_to.push(recipient.clone());
            }
        }
        let lasted = lasts(&self.refused);
        let is_new = |recipient: &String| delivery.refused.iter().any(|refusal| refusal.recipient == *recipient);
        let waits = |refusal: &&Refusal| self.waiting_for.contains(&refusal.recipient);
        // Who may have it was not tried again, unless there is news.
        let still = |refusal: &&Refusal| refusal.fault == MailFault::Unsure && !is_new(&refusal.recipient);
        let refused = self.refused.iter().filter(still).chain(&delivery.refused);
        let refused: Vec<_> = refused.filter(waits).cloned().collect();
        self.refused = refused;
        for refusal in &delivery.refused {
            self.is_unsure(refusal, now);
        }
        let (expired, somebody_has_it) = (now >= self.expires_at, !self.delivered_to.is_empty());
        let is_final = |refusal: &mut Refusal| match refusal.fault {
            MailFault::Content => true,
            MailFault::Recipient => expired || somebody_has_it,
            MailFault::Passing | MailFault::Unsure | MailFault::Setting => expired,
        };
        let mut given_up: Vec<Refusal> = self.refused.extract_if(.., is_final).collect();
        for refusal in &given_up {
            self.no_longer_waits(&refusal.recipient);
        }
        if expired {
            let after = human(GIVEN_UP_AFTER);
            for refusal in &mut given_up {
                refusal.why = format!("not taken for {after}: {}", refusal.why).into();
            }
        }
        let lasts = lasts(&self.refused);
        // What a server says first after an outage may pass as quickly: the slow pauses begin short as well.
        if lasts && !lasted {
            self.attempts = 0;
        }
        let pause = if lasts { SLOWLY } else { AGAIN }.pause(self.attempts);
        let waiting = &self.waiting_for;
        self.unsure.retain(|it| waiting.contains(&it.recipient));
        let resting = self.unsure.iter().filter(|it| it.again_at > now);
        let all_rest = resting.clone().count() == waiting.len();
        let pause_ends = now.plus(pause);
        let next = resting.map(|it| it.again_at).chain((!all_rest).then_some(pause_ends)).min();
        self.next_try_at = next.unwrap_or(pause_ends);
        self.attempts = self.attempts.saturating_add(1);
        given_up
    }

    /// Takes in that the server may have one copy more, or that it has refused this one.
    fn is_unsure(&mut self, refusal: &Refusal, now: Time) {
        let before = self.unsure.iter().position(|it| it.recipient == refusal.recipient);
        let copies = before.map_or(0, |index| self.unsure.remove(index).copies);
        if refusal.fault == MailFault::Unsure {
            let again_at = now.plus(UNSURE.pause(copies));
            self.unsure.push(Unsure {
                recipient: refusal.recipient.clone(),
                copies: copies.saturating_add(1),
                again_at,
            });
        }
    }

    /// Whether it waits for somebody who is not listed any more.
    #[must_use]
    pub fn is_misaddressed(&self, to: &[String]) -> bool {
        self.waiting_for.iter().any(|waiting| !to.contains(waiting))
    }

    /// Waits for those who are listed now, as long as nobody has it; else only no longer for those who are not.
    pub fn readdress(&mut self, to: &[String], now: Time) {
        self.waiting_for.retain(|waiting| to.contains(waiting));
        self.refused.retain(|refusal| to.contains(&refusal.recipient));
        if self.delivered_to.is_empty() {
            self.waiting_for = to.to_vec();
            self.next_try_at = now;
        }
    }

    fn no_longer_waits(&mut self, recipient: &str) -> bool {
        let before = self.waiting_for.len();
        self.waiting_for.retain(|waiting| waiting != recipient);
        self.waiting_for.len() < before
    }
}

/// Whether whoever waits does so until somebody mends something. Who may have it has pauses of its own.
fn lasts(refused: &[Refusal]) -> bool {
    let mut known = refused.iter().filter(|refusal| refusal.fault != MailFault::Unsure).peekable();
    known.peek().is_some() && known.all(|refusal| refusal.fault != MailFault::Passing)
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

    fn delivery(accepted: &[&str], refused: &[(&str, MailFault, &str)]) -> Delivery {
        let refusal = |&(recipient, fault, why): &(&str, MailFault, &str)| Refusal {
            recipient: recipient.into(),
            fault,
            why: why.into(),
            remedy: "mend it".into(),
        };
        Delivery {
            accepted: accepted.iter().map(ToString::to_string).collect(),
            refused: refused.iter().map(refusal).collect(),
        }
    }

    fn refused(fault: MailFault) -> Delivery {
        delivery(&[], &[("a@x", fault, "no")])
    }

    /// The pauses between tries that all end in the same way, until this long.
    fn pauses(mail: &mut Outgoing, fault: MailFault, until: i64) -> Vec<i64> {
        let (mut now, mut pauses) = (at(0), Vec::new());
        while now < at(until) {
            assert_eq!(mail.settle(&refused(fault), now), []);
            assert!(!mail.is_due(now), "a failed try must not be repeated at once");
            pauses.push(mail.next_try_at.duration_since(now).as_secs());
            now = mail.next_try_at;
            assert!(mail.is_due(now));
        }
        pauses
    }

    #[test]
    fn a_server_that_is_down_for_an_hour_delays_and_loses_nothing() {
        let mut mail = outgoing(&["a@x"]);
        let pauses = pauses(&mut mail, MailFault::Passing, 3600);
        assert_eq!(pauses[..8], [10, 20, 40, 80, 160, 320, 600, 600]);
        assert!(pauses.iter().all(|pause| *pause <= 600), "the cap is the longest pause, not the shortest");
        assert_eq!(mail.settle(&delivery(&["a@x"], &[]), at(7200)), []);
        assert_eq!(mail.state(), OutboxState::Delivered);
        assert!(!mail.is_due(Time::MAX));
    }

    #[test]
    fn what_somebody_has_to_mend_is_tried_for_days_and_less_and_less() {
        for fault in [MailFault::Setting, MailFault::Recipient] {
            let mut mail = outgoing(&["a@x"]);
            let pauses = pauses(&mut mail, fault, 4 * 24 * 3600);
            assert_eq!(pauses[..11], [10, 20, 40, 80, 160, 320, 640, 1280, 2560, 5120, 7200], "{fault:?}");
            assert!(pauses[11..].iter().all(|pause| *pause == 7200) && pauses.len() < 64, "{fault:?}: {pauses:?}");
            assert_eq!(mail.obstacle().unwrap().why.as_str(), "no");
        }
    }

    /// The server takes it each time and never says so: in five days it has some ten copies, and not a thousand.
    #[test]
    fn what_the_server_may_have_is_sent_again_less_and_less() {
        let mut mail = outgoing(&["a@x"]);
        let pauses = pauses(&mut mail, MailFault::Unsure, 4 * 24 * 3600);
        assert_eq!(pauses[..8], [600, 1200, 2400, 4800, 9600, 19200, 38400, 76800]);
        assert!(pauses.len() <= 12, "{pauses:?}");
        assert_eq!(mail.settle(&refused(MailFault::Unsure), at(5 * 24 * 3600)).len(), 1);
        assert_eq!(mail.state(), OutboxState::Lost);
    }

    #[test]
    fn a_recipient_that_may_have_it_is_not_tried_with_those_who_do_not() {
        let mut mail = outgoing(&["perhaps@x", "later@x"]);
        let (perhaps, later) = (("perhaps@x", MailFault::Unsure, "silence"), ("later@x", MailFault::Passing, "450"));
        mail.settle(&delivery(&[], &[perhaps, later]), at(0));
        for (tried_at, next) in [(10, 20), (30, 40), (70, 80)] {
            assert_eq!(mail.next_try_at, at(tried_at));
            assert_eq!(mail.due(at(tried_at)), ["later@x"]);
            mail.settle(&delivery(&[], &[later]), at(tried_at));
            assert_eq!(mail.next_try_at, at(tried_at + next));
            assert_eq!(mail.refused.len(), 2, "what is known of the other one stays");
        }
        mail.settle(&delivery(&["later@x"], &[]), at(150));
        assert_eq!((mail.next_try_at, mail.state()), (at(600), OutboxState::Waiting));
        assert_eq!(mail.due(at(600)), ["perhaps@x"]);
        let json = serde_json::to_string(&mail).unwrap();
        assert_eq!(serde_json::from_str::<Outgoing>(&json).unwrap(), mail);
        // A plain refusal says that it does not have it.
        mail.settle(&delivery(&[], &[("perhaps@x", MailFault::Passing, "450")]), at(600));
        assert_eq!(mail.unsure, []);
        mail.settle(&delivery(&["perhaps@x"], &[]), at(900));
        assert_eq!(mail.state(), OutboxState::Delivered);
    }

    /// It comes up, and refuses everything for as long as its lists are not there.
    #[test]
    fn a_refusal_right_after_an_outage_of_the_server_is_tried_again_soon() {
        let mut mail = outgoing(&["a@x"]);
        pauses(&mut mail, MailFault::Passing, 2 * 3600);
        let now = mail.next_try_at;
        assert_eq!(mail.settle(&refused(MailFault::Recipient), now), []);
        assert_eq!(mail.next_try_at.duration_since(now).as_secs(), 10);
    }

    #[test]
    fn a_notice_that_expires_is_given_up_with_the_last_words_of_the_server() {
        for fault in [MailFault::Passing, MailFault::Setting, MailFault::Recipient] {
            let mut mail = outgoing(&["a@x"]);
            assert_eq!(mail.settle(&refused(fault), at(5 * 24 * 3600 - 1)), []);
            let given_up = mail.settle(&refused(fault), at(5 * 24 * 3600));
            assert_eq!((given_up.len(), mail.state()), (1, OutboxState::Lost), "{fault:?}");
            assert_eq!(given_up[0].why.as_str(), "not taken for 5d: no");
        }
    }

    #[test]
    fn content_that_is_never_taken_is_given_up_at_once() {
        let mut mail = outgoing(&["a@x"]);
        assert_eq!(mail.settle(&refused(MailFault::Content), at(1)).len(), 1);
        assert_eq!(mail.state(), OutboxState::Lost);
        assert!(!mail.is_due(Time::MAX));
    }

    #[test]
    fn a_recipient_that_does_not_exist_is_given_up_only_when_somebody_else_has_it() {
        let mut mail = outgoing(&["bad@x", "late@x", "good@x"]);
        let (bad, late) = (("bad@x", MailFault::Recipient, "550"), ("late@x", MailFault::Passing, "451 greylisted"));
        assert_eq!(mail.settle(&delivery(&[], &[bad, late]), at(1)), []);
        assert_eq!(mail.waiting_for, ["bad@x", "late@x", "good@x"]);
        let given_up = mail.settle(&delivery(&["good@x"], &[bad, late]), at(20));
        assert_eq!(given_up.iter().map(|refusal| refusal.recipient.as_str()).collect::<Vec<_>>(), ["bad@x"]);
        assert_eq!(mail.waiting_for, ["late@x"]);
        assert_eq!(mail.obstacle().unwrap().why.as_str(), "451 greylisted");
        assert_eq!(mail.settle(&delivery(&["late@x"], &[]), at(60)), []);
        assert_eq!((mail.state(), mail.delivered_to), (OutboxState::Delivered, vec!["good@x".into(), "late@x".into()]));
    }

    #[test]
    fn a_repeated_result_changes_nobody_twice() {
        let mut mail = outgoing(&["a@x", "b@x"]);
        mail.settle(&delivery(&["a@x"], &[]), at(1));
        let bad = ("a@x", MailFault::Content, "no");
        assert_eq!(mail.settle(&delivery(&["a@x"], &[bad]), at(2)), []);
        assert_eq!(mail.delivered_to, ["a@x"]);
        assert_eq!(mail.waiting_for, ["b@x"]);
    }

    #[test]
    fn a_corrected_address_gets_what_waited_for_the_wrong_one() {
        let mut mail = outgoing(&["typo@x", "b@x"]);
        mail.settle(
            &delivery(&[], &[("typo@x", MailFault::Recipient, "550"), ("b@x", MailFault::Passing, "450")]),
            at(1),
        );
        assert!(!mail.is_misaddressed(&["typo@x".into(), "b@x".into()]), "nothing is corrected");
        let corrected = ["right@x".to_owned(), "b@x".to_owned()];
        assert!(mail.is_misaddressed(&corrected) && !mail.is_due(at(3)));
        mail.readdress(&corrected, at(3));
        assert_eq!(mail.waiting_for, corrected);
        assert!(mail.is_due(at(3)));
        mail.settle(&delivery(&["right@x"], &[]), at(4));
        mail.readdress(&["new@x".to_owned()], at(5));
        assert_eq!(mail.state(), OutboxState::Delivered, "somebody has it");
    }

    #[test]
    fn the_ledger_gives_back_what_it_was_given_and_refuses_what_it_does_not_know() {
        let mut mail = outgoing(&["a@x"]);
        mail.settle(&refused(MailFault::Setting), at(1));
        let mut json = serde_json::to_value(&mail).unwrap();
        assert_eq!(serde_json::from_value::<Outgoing>(json.clone()).unwrap(), mail);
        json["notice"]["surprise"] = 1.into();
        assert!(serde_json::from_value::<Outgoing>(json).is_err());
    }
}
