//! Each effect, carried out once more or not at all: the world is read before it and after it.

use std::collections::BTreeMap;

use super::{
    ProgressKind, PromotionError, PromotionExecutor,
    executor::{Round, noted},
    failure::Failure,
    reading::{Reading, variables_for},
};
use crate::{
    domain::{
        GRANT_KEY, InstanceRef, LedgerKey, MachineShape, ShapeStep, WATERMARK_KEY,
        promotion::{PromotionEffect, PromotionRecord},
    },
    ports::{CloudError, Expect, ShapeError, StepState},
    records,
};

impl PromotionExecutor<'_> {
    pub(super) async fn perform(&mut self, reading: &Reading, effect: PromotionEffect) -> Result<Round, Failure> {
        let Some(record) = reading.record() else { return Ok(Round::Next) };
        self.begins(effect);
        if effect == PromotionEffect::Raise {
            return self.raise(reading, record).await;
        }
        let Some(shape) = &reading.shape else { return Ok(Round::Next) };
        let instance = reading.machine.as_ref().map_or(&record.instance, |machine| &machine.instance).clone();
        for step in self.steps(reading, record, shape, effect).await? {
            // This program may have slept since it read the record, and somebody else may have taken it back.
            if self.is_changed(reading, record).await? {
                return Ok(Round::Next);
            }
            if let Err(error) = self.take(&instance, &step).await {
                return self.not_taken(effect, error);
            }
        }
        Ok(Round::Next)
    }

    async fn is_changed(&self, reading: &Reading, record: &PromotionRecord) -> Result<bool, Failure> {
        let now = self.deps.ledger.get(&LedgerKey::promotion(&record.validator)).await?;
        Ok(now.map(|stored| stored.version) != reading.record.as_ref().map(|(_, version)| version.clone()))
    }

    /// Over exactly the version that was noted: the age that the record has is of that one.
    async fn raise(&mut self, reading: &Reading, record: &PromotionRecord) -> Result<Round, Failure> {
        let key = LedgerKey::session(&record.validator);
        if let (Some(raise), Some((session, version))) = (record.raise, &reading.session)
            && session.write == raise.over
        {
            let raised = session.raised_to(record.number, raise.write);
            self.write(&key, records::encode(&key, &raised), Expect::Version(version.clone())).await?;
        }
        Ok(Round::Next)
    }

    /// In the order in which the shape has them.
    async fn steps(
        &self,
        reading: &Reading,
        record: &PromotionRecord,
        shape: &MachineShape,
        effect: PromotionEffect,
    ) -> Result<Vec<ShapeStep>, Failure> {
        let before = record.shape.as_ref().unwrap_or(shape);
        let missing = |wanted: &MachineShape, of_name: bool| -> Vec<ShapeStep> {
            let is_asked = |step: &ShapeStep| match step {
                ShapeStep::Rename(_) => of_name,
                ShapeStep::Protect(_) | ShapeStep::Stop | ShapeStep::Start => false,
                ShapeStep::Limit(_)
                | ShapeStep::AutoDelete { .. }
                | ShapeStep::Role(_)
                | ShapeStep::SshTag(_)
                | ShapeStep::Metadata(_) => !of_name,
            };
            shape.missing(wanted).into_iter().filter(is_asked).collect()
        };
        let (there, back) = (before.promoted(&variables_for(&self.deps, Some(record), shape)), before.restored());
        Ok(match effect {
            PromotionEffect::Protect => vec![ShapeStep::Protect(true)],
            PromotionEffect::Unprotect => vec![ShapeStep::Protect(false)],
            PromotionEffect::Stop => vec![ShapeStep::Stop],
            PromotionEffect::Start => vec![ShapeStep::Start],
            PromotionEffect::MakePermanent => missing(&there, false),
            PromotionEffect::Rename => missing(&there, true),
            PromotionEffect::MakeTemporary => missing(&back, false),
            PromotionEffect::RenameBack => missing(&back, true),
            PromotionEffect::PutWatermark => vec![metadata(WATERMARK_KEY, self.watermark(record).await?)],
            PromotionEffect::Carry => match &reading.grant {
                // As it was read in the ledger, and nothing else.
                Some((_, stored)) => vec![metadata(GRANT_KEY, stored.bytes.clone())],
                None => Vec::new(),
            },
            PromotionEffect::Raise | PromotionEffect::Sign | PromotionEffect::SignHome => Vec::new(),
        })
    }

    /// The same bytes again.
    async fn watermark(&self, record: &PromotionRecord) -> Result<Vec<u8>, Failure> {
        let Some(made) = &record.watermark else { return Ok(Vec::new()) };
        let again = self.deps.evidence.watermark(Some(made.epoch)).await.map_err(Failure::Passing)?;
        if noted(&again) != *made {
            return Err(PromotionError::OtherWatermark { epoch: made.epoch }.into());
        }
        Ok(again.bytes)
    }

    async fn take(&self, instance: &InstanceRef, step: &ShapeStep) -> Result<(), ShapeError> {
        let progress = |step: &ShapeStep, state: StepState| {
            let (text, percent) = match state {
                StepState::Waits => ("the machine is on its way to another state".to_owned(), None),
                StepState::Asked => ("asked for".to_owned(), None),
                StepState::Runs { percent, .. } => ("under way".to_owned(), percent),
                StepState::Again(why) => (format!("tried again: {why}"), None),
                StepState::Done => ("done".to_owned(), Some(100)),
            };
            self.report(ProgressKind::Continues, format!("{step}: {text}"), percent, None);
        };
        self.deps.cloud.take_step(instance, step, &progress).await.map(drop)
    }

    fn not_taken(&mut self, effect: PromotionEffect, error: ShapeError) -> Result<Round, Failure> {
        match error {
            ShapeError::OutOfStock(_) | ShapeError::Quota(_) if effect == PromotionEffect::Start => {
                self.say(ProgressKind::Trouble, error.to_string());
                self.start_refused = true;
                Ok(Round::Next)
            }
            // What is gone is read to be gone.
            ShapeError::Gone(_) => Ok(Round::Next),
            ShapeError::Cloud(CloudError::Retry(_) | CloudError::Unknown(_) | CloudError::Incomplete(_)) => {
                Err(Failure::Passing(error.to_string()))
            }
            why @ (ShapeError::OutOfStock(_)
            | ShapeError::Quota(_)
            | ShapeError::Suspended(_)
            | ShapeError::Cloud(CloudError::Refused(_))) => Err(PromotionError::Effect { effect, why }.into()),
        }
    }
}

/// Text by what wrote it: a grant or a watermark is JSON.
fn metadata(key: &str, bytes: Vec<u8>) -> ShapeStep {
    let text = String::from_utf8_lossy(&bytes).into_owned();
    ShapeStep::Metadata(BTreeMap::from([(key.to_owned(), Some(text))]))
}
