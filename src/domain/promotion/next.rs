//! Which one effect comes next on the way to the cloud.

use std::time::Duration;

use super::{
    MachineFacts, NotedRaise, PromotionEffect, PromotionEnd, PromotionFacts, PromotionKind, PromotionRecord,
    PromotionState, facts::InForce,
};
use crate::domain::{
    InstanceRef, MachineState, Span, Time, TimeExt as _,
    gates::{Gate, GateName, GatePass, GateState},
    ownership::{GrantPlace, MAX_GRANT_NUMBER, Session},
};

/// How long any sign of home is looked for after the first duty in the cloud.
pub const WATCHED_FOR: Span = Span::from_hours(7 * 24);

/// What comes next: one thing, after which everything is read again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PromotionStep {
    Judge(GatePass),
    /// These gates do not pass.
    Refused(Vec<GateName>),
    /// Write this record over exactly the one that was read, or where none was.
    Persist(Box<PromotionRecord>),
    Do(PromotionEffect),
    /// [`PromotionEffect::Sign`] or [`PromotionEffect::SignHome`]. Only when `owners/` is read to hold exactly this
    /// grant is it written anywhere else: one that lost never leaves memory.
    Sign(SignOrder),
    Wait(PromotionWait),
    Ended(PromotionEnd),
    Done,
}

