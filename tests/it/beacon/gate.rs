//! The gate's duty check against the fake chain: what it takes for silence, and what for no answer.

use std::sync::Arc;

use failover::{
    adapters::beacon::{BeaconConfig, BeaconDuties, NodeConfig},
    domain::{
        Time,
        chain::{Epoch, PublicKey},
    },
    gate::parts::GATE_REMEDIES,
    ports::{Duties, DutySeen},
    sandbox::beacon::{Condition, FakeBeacon, FakeChain, Fault},
};

use super::rig::{EPOCH, GENESIS, StepClock, fake_chain, keys};

const SLOT: i64 = 12;
/// Late in epoch 10, when nodes can answer about epoch 9.
const LATE: i64 = GENESIS + 10 * EPOCH + 31 * SLOT + 4;

struct Gate {
    clock: StepClock,
    chain: FakeChain,
    nodes: Vec<FakeBeacon>,
}

impl Gate {
    /// Keys 0 to 2 are ours, and silent in epoch 9.
    async fn new(nodes: usize) -> Self {
        let clock = StepClock::at(GENESIS + 8 * EPOCH);
        let chain = fake_chain(Arc::new(clock.clone()));
        chain.set_attesting(0..3, false);
        clock.jump_to(LATE);
        let mut started = Vec::new();
        for _ in 0..nodes {
            started.push(chain.node().await.unwrap());
        }
        Self { clock, chain, nodes: started }
    }

    fn duties_of(&self, keys: Vec<PublicKey>, root: String) -> BeaconDuties {
        let names = ["a", "b", "c"];
        let config = |(node, name): (&FakeBeacon, &&str)| NodeConfig {
            name: (*name).to_owned(),
            url: node.url().parse().unwrap(),
        };
        let nodes = self.nodes.iter().zip(&names).map(config).collect();
        let config = BeaconConfig { genesis_root: Some(root), seed: Some(7), ..BeaconConfig::new(nodes) };
        BeaconDuties::new(config, keys, Arc::new(self.clock.clone()), GATE_REMEDIES).unwrap()
    }

    fn duties(&self) -> BeaconDuties {
        self.duties_of(keys(&self.chain, 0..3), self.chain.genesis_root())
    }

    async fn seen(&self) -> DutySeen {
        self.duties().in_epoch(Epoch(9)).await
    }

