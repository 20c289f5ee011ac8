//! The ledger, and how requests reach it and replies come back.

use std::time::Duration;

use failover::domain::{
    gate::Renewals,
    ownership::{OnLedgerLoss, Session},
};
use jiff::Timestamp;
use uuid::Uuid;

use crate::{
    actions::holder,
    setting::{Mutant, Setting},
    world::{Change, Doing, ENDLESS, NotedSession, Raise, Record, Request, TICK, TTL, World},
};

/// The session as somebody takes it who has lost a rule.
pub fn believed(setting: &Setting, session: &Session) -> Session {
    let mut session = session.clone();
    match setting.mutant {
        Some(Mutant::TheOneThatContinuesGetsOld) => session.on_loss = OnLedgerLoss::Stop,
        Some(Mutant::NumberIsNotLookedAt) => session.number = 0,
        _ => {}
    }
    session
}

/// What a gate does without the ledger.
fn on_loss(setting: &Setting) -> OnLedgerLoss {
    if setting.lacks(Mutant::TheOneThatContinuesGetsOld) { OnLedgerLoss::Run } else { setting.on_loss }
}

/// Another version: whatever was asked over the one before cannot succeed, and a gate that waits for it begins again.
pub fn change(setting: &Setting, world: &mut World, session: Option<Session>) {
    world.session = session;
    world.age = 0;
    for own in world.operators.iter_mut().flatten() {
        own.raise = match own.raise {
            Raise::Asked => Raise::Next,
            Raise::Next | Raise::Missed => Raise::Missed,
            Raise::Seen => Raise::Seen,
        };
    }
    note(world, NotedSession::Another, true);
    let late = setting.lacks(Mutant::RaiseIsNotOverTheVersionItCountsFrom);
    world.under_way.retain(|request| match request {
        Request::Session { what: Change::Raise { .. }, .. } => late,
        Request::Session { what: Change::Free { .. }, .. } => setting.lacks(Mutant::FreeIsNotOverTheVersionThatWasRead),
        Request::Session { .. } => false,
        Request::Reply { .. } | Request::Grant { .. } | Request::Record { .. } => true,
    });
}

/// What the session is beside what was noted of it, in the record and (with a note of its own) in what replaces it.
fn note(world: &mut World, seen: NotedSession, fresh_too: bool) {
    let under_way = world.under_way.iter_mut().filter_map(|request| match request {
        Request::Record { new, fresh } if fresh_too || !*fresh => Some(new),
        _ => None,
    });
    for noted in world.record.iter_mut().chain(under_way).filter_map(|record| record.noted.as_mut()) {
        noted.seen = seen;
    }
}

/// A new record: whatever was asked over the one before cannot succeed.
pub fn write(world: &mut World, new: Record, fresh: bool) {
    world.record = Some(new);
    world.under_way.retain(|request| !matches!(request, Request::Record { .. }));
    for request in &mut world.under_way {
        if let Request::Session { what: Change::Raise { noted, .. }, .. } = request {
            *noted &= !fresh;
        }
    }
}

pub fn arrives(setting: &Setting, world: &mut World, request: usize) -> Option<()> {
    match world.under_way.remove(request) {
        Request::Session { what, reply } => {
            let (now, write) = (Timestamp::UNIX_EPOCH, Uuid::nil());
            let session = match (&world.session, what) {
                (None, Change::Create { number }) => {
                    change(setting, world, Some(Session::free(number.into(), write)));
                    return Some(());
                }
                (Some(session), _) => session.clone(),
                (None, _) if setting.lacks(Mutant::MissingSessionIsFree) => Session::free(1, write),
                (None, _) => return None,
            };
            let mut session = match what {
                Change::Hold { gate } => session.held_by(holder(setting, gate), on_loss(setting), TTL, now, write),
                Change::GiveBack => session.given_back(now, write),
                Change::Free { number } => session.freed_at(number.into(), write),
                Change::Raise { to, .. } => session.raised_to(to.into(), write),
                Change::Create { .. } => return None,
            };
            // Whether it was ever held counts, and not when.
            session.held.truncate(1);
            change(setting, world, Some(session));
            if let Change::Raise { noted: true, .. } = what {
                note(world, NotedSession::Raised, false);
            }
            if let (Change::Hold { gate }, true) = (what, reply) {
                world.under_way.push(Request::Reply { to: gate });
            }
        }
        Request::Reply { to } => answered(setting, world, to),
        Request::Record { new, fresh } => write(world, new, fresh),
        Request::Grant { new } => {
            world.grants.push(new);
            let carried = setting.lost || setting.lacks(Mutant::LostGrantIsCarried);
            world.under_way.retain(|request| {
                let Request::Grant { new: other } = request else { return true };
                if carried && other.boot.is_some() && *other != new && !world.lost.contains(other) {
                    world.lost.push(*other);
                }
                false
            });
            world.lost.sort();
        }
    }
    Some(())
}

/// The ledger has said yes. The deadline counts from before the request, by the slowest clock there may be.
fn answered(setting: &Setting, world: &mut World, to: usize) {
    let continues = on_loss(setting) == OnLedgerLoss::Run;
    let left = |since: u8| {
        if continues {
            return ENDLESS;
        }
        let counted = if setting.lacks(Mutant::DeadlineCountsFromTheReply) { 0 } else { since };
        let now = 8 * TICK;
        let mut renewals = Renewals::new(TTL, Duration::ZERO);
        let id = renewals.begin(now - TICK * counted.into());
        let kill = renewals.confirmed(id).unwrap().kill;
        let left = (kill + TICK).saturating_sub(now);
        u8::try_from(left.as_secs() / TICK.as_secs()).unwrap()
    };
    let doing = &mut world.gates[to].doing;
    match doing {
        Doing::Asked { since, grant } => *doing = Doing::Allowed { left: left(*since), grant: *grant },
        Doing::Running { left: until, renewing, .. } => {
            if let Some(since) = renewing.take() {
                *until = (*until).max(left(since));
            }
        }
        Doing::Idle | Doing::Allowed { .. } | Doing::Ended { .. } => {}
    }
}

/// What it has asked may still happen, and nobody hears the reply.
pub fn hang_up(world: &mut World, gate: usize) {
    world.under_way.retain(|request| !matches!(request, Request::Reply { to } if *to == gate));
    for request in &mut world.under_way {
        if let Request::Session { what: Change::Hold { gate: by }, reply } = request
            && *by == gate
        {
            *reply = false;
        }
    }
}
