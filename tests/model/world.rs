//! The state of everything, and who is in it.

use std::{sync::Arc, time::Duration};

use failover::domain::ownership::{OnLedgerLoss, Session};
use jiff::Timestamp;
use stateright::{Model, Property};
use uuid::Uuid;

use crate::{
    actions::{self, Act, holder},
    fair::Ways,
    grants::Granted,
    setting::{Mutant, Setting},
};

/// A tick of the true time. A child may sign for two of them by its own clock; three, when that clock is as slow as it
/// may be and the signal takes its time. The session is old after four: 60 s, a fiftieth and 30 s, in whole ticks.
pub const TICK: Duration = Duration::from_secs(30);
pub const TTL: Duration = Duration::from_secs(60);
pub const SIGNS_FOR: u8 = 3;
/// Ages beyond this are all the same.
pub const MAX_AGE: u8 = 4;
/// The time that a child has left which continues without the ledger.
pub const ENDLESS: u8 = u8::MAX;

pub const SAFE: &str = "at most one signer";
pub const KEPT: &str = "what the grant names is not deleted";
pub const LIVE: &str = "the owner signs in the end";
pub const HOME_SIGNS: &str = "a gate signs";
pub const TAKEN_OVER: &str = "a gate signs after the other one";
pub const CLOUD_SIGNS: &str = "the cloud signs";
pub const HOME_AGAIN: &str = "home signs again after the cloud";

/// Everything is relative to the version of the session that is there: a request over another one cannot succeed, and
/// is taken away when the version changes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    /// Every grant there was; the last one is in force.
    pub grants: Vec<Granted>,
    /// Signed for the cloud over a grant that was replaced by another one first.
    pub lost: Vec<Granted>,
    pub session: Option<Session>,
    /// Ticks since the session changed.
    pub age: u8,
    pub gates: Vec<Gate>,
    /// The process without a gate signs.
    pub bare: bool,
    /// People keep home from running at all.
    pub cut: bool,
    pub cloud: Machine,
    pub operators: Vec<Option<Operator>>,
    /// The promotion or demotion that is open, or was.
    pub record: Option<Record>,
    /// Deletion protection of the machine, where it matters.
    pub protected: bool,
    /// A watcher has looked and will delete the machine; it has deleted it.
    pub doomed: bool,
    pub deleted: bool,
    /// Somebody who demotes has seen the machine TERMINATED, some time ago; without a mutant nobody remembers that.
    pub seen_off: bool,
    pub under_way: Vec<Request>,
}

/// A gate with its keeper. A process that is frozen is one that does not act, and every act here may be left out, save
/// for one: of gate and keeper the one that runs ends the child at the deadline.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Gate {
    /// On disk: the newest grant it has acted on.
    pub last: Option<Granted>,
    pub doing: Doing,
    /// A child that has lost its gate and its keeper: it signs, nobody ends it, and it has the folder's lock.
    pub orphan: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Doing {
    #[default]
    Idle,
    /// It has asked for the session, so many ticks ago.
    Asked {
        since: u8,
        grant: Granted,
    },
    /// It has the session and may start within so many ticks.
    Allowed {
        left: u8,
        grant: Granted,
    },
    Running {
        left: u8,
        number: u8,
        renewing: Option<u8>,
    },
    /// The child is gone, the session is still its own; for certain so many ticks longer, if another may have its id.
    Ended {
        sure: u8,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Machine {
    pub on: bool,
    pub boot: u8,
    pub signs: bool,
    /// On its disk.
    pub last: Option<Granted>,
}

/// What of `promotions/V` is not always the same here. Whoever reads it does what comes next, so a crash is that nobody
/// acts, and two operators are two who read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Record {
    pub to_cloud: bool,
    pub state: RecordState,
    pub number: u8,
    pub over: Granted,
    pub noted: Option<Noted>,
    /// The signature was begun: the commit's, the abort's.
    pub signs: bool,
    pub signs_home: bool,
    pub stated: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RecordState {
    Open,
    Aborting,
    Aborted,
    Done,
}

/// The session before the raise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Noted {
    /// Ticks for which it had not changed.
    pub age: u8,
    pub seen: NotedSession,
}

/// The session that is there, beside the note.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NotedSession {
    /// It is the one that was noted.
    Over,
    /// It is the one that the raise made of that.
    Raised,
    Another,
}

