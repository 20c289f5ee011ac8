//! The real program, with one bit of its ledger flipped while a standby is ready.

use std::{fs, path::Path, time::Duration};

use failover::{
    adapters::ledger_gcs::{GcsConfig, LedgerGcs},
    domain::Time,
    ports::{Expect, Ledger as _},
    sandbox::stage::{OURS, Pace, Stage},
};
use google_cloud_auth::credentials::anonymous;
use rusqlite::Connection;

const PATIENCE: Duration = Duration::from_secs(60);
const RECORD: &str = "validators/eth-0";

fn open(stage: &Stage) -> Connection {
    let connection = Connection::open(stage.config_path().with_file_name("ledger.sqlite")).unwrap();
    connection.busy_timeout(Duration::from_secs(5)).unwrap();
    connection
}

fn bytes(connection: &Connection, key: &str) -> Vec<u8> {
    connection.query_row("SELECT bytes FROM records WHERE key = ?1", [key], |row| row.get(0)).unwrap()
}

/// As a disk does it: the bytes are others, and nothing else is.
fn flip(connection: &Connection, key: &str, bit: usize) {
    let mut bytes = bytes(connection, key);
    let bit = bit % (bytes.len() * 8);
    bytes[bit / 8] ^= 1 << (bit % 8);
    assert_eq!(connection.execute("UPDATE records SET bytes = ?1 WHERE key = ?2", (bytes, key)).unwrap(), 1);
}

async fn ready() -> (Stage, tokio::task::JoinHandle<()>) {
    ready_on(false).await
}

