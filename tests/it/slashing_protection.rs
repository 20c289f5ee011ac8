//! Slashing protection by vectors: ours, and the public ones of EIP-3076 where somebody has them.
//!
//! `FAILOVER_EIP3076_VECTORS=DIR` is the folder `tests/generated` of `eth-clients/slashing-protection-interchange-tests`,
//! which has no licence and so is no part of this repository. `FAILOVER_WRITE_VECTORS=DIR` writes ours.

use std::{env, fs, path::PathBuf};

use failover::domain::{
    PublicKey,
    chain::Epoch,
    interchange::{Export, LintExpectation, LintFinding, Watermark, lint},
};
use serde_json::{Value, json};

#[path = "../common/eip3076.rs"]
mod eip3076;
#[path = "../common/vectors.rs"]
mod vectors;
#[path = "../common/watermark_vectors.rs"]
mod watermark_vectors;

use eip3076::{Memory, STRATEGIES, Signer};
use vectors::{Block, Strategy, Vector, Vote};
use watermark_vectors::watermark_vectors;

const SLOTS: u64 = 32;

/// The public ones; none where nobody has named a folder.
fn public() -> Vec<Vector> {
    let Some(folder) = env::var_os("FAILOVER_EIP3076_VECTORS").map(PathBuf::from) else {
        println!("left out: the public vectors (FAILOVER_EIP3076_VECTORS)");
        return Vec::new();
    };
    let files = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let files = files.filter(|file| file.extension().is_some_and(|extension| extension == "json"));
    let all: Vec<Vector> = files.map(|file| serde_json::from_slice(&fs::read(file).unwrap()).unwrap()).collect();
    assert!(all.len() >= 38, "{} has {} vectors", folder.display(), all.len());
    println!("{} public vectors", all.len());
    all
}

fn all() -> Vec<Vector> {
    watermark_vectors().into_iter().chain(public()).collect()
}

fn read(interchange: &Value) -> Export {
    serde_json::from_value(interchange.clone()).unwrap()
}

#[test]
fn the_reference_signer_answers_as_each_vector_says() {
    for vector in all() {
        for strategy in STRATEGIES {
            let mut signer = Signer::new(&vector.genesis_validators_root, strategy);
            for (at, step) in vector.steps.iter().enumerate() {
                assert_eq!(signer.run(step), step.expected(strategy), "{} step {at} {strategy:?}", vector.name);
            }
        }
    }
}

/// So what is expected of the linter is no invention of ours.
#[test]
fn a_step_contains_slashable_data_exactly_when_its_messages_contradict_each_other_or_what_is_known() {
    for vector in all() {
        let mut signer = Signer::new(&vector.genesis_validators_root, Strategy::Complete);
        for (at, step) in vector.steps.iter().enumerate() {
            let found = signer.finds_slashable(&step.interchange);
            assert_eq!(found, step.contains_slashable_data, "{} step {at}", vector.name);
            signer.run(step);
        }
    }
}

#[test]
fn the_linter_refuses_what_is_slashable_in_itself_or_of_another_chain_and_nothing_else() {
    let mut refused = 0;
    for vector in all() {
        let expected =
            LintExpectation { root: vector.genesis_validators_root.parse().ok(), ..LintExpectation::default() };
        for (at, step) in vector.steps.iter().enumerate() {
            let findings = lint(&read(&step.interchange), &expected);
            let what = format!("{} step {at}: {findings:?}", vector.name);
            let other_chain = findings.iter().any(|finding| matches!(finding, LintFinding::OtherChain { .. }));
            assert_eq!(other_chain, !step.should_succeed, "{what}");
            let slashable = findings.iter().any(|finding| {
                matches!(
                    finding,
                    LintFinding::DoubleVote { .. }
                        | LintFinding::DoubleBlock { .. }
                        | LintFinding::Surrounded { .. }
                        | LintFinding::Backwards { .. }
                )
            });
            let mut alone = Signer::new(&vector.genesis_validators_root, Strategy::Complete);
            alone.import(&step.interchange);
            // A key that is there twice is a finding by itself, whatever its entries say of each other.
            let twice = findings.iter().any(|finding| matches!(finding, LintFinding::Repeated { .. }));
            assert!(slashable == alone.is_slashable() || (twice && alone.is_slashable()), "{what}");
            assert!(!slashable || step.contains_slashable_data, "{what}");
            refused += usize::from(slashable || twice || other_chain);
        }
    }
    assert!(refused > 0, "the vectors have something to refuse");
}

