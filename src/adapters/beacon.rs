//! The chain source: watches beacon nodes once a slot and asks them once an epoch what the chain shows of our keys.
//!
//! It decides nothing and writes nothing: what it hears is judged by [`crate::domain::chain`] and sent to the loop. It
//! holds no key and asks for none; public keys are all it sends.

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::{
    domain::{
        ChainObservation, ChainView, PublicKey, Span, Time, TimeExt, ValidatorId, ValidatorObservation, Verdict,
        chain::{self, ChainTime, Epoch, NodeEpoch, Slot},
    },
    ports::Clock,
};

mod api;
mod client;
mod control;
mod duties;
mod local;
mod missed;
mod node;
mod probe;
mod unwatched;
mod wire;

pub use duties::{BeaconDuties, NodeRemedies};
pub use local::{LocalLook, LocalNode};
pub use missed::{agreed, missed};
pub use probe::{ChainNow, NodeProbe, followed, present, probe};
pub use unwatched::{NodeNow, UnwatchedNodes};

use client::Client;
use control::Sampler;
use node::WatchedNode;

/// Fails when nobody listens any more.
type Told = Result<(), mpsc::error::SendError<ChainObservation>>;

#[derive(Clone, Debug)]
pub struct NodeConfig {
    pub name: String,
    pub url: Url,
}

#[derive(Clone, Debug)]
pub struct BeaconConfig {
    /// At least one, with unique names.
    pub nodes: Vec<NodeConfig>,
    /// The chain they have to follow (genesis_validators_root, `0x…`), if the operator has said.
    pub genesis_root: Option<String>,
    /// The longest that one request may take.
    pub timeout: Duration,
    /// How much of a slot is over when it is looked at, 0 to 0.9. A block is spread by the first third.
    pub into_slot: f64,
    /// Makes the control groups the same in every run; for tests and the sandbox.
    pub seed: Option<u64>,
}

impl BeaconConfig {
    #[must_use]
    pub fn new(nodes: Vec<NodeConfig>) -> Self {
        Self { nodes, genesis_root: None, timeout: Duration::from_secs(5), into_slot: 1.0 / 3.0, seed: None }
    }
}

/// Watches all validators on all nodes. [`BeaconWatch::run`] is one task.
pub struct BeaconWatch {
    nodes: Vec<WatchedNode>,
    validators: Vec<(ValidatorId, Vec<PublicKey>)>,
    all_keys: Vec<PublicKey>,
    into_slot: f64,
    clock: Arc<dyn Clock>,
    /// Up to when the readings reported so far speak.
    reported_to: Time,
    /// What was last reported while nothing could be judged, to report it once.
    reported: Option<String>,
}

/// How long to wait before trying again to find any node that answers.
const RETRY: Span = Span::from_secs(5);

impl BeaconWatch {
    /// Prepares; nothing is sent before [`BeaconWatch::run`].
    ///
    /// # Errors
    /// When the system has no certificate authorities at all.
    pub fn new(
        config: BeaconConfig,
        validators: Vec<(ValidatorId, Vec<PublicKey>)>,
        clock: Arc<dyn Clock>,
    ) -> reqwest::Result<Self> {
        let into_slot = config.into_slot.clamp(0.0, 0.9);
        let nodes = nodes(config, &clock)?;
        let mut all_keys: Vec<PublicKey> = validators.iter().flat_map(|(_, keys)| keys).copied().collect();
        all_keys.sort_unstable();
        all_keys.dedup();
        Ok(Self { nodes, validators, all_keys, into_slot, clock, reported_to: Time::UNIX_EPOCH, reported: None })
    }

