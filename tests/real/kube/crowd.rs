//! Two thousand pods on two hundred nodes beside ours: what is said stays right, and is said as fast.

use std::time::{Duration, Instant};

use ::kube::{
    Api,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use failover::{adapters::kube, domain::Verdict};
use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use serde_json::{Value, json};

use super::story::Story;

const NODES: usize = 200;
const PODS: usize = 2_000;

/// Ours is found among the others by name and label, at the server: what is heard of them here is nothing.
const SOON: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_beside_ours_changes_nothing_of_what_is_said() {
    let mut story = Story::begin("crowd").await;
    let client = kube::connect(Some(&story.cluster.kubeconfig())).await.unwrap();
    let crowd = story.cluster.name("others");
    create::<Namespace>(&Api::all(client.clone()), vec![json!({ "metadata": { "name": crowd } })]).await;
    // Their kubelets are us: two hundred of kwok's would leave no processor for ours.
    let nodes = (0..NODES)
        .map(|number| json!({ "metadata": { "name": format!("{crowd}-{number}"), "labels": { "plug": "none" } } }));
    let nodes = nodes.collect();
    create::<Node>(&Api::all(client.clone()), nodes).await;
    // They are named and labelled like ours, and all of them crash.
    let mut pods: Vec<Value> = (0..PODS).map(|number| pod(number, &format!("{crowd}-{}", number % NODES))).collect();
    let late = pods.split_off(PODS / 2);
    create::<Pod>(&Api::namespaced(client.clone(), &crowd), pods).await;

    // While the other half comes, ours is heard at once.
    let coming = tokio::spawn({
        let api = Api::<Pod>::namespaced(client.clone(), &crowd);
        async move {
            create(&api, late).await;
            crash(&api).await;
        }
    });
    let began = Instant::now();
    story.kubectl(&["label", "pod/vc-0", "fate=not-ready"]);
    story.watching.says(&[Verdict::Up], Verdict::Unknown, "not ready").await;
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    coming.await.unwrap();
    story.kubectl(&["label", "pod/vc-0", "fate-"]);
    story.watching.up().await;

    // One of them in our own namespace, with our label and without our owner, is not ours.
    create::<Pod>(&Api::namespaced(client.clone(), &story.namespace), vec![pod(0, &format!("{crowd}-0"))]).await;
    story.kubectl(&["scale", "statefulset/vc", "--replicas=0"]);
    story.watching.question("it was scaled to zero").await;

    // Or the cluster would take itself for one whose nodes are nearly all dead.
    let at_once = DeleteParams::default().grace_period(0);
    let others = ListParams::default().labels("plug=none");
    Api::<Pod>::namespaced(client.clone(), &crowd).delete_collection(&at_once, &ListParams::default()).await.unwrap();
    Api::<Node>::all(client).delete_collection(&at_once, &others).await.unwrap();
}

/// What their kubelets would write.
async fn crash(api: &Api<Pod>) {
    let status = json!({ "status": { "phase": "Running", "containerStatuses": [{
        "name": "validator", "image": "", "imageID": "", "ready": false, "restartCount": 7,
        "state": { "waiting": { "reason": "CrashLoopBackOff" } },
    }] } });
    let patch = Patch::Merge(&status);
    let crash = |number| {
        let patch = &patch;
        async move { api.patch_status(&format!("vc-{number}"), &PatchParams::default(), patch).await.map(drop).unwrap() }
    };
    stream::iter(1..=PODS).for_each_concurrent(16, crash).await;
}

fn pod(number: usize, node: &str) -> Value {
    json!({
        "metadata": { "name": format!("vc-{}", number + 1), "labels": { "app": "vc" } },
        "spec": { "nodeName": node, "containers": [{ "name": "validator", "image": "registry.example.org/validator:1" }] },
    })
}

async fn create<K>(api: &Api<K>, objects: Vec<Value>)
where
    K: Clone + std::fmt::Debug + serde::de::DeserializeOwned + serde::Serialize,
{
    let create = |object: Value| async move {
        let object: K = serde_json::from_value(object).unwrap();
        api.create(&PostParams::default(), &object).await.unwrap();
    };
    stream::iter(objects).for_each_concurrent(16, create).await;
}
