use std::time::Duration;

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::domain::{
    Time, TimeExt,
    ownership::{Held, OnLedgerLoss, test_grant},
};

const TTL: Duration = Duration::from_secs(6 * 3600);
const ME: Uuid = Uuid::from_u128(1);
const OTHER: Uuid = Uuid::from_u128(2);
const NOW: Time = Time::UNIX_EPOCH;

fn gate(last: Option<&LastGrant>) -> HomeGate<'_> {
    HomeGate { site: "home", holder: ME, resumes: true, last, seen: 0 }
}

fn held(number: u64, by: Uuid, on_loss: OnLedgerLoss) -> Session {
    Session::free(number, Uuid::nil()).held_by(by, on_loss, TTL, NOW, Uuid::nil())
}

fn home(number: u64) -> VerifiedGrant {
    test_grant(number, GrantPlace::Home { site: "home".into() })
}

fn cloud(number: u64, boot: &str) -> VerifiedGrant {
    let owner =
        GrantPlace::Cloud { project: "p".into(), zone: "z".into(), instance_id: 7.into(), boot_id: boot.into() };
    test_grant(number, owner)
}

#[test]
fn a_gate_takes_what_is_free_old_or_its_own_and_nothing_else() {
    use StartDecision::{Take, Wait};
    let old = Duration::from_secs(6 * 3600 + 432 + 30);
    let stop = |by| held(8, by, OnLedgerLoss::Stop);
    let run = |by| held(8, by, OnLedgerLoss::Run);
    let free = || Session::free(8, Uuid::nil());
    let tick = Duration::from_nanos(1);
    for (what, session, unchanged, expected) in [
        ("given back", Some(free()), Duration::ZERO, Take),
        ("its own", Some(stop(ME)), Duration::ZERO, Take),
        ("its own, which continues without the ledger", Some(run(ME)), Duration::ZERO, Take),
        ("another's", Some(stop(OTHER)), Duration::ZERO, Wait(WaitReason::Held(old))),
        ("another's, nearly old", Some(stop(OTHER)), old - tick, Wait(WaitReason::Held(tick))),
        ("another's, old", Some(stop(OTHER)), old, Take),
        ("another's, which is never old", Some(run(OTHER)), Duration::MAX, Wait(WaitReason::HeldForGood)),
        ("missing", None, Duration::MAX, Wait(WaitReason::NoSession)),
        (
            "raised, and free",
            Some(free().raised_to(9, Uuid::nil())),
            Duration::MAX,
            Wait(WaitReason::Moving { session: 9, grant: 8 }),
        ),
        ("of an earlier grant", Some(Session::free(3, Uuid::nil())), Duration::ZERO, Take),
    ] {
        assert_eq!(gate(None).start(session.as_ref(), Some(&home(8)), unchanged), expected, "{what}");
    }
}

/// Two machines may have it at once.
#[test]
fn a_folder_that_is_not_on_a_local_disk_never_resumes() {
    let elsewhere = HomeGate { resumes: false, ..gate(None) };
    let session = held(8, ME, OnLedgerLoss::Stop);
    let decision = elsewhere.start(Some(&session), Some(&home(8)), Duration::ZERO);
    assert!(matches!(decision, StartDecision::Wait(WaitReason::Held(_))), "{decision:?}");
}

#[test]
fn only_a_grant_for_this_home_starts_and_none_older_than_what_was_seen() {
    let free = Session::free(1, Uuid::nil());
    let start =
        |grant: Option<&VerifiedGrant>, last: Option<&LastGrant>| gate(last).start(Some(&free), grant, Duration::ZERO);
    assert_eq!(start(None, None), StartDecision::Wait(WaitReason::NoGrant));
    let away = test_grant(8, GrantPlace::Home { site: "away".into() });
    for elsewhere in [away, cloud(8, "b")] {
        let decision = start(Some(&elsewhere), None);
        assert!(matches!(decision, StartDecision::Wait(WaitReason::GrantedElsewhere { number: 8, .. })));
    }
    let (older, newer) = (home(8), home(10));
    assert_eq!(start(Some(&newer), Some(&older.last())), StartDecision::Take);
    let decision = start(Some(&older), Some(&newer.last()));
    assert!(matches!(decision, StartDecision::Wait(WaitReason::PutBack(_))), "{decision:?}");
}

#[test]
fn a_running_gate_stops_for_a_raised_number_and_for_another_holder() {
    let look = |session: &Session| gate(None).look(session, 8);
    let own = held(8, ME, OnLedgerLoss::Stop);
    assert_eq!(look(&own), SessionLook::Ours);
    let raised = own.raised_to(9, Uuid::nil());
    assert_eq!(look(&raised), SessionLook::Stop(StopReason::Moving { number: 9 }));
    for lost in [held(8, OTHER, OnLedgerLoss::Stop), own.given_back(NOW, Uuid::nil())] {
        assert_eq!(look(&lost), SessionLook::Stop(StopReason::Lost));
    }
}

#[test]
fn the_cloud_starts_by_a_grant_for_this_machine_and_this_boot() {
    let may = |grant: &VerifiedGrant, instance: u64, boot: &str, last: Option<&LastGrant>| {
        may_start_in_cloud(grant, &instance.into(), boot, last)
    };
    assert!(may(&cloud(9, "first"), 7, "first", None));
    assert!(!may(&cloud(9, "first"), 7, "second", None), "rebooted");
    assert!(!may(&cloud(9, "first"), 8, "first", None), "another machine");
    assert!(!may(&home(9), 7, "first", None));
    assert!(!may(&cloud(9, "first"), 7, "first", Some(&home(10).last())), "a newer one was seen");
}

