//! What an epoch comes to with one good node.

use std::{sync::Arc, time::Duration};

use failover::{
    adapters::beacon::{BeaconConfig, BeaconWatch, NodeConfig},
    domain::{ChainEvidence, ChainHealth, Evidence, Span, Time, ValidatorId, Verdict, chain::Epoch},
    ports::Clock,
    records,
    sandbox::beacon::{FakeBeacon, FakeChain, FakeChainConfig},
};
use futures::future::BoxFuture;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::rig::{EPOCH, GENESIS, Rig, StepClock, fake_chain, keys};

#[tokio::test]
async fn who_attests_is_up_and_the_chain_is_well() {
    let mut rig = Rig::start(1).await;
    rig.epochs_to(11).await;
    let mut seen = rig.epoch(12).await;
    assert_eq!(seen.chain.health, ChainHealth::Finalising);
    assert_eq!(seen.chain.genesis_root, Some(rig.chain.genesis_root()));
    let ours = seen.validators.remove(0);
    assert_eq!(ours.reading.verdict, Verdict::Up, "{}", ours.reading.why);
    assert_eq!(ours.reading.evidence, Evidence::Chain);
    assert_eq!(&*ours.reading.why, "live in epoch 11, 32 of 32 others live");
    let at = |epoch: i64| Time::from_second(GENESIS + epoch * EPOCH).unwrap();
    assert_eq!((ours.reading.about.from, ours.reading.about.to), (at(11), at(12)));
    assert_eq!(ours.reading.fresh_until, at(15), "one missed look makes nothing stale, two do");
    assert_eq!(ours.keys.as_ref().map(|keys| (keys.active, keys.slashed.len())), Some((4, 0)));
    rig.stop().await;
}

#[tokio::test]
async fn nothing_is_said_before_a_whole_epoch_was_watched() {
    let mut rig = Rig::start(1).await;
    rig.chain.set_attesting(0..4, false);
    rig.clock.let_go_to(GENESIS + 10 * EPOCH + 6);
    let first = rig.next().await;
    assert_eq!(&*first.validators[0].reading.why, "its node is watched until a whole epoch has passed");
    for epoch in [10, 11] {
        let ours = rig.ours(epoch).await;
        assert_eq!(ours.reading.verdict, Verdict::Unknown);
        assert_eq!(&*ours.reading.why, "its node has been watched only since epoch 10");
    }
    assert_eq!(rig.ours(12).await.reading.verdict, Verdict::Down);
    rig.stop().await;
}

#[tokio::test]
async fn the_first_complete_silent_epoch_is_down_and_the_first_live_one_is_up() {
    let mut rig = Rig::start(1).await;
    assert_eq!(rig.epochs_to(13).await.reading.verdict, Verdict::Up);
    rig.chain.set_attesting(0..4, false);
    let mixed = rig.ours(14).await;
    assert_eq!(mixed.reading.verdict, Verdict::Up, "epoch 13 was attested");
    let down = rig.ours(15).await;
    assert_eq!(down.reading.verdict, Verdict::Down);
    assert_eq!(&*down.reading.why, "silent in epoch 14, 32 of 32 others live");
    assert_eq!(down.keys.unwrap().silent, 4);
    let longer = rig.ours(16).await;
    assert_eq!(
        &*longer.reading.why, "silent in epoch 15, 32 of 32 others live; missed on the chain in epoch 14",
        "the canonical chain confirms it an epoch later"
    );
    rig.chain.set_attesting(0..4, true);
    assert_eq!(rig.ours(17).await.reading.verdict, Verdict::Down, "epoch 16 was silent");
    let up = rig.ours(18).await;
    assert_eq!(up.reading.verdict, Verdict::Up);
    assert_eq!(up.reading.about.from, Time::from_second(GENESIS + 17 * EPOCH).unwrap());
    rig.stop().await;
}

#[tokio::test]
async fn some_silent_keys_are_partial_and_are_named() {
    let mut rig = Rig::start(1).await;
    rig.chain.set_attesting([2], false);
    let ours = rig.epochs_to(12).await;
    assert_eq!(ours.reading.verdict, Verdict::Partial);
    assert_eq!(&*ours.reading.why, "1 of 4 keys silent in epoch 11 (0x8f000002…), 32 of 32 others live");
    rig.stop().await;
}

