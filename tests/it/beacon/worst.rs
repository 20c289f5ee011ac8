//! What a promotion reads of the chain: of several nodes the one that says the worst counts, in whatever order they are
//! configured.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use failover::{
    adapters::clock::SystemClock,
    config::{self, Checks},
    domain::{ChainHealth, Span, Time, gates::GateEvidence},
    ports::Clock,
    sandbox::beacon::{FakeBeacon, FakeChain, FakeChainConfig},
    sources::chain::chain_evidence,
};

/// So many seconds behind the right time.
struct Behind(AtomicI64);

impl Clock for Behind {
    fn now(&self) -> Time {
        SystemClock.now() - Span::from_secs(self.0.load(Ordering::Relaxed))
    }

    fn sleep_until(&self, at: Time) -> futures::future::BoxFuture<'static, ()> {
        SystemClock.sleep_until(at)
    }
}

/// It has finalised nothing for so many seconds, or is well.
fn chain(stopped: i64) -> FakeChain {
    let genesis_time = SystemClock.now().as_second() - 4000;
    let config = FakeChainConfig { validators: 8, slot: Duration::from_secs(2), slots_per_epoch: 32, genesis_time };
    let clock = Arc::new(Behind(AtomicI64::new(stopped)));
    let chain = FakeChain::with_clock(config, clock.clone());
    chain.stop_finalising(stopped > 0);
    clock.0.store(0, Ordering::Relaxed);
    chain
}

async fn evidence(key: &str, nodes: [&FakeBeacon; 2]) -> GateEvidence {
    let [first, second] = nodes.map(FakeBeacon::url);
    let text = format!(
        "site: home\nledger: {{sqlite: {{path: x}}}}\n\
         ethereum: {{beacon_nodes: [{{name: a, url: '{first}'}}, {{name: b, url: '{second}'}}]}}\n\
         validators: [{{name: eth-0, kind: ethereum, public_keys: ['{key}']}}]\n"
    );
    let config = config::parse(&text, "failover.yaml", &Checks { files: false, ..Checks::default() }).unwrap().0;
    chain_evidence(&config, &config.validators[0].name).await
}

#[tokio::test]
async fn of_two_nodes_a_promotion_believes_the_one_that_says_the_worst() {
    let (well, sick) = (chain(0), chain(1000));
    sick.set_status(0, "active_slashed");
    let (good, bad, key) = (well.node().await.unwrap(), sick.node().await.unwrap(), well.public_key(0));
    let fine = evidence(&key, [&good, &good]).await;
    assert_eq!((fine.chain.health, fine.chain.genesis_root), (ChainHealth::Finalising, Some(well.genesis_root())));
    assert_eq!(fine.keys.map(|keys| (keys.active, keys.slashed.len())), Some((1, 0)));
    for nodes in [[&good, &bad], [&bad, &good]] {
        let seen = evidence(&key, nodes).await;
        assert!(matches!(seen.chain.health, ChainHealth::NotFinalising { .. }), "{:?}", seen.chain);
        assert_eq!(seen.keys.map(|keys| (keys.active, keys.slashed.len())), Some((0, 1)));
    }
    // Its word is about another chain.
    bad.change(|condition| condition.other_chain = true);
    sick.stop_finalising(false);
    let seen = evidence(&key, [&good, &bad]).await;
    assert_eq!((seen.chain.health, seen.chain.genesis_root), (ChainHealth::Unknown, None));
    // One that has nothing to say takes nothing away.
    bad.down().await;
    let seen = evidence(&key, [&good, &bad]).await;
    assert_eq!(seen.chain.health, ChainHealth::Finalising);
}
