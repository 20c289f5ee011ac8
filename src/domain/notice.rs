//! Notices: what people are told, as data with exactly the facts its text needs.
//!
//! It is not mail: sending is [`crate::ports::Notifier`]'s, waiting and repeating [`super::Outgoing`]'s. A notice is
//! kept in its validator's record in the ledger until the mail server has it, so everything here is bounded.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Attention, IncidentId, InstanceRef, Lines, Rung, Span, Text, Time, Topic, Usd, ValidatorId};

mod layout;
mod render;
#[cfg(test)]
mod tests;

pub use render::{Context, Message, render};

/// One thing people are told, once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Notice {
    /// Derived from what it is about (v5), so that a repetition after a crash is the same notice and the same mail.
    pub id: Uuid,
    pub validator: ValidatorId,
    /// About which incident, when there is one.
    pub incident: Option<IncidentId>,
    /// When it came to be; the `Date` of the mail, however late it is sent.
    pub at: Time,
    pub topic: Topic,
    /// When people were first notified of it, if this is a reminder.
    pub first_at: Option<Time>,
    pub kind: NoticeKind,
}

/// What happened, with the facts the text needs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum NoticeKind {
    /// Something says down, but for long not enough to open an incident.
    SuspectedTooLong { since: Time, evidence: Lines },
    Confirmed {
        /// When the suspicion began that was confirmed.
        since: Time,
        evidence: Lines,
        plan: Plan,
        /// Set when a human opened it: who, and why.
        opened_by: Option<Text>,
    },
    /// The standby can be promoted, or could be if it were real.
    StandbyReady {
        instance: InstanceRef,
        /// Machine and disks while it runs.
        per_hour: Option<Usd>,
        fuse_at: Time,
        /// What its report says: synced, peers, head.
        evidence: Lines,
        /// Its start-up bundle is a placeholder: it follows no chain.
        simulated: bool,
    },
    /// Automation has come to its end.
    DecisionNeeded {
        /// What has to be looked at.
        attention: Attention,
        /// The machine it is about, if there is one.
        instance: Option<InstanceRef>,
        /// Machine and disks while it runs.
        per_hour: Option<Usd>,
        evidence: Lines,
    },
    Failure {
        failed: Failed,
        /// The answer of the cloud, in its own words.
        detail: Text,
        retry_at: Option<Time>,
    },
    /// A limit on money holds something back or is about to end something.
    Money(Money),
    /// Home is back and the incident is over.
    Recovered {
        /// How long the incident lasted.
        lasted: Span,
        /// How it ended, to stand after "because": "home attests again for 20m".
        how: Text,
        /// The standby, if there was one.
        standby: Option<Bill>,
        /// What a look afterwards has still seen, or why it could not be looked at.
        #[serde(default)]
        left: Lines,
    },
    /// The standby does not go on by itself.
    StandbyStuck {
        instance: InstanceRef,
        /// What was seen, to stand after "because".
        why: Text,
        /// What a person can do about it.
        advice: Text,
        /// Machine and disks while it runs.
        per_hour: Option<Usd>,
        /// How far it has come, as it reports.
        evidence: Lines,
    },
    /// A machine has never booted; it is deleted and another one is tried.
    NeverBooted {
        instance: InstanceRef,
        /// How long it was waited for.
        waited: Span,
        /// The last of what its serial port has printed.
        console: Lines,
    },
    /// Some of its keys are silent. Told only: no incident, no standby.
    Partial { silent: u32, of: u32, evidence: Lines },
    /// The chain itself does not finalise: nothing is done but to tell.
    ChainSick {
        /// What was seen: "the last finalised epoch is 7 behind".
        why: Text,
    },
    /// More validators than allowed failed together while the chain is well.
    SiteOutage {
        down: Lines,
        of: u32,
        /// What is done for this validator.
        plan: Plan,
    },
    /// A key is slashed. Everything is frozen for this validator.
    Slashed { keys: Lines },
    /// An incident would have been opened; but it looks like the work of a human.
    Maintenance {
        /// What was seen: "it was scaled to zero, is this maintenance?".
        why: Text,
        evidence: Lines,
    },
    /// An incident would have been opened; a rule against flapping holds it back.
    HeldBack { rule: Held, evidence: Lines },
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
    /// Everything until the fuse stops the machine.
    pub until_fuse: Option<Usd>,
    /// After this long the machine stops itself.
    pub fuse: Span,
    /// What remains after the fuse: the disks, per month.
    pub after_fuse_per_month: Option<Usd>,
    /// Its start-up bundle is a placeholder: it will follow no chain.
    pub simulated: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Failed {
    /// No place of the ladder has such a machine to give.
    OutOfStock,
    /// A quota of the project is too small.
    Quota,
    /// The cloud refuses: permission, a bad field.
    Refused,
    TooSlow,
    /// The machine could not be deleted.
    Delete,
    /// The machine cannot be looked at.
    Poll,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Money {
    /// The standby would cost more than one incident may.
    OverIncidentBudget {
        /// What it would cost until its fuse.
        estimate: Usd,
        limit: Usd,
    },
    /// This and the incidents of the last 30 days would cost more than a month may.
    OverMonthBudget {
        /// What it would cost until its fuse.
        estimate: Usd,
        /// What the last 30 days have cost.
        spent: Usd,
        limit: Usd,
    },
    /// A budget is set, and the price table does not know the machine type.
    PriceUnknown { rung: Rung },
    /// The fuse stops the machine soon.
    FuseSoon {
        instance: InstanceRef,
        fuse_at: Time,
        /// What it has cost so far.
        so_far: Option<Usd>,
        /// What remains after the fuse: the disks, per month.
        after_fuse_per_month: Option<Usd>,
    },
}

/// A rule that holds an incident back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Held {
    /// The last incident ended too short a time ago.
    Cooldown { until: Time },
    /// As many incidents in 24 hours as are allowed.
    DailyLimit { limit: u32 },
    /// An operator closed the last one while it was down, and it was not seen up since.
    ClosedByOperator,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bill {
    pub rung: Rung,
    pub ran: Span,
    /// Machines of the same incident that were given up before it: where, on what, and how long each ran.
    #[serde(default, skip_serializing_if = "Lines::is_empty")]
    pub earlier: Lines,
    /// What all of them have cost, as far as the price table knows.
    pub cost: Option<Usd>,
    /// It is deleted with its disks; otherwise the operator keeps it and it still costs.
    pub deleted: bool,
}
