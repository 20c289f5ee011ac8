//! The pure core: what is known, what it means, and what is to be done about it.
//!
//! It is not where anything happens: no clock, no I/O, no randomness. Time is an argument, and a decision is data
//! that [`crate::runtime`] persists first and carries out second.

#![deny(clippy::disallowed_methods)]

pub mod alerts;
pub mod ids;
pub mod signal;
pub mod standby;

pub use alerts::{AlertBook, AlertRecord};
pub use ids::*;
pub use signal::*;
pub use standby::*;

/// A point in time by the watcher's own clock.
pub type Time = jiff::Timestamp;
/// A span of time; negative ones are refused where they come in.
pub type Span = jiff::SignedDuration;
