//! Everything that needs nothing but Rust, in one crate: linking is what costs.

#![allow(clippy::disallowed_methods, reason = "the far ends are the test's own")]
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod agent;
mod alertmanager;
mod beacon;
mod bills;
mod boot;
mod bounds;
mod bundle;
mod cli;
mod cloud_rounds;
mod compute;
mod compute_strict;
mod config;
mod copied_ledger;
mod damaged_ledger;
mod date;
mod engine;
mod evidence;
mod gate_packages;
mod gate_program;
mod gcp;
mod generic;
mod grants;
mod kube;
mod ledger;
mod lost_ledger;
mod machine;
mod mail;
mod metadata;
mod port;
mod promoted_machine;
mod promotion;
mod properties;
mod reports;
mod scenarios;
mod serial;
mod signers;
mod slashing_protection;
mod support;
mod tidy;
mod two;