/// A watcher whose standby is ready, and an Alertmanager that repeats the alert.
async fn ready_on(bucket: bool) -> (Stage, tokio::task::JoinHandle<()>) {
    let pace = Pace { bucket, ..Pace::quick() };
    let mut stage = Stage::build(Path::new(env!("CARGO_BIN_EXE_failover")), &pace).await.unwrap();
    stage.start_watcher().unwrap();
    stage.until("it watches", PATIENCE, |status| status.validators[0].phase == "watching").await.unwrap();
    stage.home.unplug().await;
    stage.chain.set_attesting(OURS, false);
    let (alertmanager, since) = (stage.alertmanager.clone(), Time::now());
    let alerting = tokio::spawn(async move {
        loop {
            alertmanager.send("ValidatorDown", "eth-0", since, None).await;
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    });
    stage.until("a standby is ready", PATIENCE, |status| status.validators[0].phase == "ready").await.unwrap();
    (stage, alerting)
}

async fn mailed(stage: &Stage, wanted: &str) {
    let until = tokio::time::Instant::now() + PATIENCE;
    loop {
        let subjects: Vec<String> = stage.mail.mails().iter().map(|mail| mail.subject().to_owned()).collect();
        if subjects.iter().any(|subject| subject.contains(wanted)) {
            return;
        }
        assert!(tokio::time::Instant::now() < until, "{subjects:#?}");
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
}

fn machines(stage: &Stage) -> Vec<String> {
    stage.cloud.machines().iter().map(|machine| machine.name.clone()).collect()
}

/// `failover ledger …`: how it ended and what it printed.
async fn ledger(stage: &Stage, arguments: &[&str]) -> (i32, String) {
    let ended = stage.run(&[&["ledger"], arguments].concat()).await.unwrap();
    let text = String::from_utf8(ended.stdout).unwrap() + &String::from_utf8(ended.stderr).unwrap();
    (ended.status.code().unwrap(), text)
}

/// In the incident's id, in a number, in the middle and in the checksum: it is not known what there was, so nothing is
/// done; and what the mail says to do helps, while the watcher runs.
#[tokio::test(flavor = "multi_thread")]
async fn a_bit_flipped_while_it_is_stopped_is_mailed_and_nothing_is_done_until_somebody_has_looked() {
    let (mut stage, alerting) = ready().await;
    let before = machines(&stage);
    assert_eq!(ledger(&stage, &["verify"]).await.0, 0, "while it runs: {:?}", ledger(&stage, &["verify"]).await);
    stage.kill_watcher();
    flip(&open(&stage), RECORD, 8 * 301);
    let (code, text) = ledger(&stage, &["verify"]).await;
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("PROBLEM  validators/eth-0: cannot be read") && text.contains("ledger remove"), "{text}");
    stage.start_watcher().unwrap();
    let status = stage.until("it says so", PATIENCE, |status| !status.unreadable.is_empty()).await.unwrap();
    assert!(status.validators.is_empty() && status.unreadable[0].contains(RECORD), "{status:#?}");
    mailed(&stage, "the ledger needs you: the record validators/eth-0 cannot be read").await;
    assert_eq!(
        (machines(&stage), stage.cloud.inserts()),
        (before.clone(), 1),
        "nothing is created and nothing deleted"
    );
    let save = stage.config_path().with_file_name("saved.json").display().to_string();
    let damaged = bytes(&open(&stage), RECORD);
    let (code, text) = ledger(&stage, &["remove", RECORD, "--save", &save]).await;
    assert_eq!(code, 0, "{text}");
    assert_eq!(fs::read(&save).unwrap(), damaged);
    stage
        .until("it is ready again", PATIENCE, |status| {
            status.validators.first().is_some_and(|validator| validator.phase == "ready")
        })
        .await
        .unwrap();
    mailed(&stage, "there already").await;
    assert_eq!((machines(&stage), stage.cloud.inserts()), (before, 1), "the same machine serves");
    let (code, text) = ledger(&stage, &["remove", RECORD, "--save", "other.json"]).await;
    assert_eq!(code, 3, "what can be read stays: {text}");
    alerting.abort();
}

/// Nothing is read from it meanwhile, and its next change writes over it what it knows.
#[tokio::test(flavor = "multi_thread")]
async fn a_bit_flipped_in_a_file_while_it_runs_is_written_over_and_the_standby_stays() {
    let (stage, alerting) = ready().await;
    let before = machines(&stage);
    flip(&open(&stage), RECORD, 8 * 301);
    stage.home.plug_in().await.unwrap();
    stage.chain.set_attesting(OURS, true);
    alerting.abort();
    stage.until("it is over", PATIENCE, |status| status.validators[0].incident.is_none()).await.unwrap();
    assert_eq!((before.len(), machines(&stage).len(), stage.cloud.inserts()), (1, 0, 1), "as if nothing had been");
    let (code, text) = ledger(&stage, &["verify"]).await;
    assert_eq!(code, 0, "{text}");
}

/// Somebody else's write is never written over: it ceases to lead, reads all again, and leaves the rest to people.
#[tokio::test(flavor = "multi_thread")]
async fn a_bit_flipped_in_a_bucket_while_it_runs_is_reported_and_nothing_is_deleted() {
    let (stage, alerting) = ready_on(true).await;
    let before = machines(&stage);
    let bucket = LedgerGcs::new(GcsConfig {
        endpoint: Some(stage.bucket.as_ref().unwrap().url().parse().unwrap()),
        bucket: "ledger".into(),
        prefix: String::new(),
        login: std::sync::Arc::new(anonymous::Builder::new().build()),
        timeout: Duration::from_secs(5),
    })
    .unwrap();
    loop {
        let mut stored = bucket.get(RECORD).await.unwrap().unwrap();
        stored.bytes[301] ^= 1;
        if bucket.put(RECORD, stored.bytes, Expect::Version(stored.version)).await.is_ok() {
            break;
        }
    }
    stage.home.plug_in().await.unwrap();
    stage.chain.set_attesting(OURS, true);
    alerting.abort();
    stage.until("it says so", PATIENCE, |status| !status.unreadable.is_empty()).await.unwrap();
    mailed(&stage, "the ledger needs you: the record validators/eth-0 cannot be read").await;
    assert_eq!((machines(&stage), stage.cloud.inserts()), (before, 1));
    let (code, text) = ledger(&stage, &["verify"]).await;
    assert!(code == 1 && text.contains("PROBLEM  validators/eth-0"), "{text}");
}

/// What `verify` says to do is done to the letter, and then all is well. Nothing was believed, opened or closed meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn requests_alerts_evidence_and_the_journal_are_reported_and_each_remedy_helps() {
    let (mut stage, alerting) = ready().await;
    alerting.abort();
    let before = machines(&stage);
    stage
        .until("the chain was written down", PATIENCE, |_| {
            let count = "SELECT count(*) FROM records WHERE key LIKE 'chain/%'";
            open(&stage).query_row(count, [], |row| row.get::<_, i64>(0)).unwrap() == 2
        })
        .await
        .unwrap();
    stage.kill_watcher();
    let asked = stage.run(&["close", "eth-0", "--reason", "it was repaired", "--no-wait"]).await.unwrap();
    assert!(asked.status.success(), "{asked:?}");
    let connection = open(&stage);
    let first = |folder: &str| -> String {
        let first = "SELECT min(key) FROM records WHERE key LIKE ?1 || '/%'";
        connection.query_row(first, [folder], |row| row.get(0)).unwrap()
    };
    let damaged = ["alerts", "chain", "journal", "requests"].map(first);
    damaged.iter().for_each(|key| flip(&connection, key, 8 * 33 + 2));
    stage.start_watcher().unwrap();
    let reported = |status: &failover::runtime::status::Status| {
        let shown = [0, 1, 3].map(|kind| &damaged[kind]);
        shown.iter().all(|key| status.unreadable.iter().any(|why| why.contains(key.as_str())))
    };
    let status = stage.until("all are reported", PATIENCE, reported).await.unwrap();
    assert!(status.validators[0].incident.is_some(), "the request was not obeyed: {status:#?}");
    mailed(&stage, "the ledger needs you").await;
    let journal = stage.run(&["journal"]).await.unwrap();
    let (shown, left_out) = (String::from_utf8(journal.stdout).unwrap(), String::from_utf8(journal.stderr).unwrap());
    assert!(journal.status.success() && shown.contains("eth-0") && left_out.contains(&damaged[2]), "{shown}{left_out}");

    let verified = stage.run(&["ledger", "verify", "--json"]).await.unwrap();
    let code = verified.status.code();
    let verified: serde_json::Value = serde_json::from_slice(&verified.stdout).unwrap();
    let findings = verified["findings"].as_array().unwrap();
    assert_eq!((code, findings.len()), (Some(1), 4), "{verified:#}");
    for finding in findings {
        let remedy = finding["remedy"].as_str().unwrap();
        let command = remedy.split('`').nth(1).unwrap().replace('\'', "");
        let words: Vec<&str> = command.strip_prefix("failover ").unwrap().split(' ').collect();
        let folder = stage.config_path().parent().unwrap().display().to_string();
        let save = format!("{folder}/{}", words.last().unwrap());
        let words: Vec<&str> = words[..words.len() - 1].iter().copied().chain([save.as_str()]).collect();
        let done = stage.run(&words).await.unwrap();
        assert!(done.status.success(), "{command}: {done:?}");
    }
    let (code, text) = ledger(&stage, &["verify"]).await;
    assert_eq!(code, 0, "{text}");
    stage
        .until("nothing is left to report", PATIENCE, |status| {
            !status.unreadable.iter().any(|why| why.contains("requests/") || why.contains("chain/"))
        })
        .await
        .unwrap();
    assert_eq!((machines(&stage), stage.cloud.inserts()), (before, 1));
}

/// The ledger's own id and the lease are of this ledger and of this moment: both are replaced, and that is reported.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_id_and_a_damaged_lease_are_replaced_and_the_standby_stays() {
    let (mut stage, alerting) = ready().await;
    let before = machines(&stage);
    stage.kill_watcher();
    for key in ["ledger", "lease"] {
        flip(&open(&stage), key, 8 * 20 + 1);
    }
    let (code, text) = ledger(&stage, &["verify"]).await;
    assert!(code == 1 && text.contains("PROBLEM  ledger:") && text.contains("PROBLEM  lease:"), "{text}");
    stage.start_watcher().unwrap();
    let ready = |status: &failover::runtime::status::Status| status.validators[0].phase == "ready";
    let status = stage.until("it is ready", PATIENCE, ready).await.unwrap();
    assert!(status.warnings.iter().any(|line| line.contains("new id")), "{:?}", status.warnings);
    mailed(&stage, "the ledger needs you: this ledger has a new id").await;
    assert_eq!((machines(&stage), stage.cloud.inserts()), (before, 1));
    assert_eq!(ledger(&stage, &["verify"]).await.0, 0, "{:?}", ledger(&stage, &["verify"]).await);
    alerting.abort();
}
