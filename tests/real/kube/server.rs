//! The API server itself goes, or forgets: that is *unknown* and passes, and nothing that happens meanwhile is missed.

use failover::domain::{Verdict, kube::Cause};
use tokio::task::block_in_place;

use super::story::Story;

#[tokio::test(flavor = "multi_thread")]
async fn an_api_server_that_stops_is_unknown_and_up_again_when_it_is_back() {
    let mut story = Story::begin("server").await;
    block_in_place(|| story.cluster.act("stop", &["apiserver"]));
    let seen = story.watching.says(&[Verdict::Up, Verdict::Unknown], Verdict::Unknown, "cannot be seen").await;
    assert!(seen.reading.why.contains("the API server does not answer"), "{}", seen.reading.why);
    assert!(matches!(seen.health.cause, Cause::Unseen(_)), "{:?}", seen.health);
    assert_eq!(seen.hold, None);
    block_in_place(|| story.cluster.act("start", &["apiserver"]));
    // Nobody could renew a lease meanwhile; that must not look like a machine that is gone.
    story.watching.up().await;
    assert_eq!(story.watching.questions, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_while_history_is_lost_is_seen_nevertheless() {
    let mut story = Story::begin("history").await;
    // Watches continue over a compaction, and hear what comes after it.
    block_in_place(|| story.cluster.act("compact", &[]));
    story.kubectl(&["label", "pod/vc-0", "fate=not-ready"]);
    story.watching.says(&[Verdict::Up], Verdict::Unknown, "not ready").await;
    story.kubectl(&["label", "pod/vc-0", "fate-"]);
    story.watching.up().await;

    // Both together, and every watch from before ends in "410 Gone".
    block_in_place(|| story.cluster.act("stop", &["apiserver"]));
    story.watching.says(&[Verdict::Up, Verdict::Unknown], Verdict::Unknown, "cannot be seen").await;
    block_in_place(|| {
        story.cluster.act("compact", &[]);
        story.cluster.act("start", &["apiserver"]);
    });
    story.watching.up().await;
    story.kubectl(&["scale", "statefulset/vc", "--replicas=0"]);
    story.watching.question("it was scaled to zero").await;
}
