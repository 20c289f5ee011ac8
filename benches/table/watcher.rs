//! The real program as a process of its own.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use failover::adapters::http;

/// Ends when dropped.
pub(super) struct Watcher(pub(super) Child);

impl Drop for Watcher {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(super) fn config(folder: &Path, port: u16, validators: usize) -> String {
    let mut text = format!(
        "site: bench\nledger: {{sqlite: {{path: {}/ledger.sqlite}}}}\nhttp: {{listen: '127.0.0.1:{port}'}}\n\
         alertmanager: {{auth: none}}\nvalidators:\n",
        folder.display()
    );
    for number in 0..validators {
        text += &format!(
            "  - {{name: eth-{number}, kind: ethereum, public_keys: ['0x{number:096x}'], \
             alerts: [{{matchers: '{{validator=\"eth-{number}\"}}', evidence: process}}]}}\n"
        );
    }
    text
}

/// Starts it, and says how long it took until it was ready.
pub(super) async fn serve(folder: &Path, config: impl FnOnce(u16) -> String) -> (Watcher, String, Duration) {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let file = folder.join("failover.yaml");
    fs::write(&file, config(port)).unwrap();
    let client = http::client(Duration::from_secs(5)).unwrap();
    let since = Instant::now();
    let child = Command::new(env!("CARGO_BIN_EXE_failover"))
        .args(["serve", "--config"])
        .arg(&file)
        .env("RUST_LOG", "error")
        .stderr(fs::File::create(folder.join("log")).unwrap())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let (watcher, url) = (Watcher(child), format!("http://127.0.0.1:{port}"));
    for _ in 0..2000 {
        if client.get(format!("{url}/readyz")).send().await.is_ok_and(|answer| answer.status().is_success()) {
            return (watcher, url, since.elapsed());
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    panic!("not ready: {}", fs::read_to_string(folder.join("log")).unwrap());
}

/// A new alert for a validator.
pub(super) fn message(validator: &str, number: usize) -> String {
    around(&alert(validator, number))
}

/// One message of many alerts, for so many validators in turn.
pub(super) fn message_of(validators: usize, numbers: std::ops::Range<usize>) -> String {
    let alerts: Vec<_> = numbers.map(|number| alert(&format!("eth-{}", number % validators), number)).collect();
    around(&alerts.join(","))
}

fn around(alerts: &str) -> String {
    format!(r#"{{"version":"4","status":"firing","alerts":[{alerts}]}}"#)
}

fn alert(validator: &str, number: usize) -> String {
    format!(
        r#"{{"status":"firing","labels":{{"alertname":"A","validator":"{validator}"}},"annotations":{{}},"startsAt":"2026-01-01T00:00:00Z","endsAt":"0001-01-01T00:00:00Z","fingerprint":"{number:016x}"}}"#
    )
}
