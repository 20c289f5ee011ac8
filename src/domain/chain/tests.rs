//! The rules that need no HTTP: continuity, clocks, agreement, the ring.

use std::collections::BTreeMap;

use super::*;
use crate::domain::{Span, Time, TimeExt, Verdict};

const GENESIS: i64 = 1_700_000_000;

fn mainnet() -> ChainTime {
    ChainTime::new(GENESIS, 12_000, 32).unwrap()
}

/// So many seconds into this slot.
fn at(slot: u64, seconds: i64) -> Time {
    Time::from_second(mainnet().start_of(Slot(slot)).as_second() + seconds).unwrap()
}

fn well(slot: u64) -> SyncStatus {
    SyncStatus { head: Slot(slot), distance: 0, syncing: false, optimistic: false, el_offline: false, untold: None }
}

fn key(number: u8) -> PublicKey {
    PublicKey::new([number; 48])
}

/// A node that saw these of keys 1..=4 live in epoch 9, and so many of 32 others.
fn look(node: &str, live: &[u8], control: u64) -> NodeEpoch {
    let keys: BTreeMap<_, _> =
        (1..=4).map(|n| (key(n), KeyInfo { index: n.into(), status: KeyStatus::Active })).collect();
    let ours = (1..=4).map(|n| (u64::from(n), live.contains(&n)));
    let others = (100..132).map(|index| (index, index < 100 + control));
    NodeEpoch {
        node: node.into(),
        peer: None,
        epoch: Epoch(9),
        genesis_root: Some("0x1".into()),
        well_since: Some(at(0, 0)),
        keys: Some(keys),
        live: live.iter().copied().map(key).collect(),
        liveness: Ok(Liveness { live: ours.chain(others).collect(), control: (100..132).collect() }),
        rewards: Err(NodeTrouble::NotAsked),
        finalised: Some(Epoch(8)),
        observed_at: at(351, 4),
    }
}

fn keys() -> Vec<PublicKey> {
    (1..=4).map(key).collect()
}

#[test]
fn a_head_that_has_not_come_means_a_clock_behind_the_chain() {
    assert_eq!(assess(&well(100), &mainnet(), at(100, 0)), Ok(()));
    assert_eq!(assess(&well(101), &mainnet(), at(101, 0) - Span::from_millis(400)), Ok(()));
    let ahead = assess(&well(400), &mainnet(), at(100, 0));
    assert_eq!(ahead, Err(NodeTrouble::ClockBehind { head: Slot(400), slots: 300 }));
    assert_eq!(assess(&well(0), &mainnet(), Time::UNIX_EPOCH), Err(NodeTrouble::BeforeGenesis));
}

#[test]
fn some_empty_slots_are_not_behind() {
    let status = |behind| SyncStatus { distance: behind, ..well(100 - behind) };
    assert_eq!(assess(&status(12), &mainnet(), at(100, 4)), Ok(()));
    assert_eq!(assess(&status(13), &mainnet(), at(100, 4)), Err(NodeTrouble::Behind { slots: 13 }));
    let lying = SyncStatus { distance: 0, ..status(15) };
    assert_eq!(assess(&lying, &mainnet(), at(100, 4)), Err(NodeTrouble::ClocksDiffer { slots: 15 }));
}

#[test]
fn a_head_that_has_not_left_an_epoch_behind_does_not_tell_who_was_live_in_it() {
    let time = ChainTime::new(GENESIS, 2_000, 6).unwrap();
    let now = time.start_of(Slot(100)).plus(Span::from_secs(1));
    let status = |head: u64| SyncStatus { distance: 100 - head, ..well(head) };
    assert_eq!(assess(&status(90), &time, now), Ok(()), "twenty seconds are no lag");
    assert_eq!(assess_about(Epoch(15), &status(98), &time, now), Ok(()));
    assert_eq!(assess_about(Epoch(15), &status(97), &time, now), Err(NodeTrouble::Behind { slots: 3 }));
}

#[test]
fn nodes_are_asked_again_only_while_the_epoch_lasts_and_none_could_say() {
    let lost = |node| NodeEpoch { liveness: Err(NodeTrouble::NoAnswer), ..look(node, &[], 32) };
    let again = |looks: &[NodeEpoch], slot| is_worth_asking_again(looks, &mainnet(), at(slot, 9));
    assert!(again(&[lost("a"), lost("b")], 350));
    assert!(!again(&[lost("a"), lost("b")], 351), "the next slot is of another epoch");
    assert!(!again(&[lost("a"), look("b", &[], 32)], 350), "one has said it");
    let optimistic = NodeEpoch { liveness: Err(NodeTrouble::Optimistic), ..look("a", &[], 32) };
    assert!(!again(&[optimistic], 350), "that is not over in a slot");
}

