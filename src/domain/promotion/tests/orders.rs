//! What an operator may order: drills, an open record and another order, validators that sign nothing or only forge.

use strum::IntoEnumIterator as _;

use super::{
    super::*,
    BACK, HOME, THERE, Way, crashes_of, ends, follow_by, promoted,
    world::{Desk, PromotionWorld, order, shape, watermark},
};
use crate::domain::{
    MachineState,
    gates::{Gate, GateEvidence, GateName, GatePass, GateReport, GateState},
};

fn by(order: PromotionOrder) -> Desk {
    Desk { order, gates: None }
}

fn until(last: PromotionEffect) -> PromotionOrder {
    PromotionOrder { until: Some(last), ..order() }
}

fn ends_by(world: &mut PromotionWorld, order: PromotionOrder, way: Way) -> PromotionStep {
    let (steps, ended) = follow_by(world, by(order), way, 200);
    assert!(ended, "{steps:?}");
    steps.last().unwrap().clone()
}

#[test]
fn a_drill_may_name_no_step_from_the_signature_on_and_a_demotion_has_none() {
    for last in PromotionEffect::iter() {
        let mut world = PromotionWorld::new(true);
        let end = ends_by(&mut world, until(last), THERE);
        if last < PromotionEffect::Sign {
            assert_eq!(end, PromotionStep::Ended(PromotionEnd::Drill(last.into())));
        } else {
            assert_eq!(end, PromotionStep::Ended(PromotionEnd::DrillTooFar(last.into())));
            assert_eq!(world.record, None, "before the order is a record");
        }
        let mut cloud = promoted();
        let end = ends_by(&mut cloud, until(last), HOME);
        assert_eq!(end, PromotionStep::Ended(PromotionEnd::DrillTooFar(last.into())));
        assert!(cloud.facts().unwrap().state == MachineState::Running);
    }
}

/// A crash at each point of each drill, and at each point of the way back.
#[test]
fn after_a_crash_at_any_point_a_drill_ends_and_its_abort_leaves_everything_as_it_was() {
    let mut points = 0;
    for last in PromotionEffect::iter().filter(|last| *last < PromotionEffect::Sign) {
        for is_home_up in [true, false] {
            for mut crashed in crashes_of(&PromotionWorld::new(is_home_up), by(until(last)), THERE) {
                let end = ends_by(&mut crashed.clone(), until(last), THERE);
                assert_eq!(end, PromotionStep::Ended(PromotionEnd::Drill(last.into())));
                // Also by somebody who does not know that it is one.
                let end = ends_by(&mut crashed.clone(), order(), THERE);
                let is_open = crashed.record.is_some();
                assert!(!is_open || matches!(end, PromotionStep::Ended(PromotionEnd::Drill(_))), "{end:?}");
                for mut back in crashes_of(&crashed, Desk::default(), BACK) {
                    points += 1;
                    ends(&mut back, BACK);
                    assert_eq!(back.machine.unwrap().shape.missing(&shape().restored()), [], "as it was");
                    assert!(
                        back.grants
                            .iter()
                            .all(|grant| !matches!(grant.owner, crate::domain::ownership::GrantPlace::Cloud { .. }))
                    );
                    let raised = last >= PromotionEffect::Raise && back.grants.len() == 2;
                    assert!(raised || back.grants.len() == 1, "only a raise costs a signature");
                    assert!(back.session.unwrap().number <= back.grants.last().unwrap().number, "home may sign");
                }
                crashed.record = None;
            }
        }
    }
    println!("{points} points");
    assert!(points > 500, "{points}");
}

/// Nothing had to be stopped or raised, so that the last effect was never begun.
#[test]
fn a_drill_ends_also_where_its_last_effect_was_not_needed() {
    for last in PromotionEffect::iter().filter(|last| *last < PromotionEffect::Sign) {
        let mut world = promoted();
        assert_eq!(ends(&mut world, HOME), PromotionStep::Done);
        world.machine.as_mut().unwrap().start();
        world.session = None;
        let stated = PromotionOrder { statement: Some("the fuse is in my pocket".into()), ..until(last) };
        let grants = world.grants.len();
        assert_eq!(ends_by(&mut world, stated, THERE), PromotionStep::Ended(PromotionEnd::Drill(last.into())));
        assert_eq!(world.grants.len(), grants);
    }
}

#[test]
fn a_drill_that_stops_home_says_so_where_it_ends() {
    for last in PromotionEffect::iter().filter(|last| *last < PromotionEffect::Sign) {
        let words = PromotionEnd::Drill(last.into()).to_string();
        assert_eq!(words.contains("Home has stopped"), last >= PromotionEffect::Raise, "{words}");
    }
}