#[test]
fn a_raise_changes_the_number_and_nothing_else() {
    let session = held(8, OTHER, OnLedgerLoss::Stop);
    let write = Uuid::from_u128(9);
    assert_eq!(session.raised_to(9, write), Session { number: 9, write, ..session.clone() });
    assert_eq!(session.raised_to(7, write).number, 8, "never lower");
}

#[test]
fn the_times_in_which_a_session_was_held_are_kept_for_eight_days() {
    let hours = |hours| NOW.plus(crate::domain::Span::from_hours(hours));
    let renew = |session: &Session, by, at| session.held_by(by, OnLedgerLoss::Stop, TTL, hours(at), Uuid::nil());
    let span = |from, until| Held { from: hours(from), until: hours(until) };
    let first = renew(&renew(&Session::free(1, Uuid::nil()), ME, 0), ME, 5);
    assert_eq!(first.held, [span(0, 5)]);
    let second = renew(&first.given_back(hours(6), Uuid::nil()), OTHER, 8);
    assert_eq!(second.held, [span(0, 6), span(8, 8)]);
    let back_later = renew(&second, OTHER, 8 + 7);
    assert_eq!(back_later.held, [span(0, 6), span(8, 8), span(15, 15)], "longer away than it may sign alone");
    assert_eq!(second.given_back(hours(15), Uuid::nil()).held, [span(0, 6), span(8, 8)]);
    let set_back = renew(&second, OTHER, 2);
    assert_eq!(set_back.held, [span(0, 0), span(2, 2)], "what a clock that was ahead has written is not believed");
    let later = renew(&second, OTHER, 6 + 8 * 24 + 1);
    assert_eq!(later.held, [span(8, 8), span(199, 199)]);
    let many = (0..2000).fold(second, |session, _| renew(&session.given_back(hours(8), Uuid::nil()), ME, 8));
    assert_eq!(many.held.len(), 512);
}

#[test]
fn the_deadline_counts_from_before_the_request() {
    let second = Duration::from_secs(1);
    let deadline = ChildDeadline::after(100 * second, 600 * second, 60 * second);
    assert_eq!(deadline, ChildDeadline { ask: 640 * second, kill: 700 * second });
    let short = ChildDeadline::after(100 * second, 10 * second, 60 * second);
    assert_eq!(short, ChildDeadline { ask: 100 * second, kill: 110 * second });
}

#[test]
fn a_quick_restart_waits_for_nothing_and_what_may_be_its_own_double_for_a_later_epoch() {
    use SilenceNeeded::{LastEpoch, Later, None};
    assert_eq!(silence_before_start(true, false, false), None);
    assert_eq!(silence_before_start(false, false, false), LastEpoch);
    assert_eq!(silence_before_start(true, false, true), Later(1), "as after it has seen its own keys at work");
    assert_eq!(silence_before_start(false, true, false), Later(2));
    assert_eq!(silence_before_start(true, true, true), Later(2));
}

#[test]
fn a_ledger_that_was_put_back_is_known_by_the_highest_number_that_was_seen() {
    let session = held(8, ME, OnLedgerLoss::Stop);
    let seen = |seen| HomeGate { seen, ..gate(None) }.start(Some(&session), Some(&home(8)), Duration::ZERO);
    assert_eq!(seen(8), StartDecision::Take);
    let put_back = GrantError::PutBack { known: 9, found: 8 };
    assert_eq!(seen(9), StartDecision::Wait(WaitReason::PutBack(put_back)), "it stopped for a promotion to 9");
}

#[test]
fn a_session_that_was_never_held_is_no_fence() {
    let free = Session::free(8, Uuid::nil());
    assert!(free.is_free(Duration::ZERO) && !free.is_fence(Duration::MAX));
    let taken = held(8, ME, OnLedgerLoss::Stop);
    assert!(!taken.is_fence(Duration::ZERO) && taken.is_fence(Duration::MAX));
    assert!(taken.given_back(NOW, Uuid::nil()).is_fence(Duration::ZERO));
    assert!(!held(8, ME, OnLedgerLoss::Run).is_fence(Duration::MAX), "only giving it back frees it");
}

proptest! {
    /// The holder has stopped by its own clock, however slow, when the session is old by any other, however fast.
    #[test]
    fn nobody_finds_a_session_old_before_its_holder_has_stopped(ttl in 1_u64..10_000_000, slow in 0..=10_000_u64, fast in 0..=9_800_u64) {
        let session = Session::free(1, Uuid::nil()).held_by(ME, OnLedgerLoss::Stop, Duration::from_secs(ttl), NOW, Uuid::nil());
        let deadline = ChildDeadline::after(Duration::ZERO, Duration::from_secs(ttl), Duration::ZERO).kill;
        // True time, with the two clocks at most a fiftieth apart in all.
        let (slow, fast) = (slow as f64 / 1e6, fast as f64 / 1e6);
        let stopped = deadline.as_secs_f64() * (1.0 + slow);
        let old = session.old_after().unwrap().as_secs_f64() * (1.0 - fast);
        prop_assert!(stopped + 29.0 < old, "stopped {stopped}, old {old}");
    }
}
