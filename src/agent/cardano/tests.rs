//! What is synced, what is not, and what is said of it.

use proptest::prelude::*;

use super::*;
use crate::adapters::http::PageError;

/// Slot 170 000 000 of the main network: 2025-10-27.
const SLOT: u64 = 170_000_000;

fn now() -> Time {
    Slots::of(CardanoNetwork::Mainnet).time_of(SLOT).unwrap()
}

/// A relay whose head is so many slots behind.
fn look(behind: u64) -> CardanoLook {
    CardanoLook {
        slot: Some(SLOT - behind),
        replayed_percent: Some(100),
        peers: Some(20),
        forging: Vec::new(),
        version: Some("10.5.1".into()),
    }
}

fn judge(look: CardanoLook) -> NodeHealth {
    CardanoJudge::new(CardanoNetwork::Mainnet).judge(&Ok(look), now(), Duration::from_secs(100))
}

#[test]
fn a_relay_whose_slot_is_that_of_now_is_synced() {
    let expected = NodeHealth {
        percent: 100,
        stage: "synced".into(),
        seconds_to_go: None,
        synced: true,
        optimistic: false,
        head_age_seconds: 17,
        peers: 20,
        genesis_root: String::new(),
        chain_id: None,
        signs: Signs::default(),
        listens: true,
        versions: vec![("cardano-node", "10.5.1".into())],
    };
    assert_eq!(judge(look(17)), expected);
}

#[test]
fn whatever_one_thing_is_wrong_it_is_not_synced_and_the_stage_says_which() {
    for (says, look) in [
        ("Cardano node catches up: slot 169999699, 5m 1s behind", look(301)),
        ("Cardano node has a head from the future, by 11s", CardanoLook { slot: Some(SLOT + 11), ..look(0) }),
        (
            "Cardano node has a head from the future, in slot 18446744073709551615",
            CardanoLook { slot: Some(u64::MAX), ..look(0) },
        ),
        ("Cardano node has no peer", CardanoLook { peers: Some(0), ..look(0) }),
        (
            "Cardano node has no head yet: it reads its database, 43 % of it",
            CardanoLook { slot: None, replayed_percent: Some(43), ..look(0) },
        ),
        (
            "Cardano node is no standby: the Cardano node counts what only a block producer does (forging_enabled)",
            CardanoLook { forging: vec!["Forge_forged".into(), "forging_enabled".into()], ..look(0) },
        ),
    ] {
        let health = judge(look);
        assert!(!health.synced && health.percent < 100, "{health:?}");
        assert_eq!(health.stage, says);
    }
}

#[test]
fn a_head_is_fresh_for_five_minutes() {
    for (behind, synced) in [(0, true), (300, true), (301, false)] {
        assert_eq!(judge(look(behind)).synced, synced, "{behind}");
    }
}

#[test]
fn a_page_that_never_changes_becomes_a_node_that_is_behind() {
    let mut judge = CardanoJudge::new(CardanoNetwork::Mainnet);
    let mut after = |seconds: u32| {
        let uptime = Duration::from_secs(seconds.into());
        judge.judge(&Ok(look(0)), now() + Span::from_secs(seconds.into()), uptime)
    };
    assert!(after(0).synced && after(300).synced);
    let health = after(330);
    assert_eq!((health.synced, health.head_age_seconds, health.seconds_to_go), (false, 330, None));
}

#[test]
fn a_node_on_another_network_is_years_behind_or_in_the_future() {
    const ALL: [CardanoNetwork; 3] = [CardanoNetwork::Mainnet, CardanoNetwork::Preprod, CardanoNetwork::Preview];
    for of in ALL {
        for configured in ALL {
            let head = 120_000_000;
            let soon = Slots::of(of).time_of(head).unwrap() + Span::from_secs(20);
            let look = CardanoLook { slot: Some(head), ..look(0) };
            let health = CardanoJudge::new(configured).judge(&Ok(look), soon, Duration::ZERO);
            assert_eq!(health.synced, of == configured, "{of:?} as {configured:?}: {}", health.stage);
        }
    }
}

#[test]
fn peers_that_no_metric_tells_are_not_taken_for_some() {
    let health = judge(CardanoLook { peers: None, ..look(0) });
    assert_eq!((health.synced, health.peers), (false, 0));
    assert_eq!(health.stage, "Cardano node does not tell its peers");
}

#[test]
fn a_node_that_forges_is_told_whatever_else_it_does() {
    for behind in [0, 5_000_000] {
        let health = judge(CardanoLook { forging: vec!["forging_enabled".into()], ..look(behind) });
        assert!(health.signs.seen.is_some_and(|signs| signs.contains("forging_enabled")) && !health.synced);
    }
}

#[test]
fn progress_and_time_to_go_are_those_of_the_chains_time_with_its_head_moving_on() {
    let mut judge = CardanoJudge::new(CardanoNetwork::Preview);
    let start = Slots::of(CardanoNetwork::Preview).start();
    let mut look_at = |slot: u64, after: i64| {
        let now = start + Span::from_secs(1_000_000 + after);
        let look = CardanoLook { slot: Some(slot), ..look(0) };
        judge.judge(&Ok(look), now, Duration::from_secs(after.unsigned_abs()))
    };
    let first = look_at(500_000, 0);
    assert_eq!((first.percent, first.seconds_to_go), (50, None));
    // In 100 seconds 10 000 slots nearer, although 100 more are to be done.
    let later = look_at(510_100, 100);
    assert_eq!((later.percent, later.seconds_to_go), (51, Some(4900)));
}

#[test]
fn a_node_that_does_not_answer_is_not_synced_and_nothing_is_known_of_it() {
    for (error, says) in [
        (CardanoError::Page(PageError::NoAnswer), "Cardano node did not answer in time"),
        (CardanoError::Status(503), "Cardano node answered 503"),
        (CardanoError::OtherPage, "Cardano node sent a page without any metric of a Cardano node"),
        (CardanoError::BadSlot("NaN".into()), "Cardano node sent a slot that is none (NaN)"),
    ] {
        let health = CardanoJudge::new(CardanoNetwork::Mainnet).judge(&Err(error), now(), Duration::ZERO);
        assert_eq!((health.stage.as_str(), health.percent, health.synced), (says, 0, false));
        assert_eq!((health.head_age_seconds, health.peers, health.signs.seen), (UNKNOWN_HEAD_AGE_SECONDS, 0, None));
        assert!(health.signs.hidden.is_some(), "whether it forges is not known either");
    }
}

proptest! {
    #[test]
    fn whatever_slot_a_node_says_only_a_fresh_one_is_synced(slot in any::<u64>(), preview in any::<bool>()) {
        let network = if preview { CardanoNetwork::Preview } else { CardanoNetwork::Mainnet };
        let look = CardanoLook { slot: Some(slot), ..look(0) };
        let health = CardanoJudge::new(network).judge(&Ok(look), now(), Duration::ZERO);
        let age = Slots::of(network).time_of(slot).map(|head| now().duration_since(head).as_secs());
        prop_assert_eq!(health.synced, age.is_some_and(|age| (-10..=300).contains(&age)));
        prop_assert_eq!(health.percent == 100, health.synced);
    }
}