#[test]
fn one_lost_answer_breaks_no_watch_and_four_do() {
    let (time, mut watch) = (mainnet(), NodeWatch::default());
    for slot in 64..100 {
        let answer = if slot == 70 || slot == 71 { Err(NodeTrouble::NoAnswer) } else { Ok(well(slot)) };
        watch.observe(answer.as_ref().map_err(Clone::clone), &time, at(slot, 4));
    }
    assert_eq!(watch.well_since(), Some(at(64, 4)));
    for slot in 100..104 {
        watch.observe(Err(NodeTrouble::NoAnswer), &time, at(slot, 4));
    }
    assert_eq!(watch.well_throughout(time.interval(Epoch(3)), &time), Err(NodeTrouble::NoAnswer));
    watch.observe(Ok(&well(104)), &time, at(104, 4));
    let since = watch.well_throughout(time.interval(Epoch(3)), &time);
    assert_eq!(since, Err(NodeTrouble::WellSince { epoch: Epoch(3), before: Some(Box::new(NodeTrouble::NoAnswer)) }));
}

#[test]
fn a_clock_that_went_back_breaks_the_watch() {
    let (time, mut watch) = (mainnet(), NodeWatch::default());
    watch.observe(Ok(&well(100)), &time, at(100, 4));
    watch.observe(Ok(&well(90)), &time, at(90, 4));
    assert_eq!(watch.well_since(), Some(at(90, 4)), "what was before cannot be placed in time any more");
}

#[test]
fn being_well_since_within_the_epoch_is_not_enough() {
    let (time, mut watch) = (mainnet(), NodeWatch::default());
    watch.observe(Ok(&well(64)), &time, at(64, 4));
    assert!(watch.well_throughout(time.interval(Epoch(2)), &time).is_err());
    assert_eq!(watch.well_throughout(time.interval(Epoch(3)), &time), Ok(at(64, 4)));
}

#[test]
fn two_thirds_of_the_control_group_have_to_be_live() {
    assert_eq!(agree(Epoch(9), &[look("a", &[], 22)], &keys()).verdict, Verdict::Down);
    let sick = agree(Epoch(9), &[look("a", &[], 21)], &keys());
    assert_eq!(sick.verdict, Verdict::Unknown);
    assert_eq!(sick.why, "its node shows only 21 of 32 others live, so its silence means nothing");
    assert_eq!(agree(Epoch(9), &[look("a", &[1, 2, 3, 4], 0)], &keys()).verdict, Verdict::Unknown);
}

#[test]
fn one_live_key_is_a_duty_whatever_the_control_group_says() {
    let time = mainnet();
    let validator = crate::domain::ValidatorId::new("eth-0").unwrap();
    let said = |looks: &[NodeEpoch]| {
        let seen = observe(Epoch(9), looks, &validator, &keys(), &time);
        let site = SiteLook::of(&seen.records, &keys(), |node| Some(u32::from(node.as_bytes()[0]))).unwrap();
        (seen.reading.verdict, site.seen)
    };
    let silent = look("b", &[], 32);
    assert_eq!(said(&[look("a", &[], 32), silent.clone()]), (Verdict::Down, EpochSeen::Silent));
    let sick = look("a", &[2], 3);
    assert_eq!(
        said(&[sick.clone(), silent.clone()]),
        (Verdict::Unknown, EpochSeen::Duty),
        "a control group that is silent"
    );
    let mut small = sick.clone();
    small.liveness.as_mut().unwrap().control.truncate(3);
    let late = NodeEpoch { liveness: Err(NodeTrouble::TooLate), ..sick.clone() };
    let stumbled = NodeEpoch { liveness: Err(NodeTrouble::NoAnswer), keys: None, ..sick.clone() };
    for duty in [small, late, stumbled] {
        assert_eq!(said(&[duty.clone(), silent.clone()]), (Verdict::Unknown, EpochSeen::Duty), "{duty:?}");
        assert_eq!(said(&[duty]), (Verdict::Unknown, EpochSeen::Duty), "of its own it is no opinion");
    }
    // Of two answers of one node in an epoch, the one that has a duty counts.
    let forgot = NodeEpoch { live: [key(2)].into(), ..silent.clone() };
    assert_eq!(said(&[forgot, silent]), (Verdict::Unknown, EpochSeen::Duty));
}

