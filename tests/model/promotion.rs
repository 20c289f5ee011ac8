//! Promotions, demotions and taking them back: what comes next is the program's own word, and each act is one step of
//! it. Gates always pass, since safety has to hold without them, and the machine is made permanent in no time.

use std::time::Duration;

use failover::domain::{
    InstanceRef, MachinePower, MachineShape, MachineState, ValidatorId,
    gates::GateReport,
    ownership::Session,
    promotion::{
        MachineFacts, NotedRaise, NotedStep, NotedWatermark, PromotionEffect, PromotionFacts, PromotionKind,
        PromotionOrder, PromotionRecord, PromotionState, PromotionStep,
    },
};
use jiff::Timestamp;
use strum::IntoEnumIterator as _;
use uuid::Uuid;

use crate::{
    actions::Act,
    grants::{Granted, INSTANCE, last, verified},
    ledger::{self, believed},
    seen::{self, Seen},
    setting::{Mutant, Setting},
    world::{Change, Noted, NotedSession, Record, RecordState, Request, TICK, World},
};

const OVER: Uuid = Uuid::from_u128(1);
const RAISED: Uuid = Uuid::from_u128(2);
const ANOTHER: Uuid = Uuid::from_u128(3);
const FRESH: Uuid = Uuid::from_u128(4);

impl Record {
    pub fn is_open(&self) -> bool {
        matches!(self.state, RecordState::Open | RecordState::Aborting)
    }

    /// As it is in the ledger. What is not in the model was begun.
    fn written(&self) -> PromotionRecord {
        let begun = |effect: &PromotionEffect| match effect {
            PromotionEffect::Sign => self.signs,
            PromotionEffect::SignHome => self.signs_home,
            _ => true,
        };
        let note = |noted: Noted| NotedRaise {
            over: OVER,
            write: RAISED,
            unchanged_seconds: (TICK * noted.age.into()).as_secs(),
        };
        PromotionRecord {
            validator: ValidatorId::new("eth-0").unwrap(),
            kind: if self.to_cloud { PromotionKind::ToCloud } else { PromotionKind::ToHome },
            state: match self.state {
                RecordState::Open => PromotionState::Open,
                RecordState::Aborting => PromotionState::Aborting,
                RecordState::Aborted => PromotionState::Aborted,
                RecordState::Done => PromotionState::Done,
            },
            instance: instance(),
            shape: Some(shape()),
            boot: None,
            number: self.number.into(),
            over: last(self.over).digest.clone(),
            opened_at: Timestamp::UNIX_EPOCH,
            by: String::new(),
            reason: String::new(),
            until: None,
            statement: self.stated.then(String::new),
            overrides: Vec::new(),
            steps: PromotionEffect::iter()
                .filter(begun)
                .map(|effect| NotedStep { effect, at: Timestamp::UNIX_EPOCH })
                .collect(),
            raise: self.noted.map(note),
            watermark: Some(mark()),
            promoted: if self.to_cloud { Vec::new() } else { vec![INSTANCE.into()] },
        }
    }
}

fn instance() -> InstanceRef {
    InstanceRef { zone: "z".into(), name: "fo".into(), id: INSTANCE.into() }
}

fn shape() -> MachineShape {
    MachineShape {
        name: "fo".into(),
        power: MachinePower::Running,
        deletion_protection: false,
        run_limit: None,
        auto_delete: [].into(),
        role: None,
        ssh_tag: false,
        metadata: [].into(),
    }
}

fn mark() -> NotedWatermark {
    NotedWatermark { epoch: 1, digest: String::new() }
}

/// What the program says comes next, by what is read now. [`seen::step`] has it cheaper.
pub fn step(setting: &Setting, world: &Seen, act: Act) -> PromotionStep {
    let is = |mutant| setting.lacks(mutant);
    let mut record = world.record;
    if let (Some(record), true) = (&mut record, is(Mutant::DemotionReadsTheGrantAfterTheStop))
        && !record.to_cloud
        && world.grant().boot.is_some()
    {
        (record.over, record.number) = (world.grant(), world.grant().number + 1);
    }
    if let (Some(record), true) = (&mut record, is(Mutant::AbortIsNotSigned)) {
        record.noted = record.noted.filter(|_| act != Act::TakeBack);
        record.signs &= act != Act::TakeBack;
    }
    let written = record.as_ref().map(Record::written);
    let session = session_read(setting, world, record);
    let back = act == Act::TakeBack;
    let machine = MachineFacts {
        instance: instance(),
        shape: shape(),
        reported_boot: None,
        state: if world.cloud.on { MachineState::Running } else { MachineState::Stopped },
        is_terminated: !world.cloud.on || world.seen_off || is(Mutant::DemotionDoesNotSeeItTerminated),
        is_protected: if setting.watcher { world.protected || is(Mutant::DeletionProtectionIsLeftOut) } else { !back },
        is_permanent: !back,
        is_temporary: back,
        is_renamed: !back,
        start_refused: back,
        ready_boot: world.cloud.on.then(|| world.cloud.boot.to_string()),
        watermark: Some(String::new()),
        grant: None,
    };
    let may_state = setting.states && (world.cut || is(Mutant::StatementIsFalse));
    let order = PromotionOrder {
        validator: ValidatorId::new("eth-0").unwrap(),
        by: String::new(),
        reason: String::new(),
        until: None,
        statement: may_state.then(String::new),
        overrides: Vec::new(),
        signs_nothing: false,
        forges: false,
    };
    let watermark = mark();
    let early = u8::from(is(Mutant::OldOneTickEarlier));
    let ask = |gates: Option<&GateReport>| {
        let facts = PromotionFacts {
            order: &order,
            record: written.as_ref(),
            grant: Some(verified(world.grant()).grant()),
            session: session.as_ref(),
            unchanged: TICK * (world.age + early).into(),
            machine: (!world.deleted).then_some(&machine),
            watermark: Some(&watermark),
            gates,
            duty_since: None,
            now: Timestamp::UNIX_EPOCH,
            raw: Duration::ZERO,
            fresh: FRESH,
        };
        let step = match act {
            Act::Promote => facts.next(),
            Act::Demote => facts.next_home(),
            _ => facts.back(),
        };
        let subject = match step {
            PromotionStep::Judge(pass) => facts.subject(pass),
            _ => None,
        };
        (step, subject)
    };
    match ask(None) {
        (PromotionStep::Judge(pass), subject) => {
            let (at, raw) = (Timestamp::UNIX_EPOCH, Duration::ZERO);
            ask(Some(&GateReport { pass, subject, at, raw, epoch: None, gates: Vec::new() })).0
        }
        (step, _) => step,
    }
}

