//! What a gate says of itself, and how to switch off what follows from it.

use failover::domain::{
    Event, Evidence, Owner, Verdict,
    gate::{GateNeed, GateSight},
};

use super::off::Off;

fn sight(event: Event, change: impl Fn(&mut GateSight)) -> Option<Event> {
    Some(match event {
        Event::GateSeen(id, mut sight) => {
            change(&mut sight);
            Event::GateSeen(id, sight)
        }
        other => other,
    })
}

pub(super) const RULES: &[(&str, Off)] = &[
    (
        "a_gate_that_counts_silent_epochs_opens_nothing",
        Off::Event(|event| sight(event, |sight| sight.holds_until = None)),
    ),
    (
        "a_gate_that_waits_for_something_else_is_down",
        Off::Event(|event| sight(event, |sight| sight.reading.verdict = Verdict::Unknown)),
    ),
    (
        "a_gate_and_its_process_are_one_evidence",
        Off::Event(|event| sight(event, |sight| sight.reading.evidence = Evidence::Host)),
    ),
    (
        "home_waits_while_the_cloud_owns",
        Off::Event(|event| (!matches!(event, Event::OwnerSeen(_, Owner::Moving { .. }))).then_some(event)),
    ),
    (
        "somebody_who_signs_beside_a_gate_is_mailed_at_once",
        // Taking it for the wait that it also is.
        Off::Event(|event| {
            sight(event, |sight| {
                if matches!(sight.need, GateNeed::Stranger { .. }) {
                    sight.need = GateNeed::Nothing;
                }
            })
        }),
    ),
    (
        "a_stranger_that_blips_is_mailed_once",
        // Taking another wait for a process that runs.
        Off::Event(|event| {
            sight(event, |sight| {
                if !matches!(sight.need, GateNeed::Stranger { .. }) {
                    sight.reading.verdict = Verdict::Up;
                }
            })
        }),
    ),
    (
        "a_gate_that_starts_nothing_is_mailed_daily",
        // Taking no answer, or a wait that has just begun, for a process that runs.
        Off::Event(|event| {
            sight(event, |sight| {
                if sight.need == GateNeed::NotKnown {
                    (sight.need, sight.reading.verdict) = (GateNeed::Nothing, Verdict::Up);
                }
            })
        }),
    ),
];
