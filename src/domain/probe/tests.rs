use proptest::prelude::*;

use super::*;
use crate::domain::{Interval, Reading, Time, Verdict};

const EVERY: i64 = 10;

fn at(seconds: i64) -> Time {
    Time::UNIX_EPOCH + Span::from_secs(1_000_000 + seconds)
}

fn rule(value: Option<WantedValue>) -> Rule {
    Rule {
        name: "node".into(),
        wanted: value.map(|value| Wanted { pointer: "/result/blocks".into(), value }),
        fails_for: FailsFor::Times(3),
        believed_for: Span::from_secs(30),
    }
}

fn advances(stalled_after: i64) -> Rule {
    rule(Some(WantedValue::Advances { stalled_after: Span::from_secs(stalled_after) }))
}

fn compares(text: &str) -> Rule {
    rule(Some(WantedValue::Compares(text.parse().unwrap())))
}

fn json(body: &str) -> ProbeAnswer {
    ProbeAnswer::Http { status: 200, body: body.into() }
}

fn blocks(value: &str) -> ProbeAnswer {
    json(&format!("{{\"result\":{{\"blocks\":{value}}}}}"))
}

fn status(status: u16) -> ProbeAnswer {
    ProbeAnswer::Http { status, body: b"{\"result\":{\"blocks\":7}}".to_vec() }
}

fn observe(judge: &mut Judge, answer: &ProbeAnswer, seconds: i64) -> Reading {
    judge.observe(0, answer, Interval { from: at(seconds) - Span::from_secs(1), to: at(seconds) })
}

/// Answers at regular intervals; what is said after each.
fn run(rule: Rule, answers: &[ProbeAnswer]) -> Vec<Reading> {
    let mut judge = Judge::new([rule]);
    answers.iter().zip(0..).map(|(answer, n)| observe(&mut judge, answer, n * EVERY)).collect()
}

fn verdicts(rule: Rule, answers: &[ProbeAnswer]) -> Vec<Verdict> {
    run(rule, answers).iter().map(|reading| reading.verdict).collect()
}

use Verdict::{Down, Unknown, Up};

#[test]
fn what_is_its_own_doing_is_down_once_it_has_lasted() {
    for failure in [ProbeAnswer::Refused, ProbeAnswer::TimedOut, status(500), status(503), blocks("4")] {
        let said = verdicts(compares(">= 5"), &vec![failure.clone(); 4]);
        assert_eq!(said, [Unknown, Unknown, Down, Down], "{failure:?}");
    }
}

#[test]
fn one_good_answer_begins_the_row_again() {
    let (bad, good) = (ProbeAnswer::Refused, status(200));
    let answers = [bad.clone(), bad.clone(), good, bad.clone(), bad.clone(), bad];
    assert_eq!(verdicts(rule(None), &answers)[2..], [Up, Up, Up, Down], "up stays for as long as it may be believed");
}

#[test]
fn a_doubt_in_between_begins_the_row_again_and_ends_a_down() {
    let (bad, doubt) = (ProbeAnswer::Refused, ProbeAnswer::Doubtful("the name is not found".into()));
    let answers = [bad.clone(), bad.clone(), doubt.clone(), bad.clone(), bad.clone(), bad.clone(), doubt];
    assert_eq!(verdicts(rule(None), &answers), [Unknown, Unknown, Unknown, Unknown, Unknown, Down, Unknown]);
}

#[test]
fn one_lost_answer_is_nothing_and_two_in_a_row_are() {
    let said = run(
        rule(None),
        &[status(200), ProbeAnswer::TimedOut, ProbeAnswer::Doubtful("x".into()), ProbeAnswer::TimedOut],
    );
    assert_eq!(said.iter().map(|reading| reading.verdict).collect::<Vec<_>>(), [Up, Up, Up, Up]);
    assert!(said.iter().all(|reading| reading.fresh_until == at(30)), "it is believed no longer than before");
    assert_eq!(said[3].verdict_at(at(31)), Unknown);
}

