//! Provisioning: look, create down the ladder, and look again whenever an outcome is unknown.

use super::{Transition, attention, boot, budget, follow::STILL_THERE, recover};
use crate::domain::{
    Abandoned, Action, ActionId, Attention, CreateOutcome, Failed, Failures, Incident, IncidentId, InstanceRef, Lines,
    Live, Machine, MachineState, NoticeKind, Outcome, Pending, Policy, PricedRung, Reason, Role, Rung, Stage, Standby,
    StandbyNotice, StandbySpec, Step, Time, TimeExt, Usd,
};

pub(super) fn advance(turn: &mut Transition<'_>, back: bool) {
    let Some(pending) = pending(turn) else { return };
    if let Some(outcome) = turn.take_outcome(pending.id) {
        react(turn, &pending, outcome);
    }
    let Some(pending) = self::pending(turn) else { return };
    if back && recover::release_recovered(turn) {
        return;
    }
    watch_time(turn);
    go_on(turn, pending);
}

fn pending(turn: &Transition<'_>) -> Option<Pending> {
    match &turn.record.case.as_ref()?.stage {
        Stage::Provisioning(pending) => Some(pending.clone()),
        Stage::Standing(_) | Stage::Releasing { .. } => None,
    }
}

/// Without a machine by the deadline somebody is notified, unless something holds the creation back that people know
/// of.
fn watch_time(turn: &mut Transition<'_>) {
    let Some(incident) = turn.record.incident() else { return };
    // For a second machine it counts from when the first one was due.
    let due = |gone: &Abandoned| gone.since.plus(turn.policy.boot_deadline);
    let since = incident.abandoned.last().map_or(incident.opened_at, due);
    // A pause that has ended held it back.
    let since = turn.record.pause.as_ref().map_or(since, |pause| pause.until.max(since));
    let late_at = since.plus(turn.policy.provisioning_deadline);
    // Whatever was tried first has an end of its own.
    let tried = incident.steps > 1 || incident.failures != Failures::default();
    turn.wake(late_at);
    if turn.now >= late_at && tried && turn.may_act() {
        turn.notify_of_failure(Failed::TooSlow, "no machine yet; it is tried again and again", None);
    }
}

/// Starts what is pending. Looking is always allowed; creating and deleting are not.
///
/// **Invariant:** a creation starts in the very step that brought the complete search before it. One that had to wait
/// is preceded by another search.
fn go_on(turn: &mut Transition<'_>, pending: Pending) {
    let creates = matches!(pending.action, Action::Create(_));
    // What is under way ends first: its answer belongs to what is pending.
    if turn.live.started.is_some() || (creates || pending.action.deletes()) && !turn.may_act() {
        return;
    }
    let pending = if creates && !turn.searched { set(turn, Action::Find, turn.now) } else { pending };
    turn.start(&pending);
}

fn set(turn: &mut Transition<'_>, action: Action, not_before: Time) -> Pending {
    let pending = turn.incident().next(action, not_before);
    turn.case().stage = Stage::Provisioning(pending.clone());
    pending
}

fn react(turn: &mut Transition<'_>, pending: &Pending, outcome: &Outcome) {
    match (outcome, &pending.action) {
        (Outcome::Found(machines), _) => found(turn, machines),
        (Outcome::Created(created), Action::Create(spec)) => {
            turn.searched = !turn.live.paused_since_search;
            created_as(turn, &spec.rung, created);
        }
        (Outcome::Untouchable(check), Action::Abandon(instance)) => untouchable(turn, instance, check),
        (Outcome::Failed(said), action) if action.deletes() => {
            let at = turn.deletion_failed(said);
            set(turn, Action::Find, at);
        }
        (Outcome::Failed(said), _) => search_again(turn, said),
        // Gone, as far as is known; nothing is created before a complete search shows the same.
        (Outcome::Deleted, _) => {
            set(turn, Action::Find, turn.now);
        }
        // An outcome of another kind under this name cannot be; searching again is safe whatever it was.
        (
            Outcome::Created(_)
            | Outcome::Observed(_)
            | Outcome::Untouchable(_)
            | Outcome::Console(_)
            | Outcome::Disks(_),
            _,
        ) => search_again(turn, "the answer was of another kind"),
    }
}

