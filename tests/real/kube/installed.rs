//! The whole path with what the chart renders: its configuration, its account and its rights, on a real API server. The
//! real program under that account's own token, a real Alertmanager, a machine whose plug is pulled, a fake cloud.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};

use failover::{
    adapters::clock::SystemClock,
    domain::{Span, Verdict},
    sandbox::compute::FakeCompute,
};
use serde_json::{Value, json};
use tokio::{task::block_in_place, time::Instant};

use super::{
    cluster::{Cluster, run},
    story::{ANY, PATIENCE, Story},
};
use crate::{
    alertmanager::server::Alertmanager,
    program::{Program, free_port},
};

/// What an operator would write, for this namespace.
fn values(namespace: &str) -> String {
    json!({
        "config": {
            "site": "home",
            "mode": "armed",
            "alertmanager": { "auth": { "bearer_file": "/etc/failover/secrets/webhook-token" } },
            "kubernetes": {},
            "validators": [{
                "name": "eth-0", "kind": "ethereum", "public_keys": [format!("0x{}", "93".repeat(48))],
                "alerts": [{ "matchers": "{alertname=\"HostDown\"}", "evidence": "host" }],
                "kubernetes": { "namespace": namespace, "statefulset": "vc", "container": "validator" },
            }],
            "policy": { "hold_down": "5s", "lease": "3s" },
            "compute": {
                "project": "home",
                "ladder": [{ "zone": "us-central1-a", "machine_type": "n2-standard-8" }],
                "disk": { "type": "pd-balanced", "size_gb": 100 },
            },
        },
        "secrets": { "webhook-token": { "name": "failover-webhook", "key": "token" } },
    })
    .to_string()
}

/// The chart, rendered for one namespace.
struct Chart<'a> {
    cluster: &'a Cluster,
    folder: &'a Path,
}

impl Chart<'_> {
    fn render(&self, templates: &[&str]) -> String {
        let mut helm = Command::new(crate::parts::part("helm").join("helm"));
        helm.args(["template", "failover", concat!(env!("CARGO_MANIFEST_DIR"), "/charts/failover")])
            .args(["--namespace", "failover", "--values"])
            .arg(self.folder.join("values.yaml"))
            .envs(["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"].map(|home| (home, self.folder)));
        for template in templates {
            helm.arg("--show-only").arg(format!("templates/{template}.yaml"));
        }
        run(&mut helm)
    }

    /// Its account and that account's rights.
    fn grant(&self) {
        let cluster = self.cluster;
        cluster.try_kubectl(&["create", "namespace", "failover"]);
        cluster.kubectl_with(&["--namespace", "failover", "apply"], &self.render(&["serviceaccount"]));
        cluster.kubectl_with(&["apply"], &self.render(&["rbac"]));
    }

    /// What a kubelet lays into the pod: the account's token and the authority of the API server.
    fn account(&self) -> PathBuf {
        let folder = self.folder.join("serviceaccount");
        fs::create_dir_all(&folder).unwrap();
        let token = self.cluster.kubectl(&["--namespace", "failover", "create", "token", "failover"]);
        fs::write(folder.join("token"), token.trim()).unwrap();
        fs::write(folder.join("namespace"), "failover").unwrap();
        fs::copy(self.at("ca"), folder.join("ca.crt")).unwrap();
        folder
    }

    fn at(&self, key: &str) -> String {
        let cluster = fs::read_to_string(self.cluster.folder().join("cluster.json")).unwrap();
        serde_json::from_str::<Value>(&cluster).unwrap()[key].as_str().unwrap().to_owned()
    }

    /// The program as a pod has it: with the account where every pod has it, and no kubeconfig. The folder is there in a
    /// mount namespace of its own only.
    fn pod(&self) -> Command {
        let api = url::Url::parse(&self.at("api")).unwrap();
        let lay = "mount -t tmpfs run /run && mkdir -p /run/secrets/kubernetes.io && \
                   ln -s \"$1\" /run/secrets/kubernetes.io/serviceaccount && shift && exec \"$@\"";
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "--propagation", "private", "--", "sh", "-c", lay, "sh"])
            .arg(self.account())
            .arg(env!("CARGO_BIN_EXE_failover"))
            .env_remove("KUBECONFIG")
            .env("KUBERNETES_SERVICE_HOST", api.host_str().unwrap())
            .env("KUBERNETES_SERVICE_PORT", api.port().unwrap().to_string());
        command
    }

    /// The rendered configuration, with the places of this machine instead of those of a pod.
    fn configuration(&self, port: u16, cloud: &str) -> PathBuf {
        let map = self.cluster.kubectl_with(
            &["create", "--dry-run=client", "--output", "jsonpath={.data.failover\\.yaml}"],
            &self.render(&["configmap"]),
        );
        let mut config: Value = serde_saphyr::from_str(&map).unwrap();
        let secret = self.folder.join("token");
        fs::write(&secret, "s3cret").unwrap();
        config["http"]["listen"] = format!("127.0.0.1:{port}").into();
        config["ledger"]["sqlite"]["path"] = json!(self.folder.join("ledger.sqlite"));
        config["alertmanager"]["auth"]["bearer_file"] = json!(secret);
        config["compute"]["endpoint"] = cloud.into();
        config["compute"]["credentials"] = "anonymous".into();
        let file = self.folder.join("failover.yaml");
        // JSON is YAML.
        fs::write(&file, config.to_string()).unwrap();
        file
    }
}

