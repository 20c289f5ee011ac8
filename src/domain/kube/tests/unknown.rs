//! What is not known never says *down*.

use proptest::prelude::*;

use super::*;

fn refused(permission: &str) -> Blindness {
    Blindness::Refused { permission: permission.into() }
}

fn unreachable_api() -> Blindness {
    Blindness::Unreachable { why: "connection refused".into() }
}

#[test]
fn nothing_answered_yet_is_unknown() {
    let facts = Facts { named: "statefulset eth/validator".into(), workload: Some(Known::NotYet), ..Facts::default() };
    unknown(&facts, "the API server has not answered about statefulset eth/validator yet");
}

#[test]
fn an_object_that_is_not_there_is_named() {
    let facts = Facts { workload: Some(Known::Missing), ..well() };
    unknown(
        &facts,
        "there is no statefulset eth/validator; a pod that something else runs (an Argo Rollout, an OpenKruise set) is \
         named by `kubernetes.selector`",
    );
}

#[test]
fn a_missing_permission_is_named() {
    let facts = Facts { pods: Known::Blind(refused("list pods in namespace eth")), ..well() };
    unknown(&facts, "the API server refuses (403): the role lacks the permission to list pods in namespace eth");
    let facts = with_node(|node| node.object = Known::Blind(refused("list nodes")));
    unknown(&facts, "the API server refuses (403): the role lacks the permission to list nodes");
}

#[test]
fn an_api_server_that_does_not_answer_is_unknown() {
    let facts = Facts { workload: Some(Known::Blind(unreachable_api())), ..well() };
    unknown(&facts, "statefulset eth/validator cannot be seen: the API server does not answer (connection refused)");
    let facts = Facts { pods: Known::Blind(Blindness::Unauthenticated), ..well() };
    unknown(
        &facts,
        "the pods of statefulset eth/validator cannot be seen: the API server does not accept our token or \
         certificate (401)",
    );
}

#[test]
fn a_selector_that_matches_nothing_is_unknown() {
    let facts = Facts { workload: None, named: "selector app=vc in eth".into(), ..without_pods() };
    unknown(&facts, "no pod matches selector app=vc in eth");
}

#[test]
fn a_workload_without_a_pod_is_unknown() {
    unknown(&without_pods(), "statefulset eth/validator has no pod yet");
}

#[test]
fn two_pods_are_not_one_validator() {
    let mut facts = Facts { workload: None, ..well() };
    let Known::Is(pods) = &mut facts.pods else { unreachable!() };
    pods.push(Pod { name: "validator-1".into(), ..pods[0].clone() });
    assert!(matches!(judged(&facts).cause, Cause::Unseen(Unseen::ManyPods { pods: 2, .. })));
    let scaled = with_workload(|workload| workload.replicas = 3);
    assert!(matches!(judged(&scaled).cause, Cause::Unseen(Unseen::ManyPods { pods: 3, .. })));
}

#[test]
fn two_validators_with_one_pod_are_unknown_whatever_it_does() {
    let facts = Facts { shared_with: vec!["other".into()], ..crashing() };
    unknown(&facts, "pod validator-0 is also that of validator other: each has to name its own");
}

#[test]
fn a_lease_from_another_time_is_not_believed_when_it_goes_silent() {
    let silent = |skew: i64| {
        with_node(|node| {
            let Known::Is(lease) = &mut node.lease else { unreachable!() };
            (lease.changed_at, lease.skew) = (ago(seconds(50)), seconds(skew));
        })
    };
    unknown(&silent(300), "the lease of node attic is 5m ahead of our clock: one of the clocks is wrong");
    unknown(&silent(-300), "the lease of node attic is 5m behind our clock: one of the clocks is wrong");
    assert_eq!(judged(&silent(5)).verdict, Verdict::Down, "a few seconds are no fault");
}

#[test]
fn a_node_that_was_dead_before_we_came_is_no_clock_fault() {
    let facts = with_node(|node| {
        let Known::Is(lease) = &mut node.lease else { unreachable!() };
        *lease = NodeLease {
            changed_at: ago(seconds(41)),
            seen_alive: false,
            duration: seconds(40),
            skew: Span::from_hours(-3),
            nearest: None,
        };
    });
    assert_eq!(judged(&facts).verdict, Verdict::Down);
}

