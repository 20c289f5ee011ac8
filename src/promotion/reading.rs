//! What is read in each round: record, grant, session and machine, in this order.

use std::time::Duration;

use super::{
    GateContext, PromotionDeps, PromotionWay,
    failure::{Failure, PromotionError},
};
use crate::{
    domain::{
        GRANT_KEY, InstanceRef, LedgerKey, MachinePower, MachineShape, MachineState, PROMOTED_KEY, Report, ValidatorId,
        gates::GatePass,
        ownership::{GrantPlace, Session, SignedGrant, VerifiedGrant},
        promotion::{MachineFacts, PromotionEffect, PromotionRecord},
    },
    ports::{Ledger, ShapeError, Stored, Version},
    runtime::{
        grants::{promotion_of, session_of},
        store,
    },
};

/// A report that has not moved for so long says nothing any more. Agents report every half minute.
const REPORT_FOR: Duration = Duration::from_mins(3);

/// Everything as it was read in one round.
#[derive(Default)]
pub(super) struct Reading {
    pub(super) record: Option<(PromotionRecord, Version)>,
    pub(super) grant: Option<(VerifiedGrant, Stored)>,
    pub(super) session: Option<(Session, Version)>,
    /// How long this version of the session has not changed at least.
    pub(super) unchanged: Duration,
    pub(super) machine: Option<MachineFacts>,
    pub(super) shape: Option<MachineShape>,
    pub(super) report: Option<Report>,
}

/// What a program remembers of what it has seen: only how long something has not changed.
#[derive(Default)]
pub(super) struct Sights {
    session: Option<SessionSight>,
    report: Option<ReportSight>,
}

struct SessionSight {
    version: Version,
    /// By the store's clock, when it was seen first here.
    age: Duration,
    since: Duration,
}

struct ReportSight {
    instance: InstanceRef,
    mark: Option<(String, u64)>,
    /// When it was seen to be another one than before.
    moved: Option<Duration>,
}

impl Reading {
    pub(super) fn record(&self) -> Option<&PromotionRecord> {
        self.record.as_ref().map(|(record, _)| record)
    }

    pub(super) fn session(&self) -> Option<&Session> {
        self.session.as_ref().map(|(session, _)| session)
    }

    /// The record while it is open.
    pub(super) fn open(&self) -> Option<&PromotionRecord> {
        self.record().filter(|record| record.state.is_open())
    }

    /// How long the session's holder has not written it at least.
    fn silent(&self) -> Duration {
        let raise = self.open().and_then(|record| record.raise);
        let noted = raise.filter(|raise| self.session().is_some_and(|session| session.write == raise.write));
        self.unchanged + noted.map_or(Duration::ZERO, |raise| Duration::from_secs(raise.unchanged_seconds))
    }

    pub(super) fn context<'a>(&'a self, validator: &'a ValidatorId, pass: GatePass) -> GateContext<'a> {
        GateContext {
            validator,
            pass,
            record: self.open(),
            grant: self.grant.as_ref().map(|(grant, _)| grant.grant()),
            session: self.session(),
            silent: self.silent(),
        }
    }
}

impl Sights {
    /// # Errors
    /// What could not be read is an error and never missing.
    pub(super) async fn read(
        &mut self,
        deps: &PromotionDeps<'_>,
        validator: &ValidatorId,
        way: PromotionWay,
        start_refused: bool,
    ) -> Result<Reading, Failure> {
        let unreadable = |why: String| Failure::Final(PromotionError::Unreadable(why));
        let mut reading = Reading::default();
        if let Some(stored) = deps.ledger.get(&LedgerKey::promotion(validator)).await? {
            let record = promotion_of(validator, &stored.bytes).map_err(unreadable)?;
            reading.record = Some((record, stored.version));
        }
        let owner = LedgerKey::owner(validator);
        if let Some(stored) = deps.ledger.get(&owner).await? {
            let grant = deps.rules.read(validator, &stored.bytes);
            reading.grant = Some((grant.map_err(|why| unreadable(format!("{owner}: {why}")))?, stored));
        }
        if let Some(stored) = deps.ledger.get(&LedgerKey::session(validator)).await? {
            let session = session_of(validator, &stored.bytes).map_err(unreadable)?;
            reading.unchanged = self.unchanged(deps, validator, &stored.version).await?;
            reading.session = Some((session, stored.version));
        }
        if let Some(instance) = machine_of(deps, validator, way, &reading).await? {
            self.machine(deps, &instance, &mut reading, start_refused).await?;
        }
        Ok(reading)
    }

    /// By the store's own clock when it was seen first, and from then on by ours.
    async fn unchanged(
        &mut self,
        deps: &PromotionDeps<'_>,
        validator: &ValidatorId,
        version: &Version,
    ) -> Result<Duration, Failure> {
        if self.session.as_ref().is_none_or(|seen| seen.version != *version) {
            let since = (deps.raw)();
            let age = deps.ledger.age(&LedgerKey::session(validator), version).await?;
            let age = age.and_then(|age| Duration::try_from(age).ok()).unwrap_or_default();
            // The age is of the moment in which it was asked for, or later.
            let since = if age.is_zero() { since } else { (deps.raw)() };
            self.session = Some(SessionSight { version: version.clone(), age, since });
        }
        let seen = self.session.as_ref().expect("it was just seen");
        Ok(seen.age + (deps.raw)().saturating_sub(seen.since))
    }

