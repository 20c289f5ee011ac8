//! The whole path once, on real parts: a real validator client is killed, a real Alertmanager fires, a real beacon node
//! shows silence, and the real program asks the (fake) cloud for one machine through Google's own client.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use failover::{adapters::clock::SystemClock, domain::Span, sandbox::compute::FakeCompute};

use crate::{alertmanager::server::Alertmanager, chain::Devnet};

/// Ends with the test.
struct Watcher(Child);

impl Drop for Watcher {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn config(folder: &Path, port: u16, beacon: &str, keys: &[String], cloud: &str) -> String {
    let (folder, keys) = (folder.display(), keys.join(", "));
    format!(
        "site: devnet\nmode: armed\nledger: {{sqlite: {{path: {folder}/ledger.sqlite}}}}\n\
         http: {{listen: '127.0.0.1:{port}'}}\n\
         alertmanager: {{auth: {{bearer_file: {folder}/token}}}}\n\
         ethereum: {{beacon_nodes: [{{name: home, url: '{beacon}'}}]}}\n\
         validators:\n  - name: eth-0\n    kind: ethereum\n    public_keys: [{keys}]\n    \
         alerts: [{{matchers: '{{alertname=\"ValidatorDown\"}}', evidence: process}}]\n\
         policy: {{hold_down: 5s, lease: 3s, observe_every: 1s}}\n\
         compute:\n  project: devnet\n  endpoint: '{cloud}'\n  credentials: anonymous\n  \
         ladder: [{{zone: us-central1-a, machine_type: n2-standard-8}}]\n  disk: {{type: pd-balanced, size_gb: 100}}\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn from_a_killed_client_to_one_machine() {
    let devnet = Devnet::up();
    let keys: Vec<String> = devnet.our_keys().await.iter().map(|key| format!("\"{}\"", key.to_hex())).collect();
    let cloud = FakeCompute::start(&["us-central1-a"], Span::from_millis(200), Arc::new(SystemClock)).await.unwrap();
    let mut requests = cloud.subscribe();
    let folder = tempfile::tempdir().unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let file = folder.path().join("failover.yaml");
    fs::write(folder.path().join("token"), "s3cret").unwrap();
    fs::write(&file, config(folder.path(), port, &devnet.beacon(), &keys, cloud.url())).unwrap();
    let log = folder.path().join("log");
    let watcher = Command::new(env!("CARGO_BIN_EXE_failover"))
        .args(["serve", "--config"])
        .arg(&file)
        .stdout(Stdio::null())
        .stderr(fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let _watcher = Watcher(watcher);
    let url = format!("http://127.0.0.1:{port}");
    // While everything attests, nothing is asked of the cloud. An epoch has 24 s; the first whole one is the second.
    wait_for(&log, "the chain says up", &url, |status| status.contains(r#""verdict":"up""#)).await;
    assert!(cloud.log().is_empty(), "{:?}", cloud.log());

    let alertmanager = Alertmanager::start(&format!("{url}/webhook/alertmanager")).await;
    devnet.stop("ours");
    alertmanager.fire("ValidatorDown", &Alertmanager::now(), None).await;
    let insert = async {
        loop {
            let line = requests.recv().await.unwrap();
            if line.method == "POST" {
                return line;
            }
        }
    };
    // Two whole epochs at most until the chain says down, and the hold.
    let line = tokio::time::timeout(Duration::from_secs(150), insert).await;
    let line = line.unwrap_or_else(|_| panic!("no machine was asked for\n{}", fs::read_to_string(&log).unwrap()));
    assert!(line.path.contains("/zones/us-central1-a/instances"), "{line:?}");
    wait_for(&log, "it is followed", &url, |status| status.contains(r#""phase":"syncing""#)).await;
    assert_eq!(cloud.machines().len(), 1);
    assert_eq!(cloud.log().iter().filter(|line| line.method == "POST").count(), 1);
}

async fn wait_for(log: &Path, what: &str, url: &str, look: impl Fn(&str) -> bool) {
    let client = failover::adapters::http::client(Duration::from_secs(5)).unwrap();
    let wait = async {
        loop {
            let answer = client.get(format!("{url}/api/v1/status")).send().await;
            if let Ok(answer) = answer
                && let Ok(text) = answer.text().await
                && look(&text)
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    };
    if tokio::time::timeout(Duration::from_secs(150), wait).await.is_err() {
        panic!("waited in vain for this: {what}\n{}", fs::read_to_string(log).unwrap_or_default());
    }
}
