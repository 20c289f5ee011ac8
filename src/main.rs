//! The `failover` command.

fn main() {}
