//! What a standby becomes, as it is written: the programs it runs, each by address and digest.
//!
//! Part of [`super`], and like it checked only in its form. There is no field for a key here, nor for anything secret:
//! anyone who can view the machine in the cloud can read all of it.

use schemars::JsonSchema;
use serde::Deserialize;

use super::Probe;
use crate::config::values::At;

/// What a standby becomes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StandbySection {
    /// This program, for the machine: the static binary. Its agent reports progress.
    pub failover: At<Download>,
    /// `failover-gate`, the static binary: what a promoted machine starts its validator client with. Nothing on a standby
    /// uses it.
    pub gate: Option<At<Download>>,
    /// An address that holds the same files by name; it is tried first. The digests decide, so anybody may run one.
    pub mirror: Option<At<String>>,
    /// What the standby of a validator of kind ethereum runs.
    pub ethereum: Option<At<EthereumStandby>>,
}

/// A file by address and digest.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Download {
    /// Where it is: a program, or a `.tar.gz` that holds one.
    pub url: At<String>,
    /// The SHA-256 of the file, 64 hexadecimal digits.
    pub sha256: At<String>,
}

/// What the standby of a validator of kind ethereum runs: geth, and exactly one of lighthouse and prysm.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EthereumStandby {
    /// Which network.
    #[serde(default = "mainnet")]
    pub network: At<String>,
    /// A beacon node that offers its finalized state; without one the sync begins at the genesis.
    pub checkpoint_sync_url: Option<At<String>>,
    /// The execution client.
    pub geth: Geth,
    /// Who gets the fees of a block, `0x…` with 20 bytes. Nothing on a standby uses it: it is for the one who moves the
    /// keys.
    pub fee_recipient: Option<At<String>>,
    /// The consensus client. Its beacon node only.
    pub lighthouse: Option<At<Lighthouse>>,
    /// The consensus client. Its beacon node only.
    pub prysm: Option<At<Prysm>>,
    /// The ports that other nodes connect to; the only ones that are open.
    #[serde(default = "p2p_ports")]
    pub p2p_ports: At<Vec<u16>>,
}

fn mainnet() -> At<String> {
    "mainnet".to_owned().into()
}

fn p2p_ports() -> At<Vec<u16>> {
    // geth; the beacon node, and its QUIC.
    vec![30303, 9000, 9001].into()
}

/// The execution client.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Geth {
    /// Where it is.
    pub url: At<String>,
    /// The SHA-256 of the file.
    pub sha256: At<String>,
    /// More options, as on its command line.
    #[serde(default)]
    pub extra_args: Vec<At<String>>,
    /// The genesis of a network of your own.
    pub genesis: Option<At<Download>>,
}

/// Lighthouse's beacon node.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Lighthouse {
    /// Where it is.
    pub url: At<String>,
    /// The SHA-256 of the file.
    pub sha256: At<String>,
    /// More options, as on its command line.
    #[serde(default)]
    pub extra_args: Vec<At<String>>,
    /// The validator client, for the one who moves the keys. Never installed on a standby.
    pub validator: Option<At<Download>>,
}

/// Prysm's beacon node.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Prysm {
    /// Where it is.
    pub url: At<String>,
    /// The SHA-256 of the file.
    pub sha256: At<String>,
    /// More options, as on its command line.
    #[serde(default)]
    pub extra_args: Vec<At<String>>,
    /// The chain's parameters, of a network of your own.
    pub config: Option<At<Download>>,
    /// The beacon chain's genesis, of a network of your own.
    pub genesis_state: Option<At<Download>>,
    /// The validator client, for the one who moves the keys. Never installed on a standby.
    pub validator: Option<At<Download>>,
}

/// What the standby of a generic validator runs.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GenericStandby {
    /// Where its release is: a program, or a `.tar.gz`.
    pub url: At<String>,
    /// The SHA-256 of the file.
    pub sha256: At<String>,
    /// The program within the release, for example `bin/bitcoind`.
    pub binary: At<String>,
    /// Its options, as on its command line. No option that names a key.
    #[serde(default)]
    pub args: Vec<At<String>>,
    /// The questions that show, on the machine itself, whether it has synced: for a node that is not one of `node`.
    pub probes: Option<At<Vec<Probe>>>,
    /// Which kind of node it is, instead of `probes`: then its height, its peers and the time to go are seen as well.
    pub node: Option<At<NodeSection>>,
    /// The ports that other nodes connect to; the only ones that are open.
    #[serde(default)]
    pub p2p_ports: At<Vec<u16>>,
}

/// A node whose kind is known: exactly one of these.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NodeSection {
    /// A node of CometBFT, or of a chain that is built on it.
    pub cometbft: Option<At<Cometbft>>,
    /// A node of Cardano.
    pub cardano: Option<At<Cardano>>,
}

/// A node of CometBFT, or of a chain that is built on it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cometbft {
    /// Its RPC, on the machine itself, like `http://127.0.0.1:26657`.
    pub rpc: At<String>,
    /// The chain id that it has to follow, as the chain's genesis names it.
    pub network: At<String>,
}

/// A node of Cardano.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cardano {
    /// Its Prometheus page, on the machine itself, like `http://127.0.0.1:12798/metrics`.
    pub metrics: At<String>,
    /// Which network: mainnet, preprod or preview.
    pub network: At<String>,
}
