//! What the gates said, and what it was said for.

use std::time::Duration;

use super::{PromotionFacts, PromotionKind, PromotionRecord, PromotionState, PromotionStep, facts::InForce};
use crate::domain::{
    Time,
    gates::{self, GateEvidence, GatePass, GateReport},
};

/// What gates said longer ago says nothing about the moment of the signature.
const GATES_FOR: Duration = Duration::from_mins(10);

impl PromotionFacts<'_> {
    /// Judges the gates by what was gathered for the record that is open, or that would be opened.
    #[must_use]
    pub fn judge(&self, pass: GatePass, evidence: &GateEvidence, now: Time) -> GateReport {
        let subject = self.subject(pass);
        let overrides = subject.as_ref().map_or(&self.order.overrides, |record| &record.overrides);
        let mut evidence = GateEvidence {
            promoted: self.record.map(|record| record.promoted.clone()).unwrap_or_default(),
            stated: subject.as_ref().is_some_and(|record| record.statement.is_some()),
            forges: self.order.forges,
            instance: subject.as_ref().map(|record| record.instance.id.clone()),
            ..evidence.clone()
        };
        // What another boot reports says nothing about the one that is to be granted.
        let granted = self.machine.and_then(|machine| machine.ready_boot.as_ref());
        if pass == GatePass::Second {
            evidence.report = evidence.report.filter(|report| granted == Some(&report.boot_id));
        }
        let report = gates::judge(&evidence, pass, overrides, now);
        GateReport { subject, raw: self.raw, ..report }
    }

    /// What gates of this pass are judged for now.
    #[must_use]
    pub fn subject(&self, pass: GatePass) -> Option<Box<PromotionRecord>> {
        let drafted = || match pass {
            GatePass::First | GatePass::Second | GatePass::SignsNothing => self.draft().ok(),
            GatePass::HomeFirst | GatePass::Home => self.draft_home().ok(),
        };
        // A demotion of another grant than the one in force begins again.
        let is_meant = |record: &&PromotionRecord| match pass.kind() {
            PromotionKind::ToCloud => record.kind == PromotionKind::ToCloud,
            PromotionKind::ToHome => record.kind == PromotionKind::ToHome && self.in_force(record) == InForce::Before,
        };
        let open = self.record.filter(|record| record.state.is_open()).filter(is_meant);
        Some(self.subject_of(&open.cloned().or_else(drafted)?, pass))
    }

    /// Not what was begun meanwhile, nor when it was opened, which it was not yet at the first pass; before a signature
    /// for a machine, its boot.
    fn subject_of(&self, record: &PromotionRecord, pass: GatePass) -> Box<PromotionRecord> {
        let (state, steps, opened_at) = (PromotionState::Open, Vec::new(), Time::UNIX_EPOCH);
        let boot = self.machine.and_then(|machine| machine.ready_boot.clone()).filter(|_| pass == GatePass::Second);
        Box::new(PromotionRecord { state, steps, opened_at, boot, shape: None, ..record.clone() })
    }

    /// `None` when the gates of this pass were looked at just now for this record, and all pass.
    pub(super) fn judged(&self, pass: GatePass, record: &PromotionRecord) -> Option<PromotionStep> {
        // By no clock that a step of the wall clock could shorten it by.
        let fresh = |said: Duration| self.raw.checked_sub(said).is_some_and(|age| age <= GATES_FOR);
        let is_said = |report: &&GateReport| {
            report.pass == pass && fresh(report.raw) && report.subject.as_ref() == Some(&self.subject_of(record, pass))
        };
        match self.gates.filter(is_said) {
            None => Some(PromotionStep::Judge(pass)),
            Some(report) => {
                let blocking = report.blocking();
                (!blocking.is_empty()).then_some(PromotionStep::Refused(blocking))
            }
        }
    }
}
