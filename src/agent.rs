//! The agent on a standby: looks at the node and the machine, and writes a report the watcher can read.
//!
//! It changes nothing on the machine, listens on no port, holds no credential, and opens no file of a validator.

mod config;
pub mod ethereum;
pub mod generic;
pub mod health;
pub mod machine;
pub mod pace;
pub mod report;
pub mod restarts;
pub mod signer;

pub use config::{AgentConfig, AgentConfigError, NodeKind};
