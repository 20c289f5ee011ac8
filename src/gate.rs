//! `failover-gate`: the only way to start what signs. What it may do is decided in [`crate::domain::gate`].
//!
//! Its processes: the gate starts a [`keeper`], which starts a [`stub`], which becomes the command. Gate and keeper
//! each hold the command's deadline, so that one of them may hang.

pub mod child;
pub mod cloud;
pub mod containment;
mod disk;
pub mod folder;
pub mod google;
pub mod grants;
pub mod grants_in_metadata;
pub mod home;
pub mod install;
pub mod keeper;
pub mod options;
pub mod parts;
pub mod port;
pub mod run;
mod start;
pub mod state;
pub mod status;
pub mod stub;
pub mod supervisor;
pub mod systemd;
pub mod telemetry;
#[cfg(test)]
mod tests;
pub mod timing;
mod warden;
mod wire;
