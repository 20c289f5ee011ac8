//! Mail over SMTP: one session for each notice, one transaction for each recipient.
//!
//! It keeps no queue and repeats nothing: what was not taken is reported, and [`crate::domain::Outgoing`] keeps it. No
//! connection is held between mails, because mail is rare and a renewed password or certificate should simply work.

use std::time::Duration;

use async_trait::async_trait;
use lettre::{
    Address, Message as Mime,
    message::{
        Mailbox,
        header::{ContentType, Header, HeaderName, HeaderValue},
    },
    transport::smtp::{
        client::AsyncSmtpConnection,
        commands::{Data, Mail, Rcpt, Rset},
    },
};
use uuid::Uuid;

use crate::{
    config::MailSettings,
    domain::{Delivery, Message, one_line},
    ports::{Finding, Notifier},
};

mod session;

use session::SessionError;

/// Sends notices through the configured SMTP server.
#[derive(Debug)]
pub struct Mailer {
    settings: MailSettings,
    from: Mailbox,
    timeout: Duration,
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
enum Taken {
    /// The server has taken responsibility for it.
    Yes,
    /// It never will (5xx to this recipient or to this content).
    Never(String),
    /// Not now; the session is still usable.
    NotNow(String),
    /// Not now, and the session is broken: whether the server has it may be unknown. The `Message-ID` tells them apart.
    Broken(String),
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
        let timeout = Duration::try_from(settings.timeout).map_err(|_| MailError::Timeout)?;
        if timeout.is_zero() {
            return Err(MailError::Timeout);
        }
        Ok(Self { settings, from, timeout })
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
    async fn envelope(&self, session: &mut AsyncSmtpConnection, to: &Address) -> Result<(), Taken> {
        // A refused sender is the operator's setting, not the recipient's fault: it can be corrected, so it waits.
        let from = Mail::new(Some(self.from.email.clone()), vec![]);
        session.command(from).await.map_err(|error| not_now(&error))?;
        session.command(Rcpt::new(to.clone(), vec![])).await.map_err(|error| refusal(&error))?;
        Ok(())
    }

    /// One transaction. A refusal of the recipient leaves the session usable for the next one.
    async fn transact(&self, session: &mut AsyncSmtpConnection, to: &Address, mime: &[u8]) -> Taken {
        let transaction = async {
            if let Err(taken) = self.envelope(session, to).await {
                return taken;
            }
            if let Err(error) = session.command(Data).await {
                return refusal(&error);
            }
            match session.message(mime).await {
                Ok(_) => Taken::Yes,
                Err(error) => refusal(&error),
            }
        };
        match tokio::time::timeout(self.timeout, transaction).await {
            Ok(taken) => taken,
            Err(_) => Taken::Broken(format!("no answer within {:?}", self.timeout)),
        }
    }

    /// Begins a transaction for this recipient and takes it back: what would be refused on the day is refused now.
    async fn check_recipient(&self, to: &str) -> Finding {
        let subject = format!("mail to {to}");
        let remedy = "correct `mail.from` or this address in `mail.to` by what the server says, or ask its operator";
        let Ok(address) = to.parse::<Address>() else {
            return Finding::problem(subject, "not a mail address", remedy);
        };
        let mut session = match self.connect().await {
            Ok(session) => session,
            Err(error) => return Finding::unknown(subject, error.to_string(), error.remedy()),
        };
        let begun = tokio::time::timeout(self.timeout, self.envelope(&mut session, &address)).await;
        close(session, self.timeout).await;
        match begun {
            Ok(Ok(())) => Finding::ok(subject, "sender and recipient are taken; nothing was sent"),
            Ok(Err(Taken::Never(why))) => Finding::problem(subject, why, remedy),
            Ok(Err(Taken::NotNow(why) | Taken::Broken(why))) => Finding::unknown(subject, why, remedy),
            Ok(Err(Taken::Yes)) => Finding::unknown(subject, "the server has taken a mail that was not sent", remedy),
            Err(_) => Finding::unknown(subject, format!("no answer within {:?}", self.timeout), remedy),
        }
    }

    async fn check_server(&self) -> Result<String, SessionError> {
        let mut session = self.connect().await?;
        let secured = if session.is_encrypted() { "encrypted" } else { "not encrypted" };
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
                delivery.retry.extend(to.iter().map(|to| (to.clone(), why.clone())));
                return delivery;
            }
        };
        let mut open = None;
        for (index, recipient) in to.iter().enumerate() {
            let Ok(address) = recipient.parse::<Address>() else {
                delivery.rejected.push((recipient.clone(), "not a mail address".into()));
                continue;
            };
            let mut session = match open.take() {
                Some(session) => session,
                None => match self.connect().await {
                    Ok(session) => session,
                    // Without a server there is none for the others either; asking again would only take as long again.
                    Err(error) => {
                        let why = said(&error);
                        delivery.retry.extend(to[index..].iter().map(|to| (to.clone(), why.clone())));
                        return delivery;
                    }
                },
            };
            match self.transact(&mut session, &address, &mime).await {
                Taken::Yes => {
                    delivery.accepted.push(recipient.clone());
                    open = Some(session);
                }
                Taken::Never(why) => {
                    delivery.rejected.push((recipient.clone(), why));
                    open = reset(session, self.timeout).await;
                }
                Taken::NotNow(why) => {
                    delivery.retry.push((recipient.clone(), why));
                    open = reset(session, self.timeout).await;
                }
                Taken::Broken(why) => delivery.retry.push((recipient.clone(), why)),
            }
        }
        if let Some(session) = open {
            close(session, self.timeout).await;
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

fn refusal(error: &lettre::transport::smtp::Error) -> Taken {
    if error.is_permanent() { Taken::Never(said(error)) } else { not_now(error) }
}

fn not_now(error: &lettre::transport::smtp::Error) -> Taken {
    // 421 announces that the server closes the session.
    let closing = error.status().is_some_and(|code| u16::from(code) == 421);
    match error.status() {
        Some(_) if !closing => Taken::NotNow(said(error)),
        Some(_) | None => Taken::Broken(said(error)),
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
