//! Vectors of our own: what each signer has to do with a watermark. What is expected is written down here, by the rule
//! "nothing up to the mark, and above it all that contradicts nothing", and worked out by no signer.

use failover::domain::{
    PublicKey,
    chain::Epoch,
    interchange::{Export, Watermark},
};
use serde_json::{Value, json};

use super::vectors::{Block, BlockAttempt, Step, Vector, Vote, VoteAttempt};

pub const ROOT: &str = "0x4b363db94e286120d76eb905340fdd4e54bfe9f06bf33ff6cf5ad27f511bfe95";
/// The epoch of every mark, before it is merged.
pub const EPOCH: u64 = 1000;
pub const SLOTS: u64 = 32;

pub fn keys() -> [PublicKey; 2] {
    [1, 2].map(|number| PublicKey::new([number; 48]))
}

pub fn mark(epoch: u64) -> Watermark {
    Watermark::new(ROOT.parse().unwrap(), Epoch(epoch), SLOTS, keys()).unwrap()
}

pub fn file(mark: &Watermark) -> Value {
    serde_json::from_slice(&mark.bytes()).unwrap()
}

/// What home has signed: a vote in each epoch up to this one, and a block in it.
pub fn home(last: u64) -> Value {
    let root = |number: u64| format!("0x{number:064x}");
    let vote = |epoch: u64| {
        let (source, target) = ((epoch - 2).to_string(), epoch.to_string());
        json!({"source_epoch": source, "target_epoch": target, "signing_root": root(epoch)})
    };
    let votes: Vec<_> = (last - 20..=last).map(vote).collect();
    let block = json!({"slot": (last * SLOTS + 3).to_string(), "signing_root": root(last)});
    let entry =
        |key: PublicKey| json!({"pubkey": key.to_hex(), "signed_blocks": [block], "signed_attestations": votes});
    let metadata = json!({"interchange_format_version": "5", "genesis_validators_root": ROOT});
    json!({"metadata": metadata, "data": keys().map(entry)})
}

/// The mark, merged with what home has signed up to this epoch.
pub fn merged(last: u64) -> Watermark {
    let export: Export = serde_json::from_value(home(last)).unwrap();
    mark(EPOCH - 1).above(&export, SLOTS).unwrap()
}

/// As a mark would be without its rule.
pub fn without_roots(mark: &Watermark) -> Value {
    let mut json = file(mark);
    for entry in json["data"].as_array_mut().unwrap() {
        for list in ["signed_blocks", "signed_attestations"] {
            entry[list][0].as_object_mut().unwrap().remove("signing_root");
        }
    }
    json
}

/// A signing root that nothing else has.
fn other(number: u64) -> Option<String> {
    Some(format!("0xee{number:062x}"))
}

fn import(interchange: Value) -> Step {
    Step {
        should_succeed: true,
        contains_slashable_data: false,
        interchange,
        blocks: Vec::new(),
        attestations: Vec::new(),
    }
}

impl Step {
    fn slashable(mut self) -> Self {
        self.contains_slashable_data = true;
        self
    }

    /// Each key is asked for these votes (source, target), where `true` has to be signed.
    fn votes(mut self, votes: &[(u64, u64, bool)]) -> Self {
        for key in keys() {
            for (source, target, signs) in votes.iter().copied() {
                let vote = Vote { source, target, signing_root: other(source << 16 | target) };
                let (should_succeed, should_succeed_complete) = (signs, signs);
                let pubkey = key.to_hex();
                self.attestations.push(VoteAttempt { pubkey, vote, should_succeed, should_succeed_complete });
            }
        }
        self
    }

    fn blocks(mut self, blocks: &[(u64, bool)]) -> Self {
        for key in keys() {
            for (slot, signs) in blocks.iter().copied() {
                let block = Block { slot, signing_root: other(slot) };
                let (should_succeed, should_succeed_complete) = (signs, signs);
                self.blocks.push(BlockAttempt { pubkey: key.to_hex(), block, should_succeed, should_succeed_complete });
            }
        }
        self
    }

