//! What becomes of the validator itself, what is done about it, and what that costs.

use serde::{Deserialize, Serialize};

use super::{
    About, Lifetime, Topic,
    render::{SIMULATED, Writer, usd},
};
use crate::domain::{InstanceRef, Lines, Rung, Span, Text, Time, Usd, clock, human};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Outage {
    /// Something says down, but for long not enough to open an incident.
    SuspectedTooLong { since: Time },
    Confirmed {
        /// When the suspicion began that was confirmed.
        since: Time,
        plan: Plan,
        /// Set when a human opened it: who, and why.
        opened_by: Option<Text>,
    },
    /// More validators than allowed failed together while the chain is well.
    SiteOutage {
        down: Lines,
        of: u32,
        /// What is done for this validator.
        plan: Plan,
    },
    /// Some of its keys are silent. A notice only: no incident, no standby.
    Partial { silent: u32, of: u32 },
    /// A key is slashed. Everything is frozen for this validator.
    Slashed { keys: Lines },
    /// Its gate starts nothing, or is about to stop what it runs.
    Gate {
        /// In the gate's words.
        why: Text,
        since: Time,
        /// The process runs, for now.
        runs: bool,
    },
    /// Its gate runs nothing, and has seen duties of its keys.
    Stranger {
        /// In the gate's words.
        why: Text,
        since: Time,
    },
    /// Home's watcher is not seen by a witness, which leads.
    HomeUnseen {
        since: Time,
        /// The chain shows the validators at work, so this is no outage of theirs.
        works: bool,
    },
    /// No witness is seen by home's watcher.
    WitnessUnseen { since: Time },
}

/// What is done about an incident.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Plan {
    Create(Offer),
    /// It would be, if `mode` were `armed`.
    WouldCreate(Offer),
    /// A standby of the open incident is there already.
    Standing(InstanceRef),
    /// There is no `compute` section to create with.
    Nothing,
}

/// A standby as planned, with its price.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Offer {
    /// Where it is tried first.
    pub rung: Rung,
    /// How many places are left if that has no capacity.
    pub alternatives: u32,
    /// Machine and disks while it runs; `None` when the price table does not know the machine type.
    pub per_hour: Option<Usd>,
    /// Everything until its limit stops the machine.
    pub at_most: Option<Usd>,
    /// After this long the machine stops itself.
    pub max_run_duration: Span,
    /// What remains once it is stopped: the disks, per month.
    pub stopped_per_month: Option<Usd>,
    /// Its start-up bundle is a placeholder: it will follow no chain.
    pub simulated: bool,
}

impl Outage {
    pub(super) fn about(&self) -> About {
        match self {
            Self::SuspectedTooLong { .. } => {
                About::new("suspected_too_long", "suspected_too_long", Lifetime::Watch).with_evidence()
            }
            Self::Confirmed { .. } => About::new("confirmed", Topic::CONFIRMED, Lifetime::Watch).with_evidence(),
            Self::SiteOutage { .. } => About::new("site_outage", Topic::CONFIRMED, Lifetime::Watch),
            Self::Partial { .. } => About::new("partial", Topic::PARTIAL, Lifetime::Keys).with_evidence(),
            Self::Gate { .. } => About::new("gate", Topic::GATE, Lifetime::Keys).with_evidence(),
            Self::Stranger { .. } => About::new("stranger", Topic::STRANGER, Lifetime::Keys).with_evidence().urgent(),
            Self::HomeUnseen { .. } => About::new("home_unseen", Topic::HOME, Lifetime::Watch).with_evidence(),
            Self::WitnessUnseen { .. } => About::new("witness_unseen", Topic::WITNESS, Lifetime::Keys),
            Self::Slashed { .. } => About::new("slashed", Topic::SLASHED, Lifetime::Keys).urgent(),
        }
    }
}

