//! `failover` notices that a home validator is down, makes sure, and starts a keyless standby in the cloud.
//!
//! Read in this order: [`domain`] (what is decided, pure), [`ports`] (what the outside has to offer),
//! [`runtime`] (the one loop that decides, persists and then acts), [`sources`] (what reports to it), [`adapters`] (the
//! outside itself), [`config`] and [`cli`]. The far ends that tests and `failover sandbox` talk to are in [`sandbox`].
//!
//! It never reads, moves or names a key. `docs/ARCHITECTURE.md` lists the invariants and where each is tested.

pub mod adapters;
pub mod agent;
pub mod assembly;
pub mod bundle;
pub mod cli;
pub mod config;
pub mod domain;
pub mod ports;
pub mod records;
pub mod runtime;
#[cfg(feature = "sandbox")]
pub mod sandbox;
pub mod simulate;
pub mod sources;
