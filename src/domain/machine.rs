//! The machine: one event in, one decision out.
//!
//! Two moves. `fold` takes the event into what is known; the phase is then advanced from what is known. Nothing is
//! done here: the runtime persists the decision's record first and carries out its actions second.

mod boot;
mod budget;
mod detect;
mod explain;
mod fold;
mod follow;
mod identity;
mod provision;
mod ready;
mod recover;
mod release;
mod request;
mod stuck;
mod tell;

use std::borrow::Cow;

use super::{
    Action, ActionId, Decision, Event, Live, Outcome, Pending, Phase, Policy, Reason, Rejected, Time, Validator,
    ValidatorId, World,
};

pub use explain::explain;
pub use stuck::{Stuck, StuckKind};

/// Decides what one event means. Total: every pair of phase and event has an answer, a late or repeated one is ignored
/// with a reason.
///
/// # Errors
/// [`Rejected`] when the event cannot be, for example about a validator nobody has configured. Nothing changed then.
pub fn step(world: &World, event: &Event, now: Time, policy: &Policy) -> Result<Decision, Rejected> {
    let id = match event {
        Event::ChainSeen(view) => return Ok(Decision { chain: Some(view.clone()), ..Decision::default() }),
        Event::Observed(id, ..)
        | Event::KeysSeen(id, _)
        | Event::HandsSeen(id, _)
        | Event::Requested(id, _)
        | Event::Finished(id, ..)
        | Event::Told(id, ..)
        | Event::ClockJumped(id)
        | Event::Due(id) => id,
    };
    let subject = world.get(id).ok_or_else(|| Rejected::UnknownValidator(id.clone()))?;
    let mut draft = Draft {
        id,
        world,
        policy,
        now,
        record: Cow::Borrowed(&subject.record),
        live: subject.live.clone(),
        finished: None,
        actions: Vec::new(),
        reasons: Vec::new(),
        wake_at: None,
    };
    fold::fold(&mut draft, event);
    draft.advance();
    Ok(draft.decide(&subject.live))
}

/// A decision in the making.
struct Draft<'a> {
    id: &'a ValidatorId,
    world: &'a World,
    policy: &'a Policy,
    now: Time,
    record: Cow<'a, Validator>,
    live: Live,
    /// The outcome this event brought, until a phase takes it.
    finished: Option<(ActionId, &'a Outcome)>,
    actions: Vec<(ActionId, Action)>,
    reasons: Vec<Reason>,
    wake_at: Option<Time>,
}

impl Draft<'_> {
    /// Lets the phase react until it stays. Every phase can be left only forwards, so four rounds are more than enough.
    fn advance(&mut self) {
        for _ in 0..4 {
            let before = std::mem::discriminant(&self.record.phase);
            match &self.record.phase {
                Phase::Watching | Phase::Suspected { .. } => detect::advance(self),
                Phase::Provisioning(..) => provision::advance(self),
                Phase::Syncing(..) | Phase::Ready(..) => follow::advance(self),
                Phase::Releasing(..) => release::advance(self),
                Phase::NeedsHuman(..) => follow::watch_in_doubt(self),
            }
            if std::mem::discriminant(&self.record.phase) == before {
                break;
            }
        }
        if let Some((id, _)) = self.finished.take() {
            self.say(Reason::Late { what: id.to_string() });
        }
    }

    fn decide(self, live_before: &Live) -> Decision {
        let record = match self.record {
            Cow::Borrowed(_) => None,
            Cow::Owned(record) => Some(record),
        };
        let live = (self.live != *live_before).then_some(self.live);
        Decision { record, live, chain: None, actions: self.actions, wake_at: self.wake_at, reasons: self.reasons }
    }

    fn say(&mut self, reason: Reason) {
        self.reasons.push(reason);
    }

    /// A moment that has come is judged in this very step; waking for it again would never end.
    fn wake(&mut self, at: Time) {
        if at > self.now {
            self.wake_at = Some(self.wake_at.map_or(at, |earlier| earlier.min(at)));
        }
    }

    fn enter(&mut self, phase: Phase) {
        self.record.to_mut().phase = phase;
    }

    fn after(&self, span: super::Span) -> Time {
        self.now.checked_add(span).unwrap_or(Time::MAX)
    }

    /// The outcome of this very action, if that is what the event brought.
    fn take_outcome(&mut self, id: ActionId) -> Option<&Outcome> {
        self.finished.take_if(|(finished, _)| *finished == id).map(|(_, outcome)| outcome)
    }

    /// Starts what is pending, if nothing else runs, its time has come and a human has not asked for quiet.
    fn start(&mut self, pending: &Pending) {
        if self.live.started.is_some() {
            return;
        }
        if self.now < pending.not_before {
            self.wake(pending.not_before);
        } else if self.may_act() {
            self.live.started = Some(pending.id);
            self.actions.push((pending.id, pending.action.clone()));
        }
    }

    /// Whether anything may be created or deleted now. Being paused, frozen or in observe mode stops it in every phase.
    fn may_act(&mut self) -> bool {
        if let Some(pause) = self.record.paused_at(self.now) {
            let until = pause.until;
            self.wake(until);
            return false;
        }
        self.policy.mode == super::Mode::Armed && !self.is_frozen()
    }

    /// A slashed key: nothing is touched until a human has looked.
    fn is_frozen(&self) -> bool {
        self.live.keys.as_ref().is_some_and(|keys| !keys.slashed.is_empty())
    }
}
