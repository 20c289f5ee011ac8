//! What stays of a year of epochs, and which records are no answer.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::{
    domain::{Interval, chain::ChainSightings},
    records,
};

const GENESIS: Time = Time::UNIX_EPOCH;

const CHAIN: &str = "0x5ca1ab1e";
const EACH: i64 = 384;
const KEY: &str = "chain/far/eth-0";

fn at(epoch: u64) -> Time {
    GENESIS.plus(Span::from_secs(EACH * i64::try_from(epoch).unwrap()))
}

fn record(epoch: u64, node: &str, verdict: Verdict) -> EpochRecord {
    EpochRecord {
        epoch: Epoch(epoch),
        about: Some(Interval { from: at(epoch), to: at(epoch + 1) }),
        node: node.into(),
        peer: None,
        observed_at: at(epoch + 2),
        verdict,
        unknown_because: None,
        synced_since: None,
        genesis_root: Some(CHAIN.into()),
        keys: None,
        control: None,
        rewards: None,
        finalised: epoch.checked_sub(2).map(Epoch),
    }
}

fn keys() -> Vec<PublicKey> {
    vec![PublicKey::new([1; 48]), PublicKey::new([2; 48])]
}

fn number(node: &str) -> Option<u32> {
    node.strip_prefix('n')?.parse().ok()
}

fn look(epoch: u64, said: &[(&str, Verdict)]) -> SiteLook {
    let records: Vec<_> = said.iter().map(|(node, verdict)| record(epoch, node, *verdict)).collect();
    SiteLook::of(&records, &keys(), number).unwrap()
}

fn site(looks: impl IntoIterator<Item = SiteLook>) -> SiteEpochs {
    let mut looks = looks.into_iter().peekable();
    let mut site = SiteEpochs::begun_by(looks.peek().unwrap());
    looks.for_each(|look| site.add(&look));
    site
}

fn silent(epochs: std::ops::Range<u64>, nodes: &[&str]) -> SiteEpochs {
    let said: Vec<_> = nodes.iter().map(|node| (*node, Verdict::Down)).collect();
    site(epochs.map(|epoch| look(epoch, &said)))
}

fn outside(records: &[&SiteEpochs]) -> ChainSightings {
    ChainSightings::of(records.iter().map(|record| (*record, false))).unwrap()
}

#[test]
fn a_duty_that_one_node_has_seen_is_one_and_a_node_that_cannot_say_counts_for_nothing() {
    let of = |said: &[(&str, Verdict)]| {
        let look = look(9, said);
        (look.seen, look.nodes)
    };
    assert_eq!(of(&[("n1", Verdict::Down), ("n2", Verdict::Up)]), (EpochSeen::Duty, vec![2]));
    assert_eq!(of(&[("n1", Verdict::Down), ("n2", Verdict::Partial)]), (EpochSeen::Duty, vec![2]));
    assert_eq!(of(&[("n1", Verdict::Down), ("n2", Verdict::Unknown)]), (EpochSeen::Silent, vec![1]));
    assert_eq!(of(&[("n2", Verdict::Down), ("n1", Verdict::Down)]), (EpochSeen::Silent, vec![1, 2]));
    assert_eq!(of(&[("n1", Verdict::Unknown)]), (EpochSeen::Unknown, vec![]));
    // One that is not outside of home: its silence is nothing, its duty is one.
    assert_eq!(of(&[("home", Verdict::Down), ("n1", Verdict::Down)]), (EpochSeen::Silent, vec![1]));
    assert_eq!(of(&[("home", Verdict::Up), ("n1", Verdict::Down)]), (EpochSeen::Duty, vec![]));
    assert_eq!(of(&[("home", Verdict::Down)]), (EpochSeen::Silent, vec![]));
    let stray = EpochRecord { genesis_root: Some("0x0ddba11".into()), ..record(9, "n2", Verdict::Down) };
    assert_eq!(SiteLook::of(&[record(9, "n1", Verdict::Down), stray], &keys(), number), None, "two chains");
}

