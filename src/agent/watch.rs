//! The agent's loop: look at everything, report, wait. One round at a time, so nothing piles up behind what hangs.
//!
//! It judges nothing itself; the modules beside it do.

use std::{path::Path, sync::Arc, time::Duration};

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::{
    AgentConfig, NodeKind,
    cardano::CardanoJudge,
    clock::ClockState,
    cometbft::CometbftJudge,
    ethereum::EthereumJudge,
    generic::Generic,
    health::NodeHealth,
    machine::{LocalMachine, MachineError},
    promotion::{PromotionLook, SeenPromotion},
    report::{self, Counter, UNKNOWN_CLOCK_OFFSET_MS},
    restarts::Restarts,
    signer::{self, Signs},
};
use crate::{
    adapters::{
        beacon::{LocalLook, LocalNode},
        cardano::{CardanoClient, CardanoError, CardanoLook},
        cometbft::{CometbftClient, CometbftLook},
        execution::{Execution, ExecutionLook},
        generic_probe::GenericProbeError,
        metadata::{MetadataError, MetadataServer},
    },
    domain::{Report, Time},
    ports::Clock,
};

const REPORT: &str = "failover/report";
/// A node on the same machine that is slower than this is not well.
const NODE_TIMEOUT: Duration = Duration::from_secs(4);
/// The metadata server answers in a millisecond.
pub(super) const METADATA_TIMEOUT: Duration = Duration::from_secs(5);

