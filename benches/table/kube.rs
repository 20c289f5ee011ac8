//! What watching a cluster costs this process and the API server, and how soon a silent node is noticed.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use failover::{
    adapters::http,
    domain::{Span, Time},
    sandbox::kube::{FakeApiServer, objects},
};
use serde_json::json;

use super::{row, usage, watcher};

const QUIET: Duration = Duration::from_secs(10);
/// Longer than one watch lasts, so that what is asked at its end is counted.
const HOUR_PART: Duration = Duration::from_secs(70);
const NODE_LEASE: i32 = 2;

pub(super) async fn kube() {
    let house = House::new(1_000, true).await;
    house.cost("1000 pods under our selector", "", QUIET).await;
    for pods in [10, 1_000] {
        let house = House::new(pods, false).await;
        let goal = if pods == 1_000 { "<= 25 MB" } else { "" };
        house.cost(&format!("{pods} pods in our namespace"), goal, QUIET).await;
    }
    let house = House::new(10_000, false).await;
    let requests_before = house.api.requests().len();
    let since = Instant::now();
    house.cost("10000 pods in our namespace", "linear", HOUR_PART).await;
    let (passed, requests) = (since.elapsed(), house.api.requests().split_off(requests_before));
    let an_hour = |verb: &str| {
        let count = requests.iter().filter(|request| request.starts_with(verb)).count();
        count as f64 * 3600.0 / passed.as_secs_f64()
    };
    row("API requests an hour, nothing happens: watches", &format!("{:.0}", an_hour("watch ")), "");
    row("API requests an hour, nothing happens: others", &format!("{:.0}", an_hour("") - an_hour("watch ")), "0");
    silent_node(&house).await;
}

/// From the end of a node's lease, as the API server shows it, to *down* in the status.
async fn silent_node(house: &House) {
    let client = http::client(Duration::from_secs(5)).unwrap();
    let mut worst = Duration::ZERO;
    house.beats_fast.store(true, Ordering::SeqCst);
    for _ in 0..5 {
        house.dead.store(false, Ordering::SeqCst);
        until_kube_says(&client, &house.url, "up").await;
        // A lease of two seconds is the one that stands there now.
        tokio::time::sleep(Duration::from_secs(1)).await;
        house.dead.store(true, Ordering::SeqCst);
        until_kube_says(&client, &house.url, "down").await;
        let noticed_at = Time::now();
        let lease = house.api.object("leases", "kube-node-lease", "attic").unwrap();
        let renewed_at: Time = lease["spec"]["renewTime"].as_str().unwrap().parse().unwrap();
        let after = noticed_at.duration_since(renewed_at + Span::from_secs(i64::from(NODE_LEASE)));
        worst = worst.max(after.try_into().unwrap_or_default());
    }
    row("end of a node's lease to the signal, worst of 5", &format!("{} ms", worst.as_millis()), "< 1 s");
}

async fn until_kube_says(client: &reqwest::Client, url: &str, wanted: &str) {
    for _ in 0..10_000 {
        let answer = client.get(format!("{url}/api/v1/status")).send().await.unwrap();
        let status: serde_json::Value = answer.json().await.unwrap_or_default();
        let signals = status["validators"][0]["signals"].as_array().cloned().unwrap_or_default();
        if signals.iter().any(|signal| signal["source"] == "kube" && signal["verdict"] == wanted) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("the cluster never says {wanted}");
}

/// One validator in a cluster of this size, and a watcher.
struct House {
    api: Arc<FakeApiServer>,
    url: String,
    watcher: watcher::Watcher,
    beats_fast: Arc<AtomicBool>,
    dead: Arc<AtomicBool>,
    kubelet: tokio::task::JoinHandle<()>,
    _folder: tempfile::TempDir,
}

impl Drop for House {
    fn drop(&mut self) {
        self.kubelet.abort();
    }
}

impl House {
    async fn new(pods: usize, same_labels: bool) -> Self {
        let api = Arc::new(FakeApiServer::start().await.unwrap());
        api.put("statefulsets", objects::stateful_set("eth", "vc"));
        api.put("nodes", objects::node("attic"));
        api.put("pods", objects::pod("eth", "vc", "attic"));
        for number in 1..pods {
            api.put("pods", other(number, same_labels));
        }
        let (beats_fast, dead) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let kubelet = tokio::spawn(kubelet(api.clone(), beats_fast.clone(), dead.clone()));
        let folder = tempfile::tempdir().unwrap();
        let kubeconfig = api.kubeconfig(folder.path()).unwrap();
        let text = |port| config(folder.path(), port, &kubeconfig);
        let (watcher, url, _) = watcher::serve(folder.path(), text).await;
        until_kube_says(&http::client(Duration::from_secs(5)).unwrap(), &url, "up").await;
        Self { api, url, watcher, beats_fast, dead, kubelet, _folder: folder }
    }

    /// Memory at the end of a quiet while, and processor time during it.
    async fn cost(&self, what: &str, goal: &str, quiet: Duration) {
        tokio::time::sleep(Duration::from_secs(5)).await;
        let process = self.watcher.0.id();
        let (before, since) = (usage::processor(process), Instant::now());
        tokio::time::sleep(quiet).await;
        let share = (usage::processor(process) - before) / since.elapsed().as_secs_f64() * 100.0;
        let (now, most) = usage::resident(process);
        let memory = format!("{now:.1} / {most:.1} MB");
        row(&format!("resident, now / most, {what}"), &memory, goal);
        row(&format!("processor, quiet, {what}"), &format!("{share:.2} %"), "");
    }
}

async fn kubelet(api: Arc<FakeApiServer>, beats_fast: Arc<AtomicBool>, dead: Arc<AtomicBool>) {
    loop {
        let fast = beats_fast.load(Ordering::SeqCst);
        let seconds = if fast { NODE_LEASE } else { 40 };
        if !dead.load(Ordering::SeqCst) {
            let now = Time::now().strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string();
            api.put("leases", objects::lease("attic", &now, seconds));
        }
        // A real one renews every ten seconds.
        let pause = if fast { Duration::from_millis(200) } else { Duration::from_secs(10) };
        let since = Instant::now();
        while since.elapsed() < pause && beats_fast.load(Ordering::SeqCst) == fast {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// A pod of another set, as large as real ones are.
fn other(number: usize, same_labels: bool) -> serde_json::Value {
    let mut pod = objects::pod("eth", &format!("other-{number}"), "attic");
    pod["metadata"]["annotations"] = json!({"note": "x".repeat(1000)});
    pod["metadata"]["managedFields"] = json!([{"manager": "m", "fieldsV1": {"note": "x".repeat(1500)}}]);
    pod["spec"]["containers"][0]["env"] = (0..20).map(|n| json!({"name": format!("N{n}"), "value": "v"})).collect();
    if same_labels {
        pod["metadata"]["labels"]["app"] = "vc".into();
    }
    pod
}

fn config(folder: &Path, port: u16, kubeconfig: &Path) -> String {
    format!(
        "site: bench\nledger: {{sqlite: {{path: {folder}/ledger.sqlite}}}}\nhttp: {{listen: '127.0.0.1:{port}'}}\n\
         alertmanager: {{auth: none}}\nkubernetes: {{kubeconfig: '{kubeconfig}'}}\n\
         validators: [{{name: eth-0, kind: ethereum, public_keys: ['0x{key:096x}'], \
         alerts: [{{matchers: '{{validator=\"eth-0\"}}', evidence: process}}], \
         kubernetes: {{namespace: eth, statefulset: vc}}}}]\n",
        folder = folder.display(),
        kubeconfig = kubeconfig.display(),
        key = 7,
    )
}
