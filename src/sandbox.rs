//! The fake world: the far ends of every connection, stateful, over real HTTP and SMTP on loopback.
//!
//! It is not a mock of our own code: production code talks to it through its own adapters and cannot tell.

pub mod beacon;
pub mod compute;
pub mod execution;
pub mod home;
pub mod kube;
pub mod node;
pub mod object_store;
mod server;
pub mod smtp;
pub mod stage;
pub mod story;

/// What becomes of a request that a hook has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// It is handled, whether or not anybody is left to hear the answer.
    Handle,
    /// It never arrives; the connection breaks.
    Lose,
}

/// Called with method and path, query included, before a request is handled.
pub type Hook = Box<dyn Fn(&str, &str) -> Then + Send + Sync>;