#[test]
fn a_year_of_duties_is_one_short_entry_and_a_week_of_it_is_kept() {
    let mut year = site([look(1, &[("n1", Verdict::Up)])]);
    let epochs = 365 * 24 * 3600 / u64::try_from(EACH).unwrap();
    (2..=epochs).for_each(|epoch| year.add(&look(epoch, &[("n1", Verdict::Up)])));
    let bytes = records::encode(KEY, &year);
    assert!(bytes.len() < 500, "{} bytes: {}", bytes.len(), String::from_utf8_lossy(&bytes));
    assert_eq!(year.judged(), 8 * 24 * 3600 / u64::try_from(EACH).unwrap());
    assert_eq!(records::decode::<SiteEpochs>(KEY, &bytes).unwrap(), year);
    assert_eq!(year.check(CHAIN, &keys(), at(epochs + 1)), Ok(()));
}

#[test]
fn what_changes_in_every_epoch_is_bounded_and_the_newest_is_what_stays() {
    let verdict = |epoch: u64| if epoch.is_multiple_of(2) { Verdict::Up } else { Verdict::Down };
    let nodes: Vec<String> = (0..20).map(|node| format!("n{}", u32::MAX - node)).collect();
    let said = |epoch| nodes.iter().map(|node| (node.as_str(), verdict(epoch))).collect::<Vec<_>>();
    let worst = site((0..2 * MAX_RUNS as u64).map(|epoch| look(epoch, &said(epoch))));
    let bytes = records::encode(KEY, &worst).len();
    assert!(bytes < 256 * 1024, "{bytes}");
    assert_eq!(worst.newest().map(|(epoch, ..)| epoch.0), Some(2 * MAX_RUNS as u64 - 1));
    assert_eq!(worst.judged(), 8 * 24 * 3600 / 384, "eight days of epochs are fewer entries than are kept");
}

#[test]
fn an_epoch_that_nobody_looked_at_is_never_filled_in() {
    let mut site = silent(10..13, &["n1"]);
    site.add(&look(15, &[("n1", Verdict::Down)]));
    let before = site.clone();
    site.add(&look(13, &[("n1", Verdict::Down)]));
    assert_eq!(site, before);
    let epochs: Vec<u64> = site.epochs().map(|(epoch, ..)| epoch).collect();
    assert_eq!(epochs, [10, 11, 12, 15]);
    assert_eq!(outside(&[&site]).silent_outside(GENESIS).unwrap().count, 1, "the row is broken");
}

#[test]
fn of_two_processes_of_one_site_the_one_that_saw_more_counts() {
    let last = |said: &[&[(&str, Verdict)]]| {
        let mut site = silent(7..8, &["n1"]);
        said.iter().for_each(|said| site.add(&look(9, said)));
        let (seen, nodes) = site.last().unwrap();
        (seen, nodes.to_vec(), site.newest().unwrap().0)
    };
    let (down, up, none) = ([("n1", Verdict::Down)], [("n2", Verdict::Up)], [("n1", Verdict::Unknown)]);
    for said in [[&none[..], &down[..]], [&down[..], &none[..]]] {
        assert_eq!(last(&said), (EpochSeen::Silent, vec![1], Epoch(9)));
    }
    for said in [[&up[..], &down[..]], [&down[..], &up[..]]] {
        assert_eq!(last(&said), (EpochSeen::Duty, vec![2], Epoch(9)));
    }
    let both = last(&[&down[..], &[("n2", Verdict::Down)]]);
    assert_eq!(both, (EpochSeen::Silent, vec![1, 2], Epoch(9)));
}

#[test]
fn a_clock_that_was_wrong_for_a_while_costs_no_more_than_what_it_wrote() {
    let mut site = silent(1..40, &["n1"]);
    let right = site.clone();
    site.add(&look(5_000, &[("n1", Verdict::Unknown)]));
    assert!(site.check(CHAIN, &keys(), at(41)).unwrap_err().contains("future"));
    site.add(&look(40, &[("n1", Verdict::Down)]));
    assert_eq!(site.judged(), 40);
    assert_eq!(site.check(CHAIN, &keys(), at(42)), Ok(()));
    // Behind: nodes say nothing then, and what is known stays.
    let mut behind = right.clone();
    behind.add(&look(3, &[("n1", Verdict::Unknown)]));
    assert_eq!(behind, right);
}

