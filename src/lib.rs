//! `failover` notices that a home validator is down, makes sure, and starts a keyless standby in the cloud.
//!
//! Read in this order: [`domain`] (what is decided, pure), [`ports`] (what the outside has to offer),
//! [`runtime`] (the one loop that decides, persists and then acts), [`sources`] (what reports to it), [`adapters`] (the
//! outside itself), [`config`] and [`cli`]. The far ends that tests and `failover sandbox` talk to are in [`sandbox`].
//!
//! It never reads, moves or names a key. `docs/ARCHITECTURE.md` lists the invariants and where each is tested.

#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod adapters;
#[cfg(feature = "watcher")]
pub mod agent;
#[cfg(feature = "watcher")]
pub mod assembly;
#[cfg(feature = "watcher")]
pub mod bundle;
#[cfg(feature = "watcher")]
pub mod cli;
#[cfg(feature = "watcher")]
pub mod config;
pub mod domain;
pub mod files;
#[cfg(feature = "gate")]
pub mod gate;
#[cfg(any(feature = "watcher", feature = "gate"))]
mod log_lines;
pub mod ports;
#[cfg(feature = "watcher")]
pub mod promotion;
pub mod raw_clock;
pub mod records;
#[cfg(feature = "watcher")]
pub mod runtime;
#[cfg(feature = "sandbox")]
#[allow(clippy::disallowed_methods, reason = "the far ends are in this process")]
pub mod sandbox;
pub mod simulate;
#[cfg(feature = "watcher")]
pub mod sources;
