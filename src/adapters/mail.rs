//! Mail over SMTP: one session for each notice, one transaction for each recipient.
//!
//! It keeps no queue and repeats nothing: what was not taken is reported, and [`crate::domain::Outgoing`] keeps it. No
//! connection is held between mails, because mail is rare and a renewed password or certificate should simply work.

use std::time::Duration;

use async_trait::async_trait;
use futures::future::{BoxFuture, join_all};
use lettre::{
    Address, Message as Mime,
    message::{
        Mailbox,
        header::{ContentType, Header, HeaderName, HeaderValue},
    },
    transport::smtp::{
        Error as SmtpError,
        client::AsyncSmtpConnection,
        commands::{Data, Mail, Rcpt, Rset},
    },
};
use uuid::Uuid;

use crate::{
    config::{MailSettings, MailTls},
    domain::{Delivery, MailFault, Message, Refusal, one_line},
    ports::{Finding, Notifier},
};

mod reply;
mod session;
mod wire;

use reply::{Reply, SmtpStage};
use session::SessionError;

/// Sends notices through the configured SMTP server.
#[derive(Debug)]
pub struct Mailer {
    settings: MailSettings,
    from: Mailbox,
    timeout: Duration,
    taking: Duration,
}

/// Why the settings cannot be used for mail.
#[derive(Debug, thiserror::Error)]
pub enum MailError {
    #[error("'{0}' is not a mail address")]
    Address(String),
    #[error("the timeout of mail has to be positive")]
    Timeout,
}

/// How one transaction ended for one recipient.
enum Taken<'a> {
    /// The server has taken responsibility for it.
    Yes(AsyncSmtpConnection),
    No(No, AsyncSmtpConnection),
    /// It has all of the mail and has not answered yet.
    Late(BoxFuture<'a, Result<(), Trouble>>),
}

struct No {
    trouble: Trouble,
    /// The session can still be used.
    usable: bool,
}

struct Trouble {
    fault: MailFault,
    why: String,
    remedy: &'static str,
}

impl Trouble {
    fn of(self, recipient: &str) -> Refusal {
        let Self { fault, why, remedy } = self;
        Refusal { recipient: recipient.to_owned(), fault, why: why.into(), remedy: remedy.into() }
    }

    /// The server had the whole mail. Two copies have the same `Message-ID`.
    fn unsure(why: String) -> Self {
        let remedy = "look into the log of the mail server: it may have the mail, and each later try may be a copy";
        Self { fault: MailFault::Unsure, why, remedy }
    }

    fn silence(timeout: Duration) -> Self {
        let remedy = "nothing, if it passes; else ask the operator of the mail server";
        Self { fault: MailFault::Passing, why: format!("the mail server does not answer within {timeout:?}"), remedy }
    }
}

impl Mailer {
    /// Takes the settings. Nothing is opened or read yet.
    ///
    /// # Errors
    /// [`MailError`] names the address or the timeout that cannot be used.
    pub fn new(settings: MailSettings) -> Result<Self, MailError> {
        let from: Mailbox = settings.from.parse().map_err(|_| MailError::Address(settings.from.clone()))?;
        for to in &settings.to {
            to.parse::<Address>().map_err(|_| MailError::Address(to.clone()))?;
        }
        let positive = |span| Duration::try_from(span).ok().filter(|span| !span.is_zero()).ok_or(MailError::Timeout);
        let (timeout, taking) = (positive(settings.timeout)?, positive(settings.taking)?);
        Ok(Self { settings, from, timeout, taking })
    }

