//! What several tests share. It tests nothing itself.

pub mod memory_ledger;