/// What a complete search found. The machine that serves the incident is the one to keep; a second one goes later, once
/// this one is in the ledger.
fn found(turn: &mut Transition<'_>, machines: &[Machine]) {
    turn.bill_abandoned(machines);
    turn.live.paused_since_search = false;
    turn.incident().failures.find = 0;
    if let Some(left) = machines.iter().find(|machine| is_abandoned(turn, &machine.instance)) {
        delete_again(turn, left);
        return;
    }
    let own = turn.own(machines);
    // A machine with a label that we do not know, or of a promotion, is a human's, whatever incident it is of.
    let claimed = || machines.iter().filter(|machine| matches!(machine.role, Role::Promoted | Role::Other));
    let Some(keep) = own.into_iter().chain(claimed()).min_by_key(|machine| keep_first(machine)) else {
        if let Some((left, incident)) = left_by_another(turn, machines) {
            return take_over(turn, left, incident);
        }
        turn.searched = true;
        create(turn);
        return;
    };
    match (keep.role, keep.state) {
        (Role::Promoted | Role::Other, _) => {
            let check = format!("{} is this validator's and not a standby, by its label", keep.instance);
            attention::raise(turn, Attention::Untouchable(check.into()));
            set(turn, Action::Find, turn.now.plus(turn.policy.recheck_every));
        }
        // It may still fail for want of capacity, and then it vanishes; that would look like a loss.
        (Role::Standby | Role::Retained, MachineState::Starting) => {
            search_again(turn, &format!("{} is still being created", keep.instance));
        }
        (Role::Standby | Role::Retained, MachineState::Running | MachineState::Stopped) => {
            let rung = Rung { zone: keep.instance.zone.clone(), machine_type: keep.machine_type.clone() };
            adopt(turn, keep.instance.clone(), rung);
            turn.machine().kept = (keep.role == Role::Retained).then_some(true);
        }
    }
}

fn is_abandoned(turn: &Transition<'_>, instance: &InstanceRef) -> bool {
    turn.record.incident().is_some_and(|incident| incident.abandoned.iter().any(|gone| gone.instance.id == instance.id))
}

/// Untouchable ones first, then the one that runs, then the oldest.
pub(super) fn keep_first(machine: &Machine) -> (bool, bool, Option<Time>, String) {
    (
        machine.role == Role::Standby && !machine.deletion_protection,
        machine.state != MachineState::Running,
        machine.created_at,
        machine.instance.zone.clone(),
    )
}

/// A machine that was given up is still there, or there again in a list that is behind.
fn delete_again(turn: &mut Transition<'_>, left: &Machine) {
    if left.role != Role::Standby || left.deletion_protection {
        let check = format!("{} was given up, but its label or its deletion protection says to keep it", left.instance);
        untouchable(turn, &left.instance, &check);
        return;
    }
    let at = turn.deletion_failed(STILL_THERE);
    turn.say(Reason::Abandoning { instance: left.instance.clone() });
    set(turn, Action::Abandon(left.instance.clone()), at);
}

/// A machine that was given up must not be touched after all: it is the incident's machine again, and a human's.
fn untouchable(turn: &mut Transition<'_>, instance: &InstanceRef, check: &str) {
    let ladder = &turn.policy.ladder;
    let incident = turn.incident();
    if let Some(index) = incident.abandoned.iter().position(|gone| gone.instance.id == instance.id) {
        let Abandoned { instance, rung, since, gone_at: _ } = incident.abandoned.remove(index);
        incident.machine_since = Some(since);
        incident.rung = ladder.iter().position(|priced| priced.rung == rung).unwrap_or(incident.rung);
        turn.case().stage = Stage::Standing(Standby::new(instance, rung, since));
        turn.forget_machine();
        turn.machine();
    } else {
        set(turn, Action::Find, turn.now.plus(turn.policy.recheck_every));
    }
    attention::raise(turn, Attention::Untouchable(check.into()));
}

/// A standby of an incident that is not in the ledger, which was lost, restored or closed too early. It may be ready, and
/// is worth more than a new one.
fn left_by_another<'m>(turn: &Transition<'_>, machines: &'m [Machine]) -> Option<(&'m Machine, IncidentId)> {
    let is_free = |machine: &&Machine| {
        matches!(machine.role, Role::Standby | Role::Retained) && machine.state != MachineState::Stopped
    };
    let left =
        machines.iter().filter(is_free).filter(|machine| turn.live.deleted.as_ref() != Some(&machine.instance.id));
    let named = left.filter_map(|machine| Some((machine, IncidentId::try_from(machine.incident.clone()).ok()?)));
    named.min_by_key(|(machine, _)| keep_first(machine))
}