#[test]
fn failing_for_a_time_is_counted_from_answer_to_answer() {
    let slow = Rule { fails_for: FailsFor::Time(Span::from_secs(25)), ..rule(None) };
    assert_eq!(verdicts(slow, &vec![ProbeAnswer::Refused; 4]), [Unknown, Unknown, Unknown, Down]);
}

#[test]
fn a_height_is_up_only_once_it_was_seen_to_advance() {
    let said = run(advances(100), &[blocks("7"), blocks("7"), blocks("8"), blocks("8")]);
    assert_eq!(said.iter().map(|reading| reading.verdict).collect::<Vec<_>>(), [Unknown, Unknown, Up, Up]);
    assert_eq!(said[3].about.from, at(9), "it was still 7 then, so the work was done after that");
}

#[test]
fn a_height_that_stands_still_too_long_is_down_until_it_advances() {
    let mut answers = vec![blocks("7"); 6];
    answers.extend([blocks("\"0x8\""), blocks("8")]);
    let said = run(advances(40), &answers);
    let verdicts: Vec<_> = said.iter().map(|reading| reading.verdict).collect();
    assert_eq!(verdicts, [Unknown, Unknown, Unknown, Unknown, Down, Down, Up, Up]);
    assert_eq!(said[4].about.from, at(0));
    assert!(said[5].why.contains("has not advanced for 50s"), "{}", said[5].why);
}

#[test]
fn what_happened_while_nobody_watched_says_nothing() {
    let mut judge = Judge::new([advances(40)]);
    observe(&mut judge, &blocks("7"), 0);
    let after_sleep = observe(&mut judge, &blocks("7"), 3600);
    assert_eq!(after_sleep.verdict, Unknown, "the node may have slept with us");
    let mut judge = Judge::new([rule(None)]);
    for seconds in [0, 10, 3600, 3610] {
        assert_eq!(observe(&mut judge, &ProbeAnswer::Refused, seconds).verdict, Unknown, "{seconds}");
    }
    assert_eq!(observe(&mut judge, &ProbeAnswer::Refused, 3620).verdict, Down);
    assert_eq!(observe(&mut judge, &ProbeAnswer::Refused, 20).verdict, Unknown, "the clock was set back");
}

#[test]
fn a_lower_height_is_neither_progress_nor_failure_and_counts_anew_once_it_lasts() {
    let mut answers = vec![blocks("9"), blocks("7"), blocks("8"), blocks("9"), blocks("10")];
    assert_eq!(verdicts(advances(60), &answers), [Unknown, Unknown, Unknown, Unknown, Up]);
    answers = vec![blocks("999999999")];
    answers.extend((1..12).map(|n| blocks(&n.to_string())));
    let said = verdicts(advances(40), &answers);
    assert!(!said.contains(&Down), "{said:?}");
    assert_eq!(said.last(), Some(&Up), "one absurd height does not hide everything after it");
}

#[test]
fn all_probes_have_to_work_and_one_that_is_down_is_enough() {
    let mut judge = Judge::new([rule(None), Rule { name: "p2p".into(), ..rule(None) }]);
    let about = |seconds| Interval { from: at(seconds), to: at(seconds) };
    let reading = judge.observe(0, &status(200), about(0));
    assert_eq!(reading.verdict, Unknown);
    assert!(reading.why.contains("p2p has not been asked"), "{}", reading.why);
    assert_eq!(judge.observe(1, &ProbeAnswer::Connected, about(5)).verdict, Up);
    judge.observe(0, &status(200), about(10));
    judge.observe(1, &ProbeAnswer::Refused, about(15));
    judge.observe(0, &status(200), about(20));
    judge.observe(1, &ProbeAnswer::Refused, about(25));
    judge.observe(0, &status(200), about(30));
    let down = judge.observe(1, &ProbeAnswer::Refused, about(35));
    assert_eq!((down.verdict, down.about.from), (Down, at(15)));
    assert_eq!(&*down.why, "p2p: its port refuses the connection, 3 times in a row");
    assert_eq!(judge.observe(0, &status(200), about(40)).verdict, Down, "the other one does not outvote it");
    // The second is not asked any more; what it said goes stale.
    judge.observe(0, &status(200), about(60));
    assert_eq!(judge.observe(0, &status(200), about(80)).verdict, Unknown);
}

