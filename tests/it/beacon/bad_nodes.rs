//! Bad nodes. Ours are silent in all of these, so that believing one would say *down*.

use std::time::Duration;

use failover::{
    adapters::beacon::{NodeConfig, probe},
    domain::{Verdict, chain::NodeTrouble},
    sandbox::beacon::{Condition, Fault},
};

use super::rig::{EPOCH, GENESIS, Rig, StepClock, fake_chain, keys};

async fn says(change: impl Fn(&mut Condition)) -> String {
    says_within(Duration::from_secs(5), change).await
}

async fn says_within(timeout: Duration, change: impl Fn(&mut Condition)) -> String {
    let mut rig = Rig::start_with(1, |config| {
        config.timeout = timeout;
        config.genesis_root = Some(format!("0x{}", "5CA1AB1E".repeat(8)));
    })
    .await;
    rig.chain.set_attesting(0..4, false);
    assert_eq!(rig.epochs_to(12).await.reading.verdict, Verdict::Down, "the good node is believed");
    rig.nodes[0].change(&change);
    let ours = rig.ours(13).await;
    assert_eq!(ours.reading.verdict, Verdict::Unknown, "{}", ours.reading.why);
    assert_eq!(ours.records[0].verdict, Verdict::Unknown);
    rig.nodes[0].change(|node| *node = Condition::default());
    // Being well again at the end is not enough: it has to have been well from before the epoch began.
    for epoch in [14, 15] {
        let later = rig.ours(epoch).await;
        assert_eq!(later.reading.verdict, Verdict::Unknown, "epoch {epoch}: {}", later.reading.why);
    }
    assert_eq!(rig.ours(16).await.reading.verdict, Verdict::Down, "well for a whole epoch");
    rig.stop().await;
    ours.reading.why.to_string()
}

#[tokio::test]
async fn another_chain_is_unknown() {
    let why = says(|node| node.other_chain = true).await;
    assert!(why.starts_with("its node follows another chain (genesis root 0x0ddba110"), "{why}");
}

#[tokio::test]
async fn another_chain_from_the_start_is_unknown() {
    let mut rig = Rig::start_with(1, |config| config.genesis_root = Some(format!("0x{}", "5ca1ab1e".repeat(8)))).await;
    rig.nodes[0].change(|node| node.other_chain = true);
    rig.clock.let_go_to(GENESIS + 10 * EPOCH + 60);
    let first = rig.next().await;
    assert_eq!(first.validators[0].reading.verdict, Verdict::Unknown);
    let why = &*first.validators[0].reading.why;
    assert!(why.starts_with("its node follows another chain (genesis root 0x0ddba110"), "{why}");
    rig.stop().await;
}

#[tokio::test]
async fn behind_is_unknown() {
    assert_eq!(says(|node| node.behind = 15).await, "its node is 15 slots behind");
    let hidden = says(|node| (node.behind, node.believes_in_step) = (15, true)).await;
    assert_eq!(hidden, "its node is 15 slots behind this clock but not by its own: one of the two is wrong");
}

#[tokio::test]
async fn syncing_optimistic_or_without_execution_layer_is_unknown() {
    let why = says(|node| (node.syncing, node.behind) = (true, 40)).await;
    assert_eq!(why, "its node is syncing, 40 slots to go");
    let why = says(|node| node.optimistic = true).await;
    assert_eq!(why, "its node is optimistic: its execution layer has not verified the head");
    let why = says(|node| node.el_offline = true).await;
    assert_eq!(why, "its node says that the execution layer is offline");
}

#[tokio::test]
async fn what_is_no_beacon_api_is_unknown() {
    let says = |fault| says(move |node| node.fault = Some(fault));
    assert_eq!(says(Fault::Html).await, "its node answered HTML, not the beacon API");
    assert_eq!(says(Fault::HalfJson).await, "its node answered half a JSON");
    assert_eq!(says(Fault::ServerError).await, "its node answered 500 (database is corrupt)");
    assert_eq!(says(Fault::Huge).await, "its node sent an answer larger than 8388608 bytes");
    let why = says(Fault::WrongTypes).await;
    assert!(why.starts_with("its node does not answer as the beacon API says ("), "{why}");
}

#[tokio::test]
async fn a_node_that_hangs_is_unknown() {
    // It is waited for once a slot, so this is real time.
    let hang = |node: &mut Condition| node.fault = Some(Fault::Hang);
    assert_eq!(says_within(Duration::from_millis(250), hang).await, "its node did not answer in time");
}

#[tokio::test]
async fn a_node_that_sees_nobody_is_unknown() {
    let mut rig = Rig::start(1).await;
    rig.nodes[0].change(|node| node.blind = true);
    let ours = rig.epochs_to(12).await;
    assert_eq!(ours.reading.verdict, Verdict::Unknown);
    assert_eq!(&*ours.reading.why, "its node shows only 0 of 32 others live, so its silence means nothing");
    rig.stop().await;
}

