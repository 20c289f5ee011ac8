//! Liveness: whether the owner signs in the end, once nothing bad happens any longer.
//!
//! From each state one fair way is followed: every request arrives and is answered, clocks run, gates and machine do
//! what they may, whoever has begun something finishes it (or aborts it), and nobody begins anything. Where that ends
//! without a signer, people do what the documents say for it, which is counted; if there is nothing to do, liveness is
//! broken.

use std::{
    cell::RefCell,
    collections::HashMap,
    fmt,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::atomic::{AtomicU64, Ordering},
};

use failover::domain::{gate::SessionLook, ownership::OnLedgerLoss, promotion::PromotionStep};

use crate::{
    actions::{self, Act, look, would_take},
    seen,
    setting::Setting,
    world::{Doing, ENDLESS, Gate, Operator, Record, World},
};

/// More than any way took.
const STEPS: usize = 200;

/// What people do where nobody signs: the bit in a way's mask, and its name.
#[derive(Clone, Copy)]
enum Remedy {
    Adopt,
    PowerOn,
    Regrant,
    Restore,
    State,
}

const REMEDIES: [&str; 5] = ["adopt", "power on", "regrant", "let home run again", "state"];

/// What was found of one exploration.
#[derive(Default)]
pub struct Ways {
    /// In how many states each is needed at some time.
    needed: [AtomicU64; 5],
    /// In how many states none is.
    by_itself: AtomicU64,
}

impl Ways {
    pub fn somebody_signs(&self, setting: &Setting, world: &World) -> bool {
        let (Some(finished), Some(_)) = (way(setting, world, true), way(setting, world, false)) else { return false };
        for (bit, needed) in self.needed.iter().enumerate() {
            needed.fetch_add(u64::from(finished >> bit & 1), Ordering::Relaxed);
        }
        self.by_itself.fetch_add(u64::from(finished == 0), Ordering::Relaxed);
        true
    }
}

impl fmt::Display for Ways {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the owner signs in the end: from {} by itself", self.by_itself.load(Ordering::Relaxed))?;
        for (remedy, needed) in REMEDIES.iter().zip(&self.needed) {
            match needed.load(Ordering::Relaxed) {
                0 => {}
                needed => write!(f, ", {needed} once somebody does: {remedy}")?,
            }
        }
        Ok(())
    }
}

enum Step {
    Act(Act),
    Remedy(Remedy, Option<Act>),
    Stuck,
}

/// The remedies that it takes until the owner signs.
fn way(setting: &Setting, world: &World, mut finishes: bool) -> Option<u8> {
    thread_local!(static KNOWN: RefCell<HashMap<u64, u8>> = RefCell::default());
    let (mut world, mut trail) = (world.clone(), Vec::new());
    for _ in 0..STEPS {
        let mut key = DefaultHasher::new();
        (&world, finishes).hash(&mut key);
        let key = key.finish();
        let known = KNOWN.with_borrow(|known| known.get(&key).copied());
        let step = match known {
            Some(mask) => return Some(keep(&KNOWN, trail, mask)),
            None if is_reached(setting, &world) => {
                trail.push((key, 0));
                return Some(keep(&KNOWN, trail, 0));
            }
            None => next(setting, &world, finishes),
        };
        let (act, mask) = match step {
            Step::Act(act) => (Some(act), 0),
            Step::Remedy(remedy, act) => (act, 1 << remedy as u8),
            Step::Stuck => {
                println!("nobody signs: {world:?}");
                return None;
            }
        };
        trail.push((key, mask));
        let Some(act) = act else { return Some(keep(&KNOWN, trail, 0)) };
        if let Act::Adopt { .. } = act {
            finishes = true;
            world.operators.resize(setting.operators.max(1), None);
        }
        // A request that comes to nothing is gone as well.
        let _ = actions::take(setting, &mut world, act);
        world.tidy(setting);
    }
    println!("nobody signs within {STEPS} steps: {world:?}");
    None
}

fn keep(known: &'static std::thread::LocalKey<RefCell<HashMap<u64, u8>>>, trail: Vec<(u64, u8)>, mut mask: u8) -> u8 {
    known.with_borrow_mut(|known| {
        for (key, own) in trail.into_iter().rev() {
            mask |= own;
            known.insert(key, mask);
        }
    });
    mask
}

