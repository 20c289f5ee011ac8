//! Alerts in: how many a second are on the disk, and whether they are still there after kill -9.

use std::{
    fs,
    io::Write as _,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use failover::{
    adapters::{http, ledger_sqlite::LedgerSqlite},
    ports::Ledger,
};

use super::{row, watcher};

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
