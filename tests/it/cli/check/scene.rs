//! A house with everything, well in every respect, and what `check` says of it.

use std::{fs, sync::Arc, time::Duration};

use failover::{
    adapters::clock::SystemClock,
    domain::{Span, Time},
    sandbox::{
        beacon::{FakeBeacon, FakeChain, FakeChainConfig},
        compute::FakeCompute,
        home::{FakeAlertmanager, FakeHome},
        smtp::SmtpSink,
    },
};
use serde_json::Value;

use super::far::{Far, digest};
use crate::cli::rig::{House, Watcher, free_port, program};

pub const TOKEN: &str = "a-token-of-tests";

pub struct Scene {
    pub house: House,
    pub chain: FakeChain,
    pub beacon: FakeBeacon,
    pub cloud: FakeCompute,
    pub mail: SmtpSink,
    pub home: FakeHome,
    pub far: Far,
    pub port: u16,
    pub keys: Vec<String>,
    /// Which of the far files is geth.
    pub geth: &'static str,
    pub geth_digest: String,
    pub mirror: bool,
    pub credentials: &'static str,
    pub watchdog: &'static str,
    /// The file with the webhook's secret.
    pub secret: &'static str,
    /// More of the section `http`.
    pub http: &'static str,
}

impl Scene {
    pub async fn start() -> Self {
        let epoch = 384;
        let chain = FakeChain::new(FakeChainConfig {
            validators: 64,
            slot: Duration::from_secs(12),
            slots_per_epoch: 32,
            // In the middle of an epoch.
            genesis_time: Time::now().as_second() - 10 * epoch - epoch / 2,
        });
        let house = House::new("");
        fs::write(house.folder.path().join("token"), TOKEN).unwrap();
        Self {
            beacon: chain.node().await.unwrap(),
            cloud: FakeCompute::start(&["us-central1-a"], Span::from_millis(1), Arc::new(SystemClock)).await.unwrap(),
            mail: SmtpSink::start().await.unwrap(),
            home: FakeHome::start().await.unwrap(),
            far: Far::start().await,
            port: free_port(),
            keys: vec![chain.public_key(3), chain.public_key(4)],
            geth: "good",
            geth_digest: digest(),
            mirror: false,
            credentials: "anonymous",
            watchdog: "timeout: 5m",
            secret: "token",
            http: "",
            chain,
            house,
        }
    }

    pub fn text(&self) -> String {
        let keys: Vec<String> = self.keys.iter().map(|key| format!("'{key}'")).collect();
        let (far, digest, geth) = (&self.far.url, digest(), self.geth);
        let mirror = if self.mirror { format!("  mirror: '{far}/mirror/'\n") } else { String::new() };
        format!(
            "site: home\nmode: armed\nledger: {{sqlite: {{path: ledger.sqlite}}}}\n\
             http: {{listen: '127.0.0.1:{port}'{http}}}\npolicy: {{lease: 3s}}\n\
             alertmanager:\n  auth: {{bearer_file: {secret}}}\n  url: '{far}/am'\n  \
               watchdog: {{matchers: 'alertname=Watchdog', {watchdog}}}\n\
             ethereum: {{beacon_nodes: [{{name: home, url: '{beacon}'}}], genesis_root: '{root}'}}\n\
             validators:\n  - name: eth-0\n    kind: ethereum\n    public_keys: [{keys}]\n    \
               alerts: [{{matchers: 'severity=critical', evidence: process}}]\n    process: {{url: '{home}'}}\n\
             compute:\n  project: home-failover\n  endpoint: '{cloud}'\n  credentials: {credentials}\n  \
               ladder: [{{zone: us-central1-a, machine_type: n2-standard-8}}]\n\
             standby:\n  failover: {{url: '{far}/files/failover', sha256: '{digest}'}}\n{mirror}  ethereum:\n    \
               checkpoint_sync_url: '{beacon}'\n    geth: {{url: '{far}/files/{geth}', sha256: '{geth_digest}'}}\n    \
               lighthouse: {{url: '{far}/files/lighthouse.tar.gz', sha256: '{digest}'}}\n\
             budget: {{per_incident_usd: 60}}\n\
             mail: {{host: 127.0.0.1, port: {smtp}, tls: none, from: failover@x.example, to: [me@x.example], \
               timeout: 5s}}\n",
            port = self.port,
            watchdog = self.watchdog,
            secret = self.secret,
            http = self.http,
            beacon = self.beacon.url(),
            root = self.chain.genesis_root(),
            keys = keys.join(", "),
            home = self.home.url(),
            cloud = self.cloud.url(),
            credentials = self.credentials,
            geth_digest = self.geth_digest,
            smtp = self.mail.address().port(),
        )
    }

