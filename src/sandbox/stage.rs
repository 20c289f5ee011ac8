//! The stage of a story: every far end on loopback, and the real program as a process of its own between them.

use std::{
    fs, io, mem,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::{
    beacon::{FakeBeacon, FakeChain, FakeChainConfig},
    compute::{FakeCompute, Machines},
    home::{FakeAlertmanager, FakeHome},
    node::SimulatedNode,
    object_store::FakeObjectStore,
    smtp::SmtpSink,
};
use crate::{
    adapters::clock::SystemClock,
    config::Config,
    domain::{Policy, Span, Time},
    runtime::status::Status,
};

/// The zones of the fake cloud, in the order of the ladder.
pub const ZONES: [&str; 3] = ["us-central1-a", "us-central1-b", "europe-west4-a"];
/// Our validators on the fake chain.
pub const OURS: std::ops::Range<u64> = 0..8;
const TOKEN: &str = "sandbox-token";

/// How fast time passes on a stage. Compressed through the policy, the chain's own `config/spec` and [`hurry`], nowhere else.
#[derive(Clone, Debug)]
pub struct Pace {
    pub slot: Duration,
    pub slots_per_epoch: u64,
    /// How long an operation of the cloud takes.
    pub operation: Span,
    /// How often the agent on the standby reports.
    pub report_every: Duration,
    /// How much the sync has advanced from one report to the next.
    pub percent_per_report: u64,
    /// The section `policy` of the configuration.
    pub policy: &'static str,
    /// A bucket instead of a file as the ledger.
    pub bucket: bool,
}

impl Pace {
    #[must_use]
    pub fn story() -> Self {
        Self {
            slot: Duration::from_millis(250),
            slots_per_epoch: 6,
            operation: Span::from_millis(900),
            report_every: Duration::from_millis(250),
            percent_per_report: 7,
            policy: "hold_down: 2s, healthy_delay: 3s, cooldown: 5s, lease: 1500ms, suspected_mail_after: 60s, \
                     ready_hold: 1s",
            bucket: false,
        }
    }

    /// For many runs: everything happens within about two seconds, and the ledger is a bucket whose requests can be
    /// counted.
    #[must_use]
    pub fn quick() -> Self {
        Self {
            slot: Duration::from_millis(100),
            slots_per_epoch: 4,
            operation: Span::from_millis(150),
            report_every: Duration::from_millis(80),
            percent_per_report: 34,
            policy: "hold_down: 200ms, healthy_delay: 3s, cooldown: 5s, lease: 900ms, suspected_mail_after: 60s, \
                     ready_hold: 100ms",
            bucket: true,
        }
    }
}

/// Shortens what no file can, because no house needs it shorter: how often a standby is polled, how soon what has failed is
/// tried again. A watcher on a stage is the real one but for this.
pub fn hurry(config: &mut Config) {
    config.policy = Policy {
        observe_every: Span::from_millis(100),
        recheck_every: Span::from_secs(1),
        requests_every: Span::from_millis(100),
        retry_after: Span::from_millis(100),
        retry_cap: Span::from_millis(400),
        report_stale_after: Span::from_secs(4),
        ..mem::take(&mut config.policy)
    };
    if let Some(compute) = &mut config.compute {
        compute.operation_timeout = Span::from_secs(10);
    }
}

pub struct Stage {
    pub cloud: Arc<FakeCompute>,
    pub chain: FakeChain,
    pub beacon: FakeBeacon,
    pub mail: SmtpSink,
    pub home: FakeHome,
    /// The ledger, if it is a bucket.
    pub bucket: Option<FakeObjectStore>,
    pub alertmanager: FakeAlertmanager,
    pub watcher_url: String,
    client: reqwest::Client,
    program: PathBuf,
    folder: TempDir,
    watcher: Option<Child>,
    /// What runs on the machines of the cloud.
    pub node: Arc<SimulatedNode>,
    _machines: Machines,
    watchdog: tokio::task::JoinHandle<()>,
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.watchdog.abort();
        self.kill_watcher();
    }
}

