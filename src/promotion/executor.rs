//! The loop: read, ask, do one thing.

use std::time::Duration;

use super::{
    ProgressKind, PromotionDeps, PromotionError, PromotionOutcome, PromotionProgress, PromotionTask, PromotionWay,
    failure::{Failure, Patience},
    reading::{Reading, Sights, state_words},
    signing::Prepared,
    waits::WaitLimit,
};
use crate::{
    domain::{
        InstanceId, LedgerKey, Time,
        gates::{GatePass, GateReport},
        ownership::Session,
        promotion::{
            NotedWatermark, PromotionEffect, PromotionEnd, PromotionFacts, PromotionKind, PromotionRecord,
            PromotionState, PromotionStep, PromotionWait,
        },
    },
    ports::{Expect, PutError},
    records,
};

/// Rounds without a wait: far more than any way has, and a quarrel with somebody else ends.
const MOST_ROUNDS: u32 = 200;

/// See the module. Dropping it at any point is a crash, which another one resumes.
pub struct PromotionExecutor<'a> {
    pub(super) deps: PromotionDeps<'a>,
    pub(super) task: PromotionTask,
    pub(super) gates: Option<GateReport>,
    pub(super) start_refused: bool,
    pub(super) prepared: Option<Prepared>,
    pub(super) limit: WaitLimit,
    sights: Sights,
    patience: Patience,
    state: Option<String>,
    /// The open record that this works on: who has taken it back does not find it opened again.
    began: Option<RecordMark>,
}

/// What makes an open record this one.
#[derive(Clone, PartialEq, Eq)]
struct RecordMark {
    opened_at: Time,
    kind: PromotionKind,
    number: u64,
    instance: InstanceId,
}

/// What one round has come to.
pub(super) enum Round {
    /// Something was done.
    Next,
    /// Something is waited for, so long.
    Pause(Duration),
    End(PromotionOutcome),
}

impl<'a> PromotionExecutor<'a> {
    #[must_use]
    pub fn new(deps: PromotionDeps<'a>, task: PromotionTask) -> Self {
        Self {
            deps,
            task,
            gates: None,
            start_refused: false,
            prepared: None,
            limit: WaitLimit::default(),
            sights: Sights::default(),
            patience: Patience::default(),
            state: None,
            began: None,
        }
    }

