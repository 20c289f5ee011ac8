//! What is different for a node that is not of Ethereum: what its signer remembers, and where.

use super::{
    RunbookFacts, RunbookPage, RunbookSigner,
    page::{KUBE_NAME, shown, word},
};

/// The step that makes what a new signer has to know.
pub(super) fn memory(facts: &RunbookFacts, page: &mut RunbookPage) {
    match &facts.signer {
        RunbookSigner::Cometbft { .. } => {
            page.step("Only when home has stopped for good, make the file that a new signer needs.");
            cometbft(page, "priv_validator_state.json");
        }
        RunbookSigner::Cardano { .. } => page.step(
            "A block producer of Cardano remembers nothing that could be moved, and is not slashed. Two at once make forks: \
             forging at home has to be off.",
        ),
        RunbookSigner::Other | RunbookSigner::Ethereum { .. } => page.step(
            "What this node's signer has to remember is NOT KNOWN here: the configuration names only its probes. Ask its \
             documentation whether two signers are punished, and what keeps a new one from repeating an old vote.",
        ),
    }
}

pub(super) fn move_keys(facts: &RunbookFacts, page: &mut RunbookPage) {
    memory(facts, page);
    let machine = facts.machine();
    page.step("Take it and the key there, over Google's tunnel (IAP).");
    page.command(format!("gcloud compute ssh {machine} --tunnel-through-iap"));
    match &facts.signer {
        RunbookSigner::Cometbft { network, rpc } => {
            page.item(format!(
                "With `failover-generic.service` stopped (`sudo systemctl stop`): `priv_validator_key.json` into the node's \
                 `config`, the state file into its `data`, both the user `generic`'s, mode 0600. Where that folder is, your \
                 release decides; the chain is {}.",
                shown(network)
            ));
            page.step("Start it, and see its own height move, its address in new commits, and no complaint.");
            page.command("sudo systemctl restart failover-generic.service");
            page.command(format!("curl -s {}", status_of(rpc)));
        }
        RunbookSigner::Cardano { network } => {
            page.item(format!(
                "Operational certificate, KES key and VRF key, and the options that name them, for {}. The certificate's \
                 counter has to be above the last one that forged.",
                shown(network)
            ));
            page.step("Start it, and see in its metrics that it is a leader now and then, and forges.");
            page.command("sudo systemctl restart failover-generic.service");
        }
        RunbookSigner::Other | RunbookSigner::Ethereum { .. } => {
            page.item("Which files its signer reads is not known here: the documentation of your node says it.");
            page.step("Start it, and see by its own words and on the chain that it does its work.");
            page.command("sudo systemctl restart failover-generic.service");
        }
    }
    page.command("sudo journalctl -u failover-generic.service -f");
}

pub(super) fn memory_at_home(facts: &RunbookFacts, page: &mut RunbookPage) {
    match &facts.signer {
        RunbookSigner::Cometbft { .. } => cometbft(page, "home-state.json"),
        RunbookSigner::Cardano { .. } => {
            page.item("Nothing, but the certificate's counter has to be above the machine's.");
        }
        RunbookSigner::Other | RunbookSigner::Ethereum { .. } => {
            page.item("What that is, is NOT KNOWN here: the documentation of your node says it.");
        }
    }
}

fn cometbft(page: &mut RunbookPage, file: &str) {
    page.command(format!("failover watermark --height HEIGHT --out {file}"));
    page.item(
        "HEIGHT is the chain's height now, by any RPC endpoint, and after the old signer has stopped. The file is five above \
         it. The signer's `priv_validator_state.json` is replaced by it, never removed.",
    );
}

/// The page of an RPC that says its height.
fn status_of(rpc: &str) -> String {
    word(&format!("{}/status", rpc.trim_end_matches('/')), KUBE_NAME, "RPC/status")
}
