//! What can happen next. What the parties decide are calls into the program.

use failover::domain::{
    gate::{HomeGate, SessionLook, StartDecision, may_start_in_cloud},
    ownership::{LastGrant, OnLedgerLoss, Session},
};
use uuid::Uuid;

use crate::{
    grants::{Granted, INSTANCE, last, verified},
    ledger::{self, arrives, change, hang_up},
    people, promotion,
    setting::{Mutant, Setting},
    world::{Change, Doing, ENDLESS, Gate, MAX_AGE, Record, Request, SIGNS_FOR, TICK, World},
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
    /// Gate and keeper at once, and the child lives on.
    Orphan {
        gate: usize,
    },
    OrphanEnds {
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
    /// The adversary carries any grant that reached the machine once, or may have.
    CloudStarts {
        grant: Granted,
    },
    /// Home is kept from running, and is let run again.
    Cut,
    Restore,
    BareStarts,
    /// Anybody does what comes next of the promotion, of the demotion, or of taking it back.
    Promote,
    Demote,
    TakeBack,
    /// A watcher looks whether it may delete the machine, and does so.
    WatcherLooks,
    WatcherDeletes,
    /// `keeps`: home has the grant and gets another one, and what runs continues.
    Adopt {
        operator: usize,
        keeps: bool,
    },
    /// The raise again, when another version came before it.
    Raise {
        operator: usize,
    },
    /// It reads that the number is raised.
    See {
        operator: usize,
    },
    /// A session where there is none; or what is held is freed by a statement.
    Create {
        operator: usize,
    },
    Commit {
        operator: usize,
    },
    Abort {
        operator: usize,
    },
    Regrant,
}

/// A child whose deadline is over is ended before time moves on, unless nobody is left to do it.
fn is_due(setting: &Setting, world: &World) -> bool {
    let over = |gate: &Gate| matches!(gate.doing, Doing::Running { left: 0, .. });
    !setting.lacks(Mutant::GateAndKeeperBothHang) && world.gates.iter().any(over)
}

pub fn possible(setting: &Setting, world: &World, acts: &mut Vec<Act>) {
    if !is_due(setting, world) {
        acts.push(Act::Tick);
    }
    let continues = setting.on_loss == OnLedgerLoss::Run && !setting.lacks(Mutant::TheOneThatContinuesGetsOld);
    for gate in 0..setting.gates {
        if world.gates[gate].orphan {
            acts.push(Act::OrphanEnds { gate });
        }
        match world.gates[gate].doing {
            Doing::Idle => acts.extend((0..world.grants.len()).map(|grant| Act::Ask { gate, grant })),
            Doing::Asked { .. } => acts.push(Act::Kill { gate }),
            Doing::Allowed { .. } => acts.extend([Act::Start { gate }, Act::Kill { gate }]),
            Doing::Running { .. } => {
                acts.extend([Act::Renew { gate }, Act::ChildEnds { gate }, Act::Kill { gate }]);
                if setting.lacks(Mutant::SessionIsGivenBackBeforeTheChildEnded) {
                    acts.push(Act::GiveBack { gate });
                }
                if continues || setting.lacks(Mutant::GateAndKeeperGoneAtOnce) {
                    acts.push(Act::Orphan { gate });
                }
            }
            Doing::Ended { .. } => acts.extend([Act::GiveBack { gate }, Act::Kill { gate }]),
        }
    }
    acts.extend((0..world.under_way.len()).map(|request| Act::Arrives { request }));
    if !setting.bare {
        acts.push(Act::DeleteSession);
    }
    if setting.operators > 0 {
        people::possible(setting, world, acts);
        if setting.promotes {
            acts.extend([Act::Promote, Act::Demote, Act::TakeBack]);
        }
        acts.extend([Act::Terminate, Act::PowerOn]);
        let carried = world.grants.iter().chain(&world.lost).filter(|grant| grant.boot.is_some());
        acts.extend(carried.map(|grant| Act::CloudStarts { grant: *grant }));
    }
    if setting.states {
        acts.extend([Act::Cut, Act::Restore]);
    }
    if setting.bare {
        acts.push(Act::BareStarts);
    }
    if setting.watcher {
        acts.extend([Act::WatcherLooks, Act::WatcherDeletes]);
    }
    if setting.lacks(Mutant::LedgerIsPutBack) {
        acts.push(Act::PutBack);
    }
}

/// `None` when it cannot happen now.
pub fn take(setting: &Setting, world: &mut World, act: Act) -> Option<()> {
    let is = |mutant| setting.lacks(mutant);
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
            (look(setting, world, gate)? == SessionLook::Ours).then_some(())?;
            let Doing::Running { left, renewing, .. } = &mut world.gates[gate].doing else { return None };
            (setting.local_folder || *left > 0).then_some(())?;
            // Asked again: a reply to the request before is not one to this.
            let again = renewing.replace(0).is_some();
            if again && !is(Mutant::ExtensionCountsFromTheLatestRequest) {
                hang_up(world, gate);
            }
            world.under_way.push(Request::Session { what: Change::Hold { gate }, reply: true });
        }
        Act::ChildEnds { gate } => {
            let Doing::Running { left, .. } = world.gates[gate].doing else { return None };
            let always = setting.local_folder || is(Mutant::SharedFolderGivesBackLater);
            world.gates[gate].doing = Doing::Ended { sure: if always { ENDLESS } else { left } };
            hang_up(world, gate);
        }
        Act::GiveBack { gate } => {
            let sure = match world.gates[gate].doing {
                Doing::Ended { sure } => {
                    world.gates[gate].doing = Doing::Idle;
                    sure > 0
                }
                _ => true,
            };
            let own = |session: &Session| session.holder == Some(holder(setting, gate));
            if sure && world.session.as_ref().is_some_and(own) {
                world.under_way.push(Request::Session { what: Change::GiveBack, reply: false });
            }
        }
        Act::Kill { gate } => {
            world.gates[gate].doing = Doing::Idle;
            hang_up(world, gate);
        }
        Act::Orphan { gate } => {
            world.gates[gate].doing = Doing::Idle;
            world.gates[gate].orphan = true;
            hang_up(world, gate);
        }
        Act::OrphanEnds { gate } => world.gates[gate].orphan = false,
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
            (!world.cloud.on && !world.deleted).then_some(())?;
            world.cloud.on = true;
            world.cloud.boot += 1;
        }
        Act::CloudStarts { grant } => {
            let boot = match grant.boot {
                Some(boot) if is(Mutant::GrantIsNotForOneBoot) => boot,
                _ => world.cloud.boot,
            };
            // One that lost: after one that won, which the machine has seen.
            let won = world.grants.contains(&grant) || is(Mutant::LostGrantIsCarried);
            let after = |seen: Granted| seen.number >= grant.number;
            (won || world.cloud.last.is_some_and(after)).then_some(())?;
            let may =
                may_start_in_cloud(verified(grant), &INSTANCE.into(), &boot.to_string(), world.cloud.last.map(last));
            (world.cloud.on && !world.cloud.signs && may).then_some(())?;
            world.cloud.signs = true;
            world.cloud.last = Some(grant);
        }
        Act::Cut => {
            world.cut = true;
            world.bare = false;
            for gate in 0..setting.gates {
                world.gates[gate] = Gate { last: world.gates[gate].last, ..Gate::default() };
                hang_up(world, gate);
            }
        }
        Act::Restore => {
            // As long as the cloud has the grant, or may get it by what was stated, the statement has to stay true.
            let stated = |record: &Record| record.stated && record.is_open();
            let needed = world.grant().boot.is_some()
                || world.record.as_ref().is_some_and(stated)
                || world.under_way.iter().any(|request| match request {
                    Request::Grant { new } => new.boot.is_some(),
                    Request::Record { new, .. } => stated(new),
                    Request::Session { .. } | Request::Reply { .. } => false,
                });
            (world.cut && (!needed || is(Mutant::StatementIsFalse))).then_some(())?;
            world.cut = false;
        }
        Act::BareStarts => {
            (setting.bare && !world.cut).then_some(())?;
            world.bare = true;
        }
        Act::Promote | Act::Demote | Act::TakeBack => promotion::take(setting, world, act)?,
        Act::WatcherLooks => {
            let settled = world.session.as_ref().is_some_and(|session| session.number <= world.grant().number.into());
            let free = world.record.is_none_or(|record| !record.is_open()) && !world.protected;
            (free && settled && world.grant().boot.is_none() && !world.deleted).then_some(())?;
            world.doomed = true;
        }
        Act::WatcherDeletes => {
            // The cloud refuses it.
            let refused = world.protected && !is(Mutant::DeletionProtectionIsLeftOut);
            (world.doomed && !refused).then_some(())?;
            (world.doomed, world.deleted, world.cloud.on, world.cloud.signs) = (false, true, false, false);
        }
        Act::Adopt { .. }
        | Act::Raise { .. }
        | Act::See { .. }
        | Act::Create { .. }
        | Act::Commit { .. }
        | Act::Abort { .. }
        | Act::Regrant => people::take(setting, world, act)?,
    }
    Some(())
}

