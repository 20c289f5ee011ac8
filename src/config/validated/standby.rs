//! What a standby becomes, as the program uses it, and as it travels to the machine: these types *are* that text.
//!
//! Nothing is downloaded here, and nothing here can hold a secret.

use serde::Serialize;
use url::Url;

use super::NodeSettings;
use crate::domain::FeeRecipient;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandbySettings {
    pub failover: DownloadSettings,
    /// For a promoted machine; it does not travel to a standby.
    pub gate: Option<DownloadSettings>,
    /// Holds the same files by name; ends with `/`.
    pub mirror: Option<Url>,
    /// What the standby of a validator of kind ethereum runs; there is one if there is such a validator.
    pub ethereum: Option<EthereumStandbySettings>,
}

/// A file by address and digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DownloadSettings {
    pub url: Url,
    /// 64 hexadecimal digits in lower case.
    pub sha256: String,
}

/// What the standby of a validator of kind ethereum runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EthereumStandbySettings {
    pub network: String,
    /// A beacon node with its finalized state.
    pub checkpoint_sync_url: Option<Url>,
    pub geth: GethSettings,
    pub consensus: ConsensusSettings,
    /// For the one who moves the keys; it does not travel to the machine.
    pub fee_recipient: Option<FeeRecipient>,
    /// The only ports that are open; at least one.
    pub p2p_ports: Vec<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GethSettings {
    #[serde(flatten)]
    pub download: DownloadSettings,
    /// More options; none of them is about keys.
    pub extra_args: Vec<String>,
    /// Of a network of one's own.
    pub genesis: Option<DownloadSettings>,
}

/// The beacon node of which client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConsensusSettings {
    Lighthouse(Box<LighthouseSettings>),
    Prysm(Box<PrysmSettings>),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LighthouseSettings {
    #[serde(flatten)]
    pub download: DownloadSettings,
    /// More options; none of them is about keys.
    pub extra_args: Vec<String>,
    /// The validator client. A standby has none, so it does not travel to the machine.
    #[serde(skip)]
    pub validator: Option<DownloadSettings>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PrysmSettings {
    #[serde(flatten)]
    pub download: DownloadSettings,
    /// More options; none of them is about keys.
    pub extra_args: Vec<String>,
    /// The chain's parameters, of a network of one's own.
    pub config: Option<DownloadSettings>,
    /// The beacon chain's genesis, of a network of one's own.
    pub genesis_state: Option<DownloadSettings>,
    /// The validator client. A standby has none, so it does not travel to the machine.
    #[serde(skip)]
    pub validator: Option<DownloadSettings>,
}

/// What the standby of a generic validator runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GenericStandbySettings {
    #[serde(flatten)]
    pub download: DownloadSettings,
    /// The program within the release: a relative path.
    pub binary: String,
    /// Its options; none of them is about keys.
    pub args: Vec<String>,
    /// A node that says itself how far it is.
    pub node: Option<NodeSettings>,
    /// The probes as the agent reads them, which is as they are written; none of them needs a secret. Empty exactly
    /// when there is a `node`.
    pub health: Vec<serde_json::Value>,
    /// The only ports that are open.
    #[serde(skip)]
    pub p2p_ports: Vec<u16>,
}
