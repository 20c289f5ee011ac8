//! The chain's opinions: to the loop at once, and into the ledger once an epoch.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use anyhow::Context as _;
use futures::future::join_all;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::EventSource;
use crate::{
    adapters::{
        beacon::{self, BeaconConfig, BeaconDuties, BeaconWatch, NodeConfig, NodeProbe, NodeRemedies},
        clock::SystemClock,
    },
    config::{Config, EthereumSettings, ValidatorKind, ValidatorSettings},
    domain::{
        ChainEvidence, ChainHealth, ChainObservation, ChainView, Event, LedgerKey, PublicKey, Source, Time,
        ValidatorId, chain,
        gates::{GateEvidence, MissedDuties},
    },
    ports::{Clock, Duties, Expect, Finding, Ledger, PutError},
    records::{self, RecordError},
    runtime::{Deps, Handle},
};

mod findings;
mod site;

pub use site::SiteRecorder;

/// What helps a command that asks the configured beacon nodes.
const REMEDIES: NodeRemedies = NodeRemedies {
    start: "start it, or name another one in `ethereum.beacon_nodes`",
    chain: "correct `ethereum.beacon_nodes` or `ethereum.genesis_root`",
    keys: "`public_keys` of the validator",
};

/// The longest that one request to a beacon node may take.
const TIMEOUT: Duration = Duration::from_secs(5);

fn nodes(settings: &EthereumSettings) -> Vec<NodeConfig> {
    let node = |node: &crate::config::BeaconNodeSettings| NodeConfig { name: node.name.clone(), url: node.url.clone() };
    settings.beacon_nodes.iter().map(node).collect()
}

/// The duties of one validator, by the configured beacon nodes.
///
/// # Errors
/// What is missing to see them.
pub fn duties(config: &Config, validator: &ValidatorId) -> Result<Arc<dyn Duties>, String> {
    let (config, keys) = watched(config, validator)?;
    let duties = BeaconDuties::new(config, keys, Arc::new(SystemClock), REMEDIES);
    Ok(Arc::new(duties.map_err(|error| error.to_string())?))
}

/// The nodes by which one validator is watched on its chain, and its keys.
///
/// # Errors
/// What is missing to see it.
pub fn watched(config: &Config, validator: &ValidatorId) -> Result<(BeaconConfig, Vec<PublicKey>), String> {
    let known = config.validators.iter().find(|known| known.name == *validator);
    let keys = known.map(ValidatorSettings::public_keys).unwrap_or_default();
    if keys.is_empty() {
        return Err("duties are watched for validators of the kind ethereum only, by their public keys".into());
    }
    let settings =
        config.ethereum.as_ref().ok_or("no beacon node is configured: name some in `ethereum.beacon_nodes`")?;
    let chain = known.and_then(|known| known.chain.clone()).filter(|chain| chain::genesis_root(chain).is_some());
    let chain = chain.ok_or("the chain's genesis root is not configured: add `ethereum.genesis_root`")?;
    Ok((BeaconConfig { genesis_root: Some(chain), ..beacon(settings) }, keys.to_vec()))
}

fn beacon(settings: &EthereumSettings) -> BeaconConfig {
    let genesis_root = settings.genesis_root.clone();
    BeaconConfig { genesis_root, timeout: TIMEOUT, ..BeaconConfig::new(nodes(settings)) }
}

pub struct ChainSource {
    watch: BeaconWatch,
    ledger: Arc<dyn Ledger>,
    site: SiteRecorder,
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
        let (ledger, site) = (deps.ledger.clone(), config.own_name().to_owned());
        let site = SiteRecorder::new(ledger, site, &settings.beacon_nodes, validators.clone());
        let watch = BeaconWatch::new(beacon(settings), validators, deps.clock.clone()).context("ethereum")?;
        Ok(Some(Self { watch, ledger: deps.ledger.clone(), site }))
    }
}

impl EventSource for ChainSource {
    fn name(&self) -> String {
        "the chain".into()
    }