impl Stage {
    /// Builds everything but the watcher, which [`Self::start_watcher`] starts. `program` is the `failover` to run.
    ///
    /// # Errors
    /// What could not be started.
    pub async fn build(program: &Path, pace: &Pace) -> anyhow::Result<Self> {
        let clock = Arc::new(SystemClock);
        let cloud = Arc::new(FakeCompute::start(&ZONES, pace.operation, clock).await?);
        let chain = FakeChain::new(FakeChainConfig {
            validators: 64,
            slot: pace.slot,
            slots_per_epoch: pace.slots_per_epoch,
            // Old enough to be finalising.
            genesis_time: Time::now().as_second() - 60,
        });
        let beacon = chain.node().await?;
        let (mail, home) = (SmtpSink::start().await?, FakeHome::start().await?);
        let bucket = if pace.bucket { Some(FakeObjectStore::start().await?) } else { None };
        let port = free_port()?;
        let watcher_url = format!("http://127.0.0.1:{port}");
        let alertmanager = FakeAlertmanager::new(format!("{watcher_url}/webhook/alertmanager"), TOKEN.into())?;
        let node = SimulatedNode::new(chain.genesis_root(), pace.report_every, pace.percent_per_report)?;
        let node = Arc::new(node);
        let machines = Machines::boot(&cloud, node.clone());
        let watchdog = tokio::spawn(watchdog(alertmanager.clone()));
        let stage = Self {
            cloud,
            bucket,
            chain,
            beacon,
            mail,
            home,
            alertmanager,
            watcher_url,
            client: crate::adapters::http::client(Duration::from_secs(2))?,
            program: program.to_owned(),
            folder: tempfile::Builder::new().prefix("failover-sandbox-").tempdir()?,
            watcher: None,
            node,
            _machines: machines,
            watchdog,
        };
        fs::write(stage.folder.path().join("token"), TOKEN)?;
        fs::write(stage.config_path(), stage.config(port, pace))?;
        Ok(stage)
    }

    /// The configuration the watcher runs with.
    #[must_use]
    pub fn config_path(&self) -> PathBuf {
        self.folder.path().join("failover.yaml")
    }

    #[must_use]
    pub fn log_path(&self) -> PathBuf {
        self.folder.path().join("watcher.log")
    }

    fn config(&self, port: u16, pace: &Pace) -> String {
        let keys: Vec<String> = OURS.map(|index| format!("\"{}\"", self.chain.public_key(index))).collect();
        let ladder: Vec<String> =
            ZONES.iter().map(|zone| format!("{{zone: {zone}, machine_type: n2-standard-8}}")).collect();
        let folder = self.folder.path().display();
        let ledger = match &self.bucket {
            None => format!("sqlite: {{path: {folder}/ledger.sqlite}}"),
            Some(bucket) => format!("gcs: {{bucket: ledger, endpoint: '{}', credentials: anonymous}}", bucket.url()),
        };
        format!(
            "site: sandbox\n\
             mode: armed\n\
             ledger: {{{ledger}}}\n\
             http: {{listen: '127.0.0.1:{port}', address: '{watcher}'}}\n\
             alertmanager:\n  auth: {{bearer_file: {folder}/token}}\n  \
               watchdog: {{matchers: '{{alertname=\"Watchdog\"}}', timeout: 20s}}\n\
             ethereum:\n  beacon_nodes: [{{name: home, url: '{beacon}'}}]\n\
             validators:\n  - name: eth-0\n    kind: ethereum\n    public_keys: [{keys}]\n    \
               alerts: [{{matchers: '{{alertname=\"ValidatorDown\", validator=\"eth-0\"}}', evidence: process}}]\n    \
               process: {{url: '{home}'}}\n\
             policy: {{{policy}}}\n\
             compute:\n  project: sandbox\n  endpoint: '{cloud}'\n  credentials: anonymous\n  \
               ladder: [{ladder}]\n  disk: {{type: pd-balanced, size_gb: 2048}}\n\
             standby:\n  failover: {{url: 'https://releases.example/failover', sha256: '{digest}'}}\n  \
               ethereum:\n    checkpoint_sync_url: 'https://checkpoint.example'\n    \
                 geth: {{url: 'https://releases.example/geth.tar.gz', sha256: '{digest}'}}\n    \
                 lighthouse: {{url: 'https://releases.example/lighthouse.tar.gz', sha256: '{digest}'}}\n\
             budget: {{per_incident_usd: 60, per_month_usd: 200}}\n\
             mail: {{host: 127.0.0.1, port: {smtp}, tls: none, from: failover@sandbox.example, \
               to: [operator@sandbox.example], timeout: 5s}}\n",
            policy = pace.policy,
            watcher = self.watcher_url,
            beacon = self.beacon.url(),
            home = self.home.url(),
            cloud = self.cloud.url(),
            smtp = self.mail.address().port(),
            keys = keys.join(", "),
            // What a real machine would fetch; a simulated one fetches nothing.
            digest = "0".repeat(64),
            ladder = ladder.join(", "),
        )
    }

