//! What a gate is made of, from its command line: settings that fit together, the ledger, the duty check. Nothing is
//! asked yet and nothing is started.

use std::{
    ffi::OsString,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use url::Url;

use super::{
    google::{GateLogin, LoginSource},
    grants::GateSigners,
    grants_in_metadata::MachineMetadata,
    options::{GateLedger, LossChoice, PlaceName, RunOptions, Switch},
};
use crate::{
    adapters::{
        beacon::{BeaconConfig, BeaconDuties, NodeConfig, NodeRemedies},
        clock::SystemClock,
        ledger_gcs::{GcsConfig, LedgerGcs},
        ledger_sqlite::LedgerSqlite,
    },
    domain::{
        PublicKey, Span, ValidatorId,
        chain::{genesis_root, key_lines, written_key},
        human,
        ownership::{AllowedSigners, OnLedgerLoss},
    },
    files,
    ports::{Clock, Duties, Ledger},
};

/// Between a renewal and SIGTERM: four renewals of a second each. Cloud Storage takes one change of an object a second.
const SHORTEST: Span = Span::from_secs(5);
/// Below it an outage of minutes ends the command.
const SHORT: Span = Span::from_mins(2);
/// How long one call of the ledger may take.
const CALL: Duration = Duration::from_secs(10);
/// The same of a beacon node: a look and a question, each with a node that is silent, end within ten seconds.
const BEACON_CALL: Duration = Duration::from_secs(3);

/// What helps a gate that asks beacon nodes.
pub const GATE_REMEDIES: NodeRemedies = NodeRemedies {
    start: "start it; one that only runs as a part of the command cannot be asked before, so name a --beacon-node elsewhere, \
            or --duty-check off with its risk",
    chain: "correct --beacon-node or --chain",
    keys: "the file of public keys",
};

/// A gate, ready to run.
pub struct Parts {
    pub validator: ValidatorId,
    pub chain: String,
    pub signers: GateSigners,
    pub allow_untouched: bool,
    pub state: PathBuf,
    pub place: PlaceParts,
    /// `None` when the check is off.
    pub duties: Option<Arc<dyn Duties>>,
    pub stop_grace: Duration,
    pub listen: SocketAddr,
    pub command: Vec<OsString>,
}

/// What it decides by.
pub enum PlaceParts {
    Home { site: String, ledger: Arc<dyn Ledger>, ttl: Duration, on_loss: OnLedgerLoss },
    Cloud { machine: MachineMetadata, grant: Option<PathBuf> },
}

impl PlaceParts {
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Home { .. } => "home",
            Self::Cloud { .. } => "cloud",
        }
    }
}

/// Checks what was written and makes the parts of it.
///
/// # Errors
/// What is wrong, and what to do.
pub fn build(options: RunOptions) -> Result<Parts, String> {
    let stop_grace = time(options.stop_grace)?;
    for problem in signers(&options.allowed_signers)?.problems() {
        tracing::warn!("--allowed-signers: {}, {problem}: it allows nobody", options.allowed_signers.display());
    }
    let duties = duties(&options)?;
    let place = match options.place {
        PlaceName::Home => home(&options)?,
        PlaceName::Cloud => {
            if options.ledger.is_some() {
                tracing::warn!("--ledger is not used with --place cloud: there the grant alone decides");
            }
            let machine = MachineMetadata::new().map_err(|error| error.to_string())?;
            PlaceParts::Cloud { machine, grant: options.grant }
        }
    };
    let RunOptions { validator, chain, allow_untouched, state, listen, command, allowed_signers, .. } = options;
    let signers: GateSigners = Box::new(move || signers(&allowed_signers));
    Ok(Parts { validator, chain, signers, allow_untouched, state, place, duties, stop_grace, listen, command })
}

fn signers(path: &Path) -> Result<AllowedSigners, String> {
    let file = path.display();
    let text = files::read_text(path, files::MOST)
        .map_err(|error| format!("--allowed-signers: {file} cannot be read: {error}; name the file of who may sign"))?;
    AllowedSigners::parse(&text).map_err(|error| format!("--allowed-signers: {file}: {error}"))
}

