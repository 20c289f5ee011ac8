//! The first move: an event becomes part of what is known. No phase changes here.

use super::{Draft, request};
use crate::domain::{Event, Heard, Outcome, Reason, Report};

pub(super) fn fold<'a>(draft: &mut Draft<'a>, event: &'a Event) {
    match event {
        Event::Observed(_, source, reading) => {
            if draft.live.signals.fold(*source, reading, draft.now) {
                draft.live.held_since = None;
            }
        }
        Event::KeysSeen(_, keys) => draft.live.keys = Some(keys.clone()),
        Event::HandsSeen(_, hands) => draft.live.hands.clone_from(hands),
        Event::Requested(_, asked) => request::apply(draft, asked),
        Event::Finished(_, id, outcome) => {
            if draft.live.started == Some(*id) {
                draft.live.started = None;
            }
            if let Outcome::Observed(Some(seen)) = outcome
                && let Some(report) = &seen.report
            {
                hear(draft, report);
            }
            draft.finished = Some((*id, outcome));
        }
        Event::Told(_, notice, told) => draft.delivered(*notice, told),
        Event::ClockJumped(_) => {
            draft.live.signals.interrupt(draft.now);
            draft.live.held_since = None;
            draft.live.healthy_since = None;
            draft.say(Reason::Interrupted);
        }
        Event::Due(_) | Event::ChainSeen(_) => {}
    }
}

/// Keeps a report and notes when it moved, by our clock: its own clock is not to be trusted. The first report seen may
/// be days old, so it only starts to count when it moves.
fn hear(draft: &mut Draft<'_>, report: &Report) {
    let incident = draft.record.phase.incident().map(|incident| incident.id.to_string());
    if incident.as_deref() != Some(&report.incident) {
        draft.say(Reason::ForeignReport { incident: report.incident.chars().take(64).collect() });
        return;
    }
    let moved = match &draft.live.report {
        None => None,
        Some(heard) if heard.report.boot_id == report.boot_id && heard.report.counter == report.counter => {
            heard.moved_at
        }
        Some(_) => Some(draft.now),
    };
    draft.live.report = Some(Heard { report: report.clone(), moved_at: moved });
}