#[test]
fn without_others_there_is_nothing_to_compare_with() {
    let mut alone = look("a", &[], 0);
    alone.liveness = Ok(Liveness { live: (1..=4).map(|n| (n, false)).collect(), control: vec![] });
    let agreed = agree(Epoch(9), &[alone], &keys());
    assert_eq!(agreed.verdict, Verdict::Unknown);
    assert_eq!(agreed.why, "its node knows only 0 other validators, too few to compare with");
}

#[test]
fn an_answer_that_leaves_a_key_out_counts_for_nothing() {
    let mut partial = look("a", &[], 32);
    partial.liveness.as_mut().unwrap().live.remove(&3);
    let agreed = agree(Epoch(9), &[partial], &keys());
    assert_eq!((agreed.verdict, &*agreed.why), (Verdict::Unknown, "its node answered about 3 of 4 keys"));
}

#[test]
fn a_key_that_any_node_calls_slashed_is_slashed() {
    let mut other = look("b", &[1, 2, 3, 4], 32);
    other.keys.as_mut().unwrap().get_mut(&key(2)).unwrap().status = KeyStatus::Slashed;
    let agreed = agree(Epoch(9), &[look("a", &[1, 2, 3, 4], 32), other], &keys());
    assert_eq!(agreed.keys.unwrap().slashed, [key(2)]);
}

#[test]
fn one_node_that_sees_no_finality_is_enough_to_be_careful() {
    let stuck = NodeEpoch { finalised: Some(Epoch(3)), ..look("b", &[], 32) };
    let view = chain_view(&[look("a", &[], 32), stuck]);
    assert_eq!(view.health, ChainHealth::NotFinalising { epochs: 7 });
    let silent = NodeEpoch { finalised: None, ..look("a", &[], 32) };
    assert_eq!(chain_view(&[silent]).health, ChainHealth::Unknown);
}

#[test]
fn what_two_nodes_say_of_keys_together_is_never_better_than_what_one_says() {
    let fine = KeyStates { active: 3, ..KeyStates::default() };
    let worse = KeyStates { active: 1, pending: 1, missing: 1, slashed: vec![key(2)], ..KeyStates::default() };
    for together in [fine.clone().worst(worse.clone()), worse.clone().worst(fine.clone())] {
        assert_eq!(
            (together.active, together.pending, together.missing, &together.slashed[..]),
            (1, 1, 1, &[key(2)][..])
        );
    }
    assert_eq!(worse.clone().worst(worse.clone()), worse);
}

#[test]
fn the_ring_keeps_the_last_epochs_and_never_fills_in_later() {
    let mut evidence = ChainEvidence::default();
    let time = mainnet();
    let validator = crate::domain::ValidatorId::new("eth-0").unwrap();
    let records = |epoch| {
        let look = NodeEpoch { epoch: Epoch(epoch), ..look("a", &[], 32) };
        observe(Epoch(epoch), &[look], &validator, &keys(), &time).records
    };
    for epoch in (0..200).filter(|epoch| *epoch != 190) {
        evidence.add(records(epoch));
    }
    evidence.add(records(190));
    let epochs: Vec<u64> = evidence.records().map(|record| record.epoch.0).collect();
    assert_eq!((epochs.first(), epochs.last(), epochs.len()), (Some(&136), Some(&199), 63));
    assert!(!epochs.contains(&190), "an epoch that was not written when it ended stays unknown");
    let bytes = crate::records::encode("chain/eth-0", &evidence).len();
    assert!(bytes < 64 * 1024, "{bytes} bytes for one node");
}

#[test]
fn a_status_of_the_api_is_known_or_refused() {
    assert_eq!(KeyStatus::from_api("active_exiting", false), Some(KeyStatus::Active));
    assert_eq!(KeyStatus::from_api("active_ongoing", true), Some(KeyStatus::Slashed));
    assert_eq!(KeyStatus::from_api("withdrawal_possible", true), Some(KeyStatus::Slashed));
    assert_eq!(KeyStatus::from_api("withdrawal_possible", false), Some(KeyStatus::Exited));
    assert_eq!(KeyStatus::from_api("asleep", false), None);
}

#[test]
fn a_node_that_leaves_out_how_it_is_does_not_pass_for_well() {
    let untold = SyncStatus { untold: Some("el_offline"), ..well(100) };
    assert_eq!(assess(&untold, &mainnet(), at(100, 4)), Err(NodeTrouble::Untold { field: "el_offline" }));
    let syncing = SyncStatus { syncing: true, ..untold };
    assert!(matches!(assess(&syncing, &mainnet(), at(100, 4)), Err(NodeTrouble::Syncing { .. })));
}
