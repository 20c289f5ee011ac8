//! The durable half of a validator: one record in the ledger, replaced as a whole.
//!
//! Two things live side by side in it: the *watch*, which judges the validator's health at every event, and the *case*,
//! which is the life of one incident's machine. Neither stops the other. What needs a human is an overlay of the case
//! ([`Attention`]), not a state of its own. Signals, progress and holds are not here: they are rebuilt from their sources
//! and are *unknown* after a start.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{
    Action, ActionId, Attention, Dropped, IncidentId, InstanceId, InstanceRef, Lifetime, Outgoing, PromotionView,
    PublicKey, Rung, Span, Step, Time, TimeExt, Topic, Usd,
};

/// Everything the ledger keeps of one validator.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Validator {
    /// Its health, as the signals show it.
    pub watch: Watch,
    /// The open incident with its machine, if there is one.
    pub case: Option<Case>,
    pub owner: Owner,
    /// The number of the grant in force, once one was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<u64>,
    /// Since when the cloud owns the keys by this grant, and what was seen since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloud: Option<CloudDuty>,
    /// What the record of promotions says; it keeps what it said last when that cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promotion: Option<Box<PromotionView>>,
    /// Keys that were seen slashed. They stay for as long as they are configured: everything is frozen meanwhile.
    pub slashed: BTreeSet<PublicKey>,
    /// An operator ended the last incident while it was down: none opens by itself until it was seen up.
    pub closed_by_operator: bool,
    /// A human has asked for quiet.
    pub pause: Option<Pause>,
    /// Requests already taken, newest last, bounded: a repeated one changes nothing.
    pub applied: Vec<Applied>,
    /// What people were notified of, and when last.
    pub notified: Vec<Notified>,
    /// Mail that the server has not taken yet.
    pub outbox: Vec<Outgoing>,
    /// Copies of notices that were given up.
    #[serde(default, skip_serializing_if = "Dropped::is_none")]
    pub dropped: Dropped,
    /// The digest of the runbook that was mailed last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runbook: Option<String>,
    /// Incidents that ended, newest last, bounded.
    pub history: Vec<Closed>,
}

/// What the signals amount to. It is judged at every event, whatever the case does.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Watch {
    /// Nothing says down.
    #[default]
    Calm,
    Suspected {
        /// When it began. "Still attesting" vetoes only if it is about a time after this.
        since: Time,
        /// It was confirmed: enough independent sources for long enough.
        confirmed: bool,
    },
}

/// An open incident, and where its machine is in its life.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    pub incident: Incident,
    pub stage: Stage,
    /// What a human has to look at. Polling, notifying and detecting continue under it.
    pub attention: Option<Attention>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Stage {
    /// Its machine is being looked for or created.
    Provisioning(Pending),
    /// The machine is known, syncing or ready.
    Standing(Standby),
    /// Its machines go away and the incident ends.
    Releasing {
        pending: Pending,
        /// Who asked for it; `None` when home is back.
        by: Option<String>,
    },
}

/// Who may sign, by the verified grant. Automation changes it never, and deletes nothing while it is not home's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Owner {
    /// There is no grant, or it has not been read.
    #[default]
    Unknown,
    Home,
    /// A promotion is under way: the session's number is above the grant's.
    Moving {
        number: u64,
    },
    Cloud {
        number: u64,
        instance: InstanceId,
        /// The boot for which it was granted.
        boot: String,
    },
}

/// The time of a grant for the cloud.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CloudDuty {
    /// When we first read the grant.
    pub since: Time,
    /// A signer was seen on the machine since.
    pub signed: bool,
}

impl Owner {
    /// Whether a machine of the cloud may hold the right to sign.
    #[must_use]
    pub fn may_be_cloud(&self) -> bool {
        match self {
            Self::Unknown | Self::Home => false,
            Self::Moving { .. } | Self::Cloud { .. } => true,
        }
    }
}

/// The case and the watch in one word, as people and metrics see them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::Display, strum::IntoStaticStr, strum::EnumIter)]
#[strum(serialize_all = "lowercase")]
pub enum Phase {
    /// Nothing says down and no incident is open.
    Watching,
    /// Something says down; not enough, or not for long enough.
    Suspected,
    /// The incident's machine is being looked for or created.
    Provisioning,
    /// The machine exists and is not ready.
    Syncing,
    /// The machine is ready to be promoted.
    Ready,
    /// The machine goes away and the incident ends.
    Releasing,
    /// The machine owns the keys, by its grant.
    Promoted,
    /// Whatever the stage, a human has to look.
    #[strum(serialize = "needs human")]
    NeedsHuman,
}

