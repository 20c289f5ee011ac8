//! `Syncing` and `Ready`: the machine is followed until somebody decides, and a second one is not tolerated.

use super::{Draft, boot, identity::Expected, provision, ready, recover, stuck, tell};
use crate::domain::{
    Action, ActionId, Doubt, Incident, Machine, MachineState, Outcome, Phase, Reason, Report, Role, Seen, Standby,
    Step, Time, Topic, Written,
};

pub(super) fn advance(draft: &mut Draft<'_>) {
    let (Phase::Syncing(incident, standby) | Phase::Ready(incident, standby)) = draft.record.phase.clone() else {
        return;
    };
    if let Some((id, outcome)) = draft.finished.take() {
        react(draft, &incident, &standby, id, outcome);
        if !is_followed(&draft.record.phase) {
            return;
        }
    }
    let (Phase::Syncing(incident, standby) | Phase::Ready(incident, standby)) = draft.record.phase.clone() else {
        return;
    };
    ready::judge(draft, &incident, &standby);
    if !standby.retained {
        if recover::is_back(draft, incident.opened_at) {
            if is_silent(draft) {
                recover::release_recovered(draft);
                return;
            }
            // It may only be that the cloud has not answered for a while; it gets as long as a report may be old.
            let patience = draft.policy.healthy_delay + draft.policy.report_stale_after;
            let give_up_at = draft.live.healthy_since.and_then(|since| since.checked_add(patience).ok());
            if give_up_at.is_none_or(|at| draft.now >= at) {
                recover::doubt(draft, Some(standby), Doubt::RecoveredButSilent);
                return;
            }
            draft.wake(give_up_at.unwrap_or(Time::MAX));
        }
        let ends_at = draft.policy.fuse_at(standby.since);
        if draft.now >= ends_at {
            recover::doubt(draft, Some(standby), Doubt::TtlEnded);
            return;
        }
        let warn_at = ends_at.checked_sub(tell::FUSE_WARNING).unwrap_or(ends_at).max(standby.since);
        if draft.now >= warn_at && ends_at.duration_since(standby.since) > tell::FUSE_WARNING {
            draft.tell(Topic::FuseSoon);
        } else {
            draft.wake(warn_at);
        }
        draft.wake(ends_at);
    }
    next_look(draft, &incident, &standby);
}

/// In doubt nothing is done but looking, so that people see what the machine does.
pub(super) fn watch_in_doubt(draft: &mut Draft<'_>) {
    let Phase::NeedsHuman(incident, Some(standby), doubt) = draft.record.phase.clone() else {
        draft.finished = None;
        return;
    };
    draft.finished = None;
    if matches!(doubt, Doubt::Vanished) || draft.live.started.is_some() {
        return;
    }
    let look_at = *draft.live.look_at.get_or_insert(draft.now);
    if draft.now >= look_at {
        look(draft, &incident, &standby);
    } else {
        draft.wake(look_at);
    }
}

fn is_followed(phase: &Phase) -> bool {
    matches!(phase, Phase::Syncing(..) | Phase::Ready(..))
}

fn react(draft: &mut Draft<'_>, incident: &Incident, standby: &Standby, id: ActionId, outcome: &Outcome) {
    match (id.step, outcome) {
        (Step::Observe, Outcome::Observed(None)) => recover::doubt(draft, Some(standby.clone()), Doubt::Vanished),
        (Step::Observe, Outcome::Observed(Some(seen))) => seen_as(draft, incident, standby, seen),
        (Step::Find, Outcome::Found(machines)) => recheck(draft, incident, standby, machines),
        (Step::Delete, Outcome::Deleted) => {
            set_standby(draft, incident, Standby { extra: None, ..standby.clone() });
            draft.live.recheck_at = Some(draft.now);
        }
        (Step::Delete, Outcome::Untouchable(check)) => {
            recover::doubt(draft, Some(standby.clone()), Doubt::Untouchable(check.clone()));
        }
        (Step::Delete, Outcome::Failed(said)) => {
            let at = draft.after(draft.policy.retry_after);
            draft.say(Reason::Retrying { at, what: "deleting the second machine", said: said.clone() });
            let mut next = standby.clone();
            if let Some(extra) = &mut next.extra {
                extra.not_before = at;
            }
            set_standby(draft, incident, next);
        }
        (Step::Console, Outcome::Console(text)) => boot::console_read(draft, incident, standby, text),
        (Step::Console, Outcome::Failed(said)) => {
            let text = format!("its serial port could not be read: {said}");
            boot::console_read(draft, incident, standby, &text);
        }
        // A look that did not answer says nothing about the machine; the next one will.
        (Step::Observe | Step::Find, Outcome::Failed(_)) => {}
        (Step::Create | Step::Find | Step::Observe | Step::Delete | Step::Console | Step::Disks, _) => {
            draft.say(Reason::Late { what: id.to_string() });
        }
    }
}

