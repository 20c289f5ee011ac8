//! Between the webhook and the ledger: what a failure is answered with, and what a restart finds.

use std::sync::{Arc, atomic::Ordering};

use super::rig::{Rig, alert, body, firing, resolved};
use crate::support::memory_ledger::Fault;

#[tokio::test]
async fn what_the_ledger_does_not_have_is_answered_with_503_and_taken_when_it_comes_again() {
    let mut rig = Rig::start().await;
    rig.ledger.script([Fault::Unavailable]);
    let (status, text) = rig.post(&firing(1)).await;
    assert_eq!(status, 503);
    assert!(text.contains("the ledger does not have 1 of 1 alerts: the ledger is not available"), "{text}");
    rig.assert_silent();
    assert_eq!(rig.post(&firing(1)).await.0, 200);
    assert_eq!(rig.heard().len(), 1);
}

#[tokio::test]
async fn a_part_that_is_missing_is_503_and_the_rest_is_told_at_once() {
    let mut rig = Rig::start().await;
    rig.ledger.script([Fault::Unavailable]);
    let two = body(&format!("{},{}", alert("firing", 1), alert("firing", 2)));
    assert_eq!(rig.post(&two).await.0, 503);
    assert_eq!((rig.heard().len(), rig.ledger.dump().len()), (1, 1));
    assert_eq!(rig.post(&two).await.0, 200);
    assert_eq!((rig.heard().len(), rig.ledger.dump().len()), (2, 2));
}

#[tokio::test]
async fn a_lost_reply_is_found_out_by_reading() {
    for fault in [Fault::LostReply, Fault::LostRequest, Fault::Overtaken] {
        let mut rig = Rig::start().await;
        rig.ledger.script([fault]);
        assert_eq!(rig.post(&firing(1)).await.0, 200, "{fault:?}");
        assert_eq!((rig.heard()[0].state_name(), rig.ledger.dump().len()), ("firing", 1), "{fault:?}");
        assert_eq!(rig.post(&resolved(1)).await.0, 200, "{fault:?}");
        assert_eq!(rig.heard()[0].state_name(), "resolved", "{fault:?}");
    }
}

#[tokio::test]
async fn a_lost_reply_that_reading_does_not_explain_is_503() {
    let mut rig = Rig::start().await;
    rig.ledger.script([Fault::LostReply]);
    rig.ledger.fail_reads(true);
    let (status, text) = rig.post(&firing(1)).await;
    assert_eq!(status, 503);
    assert!(text.contains("it is not known whether"), "{text}");
    rig.assert_silent();
    rig.ledger.fail_reads(false);
    assert_eq!(rig.post(&firing(1)).await.0, 200);
    assert_eq!(rig.heard().len(), 1);
}

#[tokio::test]
async fn a_process_without_the_lease_answers_503_and_touches_nothing() {
    let mut rig = Rig::start().await;
    rig.holds_lease.store(false, Ordering::SeqCst);
    let (status, text) = rig.post(&firing(1)).await;
    assert_eq!((status, text.trim()), (503, "this process does not hold the lease"));
    assert_eq!((rig.ledger.puts(), rig.ledger.gets()), (0, 0));
    rig.assert_silent();
}

#[tokio::test]
async fn a_lease_lost_while_writing_is_503_because_the_successor_may_have_read_before() {
    let mut rig = Rig::start().await;
    let lease = Arc::clone(&rig.holds_lease);
    rig.ledger.during_put(move || lease.store(false, Ordering::SeqCst));
    assert_eq!(rig.post(&firing(1)).await.0, 503);
    assert_eq!(rig.ledger.dump().len(), 1);
    rig.assert_silent();
}

#[tokio::test]
async fn without_a_runtime_the_answer_is_503() {
    let mut rig = Rig::start().await;
    rig.events.close();
    assert_eq!(rig.post(&firing(1)).await.0, 503);
}

#[tokio::test]
async fn a_new_process_merges_with_what_the_old_one_wrote() {
    let first = Rig::start().await;
    first.post(&firing(1)).await;
    first.post(&resolved(1)).await;
    // Without loading, so that the conflict is what tells.
    let mut second = Rig::with(Arc::clone(&first.ledger)).await;
    assert_eq!(second.post(&firing(1)).await.0, 200);
    assert_eq!(second.heard()[0].state_name(), "doubtful");
}

#[tokio::test]
async fn a_newer_or_damaged_record_is_a_clear_error_and_left_untouched() {
    for (text, part) in
        [(r#"{"v":3,"new":true}"#, "has version 3"), ("{\"v\":2", "cannot be read"), ("", "cannot be read")]
    {
        let mut rig = Rig::start().await;
        let key = "alerts/eth-0/0000000000000001";
        rig.ledger.set(key, text);
        let (status, answer) = rig.post(&firing(1)).await;
        assert_eq!(status, 503);
        assert!(answer.contains(part) && answer.contains(key), "{answer}");
        let loaded = rig.receiver.load().await.expect("loads");
        assert!(loaded.problems[0].contains(part), "{:?}", loaded.problems);
        assert_eq!(rig.ledger.dump()[key], text);
        rig.assert_silent();
    }
}

#[tokio::test]
async fn the_same_alert_on_64_connections_is_one_record_and_64_acknowledgements() {
    let mut rig = Rig::start().await;
    let message = firing(1);
    let answers = futures::future::join_all((0..64).map(|_| rig.post(&message))).await;
    assert!(answers.iter().all(|(status, _)| *status == 200));
    assert_eq!(rig.ledger.dump().len(), 1);
    for _ in 0..64 {
        assert_eq!(rig.heard()[0].0.revision, 1);
    }
}
