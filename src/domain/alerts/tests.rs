//! The rules of [`super::merge`] and of the book, one by one and over random conversations.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::domain::{Reading, Source, Verdict};

const REPEAT: Freshness = Freshness { stale_after: Freshness::STALE_AFTER, watchdog: None };
const WATCHDOG: Freshness = Freshness { watchdog: Some(Freshness::WATCHDOG_TIMEOUT), ..REPEAT };

fn at(seconds: i64) -> Time {
    Time::from_second(1_800_000_000 + seconds).expect("a time in this century")
}

fn alert(fingerprint: &str, evidence: Evidence) -> Alert {
    Alert {
        validator: ValidatorId::new("eth-0").expect("a name"),
        fingerprint: Fingerprint::new(fingerprint).expect("16 digits"),
        starts_at: Some(at(-60)),
        evidence,
        mapping: "{alertname=\"ProcessDown\"}".into(),
        name: "ProcessDown".into(),
        summary: "no metrics".into(),
    }
}

fn process() -> Alert {
    alert("e1552dd47b7bee5f", Evidence::Process)
}

fn resolved_word() -> Word {
    Word::Resolved { ends_at: None }
}

fn ended_at(seconds: i64) -> Word {
    Word::Resolved { ends_at: Some(at(seconds)) }
}

fn told(words: &[(Word, i64)]) -> AlertRecord {
    let all: Vec<_> = words.iter().map(|(word, seconds)| (word.clone(), -60, *seconds)).collect();
    record_after(&all)
}

/// The same with the start that each message names.
fn record_after(words: &[(Word, i64, i64)]) -> AlertRecord {
    let mut known = None;
    for (word, start, seconds) in words {
        let alert = Alert { starts_at: Some(at(*start)), ..process() };
        known = Some(merge(known.as_ref(), &alert, &AlertUpdate { word: word.clone(), at: at(*seconds) }).record);
    }
    known.expect("at least one word")
}

fn opinion_of(record: AlertRecord, now: i64, freshness: &Freshness, watchdog: Option<i64>) -> Reading {
    let mut book = AlertBook::default();
    book.apply(Arc::new(record));
    let mut readings = book.readings(at(now), freshness, watchdog.map(at));
    assert_eq!(readings.len(), 1);
    readings.remove(0)
}

fn verdict(words: &[(Word, i64)], now: i64) -> Verdict {
    opinion_of(told(words), now, &REPEAT, None).verdict
}

/// A machine that comes up with tomorrow's date and is corrected: what comes then is the later word.
#[test]
fn an_alert_that_was_seen_by_a_clock_that_was_ahead_counts_again_at_once() {
    let tomorrow = told(&[(Word::Firing, 86_400)]);
    let word = |word: Word| merge(Some(&tomorrow), &process(), &AlertUpdate { word, at: at(0) });
    let ended = word(Word::NotListed);
    assert!(ended.write && matches!(ended.record.state, AlertState::Resolved { .. }), "{ended:?}");
    let fires = word(Word::Firing);
    assert_eq!((fires.write, fires.record.seen_at), (true, at(0)), "a restart must not bring the other clock back");
    assert_eq!(opinion_of(fires.record, 10, &REPEAT, None).about.to, at(0), "nothing is said of the future");
    // A list that was asked for seconds before a message says nothing new, as ever.
    let known = told(&[(Word::Firing, 10)]);
    let late = merge(Some(&known), &process(), &AlertUpdate { word: Word::NotListed, at: at(0) });
    assert_eq!((late.write, late.record), (false, known));
}

#[test]
fn a_firing_alert_says_down_about_the_time_from_its_start_to_its_last_word() {
    let reading = opinion_of(told(&[(Word::Firing, 0), (Word::Firing, 300)]), 310, &REPEAT, None);
    assert_eq!(reading.verdict, Verdict::Down);
    assert_eq!((reading.about.from, reading.about.to), (at(-60), at(300)));
    assert_eq!(&*reading.why, "ProcessDown fires: no metrics");
}

#[test]
fn a_resolved_alert_is_unknown_because_resolved_is_not_recovery() {
    let reading = opinion_of(told(&[(Word::Firing, 0), (ended_at(50), 60)]), 61, &REPEAT, None);
    assert_eq!(reading.verdict, Verdict::Unknown);
    assert_eq!(&*reading.why, "ProcessDown was resolved at 2027-01-15T08:00:50Z, which is not recovery");
}