/// Its labels and its reports name its own incident, so this one continues under that name.
///
/// **Invariant:** nothing is created while a standby of this validator is there.
pub(super) fn take_over(turn: &mut Transition<'_>, left: &Machine, id: IncidentId) {
    if left.state == MachineState::Starting {
        return search_again(turn, &format!("{} of incident {id} is still being created", left.instance));
    }
    // Numbers that the incident cannot have used before: the cloud would only repeat its answer to an old request.
    let unused = u32::try_from(turn.now.as_second() / 60).unwrap_or_default();
    let incident = turn.incident();
    incident.id = id;
    incident.steps = incident.steps.max(unused);
    incident.creation = incident.creation.max(unused);
    // Its run limit and its bill began when it was created.
    let since = left.created_at.map_or(turn.now, |at| at.min(turn.now));
    turn.incident().machine_since = Some(since);
    let rung = Rung { zone: left.instance.zone.clone(), machine_type: left.machine_type.clone() };
    adopt(turn, left.instance.clone(), rung);
    turn.standby().since = since;
    turn.machine().kept = (left.role == Role::Retained || left.deletion_protection).then_some(true);
    turn.notify(NoticeKind::Standby(StandbyNotice::TakenOver { instance: left.instance.clone() }));
}

fn adopt(turn: &mut Transition<'_>, instance: InstanceRef, rung: Rung) {
    let (now, policy) = (turn.now, turn.policy);
    let index = policy.ladder.iter().position(|priced| priced.rung == rung);
    let incident = turn.incident();
    incident.failures = Failures::default();
    incident.machine_since.get_or_insert(now);
    if let Some(index) = index {
        incident.rung = index;
        incident.estimate = estimate(incident, policy, policy.ladder[index].at_most, now);
    }
    turn.say(Reason::Adopted { instance: instance.clone() });
    // It is looked at and searched for again right after: a machine that came late would be a second one.
    turn.forget_machine();
    turn.machine();
    let case = turn.case();
    case.attention = None;
    case.stage = Stage::Standing(Standby::new(instance, rung, now));
}

fn create(turn: &mut Transition<'_>) {
    let (policy, now, world) = (turn.policy, turn.now, turn.world);
    let Some(incident) = turn.record.incident() else { return };
    // The world counts this incident's own estimate already, if it did so when the event came.
    let counted = world.get(turn.id).and_then(|subject| subject.record.incident()?.estimate);
    // Without a price there is no budget either, or the rung would not have been taken.
    let (planned, sunk) = (counted.unwrap_or_default(), boot::sunk(incident, policy, now).unwrap_or_default());
    let fits = |index: &usize| budget::within_budget(world, policy, &policy.ladder[*index], planned, sunk, now).is_ok();
    let Some(index) = (incident.rung..policy.ladder.len()).find(fits) else {
        if !incident.abandoned.is_empty() && !(0..policy.ladder.len()).any(|index| fits(&index)) {
            let attempts = u32::try_from(incident.abandoned.len()).unwrap_or(u32::MAX);
            let console = Lines::from_iter(["the budget allows no further try"]);
            attention::raise(turn, Attention::NeverBooted { attempts, console });
            set(turn, Action::Find, now.plus(policy.recheck_every));
            return;
        }
        exhausted(turn, "no rung that the budget allows is left", Failed::OutOfStock);
        return;
    };
    let PricedRung { rung, at_most, .. } = &policy.ladder[index];
    let incident = turn.incident();
    incident.rung = index;
    incident.estimate = estimate(incident, policy, *at_most, now);
    let spec = StandbySpec {
        action: ActionId { incident: incident.id, step: Step::Create, attempt: incident.creation },
        validator: turn.id.clone(),
        rung: rung.clone(),
        max_run_duration: policy.standby_ttl,
    };
    if turn.may_act() {
        turn.say(Reason::Creating { rung: rung.clone(), name: spec.machine_name() });
    }
    set(turn, Action::Create(spec), now);
}

