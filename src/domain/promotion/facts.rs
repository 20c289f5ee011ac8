//! What a promotion is decided by.

use std::time::Duration;

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::{NotedOverride, NotedWatermark, PromotionEffect, PromotionRecord};
use crate::domain::{
    GRANT_KEY, InstanceRef, MachinePower, MachineShape, MachineState, Report, ShapeStep, Time, ValidatorId,
    WATERMARK_KEY,
    gates::GateReport,
    ownership::{Grant, GrantPlace, Session, SignedGrant},
};

/// What the operator asks for.
#[derive(Clone, Debug)]
pub struct PromotionOrder {
    pub validator: ValidatorId,
    pub by: String,
    pub reason: String,
    pub until: Option<PromotionEffect>,
    pub statement: Option<String>,
    pub overrides: Vec<NotedOverride>,
    /// The validator signs nothing: the machine is made permanent, and that is all.
    pub signs_nothing: bool,
    /// It forges blocks and is not slashable: no session proves that home has stopped, and a statement stands in for it.
    pub forges: bool,
}

/// Everything that was read, in this order: record, grant, session, machine. What is read later may be newer than what
/// was read before it, and never older. A record or a grant that cannot be read or verified is an error before this.
#[derive(Clone, Debug)]
pub struct PromotionFacts<'a> {
    pub order: &'a PromotionOrder,
    pub record: Option<&'a PromotionRecord>,
    /// The verified grant in force.
    pub grant: Option<&'a Grant>,
    pub session: Option<&'a Session>,
    /// How long this version of the session has not changed at least, by the store's clock or watched by one's own.
    pub unchanged: Duration,
    /// The machine that the record names; without an open record the standby. `None`: it does not exist.
    pub machine: Option<&'a MachineFacts>,
    /// The watermark for now. `None`: the chain does not say enough.
    pub watermark: Option<&'a NotedWatermark>,
    /// What the gates last said in this run of the program.
    pub gates: Option<&'a GateReport>,
    /// The chain shows a duty by these keys since the grant; since when.
    pub duty_since: Option<Time>,
    pub now: Time,
    /// The same by a clock of this program's own, which counts the time asleep and which nobody sets.
    pub raw: Duration,
    /// Never used before: for the next raise.
    pub fresh: Uuid,
}

/// A machine as the cloud shows it and as it reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachineFacts {
    pub instance: InstanceRef,
    pub shape: MachineShape,
    pub state: MachineState,
    /// TERMINATED, as opposed to suspended or stopping.
    pub is_terminated: bool,
    pub is_protected: bool,
    /// All that [`PromotionEffect::MakePermanent`] does is done.
    pub is_permanent: bool,
    /// Nothing of that is done: as the watcher made it.
    pub is_temporary: bool,
    /// Its name is one outside of the watcher's role.
    pub is_renamed: bool,
    /// The cloud has refused to start it, for want of capacity.
    pub start_refused: bool,
    /// The boot that it reported last, whatever else it reports.
    pub reported_boot: Option<String>,
    /// Its boot, while its report and its chain view say that it is ready.
    pub ready_boot: Option<String>,
    /// Digest of the watermark in its metadata.
    pub watermark: Option<String>,
    /// Digest of the grant in its metadata.
    pub grant: Option<String>,
}

impl MachineFacts {
    /// A machine as the cloud has it, beside what a promotion makes of it (`wanted`) and what an abort goes back to
    /// (`before`, of the record).
    ///
    /// `report` is one that has changed while it was looked at; one of the boot `boot_before` says nothing about the start
    /// after it. `chain_fine`: the standby's chain view is that of a ready one. `start_refused`: the cloud has just had no
    /// machine to start it on.
    #[must_use]
    #[expect(clippy::too_many_arguments, reason = "each is read from another place")]
    pub fn read(
        instance: &InstanceRef,
        shape: &MachineShape,
        wanted: &MachineShape,
        before: Option<&MachineShape>,
        report: Option<&Report>,
        chain_fine: bool,
        boot_before: Option<&str>,
        start_refused: bool,
    ) -> Self {
        let is_ready = |report: &&Report| {
            report.synced
                && !report.optimistic
                && !report.signer_seen
                && report.signer_hidden.is_none()
                && report.promoted
                && chain_fine
                && shape.power == MachinePower::Running
                && boot_before != Some(report.boot_id.as_str())
        };
        let boot = |report: &Report| Some(report.boot_id.clone()).filter(|boot| !boot.is_empty());
        let value = |key: &str| shape.metadata.get(key)?.as_deref();
        Self {
            instance: instance.clone(),
            shape: shape.clone(),
            state: match shape.power {
                MachinePower::Running => MachineState::Running,
                MachinePower::Changing => MachineState::Stopping,
                MachinePower::Suspended | MachinePower::Terminated => MachineState::Stopped,
            },
            is_terminated: shape.power == MachinePower::Terminated,
            is_protected: shape.deletion_protection,
            is_permanent: is_shaped(shape, wanted),
            is_temporary: before.is_some_and(|before| is_shaped(shape, &before.restored())),
            is_renamed: shape.name == wanted.name,
            start_refused,
            reported_boot: report.and_then(boot),
            ready_boot: report.filter(is_ready).and_then(boot),
            watermark: value(WATERMARK_KEY)
                .map(|text| Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()),
            grant: value(GRANT_KEY)
                .and_then(|text| SignedGrant::parse(text.as_bytes()).ok())
                .map(|signed| signed.grant.digest()),
        }
    }
}

/// Whether nothing is missing but protection, power and name, which are effects of their own.
fn is_shaped(shape: &MachineShape, wanted: &MachineShape) -> bool {
    shape.missing(wanted).iter().all(|step| match step {
        ShapeStep::Protect(_) | ShapeStep::Stop | ShapeStep::Start | ShapeStep::Rename(_) => true,
        ShapeStep::Limit(_)
        | ShapeStep::AutoDelete { .. }
        | ShapeStep::Role(_)
        | ShapeStep::SshTag(_)
        | ShapeStep::Metadata(_) => false,
    })
}

/// Who may sign, as far as a promotion is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum InForce {
    /// The grant that the record replaces.
    Before,
    /// The grant that the record is about, or one for another boot of its machine.
    Won,
    Other,
}

impl PromotionFacts<'_> {
    pub(super) fn in_force(&self, record: &PromotionRecord) -> InForce {
        let Some(grant) = self.grant else { return InForce::Other };
        let is_of = match (&grant.owner, record.kind) {
            (GrantPlace::Cloud { instance_id, .. }, super::PromotionKind::ToCloud) => {
                *instance_id == record.instance.id
            }
            (GrantPlace::Home { .. }, super::PromotionKind::ToHome) => true,
            (GrantPlace::Cloud { .. } | GrantPlace::Home { .. }, _) => false,
        };
        match () {
            () if grant.digest() == record.over => InForce::Before,
            () if is_of && grant.number >= record.number => InForce::Won,
            () => InForce::Other,
        }
    }

    /// How long its holder has not written the session. The age that was noted counts if the raise has replaced exactly
    /// that version: the raise extends nothing, and after it nobody can renew.
    pub(super) fn holder_silent(&self, record: &PromotionRecord, session: &Session) -> Duration {
        let noted = record.raise.filter(|raise| raise.write == session.write);
        let before = noted.map_or(Duration::ZERO, |raise| Duration::from_secs(raise.unchanged_seconds));
        before.saturating_add(self.unchanged)
    }
}
