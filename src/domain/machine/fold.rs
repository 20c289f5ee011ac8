//! The first move: an event becomes part of what is known. Nothing is decided here.

use super::{Transition, orphans, owner, request};
use crate::domain::{
    Event, KeyStates, LastPoll, MachineState, Reason, ReportHistory, Role, Seen, Source, Span, Verdict, Written,
    one_line,
};

pub(super) fn fold<'a>(turn: &mut Transition<'a>, event: &'a Event) {
    match event {
        Event::Observed(_, source, reading) => turn.live.signals.fold(*source, reading, turn.now),
        Event::KeysSeen(_, keys) => keys_seen(turn, keys),
        Event::MaintenanceSeen(_, maintenance) => turn.live.maintenance.clone_from(maintenance),
        Event::GateSeen(_, sight) => {
            turn.live.gate = Some(sight.clone());
            believe_gate(turn);
        }
        Event::OwnerSeen(_, owner) => {
            if owner::owner_seen(turn, owner) {
                believe_gate(turn);
            }
            turn.mail_runbook();
        }
        Event::PromotionSeen(_, grant, seen) => owner::promotion_seen(turn, *grant, seen.as_deref()),
        Event::WitnessSeen(_, unseen_since) => turn.live.witness_unseen = *unseen_since,
        Event::MachinesListed(_, listed) => {
            owner::listed(turn, listed);
            orphans::judge(turn, listed);
        }
        Event::MachinesUnlisted(_, said) => orphans::unlisted(turn, said),
        Event::Requested(_, asked) => request::apply(turn, asked),
        Event::Finished(_, id, outcome) => {
            // A late poll may be one of a machine that is followed no longer, and a repeated one has been judged.
            if turn.live.started != Some(*id) {
                turn.say(Reason::Late { what: id.to_string() });
                return;
            }
            turn.live.started = None;
            turn.finished = Some((*id, outcome));
        }
        Event::MailSettled(_, notice, delivery) => turn.delivered(*notice, delivery),
        Event::ClockJumped(_, by) => clock_jumped(turn, *by),
        Event::Due(_) => turn.readdress(),
        Event::ChainSeen(_) => {}
    }
}

/// A gate at home is meant to wait while the cloud may own the keys: that is no outage of home's.
fn believe_gate(turn: &mut Transition<'_>) {
    let Some(sight) = &turn.live.gate else { return };
    let mut reading = sight.reading.clone();
    if reading.verdict == Verdict::Down && turn.record.owner.may_be_cloud() {
        reading.verdict = Verdict::Unknown;
        reading.why = "home waits, the cloud owns the keys or is about to".into();
    }
    turn.live.signals.fold(Source::Gate, &reading, turn.now);
}

/// **Invariant:** a key that was seen slashed stays so for as long as it is configured; not knowing permits nothing.
fn keys_seen(turn: &mut Transition<'_>, keys: &KeyStates) {
    let mut slashed = turn.record.slashed.clone();
    slashed.extend(&keys.slashed);
    if !keys.configured.is_empty() {
        slashed.retain(|key| keys.configured.contains(key));
    }
    if slashed != turn.record.slashed {
        turn.record.to_mut().slashed = slashed;
    }
    turn.live.keys = Some(KeyStates { configured: Vec::new(), ..keys.clone() });
}

/// **Invariant:** a clock may be set either way at any moment. What was waited for stays waited for, no deadline passes
/// that was not, and nothing is believed that would need the old clock.
fn clock_jumped(turn: &mut Transition<'_>, by: Span) {
    // Most records have no such moment, and one that did not change is not written.
    let mut shifted = turn.record.as_ref().clone();
    shifted.shift(by);
    if shifted != *turn.record {
        *turn.record.to_mut() = shifted;
    }
    turn.live.clock_jumped(by, turn.now);
    turn.say(Reason::Interrupted);
}

/// Takes in a look at the machine: what it is, and what it says.
pub(super) fn seen(turn: &mut Transition<'_>, seen: &Seen) {
    let now = turn.now;
    let has_written = seen.written != Written::Nothing;
    if has_written && turn.record.standby().is_some_and(|standby| standby.spoke_at.is_none()) {
        turn.standby().spoke_at = Some(now);
    }
    let machine = turn.machine();
    machine.seen = Some(LastPoll { at: now, state: seen.state, has_written });
    machine.kept = Some(seen.role != Role::Standby || seen.deletion_protection);
    machine.gone = false;
    machine.stopping_since = match seen.state {
        MachineState::Stopping => machine.stopping_since.or(Some(now)),
        MachineState::Starting | MachineState::Running | MachineState::Stopped => None,
    };
    written(turn, &seen.written);
}

/// Keeps a report and notes when it moved, by our clock: its own clock is not to be trusted. What is no report of this
/// incident and of this boot is kept as a reason only; the last usable report continues to grow stale.
fn written(turn: &mut Transition<'_>, written: &Written) {
    let (now, limit, long) = (turn.now, turn.policy.max_clock_offset, turn.policy.stuck_after);
    let incident = turn.record.incident().map(|incident| incident.id.to_string());
    let machine = turn.machine();
    // What is no start-up script's status comes from further on.
    if !matches!(written, Written::Nothing | Written::Starting(_)) {
        machine.boot_status = None;
    }
    let report = match written {
        // A machine takes back what it wrote by booting again, and then nobody knows what runs there.
        Written::Nothing if machine.report.is_some() => return ignore(turn, "it is gone".into()),
        Written::Nothing => return,
        Written::Starting(status) => return starting(turn, status),
        Written::Unreadable(why) => return ignore(turn, format!("it cannot be read ({why})")),
        Written::Report(report) => report,
    };
    if incident.as_deref() != Some(&report.incident) {
        let other = one_line(&report.incident, 64);
        return ignore(turn, format!("it is of incident {other}"));
    }
    match &mut machine.report {
        None => machine.report = Some(ReportHistory::first((**report).clone(), now)),
        Some(history) if history.is_of_an_earlier_boot(report) => {
            return ignore(turn, "it is of an earlier boot".into());
        }
        Some(history) => {
            let rebooted = history.report.boot_id != report.boot_id;
            history.record(report, limit, now);
            if rebooted {
                let boots = history.boots_within(long.saturating_add(long), now);
                machine.complete_since = None;
                turn.say(Reason::Rebooted { boots });
            }
        }
    }
    turn.machine().unusable = None;
}

/// Said once for as long as it stays the same. It is no report: one that was seen before continues to grow stale.
fn starting(turn: &mut Transition<'_>, status: &str) {
    let machine = turn.machine();
    machine.unusable = None;
    if machine.boot_status.as_deref() != Some(status) {
        machine.boot_status = Some(status.to_owned());
        turn.say(Reason::Starting { word: status.to_owned() });
    }
}

/// Said once for as long as it stays the same: a machine is looked at every half minute.
fn ignore(turn: &mut Transition<'_>, why: String) {
    let machine = turn.machine();
    if machine.unusable.as_ref() != Some(&why) {
        machine.unusable = Some(why.clone());
        turn.say(Reason::UnusableReport { why });
    }
}
