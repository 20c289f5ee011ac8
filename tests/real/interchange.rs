//! Watermarks in the hands of real importers and signers, Prysm's and Lodestar's: which keys they silently take out of
//! use, and what they would still sign.

mod prysm;
#[path = "../common/vectors.rs"]
mod vectors;
#[path = "../common/watermark_vectors.rs"]
mod watermark_vectors;

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use failover::domain::chain::Epoch;
use serde_json::Value;
use tempfile::TempDir;

use crate::parts::part;
use vectors::{Step, Strategy, Vector, Vote, VoteAttempt};
use watermark_vectors::{EPOCH, file, home, keys, mark, merged, watermark_vectors, without_roots};

/// The database that Prysm makes by default, and the one of a file for each key.
const DATABASES: [&str; 2] = ["kv", "minimal"];

#[derive(serde::Deserialize)]
struct Imported {
    /// An error for each file; empty when it was taken.
    refused: Vec<String>,
    disabled: Vec<String>,
    /// Every vote that would be signed, source and target.
    signs: BTreeMap<String, Vec<(u64, u64)>>,
}

/// What an importer answers to a vector.
#[derive(serde::Deserialize)]
struct Answers {
    steps: Vec<Answer>,
    disabled: Vec<String>,
}

#[derive(Debug, serde::Deserialize)]
struct Answer {
    refused: String,
    blocks: Vec<bool>,
    attestations: Vec<bool>,
}

impl Answer {
    fn into_expected(self) -> (bool, Vec<bool>, Vec<bool>) {
        (self.refused.is_empty(), self.blocks, self.attestations)
    }
}

#[derive(Clone, Copy, Debug)]
enum Importer {
    Prysm(&'static str),
    Lodestar,
}

impl Importer {
    fn command(self) -> Command {
        match self {
            Self::Prysm(database) => {
                let mut command = Command::new(part("prysm-importer").join("importer"));
                command.arg(database);
                command
            }
            Self::Lodestar => {
                let mut command = Command::new("node");
                command.arg(part("lodestar").join("importer.js"));
                command
            }
        }
    }

    /// A vector, with the database in this folder.
    fn answer(self, database: &Path, vector: &Vector) -> Answers {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), serde_json::to_vec(vector).unwrap()).unwrap();
        last_line(self.command().arg("steps").arg(database).arg(file.path()))
    }
}

/// The JSON that a command ends with: Prysm draws its progress there too.
fn last_line<T: serde::de::DeserializeOwned>(command: &mut Command) -> T {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let last = output.stdout.split(|byte| *byte == b'\n').rev().find(|line| !line.is_empty()).unwrap();
    serde_json::from_slice(last).unwrap()
}

struct Desk(TempDir);

impl Desk {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, content: &Value) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, content.to_string()).unwrap();
        path
    }

    /// Every file, one after another, into one new database of Prysm's.
    fn import(database: &'static str, files: &[&PathBuf]) -> Imported {
        last_line(Importer::Prysm(database).command().arg(EPOCH.to_string()).args(files))
    }
}

/// Every key is in use, and signs exactly what is above the mark.
fn signs_above(imported: &Imported, epoch: u64, what: &str) {
    assert_eq!(imported.disabled, [] as [&str; 0], "{what}");
    for key in keys() {
        let signs = &imported.signs[&key.to_hex()];
        assert!(signs.iter().all(|(source, target)| *source >= epoch - 1 && *target > epoch), "{what}: {signs:?}");
        assert!(signs.contains(&(epoch, epoch + 2)), "{what}: it signs again: {signs:?}");
    }
}

#[test]
fn prysm_signs_above_the_watermark_only_and_no_key_is_disabled() {
    let desk = Desk::new();
    // The file that is handed out again is the same.
    let (once, again) = (desk.write("mark.json", &file(&mark(EPOCH))), desk.write("again.json", &file(&mark(EPOCH))));
    for database in DATABASES {
        for files in [&[&once][..], &[&once, &again]] {
            let imported = Desk::import(database, files);
            assert!(imported.refused.iter().all(String::is_empty), "{database}: {:?}", imported.refused);
            signs_above(&imported, EPOCH, database);
        }
    }
}

#[test]
fn prysm_signs_above_a_mark_that_is_merged_with_homes_export() {
    let desk = Desk::new();
    for last in [EPOCH - 5, EPOCH - 1] {
        let merged = merged(last);
        let Epoch(epoch) = merged.epoch();
        let merged = desk.write("merged.json", &file(&merged));
        for database in DATABASES {
            signs_above(&Desk::import(database, &[&merged]), epoch, database);
            // Where home's own history is there already.
            let home = desk.write("home.json", &home(last));
            assert_eq!(Desk::import(database, &[&home, &merged]).disabled, [] as [&str; 0], "{database}");
        }
    }
}

