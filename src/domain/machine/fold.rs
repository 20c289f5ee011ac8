//! The first move: an event becomes part of what is known. No phase changes here.

use super::{Draft, request};
use crate::domain::{Event, Heard, Outcome, Reason, Written, printable};

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
            // A late look may be one at a machine that is followed no longer, and a repeated one has been judged.
            if draft.live.started != Some(*id) {
                draft.say(Reason::Late { what: id.to_string() });
                return;
            }
            draft.live.started = None;
            if let Outcome::Observed(Some(seen)) = outcome {
                hear(draft, &seen.written);
            }
            draft.finished = Some((*id, outcome));
        }
        Event::Told(_, notice, told) => draft.delivered(*notice, told),
        Event::ClockJumped(_) => {
            draft.live.signals.interrupt(draft.now);
            draft.live.held_since = None;
            draft.live.healthy_since = None;
            draft.live.whole_since = None;
            draft.live.clock_trusted_since = Some(draft.now);
            if let Some(heard) = &mut draft.live.report {
                heard.interrupt(draft.now);
            }
            draft.say(Reason::Interrupted);
        }
        Event::Due(_) | Event::ChainSeen(_) => {}
    }
}

/// Keeps a report and notes when it moved, by our clock: its own clock is not to be trusted. What is no report of this
/// incident and of this boot is kept as a reason only; the last usable report goes on growing stale.
fn hear(draft: &mut Draft<'_>, written: &Written) {
    let (now, limit, long) = (draft.now, draft.policy.max_clock_offset, draft.policy.stuck_after);
    // What is no start-up script's word comes from further on.
    if !matches!(written, Written::Nothing | Written::Starting(_)) {
        draft.live.starting = None;
    }
    let report = match written {
        // A machine takes back what it wrote by booting anew, and then nobody knows what runs there.
        Written::Nothing if draft.live.report.is_some() => return ignore(draft, "it is gone".into()),
        Written::Nothing => return,
        Written::Starting(word) => return starting(draft, word),
        Written::Unreadable(why) => return ignore(draft, format!("it cannot be read ({why})")),
        Written::Report(report) => report,
    };
    let incident = draft.record.phase.incident().map(|incident| incident.id.to_string());
    if incident.as_deref() != Some(&report.incident) {
        let other = printable(&report.incident, 64);
        return ignore(draft, format!("it is of incident {other}"));
    }
    match &mut draft.live.report {
        None => draft.live.report = Some(Heard::first((**report).clone(), now)),
        Some(heard) if heard.is_of_an_earlier_boot(report) => {
            return ignore(draft, "it is of an earlier boot".into());
        }
        Some(heard) => {
            let rebooted = heard.report.boot_id != report.boot_id;
            heard.hear(report, limit, now);
            if rebooted {
                let boots = heard.boots_within(long + long, now);
                draft.live.whole_since = None;
                draft.say(Reason::Rebooted { boots });
            }
        }
    }
    draft.live.unusable = None;
}

/// Said once for as long as it stays the same. It is no report: one that was heard before goes on growing stale.
fn starting(draft: &mut Draft<'_>, word: &str) {
    if draft.live.starting.as_deref() != Some(word) {
        draft.say(Reason::Starting { word: word.to_owned() });
        draft.live.starting = Some(word.to_owned());
    }
    draft.live.unusable = None;
}

/// Said once for as long as it stays the same: a machine is looked at every half minute.
fn ignore(draft: &mut Draft<'_>, why: String) {
    if draft.live.unusable.as_ref() != Some(&why) {
        draft.say(Reason::UnusableReport { why: why.clone() });
        draft.live.unusable = Some(why);
    }
}
