//! The chain source against the fake chain, over HTTP. Time stands still until a test lets it go on.

mod bad_nodes;
mod epochs;
mod rig;
mod several;
