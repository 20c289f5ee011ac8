//! Clusters as they are: controllers that never finish, old pods, left-overs, other owners, a store that stops.

use failover::ports::FindingState;

use super::*;

fn restarted(api: &FakeApiServer, restarts: i32, state: Value) {
    api.change("pods", "eth", "vc-0", |pod| {
        pod["status"]["containerStatuses"] = json!([objects::container("vc", state, true, restarts)]);
    });
}

#[tokio::test]
async fn under_on_delete_a_template_that_worked_is_proven_and_a_dead_disk_is_down() {
    let api = cluster().await;
    api.change("statefulsets", "eth", "vc", |set| {
        set["spec"]["updateStrategy"] = json!({"type": "OnDelete"});
        set["status"]["updateRevision"] = "vc-r2".into();
    });
    api.change("pods", "eth", "vc-0", |pod| {
        pod["metadata"]["labels"]["controller-revision-hash"] = "vc-r2".into();
        pod["metadata"]["creationTimestamp"] = now().into();
    });
    let mut watching = Watching::validator(&api).await;
    watching.until(Verdict::Up).await;
    crash(&api);
    let seen = watching.passing(&[Verdict::Up], |seen| seen.reading.verdict == Verdict::Down).await;
    assert_eq!(seen.hold, None, "{}", seen.reading.why);
}

#[tokio::test]
async fn a_template_that_never_worked_is_a_question_until_it_is_a_day_old() {
    let old = || "2026-01-01T00:00:00Z".to_owned();
    for (changed, made, verdict, held) in [
        (now(), now(), Verdict::Unknown, true),
        (old(), now(), Verdict::Down, false),
        // Another field of the set was written today.
        (now(), old(), Verdict::Down, false),
    ] {
        let api = cluster().await;
        api.change("statefulsets", "eth", "vc", |set| {
            set["status"]["updateRevision"] = "vc-r2".into();
            set["metadata"]["managedFields"] = json!([{"manager": "helm", "operation": "Update", "time": changed,
                "apiVersion": "apps/v1", "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:template": {}}}}]);
        });
        api.change("pods", "eth", "vc-0", |pod| {
            pod["metadata"]["labels"]["controller-revision-hash"] = "vc-r2".into();
            pod["metadata"]["creationTimestamp"] = made.into();
        });
        crash(&api);
        let mut watching = Watching::validator(&api).await;
        let crashes = |seen: &KubeObservation| seen.reading.why.contains("crashes again and again");
        let seen = watching.passing(&[Verdict::Unknown], crashes).await;
        assert_eq!((seen.reading.verdict, seen.hold.is_some()), (verdict, held), "{}", seen.reading.why);
    }
}

/// It worked before we came: the kubelet's note of its readiness has turned since.
#[tokio::test]
async fn under_on_delete_a_watcher_that_starts_later_sees_that_the_template_worked() {
    for (turned, verdict, held) in
        [("2026-11-21T09:00:00Z", Verdict::Down, false), ("2026-11-21T06:00:00Z", Verdict::Unknown, true)]
    {
        let api = cluster().await;
        api.change("statefulsets", "eth", "vc", |set| {
            set["spec"]["updateStrategy"] = json!({"type": "OnDelete"});
            set["status"]["updateRevision"] = "vc-r2".into();
        });
        crash(&api);
        api.change("pods", "eth", "vc-0", |pod| {
            pod["metadata"]["labels"]["controller-revision-hash"] = "vc-r2".into();
            pod["metadata"]["creationTimestamp"] = now().into();
            pod["status"]["startTime"] = "2026-11-21T06:00:00Z".into();
            pod["status"]["conditions"] = json!([{"type": "Ready", "status": "False", "lastTransitionTime": turned}]);
            pod["status"]["containerStatuses"][0]["restartCount"] = 6.into();
        });
        let mut watching = Watching::validator(&api).await;
        let crashes = |seen: &KubeObservation| seen.reading.why.contains("crashes again and again");
        let seen = watching.passing(&[Verdict::Unknown], crashes).await;
        assert_eq!((seen.reading.verdict, seen.hold.is_some()), (verdict, held), "{}", seen.reading.why);
    }
}

