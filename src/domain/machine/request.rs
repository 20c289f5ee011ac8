//! What operators ask for. Each request is answered once, in the record, where the command line reads it.

use super::{Draft, budget, detect, recover};
use crate::domain::{Applied, Ask, Block, Mode, Pause, Phase, Reason, Request, Standby, clock};

pub(super) fn apply(draft: &mut Draft<'_>, request: &Request) {
    if draft.record.applied.iter().any(|applied| applied.id == request.id) {
        draft.say(Reason::Late { what: format!("request {}", request.id) });
        return;
    }
    let answer = match request.ask {
        Ask::Open => open(draft, request),
        Ask::Close => close(draft, request),
        Ask::Pause { until } => pause(draft, request, until),
        Ask::Resume => resume(draft),
        Ask::Retain => retain(draft),
    };
    if let Err(why) = &answer {
        draft.say(Reason::RequestRefused { why: why.clone() });
    }
    let accepted = answer.is_ok();
    let answer = answer.unwrap_or_else(|why| why);
    draft.record.to_mut().remember(Applied { id: request.id.clone(), accepted, answer });
}

type Answer = Result<String, String>;

/// A human's word replaces the signals, not the limits: mode, pause, budget and a slashed key still bind.
fn open(draft: &mut Draft<'_>, request: &Request) -> Answer {
    if let Some(incident) = draft.record.phase.incident() {
        return Err(format!("incident {} is open already; see `failover status`", incident.id));
    }
    if draft.policy.mode == Mode::Observe {
        return Err("mode is observe, so nothing is created; set `mode: armed` first".into());
    }
    if let Some(pause) = draft.record.paused_at(draft.now) {
        return Err(format!(
            "paused until {} by {}; `failover resume {}` first",
            clock(pause.until),
            pause.by,
            draft.id
        ));
    }
    if draft.is_frozen() {
        return Err("one of its keys is slashed: everything is frozen".into());
    }
    match budget::affordable(draft.world, draft.policy, draft.now) {
        Err(
            block @ (Block::OverIncidentBudget { .. }
            | Block::OverMonthBudget { .. }
            | Block::PriceUnknown { .. }
            | Block::NoLadder),
        ) => {
            return Err(format!("{block}; change `budget` or `compute.ladder`"));
        }
        Err(block) => return Err(block.to_string()),
        Ok(_) => {}
    }
    detect::open(draft, Some((&request.by, &request.reason)));
    Ok("opened".into())
}

fn close(draft: &mut Draft<'_>, request: &Request) -> Answer {
    let Some(incident) = draft.record.phase.incident() else {
        return Err("no incident is open".into());
    };
    let id = incident.id;
    if matches!(draft.record.phase, Phase::Releasing(..)) {
        return Ok(format!("incident {id} is being released already"));
    }
    if draft.record.phase.standby().is_some_and(|standby| standby.retained) {
        return Err("its standby is retained: take the deletion protection off and set its label `role` back to \
                    `standby`, or delete it by hand"
            .into());
    }
    draft.say(Reason::Releasing { why: format!("{} asked for it: {}", request.by, request.reason) });
    recover::release(draft);
    Ok(format!("incident {id} is closing: its machine is looked for and deleted"))
}

fn pause(draft: &mut Draft<'_>, request: &Request, until: crate::domain::Time) -> Answer {
    if until <= draft.now {
        return Err(format!("{} has passed", clock(until)));
    }
    let pause = Pause { until, reason: request.reason.clone(), by: request.by.clone() };
    draft.say(Reason::Paused { until, by: pause.by.clone(), why: pause.reason.clone() });
    draft.record.to_mut().pause = Some(pause);
    Ok(format!("paused until {}", clock(until)))
}

fn resume(draft: &mut Draft<'_>) -> Answer {
    if draft.record.pause.is_none() {
        return Err("it is not paused".into());
    }
    draft.record.to_mut().pause = None;
    draft.say(Reason::Resumed);
    Ok("resumed".into())
}

fn retain(draft: &mut Draft<'_>) -> Answer {
    match draft.record.phase.clone() {
        Phase::Syncing(incident, standby) => {
            draft.enter(Phase::Syncing(incident, Standby { retained: true, ..standby }));
        }
        Phase::Ready(incident, standby) => draft.enter(Phase::Ready(incident, Standby { retained: true, ..standby })),
        Phase::NeedsHuman(incident, Some(standby), doubt) => {
            draft.enter(Phase::NeedsHuman(incident, Some(Standby { retained: true, ..standby }), doubt));
        }
        Phase::Watching
        | Phase::Suspected { .. }
        | Phase::Provisioning(..)
        | Phase::Releasing(..)
        | Phase::NeedsHuman(_, None, _) => return Err("there is no standby to retain".into()),
    }
    Ok("retained: automation leaves it alone".into())
}
