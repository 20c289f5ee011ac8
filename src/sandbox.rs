//! The fake world: the far ends of every connection, stateful, over real HTTP and SMTP on loopback.
//!
//! It is not a mock of our own code: production code talks to it through its own adapters and cannot tell.

pub mod beacon;
pub mod compute;
pub mod home;
pub mod kube;
pub mod object_store;
pub mod smtp;
pub mod stage;
pub mod story;
