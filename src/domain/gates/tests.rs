//! What each gate passes, and what it refuses.

use strum::IntoEnumIterator as _;
use uuid::Uuid;

use super::{fence::fenced, *};
use crate::domain::{
    TimeExt as _,
    ownership::{Held, OnLedgerLoss, Session},
};

const MAINNET: Span = Span::from_secs(384);

fn silent_epochs(each: Span, count: u64, nodes: usize, ended: Time) -> SilentEpochs {
    let from = ended.minus(each * i32::try_from(count).unwrap());
    SilentEpochs { count, last: 9, nodes, about: Interval { from, to: ended }, each }
}

fn silent_state(each: Span, count: u64, nodes: usize, ended: Time, now: Time) -> GateState {
    let silent_outside = Some(silent_epochs(each, count, nodes, ended));
    silent(&GateEvidence { silent_outside, ..GateEvidence::default() }, GatePass::Second, now).state
}

#[test]
fn nothing_known_passes_nothing() {
    for pass in GatePass::iter() {
        let report = judge(&GateEvidence::default(), pass, &[], Time::UNIX_EPOCH);
        let passing: Vec<_> = report.gates.iter().filter(|gate| gate.state == GateState::Pass).collect();
        assert!(passing.iter().all(|gate| gate.id == GateName::Export), "none was given: {passing:?}");
        assert!(report.gates.iter().all(|gate| gate.state == GateState::Pass || !gate.next.is_empty()), "{report:?}");
        assert!(!report.blocking().is_empty());
    }
    let asked = |pass| judge(&GateEvidence::default(), pass, &[], Time::UNIX_EPOCH).gates.len();
    assert_eq!(GatePass::iter().map(asked).collect::<Vec<_>>(), [11, 11, 4, 4, 4]);
}

#[test]
fn the_first_pass_leaves_out_what_the_wait_brings_about_and_the_second_leaves_out_nothing() {
    let of = |pass| judge(&GateEvidence::default(), pass, &[], Time::UNIX_EPOCH);
    let first = of(GatePass::First);
    let not_yet: Vec<_> =
        first.gates.iter().filter(|gate| gate.state == GateState::NotYet).map(|gate| gate.id).collect();
    assert_eq!(not_yet, [GateName::Silent, GateName::Missed, GateName::Fenced, GateName::Watermark]);
    assert!(not_yet.iter().all(|gate| !first.blocking().contains(gate)));
    assert!(not_yet.iter().all(|gate| of(GatePass::Second).blocking().contains(gate)));
    let kept = GateReport { pass: GatePass::Second, ..first };
    assert!(not_yet.iter().all(|gate| kept.blocking().contains(gate)), "a first pass is no second one");
}

#[test]
fn an_operator_passes_over_what_he_may_and_never_over_what_stands_between_two_signers() {
    let overrides: Vec<_> = GateName::iter().map(|gate| NotedOverride { gate, reason: "because".into() }).collect();
    let report = judge(&GateEvidence::default(), GatePass::Second, &overrides, Time::UNIX_EPOCH);
    let never = [GateName::Keys, GateName::Finalising, GateName::Silent, GateName::Fenced, GateName::OnlyOne];
    assert_eq!(report.blocking(), never);
    let one = judge(&GateEvidence::default(), GatePass::Second, &overrides[4..5], Time::UNIX_EPOCH);
    assert_eq!(one.gates.iter().filter(|gate| gate.state == GateState::Overridden).count(), 1);
    for gate in GateName::iter() {
        assert_eq!(gate.to_string().parse::<GateName>(), Ok(gate), "--override {gate}");
    }
}

#[test]
fn what_the_watcher_at_home_saw_counts_for_nothing() {
    let now = Time::UNIX_EPOCH;
    let silent_at_home = Some(silent_epochs(MAINNET, 50, 5, now));
    let gate = silent(&GateEvidence { silent_at_home, ..GateEvidence::default() }, GatePass::Second, now);
    assert_eq!(gate.state, GateState::Unknown, "{gate:?}");
    assert!(gate.evidence.contains("does not count"), "{gate:?}");
}

