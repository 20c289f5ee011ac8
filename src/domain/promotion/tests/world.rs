//! A small world in memory: the ledger, one machine, home's gate and a clock. It refuses what the real one refuses.

use std::time::Duration;

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::super::*;
use crate::domain::{
    GRANT_KEY, InstanceRef, MachinePower, MachineShape, PROMOTED_KEY, Report, RunLimit, ShapeStep, Span, Time,
    TimeExt as _, ValidatorId, WATERMARK_KEY,
    gates::GateReport,
    ownership::{Grant, GrantPlace, OnLedgerLoss, Session, SignedGrant},
};

pub const TTL: Duration = Duration::from_secs(3600);

#[derive(Clone, Debug)]
pub struct PromotionWorld {
    pub record: Option<PromotionRecord>,
    /// The last one is in force.
    pub grants: Vec<Grant>,
    pub session: Option<Session>,
    pub unchanged: Duration,
    /// Since its holder's last write, which nobody reads.
    pub silent: Duration,
    pub machine: Option<CloudMachine>,
    /// Home runs and sees the ledger.
    pub is_home_up: bool,
    pub no_capacity: bool,
    pub now: Time,
    /// The same by a clock that nobody sets.
    pub raw: Duration,
    pub writes: u128,
    pub duty_since: Option<Time>,
}

/// A program that an operator runs; it has nothing but this in memory.
#[derive(Clone)]
pub struct Desk {
    pub order: PromotionOrder,
    pub gates: Option<GateReport>,
}

impl Default for Desk {
    fn default() -> Self {
        Self { order: order(), gates: None }
    }
}

pub fn order() -> PromotionOrder {
    PromotionOrder {
        validator: ValidatorId::new("eth-0").unwrap(),
        by: "op@example.org".into(),
        reason: "home is dark".into(),
        until: None,
        statement: None,
        overrides: Vec::new(),
        signs_nothing: false,
        forges: false,
    }
}

pub fn grant(number: u64, owner: GrantPlace, previous: Option<String>) -> Grant {
    let validator = order().validator;
    let (chain, by, reason) = ("1".into(), "op@example.org".into(), String::new());
    Grant { validator, chain, owner, number, previous, issued_at: Time::UNIX_EPOCH, by, reason, evidence: None }
}

pub fn home() -> GrantPlace {
    GrantPlace::Home { site: "home".into() }
}

pub fn shape() -> MachineShape {
    MachineShape {
        name: "fo-eth-0".into(),
        power: MachinePower::Running,
        deletion_protection: false,
        run_limit: Some(RunLimit::After(Span::from_hours(72))),
        auto_delete: [("boot".to_owned(), true)].into(),
        role: Some("standby".into()),
        ssh_tag: false,
        metadata: [].into(),
    }
}

/// A machine of the cloud, and what its agent has written last.
#[derive(Clone, Debug)]
pub struct CloudMachine {
    pub shape: MachineShape,
    pub start_refused: bool,
    pub boot: u32,
    pub report: Report,
}

pub fn standby() -> CloudMachine {
    let (boot_id, synced) = ("boot-1".to_owned(), true);
    CloudMachine {
        shape: shape(),
        start_refused: false,
        boot: 1,
        report: Report { boot_id, synced, ..Report::default() },
    }
}

/// What a promotion leaves for the start-up script.
const VARIABLES: &str = "{}";
const WATERMARK: &str = "of 77";

pub fn watermark() -> NotedWatermark {
    let digest = Sha256::digest(WATERMARK).iter().map(|byte| format!("{byte:02x}")).collect();
    NotedWatermark { epoch: 77, digest }
}

impl CloudMachine {
    pub fn start(&mut self) {
        if self.shape.power != MachinePower::Running {
            (self.shape.power, self.boot) = (MachinePower::Running, self.boot + 1);
        }
    }

    /// Its agent writes again, of the boot in which it runs.
    fn reports(&mut self) {
        if self.shape.power == MachinePower::Running {
            self.report.boot_id = format!("boot-{}", self.boot);
            // The mark stays on its disk.
            self.report.promoted |= self.shape.metadata.get(PROMOTED_KEY).is_some_and(Option::is_some);
        }
    }

