//! A fake chain with the mainnet's numbers, a watcher on it, and a clock that moves only as far as it is let.

use std::{sync::Arc, time::Duration};

use failover::{
    adapters::beacon::{BeaconConfig, BeaconWatch, NodeConfig},
    domain::{ChainObservation, PublicKey, Time, ValidatorId, ValidatorObservation},
    ports::Clock,
    sandbox::beacon::{FakeBeacon, FakeChain, FakeChainConfig},
};
use futures::{FutureExt, future::BoxFuture};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

pub const GENESIS: i64 = 1_700_000_000;
pub const EPOCH: i64 = 384;

/// A clock that jumps to the moment somebody waits for, but never beyond its limit. Its parts are what it shows, the
/// limit, and what is waited for.
#[derive(Clone)]
pub struct StepClock(watch::Sender<(Time, Time, Time)>);

impl StepClock {
    pub fn at(second: i64) -> Self {
        let at = Time::from_second(second).unwrap();
        Self(watch::Sender::new((at, at, at)))
    }

    pub fn let_go_to(&self, second: i64) {
        self.0.send_modify(|(_, limit, _)| *limit = Time::from_second(second).unwrap());
    }

    pub fn jump_to(&self, second: i64) {
        let at = Time::from_second(second).unwrap();
        self.0.send_modify(|(now, limit, _)| (*now, *limit) = (at, at));
    }

    /// Until nothing is left to do before the limit.
    pub async fn idle(&self) {
        let idle = |(_, limit, awaited): &(Time, Time, Time)| awaited > limit;
        self.0.subscribe().wait_for(idle).await.expect("the clock is here");
    }
}

impl Clock for StepClock {
    fn now(&self) -> Time {
        self.0.borrow().0
    }

    fn sleep_until(&self, at: Time) -> BoxFuture<'static, ()> {
        let clock = self.0.clone();
        async move {
            let mut changes = clock.subscribe();
            clock.send_modify(|(_, _, awaited)| *awaited = at);
            changes.wait_for(|(_, limit, _)| *limit >= at).await.expect("the clock outlives its sleepers");
            clock.send_modify(|(now, ..)| *now = at.max(*now));
        }
        .boxed()
    }
}

pub struct Rig {
    pub clock: StepClock,
    pub chain: FakeChain,
    pub nodes: Vec<FakeBeacon>,
    rx: mpsc::Receiver<ChainObservation>,
    stop: CancellationToken,
    watcher: JoinHandle<()>,
}

impl Rig {
    /// 100 validators; ours are the first four. The watcher starts at the beginning of epoch 10.
    pub async fn start(nodes: usize) -> Self {
        Self::start_with(nodes, |_| {}).await
    }

    pub async fn start_with(nodes: usize, change: impl FnOnce(&mut BeaconConfig)) -> Self {
        let clock = StepClock::at(GENESIS + 10 * EPOCH);
        let chain = fake_chain(Arc::new(clock.clone()));
        Self::watch(clock.clone(), chain, nodes, Arc::new(clock), change).await
    }

    pub async fn watch(
        clock: StepClock,
        chain: FakeChain,
        count: usize,
        watchers: Arc<dyn Clock>,
        change: impl FnOnce(&mut BeaconConfig),
    ) -> Self {
        Self::watch_keys(0..4, clock, chain, count, watchers, change).await
    }

    /// Ours are these of the chain's.
    pub async fn watch_keys(
        ours: impl IntoIterator<Item = u64>,
        clock: StepClock,
        chain: FakeChain,
        count: usize,
        watchers: Arc<dyn Clock>,
        change: impl FnOnce(&mut BeaconConfig),
    ) -> Self {
        let mut nodes = Vec::new();
        for _ in 0..count {
            nodes.push(chain.node().await.unwrap());
        }
        let named = ["home", "far"].iter().zip(&nodes);
        let named = named.map(|(name, node)| NodeConfig { name: (*name).into(), url: node.url().parse().unwrap() });
        let mut config = BeaconConfig { seed: Some(7), ..BeaconConfig::new(named.collect()) };
        change(&mut config);
        let ours = vec![(ValidatorId::new("eth-0").unwrap(), keys(&chain, ours))];
        let watch = BeaconWatch::new(config, ours, watchers).unwrap();
        let (tx, rx) = mpsc::channel(4);
        let stop = CancellationToken::new();
        let watcher = tokio::spawn(watch.run(tx, stop.clone()));
        Self { clock, chain, nodes, rx, stop, watcher }
    }

    /// Lets one epoch pass and hears what was said at its end; that is about the epoch before. Then the next begins.
    pub async fn epoch(&mut self, epoch: u64) -> ChainObservation {
        let end = GENESIS + EPOCH * i64::try_from(epoch + 1).unwrap();
        self.clock.let_go_to(end);
        let observation = loop {
            let observation = self.next().await;
            if observation.epoch.is_some() {
                break observation;
            }
        };
        assert_eq!(observation.epoch.unwrap().0, epoch - 1, "only the epoch just ended is judged");
        // A node is looked at after it was asked as well, and that look is of this epoch.
        self.clock.idle().await;
        self.clock.jump_to(end);
        observation
    }

    /// Lets so many epochs pass unheeded, from the tenth on.
    pub async fn epochs_to(&mut self, last: u64) -> ValidatorObservation {
        self.epochs_from(10, last).await
    }

    pub async fn epochs_from(&mut self, first: u64, last: u64) -> ValidatorObservation {
        let mut seen = None;
        for epoch in first..=last {
            seen = Some(self.ours(epoch).await);
        }
        seen.unwrap()
    }

    pub async fn ours(&mut self, epoch: u64) -> ValidatorObservation {
        self.epoch(epoch).await.validators.remove(0)
    }

    pub async fn next(&mut self) -> ChainObservation {
        let next = tokio::time::timeout(Duration::from_secs(60), self.rx.recv());
        next.await.expect("nothing was said").expect("the watcher runs")
    }

    pub async fn stop(self) {
        self.stop.cancel();
        self.watcher.await.unwrap();
    }
}

pub fn fake_chain(clock: Arc<dyn Clock>) -> FakeChain {
    let config =
        FakeChainConfig { validators: 100, slot: Duration::from_secs(12), slots_per_epoch: 32, genesis_time: GENESIS };
    FakeChain::with_clock(config, clock)
}

pub fn keys(chain: &FakeChain, indices: impl IntoIterator<Item = u64>) -> Vec<PublicKey> {
    indices.into_iter().map(|index| chain.public_key(index).parse().unwrap()).collect()
}
