//! A machine that had everything loses it again: its clock is three minutes off, and then its node follows another chain.
//! Neither is ever said to be ready.
//!
//! The machine has its host's clock, which nobody may set for a test. Its metadata server tells another time instead:
//! for the agent, which compares the two, that is the same.

use std::{path::PathBuf, process::Command, time::Duration};

use failover::{domain::Span, sandbox::compute::MetadataFault};

use super::World;
use crate::parts::part;

const MINUTE: Duration = Duration::from_secs(60);

/// Where people put them, and when they were last read: so long ago that a kernel would note any reading of them.
const KEYSTORES: [&str; 2] = [
    "/var/lib/chain/validator_keys/keystore-m_12381_3600_0_0_0-1.json",
    "/root/.eth2validators/direct/all-accounts.json",
];
const LONG_AGO: &str = "946684800";

/// Somebody has copied keystores to the machine, too early. Nothing uses them.
pub async fn plant_keystores(world: &World) {
    for keystore in KEYSTORES {
        let plant = format!(
            "mkdir -p $(dirname {keystore}) && echo '{{\"crypto\": {{}}, \"pubkey\": \"\"}}' > {keystore} && \
             touch -a -d @{LONG_AGO} {keystore}"
        );
        run(world, &["sh", "-c", &plant]).await;
    }
}

/// They sign nothing, so the standby is as ready as before; and nobody has opened them (invariant 1).
pub async fn keystores_that_nothing_started_change_nothing(world: &World) {
    let report = world.report().unwrap();
    assert_eq!((report.signer, report.signer_hidden, report.synced), (None, None, true));
    for keystore in KEYSTORES {
        let read_at = world.nspawn.run_on(&world.machine(), &["stat", "-c", "%X", keystore]).await;
        assert_eq!(String::from_utf8_lossy(&read_at.stdout).trim(), LONG_AGO, "{keystore} was opened");
    }
}

/// Three minutes slow: the standby is ready no more, and does not become it while that lasts. Its beacon node, which takes
/// its slots from the same clock, is not believed either: its head is older than a head may be.
pub async fn a_clock_three_minutes_off(world: &World) {
    let machine = world.machine();
    world.cloud.metadata_fault(&machine, Some(MetadataFault::Ahead(Span::from_mins(3))));
    restart(world, "failover-agent").await; // or it would compare only every five minutes
    let slow = async |w: &World| {
        w.report().is_some_and(|report| (-181_000..=-179_000).contains(&report.clock_offset_ms) && !report.synced)
    };
    world.until("the agent reports a clock three minutes slow", 2 * MINUTE, slow).await;
    let why = |status: &str| status.contains(r#""phase":"syncing""#) && status.contains("its clock is off by -1");
    world.program.wait_for("it is ready no more, and why", why).await;
    // Longer than readiness has to be held. What it says may change, when this machine is so busy that a lease runs out.
    let begun = world.report().unwrap().counter;
    let long = async |w: &World| {
        let status = w.program.wait_for("its status", |_| true).await;
        assert!(status.contains(r#""phase":"syncing""#), "{status}");
        w.report().is_some_and(|report| report.counter > begun + 50_000)
    };
    world.until("another fifty seconds of reports", 3 * MINUTE, long).await;
    world.cloud.metadata_fault(&machine, None);
    restart(world, "failover-agent").await;
    world.phase("ready").await;
}

/// The real node begins again with the genesis of another network.
pub async fn another_chain(world: &World) {
    let machine = world.machine();
    let right = world.devnet.genesis_root().await;
    // Into the file that is there: its permissions are those that the role gave.
    let other = std::fs::read(other_genesis(world)).unwrap();
    std::fs::write(world.nspawn.file(&machine, "/opt/failover/prysm/genesis.ssz"), other).unwrap();
    run(world, &["systemctl", "stop", "failover-prysm"]).await;
    run(world, &["find", "/var/lib/chain/prysm", "-mindepth", "1", "-delete"]).await;
    run(world, &["systemctl", "start", "failover-prysm"]).await;
    let other = async |w: &World| {
        w.report().is_some_and(|report| {
            !report.genesis_root.is_empty() && report.genesis_root != right && report.stage.contains("another chain")
        })
    };
    world.until("the agent reports another chain", 3 * MINUTE, other).await;
    let report = world.report().unwrap();
    assert!(!report.synced && report.progress_percent == 0, "{report:?}");
    let stuck = world.program.wait_for("another chain", |status| status.contains(r#""kind":"other_chain""#)).await;
    assert!(stuck.contains(&format!("it follows another chain ({})", report.genesis_root)), "{stuck}");
    assert!(stuck.contains(r#""phase":"syncing""#), "it is ready no more: {stuck}");
    world.mailed("the standby is stuck").await;
}

/// Half as many validators are another genesis, and so another root.
fn other_genesis(world: &World) -> PathBuf {
    let file = world.folder.path().join("other.ssz");
    let mut prysmctl = Command::new(part("prysm").join("prysmctl"));
    prysmctl.args(["testnet", "generate-genesis", "--fork", "deneb", "--num-validators", "32"]);
    prysmctl.arg("--chain-config-file").arg(world.devnet.file("ethereum.yml"));
    prysmctl.arg("--geth-genesis-json-out").arg(world.folder.path().join("other.json"));
    let output = prysmctl.arg("--output-ssz").arg(&file).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    file
}

async fn restart(world: &World, unit: &str) {
    run(world, &["systemctl", "restart", unit]).await;
}

async fn run(world: &World, command: &[&str]) {
    let output = world.nspawn.run_on(&world.machine(), command).await;
    assert!(output.status.success(), "{command:?}: {output:?}");
}