#[test]
fn a_record_of_another_chain_of_the_future_or_of_no_program_of_ours_is_no_answer() {
    let good = silent(10..15, &["n1", "n2"]);
    let with = |change: fn(&mut SiteEpochs)| {
        let mut record = good.clone();
        change(&mut record);
        record.check(CHAIN, &keys(), at(16)).unwrap_err()
    };
    assert_eq!(good.check(CHAIN, &keys(), at(15)), Ok(()));
    assert!(good.check(CHAIN, &keys(), at(14)).unwrap_err().contains("future"));
    assert!(good.check("0x0ddba11", &keys(), at(16)).unwrap_err().contains("another chain"));
    for odd in [
        with(|record| record.epoch_ms = 0),
        with(|record| record.runs[0].1 = 0),
        with(|record| record.runs[0].1 = u64::MAX),
        with(|record| record.runs[0].0 = Epoch(u64::MAX)),
        with(|record| record.runs.push(record.runs[0].clone())),
        with(|record| record.runs = vec![record.runs[0].clone(); MAX_RUNS + 1]),
        with(|record| record.runs[0].3 = vec![7; MAX_NODES + 1]),
        with(|record| (record.runs[0].0, record.runs[0].1) = (Epoch(0), MAX_EPOCHS + 1)),
        with(|record| record.runs[0].2 = EpochSeen::Unknown),
        with(|record| record.peers = (0..=64).map(|node| (node, node)).collect()),
    ] {
        assert!(odd.contains("not one that this program writes"), "{odd}");
    }
    let mut other = good.clone();
    other.genesis = other.genesis.plus(Span::from_secs(12));
    assert!(ChainSightings::of([(&good, false), (&other, false)]).is_err(), "nobody knows who is right");
    other.add(&look(15, &[("n1", Verdict::Down)]));
    assert_eq!(other.judged(), 1, "what is of another chain is no beginning of this one");
}

#[test]
fn what_is_about_other_keys_or_does_not_say_about_which_is_no_answer() {
    let site = silent(10..15, &["n1", "n2"]);
    let mut others = keys();
    others.reverse();
    assert_eq!(site.check(CHAIN, &others, at(16)), Ok(()), "in another order they are the same");
    others.push(PublicKey::new([3; 48]));
    for keys in [&others[..], &others[..1], &[]] {
        assert!(site.check(CHAIN, keys, at(16)).unwrap_err().contains("other keys"));
    }
    let mut unsaid = serde_json::to_value(&site).unwrap();
    unsaid.as_object_mut().unwrap().remove("keys");
    let unsaid: SiteEpochs = serde_json::from_value(unsaid).unwrap();
    assert!(unsaid.check(CHAIN, &keys(), at(16)).unwrap_err().contains("other keys"), "of an earlier build");
    // Whoever continues it with other keys begins it again.
    let mut next = site;
    next.add(&SiteLook::of(&[record(15, "n1", Verdict::Down)], &others, number).unwrap());
    assert_eq!((next.judged(), next.check(CHAIN, &others, at(16))), (1, Ok(())));
}

#[test]
fn one_node_under_two_addresses_is_one_place() {
    let look = |epoch, said: &[(&str, Option<&str>)]| {
        let peer = |name: Option<&str>| name.map(str::to_owned);
        let said =
            said.iter().map(|(node, name)| EpochRecord { peer: peer(*name), ..record(epoch, node, Verdict::Down) });
        SiteLook::of(&said.collect::<Vec<_>>(), &keys(), number).unwrap()
    };
    let of = |said: &[(&str, Option<&str>)]| site((10..15).map(|epoch| look(epoch, said)));
    let places = |sites: &[&SiteEpochs]| outside(sites).silent_outside(GENESIS).unwrap().nodes;
    let (a, b) = (Some("16Uiu2HAmA"), Some("16Uiu2HAmB"));
    assert_eq!(places(&[&of(&[("n1", a), ("n2", b)])]), 2);
    assert_eq!(places(&[&of(&[("n1", a), ("n2", a)])]), 1, "at one site");
    assert_eq!(places(&[&of(&[("n1", a)]), &of(&[("n2", a)])]), 1, "at two");
    assert_eq!(places(&[&of(&[("n1", None), ("n2", a)]), &of(&[("n1", a)])]), 1, "where one site knows it");
    assert_eq!(places(&[&of(&[("n1", None), ("n2", a)])]), 2, "where nobody does");
    assert_eq!(places(&[&of(&[("n1", a)]), &of(&[("n1", b)]), &of(&[("n3", b)])]), 1, "an address is one place");
    // What is kept of it is bounded, and of the nodes that are named.
    let mut changing = of(&[("n1", a)]);
    (15..200).for_each(|epoch| changing.add(&look(epoch, &[(&format!("n{epoch}"), a)])));
    assert!(changing.peers.len() <= MAX_PEERS && changing.check(CHAIN, &keys(), at(201)).is_ok());
    let bytes = records::encode(KEY, &changing);
    assert_eq!(records::decode::<SiteEpochs>(KEY, &bytes).unwrap(), changing);
}

