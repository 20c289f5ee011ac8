//! A promotion, a demotion, and what is wrong while a machine in the cloud owns the keys.

use serde::{Deserialize, Serialize};

use super::{About, Lifetime, render::Writer};
use crate::domain::{
    InstanceRef, Span, Text, Time, clock,
    promotion::{PromotionEffect, PromotionKind, PromotionState},
};

/// An open record that is late is reported hourly: nobody may be signing.
const HOURLY: Span = Span::from_hours(1);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum PromotionNotice {
    /// It was begun, committed or taken back.
    Changed {
        kind: PromotionKind,
        state: PromotionState,
        instance: InstanceRef,
        /// Of the grant; 0 if nothing is signed.
        number: u64,
        by: Text,
        reason: Text,
    },
    /// It is open, and later than its last step has announced.
    Overdue { kind: PromotionKind, state: PromotionState, step: Option<PromotionEffect>, due_at: Time, by: Text },
    /// The session's number is above the grant's, and no promotion or demotion is open: nobody may sign.
    Stranded,
    /// Home shows a signer while the cloud owns the keys.
    HomeSigns {
        sign: HomeSign,
        /// In the words of whoever saw it.
        why: Text,
        /// Of the grant for the cloud.
        number: u64,
        /// The command that stops home's process.
        stop: Text,
    },
    /// The machine that owns the keys does not do its work.
    Owner { trouble: OwnerTrouble, why: Text, number: u64, machine: Text },
    /// A machine that owns nothing any more and may hold keys runs.
    KeptRuns { instance: InstanceRef },
}

/// By what home shows that it may sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, strum::EnumIter, strum::IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum HomeSign {
    /// A gate holds the session by a write from after the raise.
    Session,
    /// The gate runs its command.
    Gate,
    /// The process answers at its port.
    Process,
    /// The pod is ready, and no gate is before its process.
    Pod,
    /// The chain shows duties of a time in which nothing ran on the machine.
    Duties,
}

/// What keeps the machine that owns the keys from its work, the first that holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, strum::EnumIter, strum::IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum OwnerTrouble {
    Gone,
    Stopped,
    /// It has booted since the grant: its gate stays down.
    AwaitsRegrant,
    /// It does not report.
    Silent,
    NoDuties,
}

impl PromotionNotice {
    /// What begins the topics of everything that is wrong with the machine.
    pub const OWNER_TOPICS: &'static str = "owner";
    pub const OVERDUE_TOPIC: &'static str = "promotion_overdue";

    pub(super) fn about(&self) -> About {
        match self {
            Self::Changed { state, .. } => About::one_of("promotion", state_name(*state), Lifetime::Owner),
            Self::Overdue { .. } => {
                let about = About::new("promotion_overdue", Self::OVERDUE_TOPIC, Lifetime::Owner).urgent();
                About { every: Some(HOURLY), ..about }
            }
            Self::Stranded => About::new("nobody_may_sign", "nobody_may_sign", Lifetime::Owner).urgent(),
            Self::HomeSigns { sign, .. } => {
                About::one_of("home_signs", (*sign).into(), Lifetime::Owner).urgent().with_evidence()
            }
            Self::Owner { trouble, .. } => {
                let about = About::one_of(Self::OWNER_TOPICS, (*trouble).into(), Lifetime::Owner);
                About { name: "owner_down", ..about.urgent().with_evidence() }
            }
            Self::KeptRuns { instance } => {
                About::one_of("kept_runs", &instance.id.to_string(), Lifetime::Orphan).urgent()
            }
        }
    }
}

fn state_name(state: PromotionState) -> &'static str {
    match state {
        PromotionState::Open => "open",
        PromotionState::Aborting => "aborting",
        PromotionState::Aborted => "aborted",
        PromotionState::Done => "done",
    }
}