/// Why the agent cannot work at all.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    #[error(transparent)]
    Machine(#[from] MachineError),
    /// The variable that names the metadata server.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    #[error("a probe cannot be set up")]
    Probe(#[from] GenericProbeError),
    #[error("no HTTP client can be made")]
    Http(#[from] reqwest::Error),
}

pub struct Agent {
    config: AgentConfig,
    machine: LocalMachine,
    boot_id: String,
    node: Node,
    metadata: MetadataServer,
    restarts: Restarts,
    promotion: PromotionLook,
    counter: Counter,
    compared: ClockState,
    clock: Arc<dyn Clock>,
    /// What was last said in the log, to say it once.
    said: Said,
}

enum Node {
    Ethereum { beacon: Box<LocalNode>, execution: Execution, judge: EthereumJudge },
    Cometbft { api: CometbftClient, judge: CometbftJudge },
    Cardano { api: CardanoClient, judge: CardanoJudge },
    Generic(Generic),
}

/// What one look at the node brought. A node with a chain is judged later, when the right time is known.
enum Looked<'a> {
    Ethereum(Box<(LocalLook, ExecutionLook)>, &'a mut EthereumJudge),
    Cometbft(CometbftLook, &'a mut CometbftJudge),
    Cardano(Result<CardanoLook, CardanoError>, &'a mut CardanoJudge),
    Generic(NodeHealth),
}

impl Looked<'_> {
    fn judge(self, right_time: Time, uptime: Duration) -> NodeHealth {
        match self {
            Self::Ethereum(look, judge) => judge.judge(&look.0, &look.1, right_time, uptime),
            Self::Cometbft(look, judge) => judge.judge(&look, right_time, uptime),
            Self::Cardano(look, judge) => judge.judge(&look, right_time, uptime),
            Self::Generic(health) => health,
        }
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Said {
    trouble: Option<String>,
    synced: Option<bool>,
    signs: Signs,
}

impl Agent {
    /// Prepares; nothing is asked yet. `machine` is the machine it runs on.
    ///
    /// # Errors
    /// [`AgentError`]: without these it could never report.
    pub fn new(
        config: AgentConfig,
        machine: LocalMachine,
        metadata: MetadataServer,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, AgentError> {
        let node = match &config.node {
            NodeKind::Ethereum { beacon, execution, genesis_root } => Node::Ethereum {
                beacon: Box::new(LocalNode::new(beacon, NODE_TIMEOUT)?),
                execution: Execution::new(execution, NODE_TIMEOUT)?,
                judge: EthereumJudge::new(genesis_root.clone()),
            },
            NodeKind::Cometbft(node) => Node::Cometbft {
                api: CometbftClient::new(&node.rpc, NODE_TIMEOUT)?,
                judge: CometbftJudge::new(node.network.clone()),
            },
            NodeKind::Cardano(node) => Node::Cardano {
                api: CardanoClient::new(&node.metrics, NODE_TIMEOUT)?,
                judge: CardanoJudge::new(node.network),
            },
            NodeKind::Generic { probes } => Node::Generic(Generic::new(probes, config.interval)?),
        };
        let promotion = PromotionLook::new(config.gate.clone())?;
        let restarts = Restarts::of(config.units.clone(), Path::new("/run/systemd"));
        let boot_id = machine.boot_id()?;
        machine.uptime()?;
        let (counter, compared, said) = (Counter::default(), ClockState::default(), Said::default());
        Ok(Self { config, machine, boot_id, node, metadata, restarts, promotion, counter, compared, clock, said })
    }

    /// On this very machine, with the metadata server the environment names.
    ///
    /// # Errors
    /// As [`Agent::new`].
    pub fn here(config: AgentConfig, clock: Arc<dyn Clock>) -> Result<Self, AgentError> {
        let metadata = MetadataServer::from_environment(METADATA_TIMEOUT)?;
        Self::new(config, LocalMachine::at("/"), metadata, clock)
    }

    /// Reports until it is to stop, and then ends at once, whatever it waits for.
    pub async fn run(mut self, shutdown: CancellationToken) {
        tracing::info!(
            validator = %self.config.validator, incident = %self.config.incident, boot = %self.boot_id,
            metadata = %self.metadata.address(), "reporting"
        );
        let mut ticks = interval(self.config.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let rounds = async {
            loop {
                ticks.tick().await;
                self.round().await;
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = rounds => {}
        }
    }

    async fn round(&mut self) {
        let trouble = match self.report().await {
            Err(error) => Some(error.to_string()),
            Ok(report) => {
                self.log(&report);
                let sent = self.metadata.put_guest_attribute(REPORT, report::bytes(&report)).await;
                sent.err().map(|error| error.to_string())
            }
        };
        if trouble != self.said.trouble {
            match &trouble {
                Some(trouble) => tracing::warn!("no report was left: {trouble}; tried again at every round"),
                None => tracing::info!("reports are taken again"),
            }
            self.said.trouble = trouble;
        }
    }

    /// Looks at everything once.
    ///
    /// # Errors
    /// When the kernel does not say how long the machine is up; then no counter could be given.
    pub async fn report(&mut self) -> Result<Report, MachineError> {
        let due = self.compared.is_due(self.machine.uptime()?, self.clock.now());
        let compare = async { if due { self.metadata.clock_offset(&*self.clock).await.ok() } else { None } };
        let marker = self.machine.promotion();
        let (looked, offset, restarts, promotion) = tokio::join!(
            look(&mut self.node, &*self.clock),
            compare,
            self.restarts.count(),
            self.promotion.look(marker.as_deref(), &self.metadata)
        );
        let (uptime, now) = (self.machine.uptime()?, self.clock.now());
        if let Some(offset) = &offset {
            self.compared.compared(offset, uptime, now);
        }
        let right_time = self.compared.right_time(uptime, now);
        let health = looked.judge(right_time, uptime);
        Ok(self.write(health, restarts, promotion, uptime, now))
    }

    fn write(
        &mut self,
        health: NodeHealth,
        restarts: u32,
        promotion: SeenPromotion,
        uptime: Duration,
        now: Time,
    ) -> Report {
        let facts = self.machine.facts();
        // A node that does not run says nothing, and signs nothing. One that answers runs, whatever started it.
        let runs = |process: &signer::RunningProcess| {
            process.unit.as_ref().is_some_and(|unit| self.config.units.contains(unit))
        };
        let hidden = health.signs.hidden.filter(|_| health.listens || facts.processes.iter().any(runs));
        let signs = Signs { hidden, ..health.signs }.and(signer::find(&facts));
        let offset = self.compared.offset_ms(uptime, now);
        let mut stage = health.stage;
        if offset.is_none() {
            stage.push_str("; its clock could not be compared");
        }
        if promotion.with_others {
            stage.push_str("; it was promoted with other settings than its metadata have now, and keeps those");
        }
        let has_gate = facts.units.iter().any(|unit| unit.starts_with(signer::GATE_UNIT));
        let versions = health.versions.into_iter().map(|(of, version)| (of.to_owned(), version));
        let own = ("failover".to_owned(), env!("CARGO_PKG_VERSION").to_owned());
        report::bounded(&Report {
            incident: self.config.incident.clone(),
            boot_id: self.boot_id.clone(),
            counter: self.counter.next(uptime),
            progress_percent: health.percent,
            stage,
            seconds_to_go: health.seconds_to_go,
            synced: health.synced,
            optimistic: health.optimistic,
            head_age_seconds: health.head_age_seconds,
            peers: health.peers,
            genesis_root: health.genesis_root,
            chain_id: health.chain_id,
            clock_offset_ms: offset.unwrap_or(UNKNOWN_CLOCK_OFFSET_MS),
            signer_seen: signs.seen.is_some(),
            signer: signs.seen,
            signer_hidden: signs.hidden,
            promoted: promotion.promoted,
            gate: promotion.gate.filter(|_| has_gate),
            restarts,
            disk_free_percent: self.machine.disk_free_percent(&self.config.data),
            memory_free_percent: self.machine.memory_free_percent(),
            versions: versions.chain([own]).collect(),
        })
    }

    /// Says in the log what has changed.
    fn log(&mut self, report: &Report) {
        tracing::debug!(counter = report.counter, percent = report.progress_percent, stage = %report.stage, "looked");
        if self.said.synced != Some(report.synced) {
            tracing::info!(percent = report.progress_percent, synced = report.synced, "{}", report.stage);
            self.said.synced = Some(report.synced);
        }
        let signs = Signs { seen: report.signer.clone(), hidden: report.signer_hidden.clone() };
        if self.said.signs != signs {
            match &signs {
                Signs { seen: Some(signer), .. } => tracing::warn!("something that could sign: {signer}"),
                Signs { seen: None, hidden: Some(why) } => tracing::warn!("a signer cannot be ruled out: {why}"),
                Signs { seen: None, hidden: None } => tracing::info!("nothing that could sign is seen any more"),
            }
            self.said.signs = signs;
        }
    }
}

async fn look<'a>(node: &'a mut Node, clock: &dyn Clock) -> Looked<'a> {
    match node {
        Node::Ethereum { beacon, execution, judge } => {
            Looked::Ethereum(Box::new(tokio::join!(beacon.look(), execution.look())), judge)
        }
        Node::Cometbft { api, judge } => Looked::Cometbft(api.look().await, judge),
        Node::Cardano { api, judge } => Looked::Cardano(api.look().await, judge),
        Node::Generic(generic) => Looked::Generic(generic.look(clock).await),
    }
}
