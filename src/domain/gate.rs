//! What a gate decides: whether its child may start, continue or has to stop. Pure, and small, because everything rests on it.
//!
//! A gate starts what signs and nothing else does. Its words: the *grant* says which place may sign, the *session* which
//! process at home does, and a *holder* is one state folder with its lock.

mod duty;
mod renewal;
mod status;
mod wait;
mod watch;

use std::time::Duration;

use uuid::Uuid;

pub use duty::{EpochSpan, Silence};
pub use renewal::{RenewalId, Renewals};
pub use status::{GatePhase, GateStatus, WaitKind};
pub use wait::{VersionAge, ended_early, newest_grant};
pub use watch::{GateNeed, GateSight, GateWatch};

use super::ownership::{GrantError, GrantPlace, LastGrant, Session, VerifiedGrant};

/// For how long a gate may sign without the ledger, unless something else is configured.
pub const DEFAULT_GATE_TTL: &str = "6h";

/// Who asks for a start at home.
#[derive(Clone, Copy, Debug)]
pub struct HomeGate<'a> {
    pub site: &'a str,
    /// The id in its state folder, whose lock it has.
    pub holder: Uuid,
    /// Whether the folder is on a local disk. Elsewhere two machines may have it and its id at once: it never resumes, and
    /// its caller renews and gives back only as long as the deadline of its own last request lasts.
    pub resumes: bool,
    /// The newest grant that it has seen, by which it has started or not.
    pub last: Option<&'a LastGrant>,
    /// The highest number that it has seen in any session or grant.
    pub seen: u64,
}

/// Whether a start may go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartDecision {
    /// Write the session, under exactly the version that was read. It is this gate's own, or nobody's.
    Take,
    Wait(WaitReason),
}

/// Why a gate waits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WaitReason {
    #[error("there is no grant: `failover adopt` makes the first one")]
    NoGrant,
    #[error("{0}")]
    PutBack(#[from] GrantError),
    #[error("grant {number} says that {place} signs")]
    GrantedElsewhere { number: u64, place: String },
    #[error("a promotion is under way: the session's number is {session}, above grant {grant}")]
    Moving { session: u64, grant: u64 },
    #[error(
        "there is a grant and no session: the ledger is damaged. Find out which place signs, then `failover adopt`"
    )]
    NoSession,
    #[error("another process at home holds the session; it is free in {} at the latest", minutes(.0))]
    Held(Duration),
    #[error(
        "another process at home holds the session and keeps it until it gives it back (on_ledger_loss: run). If its state \
         folder is gone for good, or is on another disk or machine now: `failover adopt --statement`"
    )]
    HeldForGood,
}

fn minutes(span: &Duration) -> String {
    super::human((*span).try_into().unwrap_or(super::Span::MAX))
}

impl HomeGate<'_> {
    /// Whether this gate may take the session. Session first, then grant: the caller reads them in this order, so that a
    /// promotion that begins between the two reads is seen in one of them.
    ///
    /// `unchanged`: how long this version of the session has been seen unchanged.
    #[must_use]
    pub fn start(
        &self,
        session: Option<&Session>,
        grant: Option<&VerifiedGrant>,
        unchanged: Duration,
    ) -> StartDecision {
        use StartDecision::Wait;
        let Some(grant) = grant else { return Wait(WaitReason::NoGrant) };
        if let Err(error) = grant.is_news_after(self.last) {
            return Wait(error.into());
        }
        let number = grant.grant().number;
        match &grant.grant().owner {
            GrantPlace::Home { site } if site == self.site => {}
            GrantPlace::Home { site } => {
                return Wait(WaitReason::GrantedElsewhere { number, place: format!("the site {site}") });
            }
            GrantPlace::Cloud { zone, instance_id, .. } => {
                let place = format!("the machine {instance_id} in {zone}");
                return Wait(WaitReason::GrantedElsewhere { number, place });
            }
        }
        // Not a free one: somebody may hold the one that was deleted.
        let Some(session) = session else { return Wait(WaitReason::NoSession) };
        if session.number > number {
            return Wait(WaitReason::Moving { session: session.number, grant: number });
        }
        if number < self.seen {
            return Wait(GrantError::PutBack { known: self.seen, found: number }.into());
        }
        if session.is_free(unchanged) || (self.resumes && session.holder == Some(self.holder)) {
            return StartDecision::Take;
        }
        match session.old_after() {
            Some(after) => Wait(WaitReason::Held(after.saturating_sub(unchanged))),
            None => Wait(WaitReason::HeldForGood),
        }
    }

    /// What the session says to a gate whose child runs, under a grant of this number.
    #[must_use]
    pub fn look(&self, session: &Session, granted: u64) -> SessionLook {
        if session.number > granted {
            SessionLook::Stop(StopReason::Moving { number: session.number })
        } else if session.holder == Some(self.holder) {
            SessionLook::Ours
        } else {
            SessionLook::Stop(StopReason::Lost)
        }
    }
}

