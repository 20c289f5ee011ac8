//! A proof-of-stake chain and the beacon nodes that show it: the far end of the chain source.
//!
//! It holds no consensus: validators attest or do not, and the nodes answer about that as real ones were measured to,
//! wrong answers included. Times follow from the clock; nothing has to be driven.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use super::server::Server;
use crate::{adapters::clock::SystemClock, ports::Clock};

mod api;
mod world;

use world::World;

#[derive(Clone, Debug)]
pub struct FakeChainConfig {
    /// How many validators there are, all on duty at first.
    pub validators: u64,
    /// The length of a slot. Parts of a second are told as `SLOT_DURATION_MS`.
    pub slot: Duration,
    pub slots_per_epoch: u64,
    /// When it began, in seconds since 1970.
    pub genesis_time: i64,
}

/// The chain, shared by its nodes.
#[derive(Clone)]
pub struct FakeChain {
    world: Arc<World>,
}

/// One beacon node. It stops when it is dropped.
pub struct FakeBeacon {
    node: Arc<NodeState>,
    server: Server,
}

/// How a node is, as far as it differs from a good one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    /// Its head is so many slots old.
    pub behind: u64,
    /// It hides that: its own clock is as wrong as its head.
    pub believes_in_step: bool,
    /// It says that it is syncing.
    pub syncing: bool,
    pub optimistic: bool,
    pub el_offline: bool,
    pub other_chain: bool,
    /// It sees nobody's attestations, as if it were cut off.
    pub blind: bool,
    /// It does not see these validators, for whatever reason.
    pub deaf_to: Vec<u64>,
    /// It is older than `POST …/validators`.
    pub no_post: bool,
    /// It keeps no record of who was live, as Teku without `--beacon-liveness-tracking-enabled`.
    pub no_liveness: bool,
    /// It has no states to say from what was paid, as a hosted node that serves only what is new.
    pub no_rewards: bool,
    /// What it says was paid, no execution layer has verified.
    pub optimistic_rewards: bool,
    /// Keys that are no point of the curve: as Teku, it refuses every request that has one of them.
    pub no_points: Vec<String>,
    /// By what name its peers know it. Without one it does not say, as Prysm without discovery.
    pub peer_id: Option<String>,
    /// It does not answer as a beacon node at all.
    pub fault: Option<Fault>,
}

/// How an answer can be spoilt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Html,
    /// The first half of the answer.
    HalfJson,
    Hang,
    /// 500
    ServerError,
    /// This status, with nothing.
    Status(u16),
    WrongTypes,
    /// 16 MiB.
    Huge,
}

struct NodeState {
    world: Arc<World>,
    condition: Mutex<Condition>,
    requests: Mutex<Vec<String>>,
    /// When it was started; of what came before it knows nothing.
    started_ms: Mutex<i64>,
}

impl FakeChain {
    /// A chain by this machine's clock.
    #[must_use]
    pub fn new(config: FakeChainConfig) -> Self {
        Self::with_clock(config, Arc::new(SystemClock))
    }

    #[must_use]
    pub fn with_clock(config: FakeChainConfig, clock: Arc<dyn Clock>) -> Self {
        Self { world: Arc::new(World::new(config, clock)) }
    }

    /// The public key of the validator with this index, `0x…`.
    #[must_use]
    pub fn public_key(&self, index: u64) -> String {
        world::public_key(index)
    }

    #[must_use]
    pub fn genesis_root(&self) -> String {
        world::GENESIS_ROOT.to_owned()
    }

    /// From now on these validators attest, or do not.
    pub fn set_attesting(&self, indices: impl IntoIterator<Item = u64>, attesting: bool) {
        self.world.set_attesting(indices, attesting);
    }

    /// Gives a validator a status, in the API's words (`exited_unslashed`, `active_slashed` …).
    pub fn set_status(&self, index: u64, status: &str) {
        self.world.set_status(index, status);
    }

    /// Stops finalising whatever is attested, or continues.
    pub fn stop_finalising(&self, stopped: bool) {
        self.world.stop_finalising(stopped);
    }

    /// A new node that shows this chain, on a free port of loopback. It knows the chain from its beginning.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn node(&self) -> io::Result<FakeBeacon> {
        let node = Arc::new(NodeState {
            world: self.world.clone(),
            condition: Mutex::default(),
            requests: Mutex::default(),
            started_ms: Mutex::new(i64::MIN),
        });
        let server = Server::http(api::router(node.clone())).await?;
        Ok(FakeBeacon { node, server })
    }
}

impl FakeBeacon {
    #[must_use]
    pub fn url(&self) -> String {
        self.server.url()
    }

    pub fn change(&self, change: impl FnOnce(&mut Condition)) {
        change(&mut lock(&self.node.condition));
    }

    /// What it was asked so far: method and path.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        lock(&self.node.requests).clone()
    }

    /// Stops it: its port refuses connections.
    pub async fn down(&self) {
        self.server.down().await;
    }

    /// Starts it again on the same port. Of the epochs before it wrongly shows everybody silent.
    ///
    /// # Errors
    /// When somebody else has taken the port meanwhile.
    pub async fn up(&self) -> io::Result<()> {
        self.down().await;
        *lock(&self.node.started_ms) = self.node.world.now_ms();
        self.server.up().await
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics while it holds this lock")
}
