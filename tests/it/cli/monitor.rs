//! The dead man's ping: only who watches may say that all is well.

use std::{
    collections::BTreeMap,
    fs,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, extract::Path, routing::get};

use super::rig::House;

type Calls = Arc<Mutex<BTreeMap<String, usize>>>;

/// An outside monitor that counts who calls.
async fn monitor() -> (String, Calls) {
    let calls = Calls::default();
    let counted = calls.clone();
    let count = move |Path(who): Path<String>| async move {
        *counted.lock().unwrap().entry(who).or_default() += 1;
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/{who}", get(count))).await });
    (url, calls)
}

async fn until(calls: &Calls, who: &str, times: usize) {
    let enough = async {
        while calls.lock().unwrap().get(who).copied().unwrap_or_default() < times {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), enough).await.expect("the monitor is called");
}

#[tokio::test]
async fn the_monitor_is_called_by_the_watcher_that_leads_and_by_no_other() {
    let (url, calls) = monitor().await;
    let house = House::new("");
    for who in ["first", "second"] {
        fs::write(house.folder.path().join(format!("{who}.ping")), format!("{url}/{who}")).unwrap();
    }
    let more = |who: &str| format!("monitor: {{ping_url_file: {who}.ping, every: 50ms}}\n");
    let first = house.serve_with("first", &more("first"));
    first.until("/readyz", 200).await;
    let second = house.serve_with("second", &more("second"));
    second.until("/healthz", 200).await;
    until(&calls, "first", 5).await;
    assert_eq!(calls.lock().unwrap().get("second"), None, "it does not know whether all is well");
    first.signal("-KILL");
    until(&calls, "second", 1).await;
}