#[test]
fn two_silent_epochs_are_enough_once_homes_gate_has_released_the_session_or_the_machine_is_terminated() {
    let now = Time::UNIX_EPOCH;
    let state = |count, released, pass| {
        let silent_outside = Some(silent_epochs(MAINNET, count, 2, now));
        silent(&GateEvidence { silent_outside, released, ..GateEvidence::default() }, pass, now).state
    };
    assert_eq!(state(2, true, GatePass::Second), GateState::Pass);
    assert_eq!(state(1, true, GatePass::Second), GateState::Unknown);
    assert_eq!(state(2, false, GatePass::Second), GateState::Unknown);
    assert_eq!(state(2, false, GatePass::Home), GateState::Pass);
    assert_eq!(state(1, false, GatePass::Home), GateState::Unknown);
    assert_eq!(state(0, true, GatePass::Home), GateState::Fail);
}

#[test]
fn duties_are_missed_when_none_was_made_while_others_made_theirs() {
    let state = |epochs, made, missed, control_made| {
        let seen = Some(MissedDuties { epochs, made, missed, control_made });
        super::missed(&GateEvidence { missed: seen, ..GateEvidence::default() }).state
    };
    assert_eq!(state(2, 0, 4, true), GateState::Pass);
    assert_eq!(state(2, 1, 4, true), GateState::Fail);
    for (epochs, missed, control) in [(0, 0, true), (2, 0, true), (2, 4, false)] {
        assert_eq!(state(epochs, 0, missed, control), GateState::Unknown);
    }
}

/// Home held the session from hour 0 to 48, with a ttl of an hour; then its number was raised.
fn fence() -> FenceFacts {
    let (from, until) = (at(0), at(48));
    let session = Session {
        number: 9,
        holder: None,
        on_loss: OnLedgerLoss::Stop,
        ttl_seconds: 3600,
        held: vec![Held { from, until }],
        write: Uuid::nil(),
    };
    let duties = DutyEpochs { known: Span::from_hours(48), epochs: 450, with: vec![duty(1), duty(47)] };
    FenceFacts {
        session: Some(session),
        silent: std::time::Duration::ZERO,
        number: 9,
        cloud: Vec::new(),
        duties: Some(duties),
        records_for: Span::from_hours(24),
        behind_gate: Some(true),
    }
}

fn at(hour: i64) -> Time {
    Time::UNIX_EPOCH.plus(Span::from_hours(hour))
}

fn duty(hour: i64) -> Interval {
    Interval { from: at(hour), to: at(hour).plus(MAINNET) }
}

fn fenced_by(change: impl FnOnce(&mut FenceFacts)) -> GateState {
    let mut facts = fence();
    change(&mut facts);
    fenced(&GateEvidence { fence: Some(facts), ..GateEvidence::default() }, at(50)).state
}

fn session(facts: &mut FenceFacts) -> &mut Session {
    facts.session.as_mut().unwrap()
}

#[test]
fn the_fence_is_a_session_that_is_free_or_old_since_its_number_was_raised() {
    use std::time::Duration;
    assert_eq!(fenced_by(|_| {}), GateState::Pass);
    assert_eq!(fenced_by(|facts| session(facts).number = 8), GateState::Unknown, "not raised");
    assert_eq!(fenced_by(|facts| session(facts).held.clear()), GateState::Unknown, "never held");
    assert_eq!(fenced_by(|facts| facts.session = None), GateState::Unknown, "missing");
    let ahead = |facts: &mut FenceFacts| session(facts).held[0].from = at(60);
    assert_eq!(fenced_by(ahead), GateState::Unknown, "its clock was days ahead, and every duty looks explained");
    let held = |silent, on_loss| {
        fenced_by(|facts| {
            facts.silent = Duration::from_secs(silent);
            let session = session(facts);
            (session.holder, session.on_loss) = (Some(Uuid::max()), on_loss);
        })
    };
    assert_eq!(held(3600 + 72 + 29, OnLedgerLoss::Stop), GateState::Unknown);
    assert_eq!(held(3600 + 72 + 30, OnLedgerLoss::Stop), GateState::Pass);
    assert_eq!(held(u64::MAX, OnLedgerLoss::Run), GateState::Unknown, "only a release or the statement");
    assert_eq!(fenced_by(|facts| facts.duties = None), GateState::Unknown);
    let short = |facts: &mut FenceFacts| facts.duties.as_mut().unwrap().known = Span::from_hours(23);
    assert_eq!(fenced_by(short), GateState::Unknown, "fewer than fence_records");
    let of = |epochs| {
        fenced_by(move |facts| {
            facts.records_for = Span::from_mins(1);
            facts.duties = Some(DutyEpochs { known: Span::from_mins(40), epochs, with: Vec::new() });
        })
    };
    assert_eq!((of(4), of(5)), (GateState::Unknown, GateState::Pass), "minutes are no epoch where one is long");
    assert_eq!(fenced_by(|facts| facts.behind_gate = Some(false)), GateState::Fail);
}

