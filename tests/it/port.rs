//! The watcher's own port: who may connect and for how long, what it shows to whom, and what that may cost.

mod bodies;
mod connections;
mod pages;
mod tls;
