//! Which one effect comes next when a promotion is taken back.

use super::{
    PromotionEffect, PromotionEnd, PromotionFacts, PromotionKind, PromotionRecord, PromotionState, PromotionStep,
    SignOrder, facts::InForce,
};
use crate::domain::{
    MachinePower, MachineState,
    ownership::{GrantPlace, adoption_number},
};

impl PromotionFacts<'_> {
    /// What comes next for `--abort`. Until the raise is noted, nothing has to be signed: whoever has an older record
    /// cannot note one over the record that says that it is taken back.
    #[must_use]
    pub fn back(&self) -> PromotionStep {
        let Some(record) = self.record else { return PromotionStep::Ended(PromotionEnd::NothingOpen) };
        match (record.kind, record.state) {
            (_, PromotionState::Aborted) => self.taken_back(record),
            (PromotionKind::ToHome, PromotionState::Done) => PromotionStep::Ended(PromotionEnd::NothingOpen),
            (PromotionKind::ToCloud, PromotionState::Done) if record.number == 0 => {
                PromotionStep::Ended(PromotionEnd::NothingOpen)
            }
            (PromotionKind::ToCloud, PromotionState::Done) => PromotionStep::Ended(PromotionEnd::Committed),
            (_, PromotionState::Open | PromotionState::Aborting) if self.is_won(record) => {
                PromotionStep::Ended(PromotionEnd::Committed)
            }
            (_, PromotionState::Open) => {
                PromotionStep::Persist(PromotionRecord { state: PromotionState::Aborting, ..record.clone() }.into())
            }
            // A grant for home that was signed meanwhile may still win; the machine's boot has ended all the same.
            (PromotionKind::ToHome, PromotionState::Aborting) => aborted(record),
            (PromotionKind::ToCloud, PromotionState::Aborting) => {
                self.fence_back(record).or_else(|| self.machine_back(record)).unwrap_or_else(|| aborted(record))
            }
        }
    }

    fn is_won(&self, record: &PromotionRecord) -> bool {
        record.number != 0 && self.in_force(record) == InForce::Won
    }

    /// Where the grant may have been signed, or home was stopped, home gets the number: of the two exactly one wins.
    fn fence_back(&self, record: &PromotionRecord) -> Option<PromotionStep> {
        // A number above the grant's stops home, whoever has raised it.
        let is_raised =
            self.session.is_some_and(|session| self.grant.is_some_and(|grant| session.number > grant.number));
        let is_open = is_raised || record.raise.is_some() || record.has_begun(PromotionEffect::Sign);
        if record.number == 0 || !is_open || self.in_force(record) != InForce::Before {
            return None;
        }
        let granted = self.grant.map(|grant| grant.number);
        let raised = self.session.map(|session| session.number);
        let Some(number) = adoption_number(granted, raised.into_iter().chain([record.number])) else {
            return Some(PromotionStep::Ended(PromotionEnd::LastNumber(record.number)));
        };
        Some(match self.noted(record, PromotionEffect::SignHome) {
            PromotionStep::Do(_) => PromotionStep::Sign(SignOrder { number, over: record.over.clone(), cloud: None }),
            step => step,
        })
    }

    /// The same backwards. The protection goes last, and the record closes after it: what crashed in between is known
    /// by the record. The machine has no keys, so a late deletion costs a standby only.
    fn machine_back(&self, record: &PromotionRecord) -> Option<PromotionStep> {
        let machine = self.machine.filter(|machine| machine.instance.id == record.instance.id)?;
        let is_named = self.grant.is_some_and(
            |grant| matches!(&grant.owner, GrantPlace::Cloud { instance_id, .. } if *instance_id == record.instance.id),
        );
        if is_named {
            return Some(PromotionStep::Ended(PromotionEnd::Committed));
        }
        if self.may_have_signed(record) {
            let mut record = PromotionRecord { state: PromotionState::Aborted, ..record.clone() };
            record.keep(record.instance.id.clone());
            return Some(PromotionStep::Persist(record.into()));
        }
        let Some(before) = &record.shape else {
            return Some(PromotionStep::Ended(PromotionEnd::NoShape(record.instance.clone())));
        };
        // One that was kept before is kept again: by its name, protected, and as it ran.
        let is_renamed = machine.shape.name != before.name;
        let runs = matches!(machine.state, MachineState::Running | MachineState::Starting);
        let ran = matches!(before.power, MachinePower::Running | MachinePower::Changing);
        let effect = match () {
            () if (is_renamed || !machine.is_temporary) && !machine.is_terminated => PromotionEffect::Stop,
            () if is_renamed => PromotionEffect::RenameBack,
            () if !machine.is_temporary => PromotionEffect::MakeTemporary,
            () if ran && !runs && !machine.start_refused => PromotionEffect::Start,
            () if before.deletion_protection && !machine.is_protected => PromotionEffect::Protect,
            () if !before.deletion_protection && machine.is_protected => PromotionEffect::Unprotect,
            () => return None,
        };
        Some(self.noted(record, effect))
    }

    /// Nothing is open any more; whether somebody may sign, and does not.
    fn taken_back(&self, record: &PromotionRecord) -> PromotionStep {
        let Some(grant) = self.grant else { return PromotionStep::Done };
        match (&grant.owner, self.session) {
            (GrantPlace::Home { .. }, Some(session)) if session.number > grant.number => {
                PromotionStep::Ended(PromotionEnd::HomeWaits(session.number))
            }
            (GrantPlace::Cloud { instance_id, boot_id, .. }, _) if *instance_id == record.instance.id => {
                let machine = self.machine.filter(|machine| machine.instance.id == *instance_id);
                let boot = machine.and_then(|machine| machine.reported_boot.as_ref());
                match machine
                    .map_or(!record.has_begun(PromotionEffect::Stop), |machine| machine.state == MachineState::Running)
                {
                    false => PromotionStep::Ended(PromotionEnd::CloudStopped),
                    true if boot.is_some_and(|boot| boot != boot_id) => PromotionStep::Ended(PromotionEnd::OtherBoot),
                    true => PromotionStep::Done,
                }
            }
            (GrantPlace::Home { .. } | GrantPlace::Cloud { .. }, _) => PromotionStep::Done,
        }
    }

    /// Whether this grant was in force and another one has come after it: then the machine may hold keys. Only one that
    /// replaced the same grant shows that this one never was.
    fn may_have_signed(&self, record: &PromotionRecord) -> bool {
        record.has_begun(PromotionEffect::Sign)
            && self.in_force(record) == InForce::Other
            && self.grant.is_none_or(|grant| grant.previous.as_ref() != Some(&record.over))
    }
}

fn aborted(record: &PromotionRecord) -> PromotionStep {
    PromotionStep::Persist(PromotionRecord { state: PromotionState::Aborted, ..record.clone() }.into())
}
