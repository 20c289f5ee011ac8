//! Following an operation to its end. DONE is not success: failures stand in the operation.

use std::time::Instant;

use google_cloud_compute_v1::model::{
    Operation,
    operation::{Status, error::Errors},
};

use super::{
    Gce,
    errors::{Failure, SAID, by_status, of_operation},
};
use crate::domain::one_line;

/// How far an operation is.
pub(super) struct OperationState<'a> {
    pub(super) name: &'a str,
    pub(super) percent: Option<i32>,
}

impl Gce {
    /// Until it is done, or until patience ends; then the outcome is unknown.
    pub(super) async fn follow(&self, zone: &str, operation: Operation) -> Result<(), Failure> {
        self.follow_with(zone, operation, |_| ()).await
    }

    /// The same, and says how far it is whenever it has looked.
    pub(super) async fn follow_with(
        &self,
        zone: &str,
        mut operation: Operation,
        on_state: impl Fn(OperationState<'_>) + Send,
    ) -> Result<(), Failure> {
        let Some(name) = operation.name.clone() else {
            return Err(Failure::Unanswered("the answer names no operation".into()));
        };
        let until = Instant::now() + self.config.operation_timeout;
        loop {
            if operation.status == Some(Status::Done) {
                return ended(&operation);
            }
            if Instant::now() >= until {
                return Err(Failure::Unanswered(format!("operation {name} has not ended")));
            }
            on_state(OperationState { name: &name, percent: operation.progress });
            tokio::time::sleep(self.config.poll_every).await;
            let request = self.operations.get().set_project(&self.config.project).set_zone(zone).set_operation(&name);
            match self.bounded(self.once(request).send()).await {
                Ok(next) => operation = next,
                // Asking again changes nothing; only its own end tells how it ended.
                Err(Failure::Busy(_) | Failure::Unanswered(_)) => {}
                Err(failure) => return Err(Failure::Unanswered(format!("operation {name}: {failure}"))),
            }
        }
    }
}

fn ended(operation: &Operation) -> Result<(), Failure> {
    let errors = operation.error.as_ref().map(|error| error.errors.as_slice()).unwrap_or_default();
    let said = |error: &Errors| {
        let (code, message) = (error.code.as_deref().unwrap_or_default(), error.message.as_deref().unwrap_or_default());
        (code.to_owned(), format!("{code}: {}", one_line(message, SAID)))
    };
    let errors: Vec<(String, String)> = errors.iter().map(said).collect();
    let Some((_, first)) = errors.first() else {
        return match operation.http_error_status_code {
            None | Some(200..=299) => Ok(()),
            Some(status) => {
                let message = operation.http_error_message.as_deref().unwrap_or("the operation failed");
                let status = u16::try_from(status).unwrap_or_default();
                Err(by_status(status, format!("{status}: {}", one_line(message, SAID))))
            }
        };
    };
    // The first may be a summary of what the others say. What nobody knows may be the place's.
    let known = errors.iter().find_map(|(code, said)| of_operation(code, said));
    Err(known.unwrap_or_else(|| Failure::Invalid(first.clone())))
}
