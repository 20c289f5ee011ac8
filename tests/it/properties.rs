//! What must never happen, over random orders of events, failures, hostile reports, steps of the clock and restarts
//! anywhere: three validators, one cloud. A failing case prints a scenario that `failover simulate` replays.

mod acts;
mod checks;
mod cloud;
mod model;
mod ops;
mod script;
mod settle;

use std::panic::{AssertUnwindSafe, catch_unwind};

use failover::{domain::Span, simulate};
use proptest::{prelude::*, test_runner::TestCaseError};

use model::Model;
use ops::{Case, Chain, Op, Sources, Start};

/// `PROPTEST_CASES` decides; without it there are so many as take a quarter of a minute.
fn config(cases: u32) -> ProptestConfig {
    let mut config = ProptestConfig { failure_persistence: None, max_shrink_time: 60_000, ..ProptestConfig::default() };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = cases;
    }
    config
}

/// Lets a case happen. What panics is a broken property, or the machine itself; either way it is told with a scenario.
fn live(model: &mut Model, happen: impl FnOnce(&mut Model)) -> Result<(), TestCaseError> {
    let ended = catch_unwind(AssertUnwindSafe(|| happen(model)));
    ended.map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default();
        TestCaseError::fail(format!("{text}\n----- to be replayed:\n{}-----", model.scenario(&text)))
    })
}

proptest! {
    #![proptest_config(config(80))]

    #[test]
    fn no_order_of_events_breaks_a_property(case in ops::case()) {
        let mut model = Model::new(&case);
        live(&mut model, |model| {
            for op in &case.ops {
                model.apply(op);
            }
            model.settle(&case);
        })?;
    }

    /// Where the language can say everything, a replayed scenario ends as it was recorded.
    #[test]
    fn a_recorded_scenario_is_replayed(case in ops::case()) {
        let mut model = Model::new(&case);
        for op in &case.ops {
            model.apply(op);
        }
        if !model.script.approximate {
            let text = model.scenario("nothing is broken");
            let scenario = simulate::parse(&text).map_err(|error| TestCaseError::fail(format!("{error}\n{text}")))?;
            let report = simulate::run(&scenario);
            let failed = report.failures.join("\n");
            prop_assert!(report.failures.is_empty(), "{failed}\n{text}\n{}", report.transcript);
        }
    }
}

proptest! {
    // A full outbox makes every event dear.
    #![proptest_config(config(20))]

    /// The record stays small and everything else holds while no mail is taken for hours: by then the outbox is full.
    #[test]
    fn a_mail_server_that_takes_nothing_breaks_no_property(case in ops::case()) {
        let mut model = Model::without_mail(&case);
        live(&mut model, |model| {
            for op in &case.ops {
                model.apply(op);
            }
            model.serve(Span::from_hours(6));
        })?;
    }
}

#[test]
fn what_is_printed_of_a_failing_case_is_replayed_by_simulate() {
    use ops::{Asked, Fate, Happens};
    let ops = vec![
        Op::Down(0),
        Op::Serve(600),
        Op::Machine(0, Happens::Signs),
        Op::ClockStep(-86_400),
        Op::Serve(900),
        Op::Ask(1, Asked::Open),
        Op::Answer(1, Fate::Works),
        Op::Answer(1, Fate::OutOfStock),
        Op::Restart { down_for: 0, happens: false },
        Op::Wait(30),
        Op::Keys { of: 2, active: 3, slashed: 1 },
    ];
    let case = Case {
        armed: true,
        simulated: false,
        budget: false,
        chains: [Chain::Ours; 3],
        start: Start::Normal,
        sources: Sources::Silent,
        hours: 6,
        ops,
    };
    let mut model = Model::new(&case);
    let error = live(&mut model, |model| {
        for op in &case.ops {
            model.apply(op);
        }
        panic!("PROPERTY this one is broken on purpose");
    })
    .unwrap_err()
    .to_string();
    let text = error.split("-----").nth(1).unwrap().trim_start_matches(" to be replayed:");
    assert!(text.contains("# PROPERTY this one is broken on purpose"), "{text}");
    let report = simulate::run(&simulate::parse(text).unwrap());
    assert!(report.failures.is_empty() && report.unused.is_empty(), "{}\n{text}", report.transcript);
    assert_eq!(report.checked, 3);
    let phases: Vec<String> = model.ids.iter().map(|id| model.record(id).phase().to_string()).collect();
    assert_eq!(phases, ["needs human", "provisioning", "watching"]);
}