#[tokio::test]
async fn a_stopped_node_is_unknown_and_after_its_start_until_a_whole_epoch_has_passed() {
    let mut rig = Rig::start(1).await;
    assert_eq!(rig.epochs_to(12).await.reading.verdict, Verdict::Up);
    rig.nodes[0].down().await;
    let down = rig.ours(13).await;
    assert_eq!((down.reading.verdict, &*down.reading.why), (Verdict::Unknown, "its node refuses connections"));
    rig.nodes[0].up().await.unwrap();
    let back = rig.ours(14).await;
    assert_eq!(back.reading.verdict, Verdict::Unknown);
    assert_eq!(&*back.reading.why, "its node has been well only since epoch 14 (before that it refuses connections)");
    assert_eq!(rig.ours(15).await.reading.verdict, Verdict::Unknown, "it was well only from within epoch 14 on");
    assert_eq!(rig.ours(16).await.reading.verdict, Verdict::Up);
    rig.stop().await;
}

#[tokio::test]
async fn a_probe_tells_what_would_fail_on_the_day() {
    let rig = Rig::start(1).await;
    let keys = keys(&rig.chain, [0, 1, 500]);
    let node = NodeConfig { name: "home".into(), url: rig.nodes[0].url().parse().unwrap() };
    let clock = std::sync::Arc::new(rig.clock.clone());
    let limit = Duration::from_secs(5);
    let good = probe(&node, None, &keys, limit, clock.clone()).await;
    assert_eq!(good.version, Ok("FakeBeacon/v1.0.0".into()));
    assert_eq!((good.synced, good.peers), (Ok(()), Ok(56)));
    let states = good.keys.unwrap();
    assert_eq!((states.active, states.missing), (2, 1));
    assert_eq!((good.missing, good.refused), (keys[2..].to_vec(), Vec::new()), "and it says which");
    let seen = good.liveness.unwrap().unwrap();
    assert_eq!((seen.verdict, seen.live, seen.control.total), (Verdict::Up, 2, 32));
    assert_eq!(good.rewards, Ok(()));
    rig.nodes[0].change(|node| node.el_offline = true);
    let other = probe(&node, Some(&format!("0x{}", "11".repeat(32))), &keys, limit, clock.clone()).await;
    assert_eq!(other.genesis_root, Err(NodeTrouble::OtherChain { genesis_root: rig.chain.genesis_root() }));
    rig.nodes[0].down().await;
    let gone = probe(&node, None, &keys, limit, clock).await;
    assert_eq!(gone.synced, Err(NodeTrouble::Refused));
    rig.stop().await;
}

#[tokio::test]
async fn one_key_that_is_no_point_of_the_curve_blinds_nobody_and_is_named() {
    let clock = StepClock::at(GENESIS + 10 * EPOCH);
    let chain = fake_chain(std::sync::Arc::new(clock.clone()));
    // 500 is nobody's index: there is no such validator.
    let ours = keys(&chain, [0, 500, 2, 3]);
    let time = std::sync::Arc::new(clock.clone());
    let mut rig = Rig::watch_keys([0, 500, 2, 3], clock, chain, 1, time, |_| {}).await;
    for no_post in [false, true] {
        rig.nodes[0].change(|node| (node.no_post, node.no_points) = (no_post, vec![ours[1].to_hex()]));
        let seen = rig.epochs_from(if no_post { 13 } else { 10 }, if no_post { 14 } else { 12 }).await;
        assert_eq!(seen.reading.verdict, Verdict::Up, "{}", seen.reading.why);
        let states = seen.keys.unwrap();
        assert_eq!((states.active, states.missing), (3, 1));
        let node = NodeConfig { name: "home".into(), url: rig.nodes[0].url().parse().unwrap() };
        let clock = std::sync::Arc::new(rig.clock.clone());
        let probe = probe(&node, None, &ours, Duration::from_secs(5), clock).await;
        assert_eq!((probe.refused, probe.missing), (vec![ours[1]], Vec::new()));
        assert_eq!(probe.liveness.unwrap().unwrap().live, 3);
    }
    rig.nodes[0].change(|node| node.fault = Some(Fault::Status(400)));
    let ours = rig.ours(15).await;
    assert_eq!(ours.reading.verdict, Verdict::Unknown, "a node that refuses everything refuses us, not a key");
    rig.stop().await;
}

#[tokio::test]
async fn a_node_that_keeps_no_liveness_is_unknown_and_the_probe_meets_it_with_its_option() {
    let mut rig = Rig::start(1).await;
    rig.nodes[0].change(|node| node.no_liveness = true);
    let ours = rig.epochs_to(12).await;
    assert_eq!(ours.reading.verdict, Verdict::Unknown);
    assert!(ours.reading.why.contains("liveness tracking is not enabled"), "{}", ours.reading.why);
    let node = NodeConfig { name: "home".into(), url: rig.nodes[0].url().parse().unwrap() };
    let clock = std::sync::Arc::new(rig.clock.clone());
    let probe = probe(&node, None, &keys(&rig.chain, 0..4), Duration::from_secs(5), clock).await;
    let trouble = probe.liveness.unwrap_err();
    assert!(trouble.remedy().contains("--beacon-liveness-tracking-enabled=true"), "{trouble}");
    rig.stop().await;
}
