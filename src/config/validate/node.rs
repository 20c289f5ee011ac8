//! What is followed on a generic standby: a node of a known kind that says itself how far it is, or its own probes.
//!
//! Exactly one of the two: two judges of one node could differ, and nobody could say which of them is right. Nothing is
//! asked here.

use strum::VariantNames as _;
use url::Url;

use super::{Checker, is_loopback};
use crate::config::{
    CardanoNetwork, CardanoNode, CometbftNode, NodeSettings,
    values::At,
    written::{Cardano, Cometbft, GenericStandby, NodeSection},
};

/// The longest chain id: `MaxChainIDLen` of CometBFT (`types/genesis.go`), which refuses a genesis with a longer one.
const CHAIN_ID: usize = 50;

impl Checker<'_> {
    /// How it is found out whether a generic standby has synced: a node of a known kind, or its own probes as they are
    /// written.
    pub(super) fn judge(
        &mut self,
        written: &At<GenericStandby>,
    ) -> Option<(Option<NodeSettings>, Vec<serde_json::Value>)> {
        match (&written.probes, &written.node) {
            (Some(_), Some(node)) => {
                let message = "there are probes and node: keep node if the kind of this node is known, else probes";
                self.wrong(node.place, message);
                None
            }
            (None, None) => {
                let message = "nothing shows whether this standby has synced: add `node` if it runs CometBFT or \
                               Cardano, else `probes`";
                self.wrong(written.place, message);
                None
            }
            (None, Some(node)) => Some((Some(self.node(node)?), Vec::new())),
            (Some(probes), None) => {
                for probe in &probes.value {
                    self.probe_without_secret(probe);
                    self.probe_of_itself(probe);
                }
                // Judged as those of the home are; the machine gets them as they are written.
                self.probes(Some(probes), written.place);
                Some((None, probes.iter().filter_map(|probe| serde_json::to_value(probe).ok()).collect()))
            }
        }
    }

    fn node(&mut self, written: &At<NodeSection>) -> Option<NodeSettings> {
        match (&written.cometbft, &written.cardano) {
            (Some(cometbft), None) => self.cometbft(cometbft).map(NodeSettings::Cometbft),
            (None, Some(cardano)) => self.cardano(cardano).map(NodeSettings::Cardano),
            (Some(_), Some(cardano)) => {
                self.wrong(cardano.place, "node has cometbft and cardano: a standby runs one node, keep one of them");
                None
            }
            (None, None) => {
                self.wrong(written.place, "node names no kind: add cometbft or cardano; another kind has probes");
                None
            }
        }
    }

    fn cometbft(&mut self, written: &At<Cometbft>) -> Option<CometbftNode> {
        let rpc = self.on_the_machine(&written.rpc, "node.cometbft.rpc", "http://127.0.0.1:26657");
        let network = &written.network;
        self.no_expression(network);
        if !(1..=CHAIN_ID).contains(&network.len()) || !network.chars().all(|c| c.is_ascii_graphic()) {
            let message = format!(
                "'{}' is not a chain id: write `chain_id` of the chain's genesis, like mainnet-beacon-80094, at most \
                 {CHAIN_ID} letters, digits and signs",
                network.value
            );
            self.wrong(network.place, message);
        }
        Some(CometbftNode { rpc: rpc?, network: network.value.clone() })
    }

    fn cardano(&mut self, written: &At<Cardano>) -> Option<CardanoNode> {
        let metrics = self.on_the_machine(&written.metrics, "node.cardano.metrics", "http://127.0.0.1:12798/metrics");
        let network = written.network.parse().ok();
        if network.is_none() {
            let known = CardanoNetwork::VARIANTS.join(", ");
            let message = format!(
                "'{}' is not a network whose slots have a known time: write one of {known}; of another one the standby \
                 is judged by probes",
                written.network.value
            );
            self.wrong(written.network.place, message);
        }
        Some(CardanoNode { metrics: metrics?, network: network? })
    }

    /// An address at which a node answers on its own machine. There is no certificate to check there.
    fn on_the_machine(&mut self, written: &At<String>, key: &str, like: &str) -> Option<Url> {
        self.no_expression(written);
        let url = self.url_for_all(written, key)?;
        if url.scheme() != "http" {
            let message = format!("{key} is asked on the machine itself, without https: write it like {like}");
            self.wrong(written.place, message);
        }
        self.of_itself(written, Some(&url));
        Some(url)
    }

    /// Another machine's health would say nothing of this one's, and its firewall lets nothing out to be asked.
    pub(super) fn of_itself(&mut self, written: &At<String>, url: Option<&Url>) {
        if !url.and_then(Url::host_str).is_some_and(is_loopback) {
            let message =
                format!("'{}' is another machine: a standby is asked about itself, on 127.0.0.1", written.value);
            self.wrong(written.place, message);
        }
    }

    /// What travels to the machine is read by ansible, which evaluates expressions wherever it finds them.
    pub(super) fn no_expression(&mut self, written: &At<String>) {
        if ["{{", "{%", "{#"].iter().any(|begin| written.contains(begin)) {
            let message = "'{{', '{%' and '{#' begin an expression of ansible, which would evaluate it: leave them out";
            self.wrong(written.place, message);
        }
    }
}
