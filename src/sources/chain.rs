//! The chain's opinions: to the loop at once, and into the ledger once an epoch.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use anyhow::Context as _;
use futures::future::join_all;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::EventSource;
use crate::{
    adapters::{
        beacon::{self, BeaconConfig, BeaconWatch, NodeConfig, NodeProbe},
        clock::SystemClock,
    },
    config::{Config, EthereumSettings, ValidatorKind, ValidatorSettings},
    domain::{
        ChainEvidence, ChainHealth, ChainObservation, ChainView, Event, LedgerKey, PublicKey, Source, Time,
        ValidatorId,
        gates::{GateEvidence, SilentEpochs},
    },
    ports::{Expect, Finding, Ledger, PutError},
    records::{self, RecordError},
    runtime::{Deps, Handle},
};

mod findings;

/// The longest that one request to a beacon node may take.
const TIMEOUT: Duration = Duration::from_secs(5);

fn nodes(settings: &EthereumSettings) -> Vec<NodeConfig> {
    let node = |node: &crate::config::BeaconNodeSettings| NodeConfig { name: node.name.clone(), url: node.url.clone() };
    settings.beacon_nodes.iter().map(node).collect()
}

pub struct ChainSource {
    watch: BeaconWatch,
    ledger: Arc<dyn Ledger>,
}

impl ChainSource {
    /// `None` when no beacon node is configured, or no validator that one knows.
    ///
    /// # Errors
    /// When the system has no certificate authorities at all.
    pub fn new(config: &Config, deps: &Deps) -> anyhow::Result<Option<Self>> {
        let Some(settings) = &config.ethereum else { return Ok(None) };
        let keys_of = |validator: &ValidatorSettings| match &validator.kind {
            ValidatorKind::Ethereum { public_keys } => Some((validator.name.clone(), public_keys.clone())),
            ValidatorKind::Generic { .. } => None,
        };
        let validators: Vec<_> = config.validators.iter().filter_map(keys_of).collect();
        if validators.is_empty() {
            return Ok(None);
        }
        let mut beacon = BeaconConfig::new(nodes(settings));
        beacon.genesis_root.clone_from(&settings.genesis_root);
        beacon.timeout = TIMEOUT;
        let watch = BeaconWatch::new(beacon, validators, deps.clock.clone()).context("ethereum")?;
        Ok(Some(Self { watch, ledger: deps.ledger.clone() }))
    }
}

impl EventSource for ChainSource {
    fn name(&self) -> String {
        "the chain".into()
    }

    async fn run(self, engine: Handle) {
        let (sender, observations) = mpsc::channel(16);
        tokio::join!(self.watch.run(sender, CancellationToken::new()), report(observations, &engine, &*self.ledger));
    }
}

async fn report(mut observations: mpsc::Receiver<ChainObservation>, engine: &Handle, ledger: &dyn Ledger) {
    while let Some(observation) = observations.recv().await {
        engine.send(Event::ChainSeen(observation.chain)).await;
        for seen in observation.validators {
            if let Some(keys) = seen.keys {
                engine.send(Event::KeysSeen(seen.validator.clone(), keys)).await;
            }
            engine.send(Event::Observed(seen.validator.clone(), Source::Chain, seen.reading)).await;
            // Only the holder of the lease writes; the records of another process's eyes are not this one's.
            if engine.leads() && !seen.records.is_empty() {
                let written = write_down(ledger, &seen.validator, seen.records).await;
                let damaged = written.as_ref().err().and_then(|error| error.downcast_ref::<RecordError>());
                let key = LedgerKey::chain(&seen.validator);
                engine.troubles().set(&key, damaged.map(ToString::to_string).into_iter().collect());
                if let Err(error) = written {
                    tracing::warn!(validator = %seen.validator, %error, "an epoch could not be written down");
                }
            }
        }
    }
}