#[test]
fn what_is_not_known_to_be_outside_says_no_silence_and_is_known_all_the_same() {
    let far = silent(10..20, &["vpn"]);
    let all = outside(&[&far]);
    assert_eq!(all.silent_outside(GENESIS), None);
    assert_eq!(all.silent_at_home(GENESIS).unwrap().count, 10);
    assert_eq!(all.duties(GENESIS, Time::MAX).known, Span::from_secs(10 * EACH));
    let both = silent(10..20, &["vpn", "n1"]);
    assert_eq!(outside(&[&far, &both]).silent_outside(GENESIS).unwrap().nodes, 1);
}

#[test]
fn one_site_of_another_time_is_left_out_and_without_a_majority_all_are() {
    let (one, two) = (silent(10..15, &["n1"]), silent(10..15, &["n2"]));
    let mut other = one.clone();
    other.epoch_ms *= 2;
    assert_eq!(ChainSightings::odd(&[&one, &other, &two]), [false, true, false]);
    assert_eq!(ChainSightings::odd(&[&one, &other]), [true, true]);
    assert_eq!(ChainSightings::odd(&[&one, &two]), [false, false]);
    assert!(ChainSightings::odd(&[]).is_empty());
}

#[test]
fn silence_counts_from_outside_home_only_and_a_duty_from_everywhere() {
    let (home, far) = (silent(10..20, &["n1", "n2"]), silent(12..20, &["n3", "n4"]));
    let all = ChainSightings::of([(&home, true), (&far, false)]).unwrap();
    let seen = all.silent_outside(GENESIS).unwrap();
    assert_eq!((seen.count, seen.last, seen.nodes), (8, 19, 2));
    assert_eq!(seen.about, Interval { from: at(12), to: at(20) });
    assert_eq!(all.silent_at_home(GENESIS).unwrap().count, 10);
    assert_eq!(all.silent_finalised(GENESIS), Some(4), "17 is finalised, so what 16 may include of 15 is");
    let home_only = ChainSightings::of([(&home, true)]).unwrap();
    assert_eq!((home_only.silent_outside(GENESIS), home_only.silent_finalised(GENESIS)), (None, None));
    let mut seen_at_home = home.clone();
    seen_at_home.add(&look(20, &[("n1", Verdict::Up)]));
    let all = ChainSightings::of([(&seen_at_home, true), (&far, false)]).unwrap();
    assert_eq!(all.silent_outside(GENESIS).unwrap().count, 0);
}

#[test]
fn places_are_counted_once_and_where_one_came_later_the_epochs_with_both_count() {
    let (one, same) = (silent(1..30, &["n1"]), silent(1..30, &["n1"]));
    assert_eq!(outside(&[&one, &same]).silent_outside(GENESIS).unwrap().nodes, 1, "the same node twice");
    let late = silent(24..30, &["n2"]);
    let seen = outside(&[&one, &late]).silent_outside(GENESIS).unwrap();
    assert_eq!((seen.count, seen.nodes, seen.about.from), (6, 2, at(24)));
    let ended = silent(1..28, &["n2"]);
    let seen = outside(&[&one, &ended]).silent_outside(GENESIS).unwrap();
    assert_eq!((seen.count, seen.nodes), (29, 1), "the newest were seen from one place");
    assert_eq!(outside(&[&one]).silent_outside(at(20)).unwrap().count, 10);
    assert_eq!(outside(&[&one]).silent_outside(at(20).plus(Span::from_secs(1))).unwrap().count, 9);
}

#[test]
fn an_epoch_that_could_not_be_judged_breaks_the_row_and_is_no_duty() {
    let mut far = silent(1..10, &["n1", "n2"]);
    far.add(&look(10, &[("n1", Verdict::Unknown)]));
    let seen = outside(&[&far]).silent_outside(GENESIS).unwrap();
    assert_eq!((seen.count, seen.about.to), (9, at(10)), "the gate sees how long ago that ended");
    far.add(&look(11, &[("n1", Verdict::Down), ("n2", Verdict::Down)]));
    assert_eq!(outside(&[&far]).silent_outside(GENESIS).unwrap().count, 1);
    let duties = outside(&[&far]).duties(at(5), Time::MAX);
    assert_eq!((duties.known, duties.epochs, duties.with.len()), (Span::from_secs(6 * EACH), 6, 0));
}

