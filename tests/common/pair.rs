//! Two watchers, each a process of its own, on one ledger: what stands around them, and what both must keep to.
//!
//! They share the ledger, the cluster and the cloud, each by wires of its own that can be cut.

use std::{
    fs,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use failover::{
    adapters::{clock::SystemClock, http},
    domain::{Span, Time},
    runtime::status::Status,
    sandbox::{
        compute::FakeCompute,
        kube::{FakeApiServer, objects},
    },
};
use serde_json::json;
use tempfile::TempDir;

use super::proxy::{Proxy, Wire};

/// How long the lease lasts here.
pub const LEASE: Duration = Duration::from_secs(2);
/// Longer than anything may take; a test that reaches it fails.
const LIMIT: Duration = Duration::from_secs(30);

/// Where the two keep their state.
#[derive(Clone, Debug)]
#[allow(dead_code, reason = "the tests on a real bucket have no file")]
pub enum Ledger {
    /// A file both can open.
    File,
    /// A bucket behind this URL.
    Bucket(String),
}

/// The world around two watchers.
pub struct Scene {
    pub cloud: Arc<FakeCompute>,
    pub cluster: Arc<FakeApiServer>,
    ledger: Ledger,
    folder: TempDir,
    kubelet: tokio::task::JoinHandle<()>,
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.kubelet.abort();
    }
}

