//! The gate *fenced*: the session is given back or old since its number was raised, and nobody has ever signed beside
//! it.

use std::time::Duration;

use super::{Gate, GateEvidence, GateName, GateState, SILENT_EPOCHS, gate};
use crate::domain::{
    Interval, Span, Time, TimeExt as _, clock, human,
    ownership::{Held, Session},
};

/// So far back every duty has to be explained; the session keeps a day more.
pub const HELD_DAYS: i64 = 7;
/// How much of that has to be known, unless something else is configured: a day has every duty that recurs.
pub const FENCE_RECORDS: Span = Span::from_hours(24);
/// And never fewer epochs, however long they are: a client that starts is silent for as many under doppelganger protection.
const FENCE_EPOCHS: u64 = SILENT_EPOCHS;

/// By how much a holder's clock may be ahead of this one.
const CLOCKS_MAY_DIFFER: Span = Span::from_mins(1);

/// What was read of the session and of the chain.
#[derive(Clone, Debug)]
pub struct FenceFacts {
    /// `None`: it is missing.
    pub session: Option<Session>,
    /// How long its holder has not written it at least.
    pub silent: Duration,
    /// Of the grant that is to be signed.
    pub number: u64,
    /// When the cloud owned, by the grants.
    pub cloud: Vec<Interval>,
    /// `None`: nobody has written down when these keys had duties.
    pub duties: Option<DutyEpochs>,
    /// For how long that must be known at least: `fence_records`.
    pub records_for: Span,
    /// What the workload's command at home begins with, where the API answers: whether that is the gate.
    pub behind_gate: Option<bool>,
}

/// In which epochs these keys had duties, as the chain's records have it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DutyEpochs {
    /// The time of all epochs of which it is known, since the gate first took the session.
    pub known: Span,
    /// How many they are.
    pub epochs: u64,
    /// Those with duties.
    pub with: Vec<Interval>,
}

/// What the epochs with duties say.
enum Duties {
    /// All of them were in a time in which the session was held or the cloud owned.
    Explained,
    /// This one was in no such time. A holder may have signed without the ledger, or its clock was wrong: by that clock
    /// were the times written, and those that a clock which was set back contradicts are taken away.
    Unproved(Interval),
    /// By the store's clock, no holder can have signed any more when this one began: somebody signs outside the gate.
    Outside(Interval),
}

pub(super) fn fenced(evidence: &GateEvidence, now: Time) -> Gate {
    const STATE_IT: &str = "state how home is physically prevented from coming back (--statement), or keep home off";
    const FIND_IT: &str = "find the process that signs outside the gate and stop it; nothing passes over this";
    let unknown = |seen: String| gate(GateName::Fenced, GateState::Unknown, seen, STATE_IT);
    let fail = |seen: String| gate(GateName::Fenced, GateState::Fail, seen, FIND_IT);
    if evidence.forges {
        return match evidence.stated {
            true => gate(GateName::Fenced, GateState::Pass, "stated; that home forges no more cannot be seen", ""),
            false => unknown("that home forges no more cannot be seen".to_owned()),
        };
    }
    let judged = match &evidence.fence {
        None => Err("the session could not be read".to_owned()),
        Some(facts) => match (&facts.session, &facts.duties) {
            (None, _) => Err("the session is missing: the ledger is damaged".to_owned()),
            (Some(session), _) if !session.was_held() => Err("no gate has ever held the session".to_owned()),
            (Some(session), Some(duties)) => {
                if let Duties::Outside(epoch) = facts.judge(session, duties, now) {
                    return fail(format!(
                        "a duty at {} began when no gate can have been signing any more",
                        clock(epoch.from)
                    ));
                }
                facts.proved(session, duties, now)
            }
            (Some(_), None) => Err("nobody has written down when these keys had duties".to_owned()),
        },
    };
    if evidence.fence.as_ref().is_some_and(|facts| facts.behind_gate == Some(false)) {
        return fail("the workload at home does not start through the gate".to_owned());
    }
    match judged {
        Ok(seen) => gate(GateName::Fenced, GateState::Pass, seen, ""),
        Err(why) if !evidence.stated => unknown(why),
        Err(why) => match evidence.silent_finalised {
            Some(epochs) if epochs >= SILENT_EPOCHS => {
                gate(GateName::Fenced, GateState::Pass, format!("stated; {why}; {epochs} finalised silent epochs"), "")
            }
            epochs => unknown(format!(
                "stated; {why}; {} of {SILENT_EPOCHS} finalised silent epochs",
                epochs.unwrap_or_default()
            )),
        },
    }
}

