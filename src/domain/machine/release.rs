//! `Releasing`: every machine of the incident goes, then the incident ends.

use super::{Draft, boot, provision};
use crate::domain::{
    Action, Closed, Doubt, Incident, Lines, Outcome, Pending, Phase, Reason, Step, Topic, Usd, elapsed,
};

pub(super) fn advance(draft: &mut Draft<'_>) {
    let Phase::Releasing(incident, pending) = draft.record.phase.clone() else { return };
    let mut incident = incident;
    if let Some(outcome) = draft.take_outcome(pending.id) {
        let outcome = outcome.clone();
        if let Outcome::Found(machines) = &outcome {
            boot::bill(&mut incident, machines, draft.now);
        }
        match outcome {
            Outcome::Found(machines) => match machines.iter().max_by_key(|machine| provision::keep_first(machine)) {
                None => {
                    if incident.machine_since.is_none() && incident.given_up.is_empty() {
                        close(draft, &incident, Lines::default());
                        return;
                    }
                    incident.failures = 0;
                    let next = incident.next(Step::Disks, Action::Disks, draft.now);
                    draft.enter(Phase::Releasing(incident, next));
                }
                Some(machine) => {
                    incident.failures = 0;
                    let instance = machine.instance.clone();
                    draft.say(Reason::Deleting { instance: instance.clone(), why: "the incident is over" });
                    let next = incident.next(Step::Delete, Action::Delete(instance), draft.now);
                    draft.enter(Phase::Releasing(incident, next));
                }
            },
            // Gone, as far as is known; the search that follows says whether anything is left.
            Outcome::Deleted => {
                let next = incident.next(Step::Find, Action::Find, draft.now);
                draft.enter(Phase::Releasing(incident, next));
            }
            Outcome::Untouchable(check) => {
                super::recover::doubt(draft, None, Doubt::Untouchable(check));
                return;
            }
            Outcome::Disks(left) => {
                close(draft, &incident, left.into_iter().collect());
                return;
            }
            // The machines are gone; what cannot be looked at for long must not keep the incident open.
            Outcome::Failed(said)
                if matches!(pending.action, Action::Disks) && incident.failures + 1 >= DISKS_TRIES =>
            {
                let left = format!("it could not be seen whether a disk is left: {said}");
                close(draft, &incident, Lines::from_iter([left]));
                return;
            }
            Outcome::Failed(said) => {
                let at = draft.after(draft.policy.backoff(incident.failures));
                incident.failures = incident.failures.saturating_add(1);
                if incident.failures == TELL_AFTER {
                    draft.tell_failure(Topic::Stuck, &said, Some(at));
                }
                draft.say(Reason::Retrying { at, what: "releasing", said });
                let next = again(&mut incident, &pending, at);
                draft.enter(Phase::Releasing(incident, next));
            }
            Outcome::Created(_) | Outcome::Observed(_) | Outcome::Console(_) => {
                let next = incident.next(Step::Find, Action::Find, draft.now);
                draft.enter(Phase::Releasing(incident, next));
            }
        }
    }
    if let Phase::Releasing(_, pending) = draft.record.phase.clone() {
        draft.start(&pending);
    }
}

/// A machine that will not go costs money: after this many tries somebody is told.
pub(super) const TELL_AFTER: u32 = 5;
/// So often the disks are asked for before the incident ends without the answer.
const DISKS_TRIES: u32 = 4;

/// Whatever failed is preceded by a search again, except the look at what is left, which changes nothing.
fn again(incident: &mut Incident, failed: &Pending, at: crate::domain::Time) -> Pending {
    match failed.action {
        Action::Disks => incident.next(Step::Disks, Action::Disks, at),
        Action::Find
        | Action::Create(_)
        | Action::Observe(_)
        | Action::Delete(_)
        | Action::GiveUp(_)
        | Action::Console(_) => incident.next(Step::Find, Action::Find, at),
    }
}

/// What the incident has cost, as far as the price table knows: machines that were given up, and the one that served.
fn cost(draft: &Draft<'_>, incident: &Incident) -> Option<Usd> {
    let sunk = boot::sunk(incident, draft.policy, draft.now)?;
    let Some(since) = incident.machine_since else { return Some(sunk) };
    let per_hour = draft.policy.ladder.get(incident.rung)?.per_hour?;
    Some(Usd(sunk.0 + per_hour.0 * elapsed(since, draft.now).as_secs_f64() / 3600.0))
}

fn close(draft: &mut Draft<'_>, incident: &Incident, left: Lines) {
    let cost = cost(draft, incident);
    let how = if draft.live.healthy_since.is_some() { "home is back" } else { "closed by the operator" };
    let closed = Closed {
        id: incident.id,
        opened_at: incident.opened_at,
        closed_at: draft.now,
        automatic: incident.opened_by.is_none(),
        cost,
        how: how.into(),
    };
    draft.say(Reason::Closed { incident: incident.id, how: how.into(), cost });
    if !left.is_empty() {
        draft.say(Reason::DisksLeft { left: left.iter().collect::<Vec<_>>().join(", ") });
    }
    draft.tell_recovered(incident, &closed, left);
    let record = draft.record.to_mut();
    record.archive(closed);
    record.told.clear();
    draft.live.healthy_since = None;
    draft.live.held_since = None;
    boot::forget_machine(draft);
    draft.enter(Phase::Watching);
}