    /// Runs until stopped or until nobody listens.
    pub async fn run(mut self, tx: mpsc::Sender<ChainObservation>, shutdown: CancellationToken) {
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = self.watch(&tx) => {}
        }
    }

    async fn watch(&mut self, tx: &mpsc::Sender<ChainObservation>) {
        let Some(time) = self.find_chain(tx).await else { return };
        let into = time.slot().mul_f64(self.into_slot);
        let mut asked = None;
        loop {
            let (slot, at) = time.next_look(self.clock.now(), into);
            self.clock.sleep_until(at).await;
            // Woken late: the machine slept or the clock jumped. That slot was not watched, and nobody pretends it was.
            if time.slot_at(self.clock.now()) != Some(slot) {
                continue;
            }
            let current = time.epoch_of(slot);
            let reported = match current.previous() {
                Some(epoch) if slot >= time.asked_from(current) && asked != Some(epoch) => {
                    let looks = self.ask_all(epoch, &time).await;
                    if chain::is_worth_asking_again(&looks, &time, self.clock.now()) {
                        continue;
                    }
                    asked = Some(epoch);
                    self.tell(epoch, &looks, &time, tx).await
                }
                Some(_) | None => {
                    let rest = time.start_of(Slot(slot.0 + 1)).duration_since(self.clock.now());
                    let budget = Duration::try_from(rest).unwrap_or_default();
                    join_all(self.nodes.iter_mut().map(|node| node.look(&time, budget))).await;
                    self.tell_once(time.interval(current).from, tx).await
                }
            };
            if reported.is_err() {
                return;
            }
        }
    }

    /// Waits for the first node that says which chain it follows.
    async fn find_chain(&mut self, tx: &mpsc::Sender<ChainObservation>) -> Option<ChainTime> {
        loop {
            join_all(self.nodes.iter_mut().map(WatchedNode::connect)).await;
            if let Some(time) = self.nodes.iter().find_map(WatchedNode::chain_time) {
                return Some(time);
            }
            let now = self.clock.now();
            self.tell_once(now, tx).await.ok()?;
            self.clock.sleep_until(now.plus(RETRY)).await;
        }
    }

    async fn ask_all(&mut self, epoch: Epoch, time: &ChainTime) -> Vec<NodeEpoch> {
        let keys = &self.all_keys;
        let looks = join_all(self.nodes.iter_mut().map(|node| node.ask(epoch, keys, time))).await;
        looks.iter().for_each(log);
        looks
    }

    async fn tell(
        &mut self,
        epoch: Epoch,
        looks: &[NodeEpoch],
        time: &ChainTime,
        tx: &mpsc::Sender<ChainObservation>,
    ) -> Told {
        let validators =
            self.validators.iter().map(|(id, keys)| chain::observe(epoch, looks, id, keys, time)).collect();
        let observation = ChainObservation { epoch: Some(epoch), chain: chain::chain_view(looks), validators };
        self.reported = Some(String::new());
        self.send(observation, tx).await
    }

    /// Before the first epoch is judged, says why there is no opinion; again only when the reason changes.
    async fn tell_once(&mut self, at: Time, tx: &mpsc::Sender<ChainObservation>) -> Told {
        let alone = self.nodes.len() == 1;
        let name = |node: &WatchedNode| if alone { "its node".into() } else { format!("node {}", node.name) };
        let why: Vec<String> = self
            .nodes
            .iter()
            .map(|node| match node.chain_time() {
                Some(_) => format!("{} is watched until a whole epoch has passed", name(node)),
                None => format!("{} {}", name(node), node.trouble),
            })
            .collect();
        let why = why.join("; ");
        if self.reported.as_ref().is_some_and(|reported| reported.is_empty() || *reported == why) {
            return Ok(());
        }
        let validators = self.validators.iter().map(|(id, _)| ValidatorObservation {
            validator: id.clone(),
            reading: chain::cannot_say(at, &why),
            keys: None,
            records: Vec::new(),
        });
        let observation =
            ChainObservation { epoch: None, chain: ChainView::default(), validators: validators.collect() };
        self.reported = Some(why);
        self.send(observation, tx).await
    }

    /// Sends, and sees to it that what is *unknown* is not taken for older than what it replaces.
    async fn send(&mut self, mut observation: ChainObservation, tx: &mpsc::Sender<ChainObservation>) -> Told {
        let mut reported_to = self.reported_to;
        for seen in &mut observation.validators {
            let about = &mut seen.reading.about;
            if seen.reading.verdict == Verdict::Unknown && about.to < self.reported_to {
                (about.from, about.to) = (self.reported_to, self.reported_to);
            }
            reported_to = reported_to.max(about.to);
        }
        self.reported_to = reported_to;
        tx.send(observation).await
    }
}

fn nodes(config: BeaconConfig, clock: &Arc<dyn Clock>) -> reqwest::Result<Vec<WatchedNode>> {
    let mut rng = config.seed.map_or_else(fastrand::Rng::new, fastrand::Rng::with_seed);
    let node = |node: NodeConfig| {
        let client = Client::new(&node.url, config.timeout)?;
        let (expected, sampler) = (config.genesis_root.clone(), Sampler::new(rng.fork()));
        Ok(WatchedNode::new(node.name, client, expected, config.timeout, sampler, clock.clone()))
    };
    config.nodes.into_iter().map(node).collect()
}

fn log(look: &NodeEpoch) {
    let NodeEpoch { node, epoch, .. } = look;
    match &look.liveness {
        Ok(liveness) => tracing::debug!(%node, %epoch, asked = liveness.live.len(), "the epoch was asked about"),
        Err(trouble) => tracing::info!(%node, %epoch, "the node {trouble}"),
    }
}