/// An epoch is written once, when it was seen, and never filled in later.
async fn write_down(
    ledger: &dyn Ledger,
    validator: &ValidatorId,
    seen: Vec<crate::domain::chain::EpochRecord>,
) -> anyhow::Result<()> {
    let key = LedgerKey::chain(validator);
    for _ in 0..3 {
        let stored = ledger.get(&key).await?;
        let (mut evidence, expect) = match &stored {
            None => (ChainEvidence::default(), Expect::Absent),
            Some(stored) => {
                (records::decode::<ChainEvidence>(&key, &stored.bytes)?, Expect::Version(stored.version.clone()))
            }
        };
        evidence.add(seen.clone());
        match ledger.write(&key, records::encode(&key, &evidence), expect).await {
            Ok(_) => return Ok(()),
            // Repeating is harmless: what is there already stays.
            Err(PutError::Conflict { .. } | PutError::UnknownOutcome(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    anyhow::bail!("somebody else writes {key} all the time")
}

/// [`ChainEvidence::silent_epochs`] of what the ledger has; `None` when that cannot be read.
pub async fn silent_epochs(ledger: &dyn Ledger, validator: &ValidatorId, since: Time) -> Option<SilentEpochs> {
    let key = LedgerKey::chain(validator);
    let stored = ledger.get(&key).await.ok()??;
    let evidence: ChainEvidence = records::decode(&key, &stored.bytes).ok()?;
    evidence.silent_epochs(since)
}

/// Asks every beacon node once, for `check`.
pub async fn probe_chain(config: &Config) -> Vec<Finding> {
    if config.validators.iter().all(|validator| matches!(validator.kind, ValidatorKind::Generic { .. })) {
        return Vec::new();
    }
    let Some(settings) = &config.ethereum else {
        let remedy = "add `ethereum.beacon_nodes`, best a node that is not the validator's own";
        return vec![Finding::problem("chain", "no `ethereum` section: nothing is known from the chain", remedy)];
    };
    let all: Vec<PublicKey> = config.validators.iter().flat_map(|validator| validator.public_keys().to_vec()).collect();
    let nodes = nodes(settings);
    let probes = join_all(nodes.iter().map(|node| probe(node, settings, &all))).await;
    let roots: BTreeSet<String> = probes.iter().filter_map(|probe| probe.genesis_root.clone().ok()).collect();
    let mut findings: Vec<Finding> =
        nodes.iter().zip(probes).flat_map(|(node, probe)| findings::of_node(config, node, probe)).collect();
    if roots.len() > 1 {
        let detail = "they follow different chains, so the chain is never a signal";
        findings.push(Finding::problem("beacon nodes", detail, "set `ethereum.genesis_root`, and correct the others"));
    }
    if settings.beacon_nodes.len() < crate::domain::gates::NODES {
        let remedy = "add a second one in another place, for example a provider's";
        let detail = "one beacon node: promotion will need what two see from different places";
        findings.push(Finding::warning("beacon nodes", detail, remedy));
    }
    findings
}

async fn probe(node: &NodeConfig, settings: &EthereumSettings, keys: &[PublicKey]) -> NodeProbe {
    beacon::probe(node, settings.genesis_root.as_deref(), keys, TIMEOUT, Arc::new(SystemClock)).await
}

/// What the chain shows of one validator now, for the gates.
pub async fn chain_evidence(config: &Config, validator: &ValidatorId) -> GateEvidence {
    let mut evidence = GateEvidence::default();
    let Some(ours) = config.validators.iter().find(|found| found.name == *validator) else { return evidence };
    let keys = match &ours.kind {
        ValidatorKind::Ethereum { public_keys } => public_keys,
        ValidatorKind::Generic { .. } => return GateEvidence { generic: true, ..evidence },
    };
    let Some(settings) = &config.ethereum else { return evidence };
    for node in nodes(settings) {
        let probe = probe(&node, settings, keys).await;
        if probe.synced.is_ok() {
            evidence.keys = evidence.keys.or(probe.keys.ok());
            evidence.chain = ChainView {
                health: probe.finality.unwrap_or(ChainHealth::Unknown),
                genesis_root: probe.genesis_root.ok(),
            };
        }
    }
    evidence
}
