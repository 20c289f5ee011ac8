//! The process that signs, as the gate's loop uses it.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::domain::gate::ChildDeadline;

/// A command that is started at most once at a time, and never runs longer than its deadline.
#[async_trait]
pub trait Child: Send + Sync {
    /// Starts it. It judges the deadline again, by its own reading of the clock, before it becomes the command.
    ///
    /// # Errors
    /// Nothing runs then.
    async fn start(&mut self, deadline: ChildDeadline) -> Result<(), StartError>;
    /// Lets it run longer: the ledger has confirmed a renewal. Never earlier than the deadline before.
    async fn extend(&mut self, deadline: ChildDeadline);
    /// SIGTERM, and SIGKILL after the grace. Returns when neither it nor anything that it started is left.
    async fn stop(&mut self) -> ChildEnd;
    /// Waits until neither it nor anything that it started is left, whoever ended it. May be dropped and asked again.
    async fn ended(&self) -> ChildEnd;
    /// Waits until the command itself has ended, whatever is left of what it started. May be dropped and asked again.
    async fn command_ended(&self) -> ChildEnd;
}

/// Why nothing was started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("the time that the session gives was over before the start")]
    Late,
    #[error("the command {command} cannot be started: {error}")]
    Command { command: String, error: String },
    #[error("the keeper, which ends the command at its deadline, cannot be started: {0}")]
    Keeper(String),
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChildEnd {
    /// By itself.
    Exited(u8),
    /// By a signal that is not ours.
    Signalled(i32),
    /// By us: asked to, or at its deadline.
    Stopped,
    /// The keeper was gone, so it was ended.
    KeeperLost,
}