    async fn run(mut self, engine: Handle) {
        let (sender, observations) = mpsc::channel(16);
        let report = report(observations, &engine, &*self.ledger, &mut self.site);
        tokio::join!(self.watch.run(sender, CancellationToken::new()), report);
    }
}

async fn report(
    mut observations: mpsc::Receiver<ChainObservation>,
    engine: &Handle,
    ledger: &dyn Ledger,
    site: &mut SiteRecorder,
) {
    while let Some(observation) = observations.recv().await {
        engine.send(Event::ChainSeen(observation.chain)).await;
        for seen in observation.validators {
            if let Some(keys) = seen.keys {
                engine.send(Event::KeysSeen(seen.validator.clone(), keys)).await;
            }
            engine.send(Event::Observed(seen.validator.clone(), Source::Chain, seen.reading)).await;
            if !seen.records.is_empty() {
                // Nobody can be asked about this epoch later, so whoever has seen it writes it, under the site's name.
                let written = site.write(&seen.validator, &seen.records).await.map(drop);
                noted(engine, &site.key(&seen.validator), written);
            }
            // Only the holder of the lease writes; the records of another process's eyes are not this one's.
            if engine.leads() && !seen.records.is_empty() {
                let written = write_down(ledger, &seen.validator, seen.records).await;
                noted(engine, &LedgerKey::chain(&seen.validator), written);
            }
        }
    }
}

fn noted(engine: &Handle, key: &LedgerKey, written: anyhow::Result<()>) {
    let damaged = written.as_ref().err().and_then(|error| error.downcast_ref::<RecordError>());
    engine.troubles().set(key, damaged.map(ToString::to_string).into_iter().collect());
    if let Err(error) = written {
        tracing::warn!(%key, %error, "an epoch could not be written down");
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

/// What the canonical chain has of its duties since this moment, by the configured nodes.
pub async fn missed(config: &Config, validator: &ValidatorSettings, since: Time) -> Option<MissedDuties> {
    let settings = config.ethereum.as_ref().filter(|_| !validator.public_keys().is_empty())?;
    let (nodes, root) = (nodes(settings), validator.chain.as_deref());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let root = root.or(settings.genesis_root.as_deref());
    let asked = nodes.iter().map(async |node| {
        let said = beacon::missed(node, root, validator.public_keys(), since, TIMEOUT, &clock).await;
        said.inspect_err(|why| tracing::debug!(node = node.name, "missed duties are not known by it: it {why}")).ok()
    });
    beacon::agreed(&join_all(asked).await.into_iter().flatten().collect::<Vec<_>>())
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

/// The same of one validator alone.
pub async fn probe_validator(config: &Config, validator: &ValidatorSettings) -> Vec<Finding> {
    let Some(settings) = config.ethereum.as_ref().filter(|_| !validator.public_keys().is_empty()) else {
        return Vec::new();
    };
    let nodes = nodes(settings);
    let probes = join_all(nodes.iter().map(|node| probe(node, settings, validator.public_keys()))).await;
    nodes.iter().zip(probes).flat_map(|(node, probe)| findings::of_node(config, node, probe)).collect()
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
    let mut roots = BTreeSet::new();
    for node in nodes(settings) {
        let probe = probe(&node, settings, keys).await;
        if probe.synced.is_ok() {
            // No node makes better what another one says.
            evidence.keys = match (evidence.keys, probe.keys.ok()) {
                (Some(before), Some(seen)) => Some(before.worst(seen)),
                (before, seen) => before.or(seen),
            };
            let health = probe.finality.unwrap_or(ChainHealth::Unknown);
            evidence.chain.health = evidence.chain.health.worst(health);
            roots.extend(probe.genesis_root.ok());
        }
    }
    if roots.len() > 1 {
        // They follow different chains, and then none of them says how this one is.
        evidence.chain = ChainView::default();
    } else {
        evidence.chain.genesis_root = roots.pop_first();
    }
    evidence
}