/// It was given back at hour 48, by the store's clock as well.
fn with(epochs: &[Interval], change: impl FnOnce(&mut FenceFacts)) -> GateState {
    fenced_by(|facts| {
        facts.silent = std::time::Duration::from_secs(2 * 3600);
        facts.duties.as_mut().unwrap().with = epochs.to_vec();
        change(facts);
    })
}

#[test]
fn a_duty_after_the_last_moment_of_any_gate_is_somebody_who_signs_beside_it() {
    assert_eq!(with(&[late_duty(48, 2)], |_| {}), GateState::Fail, "after it was given back");
    assert_eq!(with(&[late_duty(48, 0)], |_| {}), GateState::Pass, "the epoch in which it was");
    let cloud = |facts: &mut FenceFacts| facts.cloud = vec![Interval { from: at(48), to: at(50) }];
    assert_eq!(with(&[late_duty(49, 2)], cloud), GateState::Pass, "the cloud owned");
    assert_eq!(with(&[duty(-1)], |_| {}), GateState::Pass, "before the gate first took the session");
    let held = |on_loss| {
        move |facts: &mut FenceFacts| {
            let session = session(facts);
            (session.holder, session.on_loss) = (Some(Uuid::max()), on_loss);
        }
    };
    assert_eq!(with(&[duty(49)], held(OnLedgerLoss::Stop)), GateState::Pass, "it may sign an hour without the ledger");
    assert_eq!(with(&[late_duty(49, 4)], held(OnLedgerLoss::Stop)), GateState::Fail, "and no longer");
}

/// With `on_ledger_loss: run` there is no ttl: whoever holds it or held it may have continued.
#[test]
fn a_duty_of_a_home_that_continues_without_the_ledger_is_unproved_and_never_outside() {
    let run = |facts: &mut FenceFacts| {
        let session = session(facts);
        (session.holder, session.on_loss) = (Some(Uuid::max()), OnLedgerLoss::Run);
    };
    assert_eq!(with(&[late_duty(49, 40)], run), GateState::Unknown);
    // It came back after a day, and gave the session back only now: the times end with the last renewal.
    let came_back = |facts: &mut FenceFacts| {
        run(facts);
        let back = session(facts).given_back(at(50), Uuid::nil());
        assert_eq!(back.held.last().unwrap().until, at(48));
        (facts.session, facts.silent) = (Some(back), std::time::Duration::ZERO);
    };
    assert_eq!(with(&[late_duty(49, 40)], came_back), GateState::Unknown);
    let stated = |facts: &mut FenceFacts| {
        facts.silent = std::time::Duration::ZERO;
        facts.duties.as_mut().unwrap().with = vec![late_duty(49, 2)];
    };
    let mut facts = fence();
    stated(&mut facts);
    let evidence =
        GateEvidence { fence: Some(facts), stated: true, silent_finalised: Some(5), ..GateEvidence::default() };
    assert_eq!(fenced(&evidence, at(50)).state, GateState::Pass, "the statement's path");
}

