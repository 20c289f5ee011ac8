//! Releasing: every machine of the incident goes, then the incident ends.

use super::{Transition, attention, provision};
use crate::domain::{
    Action, Attention, Case, Closed, Lifetime, Lines, Machine, Mode, Outcome, Pending, Reason, Stage, Step, TimeExt,
    Usd, Watch,
};

/// So often the disks are asked for before the incident ends without the answer.
const DISKS_TRIES: u32 = 4;

pub(super) fn advance(turn: &mut Transition<'_>) {
    let Some((pending, _)) = releasing(turn) else { return };
    if let Some(outcome) = turn.take_outcome(pending.id) {
        react(turn, &pending, outcome);
    }
    let Some((pending, by)) = releasing(turn) else { return };
    if !pending.action.deletes() || may_delete(turn, by.is_some()) {
        turn.start(&pending);
    }
}

fn releasing(turn: &Transition<'_>) -> Option<(Pending, Option<String>)> {
    match &turn.record.case.as_ref()?.stage {
        Stage::Releasing { pending, by } => Some((pending.clone(), by.clone())),
        Stage::Provisioning(_) | Stage::Standing(_) => None,
    }
}

/// Whoever closed the incident has looked: neither a slashed key nor a pause forbids what they asked for. In observe mode
/// nothing is deleted for anybody.
fn may_delete(turn: &mut Transition<'_>, by_operator: bool) -> bool {
    if by_operator { turn.policy.mode == Mode::Armed && turn.is_untouched() } else { turn.may_act() }
}

fn react(turn: &mut Transition<'_>, pending: &Pending, outcome: &Outcome) {
    let now = turn.now;
    match outcome {
        Outcome::Found(machines) => {
            turn.works_again(Step::Find);
            found(turn, machines);
        }
        // What is there goes; what is not there may be where nobody could look.
        Outcome::FoundWithout { machines, .. } if !turn.own(machines).is_empty() => found(turn, machines),
        Outcome::FoundWithout { why, .. } => failed(turn, pending, why),
        // Gone, as far as is known; the search that follows says whether anything is left.
        Outcome::Deleted => {
            turn.live.deleted = pending.action.instance().map(|instance| instance.id.clone());
            set(turn, Action::Find, now);
        }
        Outcome::Untouchable(check) => {
            attention::raise(turn, Attention::Untouchable(check.as_str().into()));
            set(turn, Action::Find, now.plus(turn.policy.recheck_every));
        }
        Outcome::Disks(left) => close(turn, left.iter().map(String::as_str).collect()),
        Outcome::Failed(said) => failed(turn, pending, said),
        Outcome::Created(_) | Outcome::Observed(_) | Outcome::Console(_) => set(turn, Action::Find, now),
    }
}

fn found(turn: &mut Transition<'_>, machines: &[Machine]) {
    let (now, recheck_at) = (turn.now, turn.now.plus(turn.policy.recheck_every));
    turn.bill_abandoned(machines);
    let incident = turn.incident();
    incident.failures.find = 0;
    let own = turn.own(machines);
    let incident = turn.incident();
    let Some(machine) = own.into_iter().max_by_key(|machine| provision::keep_first(machine)) else {
        let nothing_was_made = incident.machine_since.is_none() && incident.abandoned.is_empty();
        turn.case().attention = None;
        if nothing_was_made {
            close(turn, Lines::default())
        } else {
            set(turn, Action::Disks, now)
        }
        return;
    };
    if !turn.is_untouched() {
        // It is a human's: whether it is still there is all that is asked.
        set(turn, Action::Find, recheck_at);
        return;
    }
    let instance = machine.instance.clone();
    turn.say(Reason::Deleting { instance: instance.clone(), why: "the incident is over" });
    let not_before = turn.deletes_at(&instance);
    let next = turn.deletion(machine, not_before);
    if let Stage::Releasing { pending, .. } = &mut turn.case().stage {
        *pending = next;
    }
}

/// Whatever failed is preceded by a search again, except the look at what is left, which changes nothing.
fn failed(turn: &mut Transition<'_>, pending: &Pending, said: &str) {
    if pending.action.deletes() {
        let at = turn.deletion_failed(said);
        return set(turn, Action::Find, at);
    }
    let failures = &mut turn.incident().failures.find;
    let before = *failures;
    *failures = before.saturating_add(1);
    let at = turn.now.plus(turn.policy.backoff(before));
    if matches!(pending.action, Action::Disks) {
        // The machines are gone; what cannot be looked at for long must not keep the incident open.
        if before + 1 >= DISKS_TRIES {
            return close(turn, Lines::from_iter([format!("it could not be seen whether a disk is left: {said}")]));
        }
        set(turn, Action::Disks, at);
    } else {
        turn.keeps_failing(Step::Find, said, before, at);
        set(turn, Action::Find, at);
    }
    turn.say(Reason::Retrying { at, what: "releasing", said: said.to_owned() });
}

fn set(turn: &mut Transition<'_>, action: Action, not_before: crate::domain::Time) {
    let Case { incident, stage, .. } = turn.case();
    if let Stage::Releasing { pending, .. } = stage {
        *pending = incident.next(action, not_before);
    }
}

/// Home owns the keys again, and the machine that had them is its operator's alone. Nothing is deleted.
pub(super) fn end_kept(turn: &mut Transition<'_>) {
    let Some(instance) = turn.record.standby().map(|standby| standby.instance.clone()) else { return };
    let left = format!("{instance}: it is stopped and kept, its disk costs and may hold keys");
    turn.say(Reason::MachineKept { instance });
    end(turn, "home owns its keys again", None, Lines::from_iter([left]), false);
}

fn close(turn: &mut Transition<'_>, left: Lines) {
    let Some((_, by)) = releasing(turn) else { return };
    let how = if by.is_some() { "closed by the operator" } else { "home is back" };
    end(turn, how, by, left, true);
}

fn end(turn: &mut Transition<'_>, how: &str, by: Option<String>, left: Lines, deleted: bool) {
    let Some(incident) = turn.record.incident().cloned() else { return };
    let bill = turn.bill(deleted);
    let cost = bill.as_ref().map_or(Some(Usd(0.0)), |bill| bill.cost);
    let closed = Closed {
        id: incident.id,
        opened_at: incident.opened_at,
        closed_at: turn.now,
        automatic: incident.opened_by.is_none(),
        cost,
        how: how.into(),
    };
    turn.say(Reason::Closed { incident: incident.id, how: how.into(), cost });
    if deleted && !left.is_empty() {
        turn.say(Reason::DisksLeft { left: left.iter().collect::<Vec<_>>().join(", ") });
    }
    turn.notify_of_recovery(&closed, bill, left);
    turn.forget_machine();
    turn.forget_notified(Lifetime::OF_AN_INCIDENT);
    (turn.live.healthy_since, turn.live.hold_from) = (None, Some(turn.now));
    let now = turn.now;
    let record = turn.record.to_mut();
    record.archive(closed);
    record.closed_by_operator = by.is_some();
    record.case = None;
    // What is still down is suspected again, and has to be confirmed again.
    if let Watch::Suspected { since, confirmed } = &mut record.watch {
        (*since, *confirmed) = (now, false);
    }
}
