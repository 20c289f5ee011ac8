//! The mail section.

use lettre::{Address, message::Mailbox};

use super::{Checker, Login, MailSettings, Unique, is_loopback};
use crate::{
    config::written::{Mail, MailTls},
    domain::Span,
};

impl Checker<'_> {
    pub(super) fn mail(&mut self, written: &Mail) -> MailSettings {
        if written.host.trim().is_empty() || written.host.contains(['/', ':', '@', ' ']) && !is_loopback(&written.host)
        {
            self.wrong(
                written.host.place,
                "mail.host has to be the name of the mail server alone; its port is mail.port",
            );
        }
        if written.tls.value == MailTls::None && !is_loopback(&written.host) {
            self.wrong(
                written.tls.place,
                format!("mail.tls is none, but {} is another machine: use starttls or tls", written.host.value),
            );
        }
        let ca_file = written.ca_file.as_ref().map(|file| {
            if written.tls.value == MailTls::None {
                self.wrong(file.place, "mail.ca_file is of no use with 'tls: none': remove one of them");
            }
            self.ca_file(file, "mail.ca_file")
        });
        if written.from.parse::<Mailbox>().is_err() {
            self.wrong(written.from.place, format!("'{}' is not a mail address", written.from.value));
        }
        if written.to.is_empty() {
            self.wrong(written.to.place, "mail.to is empty: name at least one address");
        }
        let mut seen = Unique::default();
        for to in &written.to.value {
            seen.take(self, &to.value, to.place, "recipient");
            if to.parse::<Address>().is_err() {
                self.wrong(to.place, format!("'{}' is not a plain mail address like me@example.org", to.value));
            }
        }
        let login = match (&written.username, &written.password_file) {
            (None, None) => None,
            (Some(username), Some(file)) => {
                let password_file = self.secret(&file.value, file.place);
                Some(Login { username: username.value.clone(), password_file })
            }
            (Some(username), None) => {
                self.wrong(username.place, "mail.username needs mail.password_file beside it");
                None
            }
            (None, Some(file)) => {
                self.wrong(file.place, "mail.password_file needs mail.username beside it");
                None
            }
        };
        let port = written.port.as_ref().map_or_else(|| default_port(written.tls.value), |port| port.value);
        if let Some(port) = written.port.as_ref().filter(|port| port.value == 0) {
            self.wrong(port.place, "mail.port cannot be 0");
        }
        MailSettings {
            host: written.host.value.clone(),
            port,
            tls: written.tls.value,
            ca_file,
            login,
            from: written.from.value.clone(),
            to: written.to.value.iter().map(|to| to.value.clone()).collect(),
            timeout: written.timeout.span(),
            taking: TAKING,
            runbook: written.runbook.value,
        }
    }
}

/// RFC 5321, 4.5.3.2.6: a server that filters or delivers before it answers has the mail already, and one that gives up
/// earlier sends a second one.
const TAKING: Span = Span::from_mins(10);

/// What mail servers listen on (RFC 8314, RFC 5321).
fn default_port(tls: MailTls) -> u16 {
    match tls {
        MailTls::Starttls => 587,
        MailTls::Tls => 465,
        MailTls::None => 25,
    }
}
