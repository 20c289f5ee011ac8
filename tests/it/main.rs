//! Everything that needs nothing but Rust, in one crate: linking is what costs.

mod properties;
mod scenarios;
