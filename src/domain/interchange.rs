//! What a signer may no longer sign, as files that move between signers: slashing protection by EIP-3076, and the state of
//! a CometBFT signer. Public data only; no key is ever part of it.
//!
//! An export of the old signer is on a machine that may be dead. A [`Watermark`] needs none: it is above everything that
//! the old signer can have signed, because it is made after that signer has stopped.

mod cometbft;
mod export;
mod lint;
#[cfg(test)]
mod tests;
mod watermark;

pub use cometbft::signer_state;
pub use export::{Export, ExportedKey, GenesisRoot};
pub use lint::{LintExpectation, LintFinding, lint};
pub use watermark::{Watermark, WatermarkError};

/// The one version of the format that clients import.
pub const FORMAT_VERSION: &str = "5";