/// All is quiet and the place that has the grant signs.
fn is_reached(setting: &Setting, world: &World) -> bool {
    let closed = world.record.is_none_or(|record| !record.is_open());
    let quiet = closed && world.under_way.is_empty() && world.operators.iter().all(Option::is_none);
    let signs = |gate: usize| match (&world.gates[gate].doing, look(setting, world, gate)) {
        (Doing::Running { left, .. }, Some(SessionLook::Ours)) => *left > 0,
        (Doing::Running { left, .. }, None) => *left == ENDLESS,
        _ => world.gates[gate].orphan,
    };
    quiet
        && match world.grant().boot {
            None => world.bare || (0..setting.gates).any(signs),
            Some(_) => world.cloud.signs,
        }
}

fn next(setting: &Setting, world: &World, finishes: bool) -> Step {
    let can = |act: Act| {
        let mut after = world.clone();
        actions::take(setting, &mut after, act)?;
        after.tidy(setting);
        (after != *world).then_some(act)
    };
    if !world.under_way.is_empty() {
        return Step::Act(Act::Arrives { request: 0 });
    }
    for (operator, own) in world.operators.iter().enumerate() {
        let Some(Operator { over, .. }) = own else { continue };
        if !finishes || *over != world.grant() {
            return Step::Act(Act::Abort { operator });
        }
        let steps =
            [Act::See { operator }, Act::Raise { operator }, Act::Create { operator }, Act::Commit { operator }];
        if let Some(act) = steps.into_iter().find_map(can) {
            return Step::Act(act);
        }
    }
    if let Some(record) = world.record.filter(Record::is_open) {
        let onwards = if record.to_cloud { Act::Promote } else { Act::Demote };
        let ends = |act| matches!(*seen::step(setting, world, act), PromotionStep::Ended(_));
        let act = if (finishes || ends(Act::TakeBack)) && !ends(onwards) { onwards } else { Act::TakeBack };
        if let Some(act) = can(act) {
            return Step::Act(act);
        }
    }
    for (gate, own) in world.gates.iter().enumerate() {
        if let Some(act) = by_gate(setting, world, gate, own).and_then(can) {
            return Step::Act(act);
        }
    }
    let present = world.grant();
    let starts = if present.boot.is_some() { Act::CloudStarts { grant: present } } else { Act::BareStarts };
    if let Some(act) = can(starts).or_else(|| can(Act::Tick)) {
        return Step::Act(act);
    }
    // Nothing happens by itself any longer.
    if let Some(act) = world.record.filter(Record::is_open).and_then(|_| can(Act::TakeBack)) {
        return Step::Act(act);
    }
    if let Some(operator) = world.operators.iter().position(Option::is_some) {
        return Step::Act(Act::Abort { operator });
    }
    match present.boot {
        // What is stated has to be true first.
        None if world.session.is_none() && setting.on_loss == OnLedgerLoss::Run && !world.cut => {
            Step::Remedy(Remedy::State, Some(Act::Cut))
        }
        None if world.session.is_none() => Step::Remedy(Remedy::Adopt, Some(Act::Adopt { operator: 0, keeps: false })),
        None if world.cut => Step::Remedy(Remedy::Restore, Some(Act::Restore)),
        None => Step::Stuck,
        Some(_) if !world.cloud.on => Step::Remedy(Remedy::PowerOn, Some(Act::PowerOn)),
        Some(_) => can(Act::Regrant).map_or(Step::Stuck, |act| Step::Remedy(Remedy::Regrant, Some(act))),
    }
}

/// What a gate does next by itself.
fn by_gate(setting: &Setting, world: &World, gate: usize, own: &Gate) -> Option<Act> {
    match &own.doing {
        Doing::Idle => {
            let grant = world.grants.len() - 1;
            would_take(setting, world, gate, world.grants[grant]).then_some(Act::Ask { gate, grant })
        }
        // Nothing is under way any longer, so no reply comes.
        Doing::Asked { .. } => Some(Act::Kill { gate }),
        Doing::Allowed { left: 0, .. } => Some(Act::Kill { gate }),
        Doing::Allowed { .. } => Some(Act::Start { gate }),
        Doing::Running { left: 0, .. } => Some(Act::ChildEnds { gate }),
        Doing::Running { left, .. } => match look(setting, world, gate) {
            Some(SessionLook::Stop(_)) => Some(Act::ChildEnds { gate }),
            Some(SessionLook::Ours) => (*left == 1).then_some(Act::Renew { gate }),
            None => None,
        },
        Doing::Ended { .. } => Some(Act::GiveBack { gate }),
    }
}
