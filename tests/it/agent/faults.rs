//! Whatever answers instead of the nodes and the metadata server, the agent says why and continues.

use std::sync::Arc;

use failover::{
    agent::{health::UNKNOWN_HEAD_AGE_SECONDS, report::UNKNOWN_CLOCK_OFFSET_MS},
    domain::Span,
    sandbox::{
        beacon::Fault,
        execution::{Fault as ExecutionFault, Sync},
    },
};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::rig::{Mode, Off, Rig};

#[tokio::test]
async fn a_synced_standby_reports_everything_that_ready_needs() {
    let rig = Rig::synced().await;
    let report = rig.agent().report().await.unwrap();
    assert_eq!((report.incident.as_str(), report.progress_percent, report.stage.as_str()), ("abcd1234", 100, "synced"));
    assert!(report.synced && !report.optimistic && !report.signer_seen, "{report:?}");
    assert_eq!((report.peers, report.genesis_root.clone()), (56, rig.chain.genesis_root()));
    assert!(report.head_age_seconds <= 8 && report.clock_offset_ms.abs() < 500, "{report:?}");
    assert_eq!((report.boot_id.len(), report.memory_free_percent), (36, Some(25)));
    assert!(report.disk_free_percent.is_some_and(|free| free <= 100));
    assert_eq!(report.versions["beacon node"], "FakeBeacon/v1.0.0");
    assert_eq!(report.versions["execution client"], "FakeGeth/v1.0.0");
}

#[tokio::test]
async fn whatever_a_beacon_node_answers_instead_it_is_not_synced_and_the_stage_says_why() {
    let rig = Rig::synced().await;
    let mut agent = rig.agent();
    for (fault, says) in [
        (Fault::Status(206), "beacon node answered 206"),
        (Fault::Status(503), "beacon node answered 503"),
        (Fault::Status(302), "beacon node answered 302"),
        (Fault::ServerError, "beacon node answered 500 (database is corrupt)"),
        (Fault::Html, "beacon node answered HTML"),
        (Fault::HalfJson, "beacon node"),
        (Fault::WrongTypes, "beacon node"),
        (Fault::Huge, "beacon node"),
        (Fault::Hang, "beacon node did not answer in time"),
    ] {
        rig.beacon.change(|is| is.fault = Some(fault));
        let report = agent.report().await.unwrap();
        assert!(!report.synced && report.optimistic && report.progress_percent < 100, "{fault:?}: {report:?}");
        assert_eq!((report.peers, report.head_age_seconds), (0, UNKNOWN_HEAD_AGE_SECONDS), "{fault:?}");
        assert!(report.stage.starts_with(says), "{fault:?}: {}", report.stage);
    }
    rig.beacon.down().await;
    assert_eq!(agent.report().await.unwrap().stage, "beacon node refuses connections");
    rig.beacon.change(|is| is.fault = None);
    rig.beacon.up().await.unwrap();
    assert!(agent.report().await.unwrap().synced, "it recovers by itself");
}

#[tokio::test]
async fn a_node_on_another_chain_is_not_synced_even_if_it_changes_while_it_is_watched() {
    let rig = Rig::synced().await;
    let mut agent = rig.agent();
    assert!(agent.report().await.unwrap().synced);
    rig.beacon.change(|is| is.other_chain = true);
    // At first it is only seen to differ; the next look learns what it follows now.
    assert!(!agent.report().await.unwrap().synced);
    let report = agent.report().await.unwrap();
    assert!(report.stage.starts_with("beacon node follows another chain (0x0ddba1"), "{}", report.stage);
    assert!(!report.synced && report.genesis_root.starts_with("0x0ddba1") && report.progress_percent == 0);
}

#[tokio::test]
async fn a_head_that_is_old_is_never_synced_whatever_the_node_believes() {
    let rig = Rig::synced().await;
    rig.beacon.change(|is| (is.behind, is.believes_in_step) = (100, true));
    let report = rig.agent().report().await.unwrap();
    assert!(!report.synced && report.head_age_seconds >= 200, "{report:?}");
}

#[tokio::test]
async fn whatever_an_execution_client_answers_instead_it_is_not_synced_and_the_stage_says_why() {
    let rig = Rig::synced().await;
    let mut agent = rig.agent();
    for (fault, says) in [
        (ExecutionFault::Html, "execution client sent something that is not JSON-RPC"),
        (ExecutionFault::Status(503), "execution client answered 503"),
        (ExecutionFault::WrongTypes, "execution client sent something that is not JSON-RPC"),
        (ExecutionFault::Refuses, "execution client refused eth_syncing"),
        (ExecutionFault::Huge, "execution client sent an answer larger than"),
        (ExecutionFault::Hang, "execution client did not answer in time"),
    ] {
        rig.execution.change(|is| is.fault = Some(fault));
        let report = agent.report().await.unwrap();
        assert!(!report.synced && report.progress_percent < 100, "{fault:?}: {report:?}");
        assert!(report.stage.starts_with(says), "{fault:?}: {}", report.stage);
    }
    rig.execution.down().await;
    assert_eq!(agent.report().await.unwrap().stage, "execution client refuses connections");
}

