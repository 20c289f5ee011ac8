//! `Releasing`: every machine of the incident goes, then the incident ends.

use super::{Draft, provision};
use crate::domain::{Action, Closed, Doubt, Incident, Outcome, Phase, Reason, Step, Topic, Usd};

pub(super) fn advance(draft: &mut Draft<'_>) {
    let Phase::Releasing(incident, pending) = draft.record.phase.clone() else { return };
    let mut incident = incident;
    if let Some(outcome) = draft.take_outcome(pending.id) {
        let outcome = outcome.clone();
        match outcome {
            Outcome::Found(machines) => match machines.iter().max_by_key(|machine| provision::keep_first(machine)) {
                None => {
                    close(draft, &incident);
                    return;
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
            Outcome::Failed(said) => {
                let at = draft.after(draft.policy.backoff(incident.failures));
                incident.failures = incident.failures.saturating_add(1);
                if incident.failures == TELL_AFTER {
                    draft.tell_failure(Topic::Stuck, &said, Some(at));
                }
                draft.say(Reason::Retrying { at, what: "releasing", said });
                let next = incident.next(Step::Find, Action::Find, at);
                draft.enter(Phase::Releasing(incident, next));
            }
            Outcome::Created(_) | Outcome::Observed(_) => {
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
const TELL_AFTER: u32 = 5;

fn close(draft: &mut Draft<'_>, incident: &Incident) {
    let hours = provision::machine_time(incident, draft.now).as_secs_f64() / 3600.0;
    let price = draft.policy.ladder.get(incident.rung).and_then(|rung| rung.per_hour);
    let cost = if incident.machine_since.is_none() { Some(Usd(0.0)) } else { price.map(|usd| Usd(usd.0 * hours)) };
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
    draft.tell_recovered(incident, &closed);
    let record = draft.record.to_mut();
    record.archive(closed);
    record.told.clear();
    draft.live.healthy_since = None;
    draft.live.held_since = None;
    draft.live.report = None;
    draft.live.look_at = None;
    draft.live.recheck_at = None;
    draft.enter(Phase::Watching);
}