#[tokio::test]
async fn keys_without_duties_are_left_out_and_a_slashed_one_is_flagged() {
    let mut rig = Rig::start(1).await;
    rig.chain.set_attesting(0..4, false);
    rig.chain.set_attesting([3], true);
    rig.chain.set_status(0, "exited_unslashed");
    rig.chain.set_status(1, "pending_queued");
    rig.chain.set_status(2, "active_slashed");
    let ours = rig.epochs_to(12).await;
    assert_eq!(ours.reading.verdict, Verdict::Up);
    assert!(ours.reading.why.ends_with("; left out: 1 pending, 1 exited, 1 slashed"), "{}", ours.reading.why);
    let keys = ours.keys.unwrap();
    assert_eq!((keys.active, keys.pending, keys.exited, keys.missing, keys.silent), (1, 1, 1, 0, 0));
    let slashed: Vec<String> = keys.slashed.iter().map(ToString::to_string).collect();
    assert_eq!((slashed, keys.configured.len()), (vec!["0x8f000002…".to_owned()], 4));
    rig.chain.set_status(3, "withdrawal_done");
    let gone = rig.ours(13).await;
    assert_eq!(gone.reading.verdict, Verdict::Unknown);
    assert_eq!(&*gone.reading.why, "none of its keys is active (left out: 1 pending, 2 exited, 1 slashed)");
    rig.stop().await;
}

#[tokio::test]
async fn a_silent_control_group_makes_silence_mean_nothing() {
    let mut rig = Rig::start(1).await;
    rig.chain.set_attesting(0..50, false);
    let ours = rig.epochs_to(12).await;
    assert_eq!(ours.reading.verdict, Verdict::Unknown);
    let why = &*ours.reading.why;
    assert!(why.starts_with("its node shows only ") && why.ends_with("so its silence means nothing"), "{why}");
    rig.stop().await;
}

#[tokio::test]
async fn a_chain_that_does_not_finalise_is_told() {
    let mut rig = Rig::start(1).await;
    rig.chain.stop_finalising(true);
    rig.epochs_to(11).await;
    assert_eq!(rig.epoch(12).await.chain.health, ChainHealth::Finalising, "epoch 8 is four epochs old");
    assert_eq!(rig.epoch(13).await.chain.health, ChainHealth::NotFinalising { epochs: 5 });
    rig.stop().await;
}

#[tokio::test]
async fn only_the_epoch_just_ended_is_asked_about_and_once() {
    let mut rig = Rig::start(1).await;
    rig.epochs_to(15).await;
    let requests = rig.nodes[0].requests();
    let asked: Vec<&str> = requests.iter().filter_map(|r| r.strip_prefix("POST /eth/v1/validator/liveness/")).collect();
    // Of 9 and 10, which were not watched throughout, for a duty alone.
    assert_eq!(asked, ["9", "10", "11", "12", "13", "14"]);
    assert!(!requests.iter().any(|request| request.contains("status=")), "never all validators: {requests:?}");
    rig.stop().await;
}

#[tokio::test]
async fn an_older_node_without_the_post_is_asked_by_get() {
    let mut rig = Rig::start(1).await;
    rig.nodes[0].change(|node| node.no_post = true);
    assert_eq!(rig.epochs_to(12).await.reading.verdict, Verdict::Up);
    rig.stop().await;
}

#[tokio::test]
async fn a_gap_in_watching_makes_the_epoch_unknown() {
    let mut rig = Rig::start(1).await;
    assert_eq!(rig.epochs_to(12).await.reading.verdict, Verdict::Up);
    rig.chain.set_attesting(0..4, false);
    // The process is suspended for half an epoch.
    rig.clock.jump_to(GENESIS + 13 * EPOCH + 200);
    let missed = rig.ours(13).await;
    assert_eq!(missed.reading.verdict, Verdict::Unknown);
    assert_eq!(
        &*missed.reading.why,
        "its node has been well only since epoch 13 (before that it could not be asked in time)"
    );
    assert_eq!(rig.ours(14).await.reading.verdict, Verdict::Unknown);
    assert_eq!(rig.ours(15).await.reading.verdict, Verdict::Down);
    rig.stop().await;
}

#[tokio::test]
async fn every_epoch_is_written_down_once_and_read_back() {
    let mut rig = Rig::start(1).await;
    rig.chain.set_attesting([2], false);
    let mut evidence = ChainEvidence::default();
    for epoch in 10..=13 {
        let records = rig.ours(epoch).await.records;
        evidence.add(records.clone());
        let before = evidence.clone();
        evidence.add(records);
        assert_eq!(evidence, before, "a repetition adds nothing");
    }
    let read: ChainEvidence = records::decode("chain/eth-0", &records::encode("chain/eth-0", &evidence)).unwrap();
    assert_eq!(read, evidence);
    let last = read.records().next_back().unwrap();
    assert_eq!((last.epoch, last.node.as_str(), last.verdict), (Epoch(12), "home", Verdict::Partial));
    let (keys, control) = (last.keys.unwrap(), last.control.unwrap());
    assert_eq!((keys.live, keys.silent, control.live, control.total), (3, 1, 32, 32));
    let rewards = last.rewards.unwrap();
    assert_eq!((rewards.epoch, rewards.made, rewards.missed), (Epoch(11), 3, 1));
    assert_eq!((rewards.control_made, rewards.control_total), (32, 32));
    assert_eq!(last.finalised, Some(Epoch(11)));
    assert!(last.synced_since.unwrap() < Time::from_second(GENESIS + 11 * EPOCH).unwrap());
    let first = read.records().next().unwrap();
    assert_eq!(first.unknown_because.as_deref(), Some("the node has been watched only since epoch 10"));
    rig.stop().await;
}