#[tokio::test]
async fn a_sync_is_followed_from_its_beginning_to_the_end() {
    let rig = Rig::synced().await;
    let mut agent = rig.agent();
    let mut last = 0;
    for (block, sync, optimistic, says) in [
        (0, Sync::Not, true, "execution client has not begun to sync"),
        (500, Sync::To { highest: 2000, state_bytes: 0, healing: 0 }, true, "execution client: 500 of 2000 blocks"),
        (1990, Sync::To { highest: 2000, state_bytes: 7, healing: 0 }, true, "execution client: fetches the state"),
        (1990, Sync::To { highest: 2000, state_bytes: 7, healing: 9 }, true, "execution client: repairs its state"),
        (2000, Sync::Indexing { remaining: 500 }, false, "synced"),
        (2000, Sync::Not, false, "synced"),
    ] {
        rig.execution.change(|is| (is.block, is.sync) = (block, sync));
        rig.beacon.change(|is| is.optimistic = optimistic);
        let report = agent.report().await.unwrap();
        assert!(report.stage.starts_with(says), "{}", report.stage);
        assert_eq!(report.synced, says == "synced");
        assert!(report.progress_percent >= last, "{} after {last}", report.progress_percent);
        last = report.progress_percent;
    }
    assert_eq!(last, 100);
}

#[tokio::test]
async fn a_clock_minutes_off_is_said_and_an_old_head_does_not_hide_behind_it() {
    let rig = Rig::synced().await;
    let slow = || Arc::new(Off(Span::from_secs(-200)));
    let report = rig.agent_with(&json!({}), slow()).report().await.unwrap();
    assert!((-200_500..-199_500).contains(&report.clock_offset_ms), "{report:?}");
    assert!(report.synced, "by the right time its head is fresh: {}", report.stage);
    // By the machine's own clock a head of three minutes ago would look fresh.
    rig.beacon.change(|is| (is.behind, is.believes_in_step) = (100, true));
    let report = rig.agent_with(&json!({}), slow()).report().await.unwrap();
    assert!(!report.synced && report.head_age_seconds >= 200, "{report:?}");
}

#[tokio::test]
async fn without_a_metadata_server_the_clock_is_unknown_and_that_is_not_called_right() {
    let rig = Rig::synced().await;
    let mut agent = rig.agent();
    rig.metadata.set(Mode::Takes);
    let known = agent.report().await.unwrap();
    drop(agent);
    let Rig { metadata, .. } = &rig;
    let address = metadata.address.clone();
    let dead = Rig::synced().await;
    drop(rig);
    let server =
        failover::adapters::metadata::MetadataServer::at(Some(address.into()), std::time::Duration::from_secs(1));
    let machine = failover::agent::machine::LocalMachine::at(dead.root.path());
    let clock = Arc::new(failover::adapters::clock::SystemClock);
    let mut agent = failover::agent::Agent::new(dead.config(&json!({})), machine, server.unwrap(), clock).unwrap();
    let unknown = agent.report().await.unwrap();
    assert!(known.clock_offset_ms.abs() < 500);
    assert_eq!(unknown.clock_offset_ms, UNKNOWN_CLOCK_OFFSET_MS);
    assert_eq!(unknown.stage, "synced; its clock could not be compared");
}

#[tokio::test]
async fn a_metadata_server_that_hangs_or_refuses_neither_stops_the_agent_nor_is_asked_in_parallel() {
    let rig = Rig::synced().await;
    rig.metadata.set(Mode::Hangs);
    let stop = CancellationToken::new();
    let running = tokio::spawn(rig.agent().run(stop.clone()));
    rig.metadata.asked_at_least(2).await;
    rig.metadata.set(Mode::Answers(503));
    let asked = rig.metadata.asked();
    rig.metadata.asked_at_least(asked + 2).await;
    rig.metadata.set(Mode::Takes);
    let first = rig.metadata.report_that(0, |_| true).await;
    let second = rig.metadata.report_that(1, |_| true).await;
    // Of the reports that were not taken none is sent again.
    assert!(second.counter > first.counter);
    stop.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn stopping_waits_for_nothing_that_hangs() {
    let rig = Rig::synced().await;
    rig.metadata.set(Mode::Hangs);
    let stop = CancellationToken::new();
    let running = tokio::spawn(rig.agent().run(stop.clone()));
    rig.metadata.asked_at_least(1).await;
    stop.cancel();
    tokio::time::timeout(std::time::Duration::from_millis(900), running).await.expect("it ends at once").unwrap();
}
