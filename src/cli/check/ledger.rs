//! Whether the ledger can be read, written and compared, and whether `owners/` is out of reach. It leaves nothing behind
//! and touches no record of the watcher's.

use super::cloud;
use crate::{
    assembly,
    config::{Config, LedgerSettings},
    domain::LedgerKey,
    ports::{Expect, Finding, FindingState, Ledger, LedgerError, PutError, Version},
};

/// A generation that no object has: Cloud Storage counts them by the microsecond.
const NEVER: &str = "1";

pub(super) async fn check(config: &Config) -> Vec<Finding> {
    let name = format!("ledger {}", config.ledger);
    let mut findings = Vec::new();
    if let LedgerSettings::Gcs { credentials, .. } = &config.ledger {
        findings.extend(cloud::login(credentials, "ledger.gcs.credentials").await);
        if findings.iter().any(|finding| finding.state != FindingState::Ok) {
            return findings;
        }
    }
    findings.extend(match assembly::ledger(config) {
        Ok(ledger) => records(&*ledger, &name).await,
        Err(error) => vec![Finding::problem(&name, format!("{error:#}"), "correct the section `ledger`")],
    });
    findings
}

/// What to do when it refuses us or cannot be reached.
fn remedy(ledger: &dyn Ledger) -> &'static str {
    if ledger.is_off_site() {
        "see that the bucket is there and that this identity has roles/storage.objectUser on it (docs/gcp.md)"
    } else {
        "see that the file's folder is there, that this user may write in it, and that the disk is not full"
    }
}

async fn records(ledger: &dyn Ledger, name: &str) -> Vec<Finding> {
    let seen = match ledger.list(LedgerKey::VALIDATORS, None).await {
        Ok(keys) => format!("{} validators on record", keys.len()),
        Err(error) => return vec![Finding::problem(name, error.to_string(), remedy(ledger))],
    };
    let mut findings = vec![match written(ledger).await {
        Ok(()) => Finding::ok(name, format!("{seen}; a record was written, compared and removed")),
        Err((true, why)) => Finding::problem(name, format!("{seen}; {why}"), remedy(ledger)),
        Err((false, why)) => Finding::unknown(name, format!("{seen}; {why}"), remedy(ledger)),
    }];
    // A file on this machine knows no rights.
    if ledger.is_off_site() {
        findings.push(owners(ledger, name).await);
    }
    findings
}

/// Writes a record of its own, sees that it is not written over, and removes it. An error says whether it is for certain.
async fn written(ledger: &dyn Ledger) -> Result<(), (bool, String)> {
    let failed = |what: &str, error: &PutError| {
        let certain = match error {
            PutError::Failed(LedgerError::Unavailable(_)) | PutError::UnknownOutcome(_) => false,
            PutError::Conflict { .. }
            | PutError::TooLarge(_)
            | PutError::Failed(LedgerError::Unusable(_) | LedgerError::Oversized(_)) => true,
        };
        (certain, format!("a record cannot be {what}: {error}"))
    };
    let key = LedgerKey::check(uuid::Uuid::now_v7());
    let put = || ledger.put(&key, b"{\"v\":1}".to_vec(), Expect::Absent);
    let version = put().await.map_err(|error| failed("written", &error))?;
    let compared = match put().await {
        Err(PutError::Conflict { .. }) => Ok(()),
        Err(error) => Err(failed("compared", &error)),
        Ok(_) => Err((true, "it writes over what it was asked not to: it is no ledger".to_owned())),
    };
    ledger.remove(&key, &version).await.map_err(|error| failed("removed", &error))?;
    compared
}

/// Asks to change a record that is never there: a refusal comes before the comparison.
async fn owners(ledger: &dyn Ledger, name: &str) -> Finding {
    let subject = format!("{name}: owners/");
    match ledger.put(&LedgerKey::NO_OWNER, Vec::new(), Expect::Version(Version(NEVER.to_owned()))).await {
        Err(PutError::Failed(LedgerError::Unusable(why))) if why.contains("refuses us") => {
            Finding::ok(subject, "cannot be written by these credentials")
        }
        Err(PutError::Conflict { .. }) | Ok(_) => {
            let remedy = "right for you, wrong for the watcher: give it the conditions of docs/gcp.md";
            Finding::warning(subject, "can be written by these credentials", remedy)
        }
        Err(error @ (PutError::Failed(_) | PutError::UnknownOutcome(_) | PutError::TooLarge(_))) => {
            Finding::unknown(subject, error.to_string(), remedy(ledger))
        }
    }
}

#[cfg(all(test, feature = "sandbox"))]
#[allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use std::{sync::Arc, time::Duration};

    use async_trait::async_trait;
    use google_cloud_auth::credentials::anonymous;

    use super::*;
    use crate::{
        adapters::ledger_gcs::{GcsConfig, LedgerGcs},
        ports::Stored,
        sandbox::object_store::FakeObjectStore,
    };

    /// A bucket in which these keys may not be written.
    struct Guarded(LedgerGcs, &'static str);

    #[async_trait]
    impl Ledger for Guarded {
        async fn get(&self, key: &str) -> Result<Option<Stored>, LedgerError> {
            self.0.get(key).await
        }
        async fn put(&self, key: &str, bytes: Vec<u8>, expect: Expect) -> Result<Version, PutError> {
            if key.starts_with(self.1) {
                return Err(LedgerError::Unusable("gs://b refuses us (403 Forbidden)".into()).into());
            }
            self.0.put(key, bytes, expect).await
        }
        async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Vec<String>, LedgerError> {
            self.0.list(prefix, after).await
        }
        async fn remove(&self, key: &str, version: &Version) -> Result<(), PutError> {
            self.0.remove(key, version).await
        }
        fn describe(&self) -> String {
            self.0.describe()
        }
        fn is_off_site(&self) -> bool {
            true
        }
    }

    async fn states(guarded: &'static str) -> Vec<FindingState> {
        let store = Arc::new(FakeObjectStore::start().await.unwrap());
        let config = GcsConfig {
            endpoint: Some(store.url().parse().unwrap()),
            bucket: "b".into(),
            prefix: String::new(),
            credentials: anonymous::Builder::new().build(),
            timeout: Duration::from_secs(5),
        };
        crate::adapters::http::install_tls_provider();
        let ledger = Guarded(LedgerGcs::new(config).unwrap(), guarded);
        let found = records(&ledger, "ledger").await;
        assert!(store.dump().is_empty(), "nothing is left behind: {:?}", store.dump());
        found.into_iter().map(|finding| finding.state).collect()
    }

    #[tokio::test]
    async fn owners_out_of_reach_is_well_and_within_reach_a_warning() {
        assert_eq!(states("owners/").await, [FindingState::Ok, FindingState::Ok]);
        assert_eq!(states("nothing").await, [FindingState::Ok, FindingState::Warning]);
    }

    #[tokio::test]
    async fn a_ledger_that_can_only_be_read_would_fail_on_the_day() {
        assert_eq!(states("checks/").await[0], FindingState::Problem);
    }
}
