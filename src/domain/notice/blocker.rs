//! Why a confirmed outage opens no incident: in the log, on the status page and in mails.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{
    About, Lifetime,
    render::{Writer, usd},
};
use crate::domain::{Rung, Text, Time, Usd, clock, promotion::PromotionKind};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Blocker {
    ObserveMode,
    /// A promotion or a demotion is open: its machines are people's alone.
    Promotion {
        kind: PromotionKind,
        by: Text,
    },
    Paused {
        until: Time,
        by: String,
        why: String,
    },
    ChainNotFinalising {
        epochs: u64,
    },
    Slashed {
        keys: usize,
    },
    NoActiveKeys,
    /// It looks like the work of a human.
    Maintenance {
        /// What was seen: "it was scaled to zero, is this maintenance?".
        why: Arc<str>,
    },
    Cooldown {
        until: Time,
    },
    /// An operator closed the last one while it was down, and it was not seen up since.
    ClosedByOperator,
    /// As many incidents in 24 hours as are allowed.
    TooMany {
        limit: usize,
    },
    OverIncidentBudget {
        limit: Usd,
        /// What it would cost until its limit.
        estimate: Usd,
    },
    OverMonthBudget {
        limit: Usd,
        estimate: Usd,
        /// What the last 30 days have cost.
        spent: Usd,
    },
    /// A budget is set, and the price table does not know the machine type.
    PriceUnknown {
        rung: Rung,
    },
    NoLadder,
}

/// How people are notified of a [`Blocker`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notifies {
    /// As the outage itself, whose plan says that nothing is created.
    OfOutage,
    /// Not at all: it was notified when it was seen, or it is nobody's outage.
    Nobody,
    OfBlocker,
}

impl Blocker {
    pub(super) fn about(&self) -> About {
        let of = |name| About::new(name, name, Lifetime::Watch);
        match self {
            Self::ObserveMode | Self::Paused { .. } | Self::NoLadder => of("confirmed").with_evidence(),
            Self::Slashed { .. } => of("slashed").with_evidence(),
            Self::NoActiveKeys => of("no_active_keys").with_evidence(),
            Self::ChainNotFinalising { .. } => of("chain_sick"),
            Self::Maintenance { .. } => of("maintenance").with_evidence(),
            Self::Promotion { .. } | Self::Cooldown { .. } | Self::ClosedByOperator | Self::TooMany { .. } => {
                of("held_back").with_evidence()
            }
            Self::OverIncidentBudget { .. } | Self::OverMonthBudget { .. } | Self::PriceUnknown { .. } => of("money"),
        }
    }

    #[must_use]
    pub fn notifies(&self) -> Notifies {
        match self {
            Self::ObserveMode | Self::Paused { .. } | Self::NoLadder => Notifies::OfOutage,
            Self::Slashed { .. } | Self::NoActiveKeys => Notifies::Nobody,
            Self::ChainNotFinalising { .. }
            | Self::Maintenance { .. }
            | Self::Promotion { .. }
            | Self::Cooldown { .. }
            | Self::ClosedByOperator
            | Self::TooMany { .. }
            | Self::OverIncidentBudget { .. }
            | Self::OverMonthBudget { .. }
            | Self::PriceUnknown { .. } => Notifies::OfBlocker,
        }
    }
}

impl fmt::Display for Blocker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ObserveMode => f.write_str("mode is observe, so nothing is created"),
            Self::Paused { until, by, why } => write!(f, "paused until {} by {by} ({why})", clock(*until)),
            Self::Promotion { kind, by } => write!(f, "{by} has opened a {}", kind.noun()),
            Self::ChainNotFinalising { epochs } => {
                write!(f, "the chain itself has not finalised for {epochs} epochs, so this is not home's outage alone")
            }
            Self::Slashed { keys } => write!(f, "{keys} of its keys are slashed: everything is frozen"),
            Self::NoActiveKeys => f.write_str("none of its keys is active, there is nothing to fail over"),
            Self::Maintenance { why } => write!(f, "a human seems to be at work on it: {why}"),
            Self::Cooldown { until } => {
                write!(f, "an incident has just ended and the next may open at {}", clock(*until))
            }
            Self::ClosedByOperator => {
                f.write_str("an operator closed its last incident while it was down, and it was not seen up since")
            }
            Self::TooMany { limit } => write!(f, "{limit} incidents opened in the last 24 hours, which is the limit"),
            Self::OverIncidentBudget { limit, estimate } => {
                write!(f, "it would cost up to {estimate} and one incident may cost {limit}")
            }
            Self::OverMonthBudget { limit, estimate, spent } => {
                write!(
                    f,
                    "it would cost up to {estimate}, the last 30 days have cost {spent}, a month may cost {limit}"
                )
            }
            Self::PriceUnknown { rung } => write!(f, "the price of {rung} is unknown and there is a budget"),
            Self::NoLadder => f.write_str("no zone and machine type is configured"),
        }
    }
}