/// The times are by its holder's clock. What it wrote before it was set back is taken away, cut, or lies elsewhere.
#[test]
fn a_duty_of_a_home_whose_clock_was_wrong_is_unproved_and_never_outside() {
    use std::time::Duration;
    type Off = fn(i64) -> i64;
    let ttl = Duration::from_secs(3600);
    // Every five minutes from hour 0 on; `by` is how far its clock is off at each hour.
    let signs = |by: Off| {
        let mut session = Session::free(8, Uuid::nil());
        for minute in (0..48 * 60).step_by(5) {
            let now = at(0).plus(Span::from_mins(minute)).plus(Span::from_hours(by(minute / 60)));
            session = session.held_by(Uuid::max(), OnLedgerLoss::Stop, ttl, now, Uuid::nil());
        }
        let given_back = session.given_back(at(48).plus(Span::from_hours(by(48))), Uuid::nil());
        given_back.raised_to(9, Uuid::nil())
    };
    let every_hour: Vec<_> = (0..48).map(duty).collect();
    let judged = |by: Off| with(&every_hour, |facts| facts.session = Some(signs(by)));
    assert_eq!(judged(|_| 0), GateState::Pass);
    let wrong: [(Off, GateState); 5] = [
        (|hour| if hour < 24 { 0 } else { -12 }, GateState::Unknown),
        (|hour| if (20..30).contains(&hour) { -9 } else { 0 }, GateState::Unknown),
        (|hour| if (20..30).contains(&hour) { 72 } else { 0 }, GateState::Unknown),
        (|_| -5, GateState::Unknown),
        // Nothing is left of the time before: the first that is known of was taken then.
        (|hour| if hour == 20 { -400_000 } else { 0 }, GateState::Pass),
    ];
    for (by, state) in wrong {
        assert_eq!(judged(by), state, "off by {:?}", (0..48).map(by).collect::<Vec<_>>());
        let after = [&every_hour[..], &[late_duty(48, 30)]].concat();
        let after = with(&after, |facts| facts.session = Some(signs(by)));
        assert_eq!(after, GateState::Fail, "the store's clock is not home's");
    }
}

/// A handover in the middle of an epoch: it has duties of both places, on the way there and on the way back.
#[test]
fn the_duties_of_the_place_that_owned_just_before_are_explained_in_the_epoch_of_a_handover() {
    let minutes = |from: i64, to: i64| Interval {
        from: at(48).plus(Span::from_mins(from)),
        to: at(48).plus(Span::from_mins(to)),
    };
    let handover = minutes(-3, 3);
    // Home until 48:00, the cloud from 48:30 on: home's last duties.
    let there = |facts: &mut FenceFacts| facts.cloud = vec![minutes(30, 120)];
    assert_eq!(with(&[handover], there), GateState::Pass);
    // The cloud until 48:00, home from 48:30 on: the cloud's last duties, and the first epoch of home's.
    let back = |facts: &mut FenceFacts| {
        (facts.cloud, facts.silent) = (vec![minutes(-300, 0)], std::time::Duration::ZERO);
        session(facts).held =
            vec![Held { from: at(0), until: at(40) }, Held { from: at(48).plus(Span::from_mins(30)), until: at(50) }];
    };
    assert_eq!(with(&[handover, minutes(27, 33)], back), GateState::Pass);
    assert_eq!(with(&[handover, minutes(12, 18)], back), GateState::Unknown, "and nobody between the two");
    let late = |facts: &mut FenceFacts| facts.cloud = vec![minutes(30, 120)];
    assert_eq!(with(&[minutes(27, 33)], late), GateState::Pass, "the first one of the cloud");
}

fn late_duty(hour: i64, minutes: i64) -> Interval {
    let later = Span::from_mins(minutes);
    Interval { from: duty(hour).from.plus(later), to: duty(hour).to.plus(later) }
}

