//! The bucket's adapter against a real server of the same API.

use std::{
    net::TcpListener,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use failover::{
    adapters::ledger_gcs::{GcsConfig, LedgerGcs},
    ports::{Ledger, LedgerError},
};
use google_cloud_auth::credentials::anonymous;

use crate::parts::part;

#[path = "../common/ledger_suite.rs"]
mod suite;

/// Ends with the test.
pub struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub async fn start() -> (Server, String) {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    // It ends with this test, however that ends.
    let child = Command::new("setpriv")
        .args(["--pdeathsig", "KILL"])
        .arg(part("fake-gcs-server").join("fake-gcs-server"))
        .args(["-scheme", "http", "-host", "127.0.0.1", "-backend", "memory", "-port", &port.to_string()])
        .args(["-public-host", &format!("127.0.0.1:{port}")])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (server, url) = (Server(child), format!("http://127.0.0.1:{port}"));
    let client = failover::adapters::http::client(Duration::from_secs(5)).unwrap();
    // It is ready when it takes the bucket.
    for _ in 0..200 {
        let made = client.post(format!("{url}/storage/v1/b?project=p")).json(&serde_json::json!({"name": "ledger"}));
        if made.send().await.is_ok_and(|answer| answer.status().is_success()) {
            return (server, url);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("fake-gcs-server did not start");
}

pub fn ledger(url: &str, bucket: &str) -> LedgerGcs {
    LedgerGcs::new(GcsConfig {
        endpoint: Some(url.parse().unwrap()),
        bucket: bucket.into(),
        prefix: "home/".into(),
        login: std::sync::Arc::new(anonymous::Builder::new().build()),
        timeout: Duration::from_secs(10),
    })
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bucket_keeps_the_contract_on_a_real_server() {
    let (_server, url) = start().await;
    suite::run(Arc::new(ledger(&url, "ledger")), false).await;
}

#[tokio::test]
async fn a_bucket_that_does_not_exist_is_unusable_and_says_what_to_do() {
    let (_server, url) = start().await;
    let listed = ledger(&url, "nobodys").list("validators/", None).await;
    assert!(matches!(&listed, Err(LedgerError::Unusable(why)) if why.contains("bucket")), "{listed:?}");
}
