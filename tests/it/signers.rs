//! The agent and what looks around at home are held to one list of command lines; `tests/standby/home_fence.sh` is the
//! other half of this test.

use failover::agent::signer::{RunningProcess, SignerFacts, find};

const LIST: &str = include_str!("../standby/signers.txt");

#[test]
fn what_signs_by_the_common_list_is_seen_by_the_agent_and_nothing_else_is() {
    let lines = LIST.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut kinds = std::collections::BTreeMap::<&str, usize>::new();
    for line in lines {
        let (kind, command) = line.split_once(": ").unwrap_or_else(|| panic!("{line} has no kind"));
        *kinds.entry(kind).or_default() += 1;
        let arguments: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
        let process = RunningProcess { arguments, ..RunningProcess::default() };
        let seen = find(&SignerFacts { processes: vec![process], ..SignerFacts::default() }).seen;
        assert_eq!(seen.is_some(), kind == "signs", "{line}: {seen:?}");
    }
    assert_eq!(kinds.keys().copied().collect::<Vec<_>>(), ["harmless", "home", "signs"]);
}