#[test]
fn no_alert_is_no_opinion() {
    assert!(AlertBook::default().readings(at(0), &REPEAT, None).is_empty());
}

#[test]
fn firing_after_resolved_counts_only_after_a_second_message_30_s_later() {
    let back = [(Word::Firing, 0), (resolved_word(), 10), (Word::Firing, 20)];
    assert_eq!(verdict(&back, 21), Verdict::Unknown);
    let with = |more: i64| [back.as_slice(), &[(Word::Firing, more)]].concat();
    assert_eq!(verdict(&with(49), 50), Verdict::Unknown, "a duplicate of the late message");
    assert_eq!(verdict(&with(50), 50), Verdict::Down);
    let reading = opinion_of(told(&with(50)), 50, &REPEAT, None);
    assert_eq!(reading.about.from, at(20), "the time before it was resolved is not claimed");
}

#[test]
fn a_listing_confirms_what_is_doubtful_and_ends_what_it_lacks() {
    let back = [(Word::Firing, 0), (resolved_word(), 10), (Word::Firing, 20)];
    assert_eq!(verdict(&[back.as_slice(), &[(Word::Listed, 21)]].concat(), 22), Verdict::Down);
    assert_eq!(verdict(&[back.as_slice(), &[(Word::NotListed, 21)]].concat(), 22), Verdict::Unknown);
    assert_eq!(verdict(&[(Word::Firing, 0), (Word::NotListed, 21)], 22), Verdict::Unknown);
}

#[test]
fn a_listing_asked_for_before_the_last_message_changes_nothing() {
    assert_eq!(verdict(&[(Word::Firing, 10), (resolved_word(), 20), (Word::Listed, 19)], 22), Verdict::Unknown);
    assert_eq!(verdict(&[(Word::Firing, 20), (Word::NotListed, 19)], 22), Verdict::Down);
}

#[test]
fn a_silenced_alert_is_unknown_and_says_by_what() {
    let silenced = Word::ListedSilenced { by: "4711".into() };
    let reading = opinion_of(told(&[(Word::Firing, 0), (silenced.clone(), 5)]), 6, &REPEAT, None);
    assert_eq!((reading.verdict, &*reading.why), (Verdict::Unknown, "ProcessDown is silenced by 4711"));
    assert_eq!(verdict(&[(Word::Firing, 0), (silenced, 5), (Word::Firing, 9)], 10), Verdict::Down, "silence over");
}

#[test]
fn a_repetition_writes_nothing_but_once_an_hour() {
    let known = told(&[(Word::Firing, 0)]);
    let soon = merge(Some(&known), &process(), &AlertUpdate { word: Word::Firing, at: at(300) });
    assert!(!soon.write);
    assert_eq!((soon.record.seen_at, soon.record.revision), (at(300), 1));
    assert!(merge(Some(&soon.record), &process(), &AlertUpdate { word: Word::Firing, at: at(3_600) }).write);
}

/// Two Prometheus replicas, as seen of Alertmanager 0.25: first the one's start, then the earlier one of the other.
#[test]
fn what_is_resolved_ends_for_every_start_that_was_ever_named() {
    for starts in [[-48, -41], [-41, -48]] {
        let words = [(Word::Firing, starts[0], 0), (Word::Firing, starts[1], 1), (ended_at(9), -48, 10)];
        let record = record_after(&words);
        assert_eq!(opinion_of(record.clone(), 11, &REPEAT, None).verdict, Verdict::Unknown, "{starts:?}");
        let late = merge(Some(&record), &process(), &AlertUpdate { word: Word::Firing, at: at(12) });
        assert_eq!(late.record.state, AlertState::Doubtful { since: at(12) }, "a late message of the other start");
    }
    assert_eq!(
        record_after(&[(Word::Firing, -41, 0)]).alert.key(),
        record_after(&[(Word::Firing, -48, 0)]).alert.key()
    );
}

