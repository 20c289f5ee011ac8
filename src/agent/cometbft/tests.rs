//! What is synced, what is not, and what is said of it.

use proptest::prelude::*;

use super::*;
use crate::adapters::{http::PageError, json_rpc::RpcError};

const NETWORK: &str = "mainnet-beacon-80094";
const NOW: i64 = 1_800_000_000;

fn at(seconds: i64) -> Time {
    Time::from_second(seconds).unwrap()
}

/// A full node whose newest block is so old; its chain began a million seconds ago.
fn status(age: i64) -> CometbftStatus {
    CometbftStatus {
        network: Some(NETWORK.into()),
        version: Some("1.0.1".into()),
        height: Some(500_000),
        latest: Some(at(NOW - age)),
        earliest: Some(at(NOW - 1_000_000)),
        catching_up: Some(false),
        voting_power: Some(0),
    }
}

fn look(status: CometbftStatus) -> CometbftLook {
    CometbftLook { status: Ok(status), peers: Ok(12), application: Some("v1.4.1".into()) }
}

fn judge(look: &CometbftLook) -> NodeHealth {
    CometbftJudge::new(NETWORK.into()).judge(look, at(NOW), Duration::from_secs(100))
}

#[test]
fn a_fresh_head_on_the_right_chain_with_peers_and_without_a_vote_is_synced() {
    let expected = NodeHealth {
        percent: 100,
        stage: "synced".into(),
        seconds_to_go: None,
        synced: true,
        optimistic: false,
        head_age_seconds: 2,
        peers: 12,
        genesis_root: String::new(),
        chain_id: Some(NETWORK.into()),
        signs: Signs::default(),
        listens: true,
        versions: vec![("CometBFT", "1.0.1".into()), ("application", "v1.4.1".into())],
    };
    assert_eq!(judge(&look(status(2))), expected);
}

#[test]
fn whatever_one_thing_is_wrong_it_is_not_synced_and_the_stage_says_which() {
    let refused = || RpcError::Refusal { question: "net_info", message: "busy".into() };
    let cases: [(&str, CometbftLook); 12] = [
        (
            "CometBFT follows another chain (bepolia, not mainnet-beacon-80094)",
            look(CometbftStatus { network: Some("bepolia".into()), ..status(2) }),
        ),
        ("CometBFT catches up: block 500000, 2s behind", look(CometbftStatus { catching_up: Some(true), ..status(2) })),
        ("CometBFT says it is in step, but its head is old: block 500000, 1m 1s behind", look(status(61))),
        ("CometBFT has a head from the future, by 11s", look(status(-11))),
        ("CometBFT has no peer", CometbftLook { peers: Ok(0), ..look(status(2)) }),
        ("CometBFT refused net_info (busy)", CometbftLook { peers: Err(refused()), ..look(status(2)) }),
        (
            "CometBFT is no standby: its own key has a voting power of 10",
            look(CometbftStatus { voting_power: Some(10), ..status(2) }),
        ),
        ("CometBFT does not say which chain it follows", look(CometbftStatus { network: None, ..status(2) })),
        ("CometBFT does not say which block is its newest", look(CometbftStatus { height: None, ..status(2) })),
        ("CometBFT does not say which block is its newest", look(CometbftStatus { latest: None, ..status(2) })),
        ("CometBFT does not say whether it catches up", look(CometbftStatus { catching_up: None, ..status(2) })),
        ("CometBFT does not say its key's voting power", look(CometbftStatus { voting_power: None, ..status(2) })),
    ];
    for (says, look) in cases {
        let health = judge(&look);
        assert!(!health.synced && health.percent < 100, "{health:?}");
        assert_eq!(health.stage, says);
    }
}

#[test]
fn a_head_is_fresh_for_a_minute_and_may_be_a_little_early() {
    for (age, synced) in [(60, true), (61, false), (-10, true), (-11, false)] {
        assert_eq!(judge(&look(status(age))).synced, synced, "{age}");
    }
}

#[test]
fn a_node_that_does_not_answer_is_not_synced_and_nothing_is_known_of_it() {
    let error = RpcError::Page(PageError::Refused);
    let health = judge(&CometbftLook { status: Err(error.clone()), peers: Err(error), application: None });
    assert_eq!((health.stage.as_str(), health.percent, health.synced), ("CometBFT refuses connections", 0, false));
    assert_eq!((health.head_age_seconds, health.peers), (UNKNOWN_HEAD_AGE_SECONDS, 0));
    assert_eq!((health.chain_id, health.signs.seen), (None, None));
    assert!(health.signs.hidden.is_some(), "whether its key has a vote is not known either");
}

