//! What execution clients answer while they sync, as each of them writes it, and what the watcher makes of it.

use failover::{
    domain::{Report, ReportHistory, Span, Time, TimeExt},
    sandbox::execution::Sync,
};
use serde_json::{Value, json};

use super::rig::Rig;

/// Block 18 000 000.
const HEAD: &str = "0x112a880";

/// What the agent says while the beacon node waits for the execution client.
async fn while_it_answers(answers: &[Value]) -> Vec<Report> {
    let rig = Rig::synced().await;
    rig.beacon.change(|is| is.optimistic = true);
    let (mut agent, mut reports) = (rig.agent(), Vec::new());
    for answer in answers {
        rig.execution.change(|is| (is.block, is.sync, is.syncing) = (0, Sync::Not, Some(answer.clone())));
        reports.push(agent.report().await.unwrap());
    }
    reports
}

#[tokio::test]
async fn every_client_shows_how_far_it_is_in_its_own_form() {
    for (client, answer, says) in [
        (
            "geth",
            json!({"startingBlock": "0x0", "currentBlock": "0x895440", "highestBlock": HEAD, "syncedAccounts": "0x0",
                   "syncedAccountBytes": "0x0", "healedTrienodes": null, "txIndexRemainingBlocks": "0x1"}),
            "execution client: 9.00 of 18.00 M blocks",
        ),
        (
            "besu",
            json!({"startingBlock": "0x0", "currentBlock": "0x895440", "highestBlock": HEAD, "pulledStates": null,
                   "knownStates": null}),
            "execution client: 9.00 of 18.00 M blocks",
        ),
        (
            "reth",
            json!({"startingBlock": "0x0", "currentBlock": "0x0", "highestBlock": "0x0", "warpChunksAmount": null,
                   "warpChunksProcessed": null, "stages": [{"name": "Bodies", "block": "0x895440"},
                   {"name": "Execution", "block": "0x0"}, {"name": "Headers", "block": HEAD}]}),
            "execution client: stage Bodies, 9.00 of 18.00 M blocks, 1 of 3 stages done",
        ),
        (
            "erigon",
            json!({"currentBlock": "0x0", "highestBlock": HEAD, "stages": [{"stage_name": "Snapshots",
                   "block_number": "0x895440"}, {"stage_name": "Execution", "block_number": "0x0"}]}),
            "execution client: stage Snapshots, 9.00 of 18.00 M blocks, 0 of 2 stages done",
        ),
        (
            "nethermind",
            json!({"startingBlock": "0x0", "currentBlock": "0x0", "highestBlock": HEAD, "syncMode": "SnapSync"}),
            "execution client: SnapSync, the head is block 18.00 M",
        ),
        ("one that says nothing", Value::Null, "execution client says nothing to eth_syncing yet"),
        (
            "one that says half of it",
            json!({"currentBlock": null, "highestBlock": HEAD}),
            "execution client: 0.00 of 18.00 M blocks",
        ),
    ] {
        let report = while_it_answers(&[answer]).await.remove(0);
        assert_eq!(report.stage, says, "{client}");
        assert!(!report.synced && !report.signer_seen && report.peers > 0, "{client}: {report:?}");
        assert!(report.head_age_seconds < 60, "{client}: what the beacon node says is there all the same");
    }
}

#[tokio::test]
async fn what_a_client_indexes_after_its_sync_is_no_way_that_is_left() {
    let rig = Rig::synced().await;
    let answer = json!({"currentBlock": HEAD, "highestBlock": HEAD, "startingBlock": null, "healingTrienodes": null,
                        "txIndexFinishedBlocks": "0x10", "txIndexRemainingBlocks": "0x5000"});
    rig.execution.change(|is| is.syncing = Some(answer));
    assert!(rig.agent().report().await.unwrap().synced);
}

/// Forty hours of reth, whose head is 0 until the last of them.
#[tokio::test]
async fn a_first_run_of_reth_never_looks_stuck_to_the_watcher() {
    const ALL: u64 = 18_000_000;
    // Each with its hours.
    const STAGES: [(&str, u64); 6] =
        [("Headers", 3), ("Bodies", 4), ("SenderRecovery", 1), ("Execution", 28), ("MerkleExecute", 3), ("Finish", 1)];
    let halves: Vec<u64> = (1..80).collect();
    let answer = |half: u64| {
        let (mut before, mut stages) = (0, Vec::new());
        for (name, hours) in STAGES {
            let done = half.saturating_sub(2 * before).min(2 * hours);
            stages.push(json!({"name": name, "block": format!("{:#x}", ALL * done / (2 * hours))}));
            before += hours;
        }
        json!({"currentBlock": "0x0", "highestBlock": "0x0", "stages": stages})
    };
    let answers: Vec<Value> = halves.iter().map(|half| answer(*half)).collect();
    let reports = while_it_answers(&answers).await;
    let at = |half: u64| Time::UNIX_EPOCH.plus(Span::from_mins(30) * i32::try_from(half).unwrap());
    let mut history = ReportHistory::first(reports[0].clone(), at(0));
    for (half, report) in halves.iter().zip(&reports) {
        history.record(report, Span::from_secs(1), at(*half));
        let standing = at(*half).duration_since(history.percent_at);
        // Eight times `policy.stuck_after`.
        assert!(standing < Span::from_hours(4), "{standing:?} at {} %: {}", report.progress_percent, report.stage);
        assert!(!report.synced);
    }
    assert!(history.report.progress_percent > 90, "{:?}", history.report);
}