fn doubtful() -> impl Strategy<Value = ProbeAnswer> {
    prop_oneof![
        any::<String>().prop_map(ProbeAnswer::Doubtful),
        (100u16..200).prop_map(status),
        (300u16..500).prop_map(status),
        (600u16..1000).prop_map(status),
        // The pointer leads nowhere, or to something of another type.
        prop_oneof![Just("null"), Just("true"), Just("[]"), Just("{}"), Just("\"synced\"")].prop_map(blocks),
        "[^{}]{0,40}".prop_map(|body| json(&body)),
        // Half an answer.
        (0usize..22).prop_map(|cut| json(&"{\"result\":{\"blocks\":7}}"[..cut])),
    ]
}

fn any_answer() -> impl Strategy<Value = ProbeAnswer> {
    prop_oneof![
        doubtful(),
        Just(ProbeAnswer::Refused),
        Just(ProbeAnswer::TimedOut),
        Just(ProbeAnswer::Connected),
        (200u16..600).prop_map(status),
        (0u8..4).prop_map(|height| blocks(&height.to_string())),
    ]
}

fn any_rule() -> impl Strategy<Value = Rule> {
    let fails_for =
        prop_oneof![(1u32..5).prop_map(FailsFor::Times), (1i64..60).prop_map(|s| FailsFor::Time(Span::from_secs(s)))];
    // Only what asks for a number: null has a type of its own and `!= null` may be asked of anything.
    let rule = prop_oneof![(10i64..90).prop_map(advances), Just(compares(">= 2")), Just(compares("== 3"))];
    (rule, fails_for).prop_map(|(rule, fails_for)| Rule { fails_for, ..rule })
}

proptest! {
    #[test]
    fn doubts_alone_never_say_down(
        rule in any_rule(), steps in prop::collection::vec((doubtful(), -100i64..100), 1..60)
    ) {
        let (mut judge, mut now) = (Judge::new([rule]), 0);
        for (answer, step) in steps {
            now += step;
            let reading = observe(&mut judge, &answer, now);
            prop_assert_eq!(reading.verdict, Unknown, "{:?}", answer);
        }
    }

    #[test]
    fn down_is_said_only_of_an_answer_that_fails_or_stands_still(
        rule in any_rule(), steps in prop::collection::vec((any_answer(), -5i64..40), 1..60)
    ) {
        let (mut judge, mut now) = (Judge::new([rule.clone()]), 0);
        for (answer, step) in steps {
            now += step;
            let reading = observe(&mut judge, &answer, now);
            prop_assert!(reading.about.from <= reading.about.to);
            match ProbeObservation::of(&answer, &rule) {
                ProbeObservation::Works(_) => prop_assert_eq!(reading.verdict, Up),
                ProbeObservation::Doubt(_) => prop_assert_ne!(reading.verdict, Down),
                ProbeObservation::Fails(_) | ProbeObservation::Height(_) => {}
            }
        }
    }

    #[test]
    fn fewer_failures_in_a_row_than_allowed_never_say_down(
        row in 2u32..6, good in prop::collection::vec(1u32..6, 1..12)
    ) {
        let rule = Rule { fails_for: FailsFor::Times(row), ..compares(">= 5") };
        let (mut judge, mut now) = (Judge::new([rule]), 0);
        for failures in good {
            for _ in 0..failures.min(row - 1) {
                now += EVERY;
                prop_assert_ne!(observe(&mut judge, &ProbeAnswer::TimedOut, now).verdict, Down);
            }
            now += EVERY;
            prop_assert_eq!(observe(&mut judge, &blocks("5"), now).verdict, Up);
        }
    }
}
