//! The machine: one event in, one decision out.
//!
//! Two moves. `fold` takes the event into what is known. Then the watch is judged, in every state, and after it the case
//! advances, if one is open. Nothing is done here: the runtime persists the decision's record first and carries out its
//! actions second.

mod adopt;
mod attention;
mod boot;
mod budget;
mod detect;
mod explain;
mod fold;
mod follow;
mod identity;
mod notify;
mod orphans;
mod owner;
mod provision;
mod ready;
mod recover;
mod release;
mod request;
mod stuck;
mod trouble;

use std::borrow::Cow;

use super::{
    Action, ActionId, Case, Decision, Event, Incident, IncidentId, Lifetime, Live, Machine, MachineWatch, Mode,
    Outcome, Pending, Policy, Reason, Rejected, Stage, Standby, Time, Validator, ValidatorId, World,
};

pub use explain::explain;

/// Decides what one event means. Total: every pair of state and event has an answer, a late or repeated one is ignored
/// with a reason.
///
/// # Errors
/// [`Rejected`] when the event cannot be, for example about a validator nobody has configured. Nothing changed then.
pub fn step(world: &World, event: &Event, now: Time, policy: &Policy) -> Result<Decision, Rejected> {
    if let Event::ChainSeen(view) = event {
        return Ok(Decision { chain: Some(view.clone()), ..Decision::default() });
    }
    let id = event.validator().expect("every other event is about a validator");
    let subject = world.get(id).ok_or_else(|| Rejected::UnknownValidator(id.clone()))?;
    let mut turn = Transition::new(world, id, now, policy).expect("it was found a line above");
    fold::fold(&mut turn, event);
    orphans::finished(&mut turn);
    owner::watch_promotion(&mut turn);
    detect::advance(&mut turn);
    turn.advance_case();
    Ok(turn.decide(&subject.live))
}

/// Polls have names of their own, so that a late answer to one is never taken for the answer to a pending step.
const POLL: u32 = 1 << 31;

struct Transition<'a> {
    id: &'a ValidatorId,
    world: &'a World,
    policy: &'a Policy,
    now: Time,
    record: Cow<'a, Validator>,
    live: Live,
    /// The outcome this event brought, until a stage takes it.
    finished: Option<(ActionId, &'a Outcome)>,
    /// This event brought a complete search that found nothing, or an answer to a creation that followed one.
    searched: bool,
    actions: Vec<(ActionId, Action)>,
    reasons: Vec<Reason>,
    wake_at: Option<Time>,
}

impl<'a> Transition<'a> {
    fn new(world: &'a World, id: &'a ValidatorId, now: Time, policy: &'a Policy) -> Option<Self> {
        let subject = world.get(id)?;
        Some(Self {
            id,
            world,
            policy,
            now,
            record: Cow::Borrowed(&subject.record),
            live: subject.live.clone(),
            finished: None,
            searched: false,
            actions: Vec::new(),
            reasons: Vec::new(),
            wake_at: None,
        })
    }

    /// Lets the case advance until it stays. A stage is left only forwards, so four rounds are more than enough.
    fn advance_case(&mut self) {
        if self.record.case.is_some() {
            self.look_for_a_signer();
            let at_work = recover::at_work(self);
            let back = at_work.is_some_and(|span| span >= self.policy.healthy_delay);
            for _ in 0..4 {
                let Some(case) = &self.record.case else { break };
                let before = std::mem::discriminant(&case.stage);
                match case.stage {
                    Stage::Provisioning(_) => provision::advance(self, back),
                    Stage::Standing(_) => follow::advance(self, at_work),
                    Stage::Releasing { .. } => release::advance(self),
                }
                if self.record.case.as_ref().is_some_and(|case| std::mem::discriminant(&case.stage) == before) {
                    break;
                }
            }
            if self.record.case.is_some() {
                attention::judge(self, back);
            } else {
                detect::advance(self);
            }
        }
        if let Some((id, _)) = self.finished.take() {
            self.say(Reason::Late { what: id.to_string() });
        }
    }

