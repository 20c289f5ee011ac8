//! Who may sign: grants that people sign, the keys that may sign them, and the session of who does so at home.
//!
//! A grant is written by people only, signed with `ssh-keygen -Y sign`, and checked here. Nothing in this program holds
//! a key that could sign one.

mod grant;
mod session;
mod signers;
mod sshsig;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub(super) use tests::test_grant;

pub use grant::{Grant, GrantError, GrantPlace, LastGrant, SignedGrant, VerifiedGrant};
pub use session::{Held, OnLedgerLoss, Session};
pub use signers::{AllowedSigner, AllowedSigners, SignersError};
pub use sshsig::{SshKey, SshsigError};

/// The namespace of a grant's signature (`ssh-keygen -Y sign -n`), so that no other signature passes for one.
pub const NAMESPACE: &str = "failover-grant";
