//! What the cloud answers when it does not do what it is asked: kept for as long as it lasts, with what helps.

use super::Time;

/// Something asked of the cloud that has failed each time since it last worked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloudTrouble {
    pub since: Time,
    /// Tries, not looks in between.
    pub failures: u32,
    /// The last answer, in the cloud's words, and the place it came from where there is one.
    pub answer: String,
    /// People were notified of it.
    pub reported: bool,
}

/// What helps, by words that Compute Engine's answers have. Each is looked for in the order of this list.
const REMEDIES: &[(&[&str], &str)] = &[
    (
        &["disableGuestAttributesAccess"],
        "a policy of the organisation forbids to read what the machine reports: allow it for this project \
         (constraints/compute.disableGuestAttributesAccess)",
    ),
    (
        &["resourceLocations"],
        "a policy of the organisation forbids this place: choose others in compute.ladder, or allow it",
    ),
    (&["onstraint "], "a policy of the organisation forbids it: allow for this project what it names"),
    (
        &["rateLimitExceeded", "RATE_LIMIT_EXCEEDED", "RATE_EXCEEDED", "CONCURRENT_OPERATIONS"],
        "it is tried again, less and less often; if it lasts, see what else in this project calls Compute Engine",
    ),
    (&["QUOTA", "quotaExceeded", "LIMIT_EXCEEDED", "limitExceeded"], "raise the quota that it names"),
    (&["IP_SPACE_EXHAUSTED"], "make the subnetwork larger, or add a place in another region to compute.ladder"),
    (
        &["RESOURCE_POOL_EXHAUSTED", "STOCKOUT", "resourcePoolExhausted", "insufficientCapacity"],
        "it is tried again; add places to compute.ladder, best in other regions",
    ),
    (&["achine type", "machineType"], "correct this rung of compute.ladder: the place has no such machine type"),
    (&["illing"], "enable billing for the project"),
    (
        &[
            "permission",
            "forbidden",
            "PERMISSIONS_ERROR",
            "IAM_PERMISSION_DENIED",
            "SERVICE_DISABLED",
            "accessNotConfigured",
        ],
        "give the watcher's service account what it names (docs/gcp.md); `failover check` shows what is missing",
    ),
    (&["delete it by hand", "delete it ("], "look at what it names"),
    (
        &["no answer", "did not answer", "outcome is unknown", "500", "502", "503", "504"],
        "nothing by you, if it is Google's outage (status.cloud.google.com); otherwise see whether this host reaches it",
    ),
];

/// What a person can do about an answer of the cloud.
#[must_use]
pub fn remedy(answer: &str) -> &'static str {
    let fits = |words: &&(&[&str], &str)| words.0.iter().any(|word| answer.contains(word));
    REMEDIES.iter().find(fits).map_or("`failover check` looks at permissions, quotas and places", |(_, helps)| helps)
}

/// The status and reason of a refusal, "412 conditionNotMet": another one is news, other words of the same are not.
#[must_use]
pub(super) fn refusal(answer: &str) -> Option<String> {
    let words: Vec<&str> = answer.split([' ', ':']).filter(|word| !word.is_empty()).collect();
    words.windows(2).find_map(|pair| {
        let is_status = pair[0].len() == 3 && pair[0].starts_with('4') && pair[0].bytes().all(|b| b.is_ascii_digit());
        let is_reason = pair[1].len() <= 40 && pair[1].bytes().all(|b| b.is_ascii_alphabetic() || b == b'_');
        (is_status && is_reason && !matches!(pair[0], "401" | "408" | "429"))
            .then(|| format!("{} {}", pair[0], pair[1]))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_has_something_that_helps() {
        for (answer, helps) in [
            (
                "the cloud refused: 412 conditionNotMet: Constraint constraints/compute.disableGuestAttributesAccess",
                "allow it",
            ),
            ("n2 in z: 403 rateLimitExceeded: Quota exceeded for quota metric 'Queries'", "less and less often"),
            ("n2 in z: QUOTA_EXCEEDED: Quota 'CPUS' exceeded", "raise the quota"),
            ("n2 in z: 403 forbidden: Required 'compute.instances.create' permission", "service account"),
            ("n2 in z: IP_SPACE_EXHAUSTED: IP space is exhausted", "subnetwork"),
            ("the outcome is unknown: no answer in 20s", "status.cloud.google.com"),
            ("something new", "failover check"),
        ] {
            assert!(remedy(answer).contains(helps), "{answer}: {}", remedy(answer));
        }
    }

    #[test]
    fn a_refusal_is_known_by_status_and_reason_and_what_a_minute_mends_is_none() {
        assert_eq!(refusal("the cloud refused: 412 conditionNotMet: no").as_deref(), Some("412 conditionNotMet"));
        assert_eq!(refusal("n2 in us-central1-a: 403 forbidden: no").as_deref(), Some("403 forbidden"));
        for none in
            ["the cloud did not answer: 429 rateLimitExceeded: x", "no answer in 20s", "503 backendError: x", ""]
        {
            assert_eq!(refusal(none), None, "{none}");
        }
    }
}
