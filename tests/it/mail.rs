//! Mail through the real client over real sockets, to a server that keeps what it is given.

use std::time::Duration;

use failover::{
    adapters::mail::Mailer,
    config::{Login, MailSettings, MailTls, SecretFile},
    domain::{
        Blocker, Context, Delivery, Lines, MailFault, Message, Notice, NoticeKind, OutboxState, Outgoing, Span, Time,
        ValidatorId, render,
    },
    ports::{FindingState, Notifier},
    sandbox::smtp::{Cut, SmtpSink},
};
use uuid::Uuid;

use crate::support::endless::Endless;

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
        taking: Span::from_mins(10),
        runbook: false,
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

/// Who does not have it, if all for the same kind of reason.
fn names(delivery: &Delivery, fault: MailFault) -> Vec<&str> {
    assert!(delivery.refused.iter().all(|refusal| refusal.fault == fault), "{delivery:?}");
    delivery.refused.iter().map(|refusal| refusal.recipient.as_str()).collect()
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
    sink.answer("RCPT TO:<bad@x.example>", "550 5.1.1 no such user");
    sink.answer("RCPT TO:<late@x.example>", "451 4.7.1 greylisted");
    let delivery = mailer.send(&message(), ID, &mailer.recipients()).await;
    assert_eq!(delivery.accepted, ["good@x.example"]);
    let [bad, late] = &delivery.refused[..] else { panic!("{delivery:?}") };
    assert_eq!((bad.recipient.as_str(), bad.fault), ("bad@x.example", MailFault::Recipient));
    assert_eq!(bad.why.as_str(), "550 5.1.1 no such user");
    assert_eq!((late.recipient.as_str(), late.fault), ("late@x.example", MailFault::Passing));
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
        assert!(delivery.refused[0].why.as_str().starts_with("cannot connect to the mail server"), "{delivery:?}");
        assert_eq!(outgoing.settle(&delivery, now), []);
        now = outgoing.next_try_at;
    }
    sink.up().await.unwrap();
    let delivery = mailer.send(&message(), ID, &outgoing.waiting_for).await;
    assert_eq!(outgoing.settle(&delivery, now), []);
    assert_eq!(outgoing.state(), OutboxState::Delivered);
    assert_eq!(sink.wait_for(1).await.len(), 1);
}

#[tokio::test]
async fn a_socket_closed_in_one_transaction_does_not_cost_the_next_recipient_the_mail() {
    let sink = SmtpSink::start().await.unwrap();
    let mailer = mailer(&sink, &["first@x.example", "second@x.example"]);
    sink.cut(Cut::AtMail);
    let delivery = mailer.send(&message(), ID, &mailer.recipients()).await;
    assert_eq!(names(&delivery, MailFault::Passing), ["first@x.example"]);
    assert_eq!(delivery.accepted, ["second@x.example"]);
    assert_eq!(sink.mails().len(), 1);
}

#[tokio::test]
async fn a_lost_reply_leads_to_a_second_mail_that_can_be_recognised() {
    let sink = SmtpSink::start().await.unwrap();
    let mailer = mailer(&sink, &["me@x.example"]);
    sink.cut(Cut::ReplyToData);
    let lost = mailer.send(&message(), ID, &mailer.recipients()).await;
    assert_eq!(names(&lost, MailFault::Unsure), ["me@x.example"], "what is not known to be taken is not called taken");
    let again = mailer.send(&message(), ID, &mailer.recipients()).await;
    assert_eq!(again.accepted, ["me@x.example"]);
    let ids: Vec<_> = sink.mails().iter().map(|mail| mail.header("Message-ID").unwrap().to_owned()).collect();
    assert_eq!(ids.len(), 2);
    assert_eq!(ids[0], ids[1]);
}

