//! A node of kind generic: its probes say whether it works.

use std::sync::Arc;

use failover::adapters::clock::SystemClock;
use serde_json::json;

use super::rig::Rig;

#[tokio::test]
async fn a_generic_node_is_synced_when_all_its_probes_say_so() {
    let rig = Rig::synced().await;
    let url = format!("{}/eth/v1/node/syncing", rig.beacon.url());
    let probe = |pointer: &str, compare: &str| json!({"name": "syncing", "http": {"url": url, "json": {"pointer": pointer, "compare": compare}}});
    let generic = |probes: serde_json::Value| json!({"kind": "generic", "beacon": null, "execution": null, "genesis_root": null, "node": null, "probes": probes});
    let settings = generic(json!([probe("/data/is_syncing", "== false"), {"name": "port", "tcp": {"address":
        rig.beacon.url().trim_start_matches("http://")}}]));
    let mut agent = rig.agent_with(&settings, Arc::new(SystemClock));
    let report = agent.report().await.unwrap();
    assert!(report.synced && report.progress_percent == 100, "{report:?}");
    rig.beacon.change(|is| is.syncing = true);
    let report = agent.report().await.unwrap();
    assert!(!report.signer_seen);
    // One answer is nothing; three in a row are down.
    agent.report().await.unwrap();
    let report = agent.report().await.unwrap();
    assert!(!report.synced && report.progress_percent == 0, "{report:?}");
    assert!(report.stage.contains("syncing:"), "{}", report.stage);
}
