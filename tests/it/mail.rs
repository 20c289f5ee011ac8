//! Mail through the real client over real sockets, to a server that keeps what it is given.

use std::time::Duration;

use failover::{
    adapters::mail::Mailer,
    config::{Login, MailSettings, MailTls, SecretFile},
    domain::{
        Blocker, Context, Delivery, Lines, Message, Notice, NoticeKind, OutboxState, Outgoing, Span, Time, ValidatorId,
        render,
    },
    ports::{FindingState, Notifier},
    sandbox::smtp::{Cut, SmtpSink},
};
use uuid::Uuid;

const ID: Uuid = Uuid::from_u128(0x1234);

fn settings(sink: &SmtpSink, to: &[&str]) -> MailSettings {
    MailSettings {
        host: "127.0.0.1".into(),
        port: sink.address().port(),
        tls: MailTls::None,
        ca_file: None,
        login: None,
        from: "failover <failover@home.example>".into(),
        to: to.iter().map(ToString::to_string).collect(),
        timeout: Span::from_secs(10),
    }
}

fn mailer(sink: &SmtpSink, to: &[&str]) -> Mailer {
    Mailer::new(settings(sink, to)).unwrap()
}

fn at(seconds: i64) -> Time {
    Time::from_second(1_800_000_000 + seconds).unwrap()
}

fn notice() -> Notice {
    Notice {
        id: ID,
        validator: ValidatorId::new("eth-0").unwrap(),
        incident: None,
        at: at(0),
        first_at: None,
        kind: NoticeKind::Blocked(Blocker::ChainNotFinalising { epochs: 7 }),
        evidence: Lines::default(),
    }
}

fn message() -> Message {
    render(&notice(), &Context { site: "home", cli: "failover" })
}

fn names(list: &[(String, String)]) -> Vec<&str> {
    list.iter().map(|(name, _)| name.as_str()).collect()
}

#[tokio::test]
async fn a_mail_arrives_as_it_was_written() {
    let sink = SmtpSink::start().await.unwrap();
    let mailer = mailer(&sink, &["me@x.example", "you@x.example"]);
    let mut message = message();
    message.body = "first…\n\n.a dot first\n..two\n.\nlast = 100%\n".into();
    let delivery = mailer.send(&message, ID, &mailer.recipients()).await;
    assert_eq!(delivery.accepted, ["me@x.example", "you@x.example"]);
    let mails = sink.mails();
    assert_eq!(mails.len(), 2, "one transaction for each recipient");
    assert_eq!(
        (mails[0].to.as_slice(), mails[1].to.as_slice()),
        (&["me@x.example".to_owned()][..], &["you@x.example".to_owned()][..])
    );
    let mail = &mails[0];
    assert_eq!(mail.from, "failover@home.example");
    assert_eq!(mail.body.trim_end(), message.body.trim_end());
    assert_eq!(mail.subject(), "[failover home] eth-0: the chain is not finalising");
    assert_eq!(mail.header("Message-ID"), Some("<00000000-0000-0000-0000-000000001234@home.example>"));
    assert_eq!(mail.header("Auto-Submitted"), Some("auto-generated"));
    assert_eq!(mail.header("Date"), Some("Fri, 15 Jan 2027 08:00:00 +0000"));
    assert_eq!(mail.header("From"), Some("failover <failover@home.example>"));
    assert_eq!(mail.header("To"), Some("me@x.example, you@x.example"));
    assert!(mail.header("Content-Type").unwrap().contains("utf-8"));
    assert!(mail.raw.is_ascii(), "no server has to understand eight bits");
}

#[tokio::test]
async fn a_repeated_mail_is_the_same_to_the_byte() {
    let sink = SmtpSink::start().await.unwrap();
    let to = ["me@x.example".to_owned()];
    for _ in 0..2 {
        mailer(&sink, &["me@x.example"]).send(&message(), ID, &to).await;
    }
    let mails = sink.mails();
    assert_eq!(mails[0], mails[1]);
}

#[tokio::test]
async fn a_rejected_recipient_does_not_keep_the_others_from_getting_it() {
    let sink = SmtpSink::start().await.unwrap();
    let everybody = ["bad@x.example", "late@x.example", "good@x.example"];
    let mailer = mailer(&sink, &everybody);
    sink.refuse("bad@x.example", 550);
    sink.refuse("late@x.example", 451);
    let delivery = mailer.send(&message(), ID, &mailer.recipients()).await;
    assert_eq!(delivery.accepted, ["good@x.example"]);
    assert_eq!(names(&delivery.rejected), ["bad@x.example"]);
    assert!(delivery.rejected[0].1.contains("550"), "{delivery:?}");
    assert_eq!(names(&delivery.retry), ["late@x.example"]);
    assert_eq!(sink.mails().len(), 1);
    assert_eq!(sink.mails()[0].to, ["good@x.example"]);
}

