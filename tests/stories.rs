//! The stories of `failover sandbox`, silently: the real program between fake far ends, from the plug to the bill.
//!
//! One at a time: their chain has slots of a quarter of a second.

#![cfg(feature = "sandbox")]
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::path::Path;

use failover::sandbox::story::{self, Narrator, STORIES};

#[test]
fn every_story_ends_as_it_has_to() {
    failover::adapters::http::install_tls_provider();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_failover"));
    for told in STORIES {
        let stage = runtime.block_on(story::tell(told.name, program, &Narrator::silent()));
        assert!(stage.is_ok(), "{}: {:#}", told.name, stage.err().unwrap());
    }
}
