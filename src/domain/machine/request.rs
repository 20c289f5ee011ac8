//! What operators ask for. Each request is answered once, in the record, where the command line reads it.

use super::{Transition, budget, detect, recover};
use crate::domain::{Applied, Command, Mode, Owner, Pause, Phase, Reason, Request, Stage, Time, clock};

pub(super) fn apply(turn: &mut Transition<'_>, request: &Request) {
    if turn.record.applied.iter().any(|applied| applied.id == request.id) {
        turn.say(Reason::Late { what: format!("request {}", request.id) });
        return;
    }
    let answer = current(turn, request).and_then(|()| match request.command {
        Command::Open => open(turn, request),
        Command::Close => close(turn, request),
        Command::Pause { until } => pause(turn, request, until),
        Command::Resume => resume(turn),
        Command::Retain => retain(turn),
    });
    if let Err(why) = &answer {
        turn.say(Reason::RequestRefused { why: why.clone() });
    }
    let accepted = answer.is_ok();
    let answer = answer.unwrap_or_else(|why| why);
    turn.record.to_mut().remember(Applied { id: request.id.clone(), accepted, answer });
}

type Answer = Result<String, String>;

/// **Invariant:** a request is about what its writer saw. One that lay in the ledger for a while, or was written about
/// another incident, changes nothing.
fn current(turn: &Transition<'_>, request: &Request) -> Result<(), String> {
    if let Some(expired_at) = request.expires_at.filter(|at| *at < turn.now) {
        return Err(format!("it was to be carried out by {}: look at the status and ask again", clock(expired_at)));
    }
    match (request.command, turn.record.incident(), request.incident) {
        (Command::Close | Command::Retain, Some(open), named) if named != Some(open.id) => {
            let named = named.map_or_else(|| "no incident".into(), |named| format!("incident {named}"));
            Err(format!("it names {named} and {} is open: look at the status and ask again", open.id))
        }
        (Command::Open | Command::Close | Command::Pause { .. } | Command::Resume | Command::Retain, _, _) => Ok(()),
    }
}

/// A human's word replaces the signals, not the limits: mode, pause, budget and a slashed key still bind.
fn open(turn: &mut Transition<'_>, request: &Request) -> Answer {
    if let Some(incident) = turn.record.incident() {
        return Err(format!("incident {} is open already; see `failover status`", incident.id));
    }
    taken(turn)?;
    if turn.policy.mode == Mode::Observe {
        return Err("mode is observe, so nothing is created; set `mode: armed` first".into());
    }
    if let Some(pause) = turn.record.paused_at(turn.now) {
        return Err(format!(
            "paused until {} by {}; `failover resume {} --reason …` first",
            clock(pause.until),
            pause.by,
            turn.id
        ));
    }
    if turn.is_frozen() {
        return Err("one of its keys is slashed: everything is frozen".into());
    }
    if let Err(block) = budget::affordable(turn.world, turn.policy, turn.now) {
        return Err(format!("{block}; change `budget` or `compute.ladder`"));
    }
    detect::open(turn, Some((&request.by, &request.reason)));
    Ok("opened".into())
}

/// What becomes of its machines is decided by the promotion then.
fn taken(turn: &Transition<'_>) -> Result<(), String> {
    match (turn.record.open_promotion(), &turn.record.owner) {
        (Some(open), _) => {
            let (noun, verb) = (open.kind.noun(), open.kind.verb());
            Err(format!("{} has opened a {noun}: `failover {verb} {} --resume` or `--abort` first", open.by, turn.id))
        }
        (None, Owner::Cloud { number, .. }) => {
            Err(format!("the cloud owns its keys by grant {number}: `failover demote {}` first", turn.id))
        }
        (None, Owner::Moving { number }) => Err(format!(
            "the session's number is {number}, so its keys are on their way: `failover grants {}` says what helps",
            turn.id
        )),
        (None, Owner::Unknown | Owner::Home) => Ok(()),
    }
}

/// Whoever closes has looked: what was latched for a human is answered by it.
fn close(turn: &mut Transition<'_>, request: &Request) -> Answer {
    let Some(case) = &turn.record.case else { return Err("no incident is open".into()) };
    let id = case.incident.id;
    taken(turn)?;
    if turn.record.phase() == Phase::Releasing {
        return Ok(format!("incident {id} is being released already"));
    }
    let standing = matches!(case.stage, Stage::Standing(_));
    let machine = turn.live.machine.as_deref();
    if standing && machine.is_some_and(crate::domain::MachineWatch::is_kept) {
        return Err("its standby is retained: take the deletion protection off and set its label `role` back to \
                    `standby`, or delete it by hand; ask again once `failover status` shows it"
            .into());
    }
    if standing && turn.policy.mode == Mode::Observe && !machine.is_some_and(|machine| machine.gone) {
        return Err(
            "mode is observe, so nothing is deleted: set `mode: armed`, or delete the standby by hand and ask \
                    again once `failover status` shows that it is gone"
                .into(),
        );
    }
    turn.say(Reason::Releasing { why: format!("{} asked for it: {}", request.by, request.reason) });
    recover::release(turn, Some(request.by.clone()));
    Ok(format!("incident {id} is closing: its machine is looked for and deleted"))
}

fn pause(turn: &mut Transition<'_>, request: &Request, until: Time) -> Answer {
    if until <= turn.now {
        return Err(format!("{} has passed", clock(until)));
    }
    let pause = Pause { until, reason: request.reason.clone(), by: request.by.clone() };
    turn.say(Reason::Paused { until, by: pause.by.clone(), why: pause.reason.clone() });
    turn.record.to_mut().pause = Some(pause);
    turn.live.paused_since_search = true;
    Ok(format!("paused until {}", clock(until)))
}

fn resume(turn: &mut Transition<'_>) -> Answer {
    if turn.record.pause.is_none() {
        return Err("it is not paused".into());
    }
    turn.record.to_mut().pause = None;
    turn.say(Reason::Resumed);
    Ok("resumed".into())
}

/// Until the next look shows its label: whether a machine is kept is observed, not remembered.
fn retain(turn: &mut Transition<'_>) -> Answer {
    if turn.record.standby().is_none() {
        return Err("there is no standby to retain".into());
    }
    turn.machine().kept = Some(true);
    Ok("retained: automation leaves it alone".into())
}
