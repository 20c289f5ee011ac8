//! A Cardano node on this machine, by its Prometheus page: the slot of its head, its peers, and whether it forges.
//!
//! It judges nothing, and it knows no time: which slot ought to be there is the agent's matter.
//!
//! The names are those of cardano-node 10 with its new tracing, with and without suffixes, and of its old one; nodes
//! that are written again (Amaru, Dingo) use the same, but with labels, exponents or moments behind their values.

mod samples;

use std::time::Duration;

use url::Url;

use self::samples::Samples;
use super::http::{PageError, Pages};
use crate::domain::brief;

/// The page of a busy node has some fifty thousand bytes.
const MAX_BODY: usize = 512 << 10;

/// Peers the node follows the chain by. The two of a line are apart (those with much stake are counted on their own), so
/// they are added; the first line of which one is there counts. The newest come first.
const FOLLOWED: [[&str; 2]; 3] = [
    ["peerSelection_Hot", "peerSelection_HotBigLedgerPeers"],
    ["peerSelection_hot", "peerSelection_hotBigLedgerPeers"],
    ["peerSelection_ActivePeers", "peerSelection_ActiveBigLedgerPeers"],
];

/// What older nodes count instead, each in a way of its own: with peer-to-peer networking some of these stay 0 while
/// others count, so a 0 beats none of them, and the most counts.
const CONNECTED: [&str; 4] =
    ["peersFromNodeKernel", "connectedPeers", "connectionManager_outboundConns", "connectionManager_outgoingConns"];

/// What only the loop that forges counts: every name of it, because there is one for each way in which forging ends
/// (`Tracers/Consensus.hs` of cardano-node), and each proves that credentials are loaded. It runs on no relay.
const FORGE: &str = "Forge_";

/// What else only a node with the credentials of a block producer counts (`ForgingStats.hs`, `KESInfo.hs`,
/// `Startup.hs`). A relay says 0, or nothing at all.
const FORGING: [&str; 16] = [
    "forging_enabled",
    "blocksForged",
    "blocksForgedNum",
    "nodeIsLeader",
    "nodeIsLeaderNum",
    "nodeCannotForge",
    "nodeCannotForgeNum",
    "nodeNotLeader",
    "slotsMissed",
    "slotsMissedNum",
    "forgedSlotLast",
    "forgedInvalidSlotLast",
    "currentKESPeriod",
    "operationalCertificateStartKESPeriod",
    "operationalCertificateExpiryKESPeriod",
    "remainingKESPeriods",
];

/// Of names that begin so at least one is on every page that a Cardano node writes.
const KNOWN: [&str; 5] = ["slotNum", "blockReplayProgress", "cardano_build_info", "cardano_version_", "RTS_"];

/// Why it cannot say. Its text is what comes after "the Cardano node".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CardanoError {
    #[error(transparent)]
    Page(#[from] PageError),
    /// It answered with an error of HTTP.
    #[error("answered {0}")]
    Status(u16),
    #[error("sent a page without any metric of a Cardano node")]
    OtherPage,
    /// The slot is there, but it is no number of a slot.
    #[error("sent a slot that is none ({0})")]
    BadSlot(String),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CardanoLook {
    /// The slot of its head; `None` before it has read its own database.
    pub slot: Option<u64>,
    /// How much of that database it has read, in percent, while it starts.
    pub replayed_percent: Option<u8>,
    /// Its peers, if any of the known metrics tells.
    pub peers: Option<u32>,
    /// The names of what only a block producer counts, as far as they are not 0.
    pub forging: Vec<String>,
    pub version: Option<String>,
}

pub struct CardanoClient {
    pages: Pages,
    url: Url,
}

impl CardanoClient {
    /// Takes the address of its page; nothing is sent.
    ///
    /// # Errors
    /// As [`Pages::new`].
    pub fn new(url: &Url, timeout: Duration) -> reqwest::Result<Self> {
        Ok(Self { pages: Pages::new(timeout)?, url: url.clone() })
    }

    /// Reads the page once.
    ///
    /// # Errors
    /// [`CardanoError`] says what came instead.
    pub async fn look(&self) -> Result<CardanoLook, CardanoError> {
        let (status, body) = self.pages.get(self.url.clone(), MAX_BODY).await?;
        if status != 200 {
            return Err(CardanoError::Status(status));
        }
        read(&String::from_utf8_lossy(&body))
    }
}

fn read(page: &str) -> Result<CardanoLook, CardanoError> {
    let samples = Samples::of(page);
    let is_known = |name: &str| KNOWN.iter().any(|known| name.starts_with(known)) || is_peers(name) || is_forging(name);
    if !samples.names().any(is_known) {
        return Err(CardanoError::OtherPage);
    }
    let slot = match samples.get("slotNum") {
        None => None,
        Some(sample) => Some(sample.whole().ok_or_else(|| CardanoError::BadSlot(brief(sample.value)))?),
    };
    let counted = |name: &&str| samples.get(name).and_then(|sample| sample.whole());
    let followed = FOLLOWED.iter().find(|names| names.iter().any(|name| samples.get(name).is_some()));
    let peers = match followed {
        Some(names) => Some(names.iter().filter_map(counted).fold(0, u64::saturating_add)),
        None => CONNECTED.iter().filter_map(counted).max(),
    };
    let peers = peers.map(|peers| u32::try_from(peers).unwrap_or(u32::MAX));
    // What is not even a number is no 0 either.
    let counts = |name: &&str| is_forging(name) && samples.get(name).is_some_and(|sample| sample.whole() != Some(0));
    let replayed = samples.get("blockReplayProgress").and_then(|sample| sample.value.parse::<f64>().ok());
    Ok(CardanoLook {
        slot,
        // A conversion of this kind keeps to the bounds, and makes 0 of what is no number.
        replayed_percent: replayed.map(|percent| percent.clamp(0.0, 100.0) as u8),
        peers,
        forging: samples.names().filter(counts).map(brief).collect(),
        version: version(&samples),
    })
}

fn is_forging(name: &str) -> bool {
    name.starts_with(FORGE) || FORGING.contains(&name)
}

fn is_peers(name: &str) -> bool {
    CONNECTED.contains(&name) || FOLLOWED.as_flattened().contains(&name)
}

fn version(samples: &Samples<'_>) -> Option<String> {
    if let Some(version) = samples.get("cardano_build_info").and_then(|info| info.label("version")) {
        return Some(brief(version));
    }
    let part = |name| samples.get(name).and_then(|sample| sample.whole());
    let major = part("cardano_version_major")?;
    Some(format!("{major}.{}.{}", part("cardano_version_minor")?, part("cardano_version_patch")?))
}

#[cfg(test)]
mod tests;