    /// The cloud refuses what it takes of a stopped machine only.
    fn change(&mut self, wanted: &MachineShape, is_meant: fn(&ShapeStep) -> bool) {
        for step in self.shape.missing(wanted).into_iter().filter(is_meant) {
            if step.needs_stop() && self.shape.power != MachinePower::Terminated {
                return;
            }
            match step {
                ShapeStep::Limit(limit) => self.shape.run_limit = limit,
                ShapeStep::AutoDelete { device, on } => {
                    self.shape.auto_delete.insert(device, on);
                }
                ShapeStep::Role(role) => self.shape.role = role,
                ShapeStep::SshTag(on) => self.shape.ssh_tag = on,
                ShapeStep::Metadata(items) => self.shape.metadata.extend(items),
                ShapeStep::Rename(name) => self.shape.name = name,
                ShapeStep::Protect(_) | ShapeStep::Stop | ShapeStep::Start => {}
            }
        }
    }

    fn put(&mut self, key: &str, value: String) {
        self.shape.metadata.insert(key.to_owned(), Some(value));
    }
}

fn is_name(step: &ShapeStep) -> bool {
    matches!(step, ShapeStep::Rename(_))
}

fn is_no_name(step: &ShapeStep) -> bool {
    !is_name(step)
}

impl PromotionWorld {
    pub fn new(is_home_up: bool) -> Self {
        let session = Session::free(4, Uuid::from_u128(1));
        let held = session.held_by(Uuid::max(), OnLedgerLoss::Stop, TTL, Time::UNIX_EPOCH, Uuid::from_u128(2));
        Self {
            record: None,
            grants: vec![grant(4, home(), None)],
            session: Some(held),
            unchanged: Duration::from_secs(1800),
            silent: Duration::from_secs(1800),
            machine: Some(standby()),
            is_home_up,
            no_capacity: false,
            now: Time::UNIX_EPOCH.plus(Span::from_hours(9)),
            raw: Duration::from_hours(1),
            writes: 100,
            duty_since: None,
        }
    }

    pub fn in_force(&self) -> &Grant {
        self.grants.last().unwrap()
    }

    pub fn is_clouds(&self) -> bool {
        matches!(self.in_force().owner, GrantPlace::Cloud { .. })
    }

    /// The machine as it is read.
    pub fn facts(&self) -> Option<MachineFacts> {
        let (machine, record) = (self.machine.as_ref()?, self.record.as_ref());
        let record = record.filter(|record| record.state.is_open());
        let before = record.and_then(|record| record.shape.as_ref());
        let wanted = before.unwrap_or(&machine.shape).promoted(VARIABLES);
        let instance = InstanceRef { zone: "z".into(), name: machine.shape.name.clone(), id: 7.into() };
        let (report, boot) = (Some(&machine.report), record.and_then(|record| record.boot.as_deref()));
        let refused = machine.start_refused;
        Some(MachineFacts::read(&instance, &machine.shape, &wanted, before, report, true, boot, refused))
    }

