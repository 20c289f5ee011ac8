//! Clusters as they are: controllers that never finish, pods that restarted in their life, left-overs, sidecars.

use super::*;

const DAY: Span = Span::from_hours(24);

#[test]
fn a_pod_of_the_new_template_that_worked_proves_it_though_its_controller_never_says_so() {
    let facts = changed(crashing());
    assert!(judged(&facts).hold, "it never worked, and somebody has just changed it");
    assert_eq!(judged(&facts.with_pod(|pod| pod.worked = true)).verdict, Verdict::Down);
}

#[test]
fn a_hold_that_comes_from_a_change_ends_a_day_after_it() {
    let since = |span| Facts { changed_at: Some(ago(span)), ..changed(crashing()) };
    let held = judged(&since(seconds(60)));
    assert_eq!((held.verdict, held.hold), (Verdict::Unknown, true));
    let late = judged(&since(DAY));
    assert_eq!((late.verdict, late.hold), (Verdict::Down, false));
    // Where nobody says when it was, the pod's own age does.
    let old = changed(crashing()).with_pod(|pod| pod.created_at = ago(DAY));
    assert_eq!(judged(&old).verdict, Verdict::Down);
}

#[test]
fn the_grace_of_a_rollout_counts_from_the_change_and_not_from_our_start() {
    let mut facts = without_pods();
    facts.changing_since = Some(ago(seconds(5)));
    assert!(judged(&facts).hold);
    facts.changed_at = Some(ago(Span::from_hours(2)));
    assert!(!judged(&facts).hold);
}

#[test]
fn how_often_it_was_started_in_its_life_says_nothing() {
    let restarted = |state: ContainerState, in_a_row| {
        with_container(|container| {
            (container.restarts, container.restarted_at) = (60, Some(ago(seconds(5))));
            (container.in_a_row, container.ready) = (in_a_row, state == ContainerState::Running);
            container.state = state;
        })
        .with_pod(|pod| (pod.ready, pod.idle_since) = (true, Some(ago(seconds(5)))))
    };
    let ended = ContainerState::Ended(ContainerExit { code: 255, ..ContainerExit::default() });
    assert_eq!(judged(&restarted(ContainerState::Running, 1)).verdict, Verdict::Up);
    assert_eq!(judged(&restarted(ContainerState::Running, 2)).verdict, Verdict::Up);
    assert_eq!(judged(&restarted(ContainerState::Running, 3)).verdict, Verdict::Down);
    assert_eq!(judged(&restarted(ended.clone(), 1)).verdict, Verdict::Unknown, "it is started again");
    assert_eq!(judged(&restarted(ended, 3)).verdict, Verdict::Down);
}

#[test]
fn a_run_that_left_the_back_off_says_nothing_until_it_lasts_longer_than_the_one_before() {
    let since = |span| {
        with_pod(|pod| {
            let container = &mut pod.containers[0];
            (container.restarted_at, container.in_a_row, container.backed_off) = (Some(ago(span)), 1, true);
            container.last_exit = Some(ContainerExit { code: 1, ran: Some(seconds(40)), ..ContainerExit::default() });
        })
    };
    assert_eq!(judged(&since(seconds(79))).verdict, Verdict::Down, "the last run ended after 40 s");
    assert_eq!(judged(&since(seconds(80))).verdict, Verdict::Up);
}

fn with_second(role: ContainerRole, state: ContainerState) -> Facts {
    let second = Container { name: "relay".into(), role, state, restarts: 14, ..Container::default() };
    let mut facts = well().with_pod(|pod| {
        pod.ready = false;
        pod.containers.insert(0, second);
    });
    facts.container = Some("vc".into());
    facts
}

#[test]
fn a_sidecar_that_crashes_beside_the_named_container_is_not_the_validator() {
    let loops = || waiting("CrashLoopBackOff", "");
    assert_eq!(judged(&with_second(ContainerRole::Sidecar, loops())).verdict, Verdict::Up);
    let unnamed = Facts { container: None, ..with_second(ContainerRole::Sidecar, loops()) };
    assert_eq!(judged(&unnamed).verdict, Verdict::Down, "where none is named, all have to run");
    // One that the named container waits for keeps it from starting, as any init container does.
    let first = with_second(ContainerRole::Sidecar, loops())
        .with_pod(|pod| pod.containers[1].state = waiting("PodInitializing", ""));
    assert_eq!(judged(&first).verdict, Verdict::Down);
    assert_eq!(judged(&with_second(ContainerRole::Init, loops())).verdict, Verdict::Down);
}

#[test]
fn a_sidecar_has_to_run_where_no_container_is_named_and_an_init_container_only_has_to_have_ended() {
    let ended = || ContainerState::Ended(ContainerExit::default());
    let unnamed = |role| {
        let facts = Facts { container: None, ..with_second(role, ended()) };
        facts.with_pod(|pod| (pod.ready, pod.idle_since) = (true, Some(ago(seconds(1)))))
    };
    assert_eq!(judged(&unnamed(ContainerRole::Init)).verdict, Verdict::Up);
    assert_eq!(judged(&unnamed(ContainerRole::Sidecar)).verdict, Verdict::Unknown);
}

