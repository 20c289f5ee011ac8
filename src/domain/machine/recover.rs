//! Home is back: the only thing beside the operator that ends an incident. A resolved alert does not.

use super::Transition;
use crate::domain::{
    Action, Lines, MachineState, NoticeKind, Over, Reason, Report, Span, Stage, TimeExt, Topic, elapsed,
};

/// For how long home has been seen at work without a break, if its own process is seen as well. Attestations alone
/// could be anybody's; a generic node that is probed shows both by itself.
pub(super) fn at_work(turn: &mut Transition<'_>) -> Option<Span> {
    let incident = turn.record.incident()?;
    let (now, delay) = (turn.now, turn.policy.healthy_delay);
    // What is at work then is the cloud's, and what idles at home is not back.
    if turn.record.is_taken() || incident.opened_while_up || !turn.live.signals.working_after(incident.opened_at, now) {
        turn.live.healthy_since = None;
        return None;
    }
    let first = turn.live.healthy_since.is_none();
    let since = *turn.live.healthy_since.get_or_insert(now);
    let process_seen = turn.live.signals.process_seen(now);
    if first {
        turn.say(Reason::RecoveryWaits { left: delay, process_seen });
    }
    turn.wake(since.plus(delay));
    process_seen.then(|| elapsed(since, now))
}

/// Lets the machine go because home is back, if that is allowed now.
pub(super) fn release_recovered(turn: &mut Transition<'_>) -> bool {
    if !turn.may_act() {
        return false;
    }
    let since = turn.live.healthy_since.unwrap_or(turn.now);
    turn.say(Reason::HomeIsBack { working_for: elapsed(since, turn.now) });
    release(turn, None);
    true
}

/// Lets the incident's machine go. What is deleted is decided by what is found, not by what is remembered.
pub(super) fn release(turn: &mut Transition<'_>, by: Option<String>) {
    let now = turn.now;
    let case = turn.case();
    case.incident.failures = crate::domain::Failures::default();
    case.attention = None;
    let pending = case.incident.next(Action::Find, now);
    case.stage = Stage::Releasing { pending, by };
}

/// Home is back and the operator keeps the machine. Nothing is released, so it need not last as long as before a
/// release; people are reminded of what the machine costs for as long as it does.
pub(super) fn keep(turn: &mut Transition<'_>, at_work: Span) {
    let Some(incident) = turn.record.incident() else { return };
    if at_work < turn.policy.hold_down {
        turn.wake(turn.now.plus(turn.policy.hold_down.saturating_sub(at_work)));
        return;
    }
    let lasted = elapsed(incident.opened_at, turn.now);
    let (how, standby) = ("home is back".into(), turn.bill(false));
    if turn.notify(NoticeKind::Over(Over { lasted, how, standby, kept: true, left: Lines::default() })) {
        // The next outage is news, whatever was said of this one.
        turn.expire(&Topic::CONFIRMED);
    }
}

/// Whether the machine shows, now, that nothing on it signs: its report is fresh and rules a signer out, or it was
/// looked at a moment ago and has never written anything, so nothing has ever run on it.
pub(super) fn is_silent(turn: &Transition<'_>) -> bool {
    let Some(machine) = &turn.live.machine else { return false };
    let (now, limit) = (turn.now, turn.policy.report_stale_after);
    let never_spoke = turn.record.standby().is_some_and(|standby| standby.spoke_at.is_none())
        && machine.seen.is_some_and(|seen| {
            !seen.has_written
                && !matches!(seen.state, MachineState::Stopping | MachineState::Stopped)
                && elapsed(seen.at, now) <= limit
        });
    let rules_out = |report: &Report| !report.signer_seen && report.signer_hidden.is_none();
    never_spoke
        || (machine.report.as_ref().is_some_and(|history| history.is_fresh(limit, now) && rules_out(&history.report))
            && machine.unusable.is_none()
            // It has booted since, and nobody has looked what runs there now.
            && machine.boot_status.is_none())
}