fn seen_as(draft: &mut Draft<'_>, incident: &Incident, standby: &Standby, seen: &Seen) {
    let mut standby = standby.clone();
    standby.retained |= matches!(seen.role, Role::Retained | Role::Promoted | Role::Other) || seen.deletion_protection;
    if standby.spoke_at.is_none() && seen.written != Written::Nothing {
        standby.spoke_at = Some(draft.now);
    }
    if draft.record.phase.standby() != Some(&standby) {
        set_standby(draft, incident, standby.clone());
    }
    // Whoever wrote it, and of whatever incident it is: where a signer is said to be, nothing is touched.
    let reported = draft.live.report.as_ref().is_some_and(|heard| heard.report.signer_seen);
    if reported || seen.written.report().is_some_and(|report| report.signer_seen) {
        recover::doubt(draft, Some(standby), Doubt::SignerSeen);
    } else if seen.state == MachineState::Stopped {
        recover::doubt(draft, Some(standby), Doubt::Stopped);
    } else {
        judge_progress(draft, &standby);
        boot::after_look(draft, incident, &standby, &seen.written);
    }
}

/// Stuck or not, right after a look that succeeded. A placeholder of a machine has nothing to go on with.
fn judge_progress(draft: &mut Draft<'_>, standby: &Standby) {
    if draft.policy.simulated || standby.retained {
        draft.live.stuck = None;
        return;
    }
    // Being stuck is itself something that is missing; it must not be the reason for going on being stuck.
    let before = draft.live.stuck.take();
    let missing = ready::missing(draft.id, &draft.live, &draft.world.chain, draft.now, draft.policy);
    let case = stuck::Case {
        heard: draft.live.report.as_ref(),
        starting: draft.live.starting.as_deref(),
        standby,
        trusted_since: draft.live.clock_trusted_since,
        whole: missing.is_empty(),
        chain: Expected::of(draft.id, &draft.world.chain, draft.policy),
    };
    let now = stuck::judge(&case, draft.policy, draft.now);
    draft.live.stuck.clone_from(&now);
    match (before, now) {
        (before, Some(stuck)) => {
            if before.is_none_or(|before| before.kind() != stuck.kind()) {
                draft.say(Reason::Stuck { stuck: stuck.clone(), missing });
            }
            draft.tell_stuck(standby, &stuck);
        }
        (Some(stuck), None) => draft.say(Reason::GoesOn { stuck }),
        (None, None) => {}
    }
}

/// A complete look: whatever carries this incident's label and is not the ledger's machine goes, one at a time.
fn recheck(draft: &mut Draft<'_>, incident: &Incident, standby: &Standby, machines: &[Machine]) {
    draft.live.recheck_at = Some(draft.after(draft.policy.recheck_every));
    let mut incident = incident.clone();
    boot::bill(&mut incident, machines, draft.now);
    if draft.record.phase.incident() != Some(&incident) {
        set_standby(draft, &incident, standby.clone());
    }
    let second = machines
        .iter()
        .filter(|machine| machine.instance.id != standby.instance.id)
        .max_by_key(|machine| provision::keep_first(machine));
    let Some(second) = second else { return };
    let why = "it is a second machine of this incident; the ledger's stays";
    draft.say(Reason::Deleting { instance: second.instance.clone(), why });
    let extra = incident.next(Step::Delete, Action::Delete(second.instance.clone()), draft.now);
    set_standby(draft, &incident, Standby { extra: Some(extra), ..standby.clone() });
}

fn set_standby(draft: &mut Draft<'_>, incident: &Incident, standby: Standby) {
    let ready = matches!(draft.record.phase, Phase::Ready(..));
    let phase = if ready { Phase::Ready } else { Phase::Syncing };
    draft.enter(phase(incident.clone(), standby));
}

/// One thing at a time: a second machine first, then the search for one, then the machine itself.
fn next_look(draft: &mut Draft<'_>, incident: &Incident, standby: &Standby) {
    if draft.live.started.is_some() {
        return;
    }
    if let Some(extra) = &standby.extra {
        draft.start(extra);
        return;
    }
    let (now, recheck_at) = (draft.now, *draft.live.recheck_at.get_or_insert(draft.now));
    let look_at = *draft.live.look_at.get_or_insert(draft.now);
    if now >= recheck_at {
        draft.live.recheck_at = Some(draft.after(draft.policy.observe_every));
        ask(draft, incident, Step::Find, Action::Find);
    } else if now >= look_at {
        look(draft, incident, standby);
    } else {
        draft.wake(look_at.min(recheck_at));
    }
}

fn look(draft: &mut Draft<'_>, incident: &Incident, standby: &Standby) {
    draft.live.look_at = Some(draft.after(draft.policy.observe_every));
    ask(draft, incident, Step::Observe, Action::Observe(standby.instance.clone()));
}

/// Looking changes nothing outside, so it needs no intent in the ledger.
pub(super) fn ask(draft: &mut Draft<'_>, incident: &Incident, step: Step, action: Action) {
    draft.live.looks = draft.live.looks.wrapping_add(1);
    let id = ActionId { incident: incident.id, step, attempt: draft.live.looks };
    draft.live.started = Some(id);
    draft.actions.push((id, action));
}

/// Whether the machine shows, now, that nothing on it signs.
fn is_silent(draft: &Draft<'_>) -> bool {
    let rules_out = |report: &Report| !report.signer_seen && report.signer_hidden.is_none();
    let heard = draft.live.report.as_ref();
    heard.is_some_and(|heard| heard.is_fresh(draft.policy.report_stale_after, draft.now) && rules_out(&heard.report))
        && draft.live.unusable.is_none()
        // It has booted since, and nobody has looked what runs there now.
        && draft.live.starting.is_none()
}
