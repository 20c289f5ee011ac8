//! kill -9 at every point of a run where something may have happened outside of the watcher.
//!
//! Its own test binary: nothing runs beside it.

#![cfg(feature = "sandbox")]
#![allow(clippy::disallowed_methods, reason = "the far ends are the test's own")]
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::path::Path;

#[path = "common/kills.rs"]
mod kills;

#[test]
fn a_watcher_killed_anywhere_leaves_one_standby_and_one_mail() {
    failover::adapters::http::install_tls_provider();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let sweep = runtime.block_on(kills::sweep(Path::new(env!("CARGO_BIN_EXE_failover"))));
    let sweep = sweep.unwrap_or_else(|error| panic!("{error:#}"));
    println!("killed {} times, {} mails repeated: {:#?}", sweep.kills(), sweep.repeated_mails, sweep.killed_at);
    println!("not reached: {:?}", sweep.not_reached);
    let at = |point: &str| sweep.killed_at.get(point).copied().unwrap_or_default();
    assert_eq!(at("POST zones/…/instances"), 2, "with and without the machine having been made");
    assert!(at("put validators/eth-0") >= 8 && at("put alerts/eth-0") >= 2 && at("put lease") >= 2);
    assert!(sweep.kills() >= 9 * sweep.not_reached.len(), "hardly any run is like the recorded one");
}
