//! The steps of an incident as Kubernetes events on the watched object, so that `kubectl describe` tells the story.
//!
//! They are a courtesy: mail, status and the ledger hold the same, and nothing waits for them.
//!
//! **Invariant:** a step is one event at most. Its name follows from what it is about, so a repetition after a lost
//! reply or a restart is refused by the API server itself (409).

use std::time::Duration;

use k8s_openapi::{
    api::{core::v1::ObjectReference, events::v1::Event},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::{Api, Client, api::PostParams};
use uuid::Uuid;

use super::{
    Named, Target,
    topic::{ObjectQuery, READ_TIMEOUT, WorkloadKind, blindness},
};
use crate::domain::{IncidentId, Reason, Time, kube::Blindness, one_line};

/// The longest note the API takes is a kilobyte.
const NOTE: usize = 900;

/// The pauses before writing again. After the last one the step is left to mail and status.
const AGAIN: [Duration; 4] =
    [Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(20), Duration::from_secs(60)];

const CONTROLLER: &str = "failover.dev/failover";

#[derive(Clone, Debug)]
pub struct Note {
    /// Of which incident; `None` for one that was held back.
    pub incident: Option<IncidentId>,
    pub reason: Reason,
    pub at: Time,
}

/// Why a step could not be written.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// There is nothing to write it on.
    #[error("there is no {0} to write an event on")]
    NoObject(String),
    /// The API server did not take it.
    #[error("{0}")]
    NotTaken(Blindness),
}

/// Writes a step on the watched object, if it is one that people want to see there. Tries for about a minute and a
/// half.
///
/// # Errors
/// [`EventError`] of the last try.
pub async fn write(client: &Client, target: &Target, note: &Note) -> Result<(), EventError> {
    let Some((word, kind)) = word(&note.reason) else { return Ok(()) };
    let mut pauses = AGAIN.iter();
    loop {
        let error = match once(client, target, note, word, kind).await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        // A permission that is missing does not come within a minute.
        let hopeless = matches!(&error, EventError::NotTaken(Blindness::Refused { .. }));
        match pauses.next() {
            Some(pause) if !hopeless => tokio::time::sleep(*pause).await,
            Some(_) | None => return Err(error),
        }
    }
}

async fn once(
    client: &Client,
    target: &Target,
    note: &Note,
    word: &'static str,
    kind: &'static str,
) -> Result<(), EventError> {
    let regarding = regarding(client, target).await?;
    let said = one_line(&note.reason.to_string(), NOTE);
    let about = format!("{}\n{:?}\n{word}\n{said}", target.validator, note.incident.map(|id| id.to_string()));
    let name =
        format!("failover-{}-{}", target.validator, Uuid::new_v5(&Uuid::NAMESPACE_OID, about.as_bytes()).simple());
    let event = Event {
        metadata: ObjectMeta { name: Some(name), namespace: Some(target.namespace.clone()), ..ObjectMeta::default() },
        event_time: Some(MicroTime(note.at)),
        reporting_controller: Some(CONTROLLER.into()),
        reporting_instance: Some("failover".into()),
        action: Some(word.into()),
        reason: Some(word.into()),
        type_: Some(kind.into()),
        note: Some(said),
        regarding: Some(regarding),
        ..Event::default()
    };
    let api = Api::<Event>::namespaced(client.clone(), &target.namespace);
    let params = PostParams::default();
    match tokio::time::timeout(READ_TIMEOUT, api.create(&params, &event)).await {
        Ok(Ok(_)) => Ok(()),
        // It was written before, and the reply was lost.
        Ok(Err(kube::Error::Api(status))) if status.code == 409 => Ok(()),
        Ok(Err(error)) => {
            let permission = || format!("create events.events.k8s.io in namespace {}", target.namespace);
            Err(EventError::NotTaken(blindness(&error, permission)))
        }
        Err(_) => Err(EventError::NotTaken(Blindness::Unreachable { why: "no answer in time".into() })),
    }
}