    /// The mail as it goes over the wire: the same bytes for the same notice, whenever it is sent.
    fn mime(&self, message: &Message, id: Uuid) -> Result<Vec<u8>, String> {
        let mut builder = Mime::builder()
            .from(self.from.clone())
            .subject(&message.subject)
            .date(message.at.into())
            .message_id(Some(format!("<{id}@{}>", self.from.email.domain())))
            .header(AutoSubmitted)
            .header(ContentType::TEXT_PLAIN);
        for to in &self.settings.to {
            builder = builder.to(to.parse().map_err(|_| format!("'{to}' is not a mail address"))?);
        }
        let mime = builder.body(message.body.clone()).map_err(|error| format!("cannot be written as mail: {error}"))?;
        Ok(mime.formatted())
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection, SessionError> {
        session::open(&self.settings, self.timeout).await
    }

    /// Names the sender and the recipient; what begins every transaction.
    async fn envelope(&self, session: &mut AsyncSmtpConnection, to: &Address) -> Result<(), No> {
        let from = Mail::new(Some(self.from.email.clone()), vec![]);
        session.command(from).await.map_err(|error| refusal(&error, SmtpStage::Sender))?;
        let rcpt = Rcpt::new(to.clone(), vec![]);
        session.command(rcpt).await.map_err(|error| refusal(&error, SmtpStage::Recipient))?;
        Ok(())
    }

    /// One transaction. A refusal of the recipient leaves the session usable for the next one. Once the server has the whole
    /// mail it has longer to answer, and nobody else waits for that.
    async fn transact<'a>(&self, mut session: AsyncSmtpConnection, to: &Address, mime: &'a [u8]) -> Taken<'a> {
        let begin = async {
            self.envelope(&mut session, to).await?;
            session.command(Data).await.map(drop).map_err(|error| refusal(&error, SmtpStage::Data))
        };
        let begun = tokio::time::timeout(self.timeout, begin).await;
        if let Err(no) = begun.unwrap_or_else(|_| Err(No { trouble: Trouble::silence(self.timeout), usable: false })) {
            return Taken::No(no, session);
        }
        let mut taking = Box::pin(async move {
            let answer = session.message(mime).await;
            (session, answer)
        });
        let (timeout, most) = (self.timeout, self.taking);
        let until = tokio::time::Instant::now() + most;
        match tokio::time::timeout(timeout.min(most), &mut taking).await {
            Ok((session, Ok(_))) => Taken::Yes(session),
            Ok((session, Err(error))) => Taken::No(not_taken(&error), session),
            Err(_) => Taken::Late(Box::pin(async move {
                match tokio::time::timeout_at(until, taking).await {
                    Ok((session, Ok(_))) => {
                        close(session, timeout).await;
                        Ok(())
                    }
                    Ok((_, Err(error))) => Err(not_taken(&error).trouble),
                    Err(_) => Err(Trouble::unsure(format!(
                        "the mail server had the whole mail and has not said within {most:?} whether it takes it"
                    ))),
                }
            })),
        }
    }

    /// Begins a transaction for this recipient and takes it back: what would be refused on the day is refused now.
    async fn check_recipient(&self, to: &str) -> Finding {
        let subject = format!("mail to {to}");
        let Ok(address) = to.parse::<Address>() else {
            return Finding::problem(subject, "not a mail address", "correct `mail.to`");
        };
        let mut session = match self.connect().await {
            Ok(session) => session,
            Err(error) => return Finding::unknown(subject, error.to_string(), error.remedy()),
        };
        let begun = tokio::time::timeout(self.timeout, self.envelope(&mut session, &address)).await;
        close(session, self.timeout).await;
        match begun.unwrap_or_else(|_| Err(No { trouble: Trouble::silence(self.timeout), usable: false })) {
            Ok(()) => Finding::ok(subject, "sender and recipient are taken; nothing was sent"),
            Err(No { trouble, .. }) => match trouble.fault {
                MailFault::Passing | MailFault::Unsure => Finding::unknown(subject, trouble.why, trouble.remedy),
                MailFault::Setting | MailFault::Recipient | MailFault::Content => {
                    Finding::problem(subject, trouble.why, trouble.remedy)
                }
            },
        }
    }

    async fn check_server(&self) -> Result<String, SessionError> {
        let mut session = self.connect().await?;
        let secured = if self.settings.tls == MailTls::None { "not encrypted" } else { "encrypted" };
        let login = if self.settings.login.is_some() { "logged in" } else { "without a login" };
        let answers = tokio::time::timeout(self.timeout, session.test_connected()).await.unwrap_or(false);
        close(session, self.timeout).await;
        if answers { Ok(format!("answers, {secured}, {login}")) } else { Err(SessionError::NoAnswer(self.timeout)) }
    }
}

#[async_trait]
impl Notifier for Mailer {
    fn recipients(&self) -> Vec<String> {
        self.settings.to.clone()
    }