fn home(options: &RunOptions) -> Result<PlaceParts, String> {
    if options.grant.is_some() {
        return Err("--grant goes with --place cloud; at home the grant is in the ledger: leave it out".into());
    }
    let (ttl, grace) = (options.gate_ttl, options.stop_grace);
    if ttl < grace.saturating_add(SHORTEST) {
        return Err(format!(
            "--gate-ttl {} is too short: it has to be at least {} longer than --stop-grace {}",
            human(ttl),
            human(SHORTEST),
            human(grace)
        ));
    }
    if ttl < SHORT && options.on_ledger_loss == LossChoice::Stop {
        tracing::warn!("--gate-ttl {}: an outage of the ledger that lasts so long ends the command", human(ttl));
    }
    let ledger = options.ledger.as_ref().ok_or("--place home needs --ledger gs://BUCKET[/PREFIX], the watcher's")?;
    Ok(PlaceParts::Home {
        site: options.site.clone(),
        ledger: open(ledger, options.credentials.as_ref(), options.ledger_endpoint.as_ref())?,
        ttl: time(ttl)?,
        on_loss: options.on_ledger_loss.into(),
    })
}

fn open(
    ledger: &GateLedger,
    credentials: Option<&LoginSource>,
    endpoint: Option<&Url>,
) -> Result<Arc<dyn Ledger>, String> {
    let unusable = |error: &dyn std::fmt::Display| format!("--ledger: {error}");
    match ledger {
        GateLedger::Sqlite(path) => {
            if !path.exists() {
                return Err(format!(
                    "--ledger: there is no file {}: name the watcher's; `failover serve` makes it",
                    path.display()
                ));
            }
            Ok(Arc::new(LedgerSqlite::open(path).map_err(|error| unusable(&error))?))
        }
        GateLedger::Gcs { bucket, prefix } => {
            let source = credentials.ok_or_else(|| {
                format!("--ledger gs://{bucket} needs --credentials: a credential file, metadata, or anonymous")
            })?;
            if *source == LoginSource::Anonymous && endpoint.is_none() {
                return Err(
                    "--credentials anonymous goes with --ledger-endpoint: Google lets nobody write unknown".into()
                );
            }
            let config = GcsConfig {
                endpoint: endpoint.cloned(),
                bucket: bucket.clone(),
                prefix: prefix.clone(),
                login: Arc::new(GateLogin::new(source).map_err(|why| format!("--credentials: {why}"))?),
                timeout: CALL,
            };
            Ok(Arc::new(LedgerGcs::new(config).map_err(|error| unusable(&error))?))
        }
    }
}

fn duties(options: &RunOptions) -> Result<Option<Arc<dyn Duties>>, String> {
    const OFF: &str = "or write --duty-check off, with its risk";
    if options.duty_check == Switch::Off {
        tracing::warn!(
            "the duty check is off: a ledger that was put back to an older copy, or keys that somebody copied, can \
             make two signers, and nothing would notice before a slasher does"
        );
        return Ok(None);
    }
    if genesis_root(&options.chain).is_none() {
        return Err(format!("the duty check needs --chain to be the genesis validators root: write that, {OFF}"));
    }
    if options.beacon_nodes.is_empty() {
        return Err(format!(
            "the duty check needs a beacon node that answers before the command runs: name --beacon-node, {OFF}"
        ));
    }
    let file = options.public_keys_file.as_ref();
    let file = file.ok_or_else(|| format!("the duty check needs the public keys: name --public-keys-file, {OFF}"))?;
    let wrong = |why: &dyn std::fmt::Display| format!("--public-keys-file: {}: {why}", file.display());
    let text = files::read_text(file, files::MOST).map_err(|error| wrong(&error))?;
    let keys: Result<Vec<PublicKey>, String> = key_lines(&text).map(written_key).collect();
    let mut keys = keys.map_err(|why| wrong(&why))?;
    keys.sort_unstable();
    keys.dedup();
    if keys.is_empty() {
        return Err(wrong(&"it has no key: write one a line"));
    }
    // An address may have a login in it; host and port name the node.
    let name = |url: &Url| {
        let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
        format!("{}{port}", url.host_str().unwrap_or_default())
    };
    let nodes = options.beacon_nodes.iter().map(|url| NodeConfig { name: name(url), url: url.clone() }).collect();
    let config =
        BeaconConfig { genesis_root: Some(options.chain.clone()), timeout: BEACON_CALL, ..BeaconConfig::new(nodes) };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let duties = BeaconDuties::new(config, keys, clock, GATE_REMEDIES).map_err(|error| error.to_string())?;
    Ok(Some(Arc::new(duties)))
}

fn time(span: Span) -> Result<Duration, String> {
    span.try_into().map_err(|_| format!("{} is below zero", human(span)))
}

#[cfg(test)]
mod tests;
