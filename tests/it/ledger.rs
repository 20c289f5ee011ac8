//! The ledger's adapters: the suite that every one of them runs, processes that are killed, files that are no ledger.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader, Write as _},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use failover::{
    adapters::{
        ledger_gcs::{GcsConfig, LedgerGcs},
        ledger_sqlite::LedgerSqlite,
    },
    domain::Span,
    ports::{Expect, Ledger, LedgerError, PutError},
    sandbox::object_store::{FakeObjectStore, Fault},
};
use google_cloud_auth::credentials::anonymous;

use crate::support::memory_ledger::{Fault as Lost, MemoryLedger};

#[path = "../common/ledger_suite.rs"]
mod suite;

fn gcs(url: &str) -> LedgerGcs {
    LedgerGcs::new(GcsConfig {
        endpoint: Some(url.parse().unwrap()),
        bucket: "ledger".into(),
        prefix: "home/".into(),
        login: std::sync::Arc::new(anonymous::Builder::new().build()),
        timeout: Duration::from_secs(10),
    })
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    suite::run(Arc::new(LedgerSqlite::open(&folder.path().join("ledger")).unwrap()), true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bucket_keeps_the_contract() {
    let store = FakeObjectStore::start().await.unwrap();
    suite::run(Arc::new(gcs(store.url())), true).await;
    assert!(store.dump().keys().all(|name| name.starts_with("home/")), "everything is under the prefix");
}

#[tokio::test]
async fn a_put_whose_reply_is_lost_is_an_unknown_outcome_and_reading_tells() {
    let store = FakeObjectStore::start().await.unwrap();
    let ledger = gcs(store.url());
    store.script([Fault::LoseReply, Fault::Unavailable, Fault::Busy]);
    let lost = ledger.put("k", b"one".to_vec(), Expect::Absent).await;
    assert!(matches!(lost, Err(PutError::UnknownOutcome(_))), "{lost:?}");
    assert_eq!(ledger.get("k").await.unwrap().unwrap().bytes, b"one", "it had happened");
    let unavailable = ledger.put("k2", b"x".to_vec(), Expect::Absent).await;
    assert!(matches!(unavailable, Err(PutError::UnknownOutcome(_))), "a server error may come after the change");
    let busy = ledger.put("k2", b"x".to_vec(), Expect::Absent).await;
    assert!(matches!(busy, Err(PutError::Failed(LedgerError::Unavailable(_)))), "429 is before the change");
    assert_eq!(ledger.get("k2").await.unwrap(), None);
}

#[tokio::test]
async fn a_write_knows_its_own_although_the_reply_was_lost() {
    let memory = Arc::new(MemoryLedger::default());
    let ledger: Arc<dyn Ledger> = memory.clone();
    let write = |text: &'static str, expect| ledger.write("k", text.into(), expect);
    memory.script([Lost::LostRequest, Lost::LostReply]);
    let lost = write("one", Expect::Absent).await;
    assert!(matches!(lost, Err(PutError::Conflict { found: None })), "{lost:?}");
    let first = write("one", Expect::Absent).await.unwrap();
    assert_eq!(memory.get("k").await.unwrap().unwrap().version, first);

    memory.script([Lost::LostRequest, Lost::LostReply]);
    let lost = write("two", Expect::Version(first.clone())).await;
    assert!(matches!(lost, Err(PutError::Conflict { found: Some(found) }) if found.version == first));
    memory.fail_reads(true);
    let unread = write("two", Expect::Version(first.clone())).await;
    assert!(matches!(unread, Err(PutError::UnknownOutcome(_))), "{unread:?}");
    memory.fail_reads(false);
    // It has arrived, so the next try is refused, and is found to be ours.
    let second = write("two", Expect::Version(first.clone())).await.unwrap();
    let theirs = write("three", Expect::Version(first)).await;
    assert!(matches!(theirs, Err(PutError::Conflict { found: Some(found) }) if found.version == second));
}

#[tokio::test]
async fn the_bucket_says_how_old_a_record_is_and_never_too_old() {
    let store = FakeObjectStore::start().await.unwrap();
    let ledger = gcs(store.url());
    let first = ledger.put("k", b"one".to_vec(), Expect::Absent).await.unwrap();
    store.age("home/k", Span::from_secs(100));
    let age = ledger.age("k", &first).await.unwrap().unwrap();
    // `Date` has whole seconds, and two seconds are kept for clocks that are apart.
    assert!(age > Span::from_secs(95) && age <= Span::from_secs(99), "{age:?}");
    let second = ledger.put("k", b"two".to_vec(), Expect::Version(first.clone())).await.unwrap();
    assert_eq!(ledger.age("k", &first).await.unwrap(), None, "it is another version by now");
    assert_eq!(ledger.age("k", &second).await.unwrap(), Some(Span::ZERO));
}

#[tokio::test]
async fn a_bucket_that_cannot_be_reached_is_not_available() {
    let url = {
        let store = FakeObjectStore::start().await.unwrap();
        store.url().to_owned()
    };
    // Dropping the server frees its port; until it does, the connection is refused or reset.
    let put = gcs(&url).put("k", b"x".to_vec(), Expect::Absent).await;
    assert!(matches!(put, Err(PutError::Failed(LedgerError::Unavailable(_)) | PutError::UnknownOutcome(_))), "{put:?}");
}

// ------------------------------------------------------------------------------------------- several processes

const CHILD: &str = "FAILOVER_TEST_LEDGER";

/// This test binary again, doing what a test named `child_…` does.
fn child(test: &str, ledger: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([&format!("ledger::{test}"), "--exact", "--nocapture", "--test-threads=1"])
        .env(CHILD, ledger)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

#[tokio::test]
async fn child_counts() {
    let Some(path) = std::env::var_os(CHILD) else { return };
    suite::count(&LedgerSqlite::open(path.as_ref()).unwrap(), "counter", 50).await;
}

#[tokio::test]
async fn child_writes_until_killed() {
    let Some(path) = std::env::var_os(CHILD) else { return };
    let ledger = Arc::new(LedgerSqlite::open(path.as_ref()).unwrap());
    let writers = (0..4).map(|writer| {
        let ledger = ledger.clone();
        tokio::spawn(async move {
            for number in 0.. {
                let key = format!("k/{writer}/{number}");
                ledger.put(&key, b"x".to_vec(), Expect::Absent).await.unwrap();
                writeln!(std::io::stdout(), "put {key}").unwrap();
            }
        })
    });
    futures::future::join_all(writers.collect::<Vec<_>>()).await;
}

#[tokio::test]
async fn of_several_processes_none_loses_a_count() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger");
    let ledger = LedgerSqlite::open(&path).unwrap();
    ledger.put("counter", b"0".to_vec(), Expect::Absent).await.unwrap();
    let children: Vec<Child> = (0..3).map(|_| child("child_counts", &path)).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(ledger.get("counter").await.unwrap().unwrap().bytes, b"150");
}

#[tokio::test]
async fn what_was_acknowledged_survives_kill_9() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger");
    for enough in [20, 200, 1000] {
        let mut writer = child("child_writes_until_killed", &path);
        let mut acknowledged = BTreeSet::new();
        for line in BufReader::new(writer.stdout.take().unwrap()).lines() {
            // What was printed before the kill and not yet read counts as well.
            if let Some((_, key)) = line.unwrap().split_once("put ") {
                acknowledged.insert(key.to_owned());
            }
            if acknowledged.len() == enough {
                writer.kill().unwrap();
            }
        }
        writer.wait().unwrap();
        let ledger = LedgerSqlite::open(&path).unwrap();
        let kept: BTreeSet<String> = ledger.list("k/", None).await.unwrap().into_iter().collect();
        // The last line may be cut off in the middle of a key.
        let lost = acknowledged.difference(&kept).count();
        assert!(lost <= 1 && acknowledged.len() >= enough, "{lost} of {} are lost", acknowledged.len());
        for key in &kept {
            let stored = ledger.get(key).await.unwrap().unwrap();
            ledger.remove(key, &stored.version).await.unwrap();
        }
    }
}

// ------------------------------------------------------------------------------------------- bad files

fn why(path: &Path) -> String {
    match LedgerSqlite::open(path) {
        Err(LedgerError::Unusable(why)) => why,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("{} was opened", path.display()),
    }
}

#[test]
fn a_folder_is_no_ledger() {
    let folder = tempfile::tempdir().unwrap();
    assert!(why(folder.path()).contains("is a folder"));
}

#[test]
fn a_missing_folder_is_named() {
    assert!(why(Path::new("/nonexistent/ledger")).contains("does its folder exist"));
}

#[test]
fn a_damaged_file_is_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger");
    let bytes = b"this is not a database, it is a text that somebody has put here by mistake, and it is long enough";
    fs::write(&path, bytes).unwrap();
    assert!(why(&path).contains("damaged or no ledger"), "{}", why(&path));
    assert_eq!(fs::read(&path).unwrap(), bytes);
}

#[test]
fn another_programs_database_is_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger");
    rusqlite::Connection::open(&path).unwrap().execute_batch("CREATE TABLE theirs (x)").unwrap();
    let before = fs::read(&path).unwrap();
    assert!(why(&path).contains("another program's database"), "{}", why(&path));
    assert_eq!(fs::read(&path).unwrap().len(), before.len());
}

#[test]
fn a_newer_ledger_asks_for_a_newer_failover() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger");
    drop(LedgerSqlite::open(&path).unwrap());
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.pragma_update(None, "user_version", 2).unwrap();
    drop(connection);
    assert!(why(&path).contains("upgrade failover"), "{}", why(&path));
}