impl Scene {
    pub async fn on(ledger: Ledger) -> Self {
        let zones = ["us-central1-a", "us-central1-b"];
        let cloud = FakeCompute::start(&zones, Span::from_millis(100), Arc::new(SystemClock)).await.unwrap();
        let cluster = Arc::new(FakeApiServer::start().await.unwrap());
        cluster.put("statefulsets", objects::stateful_set("eth", "vc"));
        cluster.put("pods", objects::pod("eth", "vc", "attic"));
        cluster.put("nodes", objects::node("attic"));
        let renews = cluster.clone();
        let kubelet = tokio::spawn(async move {
            loop {
                let now = Time::now().strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string();
                renews.put("leases", objects::lease("attic", &now, 40));
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        Self { cloud: Arc::new(cloud), cluster, ledger, folder: tempfile::tempdir().unwrap(), kubelet }
    }

    /// Starts a watcher and waits until it is alive.
    pub async fn watcher(&self, name: &str) -> Watcher {
        let folder = self.folder.path().join(name);
        fs::create_dir(&folder).unwrap();
        let to_cluster = Proxy::before(self.cluster.url()).await;
        let to_bucket = match &self.ledger {
            Ledger::File => None,
            Ledger::Bucket(url) => Some(Proxy::before(url).await),
        };
        let kubeconfig = fs::read_to_string(self.cluster.kubeconfig(&folder).unwrap()).unwrap();
        fs::write(folder.join("kubeconfig.yaml"), kubeconfig.replace(self.cluster.url(), &to_cluster.url())).unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let url = format!("http://127.0.0.1:{port}");
        let ledger = match &to_bucket {
            None => format!("sqlite: {{path: {}}}", self.folder.path().join("ledger.sqlite").display()),
            Some(wire) => format!("gcs: {{bucket: ledger, endpoint: '{}', credentials: anonymous}}", wire.url()),
        };
        let config = folder.join("failover.yaml");
        fs::write(&config, self.config(&ledger, port, &folder.join("kubeconfig.yaml").display().to_string())).unwrap();
        let log = folder.join("log");
        let child = Command::new(env!("CARGO_BIN_EXE_failover"))
            // Far ends on this machine, polled at their pace.
            .args(["sandbox", "--watcher"])
            .arg(config)
            .env("RUST_LOG", "info")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let client = http::client(Duration::from_secs(5)).unwrap();
        let watcher = Watcher { child, url, log, client, to_bucket, to_cluster };
        watcher.until("/healthz", 200).await;
        watcher
    }

    /// Two watchers: the first holds the lease, the second waits.
    pub async fn two(&self) -> (Watcher, Watcher) {
        let first = self.watcher("first").await;
        first.until("/readyz", 200).await;
        let second = self.watcher("second").await;
        (first, second)
    }

    fn config(&self, ledger: &str, port: u16, kubeconfig: &str) -> String {
        format!(
            "site: home\nmode: armed\nledger: {{{ledger}}}\nhttp: {{listen: '127.0.0.1:{port}'}}\n\
             alertmanager: {{auth: none}}\nkubernetes: {{kubeconfig: '{kubeconfig}'}}\n\
             policy: {{lease: {lease}ms, hold_down: 300ms, max_unhealthy: 1.0}}\n\
             compute: {{project: home, endpoint: '{cloud}', credentials: anonymous, \
             ladder: [{{zone: us-central1-a, machine_type: n2-standard-8}}, \
             {{zone: us-central1-b, machine_type: n2-standard-8}}], disk: {{type: pd-balanced, size_gb: 100}}}}\n\
             budget: {{per_incident_usd: 1000, per_month_usd: 1000000}}\n\
             validators:\n  - name: eth-0\n    kind: ethereum\n    public_keys: ['0x{key:096x}']\n    \
             alerts: [{{matchers: '{{validator=\"eth-0\"}}', evidence: process}}]\n    \
             kubernetes: {{namespace: eth, statefulset: vc}}\n",
            lease = LEASE.as_millis(),
            cloud = self.cloud.url(),
            key = 7,
        )
    }

    /// The validator's pod crashes again and again: the cluster says down.
    pub fn crash(&self) {
        self.cluster.change("pods", "eth", "vc-0", |pod| {
            let waiting = json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 5m0s"}});
            let mut status = objects::container("vc", waiting, false, 6);
            status["lastState"] = json!({"terminated": {"exitCode": 1, "reason": "Error", "message": "no space left"}});
            pod["status"]["containerStatuses"] = json!([status]);
            for condition in pod["status"]["conditions"].as_array_mut().unwrap() {
                if condition["type"] == "Ready" {
                    condition["status"] = "False".into();
                }
            }
        });
    }

    /// What must be true whatever has happened: one machine, and no more than one creation was ever carried out.
    pub fn one_machine(&self) {
        let machines: Vec<_> = self.cloud.machines().iter().map(|found| found.name.clone()).collect();
        assert_eq!(machines.len(), 1, "{machines:?}");
        let done = self.cloud.log().into_iter().filter(|line| {
            line.method == "POST" && line.path.split('?').next().is_some_and(|path| path.ends_with("/instances"))
        });
        let names: std::collections::BTreeSet<_> = done.map(|line| line.path).collect();
        assert_eq!(names.len(), 1, "every creation asks for the same, under the same request id: {names:?}");
    }

    /// Waits until there is a machine.
    pub async fn machine(&self) {
        until("there is a machine", || self.cloud.machines().len() == 1).await;
    }
}

/// Waits until this is so.
pub async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let since = Instant::now();
    while !is_so() {
        assert!(since.elapsed() < LIMIT, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// One watcher; ends with the test.
pub struct Watcher {
    child: Child,
    pub url: String,
    log: std::path::PathBuf,
    client: reqwest::Client,
    to_bucket: Option<Proxy>,
    to_cluster: Proxy,
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Watcher {
    /// Sends a signal: "-TERM", "-KILL", "-STOP", "-CONT".
    pub fn signal(&self, name: &str) {
        signal(self.pid(), name);
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the process to end by itself.
    pub fn ended_well(&mut self) {
        let ended = self.child.wait().unwrap();
        assert!(ended.success(), "{ended}\n{}", self.log());
    }

    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    pub async fn bucket(&self, wire: Wire) {
        self.to_bucket.as_ref().expect("the ledger is a bucket").set(wire).await;
    }

    pub async fn cluster(&self, wire: Wire) {
        self.to_cluster.set(wire).await;
    }

    /// Status and text of a page.
    pub async fn get(&self, path: &str) -> (u16, String) {
        match self.client.get(format!("{}{path}", self.url)).send().await {
            Ok(answer) => (answer.status().as_u16(), answer.text().await.unwrap_or_default()),
            Err(_) => (0, String::new()),
        }
    }

    /// Waits until this path answers with this status; how long that took.
    pub async fn until(&self, path: &str, wanted: u16) -> Duration {
        let since = Instant::now();
        loop {
            let (status, _) = self.get(path).await;
            if status == wanted {
                return since.elapsed();
            }
            assert!(since.elapsed() < LIMIT, "{path} answers {status}, not {wanted}\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub async fn status(&self) -> Option<Status> {
        serde_json::from_str(&self.get("/api/v1/status").await.1).ok()
    }

    /// Waits until its status is as wanted.
    pub async fn shows(&self, what: &str, wanted: impl Fn(&Status) -> bool) -> Status {
        let since = Instant::now();
        loop {
            let status = self.status().await;
            if let Some(status) = status.as_ref().filter(|status| wanted(status)) {
                return status.clone();
            }
            assert!(since.elapsed() < LIMIT, "waited in vain until {what}: {status:#?}\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until its own kube signal says this.
    pub async fn sees(&self, verdict: &str) -> Status {
        self.shows(&format!("the cluster says {verdict}"), |status| kube(status) == verdict).await
    }

    /// Sends an alert once; what was answered, 0 for nothing.
    pub async fn alert(&self) -> u16 {
        let body = r#"{"version":"4","status":"firing","alerts":[{"status":"firing","labels":{"alertname":"Down","validator":"eth-0"},"annotations":{},"startsAt":"2026-01-01T00:00:00Z","endsAt":"0001-01-01T00:00:00Z","fingerprint":"00000000000000aa"}]}"#;
        let post = self.client.post(format!("{}/webhook/alertmanager", self.url));
        let answer = post.header("content-type", "application/json").body(body).send().await;
        answer.map_or(0, |answer| answer.status().as_u16())
    }

    /// Sends an alert as Alertmanager does: again until it is taken.
    pub async fn alert_until_taken(&self) {
        let since = Instant::now();
        while self.alert().await != 200 {
            assert!(since.elapsed() < LIMIT, "nobody takes the alert\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// What its own kube source says, as the status shows it.
pub fn kube(status: &Status) -> &str {
    let signals = status.validators.first().map(|validator| validator.signals.as_slice()).unwrap_or_default();
    signals.iter().find(|signal| signal.source == "kube").map_or("", |signal| signal.verdict.as_str())
}

pub fn signal(pid: u32, name: &str) {
    assert!(Command::new("kill").args([name, &pid.to_string()]).status().unwrap().success());
}
