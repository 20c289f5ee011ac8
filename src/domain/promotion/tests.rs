//! From every prefix of effects, with a crash before and after each: resuming ends, and so does taking back.

#![expect(clippy::print_stdout, reason = "how many points of a crash were tried")]

mod orders;
mod records;
mod taken_back;
mod world;

use std::time::Duration;

use strum::IntoEnumIterator as _;
use uuid::Uuid;

use super::*;
use crate::domain::{
    Time,
    gates::{GateEvidence, GateName, GatePass, GateReport},
    ownership::{GrantPlace, OnLedgerLoss, Session},
};
use world::{Desk, PromotionWorld, grant, home, order};

type Way = fn(&PromotionFacts<'_>) -> PromotionStep;
const THERE: Way = |facts| facts.next();
const BACK: Way = |facts| facts.back();
const HOME: Way = |facts| facts.next_home();

/// Follows one way from a new start of the program until it ends, `most` steps at most.
fn follow(world: &mut PromotionWorld, way: Way, most: usize) -> (Vec<PromotionStep>, bool) {
    follow_by(world, Desk::default(), way, most)
}

fn follow_by(world: &mut PromotionWorld, mut desk: Desk, way: Way, most: usize) -> (Vec<PromotionStep>, bool) {
    let mut steps = Vec::new();
    while steps.len() < most {
        let step = world.ask(&desk, way);
        if matches!(step, PromotionStep::Done | PromotionStep::Ended(_) | PromotionStep::Refused(_)) {
            steps.push(step);
            return (steps, true);
        }
        let before = world.clone();
        world.act(&mut desk, &before, &step);
        steps.push(step);
    }
    (steps, false)
}

/// Each world after a crash: before and after each step of the way.
fn crashes(world: &PromotionWorld, way: Way) -> Vec<PromotionWorld> {
    crashes_of(world, Desk::default(), way)
}

fn crashes_of(world: &PromotionWorld, desk: Desk, way: Way) -> Vec<PromotionWorld> {
    let mut all = Vec::new();
    for most in 0..200 {
        let mut crashed = world.clone();
        let (_, ended) = follow_by(&mut crashed, desk.clone(), way, most);
        all.push(crashed);
        if ended {
            return all;
        }
    }
    panic!("it does not end");
}

fn ends(world: &mut PromotionWorld, way: Way) -> PromotionStep {
    let (steps, ended) = follow(world, way, 200);
    assert!(ended, "{steps:?}");
    steps.last().unwrap().clone()
}

fn promoted() -> PromotionWorld {
    let mut world = PromotionWorld::new(true);
    assert_eq!(ends(&mut world, THERE), PromotionStep::Done);
    world
}

#[test]
fn after_a_crash_at_any_point_resuming_ends_with_the_cloud_that_signs() {
    let mut points = 0;
    for is_home_up in [true, false] {
        for mut crashed in crashes(&PromotionWorld::new(is_home_up), THERE) {
            points += 1;
            assert_eq!(ends(&mut crashed, THERE), PromotionStep::Done);
            let machine = crashed.facts().unwrap();
            assert!(machine.is_protected && machine.is_permanent && machine.is_renamed);
            assert_eq!(machine.grant, Some(crashed.in_force().digest()), "the grant in force is carried");
            assert!(crashed.is_clouds() && crashed.grants.len() == 2, "signed once");
            let record = crashed.record.unwrap();
            assert_eq!((record.state, record.promoted), (PromotionState::Done, vec![7.into()]));
        }
    }
    println!("{points} points");
    assert!(points > 40, "{points}");
}

#[test]
fn after_a_crash_at_any_point_taking_back_ends_as_it_was_or_the_grant_has_won() {
    let (mut taken_back, mut won, mut signed) = (0, 0, 0);
    for is_home_up in [true, false] {
        for world in crashes(&PromotionWorld::new(is_home_up), THERE) {
            // And a crash at each point of the way back.
            for mut crashed in crashes(&world, BACK) {
                let end = ends(&mut crashed, BACK);
                if crashed.is_clouds() {
                    won += 1;
                    assert_eq!(end, PromotionStep::Ended(PromotionEnd::Committed));
                    continue;
                }
                taken_back += 1;
                assert!(
                    matches!(end, PromotionStep::Done | PromotionStep::Ended(PromotionEnd::NothingOpen)),
                    "{end:?}"
                );
                let machine = crashed.facts().unwrap();
                assert_eq!(machine.shape.missing(&world::shape().restored()), [], "as it was");
                let number = crashed.session.as_ref().unwrap().number;
                assert!(number <= crashed.in_force().number, "home may take its session again");
                let record = crashed.record.as_ref();
                assert!(
                    record.is_none_or(|record| record.state == PromotionState::Aborted && record.promoted.is_empty())
                );
                let raised = record.is_some_and(|record| record.raise.is_some());
                assert_eq!(crashed.grants.len(), if raised { 2 } else { 1 }, "before the raise nothing is signed");
                signed += usize::from(raised);
            }
        }
    }
    println!(
        "{} points: taken back {taken_back}, after a signature {signed}; the grant had won {won}",
        taken_back + won
    );
    assert!(signed > 100 && won > 5 && taken_back > signed + 100);
}

/// One has read everything and knows what comes next; before it does that, somebody else does something to its end.
#[test]
fn of_two_operators_exactly_one_wins_whatever_the_late_one_does() {
    let mut points = 0;
    for (mine, other) in [(THERE, BACK), (BACK, THERE), (THERE, THERE), (BACK, BACK)] {
        let begun = crashes(&PromotionWorld::new(false), THERE);
        for mut world in begun.iter().flat_map(|world| crashes(world, mine)) {
            let mut desk = Desk::default();
            let before = world.clone();
            world.act(&mut desk, &before, &PromotionStep::Judge(GatePass::Second));
            let late = world.ask(&desk, mine);
            let before = world.clone();
            for more in [0, 3, 200] {
                points += 1;
                let mut world = world.clone();
                follow(&mut world, other, more);
                world.act(&mut desk, &before, &late);
                // It reads again; then either of them finishes.
                ends(&mut world, mine);
                ends(&mut world, BACK);
                let end = ends(&mut world, THERE);
                assert!(world.grants.windows(2).all(|two| two[1].previous == Some(two[0].digest())));
                let machine = world.facts().unwrap();
                if world.is_clouds() {
                    let runs = machine.state == crate::domain::MachineState::Running;
                    let stopped = PromotionStep::Ended(PromotionEnd::CloudStopped);
                    assert_eq!(end, if runs { PromotionStep::Done } else { stopped }, "{late:?}");
                    assert!(machine.is_protected && machine.is_renamed && machine.grant.is_some());
                }
                assert!(world.record.as_ref().is_none_or(|record| !record.state.is_open()), "{late:?}");
                let carried = machine.grant.is_none_or(|grant| world.grants.iter().any(|one| one.digest() == grant));
                assert!(carried, "one that lost is nowhere");
            }
        }
    }
    println!("{points} points");
    assert!(points > 1000, "{points}");
}

#[test]
fn after_a_crash_at_any_point_a_demotion_ends_with_home_and_a_machine_that_nobody_touches() {
    let (mut points, promoted) = (0, promoted());
    for mut crashed in crashes(&promoted, HOME) {
        points += 1;
        assert_eq!(ends(&mut crashed, HOME), PromotionStep::Done);
        assert!(!crashed.is_clouds() && crashed.grants.len() == 3, "signed once");
        let (record, machine) = (crashed.record.clone().unwrap(), crashed.facts().unwrap());
        assert!(machine.is_terminated && machine.is_protected && machine.is_renamed, "it holds keys");
        assert!(record.forbids(&7.into()) && record.state == PromotionState::Done);
        // And there again.
        let mut again = crashed.clone();
        again.machine.as_mut().unwrap().start();
        assert_eq!(ends(&mut again, THERE), PromotionStep::Done);
        assert!(again.is_clouds() && again.record.unwrap().promoted == [7.into()]);
    }
    println!("{points} points");
    assert!(points > 5);
}

#[test]
fn a_demotion_is_taken_back_without_a_signature_and_leaves_the_machine_alone() {
    for crashed in crashes(&promoted(), HOME) {
        let mut world = crashed.clone();
        let end = ends(&mut world, BACK);
        assert_eq!(world.grants.len(), crashed.grants.len());
        if !world.is_clouds() {
            assert!(
                matches!(end, PromotionStep::Ended(PromotionEnd::Committed | PromotionEnd::NothingOpen)),
                "{end:?}"
            );
            continue;
        }
        let record = world.record.clone().unwrap();
        assert!(record.forbids(&7.into()) && !record.state.is_open());
        assert!(world.facts().unwrap().is_protected);
    }
}

/// Another boot was granted while the machine was stopped: what was seen says nothing about that one.
#[test]
fn a_demotion_replaces_the_grant_that_was_read_before_the_stop() {
    let mut world = promoted();
    follow(&mut world, HOME, 2);
    let over = world.record.as_ref().unwrap().over.clone();
    assert_eq!(over, world.in_force().digest());
    let GrantPlace::Cloud { project, zone, instance_id, .. } = world.in_force().owner.clone() else {
        panic!("cloud's")
    };
    let owner = GrantPlace::Cloud { project, zone, instance_id, boot_id: "boot-99".into() };
    world.grants.push(grant(6, owner, Some(over.clone())));
    let mut desk = Desk::default();
    let before = world.clone();
    assert_eq!(world.ask(&desk, HOME), PromotionStep::Judge(GatePass::HomeFirst), "for this one");
    world.act(&mut desk, &before, &PromotionStep::Judge(GatePass::HomeFirst));
    let PromotionStep::Persist(again) = world.ask(&desk, HOME) else { panic!("it begins again") };
    assert_eq!((&again.over, again.number, again.steps.len()), (&world.in_force().digest(), 7, 0));
}

/// The signature has won, the laptop slept before that was written, and home was adopted meanwhile: the keys may be there.
#[test]
fn a_machine_whose_grant_was_in_force_is_not_taken_back_by_an_abort_that_comes_after_another_grant() {
    let all = crashes(&PromotionWorld::new(true), THERE);
    let mut world = all.into_iter().find(PromotionWorld::is_clouds).unwrap();
    assert_eq!(world.record.as_ref().unwrap().state, PromotionState::Open, "nothing says so yet");
    let previous = Some(world.in_force().digest());
    world.grants.push(grant(6, home(), previous));
    assert_eq!(ends(&mut world, BACK), PromotionStep::Done);
    let record = world.record.clone().unwrap();
    assert!(record.forbids(&7.into()) && !record.state.is_open(), "{record:?}");
    assert!(world.facts().unwrap().is_protected);
}

/// An adoption was interrupted after it had raised the number.
#[test]
fn a_number_that_somebody_else_has_raised_leaves_home_with_a_grant_on_both_ways() {
    for crashed in crashes(&PromotionWorld::new(true), THERE) {
        if crashed.is_clouds() || crashed.record.is_none() {
            continue;
        }
        let mut world = crashed;
        let session = world.session.take().unwrap();
        world.session = Some(session.raised_to(9, Uuid::from_u128(9)));
        assert_eq!(ends(&mut world, BACK), PromotionStep::Done);
        assert!(!world.is_clouds() && world.in_force().number >= 9, "{:?}", world.in_force());
    }
    let mut world = promoted();
    world.session = world.session.map(|session| session.raised_to(9, Uuid::from_u128(9)));
    assert_eq!(ends(&mut world, HOME), PromotionStep::Done);
    assert_eq!(world.in_force().number, 9);
    world.session = world.session.map(|session| session.raised_to(12, Uuid::from_u128(12)));
    assert_eq!(ends(&mut world, HOME), PromotionStep::Ended(PromotionEnd::HomeWaits(12)));
}

#[test]
fn another_grant_ends_a_promotion_at_every_step() {
    for crashed in crashes(&PromotionWorld::new(true), THERE) {
        if crashed.is_clouds() || crashed.record.is_none() {
            continue;
        }
        let mut world = crashed;
        let previous = Some(world.in_force().digest());
        world.grants.push(grant(5, home(), previous));
        assert_eq!(ends(&mut world, THERE), PromotionStep::Ended(PromotionEnd::Lost(5)));
        assert_eq!(ends(&mut world, BACK), PromotionStep::Done);
        assert_eq!(world.grants.len(), 2, "that is home's already");
    }
}

fn waiting(change: impl FnOnce(&mut PromotionWorld)) -> PromotionStep {
    let mut world = PromotionWorld::new(false);
    let raised = |world: &PromotionWorld| world.session.as_ref().is_some_and(|session| session.number == 5);
    while !raised(&world) {
        follow(&mut world, THERE, 1);
        let mut next = world.clone();
        follow(&mut next, THERE, 2);
        world = next;
    }
    change(&mut world);
    world.ask(&Desk::default(), THERE)
}

/// 1800 s were noted; the session is old after 3702.
#[test]
fn the_age_that_exactly_the_replaced_version_had_counts_and_no_other() {
    let left = |seconds| PromotionStep::Wait(PromotionWait::Fence(Some(Duration::from_secs(seconds))));
    assert_eq!(waiting(|world| world.unchanged = Duration::from_secs(100)), left(3702 - 1800 - 100));
    let by_another = waiting(|world| {
        world.unchanged = Duration::from_secs(100);
        world.session.as_mut().unwrap().write = Uuid::from_u128(5000);
    });
    assert_eq!(by_another, left(3702 - 100), "counted from that raise");
    let run = waiting(|world| {
        world.unchanged = Duration::MAX;
        world.session.as_mut().unwrap().on_loss = OnLedgerLoss::Run;
    });
    assert_eq!(run, PromotionStep::Wait(PromotionWait::Fence(None)));
    let above = waiting(|world| world.session.as_mut().unwrap().number = 6);
    assert_eq!(above, PromotionStep::Ended(PromotionEnd::Overtaken(6)));
}

#[test]
fn home_is_not_stopped_for_what_can_be_no_fence() {
    let mut missing = PromotionWorld::new(true);
    missing.session = None;
    assert_eq!(ends(&mut missing, THERE), PromotionStep::Ended(PromotionEnd::SessionMissing));
    let mut never = PromotionWorld::new(true);
    never.session = Some(Session::free(4, Uuid::nil()));
    assert_eq!(ends(&mut never, THERE), PromotionStep::Ended(PromotionEnd::NeverHeld));
    assert_eq!(never.session.unwrap().number, 4);
}

#[test]
fn a_statement_replaces_the_wait_and_the_session_and_is_kept() {
    for session in [None, Some(Session::free(4, Uuid::nil())), PromotionWorld::new(false).session] {
        let mut world = PromotionWorld::new(true);
        world.session = session;
        let stated = PromotionOrder { statement: Some("the fuse is in my pocket".into()), ..order() };
        let (mut desk, mut waited) = (Desk { order: stated, gates: None }, false);
        loop {
            let step = world.ask(&desk, |facts| facts.next());
            if let PromotionStep::Sign(_) = step {
                break;
            }
            assert!(!matches!(step, PromotionStep::Ended(_)), "{step:?}");
            waited |= matches!(step, PromotionStep::Wait(PromotionWait::Fence(_)));
            let before = world.clone();
            world.act(&mut desk, &before, &step);
        }
        let record = world.record.clone().unwrap();
        assert!(!waited && record.statement.is_some());
        // It may be signed somewhere: taking back is a signature, although nothing was raised.
        let (steps, _) = follow(&mut world, BACK, 200);
        assert!(steps.iter().any(|step| matches!(step, PromotionStep::Sign(order) if order.cloud.is_none())));
    }
}

#[test]
fn gates_of_more_than_ten_minutes_ago_or_of_the_other_pass_sign_nothing() {
    let mut world = PromotionWorld::new(true);
    let (mut desk, mut last) = (Desk::default(), PromotionStep::Done);
    while !matches!(last, PromotionStep::Sign(_)) {
        last = world.ask(&desk, THERE);
        let before = world.clone();
        if !matches!(last, PromotionStep::Sign(_)) {
            world.act(&mut desk, &before, &last);
        }
    }
    let report = desk.gates.clone().unwrap();
    let asked = |report: GateReport| world.ask(&Desk { order: order(), gates: Some(report) }, THERE);
    let ago = |minutes| world.raw - Duration::from_mins(minutes);
    assert!(matches!(asked(GateReport { raw: ago(10), ..report.clone() }), PromotionStep::Sign(_)));
    let again = PromotionStep::Judge(GatePass::Second);
    assert_eq!(asked(GateReport { raw: ago(11), ..report.clone() }), again);
    let later = world.raw + Duration::from_mins(1);
    assert_eq!(asked(GateReport { raw: later, ..report.clone() }), again, "by another program's clock");
    // Whatever this machine's clock is set to.
    let stepped = |minutes| {
        let mut world = world.clone();
        world.now += crate::domain::Span::from_mins(minutes);
        (world, Desk { order: order(), gates: Some(GateReport { raw: ago(11), ..report.clone() }) })
    };
    for (world, desk) in [stepped(-30), stepped(-11)] {
        assert_eq!(world.ask(&desk, THERE), again, "a clock that went back makes nothing newer");
    }
    assert_eq!(asked(GateReport { pass: GatePass::First, ..report }), again);
}

#[test]
fn without_capacity_the_way_back_ends_and_home_was_never_stopped() {
    let mut world = PromotionWorld { no_capacity: true, ..PromotionWorld::new(true) };
    assert_eq!(ends(&mut world, THERE), PromotionStep::Ended(PromotionEnd::StartRefused));
    assert_eq!(ends(&mut world, BACK), PromotionStep::Done);
    assert_eq!((world.session.as_ref().unwrap().number, world.grants.len()), (4, 1));
    assert!(!world.facts().unwrap().is_protected, "the watcher's again");
}

#[test]
fn the_plan_says_of_each_step_what_it_costs_and_how_it_is_undone() {
    let world = PromotionWorld::new(false);
    let (plan, end) = world.ask(&Desk::default(), |facts| facts.plan());
    assert_eq!(end, None);
    let names: Vec<_> = plan.iter().map(|step| step.name).collect();
    let all = [
        "protect",
        "stop",
        "make_permanent",
        "rename",
        "start",
        "wait_ready",
        "raise",
        "wait_fence",
        "put_watermark",
        "gates",
        "sign",
        "carry",
        "move_keys",
    ];
    assert_eq!(names, all);
    assert!(plan[7].what.contains("at most 31m"), "{:?}", plan[7]);
    for words in plan.iter().cloned().chain(PromotionEffect::iter().map(PromotionEffect::words)) {
        assert!(!words.what.is_empty() && !words.cost.is_empty() && !words.undoing.is_empty(), "{words:?}");
    }
    let missing = PromotionWorld { session: None, ..PromotionWorld::new(false) };
    let (plan, end) = missing.ask(&Desk::default(), |facts| facts.plan());
    assert_eq!((plan.len(), end), (6, Some(PromotionEnd::SessionMissing)));
    assert_eq!(world.record, None, "nothing was done");
}

#[test]
fn gates_that_do_not_pass_are_named_and_nothing_is_opened() {
    let world = PromotionWorld::new(true);
    let judged = |facts: &PromotionFacts<'_>| facts.judge(GatePass::First, &GateEvidence::default(), world.now);
    let gates = Some(world.ask(&Desk::default(), judged));
    let desk = Desk { order: order(), gates };
    let PromotionStep::Refused(gates) = world.ask(&desk, THERE) else { panic!("it is refused") };
    assert!(gates.contains(&GateName::Ready) && !gates.contains(&GateName::Fenced));
}

#[test]
fn what_cannot_be_promoted_is_refused_with_what_helps() {
    let end = |change: fn(&mut PromotionWorld)| {
        let mut world = PromotionWorld::new(true);
        change(&mut world);
        ends(&mut world, THERE)
    };
    assert_eq!(end(|world| world.grants.clear()), PromotionStep::Ended(PromotionEnd::NoGrant));
    assert_eq!(end(|world| world.machine = None), PromotionStep::Ended(PromotionEnd::NoMachine));
    let last = crate::domain::ownership::MAX_GRANT_NUMBER;
    assert_eq!(
        end(|world| world.grants[0].number = (1 << 53) - 1),
        PromotionStep::Ended(PromotionEnd::LastNumber(last))
    );
    assert_eq!(ends(&mut PromotionWorld::new(true), HOME), PromotionStep::Ended(PromotionEnd::HomeOwns(4)));
    assert_eq!(ends(&mut PromotionWorld::new(true), BACK), PromotionStep::Ended(PromotionEnd::NothingOpen));
    let mut cloud = promoted();
    cloud.record = None;
    assert_eq!(ends(&mut cloud, THERE), PromotionStep::Ended(PromotionEnd::CloudOwns(5)));
    assert!(cloud.now > Time::UNIX_EPOCH);
}