/// So a mark is strictly above, and has a root that makes it the same again.
#[test]
fn without_these_rules_prysm_takes_the_keys_out_of_use_without_a_word() {
    let desk = Desk::new();
    let (mark, home) = (desk.write("mark.json", &file(&mark(EPOCH))), desk.write("home.json", &home(EPOCH)));
    let bare = desk.write("bare.json", &without_roots(&watermark_vectors::mark(EPOCH)));
    for files in [[&home, &mark], [&bare, &bare]] {
        let imported = Desk::import("kv", &files);
        assert_eq!((imported.refused, imported.disabled.len()), (vec![String::new(), String::new()], 2));
    }
}

/// Ours, and the public ones where somebody has them.
fn vectors() -> Vec<Vector> {
    let public = env::var_os("FAILOVER_EIP3076_VECTORS").map(|folder| fs::read_dir(folder).unwrap());
    let public = public.into_iter().flatten().map(|entry| fs::read(entry.unwrap().path()).unwrap());
    watermark_vectors().into_iter().chain(public.map(|text| serde_json::from_slice(&text).unwrap())).collect()
}

#[test]
fn prysm_answers_as_every_vector_says_and_disables_keys_only_where_one_contradicts_itself() {
    for vector in vectors() {
        for (database, strategy) in [("kv", Strategy::Complete), ("minimal", Strategy::Minimal)] {
            let folder = tempfile::tempdir().unwrap();
            let answers = Importer::Prysm(database).answer(folder.path(), &vector);
            let what = format!("{} {database}", vector.name);
            for (step, answer) in vector.steps.iter().zip(answers.steps) {
                assert_eq!(answer.into_expected(), step.expected(strategy), "{what}");
            }
            let contradicts = vector.steps.iter().any(|step| step.contains_slashable_data);
            assert!(contradicts || answers.disabled.is_empty(), "{what}: {:?}", answers.disabled);
            // The small database has no such list.
            let ours = vector.name.starts_with("watermark_") && database == "kv";
            assert!(!(ours && contradicts) || answers.disabled.len() == 2, "{what}: {:?}", answers.disabled);
        }
    }
}

/// Where its two ways of remembering differ, Lodestar's is one of them.
#[test]
fn lodestar_answers_as_our_vectors_say() {
    for vector in watermark_vectors() {
        let folder = tempfile::tempdir().unwrap();
        let answers = Importer::Lodestar.answer(folder.path(), &vector);
        for (step, answer) in vector.steps.iter().zip(answers.steps) {
            let answer = answer.into_expected();
            let expected = [Strategy::Complete, Strategy::Minimal].map(|strategy| step.expected(strategy));
            assert!(expected.contains(&answer), "{}: {answer:?}, not {expected:?}", vector.name);
        }
    }
}

/// So only the merged file is imported, and nothing else: of two files the later one's oldest vote is the limit.
#[test]
fn lodestar_forgets_what_the_mark_forbids_when_homes_older_export_comes_after_it() {
    let import = |interchange| Step {
        should_succeed: true,
        contains_slashable_data: false,
        interchange,
        blocks: Vec::new(),
        attestations: Vec::new(),
    };
    let below = VoteAttempt {
        pubkey: keys()[0].to_hex(),
        vote: Vote { source: EPOCH - 4, target: EPOCH - 3, signing_root: None },
        should_succeed: false,
        should_succeed_complete: false,
    };
    let signs = |files: &[Value]| {
        let mut steps: Vec<_> = files.iter().cloned().map(import).collect();
        steps.last_mut().unwrap().attestations.push(below.clone());
        let genesis_validators_root = watermark_vectors::ROOT.to_owned();
        let vector = Vector { name: "order".into(), genesis_validators_root, steps };
        let folder = tempfile::tempdir().unwrap();
        Importer::Lodestar.answer(folder.path(), &vector).steps.last().unwrap().attestations[0]
    };
    let (mark, home) = (file(&mark(EPOCH)), home(EPOCH - 5));
    assert!(!signs(std::slice::from_ref(&mark)) && !signs(&[home.clone(), mark.clone()]), "below the mark");
    assert!(signs(&[mark, home]), "the gap is open");
    assert!(!signs(&[file(&merged(EPOCH - 5))]), "and with one file it is not");
}
