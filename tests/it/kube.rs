//! The kube source against a fake API server that lists and watches over HTTP: what it says, when, and what it asks.

use std::{sync::Arc, time::Duration};

use failover::{
    adapters::{
        clock::SystemClock,
        kube::{self, KubeObservation, KubeWatch, Named, Target, WorkloadKind},
    },
    domain::{Time, ValidatorId, Verdict, kube::Thresholds},
    sandbox::kube::{FakeApiServer, Mood, objects},
};
use serde_json::{Value, json};
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_util::sync::{CancellationToken, DropGuard};

mod command;
mod events;
mod field;
mod maintenance;
mod rights;
mod troubles;
mod watcher;

/// Longer than anything here may take; a test that reaches it fails.
const LIMIT: Duration = Duration::from_secs(20);

fn target(validator: &str, named: Named) -> Target {
    Target { validator: ValidatorId::new(validator).unwrap(), namespace: "eth".into(), named, container: None }
}

fn stateful_set(name: &str) -> Named {
    Named::Workload { kind: WorkloadKind::StatefulSet, name: name.into() }
}

/// A cluster with one validator on one node, and everything a controller would have written.
async fn cluster() -> FakeApiServer {
    let api = FakeApiServer::start().await.unwrap();
    api.put("statefulsets", objects::stateful_set("eth", "vc"));
    api.put("pods", objects::pod("eth", "vc", "attic"));
    api.put("nodes", objects::node("attic"));
    api.put("leases", objects::lease("attic", &now(), 40));
    api
}

