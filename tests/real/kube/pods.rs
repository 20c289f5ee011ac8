//! What becomes of one pod, and what is said of it: the ways to go down are distinguished, and a human's work is no
//! outage.

use failover::domain::{
    Verdict,
    kube::{Cause, Changed, End},
};
use serde_json::json;

use super::story::{ANY, HARMLESS, Story};

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_is_missing_is_named_and_is_down() {
    let mut story = Story::begin("image").await;
    story.kubectl(&["label", "pod/vc-0", "fate=image-missing"]);
    let words = "the image of container validator cannot be pulled: ImagePullBackOff (Back-off pulling image";
    let seen = story.watching.down(words).await;
    assert!(matches!(seen.health.cause, Cause::Image { changed: Changed::No, .. }), "{:?}", seen.health);
    story.kubectl(&["label", "pod/vc-0", "fate-"]);
    story.watching.says(&ANY, Verdict::Up, "runs and is ready").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_loop_out_of_nothing_is_down_with_its_last_words() {
    let mut story = Story::begin("crash").await;
    story.kubectl(&["label", "pod/vc-0", "fate=crash-loop"]);
    let words = "crashes again and again, 5 times so far; it ended with exit code 1, last words: fatal: the database \
                 is damaged / read: input/output error";
    story.watching.down(words).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_for_its_memory_is_said_so() {
    let mut story = Story::begin("memory").await;
    story.kubectl(&["label", "pod/vc-0", "fate=oom-killed"]);
    let seen = story.watching.down("used more memory than it may (OOMKilled)").await;
    let expected = End { code: Some(137), out_of_memory: true, message: String::new() };
    assert!(matches!(&seen.health.cause, Cause::CrashLoop { end, .. } if *end == expected), "{:?}", seen.health);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_loop_that_began_with_a_new_template_is_a_question() {
    let mut story = Story::begin("release").await;
    let labels = json!({"spec": {"template": {"metadata": {"labels": {"fate": "crash-loop"}}}}});
    story.kubectl(&["patch", "statefulset/vc", "--patch", &labels.to_string()]);
    let seen = story.watching.question("this began with a change of its template").await;
    assert!(matches!(seen.health.cause, Cause::CrashLoop { changed: Changed::Yes, .. }), "{:?}", seen.health);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_nobody_fulfils_is_a_volume_that_cannot_be_mounted() {
    let mut story = Story::unwatched("claim", |set| {
        set["spec"]["volumeClaimTemplates"] = json!([{
            "metadata": { "name": "data" },
            "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } },
        }]);
    })
    .await;
    let seen = story.watching.down("a volume of pod vc-0 cannot be mounted").await;
    let Cause::Volume { why, .. } = &seen.health.cause else { panic!("{:?}", seen.health) };
    assert!(
        why.to_ascii_lowercase().contains("persistentvolumeclaim"),
        "the scheduler says which kind of thing: {why}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_without_a_place_is_down_in_the_schedulers_words() {
    let mut story = Story::unwatched("pending", |set| {
        set["spec"]["template"]["spec"]["containers"][0]["resources"] = json!({"requests": {"memory": "64Gi"}});
    })
    .await;
    let seen = story.watching.down("pod vc-0 has no node").await;
    assert!(seen.reading.why.contains("Insufficient memory"), "{}", seen.reading.why);
}

#[tokio::test(flavor = "multi_thread")]
async fn scaled_to_zero_is_a_question_until_it_is_scaled_back() {
    let mut story = Story::begin("scaled").await;
    story.kubectl(&["scale", "statefulset/vc", "--replicas=0"]);
    story.watching.question("it was scaled to zero, is this maintenance?").await;
    story.kubectl(&["wait", "--for=delete", "pod/vc-0", "--timeout=30s"]);
    story.kubectl(&["scale", "statefulset/vc", "--replicas=1"]);
    story.watching.up().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statefulset_deleted_by_hand_is_a_question() {
    let mut story = Story::begin("removed").await;
    story.kubectl(&["delete", "statefulset/vc"]);
    story.watching.question("was deleted by hand, is this maintenance?").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_deleted_by_hand_is_never_an_outage_and_its_successor_is_up() {
    let mut story = Story::begin("deleted").await;
    let uid = ["get", "pod/vc-0", "--output", "jsonpath={.metadata.uid}"];
    let before = story.kubectl(&uid);
    story.kubectl(&["delete", "pod/vc-0"]);
    story.watching.says(&[], Verdict::Unknown, "vc").await;
    story.watching.up().await;
    assert_ne!(story.kubectl(&uid), before);

    // One that nobody makes again stays a question.
    story.kubectl(&["delete", "statefulset/vc", "--cascade=orphan"]);
    story.watching.question("was deleted by hand").await;
    let mut alone = super::story::Watching::start(
        story.cluster,
        &story.namespace,
        failover::adapters::kube::Named::Selector("app=vc".into()),
    )
    .await;
    alone.up().await;
    story.kubectl(&["delete", "pod/vc-0"]);
    let seen = alone.says(&HARMLESS, Verdict::Unknown, "pod vc-0 was deleted by hand, is this maintenance?").await;
    assert!(seen.hold.is_some());
}
