//! What needs a human: attention, failures, limits.

use super::{Writer, usd};
use crate::domain::{Attention, Failed, Held, InstanceRef, Lines, Money, Span, Text, Time, Usd, clock, elapsed, human};

impl Writer<'_> {
    pub(super) fn decision(
        &mut self,
        attention: &Attention,
        instance: Option<&InstanceRef>,
        per_hour: Option<Usd>,
        evidence: &Lines,
    ) -> String {
        let id = &self.notice.validator;
        let close = (format!("close {id} --reason \"I have looked\""), "When you have looked, end the incident:");
        let retain = (format!("retain {id} --reason \"I keep it\""), "To keep the machine:");
        let (subject, what, (command, purpose)) = match attention {
            Attention::Vanished => (
                "the standby has vanished",
                format!(
                    "The standby of {id} is gone, and failover did not delete it. Find out who did. No new one is \
                     created until you say so."
                ),
                close,
            ),
            Attention::Stopped => (
                "the standby was stopped",
                format!(
                    "The standby of {id} was stopped, by its fuse or by somebody. Its disk still costs. Decide \
                     whether it is still needed."
                ),
                close,
            ),
            Attention::SignerSeen => (
                "a signer was seen on the standby",
                format!(
                    "A process that could sign runs on the standby of {id}. Make sure that home cannot sign. failover \
                     does not touch this machine any more."
                ),
                retain,
            ),
            Attention::TwoSigners => (
                "TWO SIGNERS",
                format!(
                    "A process that could sign runs on the standby of {id}, and home's own runs as well. Stop one of \
                     them now: two signers are slashed. failover does not touch this machine any more."
                ),
                retain,
            ),
            Attention::DownAgain => (
                "down again, and no standby takes over",
                format!(
                    "Home of {id} was back and is down again, and this incident has no standby that takes over. Look \
                     at it, then end the incident, and ask for another one."
                ),
                close,
            ),
            Attention::ObserveMode => (
                "observe mode holds an incident",
                format!(
                    "An incident of {id} is open and the mode is observe, so nothing is created or deleted for it. Set \
                     `mode: armed`, or delete its machine by hand and end the incident."
                ),
                close,
            ),
            Attention::TtlEnded => (
                "nothing was decided in time",
                format!(
                    "The standby of {id} has run for as long as it may and nobody has decided. Keep it, or end the \
                     incident; its own fuse stops it now."
                ),
                retain,
            ),
            Attention::RecoveredButSilent => (
                "home is back, the standby is silent",
                format!(
                    "Home of {id} works again, but the standby does not show that nothing on it signs, so it is not \
                     deleted. Look at the machine, then end the incident."
                ),
                close,
            ),
            Attention::Untouchable(check) => (
                "the standby must not be touched",
                format!(
                    "The standby of {id} should go, but a check forbids to delete it: {check}. Look at the machine and \
                     delete it yourself if it holds no keys."
                ),
                close,
            ),
            Attention::NeverBooted { attempts, .. } => (
                "no standby boots",
                format!(
                    "No standby of {id} has booted, {attempts} of {attempts} tried. No further one is created. Read \
                     below what the last one's console has printed, then end the incident; the last machine stays \
                     until you do, or until its own fuse stops it."
                ),
                close,
            ),
        };
        self.body.say(&what);
        let mut facts: Vec<_> = instance.map(|instance| ("Machine", instance.to_string())).into_iter().collect();
        // What has vanished or stopped does not run, and the price of running would mislead.
        let runs = !matches!(attention, Attention::Vanished | Attention::Stopped);
        facts.extend(per_hour.filter(|_| runs).map(|hour| ("Price", format!("{} an hour while it runs", usd(hour)))));
        self.body.facts(&facts);
        if let Attention::NeverBooted { console, .. } = attention {
            self.body.list("The end of its console:", console.iter());
        }
        self.evidence(evidence);
        self.next("To see everything that is known:", "status");
        self.next(purpose, &command);
        format!("decision needed, {subject}")
    }

    pub(super) fn stuck(
        &mut self,
        instance: &InstanceRef,
        why: &Text,
        advice: &Text,
        per_hour: Option<Usd>,
        evidence: &Lines,
    ) -> String {
        let id = &self.notice.validator;
        self.body.say(&format!(
            "The standby of {id} does not go on by itself: {why}. What helps: {advice}. failover goes on looking, and \
             says so in its status when the machine goes on."
        ));
        let mut facts = vec![("Machine", instance.to_string())];
        facts.extend(per_hour.map(|hour| ("Price", format!("{} an hour while it runs", usd(hour)))));
        self.body.facts(&facts);
        self.body.list("What it reports:", evidence.iter());
        self.next("To read its console:", &format!("logs {id}"));
        self.next("To give this standby up:", &format!("close {id} --reason \"the standby is stuck\""));
        "the standby is stuck".into()
    }

    pub(super) fn never_booted(&mut self, instance: &InstanceRef, waited: Span, console: &Lines) -> String {
        let id = &self.notice.validator;
        self.body.say(&format!(
            "A standby of {id} has not booted within {}. It is deleted, and another one is tried; you need not do \
             anything yet.",
            human(waited)
        ));
        self.body.facts(&[("Machine", instance.to_string())]);
        self.body.list("The end of its console:", console.iter());
        self.next("To follow the next one:", "status --watch");
        "a standby did not boot, trying another".into()
    }

    pub(super) fn failure(&mut self, failed: Failed, detail: &str, retry_at: Option<Time>) -> String {
        let id = &self.notice.validator;
        let again = match (failed, retry_at) {
            (Failed::TooSlow, _) => "Trying goes on.",
            (Failed::OutOfStock | Failed::Quota | Failed::Refused | Failed::Delete | Failed::Poll, Some(_)) => {
                "It is tried again by itself."
            }
            (Failed::OutOfStock | Failed::Quota | Failed::Refused | Failed::Delete | Failed::Poll, None) => {
                "It is not tried again."
            }
        };
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
            Failed::Poll => (
                "the standby cannot be looked at",
                format!("The cloud does not say what the standby of {id} does, so nobody knows. It costs. {again}"),
            ),
        };
        self.body.say(&what);
        let mut facts = vec![("Answer", detail.to_owned())];
        facts.extend(retry_at.map(|at| ("Next try", clock(at))));
        self.body.facts(&facts);
        self.next("To see permissions, quotas and places:", "check");
        subject.into()
    }

    pub(super) fn money(&mut self, money: &Money) -> String {
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
                let left = human(elapsed(self.notice.at, *fuse_at));
                self.body.say(&format!(
                    "The standby of {id} stops itself in {left}. Nothing is lost with that, but it will not run. Keep \
                     it if you need it."
                ));
                let mut facts = vec![("Machine", instance.to_string()), ("Stops itself", clock(*fuse_at))];
                facts.extend(so_far.map(|cost| ("Cost so far", usd(cost))));
                facts.extend(
                    after_fuse_per_month.map(|month| ("Afterwards", format!("its disk costs {} a month", usd(month)))),
                );
                self.body.facts(&facts);
                self.next("To keep it:", &format!("retain {id} --reason \"I keep it\""));
                format!("the standby stops in {left}")
            }
        }
    }

    pub(super) fn maintenance(&mut self, why: &Text, evidence: &Lines) -> String {
        let id = &self.notice.validator;
        let stop = if why.as_str().ends_with('?') { "" } else { "." };
        self.body.say(&format!(
            "{id} is down, and a human seems to have done it: {why}{stop} No standby is created. If you know \
             about it, there is nothing to do; pausing {id} before such work keeps this mail away."
        ));
        self.evidence(evidence);
        self.next(
            "If it is no maintenance, create a standby now:",
            &format!("open {id} --reason \"I looked: it is down\""),
        );
        "down: is this maintenance?".into()
    }

    pub(super) fn held_back(&mut self, rule: Held, evidence: &Lines) -> String {
        let id = &self.notice.validator;
        let why = match rule {
            Held::Cooldown { until } => {
                format!("its last incident ended a short time ago (policy.cooldown, until {})", clock(until))
            }
            Held::ClosedByOperator => {
                "you ended its last incident while it was down, and it was not seen up since".into()
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
}