#[test]
fn a_statement_needs_five_finalised_silent_epochs_and_does_not_explain_a_duty_beside_the_gate() {
    let stated = |silent_finalised, fence: Option<FenceFacts>| {
        let evidence = GateEvidence { fence, stated: true, silent_finalised, ..GateEvidence::default() };
        fenced(&evidence, at(50)).state
    };
    assert_eq!(stated(None, None), GateState::Unknown);
    assert_eq!(stated(Some(4), None), GateState::Unknown);
    assert_eq!(stated(Some(5), None), GateState::Pass);
    let mut outside = fence();
    outside.silent = std::time::Duration::from_secs(2 * 3600);
    outside.duties.as_mut().unwrap().with = vec![late_duty(49, 2)];
    assert_eq!(stated(Some(50), Some(outside.clone())), GateState::Fail);
    let evidence = GateEvidence { fence: Some(outside), ..GateEvidence::default() };
    let first = judge(&evidence, GatePass::First, &[], at(50));
    assert!(first.blocking().contains(&GateName::Fenced), "before home is stopped");
}

#[test]
fn four_silent_epochs_are_what_a_restarted_client_shows_too() {
    let now = Time::UNIX_EPOCH;
    let state = |count, nodes, ended| silent_state(MAINNET, count, nodes, ended, now);
    assert_eq!(state(4, 2, now), GateState::Unknown);
    assert_eq!(state(5, 1, now), GateState::Unknown);
    assert_eq!(state(5, 2, now), GateState::Pass);
    assert_eq!(state(0, 2, now), GateState::Fail);
    for not_now in [now - Span::from_mins(16), now + Span::from_mins(1)] {
        assert_eq!(state(50, 2, not_now), GateState::Unknown, "fifty epochs of another time");
    }
}

#[test]
fn where_epochs_are_short_silence_has_to_last_and_to_be_of_now_all_the_same() {
    let (now, gnosis) = (Time::UNIX_EPOCH, Span::from_secs(80));
    assert_eq!(silent_state(gnosis, 5, 2, now, now), GateState::Unknown, "a machine that boots");
    assert_eq!(silent_state(gnosis, 8, 2, now, now), GateState::Pass);
    let within = |count, minutes| {
        let (silent_outside, silent_for) = (Some(silent_epochs(gnosis, count, 2, now)), Some(Span::from_mins(minutes)));
        silent(&GateEvidence { silent_outside, silent_for, ..GateEvidence::default() }, GatePass::Second, now).state
    };
    assert_eq!((within(5, 6), within(4, 1)), (GateState::Pass, GateState::Unknown), "five epochs in any case");
    assert_eq!((within(20, 30), within(23, 30)), (GateState::Unknown, GateState::Pass), "a house that starts slowly");
    let later = now + Span::from_mins(5);
    assert_eq!(silent_state(gnosis, 8, 2, now, later), GateState::Unknown, "three epochs of which nothing is known");
    assert_eq!(silent_state(MAINNET, 8, 2, now, later), GateState::Pass, "the next one has not ended");
}

#[test]
fn a_clock_passes_only_when_it_is_surely_right() {
    let state = |least_ms, most_ms| {
        let clock_offset = Some(ClockOffset { least_ms, most_ms });
        clock_right(&GateEvidence { clock_offset, ..GateEvidence::default() }).state
    };
    assert_eq!(state(-100, 120), GateState::Pass);
    assert_eq!(state(400, 600), GateState::Unknown);
    assert_eq!(state(-3_600_100, -3_599_900), GateState::Fail);
}

#[test]
fn what_only_beacon_nodes_could_show_is_not_checked_for_a_generic_validator() {
    let silent_outside = Some(silent_epochs(MAINNET, 9, 2, Time::UNIX_EPOCH));
    let chain = ChainView { health: ChainHealth::Finalising, genesis_root: None };
    let evidence = GateEvidence { generic: true, silent_outside, chain, ..GateEvidence::default() };
    for gate in [keys(&evidence), finalising(&evidence), silent(&evidence, GatePass::Second, Time::UNIX_EPOCH)] {
        assert_eq!(gate.state, GateState::NotChecked, "{gate:?}");
        assert!(gate.evidence.contains("kind generic") && !gate.next.is_empty(), "{gate:?}");
    }
}

