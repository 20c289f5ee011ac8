//! Machines of this validator that no open incident claims: a creation that came late, one that a lost or restored ledger
//! has forgotten. One that serves may be among them, so nothing is deleted that people were not notified of first, nor
//! while home is not seen to be well: then the next incident takes it over ([`super::provision`]).

use super::Transition;
use crate::domain::{
    Action, ActionId, Failed, IncidentId, Lifetime, Listed, NoticeKind, Outcome, Reason, Role, StandbyNotice, Step,
    TimeExt, Topic, Watch,
};

/// Takes in a complete list. A machine counts once two lists have shown it: the first may be older than its incident.
pub(super) fn judge(turn: &mut Transition<'_>, listed: &[Listed]) {
    let open = turn.record.incident().map(|incident| incident.id.to_string());
    let is_orphan = |listed: &&Listed| {
        let machine = &listed.machine;
        machine.role == Role::Standby && !machine.deletion_protection && open.as_ref() != Some(&machine.incident)
    };
    let orphans: Vec<&Listed> = listed.iter().filter(is_orphan).collect();
    let now_seen = orphans.iter().map(|orphan| orphan.machine.instance.id).collect();
    let seen_before = std::mem::replace(&mut turn.live.orphans, now_seen);
    let topics: Vec<Topic> = orphans.iter().map(|orphan| notice(orphan).about().topic).collect();
    let is_over = |topic: &Topic, lifetime| lifetime == Lifetime::Orphan && !topics.contains(topic);
    if turn.record.notified.iter().any(|notified| is_over(&notified.topic, notified.lifetime)) {
        turn.record.to_mut().notified.retain(|notified| !is_over(&notified.topic, notified.lifetime));
    }
    for orphan in orphans.into_iter().filter(|orphan| seen_before.contains(&orphan.machine.instance.id)) {
        if is_due(turn, orphan) {
            delete(turn, orphan);
        } else {
            turn.notify(notice(orphan));
        }
    }
}

fn notice(orphan: &Listed) -> NoticeKind {
    NoticeKind::Standby(StandbyNotice::Orphan { instance: orphan.machine.instance.clone(), ours: orphan.ours })
}

/// **Invariant:** a machine that no incident claims is deleted only if it was created under this ledger, people were
/// notified of it for long enough, no incident is open and home is seen to be well.
fn is_due(turn: &mut Transition<'_>, orphan: &Listed) -> bool {
    let topic = notice(orphan).about().topic;
    let notified = turn.record.notified.iter().find(|notified| notified.topic == topic);
    let is_known = notified.is_some_and(|known| turn.now >= known.first_at.plus(turn.policy.orphan_notice));
    let is_well = turn.record.case.is_none()
        && turn.record.watch == Watch::Calm
        && turn.live.signals.assess(turn.now, turn.policy.needed, turn.now).up;
    orphan.ours && is_known && is_well && turn.live.started.is_none() && turn.may_act()
}

fn delete(turn: &mut Transition<'_>, orphan: &Listed) {
    let Ok(incident) = IncidentId::try_from(orphan.machine.incident.clone()) else { return };
    let instance = orphan.machine.instance.clone();
    turn.say(Reason::Deleting { instance: instance.clone(), why: "no open incident claims it" });
    turn.live.polls = turn.live.polls.wrapping_add(1) | super::POLL;
    let id = ActionId { incident, step: Step::Delete, attempt: turn.live.polls };
    turn.live.started = Some(id);
    turn.actions.push((id, Action::Delete(instance)));
}

/// Takes in how a deletion ended, if that is what the event brought. The next list shows whether it is gone.
pub(super) fn finished(turn: &mut Transition<'_>) {
    let open = turn.record.incident().map(|incident| incident.id);
    let is_orphans = |id: &ActionId| id.step == Step::Delete && id.attempt >= super::POLL && open != Some(id.incident);
    let Some((_, outcome)) = turn.finished.take_if(|(id, _)| is_orphans(id)) else { return };
    if let Outcome::Untouchable(said) | Outcome::Failed(said) = outcome {
        turn.notify_of_failure(Failed::Delete, said, None);
    }
}
