//! The rules alone: how many decisions a second.

use std::{hint::black_box, time::Instant};

use failover::domain::{
    CreateOutcome, Event, Evidence, InstanceRef, Interval, Mode, Outcome, Policy, PricedRung, Reading, Rung, Source,
    Span, Time, Validator, ValidatorId, Verdict, World, step,
};

fn start() -> Time {
    Time::constant(1_767_225_600, 0)
}

fn world(validators: usize) -> (World, Vec<ValidatorId>) {
    let ids: Vec<ValidatorId> = (0..validators).map(|n| ValidatorId::new(&format!("eth-{n}")).unwrap()).collect();
    (World::new(ids.iter().map(|id| (id.clone(), Validator::default()))), ids)
}

fn reading(verdict: Verdict, evidence: Evidence, at: Time) -> Reading {
    let fresh_until = at + Span::from_hours(1);
    Reading { verdict, evidence, about: Interval { from: at, to: at }, fresh_until, why: "measured".into() }
}

pub(super) fn step_rate(validators: usize) -> f64 {
    let (mut world, ids) = world(validators);
    let policy = Policy::default();
    let calls = 400_000;
    let events: Vec<Event> = ids
        .iter()
        .map(|id| Event::Observed(id.clone(), Source::Chain, reading(Verdict::Up, Evidence::Chain, start())))
        .collect();
    let since = Instant::now();
    for call in 0..calls {
        let event = &events[call % events.len()];
        let mut decision = step(&world, event, start(), &policy).unwrap();
        world.commit(event.validator(), &mut decision);
        black_box(&decision);
    }
    calls as f64 / since.elapsed().as_secs_f64()
}

/// Incidents a second, each from two signals to a machine.
pub(super) fn incident_rate() -> f64 {
    let policy = Policy {
        mode: Mode::Armed,
        hold_down: Span::ZERO,
        ladder: vec![PricedRung {
            rung: Rung { zone: "us-central1-a".into(), machine_type: "n2-standard-8".into() },
            per_hour: None,
            at_most: None,
            stopped_per_month: None,
        }],
        ..Policy::default()
    };
    let incidents = 20_000;
    let since = Instant::now();
    for number in 0..incidents {
        let (mut world, ids) = world(1);
        let id = &ids[0];
        let now = start() + Span::from_secs(number);
        let mut under_way = None;
        let mut happen = |event: Event| {
            let mut decision = step(&world, &event, now, &policy).unwrap();
            let action = decision.actions.pop().map(|(action, _)| action);
            world.commit(Some(id), &mut decision);
            under_way = action.or(under_way);
            under_way
        };
        happen(Event::Observed(id.clone(), Source::Alert, reading(Verdict::Down, Evidence::Process, now)));
        let find = happen(Event::Observed(id.clone(), Source::Chain, reading(Verdict::Down, Evidence::Chain, now)));
        let create = happen(Event::Finished(id.clone(), find.unwrap(), Outcome::Found(Vec::new())));
        let machine = InstanceRef { zone: "us-central1-a".into(), name: "fo".into(), id: 1.into() };
        let created = Outcome::Created(CreateOutcome::Created(machine));
        black_box(happen(Event::Finished(id.clone(), create.unwrap(), created)));
    }
    incidents as f64 / since.elapsed().as_secs_f64()
}
