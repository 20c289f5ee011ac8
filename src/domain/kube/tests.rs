use super::*;
use crate::domain::{Span, Time, TimeExt as _, Verdict};

mod field;
mod unknown;

const NOW: Time = Time::constant(1_790_000_000, 0);

fn ago(span: Span) -> Time {
    NOW.checked_sub(span).unwrap()
}

fn seconds(n: i64) -> Span {
    Span::from_secs(n)
}

/// A statefulset with one ready pod on a node that lives.
fn well() -> Facts {
    Facts {
        named: "statefulset eth/validator".into(),
        workload: Some(Known::Is(WorkloadFacts {
            replicas: 1,
            revision: Some("r1".into()),
            ..WorkloadFacts::default()
        })),
        pods: Known::Is(vec![Pod {
            name: "validator-0".into(),
            uid: "1".into(),
            node: Some("attic".into()),
            created_at: ago(Span::from_hours(9)),
            phase: PodPhase::Running,
            ready: true,
            revision: Some("r1".into()),
            containers: vec![Container {
                name: "vc".into(),
                state: ContainerState::Running,
                ready: true,
                ..Container::default()
            }],
            claims: vec!["data-validator-0".into()],
            ..Pod::default()
        }]),
        nodes: vec![NodeFacts {
            name: "attic".into(),
            object: Known::Is(NodeState { ready: Ready::True, ..NodeState::default() }),
            lease: Known::Is(NodeLease {
                changed_at: ago(seconds(3)),
                seen_alive: true,
                duration: seconds(40),
                skew: Span::ZERO,
                nearest: None,
            }),
        }],
        claims: vec![Claim { name: "data-validator-0".into(), state: ClaimState::Bound }],
        ..Facts::default()
    }
}

fn judged(facts: &Facts) -> Health {
    judge(facts, NOW, &Thresholds::default())
}

fn with_pod(change: impl FnOnce(&mut Pod)) -> Facts {
    let mut facts = well();
    let Known::Is(pods) = &mut facts.pods else { unreachable!() };
    change(&mut pods[0]);
    facts
}

fn with_container(change: impl FnOnce(&mut Container)) -> Facts {
    with_pod(|pod| {
        pod.ready = false;
        pod.containers[0].ready = false;
        change(&mut pod.containers[0]);
    })
}

fn with_node(change: impl FnOnce(&mut NodeFacts)) -> Facts {
    let mut facts = well();
    change(&mut facts.nodes[0]);
    facts
}

fn with_workload(change: impl FnOnce(&mut WorkloadFacts)) -> Facts {
    let mut facts = well();
    let Some(Known::Is(workload)) = &mut facts.workload else { unreachable!() };
    change(workload);
    facts
}

/// Its template has changed for longer than a rollout may take, and its pod is of the new one.
fn changed(mut facts: Facts) -> Facts {
    let Some(Known::Is(workload)) = &mut facts.workload else { unreachable!() };
    workload.unproven = true;
    facts.changing_since = Some(ago(Span::from_hours(1)));
    facts
}

fn without_pods() -> Facts {
    Facts { pods: Known::Is(Vec::new()), ..well() }
}

fn waiting(reason: &str, message: &str) -> ContainerState {
    ContainerState::Waiting { reason: reason.into(), message: message.into() }
}

fn crashing() -> Facts {
    with_container(|container| {
        container.state = waiting("CrashLoopBackOff", "back-off 5m0s");
        container.restarts = 7;
        container.last_exit =
            Some(ContainerExit { code: 1, reason: "Error".into(), message: "disk I/O error".into(), ran: None });
    })
}

#[track_caller]
fn down(facts: &Facts, words: &str) {
    let health = judged(facts);
    assert_eq!((health.verdict, health.hold), (Verdict::Down, false), "{}", health.cause);
    assert_eq!(health.cause.to_string(), words);
}

