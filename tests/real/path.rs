//! The whole path once, on real parts: a real validator client is killed, a real Alertmanager fires, a real beacon node
//! shows silence, and the real program asks the (fake) cloud for one machine through Google's own client.
//!
//! It is a part of the one test that has the network: see [`super::chain`].

use std::{fs, path::Path, sync::Arc};

use failover::{
    adapters::clock::SystemClock,
    domain::{PublicKey, Span},
    sandbox::compute::FakeCompute,
};
use tempfile::TempDir;

use crate::{
    alertmanager::server::Alertmanager,
    program::{Program, free_port},
};

fn config(folder: &Path, port: u16, beacon: &str, keys: &[String], cloud: &str) -> String {
    let (folder, keys) = (folder.display(), keys.join(", "));
    format!(
        "site: devnet\nmode: armed\nledger: {{sqlite: {{path: {folder}/ledger.sqlite}}}}\n\
         http: {{listen: '127.0.0.1:{port}'}}\n\
         alertmanager: {{auth: {{bearer_file: {folder}/token}}}}\n\
         ethereum: {{beacon_nodes: [{{name: home, url: '{beacon}'}}]}}\n\
         validators:\n  - name: eth-0\n    kind: ethereum\n    public_keys: [{keys}]\n    \
         alerts: [{{matchers: '{{alertname=\"ValidatorDown\"}}', evidence: process}}]\n\
         policy: {{hold_down: 5s, lease: 3s}}\n\
         compute:\n  project: devnet\n  endpoint: '{cloud}'\n  credentials: anonymous\n  \
         ladder: [{{zone: us-central1-a, machine_type: n2-standard-8}}]\n  disk: {{type: pd-balanced, size_gb: 100}}\n"
    )
}

/// The real program beside the network, with a real Alertmanager and the fake cloud.
pub struct WholePath {
    cloud: FakeCompute,
    alertmanager: Alertmanager,
    program: Program,
    _folder: TempDir,
}

impl WholePath {
    /// Starts it, and waits until it has seen everything attest and asked nothing of the cloud.
    pub async fn start(beacon: &str, keys: &[PublicKey]) -> Self {
        let keys: Vec<String> = keys.iter().map(|key| format!("\"{}\"", key.to_hex())).collect();
        let cloud =
            FakeCompute::start(&["us-central1-a"], Span::from_millis(200), Arc::new(SystemClock)).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let file = folder.path().join("failover.yaml");
        fs::write(folder.path().join("token"), "s3cret").unwrap();
        fs::write(&file, config(folder.path(), port, beacon, &keys, cloud.url())).unwrap();
        let program = Program::serve(&file, port);
        let alertmanager = Alertmanager::start(&program.webhook()).await;
        let path = Self { cloud, alertmanager, program, _folder: folder };
        path.program.wait_for("the chain says up", |status| status.contains(r#""verdict":"up""#)).await;
        assert!(path.cloud.log().is_empty(), "{:?}", path.cloud.log());
        path
    }

    /// What Prometheus would have found.
    pub async fn fire(&self) {
        self.alertmanager.fire("ValidatorDown", &Alertmanager::now(), None).await;
    }

    /// Waits until the machine stands, and that it is the only one that was asked for.
    pub async fn one_machine(&self) {
        self.program.wait_for("it is followed", |status| status.contains(r#""phase":"syncing""#)).await;
        let inserts: Vec<_> = self.cloud.log().into_iter().filter(|line| line.method == "POST").collect();
        assert_eq!((inserts.len(), self.cloud.machines().len()), (1, 1), "{inserts:?}");
        assert!(inserts[0].path.contains("/zones/us-central1-a/instances"), "{inserts:?}");
    }
}
