//! Who may sign: grants that people sign, the keys that may sign them, and the session of who does so at home.
//!
//! A grant is written by people only, signed with `ssh-keygen -Y sign`, and checked here. Nothing in this program holds
//! a key that could sign one.

mod adopt;
#[cfg(test)]
mod fuzz;
mod grant;
mod session;
mod signers;
mod sshsig;
mod succession;
#[cfg(test)]
mod tests;
mod view;
#[cfg(test)]
pub(super) use tests::test_grant;

pub use adopt::{AdoptFacts, AdoptPlan, AdoptRefusal, KeyMachine};
pub use grant::{Grant, GrantError, GrantPlace, LastGrant, SignedGrant, VerifiedGrant};
pub use grant::{MAX_GRANT, MAX_NUMBER as MAX_GRANT_NUMBER};
pub use session::{Held, OnLedgerLoss, Session};
pub use signers::{AllowedSigner, AllowedSigners, SignersError};
pub use sshsig::{SshKey, SshsigError};
pub use succession::{AdoptStep, Adoption, RegrantError, SILENT_EPOCHS, adoption_number, may_regrant, regrant};
pub use view::{GrantLink, OwnershipView};

/// The namespace of a grant's signature (`ssh-keygen -Y sign -n`), so that no other signature passes for one.
pub const NAMESPACE: &str = "failover-grant";
