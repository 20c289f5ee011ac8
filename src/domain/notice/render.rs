//! The words of a notice: subject and body, plain text that reads well on a phone.
//!
//! The order is always the same: what happened and what to do, then the evidence, then the exact next command.

use super::{Notice, NoticeKind, layout::Body};
use crate::domain::{Time, Usd, ValidatorId, clock, one_line, visible};

/// Far more than a mail program shows of a subject, and far less than a header may have.
const SUBJECT: usize = 400;

/// What the words need beside the notice itself.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The configured name of this home: several homes may write to one mailbox.
    pub site: &'a str,
    /// How the operator calls the program, for example `failover` or
    /// `kubectl -n failover exec deploy/failover -- failover`.
    pub cli: &'a str,
}

/// A mail without addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub subject: String,
    /// Plain text, lines ending in `\n`.
    pub body: String,
    /// The mail's `Date`: the notice's, so that a repetition is the same mail to the byte.
    pub at: Time,
}

/// Writes the mail for a notice. The same notice always gives the same mail.
#[must_use]
pub fn render(notice: &Notice, context: &Context<'_>) -> Message {
    let mut writer = Writer { notice, context, body: Body::default() };
    let subject = writer.write();
    let mut facts = vec![("Site", context.site.to_owned()), ("Validator", notice.validator.to_string())];
    facts.extend(notice.incident.map(|incident| ("Incident", incident.to_string())));
    facts.push(("Written", clock(notice.at)));
    facts.extend(notice.first_at.map(|first_at| ("Reminder", format!("first reported {}", clock(first_at)))));
    writer.body.facts(&facts);
    let still = if notice.first_at.is_some() { "still: " } else { "" };
    let subject = format!("[failover {}] {}: {still}{subject}", context.site, notice.validator);
    Message { subject: one_line(&subject, SUBJECT), body: visible(&writer.body.finish()), at: notice.at }
}

/// Each group of notices adds its own words to it.
pub(super) struct Writer<'a> {
    pub(super) notice: &'a Notice,
    context: &'a Context<'a>,
    pub(super) body: Body,
}

impl<'a> Writer<'a> {
    /// Writes the body and returns the subject's last part.
    fn write(&mut self) -> String {
        match &self.notice.kind {
            NoticeKind::Outage(outage) => self.outage(outage),
            NoticeKind::Blocked(blocker) => self.blocked(blocker),
            NoticeKind::Failure(failure) => self.failure(failure),
            NoticeKind::Standby(standby) => self.standby(standby),
            NoticeKind::DecisionNeeded(decision) => self.decision(decision),
            NoticeKind::Over(over) => self.over(over),
            NoticeKind::Runbook(runbook) => self.runbook(runbook),
            NoticeKind::Promotion(promotion) => self.promotion(promotion),
        }
    }

    pub(super) fn id(&self) -> &'a ValidatorId {
        &self.notice.validator
    }

    pub(super) fn evidence(&mut self) {
        self.body.list("What is known:", self.notice.evidence.iter());
    }

    pub(super) fn next(&mut self, purpose: &str, command: &str) {
        self.body.command(purpose, &format!("{} {command}", self.context.cli));
    }
}

pub(super) const SIMULATED: &str = "Simulated: the start-up bundle of this standby is a placeholder. It follows no chain and \
                         could not take over.";

/// An amount as people write it, to the cent; nobody acts on less.
pub(super) fn usd(amount: Usd) -> String {
    format!("${:.2}", amount.0)
}