impl PromotionKind {
    /// For people.
    #[must_use]
    pub fn noun(self) -> &'static str {
        match self {
            Self::ToCloud => "promotion",
            Self::ToHome => "demotion",
        }
    }

    /// The command that continues it.
    #[must_use]
    pub fn verb(self) -> &'static str {
        match self {
            Self::ToCloud => "promote",
            Self::ToHome => "demote",
        }
    }
}

impl Writer<'_> {
    pub(super) fn promotion(&mut self, notice: &PromotionNotice) -> String {
        let id = self.id();
        match notice {
            PromotionNotice::Changed { kind, state, instance, number, by, reason } => {
                let subject = self.changed(*kind, *state, *number);
                let facts = [("Machine", instance.to_string()), ("By", by.to_string()), ("Reason", reason.to_string())];
                self.body.facts(&facts);
                if state.is_open() {
                    self.next("To follow it:", "status --watch");
                } else {
                    self.next("To see which place may sign:", &format!("grants {id}"));
                }
                subject
            }
            PromotionNotice::Overdue { kind, state, step, due_at, by } => {
                let (noun, verb) = (kind.noun(), kind.verb());
                self.body.say(&format!(
                    "The {noun} of {id} is open and should be further by now. Meanwhile it may be that nobody signs. \
                     Finish it or take it back, from any machine. You are reminded every hour."
                ));
                let step = step.map_or("none", Into::into);
                self.body.facts(&[
                    ("Begun by", by.to_string()),
                    ("Last step", step.to_owned()),
                    ("Due", clock(*due_at)),
                ]);
                // One that is being taken back can only be taken back.
                if *state == PromotionState::Open {
                    self.next("To finish it:", &format!("{verb} {id} --resume"));
                }
                self.next("To take it back:", &format!("{verb} {id} --abort"));
                format!("its {noun} is overdue")
            }
            PromotionNotice::Stranded => {
                self.body.say(&format!(
                    "The session's number of {id} is above its grant's, so home's gate has stopped, and no promotion or \
                     demotion is open that would continue. Nobody may sign. A command that ended after it had raised the \
                     number leaves this."
                ));
                self.next("To see what is there:", &format!("grants {id}"));
                self.next("To let home sign again, one signature:", &format!("adopt {id} --renew"));
                "NOBODY MAY SIGN, its number was raised and nothing is open".into()
            }
            PromotionNotice::HomeSigns { sign, why, number, stop } => {
                let seen = match sign {
                    HomeSign::Session => "a gate at home holds the session",
                    HomeSign::Gate => "the gate at home runs the process",
                    HomeSign::Process => "the process at home answers",
                    HomeSign::Pod => {
                        "the pod at home is ready, and no `gate` is configured that would say that it only waits"
                    }
                    HomeSign::Duties => "its keys had duties while nothing ran on the machine in the cloud",
                };
                self.body.say(&format!(
                    "By grant {number} a machine in the cloud signs for {id}, and {seen}. Two processes that sign with \
                     the same keys are slashed. Stop the one at home NOW, then find out why it runs."
                ));
                self.body.facts(&[("Seen", why.to_string())]);
                self.evidence();
                self.body.command("To stop home:", stop.as_str());
                self.next("To see which place may sign:", &format!("grants {id}"));
                "HOME SIGNS although the cloud owns its keys".into()
            }
            PromotionNotice::Owner { trouble, why, number, machine } => self.owner(*trouble, why, *number, machine),
            PromotionNotice::KeptRuns { instance } => {
                self.body.say(&format!(
                    "A machine that was promoted for {id} once and owns nothing any more is RUNNING. Its disk may hold \
                     keys. Its gate starts nothing without a grant for this boot, but nothing else keeps them from \
                     being used. If you did not start it, stop it now."
                ));
                self.body.facts(&[("Machine", instance.to_string())]);
                let InstanceRef { name, zone, .. } = instance;
                self.body.command("To stop it:", &format!("gcloud compute instances stop {name} --zone={zone}"));
                self.next("To see which place may sign:", &format!("grants {id}"));
                "A MACHINE WITH ITS KEYS RUNS that owns nothing".into()
            }
        }
    }

    fn changed(&mut self, kind: PromotionKind, state: PromotionState, number: u64) -> String {
        let id = self.id();
        let noun = kind.noun();
        let (what, subject) = match (kind, state) {
            (PromotionKind::ToCloud, PromotionState::Open) => (
                format!(
                    "A promotion of {id} has begun: a machine in the cloud is to sign for it. failover leaves every \
                     machine of {id} alone until it is over. If nobody of you does this, take it back now."
                ),
                "promotion begun".to_owned(),
            ),
            (PromotionKind::ToHome, PromotionState::Open) => (
                format!(
                    "A demotion of {id} has begun: home is to sign for it again. failover leaves every machine of {id} \
                     alone until it is over."
                ),
                "demotion begun".to_owned(),
            ),
            (PromotionKind::ToCloud, PromotionState::Done) if number == 0 => (
                format!(
                    "The machine of {id} is permanent now and yours alone. {id} signs nothing, so no grant is needed."
                ),
                "promoted, its machine is permanent".to_owned(),
            ),
            (PromotionKind::ToCloud, PromotionState::Done) => (
                format!(
                    "By grant {number} the machine in the cloud signs for {id} from now on, and home must not. Move \
                     the keys as the runbook says. Any sign of home is reported at once."
                ),
                format!("PROMOTED, the cloud owns its keys by grant {number}"),
            ),
            (PromotionKind::ToHome, PromotionState::Done) => (
                format!(
                    "Home signs for {id} again, by grant {number}. The machine in the cloud is stopped and keeps its \
                     disk: keys may be on it, it costs, and it is yours alone."
                ),
                format!("demoted, home owns its keys by grant {number}"),
            ),
            (_, PromotionState::Aborting) => {
                (format!("The {noun} of {id} is being taken back."), format!("its {noun} is being taken back"))
            }
            (_, PromotionState::Aborted) => (
                format!("The {noun} of {id} was taken back: the place that signed before it may sign."),
                format!("its {noun} was taken back"),
            ),
        };
        self.body.say(&what);
        subject
    }

    fn owner(&mut self, trouble: OwnerTrouble, why: &Text, number: u64, machine: &Text) -> String {
        let id = self.id();
        let (what, subject) = match trouble {
            OwnerTrouble::Gone => ("does not exist any more", "the machine that signs is gone"),
            OwnerTrouble::Stopped => ("is stopped", "the machine that signs is stopped"),
            OwnerTrouble::AwaitsRegrant => (
                "has booted again, and its gate starts nothing without a grant for this boot",
                "the machine that signs has rebooted",
            ),
            OwnerTrouble::Silent => ("does not report any more", "the machine that signs is silent"),
            OwnerTrouble::NoDuties => ("misses the duties of its keys", "NOBODY SIGNS, the cloud owns its keys"),
        };
        self.body.say(&format!(
            "By grant {number} a machine in the cloud signs for {id}, and it {what}. failover creates and changes \
             nothing by itself while the cloud owns the keys."
        ));
        self.body.facts(&[("Machine", machine.to_string()), ("Seen", why.to_string())]);
        self.evidence();
        match trouble {
            OwnerTrouble::AwaitsRegrant => self.next("To let it sign again, one signature:", &format!("regrant {id}")),
            OwnerTrouble::Gone => self.next("To give the keys back to home:", &format!("adopt {id} --deleted")),
            OwnerTrouble::Stopped | OwnerTrouble::Silent | OwnerTrouble::NoDuties => {
                self.next("When it has booted again, one signature:", &format!("regrant {id}"));
                self.next("To give the keys back to home:", &format!("demote {id}"));
            }
        }
        subject.into()
    }
}