impl FenceFacts {
    /// What proves it, or what is missing.
    fn proved(&self, session: &Session, duties: &DutyEpochs, now: Time) -> Result<String, String> {
        if session.number < self.number {
            return Err(format!("the session's number is {}, not raised to {}", session.number, self.number));
        }
        if !session.is_fence(self.silent) {
            return Err(match session.old_after() {
                Some(after) => format!("the session is held, and old in {:?}", after.saturating_sub(self.silent)),
                None => "the session is held by a gate that continues without the ledger".to_owned(),
            });
        }
        // Its holders' own clocks wrote these times. Where they are wrong, or there are none, every duty looks explained.
        let wrong = |held: &Held| held.from > now || held.until > now.plus(CLOCKS_MAY_DIFFER);
        if session.held.is_empty() || session.held.iter().any(wrong) {
            return Err("the times in which the session was held are not known, or lie in the future".to_owned());
        }
        if let Duties::Unproved(epoch) = self.judge(session, duties, now) {
            let at = clock(epoch.from);
            return Err(format!("a duty at {at} fell into no time in which the session is known to have been held"));
        }
        if duties.known < self.records_for {
            let (known, needed) = (human(duties.known), human(self.records_for));
            return Err(format!("the chain's records of {known} are fewer than {needed}"));
        }
        if duties.epochs < FENCE_EPOCHS {
            return Err(format!("the chain's records are of {} epochs, fewer than {FENCE_EPOCHS}", duties.epochs));
        }
        let how = if session.holder.is_none() { "given back" } else { "old" };
        Ok(format!(
            "the session is {how} since its number was raised; every duty fell into a time in which it was held"
        ))
    }

    fn judge(&self, session: &Session, duties: &DutyEpochs, now: Time) -> Duties {
        let (Some(first), Some(last)) = (session.held.first(), session.held.last()) else { return Duties::Explained };
        let since = first.from.max(now.minus(Span::from_hours(24 * HELD_DAYS)));
        let over = self.surely_over(session, now);
        let ttl = Span::from_secs(session.ttl_seconds.into());
        let overlaps = |epoch: &Interval, from: Time, until: Time| epoch.from <= until && from <= epoch.to;
        // Its holder may sign so long after its last renewal.
        let sure =
            |held: &Held| if session.holder.is_some() && held == last { held.until.plus(ttl) } else { held.until };
        let mut unproved = None;
        for epoch in duties.with.iter().filter(|epoch| epoch.from >= since) {
            // The first epoch after a handover has duties of both places.
            let explained = session.held.iter().any(|held| overlaps(epoch, held.from, sure(held)))
                || self.cloud.iter().any(|cloud| overlaps(epoch, cloud.from, cloud.to));
            if explained {
                continue;
            }
            if over.is_some_and(|over| epoch.from > over) {
                return Duties::Outside(*epoch);
            }
            unproved = unproved.or(Some(*epoch));
        }
        unproved.map_or(Duties::Explained, Duties::Unproved)
    }

    /// When the last moment was at which somebody can have signed under a session that is a fence.
    pub(super) fn over(&self, now: Time) -> Option<Time> {
        let session = self.session.as_ref().filter(|session| session.is_fence(self.silent))?;
        self.over_of(session, now)
    }

    /// From when on nobody can have signed under this session, whatever its holders' clocks said.
    fn surely_over(&self, session: &Session, now: Time) -> Option<Time> {
        self.over_of(session, now).map(|over| over.plus(CLOCKS_MAY_DIFFER))
    }

    /// It was written last before `silent`, by the store's clock. `None`: its holder continues without the ledger.
    fn over_of(&self, session: &Session, now: Time) -> Option<Time> {
        let written = now.minus(Span::try_from(self.silent).unwrap_or(Span::MAX));
        match session.holder {
            None => Some(written),
            Some(_) => session.old_after().map(|after| written.plus(Span::try_from(after).unwrap_or(Span::MAX))),
        }
    }
}
