//! A machine that is there serves the incident from now on: its own, or one that another incident left.

use super::{
    Transition,
    provision::{estimate, keep_first, wait_for},
};
use crate::domain::{
    Failures, IncidentId, InstanceRef, Machine, MachineState, NoticeKind, Reason, Role, Rung, Stage, Standby,
    StandbyNotice,
};

/// A machine of this incident serves it from now on. Its reports carry the name on its label, which may be an earlier one
/// of the incident: then the incident continues under that name.
pub(super) fn serve(turn: &mut Transition<'_>, machine: &Machine) {
    let named = IncidentId::try_from(machine.incident.clone()).ok();
    if let Some(id) = named.filter(|id| turn.record.incident().is_some_and(|incident| incident.id != *id)) {
        return take_over(turn, machine, id);
    }
    let rung = Rung { zone: machine.instance.zone.clone(), machine_type: machine.machine_type.clone() };
    adopt(turn, machine.instance.clone(), rung);
    turn.machine().kept = (machine.role == Role::Retained).then_some(true);
}

/// A standby of an incident that is not in the ledger, which was lost, restored or closed too early. It may be ready, and
/// is worth more than a new one.
pub(super) fn left_by_another<'m>(turn: &Transition<'_>, machines: &'m [Machine]) -> Option<(&'m Machine, IncidentId)> {
    let is_free = |machine: &&Machine| {
        matches!(machine.role, Role::Standby | Role::Retained)
            && !matches!(machine.state, MachineState::Stopped | MachineState::Stopping)
    };
    let is_free = |machine: &&Machine| is_free(machine) && !turn.is_peoples(&machine.instance.id);
    let left =
        machines.iter().filter(is_free).filter(|machine| turn.live.deleted.as_ref() != Some(&machine.instance.id));
    let named = left.filter_map(|machine| Some((machine, IncidentId::try_from(machine.incident.clone()).ok()?)));
    named.min_by_key(|(machine, _)| keep_first(machine))
}

/// Its labels and its reports name its own incident, so this one continues under that name.
///
/// **Invariant:** nothing is created while a standby of this validator is there.
pub(super) fn take_over(turn: &mut Transition<'_>, left: &Machine, id: IncidentId) {
    if left.state == MachineState::Starting && wait_for(turn, left) {
        return;
    }
    // Numbers that the incident cannot have used before: the cloud would only repeat its answer to an old request.
    let unused = u32::try_from(turn.now.as_second() / 60).unwrap_or_default();
    let incident = turn.incident();
    // A creation of its own may still come, under the name that it has had so far.
    let former = std::mem::replace(&mut incident.id, id);
    if former != id && !incident.formerly.contains(&former) {
        incident.formerly.push(former);
    }
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

pub(super) fn adopt(turn: &mut Transition<'_>, instance: InstanceRef, rung: Rung) {
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