#[test]
fn the_earlier_start_of_two_replicas_counts_and_a_start_after_a_gap_begins_again() {
    let since = |words: &[(Word, i64, i64)]| opinion_of(record_after(words), 9_000, &REPEAT, None).about.from;
    assert_eq!(since(&[(Word::Firing, -41, 0), (Word::Firing, -48, 1), (Word::Firing, -41, 2)]), at(-48));
    assert_eq!(since(&[(Word::Firing, -48, 0), (Word::Firing, 3_600, 3_660)]), at(3_600), "it had ended in between");
    let silenced = Word::ListedSilenced { by: "1".into() };
    let words = [(Word::Firing, -48, 0), (silenced, -48, 5), (Word::Firing, -48, 9), (Word::Firing, -48, 300)];
    assert_eq!(since(&words), at(9), "the time in which it was silenced is not claimed");
}

#[test]
fn what_begins_after_the_end_is_another_outage_and_counts_at_once() {
    let again = [(Word::Firing, -60, 0), (ended_at(50), -60, 60), (Word::Firing, 70, 80)];
    let reading = opinion_of(record_after(&again), 81, &REPEAT, None);
    assert_eq!((reading.verdict, reading.about.from), (Verdict::Down, at(70)));
    let late_end = [(Word::Firing, 70, 80), (ended_at(50), -60, 81)];
    assert_eq!(opinion_of(record_after(&late_end), 82, &REPEAT, None).verdict, Verdict::Down, "an end that comes late");
    let older = [again.as_slice(), &[(Word::Firing, -60, 81)]].concat();
    assert_eq!(
        opinion_of(record_after(&older), 82, &REPEAT, None).about.from,
        at(70),
        "the time before is not claimed"
    );
}

#[test]
fn a_start_in_the_future_is_ended_by_any_end() {
    let words = [(Word::Firing, 100_000, 0), (ended_at(5), 100_000, 10)];
    assert_eq!(opinion_of(record_after(&words), 11, &REPEAT, None).verdict, Verdict::Unknown);
}

#[test]
fn a_rule_that_cannot_be_evaluated_is_unknown_even_while_it_fired() {
    for words in [&[(Word::NotEvaluated, 1)][..], &[(Word::Firing, 0), (Word::NotEvaluated, 1)]] {
        let reading = opinion_of(told(words), 2, &REPEAT, None);
        assert_eq!(reading.verdict, Verdict::Unknown);
        let why = "ProcessDown says nothing since 2027-01-15T08:00:01Z: its rule could not be evaluated";
        assert_eq!(&*reading.why, why);
    }
}

#[test]
fn an_alert_is_believed_for_stale_after_with_or_without_a_watchdog() {
    let edge = Freshness::STALE_AFTER.as_secs();
    for (freshness, watchdog) in [(REPEAT, None), (WATCHDOG, Some(edge + 1))] {
        let record = told(&[(Word::Firing, 0)]);
        assert_eq!(opinion_of(record.clone(), edge, &freshness, watchdog).verdict, Verdict::Down);
        let stale = opinion_of(record, edge + 1, &freshness, watchdog);
        assert_eq!((stale.verdict, &*stale.why), (Verdict::Unknown, "ProcessDown was last heard 4h 10m ago"));
    }
}

#[test]
fn a_repetition_or_alertmanagers_list_prolongs_the_belief() {
    let edge = Freshness::STALE_AFTER.as_secs();
    for word in [Word::Firing, Word::Listed] {
        let record = told(&[(Word::Firing, 0), (word, edge)]);
        assert_eq!(opinion_of(record.clone(), 2 * edge, &WATCHDOG, Some(2 * edge)).verdict, Verdict::Down);
        assert_eq!(opinion_of(record, 2 * edge + 1, &WATCHDOG, Some(2 * edge)).verdict, Verdict::Unknown);
    }
}

#[test]
fn what_has_ended_is_kept_for_an_hour_and_what_is_not_repeated_until_well_after_it_is_stale() {
    let stale = Span::from_mins(15);
    let ended = told(&[(Word::Firing, 0), (resolved_word(), 60)]);
    assert!(!ended.is_over(at(3_660), stale) && ended.is_over(at(3_661), stale));
    let firing = told(&[(Word::Firing, 0)]);
    let kept = 900 + 2 * 3_600;
    assert!(!firing.is_over(at(kept), stale) && firing.is_over(at(kept + 1), stale));
    let mut book = AlertBook::default();
    book.apply(Arc::new(ended));
    book.forget_old(at(3_660), stale);
    assert_eq!(book.alerts().count(), 1);
    book.forget_old(at(3_661), stale);
    assert_eq!(book.alerts().count(), 0);
}

