//! Whether the ledger can be read, written and compared, whether what only humans and gates write is out of reach, and
//! whether it is in another region than the first standby. It leaves nothing behind and touches no record of the
//! watcher's.

use std::path::Path;

use super::cloud;
use crate::{
    assembly,
    config::{Config, LedgerSettings},
    domain::LedgerKey,
    ports::{Barred, Expect, Finding, FindingState, Ledger, LedgerError, PutError, Version},
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
    if let Some(path) = assembly::missing_ledger(config) {
        return vec![missing(&name, path)];
    }
    findings.extend(match assembly::ledger(config) {
        Ok(ledger) => {
            let mut found = records(&*ledger, &name).await;
            let first = config.compute.as_ref().and_then(|compute| compute.ladder.first());
            if let Some(region) = first.and_then(|rung| rung.zone.rsplit_once('-')).map(|(region, _)| region)
                && ledger.is_off_site()
                && found.first().is_some_and(|finding| finding.state == FindingState::Ok)
            {
                found.push(place(&*ledger, &name, region).await);
            }
            found
        }
        Err(error) => vec![Finding::problem(&name, format!("{error:#}"), "correct the section `ledger`")],
    });
    findings
}

/// A file that `serve` is to make: whether it may. This command does not make it.
fn missing(name: &str, path: &Path) -> Finding {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let probe = folder.join(format!(".failover-check-{}", uuid::Uuid::now_v7()));
    let made = std::fs::OpenOptions::new().write(true).create_new(true).open(&probe);
    match made.and_then(|_| std::fs::remove_file(&probe)) {
        Ok(()) => Finding::ok(name, "not there yet; `failover serve` makes it, and may write in its folder"),
        Err(error) => {
            let remedy = "see that the file's folder is there and that this user may write in it";
            Finding::problem(name, format!("not there, and cannot be made in {} ({error})", folder.display()), remedy)
        }
    }
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
        Err(error @ LedgerError::Refused(Barred::Login, _)) => {
            let remedy = "see that `ledger.gcs.credentials` name the right identity, and that this clock is right";
            return vec![Finding::problem(name, error.to_string(), remedy)];
        }
        Err(error) => return vec![Finding::problem(name, error.to_string(), remedy(ledger))],
    };
    let mut findings = vec![match written(ledger).await {
        Ok(()) => Finding::ok(name, format!("{seen}; a record was written, compared and removed")),
        Err((true, why)) => Finding::problem(name, format!("{seen}; {why}"), remedy(ledger)),
        Err((false, why)) => Finding::unknown(name, format!("{seen}; {why}"), remedy(ledger)),
    }];
    // A file on this machine knows no rights.
    if ledger.is_off_site() {
        findings.push(withheld(ledger, name).await);
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
            | PutError::Failed(LedgerError::Refused(..) | LedgerError::Unusable(_) | LedgerError::Oversized(_)) => true,
        };
        (certain, format!("a record cannot be {what}: {error}"))
    };
    let key = LedgerKey::check(uuid::Uuid::now_v7());
    let put = || ledger.put(&key, b"{\"v\":2}".to_vec(), Expect::Absent);
    let version = put().await.map_err(|error| failed("written", &error))?;
    let compared = match put().await {
        Err(PutError::Conflict { .. }) => Ok(()),
        Err(error) => Err(failed("compared", &error)),
        Ok(_) => Err((true, "it writes over what it was asked not to: it is no ledger".to_owned())),
    };
    ledger.remove(&key, &version).await.map_err(|error| failed("removed", &error))?;
    compared
}

/// Asks to change records that are never there: a refusal comes before the comparison.
async fn withheld(ledger: &dyn Ledger, name: &str) -> Finding {
    let (mut writable, mut unknown) = (Vec::new(), Vec::new());
    let folder = |key: &LedgerKey| key.split_inclusive('/').next().unwrap_or_default().to_owned();
    let all = LedgerKey::WITHHELD.each_ref().map(folder).join(", ");
    for key in LedgerKey::WITHHELD {
        match ledger.put(&key, Vec::new(), Expect::Version(Version(NEVER.to_owned()))).await {
            Err(PutError::Failed(LedgerError::Refused(Barred::Right, _))) => {}
            Err(PutError::Conflict { .. }) | Ok(_) => writable.push(folder(&key)),
            Err(error @ (PutError::Failed(_) | PutError::UnknownOutcome(_) | PutError::TooLarge(_))) => {
                unknown.push(format!("{}: {error}", folder(&key)));
            }
        }
    }
    let subject = format!("{name}: {all}");
    if !unknown.is_empty() {
        return Finding::unknown(subject, unknown.join("; "), remedy(ledger));
    }
    if writable.is_empty() {
        return Finding::ok(subject, "cannot be written by these credentials");
    }
    let remedy = "right for you, wrong for the watcher: give it the condition of docs/gcp.md, `docs/gcp/setup.sh` does";
    Finding::warning(subject, format!("{} can be written by these credentials", writable.join(", ")), remedy)
}