impl Writer<'_> {
    pub(super) fn outage(&mut self, outage: &Outage) -> String {
        let id = self.id();
        match outage {
            Outage::SuspectedTooLong { since } => {
                let span = human(self.notice.at.duration_since(*since));
                self.body.say(&format!(
                    "{id} may be down: one source has said so for {span}, but a second one is needed before a standby \
                     is created. Please look at it."
                ));
                self.body.facts(&[("Suspected since", clock(*since))]);
                self.evidence();
                let open = format!("open {id} --reason \"I looked: it is down\"");
                self.next("If it is down, create a standby now:", &open);
                format!("may be down for {span}, please look")
            }
            Outage::Confirmed { since, plan, opened_by } => {
                let what = self.plan(&format!("{id} is down."), plan);
                self.body.facts(&[("Suspected since", clock(*since))]);
                self.evidence();
                if let Some(by) = opened_by {
                    self.body.say(&format!("Opened by {by}."));
                }
                self.plan_next(plan);
                format!("down, {what}")
            }
            Outage::SiteOutage { down, of, plan } => {
                let what = self.plan(&format!("The whole site seems to be down, {id} with it."), plan);
                self.body.list(&format!("Down together, of {of} watched:"), down.iter());
                self.plan_next(plan);
                format!("site outage, {what}")
            }
            Outage::Partial { silent, of } => {
                self.body.say(&format!(
                    "{silent} of the {of} keys of {id} are silent, the others work. Look at the validator client; no \
                     standby is created for this."
                ));
                self.evidence();
                self.next("To see each source's opinion:", "status");
                format!("{silent} of {of} keys silent")
            }
            Outage::Gate { why, since, runs } => {
                let (what, then, subject) = if *runs {
                    ("runs the process and may have to stop it", "Please look at it before.", "its gate has trouble")
                } else {
                    let then = "Please look at it; the gate starts by itself once that is over.";
                    ("starts nothing, so nothing signs at home", then, "its gate starts nothing")
                };
                self.body.say(&format!("The gate of {id} {what}: {why}. {then}"));
                self.body.facts(&[("Since", clock(*since))]);
                self.evidence();
                self.next("To see which grants there are, and what can be verified:", &format!("grants {id}"));
                subject.into()
            }
            Outage::Stranger { why, since } => {
                self.body.say(&format!(
                    "The gate of {id} runs nothing, and yet its keys are at work: {why}. Two processes that sign \
                     with the same keys are slashed. The gate starts nothing until the keys have been silent."
                ));
                self.body.facts(&[("Since", clock(*since))]);
                self.evidence();
                self.next("To see which place may sign:", &format!("grants {id}"));
                "SOMEBODY ELSE SIGNS with its keys".into()
            }
            Outage::HomeUnseen { since, works } => {
                let span = human(self.notice.at.duration_since(*since));
                let (what, subject) = if *works {
                    (
                        "The chain shows its validators at work, so this is no outage of theirs, and nothing is created. \
                         It is the watcher that is gone, or its way to the ledger.",
                        "home's watcher is not seen, its validators work",
                    )
                } else {
                    ("What became of the validators is in mails of their own.", "home's watcher is not seen")
                };
                self.body.say(&format!(
                    "Home's watcher has not been seen for {span}. {what} A witness leads until it is back: it sees no \
                     alerts and no cluster, and does not see that home's own processes run, so it lets no standby go."
                ));
                self.body.facts(&[("Not seen since", clock(*since))]);
                self.evidence();
                self.next("At home, to see why it does not run or does not reach the ledger:", "check");
                subject.into()
            }
            Outage::WitnessUnseen { since } => {
                let span = human(self.notice.at.duration_since(*since));
                self.body.say(&format!(
                    "No witness has been seen for {span}. While that lasts nobody creates a standby when the whole house \
                     is dark. Please see that it runs and reaches the ledger."
                ));
                self.body.facts(&[("Not seen since", clock(*since))]);
                self.next("Where the witness runs, to see what is wrong:", "check");
                "no witness is seen".into()
            }
            Outage::Slashed { keys } => {
                self.body.say(&format!(
                    "A key of {id} is slashed. Make sure that nothing signs with any of its keys, at home or \
                     elsewhere. failover creates and deletes nothing for {id} by itself any more. That ends when the \
                     slashed keys are taken out of its configuration; an open incident you can close."
                ));
                self.body.list("Slashed keys:", keys.iter());
                self.next("To see what runs:", "status");
                "SLASHED, everything is frozen".into()
            }
        }
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
            Plan::Standing(_) => ("A standby of the open incident is there.", "a standby is there", None),
            Plan::Nothing => (
                "Nothing is created, because no cloud is configured. Please see to it yourself.",
                "no cloud is configured",
                None,
            ),
        };
        self.body.say(&format!("{what} {todo}"));
        if let Plan::Standing(instance) = plan {
            self.body.facts(&[("Machine", instance.to_string())]);
        }
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
        let limit = human(offer.max_run_duration);
        facts.push((
            "Price",
            match (offer.per_hour, offer.at_most) {
                (Some(hour), Some(all)) => {
                    format!("{} an hour, at most {} until it stops itself after {limit}", usd(hour), usd(all))
                }
                (Some(hour), None) => format!("{} an hour until it stops itself after {limit}", usd(hour)),
                (None, _) => format!("not known for this machine type; it stops itself after {limit}"),
            },
        ));
        facts.extend(offer.stopped_per_month.map(|month| {
            ("Afterwards", format!("its disk remains, {} a month, until somebody deletes it", usd(month)))
        }));
        self.body.facts(&facts);
    }

    fn plan_next(&mut self, plan: &Plan) {
        let id = self.id();
        match plan {
            Plan::Create(_) => {
                self.body.say("The standby has no keys and cannot sign. You will get a mail when it is ready.");
                self.next("To follow it:", "status --watch");
            }
            Plan::WouldCreate(_) => self.next("To see what would be done, and why:", &format!("plan {id}")),
            Plan::Standing(_) => self.next("To see what it does:", "status"),
            Plan::Nothing => self.next("To see each source's opinion:", "status"),
        }
    }
}