fn created_as(turn: &mut Transition<'_>, rung: &Rung, outcome: &CreateOutcome) {
    // For people: which place it was, beside the cloud's words.
    let placed = match outcome {
        CreateOutcome::Created(_) => None,
        CreateOutcome::OutOfStock(said)
        | CreateOutcome::QuotaExceeded(said)
        | CreateOutcome::RefusedHere(said)
        | CreateOutcome::Refused(said)
        | CreateOutcome::Unknown(said) => Some(format!("{rung}: {said}")),
    };
    turn.live.last_refusal.clone_from(&placed);
    let placed = placed.unwrap_or_default();
    match outcome {
        // It holds the name that the next one needs, and only a search that shows it leads to its deletion.
        CreateOutcome::Created(instance) if is_abandoned(turn, instance) => {
            turn.incident().creation += 1;
            search_again(turn, &format!("{instance} was given up, and is answered again"));
        }
        CreateOutcome::Created(instance) => adopt(turn, instance.clone(), rung.clone()),
        CreateOutcome::OutOfStock(said) => {
            turn.say(Reason::OutOfStock { rung: rung.clone(), said: said.clone() });
            next_rung(turn, |_| true, &placed, Failed::OutOfStock);
        }
        CreateOutcome::QuotaExceeded(said) => {
            turn.say(Reason::QuotaExceeded { rung: rung.clone(), said: said.clone() });
            next_rung(turn, |other| other.region() != rung.region(), &placed, Failed::Quota);
        }
        CreateOutcome::RefusedHere(said) => {
            turn.say(Reason::CloudRefused { said: said.clone() });
            next_rung(turn, |_| true, &placed, Failed::Refused);
        }
        CreateOutcome::Refused(said) => {
            turn.say(Reason::CloudRefused { said: said.clone() });
            turn.incident().creation += 1;
            exhausted(turn, &placed, Failed::Refused);
        }
        CreateOutcome::Unknown(said) => {
            turn.say(Reason::OutcomeUnknown { said: said.clone() });
            search_again(turn, said);
        }
    }
}

/// Each creation has a number of its own: under the old one the cloud would only repeat its old answer.
fn next_rung(turn: &mut Transition<'_>, elsewhere: impl Fn(&Rung) -> bool, said: &str, failed: Failed) {
    let ladder = &turn.policy.ladder;
    let incident = turn.incident();
    incident.creation += 1;
    let rest = ladder.iter().skip(incident.rung + 1).position(|priced| elsewhere(&priced.rung));
    match rest.map(|skipped| incident.rung + 1 + skipped) {
        Some(next) => {
            incident.rung = next;
            create(turn);
        }
        None => exhausted(turn, said, failed),
    }
}

/// Nothing more to try in this round: notify, pause, search, and start from the top of the ladder. The pauses grow with
/// every round, whatever the searches in between find.
fn exhausted(turn: &mut Transition<'_>, said: &str, failed: Failed) {
    let incident = turn.incident();
    let rounds = incident.failures.create;
    incident.failures.create = rounds.saturating_add(1);
    incident.rung = 0;
    let at = turn.now.plus(turn.policy.backoff(rounds));
    turn.notify_of_failure(failed, said, Some(at));
    turn.say(Reason::Retrying { at, what: "provisioning", said: said.to_owned() });
    set(turn, Action::Find, at);
}

/// After a pause. The number of the creation stays: if it did happen, it is found; if not, it is repeated.
fn search_again(turn: &mut Transition<'_>, said: &str) {
    let failures = &mut turn.incident().failures.find;
    let before = *failures;
    *failures = before.saturating_add(1);
    let at = turn.now.plus(turn.policy.backoff(before));
    turn.say(Reason::Retrying { at, what: "provisioning", said: said.to_owned() });
    set(turn, Action::Find, at);
}

pub(super) fn explain(incident: &Incident, pending: &Pending, live: &Live, policy: &Policy) -> Reason {
    let failures = incident.failures.find.max(incident.failures.create);
    match &pending.action {
        Action::Create(spec) => Reason::Creating { rung: spec.rung.clone(), name: spec.machine_name() },
        Action::Abandon(instance) => Reason::Abandoning { instance: instance.clone() },
        _ if failures == 0 => Reason::Looking { why: "nothing is created before it is known that there is none" },
        _ => Reason::Retrying {
            at: pending.not_before,
            what: "provisioning",
            said: match &live.last_refusal {
                Some(said) => format!("{failures} times; last {said}"),
                None => format!("try {failures} of rung {}", incident.rung.min(policy.ladder.len())),
            },
        },
    }
}

/// The most the incident may cost: this machine until its limit, and what earlier ones have cost.
fn estimate(incident: &Incident, policy: &Policy, at_most: Option<Usd>, now: Time) -> Option<Usd> {
    let sunk = boot::sunk(incident, policy, now)?;
    Some(Usd(at_most?.0 + sunk.0))
}