#[test]
fn a_node_not_heard_of_yet_is_unknown() {
    unknown(
        &with_node(|node| node.lease = Known::NotYet),
        "the API server has not answered about node attic and its lease yet",
    );
    let facts = Facts { nodes: Vec::new(), ..well() };
    unknown(&facts, "the API server has not answered about node attic and its lease yet");
}

fn blind<T: std::fmt::Debug + Clone>() -> impl Strategy<Value = Known<T>> {
    prop_oneof![
        Just(Known::NotYet),
        Just(Known::Blind(Blindness::Unauthenticated)),
        "[a-z ]{0,20}".prop_map(|why| Known::Blind(Blindness::Unreachable { why })),
        "[a-z ]{0,20}".prop_map(|permission| Known::Blind(Blindness::Refused { permission })),
    ]
}

fn any_pod() -> impl Strategy<Value = Pod> {
    let phase = prop_oneof![
        Just(PodPhase::Pending),
        Just(PodPhase::Running),
        Just(PodPhase::Failed),
        Just(PodPhase::Succeeded),
        Just(PodPhase::Unknown)
    ];
    let state = prop_oneof![
        Just(ContainerState::Running),
        Just(ContainerState::Unsaid),
        Just(waiting("CrashLoopBackOff", "")),
        Just(waiting("ImagePullBackOff", "")),
        Just(waiting("ContainerCreating", "")),
        Just(ContainerState::Ended(ContainerExit {
            code: 137,
            reason: "OOMKilled".into(),
            message: String::new(),
            ran: None
        })),
    ];
    (any::<bool>(), any::<bool>(), any::<bool>(), phase, state, 0..9i32).prop_map(
        |(deleting, ready, placed, phase, state, restarts)| Pod {
            name: "validator-0".into(),
            node: placed.then(|| "attic".into()),
            deleting: deleting.then_some(NOW),
            ready,
            phase,
            idle_since: Some(ago(Span::from_hours(1))),
            containers: vec![Container { name: "vc".into(), state, restarts, ready, ..Container::default() }],
            ..Pod::default()
        },
    )
}

proptest! {
    #[test]
    fn without_the_workload_nothing_is_down(workload in blind::<WorkloadFacts>(), pod in any_pod()) {
        let facts = Facts { workload: Some(workload), pods: Known::Is(vec![pod]), ..well() };
        prop_assert_eq!(judged(&facts).verdict, Verdict::Unknown);
    }

    #[test]
    fn without_the_pods_nothing_is_down(pods in blind::<Vec<Pod>>(), selected: bool) {
        let mut facts = Facts { pods, ..well() };
        if selected { facts.workload = None; }
        prop_assert_eq!(judged(&facts).verdict, Verdict::Unknown);
    }

    #[test]
    fn without_the_node_a_placed_pod_is_not_down(object in blind::<NodeState>(), mut pod in any_pod()) {
        pod.node = Some("attic".into());
        let mut facts = Facts { pods: Known::Is(vec![pod]), ..well() };
        facts.nodes[0].object = object;
        prop_assert_eq!(judged(&facts).verdict, Verdict::Unknown);
    }

    #[test]
    fn a_pod_of_two_validators_is_never_down(pod in any_pod()) {
        let facts = Facts { pods: Known::Is(vec![pod]), shared_with: vec!["other".into()], ..well() };
        prop_assert_eq!(judged(&facts).verdict, Verdict::Unknown);
    }

    #[test]
    fn maintenance_is_never_down(pod in any_pod()) {
        let facts = Facts { pods: Known::Is(vec![pod]), ..with_workload(|workload| workload.replicas = 0) };
        let health = judged(&facts);
        prop_assert_eq!((health.verdict, health.hold), (Verdict::Unknown, true));
    }

    #[test]
    fn no_moment_of_judging_is_in_the_past(pod in any_pod()) {
        let facts = Facts { pods: Known::Is(vec![pod]), ..well() };
        prop_assert!(judged(&facts).review_at.is_none_or(|at| at > NOW));
    }
}
