//! The real program on a copy of a ledger, beside the one that uses the original, with one cloud; and two sites with one
//! name for their validator in one project. No ready machine is lost and no second one kept, and people are notified.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use failover::{
    adapters::{
        http,
        ledger_gcs::{GcsConfig, LedgerGcs},
    },
    domain::Time,
    ports::{Expect, Ledger as _},
    runtime::status::Status,
    sandbox::{
        home::FakeAlertmanager,
        object_store::FakeObjectStore,
        stage::{OURS, Pace, Stage},
    },
};

const PATIENCE: Duration = Duration::from_secs(60);
const TOKEN: &str = "sandbox-token";

/// A second watcher on the stage of the first, with a configuration that differs.
struct Second {
    child: Child,
    url: String,
    log: PathBuf,
    alertmanager: FakeAlertmanager,
    watchdog: tokio::task::JoinHandle<()>,
}

impl Drop for Second {
    fn drop(&mut self) {
        self.watchdog.abort();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Second {
    fn start(stage: &Stage, change: impl FnOnce(String) -> String) -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let url = format!("http://127.0.0.1:{port}");
        let config = fs::read_to_string(stage.config_path()).unwrap();
        let address = |url: &str| url.strip_prefix("http://").unwrap().to_owned();
        let config = change(config.replace(&address(&stage.watcher_url), &address(&url)));
        let path = stage.config_path().with_file_name("second.yaml");
        fs::write(&path, config).unwrap();
        let log = path.with_file_name("second.log");
        let child = Command::new(env!("CARGO_BIN_EXE_failover"))
            .args(["sandbox", "--watcher"])
            .arg(path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let alertmanager = FakeAlertmanager::new(format!("{url}/webhook/alertmanager"), TOKEN.into()).unwrap();
        let (watchdog, since) = (alertmanager.clone(), Time::now());
        let watchdog = tokio::spawn(async move {
            loop {
                watchdog.send("Watchdog", "", since, None).await;
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        Self { child, url, log, alertmanager, watchdog }
    }

    async fn until(&self, what: &str, wanted: impl Fn(&Status) -> bool) -> Status {
        let client = http::client(Duration::from_secs(2)).unwrap();
        let until = tokio::time::Instant::now() + PATIENCE;
        loop {
            let answer = client.get(format!("{}/api/v1/status", self.url)).send().await;
            let status = match answer {
                Ok(answer) => answer.json::<Status>().await.ok(),
                Err(_) => None,
            };
            if let Some(status) = status.as_ref().filter(|status| status.holds_lease && wanted(status)) {
                return status.clone();
            }
            let log = || fs::read_to_string(&self.log).unwrap();
            assert!(tokio::time::Instant::now() < until, "waited in vain until {what}: {status:#?}\n{}", log());
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }
}

async fn build(bucket: bool) -> Stage {
    let pace = Pace { bucket, ..Pace::quick() };
    Stage::build(Path::new(env!("CARGO_BIN_EXE_failover")), &pace).await.unwrap()
}

fn phase(status: &Status) -> &str {
    &status.validators[0].phase
}

/// Both houses' Alertmanagers say so, as they do: again and again.
async fn outage(stage: &Stage, second: &Second) -> tokio::task::JoinHandle<()> {
    stage.home.unplug().await;
    stage.chain.set_attesting(OURS, false);
    let (first, second, since) = (stage.alertmanager.clone(), second.alertmanager.clone(), Time::now());
    tokio::spawn(async move {
        loop {
            tokio::join!(
                first.send("ValidatorDown", "eth-0", since, None),
                second.send("ValidatorDown", "eth-0", since, None)
            );
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    })
}

fn names(stage: &Stage) -> Vec<String> {
    stage.cloud.machines().iter().map(|machine| machine.name.clone()).collect()
}

fn standby(status: &Status) -> Option<String> {
    status.validators[0].standby.as_ref().map(|standby| standby.instance.name.clone())
}

/// Both are ready, on one and the same machine, and it stays so over several lists of both.
async fn one_machine_serves_both(stage: &Stage, second: &Second) -> String {
    let wanted = |status: &Status| phase(status) == "ready";
    stage.until("the first has a ready standby", PATIENCE, wanted).await.unwrap();
    second.until("the second has a ready standby", wanted).await;
    let until = tokio::time::Instant::now() + PATIENCE;
    while names(stage).len() != 1 {
        assert!(tokio::time::Instant::now() < until, "a second machine is kept: {:?}\n{}", names(stage), second.log());
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
    let kept = names(stage).remove(0);
    let lists = || stage.cloud.log().iter().filter(|line| line.path.contains("/aggregated/instances")).count();
    let enough = lists() + 8;
    while lists() < enough {
        assert_eq!(names(stage), std::slice::from_ref(&kept), "it is neither lost nor doubled");
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
    let same = |status: &Status| phase(status) == "ready" && standby(status).as_deref() == Some(kept.as_str());
    stage.until("the first follows it", PATIENCE, same).await.unwrap();
    second.until("the second follows it", same).await;
    kept
}

async fn people_were_notified(stage: &Stage, second: &Second) {
    second
        .until("it says that it is a copy", |status| status.warnings.iter().any(|line| line.contains("new id")))
        .await;
    let until = tokio::time::Instant::now() + PATIENCE;
    loop {
        let mails = stage.mail.mails();
        let subjects: Vec<&str> = mails.iter().map(|mail| mail.subject()).collect();
        if subjects.iter().any(|subject| subject.contains("the ledger needs you: this ledger has a new id")) {
            return;
        }
        assert!(tokio::time::Instant::now() < until, "{subjects:#?}");
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
}

fn copy_file(stage: &Stage) {
    let folder = stage.config_path().parent().unwrap().to_owned();
    for name in ["ledger.sqlite", "ledger.sqlite-wal"] {
        let from = folder.join(name);
        if from.exists() {
            fs::copy(from, folder.join(name.replace("ledger", "copy"))).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_watchers_on_two_copies_of_a_file_end_with_one_machine() {
    let mut stage = build(false).await;
    stage.start_watcher().unwrap();
    stage.until("it watches", PATIENCE, |status| phase(status) == "watching").await.unwrap();
    stage.kill_watcher();
    copy_file(&stage);
    stage.start_watcher().unwrap();
    let second = Second::start(&stage, |config| config.replace("ledger.sqlite", "copy.sqlite"));
    stage.until("it watches again", PATIENCE, |status| phase(status) == "watching").await.unwrap();
    second.until("the copy is watched with", |status| phase(status) == "watching").await;
    let alerting = outage(&stage, &second).await;
    one_machine_serves_both(&stage, &second).await;
    people_were_notified(&stage, &second).await;
    alerting.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_copied_in_an_incident_brings_no_second_machine() {
    let mut stage = build(false).await;
    stage.start_watcher().unwrap();
    stage.until("it watches", PATIENCE, |status| phase(status) == "watching").await.unwrap();
    let idle = Second::start(&stage, |config| config.replace("ledger.sqlite", "other.sqlite"));
    let alerting = outage(&stage, &idle).await;
    drop(idle);
    stage.until("a standby is ready", PATIENCE, |status| phase(status) == "ready").await.unwrap();
    let (before, inserts) = (names(&stage), stage.cloud.inserts());
    // While it runs, with its log: what a backup of the folder has.
    copy_file(&stage);
    let second = Second::start(&stage, |config| config.replace("ledger.sqlite", "copy.sqlite"));
    one_machine_serves_both(&stage, &second).await;
    assert_eq!((names(&stage), stage.cloud.inserts()), (before, inserts), "nothing was created or replaced");
    people_were_notified(&stage, &second).await;
    alerting.abort();
}

async fn copy_bucket(from: &FakeObjectStore, to: &FakeObjectStore) {
    let open = |store: &FakeObjectStore| {
        LedgerGcs::new(GcsConfig {
            endpoint: Some(store.url().parse().unwrap()),
            bucket: "ledger".into(),
            prefix: String::new(),
            login: std::sync::Arc::new(google_cloud_auth::credentials::anonymous::Builder::new().build()),
            timeout: Duration::from_secs(5),
        })
        .unwrap()
    };
    let (from, to) = (open(from), open(to));
    for key in from.list("", None).await.unwrap() {
        let bytes = from.get(&key).await.unwrap().unwrap().bytes;
        to.put(&key, bytes, Expect::Absent).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_watchers_on_two_copies_of_a_bucket_end_with_one_machine() {
    let mut stage = build(true).await;
    stage.start_watcher().unwrap();
    stage.until("it watches", PATIENCE, |status| phase(status) == "watching").await.unwrap();
    stage.kill_watcher();
    let copy = FakeObjectStore::start().await.unwrap();
    let original = stage.bucket.as_ref().unwrap();
    copy_bucket(original, &copy).await;
    let (from, to) = (original.url().to_owned(), copy.url().to_owned());
    stage.start_watcher().unwrap();
    let second = Second::start(&stage, |config| config.replace(&from, &to));
    stage.until("it watches again", PATIENCE, |status| phase(status) == "watching").await.unwrap();
    second.until("the copy is watched with", |status| phase(status) == "watching").await;
    let alerting = outage(&stage, &second).await;
    one_machine_serves_both(&stage, &second).await;
    people_were_notified(&stage, &second).await;
    alerting.abort();
}

/// Each has a standby of its own, sees no other, and takes away no other.
#[tokio::test(flavor = "multi_thread")]
async fn two_sites_with_one_name_for_their_validator_do_not_touch_each_other() {
    let mut stage = build(false).await;
    stage.start_watcher().unwrap();
    let second = Second::start(&stage, |config| {
        config.replace("ledger.sqlite", "other.sqlite").replace("site: sandbox", "site: cellar")
    });
    stage.until("it watches", PATIENCE, |status| phase(status) == "watching").await.unwrap();
    second.until("the other site is watched", |status| phase(status) == "watching").await;
    let alerting = outage(&stage, &second).await;
    let ready = |status: &Status| phase(status) == "ready";
    let first_is = standby(&stage.until("one is ready", PATIENCE, ready).await.unwrap());
    let second_is = standby(&second.until("the other is ready", ready).await);
    assert_ne!(first_is, second_is);
    let lists = || stage.cloud.log().iter().filter(|line| line.path.contains("/aggregated/instances")).count();
    let enough = lists() + 8;
    while lists() < enough {
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
    assert_eq!((names(&stage).len(), stage.cloud.inserts()), (2, 2));
    // The first site ends its incident: the other's machine stays.
    let closed = stage.run(&["close", "eth-0", "--reason", "it is repaired"]).await.unwrap();
    assert!(closed.status.success(), "{closed:?}");
    stage.until("it is over", PATIENCE, |status| status.validators[0].incident.is_none()).await.unwrap();
    assert_eq!(names(&stage), [second_is.clone().unwrap()]);
    assert_eq!(standby(&second.until("the other is ready still", ready).await), second_is);
    let mails = stage.mail.mails();
    let orphans = mails.iter().filter(|mail| mail.subject().contains("no incident claims")).count();
    assert_eq!(orphans, 0, "what is another site's is nobody's question");
    alerting.abort();
}