    async fn machine(
        &mut self,
        deps: &PromotionDeps<'_>,
        instance: &InstanceRef,
        reading: &mut Reading,
        start_refused: bool,
    ) -> Result<(), Failure> {
        let shape = deps.cloud.shape(instance).await.map_err(|error| match error {
            ShapeError::Cloud(error) => Failure::from(error),
            other => Failure::Passing(other.to_string()),
        })?;
        let Some(shape) = shape else { return Ok(()) };
        let Some(observed) = deps.cloud.observe(instance).await? else { return Ok(()) };
        // Somebody has started it in between: what it reports may be of the new boot.
        if shape.power == MachinePower::Terminated && observed.machine.state != MachineState::Stopped {
            return Err(Failure::Passing(format!("{instance} is being started")));
        }
        let report = observed.written.report().cloned();
        let is_fresh = self.is_fresh(instance, report.as_ref(), (deps.raw)());
        let fresh = report.as_ref().filter(|_| is_fresh);
        let record = reading.open();
        let before = record.and_then(|record| record.shape.as_ref());
        let wanted = before.unwrap_or(&shape).promoted(&variables_for(deps, record, &shape));
        let chain_fine = fresh.is_some() && deps.evidence.is_chain_fine().await;
        let boot = record.and_then(|record| record.boot.as_deref());
        let mut facts = MachineFacts::read(
            &observed.machine.instance,
            &shape,
            &wanted,
            before,
            fresh,
            chain_fine,
            boot,
            start_refused,
        );
        // A copy whose signature is spoilt has the same digest, and no gate takes it.
        let carried =
            shape.metadata.get(GRANT_KEY).and_then(Option::as_ref).map(|text| SignedGrant::parse(text.as_bytes()));
        let in_force = reading.grant.as_ref().map(|(_, stored)| SignedGrant::parse(&stored.bytes));
        let is_whole = matches!((carried, in_force), (Some(Ok(carried)), Some(Ok(in_force))) if carried == in_force);
        facts.grant = facts.grant.filter(|_| is_whole);
        deps.evidence.saw_ready(facts.ready_boot.as_deref(), (deps.raw)());
        // Of any age: what is noted of it says which boot is over.
        facts.reported_boot = report.as_ref().map(|report| report.boot_id.clone()).filter(|boot| !boot.is_empty());
        (reading.machine, reading.shape, reading.report) = (Some(facts), Some(shape), report);
        Ok(())
    }

    /// Whether it has moved while this program has looked, and not long ago.
    fn is_fresh(&mut self, instance: &InstanceRef, report: Option<&Report>, raw: Duration) -> bool {
        let mark = report.map(|report| (report.boot_id.clone(), report.counter));
        match &mut self.report {
            Some(seen) if seen.instance.id == instance.id => {
                if seen.mark != mark {
                    (seen.mark, seen.moved) = (mark, Some(raw));
                }
            }
            _ => self.report = Some(ReportSight { instance: instance.clone(), mark, moved: None }),
        }
        let moved = self.report.as_ref().and_then(|seen| seen.moved);
        moved.is_some_and(|moved| raw.saturating_sub(moved) <= REPORT_FOR)
    }
}

/// What the machine is given. Once it has something it keeps that: two operators whose configurations differ would stop it
/// again and again, and one would stop it after home was stopped.
pub(super) fn variables_for(
    deps: &PromotionDeps<'_>,
    record: Option<&PromotionRecord>,
    shape: &MachineShape,
) -> String {
    let is_begun = record.is_some_and(|record| record.has_begun(PromotionEffect::MakePermanent));
    let there = shape.metadata.get(PROMOTED_KEY).cloned().flatten().filter(|_| is_begun);
    there.unwrap_or_else(|| deps.variables.to_owned())
}

/// The machine that the record names while it is open; else the one that may sign by the grant; else the standby.
async fn machine_of(
    deps: &PromotionDeps<'_>,
    validator: &ValidatorId,
    way: PromotionWay,
    reading: &Reading,
) -> Result<Option<InstanceRef>, Failure> {
    if let Some(record) = reading.open() {
        return Ok(Some(record.instance.clone()));
    }
    let granted = reading.grant.as_ref().map(|(grant, _)| &grant.grant().owner);
    if let Some(GrantPlace::Cloud { zone, instance_id, .. }) = granted {
        if let Some(record) = reading.record().filter(|record| record.instance.id == *instance_id) {
            return Ok(Some(record.instance.clone()));
        }
        // The cloud takes the number for the name.
        return Ok(Some(InstanceRef { zone: zone.clone(), name: instance_id.to_string(), id: instance_id.clone() }));
    }
    match way {
        PromotionWay::ToCloud => standby(deps.ledger, validator).await,
        PromotionWay::ToHome | PromotionWay::Back => Ok(None),
    }
}

async fn standby(ledger: &dyn Ledger, validator: &ValidatorId) -> Result<Option<InstanceRef>, Failure> {
    match store::read(ledger, validator).await {
        Ok(found) => {
            Ok(found.and_then(|(_, envelope)| envelope.validator.standby().map(|standby| standby.instance.clone())))
        }
        Err(store::StoreError::Ledger(error)) => Err(error.into()),
        Err(error) => Err(Failure::Final(PromotionError::Unreadable(error.to_string()))),
    }
}

/// Who may sign by now, in one sentence.
pub(super) fn state_words(reading: &Reading) -> String {
    let Some((grant, _)) = &reading.grant else { return "nobody has signed a grant".to_owned() };
    let (number, owner) = (grant.grant().number, &grant.grant().owner);
    let raised = reading.session().filter(|session| session.number > number).map(|session| session.number);
    match (raised, owner) {
        (Some(raised), _) => format!("nobody may sign: the session's number is {raised}, above grant {number}"),
        (None, GrantPlace::Home { site }) => format!("home ({site}) may sign, by grant {number}"),
        (None, GrantPlace::Cloud { instance_id, boot_id, .. }) => {
            format!("the machine {instance_id} may sign in its boot {boot_id}, by grant {number}")
        }
    }
}
