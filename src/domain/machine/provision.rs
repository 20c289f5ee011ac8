//! `Provisioning`: look, create down the ladder, and look again whenever an outcome is unknown.

use super::{Draft, budget, recover};
use crate::domain::{
    Action, CreateOutcome, Incident, InstanceRef, Machine, MachineState, Outcome, Pending, Phase, Policy, Reason, Role,
    Rung, Standby, StandbySpec, Step, Topic, elapsed,
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
    let late_at = incident.opened_at.checked_add(draft.policy.provisioning_deadline).unwrap_or(draft.now);
    if draft.now >= late_at {
        draft.tell(Topic::TooSlow);
    } else {
        draft.wake(late_at);
    }
    draft.start(&pending);
}

fn react(draft: &mut Draft<'_>, incident: &mut Incident, pending: &Pending, outcome: Outcome) {
    match (outcome, &pending.action) {
        (Outcome::Found(machines), _) => found(draft, incident, &machines),
        (Outcome::Created(created), Action::Create(spec)) => created_as(draft, incident, &spec.rung.clone(), created),
        (Outcome::Failed(said), _) => look_again(draft, incident, said),
        // An outcome of another kind under this name cannot be; looking again is safe whatever it was.
        (
            Outcome::Created(_) | Outcome::Observed(_) | Outcome::Deleted | Outcome::Untouchable(_),
            Action::Find | Action::Create(_) | Action::Observe(_) | Action::Delete(_),
        ) => look_again(draft, incident, "the answer was of another kind".into()),
    }
}

/// What a complete look found. The machine that serves the incident is the one to keep; a second one goes later, once
/// this one is in the ledger.
fn found(draft: &mut Draft<'_>, incident: &mut Incident, machines: &[Machine]) {
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

/// Untouchable ones first, then the one that runs, then the oldest.
pub(super) fn keep_first(machine: &Machine) -> (bool, bool, Option<crate::domain::Time>, String) {
    (
        machine.role == Role::Standby && !machine.deletion_protection,
        machine.state != MachineState::Running,
        machine.created_at,
        machine.instance.zone.clone(),
    )
}

fn adopt(draft: &mut Draft<'_>, incident: &mut Incident, instance: InstanceRef, rung: Rung, retained: bool) {
    incident.failures = 0;
    incident.machine_since.get_or_insert(draft.now);
    if let Some(index) = draft.policy.ladder.iter().position(|priced| priced.rung == rung) {
        incident.rung = index;
        incident.estimate = draft.policy.ladder[index].until_fuse;
    }
    draft.say(Reason::Adopted { instance: instance.clone() });
    let standby = Standby { instance, rung, since: draft.now, retained, extra: None };
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
    let fits = |index: &usize| budget::within_budget(draft.world, policy, &policy.ladder[*index], planned, now).is_ok();
    let Some(index) = (incident.rung..policy.ladder.len()).find(fits) else {
        exhausted(draft, incident, "no rung that the budget allows is left".into(), Topic::OutOfStock);
        return;
    };
    let priced = &policy.ladder[index];
    incident.rung = index;
    incident.estimate = priced.until_fuse;
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
        Action::Find | Action::Observe(_) | Action::Delete(_) if incident.failures > 0 => Reason::Retrying {
            at: pending.not_before,
            what: "provisioning",
            said: format!("try {} of rung {}", incident.failures, incident.rung.min(policy.ladder.len())),
        },
        Action::Find | Action::Observe(_) | Action::Delete(_) => {
            Reason::Looking { why: "nothing is created before it is known that there is none" }
        }
    }
}

/// For how long the incident has had a machine, for the bill.
pub(super) fn machine_time(incident: &Incident, now: crate::domain::Time) -> crate::domain::Span {
    incident.machine_since.map_or(crate::domain::Span::ZERO, |since| elapsed(since, now))
}