#[test]
fn left_overs_are_left_out_while_a_pod_lives_and_the_last_of_them_speaks_when_none_does() {
    let pod = |name: &str, phase, hours| Pod {
        name: name.into(),
        phase,
        created_at: ago(Span::from_hours(hours)),
        ..Pod::default()
    };
    let shut_down = pod("a", PodPhase::Failed, 30);
    let evicted = pod("b", PodPhase::Failed, 20);
    let done = pod("c", PodPhase::Succeeded, 25);
    let live = pod("d", PodPhase::Running, 40);
    let names = |pods: Vec<&Pod>| without_left_overs(pods).iter().map(|pod| pod.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(vec![&shut_down, &live, &evicted, &done]), ["d"]);
    assert_eq!(names(vec![&shut_down, &evicted, &done]), ["b"]);
    let also = pod("e", PodPhase::Pending, 1);
    assert_eq!(names(vec![&live, &also, &done]), ["d", "e"], "two that live are two");
}

fn nowhere(nodes: Vec<(&str, NodeState)>) -> Facts {
    let nodes = nodes.into_iter().map(|(name, state)| (name.to_owned(), state)).collect();
    let said = "0/3 nodes are available: 1 node(s) were unschedulable, 2 node(s) had untolerated taint(s).";
    let facts = Facts { all_nodes: Known::Is(nodes), ..well() };
    facts.with_pod(|pod| {
        (pod.node, pod.ready, pod.phase) = (None, false, PodPhase::Pending);
        (pod.unschedulable, pod.created_at) = (Some(said.into()), ago(seconds(30)));
    })
}

fn node(ready: Ready, cordoned: bool) -> NodeState {
    NodeState { ready, cordoned, ..NodeState::default() }
}

#[test]
fn only_the_taints_of_a_dead_node_make_a_drain_an_outage() {
    let said = |taint: &str| {
        let why = format!(
            "0/2 nodes are available: 1 node(s) were unschedulable, 1 node(s) had untolerated taint {{{taint}: }}."
        );
        judged(&nowhere(Vec::new()).with_pod(|pod| pod.unschedulable = Some(why)))
    };
    let question = said("node-role.kubernetes.io/control-plane");
    assert_eq!((question.verdict, question.hold), (Verdict::Unknown, true), "{}", question.cause);
    for trouble in ["unreachable", "not-ready", "disk-pressure", "memory-pressure", "pid-pressure"] {
        assert_eq!(said(&format!("node.kubernetes.io/{trouble}")).verdict, Verdict::Down, "{trouble}");
    }
}

/// Who drained it, a human or a program, has not come back to it.
#[test]
fn a_drain_is_maintenance_for_two_hours_and_then_an_outage() {
    let (short, long) = (Span::from_mins(119), Span::from_hours(2));
    let closed = vec![("attic", node(Ready::True, true))];
    let unseen = |since| nowhere(closed.clone()).with_pod(|pod| pod.created_at = ago(since));
    let seen = |since| {
        let pod = Pod { node: Some("attic".into()), ..Pod::default() };
        let gone = GonePod { pod, at: ago(since), node_was_sick: false, node_was_cordoned: true };
        // A second eviction has taken its first successor.
        Facts { gone: Some(gone), ..unseen(seconds(30)) }
    };
    let evicted = |since| {
        let mut facts = Facts { pods: Known::Is(Vec::new()), ..seen(since) };
        facts.gone.as_mut().unwrap().pod.disruption = Some("EvictionByEvictionAPI".into());
        facts
    };
    for (of, name) in
        [(&unseen as &dyn Fn(Span) -> Facts, "unseen"), (&seen, "seen"), (&evicted, "without a successor")]
    {
        let within = judged(&of(short));
        assert_eq!((within.verdict, within.hold), (Verdict::Unknown, true), "{name}: {}", within.cause);
        assert!(within.review_at.is_some_and(|at| at <= NOW + Span::from_mins(1)), "{name}: it is judged again then");
        let late = judged(&of(long));
        assert_eq!((late.verdict, late.hold), (Verdict::Down, false), "{name}: {}", late.cause);
    }
}

#[test]
fn a_pod_that_its_kubelet_has_evicted_is_an_outage_beside_a_closed_node() {
    let closed = || nowhere(vec![("cellar", node(Ready::True, true)), ("attic", node(Ready::True, false))]);
    let left = |disruption: &str, reason: Option<&str>, span| Pod {
        phase: PodPhase::Failed,
        disruption: Some(disruption.into()),
        reason: reason.map(Into::into),
        taken_at: Some(ago(span)),
        ..Pod::default()
    };
    let with = |left| judged(&Facts { left_over: Some(left), ..closed() });
    assert!(judged(&closed()).hold);
    let evicted = with(left("TerminationByKubelet", Some("Evicted"), seconds(31)));
    assert_eq!((evicted.verdict, evicted.hold), (Verdict::Down, false), "{}", evicted.cause);
    assert!(with(left("EvictionByEvictionAPI", None, seconds(31))).hold, "a drain leaves what it evicts as well");
    assert!(with(left("TerminationByKubelet", Some("Evicted"), Span::from_hours(20))).hold, "that was another one");
    // Where the scheduler names no taint, the node says that it is short of something.
    let pressed = NodeState { pressures: vec!["DiskPressure".into()], ..node(Ready::True, false) };
    let facts = nowhere(vec![("cellar", node(Ready::True, true)), ("attic", pressed)]);
    assert_eq!(judged(&facts).verdict, Verdict::Down);
}

