//! The outside: one module for each thing we talk to. They never import each other.

#[cfg(feature = "watcher")]
pub mod alertmanager;
pub mod beacon;
#[cfg(feature = "watcher")]
pub mod cardano;
pub mod clock;
#[cfg(feature = "watcher")]
pub mod cometbft;
pub mod date;
#[cfg(feature = "watcher")]
pub mod execution;
#[cfg(feature = "watcher")]
pub mod gate_status;
#[cfg(feature = "watcher")]
pub mod gce;
#[cfg(feature = "watcher")]
pub mod generic_probe;
pub mod http;
#[cfg(feature = "watcher")]
pub mod json_rpc;
#[cfg(feature = "watcher")]
pub mod kube;
pub mod ledger_gcs;
#[cfg(any(feature = "watcher", feature = "gate"))]
pub mod ledger_sqlite;
#[cfg(feature = "watcher")]
pub mod mail;
pub mod metadata;
#[cfg(feature = "watcher")]
pub mod process_probe;
#[cfg(feature = "watcher")]
pub mod release;
#[cfg(feature = "watcher")]
pub mod server;
#[cfg(feature = "watcher")]
pub mod web;
