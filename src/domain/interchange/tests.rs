use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::domain::{PublicKey, chain::Epoch};

const ROOT: &str = "0x4b363db94e286120d76eb905340fdd4e54bfe9f06bf33ff6cf5ad27f511bfe95";
const SLOTS: u64 = 4;

fn root() -> GenesisRoot {
    ROOT.parse().unwrap()
}

fn key(number: u8) -> PublicKey {
    PublicKey::new([number; 48])
}

fn mark(epoch: u64) -> Watermark {
    Watermark::new(root(), Epoch(epoch), SLOTS, [key(2), key(1)]).unwrap()
}

fn read(bytes: &[u8]) -> Export {
    serde_json::from_slice(bytes).unwrap()
}

/// An export of key 1, with these votes (source, target, root) and blocks (slot, root).
fn export(votes: &[(u64, u64, u8)], blocks: &[(u64, u8)]) -> String {
    let root = |number: u8| format!("0x{}", format!("{number:02x}").repeat(32));
    let votes: Vec<_> = votes
        .iter()
        .map(|(source, target, of)| {
            serde_json::json!({"source_epoch": source.to_string(), "target_epoch": target.to_string(),
                "signing_root": root(*of)})
        })
        .collect();
    let blocks: Vec<_> = blocks
        .iter()
        .map(|(slot, of)| serde_json::json!({"slot": slot.to_string(), "signing_root": root(*of)}))
        .collect();
    serde_json::json!({
        "metadata": {"interchange_format_version": "5", "genesis_validators_root": ROOT},
        "data": [{"pubkey": key(1).to_hex(), "signed_blocks": blocks, "signed_attestations": votes}],
    })
    .to_string()
}

/// A signer as EIP-3076 describes it (conditions 2, 4 and 5), after it has imported a file.
struct Signer {
    slot: u64,
    source: u64,
    target: u64,
}

impl Signer {
    fn with(mark: &Watermark) -> Self {
        let export = read(&mark.bytes());
        let key = &export.data.0[&key(1)];
        Self { slot: key.max_slot.unwrap(), source: key.max_source.unwrap(), target: key.max_target.unwrap() }
    }

    fn signs_vote(&self, source: u64, target: u64) -> bool {
        source <= target && source >= self.source && target > self.target
    }

    fn signs_block(&self, slot: u64) -> bool {
        slot > self.slot
    }
}

/// Two votes for which a validator is slashed (consensus-specs, `is_slashable_attestation_data`): a double or a surround.
fn slashable(one: (u64, u64), other: (u64, u64)) -> bool {
    let surrounds = |outer: (u64, u64), inner: (u64, u64)| outer.0 < inner.0 && inner.1 < outer.1;
    one.1 == other.1 || surrounds(one, other) || surrounds(other, one)
}

/// Every vote that can have been signed before an epoch.
fn votes_before(epoch: u64) -> impl Iterator<Item = (u64, u64)> {
    (0..epoch).flat_map(|target| (0..=target).map(move |source| (source, target)))
}

#[test]
fn nothing_that_is_signed_after_the_watermark_is_slashable_with_anything_before() {
    for epoch in 1..12 {
        let signer = Signer::with(&mark(epoch));
        for before in votes_before(epoch) {
            for target in 0..2 * epoch + 2 {
                for source in 0..=target {
                    let signs = signer.signs_vote(source, target);
                    assert!(!signs || !slashable(before, (source, target)), "{epoch}: {before:?} {source} {target}");
                }
            }
        }
        for slot in 0..epoch * SLOTS {
            assert!(!signer.signs_block(slot), "epoch {epoch} slot {slot}");
        }
        assert!(signer.signs_vote(epoch, epoch + 1) && signer.signs_block((epoch + 1) * SLOTS), "it signs later");
    }
}

/// So the epoch before it has to be the source, as the rule says.
#[test]
fn with_the_justified_epoch_as_source_there_is_a_surround_vote() {
    let (epoch, justified) = (8, 4);
    let signer = Signer { source: justified, ..Signer::with(&mark(epoch)) };
    let found = votes_before(epoch).any(|before| {
        (0..20).any(|target| {
            (0..=target).any(|source| signer.signs_vote(source, target) && slashable(before, (source, target)))
        })
    });
    assert!(found);
}

#[test]
fn the_same_inputs_give_the_same_bytes_in_any_order_of_keys() {
    let again = Watermark::new(root(), Epoch(9), SLOTS, [key(1), key(2), key(1)]).unwrap();
    assert_eq!(mark(9).bytes(), again.bytes());
    assert_ne!(mark(9).bytes(), mark(10).bytes());
}

