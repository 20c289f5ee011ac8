//! The whole path: a node's own ports and an alert about its machine, through the real watcher, to one machine asked
//! for in a fake cloud; and back.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use failover::{
    adapters::clock::SystemClock,
    assembly::Watcher,
    config::{self, Checks},
    domain::{Report, Span, Time},
    runtime::{Handle, status::ValidatorStatus},
    sandbox::{compute::FakeCompute, home::FakeAlertmanager, stage::hurry},
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::node::{FakeNode, Mood};

const PATIENCE: Duration = Duration::from_secs(30);

struct Rig {
    node: FakeNode,
    cloud: Arc<FakeCompute>,
    alertmanager: FakeAlertmanager,
    /// When the alert began; by that it is known again when it ends.
    starts_at: Time,
    handle: Handle,
    stop: CancellationToken,
    watcher: JoinHandle<anyhow::Result<()>>,
    agent: JoinHandle<()>,
    _folder: tempfile::TempDir,
}

impl Rig {
    async fn start(stalled_after: &str) -> Self {
        let node = FakeNode::start(Mood::Advances).await;
        let operation = Span::from_millis(50);
        let cloud = Arc::new(FakeCompute::start(&["us-central1-a"], operation, Arc::new(SystemClock)).await.unwrap());
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("token"), "t").unwrap();
        let text = format!(
            "site: home\nmode: armed\nledger: {{sqlite: {{path: ledger.sqlite}}}}\n\
             http: {{listen: '127.0.0.1:0'}}\n\
             alertmanager: {{auth: {{bearer_file: token}}}}\n\
             validators:\n  - name: btc-0\n    kind: generic\n    probes:\n      \
               - name: height\n        http: {{url: 'http://{node}/', body: '{{\"method\":\"getblockchaininfo\"}}', \
                  json: {{pointer: /result/blocks, compare: advances}}}}\n        \
                 every: 40ms\n        timeout: 2s\n        stalled_after: {stalled_after}\n      \
               - {{name: p2p, tcp: {{address: '{node}'}}, every: 40ms, timeout: 2s, fails_for: 3}}\n    \
               alerts: [{{matchers: '{{alertname=\"NodeDown\"}}', evidence: host}}]\n\
             policy: {{hold_down: 200ms, healthy_delay: 300ms, lease: 5s}}\n\
             compute: {{project: p, endpoint: '{cloud}', credentials: anonymous, \
               ladder: [{{zone: us-central1-a, machine_type: n2-standard-8}}]}}\n",
            node = node.address,
            cloud = cloud.url(),
        );
        let checks = Checks { base: folder.path().to_owned(), ..Checks::default() };
        let (mut config, _) = config::parse(&text, "failover.yaml", &checks).unwrap();
        hurry(&mut config);
        let watcher = Watcher::build(&config).await.unwrap();
        let webhook = format!("http://{}/webhook/alertmanager", watcher.address().unwrap());
        let (handle, stop) = (watcher.handle().clone(), CancellationToken::new());
        let rig = Self {
            alertmanager: FakeAlertmanager::new(webhook, "t".into()).unwrap(),
            starts_at: Time::now() - Span::from_secs(60),
            agent: tokio::spawn(agent(cloud.clone(), stop.clone())),
            watcher: tokio::spawn(watcher.run(stop.clone())),
            node,
            cloud,
            handle,
            stop,
            _folder: folder,
        };
        rig.handle.leadership().wait_for(|leads| *leads).await.unwrap();
        rig
    }

    /// The alert that the node's machine is gone.
    async fn alert(&self, ended: bool) {
        self.alertmanager.send("NodeDown", "btc-0", self.starts_at, ended.then(Time::now)).await;
    }

    async fn until(&self, what: &str, is: impl Fn(&ValidatorStatus) -> bool) -> ValidatorStatus {
        let mut last = None;
        let wait = async {
            loop {
                if let Some(mut status) = self.handle.status().await {
                    let validator = status.validators.remove(0);
                    if is(&validator) {
                        return validator;
                    }
                    last = Some(validator);
                }
                tokio::task::yield_now().await;
            }
        };
        match tokio::time::timeout(PATIENCE, wait).await {
            Ok(validator) => validator,
            Err(_) => panic!("waited in vain until {what}; at last {last:#?}"),
        }
    }

    async fn until_probe(&self, verdict: &str) -> ValidatorStatus {
        self.until(&format!("the probe says {verdict}"), |validator| probe(validator).0 == verdict).await
    }

    /// How many machines were ever asked for.
    fn asked_for(&self) -> usize {
        self.cloud.log().iter().filter(|line| line.method == "POST" && line.path.contains("/instances")).count()
    }

    async fn stop(self) {
        self.stop.cancel();
        self.watcher.await.unwrap().unwrap();
        self.agent.await.unwrap();
    }
}