fn tick(world: &mut World) {
    let later = |age: &mut u8| *age = (*age + 1).min(MAX_AGE);
    let less = |left: &mut u8| *left = if *left == ENDLESS { ENDLESS } else { left.saturating_sub(1) };
    later(&mut world.age);
    for own in world.operators.iter_mut().flatten() {
        later(&mut own.age);
    }
    for gate in &mut world.gates {
        match &mut gate.doing {
            Doing::Idle => {}
            Doing::Ended { sure } => less(sure),
            Doing::Asked { since, .. } => *since = (*since + 1).min(SIGNS_FOR),
            Doing::Allowed { left, .. } => less(left),
            Doing::Running { left, renewing, .. } => {
                less(left);
                renewing.iter_mut().for_each(|since| *since = (*since + 1).min(SIGNS_FOR));
            }
        }
    }
}

pub fn holder(setting: &Setting, gate: usize) -> Uuid {
    Uuid::from_u128(if setting.local_folder { 1 + gate as u128 } else { 1 })
}

fn home<'a>(setting: &Setting, gate: usize, last: Option<&'a LastGrant>) -> HomeGate<'a> {
    let resumes = setting.local_folder || setting.lacks(Mutant::SharedFolderResumes);
    HomeGate { site: "home", holder: holder(setting, gate), resumes, last, seen: 0 }
}

