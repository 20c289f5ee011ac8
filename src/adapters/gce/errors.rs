//! What Compute Engine's refusals mean. Its errors carry no gRPC status, so they are distinguished by HTTP status and
//! reason.
//!
//! What may be the fault of one place counts as that place's: another one is tried, which costs a request. Only what
//! every place would answer alike stops the ladder. What is no answer of Compute Engine's refuses nothing.

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
    let Some(code) = error.http_status_code() else {
        // A connection that was never made has carried nothing; any other may have.
        return if error.is_connect() || error.is_authentication() {
            Failure::Busy(error.to_string())
        } else {
            Failure::Unanswered(error.to_string())
        };
    };
    let Some(status) = error.status() else {
        // A web page of a proxy, a login or a load balancer: whatever its number, it says nothing about what was asked.
        let said = format!("{code}, which is no answer of Compute Engine's");
        return if matches!(code, 401 | 429) { Failure::Busy(said) } else { Failure::Unanswered(said) };
    };
    // Compute's older form of an error has its reasons in `error.errors`; the client makes details of them.
    let reasons = status.details.iter().filter_map(|detail| match detail {
        StatusDetails::ErrorInfo(info) if !info.reason.is_empty() => Some(info.reason.as_str()),
        _ => None,
    });
    let reasons: Vec<&str> = reasons.collect();
    let message = one_line(&status.message, SAID);
    let said = |reason: &str| format!("{code} {reason}: {message}");
    let known = reasons.iter().find_map(|reason| by_reason(reason, &said(reason)));
    known.unwrap_or_else(|| by_status(code, said(reasons.first().unwrap_or(&""))))
}

/// What an operation ended with. Nothing was made, and nothing will be under its number: asked again, the cloud only
/// repeats this answer.
pub(super) fn of_operation(code: &str, said: &str) -> Option<Failure> {
    match code {
        // In a call they may come after the change.
        "INTERNAL_ERROR" | "internalError" | "backendError" | "SERVICE_UNAVAILABLE" => {
            Some(Failure::Busy(said.to_owned()))
        }
        _ => by_reason(code, said),
    }
}

/// The codes that stand in operations, and sometimes as the reason of a call. From Google's *Troubleshooting VM creation*,
/// *API errors*, *Concurrent operation limits* and the catalogue of reasons of the REST reference (v1/errors).
fn by_reason(code: &str, said: &str) -> Option<Failure> {
    // Subnetworks are regional, and so is the right to use one.
    let is_place = said.contains("'compute.subnetworks.use");
    let said = said.to_owned();
    Some(match code {
        "ZONE_RESOURCE_POOL_EXHAUSTED"
        | "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS"
        | "REGION_RESOURCE_POOL_EXHAUSTED"
        | "RESOURCE_POOL_EXHAUSTED"
        | "STOCKOUT"
        | "resourcePoolExhausted"
        | "insufficientCapacity" => Failure::OutOfStock(said),
        "QUOTA_EXCEEDED" | "quotaExceeded" | "LIMIT_EXCEEDED" | "limitExceeded" => Failure::Quota(said),
        "rateLimitExceeded"
        | "userRateLimitExceeded"
        | "RATE_LIMIT_EXCEEDED"
        | "RESOURCE_OPERATION_RATE_EXCEEDED"
        | "resourceOperationRateExceeded"
        | "operationRateExceeded"
        | "CONCURRENT_OPERATIONS_QUOTA_EXCEEDED" => Failure::Busy(said),
        // A network that is being made, a resource that another operation holds: a minute mends it.
        "resourceNotReady"
        | "RESOURCE_NOT_READY"
        | "resourceInUseByAnotherResource"
        | "RESOURCE_IN_USE_BY_ANOTHER_RESOURCE"
        | "SERVICE_UNAVAILABLE_FOR_LOCATION" => Failure::Busy(said),
        // Every place would say the same.
        "PERMISSIONS_ERROR" | "forbidden" | "insufficientPermissions" | "IAM_PERMISSION_DENIED" if is_place => {
            Failure::Invalid(said)
        }
        "PERMISSIONS_ERROR"
        | "forbidden"
        | "insufficientPermissions"
        | "IAM_PERMISSION_DENIED"
        | "ACCESS_TOKEN_SCOPE_INSUFFICIENT"
        | "accessNotConfigured"
        | "SERVICE_DISABLED"
        | "USER_PROJECT_DENIED"
        | "CONSUMER_INVALID"
        | "PROJECT_NOT_FOUND"
        | "billingNotEnabled"
        | "BILLING_DISABLED"
        | "accountDisabled"
        | "dailyLimitExceeded" => Failure::Refused(said),
        "IP_SPACE_EXHAUSTED" | "IP_SPACE_EXHAUSTED_WITH_DETAILS" | "UNSUPPORTED_OPERATION" => Failure::Invalid(said),
        "RESOURCE_ALREADY_EXISTS" | "alreadyExists" => Failure::Exists(said),
        "RESOURCE_NOT_FOUND" | "notFound" => Failure::NotFound(said),
        // A policy of the organisation, not a fingerprint. It may name places (`gcp.resourceLocations`).
        "CONDITION_NOT_MET" | "conditionNotMet" if said.contains("onstraint ") => Failure::Invalid(said),
        "CONDITION_NOT_MET" | "conditionNotMet" => Failure::Stale(said),
        _ => return None,
    })
}

pub(super) fn by_status(status: u16, said: String) -> Failure {
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
            Self::Busy(said) => CreateOutcome::Busy(said),
            Self::Exists(said) | Self::Unanswered(said) => CreateOutcome::Unknown(said),
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
