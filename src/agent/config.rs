//! What the agent is told: `agent.json`, written by the role `agent`, checked once when the agent starts.
//!
//! It names no key, no token and no file of a validator client, and there is no field in which one could be named:
//! the probes' `bearer_file` and `basic` are refused here.

use std::{io, path::PathBuf, time::Duration};

use serde::Deserialize;
use url::Url;

use crate::{
    config::{CardanoNode, CometbftNode, NodeSettings, ProbeSettings, Question, probes_from_json},
    files,
};

/// Reports more often than this would only heat the metadata server; less often than this would look like a dead
/// machine to the watcher.
const INTERVAL_SECONDS: std::ops::RangeInclusive<u64> = 1..=600;

/// Where the role `gate` has its port.
const GATE: &str = "http://127.0.0.1:8553/";

#[derive(Clone, Debug)]
pub struct AgentConfig {
    /// The incident this machine was made for; every report says it.
    pub incident: String,
    /// The validator's name, for the log.
    pub validator: String,
    /// What kind of node runs here, and where to ask it.
    pub node: NodeKind,
    pub interval: Duration,
    /// The folder with the chain's data: its file system's free space is reported.
    pub data: PathBuf,
    /// The units whose restarts are counted.
    pub units: Vec<String>,
    /// The port of the gate that this machine has once it is promoted.
    pub gate: Url,
}

#[derive(Clone, Debug)]
pub enum NodeKind {
    /// A beacon node and an execution client.
    Ethereum {
        beacon: Url,
        execution: Url,
        /// The chain it has to follow, `0x…`, in lower case, if the operator has said.
        genesis_root: Option<String>,
    },
    Generic {
        /// At least one.
        probes: Vec<ProbeSettings>,
    },
    Cometbft(CometbftNode),
    Cardano(CardanoNode),
}

#[derive(Debug, thiserror::Error)]
pub enum AgentConfigError {
    #[error("cannot read the agent's configuration {path}")]
    Unreadable { path: PathBuf, source: io::Error },
    /// It is not JSON of this form.
    #[error("{path} is not an agent's configuration")]
    Form { path: PathBuf, source: serde_json::Error },
    /// It has the form, but cannot be used.
    #[error("{path}: {what}")]
    Content {
        path: PathBuf,
        /// What is wrong, and what to write instead.
        what: String,
    },
}

/// As it is written. Every key is known; an unknown one is a mistake that somebody has to see.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    incident: String,
    validator: String,
    kind: Kind,
    #[serde(default = "thirty")]
    interval_seconds: u64,
    beacon: Option<Url>,
    execution: Option<Url>,
    genesis_root: Option<String>,
    data: PathBuf,
    #[serde(default)]
    units: Vec<String>,
    #[serde(default)]
    probes: Option<serde_json::Value>,
    #[serde(default)]
    node: Option<NodeSettings>,
    #[serde(default = "usual_gate")]
    gate: Url,
}

fn usual_gate() -> Url {
    GATE.parse().expect("a constant address")
}

impl Written {
    /// An empty list and none are the same: the role writes a list in any case.
    fn has_probes(&self) -> bool {
        self.probes.as_ref().is_some_and(|probes| probes.as_array().is_none_or(|probes| !probes.is_empty()))
    }
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Ethereum,
    Generic,
}

fn thirty() -> u64 {
    30
}

impl AgentConfig {
    /// Reads and checks the file.
    ///
    /// # Errors
    /// [`AgentConfigError`] says what is wrong and what to write instead.
    pub fn load(path: &std::path::Path) -> Result<Self, AgentConfigError> {
        let text = files::read_text(path, files::MOST)
            .map_err(|source| AgentConfigError::Unreadable { path: path.to_owned(), source })?;
        let written: Written =
            serde_json::from_str(&text).map_err(|source| AgentConfigError::Form { path: path.to_owned(), source })?;
        written.check().map_err(|what| AgentConfigError::Content { path: path.to_owned(), what })
    }
}

