//! `Provisioning`: look, create down the ladder, and look again whenever an outcome is unknown.

use super::{Draft, boot, budget, recover};
use crate::domain::{
    Action, CreateOutcome, Doubt, GivenUp, Incident, InstanceRef, Lines, Machine, MachineState, Outcome, Pending,
    Phase, Policy, Reason, Role, Rung, Standby, StandbySpec, Step, Topic, Usd,
};

pub(super) fn advance(draft: &mut Draft<'_>) {
    let Phase::Provisioning(incident, pending) = &draft.record.phase else { return };
    let (mut incident, pending) = (incident.clone(), pending.clone());
    if let Some(outcome) = draft.take_outcome(pending.id) {
        let outcome = outcome.clone();
        react(draft, &mut incident, &pending, outcome);
        if !matches!(draft.record.phase, Phase::Provisioning(..)) {
            return;
        }
    }
    if recover::is_back(draft, incident.opened_at) {
        recover::release_recovered(draft);
        return;
    }
    let Phase::Provisioning(incident, pending) = draft.record.phase.clone() else { return };
    // For a second machine it counts from when the first one was due.
    let due = |gone: &GivenUp| gone.since.checked_add(draft.policy.boot_deadline).unwrap_or(draft.now);
    let since = incident.given_up.last().map_or(incident.opened_at, due);
    let late_at = since.checked_add(draft.policy.provisioning_deadline).unwrap_or(draft.now);
    if draft.now < late_at {
        draft.wake(late_at);
    } else {
        draft.tell(Topic::TooSlow);
    }
    draft.start(&pending);
}

fn react(draft: &mut Draft<'_>, incident: &mut Incident, pending: &Pending, outcome: Outcome) {
    match (outcome, &pending.action) {
        (Outcome::Found(machines), _) => found(draft, incident, &machines),
        (Outcome::Created(created), Action::Create(spec)) => created_as(draft, incident, &spec.rung.clone(), created),
        // Gone, as far as is known; nothing is created before a complete look shows the same.
        (Outcome::Deleted, Action::GiveUp(_)) => {
            let pending = incident.next(Step::Find, Action::Find, draft.now);
            draft.enter(Phase::Provisioning(incident.clone(), pending));
        }
        (Outcome::Untouchable(check), Action::GiveUp(instance)) => untouchable(draft, incident, instance, check),
        (Outcome::Failed(said), Action::GiveUp(_)) => {
            tell_that_it_stays(draft, incident, &said);
            look_again(draft, incident, said);
        }
        (Outcome::Failed(said), _) => look_again(draft, incident, said),
        // An outcome of another kind under this name cannot be; looking again is safe whatever it was.
        (
            Outcome::Created(_)
            | Outcome::Observed(_)
            | Outcome::Deleted
            | Outcome::Untouchable(_)
            | Outcome::Console(_)
            | Outcome::Disks(_),
            Action::Find
            | Action::Create(_)
            | Action::Observe(_)
            | Action::Delete(_)
            | Action::GiveUp(_)
            | Action::Console(_)
            | Action::Disks,
        ) => look_again(draft, incident, "the answer was of another kind".into()),
    }
}

/// What a complete look found. The machine that serves the incident is the one to keep; a second one goes later, once
/// this one is in the ledger.
fn found(draft: &mut Draft<'_>, incident: &mut Incident, machines: &[Machine]) {
    boot::bill(incident, machines, draft.now);
    if let Some(left) = machines.iter().find(|machine| is_given_up(incident, &machine.instance)) {
        let left = left.clone();
        delete_again(draft, incident, &left);
        return;
    }
    incident.failures = 0;
    let Some(keep) = machines.iter().min_by_key(|machine| keep_first(machine)) else {
        create(draft, incident);
        return;
    };
    match (keep.role, keep.state) {
        (Role::Promoted | Role::Other, _) => {
            let check = format!("{} carries this incident's label but is not a standby", keep.instance);
            recover::doubt(draft, None, crate::domain::Doubt::Untouchable(check));
        }
        // It may still fail for want of capacity, and then it vanishes; that would look like a loss.
        (Role::Standby | Role::Retained, MachineState::Starting) => {
            look_again(draft, incident, format!("{} is still being created", keep.instance));
        }
        (Role::Standby | Role::Retained, MachineState::Running | MachineState::Stopped) => {
            let rung = Rung { zone: keep.instance.zone.clone(), machine_type: keep.machine_type.clone() };
            adopt(draft, incident, keep.instance.clone(), rung, keep.role == Role::Retained);
        }
    }
}

fn is_given_up(incident: &Incident, instance: &InstanceRef) -> bool {
    incident.given_up.iter().any(|gone| gone.instance.id == instance.id)
}

