//! What can happen next. What the parties decide are calls into the program.

use failover::domain::{
    gate::{HomeGate, SessionLook, StartDecision, may_start_in_cloud},
    ownership::{LastGrant, OnLedgerLoss, Session},
};
use jiff::Timestamp;
use uuid::Uuid;

use crate::{
    grants::{Granted, INSTANCE, verified},
    world::{Change, Doing, Gate, MAX_AGE, Mutant, Operator, Raise, Request, SIGNS_FOR, Setting, TICK, TTL, World},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Act {
    Tick,
    /// A gate reads session and grant, and asks for the session. The grant may be an old answer.
    Ask {
        gate: usize,
        grant: usize,
    },
    Start {
        gate: usize,
    },
    Renew {
        gate: usize,
    },
    /// The child has ended: by itself, by a signal, or at the deadline.
    ChildEnds {
        gate: usize,
    },
    GiveBack {
        gate: usize,
    },
    /// Gate, keeper and child at once, as when a pod or a host dies; or the gate hangs up and begins again.
    Kill {
        gate: usize,
    },
    Arrives {
        request: usize,
    },
    DeleteSession,
    /// The grant before, and a session that nobody holds.
    PutBack,
    Terminate,
    PowerOn,
    CloudStarts {
        grant: usize,
    },
    Promote {
        operator: usize,
    },
    /// It reads that the number is raised.
    SeeRaised {
        operator: usize,
    },
    Commit {
        operator: usize,
    },
    Abort {
        operator: usize,
    },
    Demote,
}

/// A child whose deadline is over is ended before time moves on, unless nobody is left to do it.
fn is_due(setting: &Setting, world: &World) -> bool {
    let over = |gate: &Gate| matches!(gate.doing, Doing::Running { left: 0, .. });
    setting.mutant != Some(Mutant::GateAndKeeperBothHang) && world.gates.iter().any(over)
}

pub fn possible(setting: &Setting, world: &World, acts: &mut Vec<Act>) {
    if !is_due(setting, world) {
        acts.push(Act::Tick);
    }
    for gate in 0..setting.gates {
        match world.gates[gate].doing {
            Doing::Idle => acts.extend((0..world.grants.len()).map(|grant| Act::Ask { gate, grant })),
            Doing::Asked { .. } => acts.push(Act::Kill { gate }),
            Doing::Allowed { .. } => acts.extend([Act::Start { gate }, Act::Kill { gate }]),
            Doing::Running { .. } => {
                acts.extend([Act::Renew { gate }, Act::ChildEnds { gate }, Act::Kill { gate }]);
                if setting.mutant == Some(Mutant::SessionIsGivenBackBeforeTheChildEnded) {
                    acts.push(Act::GiveBack { gate });
                }
            }
            Doing::Ended => acts.extend([Act::GiveBack { gate }, Act::Kill { gate }]),
        }
    }
    acts.extend((0..world.under_way.len()).map(|request| Act::Arrives { request }));
    acts.push(Act::DeleteSession);
    if setting.operators > 0 {
        for operator in 0..setting.operators {
            match world.operators[operator] {
                None => acts.push(Act::Promote { operator }),
                Some(_) => {
                    acts.extend([Act::SeeRaised { operator }, Act::Commit { operator }, Act::Abort { operator }]);
                }
            }
        }
        acts.extend([Act::Terminate, Act::PowerOn, Act::Demote]);
        acts.extend((0..world.grants.len()).map(|grant| Act::CloudStarts { grant }));
    }
    if setting.mutant == Some(Mutant::LedgerIsPutBack) {
        acts.push(Act::PutBack);
    }
}

/// `None` when it cannot happen now.
pub fn take(setting: &Setting, world: &mut World, act: Act) -> Option<()> {
    let is = |mutant| setting.mutant == Some(mutant);
    match act {
        Act::Tick => tick(world),
        Act::Ask { gate, grant } => ask(setting, world, gate, grant)?,
        Act::Start { gate } => {
            let own = &mut world.gates[gate];
            let Doing::Allowed { left, grant } = own.doing else { return None };
            (left > 0 || is(Mutant::DeadlineIsNotJudgedAtTheStart)).then_some(())?;
            own.last = Some(grant);
            own.doing = Doing::Running { left, number: grant.number, renewing: None };
        }
        Act::Renew { gate } => {
            let session = world.session.clone()?;
            let me = home(setting, gate, None);
            let Doing::Running { number, renewing, .. } = &mut world.gates[gate].doing else { return None };
            (me.look(&session, (*number).into()) == SessionLook::Ours).then_some(())?;
            // Asked again: a reply to the request before is not one to this.
            let again = renewing.replace(0).is_some();
            if again && !is(Mutant::ExtensionCountsFromTheLatestRequest) {
                hang_up(world, gate);
            }
            world.under_way.push(Request::Session { what: Change::Hold { gate }, reply: true });
        }
        Act::ChildEnds { gate } => {
            world.gates[gate].doing = Doing::Ended;
            hang_up(world, gate);
        }
        Act::GiveBack { gate } => {
            let ended = world.gates[gate].doing == Doing::Ended;
            if ended {
                world.gates[gate].doing = Doing::Idle;
            }
            if world.session.as_ref()?.holder == Some(holder(setting, gate)) {
                world.under_way.push(Request::Session { what: Change::GiveBack, reply: false });
            }
        }
        Act::Kill { gate } => {
            world.gates[gate].doing = Doing::Idle;
            hang_up(world, gate);
        }
        Act::Arrives { request } => arrives(setting, world, request)?,
        Act::DeleteSession => {
            world.session.is_some().then_some(())?;
            change(setting, world, None);
        }
        Act::PutBack => {
            (world.grants.len() > 1).then_some(())?;
            world.grants.pop();
            let number = world.grant().number.into();
            change(setting, world, Some(Session::free(number, Uuid::nil())));
        }
        Act::Terminate => {
            world.cloud.on = false;
            world.cloud.signs = false;
        }
        Act::PowerOn => {
            (!world.cloud.on).then_some(())?;
            world.cloud.on = true;
            world.cloud.boot += 1;
        }
        Act::CloudStarts { grant } => {
            let granted = world.grants[grant];
            let boot = match granted.boot {
                Some(boot) if is(Mutant::GrantIsNotForOneBoot) => boot,
                _ => world.cloud.boot,
            };
            let last = world.cloud.last.map(|granted| verified(granted).last());
            let may = may_start_in_cloud(verified(granted), &INSTANCE.into(), &boot.to_string(), last.as_ref());
            (world.cloud.on && !world.cloud.signs && may).then_some(())?;
            world.cloud.signs = true;
            world.cloud.last = Some(granted);
        }
        Act::Promote { operator } => promote(setting, world, operator)?,
        Act::SeeRaised { operator } => {
            let number = world.session.as_ref()?.number;
            let age = world.age;
            let own = world.operators[operator].as_mut()?;
            (own.raise != Raise::Seen && number > own.over.number.into()).then_some(())?;
            // The age that was noted counts if exactly that version was replaced; else this one's does.
            let counts = own.raise == Raise::Next || is(Mutant::RaiseIsNotOverTheVersionItCountsFrom);
            if !counts {
                own.age = age;
            }
            own.raise = Raise::Seen;
        }
        Act::Commit { operator } => {
            let own = world.operators[operator]?;
            let session = world.session.as_ref()?;
            let age = TICK * (own.age + u8::from(is(Mutant::OldOneTickEarlier))).into();
            let free = is(Mutant::PromotionDoesNotWait) || believed(setting, session).is_fence(age);
            let raised = own.raise == Raise::Seen || is(Mutant::PromotionDoesNotRaise);
            (raised && free && world.grant() == own.over).then_some(())?;
            world.operators[operator] = None;
            grant(world, Granted { number: own.over.number + 1, boot: Some(own.boot) });
        }
        Act::Abort { operator } => {
            let own = world.operators[operator].take()?;
            if own.over == world.grant() {
                grant(world, Granted { number: own.over.number + 1, boot: None });
            }
        }
        Act::Demote => {
            let over = world.grant();
            over.boot?;
            (!world.cloud.on || is(Mutant::DemoteDoesNotSeeItTerminated)).then_some(())?;
            grant(world, Granted { number: over.number + 1, boot: None });
        }
    }
    Some(())
}

fn grant(world: &mut World, new: Granted) {
    world.under_way.push(Request::Grant { new });
}

fn tick(world: &mut World) {
    let later = |age: &mut u8| *age = (*age + 1).min(MAX_AGE);
    later(&mut world.age);
    for own in world.operators.iter_mut().flatten() {
        later(&mut own.age);
    }
    for gate in &mut world.gates {
        match &mut gate.doing {
            Doing::Idle | Doing::Ended => {}
            Doing::Asked { since, .. } => *since = (*since + 1).min(SIGNS_FOR),
            Doing::Allowed { left, .. } => *left = left.saturating_sub(1),
            Doing::Running { left, renewing, .. } => {
                *left = left.saturating_sub(1);
                renewing.iter_mut().for_each(|since| *since = (*since + 1).min(SIGNS_FOR));
            }
        }
    }
}

fn holder(setting: &Setting, gate: usize) -> Uuid {
    let gate = if setting.mutant == Some(Mutant::BothHaveOneIdentity) { 0 } else { gate };
    Uuid::from_u128(1 + gate as u128)
}

fn home<'a>(setting: &Setting, gate: usize, last: Option<&'a LastGrant>) -> HomeGate<'a> {
    HomeGate { site: "home", holder: holder(setting, gate), resumes: true, last, seen: 0 }
}

