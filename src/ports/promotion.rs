//! What a promotion does to its machine. People's commands use it with their own rights; the watcher never does, and may
//! not.

use async_trait::async_trait;

use super::CloudError;
use crate::domain::{InstanceRef, MachineShape, ShapeStep};

#[async_trait]
pub trait PromotionMachines: Send + Sync {
    /// What a promotion changes of this very machine (by numeric id), whatever it is called by now. `Ok(None)` when it is
    /// gone.
    async fn shape(&self, instance: &InstanceRef) -> Result<Option<MachineShape>, ShapeError>;
    /// Does this one thing if it is not done yet, follows the operation to its end, and reads back that it is done: the
    /// shape that it then has. It is bounded in time, and may be repeated at any time.
    async fn take_step(
        &self,
        instance: &InstanceRef,
        step: &ShapeStep,
        progress: &StepProgress<'_>,
    ) -> Result<MachineShape, ShapeError>;
}

/// Called with how far the step is.
pub type StepProgress<'a> = dyn Fn(&ShapeStep, StepState) + Send + Sync + 'a;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StepState {
    /// The machine is on its way to another state, which is waited for.
    Waits,
    Asked,
    /// The operation continues; how much of it is done, if the cloud says so.
    Runs {
        operation: String,
        percent: Option<i32>,
    },
    /// Not done, and tried again; why.
    Again(String),
    Done,
}

/// Why a machine does not have its shape.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    #[error("{0} does not exist any more: look into the project, and abort")]
    Gone(InstanceRef),
    /// It is stopped, and this place has nothing to start it on.
    #[error("it cannot be started now, its zone has no machine to give ({0}): try again later, or abort")]
    OutOfStock(String),
    #[error("it cannot be started now, a quota is used up ({0}): raise it or free it, then try again, or abort")]
    Quota(String),
    #[error("{0} is suspended with its memory: resume it or delete it by hand, then try again")]
    Suspended(InstanceRef),
    #[error(transparent)]
    Cloud(#[from] CloudError),
}

impl dyn PromotionMachines + '_ {
    /// Does what is missing, one step after the other; what is missing after each is judged again.
    ///
    /// # Errors
    /// [`ShapeError`] of the step that was not possible; those before it are done, and the next call does the rest.
    pub async fn reshape(
        &self,
        instance: &InstanceRef,
        wanted: &MachineShape,
        progress: &StepProgress<'_>,
    ) -> Result<MachineShape, ShapeError> {
        // Each step is done when it has been taken. Somebody who undoes them meanwhile is not fought forever.
        let mut left = None;
        let mut shape = self.shape(instance).await?.ok_or_else(|| ShapeError::Gone(instance.clone()))?;
        loop {
            let missing = shape.missing(wanted);
            let Some(step) = missing.first() else { return Ok(shape) };
            let tries = left.get_or_insert(2 * missing.len());
            *tries = tries.checked_sub(1).ok_or_else(|| {
                CloudError::Retry(format!("{instance} changes again and again: {step} is missing once more"))
            })?;
            shape = self.take_step(instance, step, progress).await?;
        }
    }
}
