//! Whether an export may be imported.

use std::collections::BTreeSet;

use super::{Export, ExportedKey, FORMAT_VERSION, GenesisRoot};
use crate::domain::{PublicKey, chain::Epoch};

/// What a file has to say. What is not known is not judged.
#[derive(Clone, Debug, Default)]
pub struct LintExpectation {
    pub root: Option<GenesisRoot>,
    /// Every key of the validator.
    pub keys: Option<BTreeSet<PublicKey>>,
    /// The last epoch in which the chain shows a duty: an export that ends before it is too old.
    pub not_before: Option<Epoch>,
    /// The present epoch and how many slots it has: what is later was signed with a wrong clock, or is another chain's.
    pub now: Option<(Epoch, u64)>,
}

/// Why a file must not be imported.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LintFinding {
    #[error(
        "the file has the version 4 of the format (an older default of Lodestar), which importers refuse or misread: \
         export again with a newer client in version {FORMAT_VERSION}"
    )]
    VersionFour,
    #[error("the file has the version {0} of the format: export again in version {FORMAT_VERSION}")]
    Version(String),
    #[error("\"{0}\" is not a genesis validators root (0x and 64 hexadecimal digits): export again")]
    BadRoot(String),
    #[error("the file is of the chain {found}, and the validator is on {expected}: take the right file")]
    OtherChain { found: GenesisRoot, expected: GenesisRoot },
    #[error("the file has no keys: export again, with the old signer's data folder and while it is stopped")]
    Empty,
    #[error("{key:?} is there {entries} times: clients keep one of them, so export again")]
    Repeated { key: PublicKey, entries: u32 },
    #[error("{0:?} is not one of this validator's keys: take the right file, or the right list of keys")]
    Unexpected(PublicKey),
    #[error("{0:?} is missing: nothing would keep the new signer from repeating what it signed, so export again")]
    Missing(PublicKey),
    #[error("{0:?} has no attestations: export again, or make a watermark with `failover watermark`")]
    NoAttestations(PublicKey),
    #[error(
        "{key:?} ends with epoch {found}, and the chain has a later vote of it, in epoch {needed}: the file is too old, so \
         export again, or make a watermark with `failover watermark`"
    )]
    TooOld { key: PublicKey, found: u64, needed: u64 },
    #[error(
        "{key:?} has signed for epoch {found}, and it is epoch {now}: its clock was wrong, and a signer that imports it signs \
         nothing until then, or the file is another chain's: take the right file"
    )]
    Future { key: PublicKey, found: u64, now: u64 },
    #[error(
        "{key:?} has two votes for epoch {epoch}, for which an importer may take the key out of use without a word: import a \
         watermark merged with it (`failover watermark --merge`)"
    )]
    DoubleVote { key: PublicKey, epoch: u64 },
    #[error(
        "{key:?} has two blocks in slot {slot}, for which an importer may take the key out of use without a word: import a \
         watermark merged with it (`failover watermark --merge`)"
    )]
    DoubleBlock { key: PublicKey, slot: u64 },
    #[error(
        "{key:?} has a vote from {source_epoch} to {target} that another one surrounds: look whether it was slashed for it, \
         and import a watermark merged with it (`failover watermark --merge`)"
    )]
    Surrounded { key: PublicKey, source_epoch: u64, target: u64 },
    #[error(
        "{key:?} has a vote from {source_epoch} to {target}, which is before it: the file is damaged, so export again, or \
         make a watermark with `failover watermark`"
    )]
    Backwards { key: PublicKey, source_epoch: u64, target: u64 },
    #[error(
        "{key:?} has {count} numbers without quotes, which some importers refuse: put them in quotes or export again"
    )]
    BareNumbers { key: PublicKey, count: u64 },
}

/// Everything that is wrong with a file, in the file's order of keys; nothing when it is clean.
#[must_use]
pub fn lint(export: &Export, expected: &LintExpectation) -> Vec<LintFinding> {
    let mut findings = Vec::new();
    let version = &export.metadata.interchange_format_version;
    if version == "4" {
        findings.push(LintFinding::VersionFour);
    } else if version != FORMAT_VERSION {
        findings.push(LintFinding::Version(version.clone()));
    }
    let root = &export.metadata.genesis_validators_root;
    match (root.parse::<GenesisRoot>(), &expected.root) {
        (Err(_), _) => findings.push(LintFinding::BadRoot(root.chars().take(80).collect())),
        (Ok(found), Some(expected)) if found != *expected => {
            findings.push(LintFinding::OtherChain { found, expected: expected.clone() });
        }
        (Ok(_), _) => {}
    }
    if export.data.0.is_empty() {
        findings.push(LintFinding::Empty);
    }
    for (key, signed) in &export.data.0 {
        lint_key(&mut findings, *key, signed, expected);
    }
    if let Some(keys) = &expected.keys {
        let missing = keys.iter().filter(|key| !export.data.0.contains_key(key));
        findings.extend(missing.map(|key| LintFinding::Missing(*key)));
    }
    findings
}

fn lint_key(findings: &mut Vec<LintFinding>, key: PublicKey, signed: &ExportedKey, expected: &LintExpectation) {
    if signed.entries > 1 {
        findings.push(LintFinding::Repeated { key, entries: signed.entries });
    }
    if expected.keys.as_ref().is_some_and(|keys| !keys.contains(&key)) {
        findings.push(LintFinding::Unexpected(key));
        return;
    }
    match (signed.max_target, expected.not_before) {
        (None, _) => findings.push(LintFinding::NoAttestations(key)),
        (Some(found), Some(Epoch(needed))) if found < needed => {
            findings.push(LintFinding::TooOld { key, found, needed });
        }
        (Some(_), _) => {}
    }
    if let Some((Epoch(now), slots_per_epoch)) = expected.now {
        let block = signed.max_slot.map(|slot| slot / slots_per_epoch.max(1));
        if let Some(found) = signed.max_target.max(signed.max_source).max(block).filter(|found| *found > now) {
            findings.push(LintFinding::Future { key, found, now });
        }
    }
    findings.extend(signed.double_vote.map(|epoch| LintFinding::DoubleVote { key, epoch }));
    findings.extend(signed.double_block.map(|slot| LintFinding::DoubleBlock { key, slot }));
    findings.extend(signed.surrounded.map(|(source_epoch, target)| LintFinding::Surrounded {
        key,
        source_epoch,
        target,
    }));
    findings.extend(signed.backwards.map(|(source_epoch, target)| LintFinding::Backwards {
        key,
        source_epoch,
        target,
    }));
    if signed.bare_numbers > 0 {
        findings.push(LintFinding::BareNumbers { key, count: signed.bare_numbers });
    }
}