/// The session as somebody takes it who has lost a rule.
fn believed(setting: &Setting, session: &Session) -> Session {
    let mut session = session.clone();
    match setting.mutant {
        Some(Mutant::TheOneThatContinuesGetsOld) => session.on_loss = OnLedgerLoss::Stop,
        Some(Mutant::NumberIsNotLookedAt) => session.number = 0,
        _ => {}
    }
    session
}

fn ask(setting: &Setting, world: &mut World, gate: usize, grant: usize) -> Option<()> {
    let grant = world.grants[grant];
    let missing_is_free = setting.mutant == Some(Mutant::MissingSessionIsFree);
    let session = match &world.session {
        None if missing_is_free => Some(Session::free(grant.number.into(), Uuid::nil())),
        session => session.as_ref().map(|session| believed(setting, session)),
    };
    let age = world.age + u8::from(setting.mutant == Some(Mutant::OldOneTickEarlier));
    let own = &mut world.gates[gate];
    let last = own.last.map(|granted| verified(granted).last());
    let me = home(setting, gate, last.as_ref());
    let decision = me.start(session.as_ref(), Some(verified(grant)), TICK * age.into());
    (decision == StartDecision::Take).then_some(())?;
    own.doing = Doing::Asked { since: 0, grant };
    world.under_way.push(Request::Session { what: Change::Hold { gate }, reply: true });
    Some(())
}

