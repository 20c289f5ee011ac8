//! Everything that needs nothing but Rust: our own code over real sockets and files, against the fake world.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod config;
mod mail;
