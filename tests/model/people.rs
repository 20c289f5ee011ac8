//! What operators do beside promotions: adopt and regrant.

use std::time::Duration;

use failover::domain::ownership::{AdoptStep, Adoption, OnLedgerLoss, adoption_number, may_regrant};

use crate::{
    actions::Act,
    grants::{Granted, INSTANCE, verified},
    setting::{Mutant, Setting},
    world::{Change, MAX_AGE, Operator, Raise, Request, TICK, World},
};

pub fn possible(setting: &Setting, world: &World, acts: &mut Vec<Act>) {
    for (operator, own) in world.operators.iter().enumerate() {
        match own {
            None => acts.extend([false, true].map(|keeps| Act::Adopt { operator, keeps })),
            Some(_) => {
                acts.extend([Act::Raise { operator }, Act::See { operator }, Act::Create { operator }]);
                acts.extend([Act::Commit { operator }, Act::Abort { operator }]);
            }
        }
    }
    if setting.regrants {
        acts.push(Act::Regrant);
    }
}

/// `None` when it cannot happen now.
pub fn take(setting: &Setting, world: &mut World, act: Act) -> Option<()> {
    let present = world.grant();
    match act {
        Act::Adopt { operator, keeps } => {
            let session = world.session.as_ref();
            let settled = session.is_some_and(|session| session.number <= present.number.into());
            (!keeps || (present.boot.is_none() && settled)).then_some(())?;
            let granted = world.grants.iter().map(|grant| u64::from(grant.number));
            let above = u64::from(setting.lacks(Mutant::AdoptionRaisesAboveTheSession));
            let raised = world.session.iter().map(|session| session.number + above);
            let number = adoption_number(granted, raised)?;
            begin(setting, world, operator, Granted { number: u8::try_from(number).ok()?, boot: None }, keeps);
        }
        Act::Raise { operator } => {
            let Operator { to, raise, keeps: false, .. } = world.operators[operator]? else { return None };
            let number = world.session.as_ref()?.number;
            (number < to.number.into() && matches!(raise, Raise::Next | Raise::Missed)).then_some(())?;
            begin(setting, world, operator, to, false);
        }
        Act::See { operator } => see(world, operator)?,
        Act::Create { operator } => {
            let Operator { to, raise, .. } = world.operators[operator]?;
            let what = match adoption(setting, world, world.operators[operator]?) {
                AdoptStep::Create if raise == Raise::Asked => Change::Create { number: to.number },
                AdoptStep::Free => Change::Free { number: to.number },
                _ => return None,
            };
            world.under_way.push(Request::Session { what, reply: false });
        }
        Act::Commit { operator } => commit(setting, world, operator)?,
        Act::Abort { operator } => abort(world, operator)?,
        Act::Regrant => {
            let boot = world.cloud.boot;
            world.cloud.on.then_some(())?;
            if !setting.lacks(Mutant::RegrantReplacesAnyGrant) {
                may_regrant(verified(present), &INSTANCE.into(), &boot.to_string()).ok()?;
            }
            sign(world, Granted { number: present.number + 1, boot: Some(boot) });
        }
        _ => return None,
    }
    Some(())
}

/// The session's age is noted, then its number is raised over exactly that version.
fn begin(setting: &Setting, world: &mut World, operator: usize, to: Granted, keeps: bool) {
    let (raise, before) = (Raise::Asked, world.operators[operator]);
    let over = before.map_or(world.grant(), |before| before.over);
    let age = if world.session.is_some() { world.age } else { 0 };
    world.operators[operator] = Some(Operator { over, to, raise, keeps, age });
    let raised = world.session.as_ref().is_none_or(|session| session.number >= to.number.into());
    if !raised && !keeps {
        let what = match setting.lacks(Mutant::AdoptionFreesTheSession) {
            true => Change::Free { number: to.number },
            false => Change::Raise { to: to.number, noted: false },
        };
        world.under_way.push(Request::Session { what, reply: false });
    }
}

fn see(world: &mut World, operator: usize) -> Option<()> {
    let present = world.age;
    let number = world.session.as_ref().map(|session| session.number);
    let Operator { to, raise, age, .. } = world.operators[operator].as_mut()?;
    if number.is_none() {
        // It is missing, and since when is known from now on.
        (*raise != Raise::Asked).then_some(())?;
        (*raise, *age) = (Raise::Asked, 0);
        return Some(());
    }
    (*raise != Raise::Seen && number? >= to.number.into()).then_some(())?;
    // The age that was noted counts if exactly that version was replaced; else this one's does.
    if *raise != Raise::Next {
        *age = present;
    }
    *raise = Raise::Seen;
    Some(())
}

fn commit(setting: &Setting, world: &mut World, operator: usize) -> Option<()> {
    let own @ Operator { over, to, raise, keeps, .. } = world.operators[operator]?;
    let below = world.session.as_ref().is_some_and(|session| session.number < to.number.into());
    let ready = (raise == Raise::Seen || (keeps && below)) && adoption(setting, world, own) == AdoptStep::Sign;
    (ready && world.grant() == over).then_some(())?;
    world.operators[operator] = None;
    sign(world, to);
    Some(())
}

/// It ends: home gets a grant of the number that was raised, unless another grant came first. That one has this number
/// too.
fn abort(world: &mut World, operator: usize) -> Option<()> {
    let Operator { over, to, .. } = world.operators[operator].take()?;
    if over == world.grant() && over.boot.is_none() {
        sign(world, Granted { number: to.number, boot: None });
    }
    Some(())
}

fn sign(world: &mut World, new: Granted) {
    world.under_way.push(Request::Grant { new });
}

/// What an adoption does next. Five silent epochs take less than a tick, and what they show is that nobody signs.
fn adoption(setting: &Setting, world: &World, own: Operator) -> AdoptStep {
    let Operator { over, to, keeps, age, .. } = own;
    let longest = match setting.on_loss {
        _ if setting.lacks(Mutant::SilenceAloneReplacesAMissingSession) => Some(Duration::ZERO),
        OnLedgerLoss::Stop => Some(TICK * MAX_AGE.into()),
        OnLedgerLoss::Run => None,
    };
    let adoption = Adoption {
        number: to.number.into(),
        over: Some(verified(over).grant()),
        keeps,
        stated: world.cut || setting.lacks(Mutant::StatementIsFalse),
        machines_terminated: !world.cloud.on || setting.lacks(Mutant::AdoptionDoesNotSeeItTerminated),
        session: world.session.as_ref(),
        unchanged: TICK * age.into(),
        was_known: true,
        longest,
        silent: if world.signers() == 0 { 5 } else { 0 },
    };
    adoption.next()
}