/// The machine's boot and the session's age are noted, then the number is raised. The session of a gate that continues
/// without the ledger never gets old.
fn promote(setting: &Setting, world: &mut World, operator: usize) -> Option<()> {
    let over = world.grant();
    let number = world.session.as_ref()?.number;
    (over.boot.is_none() && world.cloud.on).then_some(())?;
    world.operators[operator] = Some(Operator { over, boot: world.cloud.boot, raise: Raise::Asked, age: world.age });
    if number <= over.number.into() && setting.mutant != Some(Mutant::PromotionDoesNotRaise) {
        let what = Change::Raise { to: over.number + 1 };
        world.under_way.push(Request::Session { what, reply: false });
    }
    Some(())
}

/// Another version: whatever was asked over the one before cannot succeed, and a gate that waits for it begins again.
fn change(setting: &Setting, world: &mut World, session: Option<Session>) {
    world.session = session;
    world.age = 0;
    for own in world.operators.iter_mut().flatten() {
        own.raise = match own.raise {
            Raise::Asked => Raise::Next,
            Raise::Next | Raise::Missed => Raise::Missed,
            Raise::Seen => Raise::Seen,
        };
    }
    let late = setting.mutant == Some(Mutant::RaiseIsNotOverTheVersionItCountsFrom);
    world.under_way.retain(|request| match request {
        Request::Session { what: Change::Raise { .. }, .. } => late,
        Request::Session { .. } => false,
        Request::Reply { .. } | Request::Grant { .. } => true,
    });
}

fn arrives(setting: &Setting, world: &mut World, request: usize) -> Option<()> {
    match world.under_way.remove(request) {
        Request::Session { what, reply } => {
            let session = match &world.session {
                Some(session) => session.clone(),
                None if setting.mutant == Some(Mutant::MissingSessionIsFree) => Session::free(1, Uuid::nil()),
                None => return None,
            };
            let (now, write) = (Timestamp::UNIX_EPOCH, Uuid::nil());
            let mut session = match what {
                Change::Hold { gate } => {
                    let on_loss = match setting.mutant {
                        Some(Mutant::TheOneThatContinuesGetsOld) => OnLedgerLoss::Run,
                        _ => OnLedgerLoss::Stop,
                    };
                    session.held_by(holder(setting, gate), on_loss, TTL, now, write)
                }
                Change::GiveBack => session.given_back(now, write),
                Change::Raise { to } => session.raised_to(to.into(), write),
            };
            // Whether it was ever held counts, and not when.
            session.held.truncate(1);
            change(setting, world, Some(session));
            if let (Change::Hold { gate }, true) = (what, reply) {
                world.under_way.push(Request::Reply { to: gate });
            }
        }
        Request::Reply { to } => reply(setting, world, to),
        Request::Grant { new } => {
            world.grants.push(new);
            world.under_way.retain(|request| !matches!(request, Request::Grant { .. }));
        }
    }
    Some(())
}

/// The ledger has said yes. The deadline counts from before the request, by the slowest clock there may be.
fn reply(setting: &Setting, world: &mut World, to: usize) {
    let continues = setting.mutant == Some(Mutant::TheOneThatContinuesGetsOld);
    let left = |since: u8| match setting.mutant {
        Some(Mutant::DeadlineCountsFromTheReply) => SIGNS_FOR,
        _ if continues => u8::MAX,
        _ => SIGNS_FOR.saturating_sub(since),
    };
    let doing = &mut world.gates[to].doing;
    match doing {
        Doing::Asked { since, grant } => *doing = Doing::Allowed { left: left(*since), grant: *grant },
        Doing::Running { left: until, renewing, .. } => {
            if let Some(since) = renewing.take() {
                *until = (*until).max(left(since));
            }
        }
        Doing::Idle | Doing::Allowed { .. } | Doing::Ended => {}
    }
}

/// What it has asked may still happen, and nobody hears the reply.
fn hang_up(world: &mut World, gate: usize) {
    world.under_way.retain(|request| !matches!(request, Request::Reply { to } if *to == gate));
    for request in &mut world.under_way {
        if let Request::Session { what: Change::Hold { gate: by }, reply } = request
            && *by == gate
        {
            *reply = false;
        }
    }
}