#[test]
fn a_key_with_a_vote_is_told_even_while_its_node_is_not_synced() {
    for (power, seen, hidden) in [(Some(0), "", ""), (Some(7), "voting power of 7", ""), (None, "", "does not say")] {
        let catching_up = CometbftStatus { catching_up: Some(true), voting_power: power, ..status(900) };
        let elsewhere = CometbftStatus { network: Some("other".into()), voting_power: power, ..status(2) };
        for status in [catching_up, elsewhere] {
            let signs = judge(&look(status)).signs;
            for (shown, says) in [(signs.seen, seen), (signs.hidden, hidden)] {
                assert_eq!(shown.is_some(), !says.is_empty(), "{shown:?}");
                assert!(shown.unwrap_or_default().contains(says));
            }
        }
    }
}

#[test]
fn without_a_block_no_time_and_no_progress_is_invented() {
    let mut judge = CometbftJudge::new(NETWORK.into());
    for (catching_up, uptime) in [(true, 0), (true, 30), (false, 60)] {
        let none = CometbftStatus {
            height: Some(0),
            latest: Some(Time::UNIX_EPOCH),
            earliest: None,
            catching_up: Some(catching_up),
            ..status(0)
        };
        let health = judge.judge(&look(none), at(NOW), Duration::from_secs(uptime));
        assert_eq!((health.synced, health.percent, health.seconds_to_go), (false, 0, None));
        assert_eq!(health.head_age_seconds, UNKNOWN_HEAD_AGE_SECONDS);
        assert!(health.stage.contains("has no block yet"), "{}", health.stage);
    }
}

#[test]
fn progress_and_time_to_go_are_those_of_the_chains_time_with_its_head_moving_on() {
    let mut judge = CometbftJudge::new(NETWORK.into());
    let mut behind = |age: i64, uptime: i64| {
        let status = CometbftStatus { catching_up: Some(true), ..status(age - uptime) };
        judge.judge(&look(status), at(NOW + uptime), Duration::from_secs(uptime.unsigned_abs()))
    };
    let first = behind(400_000, 0);
    assert_eq!((first.percent, first.seconds_to_go), (60, None));
    assert_eq!(first.stage, "CometBFT catches up: block 500000, 4d 15h behind");
    // In 100 seconds it has come 40 000 seconds nearer to a head that has moved on by 100: 400 a second.
    let later = behind(360_000, 100);
    assert_eq!((later.percent, later.seconds_to_go), (64, Some(900)));
}

#[test]
fn a_node_that_does_not_say_what_it_keeps_starts_where_it_was_first_seen() {
    for earliest in [None, Some(Time::UNIX_EPOCH), Some(at(NOW + 5))] {
        let mut judge = CometbftJudge::new(NETWORK.into());
        let mut behind = |age| {
            let status = CometbftStatus { catching_up: Some(true), earliest, ..status(age) };
            judge.judge(&look(status), at(NOW), Duration::from_secs(1)).percent
        };
        assert_eq!((behind(1000), behind(250), behind(0)), (0, 75, 99), "{earliest:?}");
    }
}

proptest! {
    #[test]
    fn only_all_of_it_together_is_synced(
        age in -200_i64..200, catching_up in any::<bool>(), own in any::<bool>(), height in 0_u64..3,
        peers in 0_u32..3, power in prop::option::of(0_u64..2), uptime in any::<u32>(),
    ) {
        let network = if own { NETWORK } else { "other" };
        let status = CometbftStatus {
            network: Some(network.into()), catching_up: Some(catching_up), height: Some(height), voting_power: power,
            ..status(age)
        };
        let look = CometbftLook { peers: Ok(peers), ..look(status) };
        let health = CometbftJudge::new(NETWORK.into()).judge(&look, at(NOW), Duration::from_secs(uptime.into()));
        let all = (-10..=60).contains(&age) && !catching_up && own && height > 0 && peers > 0 && power == Some(0);
        prop_assert_eq!(health.synced, all);
        prop_assert_eq!(health.percent == 100, all);
        prop_assert_eq!(health.signs == Signs::default(), power == Some(0));
    }

    #[test]
    fn whatever_times_a_node_says_nothing_overflows(
        latest in -300_000_000_000_i64..250_000_000_000, earliest in -300_000_000_000_i64..250_000_000_000,
        now in -300_000_000_000_i64..250_000_000_000,
    ) {
        let status = CometbftStatus {
            latest: Some(at(latest)), earliest: Some(at(earliest)), catching_up: Some(true), ..status(0)
        };
        let health = CometbftJudge::new(NETWORK.into()).judge(&look(status), at(now), Duration::ZERO);
        prop_assert!(health.percent < 100 && !health.synced);
    }
}

#[test]
fn a_node_that_lost_its_head_begins_its_pace_anew() {
    let mut judge = CometbftJudge::new(NETWORK.into());
    let behind = |age| look(CometbftStatus { catching_up: Some(true), ..status(age) });
    judge.judge(&behind(1000), at(NOW), Duration::from_secs(0));
    judge.judge(&look(CometbftStatus { height: Some(0), ..status(0) }), at(NOW), Duration::from_secs(30));
    assert_eq!(judge.judge(&behind(500), at(NOW), Duration::from_secs(60)).seconds_to_go, None);
    assert_eq!(judge.judge(&behind(250), at(NOW), Duration::from_secs(90)).seconds_to_go, Some(30));
}
