//! A standby of Cardano: what the agent says of its node, whatever its page shows.

use std::sync::Arc;

use failover::{
    adapters::clock::SystemClock,
    agent::{Agent, health::UNKNOWN_HEAD_AGE_SECONDS},
    domain::{Span, Time},
};
use serde_json::{Value, json};

use super::{
    pages::{Fault, Pages},
    rig::{Off, Rig},
};

/// A relay, as its page shows it.
struct Relay {
    /// `None` while it reads its database.
    slot: Option<i64>,
    peers: Option<u32>,
    /// More lines.
    more: String,
}

impl Relay {
    fn page(&self, path: &str) -> (u16, String) {
        if path != "/metrics" {
            return (404, "Not Found".into());
        }
        let mut page = String::from(
            "# TYPE cardano_node_metrics_RTS_threads_int gauge\ncardano_node_metrics_RTS_threads_int 14\n\
             cardano_node_metrics_cardano_build_info{version=\"10.5.1\",revision=\"ca1ec278\"} 1\n\
             cardano_node_metrics_blockReplayProgress_real 12.9\n",
        );
        if let Some(slot) = self.slot {
            page += &format!("cardano_node_metrics_slotNum_int {slot}\n");
        }
        if let Some(peers) = self.peers {
            page += &format!("cardano_node_metrics_peerSelection_Hot_int {peers}\n");
        }
        (200, page + &self.more + "# EOF\n")
    }
}

/// The slot of now, as the preview network counts: a second a slot since 2022-10-25.
fn slot_of_now() -> i64 {
    Time::now().as_second() - "2022-10-25T00:00:00Z".parse::<Time>().unwrap().as_second()
}

const UNIT: &str = "failover-generic.service";

fn settings(url: &str, network: &str) -> Value {
    json!({
        "kind": "generic", "beacon": null, "execution": null, "genesis_root": null, "probes": [],
        "node": {"cardano": {"metrics": format!("{url}/metrics"), "network": network}}, "units": [UNIT],
    })
}

async fn in_step() -> (Rig, Pages<Relay>, Agent) {
    let relay = Relay {
        slot: Some(slot_of_now() - 30),
        peers: Some(20),
        more: "cardano_node_metrics_forging_enabled_int 0\n".into(),
    };
    let (rig, node) = (Rig::synced().await, Pages::start(relay, Relay::page).await);
    let agent = rig.agent_with(&settings(&node.url, "preview"), Arc::new(SystemClock));
    (rig, node, agent)
}

#[tokio::test]
async fn a_relay_in_step_with_its_chain_reports_everything_that_ready_needs() {
    let (_rig, _node, mut agent) = in_step().await;
    let report = agent.report().await.unwrap();
    assert_eq!((report.progress_percent, report.stage.as_str(), report.synced), (100, "synced", true));
    assert_eq!((report.chain_id, report.genesis_root.as_str(), report.peers), (None, "", 20));
    assert!((30..60).contains(&report.head_age_seconds) && !report.optimistic);
    assert_eq!((report.signer_seen, report.signer), (false, None));
    assert_eq!(report.versions["cardano-node"], "10.5.1");
}

#[tokio::test]
async fn whatever_a_node_answers_instead_it_is_not_synced_and_the_stage_says_why() {
    let (_rig, node, mut agent) = in_step().await;
    for (fault, says) in [
        (Fault::Html, "Cardano node sent a page without any metric of a Cardano node"),
        (Fault::Empty, "Cardano node sent a page without any metric of a Cardano node"),
        (Fault::Huge, "Cardano node sent an answer larger than"),
        (Fault::Status(503), "Cardano node answered 503"),
        (Fault::Redirect, "Cardano node answered 302"),
        (Fault::Hang, "Cardano node did not answer in time"),
    ] {
        node.spoil(Some(fault));
        let report = agent.report().await.unwrap();
        assert!(!report.synced && report.progress_percent == 0, "{fault:?}: {report:?}");
        assert_eq!((report.peers, report.head_age_seconds), (0, UNKNOWN_HEAD_AGE_SECONDS), "{fault:?}");
        assert!(report.stage.starts_with(says), "{fault:?}: {}", report.stage);
        assert!(!report.signer_seen && report.signer_hidden.is_some_and(|why| why.contains("forges")), "{fault:?}");
    }
    node.spoil(None);
    let report = agent.report().await.unwrap();
    assert_eq!((report.synced, report.signer_hidden), (true, None), "it recovers by itself");
}

