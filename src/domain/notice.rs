//! Notices: what people are notified of, as data with exactly the facts that its text needs.
//!
//! One file for each group of notices: what it says, under which name, for how long, and its words. Sending is
//! [`crate::ports::Notifier`]'s, waiting and repeating [`super::Outgoing`]'s. A notice is kept in its validator's record in
//! the ledger until the mail server has it, so everything here is bounded.

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{IncidentId, Lines, Span, Time, ValidatorId};

mod blocker;
mod decision;
mod failure;
mod layout;
mod ledger;
mod outage;
mod over;
mod promotion;
mod render;
mod runbook;
mod standby;
#[cfg(test)]
mod tests;

pub use blocker::{Blocker, Notifies};
pub use decision::DecisionNeeded;
pub use failure::{Failed, Failure};
pub use ledger::ledger_mail;
pub use outage::{Offer, Outage, Plan};
pub use over::{Bill, Over};
pub use promotion::{HomeSign, OwnerTrouble, PromotionNotice};
pub use render::{Context, Message, render};
pub use runbook::{RunbookNotice, RunbookText};
pub use standby::{OrphanFate, StandbyNotice};

/// One thing people are notified of, once.
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
    /// When people were first notified of it, if this is a reminder.
    pub first_at: Option<Time>,
    pub kind: NoticeKind,
    /// What each source said at that moment, and the standby of itself; empty where the mail does not show it.
    pub evidence: Lines,
}

/// What happened. [`NoticeKind::about`] is the one table of names and lifetimes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum NoticeKind {
    Outage(Outage),
    /// A confirmed outage opens no incident.
    Blocked(Blocker),
    Failure(Failure),
    Standby(StandbyNotice),
    DecisionNeeded(DecisionNeeded),
    Over(Over),
    Runbook(RunbookNotice),
    Promotion(PromotionNotice),
}

impl NoticeKind {
    #[must_use]
    pub fn about(&self) -> About {
        match self {
            Self::Outage(outage) => outage.about(),
            Self::Blocked(blocker) => blocker.about(),
            Self::Failure(failure) => failure.about(),
            Self::Standby(standby) => standby.about(),
            Self::DecisionNeeded(decision) => decision.about(),
            Self::Over(over) => over.about(),
            Self::Runbook(runbook) => runbook.about(),
            Self::Promotion(promotion) => promotion.about(),
        }
    }

    #[must_use]
    pub fn topic(&self) -> Topic {
        self.about().topic
    }
}

/// How a notice is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// In scenarios and logs.
    pub name: &'static str,
    pub topic: Topic,
    /// For how long it is remembered that people were notified of it.
    pub lifetime: Lifetime,
    /// What is dropped last when more mail waits than can be kept.
    pub urgent: bool,
    /// Its mail shows what each source says.
    pub evidence: bool,
    /// How often people are notified of what lasts; `None`: once a day.
    pub every: Option<Span>,
}

impl About {
    fn new(name: &'static str, topic: impl Into<Topic>, lifetime: Lifetime) -> Self {
        Self { name, topic: topic.into(), lifetime, urgent: false, evidence: false, every: None }
    }

    /// One of several of this name, each with a topic of its own.
    fn one_of(name: &'static str, which: &str, lifetime: Lifetime) -> Self {
        Self::new(name, Topic(format!("{name}/{which}").into()), lifetime)
    }

    fn urgent(self) -> Self {
        Self { urgent: true, ..self }
    }

    fn with_evidence(self) -> Self {
        Self { evidence: true, ..self }
    }
}

/// What people are notified of at most once a day for as long as it lasts. It is part of Message-IDs, so its names are
/// written out in the tables and tested: renaming a variant must not make a second mail of the same notice.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Topic(Cow<'static, str>);

impl Topic {
    pub const CONFIRMED: Self = Self(Cow::Borrowed("confirmed"));
    pub const PARTIAL: Self = Self(Cow::Borrowed("partial"));
    pub const GATE: Self = Self(Cow::Borrowed("gate"));
    pub const STRANGER: Self = Self(Cow::Borrowed("stranger"));
    pub const RUNBOOK: Self = Self(Cow::Borrowed("runbook"));
    pub const SLASHED: Self = Self(Cow::Borrowed("slashed"));
    pub const HOME: Self = Self(Cow::Borrowed("home_unseen"));
    pub const WITNESS: Self = Self(Cow::Borrowed("witness_unseen"));

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is this one, or one of several below it.
    #[must_use]
    pub fn is_of(&self, group: &str) -> bool {
        self.0.strip_prefix(group).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl From<&'static str> for Topic {
    fn from(name: &'static str) -> Self {
        Self(name.into())
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How long it is remembered that people were notified of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lifetime {
    /// For as long as keys or gate are in that state, whatever becomes of outages and incidents.
    Keys,
    /// Until the validator was calm for a while, so that one that flaps does not send a mail with every flap.
    Watch,
    /// Until the incident ends.
    Case,
    /// Until the incident has another machine.
    Machine,
    /// Until a list of all machines does not show it any more.
    Orphan,
    /// Until another grant is in force.
    Owner,
}

impl Lifetime {
    /// What an incident leaves nothing of when it begins or ends.
    pub const OF_AN_INCIDENT: &[Self] = &[Self::Watch, Self::Case, Self::Machine];
}
