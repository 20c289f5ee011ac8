//! The words of a notice: subject and body, plain text that reads well on a phone.
//!
//! The order is always the same: what happened and what to do, then the evidence, then the exact next command.

use super::{Bill, Lines, Notice, NoticeKind, layout::Body};
use crate::domain::{InstanceRef, Span, Time, Usd, clock, human, one_line};

mod plan;
mod trouble;

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
    Message { subject: one_line(&subject, SUBJECT), body: writer.body.finish(), at: notice.at }
}

struct Writer<'a> {
    notice: &'a Notice,
    context: &'a Context<'a>,
    body: Body,
}

impl Writer<'_> {
    /// Writes the body and returns the subject's last part.
    fn write(&mut self) -> String {
        let id = &self.notice.validator;
        match &self.notice.kind {
            NoticeKind::SuspectedTooLong { since, evidence } => self.suspected(*since, evidence),
            NoticeKind::Confirmed { since, evidence, plan, opened_by } => {
                let who = opened_by.as_ref().map(|by| format!("Opened by {by}."));
                let what = self.plan(&format!("{id} is down."), plan);
                self.body.facts(&[("Suspected since", clock(*since))]);
                self.evidence(evidence);
                if let Some(who) = who {
                    self.body.say(&who);
                }
                self.plan_next(plan);
                format!("down, {what}")
            }
            NoticeKind::SiteOutage { down, of, plan } => {
                let what = self.plan(&format!("The whole site seems to be down, {id} with it."), plan);
                self.body.list(&format!("Down together, of {of} watched:"), down.iter());
                self.plan_next(plan);
                format!("site outage, {what}")
            }
            NoticeKind::StandbyReady { instance, per_hour, fuse_at, evidence, simulated } => {
                self.ready(instance, *per_hour, *fuse_at, evidence, *simulated)
            }
            NoticeKind::DecisionNeeded { attention, instance, per_hour, evidence } => {
                self.decision(attention, instance.as_ref(), *per_hour, evidence)
            }
            NoticeKind::Failure { failed, detail, retry_at } => self.failure(*failed, detail.as_str(), *retry_at),
            NoticeKind::Money(money) => self.money(money),
            NoticeKind::Recovered { lasted, how, standby, left } => {
                self.recovered(*lasted, how.as_str(), standby.as_ref(), left)
            }
            NoticeKind::StandbyStuck { instance, why, advice, per_hour, evidence } => {
                self.stuck(instance, why, advice, *per_hour, evidence)
            }
            NoticeKind::NeverBooted { instance, waited, console } => self.never_booted(instance, *waited, console),
            NoticeKind::Partial { silent, of, evidence } => {
                self.body.say(&format!(
                    "{silent} of the {of} keys of {id} are silent, the others work. Look at the validator client; no \
                     standby is created for this."
                ));
                self.evidence(evidence);
                self.next("To see each source's opinion:", "status");
                format!("{silent} of {of} keys silent")
            }
            NoticeKind::ChainSick { why } => {
                self.body.say(
                    "The chain itself is not well, so nothing is done here: a standby would not help. You need not do \
                     anything; watch what the client teams say.",
                );
                self.body.facts(&[("Seen", why.to_string())]);
                self.next("To see when it is over:", "status");
                "the chain is not finalising".into()
            }
            NoticeKind::Slashed { keys } => {
                self.body.say(&format!(
                    "A key of {id} is slashed. Make sure that nothing signs with any of its keys, at home or \
                     elsewhere. failover creates and deletes nothing for {id} by itself any more. That ends when the \
                     slashed keys are taken out of its configuration; an open incident you can close."
                ));
                self.body.list("Slashed keys:", keys.iter());
                self.next("To see what runs:", "status");
                "SLASHED, everything is frozen".into()
            }
            NoticeKind::Maintenance { why, evidence } => self.maintenance(why, evidence),
            NoticeKind::HeldBack { rule, evidence } => self.held_back(*rule, evidence),
        }
    }

    fn suspected(&mut self, since: Time, evidence: &Lines) -> String {
        let id = &self.notice.validator;
        let span = human(self.notice.at.duration_since(since));
        self.body.say(&format!(
            "{id} may be down: one source has said so for {span}, but a second one is needed before a standby is \
             created. Please look at it."
        ));
        self.body.facts(&[("Suspected since", clock(since))]);
        self.evidence(evidence);
        self.next("If it is down, create a standby now:", &format!("open {id} --reason \"I looked: it is down\""));
        format!("may be down for {span}, please look")
    }

    fn ready(
        &mut self,
        instance: &InstanceRef,
        per_hour: Option<Usd>,
        fuse_at: Time,
        evidence: &Lines,
        simulated: bool,
    ) -> String {
        let id = &self.notice.validator;
        if simulated {
            self.body.say(&format!(
                "The simulated standby of {id} is ready. Do not move keys to it: bring home back. The command below \
                 shows what a real one would be asked."
            ));
            self.body.say(SIMULATED);
        } else {
            self.body.say(&format!(
                "The standby of {id} is ready. Decide now: bring home back, or move the keys with the command below. \
                 If home attests again, the standby goes by itself."
            ));
        }
        let mut facts = vec![("Machine", instance.to_string())];
        facts.extend(per_hour.map(|hour| ("Price", format!("{} an hour", usd(hour)))));
        facts.push(("Stops itself", clock(fuse_at)));
        self.body.facts(&facts);
        self.body.list("What it reports:", evidence.iter());
        self.body.say(
            "Home and standby must never sign at the same time: that is what gets a validator slashed. The command \
             shows what is proven and what is not, and refuses until all is.",
        );
        self.next("Next:", &format!("promote {id}"));
        self.next("To keep the machine beyond that time instead:", &format!("retain {id}"));
        if simulated { "simulated standby ready, decide".into() } else { "standby ready, decide".into() }
    }

    fn recovered(&mut self, lasted: Span, how: &str, standby: Option<&Bill>, left: &Lines) -> String {
        let id = &self.notice.validator;
        let lasted = human(lasted);
        if left.is_empty() {
            self.body.say(&format!("The incident of {id} is over after {lasted}. You need not do anything."));
        } else {
            self.body.say(&format!(
                "The incident of {id} is over after {lasted}. Its machine is gone, but look at what is listed below: \
                 what is still there costs until somebody deletes it."
            ));
            self.body.list("To be looked at:", left.iter());
        }
        let mut facts = vec![("Because", how.to_owned())];
        let bill = match standby {
            None => "no standby was created".to_owned(),
            Some(bill) => {
                let fate = if bill.deleted && !left.is_empty() {
                    "deleted"
                } else if bill.deleted {
                    "deleted with its disks"
                } else {
                    "kept, because you asked for it: it still costs"
                };
                facts.push(("Standby", format!("{}, ran {}, {fate}", bill.rung, human(bill.ran))));
                facts.extend(bill.earlier.iter().map(|earlier| ("Before it", format!("{earlier}, given up"))));
                match (bill.cost, bill.earlier.is_empty()) {
                    (Some(cost), true) => format!("about {}", usd(cost)),
                    (Some(cost), false) => format!("about {} for all", usd(cost)),
                    (None, true) => "its price is not known".to_owned(),
                    (None, false) => "not all prices are known".to_owned(),
                }
            }
        };
        facts.push(("Bill", bill.clone()));
        self.body.facts(&facts);
        self.next("To see that all is well:", "status");
        if left.is_empty() {
            format!("over after {lasted}, {bill}")
        } else {
            format!("over after {lasted}, something is left")
        }
    }

    fn evidence(&mut self, evidence: &Lines) {
        self.body.list("What is known:", evidence.iter());
    }

    fn next(&mut self, purpose: &str, command: &str) {
        self.body.command(purpose, &format!("{} {command}", self.context.cli));
    }
}

const SIMULATED: &str = "Simulated: the start-up bundle of this standby is a placeholder. It follows no chain and \
                         could not take over.";

/// An amount as people write it, to the cent; nobody acts on less.
fn usd(amount: Usd) -> String {
    format!("${:.2}", amount.0)
}
