use super::*;

#[test]
fn megabytes_of_text_become_a_line() {
    let text = format!("{}\nfatal: database is corrupt\n", "x".repeat(3_000_000));
    let kept = last_lines(&text);
    assert!(kept.chars().count() <= TEXT + 1);
    assert!(kept.ends_with("/ fatal: database is corrupt"), "{kept}");
    assert_eq!(last_lines("short\n"), "short");
    assert!(short(&text).chars().count() <= TEXT + 1);
}

#[test]
fn an_empty_selector_is_none_because_it_would_match_every_pod() {
    assert_eq!(selector(&LabelSelector::default()), None);
    let labels = BTreeMap::from([("app".to_owned(), "vc".to_owned())]);
    assert_eq!(selector(&LabelSelector { match_labels: Some(labels), ..Default::default() }), Some("app=vc".into()));
}

#[test]
fn fields_an_older_server_leaves_out_are_not_known() {
    let item = pod(serde_json::from_str(r#"{"metadata":{"name":"a"}}"#).unwrap());
    let What::Pod { pod, .. } = item.what else { panic!() };
    assert_eq!((pod.phase, pod.sandbox_made, pod.node), (PodPhase::Unknown, None, None));
    let What::Node(state) = node(serde_json::from_str(r#"{"metadata":{"name":"a"}}"#).unwrap()).what else { panic!() };
    assert_eq!(state.ready, Ready::Unsaid);
}

#[test]
fn a_scheduler_that_stumbles_has_not_refused_the_pod() {
    let of = |reason: &str| {
        let json = format!(
            r#"{{"metadata":{{"name":"a"}},"status":{{"conditions":[
                {{"type":"PodScheduled","status":"False","reason":"{reason}","message":"said"}}]}}}}"#
        );
        let What::Pod { pod, .. } = pod(serde_json::from_str(&json).unwrap()).what else { panic!() };
        pod.unschedulable
    };
    assert_eq!(of("Unschedulable").as_deref(), Some("said"));
    assert_eq!(of("SchedulerError"), None);
}

#[test]
fn a_template_is_unproven_until_both_revisions_are_the_same() {
    let of = |current: &str, update: &str| {
        let json = format!(
            r#"{{"metadata":{{"name":"a"}},"spec":{{"selector":{{}},"serviceName":"a","template":{{}}}},
                "status":{{"replicas":1,"currentRevision":"{current}","updateRevision":"{update}"}}}}"#
        );
        let What::Workload { workload, .. } = stateful_set(serde_json::from_str(&json).unwrap()).what else { panic!() };
        workload.unproven
    };
    assert!(of("a-1", "a-2"));
    assert!(!of("a-2", "a-2"));
}

fn workload(item: Item) -> WorkloadFacts {
    item.what.workload().unwrap().0.clone()
}

fn changed_set(strategy: &str) -> WorkloadFacts {
    let json = format!(
        r#"{{"metadata":{{"name":"a"}},"spec":{{"selector":{{}},"serviceName":"a","template":{{}},"updateStrategy":{strategy}}},
            "status":{{"replicas":1,"currentRevision":"a-1","updateRevision":"a-2"}}}}"#
    );
    workload(stateful_set(serde_json::from_str(&json).unwrap()))
}

#[test]
fn where_nothing_is_rolled_out_no_template_waits_to_be_proven() {
    assert!(changed_set(r#"{"type":"OnDelete"}"#).unproven, "the next pod is of it");
    assert!(changed_set(r#"{"type":"RollingUpdate","rollingUpdate":{"partition":0}}"#).unproven);
    assert!(!changed_set(r#"{"type":"RollingUpdate","rollingUpdate":{"partition":1}}"#).unproven);
    let deployment = |paused: bool| {
        let json = format!(
            r#"{{"metadata":{{"name":"a"}},"spec":{{"selector":{{}},"template":{{}},"paused":{paused}}},"status":{{"conditions":[
                {{"type":"Progressing","status":"Unknown","reason":"DeploymentPaused"}}]}}}}"#
        );
        workload(deployment(serde_json::from_str(&json).unwrap())).unproven
    };
    assert!(!deployment(true));
    assert!(deployment(false));
}

#[test]
fn when_the_template_was_written_last_is_read_from_the_servers_own_notes() {
    let note = |time: &str, what: &str, sub: &str| {
        format!(
            r#"{{"manager":"m","operation":"Update","apiVersion":"apps/v1","fieldsType":"FieldsV1","time":"{time}",
            "fieldsV1":{{"f:{what}":{{"f:template":{{}}}}}}{sub}}}"#
        )
    };
    let notes = [
        note("2026-10-01T06:00:00Z", "spec", ""),
        note("2026-10-02T06:00:00Z", "spec", ""),
        note("2026-11-01T06:00:00Z", "metadata", ""),
        note("2026-11-02T06:00:00Z", "spec", r#","subresource":"status""#),
    ];
    let json = format!(
        r#"{{"metadata":{{"name":"a","managedFields":[{}]}},"spec":{{"selector":{{}},"serviceName":"a","template":{{}}}}}}"#,
        notes.join(",")
    );
    let facts = workload(stateful_set(serde_json::from_str(&json).unwrap()));
    assert_eq!(facts.changed_at, Some("2026-10-02T06:00:00Z".parse().unwrap()));
}