#[track_caller]
fn unknown(facts: &Facts, words: &str) {
    let health = judged(facts);
    assert_eq!((health.verdict, health.hold), (Verdict::Unknown, false), "{}", health.cause);
    assert_eq!(health.cause.to_string(), words);
}

#[track_caller]
fn held(facts: &Facts, words: &str) {
    let health = judged(facts);
    assert_eq!((health.verdict, health.hold), (Verdict::Unknown, true), "{}", health.cause);
    assert_eq!(health.cause.to_string(), words);
}

#[test]
fn ready_is_only_not_down() {
    let health = judged(&well());
    assert_eq!(health.verdict, Verdict::Up);
    assert_eq!(health.cause.to_string(), "pod validator-0 runs and is ready on node attic");
    assert_eq!(health.review_at, Some(ago(seconds(3)) + seconds(40)), "judged again when the lease runs out");
}

#[test]
fn not_ready_alone_says_little() {
    unknown(&with_container(|_| {}), "pod validator-0 runs but is not ready, which alone says little");
}

#[test]
fn a_lease_not_renewed_is_a_node_gone() {
    let silent = |span| {
        with_node(|node| {
            let Known::Is(lease) = &mut node.lease else { unreachable!() };
            lease.changed_at = ago(span);
        })
    };
    assert_eq!(judged(&silent(seconds(39))).verdict, Verdict::Up);
    down(&silent(seconds(40)), "node attic is gone: its lease was not renewed for 40s");
}

#[test]
fn ready_unknown_is_a_node_gone() {
    let facts = with_node(|node| {
        node.object = Known::Is(NodeState {
            ready: Ready::Unknown,
            message: "Kubelet stopped posting node status.".into(),
            ..NodeState::default()
        });
    });
    down(&facts, "node attic is gone: the cluster says Ready is Unknown (Kubelet stopped posting node status.)");
}

#[test]
fn a_node_removed_under_its_pod_is_a_node_gone() {
    let facts = with_node(|node| node.object = Known::Removed);
    down(&facts, "node attic is gone: the node was removed from the cluster while its pod is still listed");
}

#[test]
fn a_node_that_is_not_ready_is_sick() {
    let facts = with_node(|node| {
        node.object =
            Known::Is(NodeState { ready: Ready::False, message: "runtime is down".into(), ..NodeState::default() });
    });
    down(&facts, "node attic is sick: NotReady (runtime is down)");
}

#[test]
fn pressure_on_a_node_whose_pod_runs_is_told_and_is_not_down() {
    let facts = with_node(|node| {
        let Known::Is(state) = &mut node.object else { unreachable!() };
        state.pressures = vec!["DiskPressure".into()];
    });
    unknown(&facts, "node attic is sick: DiskPressure; its pod still runs");
}

#[test]
fn a_pod_without_a_place_repeats_the_scheduler() {
    let facts = with_pod(|pod| {
        pod.phase = PodPhase::Pending;
        (pod.node, pod.ready) = (None, false);
        pod.unschedulable = Some("0/3 nodes are available: 3 Insufficient memory.".into());
    });
    down(&facts, "pod validator-0 has no node: 0/3 nodes are available: 3 Insufficient memory.");
}

#[test]
fn an_image_that_cannot_be_pulled_is_named() {
    let facts = with_container(|container| container.state = waiting("ImagePullBackOff", "not found"));
    down(&facts, "the image of container vc cannot be pulled: ImagePullBackOff (not found)");
}

#[test]
fn a_crash_loop_out_of_nothing_is_down() {
    down(
        &crashing(),
        "container vc crashes again and again, 7 times so far; it ended with exit code 1, last words: disk I/O error",
    );
}

#[test]
fn out_of_memory_is_said() {
    let facts = with_container(|container| {
        container.state = waiting("CrashLoopBackOff", "");
        container.restarts = 4;
        container.last_exit =
            Some(ContainerExit { code: 137, reason: "OOMKilled".into(), message: String::new(), ran: None });
    });
    let words = judged(&facts).cause.to_string();
    assert!(words.ends_with("it was killed because it used more memory than it may (OOMKilled)"), "{words}");
}