/// An outage that takes a whole region must not take the standby and what all of them are known by.
async fn place(ledger: &dyn Ledger, name: &str, first: &str) -> Finding {
    let subject = format!("{name}: region");
    let remedy = "create a bucket in another region and copy the ledger while no watcher runs (docs/gcp.md)";
    match ledger.region().await {
        Ok(Some(region)) if region == first => {
            Finding::warning(subject, format!("in {region}, where the ladder begins: both are out together"), remedy)
        }
        Ok(Some(region)) => Finding::ok(subject, format!("in {region}; the ladder begins in {first}")),
        Ok(None) => Finding::ok(subject, "in none"),
        Err(error) => {
            let remedy = "give these credentials roles/storage.legacyBucketReader on the bucket";
            Finding::warning(subject, error.to_string(), remedy)
        }
    }
}

#[cfg(all(test, feature = "sandbox"))]
#[allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use std::time::Duration;

    use google_cloud_auth::credentials::anonymous;

    use super::*;
    use crate::{
        adapters::ledger_gcs::{GcsConfig, LedgerGcs},
        sandbox::object_store::FakeObjectStore,
    };

    async fn bucket(read_only: &[&str]) -> (FakeObjectStore, LedgerGcs) {
        let store = FakeObjectStore::start().await.unwrap();
        store.read_only(read_only);
        let config = GcsConfig {
            endpoint: Some(store.url().parse().unwrap()),
            bucket: "b".into(),
            prefix: String::new(),
            login: std::sync::Arc::new(anonymous::Builder::new().build()),
            timeout: Duration::from_secs(5),
        };
        crate::adapters::http::install_tls_provider();
        let ledger = LedgerGcs::new(config).unwrap();
        (store, ledger)
    }

    async fn found(read_only: &[&str]) -> Vec<Finding> {
        let (store, ledger) = bucket(read_only).await;
        let found = records(&ledger, "ledger").await;
        assert!(store.dump().is_empty(), "nothing is left behind: {:?}", store.dump());
        found
    }

    #[tokio::test]
    async fn what_only_humans_and_gates_write_is_to_be_out_of_reach_all_of_it() {
        let all = found(&["owners/", "sessions/", "promotions/"]).await;
        assert_eq!([all[0].state, all[1].state], [FindingState::Ok, FindingState::Ok], "{all:?}");
        assert!(all[1].subject.contains("owners/, sessions/, promotions/"), "{all:?}");
        let some = found(&["owners/"]).await;
        assert_eq!(some[1].state, FindingState::Warning, "{some:?}");
        assert!(some[1].detail.starts_with("sessions/, promotions/ can be written"), "{some:?}");
    }

    #[tokio::test]
    async fn a_ledger_that_can_only_be_read_would_fail_on_the_day() {
        assert_eq!(found(&["checks/"]).await[0].state, FindingState::Problem);
    }

    #[tokio::test]
    async fn a_login_that_is_not_accepted_is_not_taken_for_a_right_that_is_withheld() {
        let (store, ledger) = bucket(&[]).await;
        store.refuse(Some(401));
        assert_eq!(withheld(&ledger, "ledger").await.state, FindingState::Unknown);
        let found = records(&ledger, "ledger").await;
        assert!(found[0].detail.contains("does not accept our login"), "{found:?}");
        assert!(!found[0].remedy.as_ref().unwrap().contains("role"), "{found:?}");
    }

    #[tokio::test]
    async fn a_bucket_where_the_ladder_begins_is_warned_of_and_one_that_hides_its_place_too() {
        let (store, ledger) = bucket(&[]).await;
        let states = async |first| place(&ledger, "ledger", first).await;
        assert_eq!(states("us-central1").await.state, FindingState::Ok);
        assert_eq!(states("us-east1").await.state, FindingState::Warning);
        store.place("EU");
        assert_eq!(states("us-east1").await.state, FindingState::Ok);
        store.refuse(Some(403));
        let hidden = states("us-east1").await;
        assert_eq!(hidden.state, FindingState::Warning);
        assert!(hidden.remedy.unwrap().contains("legacyBucketReader"));
    }
}