impl Phase {
    /// Its name in logs, metrics and on the status page.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// A confirmed outage of one validator. It ends by recovery on chain or by the operator, never by a resolved alert.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Incident {
    pub id: IncidentId,
    pub suspected_at: Time,
    pub opened_at: Time,
    /// What confirmed it, in the words of the signals.
    pub cause: String,
    /// Who opened it, if it was not the watcher.
    pub opened_by: Option<String>,
    /// It was opened by a human while the validator was seen at work, so its being at work does not end it.
    pub opened_while_up: bool,
    /// It is one of several that failed together.
    pub site_outage: bool,
    /// The rung of the ladder that is tried, or that gave the machine.
    pub rung: usize,
    /// Counts creations; part of the request id, so a repetition after a lost reply keeps it.
    pub creation: u32,
    /// Tries without success, each kind counted for itself; they drive the pauses and say when somebody is notified.
    pub failures: Failures,
    /// Numbers the steps taken, so that each has a name of its own.
    pub steps: u32,
    /// When its machine was first known, by our clock; the bill starts here.
    pub machine_since: Option<Time>,
    /// The most it was expected to cost when it was opened.
    pub estimate: Option<Usd>,
    /// Machines that never booted and were given up, oldest first. None of them is ever adopted again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub abandoned: Vec<Abandoned>,
    /// Names it had before it took a machine over: a creation of that time may still come, and is its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub formerly: Vec<IncidentId>,
}

/// Tries without success. One kind's success says nothing about another's: a look that answers must not reset the pause
/// of a deletion that fails each time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failures {
    /// Searches in every zone, in a row.
    pub find: u32,
    /// Rounds down the ladder that ended without a machine.
    pub create: u32,
    pub delete: u32,
    /// Creations of this round that brought no machine.
    #[serde(default)]
    pub round: u32,
    /// Creations on this rung, in a row, of which nobody knows whether they have happened.
    #[serde(default)]
    pub unanswered: u32,
}

