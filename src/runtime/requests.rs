//! Requests of operators: create-only records that the holder of the lease takes and answers.
//!
//! The answer is in the validator's record, where the command line waits for it. Ownership is never requested.
//!
//! A bucket is paid for a listing as for a write, twelve times what a read costs. So one small record is changed after
//! every request, and only that is read all the time; it is listed when that has changed.

use std::{sync::Arc, time::Duration};

use serde::Serialize;
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Handle, Input};
use crate::{
    domain::{
        Command, Event, IncidentId, LedgerKey, REQUEST_LIFETIME, Request, Span, Time, TimeExt, ValidatorId, stamp,
        stamped,
    },
    ports::{Expect, Ledger, LedgerError, PutError, Version},
    records,
};

/// A request that nobody has taken within this time was for a validator nobody knows; it is removed.
const FORGET_AFTER: Span = Span::from_hours(24);
/// How soon a request is found whose sender did not come to say so: while `open` and `close` still count.
const LIST_EVERY: Duration = Duration::from_mins(10);

/// What is in the record that changes with every request.
#[derive(Serialize)]
struct LastRequest<'a> {
    id: &'a str,
}

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
        Ok(_) => {
            if let Err(error) = announce(ledger, &id).await {
                tracing::warn!(%error, "the request is in the ledger; it may take {LIST_EVERY:?} until it is seen");
            }
            Ok(id)
        }
        // The key is ours alone, so nobody else has written there.
        Err(PutError::Conflict { .. }) => Err(PutError::UnknownOutcome("it is not there so far".into())),
        Err(error @ (PutError::Failed(_) | PutError::UnknownOutcome(_) | PutError::TooLarge(_))) => Err(error),
    }
}

/// Has the holder of the lease list the requests. The request has to be there before this begins.
async fn announce(ledger: &dyn Ledger, id: &str) -> Result<(), PutError> {
    loop {
        let there = ledger.get(&LedgerKey::LAST_REQUEST).await?.map(|stored| stored.version);
        let expect = there.clone().map_or(Expect::Absent, Expect::Version);
        match ledger
            .write(&LedgerKey::LAST_REQUEST, records::encode(&LedgerKey::LAST_REQUEST, &LastRequest { id }), expect)
            .await
        {
            // Somebody has changed it since we looked: whoever sees that lists ours as well.
            Err(PutError::Conflict { found: Some(found) }) if Some(&found.version) != there.as_ref() => return Ok(()),
            Err(PutError::Conflict { .. }) => {}
            written => return written.map(|_| ()),
        }
    }
}

/// Looks for requests and hands them to the loop, until stopped.
pub(super) async fn watch(engine: Handle, ledger: Arc<dyn Ledger>, every: Duration, stop: CancellationToken) {
    let mut listed = None;
    loop {
        match look(&*ledger, &engine.inputs, &mut listed).await {
            Ok(Some(unreadable)) => engine.troubles().set("requests", unreadable),
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "requests could not be read"),
        }
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// One look: which requests cannot be read, which are left where they are. `None` when there was no need to list them.
///
/// `listed` is when they were listed last, and what the last request was before that.
async fn look(
    ledger: &dyn Ledger,
    inputs: &mpsc::Sender<Input>,
    listed: &mut Option<(Option<Version>, Instant)>,
) -> Result<Option<Vec<String>>, LedgerError> {
    let last = ledger.get(&LedgerKey::LAST_REQUEST).await?.map(|stored| stored.version);
    if listed.as_ref().is_some_and(|(before, at)| *before == last && at.elapsed() < LIST_EVERY) {
        return Ok(None);
    }
    let now = Instant::now();
    let mut unreadable = Vec::new();
    for key in ledger.list(LedgerKey::REQUESTS, None).await? {
        let stored = match ledger.get(&key).await {
            Ok(Some(stored)) => stored,
            Ok(None) => continue,
            Err(LedgerError::Oversized(why)) => {
                unreadable.push(why);
                continue;
            }
            Err(error) => return Err(error),
        };
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
            return Ok(None);
        }
        // The loop answers once the record that holds the answer is in the ledger. A request for a validator that is
        // not configured here is not answered; it may be another site's.
        if taken.1.await.is_ok() || is_old(&key) {
            let _ = ledger.remove(&key, &stored.version).await;
        }
    }
    // What cannot be read is looked at again each time: it is reported until somebody has mended it.
    *listed = unreadable.is_empty().then_some((last, now));
    Ok(Some(unreadable))
}

fn is_old(key: &str) -> bool {
    stamp(key).is_some_and(|at| Time::now().duration_since(at) > FORGET_AFTER)
}