    /// Whoever wrote it, of whatever incident it is, and whatever stage the case is in by now: where a signer is said to
    /// be, nothing is touched.
    fn look_for_a_signer(&mut self) {
        if let (Some((id, Outcome::Observed(Some(seen)))), Some(incident)) = (self.finished, self.record.incident())
            && id.incident == incident.id
            && seen.written.report().is_some_and(|report| report.signer_seen)
        {
            attention::raise(self, super::Attention::SignerSeen);
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

    /// The outcome of this very action, if that is what the event brought.
    fn take_outcome(&mut self, id: ActionId) -> Option<&'a Outcome> {
        self.finished.take_if(|(finished, _)| *finished == id).map(|(_, outcome)| outcome)
    }

    /// The open case, to be changed. Only for callers that know there is one.
    fn case(&mut self) -> &mut Case {
        self.record.to_mut().case.as_mut().expect("a stage advances only while a case is open")
    }

    /// Those of a search that are the open incident's; it shows the validator's of other incidents as well.
    fn own<'m>(&self, machines: &'m [Machine]) -> Vec<&'m Machine> {
        let is_ours = |machine: &&Machine| self.is_own(machine) && !self.record.is_kept(&machine.instance.id);
        machines.iter().filter(is_ours).collect()
    }

    /// Whether a machine is the open incident's, under the name it has or one it had.
    fn is_own(&self, machine: &Machine) -> bool {
        let names = self.record.incident().map(|incident| incident.names().map(|id| id.to_string()));
        names.is_some_and(|mut names| names.any(|name| name == machine.incident))
    }

    /// The deletion of one of its machines, under the incident that the machine's label names: the check before it
    /// compares the two.
    fn deletion(&mut self, machine: &Machine, not_before: Time) -> Pending {
        let mut pending = self.incident().next(Action::Delete(machine.instance.clone()), not_before);
        if let Ok(named) = IncidentId::try_from(machine.incident.clone()) {
            pending.id.incident = named;
        }
        pending
    }

    fn incident(&mut self) -> &mut Incident {
        &mut self.case().incident
    }

    /// The standing machine, to be changed.
    fn standby(&mut self) -> &mut Standby {
        match &mut self.case().stage {
            Stage::Standing(standby) => standby,
            Stage::Provisioning(_) | Stage::Releasing { .. } => unreachable!("called by the stage Standing only"),
        }
    }

    /// What is observed of the machine; begins to observe it if nothing is yet.
    fn machine(&mut self) -> &mut MachineWatch {
        let now = self.now;
        self.live.machine.get_or_insert_with(|| Box::new(MachineWatch::from(now)))
    }

    /// What was observed of one machine, and said about it, is nothing about the next; nor is what was answered before
    /// it came.
    fn forget_machine(&mut self) {
        self.live.machine = None;
        self.live.troubles.clear();
        self.forget_notified(&[Lifetime::Machine]);
    }

    /// Starts what is pending, if nothing else runs and its time has come.
    fn start(&mut self, pending: &Pending) {
        if self.live.started.is_some() {
        } else if self.now < pending.not_before {
            self.wake(pending.not_before);
        } else {
            self.live.started = Some(pending.id);
            self.actions.push((pending.id, pending.action.clone()));
        }
    }

    /// Looking changes nothing outside, so it needs no intent in the ledger.
    fn ask(&mut self, action: Action) {
        let Some(incident) = self.record.incident() else { return };
        self.live.polls = self.live.polls.wrapping_add(1) | POLL;
        let id = ActionId { incident: incident.id, step: action.step(), attempt: self.live.polls };
        self.live.started = Some(id);
        self.actions.push((id, action));
    }

    /// Whether anything may be created or deleted now: not in observe mode, in a pause, with a slashed key, with a signer
    /// or another latched question about the machine, nor while its machines are people's alone.
    fn may_act(&mut self) -> bool {
        if let Some(pause) = self.record.paused_at(self.now) {
            let until = pause.until;
            self.wake(until);
            return false;
        }
        self.policy.mode == Mode::Armed && !self.is_frozen() && self.is_untouched()
    }

    /// Neither a signer, an owner in the cloud nor an open promotion forbids it. Holds for an operator's `close` as well.
    fn is_untouched(&self) -> bool {
        !self.record.is_taken() && !self.record.attention().is_some_and(super::Attention::is_latched)
    }

    /// A slashed key: nothing is touched until a human has looked.
    fn is_frozen(&self) -> bool {
        !self.record.slashed.is_empty()
    }
}
