//! What becomes of a machine: its death is an outage however long it lasts, its drain by a human is none.

use failover::domain::{
    Verdict,
    kube::{Cause, Gone},
};

use tokio::task::block_in_place;

use super::story::{ANY, Story};

#[tokio::test(flavor = "multi_thread")]
async fn a_pulled_plug_is_a_node_gone_and_stays_so_when_the_cluster_evicts_the_pod() {
    let mut story = Story::begin("plug").await;
    story.pull_the_plug();
    // Its lease is the first to tell; the cluster takes some seconds longer.
    let seen = story.watching.down("is gone: its lease was not renewed for").await;
    assert!(matches!(seen.health.cause, Cause::NodeGone { how: Gone::LeaseStale { .. }, .. }), "{:?}", seen.health);
    story.kubectl(&["wait", "--for=jsonpath={.metadata.deletionTimestamp}", "pod/vc-0", "--timeout=60s"]);
    let disruption = story.kubectl(&[
        "get",
        "pod/vc-0",
        "--output",
        "jsonpath={.status.conditions[?(@.type=='DisruptionTarget')].reason}",
    ]);
    assert_eq!(disruption, "DeletionByTaintManager");
    // From its first word on it says nothing else, though the pod is being deleted now.
    let seen = story.watching.says(&[Verdict::Down], Verdict::Down, "is gone").await;
    assert_eq!(seen.hold, None);
    // A human who clears up after it does not make it maintenance.
    story.kubectl(&["delete", "pod/vc-0", "--force", "--grace-period=0"]);
    story.kubectl(&["delete", &format!("node/{}", story.node)]);
    story.watching.says(&ANY, Verdict::Down, "pod vc-0 has no node").await;
    assert_eq!(story.watching.questions, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_drained_is_a_question_until_it_takes_pods_again() {
    let mut story = Story::begin("drain").await;
    story.kubectl(&["drain", &story.node.clone(), "--ignore-daemonsets", "--timeout=30s"]);
    let seen = story.watching.question("drained").await;
    assert!(matches!(seen.health.cause, Cause::Drained { .. }), "{:?}", seen.health);
    // Switched off, as one does next: it is still the same maintenance, and no other word is said of it.
    story.pull_the_plug();
    story.kubectl(&["wait", "--for=condition=Ready=Unknown", &format!("node/{}", story.node), "--timeout=30s"]);
    block_in_place(|| story.cluster.act("start", &[&format!("kwok-{}", story.node)]));
    story.kubectl(&["uncordon", &story.node.clone()]);
    story.watching.up().await;
}
