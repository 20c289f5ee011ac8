//! The durable half of a validator: one record in the ledger, replaced as a whole.
//!
//! Signals, progress and holds are not here: they are rebuilt from their sources and are *unknown* after a start.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Action, ActionId, IncidentId, InstanceRef, Lines, Outgoing, Rung, Span, Step, StuckKind, Time, Usd};

/// Everything the ledger keeps of one validator.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Validator {
    /// Where it stands.
    pub phase: Phase,
    /// A human has asked for quiet.
    pub pause: Option<Pause>,
    /// Requests already taken, newest last, bounded: a repeated one changes nothing.
    pub applied: Vec<Applied>,
    /// What people have been told since the phase last was `Watching`, so that nothing is said twice.
    pub told: BTreeSet<Topic>,
    /// Mail that the server has not taken yet.
    pub outbox: Vec<Outgoing>,
    /// Incidents that ended, newest last, bounded.
    pub history: Vec<Closed>,
}

/// Where a validator stands. One enum, with its data inside: there is no pair of fields that can disagree.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Phase {
    /// Nothing says down.
    #[default]
    Watching,
    /// Something says down; not enough, or not for long enough.
    Suspected {
        /// When it began. "Still attesting" vetoes only if it is about a time after this.
        since: Time,
    },
    /// An incident is open and its machine is being looked for or created.
    Provisioning(Incident, Pending),
    /// The machine exists and is not ready.
    Syncing(Incident, Standby),
    /// The machine is ready to be promoted.
    Ready(Incident, Standby),
    /// The machine goes away and the incident ends.
    Releasing(Incident, Pending),
    /// In doubt. Only a human ends it.
    NeedsHuman(Incident, Option<Standby>, Doubt),
}

/// A confirmed outage of one validator. It ends by recovery on chain or by the operator, never by a resolved alert.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Incident {
    /// Its name.
    pub id: IncidentId,
    /// When the suspicion began.
    pub suspected_at: Time,
    /// When it was confirmed.
    pub opened_at: Time,
    /// What confirmed it, in the words of the signals.
    pub cause: String,
    /// Who opened it, if it was not the watcher.
    pub opened_by: Option<String>,
    /// It is one of several that failed together.
    pub site_outage: bool,
    /// The rung of the ladder that is tried, or that gave the machine.
    pub rung: usize,
    /// Counts creations; part of the request id, so a repetition after a lost reply keeps it.
    pub creation: u32,
    /// Tries without success since the last success; drives the pause between tries.
    pub failures: u32,
    /// Numbers the steps taken, so that each has a name of its own.
    pub steps: u32,
    /// When its machine was first known, by our clock; the bill starts here.
    pub machine_since: Option<Time>,
    /// The most it was expected to cost when it was opened.
    pub estimate: Option<Usd>,
    /// Machines that never booted and were given up, oldest first. None of them is ever adopted again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub given_up: Vec<GivenUp>,
}

/// A machine that never booted, and was deleted so that another could be tried.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GivenUp {
    /// Which machine.
    pub instance: InstanceRef,
    /// Where and on what, for the bill.
    pub rung: Rung,
    /// When it was first known.
    pub since: Time,
    /// When a complete look showed that it is gone; the bill ends here.
    pub gone_at: Option<Time>,
}

/// The incident's machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Standby {
    /// Which machine.
    pub instance: InstanceRef,
    /// Where and on what, for people and for the bill.
    pub rung: Rung,
    /// When we first knew of it, by our own clock.
    pub since: Time,
    /// The operator keeps it: automation neither deletes it nor lets its TTL end it.
    pub retained: bool,
    /// A second machine of this incident that is being deleted.
    pub extra: Option<Pending>,
    /// When it was first seen to have written anything. One that has is never given up as not booted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spoke_at: Option<Time>,
}

/// An action under way. It is in the ledger before the call is made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pending {
    /// Its name; an outcome under another name is late and is ignored.
    pub id: ActionId,
    /// What is done.
    pub action: Action,
    /// Not before this moment: the pause after a failure.
    pub not_before: Time,
}

/// Why only a human can go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Doubt {
    /// The machine is gone and we did not delete it.
    Vanished,
    /// The machine was stopped, by its fuse or by somebody.
    Stopped,
    /// A process that could sign was seen on it.
    SignerSeen,
    /// Nobody has decided anything until the TTL ended.
    TtlEnded,
    /// Home is back, but the machine does not show that nothing on it signs.
    RecoveredButSilent,
    /// A machine that should go must not be touched; the check that said so.
    Untouchable(String),
    /// As many machines as are allowed were made, and none has booted.
    NeverBooted {
        /// How many.
        attempts: u32,
        /// The last of what the last one's serial port has printed.
        console: Lines,
    },
}

/// A human has asked for quiet, with a reason and an end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pause {
    /// It ends by itself.
    pub until: Time,
    /// Why.
    pub reason: String,
    /// Who.
    pub by: String,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Applied {
    /// Which request.
    pub id: String,
    /// It was carried out; otherwise `answer` says why not and what to do.
    pub accepted: bool,
    /// In words.
    pub answer: String,
}

