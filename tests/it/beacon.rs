//! The chain source against the fake chain, over HTTP. Time stands still until a test lets it continue.

mod bad_nodes;
mod epochs;
mod gate;
mod model;
mod other_chains;
pub mod rig;
mod several;
mod tolerances;
mod worst;