/// Untouchable ones first, then the one that runs, then the oldest.
pub(super) fn keep_first(machine: &Machine) -> (bool, bool, Option<crate::domain::Time>, String) {
    (
        machine.role == Role::Standby && !machine.deletion_protection,
        machine.state != MachineState::Running,
        machine.created_at,
        machine.instance.zone.clone(),
    )
}

/// A machine that was given up is still there, or there again in a list that is behind.
fn delete_again(draft: &mut Draft<'_>, incident: &mut Incident, left: &Machine) {
    if left.role != Role::Standby || left.deletion_protection {
        let check = format!("{} was given up, but its label or its deletion protection says to keep it", left.instance);
        untouchable(draft, incident, &left.instance.clone(), check);
        return;
    }
    tell_that_it_stays(draft, incident, "it is said to be deleted, and is still there");
    let at = draft.after(draft.policy.backoff(incident.failures));
    incident.failures = incident.failures.saturating_add(1);
    draft.say(Reason::GivingUp { instance: left.instance.clone() });
    let pending = incident.next(Step::Delete, Action::GiveUp(left.instance.clone()), at);
    draft.enter(Phase::Provisioning(incident.clone(), pending));
}

/// A machine that should go does not: that is told once, after a few tries.
fn tell_that_it_stays(draft: &mut Draft<'_>, incident: &Incident, said: &str) {
    if incident.failures >= super::release::TELL_AFTER {
        draft.tell_failure(Topic::Stuck, said, None);
    }
}

/// A machine that was given up must not be touched after all: it is the incident's machine again, and a human's.
fn untouchable(draft: &mut Draft<'_>, incident: &mut Incident, instance: &InstanceRef, check: String) {
    let standby = incident.given_up.iter().position(|gone| gone.instance.id == instance.id).map(|index| {
        let GivenUp { instance, rung, since, gone_at: _ } = incident.given_up.remove(index);
        incident.machine_since = Some(since);
        if let Some(index) = draft.policy.ladder.iter().position(|priced| priced.rung == rung) {
            incident.rung = index;
        }
        Standby { instance, rung, since, retained: false, extra: None, spoke_at: None }
    });
    let pending = incident.next(Step::Find, Action::Find, draft.now);
    draft.enter(Phase::Provisioning(incident.clone(), pending));
    recover::doubt(draft, standby, Doubt::Untouchable(check));
}

fn adopt(draft: &mut Draft<'_>, incident: &mut Incident, instance: InstanceRef, rung: Rung, retained: bool) {
    incident.failures = 0;
    incident.machine_since.get_or_insert(draft.now);
    if let Some(index) = draft.policy.ladder.iter().position(|priced| priced.rung == rung) {
        incident.rung = index;
        incident.estimate = estimate(draft, incident, draft.policy.ladder[index].until_fuse);
    }
    draft.say(Reason::Adopted { instance: instance.clone() });
    let standby = Standby { instance, rung, since: draft.now, retained, extra: None, spoke_at: None };
    boot::forget_machine(draft);
    draft.live.look_at = Some(draft.now);
    // Look again after creating: a machine that came late would be a second one.
    draft.live.recheck_at = Some(draft.now);
    draft.enter(Phase::Syncing(incident.clone(), standby));
}

fn create(draft: &mut Draft<'_>, incident: &mut Incident) {
    let (policy, now) = (draft.policy, draft.now);
    // The world counts this incident's own estimate already, if it did so when the event came.
    let counted = draft.world.get(draft.id).and_then(|subject| subject.record.phase.incident()?.estimate);
    let planned = counted.unwrap_or_default();
    // Without a price there is no budget either, or the rung would not have been taken.
    let sunk = boot::sunk(incident, policy, now).unwrap_or_default();
    let world = draft.world;
    let fits = |index: &usize| budget::within_budget(world, policy, &policy.ladder[*index], planned, sunk, now).is_ok();
    let Some(index) = (incident.rung..policy.ladder.len()).find(fits) else {
        if !incident.given_up.is_empty() && !(0..policy.ladder.len()).any(|index| fits(&index)) {
            let attempts = u32::try_from(incident.given_up.len()).unwrap_or(u32::MAX);
            let console = Lines::from_iter(["the budget allows no further try"]);
            draft.enter(Phase::Provisioning(incident.clone(), incident.clone().next(Step::Find, Action::Find, now)));
            recover::doubt(draft, None, Doubt::NeverBooted { attempts, console });
            return;
        }
        exhausted(draft, incident, "no rung that the budget allows is left".into(), Topic::OutOfStock);
        return;
    };
    let priced = &policy.ladder[index];
    incident.rung = index;
    incident.estimate = estimate(draft, incident, priced.until_fuse);
    let spec = StandbySpec {
        action: crate::domain::ActionId { incident: incident.id, step: Step::Create, attempt: incident.creation },
        validator: draft.id.clone(),
        rung: priced.rung.clone(),
        fuse: policy.standby_ttl,
    };
    draft.say(Reason::Creating { rung: priced.rung.clone(), name: spec.machine_name() });
    let pending = incident.next(Step::Create, Action::Create(spec), now);
    draft.enter(Phase::Provisioning(incident.clone(), pending));
}