    async fn send(&self, message: &Message, id: Uuid, to: &[String]) -> Delivery {
        let mut delivery = Delivery::default();
        let mime = match self.mime(message, id) {
            Ok(mime) => mime,
            Err(why) => {
                let trouble = || Trouble { fault: MailFault::Setting, why: why.clone(), remedy: "correct `mail.to`" };
                delivery.refused.extend(to.iter().map(|to| trouble().of(to)));
                return delivery;
            }
        };
        let (mut open, mut late) = (None, Vec::new());
        for (index, recipient) in to.iter().enumerate() {
            let Ok(address) = recipient.parse::<Address>() else {
                let (fault, why) = (MailFault::Recipient, "not a mail address".to_owned());
                delivery.refused.push(Trouble { fault, why, remedy: "correct `mail.to`" }.of(recipient));
                continue;
            };
            let session = match open.take() {
                Some(session) => session,
                None => match self.connect().await {
                    Ok(session) => session,
                    // Without a server there is none for the others either; asking again would only take as long again.
                    Err(error) => {
                        let trouble = || Trouble { fault: error.fault(), why: said(&error), remedy: error.remedy() };
                        delivery.refused.extend(to[index..].iter().map(|to| trouble().of(to)));
                        break;
                    }
                },
            };
            match self.transact(session, &address, &mime).await {
                Taken::Yes(session) => {
                    delivery.accepted.push(recipient.clone());
                    open = Some(session);
                }
                Taken::No(No { trouble, usable }, session) => {
                    delivery.refused.push(trouble.of(recipient));
                    open = if usable { reset(session, self.timeout).await } else { None };
                }
                Taken::Late(answer) => late.push(async move { (recipient, answer.await) }),
            }
        }
        if let Some(session) = open {
            close(session, self.timeout).await;
        }
        for (recipient, answer) in join_all(late).await {
            match answer {
                Ok(()) => delivery.accepted.push(recipient.clone()),
                Err(trouble) => delivery.refused.push(trouble.of(recipient)),
            }
        }
        delivery
    }

    async fn check(&self) -> Vec<Finding> {
        let subject = format!("mail server {}:{}", self.settings.host, self.settings.port);
        match self.check_server().await {
            Ok(detail) => {
                let mut findings = vec![Finding::ok(subject, detail)];
                for to in &self.settings.to {
                    findings.push(self.check_recipient(to).await);
                }
                findings
            }
            Err(error) => vec![Finding::problem(subject, error.to_string(), error.remedy())],
        }
    }
}

/// Ends a transaction that the server has refused, so that the session can be used for the next recipient.
async fn reset(mut session: AsyncSmtpConnection, timeout: Duration) -> Option<AsyncSmtpConnection> {
    match tokio::time::timeout(timeout, session.command(Rset)).await {
        Ok(Ok(_)) => Some(session),
        Ok(Err(_)) | Err(_) => None,
    }
}

/// Says goodbye. What the server has taken it keeps, so an error here changes nothing.
async fn close(mut session: AsyncSmtpConnection, timeout: Duration) {
    let _ = tokio::time::timeout(timeout, session.quit()).await;
}

/// The server's own words are in it, of as many lines as it likes.
fn said(error: &dyn std::error::Error) -> String {
    one_line(&error.to_string(), 400)
}

fn refusal(error: &SmtpError, stage: SmtpStage) -> No {
    let Some(reply) = Reply::of(error) else {
        let remedy = "nothing, if it passes; else look what is between this machine and the mail server";
        return No { trouble: Trouble { fault: MailFault::Passing, why: said(error), remedy }, usable: false };
    };
    let (fault, remedy) = reply.meaning(stage);
    No { trouble: Trouble { fault, why: reply.to_string(), remedy }, usable: !reply.closes() }
}

/// After the whole mail: only an answer says that the server does not have it.
fn not_taken(error: &SmtpError) -> No {
    match Reply::of(error) {
        Some(_) => refusal(error, SmtpStage::Data),
        None => No { trouble: Trouble::unsure(said(error)), usable: false },
    }
}

/// `Auto-Submitted: auto-generated` (RFC 3834): nobody's holiday note answers to a machine.
#[derive(Clone)]
struct AutoSubmitted;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "auto-generated".into())
    }
}
