//! Against real parts, installed by `tests/parts/install.sh`; run by `make test-real`.

#![allow(clippy::disallowed_methods, reason = "the far ends are the test's own")]
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod alertmanager;
mod chain;
mod cometbft;
mod compute;
mod gate;
mod gate_bucket;
mod gcp;
mod interchange;
mod kube;
mod ledger;
mod machine;
mod mail;
mod mirror;
#[path = "../common/nspawn.rs"]
mod nspawn;
mod ownership;
mod parts;
mod path;
mod program;
mod promotion_stories;
mod standby;
mod two;