    /// Starts the real program, in a process of its own so that it can be killed.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_watcher(&mut self) -> io::Result<()> {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.log_path())?;
        let child = Command::new(&self.program)
            .args(["sandbox", "--watcher"])
            .arg(self.config_path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()?;
        self.watcher = Some(child);
        Ok(())
    }

    #[must_use]
    pub fn watcher_pid(&self) -> Option<u32> {
        self.watcher.as_ref().map(Child::id)
    }

    /// kill -9.
    pub fn kill_watcher(&mut self) {
        if let Some(mut watcher) = self.watcher.take() {
            let _ = watcher.kill();
            let _ = watcher.wait();
        }
    }

    /// Whether the watcher's process has ended by itself or by a signal.
    pub fn watcher_has_ended(&mut self) -> bool {
        self.watcher.as_mut().is_some_and(|watcher| watcher.try_wait().is_ok_and(|ended| ended.is_some()))
    }

    /// Runs another command of the program against this stage.
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn run(&self, arguments: &[&str]) -> io::Result<std::process::Output> {
        let mut command = tokio::process::Command::new(&self.program);
        command.args(arguments).arg("--config").arg(self.config_path()).stdin(Stdio::null());
        command.output().await
    }

    /// What the watcher says, if it leads.
    pub async fn status(&self) -> Option<Status> {
        let response = self.client.get(format!("{}/api/v1/status", self.watcher_url)).send().await.ok()?;
        let status: Status = response.error_for_status().ok()?.json().await.ok()?;
        status.holds_lease.then_some(status)
    }

    /// Waits until the status is as wanted. Looking again and again is what an operator does as well.
    ///
    /// # Errors
    /// What was waited for, when it has not come in time.
    pub async fn until(
        &self,
        what: &str,
        patience: Duration,
        mut look: impl FnMut(&Status) -> bool,
    ) -> anyhow::Result<Status> {
        let until = Instant::now() + patience;
        loop {
            if let Some(status) = self.status().await
                && look(&status)
            {
                return Ok(status);
            }
            if Instant::now() > until {
                let log = fs::read_to_string(self.log_path()).unwrap_or_default();
                let tail: Vec<&str> = log.lines().rev().take(25).collect();
                let tail: Vec<&str> = tail.into_iter().rev().collect();
                anyhow::bail!("waited in vain for this: {what}\nthe watcher's log ends with\n{}", tail.join("\n"));
            }
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
    }
}

fn free_port() -> io::Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

async fn watchdog(alertmanager: FakeAlertmanager) {
    let since = Time::now();
    loop {
        alertmanager.send("Watchdog", "", since, None).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