    async fn unknown(&self) -> String {
        match self.seen().await {
            DutySeen::Unknown(why) => why,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn silence_with_nearly_everybody_else_live_lets_a_gate_start() {
    let gate = Gate::new(1).await;
    let now = gate.duties().now().await.unwrap();
    assert_eq!((now.epoch, now.began_at, now.length.as_secs()), (Epoch(10), at(GENESIS + 10 * EPOCH), 384));
    assert_eq!(gate.seen().await, DutySeen::None);
    let posted = |request: &&String| request.contains("/liveness/");
    let requests = gate.nodes[0].requests();
    assert_eq!(requests.iter().filter(posted).collect::<Vec<_>>(), ["POST /eth/v1/validator/liveness/9"]);
}

#[tokio::test]
async fn a_duty_that_one_of_several_nodes_shows_keeps_it_from_starting() {
    let gate = Gate::new(2).await;
    gate.clock.jump_to(GENESIS + 9 * EPOCH);
    gate.chain.set_attesting([1], true);
    gate.clock.jump_to(LATE);
    // This one hides it.
    gate.nodes[0].change(|node| node.deaf_to = vec![0, 1, 2]);
    assert_eq!(gate.seen().await, DutySeen::Some { keys: 1 });
    // Others in trouble hide nothing.
    gate.nodes[0].change(|node| node.fault = Some(Fault::ServerError));
    assert_eq!(gate.seen().await, DutySeen::Some { keys: 1 });
}

/// Our key is seen even where the node sees nearly nobody else.
#[tokio::test]
async fn a_duty_counts_without_any_control_group() {
    let gate = Gate::new(1).await;
    gate.clock.jump_to(GENESIS + 9 * EPOCH);
    gate.chain.set_attesting([1], true);
    gate.chain.set_attesting(3..100, false);
    gate.clock.jump_to(LATE);
    assert_eq!(gate.seen().await, DutySeen::Some { keys: 1 });
}

#[tokio::test]
async fn a_node_that_cannot_know_says_nothing_and_the_reason_is_shown() {
    let gate = Gate::new(1).await;
    type Change = fn(&mut Condition);
    let cases: [(Change, &str); 13] = [
        (|node| node.behind = 40, "is 40 slots behind"),
        (|node| (node.behind, node.believes_in_step) = (40, true), "one of the two is wrong"),
        (|node| node.syncing = true, "is syncing"),
        (|node| node.optimistic = true, "is optimistic"),
        (|node| node.el_offline = true, "execution layer is offline"),
        (|node| node.other_chain = true, "correct --beacon-node or --chain"),
        (|node| node.blind = true, "shows only 0 of 32 others live"),
        (|node| node.no_liveness = true, "--beacon-liveness-tracking-enabled=true"),
        (|node| node.fault = Some(Fault::Status(400)), "answered 400"),
        (|node| node.fault = Some(Fault::Status(503)), "answered 503"),
        (|node| node.fault = Some(Fault::Html), "answered HTML"),
        (|node| node.fault = Some(Fault::HalfJson), "half a JSON"),
        (|node| node.fault = Some(Fault::Huge), "sent an answer larger"),
    ];
    for (change, says) in cases {
        gate.nodes[0].change(|node| *node = Condition::default());
        gate.nodes[0].change(change);
        let why = gate.unknown().await;
        assert!(why.contains(says), "{says}: {why}");
    }
    gate.nodes[0].change(|node| *node = Condition::default());
    assert_eq!(gate.seen().await, DutySeen::None, "nothing of it is remembered");
}

#[tokio::test]
async fn what_runs_only_as_a_part_of_the_command_cannot_be_asked_and_the_way_out_is_named() {
    let gate = Gate::new(1).await;
    gate.nodes[0].down().await;
    let why = gate.unknown().await;
    assert!(
        why.contains("refuses connections") && why.contains("--beacon-node elsewhere, or --duty-check off"),
        "{why}"
    );
    assert!(gate.duties().now().await.unwrap_err().contains("--duty-check off"));
}

/// Nobody has watched it, and what it does not show may be what it missed.
#[tokio::test]
async fn a_node_that_misses_a_part_of_the_others_has_to_be_watched_first() {
    let gate = Gate::new(1).await;
    // More than two thirds are live, so the watcher, who watches, would believe it.
    gate.nodes[0].change(|node| node.deaf_to = (0..25).collect());
    let duties = gate.duties();
    let DutySeen::Unknown(why) = duties.in_epoch(Epoch(9)).await else { panic!("it was believed") };
    assert!(why.contains("may have missed a part of the epoch"), "{why}");
    for slot in 0..=64 {
        gate.clock.jump_to(LATE + slot * SLOT);
        duties.now().await.unwrap();
    }
    assert_eq!(duties.in_epoch(Epoch(11)).await, DutySeen::None, "watched throughout by now");
}

#[tokio::test]
async fn a_node_that_was_started_in_the_epoch_is_not_believed() {
    let gate = Gate::new(1).await;
    gate.clock.jump_to(GENESIS + 9 * EPOCH + 16 * SLOT);
    gate.nodes[0].up().await.unwrap();
    gate.clock.jump_to(LATE);
    let why = gate.unknown().await;
    assert!(why.contains("shows only 0 of 32 others live"), "{why}");
}

#[tokio::test]
async fn only_the_epoch_before_is_asked_about_and_only_late() {
    let gate = Gate::new(1).await;
    let duties = gate.duties();
    let unknown = async |epoch| match duties.in_epoch(Epoch(epoch)).await {
        DutySeen::Unknown(why) => why,
        other => panic!("{other:?}"),
    };
    assert!(unknown(10).await.contains("too early: epoch 10 ends at"), "the current one");
    assert!(unknown(8).await.contains("is over for too long"), "never back-filled");
    gate.clock.jump_to(GENESIS + 10 * EPOCH + SLOT);
    assert!(unknown(9).await.contains("too early: nodes are asked about epoch 9 at"));
    assert!(gate.nodes[0].requests().iter().all(|request| !request.contains("/liveness/")));
    gate.clock.jump_to(LATE);
    assert_eq!(duties.in_epoch(Epoch(9)).await, DutySeen::None);
}

#[tokio::test]
async fn every_key_has_to_be_one_that_the_chain_knows_and_pending_ones_have_no_duties() {
    let gate = Gate::new(1).await;
    let seen = async |indices: Vec<u64>| {
        gate.duties_of(keys(&gate.chain, indices), gate.chain.genesis_root()).in_epoch(Epoch(9)).await
    };
    let DutySeen::Unknown(why) = seen(vec![0, 5000]).await else { panic!("a key that is perhaps another one") };
    assert!(why.contains("does not know the key 0x8f001388…: correct the file of public keys"), "{why}");
    gate.chain.set_status(1, "pending_queued");
    gate.chain.set_status(2, "exited_unslashed");
    assert_eq!(seen(vec![0, 1, 2]).await, DutySeen::None);
    assert_eq!(seen(vec![1, 2]).await, DutySeen::None, "none of them can have a duty");
    gate.chain.set_status(2, "active_slashed");
    let DutySeen::Unknown(why) = seen(vec![0, 2]).await else { panic!("somebody else signed") };
    assert!(why.contains("was slashed: find out who else signed"), "{why}");
}

#[tokio::test]
async fn a_wrong_clock_of_this_machine_is_no_epoch() {
    let gate = Gate::new(1).await;
    let here = StepClock::at(LATE + 3 * EPOCH);
    let nodes = vec![NodeConfig { name: "a".into(), url: gate.nodes[0].url().parse().unwrap() }];
    let config = BeaconConfig { genesis_root: Some(gate.chain.genesis_root()), ..BeaconConfig::new(nodes) };
    let duties = BeaconDuties::new(config, keys(&gate.chain, 0..3), Arc::new(here.clone()), GATE_REMEDIES).unwrap();
    let why = duties.now().await.unwrap_err();
    assert!(why.contains("behind this clock but not by its own"), "{why}");
    here.jump_to(LATE - 3 * EPOCH);
    let why = duties.now().await.unwrap_err();
    assert!(why.contains("this clock is behind the chain"), "{why}");
}

fn at(second: i64) -> Time {
    Time::from_second(second).unwrap()
}