/// It filters, or delivers first: by then it has the mail, and whoever gives up sends a second one.
#[tokio::test]
async fn a_server_that_takes_its_time_to_say_that_it_has_a_mail_gets_one_and_keeps_nobody_waiting() {
    let sink = SmtpSink::start().await.unwrap();
    let everybody = ["slow@x.example", "me@x.example", "slow.too@x.example", "you@x.example"];
    let short = MailSettings { timeout: Span::from_millis(300), ..settings(&sink, &everybody) };
    let mailer = Mailer::new(short).unwrap();
    sink.hold("slow@x.example");
    sink.hold("slow.too@x.example");
    let sending = tokio::spawn(async move { mailer.send(&message(), ID, &mailer.recipients()).await });
    let mails = sink.wait_for(4).await;
    assert_eq!(mails.iter().map(|mail| mail.to[0].as_str()).collect::<Vec<_>>(), everybody);
    assert!(!sending.is_finished(), "who has not answered may still do so");
    sink.release();
    let mut delivery = sending.await.unwrap();
    delivery.accepted.sort();
    assert_eq!(delivery.accepted, ["me@x.example", "slow.too@x.example", "slow@x.example", "you@x.example"]);
    assert_eq!((delivery.refused.len(), sink.mails().len()), (0, 4), "nobody has two");
}

#[tokio::test]
async fn a_server_that_never_says_whether_it_has_a_mail_may_have_it() {
    let sink = SmtpSink::start().await.unwrap();
    let (timeout, taking) = (Span::from_millis(300), Span::from_millis(600));
    let short = MailSettings { timeout, taking, ..settings(&sink, &["slow@x.example", "me@x.example"]) };
    let mailer = Mailer::new(short).unwrap();
    sink.hold("slow@x.example");
    let mut outgoing = Outgoing::new(notice(), &mailer.recipients(), at(0));
    let delivery = mailer.send(&message(), ID, &outgoing.due(at(0))).await;
    assert_eq!(delivery.accepted, ["me@x.example"]);
    assert_eq!(names(&delivery, MailFault::Unsure), ["slow@x.example"]);
    assert!(delivery.refused[0].why.as_str().contains("has not said"), "{delivery:?}");
    assert_eq!(outgoing.settle(&delivery, at(0)), []);
    assert_eq!((outgoing.due(at(599)).len(), outgoing.next_try_at), (0, at(600)), "not a copy every ten seconds");
    sink.release();
    let delivery = mailer.send(&message(), ID, &outgoing.due(at(600))).await;
    assert_eq!(outgoing.settle(&delivery, at(600)), []);
    assert_eq!((outgoing.state(), sink.mails().len()), (OutboxState::Delivered, 3));
}

#[tokio::test]
async fn a_server_that_says_nothing_costs_no_more_than_the_timeout() {
    let sink = SmtpSink::start().await.unwrap();
    sink.hang(true);
    let everybody = ["a@x.example", "b@x.example", "c@x.example"];
    let mailer = Mailer::new(MailSettings { timeout: Span::from_millis(200), ..settings(&sink, &everybody) }).unwrap();
    let send = async { mailer.send(&message(), ID, &mailer.recipients()).await };
    let delivery = tokio::time::timeout(Duration::from_secs(20), send).await.expect("it has a deadline");
    assert_eq!(names(&delivery, MailFault::Passing), everybody);
    assert!(delivery.refused[0].why.as_str().contains("does not answer within"), "{delivery:?}");
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
    assert_eq!(names(&delivery, MailFault::Setting), ["me@x.example"]);
    assert!(delivery.refused[0].why.as_str().contains("535 wrong user name or password"), "{delivery:?}");
    assert!(delivery.refused[0].remedy.as_str().contains("mail.password_file"), "{delivery:?}");
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
    assert!(delivery.refused[0].why.as_str().contains("does not offer STARTTLS"), "{delivery:?}");
    assert_eq!(sink.mails(), []);
}