/// The API server's note of the template moves with each change of a field by the same writer.
#[test]
fn a_pod_of_the_changed_template_is_not_older_than_the_change() {
    let since = |pod, noted| {
        let facts = Facts { changed_at: Some(ago(noted)), ..changed(crashing()) };
        judged(&facts.with_pod(|it| it.created_at = ago(pod))).verdict
    };
    assert_eq!(since(DAY, seconds(60)), Verdict::Down);
    assert_eq!(since(Span::from_hours(23), seconds(60)), Verdict::Unknown);
    assert_eq!(since(seconds(60), DAY), Verdict::Down);
}

#[test]
fn where_the_scheduler_names_no_taint_the_nodes_say_whether_one_has_died() {
    let words = "pod validator-0 has no node while one is closed for new pods (cordoned), is this maintenance?";
    let (open, closed, dead) = (node(Ready::True, false), node(Ready::True, true), node(Ready::Unknown, false));
    held(&nowhere(vec![("attic", closed.clone()), ("control-plane", open.clone())]), words);
    // Switched off after it was closed.
    held(&nowhere(vec![("attic", node(Ready::Unknown, true)), ("control-plane", open.clone())]), words);
    for dead in [dead, node(Ready::False, false)] {
        let facts = nowhere(vec![("attic", closed.clone()), ("cellar", dead), ("plane", open.clone())]);
        assert_eq!(judged(&facts).verdict, Verdict::Down, "one has died");
    }
    assert_eq!(judged(&nowhere(vec![("attic", open.clone())])).verdict, Verdict::Down, "none is closed");
    let pinned = |to: &str| {
        let facts = nowhere(vec![("attic", closed.clone()), ("cellar", open.clone())]);
        judged(&facts.with_pod(|pod| pod.pinned_to = Some(to.into()))).verdict
    };
    assert_eq!((pinned("attic"), pinned("cellar")), (Verdict::Unknown, Verdict::Down), "only where it may stand");
}

#[test]
fn a_pod_without_a_node_is_unknown_while_the_nodes_cannot_be_seen() {
    let of = |all_nodes| judged(&Facts { all_nodes, ..nowhere(Vec::new()) });
    for unseen in [Known::NotYet, Known::Blind(Blindness::Refused { permission: "list nodes".into() })] {
        let health = of(unseen);
        assert_eq!((health.verdict, health.hold), (Verdict::Unknown, false), "{}", health.cause);
    }
}

#[test]
fn a_place_that_is_short_of_volumes_is_not_a_volume_that_cannot_be_mounted() {
    let facts = nowhere(vec![("attic", node(Ready::False, false))]).with_pod(|pod| {
        pod.unschedulable = Some("0/3 nodes are available: 2 had volume node affinity conflict".into())
    });
    assert!(matches!(judged(&facts).cause, Cause::Pending { .. }));
}

#[test]
fn leases_that_stop_together_are_the_store_and_one_that_stops_alone_is_a_machine() {
    let beside = |nearest: Option<Span>| {
        with_node(|node| {
            let Known::Is(lease) = &mut node.lease else { unreachable!() };
            (lease.changed_at, lease.nearest) = (ago(seconds(45)), nearest.map(ago));
        })
    };
    unknown(
        &beside(Some(seconds(38))),
        "the lease of node attic was not renewed for 45s, but others stopped with it: the cluster's store may take no \
         writes",
    );
    assert_eq!(judged(&beside(Some(seconds(4)))).verdict, Verdict::Down, "another one was renewed after it");
    assert_eq!(judged(&beside(Some(Span::from_hours(3)))).verdict, Verdict::Down, "that one died long before");
    assert_eq!(judged(&beside(None)).verdict, Verdict::Down, "there is no other");
    // What the cluster itself says of a node, it has written.
    let mut given_up = beside(Some(seconds(38)));
    given_up.nodes[0].object = Known::Is(node(Ready::Unknown, false));
    assert_eq!(judged(&given_up).verdict, Verdict::Down);
}

#[test]
fn scaled_to_zero_while_another_object_runs_its_pod_is_a_wrong_name_and_no_maintenance() {
    let since = |span| Facts { elsewhere_since: Some(ago(span)), ..with_workload(|workload| workload.replicas = 0) };
    let soon = judged(&since(seconds(1)));
    assert!(soon.hold, "a pod that goes is seen a moment longer");
    assert!(soon.review_at.is_some());
    unknown(
        &since(seconds(5)),
        "statefulset eth/validator is scaled to zero, and a pod that is not its own runs; a pod that something else runs \
         (an Argo Rollout, an OpenKruise set) is named by `kubernetes.selector`",
    );
}
