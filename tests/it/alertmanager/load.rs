//! What a start finds in the ledger, what it removes, and what it costs.

use std::sync::Arc;

use failover::{
    adapters::alertmanager::{AlertEvent, load::STEP},
    domain::{AlertRecord, alerts::Fingerprint},
    records,
};

use super::rig::{Known, Rig, firing, resolved};

const HOUR: i64 = 3_600;

#[tokio::test]
async fn a_start_finds_what_was_acknowledged_and_removes_what_is_old() {
    let first = Rig::start().await;
    for message in [firing(1), firing(2), resolved(2)] {
        first.post(&message).await;
    }
    let mut second = Rig::with(Arc::clone(&first.ledger)).await;
    second.receiver.begin().await;
    second.wants_reconciliation("after a start").await;
    let loaded = second.receiver.load().await.expect("loads");
    assert_eq!((loaded.read, loaded.removed, loaded.left, loaded.problems.len()), (2, 0, 0, 0));
    let mut states: Vec<_> = second.heard().iter().map(Known::state_name).collect();
    states.sort_unstable();
    assert_eq!(states, ["firing", "resolved"]);

    second.pass(HOUR + 1);
    let loaded = second.receiver.load().await.expect("loads");
    assert_eq!((loaded.read, loaded.removed), (0, 1), "the resolved one, which is known without reading");
    second.assert_silent();
    second.pass(2 * HOUR);
    assert_eq!(second.receiver.load().await.expect("loads").removed, 1, "not heard of, and not believed for long");
    assert!(second.ledger.dump().is_empty());
    assert_eq!(second.post(&firing(1)).await.0, 200);
    assert_eq!((second.heard()[0].state_name(), second.ledger.dump().len()), ("firing", 1), "and it may come again");
}

#[tokio::test]
async fn an_alert_whose_mapping_is_gone_does_not_count_after_a_start() {
    let mut rig = Rig::start().await;
    rig.post(&firing(1)).await;
    rig.heard();
    let dump = rig.ledger.dump();
    let (key, text) = dump.iter().next().expect("one record");
    let mut record: AlertRecord = records::decode(key, text.as_bytes()).expect("it was written");
    record.alert.mapping = record.alert.mapping.replace("ValidatorDown", "OtherName").into();
    rig.ledger.set(key, records::encode(key, &record));
    rig.receiver.begin().await;
    assert_eq!(rig.receiver.load().await.expect("loads").unmapped, 1);
    rig.assert_silent();
}

/// An earlier build had the start in the key, so that one alert of two replicas was two, and one of them never ended.
#[tokio::test]
async fn records_of_an_earlier_build_are_removed_and_never_believed() {
    let mut rig = Rig::start().await;
    for start in [1_795_222_800_000_u64, 1_795_222_793_000] {
        let text = r#"{"v":1,"state":{"firing":{"since":"2026-11-21T01:00:00Z"}}}"#;
        rig.ledger.set(&format!("alerts/eth-0/0000000000000001-{start}"), text);
    }
    rig.receiver.begin().await;
    let loaded = rig.receiver.load().await.expect("loads");
    assert_eq!((loaded.removed, loaded.problems.len(), rig.ledger.dump().len()), (2, 0, 0));
    rig.assert_silent();
}

#[tokio::test]
async fn what_a_step_has_read_before_it_failed_is_passed_on_by_the_next() {
    let first = Rig::start().await;
    for number in 0..3 {
        first.post(&firing(number)).await;
    }
    let mut second = Rig::with(Arc::clone(&first.ledger)).await;
    second.receiver.begin().await;
    // The list, and two of three records.
    second.ledger.fail_reads_after(3);
    second.receiver.load().await.expect_err("the third one cannot be read");
    second.assert_silent();
    second.ledger.fail_reads(false);
    assert_eq!(second.receiver.load().await.expect("loads").left, 0);
    let known: std::collections::BTreeSet<_> = second.heard().into_iter().map(|known| known.0.alert.key()).collect();
    assert_eq!(known.len(), 3, "all three are believed");
}

#[tokio::test]
async fn messages_are_taken_before_the_ledger_was_read_and_agree_with_it() {
    let first = Rig::start().await;
    for number in 0..3 {
        first.post(&firing(number)).await;
        first.post(&resolved(number)).await;
    }
    let reads = first.ledger.gets();
    let mut second = Rig::with(Arc::clone(&first.ledger)).await;
    second.receiver.begin().await;
    assert_eq!(second.post(&firing(1)).await.0, 200);
    assert_eq!(second.heard()[0].state_name(), "doubtful", "it knows of the resolution");
    assert_eq!(second.ledger.gets(), reads, "a conflict brings the record");
    second.receiver.load().await.expect("loads");
    let states: Vec<_> = second.heard().iter().map(Known::state_name).collect();
    assert_eq!(states, ["resolved", "resolved"], "what came meanwhile is not overwritten");
}

#[tokio::test]
async fn a_step_reads_a_bounded_number_of_records_and_the_walk_brings_them_all() {
    let mut rig = Rig::start().await;
    rig.post(&firing(0)).await;
    rig.heard();
    let (key, text) = rig.ledger.dump().pop_first().expect("one record");
    let mut record: AlertRecord = records::decode(&key, text.as_bytes()).expect("it was written");
    let all = 2 * STEP + 500;
    for number in 1..all {
        let fingerprint = format!("{number:016x}");
        record.alert.fingerprint = Fingerprint::new(&fingerprint).expect("16 digits");
        let key = key.replace("0000000000000000", &fingerprint);
        rig.ledger.set(&key, records::encode(&key, &record));
    }
    rig.receiver.begin().await;
    let mut brought = 0;
    for (read, left) in [(STEP, STEP + 500), (STEP, 500), (500, 0)] {
        let before = rig.ledger.gets();
        let loaded = rig.receiver.load().await.expect("loads");
        assert_eq!((loaded.read, loaded.left), (read, left));
        // The first step lists the keys, too.
        assert!(rig.ledger.gets() - before <= read + 1);
        let Ok(AlertEvent::AlertUpdate { records }) = rig.events.try_recv() else { panic!("alerts") };
        brought += records.len();
    }
    assert_eq!(brought, all);
    let again = rig.receiver.load().await.expect("loads");
    assert_eq!((again.read, again.removed, again.left), (0, 0, 0), "what is known is not read again");
}

#[tokio::test]
async fn a_walk_that_the_ledger_interrupts_is_taken_up_again() {
    let mut rig = Rig::start().await;
    rig.post(&firing(1)).await;
    rig.heard();
    rig.receiver.begin().await;
    rig.ledger.fail_reads(true);
    assert!(rig.receiver.load().await.is_err());
    rig.assert_silent();
    rig.ledger.fail_reads(false);
    assert_eq!(rig.receiver.load().await.expect("loads").read, 1);
    assert_eq!(rig.heard()[0].state_name(), "firing");
}
