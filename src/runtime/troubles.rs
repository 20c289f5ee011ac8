//! What is wrong with the ledger itself: in the status for as long as it lasts, and mailed once a day. It repairs nothing.
//!
//! A record that cannot be read has no place for a mail that waits, so this mail is kept by nobody but this process: a
//! restart sends it again.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    domain::{Backoff, Context, MailFault, Refusal, Span, Time, TimeExt as _, UNSURE, ledger_mail},
    ports::{Clock, Notifier},
};

/// More lines of one kind are counted only: one broken disk breaks many records.
const SHOWN: usize = 20;
/// As long as a mail is not said again.
const REMIND: Span = Span::from_hours(24);
/// How soon after a day it is said again.
const LOOK_EVERY: Span = Span::from_hours(1);
const AGAIN: Backoff = Backoff::new(Span::from_secs(10), Span::from_mins(10));

/// The part that is about the ledger as a whole and no record of it.
const WHOLE: &str = "ledger";

/// Shared by all who read the ledger; each part is one reader's.
#[derive(Clone, Debug)]
pub struct LedgerTroubles(Arc<watch::Sender<BTreeMap<String, Vec<String>>>>);

impl Default for LedgerTroubles {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(BTreeMap::new())))
    }
}

impl LedgerTroubles {
    /// What this reader cannot read now, in place of what it said before.
    pub fn set(&self, part: &str, mut texts: Vec<String>) {
        let more = texts.len().saturating_sub(SHOWN);
        texts.truncate(SHOWN);
        if more > 0 {
            texts.push(format!("{more} more records of {part} cannot be read: see `failover ledger verify`"));
        }
        self.0.send_if_modified(|parts| {
            let before = if texts.is_empty() { parts.remove(part) } else { parts.insert(part.into(), texts.clone()) };
            before.unwrap_or_default() != texts
        });
    }

    pub(super) fn set_whole(&self, text: Option<String>) {
        self.set(WHOLE, text.into_iter().collect());
    }

    pub(super) fn clear(&self) {
        self.0.send_replace(BTreeMap::new());
    }

    /// Records that cannot be read.
    pub(super) fn unreadable(&self) -> Vec<String> {
        self.0.borrow().iter().filter(|(part, _)| *part != WHOLE).flat_map(|(_, texts)| texts.clone()).collect()
    }

    pub(super) fn of_the_whole(&self) -> Vec<String> {
        self.0.borrow().get(WHOLE).cloned().unwrap_or_default()
    }
}

