//! What a mail server's reply means for a notice: one table of reply codes (RFC 5321) and enhanced codes (RFC 3463).
//!
//! **Invariant:** final is only what says plainly that this recipient does not exist or that this content is never taken.
//! Servers say 550 and 553 of the sender, of a login, of a policy and of their own trouble as well, so a code that does not
//! say whose it is counts as a setting, which somebody can mend.

use crate::domain::{MailFault, one_line};

/// Where in a transaction the server said it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SmtpStage {
    /// MAIL FROM: of the sender, whatever the code says.
    Sender,
    /// RCPT TO
    Recipient,
    /// DATA, and after the mail itself.
    Data,
}

/// A reply that is no yes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reply {
    code: u16,
    /// Subject and detail of the enhanced code, if the text begins with one of the same class.
    enhanced: Option<(u16, u16)>,
    text: String,
}

const SENDER: &str = "correct `mail.from`, or let the mail server take that sender";
const RECIPIENT: &str = "correct `mail.to`, or make that mailbox";
const LOGIN: &str = "correct `mail.tls`, `mail.username` and `mail.password_file` by what the server says";
const SERVER: &str = "nothing, if it passes; else ask the operator of the mail server";
const POLICY: &str =
    "change what the server says, here or there: it refuses the sender, the login or this machine's address";
const MAILBOX: &str = "make room in that mailbox, or open it again";
const CONTENT: &str = "look into `failover journal`: the server never takes this mail; change its limits or its filter";

impl Reply {
    /// Of the error that the client makes of a reply; `None` if the server has said nothing.
    pub(super) fn of(error: &lettre::transport::smtp::Error) -> Option<Self> {
        let code = u16::from(error.status()?);
        let text = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
        Some(Self::new(code, &text))
    }

    pub(super) fn new(code: u16, text: &str) -> Self {
        Self { code, enhanced: enhanced(code, text), text: one_line(text, 300) }
    }

    /// 4yz: a transient negative reply.
    pub(super) fn may_pass(&self) -> bool {
        self.code < 500
    }

    /// 421 announces that the server closes the session (RFC 5321, 3.8).
    pub(super) fn closes(&self) -> bool {
        self.code == 421
    }

    /// The table.
    pub(super) fn meaning(&self, stage: SmtpStage) -> (MailFault, &'static str) {
        use MailFault::{Content, Passing, Recipient, Setting};
        use SmtpStage as At;
        match (stage, self.code, self.enhanced) {
            (_, ..=499, Some((7, _))) => (Passing, POLICY),
            (_, ..=499, _) => (Passing, SERVER),
            // Size and form of the mail: 5.2.3 and 5.3.4 too long, 5.6.x media that it does not support.
            (_, _, Some((2, 3) | (3, 4) | (6, _))) => (Content, CONTENT),
            (_, 530 | 534 | 535 | 538, _) | (_, _, Some((7, 8..=14))) => (Setting, LOGIN),
            (At::Sender, _, _) | (_, _, Some((1, 7..=9))) => (Setting, SENDER),
            // No such mailbox, no such domain, no address, moved away, a domain that takes no mail.
            (At::Recipient | At::Data, _, Some((1, 1..=4 | 6 | 10))) => (Recipient, RECIPIENT),
            // The same by a reply code of its own: RFC 7504.
            (At::Recipient, 556, None) => (Recipient, RECIPIENT),
            (_, 552, None) | (_, _, Some((2, _))) => (Setting, MAILBOX),
            (_, _, Some((7, _))) => (Setting, POLICY),
            (_, _, Some((3..=5, _))) => (Setting, SERVER),
            (At::Recipient, 550 | 551 | 553, None) | (_, _, Some((1, _))) => (Setting, RECIPIENT),
            (At::Recipient | At::Data, _, _) => (Setting, POLICY),
        }
    }
}

impl std::fmt::Display for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.code, self.text)
    }
}

