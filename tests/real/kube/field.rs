//! What controllers, kubelets and schedulers really do, where the API's documents say too little: a controller that never
//! says that a rollout is finished, sidecars, reboots, pods that are left behind, words that change with the version.

use failover::{
    adapters::kube::{Named, WorkloadKind},
    domain::{
        Verdict,
        kube::{Cause, Changed},
    },
};
use serde_json::json;
use tokio::task::block_in_place;

use super::story::{ANY, Story, Watching, stateful_set};

fn set() -> Named {
    Named::Workload { kind: WorkloadKind::StatefulSet, name: "vc".into() }
}

/// What the controller says of its set: the revision that it has, and the one that it should have.
fn revisions(story: &Story) -> (String, String) {
    let of = |which: &str| {
        let words = format!("jsonpath={{.status.{which}Revision}}");
        story.kubectl(&["get", "statefulset/vc", "--output", &words])
    };
    (of("current"), of("update"))
}

fn change_template(story: &Story) {
    let round = json!({"spec": {"template": {"metadata": {"annotations": {"round": "2"}}}}});
    story.kubectl(&["patch", "statefulset/vc", "--patch", &round.to_string()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn under_on_delete_the_controller_never_says_it_is_finished_and_a_pod_that_worked_proves_the_template() {
    let mut story =
        Story::begin_with("on-delete", |set| set["spec"]["updateStrategy"] = json!({"type": "OnDelete"})).await;
    change_template(&story);
    story.kubectl(&["delete", "pod/vc-0"]);
    story.kubectl(&["wait", "--for=create", "pod/vc-0", "--timeout=30s"]);
    story.kubectl(&["wait", "--for=condition=Ready", "pod/vc-0", "--timeout=30s"]);
    let (current, update) = revisions(&story);
    assert_ne!(current, update, "this controller finishes it after all");
    story.kubectl(&["label", "pod/vc-0", "fate=crash-loop"]);
    let seen = story.watching.down("crashes again and again").await;
    assert!(matches!(seen.health.cause, Cause::CrashLoop { changed: Changed::No, .. }), "{:?}", seen.health);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_keeps_the_pod_at_its_template_and_what_breaks_did_not_begin_with_the_change() {
    let partition = json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 1}});
    let mut story = Story::begin_with("partition", |set| set["spec"]["updateStrategy"] = partition).await;
    change_template(&story);
    story.kubectl(&["wait", "--for=jsonpath={.status.observedGeneration}=2", "statefulset/vc", "--timeout=30s"]);
    let (current, update) = revisions(&story);
    assert_ne!(current, update);
    story.kubectl(&["label", "pod/vc-0", "fate=crash-loop"]);
    story.watching.down("crashes again and again").await;
    assert_eq!(story.watching.questions, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_that_crashes_beside_the_named_container_is_not_the_validator() {
    let mut story = Story::begin_with("sidecar", |set| {
        set["spec"]["template"]["spec"]["initContainers"] = json!([
            {"name": "first", "image": "registry.example.org/first:1"},
            {"name": "relay", "image": "registry.example.org/relay:1", "restartPolicy": "Always"},
        ]);
    })
    .await;
    let mut named = Watching::start_of(story.cluster, &story.namespace, set(), Some("validator")).await;
    named.up().await;
    story.kubectl(&["label", "pod/vc-0", "fate=sidecar-crashes"]);
    // Where no container is named, all have to run.
    story.watching.down("container relay crashes again and again, 14 times so far").await;
    // The next word about the named one is about something else.
    story.kubectl(&["scale", "statefulset/vc", "--replicas=0"]);
    named.says(&[Verdict::Up], Verdict::Unknown, "it was scaled to zero").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_reboots_is_down_until_it_is_back_and_one_restart_more_is_no_crash_loop() {
    let mut story = Story::begin_with("reboot", |set| {
        for toleration in set["spec"]["template"]["spec"]["tolerations"].as_array_mut().unwrap() {
            toleration["tolerationSeconds"] = 300.into();
        }
    })
    .await;
    // It has been rebooted six times in its life.
    let restarts =
        |count: i32| json!([{"op": "replace", "path": "/status/containerStatuses/0/restartCount", "value": count}]);
    let patch = restarts(6).to_string();
    story.kubectl(&["patch", "pod/vc-0", "--subresource=status", "--type=json", "--patch", &patch]);
    let boot = |id: &str| json!({"status": {"nodeInfo": {"bootID": id}}}).to_string();
    let node = format!("node/{}", story.node);
    story.kubectl(&["patch", &node, "--subresource=status", "--patch", &boot("first")]);
    story.pull_the_plug();
    story.watching.down("is gone: its lease was not renewed for").await;
    story.kubectl(&["wait", "--for=condition=Ready=Unknown", &node, "--timeout=30s"]);
    // The kubelet is back: another boot, and the container was started once more.
    story.kubectl(&["patch", &node, "--subresource=status", "--patch", &boot("second")]);
    story.kubectl(&["label", "pod/vc-0", "restarts=7"]);
    block_in_place(|| story.cluster.act("start", &[&format!("kwok-{}", story.node)]));
    story.watching.says(&ANY, Verdict::Up, "runs and is ready").await;
    let count = ["get", "pod/vc-0", "--output", "jsonpath={.status.containerStatuses[0].restartCount}"];
    assert_eq!(story.kubectl(&count), "7");
    story.kubectl(&["label", "pod/vc-0", "fate=not-ready"]);
    story.watching.says(&[Verdict::Up], Verdict::Unknown, "not ready").await;
    assert_eq!(story.watching.questions, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_that_a_shutdown_and_an_eviction_left_behind_are_left_out() {
    let story = Story::begin("left-overs").await;
    let mut deployment = stateful_set(&story.node);
    deployment["kind"] = "Deployment".into();
    deployment["metadata"]["name"] = "dep".into();
    deployment["spec"].as_object_mut().unwrap().remove("serviceName");
    deployment["spec"]["selector"]["matchLabels"]["app"] = "dep".into();
    deployment["spec"]["template"]["metadata"]["labels"]["app"] = "dep".into();
    block_in_place(|| {
        story.cluster.kubectl_with(&["--namespace", &story.namespace, "create"], &deployment.to_string());
    });
    let named = Named::Workload { kind: WorkloadKind::Deployment, name: "dep".into() };
    let mut watching = Watching::start(story.cluster, &story.namespace, named).await;
    watching.says(&ANY, Verdict::Up, "runs and is ready").await;
    let live = ["get", "pods", "--selector=app=dep", "--field-selector=status.phase=Running", "--output=name"];
    for fate in ["evicted", "shut-down"] {
        let pod = story.kubectl(&live);
        story.kubectl(&["label", pod.trim(), &format!("fate={fate}")]);
        // Its successor is there at once, and what it left stays.
        story.kubectl(&["wait", "--for=jsonpath={.status.phase}=Failed", pod.trim(), "--timeout=30s"]);
        story.kubectl(&["wait", "--for=condition=Available", "deployment/dep", "--timeout=30s"]);
    }
    let all = story.kubectl(&["get", "pods", "--selector=app=dep", "--output=name"]);
    assert_eq!(all.lines().count(), 3, "{all}");
    let mut selected = Watching::start(story.cluster, &story.namespace, Named::Selector("app=dep".into())).await;
    selected.says(&[Verdict::Unknown], Verdict::Up, "runs and is ready").await;
    let pod = story.kubectl(&live);
    story.kubectl(&["label", pod.trim(), "fate=crash-loop"]);
    selected.down("crashes again and again").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_that_nobody_saw_is_a_question_though_another_node_has_a_taint() {
    let story = Story::begin("unseen-drain").await;
    let taint = "node-role.kubernetes.io/control-plane:NoSchedule";
    story.kubectl(&["taint", "node", "other-1", taint]);
    story.kubectl(&["drain", &story.node.clone(), "--ignore-daemonsets", "--timeout=30s"]);
    let unschedulable = "jsonpath={.status.conditions[?(@.type=='PodScheduled')].reason}=Unschedulable";
    story.kubectl(&["wait", &format!("--for={unschedulable}"), "pod/vc-0", "--timeout=30s"]);
    let words = ["get", "pod/vc-0", "--output", "jsonpath={.status.conditions[?(@.type=='PodScheduled')].message}"];
    println!("  the scheduler: {}", story.kubectl(&words));
    let mut watching = Watching::start(story.cluster, &story.namespace, set()).await;
    watching.question("has no node while one is closed for new pods (cordoned)").await;
    story.kubectl(&["taint", "node", "other-1", &format!("{taint}-")]);
}