    /// Who keeps all messages signs this too.
    fn vote_of_the_complete(mut self, source: u64, target: u64) -> Self {
        self = self.votes(&[(source, target, false)]);
        let asked =
            self.attestations.iter_mut().filter(|asked| (asked.vote.source, asked.vote.target) == (source, target));
        asked.for_each(|asked| asked.should_succeed_complete = true);
        self
    }

    /// At a mark, and on from there.
    fn at(self, epoch: u64) -> Self {
        let next = (epoch + 1) * SLOTS;
        self.blocks(&[(0, false), (next - 1, false), (next, true), (next + 1, true)]).votes(&[
            (0, 1, false),
            (epoch - 1, epoch, false),
            (epoch, epoch, false),
            (epoch - 2, epoch + 1, false), // around the mark
            (0, epoch + 5, false),
            (epoch - 1, epoch + 1, true),
            (epoch, epoch + 1, false), // a second one for this target
            (epoch, epoch + 2, true),
            (epoch - 1, epoch + 3, false), // around the last one
            (epoch + 1, epoch + 3, true),
        ])
    }

    /// Below it too, where nothing but the mark was imported.
    fn around(self, epoch: u64) -> Self {
        self.blocks(&[(epoch * SLOTS, false)]).votes(&[(epoch - 2, epoch - 1, false)]).at(epoch)
    }

    /// On from [`Self::at`], and nothing of it again.
    fn after_that(self, epoch: u64) -> Self {
        let next = (epoch + 1) * SLOTS;
        let votes = [(epoch - 1, epoch + 1, true), (epoch, epoch + 2, true), (epoch + 1, epoch + 3, true)];
        let again = votes.map(|(source, target, _)| (source + 1, target, false));
        self.blocks(&[(next - 1, false), (next + 2, true)]).votes(&again).votes(&[
            (epoch - 1, epoch, false),
            (epoch, epoch + 4, false),
            (epoch + 2, epoch + 4, true),
        ])
    }
}

/// All of them, the same in each run.
pub fn watermark_vectors() -> Vec<Vector> {
    let fresh = || import(file(&mark(EPOCH)));
    let vector = |name: &str, steps: Vec<Step>| Vector {
        name: format!("watermark_{name}"),
        genesis_validators_root: ROOT.to_owned(),
        steps,
    };
    let mut all = vec![
        vector("fresh", vec![fresh().around(EPOCH)]),
        vector("repeated", vec![fresh(), fresh().around(EPOCH)]),
        vector("repeated_after_signing", vec![fresh().around(EPOCH), fresh().after_that(EPOCH)]),
        vector("equal_to_home", vec![import(home(EPOCH)), fresh().slashable()]),
        vector("repeated_without_roots", {
            let bare = import(without_roots(&mark(EPOCH)));
            vec![bare.clone(), bare.slashable()]
        }),
        vector("after_home_leaves_a_gap", {
            // Its oldest vote is what limits who keeps everything: only the merged file alone is to be imported.
            let later = fresh().vote_of_the_complete(EPOCH - 4, EPOCH - 3).at(EPOCH);
            vec![import(home(EPOCH - 5)), later]
        }),
        {
            let refused = Step { should_succeed: false, ..fresh() };
            let root = format!("0x{}", "11".repeat(32));
            Vector { genesis_validators_root: root, ..vector("of_another_chain", vec![refused]) }
        },
    ];
    for (name, last) in [("earlier", EPOCH - 5), ("the_same_epoch", EPOCH - 1)] {
        let both = merged(last);
        let Epoch(epoch) = both.epoch();
        let merged = || import(file(&both));
        all.extend([
            vector(&format!("merged_with_{name}"), vec![merged().around(epoch)]),
            vector(&format!("merged_with_{name}_repeated"), vec![merged(), merged().around(epoch)]),
            vector(&format!("merged_with_{name}_after_it"), vec![import(home(last)), merged().at(epoch)]),
            vector(&format!("merged_with_{name}_resumed"), {
                vec![import(home(last)), merged().at(epoch), merged().after_that(epoch)]
            }),
        ]);
    }
    all
}
