//! The whole path with what the chart renders: its configuration, its account and its rights, on a real API server. The
//! real program under that account's own token, a real Alertmanager, a machine whose plug is pulled, a fake cloud.

use std::{collections::BTreeSet, fs, path::Path, process::Command, sync::Arc, time::Duration};

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
            "policy": { "hold_down": "5s", "lease": "3s", "observe_every": "1s" },
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

    /// A kubeconfig with nothing in it but the account's own token.
    fn kubeconfig(&self) -> std::path::PathBuf {
        let token = self.cluster.kubectl(&["--namespace", "failover", "create", "token", "failover"]);
        let cluster: Value =
            serde_json::from_str(&fs::read_to_string(self.cluster.folder().join("cluster.json")).unwrap()).unwrap();
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{ "name": "c", "cluster": { "server": cluster["api"], "certificate-authority": cluster["ca"] } }],
            "users": [{ "name": "u", "user": { "token": token.trim() } }],
            "contexts": [{ "name": "c", "context": { "cluster": "c", "user": "u" } }],
        });
        let file = self.folder.join("kubeconfig");
        fs::write(&file, config.to_string()).unwrap();
        file
    }

    /// The rendered configuration, with the places of this machine instead of those of a pod.
    fn configuration(&self, port: u16, cloud: &str) -> std::path::PathBuf {
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
        config["kubernetes"]["kubeconfig"] = json!(self.kubeconfig());
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
    let config = block_in_place(|| {
        let chart = Chart { cluster, folder: folder.path() };
        chart.grant();
        chart.configuration(port, cloud.url())
    });

    let program = Program::serve(&config, port);
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

    // The check of an operator, under the same account.
    let check = Command::new(env!("CARGO_BIN_EXE_failover")).args(["check", "--config"]).arg(&config).output().unwrap();
    let said = String::from_utf8(check.stdout).unwrap();
    let denied = said.lines().any(|line| !line.starts_with("ok") && line.contains("permission"));
    assert!(!denied && said.contains("Kubernetes API server: answers"), "{said}");

    drop(program);
    let (all, others) = asked(cluster, &namespace);
    assert!(others.is_empty(), "asked without a right in charts/rights.txt: {others:#?}");
    for request in ["watched: watch pods", "watched: create events.events.k8s.io", "anywhere: watch nodes"] {
        assert!(all.contains(request), "the log shows no {request}: {all:#?}");
    }

    // And the log would have shown it.
    let kubeconfig = folder.path().join("kubeconfig");
    block_in_place(|| cluster.try_kubectl(&["--kubeconfig", kubeconfig.to_str().unwrap(), "get", "secrets"]));
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
