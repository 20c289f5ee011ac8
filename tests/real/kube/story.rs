//! A story: a validator of its own in a namespace of its own, and what the kube source says of it.
//!
//! It waits for what is said, never for time to pass, and fails on a verdict that must not come in between.

use std::{sync::Arc, time::Duration};

use failover::{
    adapters::{
        clock::SystemClock,
        kube::{self, KubeObservation, KubeWatch, Named, Target, WorkloadKind},
    },
    domain::{ValidatorId, Verdict, kube::Thresholds},
};
use serde_json::{Value, json};
use tokio::{
    sync::{MutexGuard, mpsc},
    task::block_in_place,
    time::Instant,
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::cluster::Cluster;

/// Far more than anything here takes, also when the machine has other things to do; only a failure waits so long.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// *Down* must not be said on the way to what is waited for.
pub const HARMLESS: [Verdict; 2] = [Verdict::Unknown, Verdict::Up];

/// What comes before does not matter.
pub const ANY: [Verdict; 3] = [Verdict::Unknown, Verdict::Up, Verdict::Down];

/// What is said of one validator.
pub struct Watching {
    observations: mpsc::Receiver<KubeObservation>,
    /// Everything that a human was asked so far.
    pub questions: Vec<String>,
    _stop: DropGuard,
}

impl Watching {
    pub async fn start(cluster: &Cluster, namespace: &str, named: Named) -> Self {
        Self::start_of(cluster, namespace, named, None).await
    }

    /// The same for one container of the pod.
    pub async fn start_of(cluster: &Cluster, namespace: &str, named: Named, container: Option<&str>) -> Self {
        let client = kube::connect(Some(&cluster.kubeconfig())).await.unwrap();
        let validator = ValidatorId::new("eth-0").unwrap();
        let target = Target { validator, namespace: namespace.into(), named, container: container.map(str::to_owned) };
        let watch = KubeWatch::new(client, vec![target], Thresholds::default(), Arc::new(SystemClock));
        let (tx, observations) = mpsc::channel(64);
        let stop = CancellationToken::new();
        tokio::spawn(watch.run(tx, stop.clone()));
        Self { observations, questions: Vec::new(), _stop: stop.drop_guard() }
    }

    /// Waits until this is said, in these words and with this verdict; until then only these verdicts may be.
    pub async fn says(&mut self, passing: &[Verdict], verdict: Verdict, words: &str) -> KubeObservation {
        let mut said = Vec::new();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let next = tokio::time::timeout_at(deadline, self.observations.recv()).await;
            let seen = next.unwrap_or_else(|_| panic!("waited in vain for '{words}'; said was {said:#?}"));
            let seen = seen.expect("the source runs");
            let (now, why) = (seen.reading.verdict, &seen.reading.why);
            println!("  {now}{}: {why}", if seen.hold.is_some() { ", held" } else { "" });
            self.questions.extend(seen.hold.as_deref().map(str::to_owned));
            if now == verdict && why.contains(words) {
                return seen;
            }
            assert!(passing.contains(&now), "{now} ({why}) before '{words}'; said was {said:#?}");
            said.push(format!("{now}: {why}"));
        }
    }

    /// It is down, for this reason, and no human is asked.
    pub async fn down(&mut self, words: &str) -> KubeObservation {
        let seen = self.says(&HARMLESS, Verdict::Down, words).await;
        assert_eq!(seen.hold, None, "{:?}", seen.reading);
        seen
    }

    /// A human is asked: it is no outage, and nothing may open by itself.
    pub async fn question(&mut self, words: &str) -> KubeObservation {
        let seen = self.says(&HARMLESS, Verdict::Unknown, words).await;
        assert!(seen.hold.is_some(), "nobody is asked: {:?}", seen.reading);
        seen
    }

    /// It is up again, and was never down on the way.
    pub async fn up(&mut self) -> KubeObservation {
        self.says(&HARMLESS, Verdict::Up, "runs and is ready").await
    }
}

/// A namespace with the statefulset `vc` on a node of its own, watched, and up.
pub struct Story {
    pub cluster: &'static Cluster,
    pub namespace: String,
    /// Its node; pulling its plug is stopping `kwok-` and this.
    pub node: String,
    pub watching: Watching,
    _turn: MutexGuard<'static, ()>,
}

impl Story {
    pub async fn begin(name: &str) -> Self {
        Self::begin_with(name, |_| ()).await
    }

    /// The same with a statefulset that is a little different.
    pub async fn begin_with(name: &str, change: impl FnOnce(&mut Value)) -> Self {
        let mut story = Self::unwatched(name, change).await;
        story.watching.says(&ANY, Verdict::Up, "runs and is ready").await;
        story
    }

    /// The same without waiting for anything.
    pub async fn unwatched(name: &str, change: impl FnOnce(&mut Value)) -> Self {
        let cluster = block_in_place(Cluster::shared);
        let turn = cluster.turn().await;
        let namespace = cluster.name(name);
        let node = format!("node-{namespace}");
        block_in_place(|| {
            cluster.act("node", &[&node, &node]);
            cluster.kubectl(&["create", "namespace", &namespace]);
            let mut set = stateful_set(&node);
            change(&mut set);
            cluster.kubectl_with(&["--namespace", &namespace, "create"], &set.to_string());
        });
        let named = Named::Workload { kind: WorkloadKind::StatefulSet, name: "vc".into() };
        let watching = Watching::start(cluster, &namespace, named).await;
        Self { cluster, namespace, node, watching, _turn: turn }
    }

    /// As an administrator, in this namespace.
    pub fn kubectl(&self, arguments: &[&str]) -> String {
        block_in_place(|| self.cluster.kubectl(&[&["--namespace", &self.namespace], arguments].concat()))
    }

    /// Pulls the plug of its node.
    pub fn pull_the_plug(&self) {
        block_in_place(|| self.cluster.act("stop", &[&format!("kwok-{}", self.node)]));
    }
}

impl Drop for Story {
    /// Its machine is gone for good: a cluster with many dead nodes evicts nobody any more.
    fn drop(&mut self) {
        block_in_place(|| {
            self.cluster.try_act("stop", &[&format!("kwok-{}", self.node)]);
            self.cluster.try_kubectl(&["delete", "node", &self.node]);
            self.cluster.try_kubectl(&["delete", "namespace", &self.namespace, "--wait=false"]);
        });
    }
}

/// One pod that has to stand on this node, and leaves it a few seconds after its death.
pub fn stateful_set(node: &str) -> Value {
    let leave = |taint: &str| json!({"key": format!("node.kubernetes.io/{taint}"), "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 2});
    json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": { "name": "vc" },
        "spec": {
            "replicas": 1, "serviceName": "vc", "selector": { "matchLabels": { "app": "vc" } },
            "template": {
                "metadata": { "labels": { "app": "vc" } },
                "spec": {
                    "nodeSelector": { "kubernetes.io/hostname": node },
                    "tolerations": [leave("unreachable"), leave("not-ready")],
                    "containers": [{ "name": "validator", "image": "registry.example.org/validator:1" }],
                },
            },
        },
    })
}
