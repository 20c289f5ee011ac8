//! Files of slashing protection: made and judged by the program, offline and by a beacon node.

use std::{
    fs::{self, File},
    io::{BufWriter, Write as _},
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use failover::{
    domain::Time,
    sandbox::beacon::{Condition, FakeBeacon, FakeChain, FakeChainConfig, Fault},
};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::rig::{Ended, House, failover};

const ROOT: &str = "0x4b363db94e286120d76eb905340fdd4e54bfe9f06bf33ff6cf5ad27f511bfe95";

struct Desk(TempDir);

impl Desk {
    fn new() -> Self {
        let desk = Self(tempfile::tempdir().unwrap());
        desk.write("keys", &format!("# two keys\n{}\n\n{}  # the second\n", key(1), key(2)));
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// The program in this folder: a word with `@` names a file of it.
    fn run(&self, line: &str) -> Ended {
        let here = |word: &str| word.strip_prefix('@').map(|name| self.path(name).to_str().unwrap().to_owned());
        let words: Vec<_> = line.split(' ').map(|word| here(word).unwrap_or_else(|| word.to_owned())).collect();
        failover(&words.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn mark(&self, out: &str, epoch: u64, more: &str) -> Ended {
        let line = format!(
            "watermark --genesis-root {ROOT} --public-keys-file @keys --epoch {epoch} --slots-per-epoch 4 --out @{out}"
        );
        self.run(&format!("{line}{more}"))
    }
}

fn key(number: u8) -> String {
    format!("0x{}", format!("{number:02x}").repeat(48))
}

fn export(epoch: u64) -> Value {
    let entry = |number| {
        json!({"pubkey": key(number), "signed_blocks": [], "signed_attestations":
            [{"source_epoch": (epoch - 1).to_string(), "target_epoch": epoch.to_string()}]})
    };
    let metadata = json!({"interchange_format_version": "5", "genesis_validators_root": ROOT});
    json!({"metadata": metadata, "data": [entry(1), entry(2)]})
}

#[test]
fn a_watermark_is_made_offline_and_never_written_over_another_file() {
    let desk = Desk::new();
    let made = desk.mark("mark", 9, "");
    assert_eq!(made.code, 0, "{}", made.err);
    assert!(made.out.contains("2 keys sign nothing up to epoch 9. Import it once"), "{}", made.out);
    let first = desk.read("mark");
    assert_eq!((desk.mark("mark", 9, "").code, desk.mark("again", 9, "").code), (0, 0), "the same is no error");
    assert_eq!((desk.read("mark"), desk.read("again")), (first.clone(), first.clone()));
    let other = desk.mark("mark", 10, "");
    assert!(other.code == 1 && other.err.contains("is there already and says something else"), "{}", other.err);
    assert_eq!(desk.read("mark"), first);
    assert_eq!(desk.run("lint-interchange @mark --public-keys-file @keys --not-before-epoch 8 --json").code, 0);
}

#[test]
fn a_merged_watermark_is_above_what_home_exported() {
    let desk = Desk::new();
    desk.write("home", &export(9).to_string());
    assert_eq!(desk.mark("mark", 9, " --merge @home").code, 0);
    assert!(desk.read("mark").contains(r#""target_epoch": "10""#));
    desk.write("later", &export(11).to_string());
    let refused = desk.mark("other", 9, " --merge @later");
    assert!(refused.code == 1 && refused.err.contains("has signed for epoch 11"), "{}", refused.err);
    assert!(!desk.path("other").exists());
}

#[test]
fn an_export_is_refused_with_3_and_everything_that_is_wrong_with_it() {
    let desk = Desk::new();
    desk.write("good", &export(9).to_string());
    let lint = |desk: &Desk, name: &str, more: &str| {
        desk.run(&format!("lint-interchange @{name} --public-keys-file @keys --genesis-root {ROOT}{more}"))
    };
    let clean = lint(&desk, "good", " --not-before-epoch 9 --now-epoch 9");
    assert!(clean.code == 0 && !clean.out.contains("not checked"), "{}", clean.out);
    let unknown = lint(&desk, "good", "");
    assert!(unknown.code == 0 && unknown.out.contains("not checked: that it is not too old"), "{}", unknown.out);

    let mut bad = export(9);
    bad["metadata"]["interchange_format_version"] = "4".into();
    bad["data"][1]["pubkey"] = key(3).into();
    desk.write("bad", &bad.to_string());
    let refused = lint(&desk, "bad", " --not-before-epoch 10");
    assert_eq!(refused.code, 3);
    for words in ["version 4", "is not one of this validator's keys", "is missing", "too old", "4 findings"] {
        assert!(refused.out.contains(words), "{words}: {}", refused.out);
    }
    let json: Value = serde_json::from_str(&lint(&desk, "bad", " --json").out).unwrap();
    assert_eq!((&json["clean"], json["findings"].as_array().unwrap().len()), (&false.into(), 3), "{json}");
}

#[test]
fn what_cannot_be_read_is_one_sentence_with_the_remedy_and_1() {
    let desk = Desk::new();
    desk.write("half", &export(9).to_string()[..200]);
    desk.write("numbers", &export(9).to_string().replace(r#""9""#, r#""nine""#));
    desk.write("list", "[]");
    desk.write("private", &format!("0x{}", "22".repeat(32)));
    for name in ["half", "numbers", "list", "absent"] {
        let refused = desk.run(&format!("lint-interchange @{name}"));
        assert_eq!((refused.code, refused.err.trim().lines().count()), (1, 1), "{name}: {}", refused.err);
    }
    let refused = desk.run("lint-interchange @half --public-keys-file @private");
    assert!(refused.code == 1 && !refused.err.contains(&"2".repeat(12)), "it repeats no private key: {}", refused.err);
    let refused = desk.run("lint-interchange @half --genesis-root 0x12");
    assert!(refused.code == 2 && refused.err.contains("64 hexadecimal digits"), "{}", refused.err);
    assert_eq!(desk.run("watermark --out @x").code, 1);
}

/// An export with so many keys, each with so many votes, and a list of these keys.
fn write_huge(desk: &Desk, keys: u32, votes: u64) -> u64 {
    let key = |number: u32| format!("0x{number:096x}");
    desk.write("keys", &(1..=keys).map(|number| key(number) + "\n").collect::<String>());
    let mut file = BufWriter::new(File::create(desk.path("huge")).unwrap());
    write!(file, r#"{{"metadata":{},"data":["#, export(9)["metadata"]).unwrap();
    for number in 1..=keys {
        let comma = if number == 1 { "" } else { "," };
        write!(file, r#"{comma}{{"pubkey":"{}","signed_blocks":[],"signed_attestations":["#, key(number)).unwrap();
        for epoch in 1..=votes {
            let comma = if epoch == 1 { "" } else { "," };
            let (source, root) = (epoch - 1, format!("{epoch:064x}"));
            write!(file, r#"{comma}{{"source_epoch":"{source}","target_epoch":"{epoch}","signing_root":"0x{root}"}}"#)
                .unwrap();
        }
        file.write_all(b"]}").unwrap();
    }
    file.write_all(b"]}").unwrap();
    file.into_inner().unwrap().metadata().unwrap().len()
}

#[test]
fn a_large_export_is_judged_and_merged_whole() {
    let desk = Desk::new();
    assert!(write_huge(&desk, 2, 30_000) > 7_000_000);
    let lint =
        |epoch: u32| desk.run(&format!("lint-interchange @huge --public-keys-file @keys --not-before-epoch {epoch}"));
    let (clean, old) = (lint(30_000), lint(30_001));
    assert_eq!((clean.code, clean.err.as_str(), old.code), (0, "", 3), "{}", clean.out);
    assert_eq!(desk.mark("mark", 30_000, " --merge @huge").code, 0);
    assert_eq!(desk.read("mark").matches(r#""target_epoch": "30001""#).count(), 2);
}

/// Far more than a house ever exports, in a fraction of what the file would take as a tree.
#[test]
#[ignore = "half a minute without optimisation"]
fn an_export_of_100_megabytes_is_judged_as_a_stream() {
    let desk = Desk::new();
    assert!(write_huge(&desk, 400, 2000) > 100_000_000);
    // Address space, most of which is the room that threads reserve.
    let mut command = Command::new("sh");
    command.args(["-c", r#"ulimit -v 400000 && exec "$@""#, "sh", env!("CARGO_BIN_EXE_failover"), "lint-interchange"]);
    command
        .arg(desk.path("huge"))
        .arg("--public-keys-file")
        .arg(desk.path("keys"))
        .args(["--not-before-epoch", "2000"]);
    let clean: Ended = command.stdin(Stdio::null()).output().unwrap().into();
    assert_eq!((clean.code, clean.err.as_str()), (0, ""), "{}", clean.out);
}

/// One sentence for each fault, with what to do; and whether the file can be merged, which needs its maxima only.
#[test]
fn whatever_is_wrong_with_an_export_is_one_sentence_with_the_remedy_and_no_watermark_trusts_it() {
    let desk = Desk::new();
    let change = |with: &dyn Fn(&mut Value)| {
        let mut changed = export(9);
        with(&mut changed);
        changed
    };
    let vote = |source: &str, target: &str, root: u8| {
        let root = format!("0x{}", format!("{root:02x}").repeat(32));
        json!({"source_epoch": source, "target_epoch": target, "signing_root": root})
    };
    let votes = |votes: Value| change(&|export| export["data"][0]["signed_attestations"] = votes.clone());
    let more = |export: &mut Value, entry: Value| export["data"].as_array_mut().unwrap().push(entry);
    let other_chain = format!("0x{}", "11".repeat(32));
    let not_merged = 1;
    for (name, file, finding, merged) in [
        (
            "root",
            change(&|e| e["metadata"]["genesis_validators_root"] = json!(other_chain)),
            "the right file",
            not_merged,
        ),
        ("no-root", change(&|e| e["metadata"]["genesis_validators_root"] = json!("0x")), "export again", not_merged),
        (
            "unknown",
            change(&|e| more(e, json!({"pubkey": key(3), "signed_attestations": [vote("8", "9", 1)]}))),
            "not one of this validator's keys",
            not_merged,
        ),
        ("future", votes(json!([vote("8", "11", 1)])), "for epoch 11, and it is epoch 9", not_merged),
        ("missing", change(&|e| drop(e["data"].as_array_mut().unwrap().pop())), "is missing", 0),
        ("twice", change(&|e| more(e, e["data"][1].clone())), "is there 2 times", 0),
        ("double", votes(json!([vote("8", "9", 1), vote("8", "9", 2)])), "two votes for epoch 9", 0),
        ("surrounded", votes(json!([vote("3", "9", 1), vote("4", "5", 2), vote("8", "9", 1)])), "surrounds", 0),
        ("numbers", votes(json!([{"source_epoch": 8, "target_epoch": "9"}])), "1 numbers without quotes", 0),
        ("old", change(&|e| e["data"][1]["signed_attestations"] = json!([vote("1", "2", 1)])), "too old", 0),
    ] {
        desk.write(name, &file.to_string());
        let known = format!("--public-keys-file @keys --genesis-root {ROOT} --not-before-epoch 9 --now-epoch 9");
        let refused = desk.run(&format!("lint-interchange @{name} {known} --slots-per-epoch 4"));
        let findings: Vec<_> = refused.out.lines().filter(|line| line.starts_with('✗')).collect();
        assert_eq!((refused.code, findings.len(), refused.err.as_str()), (3, 1, ""), "{name}: {}", refused.out);
        assert!(findings[0].contains(finding), "{name}: {}", findings[0]);
        let merge = desk.mark(&format!("{name}-mark"), 9, &format!(" --merge @{name}"));
        assert_eq!(merge.code, merged, "{name}: {}", merge.err);
        assert_eq!(desk.path(&format!("{name}-mark")).exists(), merged == 0, "{name}");
        let lines = merge.err.trim().lines().count();
        assert!(merged == 0 || (lines == 1 && merge.err.contains("take the right export")), "{name}: {}", merge.err);
    }
}

/// Another house's file, with nothing but keys that are not ours.
#[test]
fn a_thousand_findings_are_fifty_lines_and_all_of_them_as_json() {
    let desk = Desk::new();
    let entry = |number: u32| json!({"pubkey": format!("0x{number:096x}"), "signed_attestations": []});
    let data: Vec<_> = (1..=1000).map(entry).collect();
    desk.write("other", &json!({"metadata": export(9)["metadata"], "data": data}).to_string());
    let refused = desk.run("lint-interchange @other --public-keys-file @keys");
    assert_eq!(refused.code, 3);
    assert_eq!(refused.out.lines().filter(|line| line.starts_with('✗')).count(), 51, "{}", refused.out);
    assert!(refused.out.contains("✗ 952 more of them (--json has all)"), "{}", refused.out);
    let json: Value =
        serde_json::from_str(&desk.run("lint-interchange @other --public-keys-file @keys --json").out).unwrap();
    assert_eq!(json["findings"].as_array().unwrap().len(), 1002);
}

#[test]
fn what_is_no_export_at_all_is_refused_before_it_is_read() {
    let desk = Desk::new();
    File::create(desk.path("disk")).unwrap().set_len((1 << 30) + 1).unwrap();
    let refused = desk.run("lint-interchange @disk");
    assert!(refused.code == 1 && refused.err.contains("no export is; name the right file"), "{}", refused.err);
    for file in ["/dev/zero", "/"] {
        let refused = desk.run(&format!("lint-interchange {file}"));
        assert_eq!((refused.code, refused.err.trim().lines().count()), (1, 1), "{}", refused.err);
        let merge = desk.mark("mark", 9, &format!(" --merge {file}"));
        assert!(merge.code == 1 && !desk.path("mark").exists(), "{}", merge.err);
    }
}

#[test]
fn a_cometbft_signer_continues_above_the_chain() {
    let desk = Desk::new();
    assert_eq!(desk.run("watermark --height 100 --out @state").code, 0);
    let state: Value = serde_json::from_str(&desk.read("state")).unwrap();
    assert_eq!(state, json!({"height": "105", "round": 0, "step": 0}));
    assert_eq!(desk.run("watermark --height 18446744073709551615 --out @other").code, 1);
}

struct Watched {
    desk: Desk,
    house: House,
    node: FakeBeacon,
    chain: FakeChain,
}

impl Watched {
    async fn start() -> Self {
        let (slot, slots_per_epoch) = (Duration::from_secs(60), 4);
        let chain = FakeChain::new(FakeChainConfig {
            validators: 8,
            slot,
            slots_per_epoch,
            // In the middle of epoch 10, so that it does not end meanwhile.
            genesis_time: Time::now().as_second() - 240 * 10 - 120,
        });
        let node = chain.node().await.unwrap();
        let house = House::new("");
        house.write(&format!(
            "site: home\nledger: {{sqlite: {{path: l}}}}\nethereum: {{beacon_nodes: [{{name: home, url: '{}'}}]}}\n\
             validators: [{{name: eth-0, kind: ethereum, public_keys: ['{}'], process: {{url: 'http://127.0.0.1:1'}}}}]\n",
            node.url(),
            chain.public_key(3)
        ));
        Self { desk: Desk::new(), house, node, chain }
    }

    fn mark(&self, out: &str) -> Ended {
        let out = self.desk.path(out);
        tokio::task::block_in_place(|| self.house.run(&["watermark", "eth-0", "--out", out.to_str().unwrap()]))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn by_a_beacon_node_the_watermark_is_the_epoch_after_the_present_one() {
    let watched = Watched::start().await;
    let made = watched.mark("mark");
    assert_eq!(made.code, 0, "{}", made.err);
    let mark: Value = serde_json::from_str(&watched.desk.read("mark")).unwrap();
    assert_eq!(mark["data"][0]["pubkey"], watched.chain.public_key(3));
    assert_eq!(mark["data"][0]["signed_attestations"][0]["target_epoch"], "11");
    assert_eq!(mark["metadata"]["genesis_validators_root"], watched.chain.genesis_root());
    let file = watched.desk.path("mark");
    let linted = tokio::task::block_in_place(|| {
        watched.house.run(&["lint-interchange", file.to_str().unwrap(), "--validator", "eth-0"])
    });
    assert!(linted.code == 3 && linted.out.contains("has signed for epoch 11, and it is epoch 10"), "{}", linted.out);
}

/// An epoch that is too low would be no protection.
#[tokio::test(flavor = "multi_thread")]
async fn by_a_node_that_lags_or_lies_there_is_no_watermark() {
    let watched = Watched::start().await;
    let well = Condition::default;
    for condition in [
        Condition { syncing: true, ..well() },
        Condition { behind: 4, ..well() },
        Condition { behind: 4, believes_in_step: true, ..well() },
        Condition { optimistic: true, ..well() },
        Condition { fault: Some(Fault::Html), ..well() },
    ] {
        watched.node.change(|node| *node = condition);
        let refused = watched.mark("mark");
        assert_eq!(refused.code, 1);
        assert!(refused.err.contains("no beacon node can say which epoch it is"), "{}", refused.err);
    }
    assert!(!watched.desk.path("mark").exists());
}
