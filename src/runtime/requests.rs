//! Requests of operators: create-only records that the holder of the lease takes and answers.
//!
//! The answer is in the validator's record, where the command line waits for it. Ownership is never requested.

use std::{sync::Arc, time::Duration};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Handle, Input};
use crate::{
    domain::{
        Command, Event, IncidentId, LedgerKey, REQUEST_LIFETIME, Request, Span, Time, TimeExt, ValidatorId, stamp,
        stamped,
    },
    ports::{Expect, Ledger, LedgerError, PutError},
    records,
};

/// A request that nobody has taken within this time was for a validator nobody knows; it is removed.
const FORGET_AFTER: Span = Span::from_hours(24);

/// Puts a request down and returns its id. `incident` is the one that was open when the operator asked.
///
/// # Errors
/// What the ledger says.
pub async fn send(
    ledger: &dyn Ledger,
    now: Time,
    validator: &ValidatorId,
    by: &str,
    reason: &str,
    command: Command,
    incident: Option<IncidentId>,
) -> Result<String, PutError> {
    let id = stamped(now, Uuid::new_v4());
    let (by, reason) = (by.to_owned(), reason.to_owned());
    let expires_at = match command {
        Command::Open | Command::Close => Some(now.plus(REQUEST_LIFETIME)),
        Command::Pause { .. } | Command::Resume | Command::Retain => None,
    };
    let request = Request { id: id.clone(), validator: validator.clone(), by, reason, command, incident, expires_at };
    let key = LedgerKey::request(&id);
    match ledger.write(&key, records::encode(&key, &request), Expect::Absent).await {
        Ok(_) => Ok(id),
        // The key is ours alone, so nobody else has written there.
        Err(PutError::Conflict { .. }) => Err(PutError::UnknownOutcome("it is not there so far".into())),
        Err(error @ (PutError::Failed(_) | PutError::UnknownOutcome(_) | PutError::TooLarge(_))) => Err(error),
    }
}

/// Looks for requests and hands them to the loop, until stopped.
pub(super) async fn watch(engine: Handle, ledger: Arc<dyn Ledger>, every: Duration, stop: CancellationToken) {
    loop {
        match look(&*ledger, &engine.inputs).await {
            Ok(unreadable) => engine.troubles().set("requests", unreadable),
            Err(error) => tracing::warn!(%error, "requests could not be read"),
        }
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// One look. Which requests cannot be read; they are left where they are.
async fn look(ledger: &dyn Ledger, inputs: &mpsc::Sender<Input>) -> Result<Vec<String>, LedgerError> {
    let mut unreadable = Vec::new();
    for key in ledger.list(LedgerKey::REQUESTS, None).await? {
        let Some(stored) = ledger.get(&key).await? else { continue };
        let request = match records::decode::<Request>(&key, &stored.bytes) {
            Ok(request) => request,
            Err(error) => {
                unreadable.push(error.to_string());
                continue;
            }
        };
        let taken = tokio::sync::oneshot::channel();
        let event = Event::Requested(request.validator.clone(), request);
        if inputs.send(Input::Acknowledged(event, taken.0)).await.is_err() {
            return Ok(unreadable);
        }
        // The loop answers once the record that holds the answer is in the ledger. A request for a validator that is
        // not configured here is not answered; it may be another site's.
        if taken.1.await.is_ok() || is_old(&key) {
            let _ = ledger.remove(&key, &stored.version).await;
        }
    }
    Ok(unreadable)
}

fn is_old(key: &str) -> bool {
    stamp(key).is_some_and(|at| Time::now().duration_since(at) > FORGET_AFTER)
}
