//! The gate's processes, for real: killed, frozen, left alone, in a container of their own and in a cgroup; and the whole
//! program with a ledger, grants and beacon nodes that misbehave.
//!
//! Some need root, for the container, the cgroup or a small disk. What there is not is skipped, and said.

#![cfg(feature = "gate")]
#![allow(clippy::unwrap_used, reason = "a test")]

#[cfg(feature = "sandbox")]
#[path = "gate/damage.rs"]
mod damage;
#[path = "gate/driver.rs"]
mod driver;
#[path = "gate/ends.rs"]
mod ends;
#[path = "gate/far.rs"]
mod far;
#[cfg(feature = "sandbox")]
#[path = "gate/granted.rs"]
mod granted;
#[cfg(feature = "sandbox")]
#[allow(clippy::disallowed_methods, reason = "the far ends are in this process")]
#[path = "gate/house.rs"]
mod house;
#[cfg(feature = "sandbox")]
#[path = "gate/inputs.rs"]
mod inputs;
#[path = "gate/kills.rs"]
mod kills;
#[path = "gate/local_house.rs"]
mod local_house;
#[path = "gate/long.rs"]
mod long;
#[cfg(feature = "sandbox")]
#[path = "gate/losses.rs"]
mod losses;
#[path = "gate/machines.rs"]
mod machines;
#[path = "gate/measured.rs"]
mod measured;
#[cfg(feature = "sandbox")]
#[path = "gate/nodes.rs"]
mod nodes;
#[path = "gate/parts.rs"]
mod parts;
#[path = "gate/placed.rs"]
mod placed;
#[cfg(feature = "sandbox")]
#[path = "gate/requests.rs"]
mod requests;
#[path = "gate/starts.rs"]
mod starts;
#[path = "gate/state.rs"]
mod state;
#[cfg(feature = "sandbox")]
#[path = "gate/stories.rs"]
mod stories;
#[path = "gate/world.rs"]
mod world;
