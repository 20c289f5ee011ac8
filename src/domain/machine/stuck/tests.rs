//! What makes a standby stuck, and how long it may take.

use strum::IntoEnumIterator as _;

use super::*;
use crate::domain::{InstanceRef, Report, Rung, StuckKind};

fn at(minutes: i64) -> Time {
    Time::UNIX_EPOCH + Span::from_mins(minutes)
}

fn standby() -> Standby {
    Standby {
        instance: InstanceRef { zone: "z".into(), name: "m".into(), id: 1.into() },
        rung: Rung { zone: "z".into(), machine_type: "t".into() },
        since: at(0),
        ready: false,
        ready_since: None,
        extra: None,
        spoke_at: Some(at(0)),
    }
}

const WATCHED: Expected<'_> = Expected::Watched(Some("0x01"));
const READ: Expected<'_> = Expected::Read(Some("here-1"));

/// A report every ten minutes; what it has come to at the end.
fn after(minutes: i64, expected: Expected<'_>, report: impl Fn(i64) -> Report) -> Option<StuckKind> {
    let policy = Policy::default();
    let mut history = ReportHistory::first(report(0), at(0));
    for now in (10..=minutes).step_by(10) {
        history.record(&report(now), policy.max_clock_offset, at(now));
    }
    let standby = standby();
    let case = Case {
        history: Some(&history),
        boot_status: None,
        standby: &standby,
        trusted_since: None,
        complete: false,
        chain: expected,
    };
    judge(&case, &policy, at(minutes)).map(|stuck| stuck.kind())
}

/// One that continues: half a percent every ten minutes.
fn going(minutes: i64) -> Report {
    Report {
        boot_id: "a".into(),
        counter: minutes.unsigned_abs() + 1,
        progress_percent: u8::try_from(minutes / 20).unwrap_or(100),
        head_age_seconds: 9000,
        peers: 9,
        genesis_root: "0x01".into(),
        disk_free_percent: Some(50),
        ..Report::default()
    }
}

#[test]
fn a_sync_of_36_hours_is_not_stuck_even_where_a_percent_takes_hours() {
    let slow = |minutes: i64| Report { progress_percent: u8::try_from(minutes / 180).unwrap_or(100), ..going(minutes) };
    for hours in 1..36 {
        assert_eq!(after(hours * 60, WATCHED, slow), None, "after {hours} h");
    }
}

#[test]
fn a_head_that_follows_hides_a_percentage_that_stands_only_for_so_long() {
    let optimistic = |minutes: i64| Report { progress_percent: 40, head_age_seconds: 12, ..going(minutes) };
    assert_eq!(after(230, WATCHED, optimistic), None);
    assert_eq!(after(240, WATCHED, optimistic), Some(StuckKind::NoProgress));
}

#[test]
fn no_peers_and_a_wrong_clock_are_trouble_only_when_they_last() {
    let alone = |minutes: i64| Report { peers: 0, ..going(minutes) };
    assert_eq!((after(20, WATCHED, alone), after(30, WATCHED, alone)), (None, Some(StuckKind::NoPeers)));
    assert_eq!(after(300, Expected::Probed, alone), None, "a node of another chain reports no peers");
    let wrong = |minutes: i64| Report { clock_offset_ms: -120_000, ..going(minutes) };
    assert_eq!((after(30, WATCHED, wrong), after(40, WATCHED, wrong)), (None, Some(StuckKind::ClockOff)));
    let again = |minutes: i64| Report { peers: u32::from(minutes == 20), ..going(minutes) };
    assert_eq!(after(40, WATCHED, again), None, "one peer in between starts the wait over");
}

#[test]
fn a_full_disk_and_another_chain_need_no_time() {
    assert_eq!(after(10, WATCHED, |m| Report { disk_free_percent: Some(5), ..going(m) }), Some(StuckKind::DiskFull));
    assert_eq!(after(10, WATCHED, |m| Report { disk_free_percent: Some(6), ..going(m) }), None);
    assert_eq!(after(10, WATCHED, |m| Report { disk_free_percent: None, ..going(m) }), None);
    let other = |minutes: i64| Report { genesis_root: "0x02".into(), ..going(minutes) };
    assert_eq!((after(10, WATCHED, other), after(10, Expected::Probed, other)), (Some(StuckKind::OtherChain), None));
    let unknown = |minutes: i64| Report { genesis_root: String::new(), ..going(minutes) };
    assert_eq!(after(10, WATCHED, unknown), None, "not known yet is not another");
}

#[test]
fn a_report_that_stands_still_is_silence() {
    let still = |_: i64| going(0);
    assert_eq!((after(20, WATCHED, still), after(30, WATCHED, still)), (None, Some(StuckKind::Silent)));
}

#[test]
fn every_kind_has_words_and_advice_of_its_own() {
    let names: std::collections::BTreeSet<_> = StuckKind::iter().map(|kind| kind.name()).collect();
    let advice: std::collections::BTreeSet<_> = StuckKind::iter().map(|kind| kind.advice()).collect();
    assert_eq!((names.len(), advice.len()), (10, 10));
    for kind in StuckKind::iter() {
        assert_eq!(serde_json::to_value(kind).unwrap(), kind.name(), "one name everywhere");
    }
}

#[test]
fn a_node_that_is_read_is_stuck_by_what_is_counted_on_it() {
    let named =
        |minutes: i64| Report { chain_id: Some("here-1".into()), genesis_root: String::new(), ..going(minutes) };
    assert_eq!(after(600, READ, named), None);
    let elsewhere = |minutes: i64| Report { chain_id: Some("there-1".into()), ..named(minutes) };
    assert_eq!(after(10, READ, elsewhere), Some(StuckKind::OtherChain));
    let nameless = |minutes: i64| Report { chain_id: None, ..named(minutes) };
    assert_eq!(after(10, READ, nameless), None, "not known yet is not another");
    let alone = |minutes: i64| Report { peers: 0, ..named(minutes) };
    assert_eq!((after(20, READ, alone), after(30, READ, alone)), (None, Some(StuckKind::NoPeers)));
    // The head stays where it was, so its age grows with the time.
    let stands =
        |minutes: i64| Report { progress_percent: 7, head_age_seconds: minutes.unsigned_abs() * 60, ..named(minutes) };
    assert_eq!((after(20, READ, stands), after(30, READ, stands)), (None, Some(StuckKind::NoProgress)));
    // The last percent of a long chain takes hours, and its head shows that it continues.
    let last = |minutes: i64| Report { progress_percent: 99, ..named(minutes) };
    assert_eq!((after(600, READ, last), after(600, WATCHED, going_at_99)), (None, Some(StuckKind::NoProgress)));
    // Without a head nothing is counted yet.
    let headless =
        |minutes: i64| Report { progress_percent: 0, head_age_seconds: UNKNOWN_HEAD_AGE_SECONDS, ..named(minutes) };
    assert_eq!((after(230, READ, headless), after(240, READ, headless)), (None, Some(StuckKind::NoProgress)));
}

fn going_at_99(minutes: i64) -> Report {
    Report { progress_percent: 99, ..going(minutes) }
}

#[test]
fn what_was_recorded_of_another_chain_before_chains_had_names_is_read() {
    let old = serde_json::json!({"other_chain": {"root": "0x02"}});
    assert_eq!(serde_json::from_value::<Stuck>(old).unwrap(), Stuck::OtherChain { chain: "0x02".into() });
}
