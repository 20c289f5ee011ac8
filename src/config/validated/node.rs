//! Where the agent on a generic standby asks a node whose kind it knows, as it is written in the configuration, and as
//! it travels to the machine: these types are that text.
//!
//! It names no secret, and no file.

use serde::{Deserialize, Serialize};
use url::Url;

/// A node that says by itself how far it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeSettings {
    Cometbft(CometbftNode),
    Cardano(CardanoNode),
}

/// A node of CometBFT, or of a chain that is built on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CometbftNode {
    /// Its RPC, on the machine itself.
    pub rpc: Url,
    /// The chain id it has to follow, as its genesis names it.
    pub network: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CardanoNode {
    /// Its Prometheus page, on the machine itself.
    pub metrics: Url,
    /// Which network: it gives every slot its time.
    pub network: CardanoNetwork,
}

/// The networks of Cardano whose slots have a known time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, strum::EnumString, strum::VariantNames)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum CardanoNetwork {
    Mainnet,
    Preprod,
    Preview,
}
