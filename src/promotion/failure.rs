//! What goes wrong, and what of it passes by itself.

use std::{collections::BTreeSet, time::Duration};

use crate::{
    domain::promotion::{PromotionEffect, PromotionWait},
    ports::{CloudError, LedgerError, PutError, ShapeError},
    runtime::grants::ReplaceError,
};

/// How long something that does not answer is asked again. It is not the fence, so it may be long.
const UNANSWERED_FOR: Duration = Duration::from_hours(24);
/// A role takes minutes to reach every server, and a login may be renewed beside this.
const REFUSED_FOR: Duration = Duration::from_mins(10);
/// The first pauses are shorter than a look at what is waited for, by this.
const SOONER: u32 = 8;

/// Why it does not continue. What was done is in the record.
#[derive(Debug, thiserror::Error)]
pub enum PromotionError {
    #[error("{0}")]
    Unreadable(String),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error("the record could not be written: {0}")]
    Write(PutError),
    #[error("{}: {why}", effect_name(*.effect))]
    Effect { effect: PromotionEffect, why: ShapeError },
    #[error(transparent)]
    Machine(#[from] CloudError),
    #[error("{}s without an answer: {why}", .waited.as_secs())]
    Unanswered { waited: Duration, why: String },
    #[error("{} was waited for {} hours", .0.words().name, .1.as_secs() / 3600)]
    Waited(PromotionWait, Duration),
    #[error("everything changes all the time; somebody else works on the same machine")]
    Contended,
    #[error("nothing was signed: {0}")]
    NotSigned(String),
    #[error(transparent)]
    Replace(ReplaceError),
    #[error(
        "the watermark of epoch {epoch} is another one now: the validator's keys were changed since; change them back"
    )]
    OtherWatermark { epoch: u64 },
    #[error("the record that would be written is none: {0}")]
    Record(String),
}

fn effect_name(effect: PromotionEffect) -> &'static str {
    effect.into()
}

/// Why one round was not finished.
#[derive(Debug)]
pub(super) enum Failure {
    /// Ask again.
    Passing(String),
    /// Ask again for some minutes.
    Barred(PromotionError),
    Final(PromotionError),
}

impl From<PromotionError> for Failure {
    fn from(error: PromotionError) -> Self {
        Self::Final(error)
    }
}

impl From<LedgerError> for Failure {
    fn from(error: LedgerError) -> Self {
        match error {
            LedgerError::Unavailable(_) => Self::Passing(error.to_string()),
            LedgerError::Refused(..) => Self::Barred(error.into()),
            LedgerError::Unusable(_) | LedgerError::Oversized(_) => Self::Final(error.into()),
        }
    }
}

impl From<PutError> for Failure {
    fn from(error: PutError) -> Self {
        match error {
            PutError::Failed(error) => error.into(),
            PutError::UnknownOutcome(_) | PutError::Conflict { .. } => Self::Passing(error.to_string()),
            PutError::TooLarge(_) => Self::Final(PromotionError::Write(error)),
        }
    }
}

impl From<CloudError> for Failure {
    fn from(error: CloudError) -> Self {
        match error {
            CloudError::Retry(_) | CloudError::Unknown(_) | CloudError::Incomplete(_) => {
                Self::Passing(error.to_string())
            }
            CloudError::Refused(_) => Self::Final(error.into()),
        }
    }
}

/// What does not answer at this moment. The same cause is reported once.
#[derive(Default)]
pub(super) struct Patience {
    since: Option<Duration>,
    tries: u32,
    said: BTreeSet<String>,
}

impl Patience {
    /// How long to wait before the next try, and whether this cause is a new one.
    pub(super) fn again(
        &mut self,
        failure: Failure,
        raw: Duration,
        every: Duration,
    ) -> Result<(Duration, Option<String>), PromotionError> {
        let waited = raw.saturating_sub(*self.since.get_or_insert(raw));
        let why = match failure {
            Failure::Final(error) => return Err(error),
            Failure::Barred(error) if waited >= REFUSED_FOR => return Err(error),
            Failure::Barred(error) => error.to_string(),
            Failure::Passing(why) if waited >= UNANSWERED_FOR => {
                return Err(PromotionError::Unanswered { waited, why });
            }
            Failure::Passing(why) => why,
        };
        let pause = (every / SOONER).saturating_mul(1 << self.tries.min(4)).min(every);
        self.tries += 1;
        Ok((pause, self.said.insert(why.clone()).then_some(why)))
    }

    pub(super) fn answered(&mut self) {
        *self = Self::default();
    }
}