#[test]
fn an_order_that_contradicts_the_open_record_is_refused_and_a_statement_and_overrides_may_be_added() {
    let mut world = PromotionWorld::new(true);
    ends_by(&mut world, until(PromotionEffect::Start), THERE);
    let opened = world.record.clone().unwrap();
    let ask = |order: PromotionOrder| world.ask(&by(order), THERE);
    let refused = |order: PromotionOrder| match ask(order) {
        PromotionStep::Ended(PromotionEnd::OtherOrder { what, .. }) => what,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(PromotionOrder { reason: "another".into(), ..order() }), "reason");
    assert_eq!(refused(until(PromotionEffect::Raise)), "--until");
    assert!(refused(PromotionOrder { signs_nothing: true, ..order() }).contains("signs"));
    let resumed = PromotionOrder { reason: String::new(), by: "another".into(), ..order() };
    assert_eq!(ask(resumed), PromotionStep::Ended(PromotionEnd::Drill("start")), "as it was opened");
    let stated = |text: &str| PromotionOrder { statement: Some(text.into()), ..order() };
    let PromotionStep::Persist(record) = ask(stated("the fuse")) else { panic!("it is added") };
    assert_eq!(*record, PromotionRecord { statement: Some("the fuse".into()), ..opened.clone() });
    let overrides = vec![NotedOverride { gate: GateName::Clock, reason: "mine".into() }];
    let over = PromotionOrder { overrides: overrides.clone(), reason: "mine".into(), ..order() };
    let PromotionStep::Persist(added) = ask(over) else { panic!("it is added") };
    assert_eq!(*added, PromotionRecord { overrides, ..opened });
    world.record = Some(*record);
    let again = world.ask(&by(stated("a fuse")), THERE);
    assert!(matches!(again, PromotionStep::Ended(PromotionEnd::OtherOrder { what: "statement", .. })), "{again:?}");
    let long = world.ask(&by(PromotionOrder { by: "x".repeat(4001), ..order() }), BACK);
    assert!(matches!(long, PromotionStep::Persist(_)), "an abort needs none of it");
}

#[test]
fn an_order_that_the_ledger_could_not_give_back_opens_nothing() {
    let long = PromotionOrder { reason: "x".repeat(4001), ..order() };
    let mut world = PromotionWorld::new(true);
    assert!(matches!(ends_by(&mut world, long, THERE), PromotionStep::Ended(PromotionEnd::Order(_))));
    world.machine.as_mut().unwrap().shape.metadata.insert("failover-watermark".into(), Some("x".repeat(1 << 20)));
    assert!(matches!(ends(&mut world, THERE), PromotionStep::Ended(PromotionEnd::Order(_))));
    assert_eq!(world.record, None);
}

/// Nobody has signed a grant, and there is no session.
fn silent_validator() -> (PromotionWorld, PromotionOrder) {
    let mut world = PromotionWorld::new(true);
    world.grants.clear();
    world.session = None;
    (world, PromotionOrder { signs_nothing: true, ..order() })
}

#[test]
fn a_validator_that_signs_nothing_gets_a_permanent_machine_and_nothing_else_and_abort_takes_it_back() {
    let (world, unsigned) = silent_validator();
    let mut points = 0;
    for mut crashed in crashes_of(&world, by(unsigned.clone()), THERE) {
        for mut back in crashes_of(&crashed, by(unsigned.clone()), BACK) {
            points += 1;
            let end = ends_by(&mut back, unsigned.clone(), BACK);
            let closed = back.record.as_ref().is_none_or(|record| record.state == PromotionState::Done);
            match closed {
                true => assert_eq!(end, PromotionStep::Ended(PromotionEnd::NothingOpen)),
                false => assert_eq!(back.machine.unwrap().shape.missing(&shape().restored()), [], "as it was"),
            }
        }
        let (steps, ended) = follow_by(&mut crashed, by(unsigned.clone()), THERE, 200);
        assert!(ended && steps.last() == Some(&PromotionStep::Done), "{steps:?}");
        for step in &steps {
            let is_judged_as_one = !matches!(step, PromotionStep::Judge(pass) if *pass != GatePass::SignsNothing);
            let is_of_ownership = matches!(step, PromotionStep::Sign(_) | PromotionStep::Wait(_));
            assert!(is_judged_as_one && !is_of_ownership, "{step:?}");
        }
        let (record, machine) = (crashed.record.clone().unwrap(), crashed.facts().unwrap());
        assert!(record.forbids(&7.into()) && machine.is_protected && machine.state == MachineState::Running);
        assert_eq!((record.number, record.raise, crashed.grants.len()), (0, None, 0));
        // One that is gone is replaced, and one that lost its protection gets it back.
        let mut unprotected = crashed.clone();
        unprotected.machine.as_mut().unwrap().shape.deletion_protection = false;
        assert_eq!(ends_by(&mut unprotected, unsigned.clone(), THERE), PromotionStep::Done);
        assert!(unprotected.facts().unwrap().is_protected);
        crashed.machine = None;
        assert_eq!(ends_by(&mut crashed, unsigned.clone(), THERE), PromotionStep::Ended(PromotionEnd::NoMachine));
    }
    println!("{points} points");
    assert!(points > 50, "{points}");
}

