//! The rules of the code that no compiler checks: who may import whom, how long a file may be, one name for one thing.
//!
//! It reads text, not types: comments and strings are blanked, then every path is followed to the module it names. What
//! a macro of another crate generates is not seen.

mod paths;
mod source;

use std::collections::{BTreeMap, BTreeSet};

use source::{Source, tree};

/// What each layer may import from the others. Whatever is not listed here (`assembly`, `cli`, `main`, `sandbox`) puts the
/// parts together and may import everything.
const LAYERS: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("files", &[]),
    ("records", &["domain"]),
    ("ports", &["domain"]),
    ("simulate", &["domain"]),
    ("raw_clock", &[]),
    ("log_lines", &["domain"]),
    ("runtime", &["domain", "files", "ports", "raw_clock", "records"]),
    ("config", &["domain", "files"]),
    ("bundle", &["domain", "config"]),
    ("adapters", &["domain", "ports", "records", "runtime", "config", "bundle", "files"]),
    ("agent", &["domain", "ports", "config", "adapters", "files"]),
    ("gate", &["domain", "ports", "records", "adapters", "files", "raw_clock", "log_lines"]),
];

/// What several adapters share. It talks to nobody by itself.
const SHARED_BY_ADAPTERS: &[&str] = &["date", "http", "json_rpc", "server"];

/// The crates that the domain is written with: data and its text forms, nothing that runs, waits or asks.
const CRATES_OF_THE_DOMAIN: &[&str] = &[
    "base64",
    "jiff",
    "regex",
    "ring",
    "schemars",
    "serde",
    "serde_json",
    "sha2",
    "strum",
    "thiserror",
    "unicode_width",
    "uuid",
];

/// The parts of std that ask the machine.
const IMPURE: &[&str] = &["env", "fs", "io", "net", "os", "process", "thread"];

const MAX_LINES: usize = 500;

/// Where what a promotion does to its machine is defined, and used by people with their own rights.
const OF_PEOPLE: &[&str] =
    &["src/ports/promotion.rs", "src/adapters/gce/", "src/adapters/gce.rs", "src/cli", "src/promotion"];

#[test]
fn a_layer_imports_only_what_is_below_it() {
    nothing(layers(tree("src/")));
}

#[test]
fn the_domain_asks_nobody_and_prints_nothing() {
    nothing(purity(tree("src/domain")));
}

#[test]
fn adapters_never_import_each_other() {
    nothing(neighbours(tree("src/adapters/")));
}

#[test]
fn no_file_is_longer_than_it_can_be_read() {
    nothing(lengths(tree("")));
}

#[test]
fn nothing_is_left_unfinished() {
    nothing(unfinished(tree("")));
}

#[test]
fn an_exported_name_is_one_thing() {
    nothing(names(tree("src/")));
}

#[test]
fn only_peoples_commands_change_the_machine_of_a_promotion() {
    nothing(changers(tree("src/")));
}

/// Its table of disasters says of each which test replays it.
#[test]
fn each_test_that_the_page_on_promotion_names_is_there() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/promotion.md")).unwrap();
    let (_, disasters) = page.split_once("## The disasters of the field").unwrap();
    let names = disasters.split('`').skip(1).step_by(2).filter(|name| name.contains('_') && !name.contains('/'));
    let is_there = |name: &str| {
        let scenario = format!("{}/tests/scenarios/{name}.txt", env!("CARGO_MANIFEST_DIR"));
        let function = format!("fn {name}()");
        std::path::Path::new(&scenario).exists() || tree("").iter().any(|source| source.text.contains(&function))
    };
    let missing: Vec<_> = names.filter(|name| !is_there(name)).map(|name| format!("no test {name}")).collect();
    nothing(missing);
}

