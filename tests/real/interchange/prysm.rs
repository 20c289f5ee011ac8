//! The commands of docs/moving-keys.md for Prysm, run: its real program imports keystores and a watermark, and exports it
//! again.

use std::{
    collections::BTreeSet,
    fs,
    io::Read as _,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use failover::domain::{
    PublicKey,
    chain::Epoch,
    interchange::{Export, LintExpectation, Watermark, lint},
};
use tempfile::TempDir;

use super::{
    Importer,
    vectors::{Block, BlockAttempt, Step, Vector, Vote, VoteAttempt},
    watermark_vectors::{EPOCH, ROOT, SLOTS},
};
use crate::parts::part;

/// Everything it writes is in this folder, its home as well.
struct Machine(TempDir);

impl Machine {
    fn new() -> Self {
        let machine = Self(tempfile::tempdir().unwrap());
        fs::write(machine.path("password"), "correct horse battery").unwrap();
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A line as in the documentation; words in capitals and file names are of this folder.
    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(part("prysm").join("validator"));
        command.args(line.split(' ')).arg("--accept-terms-of-use").current_dir(self.0.path());
        command.env("HOME", self.0.path()).stdin(Stdio::null());
        command
    }

    /// What it says, in which this has to be: it ends with 0 whatever happened.
    fn run(&self, line: &str, says: &str) -> String {
        let output = self.command(line).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && text.contains(says), "{line}: {}", text.lines().last().unwrap_or_default());
        text
    }

    /// Keystores of two keys, which are no secret: a wallet of Prysm's takes the numbers 1 and 2, and hands out these.
    fn keystores(&self) -> BTreeSet<PublicKey> {
        let passwords = "--wallet-password-file=password --wallet-dir=FIRST";
        for number in 1..=2 {
            fs::write(self.path("number"), format!("{number:064x}")).unwrap();
            fs::create_dir_all(self.path("NONE")).unwrap();
            let from = "--keys-dir=NONE --import-private-key-file=number --account-password-file=password";
            self.run(&format!("accounts import {from} {passwords}"), "Imported account with public key");
        }
        let listed = self.run(&format!("accounts list {passwords}"), "Showing");
        let words = listed.split_whitespace().filter(|word| word.len() == 98);
        let keys: BTreeSet<PublicKey> = words.filter_map(|word| word.parse().ok()).collect();
        assert_eq!(keys.len(), 2, "{listed}");
        let list: Vec<_> = keys.iter().map(|key| key.to_hex()).collect();
        let to = format!("--backup-dir=KEYS --backup-password-file=password --backup-public-keys={}", list.join(","));
        self.run(&format!("accounts backup {to} {passwords}"), "Successfully backed up 2 accounts");
        let unpacked = Command::new(part("python").join("bin/python"))
            .args(["-m", "zipfile", "-e", "KEYS/backup.zip", "KEYS"])
            .current_dir(self.0.path())
            .status();
        assert!(unpacked.unwrap().success());
        fs::remove_file(self.path("KEYS/backup.zip")).unwrap();
        keys
    }

    fn export(&self, flag: &str) -> Export {
        let line = "slashing-protection-history export --datadir=DIR --slashing-protection-export-dir=OUT";
        self.run(&format!("{line}{flag}"), "Successfully wrote");
        let export = serde_json::from_slice(&fs::read(self.path("OUT/slashing_protection.json")).unwrap()).unwrap();
        fs::remove_dir_all(self.path("OUT")).unwrap();
        export
    }
}

const IMPORT: &str = "slashing-protection-history import --datadir=DIR --slashing-protection-json-file=watermark.json";

fn mark(keys: impl IntoIterator<Item = PublicKey>) -> Watermark {
    Watermark::new(ROOT.parse().unwrap(), Epoch(EPOCH), SLOTS, keys).unwrap()
}

/// Clean, and of each key just what the mark says.
fn is_the_mark(export: &Export, keys: &BTreeSet<PublicKey>, what: &str) {
    let expected = LintExpectation {
        root: ROOT.parse().ok(),
        keys: Some(keys.clone()),
        not_before: Some(Epoch(EPOCH)),
        now: Some((Epoch(EPOCH), SLOTS)),
    };
    assert_eq!(lint(export, &expected), [], "{what}");
    let (slot, source, target) = (Some((EPOCH + 1) * SLOTS - 1), Some(EPOCH - 1), Some(EPOCH));
    for (key, signed) in &export.data.0 {
        assert_eq!((signed.max_slot, signed.max_source, signed.max_target), (slot, source, target), "{what}: {key:?}");
    }
}