#[test]
fn a_drill_of_a_validator_that_signs_nothing_is_never_closed_as_done() {
    for last in PromotionEffect::iter().filter(|last| *last < PromotionEffect::Sign) {
        let (mut world, unsigned) = silent_validator();
        let drill = PromotionOrder { until: Some(last), ..unsigned };
        assert_eq!(ends_by(&mut world, drill, THERE), PromotionStep::Ended(PromotionEnd::Drill(last.into())));
        assert!(world.record.is_some_and(|record| record.state == PromotionState::Open && record.promoted.is_empty()));
    }
}

#[test]
fn of_a_validator_that_signs_nothing_four_gates_are_asked() {
    let (world, unsigned) = silent_validator();
    let judged = |facts: &PromotionFacts<'_>| facts.judge(GatePass::SignsNothing, &GateEvidence::default(), world.now);
    let report = world.ask(&by(unsigned.clone()), judged);
    let four = [GateName::Ready, GateName::OnlyOne, GateName::NoPause, GateName::Clock];
    assert_eq!(report.gates.iter().map(|gate| gate.id).collect::<Vec<_>>(), four);
    let desk = Desk { order: unsigned, gates: Some(report) };
    assert_eq!(world.ask(&desk, THERE), PromotionStep::Refused(four.into()));
}

/// Whether it forges at home nobody sees, and two that forge are not slashed.
#[test]
fn a_validator_that_forges_is_promoted_by_a_statement_without_a_session_or_a_watermark() {
    let forger = PromotionOrder { forges: true, ..order() };
    let stated = PromotionOrder { statement: Some("the fuse is in my pocket".into()), ..forger.clone() };
    for session in [None, PromotionWorld::new(true).session] {
        let mut world = PromotionWorld { session: session.clone(), ..PromotionWorld::new(true) };
        let end = ends_by(&mut world, forger.clone(), THERE);
        assert_eq!((end, &world.record), (PromotionStep::Ended(PromotionEnd::MustState), &None));
        assert_eq!(ends_by(&mut world, stated.clone(), THERE), PromotionStep::Done);
        let record = world.record.clone().unwrap();
        assert!(world.is_clouds() && record.raise.is_none() && record.watermark.is_none());
        assert_eq!(world.session, session);
        let judged =
            |pass| world.ask(&by(stated.clone()), |facts| facts.judge(pass, &GateEvidence::default(), world.now));
        assert_eq!(judged(GatePass::Home).blocking(), [GateName::Clock]);
        assert_eq!(ends_by(&mut world, forger.clone(), HOME), PromotionStep::Done);
        assert!(!world.is_clouds());
    }
    let world = PromotionWorld::new(true);
    let fenced = |order: &PromotionOrder| {
        let judged = |facts: &PromotionFacts<'_>| facts.judge(GatePass::Second, &GateEvidence::default(), world.now);
        let report = world.ask(&by(order.clone()), judged);
        report.gates.iter().find(|gate| gate.id == GateName::Fenced).unwrap().state
    };
    assert_eq!((fenced(&forger), fenced(&stated)), (GateState::Unknown, GateState::Pass));
}

#[test]
fn a_watermark_that_home_can_have_outlived_is_made_again_once_nothing_else_is_missing() {
    let mut world = PromotionWorld::new(false);
    let stated = PromotionOrder { statement: Some("the house has burnt down".into()), ..order() };
    let mut desk = by(stated.clone());
    loop {
        let step = world.ask(&desk, THERE);
        if step == PromotionStep::Judge(GatePass::Second) {
            break;
        }
        let before = world.clone();
        world.act(&mut desk, &before, &step);
    }
    let said = |world: &PromotionWorld, missing: &[(GateName, GateState)], way: Way| {
        let gate = |(id, state): &(GateName, GateState)| Gate {
            id: *id,
            name: "",
            state: *state,
            evidence: String::new(),
            next: "",
        };
        let (pass, gates) = (GatePass::Second, missing.iter().map(gate).collect());
        let subject = world.ask(&by(stated.clone()), |facts| facts.subject(pass));
        let gates = Some(GateReport { pass, subject, at: world.now, raw: world.raw, epoch: None, gates });
        world.ask(&Desk { order: stated.clone(), gates }, way)
    };
    let early = (GateName::Watermark, GateState::Fail);
    let same = PromotionStep::Refused(vec![GateName::Watermark]);
    assert_eq!(said(&world, &[early], THERE), same, "there is no later one yet");
    world.record.as_mut().unwrap().watermark.as_mut().unwrap().epoch = 70;
    let PromotionStep::Persist(again) = said(&world, &[early], THERE) else { panic!("another one is made") };
    assert_eq!(again.watermark, Some(watermark()));
    let unasked: Way = |facts| PromotionFacts { watermark: None, ..facts.clone() }.next();
    assert_eq!(said(&world, &[early], unasked), PromotionStep::Wait(PromotionWait::Watermark));
    assert_eq!(said(&world, &[(GateName::Watermark, GateState::Unknown)], THERE), same, "home may sign now");
    let more = said(&world, &[early, (GateName::Silent, GateState::Unknown)], THERE);
    assert_eq!(more, PromotionStep::Refused(vec![GateName::Watermark, GateName::Silent]));
}