/// What the account has asked the API server, a line each, and everything among it that `rights.txt` does not name.
fn asked(cluster: &Cluster, watched: &str) -> (BTreeSet<String>, Vec<String>) {
    let rights = include_str!("../../../charts/rights.txt");
    let log = fs::read_to_string(cluster.folder().join("audit.log")).unwrap();
    let (mut all, mut others) = (BTreeSet::new(), Vec::new());
    // The server may be writing the last line.
    for line in log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        if line["user"]["username"] != "system:serviceaccount:failover:failover" {
            continue;
        }
        let object = &line["objectRef"];
        let (verb, group) = (line["verb"].as_str().unwrap(), object["apiGroup"].as_str());
        let resource = object["resource"].as_str().unwrap_or_default();
        let resource = group.map_or_else(|| resource.to_owned(), |group| format!("{resource}.{group}"));
        let place = match object["namespace"].as_str() {
            None => "anywhere",
            Some(namespace) if namespace == watched => "watched",
            Some(namespace) => namespace,
        };
        let request = format!("{place}: {verb} {resource}");
        let granted = rights.lines().any(|right| {
            right
                .strip_prefix(&format!("{place}: {resource} ["))
                .is_some_and(|verbs| verbs.trim_end_matches(']').split(' ').any(|one| one == verb))
        });
        // What everybody may: ask for the version, and about oneself.
        let free = line["requestURI"] == "/version"
            || (verb == "create" && resource == "selfsubjectaccessreviews.authorization.k8s.io");
        if !granted && !free {
            others.push(format!("{request} ({})", line["requestURI"]));
        }
        all.insert(request);
    }
    (all, others)
}

#[tokio::test(flavor = "multi_thread")]
async fn under_the_charts_own_account_a_dead_machine_makes_one_standby_and_nothing_else_is_asked_of_the_cluster() {
    let mut story = Story::begin("installed").await;
    let (cluster, namespace) = (story.cluster, story.namespace.clone());
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("values.yaml"), values(&namespace)).unwrap();
    let cloud = FakeCompute::start(&["us-central1-a"], Span::from_millis(200), Arc::new(SystemClock)).await.unwrap();
    let port = free_port();
    let chart = Chart { cluster, folder: folder.path() };
    let (config, program) = block_in_place(|| {
        chart.grant();
        let config = chart.configuration(port, cloud.url());
        let program = Program::serve_by(chart.pod(), &config, port);
        (config, program)
    });
    let alertmanager = Alertmanager::start(&program.webhook()).await;
    program.wait_for("the cluster says up", |status| status.contains("runs and is ready")).await;
    assert!(cloud.log().is_empty(), "{:?}", cloud.log());

    story.pull_the_plug();
    story.watching.says(&ANY, Verdict::Down, "is gone").await;
    assert!(cloud.log().is_empty(), "one source is not two: {:?}", cloud.log());
    alertmanager.fire("HostDown", &Alertmanager::now(), None).await;
    program.wait_for("it is followed", |status| status.contains(r#""phase":"syncing""#)).await;
    let inserts: Vec<_> = cloud.log().into_iter().filter(|line| line.method == "POST").collect();
    assert_eq!((inserts.len(), cloud.machines().len()), (1, 1), "{inserts:?}");

    // Its steps stand where an operator looks, each once.
    let wanted = ["FailoverOpened", "StandbyCreated", "StandbyCreating"];
    assert_eq!(steps(&story, wanted.len()).await, wanted);
    let told = story.kubectl(&["describe", "statefulset/vc"]);
    assert!(wanted.iter().all(|reason| told.contains(reason)), "{told}");

    // What `helm test` runs, from the same place and under the same account.
    let check = block_in_place(|| chart.pod().args(["check", "--config"]).arg(&config).output().unwrap());
    let said = String::from_utf8(check.stdout).unwrap();
    let denied = said.lines().any(|line| !line.trim_start().starts_with("ok") && line.contains("permission"));
    assert!(!denied && said.contains("Kubernetes API server: answers"), "{said}");

    drop(program);
    let (all, others) = asked(cluster, &namespace);
    assert!(others.is_empty(), "asked without a right in charts/rights.txt: {others:#?}");
    for request in ["watched: watch pods", "watched: create events.events.k8s.io", "anywhere: watch nodes"] {
        assert!(all.contains(request), "the log shows no {request}: {all:#?}");
    }

    // And the log would have shown it.
    let token = fs::read_to_string(folder.path().join("serviceaccount/token")).unwrap();
    block_in_place(|| cluster.try_kubectl(&["--token", &token, "get", "secrets"]));
    let (_, others) = asked(cluster, &namespace);
    assert!(others.iter().any(|request| request.contains("list secrets")), "{others:#?}");
}

/// The steps told on the statefulset, in the order of the alphabet, once there are so many.
async fn steps(story: &Story, count: usize) -> Vec<String> {
    let selector = "involvedObject.kind=StatefulSet,reportingComponent=failover.dev/failover";
    let words = "jsonpath={range .items[*]}{.reason}{\"\\n\"}{end}";
    let deadline = Instant::now() + PATIENCE;
    loop {
        let told = story.kubectl(&["get", "events", "--field-selector", selector, "--output", words]);
        let mut told: Vec<String> = told.lines().map(str::to_owned).collect();
        if told.len() >= count {
            told.sort_unstable();
            return told;
        }
        assert!(Instant::now() < deadline, "only {told:?} was told");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