#[tokio::test]
async fn half_a_page_is_never_more_than_the_whole() {
    let (_rig, node, mut agent) = in_step().await;
    node.spoil(Some(Fault::Half));
    let report = agent.report().await.unwrap();
    assert!(!report.synced && report.stage.starts_with("Cardano node has no head yet"), "{report:?}");
}

#[tokio::test]
async fn a_sync_is_followed_from_its_beginning_to_the_end() {
    let (_rig, node, mut agent) = in_step().await;
    let mut last = 0;
    let now = slot_of_now();
    for (slot, says) in [
        (None, "Cardano node has no head yet: it reads its database, 12 % of it"),
        (Some(0), "Cardano node catches up: slot 0, "),
        (Some(now / 2), "Cardano node catches up: slot "),
        (Some(now - 400), "Cardano node catches up: slot "),
        (Some(now - 100), "synced"),
    ] {
        node.change(|is| is.slot = slot);
        let report = agent.report().await.unwrap();
        assert!(report.stage.starts_with(says), "{}", report.stage);
        assert_eq!(report.synced, says == "synced");
        assert!(report.progress_percent >= last, "{} after {last}", report.progress_percent);
        last = report.progress_percent;
    }
    assert_eq!(last, 100);
}

#[tokio::test]
async fn a_page_that_never_changes_is_a_node_that_falls_behind_by_the_right_time() {
    let (rig, node, mut agent) = in_step().await;
    let mut slow = rig.agent_with(&settings(&node.url, "preview"), Arc::new(Off(Span::from_secs(-300))));
    assert!(slow.report().await.unwrap().synced, "by the right time its head is fresh");
    node.change(|is| is.slot = is.slot.map(|slot| slot - 300));
    for agent in [&mut agent, &mut slow] {
        let report = agent.report().await.unwrap();
        assert!(!report.synced && report.head_age_seconds >= 325, "{report:?}");
    }
}

#[tokio::test]
async fn a_relay_of_another_network_is_not_synced() {
    let (rig, node, _) = in_step().await;
    for (network, says) in [("mainnet", "catches up"), ("preprod", "catches up")] {
        let report = rig.agent_with(&settings(&node.url, network), Arc::new(SystemClock)).report().await.unwrap();
        assert!(!report.synced && report.stage.contains(says), "{network}: {}", report.stage);
    }
    node.change(|is| is.slot = is.slot.map(|slot| slot + 70_000_000));
    let report = rig.agent_with(&settings(&node.url, "preview"), Arc::new(SystemClock)).report().await.unwrap();
    assert!(!report.synced && report.stage.contains("from the future"), "{}", report.stage);
}

#[tokio::test]
async fn a_relay_without_peers_is_not_synced_nor_is_one_that_does_not_tell_them() {
    let (_rig, node, mut agent) = in_step().await;
    node.change(|is| is.peers = Some(0));
    let report = agent.report().await.unwrap();
    assert_eq!((report.synced, report.stage.as_str(), report.peers), (false, "Cardano node has no peer", 0));
    node.change(|is| is.peers = None);
    let report = agent.report().await.unwrap();
    assert_eq!((report.synced, report.stage.as_str()), (false, "Cardano node does not tell its peers"));
}

#[tokio::test]
async fn an_older_relay_whose_first_count_of_peers_stays_0_is_synced_by_its_connections() {
    let (_rig, node, mut agent) = in_step().await;
    node.change(|is| {
        is.peers = None;
        is.more =
            "cardano_node_metrics_connectedPeers_int 0\ncardano_node_metrics_connectionManager_outgoingConns 20\n"
                .into();
    });
    let report = agent.report().await.unwrap();
    assert_eq!((report.synced, report.peers, report.stage.as_str()), (true, 20, "synced"));
}

#[tokio::test]
async fn a_node_that_forges_is_a_signer() {
    let (_rig, node, mut agent) = in_step().await;
    for (line, name) in [
        ("forging_enabled_int 1", "forging_enabled"),
        ("forging_enabled 1", "forging_enabled"),
        ("Forge_node_is_leader_counter 3", "Forge_node_is_leader"),
        ("Forge_could_not_forge_counter 3", "Forge_could_not_forge"),
        ("currentKESPeriod_int 100", "currentKESPeriod"),
        ("operationalCertificateExpiryKESPeriod_int 900", "operationalCertificateExpiryKESPeriod"),
    ] {
        node.change(|is| is.more = format!("cardano_node_metrics_{line}\n"));
        let report = agent.report().await.unwrap();
        assert!(report.signer_seen && !report.synced, "{line}: {report:?}");
        assert!(report.signer.unwrap().contains(name), "{line}");
    }
}