impl Written {
    fn check(self) -> Result<AgentConfig, String> {
        if self.incident.is_empty() || self.validator.is_empty() {
            return Err("incident and validator have to be there: reports without them are nobody's".into());
        }
        if !INTERVAL_SECONDS.contains(&self.interval_seconds) {
            let (least, most) = (INTERVAL_SECONDS.start(), INTERVAL_SECONDS.end());
            return Err(format!("interval_seconds is {}: write {least} to {most}", self.interval_seconds));
        }
        if !self.data.is_absolute() {
            return Err(format!("data '{}' has to begin with a slash", self.data.display()));
        }
        if let Some(unit) = self.units.iter().find(|unit| !is_unit(unit)) {
            return Err(format!("units has '{unit}': write names like failover-geth.service"));
        }
        let node = match self.kind {
            Kind::Ethereum => {
                if self.has_probes() || self.node.is_some() {
                    return Err("probes and node go with kind generic: leave them empty, and null".into());
                }
                NodeKind::Ethereum {
                    beacon: http(self.beacon.ok_or("kind ethereum needs beacon, like http://127.0.0.1:5052")?)?,
                    execution: http(
                        self.execution.ok_or("kind ethereum needs execution, like http://127.0.0.1:8545")?,
                    )?,
                    genesis_root: self.genesis_root.as_deref().map(root).transpose()?,
                }
            }
            Kind::Generic => {
                if self.beacon.is_some() || self.execution.is_some() || self.genesis_root.is_some() {
                    return Err("beacon, execution and genesis_root go with kind ethereum: write null".into());
                }
                match (self.has_probes(), self.node, self.probes) {
                    (true, Some(_), _) => {
                        return Err("a node that is named is asked itself: write either probes or node".into());
                    }
                    (false, Some(node), _) => known_node(node)?,
                    (true, None, Some(probes)) => NodeKind::Generic { probes: generic_probes(&probes)? },
                    (_, None, _) => {
                        return Err("kind generic is seen by its probes or by its node: add probes or node".into());
                    }
                }
            }
        };
        Ok(AgentConfig {
            incident: self.incident,
            validator: self.validator,
            node,
            interval: Duration::from_secs(self.interval_seconds),
            data: self.data,
            units: self.units,
            gate: here(self.gate, "gate", GATE)?,
        })
    }
}

fn generic_probes(written: &serde_json::Value) -> Result<Vec<ProbeSettings>, String> {
    let probes = probes_from_json(written, "probes").map_err(|error| error.to_string())?;
    let asks_with_secret = probes.iter().find(|probe| match &probe.question {
        Question::Http(question) => question.login.is_some(),
        Question::Tcp { .. } => false,
    });
    match asks_with_secret {
        // The metadata this machine is made from holds no secret, so no such file can be here.
        Some(probe) => {
            Err(format!("the probe {} needs a password or token, and a standby holds none", probe.rule.name))
        }
        None => Ok(probes),
    }
}

fn known_node(node: NodeSettings) -> Result<NodeKind, String> {
    match node {
        NodeSettings::Cometbft(CometbftNode { rpc, network }) => {
            if network.is_empty() {
                return Err("node.cometbft.network is empty: write the chain id, like mainnet-beacon-80094".into());
            }
            let rpc = here(rpc, "node.cometbft.rpc", "http://127.0.0.1:26657")?;
            Ok(NodeKind::Cometbft(CometbftNode { rpc, network }))
        }
        NodeSettings::Cardano(CardanoNode { metrics, network }) => {
            let metrics = here(metrics, "node.cardano.metrics", "http://127.0.0.1:12798/metrics")?;
            Ok(NodeKind::Cardano(CardanoNode { metrics, network }))
        }
    }
}

/// On this machine, and without a password: what a node elsewhere says is nothing about this one.
fn here(url: Url, of: &str, like: &str) -> Result<Url, String> {
    let is_here = match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    };
    if url.scheme() == "http" && is_here && url.username().is_empty() && url.password().is_none() {
        Ok(url)
    } else {
        Err(format!("{of} has to be on this machine, like {like}"))
    }
}

/// The nodes are on this machine; TLS to them would only be one more thing that can fail.
fn http(url: Url) -> Result<Url, String> {
    if url.scheme() == "http" && url.host().is_some() {
        Ok(url)
    } else {
        Err(format!("'{url}' has to be like http://127.0.0.1:5052"))
    }
}

fn root(text: &str) -> Result<String, String> {
    let root = text.to_ascii_lowercase();
    let digits = root.strip_prefix("0x").unwrap_or_default();
    if digits.len() == 64 && digits.bytes().all(|c| c.is_ascii_hexdigit()) {
        Ok(root)
    } else {
        Err(format!("genesis_root '{text}' has to be 0x and 64 hexadecimal digits"))
    }
}

/// What `systemctl show` takes without a surprise: a name never begins with a dash.
fn is_unit(name: &str) -> bool {
    name.ends_with(".service")
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.@:".contains(c))
}