#[test]
fn epochs_with_duties_are_those_that_any_site_has_seen() {
    let home = site((1..9).map(|epoch| look(epoch, &[("n1", if epoch < 5 { Verdict::Up } else { Verdict::Down })])));
    let far = site([look(7, &[("n2", Verdict::Partial)])]);
    let duties = ChainSightings::of([(&home, true), (&far, false)]).unwrap().duties(at(3), Time::MAX);
    assert_eq!(duties.known, Span::from_secs(6 * EACH), "3 to 8");
    let epochs: Vec<_> = [1, 2, 3, 4, 7].map(|epoch| Interval { from: at(epoch), to: at(epoch + 1) }).into();
    assert_eq!(duties.with, epochs);
}

fn any_look() -> impl Strategy<Value = (u64, Vec<(u32, Verdict)>)> {
    let verdict = prop_oneof![Just(Verdict::Up), Just(Verdict::Partial), Just(Verdict::Down), Just(Verdict::Unknown)];
    (0..3_u64, prop::collection::vec((0..3_u32, verdict), 1..4))
}

proptest! {
    /// Against a plain map: the last epoch may be seen better, an earlier one stays as it was.
    #[test]
    fn entries_say_epoch_by_epoch_what_was_put_in(looks in prop::collection::vec(any_look(), 1..200)) {
        let (mut epoch, mut plain): (u64, BTreeMap<u64, (EpochSeen, BTreeSet<u32>)>) = (5, BTreeMap::new());
        let mut record: Option<SiteEpochs> = None;
        for (later, said) in looks {
            epoch += later;
            let said: Vec<_> = said.iter().map(|(node, verdict)| (format!("n{node}"), *verdict)).collect();
            let look = look(epoch, &said.iter().map(|(node, verdict)| (node.as_str(), *verdict)).collect::<Vec<_>>());
            record.get_or_insert_with(|| SiteEpochs::begun_by(&look)).add(&look);
            let (seen, nodes) = plain.entry(epoch).or_insert_with(|| (EpochSeen::Unknown, BTreeSet::new()));
            if look.seen > *seen {
                (*seen, *nodes) = (look.seen, BTreeSet::new());
            }
            if look.seen == *seen {
                nodes.extend(look.nodes);
            }
        }
        let record = record.unwrap();
        let told: BTreeMap<_, _> =
            record.epochs().map(|(epoch, seen, nodes)| (epoch, (seen, nodes.iter().copied().collect()))).collect();
        prop_assert_eq!(&told, &plain);
        prop_assert_eq!(record.check(CHAIN, &keys(), at(epoch + 2)), Ok(()));
        let bytes = records::encode(KEY, &record);
        prop_assert_eq!(records::decode::<SiteEpochs>(KEY, &bytes).unwrap(), record);
    }

    /// Whatever bytes are there: an answer, or a reason, and it ends.
    #[test]
    fn no_record_is_too_odd_to_be_refused(
        runs in prop::collection::vec((any::<u64>(), any::<u64>(), 0..3_u8, prop::collection::vec(any::<u32>(), 0..12)), 0..6),
        epoch_ms in any::<u64>(), genesis in any::<i32>(),
    ) {
        let seen = [EpochSeen::Unknown, EpochSeen::Silent, EpochSeen::Duty];
        let runs = runs.into_iter().map(|(first, count, at, by)| EpochRun(Epoch(first), count, seen[usize::from(at)], by));
        let genesis = Time::from_second(genesis.into()).unwrap();
        let (chain, peers, runs) = (CHAIN.into(), BTreeMap::new(), runs.collect());
        let record = SiteEpochs { chain, genesis, epoch_ms, keys: digest_of(&keys()), finalised: None, peers, runs };
        if record.check(CHAIN, &keys(), at(1_000)).is_ok() {
            let all = outside(&[&record]);
            prop_assert!(all.duties(GENESIS, Time::MAX).with.len() as u64 <= MAX_EPOCHS);
            prop_assert!(all.silent_outside(GENESIS).is_none_or(|silent| silent.count <= MAX_EPOCHS));
        }
        let mut changed = record;
        changed.add(&look(1_000, &[("n1", Verdict::Down)]));
        prop_assert!(changed.newest().is_some());
    }
}