#[test]
fn with_a_watchdog_all_is_unknown_when_it_is_missing() {
    let record = told(&[(Word::Firing, 0)]);
    let fresh = opinion_of(record.clone(), 10_000, &WATCHDOG, Some(9_900));
    assert_eq!((fresh.verdict, fresh.fresh_until), (Verdict::Down, at(9_900 + 300)));
    let missing = opinion_of(record.clone(), 360, &WATCHDOG, Some(0));
    assert_eq!((missing.verdict, &*missing.why), (Verdict::Unknown, "no Watchdog from Alertmanager for 6m"));
    assert_eq!(opinion_of(record, 1, &WATCHDOG, None).verdict, Verdict::Unknown);
}

#[test]
fn an_alert_from_before_a_restart_counts_again_with_the_next_watchdog() {
    let record = told(&[(Word::Firing, 0)]);
    let mut signals = crate::domain::Signals::default();
    let hear = |signals: &mut crate::domain::Signals, now: i64, watchdog: Option<i64>| {
        signals.fold(Source::Alert, &opinion_of(record.clone(), now, &WATCHDOG, watchdog), at(now));
        signals.assess(at(now), 1, at(now)).down
    };
    assert!(!hear(&mut signals, 400, None), "nothing is known of Alertmanager after a start");
    assert!(hear(&mut signals, 420, Some(420)), "it would have been told had the alert ended");
    assert!(!hear(&mut signals, 900, Some(420)));
    assert!(hear(&mut signals, 960, Some(960)), "and so it is after every gap");
}

#[test]
fn any_firing_alert_of_an_evidence_says_down_and_another_evidence_speaks_for_itself() {
    let mut book = AlertBook::default();
    let word = |word, seconds| AlertUpdate { word, at: at(seconds) };
    let take = |book: &mut AlertBook, alert: Alert, heard| book.apply(Arc::new(merge(None, &alert, &heard).record));
    take(&mut book, alert("aaaaaaaaaaaaaaaa", Evidence::Process), word(resolved_word(), 9));
    take(&mut book, alert("bbbbbbbbbbbbbbbb", Evidence::Process), word(Word::Firing, 3));
    take(&mut book, alert("cccccccccccccccc", Evidence::Host), word(resolved_word(), 4));
    let verdicts: Vec<_> =
        book.readings(at(10), &REPEAT, None).into_iter().map(|reading| (reading.evidence, reading.verdict)).collect();
    assert_eq!(verdicts, [(Evidence::Host, Verdict::Unknown), (Evidence::Process, Verdict::Down)]);
}

#[test]
fn a_start_in_the_future_is_now_and_absurd_times_do_not_panic() {
    for starts_at in [None, Some(Time::MAX), Some(Time::MIN)] {
        let alert = Alert { starts_at, ..process() };
        let record = merge(None, &alert, &AlertUpdate { word: Word::Firing, at: at(0) }).record;
        let reading = opinion_of(record.clone(), 1, &REPEAT, None);
        assert_eq!(reading.verdict, Verdict::Down);
        assert!(reading.about.from <= at(0));
        let _ = opinion_of(record, 1, &Freshness { stale_after: Span::MAX, watchdog: None }, None);
    }
}

#[test]
fn the_book_is_bounded_and_forgets_what_fires_last() {
    let mut book = AlertBook::default();
    let mut apply = |number: usize, word: Word| {
        let alert = alert(&format!("{number:016x}"), Evidence::Chain);
        book.apply(Arc::new(merge(None, &alert, &AlertUpdate { word, at: at(0) }).record));
    };
    apply(0, Word::Firing);
    for number in 1..=book::MAX_ALERTS + 10 {
        apply(number, resolved_word());
    }
    assert_eq!(book.alerts().count(), book::MAX_ALERTS);
    assert_eq!(book.readings(at(1), &REPEAT, None)[0].verdict, Verdict::Down);
}

fn any_word() -> impl Strategy<Value = Word> {
    prop_oneof![
        3 => Just(Word::Firing),
        2 => (0..100_i64).prop_map(|end| Word::Resolved { ends_at: Some(at(end)) }),
        1 => Just(Word::Listed),
        1 => Just(Word::NotListed),
        1 => Just(Word::ListedSilenced { by: "1".into() }),
        1 => Just(Word::NotEvaluated),
    ]
}