fn now() -> String {
    Time::now().strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

/// A kubelet that renews its lease; dead when dropped.
struct Kubelet(JoinHandle<()>);

impl Kubelet {
    fn start(api: &Arc<FakeApiServer>, seconds: i32) -> Self {
        let api = api.clone();
        Self(tokio::spawn(async move {
            loop {
                api.put("leases", objects::lease("attic", &now(), seconds));
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }))
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A running kube source.
struct Watching {
    observations: mpsc::Receiver<KubeObservation>,
    _stop: DropGuard,
}

impl Watching {
    async fn start(api: &FakeApiServer, targets: Vec<Target>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let client = kube::connect(Some(&api.kubeconfig(folder.path()).unwrap())).await.unwrap();
        let watch = KubeWatch::new(client, targets, Thresholds::default(), Arc::new(SystemClock));
        let (tx, observations) = mpsc::channel(64);
        let stop = CancellationToken::new();
        tokio::spawn(watch.run(tx, stop.clone()));
        Self { observations, _stop: stop.drop_guard() }
    }

    async fn validator(api: &FakeApiServer) -> Self {
        Self::start(api, vec![target("eth-0", stateful_set("vc"))]).await
    }

    async fn next(&mut self) -> KubeObservation {
        tokio::time::timeout(LIMIT, self.observations.recv()).await.expect("something is told").expect("it runs")
    }

    /// Waits until this verdict is told; until then nothing else may be but *unknown*.
    async fn until(&mut self, verdict: Verdict) -> KubeObservation {
        self.passing(&[Verdict::Unknown, Verdict::Up], move |seen| seen.reading.verdict == verdict).await
    }

    /// Waits for what is looked for; until then only these verdicts may be told.
    async fn passing(&mut self, allowed: &[Verdict], wanted: impl Fn(&KubeObservation) -> bool) -> KubeObservation {
        let mut said = Vec::new();
        let deadline = tokio::time::Instant::now() + LIMIT;
        loop {
            let next = tokio::time::timeout_at(deadline, self.next()).await;
            let seen = next.unwrap_or_else(|_| panic!("it was not told in time, but {said:?}"));
            if wanted(&seen) {
                return seen;
            }
            assert!(allowed.contains(&seen.reading.verdict), "{:?} after {said:?}", seen.reading);
            said.push(seen.reading.why);
        }
    }

    async fn says(&mut self, words: &str) -> KubeObservation {
        self.passing(&[Verdict::Unknown, Verdict::Up], |seen| seen.reading.why.contains(words)).await
    }
}

fn crash(api: &FakeApiServer) {
    api.change("pods", "eth", "vc-0", |pod| {
        let waiting = json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 5m0s"}});
        let mut status = objects::container("vc", waiting, false, 6);
        status["lastState"] =
            json!({"terminated": {"exitCode": 1, "reason": "Error", "message": "log\nno space left"}});
        pod["status"]["containerStatuses"] = json!([status]);
        set_ready(pod, "False");
    });
}

fn set_ready(object: &mut Value, ready: &str) {
    for condition in object["status"]["conditions"].as_array_mut().unwrap() {
        if condition["type"] == "Ready" {
            condition["status"] = ready.into();
        }
    }
}

#[tokio::test]
async fn a_ready_pod_is_up_and_costs_one_list_and_one_watch_of_each_thing() {
    let api = cluster().await;
    let mut watching = Watching::validator(&api).await;
    let seen = watching.until(Verdict::Up).await;
    assert_eq!(&*seen.reading.why, "pod vc-0 runs and is ready on node attic");
    assert_eq!((seen.hold, seen.pause), (None, None));
    // Every change is heard by a watch, so from here on nothing is listed again.
    set(&api, "eth", "hello");
    crash_free_change(&api);
    let mut requests = api.requests();
    requests.sort();
    requests.dedup();
    let lists = requests.iter().filter(|request| request.starts_with("list ")).count();
    assert_eq!(lists, 4, "{requests:?}");
    let all = api.requests().iter().filter(|request| request.starts_with("list ")).count();
    assert_eq!(all, lists, "nothing is listed twice: {:?}", api.requests());
    for thing in ["eth/statefulsets", "eth/pods", "nodes", "kube-node-lease/leases"] {
        assert!(requests.contains(&format!("list {thing}")), "{thing} in {requests:?}");
    }
}

fn set(api: &FakeApiServer, namespace: &str, label: &str) {
    api.change("statefulsets", namespace, "vc", |set| set["metadata"]["labels"] = json!({"note": label}));
}

fn crash_free_change(api: &FakeApiServer) {
    api.change("pods", "eth", "vc-0", |pod| pod["metadata"]["annotations"] = json!({"big": "x".repeat(2_000_000)}));
}

#[tokio::test]
async fn a_crash_loop_is_told_with_its_exit_code_and_last_words() {
    let api = cluster().await;
    let mut watching = Watching::validator(&api).await;
    watching.until(Verdict::Up).await;
    crash(&api);
    let seen = watching.until(Verdict::Down).await;
    assert_eq!(
        &*seen.reading.why,
        "container vc crashes again and again, 6 times so far; it ended with exit code 1, last words: log / no space left"
    );
}

#[tokio::test]
async fn a_silent_lease_is_a_node_gone_by_our_own_clock_and_within_a_second() {
    let api = Arc::new(cluster().await);
    let kubelet = Kubelet::start(&api, 2);
    let mut watching = Watching::validator(&api).await;
    watching.until(Verdict::Up).await;
    drop(kubelet);
    let silent_since = tokio::time::Instant::now();
    let seen = watching.passing(&[Verdict::Up], |seen| seen.reading.verdict == Verdict::Down).await;
    let after = silent_since.elapsed();
    assert!(
        seen.reading.why.starts_with("node attic is gone: its lease was not renewed for 2"),
        "{}",
        seen.reading.why
    );
    assert!(after >= Duration::from_millis(1700), "not before the lease has run out: {after:?}");
    assert!(after <= Duration::from_secs(3), "within a second of its end: {after:?}");
    // It lives again.
    let _kubelet = Kubelet::start(&api, 2);
    watching.passing(&[Verdict::Down], |seen| seen.reading.verdict == Verdict::Up).await;
}

#[tokio::test]
async fn a_node_the_cluster_gives_up_takes_its_pod_along() {
    let api = cluster().await;
    let mut watching = Watching::validator(&api).await;
    watching.until(Verdict::Up).await;
    api.change("nodes", "", "attic", |node| set_ready(node, "Unknown"));
    let seen = watching.passing(&[Verdict::Up], |seen| seen.reading.verdict == Verdict::Down).await;
    assert!(seen.reading.why.contains("Ready is Unknown"), "{}", seen.reading.why);
    // Five minutes later the taint manager deletes the pod. That is no human's work.
    api.change("pods", "eth", "vc-0", |pod| {
        pod["metadata"]["deletionTimestamp"] = "2026-11-21T07:00:00Z".into();
        let conditions = pod["status"]["conditions"].as_array_mut().unwrap();
        conditions.push(json!({"type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager"}));
    });
    api.remove("pods", "eth", "vc-0");
    let seen = watching.passing(&[Verdict::Down], |seen| seen.reading.why.contains("taken off")).await;
    assert_eq!((seen.reading.verdict, seen.hold), (Verdict::Down, None), "{}", seen.reading.why);
}

#[tokio::test]
async fn scaled_to_zero_and_deleted_are_questions_and_never_down() {
    let api = cluster().await;
    let mut watching = Watching::validator(&api).await;
    watching.until(Verdict::Up).await;
    api.change("statefulsets", "eth", "vc", |set| set["spec"]["replicas"] = 0.into());
    api.remove("pods", "eth", "vc-0");
    let seen = watching.says("scaled to zero").await;
    assert!(seen.hold.is_some());
    api.remove("statefulsets", "eth", "vc");
    let seen = watching.says("statefulset eth/vc was deleted by hand").await;
    assert!(seen.hold.is_some());
}

#[tokio::test]
async fn a_deployments_pod_is_found_through_its_replica_set() {
    let api = cluster().await;
    api.put("deployments", {
        let mut object = objects::stateful_set("eth", "vc");
        object["kind"] = "Deployment".into();
        object["status"] =
            json!({"conditions": [{"type": "Progressing", "status": "True", "reason": "ReplicaSetUpdated"}]});
        object
    });
    let deployment = Named::Workload { kind: WorkloadKind::Deployment, name: "vc".into() };
    let mut watching = Watching::start(&api, vec![target("eth-0", deployment)]).await;
    let seen = watching.says("a changed template is being rolled out").await;
    assert!(seen.hold.is_some(), "the pod of the statefulset is not the deployment's");
    api.change("pods", "eth", "vc-0", |pod| {
        pod["metadata"]["ownerReferences"][0]["kind"] = "ReplicaSet".into();
        pod["metadata"]["ownerReferences"][0]["name"] = "vc-5d4f8c".into();
    });
    watching.until(Verdict::Up).await;
}

#[tokio::test]
async fn what_the_operator_has_written_on_it_is_passed_on() {
    let api = cluster().await;
    let mut watching = Watching::validator(&api).await;
    watching.until(Verdict::Up).await;
    api.change("statefulsets", "eth", "vc", |set| {
        set["metadata"]["annotations"] =
            json!({"failover.dev/pause-until": "2026-11-21T18:00:00Z", "failover.dev/pause-reason": "new disk"});
    });
    let noted = watching.passing(&[Verdict::Up], |seen| seen.pause.is_some()).await.pause.unwrap();
    assert_eq!((noted.until.as_str(), noted.reason.as_deref()), ("2026-11-21T18:00:00Z", Some("new disk")));
}

#[tokio::test]
async fn a_replaced_pod_that_finds_no_place_was_down_without_a_break() {
    let api = cluster().await;
    let mut watching = Watching::validator(&api).await;
    watching.until(Verdict::Up).await;
    api.change("nodes", "", "attic", |node| set_ready(node, "Unknown"));
    watching.until(Verdict::Down).await;
    api.remove("pods", "eth", "vc-0");
    let mut pod = objects::pod("eth", "vc", "attic");
    pod["metadata"]["uid"] = "pod-vc-2".into();
    pod["spec"].as_object_mut().unwrap().remove("nodeName");
    pod["status"] = json!({"phase": "Pending"});
    api.put("pods", pod.clone());
    let said = "0/1 nodes are available";
    pod["status"]["conditions"] =
        json!([{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": said}]);
    api.put("pods", pod);
    let seen = watching.passing(&[Verdict::Down], |seen| seen.reading.why.contains(said)).await;
    assert_eq!(seen.reading.verdict, Verdict::Down);
}

#[tokio::test]
async fn a_replaced_pod_that_starts_elsewhere_is_on_its_way() {
    let api = cluster().await;
    api.put("nodes", objects::node("cellar"));
    api.put("leases", objects::lease("cellar", &now(), 40));
    let mut watching = Watching::validator(&api).await;
    watching.until(Verdict::Up).await;
    api.change("nodes", "", "attic", |node| set_ready(node, "Unknown"));
    watching.until(Verdict::Down).await;
    let mut pod = objects::pod("eth", "vc", "cellar");
    pod["metadata"]["uid"] = "pod-vc-2".into();
    let mut starting = pod.clone();
    starting["status"] = json!({"phase": "Pending"});
    api.put("pods", starting);
    watching.passing(&[Verdict::Down], |seen| seen.reading.why.contains("is starting")).await;
    api.put("pods", pod);
    let seen = watching.until(Verdict::Up).await;
    assert_eq!(&*seen.reading.why, "pod vc-0 runs and is ready on node cellar");
}