/// Notifies people until stopped: of each trouble when it is seen, and again every day.
pub(super) async fn mail(
    troubles: LedgerTroubles,
    notifier: Option<Arc<dyn Notifier>>,
    clock: Arc<dyn Clock>,
    site: String,
    cli: String,
    stop: CancellationToken,
) {
    let Some(notifier) = notifier else { return };
    let mut changes = troubles.0.subscribe();
    let mut mailed: BTreeMap<String, Time> = BTreeMap::new();
    loop {
        let now = clock.now();
        let all: BTreeSet<String> = changes.borrow_and_update().values().flatten().cloned().collect();
        mailed.retain(|_, at| now.duration_since(*at).abs() < REMIND);
        let due: Vec<&str> = all.iter().map(String::as_str).filter(|text| !mailed.contains_key(*text)).collect();
        if !due.is_empty() {
            let message = ledger_mail(&due, now, &Context { site: &site, cli: &cli });
            let (id, mut to, mut tries) = (Uuid::new_v4(), notifier.recipients(), 0);
            let mut unsure: BTreeMap<String, (u32, Time)> = BTreeMap::new();
            let mut somebody_has_it = false;
            let mut changed = false;
            while !to.is_empty() && !changed && clock.now().duration_since(now).abs() < REMIND {
                let at = clock.now();
                let rests = |recipient: &&String| unsure.get(*recipient).is_some_and(|(_, again_at)| *again_at > at);
                let asked: Vec<String> = to.iter().filter(|recipient| !rests(recipient)).cloned().collect();
                let delivery = tokio::select! {
                    delivery = notifier.send(&message, id, &asked) => delivery,
                    () = stop.cancelled() => return,
                };
                let at = clock.now();
                for refusal in &delivery.refused {
                    tracing::error!(%refusal, "the mail about the ledger is refused");
                    let copies = unsure.remove(&refusal.recipient).map_or(0, |(copies, _)| copies);
                    if refusal.fault == MailFault::Unsure {
                        let again_at = at.plus(UNSURE.pause(copies));
                        unsure.insert(refusal.recipient.clone(), (copies.saturating_add(1), again_at));
                    }
                }
                somebody_has_it |= !delivery.accepted.is_empty();
                let lasts = |refusal: &Refusal| match refusal.fault {
                    MailFault::Passing | MailFault::Unsure | MailFault::Setting => false,
                    // As with other mail: given up only if somebody else has it.
                    MailFault::Recipient => somebody_has_it,
                    MailFault::Content => true,
                };
                to.retain(|recipient| !delivery.accepted.contains(recipient));
                to.retain(|recipient| !delivery.refused.iter().any(|it| it.recipient == *recipient && lasts(it)));
                let resting: Vec<Time> =
                    to.iter().filter_map(|it| unsure.get(it)).map(|(_, again_at)| *again_at).collect();
                // Who may have it waits longer than who certainly has not.
                let soon = (resting.len() < to.len()).then(|| at.plus(AGAIN.pause(tries)));
                tries = tries.saturating_add(u32::from(soon.is_some()));
                let Some(next) = resting.into_iter().chain(soon).min() else { break };
                tokio::select! {
                    () = clock.sleep_until(next) => {}
                    // Who has not taken this one gets the next, which is about what is wrong by then.
                    more = changes.changed() => {
                        if more.is_err() {
                            return;
                        }
                        changes.mark_changed();
                        changed = true;
                    }
                    () = stop.cancelled() => return,
                }
            }
            if somebody_has_it || !changed {
                mailed.extend(due.into_iter().map(|text| (text.to_owned(), now)));
            }
        }
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            () = clock.sleep_until(clock.now().plus(LOOK_EVERY)) => {}
            () = stop.cancelled() => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use async_trait::async_trait;

    use super::*;
    use crate::{
        domain::{Delivery, Message},
        ports::Finding,
    };

    /// Accepts every second mail.
    #[derive(Default)]
    struct Notes(Mutex<Vec<(Uuid, Message)>>);

    #[async_trait]
    impl Notifier for Notes {
        fn recipients(&self) -> Vec<String> {
            vec!["me@example.org".into()]
        }
        async fn send(&self, message: &Message, id: Uuid, to: &[String]) -> Delivery {
            let mut sent = self.0.lock().unwrap();
            sent.push((id, message.clone()));
            if sent.len().is_multiple_of(2) {
                return Delivery { accepted: to.to_vec(), ..Delivery::default() };
            }
            let refused = to.iter().map(|recipient| Refusal {
                recipient: recipient.clone(),
                fault: MailFault::Passing,
                why: "421 later".into(),
                remedy: "".into(),
            });
            Delivery { refused: refused.collect(), ..Delivery::default() }
        }
        async fn check(&self) -> Vec<Finding> {
            Vec::new()
        }
    }

    /// A clock that the test moves, which notes that somebody waits for it.
    struct Moved {
        now: watch::Sender<Time>,
        waits: watch::Sender<u32>,
    }

    impl Moved {
        /// Hour by hour, each time until it is waited for again.
        async fn pass(&self, hours: i64) {
            for _ in 0..hours {
                let mut waits = self.waits.subscribe();
                waits.borrow_and_update();
                self.now.send_modify(|now| *now = now.plus(Span::from_hours(1)));
                waits.changed().await.unwrap();
            }
        }
    }

    impl Clock for Moved {
        fn now(&self) -> Time {
            *self.now.borrow()
        }
        fn sleep_until(&self, at: Time) -> futures::future::BoxFuture<'static, ()> {
            let mut now = self.now.subscribe();
            self.waits.send_modify(|waits| *waits += 1);
            Box::pin(async move {
                now.wait_for(|now| *now >= at).await.unwrap();
            })
        }
    }

    #[tokio::test]
    async fn people_are_notified_of_each_trouble_until_they_have_it_and_again_a_day_later() {
        let (troubles, notes, stop) = (LedgerTroubles::default(), Arc::new(Notes::default()), CancellationToken::new());
        let clock = Arc::new(Moved { now: watch::Sender::new(Time::UNIX_EPOCH), waits: watch::Sender::new(0) });
        let notifier: Arc<dyn Notifier> = notes.clone();
        let (site, cli) = ("home".to_owned(), "failover".to_owned());
        let mailing = tokio::spawn(mail(troubles.clone(), Some(notifier), clock.clone(), site, cli, stop.clone()));
        let sent = || notes.0.lock().unwrap().len();
        let why = || vec!["the record requests/1 cannot be read".to_owned()];
        clock.waits.subscribe().wait_for(|waits| *waits > 0).await.unwrap();
        assert_eq!(sent(), 0, "nothing is wrong");
        troubles.set("requests", why());
        while sent() < 1 {
            tokio::task::yield_now().await;
        }
        clock.pass(2).await;
        {
            let sent = notes.0.lock().unwrap();
            assert_eq!((sent.len(), sent[0].0), (2, sent[1].0), "the same mail, until it is taken");
            assert_eq!(sent[0].1.subject, "[failover home] the ledger needs you: the record requests/1 cannot be read");
            assert!(sent[0].1.body.contains("  failover ledger verify\n"), "{}", sent[0].1.body);
        }
        for _ in 0..100 {
            troubles.set("requests", why());
        }
        clock.pass(18).await;
        assert_eq!(sent(), 2, "not with every look");
        troubles.set("alerts", vec!["another".into()]);
        clock.pass(2).await;
        assert_eq!(sent(), 4);
        assert!(!notes.0.lock().unwrap()[3].1.body.contains("requests/1"), "what is new only");
        clock.pass(4).await;
        assert_eq!(sent(), 6, "a day after the first");
        troubles.set("requests", Vec::new());
        troubles.set("alerts", Vec::new());
        clock.pass(60).await;
        assert_eq!((sent(), troubles.unreadable().len()), (6, 0), "it is over");
        stop.cancel();
        mailing.await.unwrap();
    }

    /// Answers as the test says, and notes who was asked when.
    struct Answers {
        clock: Arc<Moved>,
        to: Vec<String>,
        asked: Mutex<Vec<(Time, Vec<String>, String)>>,
        answer: fn(usize, &str) -> Option<MailFault>,
    }

    #[async_trait]
    impl Notifier for Answers {
        fn recipients(&self) -> Vec<String> {
            self.to.clone()
        }
        async fn send(&self, message: &Message, _: Uuid, to: &[String]) -> Delivery {
            let mut asked = self.asked.lock().unwrap();
            let before = asked.len();
            asked.push((self.clock.now(), to.to_vec(), message.body.clone()));
            let mut delivery = Delivery::default();
            for recipient in to {
                match (self.answer)(before, recipient) {
                    None => delivery.accepted.push(recipient.clone()),
                    Some(fault) => delivery.refused.push(Refusal {
                        recipient: recipient.clone(),
                        fault,
                        why: "no".into(),
                        remedy: "".into(),
                    }),
                }
            }
            delivery
        }
        async fn check(&self) -> Vec<Finding> {
            Vec::new()
        }
    }

    fn answers(to: &[&str], answer: fn(usize, &str) -> Option<MailFault>) -> (Arc<Moved>, Arc<Answers>) {
        let clock = Arc::new(Moved { now: watch::Sender::new(Time::UNIX_EPOCH), waits: watch::Sender::new(0) });
        let to = to.iter().map(|name| (*name).to_owned()).collect();
        (clock.clone(), Arc::new(Answers { clock, to, asked: Mutex::default(), answer }))
    }

    #[tokio::test]
    async fn what_nobody_has_received_is_not_mailed_because_something_else_changes() {
        let (clock, notes) = answers(&["me"], |before, _| (before == 0).then_some(MailFault::Passing));
        let (troubles, stop) = (LedgerTroubles::default(), CancellationToken::new());
        let (site, cli) = ("home".to_owned(), "failover".to_owned());
        troubles.set("requests", vec!["the record requests/1 cannot be read".to_owned()]);
        let mut waits = clock.waits.subscribe();
        let mailing = tokio::spawn(mail(troubles.clone(), Some(notes.clone()), clock, site, cli, stop.clone()));
        waits.wait_for(|waits| *waits > 0).await.unwrap();
        troubles.set("alerts", vec!["another".into()]);
        while notes.asked.lock().unwrap().len() < 2 {
            tokio::task::yield_now().await;
        }
        {
            let asked = notes.asked.lock().unwrap();
            assert_eq!(asked.len(), 2);
            assert!(asked[1].2.contains("requests/1") && asked[1].2.contains("another"), "{}", asked[1].2);
        }
        stop.cancel();
        mailing.await.unwrap();
    }

    #[tokio::test]
    async fn one_who_may_have_it_pauses_nobody_else_and_passing_failures_do_not_lengthen_the_pause() {
        // An hour of outage, then one answer is lost each time and the other one passes at last.
        let (clock, notes) = answers(&["lost", "late"], |before, name| match (before, name) {
            (0..12, _) | (12..15, "late") => Some(MailFault::Passing),
            (_, "lost") => Some(MailFault::Unsure),
            _ => None,
        });
        let (troubles, stop) = (LedgerTroubles::default(), CancellationToken::new());
        let (site, cli) = ("home".to_owned(), "failover".to_owned());
        troubles.set("requests", vec!["the record requests/1 cannot be read".to_owned()]);
        let mut waits = clock.waits.subscribe();
        let mailing = tokio::spawn(mail(troubles.clone(), Some(notes.clone()), clock.clone(), site, cli, stop.clone()));
        waits.wait_for(|waits| *waits > 0).await.unwrap();
        for minute in 0..180 {
            let sleeps = *clock.waits.borrow();
            let asked = notes.asked.lock().unwrap().len();
            clock.now.send_modify(|now| *now = now.plus(Span::from_mins(1)));
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
            let again = notes.asked.lock().unwrap().len();
            assert!(
                again == asked || *clock.waits.borrow() > sleeps,
                "minute {minute}: each try is followed by a wait"
            );
        }
        let asked = notes.asked.lock().unwrap().clone();
        let late: Vec<_> = asked.iter().filter(|(_, to, _)| to.contains(&"late".to_owned())).collect();
        assert!((13..=16).contains(&late.len()), "until it has it: {}", late.len());
        let pause = late.windows(2).map(|pair| pair[1].0.duration_since(pair[0].0)).max().unwrap();
        assert!(pause <= Span::from_mins(14), "{pause:?}");
        let lost: Vec<Time> = asked.iter().filter(|it| it.1.contains(&"lost".to_owned())).map(|it| it.0).collect();
        let pauses: Vec<i64> =
            lost[12..].windows(2).map(|pair| pair[1].duration_since(pair[0]).as_secs() / 60).collect();
        assert!(pauses.len() >= 2 && pauses[0] >= 7 && pauses[0] <= 14 && pauses[1] > pauses[0], "{pauses:?}");
        stop.cancel();
        mailing.await.unwrap();
    }

    #[test]
    fn of_many_records_the_first_are_named_and_the_others_counted() {
        let troubles = LedgerTroubles::default();
        troubles.set("alerts", (0..500).map(|number| format!("alert {number}")).collect());
        troubles.set_whole(Some("it is a copy".into()));
        let shown = troubles.unreadable();
        assert_eq!((shown.len(), shown[19].as_str()), (21, "alert 19"));
        assert!(shown[20].starts_with("480 more records of alerts"), "{}", shown[20]);
        assert_eq!(troubles.of_the_whole(), ["it is a copy"]);
    }
}
