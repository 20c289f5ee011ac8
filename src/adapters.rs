//! The outside: one module for each thing we talk to. They never import each other.

pub mod alertmanager;
pub mod beacon;
pub mod cardano;
pub mod clock;
pub mod cometbft;
pub mod date;
pub mod execution;
pub mod gce;
pub mod generic_probe;
pub mod http;
pub mod json_rpc;
pub mod kube;
pub mod ledger_gcs;
pub mod ledger_sqlite;
pub mod mail;
pub mod metadata;
pub mod process_probe;
pub mod release;
pub mod server;
pub mod web;