/// The object itself: `kubectl describe` looks for its uid as well.
async fn regarding(client: &Client, target: &Target) -> Result<ObjectReference, EventError> {
    let namespace = target.namespace.clone();
    let (topic, api_version, kind) = match &target.named {
        Named::Workload { kind, name } => {
            let word = match kind {
                WorkloadKind::StatefulSet => "StatefulSet",
                WorkloadKind::Deployment => "Deployment",
            };
            (ObjectQuery::Workload { kind: *kind, namespace, name: name.clone() }, "apps/v1", word)
        }
        Named::Selector(selector) => (ObjectQuery::Pods { namespace, selector: selector.clone() }, "v1", "Pod"),
    };
    let items = topic.read(client.clone()).await.map_err(EventError::NotTaken)?;
    let item = items.into_iter().next().ok_or_else(|| EventError::NoObject(target.to_string()))?;
    Ok(ObjectReference {
        api_version: Some(api_version.into()),
        kind: Some(kind.into()),
        namespace: Some(target.namespace.clone()),
        name: Some(item.name),
        uid: Some(item.uid).filter(|uid| !uid.is_empty()),
        ..ObjectReference::default()
    })
}

/// The event's reason and type; `None` for what is no step of an incident.
fn word(reason: &Reason) -> Option<(&'static str, &'static str)> {
    const NORMAL: &str = "Normal";
    const WARNING: &str = "Warning";
    Some(match reason {
        Reason::Opened { .. } => ("FailoverOpened", WARNING),
        Reason::Blocked { .. } => ("FailoverHeldBack", WARNING),
        Reason::Creating { .. } => ("StandbyCreating", NORMAL),
        Reason::OutOfStock { .. } => ("StandbyOutOfStock", WARNING),
        Reason::QuotaExceeded { .. } => ("StandbyQuotaExceeded", WARNING),
        Reason::CloudRefused { .. } => ("StandbyRefused", WARNING),
        Reason::Adopted { .. } => ("StandbyCreated", NORMAL),
        Reason::Ready { .. } => ("StandbyReady", NORMAL),
        Reason::Stuck { .. } => ("StandbyStuck", WARNING),
        Reason::NoLongerStuck { .. } => ("StandbyNoLongerStuck", NORMAL),
        Reason::Abandoning { .. } => ("StandbyNeverBooted", WARNING),
        Reason::DisksLeft { .. } => ("StandbyDisksLeft", WARNING),
        Reason::NoLongerReady { .. } => ("StandbyNotReady", WARNING),
        Reason::HomeIsBack { .. } => ("HomeIsBack", NORMAL),
        Reason::Releasing { .. } => ("StandbyReleasing", NORMAL),
        Reason::Closed { .. } => ("FailoverClosed", NORMAL),
        Reason::KeepsFailing { .. } => ("CloudKeepsFailing", WARNING),
        Reason::WorksAgain { .. } => ("CloudWorksAgain", NORMAL),
        Reason::NeedsHuman { .. } | Reason::Frozen { .. } => ("FailoverNeedsHuman", WARNING),
        Reason::DownAgain { .. } => ("FailoverDownAgain", WARNING),
        Reason::Paused { .. } => ("FailoverPaused", NORMAL),
        Reason::Resumed => ("FailoverResumed", NORMAL),
        Reason::Promotion { .. } => ("FailoverPromotion", WARNING),
        Reason::MachineKept { .. } => ("StandbyKept", NORMAL),
        Reason::Well { .. }
        | Reason::Waiting { .. }
        | Reason::Holding { .. }
        | Reason::Vetoed { .. }
        | Reason::Looking { .. }
        | Reason::OutcomeUnknown { .. }
        | Reason::Retrying { .. }
        | Reason::BeingMade { .. }
        | Reason::NotReady { .. }
        | Reason::UnusableReport { .. }
        | Reason::Starting { .. }
        | Reason::HoldingReady { .. }
        | Reason::HoldBroken { .. }
        | Reason::Rebooted { .. }
        | Reason::NeverBooted { .. }
        | Reason::RecoveryWaits { .. }
        | Reason::Deleting { .. }
        | Reason::RequestRefused { .. }
        | Reason::Late { .. }
        | Reason::Interrupted
        | Reason::SuspicionOver
        | Reason::CloudOwns { .. }
        | Reason::Moving { .. }
        | Reason::AttentionOver { .. }
        | Reason::MailRefused { .. }
        | Reason::NoticeDropped { .. } => return None,
    })
}
