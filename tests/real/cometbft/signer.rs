//! The state file of `failover watermark --height` in the hands of CometBFT's own signer: one of four validators dies with
//! its disk, and its key signs on a new machine.

use std::{fs, path::Path, process::Command, time::Duration};

use serde_json::Value;

use super::{LONG, Network};

/// High enough that the new machine has joined before the chain is there: a block takes a second.
const AHEAD: u64 = 20;

impl Network {
    async fn height(&self, node: usize) -> (u64, bool) {
        let (_, status) = self.ask(node, "/status").await;
        let sync = &status["result"]["sync_info"];
        let height = sync["latest_block_height"].as_str().and_then(|height| height.parse().ok()).unwrap_or(0);
        (height, sync["catching_up"] == false)
    }

    /// Until a node has this height, and is in step.
    async fn reaches(&self, node: usize, height: u64) -> u64 {
        let wait = async {
            loop {
                let address = format!("127.0.0.1:{}", self.ports[node].1);
                if tokio::net::TcpStream::connect(address).await.is_ok()
                    && let (found, true) = self.height(node).await
                    && found >= height
                {
                    return found;
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        };
        let reached = tokio::time::timeout(3 * LONG, wait).await;
        reached.unwrap_or_else(|_| panic!("node {node} did not reach height {height}"))
    }

    /// Whether the chain has a signature of this validator at a height.
    async fn has_signed(&self, address: &str, height: u64) -> bool {
        let (_, commit) = self.ask(0, &format!("/commit?height={height}")).await;
        let signatures = commit["result"]["signed_header"]["commit"]["signatures"].as_array().unwrap().clone();
        signatures.iter().any(|signature| signature["validator_address"] == address)
    }
}

fn json(file: &Path) -> Value {
    serde_json::from_slice(&fs::read(file).unwrap()).unwrap()
}

#[tokio::test]
async fn a_real_signer_with_the_state_file_signs_nothing_below_its_height_and_signs_from_it() {
    let network = Network::new(4);
    let file = |node: usize, name: &str| network.folder.path().join(format!("node{node}")).join(name);
    let (key, state) = ("config/priv_validator_key.json", "data/priv_validator_state.json");
    let others = [network.start(0, &[1, 2]), network.start(1, &[0, 2]), network.start(2, &[0, 1])];
    let old = network.start(3, &[0, 1, 2]);
    network.reaches(3, 3).await;
    drop(old);
    let address = json(&file(3, key))["address"].as_str().unwrap().to_owned();
    let last: u64 = json(&file(3, state))["height"].as_str().unwrap().parse().unwrap();
    assert!(last >= 3, "it was one of the signers");

    // The new machine: the key, and a state that nobody has read from the dead disk.
    fs::copy(file(3, key), file(4, key)).unwrap();
    fs::remove_file(file(4, state)).unwrap();
    let (present, _) = network.height(0).await;
    let mut command = Command::new(env!("CARGO_BIN_EXE_failover"));
    command.args(["watermark", "--height", &(present + AHEAD).to_string(), "--out"]).arg(file(4, state));
    assert!(command.status().unwrap().success());
    let mark: u64 = json(&file(4, state))["height"].as_str().unwrap().parse().unwrap();
    assert!(mark > last && mark > present);
    let written = fs::read(file(4, state)).unwrap();

    let new = network.start(4, &[0, 1, 2]);
    let joined = network.reaches(4, present).await;
    assert!(joined < mark - 2, "it joined at {joined}, before {mark}");
    network.reaches(0, mark - 1).await;
    let log = fs::read_to_string(file(4, "log")).unwrap();
    assert!(log.contains("height regression"), "it tried, and its signer refused");
    network.reaches(0, mark + 5).await;
    for height in last + 1..mark {
        assert!(!network.has_signed(&address, height).await, "{height} is below {mark}");
    }
    let mut signed = Vec::new();
    for height in mark..mark + 5 {
        if network.has_signed(&address, height).await {
            signed.push(height);
        }
    }
    assert!(signed.len() >= 2, "from {mark} it signs: {signed:?}");
    assert_ne!(fs::read(file(4, state)).unwrap(), written, "and remembers it");
    drop((new, others));
}
