//! Grants as people sign, replace and read them, and as the watcher believes them. Needs `ssh-keygen` (openssh-client).

mod cli;
mod config;
mod gate;
mod machines;
mod plan;
mod program;
mod promoted;
mod refused;
mod replace;
pub(crate) mod rig;
mod session;
mod silence;
mod statement;
mod watched;
mod watcher;
