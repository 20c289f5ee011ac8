//! Which one effect comes next on the way home.

use super::{
    PromotionEffect, PromotionEnd, PromotionFacts, PromotionKind, PromotionRecord, PromotionState, PromotionStep,
    PromotionWait, SignOrder, facts::InForce,
};
use crate::domain::{
    InstanceRef,
    gates::GatePass,
    ownership::{Grant, GrantPlace, adoption_number},
};

impl PromotionFacts<'_> {
    /// What comes next for `failover demote`. The grant is read before the machine: one that is TERMINATED then cannot
    /// be in a boot that this grant names.
    #[must_use]
    pub fn next_home(&self) -> PromotionStep {
        let ended = PromotionStep::Ended;
        let Some(grant) = self.grant else { return ended(PromotionEnd::NoGrant) };
        let record = self.record.filter(|record| record.kind == PromotionKind::ToHome);
        match (record, record.map(|record| record.state)) {
            (Some(record), Some(PromotionState::Open | PromotionState::Aborting))
                if self.in_force(record) == InForce::Won =>
            {
                self.close(record)
            }
            (Some(record), Some(PromotionState::Open)) if self.in_force(record) == InForce::Before => {
                self.homewards(record)
            }
            (Some(_), Some(PromotionState::Aborting)) => ended(PromotionEnd::Aborting),
            (Some(_), Some(PromotionState::Done)) if is_home(grant) => match self.session {
                Some(session) if session.number > grant.number => ended(PromotionEnd::HomeWaits(session.number)),
                Some(_) | None => PromotionStep::Done,
            },
            _ if is_home(grant) => ended(match self.record {
                Some(record) if record.state.is_open() => PromotionEnd::PromotionOpen,
                Some(_) | None => PromotionEnd::HomeOwns(grant.number),
            }),
            // Also where another boot was granted meanwhile: that one has to end first.
            _ => self.open_home(),
        }
    }

    fn open_home(&self) -> PromotionStep {
        match self.draft_home() {
            Ok(record) => {
                self.judged(GatePass::HomeFirst, &record).unwrap_or_else(|| PromotionStep::Persist(record.into()))
            }
            Err(end) => PromotionStep::Ended(end),
        }
    }

    /// The record of a demotion that is opened.
    pub(super) fn draft_home(&self) -> Result<PromotionRecord, PromotionEnd> {
        if let Some(until) = self.order.until {
            return Err(PromotionEnd::DrillTooFar(until.into()));
        }
        let grant = self.grant.ok_or(PromotionEnd::NoGrant)?;
        let GrantPlace::Cloud { zone, instance_id, .. } = &grant.owner else {
            return Err(PromotionEnd::HomeOwns(grant.number));
        };
        // Below the session's number home would never start.
        let number = adoption_number([grant.number], self.session.map(|session| session.number))
            .ok_or(PromotionEnd::LastNumber(grant.number))?;
        let machine = self.machine.filter(|machine| machine.instance.id == *instance_id).ok_or_else(|| {
            let (zone, name, id) = (zone.clone(), String::new(), instance_id.clone());
            PromotionEnd::MachineGone(InstanceRef { zone, name, id })
        })?;
        let mut record =
            PromotionRecord { number, over: grant.digest(), ..self.record_of(PromotionKind::ToHome, machine) };
        record.keep(instance_id.clone());
        self.fit(record)
    }

    fn homewards(&self, record: &PromotionRecord) -> PromotionStep {
        let Some(machine) = self.machine.filter(|machine| machine.instance.id == record.instance.id) else {
            return PromotionStep::Ended(PromotionEnd::MachineGone(record.instance.clone()));
        };
        if let Some(step) = self.ordered_since(record) {
            return step;
        }
        // What can be known is known before the cloud stops signing.
        if !machine.is_terminated {
            let first = self.judged(GatePass::HomeFirst, record);
            return first.unwrap_or_else(|| self.noted(record, PromotionEffect::Stop));
        }
        match (&record.watermark, self.watermark) {
            _ if self.order.forges => {}
            (None, None) => return PromotionStep::Wait(PromotionWait::Watermark),
            (None, Some(now)) => {
                let record = PromotionRecord { watermark: Some(now.clone()), ..record.clone() };
                return PromotionStep::Persist(record.into());
            }
            (Some(_), _) => {}
        }
        if let Some(step) = self.judged(GatePass::Home, record) {
            return step;
        }
        match self.noted(record, PromotionEffect::Sign) {
            PromotionStep::Do(_) => {
                PromotionStep::Sign(SignOrder { number: record.number, over: record.over.clone(), cloud: None })
            }
            step => step,
        }
    }
}

fn is_home(grant: &Grant) -> bool {
    matches!(grant.owner, GrantPlace::Home { .. })
}
