//! The words of a notice: subject and body, plain text that reads well on a phone.
//!
//! The order is always the same: what happened and what to do, then the evidence, then the exact next command.

use super::{
    Bill, Failed, Held, Lines, Money, Notice, NoticeKind, Offer, Plan, Question,
    layout::{Body, utc},
};
use crate::domain::{InstanceRef, Span, Time, Usd, ValidatorId, human};

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
    /// One line.
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
    facts.push(("Written", utc(notice.at)));
    writer.body.facts(&facts);
    let subject = format!("[failover {}] {}: {subject}", context.site, notice.validator);
    let subject = subject.chars().filter(|c| !c.is_control()).collect();
    Message { subject, body: writer.body.finish(), at: notice.at }
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
                self.body.facts(&[("Suspected since", utc(*since))]);
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
            NoticeKind::DecisionNeeded { question, instance, per_hour, evidence } => {
                self.decision(question, instance.as_ref(), *per_hour, evidence)
            }
            NoticeKind::Failure { failed, detail, retry_at } => self.failure(*failed, detail.as_str(), *retry_at),
            NoticeKind::Money(money) => self.money(money),
            NoticeKind::Recovered { lasted, how, standby } => self.recovered(*lasted, how.as_str(), standby.as_ref()),
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
                     elsewhere. failover does nothing more for {id}: no standby, no deletion."
                ));
                self.body.list("Slashed keys:", keys.iter());
                self.next("To see what runs:", "status");
                "SLASHED, everything is frozen".into()
            }
            NoticeKind::ClockJumped { by } => {
                let direction = if by.is_negative() { "back" } else { "forward" };
                let by = human(by.abs());
                self.body.say(&format!(
                    "The watcher's clock jumped {direction} by {by}, or it saw nothing for so long. Look at the time \
                     service of its machine. Every waiting time was begun again."
                ));
                self.next("To see the clock and everything else checked:", "check");
                format!("the clock jumped {direction} by {by}")
            }
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
        self.body.facts(&[("Suspected since", utc(since))]);
        self.evidence(evidence);
        self.next("If it is down, create a standby now:", &format!("open {id} --reason \"I looked: it is down\""));
        format!("may be down for {span}, please look")
    }

    /// What is done, in words; returns the same for the subject.
    fn plan(&mut self, what: &str, plan: &Plan) -> &'static str {
        let (todo, subject, offer) = match plan {
            Plan::Create(offer) => {
                ("A standby is being created; you need not do anything yet.", "creating a standby", Some(offer))
            }
            Plan::WouldCreate(offer) => (
                "Nothing is created, because mode is observe. Armed, it would have created a standby.",
                "nothing created (observe)",
                Some(offer),
            ),
            Plan::Nothing => (
                "Nothing is created, because no cloud is configured. Please see to it yourself.",
                "no cloud is configured",
                None,
            ),
        };
        self.body.say(&format!("{what} {todo}"));
        if let Some(offer) = offer {
            if offer.simulated {
                self.body.say(SIMULATED);
            }
            self.offer(offer);
        }
        subject
    }

    fn offer(&mut self, offer: &Offer) {
        let others = match offer.alternatives {
            0 => "; there is no other place to try".to_owned(),
            1 => ", then 1 other place".to_owned(),
            n => format!(", then {n} other places"),
        };
        let mut facts = vec![("Plan", format!("{}{others}", offer.rung))];
        let fuse = human(offer.fuse);
        facts.push((
            "Price",
            match (offer.per_hour, offer.until_fuse) {
                (Some(hour), Some(all)) => {
                    format!("{} an hour, at most {} until it stops itself after {fuse}", usd(hour), usd(all))
                }
                (Some(hour), None) => format!("{} an hour until it stops itself after {fuse}", usd(hour)),
                (None, _) => format!("not known for this machine type; it stops itself after {fuse}"),
            },
        ));
        facts.extend(offer.after_fuse_per_month.map(|month| {
            ("Afterwards", format!("its disk remains, {} a month, until somebody deletes it", usd(month)))
        }));
        self.body.facts(&facts);
    }

    fn plan_next(&mut self, plan: &Plan) {
        let id = &self.notice.validator;
        match plan {
            Plan::Create(_) => {
                self.body.say("The standby has no keys and cannot sign. You will get a mail when it is ready.");
                self.next("To follow it:", "status --watch");
            }
            Plan::WouldCreate(_) => self.next("To see what would be done, and why:", &format!("plan {id}")),
            Plan::Nothing => self.next("To see each source's opinion:", "status"),
        }
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
        facts.push(("Stops itself", utc(fuse_at)));
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

    fn decision(
        &mut self,
        question: &Question,
        instance: Option<&InstanceRef>,
        per_hour: Option<Usd>,
        evidence: &Lines,
    ) -> String {
        let id = &self.notice.validator;
        let close = (format!("close {id} --reason \"I have looked\""), "When you have looked, end the incident:");
        let retain = (format!("retain {id}"), "To keep the machine:");
        let (subject, what, (command, purpose)) = match question {
            Question::Vanished => (
                "the standby has vanished",
                format!(
                    "The standby of {id} is gone, and failover did not delete it. Find out who did. No new one is \
                     created until you say so."
                ),
                close,
            ),
            Question::Stopped => (
                "the standby was stopped",
                format!(
                    "The standby of {id} was stopped, by its fuse or by somebody. Its disk still costs. Decide \
                     whether it is still needed."
                ),
                close,
            ),
            Question::SignerSeen => (
                "a signer was seen on the standby",
                format!(
                    "A process that could sign runs on the standby of {id}. Make sure that home cannot sign. failover \
                     does not touch this machine any more."
                ),
                retain,
            ),
            Question::TtlEnded => (
                "nothing was decided in time",
                format!(
                    "The standby of {id} has run for as long as it may and nobody has decided. Keep it, or end the \
                     incident; its own fuse stops it now."
                ),
                retain,
            ),
            Question::RecoveredButSilent => (
                "home is back, the standby is silent",
                format!(
                    "Home of {id} works again, but the standby does not show that nothing on it signs, so it is not \
                     deleted. Look at the machine, then end the incident."
                ),
                close,
            ),
            Question::Untouchable(check) => (
                "the standby must not be touched",
                format!(
                    "The standby of {id} should go, but a check forbids to delete it: {check}. Look at the machine and \
                     delete it yourself if it holds no keys."
                ),
                close,
            ),
        };
        self.body.say(&what);
        let mut facts: Vec<_> = instance.map(|instance| ("Machine", instance.to_string())).into_iter().collect();
        facts.extend(per_hour.map(|hour| ("Price", format!("{} an hour while it runs", usd(hour)))));
        self.body.facts(&facts);
        self.evidence(evidence);
        self.next("To see everything that is known:", "status");
        self.next(purpose, &command);
        format!("decision needed, {subject}")
    }

    fn failure(&mut self, failed: Failed, detail: &str, retry_at: Option<Time>) -> String {
        let id = &self.notice.validator;
        let again = if retry_at.is_some() { "It is tried again by itself." } else { "It is not tried again." };
        let (subject, what) = match failed {
            Failed::OutOfStock => (
                "no capacity for a standby",
                format!("No configured place has a machine for {id}. {again} You can add places to compute.ladder."),
            ),
            Failed::Quota => (
                "quota too small for a standby",
                format!("A quota of the cloud project is too small for the standby of {id}. Raise it. {again}"),
            ),
            Failed::Refused => (
                "the cloud refuses",
                format!("The cloud refuses to create the standby of {id}. Correct what it names below. {again}"),
            ),
            Failed::TooSlow => (
                "still no standby",
                format!("There is still no standby for {id} although it should be there by now. {again}"),
            ),
            Failed::Delete => (
                "the standby could not be deleted",
                format!("The standby of {id} should go but could not be deleted. It still costs. {again}"),
            ),
        };
        self.body.say(&what);
        let mut facts = vec![("Answer", detail.to_owned())];
        facts.extend(retry_at.map(|at| ("Next try", utc(at))));
        self.body.facts(&facts);
        self.next("To see permissions, quotas and places:", "check");
        subject.into()
    }

    fn money(&mut self, money: &Money) -> String {
        let id = &self.notice.validator;
        let open = format!("open {id} --reason \"budget raised\"");
        match money {
            Money::OverIncidentBudget { estimate, limit } => {
                self.body.say(&format!(
                    "{id} is down, but no standby is created: it could cost {} and one incident may cost {}. Raise \
                     budget.per_incident_usd or see to home.",
                    usd(*estimate),
                    usd(*limit)
                ));
                self.next("When the budget is raised, to try at once:", &open);
                "no standby, over the budget of an incident".into()
            }
            Money::OverMonthBudget { estimate, spent, limit } => {
                self.body.say(&format!(
                    "{id} is down, but no standby is created: it could cost {}, the last 30 days have cost {}, and a \
                     month may cost {}. Raise budget.per_month_usd or see to home.",
                    usd(*estimate),
                    usd(*spent),
                    usd(*limit)
                ));
                self.next("When the budget is raised, to try at once:", &open);
                "no standby, over the budget of a month".into()
            }
            Money::PriceUnknown { rung } => {
                self.body.say(&format!(
                    "{id} is down, but no standby is created: there is a budget and no known price for {rung}. Use \
                     another machine type or remove the budget."
                ));
                self.next("To see the ladder with its prices:", &format!("plan {id}"));
                "no standby, its price is not known".into()
            }
            Money::FuseSoon { instance, fuse_at, so_far, after_fuse_per_month } => {
                let left = human(fuse_at.duration_since(self.notice.at).max(Span::ZERO));
                self.body.say(&format!(
                    "The standby of {id} stops itself in {left}. Nothing is lost with that, but it will not run. Keep \
                     it if you need it."
                ));
                let mut facts = vec![("Machine", instance.to_string()), ("Stops itself", utc(*fuse_at))];
                facts.extend(so_far.map(|cost| ("Cost so far", usd(cost))));
                facts.extend(
                    after_fuse_per_month.map(|month| ("Afterwards", format!("its disk costs {} a month", usd(month)))),
                );
                self.body.facts(&facts);
                self.next("To keep it:", &format!("retain {id}"));
                format!("the standby stops in {left}")
            }
        }
    }

    fn recovered(&mut self, lasted: Span, how: &str, standby: Option<&Bill>) -> String {
        let id = &self.notice.validator;
        let lasted = human(lasted);
        self.body.say(&format!("The incident of {id} is over after {lasted}. You need not do anything."));
        let mut facts = vec![("Because", how.to_owned())];
        let bill = match standby {
            None => "no standby was created".to_owned(),
            Some(bill) => {
                let fate = if bill.deleted {
                    "deleted with its disks"
                } else {
                    "kept, because you asked for it: it still costs"
                };
                facts.push(("Standby", format!("{}, ran {}, {fate}", bill.rung, human(bill.ran))));
                bill.cost.map_or_else(|| "its price is not known".to_owned(), |cost| format!("about {}", usd(cost)))
            }
        };
        facts.push(("Bill", bill.clone()));
        self.body.facts(&facts);
        self.next("To see that all is well:", "status");
        format!("over after {lasted}, {bill}")
    }

    fn held_back(&mut self, rule: Held, evidence: &Lines) -> String {
        let id: &ValidatorId = &self.notice.validator;
        let why = match rule {
            Held::Cooldown { until } => {
                format!("its last incident ended a short time ago (policy.cooldown, until {})", utc(until))
            }
            Held::DailyLimit { limit } => {
                format!("it had {limit} incidents in 24 hours already (policy.max_incidents_per_day)")
            }
        };
        self.body.say(&format!(
            "{id} is down again, but no standby is created: {why}. Find out why it keeps failing, or open an incident \
             yourself."
        ));
        self.evidence(evidence);
        self.next("To create a standby now:", &format!("open {id} --reason \"I looked: it is down\""));
        "down again, held back".into()
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
