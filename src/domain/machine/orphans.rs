//! Machines of this validator that no open incident claims: a creation that came late, one that a lost or restored ledger
//! has forgotten. One that serves may be among them, so nothing is deleted that people were not notified of first, nor
//! while home is not seen to be well: then the next incident takes it over ([`super::provision`]).

use super::{Transition, owner};
use crate::domain::{
    Action, ActionId, Failed, IncidentId, InstanceRef, Lifetime, Listed, NoticeKind, Notified, OrphanFate, Outcome,
    PromotionNotice, Reason, Role, Stage, StandbyNotice, Step, Time, TimeExt, Topic, Watch, elapsed,
};

/// No list, or none that is complete. What searches for an incident's machine counts its own failures.
pub(super) fn unlisted(turn: &mut Transition<'_>, said: &str) {
    if turn.record.case.is_none() {
        let (before, next_at) = (turn.failures_of(Step::Find), turn.now.plus(turn.policy.recheck_every));
        turn.keeps_failing(Step::Find, said, before, next_at);
    }
}

/// Takes in a complete list. A machine counts once two lists have shown it: the first may be older than its incident.
pub(super) fn judge(turn: &mut Transition<'_>, listed: &[Listed]) {
    if turn.record.case.is_none() {
        turn.works_again(Step::Find);
    }
    let is_orphan = |listed: &&Listed| !turn.is_own(&listed.machine) && !turn.is_peoples(&listed.machine.instance.id);
    let orphans: Vec<&Listed> = listed.iter().filter(is_orphan).collect();
    let now_seen = orphans.iter().map(|orphan| orphan.machine.instance.id.clone()).collect();
    let seen_before = std::mem::replace(&mut turn.live.orphans, now_seen);
    let both = |orphan: &&Listed| [notice(orphan).topic(), kept(&orphan.machine.instance, "").topic()];
    let runs = |instance: &InstanceRef| {
        NoticeKind::Promotion(PromotionNotice::KeptRuns { instance: instance.clone() }).topic()
    };
    let running = turn.live.promoted.iter().flatten().filter(|machine| owner::runs(machine));
    let topics: Vec<Topic> =
        orphans.iter().flat_map(both).chain(running.map(|machine| runs(&machine.instance))).collect();
    let is_over = |topic: &Topic, lifetime| lifetime == Lifetime::Orphan && !topics.contains(topic);
    if turn.record.notified.iter().any(|notified| is_over(&notified.topic, notified.lifetime)) {
        turn.record.to_mut().notified.retain(|notified| !is_over(&notified.topic, notified.lifetime));
    }
    // While an incident looks for a machine, it takes one of these.
    if turn.record.case.as_ref().is_some_and(|case| matches!(case.stage, Stage::Provisioning(_))) {
        return;
    }
    for orphan in orphans.into_iter().filter(|orphan| seen_before.contains(&orphan.machine.instance.id)) {
        if is_due(turn, orphan) {
            delete(turn, orphan);
        } else if !is_kept(turn, orphan) {
            turn.notify(notice(orphan));
        }
    }
}

fn notice(orphan: &Listed) -> NoticeKind {
    NoticeKind::Standby(StandbyNotice::Orphan { instance: orphan.machine.instance.clone(), fate: fate(orphan) })
}

fn kept(instance: &InstanceRef, check: &str) -> NoticeKind {
    NoticeKind::Standby(StandbyNotice::OrphanKept { instance: instance.clone(), check: check.into() })
}

/// A check before its deletion forbids it, as people were notified less than a day ago. After that it is asked again.
fn is_kept(turn: &Transition<'_>, orphan: &Listed) -> bool {
    let topic = kept(&orphan.machine.instance, "").topic();
    let again_at = |known: &Notified| known.last_at.plus(turn.policy.remind_every);
    turn.record.notified.iter().any(|known| known.topic == topic && turn.now < again_at(known))
}

fn fate(orphan: &Listed) -> OrphanFate {
    let Listed { machine, ours } = orphan;
    if machine.role != Role::Standby || machine.deletion_protection {
        OrphanFate::Kept
    } else if *ours && IncidentId::try_from(machine.incident.clone()).is_ok() {
        OrphanFate::Deleted
    } else {
        OrphanFate::Foreign
    }
}

/// **Invariant:** a machine that no incident claims is deleted only if it was created under this ledger, people have had
/// the mail for long enough, no incident is open, and home's own process was seen at work for as long as before a
/// release.
fn is_due(turn: &mut Transition<'_>, orphan: &Listed) -> bool {
    let topic = notice(orphan).about().topic;
    let waits = turn.record.outbox.iter().any(|mail| mail.notice.kind.topic() == topic);
    let trusted = turn.live.trusted_since.unwrap_or(Time::MIN);
    let notified = turn.record.notified.iter().find(|notified| notified.topic == topic);
    let due_at = notified.map(|known| known.first_at.max(trusted).plus(turn.policy.orphan_notice));
    let is_known = !waits && !turn.policy.mail_to.is_empty() && due_at.is_some_and(|due_at| turn.now >= due_at);
    let calm = turn.live.calm_since.is_some_and(|since| elapsed(since, turn.now) >= turn.policy.healthy_delay);
    let is_well = turn.record.case.is_none()
        && turn.record.watch == Watch::Calm
        && calm
        && turn.live.signals.process_seen(turn.now);
    let may_go = fate(orphan) == OrphanFate::Deleted && turn.live.started.is_none();
    may_go && is_known && is_well && !is_kept(turn, orphan) && turn.may_act()
}

fn delete(turn: &mut Transition<'_>, orphan: &Listed) {
    let Ok(incident) = IncidentId::try_from(orphan.machine.incident.clone()) else { return };
    let instance = orphan.machine.instance.clone();
    turn.say(Reason::Deleting { instance: instance.clone(), why: "no open incident claims it" });
    // By the clock, so that no start uses a number again: the cloud would only repeat its answer to the old request.
    let attempt = u32::try_from(turn.now.as_second()).unwrap_or_default() | super::POLL;
    let id = ActionId { incident, step: Step::Reclaim, attempt };
    (turn.live.started, turn.live.deleting_orphan) = (Some(id), Some(instance.clone()));
    turn.actions.push((id, Action::Reclaim(instance)));
}

/// Takes in how a deletion ended, if that is what the event brought. The next list shows whether it is gone; one that is
/// behind must not make an incident take it over.
pub(super) fn finished(turn: &mut Transition<'_>) {
    let Some(instance) = turn.live.deleting_orphan.clone() else { return };
    let is_orphans = |id: &ActionId| id.step == Step::Reclaim && id.attempt >= super::POLL;
    let Some((_, outcome)) = turn.finished.take_if(|(id, _)| is_orphans(id)) else { return };
    turn.live.deleting_orphan = None;
    match outcome {
        Outcome::Deleted => turn.live.deleted = Some(instance.id),
        Outcome::Untouchable(check) => {
            turn.notify(kept(&instance, check));
        }
        Outcome::Failed(said) => {
            turn.notify_of_failure(Failed::Delete, said, None);
        }
        Outcome::Found(_)
        | Outcome::FoundWithout { .. }
        | Outcome::Created(_)
        | Outcome::Observed(_)
        | Outcome::Console(_)
        | Outcome::Disks(_) => {}
    }
}