#[test]
fn the_file_is_what_importers_read() {
    let json: serde_json::Value = serde_json::from_slice(&mark(9).bytes()).unwrap();
    assert_eq!(
        json["metadata"],
        serde_json::json!({"interchange_format_version": "5", "genesis_validators_root": ROOT})
    );
    let entry = &json["data"][0];
    assert_eq!((&entry["pubkey"], json["data"].as_array().unwrap().len()), (&key(1).to_hex().into(), 2));
    let vote = &entry["signed_attestations"][0];
    assert_eq!((&vote["source_epoch"], &vote["target_epoch"]), (&"8".into(), &"9".into()));
    assert_eq!(entry["signed_blocks"][0]["slot"], "39", "the last slot of epoch 9");
    let signing_root = vote["signing_root"].as_str().unwrap();
    assert_eq!(signing_root, entry["signed_blocks"][0]["signing_root"]);
    // The digest of the file as it is without them.
    let mut without = json.clone();
    let text = String::from_utf8(mark(9).bytes()).unwrap();
    let stripped = text.replace(&format!(",\n          \"signing_root\": \"{signing_root}\""), "");
    for entry in without["data"].as_array_mut().unwrap() {
        entry["signed_attestations"][0].as_object_mut().unwrap().remove("signing_root");
        entry["signed_blocks"][0].as_object_mut().unwrap().remove("signing_root");
    }
    assert_eq!(serde_json::from_str::<serde_json::Value>(&stripped).unwrap(), without);
    use sha2::Digest as _;
    let digest: String = sha2::Sha256::digest(&stripped).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(signing_root, format!("0x{digest}"));
    assert_eq!(lint(&read(&mark(9).bytes()), &LintExpectation::default()), [], "and it is clean itself");
}

#[test]
fn a_merged_watermark_is_strictly_above_the_export() {
    for (votes, blocks, epoch) in
        [(&[(3, 4, 1)][..], &[(16, 1)][..], 9), (&[(8, 9, 1)], &[], 10), (&[(0, 0, 1)], &[(39, 1)], 10), (&[], &[], 9)]
    {
        let merged = mark(9).above(&read(export(votes, blocks).as_bytes()), SLOTS).unwrap();
        assert_eq!(merged.epoch(), Epoch(epoch), "{votes:?} {blocks:?}");
        let read = read(&merged.bytes());
        assert_eq!(read.data.0.len(), 2, "one entry for each key");
        assert!(read.data.0.values().all(|key| key.entries == 1 && key.attestations == 1 && key.blocks == 1));
    }
}

#[test]
fn an_export_of_something_else_or_of_the_future_is_not_merged() {
    let later = mark(9).above(&read(export(&[(3, 10, 1)], &[]).as_bytes()), SLOTS).unwrap_err();
    assert_eq!(later, WatermarkError::Later { key: key(1), found: 10, epoch: 9 });
    let block = mark(9).above(&read(export(&[], &[(40, 1)]).as_bytes()), SLOTS).unwrap_err();
    assert_eq!(block, WatermarkError::Later { key: key(1), found: 10, epoch: 9 });
    let own = Watermark::new(root(), Epoch(9), SLOTS, [key(2)]).unwrap();
    assert_eq!(own.above(&read(export(&[], &[]).as_bytes()), SLOTS), Err(WatermarkError::OtherKey(key(1))));
    let other = export(&[], &[]).replace("4b36", "5b36");
    assert!(matches!(mark(9).above(&read(other.as_bytes()), SLOTS), Err(WatermarkError::OtherChain { .. })));
}

#[test]
fn what_is_no_watermark_is_refused() {
    let make = |epoch, slots, keys: &[PublicKey]| Watermark::new(root(), Epoch(epoch), slots, keys.iter().copied());
    assert_eq!(make(9, 32, &[]), Err(WatermarkError::NoKeys));
    assert_eq!(make(0, 32, &[key(1)]), Err(WatermarkError::Epoch(0)));
    for huge in [u64::MAX, u64::MAX / 32, i64::MAX as u64 / 32 + 1] {
        assert_eq!(make(huge, 32, &[key(1)]), Err(WatermarkError::Epoch(huge)));
    }
    for slots in [0, 5000] {
        assert_eq!(make(9, slots, &[key(1)]), Err(WatermarkError::SlotsPerEpoch(slots)));
    }
}