/// What a running gate has found in the session. A session that is missing or cannot be read is none of these: it is no
/// answer, and the deadline runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionLook {
    /// It may be renewed.
    Ours,
    Stop(StopReason),
}

/// Why a gate stops its child.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StopReason {
    #[error("the session's number was raised to {number}: a promotion is under way")]
    Moving { number: u64 },
    #[error("another process holds the session")]
    Lost,
    #[error(
        "another process holds the session with this gate's own id: its disk is attached twice, or was copied. Stop one of \
         them, and give it a new state folder. Was the ledger put back to an older copy instead, start this gate again"
    )]
    Twin,
}

/// Whether the machine in the cloud may start its child: by a grant for this very boot, and nothing else.
#[must_use]
pub fn may_start_in_cloud(
    grant: &VerifiedGrant,
    instance: &super::InstanceId,
    boot: &str,
    last: Option<&LastGrant>,
) -> bool {
    let named = matches!(
        &grant.grant().owner,
        GrantPlace::Cloud { instance_id, boot_id, .. } if instance_id == instance && boot_id == boot
    );
    named && grant.is_news_after(last).is_ok()
}

/// Until when a child may run, in time since an arbitrary moment on a clock that nobody sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ChildDeadline {
    /// SIGTERM.
    pub ask: Duration,
    /// SIGKILL.
    pub kill: Duration,
}

impl ChildDeadline {
    /// `requested` is from before the renewal was sent, not from when it was answered.
    #[must_use]
    pub fn after(requested: Duration, ttl: Duration, stop_grace: Duration) -> Self {
        let kill = requested.saturating_add(ttl);
        Self { ask: kill.saturating_sub(stop_grace).max(requested), kill }
    }
}

/// Which epochs have to have passed without a duty by these keys before a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SilenceNeeded {
    None,
    /// The whole epoch that has just ended.
    LastEpoch,
    /// So many whole ones that begin after the state folder was made, or after the last child has ended.
    Later(u32),
}

impl SilenceNeeded {
    /// Somebody else was seen signing since: whoever that is may come back after one silent epoch.
    #[must_use]
    pub fn after_a_stranger(self) -> Self {
        match self {
            Self::None | Self::LastEpoch => Self::Later(2),
            Self::Later(needed) => Self::Later(needed.max(2)),
        }
    }
}

/// `ran`: whether this gate's child ran in a part of the last whole epoch, by its own notes. `new`: the state folder has
/// no notes yet. `ended_early`: the last child ended by itself within its first four epochs, as one does that has seen its
/// own keys at work: the epoch before that may well have been silent.
#[must_use]
pub fn silence_before_start(ran: bool, new: bool, ended_early: bool) -> SilenceNeeded {
    match (new, ended_early, ran) {
        (true, _, _) => SilenceNeeded::Later(2),
        (false, true, _) => SilenceNeeded::Later(1),
        (false, false, false) => SilenceNeeded::LastEpoch,
        (false, false, true) => SilenceNeeded::None,
    }
}

#[cfg(test)]
mod tests;
