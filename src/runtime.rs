//! The loop that decides, persists and then acts, and what it needs around it.
//!
//! It decides nothing itself: [`crate::domain::step`] does. It talks to nobody itself: the adapters do.

pub mod engine;
pub mod executor;
pub mod grants;
mod handle;
pub mod identity;
pub mod journal;
mod last_observations;
mod leadership;
pub mod lease;
pub mod patience;
pub mod requests;
pub mod status;
pub mod store;
mod sweep;
mod timers;
mod troubles;
pub mod verify;
pub mod waiting;

pub use engine::{Deps, Engine, EngineConfig, EngineError};
pub use handle::{Handle, Input, Step};
pub use troubles::LedgerTroubles;
