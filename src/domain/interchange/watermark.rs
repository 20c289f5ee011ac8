//! The file that a new signer is given when nobody can export what the old one has signed.

use std::collections::BTreeSet;

use sha2::{Digest as _, Sha256};

use super::{Export, FORMAT_VERSION, GenesisRoot};
use crate::domain::{PublicKey, chain::Epoch};

/// For each key one vote and one block that nobody has signed, above everything that the old signer can have signed.
///
/// By rules 2, 4 and 5 of EIP-3076 the new signer then signs no block up to the last slot of the epoch, no vote for it or an
/// earlier target, and none with a source before the epoch before it. So nothing that it signs can be a double vote, and
/// nothing that the old one signed can surround or be surrounded by it. The *justified* epoch as source would leave surround
/// votes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watermark {
    root: GenesisRoot,
    epoch: u64,
    slot: u64,
    keys: BTreeSet<PublicKey>,
}

/// Why there is no watermark.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WatermarkError {
    #[error("there are no public keys: name the validator's in a file, one in each line")]
    NoKeys,
    #[error(
        "epoch {0} cannot be a watermark: take the epoch after the last one in which the old signer may have signed"
    )]
    Epoch(u64),
    #[error("{0} slots in an epoch: no chain has that (the mainnet has 32)")]
    SlotsPerEpoch(u64),
    #[error(
        "the export says that {key:?} has signed for epoch {found}, and the old signer is to have stopped before epoch \
         {epoch}: take the right export, or a later epoch"
    )]
    Later { key: PublicKey, found: u64, epoch: u64 },
    #[error("the export has the key {0:?}, which is not one of this validator's: take the right export")]
    OtherKey(PublicKey),
    #[error("the export is of the chain {found}, and the validator is on {expected}: take the right export")]
    OtherChain { found: String, expected: GenesisRoot },
}

impl Watermark {
    /// `epoch`: the one after the last moment at which the old signer can have signed.
    ///
    /// # Errors
    /// [`WatermarkError`]
    pub fn new(
        root: GenesisRoot,
        Epoch(epoch): Epoch,
        slots_per_epoch: u64,
        keys: impl IntoIterator<Item = PublicKey>,
    ) -> Result<Self, WatermarkError> {
        let keys: BTreeSet<_> = keys.into_iter().collect();
        if keys.is_empty() {
            return Err(WatermarkError::NoKeys);
        }
        if !(1..=4096).contains(&slots_per_epoch) {
            return Err(WatermarkError::SlotsPerEpoch(slots_per_epoch));
        }
        let slot = last_slot(epoch, slots_per_epoch).filter(|_| epoch > 0).ok_or(WatermarkError::Epoch(epoch))?;
        Ok(Self { root, epoch, slot, keys })
    }

    /// The same above everything in an export as well: its target is strictly above every target there, because an importer
    /// that meets one target twice may silently take the key out of use (seen with Prysm).
    ///
    /// An export may be a moment older or newer than the word that the signer has stopped, but by one epoch at most.
    ///
    /// # Errors
    /// An export of something else, or from the future.
    pub fn above(self, export: &Export, slots_per_epoch: u64) -> Result<Self, WatermarkError> {
        let found = &export.metadata.genesis_validators_root;
        if !found.parse().is_ok_and(|found: GenesisRoot| found == self.root) {
            let found = found.chars().take(66).collect();
            return Err(WatermarkError::OtherChain { found, expected: self.root });
        }
        let mut epoch = self.epoch;
        for (key, signed) in &export.data.0 {
            if !self.keys.contains(key) {
                return Err(WatermarkError::OtherKey(*key));
            }
            let block = signed.max_slot.map(|slot| slot / slots_per_epoch);
            let highest = signed.max_target.max(signed.max_source).max(block);
            if let Some(found) = highest.filter(|highest| *highest > self.epoch) {
                return Err(WatermarkError::Later { key: *key, found, epoch: self.epoch });
            }
            epoch = epoch.max(highest.map_or(0, |highest| highest + 1));
        }
        Self::new(self.root, Epoch(epoch), slots_per_epoch, self.keys)
    }

    #[must_use]
    pub fn epoch(&self) -> Epoch {
        Epoch(self.epoch)
    }

    #[must_use]
    pub fn keys(&self) -> &BTreeSet<PublicKey> {
        &self.keys
    }

    /// The file. The same inputs give the same bytes: a file that is made again is no second one.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        // No message has the digest of this file as its root, so each importer knows a repetition by it and nothing else.
        let root: String = Sha256::digest(self.json(None)).iter().map(|byte| format!("{byte:02x}")).collect();
        self.json(Some(&format!("0x{root}"))).into_bytes()
    }

    fn json(&self, signing_root: Option<&str>) -> String {
        let root = signing_root.map_or_else(String::new, |root| format!(",\n          \"signing_root\": \"{root}\""));
        let (slot, source, target) = (self.slot, self.epoch - 1, self.epoch);
        let entry = |key: &PublicKey| {
            format!(
                r#"    {{
      "pubkey": "{}",
      "signed_blocks": [
        {{
          "slot": "{slot}"{root}
        }}
      ],
      "signed_attestations": [
        {{
          "source_epoch": "{source}",
          "target_epoch": "{target}"{root}
        }}
      ]
    }}"#,
                key.to_hex()
            )
        };
        let entries: Vec<_> = self.keys.iter().map(entry).collect();
        format!(
            r#"{{
  "metadata": {{
    "interchange_format_version": "{FORMAT_VERSION}",
    "genesis_validators_root": "{}"
  }},
  "data": [
{}
  ]
}}
"#,
            self.root,
            entries.join(",\n")
        )
    }
}

fn last_slot(epoch: u64, slots_per_epoch: u64) -> Option<u64> {
    // Databases keep these as signed numbers.
    epoch.checked_add(1)?.checked_mul(slots_per_epoch)?.checked_sub(1).filter(|slot| i64::try_from(*slot).is_ok())
}