#[tokio::test]
async fn what_is_unknown_is_never_about_an_earlier_time_than_what_it_replaces() {
    let mut rig = Rig::start(1).await;
    let mut about = Time::UNIX_EPOCH;
    for epoch in 10..=16 {
        rig.nodes[0].change(|node| node.optimistic = epoch == 14);
        let reading = rig.ours(epoch).await.reading;
        assert!(reading.about.to >= about, "epoch {epoch}: {reading:?}");
        about = reading.about.to;
    }
    rig.stop().await;
}

#[tokio::test]
async fn slots_of_less_than_a_second_are_followed_by_the_wall_clock() {
    let genesis_time = Time::now().as_second() - 60;
    let slot = Duration::from_millis(400);
    let chain = FakeChain::new(FakeChainConfig { validators: 64, slot, slots_per_epoch: 3, genesis_time });
    chain.set_attesting(0..2, false);
    let node = chain.node().await.unwrap();
    let nodes = vec![NodeConfig { name: "home".into(), url: node.url().parse().unwrap() }];
    let ours = vec![(ValidatorId::new("eth-0").unwrap(), keys(&chain, 0..2))];
    let clock = Arc::new(failover::adapters::clock::SystemClock);
    let watch = BeaconWatch::new(BeaconConfig::new(nodes), ours, clock).unwrap();
    let (tx, mut rx) = mpsc::channel(4);
    let stop = CancellationToken::new();
    let watcher = tokio::spawn(watch.run(tx, stop.clone()));
    // A machine that is too busy makes an epoch unknown; twelve in a row mean something else.
    let mut heard = Vec::new();
    while heard.last() != Some(&Verdict::Down) {
        let seen = tokio::time::timeout(Duration::from_secs(60), rx.recv()).await;
        let seen = seen.expect("nothing was said").unwrap();
        assert_ne!(seen.validators[0].reading.verdict, Verdict::Up);
        heard.push(seen.validators[0].reading.verdict);
        assert!(heard.len() < 12, "{:?}", seen.validators[0].reading);
    }
    stop.cancel();
    watcher.await.unwrap();
}

#[tokio::test]
async fn a_clock_behind_the_chain_is_noticed() {
    let ahead = StepClock::at(GENESIS + 10 * EPOCH);
    let chain = fake_chain(Arc::new(ahead.clone()));
    chain.set_attesting(0..4, false);
    let clock = StepClock::at(GENESIS + 9 * EPOCH);
    let mut rig = Rig::watch(clock.clone(), chain, 1, Arc::new(clock), |_| {}).await;
    let ours = rig.ours(9).await;
    assert_eq!(ours.reading.verdict, Verdict::Unknown);
    let why = &*ours.reading.why;
    assert_eq!(why, "its node shows slot 320, 2 slots ahead: this clock is behind the chain");
    rig.stop().await;
}

/// A clock that loses twenty seconds while the node thinks about liveness in epoch 11.
struct SlowAnswer {
    clock: StepClock,
    node: Arc<FakeBeacon>,
}

impl Clock for SlowAnswer {
    fn now(&self) -> Time {
        let asked = self.node.requests().iter().any(|request| request.contains("/liveness/11"));
        self.clock.now() + Span::from_secs(if asked { 20 } else { 0 })
    }

    fn sleep_until(&self, at: Time) -> BoxFuture<'static, ()> {
        self.clock.sleep_until(at)
    }
}

#[tokio::test]
async fn an_answer_that_comes_when_the_next_epoch_has_begun_counts_for_nothing() {
    let clock = StepClock::at(GENESIS + 10 * EPOCH);
    let chain = fake_chain(Arc::new(clock.clone()));
    chain.set_attesting(0..4, false);
    let node = Arc::new(chain.node().await.unwrap());
    let nodes = vec![NodeConfig { name: "home".into(), url: node.url().parse().unwrap() }];
    let ours = vec![(ValidatorId::new("eth-0").unwrap(), keys(&chain, 0..4))];
    let slow = Arc::new(SlowAnswer { clock: clock.clone(), node: node.clone() });
    let watch = BeaconWatch::new(BeaconConfig::new(nodes), ours, slow).unwrap();
    let (tx, mut rx) = mpsc::channel(4);
    let stop = CancellationToken::new();
    let watcher = tokio::spawn(watch.run(tx, stop.clone()));
    clock.let_go_to(GENESIS + 13 * EPOCH);
    let reading = loop {
        let seen = tokio::time::timeout(Duration::from_secs(60), rx.recv()).await;
        let mut seen = seen.expect("nothing was said").unwrap();
        if seen.epoch == Some(Epoch(11)) {
            break seen.validators.remove(0).reading;
        }
    };
    assert_eq!(reading.verdict, Verdict::Unknown);
    assert_eq!(&*reading.why, "its node answered when the next epoch had begun, which is too late");
    stop.cancel();
    watcher.await.unwrap();
}
