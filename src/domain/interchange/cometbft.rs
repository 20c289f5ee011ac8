//! The state of a CometBFT signer, `priv_validator_state.json`.

/// A state in which the signer signs nothing below `height`: what it is given when the old one's state cannot be had.
///
/// CometBFT refuses a height, round or step below those of its state (`privval/file.go`, `CheckHRS`).
#[must_use]
pub fn signer_state(height: u64) -> String {
    format!("{{\n  \"height\": \"{height}\",\n  \"round\": 0,\n  \"step\": 0\n}}\n")
}
