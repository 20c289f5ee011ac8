//! What a promotion and a demotion change, and how to switch off what follows from them.

use failover::domain::{
    Event, MachineState, Owner, PromotionView, Source, Span, Verdict,
    promotion::{PromotionKind, PromotionState},
};

use super::off::{Off, believe, listed, reading, seen};

fn view(event: Event, change: impl Fn(&mut PromotionView)) -> Option<Event> {
    Some(match event {
        Event::PromotionSeen(id, grant, Some(mut view)) => {
            change(&mut view);
            Event::PromotionSeen(id, grant, Some(view))
        }
        other => other,
    })
}

fn no_cloud(event: Event) -> Option<Event> {
    (!matches!(event, Event::OwnerSeen(_, Owner::Cloud { .. }))).then_some(event)
}

/// Only one that is open.
fn none_open(event: Event) -> Option<Event> {
    let is_open = matches!(&event, Event::PromotionSeen(_, _, Some(view)) if view.state == PromotionState::Open);
    (!is_open).then_some(event)
}

/// What the process's port says, as if it could not say.
fn blind_to(event: Event, blind: Source) -> Option<Event> {
    reading(event, |source, reading| {
        if source == blind {
            reading.verdict = Verdict::Unknown;
        }
    })
}

pub(super) const RULES: &[(&str, Off)] = &[
    ("an_idle_home_is_not_back_while_the_cloud_owns", Off::Event(no_cloud)),
    ("home_that_is_down_while_the_cloud_owns_opens_nothing", Off::Event(no_cloud)),
    ("a_cloud_that_misses_its_duties_is_mailed_and_not_replaced", Off::Event(|event| blind_to(event, Source::Chain))),
    (
        "a_machine_that_waits_for_its_regrant_is_mailed",
        Off::Event(|event| believe(event, |report| report.boot_id = "first".into())),
    ),
    (
        "a_promoted_machine_that_is_stopped_or_gone_is_mailed",
        Off::Event(|event| seen(event, |seen| seen.state = MachineState::Running)),
    ),
    (
        "a_promoted_machine_that_does_not_report_is_mailed",
        Off::Policy(|policy| policy.report_stale_after = Span::from_hours(1000)),
    ),
    ("a_signer_at_home_while_the_cloud_owns_is_mailed", Off::Event(|event| blind_to(event, Source::Process))),
    (
        "duties_before_anything_ran_on_the_machine_are_homes",
        Off::Event(|event| believe(event, |report| report.signer_seen = true)),
    ),
    (
        "a_session_that_home_holds_after_its_raise_is_mailed",
        Off::Event(|event| view(event, |view| view.home_holds = false)),
    ),
    (
        "a_promotion_that_is_late_is_mailed_hourly",
        Off::Event(|event| view(event, |view| view.due_at += Span::from_hours(100))),
    ),
    (
        "each_turn_of_a_promotion_is_mailed_once",
        // As if each word were about another one.
        Off::Event(|event| view(event, |view| view.by = format!("{:?}", view.due_at).as_str().into())),
    ),
    ("while_a_promotion_is_open_its_machines_are_left_alone", Off::Event(none_open)),
    ("while_a_promotion_is_open_nothing_is_created", Off::Event(none_open)),
    ("a_deletion_that_a_promotion_has_overtaken_asks_nobody", Off::Event(none_open)),
    (
        "a_machine_that_is_kept_after_a_demotion_stands_in_no_ones_way",
        Off::Event(|event| view(event, |view| view.promoted.clear())),
    ),
    (
        "a_kept_machine_that_runs_is_mailed",
        Off::Event(|event| listed(event, |listed| listed.machine.state = MachineState::Stopped)),
    ),
    (
        "a_promoted_machine_that_signs_nothing_is_no_kept_one",
        // As if it had been demoted.
        Off::Event(|event| view(event, |view| (view.kind, view.number) = (PromotionKind::ToHome, 2))),
    ),
];
