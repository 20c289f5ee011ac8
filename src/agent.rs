//! The agent on a standby: looks at the node and the machine, and leaves a report where the watcher can read it.
//!
//! It changes nothing on the machine, listens on no port, holds no credential, and opens no file of a validator. What
//! it says is a hint: who controls the machine controls the report.
//!
//! Pure are the judges of one kind of node each, [`ethereum`], [`cometbft`] and [`cardano`], with [`head`] and
//! [`pace`], and also [`signer`], [`clock`] and [`report`]; [`generic`] asks its probes,
//! [`promotion`] the gate of a promoted machine, [`machine`] and [`restarts`] read, and [`watch`] does it all again every half a minute.

pub mod cardano;
pub mod clock;
pub mod cometbft;
mod config;
pub mod ethereum;
pub mod generic;
pub mod head;
pub mod health;
pub mod machine;
pub mod pace;
pub mod promotion;
pub mod report;
pub mod restarts;
pub mod signer;
pub mod watch;

pub use config::{AgentConfig, AgentConfigError, NodeKind};
pub use watch::{Agent, AgentError};
