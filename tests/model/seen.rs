//! What comes next of a promotion depends on little of the world, so the program is asked once about each such view.

use std::{cell::RefCell, collections::HashMap, rc::Rc};

use failover::domain::{ownership::Session, promotion::PromotionStep};

use crate::{
    actions::Act,
    grants::Granted,
    promotion,
    setting::Setting,
    world::{Machine, Record, World},
};

/// All that is read before a step of a promotion. What is not in it cannot matter to the step.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Seen {
    pub record: Option<Record>,
    pub session: Option<Session>,
    pub age: u8,
    grant: Granted,
    /// Without what runs on it.
    pub cloud: Machine,
    pub seen_off: bool,
    pub protected: bool,
    pub deleted: bool,
    pub cut: bool,
}

impl Seen {
    fn of(world: &World) -> Self {
        Self {
            record: world.record,
            session: world.session.clone(),
            age: world.age,
            grant: world.grant(),
            cloud: Machine { signs: false, last: None, ..world.cloud },
            seen_off: world.seen_off,
            protected: world.protected,
            deleted: world.deleted,
            cut: world.cut,
        }
    }

    pub fn grant(&self) -> Granted {
        self.grant
    }
}

/// What the program says comes next, by what is read now.
pub fn step(setting: &Setting, world: &World, act: Act) -> Rc<PromotionStep> {
    type Known = HashMap<(Seen, Act), Rc<PromotionStep>>;
    thread_local!(static KNOWN: RefCell<(Option<Setting>, Known)> = RefCell::default());
    KNOWN.with_borrow_mut(|(of, known)| {
        if of.replace(*setting) != Some(*setting) {
            known.clear();
        }
        let known = known.entry((Seen::of(world), act));
        Rc::clone(known.or_insert_with_key(|(seen, act)| Rc::new(promotion::step(setting, seen, *act))))
    })
}
