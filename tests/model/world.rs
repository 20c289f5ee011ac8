//! The state of everything, and who is in it.

use std::time::Duration;

use failover::domain::ownership::Session;
use stateright::{Model, Property};
use uuid::Uuid;

use crate::{
    actions::{self, Act},
    grants::Granted,
};

/// A tick of the true time. A child may sign for two of them by its own clock; three, when that clock is as slow as it may
/// be and the signal takes its time. The session is old after four: 60 s, a fiftieth and 30 s, in whole ticks.
pub const TICK: Duration = Duration::from_secs(30);
pub const TTL: Duration = Duration::from_secs(60);
pub const SIGNS_FOR: u8 = 3;
/// Ages beyond this are all the same.
pub const MAX_AGE: u8 = 4;

pub const SAFE: &str = "at most one signer";
pub const HOME_SIGNS: &str = "a gate signs";
pub const TAKEN_OVER: &str = "a gate signs after the other one";
pub const CLOUD_SIGNS: &str = "the cloud signs";
pub const HOME_AGAIN: &str = "home signs again after the cloud";

/// A rule, or a proviso of safety, that is taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    MissingSessionIsFree,
    OldOneTickEarlier,
    NumberIsNotLookedAt,
    DeadlineCountsFromTheReply,
    DeadlineIsNotJudgedAtTheStart,
    ExtensionCountsFromTheLatestRequest,
    SessionIsGivenBackBeforeTheChildEnded,
    BothHaveOneIdentity,
    PromotionDoesNotWait,
    PromotionDoesNotRaise,
    RaiseIsNotOverTheVersionItCountsFrom,
    GrantIsNotForOneBoot,
    DemoteDoesNotSeeItTerminated,
    GateAndKeeperBothHang,
    TheOneThatContinuesGetsOld,
    LedgerIsPutBack,
}

/// Who takes part and where a path ends, so that there are finitely many.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    pub gates: usize,
    pub operators: usize,
    pub grants: usize,
    pub boots: u8,
    /// Requests and replies under way at once.
    pub requests: usize,
    pub mutant: Option<Mutant>,
}

impl Setting {
    /// Two processes of one home.
    pub const HOME: Self = Self { gates: 2, operators: 0, grants: 1, boots: 0, requests: 3, mutant: None };
    /// One process at home, the cloud, and somebody who promotes and demotes.
    pub const PROMOTION: Self = Self { gates: 1, operators: 1, grants: 3, boots: 1, requests: 2, mutant: None };
    /// Two people who begin, abort and commit beside each other.
    pub const TWO_PEOPLE: Self = Self { gates: 1, operators: 2, grants: 2, boots: 0, requests: 3, mutant: None };
    /// All of them; `make model` explores it, and an ordinary run as much as fits into its time.
    pub const EVERYBODY: Self = Self { gates: 2, operators: 2, grants: 3, boots: 1, requests: 3, mutant: None };
}

/// Everything is relative to the version of the session that is there: a request over another one cannot succeed, and is
/// taken away when the version changes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    /// Every grant there was; the last one is in force.
    pub grants: Vec<Granted>,
    pub session: Option<Session>,
    /// Ticks since the session changed.
    pub age: u8,
    pub gates: Vec<Gate>,
    pub cloud: Machine,
    pub operators: Vec<Option<Operator>>,
    pub under_way: Vec<Request>,
}

/// A gate with its keeper. A process that is frozen is one that does not act, and every act here may be left out, save for
/// one: of gate and keeper the one that runs ends the child at the deadline.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Gate {
    /// On disk: the newest grant it has acted on.
    pub last: Option<Granted>,
    pub doing: Doing,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
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
    /// The child is gone, the session is still its own.
    Ended,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Machine {
    pub on: bool,
    pub boot: u8,
    pub signs: bool,
    /// On its disk.
    pub last: Option<Granted>,
}

/// A promotion as its record has it. One whose operator has crashed is one that does not act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Operator {
    /// The grant that is to be replaced.
    pub over: Granted,
    pub boot: u8,
    pub raise: Raise,
    /// Ticks since the holder's last write that may count.
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
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Change {
    Hold { gate: usize },
    GiveBack,
    Raise { to: u8 },
}

impl World {
    pub fn grant(&self) -> Granted {
        *self.grants.last().unwrap()
    }

    fn signers(&self) -> usize {
        self.gates.iter().filter(|gate| gate.signs()).count() + usize::from(self.cloud.signs)
    }
}

impl Gate {
    pub fn signs(&self) -> bool {
        matches!(self.doing, Doing::Running { .. })
    }
}

impl Model for Setting {
    type State = World;
    type Action = Act;

    fn init_states(&self) -> Vec<World> {
        let first = Granted { number: 1, boot: None };
        vec![World {
            grants: vec![first],
            session: Some(Session::free(1, Uuid::nil())),
            age: MAX_AGE,
            gates: vec![Gate::default(); self.gates],
            cloud: Machine { on: true, boot: 0, signs: false, last: None },
            operators: vec![None; self.operators],
            under_way: Vec::new(),
        }]
    }

    fn actions(&self, world: &World, acts: &mut Vec<Act>) {
        actions::possible(self, world, acts);
    }

    fn next_state(&self, world: &World, act: Act) -> Option<World> {
        let mut next = world.clone();
        actions::take(self, &mut next, act)?;
        next.under_way.sort();
        next.under_way.dedup();
        next.operators.sort();
        (next != *world).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![
            Property::<Self>::always(SAFE, |_, world: &World| world.signers() <= 1),
            Property::<Self>::sometimes(HOME_SIGNS, |_, world: &World| world.gates[0].signs()),
        ];
        if self.gates > 1 {
            properties.push(Property::sometimes(TAKEN_OVER, |_, world: &World| {
                world.gates[0].last.is_some() && world.gates[1].signs()
            }));
        }
        if self.operators > 0 {
            properties.extend([
                Property::<Self>::sometimes(CLOUD_SIGNS, |_, world: &World| world.cloud.signs),
                Property::<Self>::sometimes(HOME_AGAIN, |_, world: &World| {
                    world.cloud.last.is_some() && world.gates.iter().any(Gate::signs)
                }),
            ]);
        }
        properties
    }

    fn within_boundary(&self, world: &World) -> bool {
        world.grants.len() <= self.grants && world.cloud.boot <= self.boots && world.under_way.len() <= self.requests
    }
}
