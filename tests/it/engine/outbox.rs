//! What becomes of a notice that the mail server does not take.

use failover::{
    adapters::web::metrics,
    domain::{Delivery, MailFault, Message, Refusal},
    ports::Finding,
    runtime::journal::EntryKind,
};

use super::*;

const SAID: &str = "553 5.7.1 <failover@home.example>: Sender address rejected";

/// Takes nothing, and says so in the same words each time.
struct Refusing(MailFault, AtomicI64);

#[async_trait]
impl Notifier for Refusing {
    fn recipients(&self) -> Vec<String> {
        vec!["me@x.example".into()]
    }
    async fn send(&self, _: &Message, _: uuid::Uuid, to: &[String]) -> Delivery {
        self.1.fetch_add(1, Ordering::SeqCst);
        let refusal = |to: &String| Refusal {
            recipient: to.clone(),
            fault: self.0,
            why: SAID.into(),
            remedy: "correct `mail.from`".into(),
        };
        Delivery { accepted: Vec::new(), refused: to.iter().map(refusal).collect() }
    }
    async fn check(&self) -> Vec<Finding> {
        Vec::new()
    }
}

async fn start(fault: MailFault) -> (Rig, Running, Arc<Refusing>) {
    let notifier = Arc::new(Refusing(fault, AtomicI64::default()));
    let rig = Rig { notifier: Some(notifier.clone()), ..Rig::new() };
    let mail_to = notifier.recipients();
    let running = rig.start_with(Policy { mode: Mode::Observe, hold_down: Span::ZERO, mail_to, ..Policy::default() });
    running.leads().await;
    running.both_down(&rig.clock).await;
    (rig, running, notifier)
}

async fn dropped(rig: &Rig) -> Vec<journal::Entry> {
    let entries = journal::read(&*rig.ledger, None, 100).await.unwrap();
    entries.into_iter().filter(|entry| entry.kind == Some(EntryKind::NoticeDropped)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notice_that_is_refused_waits_and_the_servers_words_are_shown_with_the_remedy() {
    let (rig, running, notifier) = start(MailFault::Setting).await;
    let status = running.until(|status| status.validators[0].mail_obstacle.is_some()).await;
    let shown = &status.validators[0];
    assert_eq!((shown.mails_waiting, shown.mails_failed, shown.notices_dropped), (1, 1, 0));
    let lines = shown.mail_lines().join("\n");
    assert!(lines.contains(SAID) && lines.contains("correct `mail.from`"), "{lines}");
    let metrics = metrics::render(Some(&status), &metrics::registry());
    assert!(metrics.contains(r#"failover_mails_failed{validator="eth-0"} 1"#), "{metrics}");
    assert!(metrics.contains(r#"fault="setting",said="553 5.7.1 <failover@home.example>"#), "{metrics}");
    assert_eq!(dropped(&rig).await, []);
    assert_eq!(notifier.1.load(Ordering::SeqCst), 1, "it is not tried again at once");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notice_that_is_dropped_is_counted_and_in_the_journal_with_the_servers_words() {
    let (rig, running, notifier) = start(MailFault::Content).await;
    let status = running.until(|status| status.validators[0].notices_dropped > 0).await;
    let shown = &status.validators[0];
    assert_eq!((shown.mails_waiting, shown.notices_dropped), (0, 1));
    assert!(shown.mail_lines().join("\n").contains(SAID), "{:?}", shown.mail_lines());
    let metrics = metrics::render(Some(&status), &metrics::registry());
    assert!(metrics.contains(r#"failover_notices_dropped_total{validator="eth-0"} 1"#), "{metrics}");
    running.stop().await;
    let entries = dropped(&rig).await;
    assert_eq!(entries.len(), 1, "{entries:?}");
    assert!(entries[0].reasons.iter().any(|reason| reason.contains(SAID)), "{entries:?}");
    assert_eq!(notifier.1.load(Ordering::SeqCst), 1, "what is never taken is not sent again");
    // The count outlives the process.
    let again = rig.start_waiting(Span::from_hours(1));
    again.leads().await;
    assert_eq!(again.until(|_| true).await.validators[0].notices_dropped, 1);
    again.stop().await;
}
