//! `Syncing` and `Ready`: the machine is followed until somebody decides, and a second one is not tolerated.

use super::{Draft, provision, recover, tell};
use crate::domain::{
    Action, ActionId, ChainView, Doubt, Heard, Incident, Machine, MachineState, Outcome, Phase, Policy, Reason, Role,
    Seen, Span, Standby, Step, Subject, Time, Topic, human,
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
    judge_readiness(draft, &incident, &standby);
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
        // A look that did not answer says nothing about the machine; the next one will.
        (Step::Observe | Step::Find, Outcome::Failed(_)) => {}
        (Step::Create | Step::Find | Step::Observe | Step::Delete, _) => {
            draft.say(Reason::Late { what: id.to_string() });
        }
    }
}

fn seen_as(draft: &mut Draft<'_>, incident: &Incident, standby: &Standby, seen: &Seen) {
    let kept = matches!(seen.role, Role::Retained | Role::Promoted | Role::Other) || seen.deletion_protection;
    if kept && !standby.retained {
        set_standby(draft, incident, Standby { retained: true, ..standby.clone() });
    }
    if draft.live.report.as_ref().is_some_and(|heard| heard.report.signer_seen) {
        recover::doubt(draft, Some(standby.clone()), Doubt::SignerSeen);
    } else if seen.state == MachineState::Stopped {
        recover::doubt(draft, Some(standby.clone()), Doubt::Stopped);
    }
}

/// A complete look: whatever carries this incident's label and is not the ledger's machine goes, one at a time.
fn recheck(draft: &mut Draft<'_>, incident: &Incident, standby: &Standby, machines: &[Machine]) {
    draft.live.recheck_at = Some(draft.after(draft.policy.recheck_every));
    let second = machines
        .iter()
        .filter(|machine| machine.instance.id != standby.instance.id)
        .max_by_key(|machine| provision::keep_first(machine));
    let Some(second) = second else { return };
    let why = "it is a second machine of this incident; the ledger's stays";
    draft.say(Reason::Deleting { instance: second.instance.clone(), why });
    let mut incident = incident.clone();
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
fn ask(draft: &mut Draft<'_>, incident: &Incident, step: Step, action: Action) {
    draft.live.looks = draft.live.looks.wrapping_add(1);
    let id = ActionId { incident: incident.id, step, attempt: draft.live.looks };
    draft.live.started = Some(id);
    draft.actions.push((id, action));
}

fn judge_readiness(draft: &mut Draft<'_>, incident: &Incident, standby: &Standby) {
    let missing = missing(draft.live.report.as_ref(), &draft.world.chain, draft.now, draft.policy);
    let ready = matches!(draft.record.phase, Phase::Ready(..));
    if let Some(heard) = &draft.live.report
        && let Some(moved_at) = heard.moved_at
        && ready
    {
        // One nanosecond later it *is* stale.
        let stale_at = moved_at.checked_add(draft.policy.report_stale_after + Span::from_nanos(1));
        draft.wake(stale_at.unwrap_or(Time::MAX));
    }
    match (ready, missing.is_empty()) {
        (false, true) => {
            draft.say(Reason::Ready { instance: standby.instance.clone() });
            draft.enter(Phase::Ready(incident.clone(), standby.clone()));
            draft.tell(Topic::Ready);
        }
        (true, false) => {
            draft.say(Reason::NoLongerReady { missing });
            draft.enter(Phase::Syncing(incident.clone(), standby.clone()));
        }
        (true, true) | (false, false) => {}
    }
}

/// What a standby lacks to be ready, in words; empty when it is. It is enough for a mail, never for `promote`.
#[must_use]
pub(super) fn missing(heard: Option<&Heard>, chain: &ChainView, now: Time, policy: &Policy) -> Vec<String> {
    let Some(heard) = heard else { return vec!["the machine has not reported".into()] };
    if !heard.is_fresh(policy.report_stale_after, now) {
        return vec![heard.moved_at.map_or_else(
            || "its report has not moved yet, it may be an old one".into(),
            |at| format!("its report has not moved for {}", human(super::super::elapsed(at, now))),
        )];
    }
    let report = &heard.report;
    let mut missing = Vec::new();
    let mut need = |fine: bool, words: String| {
        if !fine {
            missing.push(words);
        }
    };
    need(report.synced, format!("{} ({} %)", bounded(&report.stage), report.progress_percent.min(100)));
    need(!report.optimistic, "the execution layer has not verified its head".into());
    need(report.peers >= policy.min_peers, format!("{} peers, needs {}", report.peers, policy.min_peers));
    let head_age = Span::from_secs(i64::try_from(report.head_age_seconds).unwrap_or(i64::MAX));
    need(head_age <= policy.max_head_age, format!("its head is {} old", human(head_age)));
    let offset = Span::from_millis(report.clock_offset_ms);
    need(offset.abs() <= policy.max_clock_offset, format!("its clock is off by {} ms", report.clock_offset_ms));
    need(!report.signer_seen, "a process that could sign is seen".into());
    match &chain.genesis_root {
        None => need(false, "it is not known here which chain it should follow".into()),
        Some(root) => need(
            root.eq_ignore_ascii_case(&report.genesis_root),
            format!("it follows another chain ({})", bounded(&report.genesis_root)),
        ),
    }
    missing
}

/// A machine may send anything; people get the first part of it, without control characters.
fn bounded(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(80).collect()
}

/// Whether the machine shows, now, that nothing on it signs.
fn is_silent(draft: &Draft<'_>) -> bool {
    draft
        .live
        .report
        .as_ref()
        .is_some_and(|heard| heard.is_fresh(draft.policy.report_stale_after, draft.now) && !heard.report.signer_seen)
}

pub(super) fn explain(
    subject: &Subject,
    incident: &Incident,
    standby: &Standby,
    chain: &ChainView,
    now: Time,
    policy: &Policy,
) -> Reason {
    if let Some(since) = subject.live.healthy_since {
        let left = (policy.healthy_delay - super::super::elapsed(since, now)).max(Span::ZERO);
        return Reason::RecoveryWaits { left, process_seen: subject.live.signals.process_seen(now) };
    }
    let _ = incident;
    match &subject.record.phase {
        Phase::Ready(..) => Reason::Ready { instance: standby.instance.clone() },
        _ => Reason::NotReady { missing: missing(subject.live.report.as_ref(), chain, now, policy) },
    }
}