    pub fn ask<T>(&self, desk: &Desk, ask: impl FnOnce(&PromotionFacts<'_>) -> T) -> T {
        let (watermark, machine) = (watermark(), self.facts());
        ask(&PromotionFacts {
            order: &desk.order,
            record: self.record.as_ref(),
            grant: self.grants.last(),
            session: self.session.as_ref(),
            unchanged: self.unchanged,
            machine: machine.as_ref(),
            watermark: Some(&watermark),
            gates: desk.gates.as_ref(),
            duty_since: self.duty_since,
            now: self.now,
            raw: self.raw,
            fresh: Uuid::from_u128(self.writes + 1),
        })
    }

    /// Does it by what was read `before`, which may be long ago by now.
    pub fn act(&mut self, desk: &mut Desk, before: &Self, step: &PromotionStep) {
        self.writes += 1;
        match step {
            PromotionStep::Judge(pass) => {
                // Judged for what was read before it.
                let subject = before.ask(desk, |facts| facts.subject(*pass));
                desk.gates = Some(GateReport {
                    pass: *pass,
                    subject,
                    at: self.now,
                    raw: self.raw,
                    epoch: None,
                    gates: Vec::new(),
                });
            }
            // Compare and swap.
            PromotionStep::Persist(record) if self.record == before.record => {
                record.check(&order().validator).unwrap();
                self.record = Some((**record).clone());
            }
            PromotionStep::Persist(_) => {}
            PromotionStep::Do(effect) => self.perform(*effect, before),
            PromotionStep::Sign(order) => self.sign(order, before),
            PromotionStep::Wait(wait) => self.wait(*wait),
            PromotionStep::Refused(_) | PromotionStep::Ended(_) | PromotionStep::Done => {}
        }
    }

    fn perform(&mut self, effect: PromotionEffect, before: &Self) {
        let record = before.record.as_ref().unwrap();
        assert!(record.has_begun(effect), "{effect:?} is done before it is in the record");
        if effect == PromotionEffect::Raise {
            let raise = record.raise.unwrap();
            if let (Some(session), true) = (&self.session, self.session == before.session) {
                assert_eq!(session.write, raise.over, "the raise is over exactly what was noted");
                self.session = Some(session.raised_to(record.number, raise.write));
                self.unchanged = Duration::ZERO;
            }
            return;
        }
        let Some(machine) = &mut self.machine else { return };
        let before_it = record.shape.clone();
        let there = before_it.as_ref().unwrap_or(&machine.shape).promoted(VARIABLES);
        let back = before_it.map(|shape| shape.restored());
        match effect {
            PromotionEffect::Protect => machine.shape.deletion_protection = true,
            PromotionEffect::Unprotect => machine.shape.deletion_protection = false,
            PromotionEffect::Stop => machine.shape.power = MachinePower::Terminated,
            PromotionEffect::Start if self.no_capacity => machine.start_refused = true,
            PromotionEffect::Start => machine.start(),
            PromotionEffect::MakePermanent => machine.change(&there, is_no_name),
            PromotionEffect::Rename => machine.change(&there, is_name),
            PromotionEffect::MakeTemporary => machine.change(&back.unwrap(), is_no_name),
            PromotionEffect::RenameBack => machine.change(&back.unwrap(), is_name),
            PromotionEffect::PutWatermark => machine.put(WATERMARK_KEY, WATERMARK.to_owned()),
            PromotionEffect::Carry => {
                let grant = before.in_force().clone();
                let signed = SignedGrant { grant, signature: String::new() };
                machine.put(GRANT_KEY, String::from_utf8(signed.bytes()).unwrap());
            }
            PromotionEffect::Raise | PromotionEffect::Sign | PromotionEffect::SignHome => unreachable!("not so done"),
        }
    }

    /// Only over exactly the grant that was read.
    fn sign(&mut self, order: &SignOrder, before: &Self) {
        assert_eq!(order.over, before.in_force().digest());
        if self.in_force().digest() == order.over {
            let owner = match &order.cloud {
                None => home(),
                Some((instance, boot)) => GrantPlace::Cloud {
                    project: "p".into(),
                    zone: instance.zone.clone(),
                    instance_id: instance.id.clone(),
                    boot_id: boot.clone(),
                },
            };
            let is_stated = before.record.as_ref().is_some_and(|record| record.statement.is_some());
            if order.cloud.is_some() && !is_stated {
                let (session, number) = (self.session.as_ref().unwrap(), order.number);
                assert!(session.number >= number && (session.holder.is_none() || self.is_old()), "it has waited");
            }
            self.grants.push(grant(order.number, owner, Some(order.over.clone())));
        }
    }

    fn is_old(&self) -> bool {
        !self.is_home_up && self.silent >= Session::old_with(TTL)
    }

    fn wait(&mut self, wait: PromotionWait) {
        match wait {
            // One that somebody else has stopped meanwhile reports nothing.
            PromotionWait::Ready => self.machine.as_mut().unwrap().reports(),
            PromotionWait::Fence(left) => match &self.session {
                Some(session) if self.is_home_up => {
                    self.session = Some(session.given_back(self.now, Uuid::from_u128(self.writes)));
                    self.unchanged = Duration::ZERO;
                }
                _ => self.pass(left.expect("it gets old")),
            },
            PromotionWait::Keys => self.duty_since = Some(self.now),
            PromotionWait::Watch(until) => {
                self.raw += Duration::try_from(until.duration_since(self.now)).unwrap_or_default();
                self.now = until;
            }
            PromotionWait::Watermark => unreachable!("there is one"),
        }
    }

    pub fn pass(&mut self, time: Duration) {
        self.unchanged += time;
        self.silent += time;
        self.now = self.now.plus(Span::try_from(time).unwrap());
        self.raw += time;
    }
}