/// The session as it is read, with the id of its write; and as somebody takes it who has lost a rule.
fn session_read(setting: &Setting, world: &Seen, record: Option<Record>) -> Option<Session> {
    let mut session = believed(setting, world.session.as_ref()?);
    session.number = world.session.as_ref()?.number;
    session.write = match record.and_then(|record| record.noted).map(|noted| noted.seen) {
        Some(NotedSession::Over) => OVER,
        Some(NotedSession::Raised) => RAISED,
        Some(NotedSession::Another) | None => ANOTHER,
    };
    let number = record.filter(Record::is_open).map_or(session.number, |record| record.number.into());
    if setting.lacks(Mutant::PromotionDoesNotRaise) {
        session.number = number.max(session.number);
    }
    if setting.lacks(Mutant::PromotionDoesNotWait) && session.number == number {
        let (holder, ttl) = (Uuid::from_u128(1), Duration::ZERO);
        let held = session.held_by(holder, session.on_loss, ttl, Timestamp::UNIX_EPOCH, session.write);
        session = held.given_back(Timestamp::UNIX_EPOCH, session.write);
    }
    Some(session)
}

/// `None` when nothing is done.
pub fn take(setting: &Setting, world: &mut World, act: Act) -> Option<()> {
    let present = world.grant();
    if setting.lacks(Mutant::DemotionReadsTheGrantAfterTheStop) && act == Act::Demote {
        world.seen_off |= !world.cloud.on;
    }
    match &*seen::step(setting, world, act) {
        PromotionStep::Persist(record) => {
            let (new, fresh) = read(world, record);
            (world.record != Some(new)).then_some(())?;
            // What is late about the others is followed where there is room for it.
            match fresh || setting.requests > 2 {
                true => world.under_way.push(Request::Record { new, fresh }),
                false => ledger::write(world, new, fresh),
            }
        }
        PromotionStep::Do(PromotionEffect::Raise) => {
            let to = world.record?.number;
            world.under_way.push(Request::Session { what: Change::Raise { to, noted: true }, reply: false });
        }
        PromotionStep::Do(PromotionEffect::Stop) => {
            world.cloud.on = false;
            world.cloud.signs = false;
        }
        PromotionStep::Do(PromotionEffect::Start) => {
            world.cloud.on = true;
            world.cloud.boot += 1;
        }
        PromotionStep::Do(PromotionEffect::Protect) => world.protected = true,
        PromotionStep::Do(PromotionEffect::Unprotect) => world.protected = !setting.watcher,
        PromotionStep::Sign(order) => {
            let boot = order.cloud.as_ref().map(|(_, boot)| boot.parse().unwrap());
            let new = Granted { number: u8::try_from(order.number).unwrap(), boot };
            assert!(setting.mutant.is_some() || order.over == last(present).digest);
            world.under_way.push(Request::Grant { new });
        }
        PromotionStep::Do(_)
        | PromotionStep::Judge(_)
        | PromotionStep::Refused(_)
        | PromotionStep::Wait(_)
        | PromotionStep::Ended(_)
        | PromotionStep::Done => return None,
    }
    Some(())
}

/// What of a record is in the model, and whether it has another note of the session.
fn read(world: &World, written: &PromotionRecord) -> (Record, bool) {
    let fresh = written.raise.is_some_and(|raise| raise.write == FRESH);
    let before = world.record;
    let over = [before.map(|record| record.over), Some(world.grant())].into_iter().flatten();
    let over = over.into_iter().find(|grant| last(*grant).digest == written.over).unwrap();
    let noted = match written.raise {
        Some(_) if fresh => Some(Noted { age: world.age, seen: NotedSession::Over }),
        Some(_) => before.and_then(|record| record.noted),
        None => None,
    };
    let record = Record {
        to_cloud: written.kind == PromotionKind::ToCloud,
        state: match written.state {
            PromotionState::Open => RecordState::Open,
            PromotionState::Aborting => RecordState::Aborting,
            PromotionState::Aborted => RecordState::Aborted,
            PromotionState::Done => RecordState::Done,
        },
        number: u8::try_from(written.number).unwrap(),
        over,
        noted,
        signs: written.has_begun(PromotionEffect::Sign),
        signs_home: written.has_begun(PromotionEffect::SignHome),
        stated: written.statement.is_some(),
    };
    (settled(record), fresh)
}

/// What a closed record says beside its state is of no use to anybody.
fn settled(record: Record) -> Record {
    if record.is_open() {
        return record;
    }
    Record { noted: None, signs: false, signs_home: false, stated: false, ..record }
}