/// The grant that is signed, over exactly the one that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignOrder {
    pub number: u64,
    /// Digest of the grant that it replaces.
    pub over: String,
    /// The machine and its boot; `None`: home.
    pub cloud: Option<(InstanceRef, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PromotionWait {
    /// The machine is ready, by its report and its chain view.
    Ready,
    /// The session is old after this long at most, or is given back before; `None`: only the latter, or the statement.
    Fence(Option<Duration>),
    /// The chain says enough for a watermark.
    Watermark,
    /// The operator moves the keys.
    Keys,
    /// Signs of home are looked for until then.
    Watch(Time),
}

impl PromotionFacts<'_> {
    /// What comes next for `failover promote`.
    #[must_use]
    pub fn next(&self) -> PromotionStep {
        let Some(record) = self.record else { return self.open() };
        match (record.kind, record.state) {
            (_, PromotionState::Aborted) | (PromotionKind::ToHome, PromotionState::Done) => self.open(),
            (PromotionKind::ToHome, PromotionState::Open | PromotionState::Aborting) => {
                PromotionStep::Ended(PromotionEnd::DemotionOpen)
            }
            (PromotionKind::ToCloud, PromotionState::Done) if record.number == 0 && self.order.signs_nothing => {
                match self.machine.filter(|machine| machine.instance.id == record.instance.id) {
                    Some(machine) if machine.is_protected => PromotionStep::Done,
                    Some(_) => self.noted(record, PromotionEffect::Protect),
                    None => self.open(),
                }
            }
            (PromotionKind::ToCloud, PromotionState::Done) => match self.in_force(record) {
                InForce::Won => self.after(record),
                InForce::Before | InForce::Other => self.open(),
            },
            (PromotionKind::ToCloud, PromotionState::Open | PromotionState::Aborting) => self.forward(record),
        }
    }

    fn open(&self) -> PromotionStep {
        let record = match self.draft() {
            Ok(record) => record,
            Err(end) => return PromotionStep::Ended(end),
        };
        let pass = if self.order.signs_nothing { GatePass::SignsNothing } else { GatePass::First };
        self.judged(pass, &record).unwrap_or_else(|| PromotionStep::Persist(record.into()))
    }

    /// The record that is opened if every gate passes.
    pub(super) fn draft(&self) -> Result<PromotionRecord, PromotionEnd> {
        let signs = !self.order.signs_nothing;
        if let Some(until) = self.order.until.filter(|until| *until >= PromotionEffect::Sign) {
            return Err(PromotionEnd::DrillTooFar(until.into()));
        }
        let (number, over) = match self.grant {
            _ if !signs => (0, String::new()),
            None => return Err(PromotionEnd::NoGrant),
            Some(grant) if matches!(grant.owner, GrantPlace::Cloud { .. }) => {
                return Err(PromotionEnd::CloudOwns(grant.number));
            }
            Some(grant) if grant.number >= MAX_GRANT_NUMBER => {
                return Err(PromotionEnd::LastNumber(grant.number));
            }
            Some(grant) => (grant.number + 1, grant.digest()),
        };
        // Nothing is done that would end at the raise.
        if let Some(session) = self.session.filter(|session| signs && session.number > number) {
            return Err(PromotionEnd::HomeWaits(session.number));
        }
        if signs && self.order.forges && self.order.statement.is_none() {
            return Err(PromotionEnd::MustState);
        }
        let machine = self.machine.ok_or(PromotionEnd::NoMachine)?;
        self.fit(PromotionRecord { number, over, ..self.record_of(PromotionKind::ToCloud, machine) })
    }

    /// A record that nobody could read again is not written.
    pub(super) fn fit(&self, record: PromotionRecord) -> Result<PromotionRecord, PromotionEnd> {
        record.check(&self.order.validator).map_err(PromotionEnd::Order)?;
        Ok(record)
    }

    pub(super) fn record_of(&self, kind: PromotionKind, machine: &MachineFacts) -> PromotionRecord {
        PromotionRecord {
            validator: self.order.validator.clone(),
            kind,
            state: PromotionState::Open,
            instance: machine.instance.clone(),
            shape: Some(machine.shape.clone()),
            boot: None,
            number: 0,
            over: String::new(),
            opened_at: self.now,
            by: self.order.by.clone(),
            reason: self.order.reason.clone(),
            until: self.order.until,
            statement: self.order.statement.clone(),
            overrides: self.order.overrides.clone(),
            steps: Vec::new(),
            raise: None,
            watermark: None,
            promoted: self.record.map(|record| record.promoted.clone()).unwrap_or_default(),
        }
    }

    fn forward(&self, record: &PromotionRecord) -> PromotionStep {
        let signs = record.number != 0;
        match self.in_force(record) {
            InForce::Won if signs => return self.close(record),
            InForce::Other if signs => {
                let number = self.grant.map_or(0, |grant| grant.number);
                return PromotionStep::Ended(PromotionEnd::Lost(number));
            }
            InForce::Before | InForce::Won | InForce::Other => {}
        }
        if record.state == PromotionState::Aborting {
            return PromotionStep::Ended(PromotionEnd::Aborting);
        }
        if let Some(step) = self.ordered_since(record) {
            return step;
        }
        let Some(machine) = self.machine.filter(|machine| machine.instance.id == record.instance.id) else {
            return PromotionStep::Ended(PromotionEnd::MachineGone(record.instance.clone()));
        };
        let step = self.permanent(record, machine);
        if !signs {
            let drill = record.until.map(|last| PromotionStep::Ended(PromotionEnd::Drill(last.into())));
            return step.or(drill).unwrap_or_else(|| self.close(record));
        }
        let boot = match (step, &machine.ready_boot) {
            (Some(step), _) => return step,
            (None, None) => return PromotionStep::Wait(PromotionWait::Ready),
            (None, Some(boot)) => boot,
        };
        self.fence(record).or_else(|| self.mark(record, machine)).or_else(|| self.judged_second(record)).unwrap_or_else(
            || match self.begin(record, PromotionEffect::Sign) {
                PromotionStep::Do(_) => PromotionStep::Sign(SignOrder {
                    number: record.number,
                    over: record.over.clone(),
                    cloud: Some((machine.instance.clone(), boot.clone())),
                }),
                step => step,
            },
        )
    }

    /// The record with the statement and the overrides that the operator adds now; everything else is as it was opened.
    pub(super) fn ordered_since(&self, record: &PromotionRecord) -> Option<PromotionStep> {
        let order = self.order;
        // With an override, the reason is that of the override.
        let is_other_reason = !order.reason.is_empty() && order.overrides.is_empty() && order.reason != record.reason;
        let is_other_statement = match (&order.statement, &record.statement) {
            (Some(now), Some(before)) => now != before,
            (Some(_) | None, _) => false,
        };
        let contradicted = match () {
            () if order.signs_nothing != (record.number == 0) => Some("setting of whether the validator signs"),
            () if is_other_reason => Some("reason"),
            () if order.until.is_some() && order.until != record.until => Some("--until"),
            () if is_other_statement => Some("statement"),
            () => None,
        };
        if let Some(what) = contradicted {
            let by = record.by.clone();
            return Some(PromotionStep::Ended(PromotionEnd::OtherOrder { what, by }));
        }
        let mut more = record.clone();
        // On the way home the machine that is TERMINATED is the fence.
        if record.kind == PromotionKind::ToCloud {
            more.statement = more.statement.or_else(|| order.statement.clone());
        }
        for added in &order.overrides {
            if more.overrides.iter().all(|before| before.gate != added.gate) {
                more.overrides.push(added.clone());
            }
        }
        if more == *record {
            return None;
        }
        Some(match self.fit(more) {
            Ok(more) => PromotionStep::Persist(more.into()),
            Err(end) => PromotionStep::Ended(end),
        })
    }

    /// What makes the machine one that nobody but the operator may touch.
    fn permanent(&self, record: &PromotionRecord, machine: &MachineFacts) -> Option<PromotionStep> {
        let runs = matches!(machine.state, MachineState::Running | MachineState::Starting);
        let effect = match () {
            () if !machine.is_protected => PromotionEffect::Protect,
            () if !(machine.is_terminated || machine.is_permanent && machine.is_renamed) => PromotionEffect::Stop,
            () if !machine.is_permanent => PromotionEffect::MakePermanent,
            () if !machine.is_renamed => PromotionEffect::Rename,
            () if !runs && machine.start_refused => {
                let is_home_stopped = record.raise.is_some();
                let end = if is_home_stopped { PromotionEnd::StartRefusedLate } else { PromotionEnd::StartRefused };
                return Some(PromotionStep::Ended(end));
            }
            () if !runs => PromotionEffect::Start,
            () => return None,
        };
        let step = self.begin(record, effect);
        let is_over = effect == PromotionEffect::Start && machine.is_terminated && machine.reported_boot.is_some();
        if is_over && record.boot != machine.reported_boot && !matches!(step, PromotionStep::Ended(_)) {
            // It does not run, so that this is the last report of a boot that is over.
            let boot = machine.reported_boot.clone();
            return Some(PromotionStep::Persist(PromotionRecord { boot, ..record.with(effect, self.now) }.into()));
        }
        Some(step)
    }

    /// Raise, and wait until nobody at home can sign.
    fn fence(&self, record: &PromotionRecord) -> Option<PromotionStep> {
        let is_stated = record.statement.is_some();
        let ended = |end| Some(PromotionStep::Ended(end));
        if self.order.forges {
            return if is_stated { None } else { ended(PromotionEnd::MustState) };
        }
        let Some(session) = self.session else {
            return if is_stated { None } else { ended(PromotionEnd::SessionMissing) };
        };
        if session.number > record.number {
            return ended(PromotionEnd::Overtaken(session.number));
        }
        if !is_stated && !session.was_held() {
            return ended(PromotionEnd::NeverHeld);
        }
        if session.number < record.number {
            return Some(self.raise(record, session));
        }
        let silent = self.holder_silent(record, session);
        if is_stated || session.is_fence(silent) {
            return None;
        }
        let left = session.old_after().map(|after| after.saturating_sub(silent));
        Some(PromotionStep::Wait(PromotionWait::Fence(left)))
    }

    fn raise(&self, record: &PromotionRecord, session: &Session) -> PromotionStep {
        if record.raise.is_some_and(|raise| raise.over == session.write) {
            return PromotionStep::Do(PromotionEffect::Raise);
        }
        match self.begin(record, PromotionEffect::Raise) {
            PromotionStep::Ended(end) => PromotionStep::Ended(end),
            _ => {
                let unchanged_seconds = self.unchanged.as_secs();
                let raise = Some(NotedRaise { over: session.write, write: self.fresh, unchanged_seconds });
                let record = PromotionRecord { raise, ..record.with(PromotionEffect::Raise, self.now) };
                PromotionStep::Persist(record.into())
            }
        }
    }

    /// The watermark is of the time after the wait.
    fn mark(&self, record: &PromotionRecord, machine: &MachineFacts) -> Option<PromotionStep> {
        match (&record.watermark, self.watermark) {
            _ if self.order.forges => None,
            (None, None) => Some(PromotionStep::Wait(PromotionWait::Watermark)),
            (None, Some(now)) => {
                let record = PromotionRecord { watermark: Some(now.clone()), ..record.clone() };
                Some(PromotionStep::Persist(record.into()))
            }
            (Some(made), _) if machine.watermark.as_ref() == Some(&made.digest) => None,
            (Some(_), _) => Some(self.begin(record, PromotionEffect::PutWatermark)),
        }
    }

    /// The gates before the signature. Where nothing is missing but that home can have signed after the watermark was made,
    /// as with a statement, another one is made: none was imported anywhere before the grant.
    fn judged_second(&self, record: &PromotionRecord) -> Option<PromotionStep> {
        let step = self.judged(GatePass::Second, record)?;
        let is_early = |gate: &Gate| gate.id == GateName::Watermark && gate.state == GateState::Fail;
        let is_made_early = self.gates.is_some_and(|report| report.gates.iter().any(is_early))
            && step == PromotionStep::Refused(vec![GateName::Watermark]);
        match (&record.watermark, self.watermark) {
            (Some(_), None) if is_made_early => Some(PromotionStep::Wait(PromotionWait::Watermark)),
            (Some(made), Some(now)) if is_made_early && now.epoch > made.epoch => {
                let record = PromotionRecord { watermark: Some(now.clone()), ..record.clone() };
                Some(PromotionStep::Persist(record.into()))
            }
            (Some(_) | None, _) => Some(step),
        }
    }

    /// Its grant is in force.
    pub(super) fn close(&self, record: &PromotionRecord) -> PromotionStep {
        let mut record = PromotionRecord { state: PromotionState::Done, ..record.clone() };
        // After a demotion too: its disk may hold keys.
        record.keep(record.instance.id.clone());
        PromotionStep::Persist(record.into())
    }

    fn after(&self, record: &PromotionRecord) -> PromotionStep {
        let Some(machine) = self.machine.filter(|machine| machine.instance.id == record.instance.id) else {
            return PromotionStep::Ended(PromotionEnd::MachineGone(record.instance.clone()));
        };
        if !machine.is_protected {
            return self.noted(record, PromotionEffect::Protect);
        }
        if machine.grant != self.grant.map(crate::domain::ownership::Grant::digest) {
            return self.noted(record, PromotionEffect::Carry);
        }
        let granted = self.grant.and_then(|grant| match &grant.owner {
            GrantPlace::Cloud { boot_id, .. } => Some(boot_id),
            GrantPlace::Home { .. } => None,
        });
        match () {
            () if machine.state == MachineState::Stopped => return PromotionStep::Ended(PromotionEnd::CloudStopped),
            () if machine.reported_boot.is_some() && machine.reported_boot.as_ref() != granted => {
                return PromotionStep::Ended(PromotionEnd::OtherBoot);
            }
            () => {}
        }
        match self.duty_since.map(|since| since.plus(WATCHED_FOR)) {
            None => PromotionStep::Wait(PromotionWait::Keys),
            Some(until) if self.now < until => PromotionStep::Wait(PromotionWait::Watch(until)),
            Some(_) => PromotionStep::Done,
        }
    }

    /// The effect, once it is in the record. A drill does nothing that comes after its last one, also where that was not
    /// needed, and never signs.
    fn begin(&self, record: &PromotionRecord, effect: PromotionEffect) -> PromotionStep {
        match record.until {
            Some(last) if effect > last || effect >= PromotionEffect::Sign => {
                PromotionStep::Ended(PromotionEnd::Drill(last.into()))
            }
            Some(_) | None => self.noted(record, effect),
        }
    }

    /// The same where no drill ends.
    pub(super) fn noted(&self, record: &PromotionRecord, effect: PromotionEffect) -> PromotionStep {
        if record.has_begun(effect) {
            PromotionStep::Do(effect)
        } else {
            PromotionStep::Persist(record.with(effect, self.now).into())
        }
    }
}
