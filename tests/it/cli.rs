//! The program as people and clusters start it: its own process, its exit codes, its words.

use std::process::Command;

use rig::{House, failover};

mod check;
mod interchange;
mod ledgers;
mod logs;
mod monitor;
pub mod rig;
mod runbook;
mod text;
mod two_watchers;

#[test]
fn every_command_explains_itself_with_an_example() {
    let help = failover(&["--help"]);
    let commands: Vec<&str> = help
        .out
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next().filter(|name| !name.is_empty()))
        .filter(|name| !matches!(*name, "help" | "config"))
        .collect();
    assert!(commands.contains(&"promote") && commands.contains(&"journal"), "{commands:?}");
    for command in commands {
        let help = failover(&[command, "--help"]);
        assert!(help.code == 0 && help.out.contains("Example"), "{command}: {}", help.out);
    }
}

#[test]
fn wrong_usage_is_2_and_a_wrong_configuration_is_1_with_line_and_column() {
    assert_eq!(failover(&["promote"]).code, 2);
    assert_eq!(failover(&["pause", "eth-0", "--for", "2h"]).code, 2, "a pause has a reason");
    let house = House::new("");
    house.write("site: home\nledger: {sqlite: {path: l}}\nvalidators: []\nno_such_key: 1\n");
    let refused = house.run(&["config", "check"]);
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("failover.yaml:4:1") && refused.err.contains("no_such_key"), "{}", refused.err);
    let refused = house.run(&["config", "check", "--json"]);
    let said: serde_json::Value = serde_json::from_str(&refused.out).unwrap();
    assert_eq!((refused.code, &said["problems"][0]["place"]["line"]), (1, &4.into()), "{said}");
}

#[test]
fn a_validator_that_is_not_configured_is_answered_with_those_that_are() {
    let refused = House::new("").run(&["promote", "eth-9"]);
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("the configuration has eth-0"), "{}", refused.err);
}

#[test]
fn promote_shows_every_gate_and_refuses_with_3() {
    let house = House::new("");
    let refused = house.run(&["promote", "eth-0"]);
    assert_eq!(refused.code, 3);
    let counted = "refused: 9 of 11 gates are not passed, 5 of them before anything is done. Nothing was changed.";
    assert!(refused.out.contains(counted), "{}", refused.out);
    assert!(refused.out.contains("it would end there: nobody has signed a grant"), "{}", refused.out);
    let refused = house.run(&["promote", "eth-0", "--json"]);
    let shown: serde_json::Value = serde_json::from_str(&refused.out).unwrap();
    let gates = |pass: usize| shown["passes"][pass]["gates"].as_array().unwrap().len();
    assert_eq!((refused.code, gates(0), gates(1)), (3, 11, 11));
    let overridden = house.run(&["promote", "eth-0", "--override", "ready", "--reason", "I see it myself"]);
    assert!(overridden.out.contains("refused: 8 of 11 gates"), "{}", overridden.out);
    let never = house.run(&["promote", "eth-0", "--override", "fenced", "--reason", "I know"]);
    assert_eq!(never.code, 1);
    assert!(never.err.contains("nothing passes over the gate fenced"), "{}", never.err);
}

#[test]
fn the_keys_that_a_client_names_are_compared_with_the_configured_ones() {
    let house = House::new("");
    let page = house.folder.path().join("metrics");
    let compared = |key: u8| {
        std::fs::write(&page, format!("validator_statuses{{pubkey=\"0x{key:096x}\"}} 3\n")).unwrap();
        house.run(&["promote", "eth-0", "--check-keys", page.to_str().unwrap(), "--json"])
    };
    assert!(compared(7).out.contains("1 keys: all of them"));
    let other = compared(8);
    assert!(other.out.contains("it does not have") && other.out.contains("not configured"), "{}", other.out);
    assert_eq!(other.code, 1);
    let missing = house.run(&["promote", "eth-0", "--check-keys", "/nowhere/metrics"]);
    assert!(missing.code == 1 && missing.err.contains("name a file with the page of metrics"), "{}", missing.err);
}

#[test]
fn without_a_watcher_the_ledger_is_shown_and_a_request_waits_in_it() {
    let house = House::new("");
    let shown = house.run(&["status", "--json"]);
    let status: serde_json::Value = serde_json::from_str(&shown.out).unwrap();
    assert_eq!(
        (shown.code, &status["holds_lease"], &status["validators"][0]["phase"]),
        (0, &false.into(), &"watching".into())
    );
    assert!(status["warnings"].to_string().contains("nobody watches"), "{status}");
    let asked = house.run(&["open", "eth-0", "--reason", "the disk is dead", "--timeout", "200ms"]);
    assert_eq!(asked.code, 1);
    assert!(asked.err.contains("is taken by the next watcher"), "{}", asked.err);
}

#[test]
fn a_plan_without_a_cloud_says_what_to_add() {
    let planned = House::new("").run(&["plan"]);
    assert_eq!(planned.code, 1);
    assert!(planned.err.contains("compute"), "{}", planned.err);
}

#[test]
fn the_watcher_of_a_sandbox_takes_no_cloud_but_a_fake_one() {
    let house = House::new("compute: {project: p, ladder: [{zone: a-b-c, machine_type: m}]}\n");
    let refused = failover(&["sandbox", "--watcher", house.config().to_str().unwrap()]);
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("is not a sandbox's: use `failover serve`"), "{}", refused.err);
}

#[test]
fn a_scenario_without_an_expectation_shows_nothing_and_ends_with_1() {
    let folder = tempfile::tempdir().unwrap();
    let simulate = |text: &str| {
        let file = folder.path().join("scenario.txt");
        std::fs::write(&file, text).unwrap();
        failover(&["simulate", file.to_str().unwrap()]).code
    };
    assert_eq!(simulate("0s alert eth-0 down\n1m expect eth-0 phase suspected\n"), 0);
    assert_eq!(simulate("0s alert eth-0 down\n1m expect eth-0 phase ready\n"), 1);
    assert_eq!(simulate("0s alert eth-0 down\n"), 1);
    assert_eq!(simulate("0s alert eth-0 sideways\n"), 1);
}

#[test]
fn completions_are_what_the_shell_takes() {
    let script = failover(&["completions", "bash"]);
    assert_eq!(script.code, 0);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("failover.bash");
    std::fs::write(&file, script.out).unwrap();
    assert!(Command::new("bash").arg("-n").arg(&file).status().unwrap().success());
}