fn enhanced(code: u16, text: &str) -> Option<(u16, u16)> {
    let mut parts = text.split_whitespace().next()?.splitn(3, '.');
    let class: u16 = parts.next()?.parse().ok()?;
    let (subject, detail) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    (class == code / 100).then_some((subject, detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_of_the_table_is_what_servers_mean_by_it() {
        use MailFault::{Content, Passing, Recipient, Setting};
        use SmtpStage as At;
        let rows = [
            (At::Recipient, "450 4.2.0 Greylisted, try again", Passing, SERVER),
            (At::Recipient, "451 4.7.1 try later", Passing, POLICY),
            (At::Recipient, "452 4.3.1 Insufficient system storage", Passing, SERVER),
            (At::Data, "452 out of space", Passing, SERVER),
            (At::Recipient, "421 4.7.0 Try again later, closing connection.", Passing, POLICY),
            (At::Sender, "451 4.3.0 Temporary lookup failure", Passing, SERVER),
            (At::Sender, "553 5.7.1 <f@x>: Sender address rejected: not owned by user f@x", Setting, SENDER),
            (At::Recipient, "553 5.7.1 <f@x>: Sender address rejected: not owned by user f@x", Setting, POLICY),
            (At::Sender, "550 5.1.1 no such user", Setting, SENDER),
            (At::Recipient, "550 5.1.7 bad sender's address", Setting, SENDER),
            (At::Recipient, "550 5.1.8 bad sender's system", Setting, SENDER),
            (At::Sender, "530 5.7.0 Must issue a STARTTLS command first", Setting, LOGIN),
            (At::Recipient, "530 log in first", Setting, LOGIN),
            (At::Sender, "535 5.7.8 Authentication credentials invalid", Setting, LOGIN),
            (At::Sender, "550 5.7.11 encryption required", Setting, LOGIN),
            (At::Recipient, "550 5.1.1 <me@x>: Recipient address rejected: User unknown", Recipient, RECIPIENT),
            (At::Recipient, "550 5.1.2 no such domain", Recipient, RECIPIENT),
            (At::Recipient, "501 5.1.3 bad syntax", Recipient, RECIPIENT),
            (At::Recipient, "551 5.1.6 moved", Recipient, RECIPIENT),
            (At::Recipient, "556 5.1.10 null MX", Recipient, RECIPIENT),
            (At::Recipient, "556 takes no mail", Recipient, RECIPIENT),
            (At::Data, "550 5.1.1 no such user, found late", Recipient, RECIPIENT),
            (At::Recipient, "550 5.1.0 address rejected", Setting, RECIPIENT),
            (At::Recipient, "550 mailbox unavailable", Setting, RECIPIENT),
            (At::Recipient, "550 relay not permitted", Setting, RECIPIENT),
            (At::Recipient, "553 mailbox name not allowed", Setting, RECIPIENT),
            (At::Recipient, "554 5.7.1 <me@x>: Relay access denied", Setting, POLICY),
            (At::Recipient, "554 relay access denied", Setting, POLICY),
            (At::Recipient, "550 5.2.1 mailbox disabled", Setting, MAILBOX),
            (At::Recipient, "552 5.2.2 mailbox full", Setting, MAILBOX),
            (At::Data, "552 exceeded storage allocation", Setting, MAILBOX),
            (At::Data, "554 5.3.0 other system trouble", Setting, SERVER),
            (At::Recipient, "550 5.4.1 recipient address rejected: access denied", Setting, SERVER),
            (At::Data, "554 5.5.1 no valid recipients", Setting, SERVER),
            (At::Recipient, "503 5.5.1 bad sequence", Setting, SERVER),
            (At::Data, "550 5.7.26 unauthenticated sender", Setting, POLICY),
            (At::Data, "554 5.7.1 message looks like spam", Setting, POLICY),
            (At::Data, "554 transaction failed", Setting, POLICY),
            (At::Sender, "552 5.3.4 message size exceeds the limit", Content, CONTENT),
            (At::Data, "552 5.2.3 message too long for this mailbox", Content, CONTENT),
            (At::Data, "554 5.6.0 malformed message", Content, CONTENT),
            // An enhanced code of another class is no enhanced code (RFC 2034, 4).
            (At::Recipient, "550 4.1.1 which of the two?", Setting, RECIPIENT),
        ];
        for (stage, line, fault, remedy) in rows {
            let (code, text) = line.split_once(' ').unwrap();
            let reply = Reply::new(code.parse().unwrap(), text);
            assert_eq!(reply.meaning(stage), (fault, remedy), "{stage:?}: {line}");
            assert_eq!(reply.to_string(), line);
        }
    }

    /// Whatever a server makes up, only what is listed above gives a mail up.
    #[test]
    fn no_code_gives_up_more_than_it_says() {
        for (code, subject, detail) in (400..=599)
            .flat_map(|code| (0..=9).map(move |s| (code, s, 0..=99)))
            .flat_map(|(code, subject, details)| details.map(move |detail| (code, subject, detail)))
        {
            let reply = Reply::new(code, &format!("{}.{subject}.{detail} x", code / 100));
            let (fault, _) = reply.meaning(SmtpStage::Recipient);
            let is_final = matches!(fault, MailFault::Recipient | MailFault::Content);
            let may_be = code >= 500 && matches!((subject, detail), (1, 1..=4 | 6 | 10) | (2, 3) | (3, 4) | (6, _));
            assert!(!is_final || may_be, "{code} {subject}.{detail} is {fault:?}");
        }
    }
}
