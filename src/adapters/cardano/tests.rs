//! Pages as nodes of several kinds write them, and pages that nobody should write.

use proptest::prelude::*;

use super::*;

/// A relay of cardano-node 10 with its default configuration.
const RELAY: &str = "\
# TYPE cardano_node_metrics_GSM_state_int gauge
cardano_node_metrics_GSM_state_int 2
cardano_node_metrics_RTS_gcLiveBytes_int 3127430696
cardano_node_metrics_blockReplayProgress_real 100.0
cardano_node_metrics_cardano_build_info{version_major=\"10\",version_minor=\"5\",version_patch=\"1\",version=\"10.5.1\",revision=\"ca1ec278\"} 1
cardano_node_metrics_density_real 4.874e-2
cardano_node_metrics_forging_enabled_int 0
cardano_node_metrics_forks_counter 3
cardano_node_metrics_peerSelection_Cold_int 81
cardano_node_metrics_peerSelection_Hot_int 15
cardano_node_metrics_peerSelection_HotBigLedgerPeers_int 5
cardano_node_metrics_peersFromNodeKernel_int 22
cardano_node_metrics_slotInEpoch_int 124412
cardano_node_metrics_slotNum_int 170000012
# EOF
";

fn look(page: &str) -> CardanoLook {
    read(page).unwrap()
}

#[test]
fn a_relays_page_tells_slot_peers_and_version_and_that_it_does_not_forge() {
    let expected = CardanoLook {
        slot: Some(170_000_012),
        replayed_percent: Some(100),
        peers: Some(20),
        forging: Vec::new(),
        version: Some("10.5.1".into()),
    };
    assert_eq!(look(RELAY), expected);
}

#[test]
fn names_without_suffixes_old_names_and_labels_say_the_same() {
    for page in [
        "cardano_node_metrics_slotNum 170000012\ncardano_node_metrics_peerSelection_Hot 20\n",
        "cardano_node_metrics_slotNum_int 170000012\ncardano_node_metrics_peerSelection_hot 15\n\
         cardano_node_metrics_peerSelection_hotBigLedgerPeers 5\n",
        "cardano_node_metrics_slotNum_int 170000012\ncardano_node_metrics_connectedPeers_int 20\n",
        "cardano_node_metrics_slotNum_int{network=\"preview\"} 1.70000012e+08 1785232800000\n\
         cardano_node_metrics_connectionManager_outboundConns_int{network=\"preview\"} 20\n",
    ] {
        let look = look(page);
        assert_eq!((look.slot, look.peers), (Some(170_000_012), Some(20)), "{page}");
    }
}

#[test]
fn whatever_only_a_block_producer_counts_is_told_and_what_is_no_number_is_no_zero() {
    for (line, forges) in [
        ("forging_enabled_int 1", Some("forging_enabled")),
        ("forging_enabled 1", Some("forging_enabled")),
        ("forging_enabled_int NaN", Some("forging_enabled")),
        ("forging_enabled_int -1", Some("forging_enabled")),
        ("forging_enabled_int 0.0", None),
        ("Forge_node_not_leader_counter 7", Some("Forge_node_not_leader")),
        ("Forge_forge_about_to_lead_int 7", Some("Forge_forge_about_to_lead")),
        ("blocksForgedNum_int 1", Some("blocksForgedNum")),
        ("remainingKESPeriods_int 40", Some("remainingKESPeriods")),
        ("remainingKESPeriods_int 0", None),
        ("currentKESPeriod_int 100", Some("currentKESPeriod")),
        ("slotsMissedNum_int 2", Some("slotsMissedNum")),
        ("slotsMissed_int 0", None),
        // Whatever ends the loop that forges, a key was there for it to begin.
        ("Forge_could_not_forge_counter 3", Some("Forge_could_not_forge")),
        ("Forge_didnt_adopt_counter 1", Some("Forge_didnt_adopt")),
        ("Forge_slot_is_immutable_counter 1", Some("Forge_slot_is_immutable")),
        ("Forge_StateUpdateError_int 1", Some("Forge_StateUpdateError")),
        ("Forge_forgeAboutToLead_counter 7", Some("Forge_forgeAboutToLead")),
        ("Forge_could_not_forge_counter 0", None),
    ] {
        let forging = look(&format!("cardano_node_metrics_{line}\n")).forging;
        assert_eq!(forging, Vec::from_iter(forges.map(str::to_owned)), "{line}");
    }
}

#[test]
fn a_0_of_a_count_that_nobody_feeds_beats_no_other_count() {
    for (lines, peers) in [
        ("connectedPeers_int 0\nconnectionManager_outgoingConns 20", Some(20)),
        ("connectedPeers_int 0\nconnectionManager_outboundConns_int 20", Some(20)),
        ("peersFromNodeKernel_int 0\nconnectedPeers_int 12\nconnectionManager_outgoingConns 3", Some(12)),
        ("connectedPeers_int 0\nconnectionManager_outgoingConns 0", Some(0)),
        // Those it follows the chain by are what counts, where they are counted.
        ("peerSelection_Hot_int 0\nconnectionManager_outboundConns_int 20", Some(0)),
        ("peerSelection_HotBigLedgerPeers_int 5\nconnectedPeers_int 0", Some(5)),
        ("connectionManager_incomingConns 20", None),
    ] {
        let page: String = lines.lines().map(|line| format!("cardano_node_metrics_{line}\n")).collect();
        assert_eq!(look(&(page + "cardano_node_metrics_slotNum_int 7\n")).peers, peers, "{lines}");
    }
}

#[test]
fn a_page_whose_names_have_no_prefix_says_the_same() {
    let page = RELAY.replace("cardano_node_metrics_", "");
    assert_eq!(look(&page), look(RELAY));
    assert_eq!(look("slotNum_int 7\nForge_could_not_forge_counter 1\n").forging, ["Forge_could_not_forge"]);
}

#[test]
fn a_page_that_is_none_of_a_cardano_node_is_another_page() {
    for page in ["", "<html><body>cardano_node_metrics_slotNum_int</body></html>", "{\"slot\": 1}", "go_threads 7\n"] {
        assert_eq!(read(page), Err(CardanoError::OtherPage), "{page}");
    }
}

#[test]
fn a_slot_that_is_no_number_of_a_slot_is_not_taken_for_one() {
    for value in ["NaN", "+Inf", "-5", "1.5", "many", "1e300"] {
        let page = format!("cardano_node_metrics_slotNum_int {value}\n");
        assert_eq!(read(&page), Err(CardanoError::BadSlot(value.into())));
    }
}

#[test]
fn a_node_that_reads_its_database_has_no_slot_yet() {
    let look = look("cardano_node_metrics_blockReplayProgress_real 43.7\ncardano_node_metrics_RTS_threads_int 12\n");
    assert_eq!((look.slot, look.replayed_percent, look.peers), (None, Some(43), None));
}

#[test]
fn a_version_is_found_in_its_parts_as_well() {
    let part = |of: &str, is: u8| format!("cardano_node_metrics_cardano_version_{of}_int {is}\n");
    let page = part("major", 10) + &part("minor", 5) + &part("patch", 1);
    assert_eq!(look(&page).version.as_deref(), Some("10.5.1"));
}

proptest! {
    #[test]
    fn whatever_a_page_says_it_is_read_to_its_end(page in "(cardano_node_metrics_)?(slotNum_int|Forge_)?[ -~\\n{}\"]{0,200}") {
        let _ = read(&page);
    }
}