/// An adoption that somebody has begun. One whose operator has crashed is one that does not act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Operator {
    pub over: Granted,
    pub to: Granted,
    pub raise: Raise,
    /// It leaves the session to its holder.
    pub keeps: bool,
    /// Ticks since the holder's last write that may count; of a session that is missing, since that was seen.
    pub age: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Raise {
    /// The version whose age was noted is still there.
    Asked,
    /// The next version is there, so whatever it is, it replaced exactly the one that was noted.
    Next,
    /// Further versions have come.
    Missed,
    Seen,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Request {
    /// To the session, over the version that is there. A gate that has died hears no reply.
    Session {
        what: Change,
        reply: bool,
    },
    Reply {
        to: usize,
    },
    /// Over the grant in force.
    Grant {
        new: Granted,
    },
    /// Over the record that is there. `fresh`: with another note of the session.
    Record {
        new: Record,
        fresh: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Change {
    Hold {
        gate: usize,
    },
    GiveBack,
    /// `noted`: by the note that is in the record.
    Raise {
        to: u8,
        noted: bool,
    },
    /// As it was stated that nothing at home can sign; or a mutant's.
    Free {
        number: u8,
    },
    /// A free one, where there is none.
    Create {
        number: u8,
    },
}

impl World {
    pub fn new(setting: &Setting) -> Self {
        let home = Granted { number: 1, boot: None };
        let (mut grants, mut session) = (vec![home], Session::free(1, Uuid::nil()));
        if setting.in_cloud {
            grants.push(Granted { number: 2, boot: Some(0) });
            let (now, write) = (Timestamp::UNIX_EPOCH, Uuid::nil());
            let held = session.held_by(Uuid::from_u128(1), OnLedgerLoss::Stop, TTL, now, write);
            session = held.given_back(now, write).raised_to(2, write);
        }
        Self {
            grants,
            lost: Vec::new(),
            session: Some(session),
            age: MAX_AGE,
            gates: vec![Gate::default(); setting.gates],
            bare: false,
            cut: false,
            cloud: Machine { on: true, boot: 0, signs: false, last: None },
            operators: vec![None; if setting.adopts { setting.operators } else { 0 }],
            record: None,
            protected: !setting.watcher,
            doomed: false,
            deleted: false,
            seen_off: false,
            under_way: Vec::new(),
        }
    }

    pub fn grant(&self) -> Granted {
        *self.grants.last().unwrap()
    }

    pub fn signers(&self) -> usize {
        let home = self.gates.iter().map(|gate| usize::from(gate.runs()) + usize::from(gate.orphan)).sum::<usize>();
        home + usize::from(self.bare) + usize::from(self.cloud.signs)
    }

    /// The order in which requests and operators are kept means nothing, and which of two gates is which means nothing
    /// either: of a world and its mirror one is explored. So a gate may have another place after an act.
    pub fn tidy(&mut self, setting: &Setting) {
        self.under_way.sort();
        self.under_way.dedup();
        self.operators.sort();
        if let [one, other] = &self.gates[..]
            && one >= other
        {
            let mirrored = self.mirrored(setting);
            let by = |world: &Self| world.session.as_ref().and_then(|session| session.holder);
            if (&mirrored.gates, by(&mirrored), &mirrored.under_way) < (&self.gates, by(self), &self.under_way) {
                *self = mirrored;
            }
        }
    }

    /// The same with two gates that have changed their names.
    fn mirrored(&self, setting: &Setting) -> Self {
        let mut mirrored = self.clone();
        mirrored.gates.reverse();
        for request in &mut mirrored.under_way {
            match request {
                Request::Session { what: Change::Hold { gate }, .. } | Request::Reply { to: gate } => *gate = 1 - *gate,
                Request::Session { .. } | Request::Grant { .. } | Request::Record { .. } => {}
            }
        }
        mirrored.under_way.sort();
        if let Some(by) = mirrored.session.as_mut().and_then(|session| session.holder.as_mut()) {
            let names = [holder(setting, 0), holder(setting, 1)];
            *by = if *by == names[0] { names[1] } else { names[0] };
        }
        mirrored
    }
}

impl Gate {
    pub fn runs(&self) -> bool {
        matches!(self.doing, Doing::Running { .. })
    }
}

/// A setting, and what was found of liveness in it.
pub struct Exploration {
    pub setting: Setting,
    pub ways: Arc<Ways>,
}

impl Model for Exploration {
    type State = World;
    type Action = Act;

    fn init_states(&self) -> Vec<World> {
        vec![World::new(&self.setting)]
    }

    fn actions(&self, world: &World, acts: &mut Vec<Act>) {
        actions::possible(&self.setting, world, acts);
    }

    fn next_state(&self, world: &World, act: Act) -> Option<World> {
        let mut next = world.clone();
        actions::take(&self.setting, &mut next, act)?;
        next.tidy(&self.setting);
        (next != *world).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let safe = Property::<Self>::always(SAFE, |_, world: &World| world.signers() <= 1);
        let kept = Property::<Self>::always(KEPT, |_, world: &World| !world.deleted || world.grant().boot.is_none());
        let live = Property::<Self>::always(LIVE, |own: &Self, world: &World| {
            // Two signers are reported as such.
            world.signers() > 1 || own.ways.somebody_signs(&own.setting, world)
        });
        // Alone, so that the search ends at the first state that breaks it.
        match self.setting.mutant {
            Some(mutant) if mutant.is_of_liveness() => return vec![live],
            Some(Mutant::DeletionProtectionIsLeftOut) => return vec![kept],
            Some(_) => return vec![safe],
            None => {}
        }
        let mut properties = vec![safe, kept];
        // Without a machine nobody is left to sign in the cloud, and what that takes is not in the model.
        if !self.setting.watcher {
            properties.push(live);
        }
        if self.setting.gates > 0 {
            properties
                .push(Property::<Self>::sometimes(HOME_SIGNS, |_, world: &World| world.gates.iter().any(Gate::runs)));
        }
        if self.setting.gates > 1 {
            properties.push(Property::sometimes(TAKEN_OVER, |_, world: &World| {
                world.gates.iter().any(Gate::runs) && world.gates.iter().all(|gate| gate.last.is_some())
            }));
        }
        if self.setting.operators > 0 {
            properties.extend([
                Property::<Self>::sometimes(CLOUD_SIGNS, |_, world: &World| world.cloud.signs),
                Property::<Self>::sometimes(HOME_AGAIN, |_, world: &World| {
                    world.cloud.last.is_some() && (world.bare || world.gates.iter().any(Gate::runs))
                }),
            ]);
        }
        properties
    }

    fn within_boundary(&self, world: &World) -> bool {
        world.grants.len() <= self.setting.grants
            && world.cloud.boot <= self.setting.boots
            && world.under_way.len() <= self.setting.requests
    }
}