    /// Until it is done, has to be left to the operator, or cannot continue. It ends in any case: every wait is bounded.
    ///
    /// # Errors
    /// [`PromotionError`]; what was done until then is in the record.
    pub async fn run(&mut self) -> Result<PromotionOutcome, PromotionError> {
        let mut rounds = 0;
        loop {
            match self.round().await {
                Ok(Round::End(outcome)) => return Ok(outcome),
                Ok(Round::Next) => {
                    self.patience.answered();
                    rounds += 1;
                    if rounds > MOST_ROUNDS {
                        return Err(PromotionError::Contended);
                    }
                }
                Ok(Round::Pause(pause)) => {
                    self.patience.answered();
                    rounds = 0;
                    tokio::time::sleep(pause).await;
                }
                Err(failure) => {
                    let (pause, why) = self.patience.again(failure, (self.deps.raw)(), self.deps.look_every)?;
                    if let Some(why) = why {
                        self.say(ProgressKind::Trouble, format!("{why}; it is tried again"));
                    }
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }

    /// Who may sign, by what was read last.
    #[must_use]
    pub fn state(&self) -> Option<&str> {
        self.state.as_deref()
    }

    async fn round(&mut self) -> Result<Round, Failure> {
        let (validator, way) = (self.task.order.validator.clone(), self.task.way);
        let reading = self.sights.read(&self.deps, &validator, way, self.start_refused).await?;
        self.state = Some(state_words(&reading));
        if let Some(by) = self.superseded(&reading) {
            return Ok(Round::End(PromotionOutcome::Ended(PromotionEnd::Superseded(by))));
        }
        let step = self.ask(&reading, None, None);
        let step = match step {
            PromotionStep::Wait(PromotionWait::Watermark) => match self.deps.evidence.watermark(None).await {
                Ok(made) => self.ask(&reading, Some(&noted(&made)), None),
                Err(why) => return self.wait_for_watermark(why),
            },
            PromotionStep::Wait(PromotionWait::Keys) => self.ask_about_duties(&reading).await,
            other => other,
        };
        // Gates that do not pass are looked at again and again, which is one wait.
        if !matches!(step, PromotionStep::Wait(_) | PromotionStep::Judge(_) | PromotionStep::Refused(_)) {
            self.limit.ended();
        }
        match step {
            PromotionStep::Judge(pass) => {
                self.judge(&reading, pass).await;
                Ok(Round::Next)
            }
            PromotionStep::Refused(_) => Ok(self.refused()),
            PromotionStep::Persist(record) => self.persist(&reading, &record).await,
            PromotionStep::Do(effect) => self.perform(&reading, effect).await,
            PromotionStep::Sign(order) => self.sign(&reading, order).await,
            PromotionStep::Wait(wait) => self.wait(&reading, wait),
            PromotionStep::Ended(end) => Ok(Round::End(PromotionOutcome::Ended(end))),
            PromotionStep::Done => Ok(Round::End(PromotionOutcome::Done)),
        }
    }

    /// Who has taken back what was begun here, or has opened something else meanwhile.
    fn superseded(&mut self, reading: &Reading) -> Option<String> {
        let (record, mark) = (reading.record()?, RecordMark::of(reading.record()?));
        let by = || Some(record.by.clone());
        match (&self.began, record.state) {
            (None, PromotionState::Open | PromotionState::Aborting) => self.began = Some(mark),
            (Some(began), PromotionState::Open | PromotionState::Aborting) if *began != mark => return by(),
            (Some(_), PromotionState::Aborted) if self.task.way != PromotionWay::Back => return by(),
            (Some(began), PromotionState::Aborted | PromotionState::Done) if *began != mark => return by(),
            (Some(_) | None, _) => {}
        }
        None
    }

    fn facts<'b>(&'b self, reading: &'b Reading) -> PromotionFacts<'b> {
        PromotionFacts {
            order: &self.task.order,
            record: reading.record(),
            grant: reading.grant.as_ref().map(|(grant, _)| grant.grant()),
            session: reading.session(),
            unchanged: reading.unchanged,
            machine: reading.machine.as_ref(),
            watermark: None,
            gates: self.gates.as_ref(),
            duty_since: None,
            now: self.deps.clock.now(),
            raw: (self.deps.raw)(),
            fresh: uuid::Uuid::new_v4(),
        }
    }

    fn ask(
        &self,
        reading: &Reading,
        watermark: Option<&NotedWatermark>,
        duty_since: Option<crate::domain::Time>,
    ) -> PromotionStep {
        let facts = PromotionFacts { watermark, duty_since, ..self.facts(reading) };
        match self.task.way {
            PromotionWay::ToCloud => facts.next(),
            PromotionWay::ToHome => facts.next_home(),
            PromotionWay::Back => facts.back(),
        }
    }

    async fn ask_about_duties(&self, reading: &Reading) -> PromotionStep {
        let since = match &reading.grant {
            Some((grant, _)) => self.deps.evidence.duty_since(grant.grant()).await,
            None => None,
        };
        self.ask(reading, None, since)
    }

    async fn judge(&mut self, reading: &Reading, pass: GatePass) {
        let order = &self.task.order;
        let context = reading.context(&order.validator, pass);
        // It is as old as the oldest of what it is judged by.
        let (began, raw) = (self.deps.clock.now(), (self.deps.raw)());
        let mut evidence = self.deps.evidence.gates(&context).await;
        let record = reading.open();
        evidence.watermark = record.and_then(|record| record.watermark.as_ref()).map(|made| made.epoch);
        // Given back after the raise, and not by a holder of long before.
        evidence.released = record.and_then(|record| record.raise).is_some_and(|raise| {
            let given_back = |session: &Session| session.holder.is_none() && session.write != raise.write;
            reading.session().is_some_and(|session| {
                given_back(session) && record.is_some_and(|record| session.number >= record.number)
            })
        });
        if let (Some(fence), Some(session)) = (&mut evidence.fence, context.session) {
            (fence.session, fence.silent) = (Some(session.clone()), context.silent);
        }
        let judged = self.facts(reading).judge(pass, &evidence, self.deps.clock.now());
        let report = GateReport { at: began, raw, ..judged };
        let blocking = report.blocking();
        let passed = report.gates.len() - blocking.len();
        self.say(ProgressKind::Gates, format!("gates ({pass}): {passed} of {} pass", report.gates.len()));
        self.gates = Some(report);
    }

    /// Only over exactly what was read. Whoever was first is read next.
    async fn persist(&mut self, reading: &Reading, record: &PromotionRecord) -> Result<Round, Failure> {
        record.check(&self.task.order.validator).map_err(PromotionError::Record)?;
        let key = LedgerKey::promotion(&record.validator);
        let expect = match &reading.record {
            None => Expect::Absent,
            Some((_, version)) => Expect::Version(version.clone()),
        };
        if self.write(&key, records::encode(&key, record), expect).await? {
            if record.state.is_open() {
                self.began = Some(RecordMark::of(record));
            }
            let steps = record.steps.last().map_or("opened", |step| <&str>::from(step.effect));
            let state = format!("{:?}", record.state).to_lowercase();
            self.say(ProgressKind::Noted, format!("noted in the ledger: {state}, {steps}"));
        }
        Ok(Round::Next)
    }

    /// `false` when somebody else was first.
    pub(super) async fn write(&mut self, key: &LedgerKey, bytes: Vec<u8>, expect: Expect) -> Result<bool, Failure> {
        match self.deps.ledger.write(key, bytes, expect).await {
            Ok(_) => Ok(true),
            Err(PutError::Conflict { .. }) => {
                self.say(ProgressKind::Overtaken, format!("somebody else has changed {key}: everything is read again"));
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    pub(super) fn say(&self, event: ProgressKind, text: String) {
        self.report(event, text, None, None);
    }

    pub(super) fn report(&self, event: ProgressKind, text: String, percent: Option<i32>, left: Option<Duration>) {
        let seconds_left = left.map(|left| left.as_secs());
        (self.deps.report)(&PromotionProgress { at: self.deps.clock.now(), event, text, percent, seconds_left });
    }

    pub(super) fn begins(&self, effect: PromotionEffect) {
        self.say(ProgressKind::Begins, effect.words().what);
    }
}

impl RecordMark {
    fn of(record: &PromotionRecord) -> Self {
        let (opened_at, kind, number) = (record.opened_at, record.kind, record.number);
        Self { opened_at, kind, number, instance: record.instance.id.clone() }
    }
}

pub(super) fn noted(made: &super::MadeWatermark) -> NotedWatermark {
    use sha2::{Digest as _, Sha256};
    let digest = Sha256::digest(&made.bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    NotedWatermark { epoch: made.epoch, digest }
}