fn created_as(draft: &mut Draft<'_>, incident: &mut Incident, rung: &Rung, outcome: CreateOutcome) {
    match outcome {
        // It holds the name that the next one needs, and only a look that shows it leads to its deletion.
        CreateOutcome::Created(instance) if is_given_up(incident, &instance) => {
            incident.creation += 1;
            look_again(draft, incident, format!("{instance} was given up, and is answered again"));
        }
        CreateOutcome::Created(instance) => adopt(draft, incident, instance, rung.clone(), false),
        CreateOutcome::OutOfStock(said) => {
            draft.say(Reason::OutOfStock { rung: rung.clone(), said: said.clone() });
            let next = incident.rung + 1;
            next_rung(draft, incident, next, said, Topic::OutOfStock);
        }
        CreateOutcome::QuotaExceeded(said) => {
            draft.say(Reason::QuotaExceeded { rung: rung.clone(), said: said.clone() });
            let elsewhere = |priced: &crate::domain::PricedRung| priced.rung.region() != rung.region();
            let rest = draft.policy.ladder.iter().skip(incident.rung + 1).position(elsewhere);
            let next = rest.map_or(draft.policy.ladder.len(), |skipped| incident.rung + 1 + skipped);
            next_rung(draft, incident, next, said, Topic::Quota);
        }
        CreateOutcome::Refused(said) => {
            draft.say(Reason::CloudRefused { said: said.clone() });
            incident.creation += 1;
            exhausted(draft, incident, said, Topic::Refused);
        }
        CreateOutcome::Unknown(said) => {
            draft.say(Reason::OutcomeUnknown { said: said.clone() });
            look_again(draft, incident, said);
        }
    }
}

/// Each creation has a number of its own: under the old one the cloud would only repeat its old answer.
fn next_rung(draft: &mut Draft<'_>, incident: &mut Incident, next: usize, said: String, topic: Topic) {
    incident.creation += 1;
    incident.rung = next;
    if next < draft.policy.ladder.len() {
        create(draft, incident);
    } else {
        exhausted(draft, incident, said, topic);
    }
}

/// Nothing more to try now: tell, pause, look, and start from the top of the ladder.
fn exhausted(draft: &mut Draft<'_>, incident: &mut Incident, said: String, topic: Topic) {
    let retry_at = draft.after(draft.policy.backoff(incident.failures));
    draft.tell_failure(topic, &said, Some(retry_at));
    incident.rung = 0;
    look_again(draft, incident, said);
}

/// After a pause. The number of the creation stays: if it did happen, it is found; if not, it is repeated.
fn look_again(draft: &mut Draft<'_>, incident: &mut Incident, said: String) {
    let at = draft.after(draft.policy.backoff(incident.failures));
    incident.failures = incident.failures.saturating_add(1);
    draft.say(Reason::Retrying { at, what: "provisioning", said });
    let pending = incident.next(Step::Find, Action::Find, at);
    draft.enter(Phase::Provisioning(incident.clone(), pending));
}

pub(super) fn explain(incident: &Incident, pending: &Pending, policy: &Policy) -> Reason {
    match &pending.action {
        Action::Create(spec) => Reason::Creating { rung: spec.rung.clone(), name: spec.machine_name() },
        Action::GiveUp(instance) => Reason::GivingUp { instance: instance.clone() },
        Action::Find | Action::Observe(_) | Action::Delete(_) | Action::Console(_) | Action::Disks
            if incident.failures > 0 =>
        {
            Reason::Retrying {
                at: pending.not_before,
                what: "provisioning",
                said: format!("try {} of rung {}", incident.failures, incident.rung.min(policy.ladder.len())),
            }
        }
        Action::Find | Action::Observe(_) | Action::Delete(_) | Action::Console(_) | Action::Disks => {
            Reason::Looking { why: "nothing is created before it is known that there is none" }
        }
    }
}

/// The most the incident may cost: this machine until its fuse, and what earlier ones have cost.
fn estimate(draft: &Draft<'_>, incident: &Incident, until_fuse: Option<Usd>) -> Option<Usd> {
    let sunk = boot::sunk(incident, draft.policy, draft.now)?;
    Some(Usd(until_fuse?.0 + sunk.0))
}