#[test]
fn a_crash_loop_after_a_change_waits_for_a_human() {
    held(
        &changed(crashing()),
        "container vc crashes again and again, 7 times so far; it ended with exit code 1, last words: disk I/O error; \
         this began with a change of its template",
    );
}

#[test]
fn both_kinds_of_crash_loop_can_be_configured() {
    let swapped = Thresholds { crash: OnCrash::Wait, crash_after_change: OnCrash::Down, ..Thresholds::default() };
    let by_itself = judge(&crashing(), NOW, &swapped);
    assert_eq!((by_itself.verdict, by_itself.hold), (Verdict::Unknown, true));
    let after_change = judge(&changed(crashing()), NOW, &swapped);
    assert_eq!((after_change.verdict, after_change.hold), (Verdict::Down, false));
}

#[test]
fn a_pod_of_the_old_template_did_not_begin_to_crash_with_the_change() {
    let mut facts = changed(crashing());
    let Known::Is(pods) = &mut facts.pods else { unreachable!() };
    pods[0].revision = Some("r0".into());
    assert_eq!(judged(&facts).verdict, Verdict::Down);
}

#[test]
fn between_two_crashes_it_is_still_a_crash_loop() {
    let running = |restarted_at, in_a_row| {
        with_pod(|pod| {
            let container = &mut pod.containers[0];
            (container.restarts, container.restarted_at, container.in_a_row) = (5, restarted_at, in_a_row);
        })
    };
    let health = judged(&running(Some(ago(seconds(20))), 3));
    assert_eq!(health.verdict, Verdict::Down);
    assert!(health.review_at.is_some_and(|at| at <= ago(seconds(20)) + CALM), "judged again when it may be calm");
    assert_eq!(judged(&running(Some(ago(Span::from_mins(11))), 3)).verdict, Verdict::Up, "it has calmed down");
    assert_eq!(judged(&running(None, 0)).verdict, Verdict::Up, "it has not crashed since we watch");
}

#[test]
fn a_claim_without_its_volume_is_named() {
    let mut facts = with_pod(|pod| {
        pod.phase = PodPhase::Pending;
        pod.ready = false;
    });
    facts.claims[0].state = ClaimState::Lost;
    down(&facts, "a volume of pod validator-0 cannot be mounted: the volume of claim data-validator-0 is lost");
}

#[test]
fn volumes_not_mounted_for_too_long_are_down_and_before_that_it_is_starting() {
    let starting = |since| {
        with_container(|container| container.state = waiting("ContainerCreating", "")).with_pod(|pod| {
            pod.phase = PodPhase::Pending;
            pod.sandbox_made = Some(false);
            pod.idle_since = Some(since);
        })
    };
    unknown(&starting(ago(seconds(60))), "pod validator-0 is starting: ContainerCreating");
    assert_eq!(
        judged(&starting(ago(seconds(60)))).review_at,
        Some(ago(seconds(3)) + seconds(40)),
        "the lease runs out before the grace does"
    );
    down(
        &starting(ago(Span::from_mins(6))),
        "a volume of pod validator-0 cannot be mounted: its node has not mounted all volumes, or not made its \
         network, in 6m",
    );
}

#[test]
fn another_reason_to_wait_is_repeated() {
    let facts = with_container(|container| {
        container.state = waiting("CreateContainerConfigError", "secret \"jwt\" not found");
    });
    down(&facts, "container vc waits: CreateContainerConfigError (secret \"jwt\" not found)");
}

