//! Provisioning: look, create down the ladder, and look again whenever an outcome is unknown.

use super::{
    Transition,
    adopt::{adopt, left_by_another, serve, take_over},
    attention, boot, budget,
    follow::STILL_THERE,
    recover,
};
use crate::domain::{
    Abandoned, Action, ActionId, Attention, CloudTrouble, CreateOutcome, Failed, Failures, Incident, InstanceRef,
    Lines, Live, Machine, MachineState, Outcome, Pending, Policy, PricedRung, Reason, Role, Rung, Span, Stage, Standby,
    StandbySpec, Step, Time, TimeExt, Usd, remedy,
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
        let answer = turn.live.troubles.values().max_by_key(|trouble| trouble.failures);
        let answer = answer.map_or_else(|| "none so far".to_owned(), |trouble| trouble.answer.clone());
        turn.notify_of_failure(Failed::TooSlow, &answer, None);
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
        (Outcome::Found(machines), _) => found(turn, machines, None),
        (Outcome::Created(created), Action::Create(spec)) => {
            turn.searched = !turn.live.paused_since_search;
            created_as(turn, &spec.rung, created);
        }
        (Outcome::Untouchable(check), Action::Abandon(instance)) => untouchable(turn, instance, check),
        (Outcome::Failed(said), action) if action.deletes() => {
            let at = turn.deletion_failed(said);
            set(turn, Action::Find, at);
        }
        (Outcome::FoundWithout { machines, unseen_zones, why }, _) => found(turn, machines, Some((unseen_zones, why))),
        (Outcome::Failed(said), action) if action.step() == Step::Find => search_failed(turn, said),
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

/// What a search found. The machine that serves the incident is the one to keep; a second one goes later, once this one is
/// in the ledger. What zones that do not answer may hide keeps nothing from being created once they have been silent for a
/// few searches: a machine there would go as a second one, and costs less than the outage.
fn found(turn: &mut Transition<'_>, machines: &[Machine], unseen: Option<(&Vec<String>, &String)>) {
    turn.live.paused_since_search = false;
    turn.live.unseen_zones = unseen.map(|(zones, _)| zones.clone()).unwrap_or_default();
    if unseen.is_none() {
        turn.bill_abandoned(machines);
        turn.incident().failures.find = 0;
        turn.works_again(Step::Find);
    }
    if let Some(left) = machines.iter().find(|machine| is_abandoned(turn, &machine.instance)) {
        delete_again(turn, left);
        return;
    }
    let own = turn.own(machines);
    // A machine with a label that we do not know, or of a promotion, is a human's, whatever incident it is of.
    // One that is kept after a demotion owns nothing, and stands in the way of no other.
    let is_claimed = |machine: &&Machine| {
        matches!(machine.role, Role::Promoted | Role::Other) && !turn.record.is_kept(&machine.instance.id)
    };
    let claimed = || machines.iter().filter(is_claimed);
    let Some(keep) = own.into_iter().chain(claimed()).min_by_key(|machine| keep_first(machine)) else {
        if let Some((left, incident)) = left_by_another(turn, machines) {
            return take_over(turn, left, incident);
        }
        if let Some((_, why)) = unseen
            && (turn.incident().failures.find < UNSEEN_SEARCHES || may_hide_abandoned(turn))
        {
            return search_failed(turn, why);
        }
        turn.searched = true;
        return create_or_move_on(turn);
    };
    match (keep.role, keep.state) {
        _ if turn.record.is_owner(&keep.instance.id) => serve(turn, keep),
        (Role::Promoted | Role::Other, _) => {
            let check = format!("{} is this validator's and not a standby, by its label", keep.instance);
            attention::raise(turn, Attention::Untouchable(check.into()));
            set(turn, Action::Find, turn.now.plus(turn.policy.recheck_every));
        }
        (Role::Standby | Role::Retained, MachineState::Starting | MachineState::Stopping) if wait_for(turn, keep) => {}
        (Role::Standby | Role::Retained, _) => {
            // What is still not made has had its time. One that runs by now has all of it, from now on.
            let since = turn.record.incident().and_then(|incident| incident.machine_since);
            let since = since.filter(|_| keep.state == MachineState::Starting);
            serve(turn, keep);
            if let Some(since) = since {
                turn.standby().since = since;
            }
        }
    }
}

/// A machine that is still being made may fail for want of capacity, and one that is being stopped may be on its way to
/// be deleted: either would look like a loss. It gets as long as a machine has to boot.
pub(super) fn wait_for(turn: &mut Transition<'_>, machine: &Machine) -> bool {
    let (now, policy) = (turn.now, turn.policy);
    let since = *turn.incident().machine_since.get_or_insert(now);
    if now >= since.plus(policy.boot_deadline) {
        return false;
    }
    let doing = if machine.state == MachineState::Starting { "created" } else { "stopped or deleted" };
    let (said, at) = (format!("{} is still being {doing}", machine.instance), now.plus(policy.observe_every));
    turn.say(Reason::BeingMade { said, at });
    set(turn, Action::Find, at);
    true
}

/// Searches in which the same zones may be silent before they are done without: more than a minute.
const UNSEEN_SEARCHES: u32 = 3;

/// Whether a machine that was given up may be in a zone that has not answered.
fn may_hide_abandoned(turn: &Transition<'_>) -> bool {
    let is_hidden = |gone: &Abandoned| gone.gone_at.is_none() && turn.live.unseen_zones.contains(&gone.instance.zone);
    turn.record.incident().is_some_and(|incident| incident.abandoned.iter().any(is_hidden))
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

/// Nothing of this incident is there. What was being made is gone again, or what nobody answered has not happened: that is
/// the place's, and the next one is tried.
fn create_or_move_on(turn: &mut Transition<'_>) {
    let ladder = &turn.policy.ladder;
    let incident = turn.incident();
    let has_vanished = incident.machine_since.take().is_some();
    let Some(PricedRung { rung, .. }) = ladder.get(incident.rung).filter(|_| has_vanished) else {
        if incident.failures.unanswered >= UNANSWERED_CREATIONS {
            return next_rung(turn, |_| true, "the place does not answer", None);
        }
        return create(turn);
    };
    let said = "the machine vanished while it was being made".to_owned();
    let placed = placed(turn, rung, Some(&said));
    turn.say(Reason::OutOfStock { rung: rung.clone(), said });
    next_rung(turn, |_| true, &placed, Some(Failed::OutOfStock));
}

/// So often a creation is repeated in a place that does not say what became of it, before the next place is tried.
const UNANSWERED_CREATIONS: u32 = 2;

fn create(turn: &mut Transition<'_>) {
    let (policy, now, world) = (turn.policy, turn.now, turn.world);
    let Some(incident) = turn.record.incident() else { return };
    // The world counts this incident's own estimate already, if it did so when the event came.
    let counted = world.get(turn.id).and_then(|subject| subject.record.incident()?.estimate);
    // Without a price there is no budget either, or the rung would not have been taken.
    let (planned, sunk) = (counted.unwrap_or_default(), boot::sunk(incident, policy, now).unwrap_or_default());
    let fits = |index: &usize| budget::within_budget(world, policy, &policy.ladder[*index], planned, sunk, now).is_ok();
    let is_seen = |index: &usize| !turn.live.unseen_zones.contains(&policy.ladder[*index].rung.zone);
    let rest = incident.rung..policy.ladder.len();
    let Some(index) = rest.clone().filter(is_seen).find(fits) else {
        if rest.clone().any(|index| !is_seen(&index) && fits(&index)) {
            return exhausted(turn, "the places that are left have not answered", None);
        }
        if !incident.abandoned.is_empty() && !(0..policy.ladder.len()).any(|index| fits(&index)) {
            let attempts = u32::try_from(incident.abandoned.len()).unwrap_or(u32::MAX);
            let console = Lines::from_iter(["the budget allows no further try"]);
            attention::raise(turn, Attention::NeverBooted { attempts, console });
            set(turn, Action::Find, now.plus(policy.recheck_every));
            return;
        }
        exhausted(turn, "no rung that the budget allows is left", Some(Failed::OutOfStock));
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
    let said = match outcome {
        CreateOutcome::Created(_) => None,
        CreateOutcome::OutOfStock(said)
        | CreateOutcome::QuotaExceeded(said)
        | CreateOutcome::RefusedHere(said)
        | CreateOutcome::Refused(said)
        | CreateOutcome::Busy(said)
        | CreateOutcome::BeingMade(said)
        | CreateOutcome::Unknown(said) => Some(said),
    };
    let placed = placed(turn, rung, said);
    match outcome {
        // It holds the name that the next one needs, and only a search that shows it leads to its deletion.
        CreateOutcome::Created(instance) if is_abandoned(turn, instance) => {
            turn.incident().creation += 1;
            search_again(turn, &format!("{instance} was given up, and is answered again"));
        }
        CreateOutcome::Created(instance) => adopt(turn, instance.clone(), rung.clone()),
        CreateOutcome::OutOfStock(said) => {
            turn.say(Reason::OutOfStock { rung: rung.clone(), said: said.clone() });
            next_rung(turn, |_| true, &placed, Some(Failed::OutOfStock));
        }
        CreateOutcome::QuotaExceeded(said) => {
            turn.say(Reason::QuotaExceeded { rung: rung.clone(), said: said.clone() });
            next_rung(turn, |other| other.region() != rung.region(), &placed, Some(Failed::Quota));
        }
        CreateOutcome::RefusedHere(said) => {
            turn.say(Reason::CloudRefused { said: said.clone() });
            next_rung(turn, |_| true, &placed, Some(Failed::Refused));
        }
        CreateOutcome::Refused(said) => {
            turn.say(Reason::CloudRefused { said: said.clone() });
            turn.incident().creation += 1;
            exhausted(turn, &placed, Some(Failed::Refused));
        }
        // Repeated under another number: the cloud may have noted this one with its answer.
        CreateOutcome::Busy(_) => {
            turn.incident().creation += 1;
            turn.incident().failures.unanswered += 1;
            search_again(turn, &placed);
        }
        // The place does answer: it is waited for there, under the same number, for as long as one has to boot.
        CreateOutcome::BeingMade(_) => {
            let since = turn.live.troubles.get(&Step::Create).map(|trouble| trouble.since);
            let is_late = since.is_some_and(|since| turn.now >= since.plus(turn.policy.boot_deadline));
            turn.incident().failures.unanswered += u32::from(is_late);
            search_again(turn, &placed);
        }
        CreateOutcome::Unknown(said) => {
            turn.incident().failures.unanswered += 1;
            turn.say(Reason::OutcomeUnknown { said: said.clone() });
            search_again(turn, &placed);
        }
    }
}

/// For people: which place it was, beside the cloud's words. Counts the creations that brought no machine.
fn placed(turn: &mut Transition<'_>, rung: &Rung, said: Option<&String>) -> String {
    let Some(said) = said else {
        turn.works_again(Step::Create);
        return String::new();
    };
    let round = &mut turn.incident().failures.round;
    *round = round.saturating_add(1);
    let (now, answer) = (turn.now, format!("{rung}: {said}"));
    let none = || CloudTrouble { since: now, failures: 0, answer: String::new(), reported: false };
    let trouble = turn.live.troubles.entry(Step::Create).or_insert_with(none);
    (trouble.failures, trouble.answer) = (trouble.failures.saturating_add(1), answer.clone());
    answer
}

/// Each creation has a number of its own: under the old one the cloud would only repeat its old answer. A place that only
/// somebody's work mends is mailed also when the next one takes the machine: the ladder is shorter than people believe.
fn next_rung(turn: &mut Transition<'_>, elsewhere: impl Fn(&Rung) -> bool, said: &str, failed: Option<Failed>) {
    let ladder = &turn.policy.ladder;
    let incident = turn.incident();
    incident.creation += 1;
    incident.failures.unanswered = 0;
    let left = incident.rung;
    let rest = ladder.iter().skip(left + 1).position(|priced| elsewhere(&priced.rung));
    match rest.map(|skipped| left + 1 + skipped) {
        Some(next) => {
            incident.rung = next;
            if matches!(failed, Some(Failed::Refused | Failed::Quota)) {
                turn.notify_of_failure(Failed::Place(ladder[left].rung.clone()), said, None);
            }
            create(turn);
        }
        None => exhausted(turn, said, failed),
    }
}

/// Nothing more to try in this round: notify, pause, search, and start from the top of the ladder. The pauses grow with
/// every round, whatever the searches in between find. What a minute may mend is notified by no mail of its own.
fn exhausted(turn: &mut Transition<'_>, said: &str, failed: Option<Failed>) {
    let failures = &mut turn.incident().failures;
    let Failures { create: rounds, round: creations, .. } = *failures;
    *failures = Failures { create: rounds.saturating_add(1), round: 0, unanswered: 0, ..*failures };
    turn.incident().rung = 0;
    let creations = creations.min(u32::try_from(turn.policy.ladder.len()).unwrap_or(u32::MAX));
    let at = turn.now.plus(pause_after_round(turn.policy, rounds, creations));
    if let Some(failed) = failed {
        turn.notify_of_failure(failed, said, Some(at));
    }
    turn.say(Reason::Retrying { at, what: "provisioning", said: said.to_owned() });
    set(turn, Action::Find, at);
}

/// The most creations in the first hour of a total stock-out. A longer ladder is asked once in it.
const CREATIONS_AN_HOUR: u32 = 30;

/// A round of n creations pauses as if one place had been tried log2(n) times more, and n times as long, so that a longer
/// ladder does not mean more requests. What does not fit twice into an hour is not asked twice in one.
fn pause_after_round(policy: &Policy, rounds: u32, creations: u32) -> Span {
    let creations = creations.clamp(1, 1 << 10);
    let doublings = creations.next_power_of_two().trailing_zeros();
    let times = i32::try_from(creations).unwrap_or(i32::MAX);
    let pause = policy.backoff(rounds.saturating_add(doublings)).saturating_mul(times);
    if 2 * creations > CREATIONS_AN_HOUR { pause.max(Span::from_hours(1)) } else { pause }
}

/// The search itself has failed.
fn search_failed(turn: &mut Transition<'_>, said: &str) {
    let before = turn.incident().failures.find;
    let at = turn.now.plus(turn.policy.backoff(before));
    turn.keeps_failing(Step::Find, said, before, at);
    search_again(turn, said);
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

pub(super) fn explain(incident: &Incident, pending: &Pending, live: &Live) -> Reason {
    let Incident { failures, rung, .. } = incident;
    let next = format!("next is try {} of rung {}", failures.create + failures.unanswered + 1, rung + 1);
    let last = |step| live.troubles.get(&step).map(|trouble: &CloudTrouble| (step, trouble));
    let said = last(Step::Find).or_else(|| last(Step::Create)).map(|(step, trouble)| {
        let CloudTrouble { failures, answer, .. } = trouble;
        format!("{}, failed tries: {failures}; last {answer}; what helps: {}", step.doing(), remedy(answer))
    });
    match &pending.action {
        Action::Create(spec) => Reason::Creating { rung: spec.rung.clone(), name: spec.machine_name() },
        Action::Abandon(instance) => Reason::Abandoning { instance: instance.clone() },
        _ if *failures == Failures::default() && said.is_none() => {
            Reason::Looking { why: "nothing is created before it is known that there is none" }
        }
        _ => Reason::Retrying {
            at: pending.not_before,
            what: "provisioning",
            said: said.map_or(next.clone(), |said| format!("{said}; {next}")),
        },
    }
}

/// The most the incident may cost: this machine until its limit, and what earlier ones have cost.
pub(super) fn estimate(incident: &Incident, policy: &Policy, at_most: Option<Usd>, now: Time) -> Option<Usd> {
    let sunk = boot::sunk(incident, policy, now)?;
    Some(Usd(at_most?.0 + sunk.0))
}
