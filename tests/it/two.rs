//! Two watchers on one ledger, each a process of its own: over a file, and over a bucket with nothing else in common.

use failover::sandbox::object_store::FakeObjectStore;

use pair::Ledger;
use proxy::Wire;

mod hour;
mod late;
mod witness;

#[path = "../common/pair.rs"]
mod pair;
#[path = "../common/proxy.rs"]
mod proxy;
#[path = "../common/two_watchers.rs"]
mod suite;

/// A bucket that is there as long as the test.
async fn bucket() -> (FakeObjectStore, Ledger) {
    let store = FakeObjectStore::start().await.unwrap();
    let ledger = Ledger::Bucket(store.url().to_owned());
    (store, ledger)
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_file_the_one_that_waits_only_reads() {
    suite::the_one_that_waits_only_reads(Ledger::File).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_bucket_the_one_that_waits_only_reads() {
    let (_store, ledger) = bucket().await;
    suite::the_one_that_waits_only_reads(ledger).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_file_a_clean_stop_hands_over_within_a_second() {
    suite::a_clean_stop_hands_over_within_a_second(Ledger::File).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_bucket_a_clean_stop_hands_over_within_a_second() {
    let (_store, ledger) = bucket().await;
    suite::a_clean_stop_hands_over_within_a_second(ledger).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_file_after_kill_9_the_other_leads_when_the_lease_has_run_out() {
    suite::after_kill_9_the_other_leads_when_the_lease_has_run_out(Ledger::File).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_bucket_after_kill_9_the_other_leads_when_the_lease_has_run_out() {
    let (_store, ledger) = bucket().await;
    suite::after_kill_9_the_other_leads_when_the_lease_has_run_out(ledger).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_whom_the_bucket_refuses_ceases_to_lead_before_the_other_begins() {
    let (_store, ledger) = bucket().await;
    suite::cut_off_from_the_bucket(ledger, Wire::Refuses).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_whom_the_bucket_does_not_answer_ceases_to_lead_before_the_other_begins() {
    let (_store, ledger) = bucket().await;
    suite::cut_off_from_the_bucket(ledger, Wire::Hangs).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_whom_the_api_server_refuses_goes_on_leading_and_opens_nothing_blindly() {
    let (_store, ledger) = bucket().await;
    suite::cut_off_from_the_api_server(ledger, Wire::Refuses).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_whom_the_api_server_does_not_answer_goes_on_leading_and_opens_nothing_blindly() {
    suite::cut_off_from_the_api_server(Ledger::File, Wire::Hangs).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_cut_off_from_both_is_replaced_and_the_other_acts_on_what_it_sees() {
    let (_store, ledger) = bucket().await;
    suite::cut_off_from_both(ledger, Wire::Refuses).await;
    let (_store, ledger) = bucket().await;
    suite::cut_off_from_both(ledger, Wire::Hangs).await;
}