#[test]
fn a_clean_export_has_no_findings() {
    let export = read(export(&[(0, 1, 1), (1, 2, 2), (1, 3, 3)], &[(5, 1), (9, 2)]).as_bytes());
    let expected = LintExpectation {
        root: Some(root()),
        keys: Some(BTreeSet::from([key(1)])),
        not_before: Some(Epoch(3)),
        now: Some((Epoch(3), SLOTS)),
    };
    assert_eq!(lint(&export, &expected), []);
}

#[test]
fn every_fault_of_an_export_is_found() {
    let one = |votes: &[(u64, u64, u8)], blocks: &[(u64, u8)]| read(export(votes, blocks).as_bytes());
    let nothing = LintExpectation::default();
    let keys =
        |keys: &[u8]| LintExpectation { keys: Some(keys.iter().map(|of| key(*of)).collect()), ..nothing.clone() };
    let now = LintExpectation { now: Some((Epoch(3), SLOTS)), ..nothing.clone() };
    let key = key(1);
    let good = export(&[(1, 2, 1)], &[]);
    let changed = |from: &str, to: &str| read(good.replace(from, to).as_bytes());
    let twice = {
        let mut json: serde_json::Value = serde_json::from_str(&good).unwrap();
        let entry = json["data"][0].clone();
        json["data"].as_array_mut().unwrap().push(entry);
        read(json.to_string().as_bytes())
    };
    let other = "0x".to_owned() + &"11".repeat(32);
    let table = [
        (changed(r#""5""#, r#""4""#), &nothing, LintFinding::VersionFour),
        (changed(r#""5""#, r#""6""#), &nothing, LintFinding::Version("6".into())),
        (changed(r#""5""#, "5"), &nothing, LintFinding::Version("5 (without quotes)".into())),
        (changed(ROOT, "0x12"), &nothing, LintFinding::BadRoot("0x12".into())),
        (
            changed(ROOT, &other),
            &LintExpectation { root: Some(root()), ..nothing.clone() },
            LintFinding::OtherChain { found: other.parse().unwrap(), expected: root() },
        ),
        (changed(r#""target_epoch":"2""#, r#""target_epoch":2"#), &nothing, LintFinding::BareNumbers { key, count: 1 }),
        (twice, &nothing, LintFinding::Repeated { key, entries: 2 }),
        (one(&[(1, 2, 1)], &[]), &keys(&[2, 1]), LintFinding::Missing(super::tests::key(2))),
        (one(&[(1, 2, 1)], &[]), &keys(&[1, 3]), LintFinding::Missing(super::tests::key(3))),
        (one(&[], &[(1, 1)]), &nothing, LintFinding::NoAttestations(key)),
        (
            one(&[(1, 2, 1)], &[]),
            &LintExpectation { not_before: Some(Epoch(3)), ..nothing.clone() },
            LintFinding::TooOld { key, found: 2, needed: 3 },
        ),
        (one(&[(1, 4, 1)], &[]), &now, LintFinding::Future { key, found: 4, now: 3 }),
        (one(&[(1, 3, 1)], &[(16, 1)]), &now, LintFinding::Future { key, found: 4, now: 3 }),
        (one(&[(1, 3, 1), (2, 3, 2)], &[]), &nothing, LintFinding::DoubleVote { key, epoch: 3 }),
        (one(&[(1, 2, 1)], &[(7, 1), (7, 2)]), &nothing, LintFinding::DoubleBlock { key, slot: 7 }),
        (one(&[(0, 5, 1), (1, 4, 2)], &[]), &nothing, LintFinding::Surrounded { key, source_epoch: 1, target: 4 }),
        (one(&[(3, 2, 1)], &[]), &nothing, LintFinding::Backwards { key, source_epoch: 3, target: 2 }),
    ];
    for (export, expected, finding) in table {
        assert_eq!(lint(&export, expected), std::slice::from_ref(&finding));
        says_what_to_do(&finding);
    }
    says_what_to_do(&LintFinding::Unexpected(key));
    says_what_to_do(&LintFinding::Empty);
    assert_eq!(lint(&one(&[(1, 2, 1)], &[]), &keys(&[])), [LintFinding::Unexpected(key)]);
    let empty =
        changed(&good[good.find(r#""data":"#).unwrap()..good.find(r#","metadata""#).unwrap()], r#""data":null"#);
    assert_eq!(lint(&empty, &nothing), [LintFinding::Empty]);
}

fn says_what_to_do(finding: &LintFinding) {
    let text = finding.to_string();
    let remedies = ["export again", "take the right", "make a watermark", "import a watermark"];
    assert!(remedies.iter().any(|remedy| text.contains(remedy)) && !text.contains(". "), "one sentence: {text}");
}

/// An importer knows one message twice by its root, and by nothing else.
#[test]
fn a_message_that_is_there_twice_is_a_double_only_without_its_root() {
    let same = export(&[(1, 3, 1), (1, 3, 1)], &[(7, 1), (7, 1)]);
    assert_eq!(lint(&read(same.as_bytes()), &LintExpectation::default()), []);
    let mut json: serde_json::Value = serde_json::from_str(&same).unwrap();
    for vote in json["data"][0]["signed_attestations"].as_array_mut().unwrap() {
        vote.as_object_mut().unwrap().remove("signing_root");
    }
    let finding = LintFinding::DoubleVote { key: key(1), epoch: 3 };
    assert_eq!(lint(&read(json.to_string().as_bytes()), &LintExpectation::default()), [finding]);
}

#[test]
fn what_is_no_export_is_an_error_and_no_finding() {
    for text in [
        "",
        "{}",
        "[]",
        "null",
        r#"{"metadata":{}}"#,
        &export(&[(1, 2, 1)], &[]).replace(r#""2""#, r#""two""#),
        &export(&[(1, 2, 1)], &[]).replace(r#""2""#, "-2"),
        &export(&[(1, 2, 1)], &[]).replace(r#""2""#, r#""99999999999999999999""#),
        &export(&[(1, 2, 1)], &[]).replace(r#""2""#, "1.5"),
        &export(&[(1, 2, 1)], &[]).replace(r#""2""#, "2e0"),
        &export(&[(1, 2, 1)], &[]).replace(r#""2""#, "null"),
        &export(&[(1, 2, 1)], &[]).replace(r#""2""#, r#""+2""#),
        &export(&[(1, 2, 1)], &[]).replace("0x0101", "0x01"),
        // The second list would hide the first one.
        &export(&[(1, 2, 1)], &[]).replace(r#"{"data":"#, r#"{"data":[],"data":"#),
        &export(&[(1, 2, 1)], &[]).replace(r#""signed_blocks":"#, r#""signed_blocks":[],"signed_blocks":"#),
        &"[".repeat(100_000),
        &"{\"data\":".repeat(100_000),
        &format!("\u{feff}{}", export(&[(1, 2, 1)], &[])),
    ] {
        assert!(serde_json::from_str::<Export>(text).is_err(), "{text}");
    }
}

proptest! {
    /// What was signed with an export's history, and what may be signed above the mark, never meet.
    #[test]
    fn no_pair_across_a_merged_watermark_is_slashable(
        history in prop::collection::vec((0u64..20, 0u64..20), 0..12),
        epoch in 20u64..24,
        after in (0u64..60, 0u64..60),
    ) {
        let history: Vec<_> = history.into_iter().map(|(one, other)| (one.min(other), one.max(other))).collect();
        let votes: Vec<_> = history.iter().map(|(source, target)| (*source, *target, 1)).collect();
        let merged = mark(epoch).above(&read(export(&votes, &[]).as_bytes()), SLOTS).unwrap();
        let signer = Signer::with(&merged);
        let after = (after.0.min(after.1), after.0.max(after.1));
        if signer.signs_vote(after.0, after.1) {
            prop_assert!(history.iter().all(|before| !slashable(*before, after)));
        }
    }

    #[test]
    fn surround_votes_are_found_as_by_comparing_all(
        votes in prop::collection::vec((0u64..10, 0u64..10), 0..10),
    ) {
        let votes: Vec<_> = votes.into_iter().map(|(one, other)| (one.min(other), one.max(other))).collect();
        let by_all = votes.iter().any(|outer| votes.iter().any(|inner| outer.0 < inner.0 && inner.1 < outer.1));
        let with_roots: Vec<_> = votes.iter().map(|(source, target)| (*source, *target, 1)).collect();
        let export = read(export(&with_roots, &[]).as_bytes());
        prop_assert_eq!(export.data.0[&key(1)].surrounded.is_some(), by_all);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = serde_json::from_slice::<Export>(&bytes);
    }
}

#[test]
fn the_state_of_a_cometbft_signer_is_its_own_form() {
    let json: serde_json::Value = serde_json::from_str(&signer_state(42)).unwrap();
    assert_eq!(json, serde_json::json!({"height": "42", "round": 0, "step": 0}));
}