impl Writer<'_> {
    pub(super) fn blocked(&mut self, blocker: &Blocker) -> String {
        match blocker {
            Blocker::ObserveMode
            | Blocker::Paused { .. }
            | Blocker::Slashed { .. }
            | Blocker::NoActiveKeys
            | Blocker::NoLadder => {
                self.body.say(&format!("{} is down, but {blocker}.", self.id()));
                self.evidence();
                self.next("To see each source's opinion:", "status");
                "down, nothing is created".into()
            }
            Blocker::ChainNotFinalising { epochs } => {
                self.body.say(
                    "The chain itself is not well, so nothing is done here: a standby would not help. You need not do \
                     anything; watch what the client teams say.",
                );
                self.body.facts(&[("Seen", format!("the last finalised epoch is {epochs} behind"))]);
                self.next("To see when it is over:", "status");
                "the chain is not finalising".into()
            }
            Blocker::Maintenance { why } => self.maintenance(why),
            Blocker::Promotion { kind, by } => {
                self.held_back(&format!("{by} has opened a {}, and all machines are left alone meanwhile", kind.noun()))
            }
            Blocker::Cooldown { until } => self.held_back(&format!(
                "its last incident ended a short time ago (policy.cooldown, until {})",
                clock(*until)
            )),
            Blocker::ClosedByOperator => {
                self.held_back("you ended its last incident while it was down, and it was not seen up since")
            }
            Blocker::TooMany { limit } => {
                self.held_back(&format!("it had {limit} incidents in 24 hours already (policy.max_incidents_per_day)"))
            }
            Blocker::OverIncidentBudget { estimate, limit } => self.over_budget(
                &format!(
                    "it could cost {} and one incident may cost {}. Raise budget.per_incident_usd",
                    usd(*estimate),
                    usd(*limit)
                ),
                "an incident",
            ),
            Blocker::OverMonthBudget { estimate, spent, limit } => self.over_budget(
                &format!(
                    "it could cost {}, the last 30 days have cost {}, and a month may cost {}. Raise \
                     budget.per_month_usd",
                    usd(*estimate),
                    usd(*spent),
                    usd(*limit)
                ),
                "a month",
            ),
            Blocker::PriceUnknown { rung } => {
                self.body.say(&format!(
                    "{} is down, but no standby is created: there is a budget and no known price for {rung}. Use \
                     another machine type or remove the budget.",
                    self.id()
                ));
                self.next("To see the ladder with its prices:", &format!("plan {}", self.id()));
                "no standby, its price is not known".into()
            }
        }
    }

    fn over_budget(&mut self, why: &str, of: &str) -> String {
        let id = self.id();
        self.body.say(&format!("{id} is down, but no standby is created: {why} or see to home."));
        self.next("When the budget is raised, to try at once:", &format!("open {id} --reason \"budget raised\""));
        format!("no standby, over the budget of {of}")
    }

    fn maintenance(&mut self, why: &str) -> String {
        let id = self.id();
        let stop = if why.ends_with('?') { "" } else { "." };
        self.body.say(&format!(
            "{id} is down, and a human seems to have done it: {why}{stop} No standby is created. If you know \
             about it, there is nothing to do; pausing {id} before such work keeps this mail away."
        ));
        self.evidence();
        self.next(
            "If it is no maintenance, create a standby now:",
            &format!("open {id} --reason \"I looked: it is down\""),
        );
        "down: is this maintenance?".into()
    }

    fn held_back(&mut self, why: &str) -> String {
        let id = self.id();
        self.body.say(&format!(
            "{id} is down again, but no standby is created: {why}. Find out why it keeps failing, or open an incident \
             yourself."
        ));
        self.evidence();
        self.next("To create a standby now:", &format!("open {id} --reason \"I looked: it is down\""));
        "down again, held back".into()
    }
}