/// What a server says when it is not about this mail or this recipient, and somebody has to mend it or it passes.
#[tokio::test]
async fn what_is_not_about_this_mail_or_recipient_waits_and_arrives_after_the_correction() {
    let rows = [
        ("RCPT", "553 5.7.1 <failover@home.example>: Sender address rejected: not owned", MailFault::Setting, "login"),
        ("RCPT", "554 relay access denied", MailFault::Setting, "login"),
        ("RCPT", "550 mailbox unavailable", MailFault::Setting, "mail.to"),
        ("RCPT", "552 5.2.2 mailbox full", MailFault::Setting, "mailbox"),
        ("RCPT", "452 4.3.1 no space", MailFault::Passing, "passes"),
        ("RCPT", "421 4.7.0 try again later, closing", MailFault::Passing, "sender"),
        ("MAIL", "530 5.7.0 Must issue a STARTTLS command first", MailFault::Setting, "mail.tls"),
        ("MAIL", "550 5.1.8 bad sender", MailFault::Setting, "mail.from"),
        ("DATA", "554 5.5.1 no", MailFault::Setting, "operator"),
        (".", "550 5.7.26 unauthenticated mail", MailFault::Setting, "sender"),
        ("CONNECT", "554 5.7.1 your address is listed", MailFault::Setting, "mail.host"),
        ("CONNECT", "421 too many connections", MailFault::Passing, "passes"),
        ("EHLO", "421 4.3.2 shutting down", MailFault::Passing, "passes"),
    ];
    for (line, reply, fault, remedy) in rows {
        let sink = SmtpSink::start().await.unwrap();
        sink.answer(line, reply);
        let mailer = mailer(&sink, &["me@x.example", "you@x.example"]);
        let mut outgoing = Outgoing::new(notice(), &mailer.recipients(), at(0));
        let delivery = mailer.send(&message(), ID, &outgoing.waiting_for).await;
        assert_eq!(names(&delivery, fault), ["me@x.example", "you@x.example"], "{line}: {reply}");
        assert!(delivery.refused[0].why.as_str().ends_with(reply), "{line}: {delivery:?}");
        assert!(delivery.refused[0].remedy.as_str().contains(remedy), "{line}: {delivery:?}");
        assert_eq!(outgoing.settle(&delivery, at(0)), [], "{line}: {reply}");
        assert_eq!(sink.mails(), []);
        sink.answer_as_usual(line);
        let delivery = mailer.send(&message(), ID, &outgoing.waiting_for).await;
        assert_eq!(outgoing.settle(&delivery, at(10)), []);
        assert_eq!((outgoing.state(), sink.mails().len()), (OutboxState::Delivered, 2), "{line}: {reply}");
    }
}

#[tokio::test]
async fn only_a_mail_that_is_never_taken_is_given_up_at_once() {
    let sink = SmtpSink::start().await.unwrap();
    sink.answer(".", "552 5.3.4 message too big");
    let mailer = mailer(&sink, &["me@x.example"]);
    let mut outgoing = Outgoing::new(notice(), &mailer.recipients(), at(0));
    let delivery = mailer.send(&message(), ID, &outgoing.waiting_for).await;
    assert_eq!(names(&delivery, MailFault::Content), ["me@x.example"]);
    let given_up = outgoing.settle(&delivery, at(0));
    assert_eq!(given_up[0].why.as_str(), "552 5.3.4 message too big");
    assert_eq!(outgoing.state(), OutboxState::Lost);
}

/// Without a line end, and with lines that never end the answer: both are cut off, and the server is named.
#[tokio::test]
async fn a_server_that_never_ends_its_answer_costs_some_kilobytes() {
    for begin in ["220 ", "220-"] {
        let line = if begin == "220-" { "220-a line that is not the last\r\n" } else { "aaaaaaaa" };
        let server = Endless::start(begin, line).await;
        let port = server.address().port();
        let settings = MailSettings {
            host: "127.0.0.1".into(),
            port,
            tls: MailTls::None,
            ca_file: None,
            login: None,
            from: "failover@home.example".into(),
            to: vec!["me@x.example".into()],
            timeout: Span::from_secs(60),
            taking: Span::from_mins(10),
            runbook: false,
        };
        let mailer = Mailer::new(settings).unwrap();
        let delivery = mailer.send(&message(), ID, &mailer.recipients()).await;
        assert_eq!(names(&delivery, MailFault::Passing), ["me@x.example"], "{begin}");
        let why = delivery.refused[0].why.as_str();
        assert!(why.contains("127.0.0.1") && (why.contains("larger than") || why.contains("too large")), "{why}");
        server.assert_bounded(64 << 10).await;
    }
}
