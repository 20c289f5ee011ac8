//! The golden scenarios, and for each the rule whose absence turns it red.

use std::{collections::BTreeSet, fs, path::PathBuf};

use failover::simulate::{self, SimulationReport, Tamper};

mod gates;
mod limits;
mod off;
mod promotions;
mod rules;

use off::Off;

fn rules() -> impl Iterator<Item = &'static (&'static str, Off)> {
    rules::RULES.iter().chain(limits::RULES).chain(gates::RULES).chain(promotions::RULES)
}

fn text_of(name: &str) -> String {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    fs::read_to_string(folder.join(format!("{name}.txt"))).unwrap()
}

fn run(name: &str, tamper: &dyn Tamper) -> SimulationReport {
    let scenario = simulate::parse(&text_of(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    simulate::run_with(&scenario, tamper)
}

fn names() -> BTreeSet<String> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let stem = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().path().file_stem().unwrap().to_owned();
    fs::read_dir(folder).unwrap().map(|entry| stem(entry).into_string().unwrap()).collect()
}

struct Honest;
impl Tamper for Honest {}

#[test]
fn every_scenario_ends_as_it_expects() {
    let mut failed = Vec::new();
    for name in names() {
        let report = run(&name, &Honest);
        if !report.failures.is_empty() || !report.unused.is_empty() || report.checked == 0 {
            failed.push(format!(
                "== {name}\n{}\n{}",
                report.transcript,
                report.failures.iter().chain(&report.unused).cloned().collect::<Vec<_>>().join("\n")
            ));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn without_its_rule_every_scenario_turns_red() {
    let described: BTreeSet<String> = rules().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(described, names(), "every scenario has a rule to switch off, and every rule a scenario");
    let green: Vec<&str> =
        rules().filter(|(name, off)| run(name, off).failures.is_empty()).map(|(name, _)| *name).collect();
    assert!(green.is_empty(), "these do not notice that their rule is off: {green:?}");
}

#[test]
fn a_scenario_that_expects_nothing_or_runs_backwards_is_not_a_test() {
    let scenario = simulate::parse("0s alert eth-0 down").unwrap();
    assert_eq!(simulate::run(&scenario).checked, 0);
    assert_eq!(simulate::parse("5m restart\n1m restart").unwrap_err().line, 2);
    assert_eq!(simulate::parse("\n0s frobnicate eth-0").unwrap_err().line, 2);
    assert_eq!(simulate::parse("policy hold_down soon").unwrap_err().line, 1);
}
