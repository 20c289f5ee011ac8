//! What a way leaves behind: the machine as it was, and words wherever nobody signs.

use super::{
    super::*,
    BACK, HOME, THERE, crashes, ends, follow, promoted,
    world::{Desk, PromotionWorld, order, shape},
};
use crate::domain::{
    MachinePower, RunLimit, Span,
    gates::{GateEvidence, GatePass, GateState},
    ownership::GrantPlace,
};

/// From another machine, which knows nothing but the ledger and the cloud.
#[test]
fn an_abort_goes_back_to_the_shape_that_the_record_notes() {
    let mut world = PromotionWorld::new(true);
    let limit = Some(RunLimit::After(Span::from_hours(5)));
    world.machine.as_mut().unwrap().shape.run_limit = limit.clone();
    let before = world.machine.as_ref().unwrap().shape.clone();
    for mut crashed in crashes(&world, THERE) {
        if crashed.is_clouds() || crashed.record.is_none() {
            continue;
        }
        assert_eq!(crashed.record.as_ref().unwrap().shape.as_ref(), Some(&before));
        assert_eq!(ends(&mut crashed, BACK), PromotionStep::Done);
        let shape = crashed.machine.unwrap().shape;
        assert_eq!((shape.missing(&before.restored()), &shape.run_limit), (vec![], &limit));
    }
}

#[test]
fn an_abort_without_a_shape_is_an_error_in_words_after_home_has_its_grant() {
    let mut seen = 0;
    for crashed in crashes(&PromotionWorld::new(false), THERE) {
        let Some(record) = crashed.record.clone().filter(|_| !crashed.is_clouds()) else { continue };
        let mut world = PromotionWorld { record: Some(PromotionRecord { shape: None, ..record }), ..crashed };
        let machine = world.machine.as_ref().unwrap().shape.clone();
        let PromotionStep::Ended(end) = ends(&mut world, BACK) else { panic!("it is no end") };
        assert!(matches!(end, PromotionEnd::NoShape(_)) && end.to_string().contains("delete it"), "{end}");
        assert_eq!(world.machine.as_ref().unwrap().shape, machine, "nothing was guessed");
        assert!(world.session.as_ref().unwrap().number <= world.in_force().number, "home may sign");
        world.machine = None;
        assert_eq!(ends(&mut world, BACK), PromotionStep::Done, "what the words say helps");
        seen += 1;
    }
    assert!(seen > 10, "{seen}");
}

/// Promoted, demoted, started by hand, and promoted again: what an abort goes back to is the machine that is kept.
#[test]
fn the_abort_of_a_second_promotion_keeps_a_machine_that_was_kept_before() {
    let mut world = promoted();
    assert_eq!(ends(&mut world, HOME), PromotionStep::Done);
    world.machine.as_mut().unwrap().start();
    let kept = world.machine.as_ref().unwrap().shape.clone();
    let (mut points, mut taken_back) = (0, 0);
    for crashed in crashes(&world, THERE) {
        points += 1;
        let mut back = crashed.clone();
        let end = ends(&mut back, BACK);
        if !back.is_clouds() {
            taken_back += 1;
            assert!(matches!(end, PromotionStep::Done | PromotionStep::Ended(PromotionEnd::NothingOpen)), "{end:?}");
            let shape = &back.machine.as_ref().unwrap().shape;
            assert!(shape.deletion_protection && shape.name == kept.name && shape.run_limit.is_none(), "{shape:?}");
            assert!(back.record.as_ref().unwrap().forbids(&7.into()));
        }
        let mut on = crashed;
        assert_eq!(ends(&mut on, THERE), PromotionStep::Done);
    }
    assert!(points > taken_back && taken_back > 5, "{points} {taken_back}");
}

/// The cloud shows what a machine has reported in an earlier boot until it reports again.
#[test]
fn a_report_of_before_the_start_is_not_ready_and_one_of_after_it_is() {
    let mut world = PromotionWorld::new(true);
    // Also one of a machine that was promoted before.
    world.machine.as_mut().unwrap().report.promoted = true;
    let mut desk = Desk::default();
    loop {
        let step = world.ask(&desk, THERE);
        if step == PromotionStep::Wait(PromotionWait::Ready) {
            break;
        }
        let before = world.clone();
        world.act(&mut desk, &before, &step);
    }
    assert_eq!(world.machine.as_ref().unwrap().shape.power, MachinePower::Running);
    assert_eq!(world.record.as_ref().unwrap().boot.as_deref(), Some("boot-1"));
    assert_eq!(world.facts().unwrap().ready_boot, None, "of the boot before");
    let before = world.clone();
    world.act(&mut desk, &before, &PromotionStep::Wait(PromotionWait::Ready));
    assert_eq!(world.facts().unwrap().ready_boot.as_deref(), Some("boot-2"));
    type Change = fn(&mut crate::domain::Report);
    for change in [
        (|report| report.promoted = false) as Change,
        |report| report.synced = false,
        |report| report.optimistic = true,
        |report| report.signer_seen = true,
        |report| report.signer_hidden = Some("/proc".into()),
        |report| report.boot_id.clear(),
    ] {
        let mut other = world.clone();
        change(&mut other.machine.as_mut().unwrap().report);
        assert_eq!(other.facts().unwrap().ready_boot, None);
    }
}

