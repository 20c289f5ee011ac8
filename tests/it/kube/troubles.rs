//! What cannot be seen is *unknown* with the name of what is missing, never *down*; and it heals by itself.

use failover::ports::FindingState;

use super::*;

#[tokio::test]
async fn a_server_that_hangs_is_never_a_silent_node() {
    let api = Arc::new(cluster().await);
    let kubelet = Kubelet::start(&api, 1);
    let mut watching = Watching::validator(&api).await;
    watching.until(Verdict::Up).await;
    // Nothing comes any more, neither leases nor answers: exactly what a watch shows when the node dies.
    api.set(Mood::Hanging);
    let seen = watching.says("the API server does not answer (no answer in 5 s)").await;
    assert_eq!(seen.reading.verdict, Verdict::Unknown);
    api.set(Mood::Well);
    watching.until(Verdict::Up).await;
    drop(kubelet);
}

#[tokio::test]
async fn a_server_that_stops_is_unknown_and_is_found_again() {
    let api = Arc::new(cluster().await);
    let _kubelet = Kubelet::start(&api, 2);
    let mut watching = Watching::validator(&api).await;
    watching.until(Verdict::Up).await;
    api.set(Mood::Stopped);
    watching.says("it answers 503").await;
    api.set(Mood::Well);
    watching.until(Verdict::Up).await;
}

#[tokio::test]
async fn a_down_that_cannot_be_read_again_is_unknown() {
    let api = cluster().await;
    let mut watching = Watching::validator(&api).await;
    watching.until(Verdict::Up).await;
    crash(&api);
    watching.until(Verdict::Down).await;
    api.set(Mood::Stopped);
    watching.passing(&[Verdict::Down], |seen| seen.reading.verdict == Verdict::Unknown).await;
}

#[tokio::test]
async fn a_missing_permission_is_named_and_its_coming_is_noticed() {
    let api = cluster().await;
    api.refuse("list", "pods", true);
    let mut watching = Watching::validator(&api).await;
    watching.says("the role lacks the permission to list pods in namespace eth").await;
    api.refuse("list", "pods", false);
    watching.until(Verdict::Up).await;
}

#[tokio::test]
async fn what_may_be_listed_but_not_watched_is_not_seen() {
    let api = cluster().await;
    api.refuse("watch", "pods", true);
    let mut watching = Watching::validator(&api).await;
    watching.says("the role lacks the permission to watch pods in namespace eth").await;
    // It is read in case that it may be watched by now, and with pauses that grow.
    let count = |what: &str| api.requests().iter().filter(|request| *request == what).count();
    let tried = async {
        while count("watch eth/pods") < 3 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LIMIT, tried).await.expect("the watch is tried again");
    let reads = count("list eth/pods");
    assert!((2..=6).contains(&reads), "{reads} readings");
    api.refuse("watch", "pods", false);
}

#[tokio::test]
async fn a_token_that_expires_while_running_is_unknown() {
    let api = Arc::new(cluster().await);
    let _kubelet = Kubelet::start(&api, 2);
    let mut watching = Watching::validator(&api).await;
    watching.until(Verdict::Up).await;
    api.unauthorise(true);
    crash(&api);
    let seen = watching.passing(&[Verdict::Up], |seen| seen.reading.verdict == Verdict::Unknown).await;
    assert!(seen.reading.why.contains("does not accept our token"), "{}", seen.reading.why);
    api.unauthorise(false);
    watching.until(Verdict::Down).await;
}

#[tokio::test]
async fn a_watch_whose_past_is_forgotten_lists_again_and_goes_on() {
    let api = cluster().await;
    let mut watching = Watching::validator(&api).await;
    watching.until(Verdict::Up).await;
    api.compact();
    crash(&api);
    let seen = watching.passing(&[Verdict::Up], |seen| seen.reading.verdict == Verdict::Down).await;
    assert!(seen.reading.why.contains("crashes again and again"), "{}", seen.reading.why);
}

#[tokio::test]
async fn a_statefulset_that_does_not_exist_yet_is_named_and_found_when_it_comes() {
    let api = cluster().await;
    api.remove("statefulsets", "eth", "vc");
    let mut watching = Watching::validator(&api).await;
    let seen = watching.says("there is no statefulset eth/vc").await;
    assert_eq!(seen.hold, None, "it was never there, so nobody deleted it");
    api.put("statefulsets", objects::stateful_set("eth", "vc"));
    watching.until(Verdict::Up).await;
}

#[tokio::test]
async fn a_selector_that_matches_nothing_is_unknown() {
    let api = cluster().await;
    let mut watching = Watching::start(&api, vec![target("eth-0", Named::Selector("app=other".into()))]).await;
    watching.says("no pod matches selector app=other in namespace eth").await;
}

#[tokio::test]
async fn two_validators_with_one_pod_are_both_unknown() {
    let api = cluster().await;
    crash(&api);
    let both = vec![target("eth-0", stateful_set("vc")), target("eth-1", Named::Selector("app=vc".into()))];
    let mut watching = Watching::start(&api, both).await;
    let seen = watching.says("is also that of validator").await;
    assert_eq!(seen.reading.verdict, Verdict::Unknown);
}

#[tokio::test]
async fn a_lease_from_the_future_is_not_believed() {
    let api = cluster().await;
    api.put("leases", objects::lease("attic", "2099-01-01T00:00:00.000000Z", 1));
    let mut watching = Watching::validator(&api).await;
    let seen = watching.says("one of the clocks is wrong").await;
    assert!(seen.reading.why.contains("ahead of our clock"), "{}", seen.reading.why);
}

#[tokio::test]
async fn check_names_each_permission_and_what_is_not_there() {
    let api = cluster().await;
    api.refuse("watch", "nodes", true);
    api.refuse("create", "events", true);
    let folder = tempfile::tempdir().unwrap();
    let client = kube::connect(Some(&api.kubeconfig(folder.path()).unwrap())).await.unwrap();
    let targets = [target("eth-0", stateful_set("vc")), target("eth-1", stateful_set("gone"))];
    let findings = kube::check(client, &targets).await;
    let bad: Vec<String> = findings
        .iter()
        .filter(|finding| finding.state != FindingState::Ok)
        .map(|finding| format!("{}: {}", finding.subject, finding.detail))
        .collect();
    assert_eq!(
        bad,
        [
            "permission to watch nodes: refused",
            "permission to create events in namespace eth: refused",
            "eth-1 (statefulset eth/gone): is not there",
        ]
    );
    assert_eq!(findings.len(), 1 + 11 + 2, "{findings:?}");
    let remedies: Vec<_> = findings.iter().filter_map(|finding| finding.remedy.as_deref()).collect();
    assert!(matches!(remedies[..], [one, _, _] if one.contains("add it to the role")), "{remedies:?}");
}

#[tokio::test]
async fn without_a_cluster_the_way_in_is_named() {
    let Err(error) = kube::connect(None).await else { panic!("there is no cluster here") };
    assert!(error.to_string().contains("kubernetes.kubeconfig"), "{error}");
}
