//! A real validator client in a place: its wallet and its database, filled and read by Prysm's own commands only.

use std::{
    ffi::OsString,
    fs,
    ops::Range,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::network::Net;
use crate::parts::part;

const WORDS: &str = "correct horse battery";

/// A key of the network: not secret, its number is all there is to it. SHA-256 of the number, modulo the curve's order.
fn secret(index: u64) -> String {
    const ORDER: [u8; 32] = [
        0x73, 0xed, 0xa7, 0x53, 0x29, 0x9d, 0x7d, 0x48, 0x33, 0x39, 0xd8, 0x08, 0x09, 0xa1, 0xd8, 0x05, 0x53, 0xbd,
        0xa4, 0x02, 0xff, 0xfe, 0x5b, 0xfe, 0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x01,
    ];
    let mut number = [0; 32];
    number[..8].copy_from_slice(&index.to_le_bytes());
    let mut value: [u8; 32] = Sha256::digest(number).into();
    value.reverse();
    while value >= ORDER {
        let mut borrow = false;
        for at in (0..32).rev() {
            let (less, first) = value[at].overflowing_sub(ORDER[at]);
            let (less, second) = less.overflowing_sub(u8::from(borrow));
            (value[at], borrow) = (less, first || second);
        }
    }
    value.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Runs one of Prysm's commands in a folder, which is its home as well, and looks for what it has to say: it ends with 0
/// whatever happened.
async fn prysm(folder: &Path, line: String, says: &'static str) -> anyhow::Result<String> {
    let folder = folder.to_owned();
    tokio::task::spawn_blocking(move || {
        let mut command = Command::new(part("prysm").join("validator"));
        command.args(line.split(' ')).arg("--accept-terms-of-use").current_dir(&folder).env("HOME", &folder);
        let output = command.stdin(Stdio::null()).output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        anyhow::ensure!(text.contains(says), "{line}: {}", text.lines().last().unwrap_or_default());
        Ok(text)
    })
    .await?
}

/// Where the operator keeps the keystores.
pub struct Safe {
    folder: PathBuf,
}

impl Safe {
    pub async fn of(folder: PathBuf, keys: &Range<u64>, public: &[String]) -> anyhow::Result<Self> {
        fs::create_dir_all(folder.join("NONE"))?;
        fs::write(folder.join("password"), WORDS)?;
        let passwords = "--wallet-password-file=password --wallet-dir=FIRST";
        for index in keys.clone() {
            fs::write(folder.join("number"), secret(index))?;
            let from = "--keys-dir=NONE --import-private-key-file=number --account-password-file=password";
            prysm(&folder, format!("accounts import {from} {passwords}"), "Imported account with public key").await?;
        }
        let all = public.join(",");
        let to = format!("--backup-dir=KEYS --backup-password-file=password --backup-public-keys={all}");
        prysm(&folder, format!("accounts backup {to} {passwords}"), "Successfully backed up").await?;
        let inside = folder.clone();
        let unpacked = tokio::task::spawn_blocking(move || {
            let mut unpack = Command::new(part("python").join("bin/python"));
            unpack.args(["-m", "zipfile", "-e", "KEYS/backup.zip", "KEYS"]).current_dir(inside).status()
        });
        anyhow::ensure!(unpacked.await??.success(), "the keystores cannot be unpacked");
        fs::remove_file(folder.join("KEYS/backup.zip"))?;
        Ok(Self { folder })
    }
}

/// One client: at home, or on the machine.
#[derive(Clone)]
pub struct Client {
    folder: PathBuf,
    /// The lane, a blank, and the place.
    pub mark: String,
    node: u8,
}

impl Client {
    pub fn new(folder: PathBuf, mark: String, node: u8) -> anyhow::Result<Self> {
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("password"), WORDS)?;
        Ok(Self { folder, mark, node })
    }

    pub async fn import_keys(&self, safe: &Safe) -> anyhow::Result<()> {
        let passwords = "--wallet-password-file=password --account-password-file=password";
        let keys = safe.folder.join("KEYS");
        let line = format!("accounts import --keys-dir={} --wallet-dir=WALLET {passwords}", keys.display());
        prysm(&self.folder, line, "Imported accounts [").await.map(drop)
    }

    /// While it does not run.
    pub async fn import_history(&self, file: &Path) -> anyhow::Result<()> {
        let line = format!(
            "slashing-protection-history import --datadir=DIR --slashing-protection-json-file={}",
            file.display()
        );
        prysm(&self.folder, line, "Slashing protection JSON successfully imported").await.map(drop)
    }

    /// The command that signs.
    pub fn command(&self, net: &Net) -> Vec<OsString> {
        let at = |name: &str| self.folder.join(name).into_os_string();
        let mut words = vec![part("prysm").join("validator").into_os_string()];
        let mut say = |option: &str, value: OsString| words.extend([option.into(), value]);
        say("--datadir", at("DIR"));
        say("--wallet-dir", at("WALLET"));
        say("--wallet-password-file", at("password"));
        say("--chain-config-file", net.folder().join("ethereum.yml").into());
        say("--beacon-rpc-provider", net.rpc(self.node).into());
        say("--graffiti", self.mark.clone().into());
        say("--rpc-port", crate::program::free_port().to_string().into());
        say("--http-port", crate::program::free_port().to_string().into());
        words.extend(["--accept-terms-of-use".into(), "--disable-monitoring".into()]);
        words
    }

    pub fn node(&self) -> u8 {
        self.node
    }

    /// What it says it has signed, by Prysm's own command. `None`: it has never run.
    pub async fn export(&self) -> anyhow::Result<Option<Value>> {
        export(&self.folder, "DIR").await
    }

    /// The keys that its database has silently taken out of use.
    pub async fn blacklisted(&self, root: &str) -> anyhow::Result<usize> {
        if !self.folder.join("DIR/validator.db").exists() {
            return Ok(0);
        }
        let vector = self.folder.join("no-steps.json");
        fs::write(&vector, json!({"genesis_validators_root": root, "steps": []}).to_string())?;
        let (folder, dir) = (self.folder.clone(), self.folder.join("DIR"));
        let output = tokio::task::spawn_blocking(move || {
            let mut command = Command::new(part("prysm-importer").join("importer"));
            command.args(["kv", "steps"]).arg(dir).arg(vector).current_dir(folder).output()
        });
        let output = output.await??;
        anyhow::ensure!(output.status.success(), "importer: {}", String::from_utf8_lossy(&output.stderr));
        let said: Value = serde_json::from_slice(&output.stdout)?;
        Ok(said["disabled"].as_array().map_or(0, Vec::len))
    }
}

pub async fn export(folder: &Path, dir: &str) -> anyhow::Result<Option<Value>> {
    if !folder.join(dir).join("validator.db").exists() {
        return Ok(None);
    }
    let out = tempfile::tempdir()?;
    let line = format!(
        "slashing-protection-history export --datadir={dir} --slashing-protection-export-dir={}",
        out.path().display()
    );
    prysm(folder, line, "Successfully wrote").await?;
    Ok(Some(serde_json::from_slice(&fs::read(out.path().join("slashing_protection.json"))?)?))
}

#[test]
fn the_keys_of_the_network_are_those_that_everybody_knows() {
    // The first one of the mocked start, https://github.com/ethereum/eth2.0-pm/tree/master/interop/mocked_start
    assert_eq!(secret(0), "25295f0d1d592a90b333e26e85149708208e9f8e8bc18f6c77bd62f8ad7a6866");
    assert_eq!(secret(1), "51d0b65185db6989ab0b560d6deed19c7ead0e24b9b6372cbecb1f26bdfad000");
}

#[tokio::test]
async fn keystores_and_a_watermark_reach_a_client_by_prysms_own_commands() {
    let folder = tempfile::tempdir().unwrap();
    let public = [
        "0xa99a76ed7796f7be22d5b7e85deeb7c5677e88e511e0b337618f8c4eb61349b4bf2d153f649f7b53359fe8b94a38e44c",
        "0xb89bebc699769726a318c8e9971bd3171297c61aea4a6578a7a4f94b547dcba5bac16a89108b6b6a1fe3695d1a874a0b",
    ]
    .map(String::from);
    let safe = Safe::of(folder.path().join("safe"), &(0..2), &public).await.unwrap();
    let client = Client::new(folder.path().join("home"), "1-gate home".into(), 1).unwrap();
    client.import_keys(&safe).await.unwrap();
    let root = format!("0x{}", "4b".repeat(32));
    assert_eq!((client.export().await.unwrap(), client.blacklisted(&root).await.unwrap()), (None, 0));
    let keys = public.iter().map(|key| key.parse().unwrap());
    let mark = failover::domain::interchange::Watermark::new(
        root.parse().unwrap(),
        failover::domain::chain::Epoch(7),
        super::network::SLOTS,
        keys,
    );
    let file = folder.path().join("watermark.json");
    fs::write(&file, mark.unwrap().bytes()).unwrap();
    client.import_history(&file).await.unwrap();
    let export = client.export().await.unwrap().unwrap();
    assert_eq!(export["data"].as_array().unwrap().len(), 2, "{export}");
    assert_eq!(client.blacklisted(&root).await.unwrap(), 0);
    // A second vote for the target that it has: what it does not say, and what the count has to show.
    let other = fs::read_to_string(&file).unwrap().replace("\"signing_root\": \"0x", "\"signing_root\": \"0xff");
    let other: String = other.lines().map(|line| cut_root(line) + "\n").collect();
    fs::write(&file, other).unwrap();
    client.import_history(&file).await.unwrap();
    assert_eq!(client.blacklisted(&root).await.unwrap(), 2);
}

/// A root that was made two digits longer, at its old length.
fn cut_root(line: &str) -> String {
    let Some((before, root)) = line.split_once("\"0xff") else { return line.to_owned() };
    let digits = root.trim_end_matches('"');
    format!("{before}\"0xff{}\"", &digits[..62])
}
