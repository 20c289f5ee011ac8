//! A standby of another chain whose agent counts by itself: what it writes about its chain, its head and its peers is
//! judged, and shown to people as that of Ethereum is.

use failover::domain::{OtherChain, Progress, Report};
use serde_json::json;

use super::{Bad, Watcher, validator};

async fn watcher() -> Watcher {
    let mut watcher = Watcher::with_a_standby().await;
    let read = OtherChain::Read { chain_id: Some("cosmoshub-4".into()) };
    watcher.policy.other_chains.insert(validator(), read);
    watcher
}

/// No genesis root, one peer, and a head that a beacon node could not have.
fn well(report: &mut Report) {
    report.genesis_root.clear();
    (report.chain_id, report.peers, report.head_age_seconds) = (Some("cosmoshub-4".into()), 1, 299);
}

#[tokio::test]
async fn people_read_the_head_and_the_peers_of_a_node_that_is_read() {
    let mut watcher = watcher().await;
    for counter in 1..8 {
        watcher.reports(counter, well).await;
    }
    assert_eq!(watcher.phase(), "ready", "{}", watcher.says());
    let mail = watcher.mails().last().unwrap()["standby"]["ready"]["report"].clone();
    assert_eq!(mail[0], "synced, 1 peers");
    assert_eq!(mail[1], "its head is 299 s old");
}

#[tokio::test]
async fn how_far_a_node_that_is_read_is_and_how_long_it_will_take_is_shown() {
    let mut watcher = watcher().await;
    watcher
        .reports(1, |report| {
            well(report);
            (report.synced, report.progress_percent, report.seconds_to_go) = (false, 43, Some(5400));
            report.stage = "block 18.2 of 21.9 M".into();
        })
        .await;
    let heard = watcher.world.get(&validator()).unwrap().live.report().cloned().unwrap();
    let line = Progress::of(&heard, watcher.now).line();
    assert_eq!(line, "43 %, block 18.2 of 21.9 M, 1h 30m to go");
    assert_eq!(watcher.phase(), "syncing");
}

#[tokio::test]
async fn a_chain_of_another_name_is_told_with_it_and_never_ready() {
    let mut watcher = watcher().await;
    for counter in 1..8 {
        watcher
            .reports(counter, |report| {
                well(report);
                report.chain_id = Some("provider\u{1b}[2J".into());
            })
            .await;
    }
    assert_eq!(watcher.phase(), "syncing");
    let mail = watcher.mails().last().unwrap()["standby"]["stuck"]["stuck"].clone();
    assert_eq!(mail, json!({"other_chain": {"chain": "provider [2J"}}));
}

#[tokio::test]
async fn a_node_that_is_read_lacks_what_its_report_does_not_show() {
    let mut watcher = watcher().await;
    let bad: [Bad; 5] = [
        ("it does not say yet which chain it follows", |report| report.chain_id = None),
        ("it follows another chain (Cosmoshub-4)", |report| report.chain_id = Some("Cosmoshub-4".into())),
        ("0 peers, needs 1", |report| report.peers = 0),
        ("its head is 5m 1s old", |report| report.head_age_seconds = 301),
        ("its clock is off by 501 ms", |report| report.clock_offset_ms = 501),
    ];
    let mut counter = 0;
    for (words, change) in bad {
        for _ in 0..8 {
            counter += 1;
            watcher.reports(counter, well).await;
        }
        assert_eq!(watcher.phase(), "ready", "{}", watcher.says());
        counter += 1;
        watcher
            .reports(counter, |report| {
                well(report);
                change(report);
            })
            .await;
        assert!(watcher.phase() == "syncing" && watcher.says().contains(words), "{words}: {}", watcher.says());
    }
}