#[test]
fn a_pod_that_ended_is_down() {
    let facts = with_container(|container| {
        container.state = ContainerState::Ended(ContainerExit {
            code: 0,
            reason: "Completed".into(),
            message: String::new(),
            ran: None,
        });
    })
    .with_pod(|pod| pod.phase = PodPhase::Succeeded);
    down(&facts, "pod validator-0 has ended; it ended with exit code 0");
}

#[test]
fn scaled_to_zero_is_maintenance_even_on_a_dead_node() {
    let mut facts = with_workload(|workload| workload.replicas = 0);
    held(&facts, "it was scaled to zero, is this maintenance?");
    facts.nodes[0].object = Known::Removed;
    held(&facts, "it was scaled to zero, is this maintenance?");
}

#[test]
fn deleted_by_hand_is_maintenance() {
    let removed = Facts { workload: Some(Known::Removed), pods: Known::Is(Vec::new()), ..well() };
    held(&removed, "statefulset eth/validator was deleted by hand, is this maintenance?");
    held(&with_pod(|pod| pod.deleting = Some(NOW)), "pod validator-0 was deleted by hand, is this maintenance?");
    let pod = Pod { name: "validator-0".into(), ..Pod::default() };
    let mut alone = Facts { workload: None, ..without_pods() };
    alone.gone = Some(GonePod { pod, at: NOW, node_was_sick: false, node_was_cordoned: false });
    held(&alone, "pod validator-0 was deleted by hand, is this maintenance?");
}

#[test]
fn taken_away_by_the_cluster_is_not_maintenance() {
    for (reason, by) in [
        ("DeletionByTaintManager", "because the node does not answer (taint manager)"),
        ("EvictionByEvictionAPI", "by an eviction"),
        ("TerminationByKubelet", "by its node, which is short of something or shuts down"),
    ] {
        let facts = with_pod(|pod| {
            pod.deleting = Some(NOW);
            pod.disruption = Some(reason.into());
        });
        down(&facts, &format!("pod validator-0 was taken off its node {by}"));
    }
    let evicted = with_pod(|pod| {
        pod.phase = PodPhase::Failed;
        pod.reason = Some("Evicted".into());
    });
    down(&evicted, "pod validator-0 was taken off its node by its node, which is short of something (Evicted)");
}

#[test]
fn a_drained_node_is_maintenance_until_its_pod_stands_somewhere() {
    let evicted = |pod: &mut Pod| pod.disruption = Some("EvictionByEvictionAPI".into());
    let mut drained = with_node(|node| {
        let Known::Is(state) = &mut node.object else { unreachable!() };
        state.cordoned = true;
    })
    .with_pod(evicted)
    .with_pod(|pod| pod.deleting = Some(NOW));
    let words = "node attic was drained of pod validator-0, is this maintenance?";
    held(&drained, words);
    let mut pod = Pod { name: "validator-0".into(), node: Some("attic".into()), ..Pod::default() };
    evicted(&mut pod);
    drained.gone = Some(GonePod { pod, at: NOW, node_was_sick: false, node_was_cordoned: true });
    held(&Facts { pods: Known::Is(Vec::new()), ..drained.clone() }, words);
    let waits = drained.with_pod(|pod| {
        (pod.deleting, pod.disruption, pod.phase, pod.node, pod.ready) = (None, None, PodPhase::Pending, None, false);
        pod.unschedulable = Some("0/1 nodes are available: 1 node(s) were unschedulable.".into());
        pod.created_at = ago(seconds(30));
    });
    held(&waits, words);
    // Switched off after the drain, it is still the same maintenance.
    let mut off = waits.clone();
    off.nodes[0].object = Known::Is(NodeState { ready: Ready::Unknown, cordoned: true, ..NodeState::default() });
    held(&off, words);
    // Begun again after that, it has not seen the pod go; the scheduler says enough.
    let restarted = Facts { gone: None, ..waits.clone() };
    held(&restarted, "pod validator-0 has no node while one is closed for new pods (cordoned), is this maintenance?");
    // Somebody who clears up behind a node that had died has not drained it.
    let mut late = waits;
    late.gone.as_mut().unwrap().node_was_sick = true;
    assert_eq!(judged(&late).verdict, Verdict::Down);
}