#[test]
fn prysm_imports_keystores_and_a_watermark_by_the_commands_of_the_documentation_and_exports_its_marks() {
    for flag in ["", " --enable-minimal-slashing-protection"] {
        let machine = Machine::new();
        let keys = machine.keystores();
        fs::write(machine.path("watermark.json"), mark(keys.clone()).bytes()).unwrap();
        machine.run(&format!("{IMPORT}{flag}"), "Slashing protection JSON successfully imported into DIR");
        let passwords = "--wallet-password-file=password --account-password-file=password";
        let keystores = format!("accounts import --keys-dir=KEYS --wallet-dir=WALLET {passwords}");
        machine.run(&keystores, "Imported accounts [");
        is_the_mark(&machine.export(flag), &keys, flag);
        // Again: the same, and no key more or less.
        machine.run(&format!("{IMPORT}{flag}"), "Slashing protection JSON successfully imported into DIR");
        is_the_mark(&machine.export(flag), &keys, flag);
    }
}

/// The documentation says so: an exit code of 0 is no proof that anything was imported.
#[test]
fn prysm_ends_with_0_and_has_imported_nothing_where_its_terms_were_not_accepted() {
    let machine = Machine::new();
    fs::write(machine.path("watermark.json"), mark([PublicKey::new([1; 48])]).bytes()).unwrap();
    let mut command = Command::new(part("prysm").join("validator"));
    command.args(IMPORT.split(' ')).current_dir(machine.0.path()).env("HOME", machine.0.path()).stdin(Stdio::null());
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("--accept-terms-of-use"), "{text}");
    assert!(!text.contains("successfully imported") && !machine.path("DIR/validator.db").exists(), "{text}");
}

/// A database is written key by key: what a kill leaves is some keys with blocks, some with votes, and some with nothing.
#[test]
fn prysm_takes_the_same_file_again_after_an_import_that_was_killed_and_signs_only_above_it() {
    const KEYS: u8 = 40;
    let keys: BTreeSet<_> = (1..=KEYS).map(|number| PublicKey::new([number; 48])).collect();
    let (blocks, votes) = ("Importing proposals for validator public key", "Importing attesting history");
    let (both, minimal) = ("Save blocks proposals and attestations", " --enable-minimal-slashing-protection");
    let half = usize::from(KEYS) / 2;
    for (flag, line, times) in [
        ("", blocks, 1),
        ("", blocks, half),
        ("", votes, 1),
        ("", votes, half),
        (minimal, both, 1),
        (minimal, both, half),
    ] {
        let what = format!("killed at {line} {times}");
        let machine = Machine::new();
        fs::write(machine.path("watermark.json"), mark(keys.clone()).bytes()).unwrap();
        let import = format!("{IMPORT}{flag}");
        let signal = killed_at(&mut machine.command(&import), line, times);
        assert_eq!(signal, Some(9), "{what}: it had ended before");
        machine.run(&import, "Slashing protection JSON successfully imported into DIR");
        is_the_mark(&machine.export(flag), &keys, &what);
        let database = if flag.is_empty() { "kv" } else { "minimal" };
        signs_only_above(database, &machine.path("DIR"), &keys, &what);
    }
}

/// The signal that ended it, sent as soon as it has said a line so many times.
fn killed_at(command: &mut Command, line: &str, times: usize) -> Option<i32> {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let (mut said, mut chunk) = (String::new(), [0; 256]);
    while said.matches(line).count() < times {
        match stdout.read(&mut chunk).unwrap() {
            0 => break,
            read => said.push_str(&String::from_utf8_lossy(&chunk[..read])),
        }
    }
    child.kill().unwrap();
    child.wait().unwrap().signal()
}

fn signs_only_above(database: &'static str, folder: &Path, keys: &BTreeSet<PublicKey>, what: &str) {
    let next = (EPOCH + 1) * SLOTS;
    let block = |key: &PublicKey, slot: u64, signs| BlockAttempt {
        pubkey: key.to_hex(),
        block: Block { slot, signing_root: None },
        should_succeed: signs,
        should_succeed_complete: signs,
    };
    let vote = |key: &PublicKey, source, target, signs| VoteAttempt {
        pubkey: key.to_hex(),
        vote: Vote { source, target, signing_root: None },
        should_succeed: signs,
        should_succeed_complete: signs,
    };
    let mark = mark(keys.iter().copied());
    let step = Step {
        should_succeed: true,
        contains_slashable_data: false,
        interchange: serde_json::from_slice(&mark.bytes()).unwrap(),
        blocks: keys.iter().flat_map(|key| [block(key, next - 1, false), block(key, next, true)]).collect(),
        attestations: keys
            .iter()
            .flat_map(|key| [vote(key, EPOCH - 1, EPOCH, false), vote(key, EPOCH, EPOCH + 1, true)])
            .collect(),
    };
    let expected = step.expected(super::Strategy::Complete);
    let vector = Vector { name: what.into(), genesis_validators_root: ROOT.into(), steps: vec![step] };
    let mut answers = Importer::Prysm(database).answer(folder, &vector);
    assert_eq!(answers.disabled, [] as [&str; 0], "{what}");
    assert_eq!(answers.steps.remove(0).into_expected(), expected, "{what}");
}
