//! Which grants a gate believes.

use crate::domain::{
    ValidatorId,
    ownership::{AllowedSigners, SignedGrant, VerifiedGrant},
};

/// Reads `allowed_signers`, again for every grant: a key that was taken out of the file lets nothing start any more.
pub type GateSigners = Box<dyn Fn() -> Result<AllowedSigners, String> + Send + Sync>;

pub(super) struct GrantCheck {
    pub validator: ValidatorId,
    pub chain: String,
    pub signers: GateSigners,
    pub allow_untouched: bool,
}

impl GrantCheck {
    /// # Errors
    /// Why it is no answer, in words.
    pub fn verify(&self, bytes: &[u8]) -> Result<VerifiedGrant, String> {
        let signed = SignedGrant::parse(bytes).map_err(|error| error.to_string())?;
        let signers = (self.signers)()?;
        signed.verify(&self.validator, &self.chain, &signers, self.allow_untouched).map_err(|error| error.to_string())
    }
}