/// What the session says to a gate whose child runs. `None`: nothing, or nothing runs.
pub fn look(setting: &Setting, world: &World, gate: usize) -> Option<SessionLook> {
    let Doing::Running { number, .. } = world.gates[gate].doing else { return None };
    Some(home(setting, gate, None).look(world.session.as_ref()?, number.into()))
}

/// Whether a gate would ask for the session by this grant.
pub fn would_take(setting: &Setting, world: &World, gate: usize, grant: Granted) -> bool {
    let missing_is_free = setting.lacks(Mutant::MissingSessionIsFree);
    let session = match &world.session {
        None if missing_is_free => Some(Session::free(grant.number.into(), Uuid::nil())),
        session => session.as_ref().map(|session| ledger::believed(setting, session)),
    };
    let age = world.age + u8::from(setting.lacks(Mutant::OldOneTickEarlier));
    let own = &world.gates[gate];
    // Its orphan has the lock.
    if world.cut || (own.orphan && !setting.lacks(Mutant::LockIsNotInherited)) {
        return false;
    }
    let me = home(setting, gate, own.last.map(last));
    me.start(session.as_ref(), Some(verified(grant)), TICK * age.into()) == StartDecision::Take
}

fn ask(setting: &Setting, world: &mut World, gate: usize, grant: usize) -> Option<()> {
    let grant = world.grants[grant];
    would_take(setting, world, gate, grant).then_some(())?;
    world.gates[gate].doing = Doing::Asked { since: 0, grant };
    world.under_way.push(Request::Session { what: Change::Hold { gate }, reply: true });
    Some(())
}