    pub fn webhook(&self) -> String {
        format!("http://127.0.0.1:{}/webhook/alertmanager", self.port)
    }

    /// A watcher of this house, which leads, and to which Alertmanager has a route.
    pub async fn watch(&self) -> Watcher {
        let watcher = self.house.serve_text("watcher", self.port, &self.text());
        watcher.until("/readyz", 200).await;
        *self.far.route.lock().unwrap() = Some((self.webhook(), TOKEN.to_owned()));
        watcher
    }

    /// What Prometheus always fires.
    pub async fn watchdog(&self) {
        let alertmanager = FakeAlertmanager::new(self.webhook(), TOKEN.into()).unwrap();
        assert_eq!(alertmanager.send("Watchdog", "", Time::now(), None).await.last(), Some(&200));
    }

    pub fn check(&self, arguments: &[&str]) -> Checked {
        self.house.write(&self.text());
        tokio::task::block_in_place(|| check(&self.house, arguments))
    }

    /// A house that has only what it must, and this.
    pub fn bare(more: &str) -> Bare {
        Bare(House::new(more))
    }
}

pub struct Bare(House);

impl Bare {
    pub fn check(&self, arguments: &[&str]) -> Checked {
        check(&self.0, arguments)
    }
}

fn check(house: &House, arguments: &[&str]) -> Checked {
    let mut command = program();
    command.args(["check", "--json"]).args(arguments).arg("--config").arg(house.config());
    // As on a machine on which nobody has logged in to Google, and which is none of Google's.
    command.env("HOME", house.folder.path()).env("RUST_LOG", "error").env("GCE_METADATA_HOST", "127.0.0.1:1");
    command.env_remove("GOOGLE_APPLICATION_CREDENTIALS").env_remove("KUBERNETES_SERVICE_HOST");
    let ended: crate::cli::rig::Ended = command.output().unwrap().into();
    let report = serde_json::from_str(&ended.out).unwrap_or_else(|error| panic!("{error}: {}{}", ended.out, ended.err));
    Checked { code: ended.code, report, err: ended.err }
}

pub struct Checked {
    pub code: i32,
    pub report: Value,
    pub err: String,
}

#[derive(Debug)]
pub struct Found {
    pub subject: String,
    pub state: String,
    pub detail: String,
    pub remedy: String,
}

impl Checked {
    pub fn findings(&self) -> impl Iterator<Item = Found> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let groups = self.report["groups"].as_array().unwrap();
        groups.iter().flat_map(|group| group["findings"].as_array().unwrap()).map(move |finding| Found {
            subject: text(&finding["subject"]),
            state: text(&finding["state"]),
            detail: text(&finding["detail"]),
            remedy: text(&finding["remedy"]),
        })
    }

    fn any(&self, state: &str, subject: &str, what: &str, is: impl Fn(&Found) -> bool) {
        let about: Vec<Found> = self.findings().filter(|finding| finding.subject.starts_with(subject)).collect();
        assert!(about.iter().any(|finding| finding.state == state && is(finding)), "{state}, {what}: {about:#?}");
    }

    /// There is such a finding, in these words among others.
    pub fn is(&self, state: &str, subject: &str, detail: &str) {
        self.any(state, subject, detail, |finding| finding.detail.contains(detail));
    }

    pub fn advises(&self, state: &str, subject: &str, remedy: &str) {
        self.any(state, subject, remedy, |finding| finding.remedy.contains(remedy));
    }
}
