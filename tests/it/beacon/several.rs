//! Several nodes: they agree or nothing is said.

use failover::domain::{ChainHealth, Verdict};

use super::rig::Rig;

#[tokio::test]
async fn nodes_that_agree_say_it_once() {
    let mut rig = Rig::start(2).await;
    rig.chain.set_attesting(0..4, false);
    let ours = rig.epochs_to(12).await;
    assert_eq!((ours.reading.verdict, ours.records.len()), (Verdict::Down, 2));
    assert_eq!(&*ours.reading.why, "silent in epoch 11, 32 of 32 others live; missed on the chain in epoch 10");
    rig.stop().await;
}

#[tokio::test]
async fn a_node_that_cannot_say_is_left_out_and_named() {
    let mut rig = Rig::start(2).await;
    rig.chain.set_attesting(0..4, false);
    rig.nodes[1].change(|node| node.behind = 15);
    let ours = rig.epochs_to(12).await;
    assert_eq!(ours.reading.verdict, Verdict::Down);
    assert_eq!(
        &*ours.reading.why,
        "silent in epoch 11, 32 of 32 others live; missed on the chain in epoch 10; node far is 15 slots behind and is left out"
    );
    assert_eq!(ours.records[1].unknown_because.as_deref(), Some("the node is 15 slots behind"));
    rig.nodes[0].change(|node| node.optimistic = true);
    let neither = rig.ours(13).await;
    assert_eq!(neither.reading.verdict, Verdict::Unknown);
    assert!(neither.reading.why.contains("node home is optimistic"), "{}", neither.reading.why);
    rig.stop().await;
}

#[tokio::test]
async fn nodes_that_disagree_make_it_unknown() {
    let mut rig = Rig::start(2).await;
    rig.nodes[1].change(|node| node.deaf_to = vec![0, 1, 2, 3]);
    let ours = rig.epochs_to(12).await;
    assert_eq!(ours.reading.verdict, Verdict::Unknown);
    assert_eq!(&*ours.reading.why, "node home says live in epoch 11; node far says silent in epoch 11");
    rig.stop().await;
}

#[tokio::test]
async fn nodes_of_different_chains_make_it_unknown() {
    let mut rig = Rig::start(2).await;
    rig.nodes[1].change(|node| node.other_chain = true);
    rig.epochs_to(11).await;
    let mut seen = rig.epoch(12).await;
    assert_eq!((seen.chain.genesis_root, seen.chain.health), (None, ChainHealth::Finalising));
    let ours = seen.validators.remove(0);
    assert_eq!(ours.reading.verdict, Verdict::Unknown);
    assert_eq!(&*ours.reading.why, "its nodes follow different chains: set ethereum.genesis_root");
    rig.stop().await;
}