#[tokio::test]
async fn one_restart_of_an_old_pod_is_no_crash_loop_and_its_back_off_is_one() {
    let api = cluster().await;
    let running = || json!({"running": {"startedAt": now()}});
    restarted(&api, 6, running());
    let mut watching = Watching::validator(&api).await;
    watching.until(Verdict::Up).await;
    restarted(&api, 7, json!({"terminated": {"exitCode": 255, "reason": "Unknown"}}));
    watching.says("is starting: container vc is started again").await;
    restarted(&api, 7, running());
    watching.until(Verdict::Up).await;
    restarted(&api, 7, json!({"waiting": {"reason": "CrashLoopBackOff"}}));
    watching.passing(&[Verdict::Up], |seen| seen.reading.verdict == Verdict::Down).await;
}

#[tokio::test]
async fn what_earlier_pods_left_behind_is_left_out() {
    let api = cluster().await;
    for (name, reason) in [("old-a", "Terminated"), ("old-b", "NodeShutdown"), ("old-c", "Evicted")] {
        let mut pod = objects::pod("eth", "vc", "gone-with-the-old-machine");
        (pod["metadata"]["name"], pod["metadata"]["uid"]) = (name.into(), name.into());
        pod["status"] = json!({"phase": "Failed", "reason": reason});
        api.put("pods", pod);
    }
    let target = target("eth-0", Named::Selector("app=vc".into()));
    let folder = tempfile::tempdir().unwrap();
    let client = kube::connect(Some(&api.kubeconfig(folder.path()).unwrap())).await.unwrap();
    let findings = kube::check(client, std::slice::from_ref(&target)).await;
    assert!(findings.iter().all(|finding| finding.state == FindingState::Ok), "{findings:?}");
    let mut watching = Watching::start(&api, vec![target]).await;
    watching.until(Verdict::Up).await;
    crash(&api);
    watching.until(Verdict::Down).await;
    // Somebody clears them away: that is not the validator that went.
    api.remove("pods", "eth", "old-a");
    api.change("pods", "eth", "vc-0", |pod| *pod = objects::pod("eth", "vc", "attic"));
    watching.passing(&[Verdict::Down], |seen| seen.reading.verdict == Verdict::Up).await;
    assert!(!api.requests().contains(&"list gone-with-the-old-machine".to_owned()));
}