#[test]
fn a_machine_that_was_promoted_once_and_is_terminated_does_not_count_and_one_that_runs_does() {
    let machine = |id: u64, state| crate::domain::Machine {
        instance: crate::domain::InstanceRef { zone: "z".into(), name: format!("m-{id}"), id: id.into() },
        validator: "eth-0".into(),
        incident: String::new(),
        ledger: String::new(),
        role: crate::domain::Role::Standby,
        state,
        deletion_protection: false,
        machine_type: String::new(),
        created_at: None,
    };
    use crate::domain::MachineState::{Running, Stopped};
    let state = |machines: &[crate::domain::Machine], promoted: &[u64], terminated: &[u64]| {
        let ids = |ids: &[u64]| ids.iter().map(|id| (*id).into()).collect();
        let (promoted, terminated) = (ids(promoted), ids(terminated));
        let machines = Some(machines.to_vec());
        only_one(&GateEvidence { machines, promoted, terminated, ..GateEvidence::default() }).state
    };
    let two = [machine(7, Stopped), machine(8, Running)];
    assert_eq!(state(&two, &[7], &[7]), GateState::Pass);
    assert_eq!(state(&two, &[], &[7]), GateState::Fail, "it was never promoted: it is the watcher's");
    assert_eq!(state(&two, &[7], &[]), GateState::Fail, "suspended, or started meanwhile");
    assert_eq!(state(&[machine(7, Running), machine(8, Running)], &[7], &[]), GateState::Fail);
    assert_eq!(state(&two, &[7, 8], &[7, 8]), GateState::Fail, "none is left");
    assert_eq!(state(&two[1..], &[8], &[]), GateState::Pass, "it is promoted again");
    let of = |meant: u64| {
        let (machines, instance) = (Some(two[1..].to_vec()), Some(meant.into()));
        only_one(&GateEvidence { machines, instance, ..GateEvidence::default() }).state
    };
    assert_eq!((of(8), of(7)), (GateState::Pass, GateState::Fail), "another machine than the record's runs");
}

#[test]
fn a_watermark_is_of_after_the_last_moment_at_which_home_can_have_signed() {
    // An epoch is an hour here, and the row of silence begins with epoch 45.
    let (from, to, each) = (at(45), at(50), Span::from_hours(1));
    let silent_outside = Some(SilentEpochs { count: 5, last: 49, nodes: 2, about: Interval { from, to }, each });
    let state = |epoch, stated, fence: Option<FenceFacts>| {
        let evidence =
            GateEvidence { watermark: Some(epoch), stated, fence, silent_outside, ..GateEvidence::default() };
        watermark(&evidence, at(50)).state
    };
    let with = |minutes: u64, holder: Option<Uuid>| {
        let mut facts = fence();
        facts.silent = std::time::Duration::from_secs(60 * minutes);
        session(&mut facts).holder = holder;
        Some(facts)
    };
    let (free, old) = (with(120, None), with(120, Some(Uuid::max())));
    assert_eq!((state(48, false, free.clone()), state(47, false, free.clone())), (GateState::Pass, GateState::Fail));
    assert_eq!((state(50, false, old.clone()), state(49, false, old)), (GateState::Pass, GateState::Fail));
    let young = with(10, Some(Uuid::max()));
    assert_eq!(state(99, false, young.clone()), GateState::Unknown, "it may sign now");
    assert_eq!(state(99, false, None), GateState::Unknown);
    // A statement does not say since when, and the silence does.
    for fence in [young, None] {
        assert_eq!((state(45, true, fence.clone()), state(44, true, fence)), (GateState::Pass, GateState::Fail));
    }
    assert_eq!(state(47, true, free.clone()), GateState::Fail, "the session was given back later than that");
    let unseen = GateEvidence { watermark: Some(99), fence: free, ..GateEvidence::default() };
    assert_eq!(watermark(&unseen, at(50)).state, GateState::Unknown);
    assert_eq!(watermark(&GateEvidence { silent_outside, ..unseen.clone() }, at(50)).state, GateState::Pass);
    let none = GateEvidence { watermark: None, silent_outside, ..unseen };
    assert_eq!(watermark(&none, at(50)).state, GateState::Unknown);
}