/// An incident that ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Closed {
    /// Which one.
    pub id: IncidentId,
    /// When it was confirmed.
    pub opened_at: Time,
    /// When it ended.
    pub closed_at: Time,
    /// Opened by the watcher itself; a human's do not count against the daily limit.
    pub automatic: bool,
    /// What its machine has cost, as far as the price table knows.
    pub cost: Option<Usd>,
    /// How it ended, in words.
    pub how: String,
}

/// Something people are told once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Topic {
    /// Suspected for long.
    SuspectedTooLong,
    /// Confirmed, but not acted on.
    Confirmed,
    /// The chain is not finalising.
    ChainSick,
    /// Some keys silent.
    Partial,
    /// A key is slashed.
    Slashed,
    /// Over budget or price unknown.
    Money,
    /// No capacity on the whole ladder.
    OutOfStock,
    /// Quota.
    Quota,
    /// The cloud refuses.
    Refused,
    /// No machine by the deadline.
    TooSlow,
    /// The standby was ready once.
    Ready,
    /// Anti-flap holds back.
    Flapping,
    /// A human seems to be at work on it.
    Hands,
    /// The fuse stops the machine soon.
    FuseSoon,
    /// A machine that should go does not.
    Stuck,
    /// The standby does not go on.
    Standby(StuckKind),
}

impl Phase {
    /// The incident, while there is one.
    #[must_use]
    pub fn incident(&self) -> Option<&Incident> {
        match self {
            Self::Watching | Self::Suspected { .. } => None,
            Self::Provisioning(incident, _)
            | Self::Syncing(incident, _)
            | Self::Ready(incident, _)
            | Self::Releasing(incident, _)
            | Self::NeedsHuman(incident, _, _) => Some(incident),
        }
    }

    /// The machine, once it is known.
    #[must_use]
    pub fn standby(&self) -> Option<&Standby> {
        match self {
            Self::Syncing(_, standby) | Self::Ready(_, standby) => Some(standby),
            Self::NeedsHuman(_, standby, _) => standby.as_ref(),
            Self::Watching | Self::Suspected { .. } | Self::Provisioning(..) | Self::Releasing(..) => None,
        }
    }

    /// Its name in the design, in logs, metrics and on the status page.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Watching => "watching",
            Self::Suspected { .. } => "suspected",
            Self::Provisioning(..) => "provisioning",
            Self::Syncing(..) => "syncing",
            Self::Ready(..) => "ready",
            Self::Releasing(..) => "releasing",
            Self::NeedsHuman(..) => "needs human",
        }
    }
}

impl Validator {
    /// How many applied requests are remembered: more than anybody sends between two looks.
    const APPLIED: usize = 32;
    /// How many ended incidents are kept: enough for a month of the daily limit.
    const HISTORY: usize = 100;

    pub(super) fn remember(&mut self, applied: Applied) {
        self.applied.push(applied);
        let excess = self.applied.len().saturating_sub(Self::APPLIED);
        self.applied.drain(..excess);
    }

    pub(super) fn archive(&mut self, closed: Closed) {
        self.history.push(closed);
        let excess = self.history.len().saturating_sub(Self::HISTORY);
        self.history.drain(..excess);
    }

    /// The record as a restarted watcher takes it up: whether a creation under way has happened is unknown, so it is
    /// looked for first. The number of the creation stays, so a repetition has the same request id.
    #[must_use]
    pub fn after_restart(mut self) -> Self {
        if let Phase::Provisioning(incident, pending) = &mut self.phase
            && matches!(pending.action, Action::Create(_))
        {
            *pending = incident.next(Step::Find, Action::Find, pending.not_before);
        }
        self
    }

    /// The pause that is in force now.
    #[must_use]
    pub fn paused_at(&self, now: Time) -> Option<&Pause> {
        self.pause.as_ref().filter(|pause| now < pause.until)
    }

    /// What the incidents opened in the last 30 days have cost or may still cost.
    #[must_use]
    pub fn spent_since(&self, from: Time) -> Usd {
        let closed = self.history.iter().filter(|closed| closed.opened_at >= from).filter_map(|closed| closed.cost);
        let open = self.phase.incident().and_then(|incident| incident.estimate);
        Usd(closed.chain(open).map(|usd| usd.0).sum())
    }

    /// Automatic incidents opened since then, the open one included.
    #[must_use]
    pub fn automatic_incidents_since(&self, from: Time) -> usize {
        let open = self.phase.incident().is_some_and(|incident| incident.opened_by.is_none());
        self.history.iter().filter(|closed| closed.automatic && closed.opened_at >= from).count() + usize::from(open)
    }
}

impl Incident {
    /// The next step, under a name of its own. A creation is named by its number alone: repeated after a lost reply, it
    /// is the same request to the cloud.
    #[must_use]
    pub fn next(&mut self, step: Step, action: Action, not_before: Time) -> Pending {
        self.steps += 1;
        let attempt = if step == Step::Create { self.creation } else { self.steps };
        Pending { id: ActionId { incident: self.id, step, attempt }, action, not_before }
    }
}

/// The span between two moments, zero when they are the other way round.
#[must_use]
pub fn elapsed(from: Time, to: Time) -> Span {
    to.duration_since(from).max(Span::ZERO)
}