#[test]
fn what_a_container_is_is_said_by_the_spec() {
    let json = r#"{"metadata":{"name":"a"},
        "spec":{"containers":[{"name":"vc"},{"name":"late"}],
                "initContainers":[{"name":"first"},{"name":"relay","restartPolicy":"Always"}]},
        "status":{"initContainerStatuses":[
            {"name":"relay","image":"","imageID":"","ready":false,"restartCount":14},
            {"name":"first","image":"","imageID":"","ready":true,"restartCount":0}],
          "containerStatuses":[{"name":"vc","image":"","imageID":"","ready":true,"restartCount":0}]}}"#;
    let What::Pod { pod, .. } = pod(serde_json::from_str(json).unwrap()).what else { panic!() };
    let seen: Vec<_> = pod.containers.iter().map(|one| (one.name.as_str(), one.role, one.restarts)).collect();
    let expected = [
        ("first", ContainerRole::Init, 0),
        ("relay", ContainerRole::Sidecar, 14),
        ("vc", ContainerRole::Main, 0),
        ("late", ContainerRole::Main, 0),
    ];
    assert_eq!(seen, expected);
    assert_eq!(pod.containers[3].state, ContainerState::Unsaid, "the kubelet has not said anything of it");
}

#[test]
fn how_long_a_container_ran_is_said_where_the_kubelet_knows_both_ends() {
    let ran = |times: &str| {
        let ended = format!(r#"{{"exitCode":1{times}}}"#);
        exit(serde_json::from_str(&ended).unwrap()).ran
    };
    assert_eq!(
        ran(r#","startedAt":"2026-10-01T06:00:00Z","finishedAt":"2026-10-01T06:00:40Z""#),
        Some(Span::from_secs(40))
    );
    // A container that was lost with its machine.
    assert_eq!(ran(r#","startedAt":null,"finishedAt":null,"reason":"ContainerStatusUnknown""#), None);
}

/// A watcher that has just started sees only how things are now.
#[test]
fn a_pod_whose_readiness_has_turned_has_worked_unless_its_restarts_explain_it() {
    let worked = |status: &str, turned: &str, restarts: i32| {
        let json = format!(
            r#"{{"metadata":{{"name":"a"}},"spec":{{"containers":[{{"name":"vc"}}]}},"status":{{
                "startTime":"2026-11-21T07:00:00Z",
                "conditions":[{{"type":"Ready","status":"{status}","lastTransitionTime":"2026-11-21T{turned}Z"}}],
                "containerStatuses":[{{"name":"vc","restartCount":{restarts},"ready":false,"image":"","imageID":""}}]}}}}"#
        );
        let What::Pod { pod, .. } = pod(serde_json::from_str(&json).unwrap()).what else { panic!() };
        pod.worked
    };
    assert!(!worked("False", "07:00:00", 0), "it was never ready");
    assert!(!worked("False", "07:00:08", 0));
    assert!(worked("False", "07:00:11", 0), "it ended, or failed its probe, after it was ready");
    assert!(!worked("False", "07:40:00", 4), "ready for a second, again and again");
    assert!(worked("False", "17:00:00", 7), "it worked for hours and crashes now");
    assert!(!worked("True", "07:40:00", 0), "what is ready says so itself");
}