/// What one of several replicas may say, each with a start of its own; every end is later than the start it belongs to.
fn any_message() -> impl Strategy<Value = (Word, i64)> {
    prop_oneof![
        3 => (-60..0_i64).prop_map(|start| (Word::Firing, start)),
        2 => (-60..0_i64, 0..60_i64).prop_map(|(start, lasts)| (ended_at((start + lasts).min(0)), start)),
    ]
}

fn is_down(record: &AlertRecord) -> bool {
    matches!(record.state, AlertState::Firing { .. })
}

proptest! {
    /// The exact property: of webhook messages heard within 30 s, only the *set* of words matters.
    #[test]
    fn within_30_s_neither_order_nor_duplication_changes_the_verdict(
        words in proptest::collection::vec(prop_oneof![Just(Word::Firing), Just(resolved_word())], 1..12),
    ) {
        let timed: Vec<_> = words.iter().cloned().zip(0..).collect();
        let expected = if words.contains(&resolved_word()) { Verdict::Unknown } else { Verdict::Down };
        prop_assert_eq!(verdict(&timed, 29), expected);
    }

    /// The same with starts that differ: it fires when one began after the last end, and in no other case.
    #[test]
    fn of_differing_starts_and_ends_only_the_set_matters(
        messages in proptest::collection::vec(any_message(), 1..12).prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle())),
    ) {
        let (one, other) = messages;
        let end = one.iter().filter_map(|(word, start)| {
            let Word::Resolved { ends_at } = word else { return None };
            (*ends_at).max(Some(at(*start)))
        }).max();
        let fires = |(word, start): &(Word, i64)| *word == Word::Firing && end.is_none_or(|end| at(*start) > end);
        let expected = if one.iter().any(fires) { Verdict::Down } else { Verdict::Unknown };
        for order in [one, other] {
            let heard: Vec<_> = order.into_iter().zip(0..).map(|((word, start), at)| (word, start, at)).collect();
            prop_assert_eq!(opinion_of(record_after(&heard), 29, &REPEAT, None).verdict, expected);
        }
    }

    #[test]
    fn an_end_later_than_every_start_is_the_end_whatever_came_before(
        words in proptest::collection::vec((any_word(), -60..500_i64, 0..500_i64), 0..30),
    ) {
        let all = [words, vec![(ended_at(500), -60, 500)]].concat();
        prop_assert!(!is_down(&record_after(&all)));
    }

    #[test]
    fn an_alert_whose_last_word_is_resolved_never_says_down(
        words in proptest::collection::vec((any_word(), 0..500_i64), 0..30),
        last in 0..500_i64,
    ) {
        // Words come with any times, also backwards: several connections answer at once.
        let all = [words, vec![(resolved_word(), last)]].concat();
        prop_assert!(!is_down(&told(&all)));
        prop_assert_eq!(verdict(&all, 500), Verdict::Unknown);
    }

    #[test]
    fn an_alert_never_says_up_and_never_down_without_a_firing_word(
        words in proptest::collection::vec((any_word(), 0..500_i64), 1..30),
    ) {
        let fired = words.iter().any(|(word, _)| matches!(word, Word::Firing | Word::Listed));
        let verdict = verdict(&words, 500);
        prop_assert!(verdict == Verdict::Unknown || (verdict == Verdict::Down && fired));
    }

    #[test]
    fn the_book_does_not_depend_on_the_order_in_which_records_come(
        words in proptest::collection::vec(any_word(), 1..20),
        shuffle in any::<u64>(),
    ) {
        let mut states = Vec::new();
        let mut known: Option<AlertRecord> = None;
        for (word, seconds) in words.into_iter().zip((0..).step_by(20)) {
            let merged = merge(known.as_ref(), &process(), &AlertUpdate { word, at: at(seconds) });
            states.push(Arc::new(merged.record.clone()));
            known = Some(merged.record);
        }
        let last = states.last().cloned();
        let mut book = AlertBook::default();
        let mut seed = shuffle;
        while !states.is_empty() {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let index = usize::try_from(seed >> 33).expect("31 bits") % states.len();
            let state = states.swap_remove(index);
            book.apply(Arc::clone(&state));
            book.apply(state);
        }
        prop_assert_eq!(book.alerts().next(), last.as_deref());
    }
}
