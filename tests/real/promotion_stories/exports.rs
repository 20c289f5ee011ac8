//! What all places of a lane say they have signed, as one: if nothing in the union is slashable, nothing is that they have
//! signed.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use failover::domain::{
    chain::Epoch,
    interchange::{Export, LintExpectation, LintFinding, lint},
};
use serde_json::{Value, json};

/// One file of all of them: each key once, each message once. What a watermark put into two places is one message.
pub fn united(exports: &[Value]) -> anyhow::Result<Value> {
    let metadata = exports.first().context("nobody has exported anything")?["metadata"].clone();
    let mut keys = BTreeMap::<String, [BTreeSet<String>; 2]>::new();
    for export in exports {
        anyhow::ensure!(export["metadata"] == metadata, "two chains: {metadata} and {}", export["metadata"]);
        for entry in export["data"].as_array().into_iter().flatten() {
            let key = entry["pubkey"].as_str().context("an entry without a key")?;
            let all = keys.entry(key.to_owned()).or_default();
            for (list, name) in all.iter_mut().zip(["signed_blocks", "signed_attestations"]) {
                list.extend(entry[name].as_array().into_iter().flatten().map(Value::to_string));
            }
        }
    }
    let list = |all: BTreeSet<String>| -> Vec<Value> {
        all.iter().map(|text| serde_json::from_str(text).expect("it was JSON")).collect()
    };
    let data = keys.into_iter().map(|(key, [blocks, votes])| {
        json!({"pubkey": key, "signed_blocks": list(blocks), "signed_attestations": list(votes)})
    });
    Ok(json!({"metadata": metadata, "data": data.collect::<Vec<_>>()}))
}

/// The pairs in it for which a key is slashed.
pub fn slashable(union: &Value, now: (Epoch, u64)) -> anyhow::Result<Vec<LintFinding>> {
    let export: Export = serde_json::from_value(union.clone())?;
    let expected = LintExpectation { now: Some(now), ..LintExpectation::default() };
    let findings = lint(&export, &expected).into_iter();
    Ok(findings
        .filter(|finding| {
            matches!(
                finding,
                LintFinding::DoubleVote { .. } | LintFinding::DoubleBlock { .. } | LintFinding::Surrounded { .. }
            )
        })
        .collect())
}

#[test]
fn the_union_shows_what_no_place_shows_by_itself() {
    let root = format!("0x{}", "4b".repeat(32));
    let key = format!("0x{}", "ab".repeat(48));
    let of = |votes: Value, blocks: Value| {
        json!({"metadata": {"interchange_format_version": "5", "genesis_validators_root": root},
               "data": [{"pubkey": key, "signed_blocks": blocks, "signed_attestations": votes}]})
    };
    let vote = |source: u64, target: u64, root: &str| {
        let (source, target) = (source.to_string(), target.to_string());
        json!([{"source_epoch": source, "target_epoch": target, "signing_root": root}])
    };
    let found = |one: Value, other: Value| {
        let union = united(&[one, other]).unwrap();
        assert_eq!(union["data"].as_array().unwrap().len(), 1);
        slashable(&union, (Epoch(100), 6)).unwrap().len()
    };
    let none = || json!([]);
    assert_eq!(found(of(vote(3, 4, "0x01"), none()), of(vote(4, 5, "0x02"), none())), 0);
    assert_eq!(found(of(vote(3, 4, "0x01"), none()), of(vote(3, 4, "0x01"), none())), 0, "one and the same");
    assert_eq!(found(of(vote(3, 4, "0x01"), none()), of(vote(3, 4, "0x02"), none())), 1, "a double vote");
    assert_eq!(found(of(vote(3, 8, "0x01"), none()), of(vote(4, 7, "0x02"), none())), 1, "a surrounded vote");
    let block = |root: &str| json!([{"slot": "31", "signing_root": root}]);
    assert_eq!(found(of(none(), block("0x01")), of(none(), block("0x02"))), 1, "two blocks");
}
