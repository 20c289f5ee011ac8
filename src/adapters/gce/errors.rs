//! What Compute Engine's refusals mean. Its errors carry no gRPC status, so they are distinguished by HTTP status and
//! reason.

use google_cloud_compute_v1::Error;
use google_cloud_gax::error::rpc::StatusDetails;

use crate::{
    domain::{CreateOutcome, one_line},
    ports::CloudError,
};

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failure {
    #[error("not found: {0}")]
    NotFound(String),
    /// Something of this name exists.
    #[error("exists already: {0}")]
    Exists(String),
    /// The fingerprint is stale: somebody else has changed it.
    #[error("changed meanwhile: {0}")]
    Stale(String),
    /// This zone has none to give.
    #[error("out of stock: {0}")]
    OutOfStock(String),
    /// A quota of the region or the project.
    #[error("quota exceeded: {0}")]
    Quota(String),
    /// Not until somebody changes something: no right, no billing.
    #[error("{0}")]
    Refused(String),
    /// Not with what was asked for: a field, a place.
    #[error("{0}")]
    Invalid(String),
    /// Not now, and nothing has happened.
    #[error("{0}")]
    Busy(String),
    #[error("{0}")]
    Unanswered(String),
}

/// As much of Compute Engine's own words as is kept.
pub(super) const SAID: usize = 300;

pub(super) fn classify(error: &Error) -> Failure {
    let Some(status) = error.http_status_code() else {
        // A connection that was never made has carried nothing; any other may have.
        return if error.is_connect() || error.is_authentication() {
            Failure::Busy(error.to_string())
        } else {
            Failure::Unanswered(error.to_string())
        };
    };
    // Compute's older form of an error has its reasons in `error.errors`; the client makes details of them.
    let reason = error.status().into_iter().flat_map(|status| &status.details).find_map(|detail| match detail {
        StatusDetails::ErrorInfo(info) if !info.reason.is_empty() => Some(info.reason.clone()),
        _ => None,
    });
    let reason = reason.unwrap_or_default();
    let message = error.status().map_or_else(|| error.to_string(), |status| status.message.clone());
    let said = format!("{status} {reason}: {}", one_line(&message, SAID));
    by_code(&reason, &said).unwrap_or_else(|| by_status(status, said))
}

/// The codes that stand in operations, and sometimes as the reason of a call.
pub(super) fn by_code(code: &str, said: &str) -> Option<Failure> {
    let said = said.to_owned();
    Some(match code {
        "ZONE_RESOURCE_POOL_EXHAUSTED"
        | "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS"
        | "STOCKOUT"
        | "resourcePoolExhausted" => Failure::OutOfStock(said),
        "QUOTA_EXCEEDED" | "quotaExceeded" => Failure::Quota(said),
        "rateLimitExceeded" | "userRateLimitExceeded" | "RATE_LIMIT_EXCEEDED" => Failure::Busy(said),
        // A network that is being made, a resource that another operation holds: a minute mends it.
        "resourceNotReady" | "RESOURCE_NOT_READY" | "resourceInUseByAnotherResource" => Failure::Busy(said),
        "IP_SPACE_EXHAUSTED" | "IP_SPACE_EXHAUSTED_WITH_DETAILS" | "UNSUPPORTED_OPERATION" => Failure::Invalid(said),
        "RESOURCE_ALREADY_EXISTS" | "alreadyExists" => Failure::Exists(said),
        "RESOURCE_NOT_FOUND" | "notFound" => Failure::NotFound(said),
        "CONDITION_NOT_MET" | "conditionNotMet" => Failure::Stale(said),
        _ => return None,
    })
}

fn by_status(status: u16, said: String) -> Failure {
    match status {
        404 => Failure::NotFound(said),
        409 => Failure::Exists(said),
        412 => Failure::Stale(said),
        // A token may have run out on its way; the next one is fetched by then.
        401 | 429 => Failure::Busy(said),
        403 => Failure::Refused(said),
        // Of something in between, which does not know what became of it.
        408 | 425 | 499 => Failure::Unanswered(said),
        400..=499 => Failure::Invalid(said),
        // A server error may come after the change; so may anything that is no answer of Compute Engine's.
        _ => Failure::Unanswered(said),
    }
}

impl Failure {
    pub(super) fn into_create_outcome(self) -> CreateOutcome {
        match self {
            Self::OutOfStock(said) => CreateOutcome::OutOfStock(said),
            Self::Quota(said) => CreateOutcome::QuotaExceeded(said),
            Self::Refused(said) => CreateOutcome::Refused(said),
            Self::Invalid(said) | Self::NotFound(said) | Self::Stale(said) => CreateOutcome::RefusedHere(said),
            Self::Exists(said) | Self::Busy(said) | Self::Unanswered(said) => CreateOutcome::Unknown(said),
        }
    }
}

impl From<Failure> for CloudError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Busy(said) | Failure::Stale(said) | Failure::OutOfStock(said) | Failure::Quota(said) => {
                Self::Retry(said)
            }
            Failure::Refused(said) | Failure::Invalid(said) | Failure::NotFound(said) | Failure::Exists(said) => {
                Self::Refused(said)
            }
            Failure::Unanswered(said) => Self::Unknown(said),
        }
    }
}
