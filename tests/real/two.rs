//! Two watchers that share a bucket and nothing else, the bucket being a real server of the same API.

use pair::Ledger;
use proxy::Wire;

#[path = "../common/pair.rs"]
mod pair;
#[path = "../common/proxy.rs"]
pub mod proxy;
#[path = "../common/two_watchers.rs"]
mod suite;

#[tokio::test(flavor = "multi_thread")]
async fn the_one_that_waits_only_reads() {
    let (_server, url) = crate::ledger::start().await;
    suite::the_one_that_waits_only_reads(Ledger::Bucket(url)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clean_stop_hands_over_within_a_second() {
    let (_server, url) = crate::ledger::start().await;
    suite::a_clean_stop_hands_over_within_a_second(Ledger::Bucket(url)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_kill_9_the_other_leads_when_the_lease_has_run_out() {
    let (_server, url) = crate::ledger::start().await;
    suite::after_kill_9_the_other_leads_when_the_lease_has_run_out(Ledger::Bucket(url)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cut_off_from_the_bucket() {
    for wire in [Wire::Refuses, Wire::Hangs] {
        let (_server, url) = crate::ledger::start().await;
        suite::cut_off_from_the_bucket(Ledger::Bucket(url), wire).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cut_off_from_the_api_server() {
    for wire in [Wire::Refuses, Wire::Hangs] {
        let (_server, url) = crate::ledger::start().await;
        suite::cut_off_from_the_api_server(Ledger::Bucket(url), wire).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cut_off_from_both() {
    for wire in [Wire::Refuses, Wire::Hangs] {
        let (_server, url) = crate::ledger::start().await;
        suite::cut_off_from_both(Ledger::Bucket(url), wire).await;
    }
}
