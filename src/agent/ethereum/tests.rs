//! What is synced, what is not, and what is said of it.

use proptest::prelude::*;

use super::*;
use crate::{
    adapters::{execution::SyncStage, http::PageError, json_rpc::RpcError},
    domain::chain::{NodeTrouble, Slot},
};

const ROOT: &str = "0x5ca1ab1e5ca1ab1e5ca1ab1e5ca1ab1e5ca1ab1e5ca1ab1e5ca1ab1e5ca1ab1e";
const GENESIS: i64 = 1_700_000_000;
const CLOCK: u64 = 100_000;

fn time() -> ChainTime {
    ChainTime::new(GENESIS, 12_000, 32).unwrap()
}

/// In the middle of the slot [`CLOCK`].
fn now() -> Time {
    Time::from_second(GENESIS + i64::try_from(CLOCK).unwrap() * 12 + 6).unwrap()
}

fn status(behind: u64) -> SyncStatus {
    SyncStatus {
        head: Slot(CLOCK - behind),
        distance: behind,
        syncing: behind > 2,
        optimistic: false,
        el_offline: false,
        untold: None,
    }
}

fn beacon(status: Result<SyncStatus, NodeTrouble>) -> LocalLook {
    LocalLook { chain: Ok((ROOT.into(), time())), status, peers: Ok(55), version: Ok("Prysm/v5".into()) }
}

fn execution(syncing: ExecutionSync, block: u64) -> ExecutionLook {
    ExecutionLook { syncing: Ok(syncing), block: Ok(block), peers: Ok(20), version: Ok("Geth/v1".into()) }
}

fn snap(current_block: u64, highest_block: u64) -> ExecutionSync {
    ExecutionSync::Syncing(SyncProgress { current_block, highest_block, ..SyncProgress::default() })
}

fn judge(beacon: &LocalLook, execution: &ExecutionLook) -> NodeHealth {
    EthereumJudge::new(Some(ROOT.into())).judge(beacon, execution, now(), Duration::from_secs(100))
}

#[test]
fn a_verified_fresh_head_on_the_right_chain_is_synced() {
    let health = judge(&beacon(Ok(status(0))), &execution(ExecutionSync::NotSyncing, 21_900_000));
    let expected = NodeHealth {
        percent: 100,
        stage: "synced".into(),
        seconds_to_go: None,
        synced: true,
        optimistic: false,
        head_age_seconds: 6,
        peers: 55,
        genesis_root: ROOT.into(),
        chain_id: None,
        signs: Signs::default(),
        listens: true,
        versions: vec![("beacon node", "Prysm/v5".into()), ("execution client", "Geth/v1".into())],
    };
    assert_eq!(health, expected);
}

#[test]
fn an_execution_client_that_only_indexes_does_not_keep_a_node_from_being_synced() {
    let progress = SyncProgress {
        current_block: 21_900_000,
        highest_block: 21_900_000,
        tx_index_remaining_blocks: 2_000_000,
        ..SyncProgress::default()
    };
    assert!(judge(&beacon(Ok(status(0))), &execution(ExecutionSync::Syncing(progress), 21_900_000)).synced);
}

#[test]
fn eth_syncing_false_before_the_sync_began_is_not_synced() {
    let optimistic = SyncStatus { optimistic: true, ..status(0) };
    let health = judge(&beacon(Ok(optimistic)), &execution(ExecutionSync::NotSyncing, 0));
    assert_eq!((health.synced, health.optimistic), (false, true));
    assert_eq!(health.stage, "execution client has not begun to sync");
    assert!(health.percent <= 10, "{}", health.percent);
    // Not even if the beacon node says that everything is verified.
    assert!(!judge(&beacon(Ok(status(0))), &execution(ExecutionSync::NotSyncing, 0)).synced);
}