#[tokio::test]
async fn a_drain_that_nobody_saw_is_a_question_whatever_taints_other_nodes_have() {
    let api = cluster().await;
    api.change("nodes", "", "attic", |node| node["spec"] = json!({"unschedulable": true}));
    let mut plane = objects::node("plane");
    plane["spec"] = json!({"taints": [{"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}]});
    api.put("nodes", plane);
    let mut pod = objects::pod("eth", "vc", "attic");
    pod["spec"].as_object_mut().unwrap().remove("nodeName");
    pod["metadata"]["creationTimestamp"] = now().into();
    // As the scheduler of 1.36 says it: no taint has a name any more.
    let said = "0/2 nodes are available: 1 node(s) had untolerated taint(s), 1 node(s) were unschedulable.";
    pod["status"] = json!({"phase": "Pending", "conditions": [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": said}]});
    api.put("pods", pod);
    let mut watching = Watching::validator(&api).await;
    let seen = watching.says("closed for new pods (cordoned)").await;
    assert!(seen.hold.is_some());
    // A machine that has died among them makes it an outage.
    let mut dead = objects::node("cellar");
    set_ready(&mut dead, "Unknown");
    api.put("nodes", dead);
    let seen = watching.passing(&[Verdict::Unknown], |seen| seen.reading.verdict == Verdict::Down).await;
    assert_eq!((seen.reading.why.contains(said), seen.hold), (true, None), "{}", seen.reading.why);
}

#[tokio::test]
async fn leases_that_stop_together_are_a_store_that_is_stuck_and_not_all_machines() {
    let api = Arc::new(cluster().await);
    let kubelets = |names: &'static [&'static str]| {
        let api = api.clone();
        let task = tokio::spawn(async move {
            loop {
                for name in names {
                    api.put("leases", objects::lease(name, &now(), 2));
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        });
        Kubelet(task)
    };
    let both = kubelets(&["attic", "cellar"]);
    let mut watching = Watching::validator(&api).await;
    watching.until(Verdict::Up).await;
    drop(both);
    let seen = watching.says("others stopped with it").await;
    assert_eq!((seen.reading.verdict, seen.hold), (Verdict::Unknown, None));
    // The store writes again, and one of the machines is silent: that one is dead.
    let _other = kubelets(&["cellar"]);
    let seen = watching.passing(&[Verdict::Unknown], |seen| seen.reading.verdict == Verdict::Down).await;
    assert!(seen.reading.why.contains("node attic is gone: its lease was not renewed"), "{}", seen.reading.why);
}

#[tokio::test]
async fn a_workload_at_zero_whose_pod_another_object_runs_leads_to_the_selector() {
    let api = cluster().await;
    api.put("deployments", {
        let mut object = objects::stateful_set("eth", "vc");
        object["kind"] = "Deployment".into();
        object["spec"]["replicas"] = 0.into();
        object["status"] = json!({});
        object
    });
    api.change("pods", "eth", "vc-0", |pod| {
        pod["metadata"]["ownerReferences"][0]["kind"] = "ReplicaSet".into();
        pod["metadata"]["ownerReferences"][0]["name"] = "vc-5d4f8c".into();
    });
    let target = target("eth-0", Named::Workload { kind: WorkloadKind::Deployment, name: "vc".into() });
    let folder = tempfile::tempdir().unwrap();
    let client = kube::connect(Some(&api.kubeconfig(folder.path()).unwrap())).await.unwrap();
    let findings = kube::check(client, std::slice::from_ref(&target)).await;
    let bad: Vec<_> = findings.iter().filter(|finding| finding.state != FindingState::Ok).collect();
    let [finding] = bad[..] else { panic!("{bad:?}") };
    assert_eq!(finding.detail, "is scaled to zero, and a pod that is not its own runs");
    assert!(finding.remedy.as_deref().is_some_and(|remedy| remedy.ends_with("here: 'app=vc'")), "{finding:?}");
    let mut watching = Watching::start(&api, vec![target]).await;
    let seen = watching.says("a pod that is not its own runs").await;
    assert_eq!(seen.hold, None);
    // Its machine dies: that is not maintenance either.
    api.remove("pods", "eth", "vc-0");
    api.change("deployments", "eth", "vc", |object| object["metadata"]["labels"] = json!({"note": "seen"}));
    api.change("deployments", "eth", "vc", |object| {
        object["metadata"]["annotations"] = json!({"failover.dev/pause-until": "2026-11-21T18:00:00Z"});
    });
    let seen = watching.passing(&[Verdict::Unknown], |seen| seen.pause.is_some()).await;
    assert_eq!(seen.hold, None, "{}", seen.reading.why);
}

/// A job that exports, or another set with the same labels: the human who scaled to zero is still at work.
#[tokio::test]
async fn a_pod_of_a_job_or_of_another_set_ends_no_maintenance() {
    for kind in ["Job", "StatefulSet"] {
        let api = cluster().await;
        api.change("statefulsets", "eth", "vc", |set| set["spec"]["replicas"] = 0.into());
        api.change("pods", "eth", "vc-0", |pod| {
            pod["metadata"]["ownerReferences"][0]["kind"] = kind.into();
            pod["metadata"]["ownerReferences"][0]["name"] = "another".into();
        });
        let target = target("eth-0", Named::Workload { kind: WorkloadKind::StatefulSet, name: "vc".into() });
        let mut watching = Watching::start(&api, vec![target]).await;
        let seen = watching.says("scaled to zero").await;
        assert!(seen.hold.is_some(), "{kind}: {}", seen.reading.why);
    }
}