#[tokio::test]
async fn a_server_that_was_down_gets_the_mail_once_when_it_is_up_again() {
    let sink = SmtpSink::start().await.unwrap();
    let mailer = mailer(&sink, &["me@x.example"]);
    let mut outgoing = Outgoing::new(notice(), &mailer.recipients(), at(0));
    sink.down().await;
    let mut now = at(0);
    for _ in 0..3 {
        let delivery = mailer.send(&message(), ID, &outgoing.waiting_for).await;
        assert!(delivery.retry[0].1.starts_with("cannot connect to the mail server"), "{delivery:?}");
        assert_eq!(outgoing.settle(&delivery, now), OutboxState::Waiting);
        now = outgoing.next_try_at;
    }
    sink.up().await.unwrap();
    let delivery = mailer.send(&message(), ID, &outgoing.waiting_for).await;
    assert_eq!(outgoing.settle(&delivery, now), OutboxState::Delivered);
    assert_eq!(sink.wait_for(1).await.len(), 1);
}

#[tokio::test]
async fn a_socket_closed_in_one_transaction_does_not_cost_the_next_recipient_the_mail() {
    let sink = SmtpSink::start().await.unwrap();
    let mailer = mailer(&sink, &["first@x.example", "second@x.example"]);
    sink.cut(Cut::AtMail);
    let delivery = mailer.send(&message(), ID, &mailer.recipients()).await;
    assert_eq!(names(&delivery.retry), ["first@x.example"]);
    assert_eq!(delivery.accepted, ["second@x.example"]);
    assert_eq!(sink.mails().len(), 1);
}

#[tokio::test]
async fn a_lost_reply_leads_to_a_second_mail_that_can_be_recognised() {
    let sink = SmtpSink::start().await.unwrap();
    let mailer = mailer(&sink, &["me@x.example"]);
    sink.cut(Cut::ReplyToData);
    let lost = mailer.send(&message(), ID, &mailer.recipients()).await;
    assert_eq!(names(&lost.retry), ["me@x.example"], "what is not known to be taken is not called taken");
    let again = mailer.send(&message(), ID, &mailer.recipients()).await;
    assert_eq!(again.accepted, ["me@x.example"]);
    let ids: Vec<_> = sink.mails().iter().map(|mail| mail.header("Message-ID").unwrap().to_owned()).collect();
    assert_eq!(ids.len(), 2);
    assert_eq!(ids[0], ids[1]);
}

#[tokio::test]
async fn a_server_that_says_nothing_costs_no_more_than_the_timeout() {
    let sink = SmtpSink::start().await.unwrap();
    sink.hang(true);
    let everybody = ["a@x.example", "b@x.example", "c@x.example"];
    let mailer = Mailer::new(MailSettings { timeout: Span::from_millis(200), ..settings(&sink, &everybody) }).unwrap();
    let send = async { mailer.send(&message(), ID, &mailer.recipients()).await };
    let delivery = tokio::time::timeout(Duration::from_secs(20), send).await.expect("it has a deadline");
    assert_eq!(names(&delivery.retry), everybody);
    assert!(delivery.retry[0].1.contains("does not answer within"), "{delivery:?}");
}

#[tokio::test]
async fn a_refused_login_keeps_the_mail_waiting_and_a_new_password_is_read_at_the_next_try() {
    let sink = SmtpSink::start_with_login("fo", "right").await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, "wrong\n").unwrap();
    let login = Login { username: "fo".into(), password_file: SecretFile::new(&file) };
    let mailer = Mailer::new(MailSettings { login: Some(login), ..settings(&sink, &["me@x.example"]) }).unwrap();
    let delivery = mailer.send(&message(), ID, &mailer.recipients()).await;
    assert_eq!(names(&delivery.retry), ["me@x.example"]);
    assert!(delivery.retry[0].1.contains("mail.password_file"), "{delivery:?}");
    assert!(!delivery.retry[0].1.contains("wrong\n"));
    assert_eq!(mailer.check().await[0].state, FindingState::Problem);
    std::fs::write(&file, "right\n").unwrap();
    assert_eq!(mailer.check().await[0].state, FindingState::Ok);
    let delivery = mailer.send(&message(), ID, &mailer.recipients()).await;
    assert_eq!(delivery, Delivery { accepted: vec!["me@x.example".into()], ..Delivery::default() });
}

#[tokio::test]
async fn checking_reaches_the_server_and_sends_nothing() {
    let sink = SmtpSink::start().await.unwrap();
    let mailer = mailer(&sink, &["me@x.example"]);
    let findings = mailer.check().await;
    assert_eq!(findings[0].state, FindingState::Ok, "{findings:?}");
    sink.down().await;
    let findings = mailer.check().await;
    assert_eq!(findings[0].state, FindingState::Problem);
    assert!(findings[0].subject.contains(&sink.address().port().to_string()));
    assert_eq!(sink.mails(), []);
}

#[tokio::test]
async fn without_starttls_nothing_is_said_to_a_server_that_should_have_it() {
    let sink = SmtpSink::start().await.unwrap();
    let mailer = Mailer::new(MailSettings { tls: MailTls::Starttls, ..settings(&sink, &["me@x.example"]) }).unwrap();
    let delivery = mailer.send(&message(), ID, &mailer.recipients()).await;
    assert!(delivery.retry[0].1.contains("does not offer STARTTLS"), "{delivery:?}");
    assert_eq!(sink.mails(), []);
}
