//! For each scenario about what must *not* be done the rule it is about, and how to switch that off.

use failover::domain::{
    Command, CreateOutcome, Event, Evidence, MachineState, Mode, Outcome, Role, Source, Span, Verdict,
};

use super::off::*;

/// Scenario, and the rule switched off.
pub(super) const RULES: &[(&str, Off)] = &[
    // Requests.
    (
        "a_request_about_another_incident_changes_nothing",
        Off::Event(|event| request(event, |id, request| request.incident = Some(first_incident(id)))),
    ),
    (
        "a_request_that_lay_in_the_ledger_for_a_day_is_not_carried_out",
        Off::Event(|event| request(event, |_, request| request.expires_at = None)),
    ),
    (
        "a_dark_house_opens_an_incident",
        Off::Event(|event| {
            reading(event, |source, reading| {
                if source == Source::Site {
                    reading.evidence = Evidence::Chain;
                }
            })
        }),
    ),
    (
        "a_watcher_that_is_gone_from_a_house_at_work_is_no_outage",
        Off::Event(|event| {
            let up = matches!(&event, Event::Observed(_, Source::Chain, reading) if reading.verdict == Verdict::Up);
            (!up).then_some(event)
        }),
    ),
    ("a_creation_after_a_pause_is_preceded_by_a_search", Off::Event(ignore_requests)),
    (
        "a_signer_that_is_seen_while_its_machine_is_released_keeps_it",
        Off::Event(|event| believe(event, |report| report.signer_seen = false)),
    ),
    (
        "an_answer_to_a_creation_counts_whatever_came_in_between",
        // Taken for an answer that tells nothing.
        Off::Event(|event| {
            outcome(event, |outcome| match outcome {
                Outcome::Created(failover::domain::CreateOutcome::OutOfStock(why)) => Outcome::Failed(why),
                other => other,
            })
        }),
    ),
    (
        "a_pause_while_the_cloud_thinks_is_followed_by_a_search",
        Off::Event(|event| {
            (!matches!(&event, Event::Requested(_, request) if matches!(request.command, Command::Pause { .. })))
                .then_some(event)
        }),
    ),
    (
        "a_start_mails_no_suspicion_before_a_source_could_speak",
        Off::Policy(|policy| policy.hold_down = Span::from_secs(1)),
    ),
    (
        "a_suspicion_from_before_a_restart_is_mailed_if_nobody_speaks",
        Off::Policy(|policy| policy.suspected_mail_after = Span::from_hours(100)),
    ),
    (
        "a_process_that_runs_for_a_moment_is_no_recovery",
        // What the process says taken for what a probe says, which shows the work.
        Off::Event(|event| probe_or(event, Source::Process)),
    ),
    ("an_opinion_that_was_stale_begins_its_hold_again", Off::Event(never_stale)),
    (
        "a_port_that_does_not_answer_is_no_outage",
        // What the process says taken for what the cluster says.
        Off::Event(|event| {
            Some(match event {
                Event::Observed(id, Source::Process, reading) => Event::Observed(id, Source::Kube, reading),
                other => other,
            })
        }),
    ),
    ("an_opinion_that_goes_stale_ends_a_suspicion_by_itself", Off::Event(never_stale)),
    ("after_a_veto_the_hold_begins_again", Off::Event(no_work)),
    ("one_source_that_says_up_beside_others_that_say_down_is_not_up", Off::Event(ignore_requests)),
    ("an_opinion_is_as_old_after_a_jump_as_before", Off::Event(no_jumps)),
    ("a_human_at_work_is_not_forgotten_by_a_jump", Off::Event(no_jumps)),
    ("a_report_from_before_a_jump_releases_nothing", Off::Event(no_jumps)),
    (
        "observe_mode_in_the_middle_of_an_incident_creates_nothing",
        // As if it had been so from the start, when nothing opens.
        Off::Policy(|policy| policy.mode = Mode::Observe),
    ),
    (
        "observe_mode_deletes_for_nobody",
        // As if it had been so from the start, when nothing opens.
        Off::Policy(|policy| policy.mode = Mode::Observe),
    ),
    ("a_pause_does_not_keep_what_an_operator_closes", Off::Event(|event| no_request(event, Command::Close))),
    ("in_a_pause_no_serial_port_is_read", Off::Event(ignore_requests)),
    ("a_pause_that_began_meanwhile_keeps_a_machine", Off::Event(ignore_requests)),
    ("while_home_works_again_no_other_machine_is_tried", Off::Event(no_work)),
    (
        "a_retained_machine_is_not_given_up",
        Off::Event(|event| seen(event, |seen| (seen.role, seen.deletion_protection) = (Role::Standby, false))),
    ),
    (
        "a_second_machine_that_must_not_be_touched_is_a_humans",
        Off::Event(|event| {
            outcome(event, |outcome| match outcome {
                Outcome::Untouchable(why) => Outcome::Failed(why),
                other => other,
            })
        }),
    ),
    (
        "a_machine_that_is_found_again_is_polled_at_once",
        // Another one is found.
        Off::Event(|event| found(event, |machine| machine.instance.id = 9101.into())),
    ),
    (
        "a_machine_is_not_released_on_an_old_word",
        Off::Policy(|policy| policy.report_stale_after = Span::from_hours(10)),
    ),
    (
        "a_stopped_machine_that_never_spoke_is_not_released",
        Off::Event(|event| seen(event, |seen| seen.state = MachineState::Running)),
    ),
    (
        "a_retained_machine_is_not_released_when_home_is_back",
        Off::Event(|event| seen(event, |seen| (seen.role, seen.deletion_protection) = (Role::Standby, false))),
    ),
    ("a_release_that_finds_no_answer_is_mailed", Off::Event(trust_every_look)),
    (
        "disks_that_nobody_can_look_at_do_not_keep_an_incident_open",
        Off::Event(|event| {
            outcome(event, |outcome| match outcome {
                Outcome::Failed(_) => Outcome::Disks(Vec::new()),
                other => other,
            })
        }),
    ),
    (
        "what_is_still_down_when_an_incident_ends_is_suspected_anew",
        Off::Policy(|policy| policy.suspected_mail_after = Span::from_mins(1)),
    ),
    (
        "an_operators_word_opens_nothing_in_a_pause",
        Off::Event(|event| match &event {
            Event::Requested(_, request) if matches!(request.command, Command::Pause { .. }) => None,
            _ => Some(event),
        }),
    ),
    ("an_operators_word_opens_nothing_with_a_slashed_key", Off::Event(ignore_keys)),
    ("an_operators_word_opens_nothing_in_observe_mode", Off::Policy(|policy| policy.mode = Mode::Armed)),
    (
        "in_observe_mode_a_standing_machine_is_not_closed",
        // As if it had been so from the start, when nothing opens.
        Off::Policy(|policy| policy.mode = Mode::Observe),
    ),
    ("a_pause_that_has_passed_ends_no_other", Off::Event(ignore_requests)),
    (
        "two_signers_stay_two_signers",
        Off::Event(|event| (!matches!(event, Event::Observed(_, Source::Process, _))).then_some(event)),
    ),
    ("a_machine_that_speaks_after_all_is_no_question", Off::Event(unwritten)),
    (
        "after_a_start_a_retained_machine_is_looked_at_before_anybody_is_asked",
        Off::Event(|event| seen(event, |seen| (seen.role, seen.deletion_protection) = (Role::Standby, false))),
    ),
    (
        "the_hour_of_calm_begins_with_the_last_word_that_said_down",
        Off::Event(|event| (!matches!(&event, Event::Observed(_, Source::Kube, _))).then_some(event)),
    ),
    ("whoever_has_to_look_is_not_asked_to_promote", Off::Policy(|policy| policy.standby_ttl = Span::from_hours(500))),
    (
        "a_standby_of_a_forgotten_incident_is_used_and_none_is_created",
        Off::Event(|event| found(event, |machine| machine.role = Role::Other)),
    ),
    (
        "a_standby_of_a_forgotten_incident_that_is_being_made_is_waited_for",
        Off::Event(|event| found(event, |machine| machine.role = Role::Other)),
    ),
    (
        "a_machine_that_no_incident_claims_is_deleted_an_hour_after_its_mail",
        Off::Policy(|policy| policy.orphan_notice = Span::from_mins(5)),
    ),
    (
        "a_machine_of_another_ledger_is_mailed_and_never_deleted",
        Off::Event(|event| listed(event, |listed| listed.ours = true)),
    ),
    (
        "a_machine_that_no_incident_claims_stays_while_home_is_not_well",
        Off::Event(|event| (!matches!(event, Event::Observed(_, Source::Alert, _))).then_some(event)),
    ),
    (
        "a_machine_that_no_incident_claims_and_that_cannot_be_deleted_is_mailed",
        Off::Event(|event| {
            outcome(event, |outcome| match outcome {
                Outcome::Untouchable(_) => Outcome::Deleted,
                other => other,
            })
        }),
    ),
    (
        "a_place_that_refuses_does_not_stop_the_others",
        Off::Event(|event| {
            outcome(event, |outcome| match outcome {
                Outcome::Created(CreateOutcome::RefusedHere(said)) => Outcome::Created(CreateOutcome::Refused(said)),
                other => other,
            })
        }),
    ),
    (
        "a_place_that_alone_refuses_is_named_in_a_mail",
        // Taken for what nobody has to mend.
        Off::Event(|event| {
            outcome(event, |outcome| match outcome {
                Outcome::Created(CreateOutcome::RefusedHere(said)) => Outcome::Created(CreateOutcome::OutOfStock(said)),
                other => other,
            })
        }),
    ),
    (
        "a_zone_that_does_not_answer_stops_nothing_elsewhere",
        Off::Event(|event| {
            outcome(event, |outcome| match outcome {
                Outcome::FoundWithout { why, .. } => Outcome::Failed(why),
                other => other,
            })
        }),
    ),
    (
        "a_place_that_does_not_answer_is_left_after_two_tries",
        Off::Event(|event| {
            outcome(event, |outcome| match outcome {
                Outcome::Created(CreateOutcome::Busy(said)) => Outcome::Failed(said),
                other => other,
            })
        }),
    ),
    (
        "a_machine_that_vanishes_while_it_is_made_leaves_its_place_to_the_next",
        Off::Event(|event| found(event, |machine| machine.state = MachineState::Running)),
    ),
    (
        "a_late_creation_of_the_earlier_name_goes_after_a_take_over",
        Off::Event(|event| {
            found(event, |machine| {
                if machine.instance.id == 202.into() {
                    machine.incident = "ffffffff".into();
                }
            })
        }),
    ),
    (
        "a_machine_that_is_being_stopped_is_not_a_question_yet",
        Off::Event(|event| {
            seen(event, |seen| {
                if seen.state == MachineState::Stopping {
                    seen.state = MachineState::Stopped;
                }
            })
        }),
    ),
    (
        "a_kept_machine_that_no_incident_claims_is_mailed_and_stays",
        Off::Event(|event| {
            listed(event, |listed| (listed.machine.role, listed.machine.deletion_protection) = (Role::Standby, false))
        }),
    ),
    (
        "a_machine_that_no_incident_claims_stays_while_homes_process_is_not_seen",
        Off::Event(|event| match event {
            Event::Observed(id, Source::Chain, reading) => Some(Event::Observed(id, Source::Process, reading)),
            other => Some(other),
        }),
    ),
    (
        "a_retained_machine_of_a_forgotten_incident_is_taken_over_as_retained",
        Off::Event(|event| {
            outcome(event, |outcome| match outcome {
                Outcome::Found(_) => Outcome::Found(Vec::new()),
                other => other,
            })
        }),
    ),
    (
        "with_a_promoted_machine_nothing_is_created_before_a_human_has_looked",
        Off::Event(|event| {
            found(event, |machine| (machine.role, machine.deletion_protection) = (Role::Standby, false))
        }),
    ),
    (
        "a_machine_is_not_deleted_before_its_mail_was_delivered",
        Off::Policy(|policy| policy.orphan_notice = Span::from_mins(5)),
    ),
    (
        "a_machine_that_was_kept_is_announced_before_it_is_deleted",
        // Announced from the beginning on.
        Off::Event(|event| {
            listed(event, |listed| {
                (listed.machine.role, listed.machine.deletion_protection) = (Role::Standby, false);
            })
        }),
    ),
    ("a_second_machine_stays_once_the_first_is_gone", Off::Event(nothing_is_gone)),
    (
        "a_list_without_the_ledgers_machine_deletes_nothing",
        Off::Event(|event| {
            outcome(event, |outcome| match outcome {
                Outcome::Found(mut machines) => {
                    let ours = machines.first().cloned().map(|mut machine| {
                        machine.instance.id = 101.into();
                        machine
                    });
                    machines.extend(ours.filter(|ours| machines[0].instance != ours.instance));
                    Outcome::Found(machines)
                }
                other => other,
            })
        }),
    ),
    ("what_the_cloud_answered_an_earlier_incident_is_not_shown", Off::Event(ignore_requests)),
];