#[test]
fn each_way_of_not_being_synced_says_why() {
    let fine = execution(ExecutionSync::NotSyncing, 21_900_000);
    let other = LocalLook { chain: Ok((format!("0x{}", "ab".repeat(32)), time())), ..beacon(Ok(status(0))) };
    let no_chain = LocalLook { chain: Err(NodeTrouble::Html), ..beacon(Ok(status(0))) };
    let dead = |error: RpcError| ExecutionLook {
        syncing: Err(error.clone()),
        block: Err(error.clone()),
        peers: Err(error.clone()),
        version: Err(error),
    };
    let healing = SyncProgress {
        current_block: 21_900_000,
        highest_block: 21_900_064,
        synced_account_bytes: 9_000_000_000,
        healed_trienodes: 5,
        healing_trienodes: 70,
        ..SyncProgress::default()
    };
    let state = SyncProgress { healing_trienodes: 0, synced_accounts: 12, ..healing.clone() };
    for (look, execution, says) in [
        (beacon(Err(NodeTrouble::Refused)), &fine, "beacon node refuses connections"),
        (beacon(Err(NodeTrouble::Status { status: 503, message: String::new() })), &fine, "beacon node answered 503"),
        (no_chain, &fine, "beacon node answered HTML"),
        (other, &fine, "beacon node follows another chain (0xabab"),
        (beacon(Ok(status(0))), &dead(RpcError::Page(PageError::Refused)), "execution client refuses connections"),
        (beacon(Ok(status(9))), &dead(RpcError::Page(PageError::NoAnswer)), "execution client did not answer in time"),
        (beacon(Ok(status(50_000))), &fine, ", slot 50000 of 100000"),
        // Far behind itself, it is the beacon node that is waited for.
        (beacon(Ok(status(50_000))), &execution(ExecutionSync::NotSyncing, 0), ", slot 50000 of 100000"),
        (
            beacon(Ok(SyncStatus { optimistic: true, ..status(0) })),
            &execution(snap(18_200_000, 21_900_000), 0),
            "execution client: 18.20 of 21.90 M blocks",
        ),
        (
            beacon(Ok(SyncStatus { optimistic: true, ..status(0) })),
            &execution(ExecutionSync::Syncing(healing), 0),
            "execution client: repairs its state, 5 pieces done, 70 known to lack",
        ),
        (
            beacon(Ok(SyncStatus { optimistic: true, ..status(0) })),
            &execution(ExecutionSync::Syncing(state), 0),
            "execution client: fetches the state, 12 accounts, 9.0 GB of state",
        ),
        (beacon(Ok(SyncStatus { optimistic: true, ..status(0) })), &execution(snap(0, 0), 0), "looks for the head"),
        (beacon(Ok(SyncStatus { el_offline: true, ..status(0) })), &fine, "beacon node"),
        // A node that calls itself in step by a clock as wrong as its head.
        (beacon(Ok(SyncStatus { distance: 0, syncing: false, ..status(300) })), &fine, "beacon node"),
    ] {
        let health = judge(&look, execution);
        assert!(!health.synced && health.percent < 100, "{health:?}");
        assert!(health.stage.contains(says), "'{}' does not say '{says}'", health.stage);
    }
}

#[test]
fn progress_on_another_chain_is_none() {
    let other = LocalLook { chain: Ok((format!("0x{}", "ab".repeat(32)), time())), ..beacon(Ok(status(0))) };
    let health = judge(&other, &execution(ExecutionSync::NotSyncing, 21_900_000));
    assert_eq!((health.percent, health.genesis_root), (0, format!("0x{}", "ab".repeat(32))));
}

#[test]
fn the_time_to_go_follows_the_blocks_and_a_restart_makes_it_unknown_not_negative() {
    let mut ethereum = EthereumJudge::new(None);
    let look = beacon(Ok(SyncStatus { optimistic: true, ..status(0) }));
    let mut at = |seconds: u64, block: u64| {
        let health = ethereum.judge(&look, &execution(snap(block, 20_000_000), 0), now(), Duration::from_secs(seconds));
        (health.percent, health.seconds_to_go)
    };
    assert_eq!(at(0, 10_000_000), (55, None));
    assert_eq!(at(60, 10_600_000), (57, Some(940)));
    assert_eq!(at(120, 500), (10, None));
    assert_eq!(at(180, 600_500), (12, Some(1939)));
    let health = ethereum.judge(&look, &execution(snap(600_506, 600_512), 0), now(), Duration::from_secs(240));
    assert_eq!(health.stage, "execution client: 600506 of 600512 blocks, 166662 a second");
}

#[test]
fn progress_does_not_fall_while_the_beacon_node_has_yet_to_see_that_the_other_is_done() {
    let mut ethereum = EthereumJudge::new(None);
    let look = beacon(Ok(SyncStatus { optimistic: true, ..status(0) }));
    let mut percent =
        |sync, block| ethereum.judge(&look, &execution(sync, block), now(), Duration::from_secs(1)).percent;
    assert_eq!(percent(snap(19_900_000, 20_000_000), 0), 99);
    assert_eq!(percent(ExecutionSync::NotSyncing, 20_000_000), 99);
    // Started again with the blocks it had written down.
    assert_eq!(percent(ExecutionSync::NotSyncing, 10_000_000), 55);
}

fn staged(stages: &[(&str, u64)]) -> ExecutionSync {
    let stage = |(name, block): &(&str, u64)| SyncStage { name: (*name).into(), block: *block };
    ExecutionSync::Syncing(SyncProgress { stages: stages.iter().map(stage).collect(), ..SyncProgress::default() })
}