/// It was stopped in the wait, and there is no machine to start it on.
#[test]
fn a_start_that_is_refused_after_the_raise_does_not_say_that_home_is_as_it_was() {
    let all = crashes(&PromotionWorld::new(true), THERE);
    let raised = |world: &PromotionWorld| world.session.as_ref().is_some_and(|session| session.number == 5);
    let mut world = all.into_iter().find(raised).unwrap();
    world.no_capacity = true;
    world.machine.as_mut().unwrap().shape.power = MachinePower::Terminated;
    let PromotionStep::Ended(end) = ends(&mut world, THERE) else { panic!("it is no end") };
    assert_eq!(end, PromotionEnd::StartRefusedLate);
    assert!(end.to_string().contains("home has stopped"), "{end}");
    assert_eq!(ends(&mut world, BACK), PromotionStep::Done);
    assert!(world.session.as_ref().unwrap().number <= world.in_force().number, "home may sign");
}

#[test]
fn where_the_cloud_owns_and_its_machine_is_stopped_or_in_another_boot_there_are_words() {
    let mut world = promoted();
    world.machine.as_mut().unwrap().shape.power = MachinePower::Terminated;
    assert_eq!(ends(&mut world, THERE), PromotionStep::Ended(PromotionEnd::CloudStopped));
    world.machine.as_mut().unwrap().start();
    let before = world.clone();
    world.act(&mut Desk::default(), &before, &PromotionStep::Wait(PromotionWait::Ready));
    assert_eq!(ends(&mut world, THERE), PromotionStep::Ended(PromotionEnd::OtherBoot));
}

#[test]
fn a_demotion_that_is_taken_back_after_the_stop_says_that_nobody_signs() {
    let mut stopped = 0;
    for mut world in crashes(&promoted(), HOME) {
        let runs = world.machine.as_ref().unwrap().shape.power == MachinePower::Running;
        let is_open = world.record.as_ref().unwrap().state.is_open();
        let end = ends(&mut world, BACK);
        match (world.is_clouds(), is_open, runs) {
            (true, true, false) => {
                stopped += 1;
                assert_eq!(end, PromotionStep::Ended(PromotionEnd::CloudStopped));
            }
            (true, true, true) => assert_eq!(end, PromotionStep::Done),
            (_, _, _) => {}
        }
    }
    assert!(stopped > 2, "{stopped}");
}

/// Somebody's adoption has raised the number while this one was taken back.
#[test]
fn a_promotion_that_is_taken_back_says_that_home_waits() {
    let mut world = PromotionWorld::new(true);
    follow(&mut world, THERE, 4);
    assert_eq!(ends(&mut world, BACK), PromotionStep::Done);
    world.session = world.session.map(|session| session.raised_to(9, uuid::Uuid::from_u128(9)));
    assert_eq!(ends(&mut world, BACK), PromotionStep::Ended(PromotionEnd::HomeWaits(9)));
    let next = ends(&mut world, THERE);
    assert_eq!(next, PromotionStep::Ended(PromotionEnd::HomeWaits(9)), "before anything is done to the machine");
    assert_eq!(world.machine.unwrap().shape.missing(&shape().restored()), []);
}

#[test]
fn a_demotion_judges_what_can_be_known_before_the_machine_is_stopped_and_everything_after_it() {
    let mut world = promoted();
    let (steps, _) = follow(&mut world, HOME, 200);
    let place = |wanted: PromotionStep| steps.iter().position(|step| *step == wanted);
    let first = place(PromotionStep::Judge(GatePass::HomeFirst)).unwrap();
    let stop = place(PromotionStep::Do(PromotionEffect::Stop)).unwrap();
    let whole = place(PromotionStep::Judge(GatePass::Home)).unwrap();
    assert!(first < stop && stop < whole, "{steps:?}");
    assert_eq!(steps.iter().filter(|step| matches!(step, PromotionStep::Judge(_))).count(), 2, "each once");

    let world = promoted();
    let judged = |facts: &PromotionFacts<'_>| facts.judge(GatePass::HomeFirst, &GateEvidence::default(), world.now);
    let report = world.ask(&Desk::default(), judged);
    assert_eq!(report.gates.iter().filter(|gate| gate.state == GateState::NotYet).count(), 1, "silent");
    let desk = Desk { order: order(), gates: Some(report) };
    assert!(matches!(world.ask(&desk, HOME), PromotionStep::Refused(gates) if gates.len() == 3));
    assert!(
        matches!(world.in_force().owner, GrantPlace::Cloud { .. })
            && world.record.unwrap().state == PromotionState::Done
    );
}

#[test]
fn what_the_gates_said_counts_for_exactly_the_record_and_the_boot_that_it_was_said_for() {
    let mut world = PromotionWorld::new(true);
    let (mut desk, mut last) = (Desk::default(), PromotionStep::Done);
    while !matches!(last, PromotionStep::Sign(_)) {
        last = world.ask(&desk, THERE);
        let before = world.clone();
        if !matches!(last, PromotionStep::Sign(_)) {
            world.act(&mut desk, &before, &last);
        }
    }
    type Change = fn(&mut PromotionRecord);
    for change in [
        (|record| record.by = "another".into()) as Change,
        |record| record.statement = Some("mine".into()),
        |record| record.watermark.as_mut().unwrap().epoch += 1,
        |record| record.raise = None,
        |record| record.instance.name = "another".into(),
    ] {
        let mut other = world.clone();
        change(other.record.as_mut().unwrap());
        assert!(!matches!(other.ask(&desk, THERE), PromotionStep::Sign(_)));
    }
    let mut other = world.clone();
    other.machine.as_mut().unwrap().report.boot_id = "boot-9".into();
    assert_eq!(other.ask(&desk, THERE), PromotionStep::Judge(GatePass::Second), "another boot");
    let report = desk.gates.as_mut().unwrap();
    report.subject = None;
    assert_eq!(world.ask(&desk, THERE), PromotionStep::Judge(GatePass::Second), "said for nothing");
}