/// A machine that never booted, and was deleted so that another could be tried.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Abandoned {
    pub instance: InstanceRef,
    /// Where and on what, for the bill.
    pub rung: Rung,
    /// When it was first known.
    pub since: Time,
    /// When a complete look showed that it is gone; the bill ends here.
    pub gone_at: Option<Time>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Standby {
    pub instance: InstanceRef,
    /// Where and on what, for people and for the bill.
    pub rung: Rung,
    /// When we first knew of it, by our own clock.
    pub since: Time,
    /// It has had everything a ready one needs for long enough.
    pub ready: bool,
    /// Since when it has had that without a break, while it is ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_since: Option<Time>,
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
    pub action: Action,
    /// Not before this moment: the pause after a failure.
    pub not_before: Time,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Notified {
    pub topic: Topic,
    pub lifetime: Lifetime,
    /// When first, since it was last forgotten.
    pub first_at: Time,
    /// When last.
    pub last_at: Time,
}

/// A human has asked for quiet, with a reason and an end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pause {
    pub until: Time,
    pub reason: String,
    pub by: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Applied {
    pub id: String,
    /// It was carried out; otherwise `answer` says why not and what to do.
    pub accepted: bool,
    pub answer: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Closed {
    pub id: IncidentId,
    pub opened_at: Time,
    pub closed_at: Time,
    /// Opened by the watcher itself; a human's do not count against the daily limit.
    pub automatic: bool,
    /// What its machine has cost, as far as the price table knows.
    pub cost: Option<Usd>,
    pub how: String,
}

impl Watch {
    /// When the suspicion began, if there is one.
    #[must_use]
    pub fn since(&self) -> Option<Time> {
        match self {
            Self::Calm => None,
            Self::Suspected { since, .. } => Some(*since),
        }
    }
}

impl Validator {
    /// How many applied requests are remembered: more than anybody sends between two polls.
    const APPLIED: usize = 32;
    /// How many ended incidents are kept: enough for a month of the daily limit.
    const HISTORY: usize = 100;

    /// The incident, while there is one.
    #[must_use]
    pub fn incident(&self) -> Option<&Incident> {
        self.case.as_ref().map(|case| &case.incident)
    }

    /// The machine, once it is known.
    #[must_use]
    pub fn standby(&self) -> Option<&Standby> {
        match &self.case.as_ref()?.stage {
            Stage::Standing(standby) => Some(standby),
            Stage::Provisioning(_) | Stage::Releasing { .. } => None,
        }
    }

    /// What a human has to look at.
    #[must_use]
    pub fn attention(&self) -> Option<&Attention> {
        self.case.as_ref()?.attention.as_ref()
    }

    #[must_use]
    pub fn phase(&self) -> Phase {
        let Some(case) = &self.case else {
            return if self.watch == Watch::Calm { Phase::Watching } else { Phase::Suspected };
        };
        match &case.stage {
            _ if case.attention.is_some() => Phase::NeedsHuman,
            Stage::Provisioning(_) => Phase::Provisioning,
            Stage::Standing(standby) if self.is_owner(&standby.instance.id) => Phase::Promoted,
            Stage::Standing(standby) if standby.ready => Phase::Ready,
            Stage::Standing(_) => Phase::Syncing,
            Stage::Releasing { .. } => Phase::Releasing,
        }
    }

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
        if let Some(Case { incident, stage: Stage::Provisioning(pending), .. }) = &mut self.case
            && matches!(pending.action, Action::Create(_))
        {
            *pending = incident.next(Action::Find, pending.not_before);
        }
        self
    }

    /// Moves every moment that is compared with later ones by as much as the clock was moved, so that what has been
    /// waited for stays waited for, and nothing else does. The dates of mails that are written stay as they are.
    pub fn shift(&mut self, by: Span) {
        let shift = |at: &mut Time| *at = at.plus(by);
        if let Watch::Suspected { since, .. } = &mut self.watch {
            shift(since);
        }
        if let Some(Case { incident, stage, .. }) = &mut self.case {
            shift(&mut incident.suspected_at);
            shift(&mut incident.opened_at);
            incident.machine_since.iter_mut().for_each(shift);
            for gone in &mut incident.abandoned {
                shift(&mut gone.since);
                gone.gone_at.iter_mut().for_each(shift);
            }
            match stage {
                Stage::Provisioning(pending) | Stage::Releasing { pending, .. } => shift(&mut pending.not_before),
                Stage::Standing(standby) => {
                    shift(&mut standby.since);
                    standby.spoke_at.iter_mut().for_each(shift);
                    standby.extra.iter_mut().for_each(|extra| shift(&mut extra.not_before));
                }
            }
        }
        self.cloud.iter_mut().for_each(|cloud| shift(&mut cloud.since));
        self.pause.iter_mut().for_each(|pause| shift(&mut pause.until));
        for notified in &mut self.notified {
            shift(&mut notified.first_at);
            shift(&mut notified.last_at);
        }
        for outgoing in &mut self.outbox {
            shift(&mut outgoing.next_try_at);
            shift(&mut outgoing.expires_at);
            outgoing.unsure.iter_mut().for_each(|unsure| shift(&mut unsure.again_at));
        }
        for closed in &mut self.history {
            shift(&mut closed.opened_at);
            shift(&mut closed.closed_at);
        }
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
        let open = self.incident().and_then(|incident| incident.estimate);
        Usd(closed.chain(open).map(|usd| usd.0).sum())
    }

    /// Automatic incidents opened since then, the open one included.
    #[must_use]
    pub fn automatic_incidents_since(&self, from: Time) -> usize {
        let open = self.incident().is_some_and(|incident| incident.opened_by.is_none());
        self.history.iter().filter(|closed| closed.automatic && closed.opened_at >= from).count() + usize::from(open)
    }
}

impl Standby {
    /// A machine that is known from this moment on.
    #[must_use]
    pub fn new(instance: InstanceRef, rung: Rung, since: Time) -> Self {
        Self { instance, rung, since, ready: false, ready_since: None, extra: None, spoke_at: None }
    }
}

impl Incident {
    /// One that opens at this moment. Nothing has been tried yet.
    #[must_use]
    pub fn new(id: IncidentId, opened_at: Time, cause: String) -> Self {
        Self {
            id,
            suspected_at: opened_at,
            opened_at,
            cause,
            opened_by: None,
            opened_while_up: false,
            site_outage: false,
            rung: 0,
            creation: 0,
            failures: Failures::default(),
            steps: 0,
            machine_since: None,
            estimate: None,
            abandoned: Vec::new(),
            formerly: Vec::new(),
        }
    }

    /// Every name its machines may carry, the present one first.
    pub fn names(&self) -> impl Iterator<Item = IncidentId> {
        std::iter::once(self.id).chain(self.formerly.iter().copied())
    }

    /// The next step, under a name of its own. A creation is named by its number alone: repeated after a lost reply, it
    /// is the same request to the cloud.
    #[must_use]
    pub fn next(&mut self, action: Action, not_before: Time) -> Pending {
        self.steps += 1;
        let step = action.step();
        let attempt = if step == Step::Create { self.creation } else { self.steps };
        Pending { id: ActionId { incident: self.id, step, attempt }, action, not_before }
    }
}