#[test]
fn a_client_that_works_in_stages_shows_progress_although_its_head_is_0() {
    let look = beacon(Ok(SyncStatus { optimistic: true, ..status(0) }));
    let of = 21_900_000;
    let mut ethereum = EthereumJudge::new(None);
    let mut last = 0;
    for (stages, percent, says) in [
        (
            [("Bodies", 0), ("Execution", 0), ("Finish", 0), ("Headers", of)],
            21,
            "stage Bodies, 0.00 of 21.90 M blocks, 1 of 4",
        ),
        ([("Bodies", of / 2), ("Execution", 0), ("Finish", 0), ("Headers", of)], 28, "stage Bodies, 10.95 of 21.90 M"),
        (
            [("Bodies", of), ("Execution", of / 2), ("Finish", 0), ("Headers", of)],
            60,
            "stage Execution, 10.95 of 21.90 M",
        ),
        (
            [("Bodies", of), ("Execution", of), ("Finish", 0), ("Headers", of)],
            87,
            "stage Finish, 0.00 of 21.90 M blocks, 3 of 4",
        ),
    ] {
        let health = ethereum.judge(&look, &execution(staged(&stages), 0), now(), Duration::from_secs(1));
        assert!(health.stage.starts_with(&format!("execution client: {says}")), "{}", health.stage);
        assert_eq!((health.percent, health.seconds_to_go, health.synced), (percent, None, false));
        assert!(health.percent > last);
        last = health.percent;
    }
    // The head moves on before it is done, and a second run has blocks in every stage.
    let second = staged(&[("AccountHashing", of - 9), ("Bodies", of - 5), ("Execution", of - 9), ("Headers", of)]);
    let health = ethereum.judge(&look, &execution(second, of - 9), now(), Duration::from_secs(2));
    assert!(health.stage.contains("stage Bodies"), "{}", health.stage);
    let begins = ethereum.judge(&look, &execution(staged(&[("Headers", 0)]), 0), now(), Duration::from_secs(3));
    assert_eq!(begins.stage, "execution client: looks for the head");
}

#[test]
fn executing_the_blocks_is_most_of_the_way_so_no_percent_of_it_takes_hours() {
    let percent = |executed: u64| {
        let stages = [("Bodies", 100), ("Execution", executed), ("Headers", 100), ("MerkleExecute", 0)];
        judge(&beacon(Ok(SyncStatus { optimistic: true, ..status(0) })), &execution(staged(&stages), 0)).percent
    };
    let steps: Vec<u8> = (0..=25).map(|quarter| percent(quarter * 4)).collect();
    assert!(steps.windows(2).all(|step| step[1] > step[0]), "{steps:?}");
}

#[test]
fn nethermind_says_what_it_does_while_it_has_no_head() {
    let progress = SyncProgress { highest_block: 21_900_000, mode: Some("SnapSync".into()), ..SyncProgress::default() };
    let look = beacon(Ok(SyncStatus { optimistic: true, ..status(0) }));
    let health = judge(&look, &execution(ExecutionSync::Syncing(progress), 0));
    assert_eq!(health.stage, "execution client: SnapSync, the head is block 21.90 M");
}

prop_compose! {
    fn any_sync()(busy: bool, current in any::<u64>(), highest in any::<u64>(), healing in 0u64..5, bytes in any::<u64>())
        -> ExecutionSync {
        if busy {
            ExecutionSync::Syncing(SyncProgress {
                current_block: current, highest_block: highest, healing_trienodes: healing,
                synced_account_bytes: bytes, synced_storage_bytes: bytes, ..SyncProgress::default()
            })
        } else {
            ExecutionSync::NotSyncing
        }
    }
}

proptest! {
    #[test]
    fn whatever_the_clients_say_progress_is_bounded_and_only_a_fresh_verified_head_is_synced(
        looks in prop::collection::vec(
            (any::<u64>(), any::<u64>(), any::<[bool; 4]>(), any_sync(), any::<u64>(), 0u64..100_000), 1..20)
    ) {
        let mut ethereum = EthereumJudge::new(Some(ROOT.into()));
        for (head, distance, [syncing, optimistic, el_offline, near], sync, block, uptime) in looks {
            let head = if near { CLOCK - head % 5 } else { head };
            let distance = if near { distance % 5 } else { distance };
            let status = SyncStatus { head: Slot(head), distance, syncing, optimistic, el_offline, untold: None };
            let health =
                ethereum.judge(&beacon(Ok(status)), &execution(sync.clone(), block), now(), Duration::from_secs(uptime));
            prop_assert!(health.percent <= 100);
            prop_assert_eq!(health.percent == 100, health.synced);
            if health.synced {
                prop_assert!(!syncing && !optimistic && !el_offline && block_or_index(&sync, block));
                prop_assert!(health.head_age_seconds <= (time().lag_allowed() + 1) * 12, "{:?}", health);
            }
        }
    }
}

fn block_or_index(sync: &ExecutionSync, block: u64) -> bool {
    matches!(sync, ExecutionSync::Syncing(_)) || block > 0
}