fn nothing(complaints: Vec<String>) {
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

fn layers(sources: &[Source]) -> Vec<String> {
    let allowed: BTreeMap<_, _> = LAYERS.iter().copied().collect();
    let complain = |source: &Source| {
        let layer = source.module().first().cloned().unwrap_or_default();
        let Some(&below) = allowed.get(layer.as_str()) else { return Vec::new() };
        let imports = source.imports().into_iter();
        imports
            .filter_map(|path| {
                path.strip_prefix("crate::").map(|path| path.split("::").next().unwrap_or_default().to_owned())
            })
            .filter(|head| *head != layer && !below.contains(&head.as_str()))
            .collect::<BTreeSet<_>>()
            .into_iter()
            .map(|head| format!("{}: `{layer}` imports `{head}`; it may import {below:?}", source.name))
            .collect()
    };
    sources.iter().filter(|source| !source.is_test()).flat_map(complain).collect()
}

fn purity(sources: &[Source]) -> Vec<String> {
    let crates = source::dependencies();
    let complain = |source: &Source| {
        let imports = source.imports().into_iter().filter(|path| {
            let mut parts = path.split("::");
            match (parts.next(), parts.next()) {
                (Some("std"), Some("time")) => path.ends_with("::SystemTime") || path.contains("::Instant"),
                (Some("std"), Some(part)) => IMPURE.contains(&part),
                (Some(head), _) => crates.contains(head) && !CRATES_OF_THE_DOMAIN.contains(&head),
                (None, _) => false,
            }
        });
        let clocks = ["Time::now", "Timestamp::now", "Zoned::now", "SystemTime::now", "Instant::now"];
        let asked = clocks.into_iter().filter(|name| source.calls(name)).map(str::to_owned);
        let macros = ["print!", "println!", "eprint!", "eprintln!"];
        let printed = macros.into_iter().filter(|name| source.calls(name)).map(str::to_owned);
        imports
            .chain(printed)
            .chain(asked)
            .map(|found| format!("{}: the domain uses `{found}`", source.name))
            .collect::<Vec<_>>()
    };
    sources.iter().filter(|source| !source.is_test()).flat_map(complain).collect()
}

fn neighbours(sources: &[Source]) -> Vec<String> {
    let complain = |source: &Source| {
        let own = source.module().get(1).cloned().unwrap_or_default();
        source
            .imports()
            .into_iter()
            .filter_map(|path| path.strip_prefix("crate::adapters::").map(str::to_owned))
            .filter(|path| {
                let adapter = path.split("::").next().unwrap_or_default();
                adapter != own && !SHARED_BY_ADAPTERS.contains(&adapter)
            })
            .map(|path| format!("{}: adapter `{own}` imports `{path}` of another one", source.name))
            .collect::<Vec<_>>()
    };
    sources.iter().filter(|source| !source.is_test()).flat_map(complain).collect()
}

fn lengths(sources: &[Source]) -> Vec<String> {
    let long = sources.iter().filter(|source| source.lines > MAX_LINES);
    long.map(|source| format!("{}: {} lines; split it before {MAX_LINES}", source.name, source.lines)).collect()
}

fn unfinished(sources: &[Source]) -> Vec<String> {
    let complain = |source: &Source| {
        let left = ["todo!", "unimplemented!", "dbg!"].into_iter().filter(|name| source.calls(name));
        left.map(|name| format!("{}: `{name}` is left in", source.name)).collect::<Vec<_>>()
    };
    sources.iter().flat_map(complain).collect()
}

fn changers(sources: &[Source]) -> Vec<String> {
    let names = ["PromotionMachines", "take_step(", "reshape("];
    let others = sources.iter().filter(|source| !OF_PEOPLE.iter().any(|place| source.name.starts_with(place)));
    let used = others.filter(|source| !source.is_test() && names.iter().any(|name| source.calls(name)));
    used.map(|source| format!("{}: what changes a promoted machine is for people's commands", source.name)).collect()
}

fn names(sources: &[Source]) -> Vec<String> {
    let mut places = BTreeMap::<String, Vec<&str>>::new();
    for source in sources.iter().filter(|source| !source.name.starts_with("src/sandbox")) {
        for name in source.exported() {
            places.entry(name).or_default().push(&source.name);
        }
    }
    let several = places.iter().filter(|(_, places)| places.len() > 1);
    several.map(|(name, places)| format!("`{name}` is several things, in {places:?}: rename all but one")).collect()
}

/// Each rule, on text that breaks it. Without this a rule that sees nothing would pass for a tidy tree.
#[test]
fn each_rule_notices_what_it_forbids() {
    let in_file = |name: &str, text: &str| vec![Source::new(name, text)];
    let red = |complaints: Vec<String>| assert_eq!(complaints.len(), 1, "{complaints:#?}");

    red(layers(&in_file("src/domain/x.rs", "use crate::{domain::Time, runtime::Engine};")));
    red(layers(&in_file("src/domain/x.rs", "fn f() { super::super::ports::look() }")));
    red(layers(&in_file("src/runtime/x.rs", "fn f(http: crate::adapters::http::Client) {}")));
    nothing(layers(&in_file("src/domain/x.rs", "// see crate::runtime\nconst A: &str = \"crate::cli\";")));
    nothing(layers(&in_file("src/domain/x.rs", "use super::{super::domain::Time, kube};")));

    red(purity(&in_file("src/domain/x.rs", "use tokio::time;")));
    red(purity(&in_file("src/domain/x.rs", "use std::{fmt, fs::File};")));
    red(purity(&in_file("src/domain/x.rs", "use std::time::{Duration, SystemTime};")));
    red(purity(&in_file("src/domain/x.rs", "fn f() { println!(\"x\") }")));
    red(purity(&in_file("src/domain/x.rs", "fn f() -> Time { Time::now() }")));
    nothing(purity(&in_file("src/domain/x.rs", "use super::kube::Pod; use std::time::Duration;")));

    red(neighbours(&in_file("src/adapters/a.rs", "use super::b::Client;")));
    red(neighbours(&in_file("src/adapters/a/deep.rs", "use crate::{adapters::{a, b, http}};")));
    nothing(neighbours(&in_file("src/adapters/a/deep.rs", "use super::b;")));

    red(changers(&in_file("src/runtime/x.rs", "fn f(cloud: &dyn ports::PromotionMachines) {}")));
    red(changers(&in_file("src/sources/x.rs", "async fn f() { cloud.take_step(&it).await }")));
    nothing(changers(&in_file("src/cli/x.rs", "fn f(cloud: &dyn ports::PromotionMachines) {}")));

    red(lengths(&in_file("src/x.rs", &"\n".repeat(MAX_LINES + 1))));
    red(unfinished(&in_file("src/x.rs", "fn f() { dbg!(1); }")));

    let two = [Source::new("src/a.rs", "pub struct Twin;"), Source::new("src/b.rs", "pub enum Twin { A }")];
    red(names(&two));
    nothing(names(&two[..1]));
}
