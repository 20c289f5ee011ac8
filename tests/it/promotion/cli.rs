//! What the commands refuse before they change anything, and how they end.

use crate::{
    cli::rig::failover,
    grants::rig::{Office, home},
};

#[tokio::test]
async fn what_is_not_open_cannot_be_resumed_or_taken_back() {
    let Some(office) = Office::new() else { return };
    office.put(home(), 1).await;
    let before = office.dump().await;
    for flag in ["--resume", "--abort"] {
        let ended = office.signs("promote", "ann", &[flag]);
        assert_eq!(ended.code, 3, "{flag}: {}", ended.err);
        assert!(ended.err.contains("nothing is open"), "{}", ended.err);
    }
    assert_eq!(office.dump().await, before);
}

#[tokio::test]
async fn without_a_key_or_a_cloud_nothing_begins() {
    let Some(office) = Office::new() else { return };
    office.put(home(), 1).await;
    let before = office.dump().await;
    let ended = office.signs("promote", "ann", &["--execute"]);
    assert_eq!(ended.code, 1, "{}", ended.err);
    assert!(ended.err.contains("there is no `compute` section"), "{}", ended.err);
    let ended = office.house.run(&["promote", "eth-0", "--override", "fenced", "--reason", "x", "--execute"]);
    assert!(ended.code == 1 && ended.err.contains("nothing passes over the gate fenced"), "{}", ended.err);
    let ended = office.house.run(&["promote", "eth-0", "--execute", "--until", "somewhere"]);
    assert!(ended.code == 2 && ended.err.contains("make_permanent"), "{}", ended.err);
    assert_eq!(office.dump().await, before);
}

#[tokio::test]
async fn a_dry_run_of_a_demotion_shows_its_gates_and_steps_and_changes_nothing() {
    let Some(office) = Office::new() else { return };
    office.put(home(), 1).await;
    let before = office.dump().await;
    let ended = office.house.run(&["demote", "eth-0"]);
    assert_eq!(ended.code, 3, "{}", ended.err);
    for words in ["TERMINATED", "sign a grant for home", "undone by"] {
        assert!(ended.out.contains(words), "{words}: {}", ended.out);
    }
    let ended = office.house.run(&["demote", "eth-0", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(json["plan"].as_array().unwrap().len(), 5);
    assert_eq!(office.dump().await, before);
}

#[test]
fn the_ways_exclude_each_other() {
    for flags in [["--execute", "--resume"], ["--resume", "--abort"], ["--execute", "--abort"]] {
        assert_eq!(failover(&["promote", "eth-0", flags[0], flags[1]]).code, 2, "{flags:?}");
        assert_eq!(failover(&["demote", "eth-0", flags[0], flags[1]]).code, 2, "{flags:?}");
    }
    let help = failover(&["promote", "--help"]).out;
    assert!(help.contains("--until <STEP>") && help.contains("--statement <TEXT>"), "{help}");
}