/// What the probe says, and why.
fn probe(validator: &ValidatorStatus) -> (String, String) {
    let signal = validator.signals.iter().find(|signal| signal.source == "probe");
    signal.map(|signal| (signal.verdict.clone(), signal.why.clone())).unwrap_or_default()
}

/// What runs on every machine of the cloud: it reports that nothing on it signs, and its counter moves.
async fn agent(cloud: Arc<FakeCompute>, stop: CancellationToken) {
    let mut counters: BTreeMap<String, u64> = BTreeMap::new();
    let ended = AtomicBool::new(false);
    let mut ticks = tokio::time::interval(Duration::from_millis(50));
    while !ended.load(Ordering::Relaxed) {
        for machine in cloud.machines().iter().filter(|machine| machine.status() == "RUNNING") {
            let counter = counters.entry(machine.json["id"].to_string()).or_default();
            *counter += 1;
            let report = Report {
                incident: machine.label("incident").to_owned(),
                boot_id: "boot".into(),
                counter: *counter,
                progress_percent: 40,
                stage: "block download".into(),
                synced: false,
                optimistic: true,
                head_age_seconds: 3600,
                peers: 8,
                genesis_root: String::new(),
                clock_offset_ms: 1,
                ..Report::default()
            };
            cloud.report(&machine.name, &report);
        }
        tokio::select! {
            _ = ticks.tick() => {}
            () = stop.cancelled() => ended.store(true, Ordering::Relaxed),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_node_and_a_dead_host_ask_for_one_machine_and_the_node_back_lets_it_go() {
    let mut rig = Rig::start("1h").await;
    rig.until_probe("up").await;
    rig.node.unplug();
    let down = rig.until_probe("down").await;
    assert!(probe(&down).1.contains("refuses the connection"), "{:?}", probe(&down));
    assert_eq!((rig.asked_for(), down.incident.is_some()), (0, false), "one source alone opens nothing");
    rig.alert(false).await;
    let syncing = rig.until("a standby syncs", |validator| validator.phase == "syncing").await;
    assert!(syncing.incident.unwrap().cause.contains("probe says down"));
    rig.node.plug_in().await;
    rig.alert(true).await;
    let back = rig.until("home is back", |validator| validator.phase == "watching").await;
    assert!(back.incident.is_none());
    assert_eq!((rig.asked_for(), rig.cloud.machines().len()), (1, 0), "one machine, once, and it is gone");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_height_that_stands_still_is_down_though_every_answer_is_fine() {
    let rig = Rig::start("500ms").await;
    rig.until_probe("up").await;
    rig.alert(false).await;
    rig.until("the node vetoes", |validator| validator.phase == "suspected").await;
    assert_eq!(rig.asked_for(), 0, "a node whose height advances is not replaced");
    rig.node.set(Mood::StandsStill);
    let syncing = rig.until("a standby syncs", |validator| validator.phase == "syncing").await;
    assert!(syncing.incident.unwrap().cause.contains("has not advanced"));
    rig.node.set(Mood::Advances);
    rig.until("it is let go", |validator| validator.incident.is_none()).await;
    assert_eq!(rig.asked_for(), 1);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_does_not_know_us_any_more_opens_nothing() {
    let rig = Rig::start("1h").await;
    rig.until_probe("up").await;
    rig.node.set(Mood::Says(401, String::new()));
    rig.alert(false).await;
    rig.until_probe("unknown").await;
    let asked = rig.node.asked().len();
    // Long after a failing node would have been confirmed down.
    let later = rig.until("it was asked twenty times more", |_| rig.node.asked().len() > asked + 20).await;
    assert_eq!((later.phase.as_str(), probe(&later).0.as_str()), ("suspected", "unknown"), "{:?}", later.reason);
    assert!(probe(&later).1.contains("our credentials are not accepted"), "{:?}", probe(&later));
    assert_eq!(rig.asked_for(), 0);
    rig.stop().await;
}
