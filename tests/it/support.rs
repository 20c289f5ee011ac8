//! What several tests share. It tests nothing itself.

pub mod endless;
pub mod memory_ledger;