#[test]
fn a_drain_that_does_not_end_is_an_outage_after_the_time_of_a_maintenance() {
    let cordoned = with_node(|node| {
        let Known::Is(state) = &mut node.object else { unreachable!() };
        state.cordoned = true;
    });
    for disruption in [None, Some("EvictionByEvictionAPI".to_owned())] {
        let since = |gone_by: Time| {
            cordoned.clone().with_pod(|pod| (pod.deleting, pod.disruption) = (Some(gone_by), disruption.clone()))
        };
        let young = judged(&since(ago(Span::from_mins(119))));
        assert_eq!((young.verdict, young.hold), (Verdict::Unknown, true), "{young:?}");
        assert!(young.review_at.is_some_and(|at| at <= NOW.plus(Span::from_mins(1))), "{young:?}");
        let stuck = judged(&since(ago(Span::from_hours(2))));
        assert_eq!((stuck.verdict, stuck.hold), (Verdict::Down, false), "{stuck:?}");
    }
}

#[test]
fn a_pod_deleted_with_its_node_is_the_nodes_death() {
    let facts = with_node(|node| {
        node.object = Known::Is(NodeState { ready: Ready::Unknown, ..NodeState::default() });
    })
    .with_pod(|pod| pod.deleting = Some(NOW));
    down(&facts, "node attic is gone: the cluster says Ready is Unknown");
    let mut gone = without_pods();
    let pod = Pod { name: "validator-0".into(), node: Some("attic".into()), ..Pod::default() };
    gone.gone = Some(GonePod { pod, at: NOW, node_was_sick: true, node_was_cordoned: false });
    down(&gone, "pod validator-0 went with its node attic, which was not well");
}

#[test]
fn a_rollout_has_its_grace() {
    let mut facts = with_pod(|pod| pod.deleting = Some(NOW));
    facts.changing_since = Some(ago(Span::from_mins(4)));
    held(&facts, "a changed template is being rolled out, 6m are left for it");
    facts.pods = Known::Is(Vec::new());
    held(&facts, "a changed template is being rolled out, 6m are left for it");
    facts.changing_since = Some(ago(Span::from_mins(10)));
    unknown(&facts, "statefulset eth/validator has no pod yet");
}

#[test]
fn a_node_that_dies_during_a_rollout_is_gone() {
    let mut facts = with_node(|node| node.object = Known::Removed);
    facts.changing_since = Some(ago(seconds(30)));
    assert_eq!(judged(&facts).verdict, Verdict::Down);
}

#[test]
fn only_the_named_container_counts() {
    let mut facts = crashing().with_pod(|pod| {
        pod.containers.push(Container {
            name: "side".into(),
            state: ContainerState::Running,
            ready: true,
            ..Container::default()
        });
    });
    facts.container = Some("side".into());
    assert_eq!(judged(&facts).verdict, Verdict::Up);
    facts.container = Some("vc".into());
    assert_eq!(judged(&facts).verdict, Verdict::Down);
    facts.container = Some("other".into());
    unknown(&facts, "pod validator-0 has no container other");
}

#[test]
fn of_a_pod_that_goes_and_one_that_stays_the_one_that_stays_counts() {
    let mut facts = well();
    let Known::Is(pods) = &mut facts.pods else { unreachable!() };
    let old = Pod { name: "old".into(), deleting: Some(NOW), created_at: NOW, ..pods[0].clone() };
    pods.push(old);
    assert_eq!(judged(&facts).verdict, Verdict::Up);
}

impl Facts {
    fn with_pod(mut self, change: impl FnOnce(&mut Pod)) -> Self {
        let Known::Is(pods) = &mut self.pods else { unreachable!() };
        change(&mut pods[0]);
        self
    }
}
