//! Alerts in: how many a second are on the disk, and whether they are still there after kill -9.

use std::{
    fs,
    io::Write as _,
    path::Path,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use failover::{
    adapters::{http, ledger_sqlite::LedgerSqlite},
    ports::Ledger,
};

use super::{row, usage, watcher};

/// 64 connections, every request a new alert; then kill -9, and everything that was acknowledged is there.
pub(super) async fn webhook() {
    let folder = tempfile::tempdir().unwrap();
    let bare = fsync_cost(folder.path());
    let (mut watcher, url, _) = watcher::serve(folder.path(), |port| watcher::config(folder.path(), port, 10)).await;
    let (connections, each) = (64, 300);
    let since = Instant::now();
    let tasks = (0..connections).map(|connection| {
        let url = format!("{url}/webhook/alertmanager");
        tokio::spawn(async move {
            let client = http::client(Duration::from_secs(30)).unwrap();
            let mut took = Vec::with_capacity(each);
            for number in 0..each {
                let body = watcher::message(&format!("eth-{}", connection % 10), connection * each + number);
                let since = Instant::now();
                let answer = client.post(&url).header("content-type", "application/json").body(body).send().await;
                assert_eq!(answer.unwrap().status(), 200);
                took.push(since.elapsed());
            }
            took
        })
    });
    let mut took = Vec::new();
    for task in tasks.collect::<Vec<_>>() {
        took.extend(task.await.unwrap());
    }
    let rate = took.len() as f64 / since.elapsed().as_secs_f64();
    watcher.0.kill().unwrap();
    watcher.0.wait().unwrap();
    took.sort();
    let ledger: Arc<dyn Ledger> = Arc::new(LedgerSqlite::open(&folder.path().join("ledger.sqlite")).unwrap());
    let kept = ledger.list("alerts/", None).await.unwrap().len();
    assert_eq!(kept, took.len(), "everything that was acknowledged survives kill -9");
    row("one fsync on this disk", &format!("{:.2} ms", bare.as_secs_f64() * 1e3), "");
    row("webhook: durable acknowledgements a second", &format!("{rate:.0}"), ">= 5 000 at 0.1 ms");
    let millis = |at: usize| format!("{:.1} ms", took[took.len() * at / 100].as_secs_f64() * 1e3);
    row("webhook: p50 / p99", &format!("{} / {}", millis(50), millis(99)), "");
    row("webhook: kept after kill -9", &format!("{kept} of {}", took.len()), "all");
}

/// A storm: one message of 10 000 new alerts, as Alertmanager sends a group.
pub(super) async fn storm() {
    let folder = tempfile::tempdir().unwrap();
    let (watcher, url, _) = watcher::serve(folder.path(), |port| watcher::config(folder.path(), port, 10)).await;
    let since = Instant::now();
    post(&url, watcher::message_of(10, 0..10_000)).await;
    row("webhook: one message of 10 000 new alerts", &seconds(since.elapsed()), "< 10 s");
    let since = Instant::now();
    post(&url, watcher::message_of(10, 0..10_000)).await;
    row("webhook: the same again", &seconds(since.elapsed()), "");
    row("webhook: resident at most meanwhile", &format!("{:.1} MB", usage::resident(watcher.0.id()).1), "<= 64 MB");
}

/// A start over a ledger with 100 000 alerts: how long until the first message is taken, and what it reads afterwards.
pub(super) async fn restart() {
    let folder = tempfile::tempdir().unwrap();
    let config = |port| watcher::config(folder.path(), port, 10);
    let (mut before, url, _) = watcher::serve(folder.path(), config).await;
    let many = 100_000;
    for first in (0..many).step_by(10_000) {
        post(&url, watcher::message_of(10, first..first + 10_000)).await;
    }
    // A clean stop: waiting for the lease of one that was killed has nothing to do with alerts.
    assert!(Command::new("kill").arg(before.0.id().to_string()).status().unwrap().success());
    before.0.wait().unwrap();
    let since = Instant::now();
    let (watcher, url, _) = watcher::serve(folder.path(), config).await;
    post(&url, watcher::message_of(10, many..many + 1)).await;
    row("start with 100 000 alerts to the first message taken", &seconds(since.elapsed()), "< 2 s");
    row("the same: resident at most", &format!("{:.1} MB", usage::resident(watcher.0.id()).1), "<= 64 MB");
}

async fn post(url: &str, body: String) {
    let client = http::client(Duration::from_secs(300)).unwrap();
    let request = client.post(format!("{url}/webhook/alertmanager")).header("content-type", "application/json");
    let answer = request.body(body).send().await.unwrap();
    assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
}

fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}

fn fsync_cost(folder: &Path) -> Duration {
    let mut file = fs::File::create(folder.join("fsync")).unwrap();
    let times = 100;
    let since = Instant::now();
    for _ in 0..times {
        file.write_all(&[0; 4096]).unwrap();
        file.sync_data().unwrap();
    }
    since.elapsed() / times
}
