//! Everything that needs nothing but Rust: our own code over real sockets and files, against the fake world.

mod config;
mod mail;