/// Whatever a signer imported and signed: a new one, which has a mark merged with its export and nothing else, contradicts
/// it nowhere.
#[test]
fn a_mark_merged_with_what_a_vector_signed_leaves_nothing_slashable() {
    let mut asked = 0_u64;
    for vector in all() {
        let mut old = Signer::new(&vector.genesis_validators_root, Strategy::Complete);
        vector.steps.iter().for_each(|step| drop(old.run(step)));
        let Some((mark, epoch)) = mark_above(&vector, &old) else { continue };
        for strategy in STRATEGIES {
            let mut new = Signer::new(&vector.genesis_validators_root, strategy);
            assert!(new.import(&mark), "{}", vector.name);
            for (key, memory) in &old.keys {
                let what = format!("{} {strategy:?} {key}", vector.name);
                asked += nothing_contradicts(&new, key, memory, epoch, &what);
                let goes_on = Vote { source: epoch, target: epoch + 1, signing_root: None };
                assert!(new.clone().sign_vote(key, &goes_on), "{what}: it signs again");
                let block = Block { slot: (epoch + 1) * SLOTS, signing_root: None };
                assert!(new.clone().sign_block(key, &block), "{what}: it proposes again");
            }
        }
    }
    assert!(asked > 10_000, "{asked}");
}

/// The mark as a person would make it: of the last epoch in which anything was signed, merged with the export.
fn mark_above(vector: &Vector, old: &Signer) -> Option<(Value, u64)> {
    let numbers = |memory: &Memory| {
        let votes = memory.votes.iter().flat_map(|vote| [vote.source, vote.target]);
        votes.chain(memory.blocks.iter().map(|block| block.slot / SLOTS)).max()
    };
    let last = old.keys.values().filter_map(numbers).max()?.max(1);
    let data: Vec<_> = old
        .keys
        .iter()
        .map(
            |(key, memory)| json!({"pubkey": key, "signed_blocks": memory.blocks, "signed_attestations": memory.votes}),
        )
        .collect();
    let metadata =
        json!({"interchange_format_version": "5", "genesis_validators_root": vector.genesis_validators_root});
    let export = read(&json!({"metadata": metadata, "data": data}));
    let keys: Vec<PublicKey> = old.keys.keys().map(|key| key.parse().unwrap()).collect();
    let mark = Watermark::new(vector.genesis_validators_root.parse().unwrap(), Epoch(last), SLOTS, keys).unwrap();
    let mark = mark.above(&export, SLOTS).unwrap();
    let Epoch(epoch) = mark.epoch();
    assert!(old.keys.values().filter_map(numbers).all(|number| number < epoch), "{}: strictly above", vector.name);
    Some((serde_json::from_slice(&mark.bytes()).unwrap(), epoch))
}

/// Around each message of the old signer and around the mark.
fn nothing_contradicts(new: &Signer, key: &str, old: &Memory, epoch: u64, what: &str) -> u64 {
    let near = |number: u64| number.saturating_sub(2)..=number + 2;
    let mut asked = 0;
    for before in &old.votes {
        let sources = || near(before.source).chain(near(epoch));
        for source in sources() {
            for target in near(before.target).chain(near(epoch)) {
                // The old one's own root: a repetition of its vote would be no slashing, and is not signed either.
                let vote = Vote { source, target, signing_root: before.signing_root.clone() };
                let signs = new.clone().sign_vote(key, &vote);
                let bare = Vote { signing_root: None, ..vote };
                assert!(!signs || old.votes.iter().all(|before| !before.contradicts(&bare)), "{what}: {bare:?}");
                asked += 1;
            }
        }
    }
    for before in &old.blocks {
        for slot in near(before.slot).chain(near(epoch * SLOTS + SLOTS - 1)) {
            let block = Block { slot, signing_root: before.signing_root.clone() };
            let signs = new.clone().sign_block(key, &block);
            assert!(!signs || old.blocks.iter().all(|before| before.slot != slot), "{what}: {block:?}");
            asked += 1;
        }
    }
    asked
}

#[test]
fn our_vectors_are_the_same_in_each_run_and_in_the_public_form() {
    let ours = watermark_vectors();
    assert_eq!(ours, watermark_vectors());
    let names: std::collections::BTreeSet<_> = ours.iter().map(|vector| &vector.name).collect();
    assert_eq!(names.len(), ours.len(), "a file for each");
    for vector in &ours {
        let text = serde_json::to_string_pretty(vector).unwrap();
        assert_eq!(serde_json::from_str::<Vector>(&text).unwrap(), *vector);
        if let Some(folder) = env::var_os("FAILOVER_WRITE_VECTORS").map(PathBuf::from) {
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join(&vector.name).with_extension("json"), text + "\n").unwrap();
        }
    }
}
