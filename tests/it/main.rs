//! Tests of the adapters and of the program as a whole, over real connections on loopback. One crate, because linking
//! is what costs.

mod alertmanager;
mod support;
