//! For each scenario the rule it is about, and how to switch that off.

use failover::domain::{
    Event, Evidence, MachineState, Mode, OtherChain, Outcome, Reading, Role, Source, Span, Usd, ValidatorId, Verdict,
};

use super::off::*;

/// Every scenario, and how to switch off the rule it is about.
pub(super) const RULES: &[(&str, Off)] = &[
    ("two_signals_open_an_incident", Off::Policy(|policy| policy.needed = 1)),
    ("hold_down_has_no_break", Off::Policy(|policy| policy.hold_down = Span::ZERO)),
    (
        "same_evidence_is_one_signal",
        Off::Event(|event| {
            reading(event, |source, reading| {
                if source == Source::Alert {
                    reading.evidence = Evidence::Host;
                }
            })
        }),
    ),
    (
        "two_alerts_are_one_signal",
        Off::Event(|event| match event {
            Event::Observed(id, Source::Alert, reading) if reading.evidence == Evidence::Host => {
                Some(Event::Observed(id, Source::Kube, reading))
            }
            other => Some(other),
        }),
    ),
    ("unknown_counts_for_nothing", Off::Event(no_unknown)),
    ("a_reading_goes_stale_by_itself", Off::Event(never_stale)),
    (
        "attesting_after_the_suspicion_vetoes",
        Off::Event(|event| {
            let up = matches!(&event, Event::Observed(_, Source::Chain, reading) if reading.verdict == Verdict::Up);
            (!up).then_some(event)
        }),
    ),
    (
        "attesting_before_the_suspicion_does_not_veto",
        Off::Event(|event| {
            reading(event, |source, reading| {
                if source == Source::Chain {
                    reading.about.from = reading.about.to + Span::from_secs(20);
                    reading.about.to = reading.about.from;
                }
            })
        }),
    ),
    (
        "a_reading_about_the_future_is_unknown",
        Off::Event(|event| {
            reading(event, |_, reading| {
                if reading.about.to > reading.fresh_until - Span::from_hours(23) {
                    reading.about.from -= Span::from_hours(2);
                    reading.about.to -= Span::from_hours(2);
                }
            })
        }),
    ),
    ("one_signal_for_long_is_mailed", Off::Policy(|policy| policy.suspected_mail_after = Span::from_hours(100))),
    ("observe_mode_creates_nothing", Off::Policy(|policy| policy.mode = failover::domain::Mode::Armed)),
    ("a_pause_holds_everything_until_it_ends", Off::Event(ignore_requests)),
    (
        "a_chain_that_does_not_finalise_is_told_only",
        Off::Event(|event| (!matches!(event, Event::ChainSeen(_))).then_some(event)),
    ),
    (
        "the_work_of_a_human_is_a_question",
        Off::Event(|event| (!matches!(event, Event::MaintenanceSeen(..))).then_some(event)),
    ),
    ("a_slashed_key_freezes_everything", Off::Event(ignore_keys)),
    ("exited_keys_need_no_standby", Off::Event(ignore_keys)),
    (
        "partial_is_told_and_opens_nothing",
        Off::Event(|event| {
            reading(event, |_, reading| {
                if reading.verdict == Verdict::Partial {
                    reading.verdict = Verdict::Down;
                }
            })
        }),
    ),
    ("over_budget_is_told_and_opens_nothing", Off::Policy(no_budget)),
    (
        "an_unknown_price_is_not_affordable",
        Off::Policy(|policy| policy.ladder.iter_mut().for_each(|rung| rung.at_most = Some(Usd(0.0)))),
    ),
    ("after_an_incident_comes_a_cooldown", Off::Policy(|policy| policy.cooldown = Span::ZERO)),
    ("no_more_incidents_a_day_than_allowed", Off::Policy(|policy| policy.max_incidents_per_day = 1000)),
    (
        "a_resolved_alert_undoes_nothing",
        // Taking "resolved" for "recovered".
        Off::Event(|event| match event {
            Event::Observed(id, Source::Alert, reading) if reading.verdict == Verdict::Unknown => {
                let (by, reason) = ("alertmanager".to_owned(), "resolved".to_owned());
                let command = failover::domain::Command::Close;
                let request = failover::domain::Request {
                    id: "r".into(),
                    validator: id.clone(),
                    by,
                    reason,
                    command,
                    // As every scenario names the incident that it opens after five minutes.
                    incident: Some(first_incident(&id)),
                    expires_at: None,
                };
                Some(Event::Requested(id, request))
            }
            other => Some(other),
        }),
    ),
    (
        "recovery_needs_the_chain_and_the_process",
        // Taking attestations for home's.
        Off::Event(|event| {
            Some(match event {
                Event::Due(id) => Event::Observed(
                    id,
                    Source::Process,
                    Reading {
                        verdict: Verdict::Up,
                        evidence: Evidence::Process,
                        about: failover::domain::Interval {
                            from: failover::domain::Time::UNIX_EPOCH,
                            to: failover::domain::Time::UNIX_EPOCH,
                        },
                        fresh_until: failover::domain::Time::MAX,
                        why: "forged".into(),
                    },
                ),
                other => other,
            })
        }),
    ),
    ("a_probed_node_at_work_again_releases", Off::Event(|event| probe_as(event, Source::Kube))),
    ("a_probe_that_says_up_vetoes", Off::Event(|event| probe_as(event, Source::Process))),
    (
        "a_probe_and_an_alert_of_the_process_are_one_signal",
        Off::Event(|event| {
            reading(event, |source, reading| {
                if source == Source::Probe {
                    reading.evidence = Evidence::Chain;
                }
            })
        }),
    ),
    ("another_chains_trouble_is_not_a_generic_validators", Off::Event(|event| probe_as(event, Source::Kube))),
    ("home_back_releases_and_bills", Off::Policy(|policy| policy.healthy_delay = Span::from_hours(10))),
    (
        "a_silent_standby_is_not_released",
        Off::Event(|event| {
            (!matches!(&event, Event::Observed(_, Source::Chain, r) if r.verdict == Verdict::Up)).then_some(event)
        }),
    ),
    ("nothing_is_created_before_a_complete_look", Off::Event(trust_every_look)),
    (
        "out_of_stock_moves_down_the_ladder",
        Off::Event(|event| {
            outcome(event, |outcome| match outcome {
                Outcome::Created(failover::domain::CreateOutcome::QuotaExceeded(said)) => {
                    Outcome::Created(failover::domain::CreateOutcome::OutOfStock(said))
                }
                other => other,
            })
        }),
    ),
    (
        "an_unknown_outcome_looks_before_acting_again",
        Off::Event(|event| {
            outcome(event, |outcome| match outcome {
                Outcome::Created(failover::domain::CreateOutcome::Unknown(said)) => {
                    Outcome::Created(failover::domain::CreateOutcome::Refused(said))
                }
                Outcome::Found(_) => Outcome::Found(Vec::new()),
                other => other,
            })
        }),
    ),
    ("a_restart_looks_before_acting_again", Off::Event(|event| outcome(event, |_| Outcome::Found(Vec::new())))),
    ("a_restart_forgets_every_hold", Off::Policy(|policy| policy.hold_down = Span::from_mins(1))),
    (
        "a_clock_jump_restarts_every_hold",
        Off::Event(|event| (!matches!(event, Event::ClockJumped(..))).then_some(event)),
    ),
    (
        "a_second_machine_goes_the_ledgers_stays",
        Off::Event(|event| {
            outcome(event, |outcome| match outcome {
                Outcome::Found(mut machines) => {
                    machines.truncate(1);
                    Outcome::Found(machines)
                }
                other => other,
            })
        }),
    ),
    (
        "a_vanished_standby_is_a_humans_question",
        Off::Event(|event| {
            outcome(event, |outcome| match outcome {
                Outcome::Observed(None) => Outcome::Failed("taken for a bad look".into()),
                other => other,
            })
        }),
    ),
    ("a_signer_makes_the_standby_untouchable", Off::Event(|event| believe(event, |report| report.signer_seen = false))),
    (
        "a_report_counts_only_when_it_moves",
        Off::Event(|event| believe(event, |report| report.counter = report.counter.wrapping_mul(0).wrapping_add(1))),
    ),
    (
        "a_report_of_another_chain_is_not_ready",
        Off::Event(|event| believe(event, |report| report.genesis_root = "0x4b36".into())),
    ),
    ("a_standby_has_an_end", Off::Policy(|policy| policy.standby_ttl = Span::from_hours(500))),
    (
        "retained_is_left_alone",
        Off::Event(|event| {
            let retain =
                matches!(&event, Event::Requested(_, request) if request.command == failover::domain::Command::Retain);
            (!retain).then_some(event)
        }),
    ),
    ("several_down_together_are_a_site_outage", Off::Policy(|policy| policy.max_unhealthy = 1.0)),
    (
        "a_repeated_request_is_applied_once",
        // Every request a new one.
        Off::Event(|event| match event {
            Event::Requested(id, mut request) => {
                request.id = uuid::Uuid::new_v4().to_string();
                Some(Event::Requested(id, request))
            }
            other => Some(other),
        }),
    ),
    ("readiness_is_held_without_a_break", Off::Policy(|policy| policy.ready_hold = Span::ZERO)),
    ("a_standby_that_does_not_go_on_is_stuck", Off::Policy(|policy| policy.stuck_after = Span::from_hours(10))),
    (
        "a_slow_sync_is_not_stuck",
        Off::Event(|event| believe(event, |report| report.head_age_seconds = 90_000 + 1200 * report.counter)),
    ),
    ("a_machine_that_never_boots_is_tried_again", Off::Policy(|policy| policy.boot_deadline = Span::from_hours(10))),
    ("what_failed_to_boot_counts_against_the_budget", Off::Policy(no_budget)),
    (
        "a_second_machine_that_does_not_come_is_told",
        Off::Policy(|policy| policy.provisioning_deadline = Span::from_hours(100)),
    ),
    ("a_restart_begins_the_deadline_of_a_boot_again", Off::Policy(|policy| policy.boot_deadline = Span::from_mins(5))),
    ("a_probed_standby_that_syncs_for_long_is_not_stuck", Off::Policy(|policy| policy.other_chains.clear())),
    (
        "a_given_up_machine_that_stays_is_not_replaced",
        // Taking the deletion's word for it.
        Off::Event(|event| {
            outcome(event, |outcome| match outcome {
                Outcome::Found(_) => Outcome::Found(Vec::new()),
                other => other,
            })
        }),
    ),
    (
        "a_given_up_machine_that_stays_is_told_once",
        // Taking the deletion's word for it.
        Off::Event(|event| {
            outcome(event, |outcome| match outcome {
                Outcome::Found(_) => Outcome::Found(Vec::new()),
                other => other,
            })
        }),
    ),
    (
        "a_given_up_machine_that_is_answered_again_is_not_adopted",
        // Taking it for another one.
        Off::Event(|event| {
            outcome(event, |outcome| match outcome {
                Outcome::Created(failover::domain::CreateOutcome::Created(mut instance)) => {
                    instance.id = 9101.into();
                    Outcome::Created(failover::domain::CreateOutcome::Created(instance))
                }
                other => other,
            })
        }),
    ),
    ("a_machine_that_has_written_anything_is_not_given_up", Off::Event(unwritten)),
    (
        "a_signer_that_cannot_be_ruled_out_keeps_the_standby",
        Off::Event(|event| believe(event, |report| report.signer_hidden = None)),
    ),
    (
        "a_restart_does_not_take_ready_away",
        // The first word after the start says that something is missing.
        Off::Event(|event| believe(event, |report| report.synced &= report.counter != 5)),
    ),
    (
        "a_ready_standby_that_is_not_heard_after_a_restart_is_ready_no_longer",
        Off::Policy(|policy| policy.report_stale_after = Span::from_hours(10)),
    ),
    ("a_machine_that_starts_slowly_is_not_given_up", Off::Event(unwritten)),
    ("a_machine_that_booted_again_is_not_released_on_its_earlier_word", Off::Event(unanswered_but_reports)),
    ("a_machine_that_took_its_report_back_is_not_released_on_its_earlier_word", Off::Event(unanswered_but_reports)),
    ("a_restart_does_not_forget_that_a_machine_has_spoken", Off::Event(unwritten)),
    (
        "a_report_of_an_earlier_boot_does_not_count",
        Off::Event(|event| {
            believe(event, |report| {
                if report.counter == 2 {
                    report.boot_id = "another".into();
                }
            })
        }),
    ),
    ("a_boot_loop_is_told", Off::Policy(|policy| policy.stuck_after = Span::from_mins(1))),
    ("clients_that_start_again_and_again_are_told", Off::Event(|event| believe(event, |report| report.restarts = 0))),
    ("a_full_disk_is_not_ready", Off::Event(|event| believe(event, |report| report.disk_free_percent = Some(60)))),
    ("a_probed_standby_is_ready_by_its_own_probes", Off::Policy(|policy| policy.other_chains.clear())),
    ("a_read_standby_is_ready_by_what_its_agent_counts", Off::Policy(|policy| policy.other_chains.clear())),
    (
        "a_read_standby_on_another_chain_is_stuck",
        Off::Policy(|policy| {
            policy.other_chains.values_mut().for_each(|chain| *chain = OtherChain::Read { chain_id: None });
        }),
    ),
    ("a_read_standby_without_a_fresh_head_or_a_peer_is_not_ready", Off::Policy(by_its_word)),
    ("a_read_standby_that_does_not_go_on_is_stuck", Off::Policy(by_its_word)),
    (
        "what_is_left_after_a_release_is_told",
        Off::Event(|event| {
            outcome(event, |outcome| match outcome {
                Outcome::Disks(_) => Outcome::Disks(Vec::new()),
                other => other,
            })
        }),
    ),
    ("an_operators_word_keeps_the_limits", Off::Policy(no_budget)),
    // The watch.
    (
        "a_hold_belongs_to_the_pair_that_says_down",
        // The third one speaks in the name of the first.
        Off::Event(|event| {
            Some(match event {
                Event::Observed(id, Source::Kube, mut reading) => {
                    reading.evidence = Evidence::Process;
                    Event::Observed(id, Source::Alert, reading)
                }
                other => other,
            })
        }),
    ),
    (
        "a_suspicion_that_lasts_is_mailed_whatever_hides_it",
        Off::Policy(|policy| policy.suspected_mail_after = Span::from_hours(100)),
    ),
    ("a_flapping_validator_is_mailed_once_a_day", Off::Policy(|policy| policy.remind_every = Span::from_mins(1))),
    ("what_lasts_is_said_again_every_day", Off::Policy(|policy| policy.remind_every = Span::from_hours(1000))),
    (
        "an_incident_that_waits_for_a_human_still_sees_the_next_outage",
        // Blind to what is said a month later.
        Off::Event(|event| {
            let later = |reading: &Reading| reading.fresh_until.duration_since(reading.about.to) > Span::from_hours(50);
            (!matches!(&event, Event::Observed(_, _, reading) if later(reading))).then_some(event)
        }),
    ),
    (
        "an_older_word_does_not_undo_a_newer_one",
        Off::Event(|event| reading(event, |_, reading| reading.about.to += Span::from_mins(9))),
    ),
    (
        "what_a_human_closed_opens_again_only_after_it_was_up",
        // Silence taken for recovery.
        Off::Event(|event| {
            reading(event, |_, reading| {
                if reading.verdict == Verdict::Unknown {
                    reading.verdict = Verdict::Up;
                }
            })
        }),
    ),
    (
        "an_incident_that_a_human_opened_while_it_was_up_ends_by_a_human_only",
        Off::Event(|event| {
            (!matches!(&event, Event::Observed(_, _, reading) if reading.evidence == Evidence::Host)).then_some(event)
        }),
    ),
    ("money_that_is_free_again_opens_what_waited", Off::Policy(no_budget)),
    // The clock.
    ("a_clock_set_back_blinds_nothing", Off::Event(no_jumps)),
    ("a_clock_set_back_confirms_nothing", Off::Event(no_jumps)),
    ("a_clock_set_forward_ends_no_wait", Off::Event(no_jumps)),
    ("a_jump_begins_the_wait_for_home_again", Off::Event(no_jumps)),
    // Attention.
    (
        "a_graver_attention_takes_the_place_of_a_lesser_one",
        Off::Event(|event| believe(event, |report| report.signer_seen = false)),
    ),
    (
        "two_signers_are_the_gravest",
        Off::Event(|event| (!matches!(event, Event::Observed(_, Source::Process, _))).then_some(event)),
    ),
    (
        "an_attention_that_is_over_is_shown_no_longer",
        // What was seen once taken for what is.
        Off::Event(|event| {
            seen(event, |seen| {
                if seen.written.report().is_some_and(|report| report.counter == 2) {
                    seen.state = MachineState::Stopped;
                }
            })
        }),
    ),
    ("a_slashing_during_an_incident_is_mailed", Off::Event(ignore_keys)),
    ("a_slashed_key_stays_slashed_over_a_restart", Off::Event(ignore_keys)),
    (
        "an_owner_in_the_cloud_makes_its_machines_untouchable",
        Off::Event(|event| (!matches!(event, Event::OwnerSeen(..))).then_some(event)),
    ),
    (
        "observe_mode_in_the_middle_of_an_incident_is_said",
        // As if it had been so from the start, when nothing opens.
        Off::Policy(|policy| policy.mode = Mode::Observe),
    ),
    (
        "what_must_not_be_touched_in_a_release_is_a_humans",
        Off::Event(|event| {
            outcome(event, |outcome| match outcome {
                Outcome::Untouchable(why) => Outcome::Failed(why),
                other => other,
            })
        }),
    ),
    // The machine.
    (
        "a_second_machine_that_stays_does_not_stop_the_polls",
        Off::Policy(|policy| policy.observe_every = Span::from_hours(10)),
    ),
    ("a_pause_does_not_stop_the_polls", Off::Event(nothing_is_gone)),
    ("a_poll_that_always_fails_is_mailed", Off::Event(trust_every_look)),
    (
        "a_deletion_that_always_fails_is_mailed_and_tried_less_and_less",
        Off::Policy(|policy| policy.retry_cap = Span::from_secs(1)),
    ),
    (
        "a_machine_that_is_said_to_be_deleted_and_is_still_there_is_not_asked_for_without_end",
        Off::Policy(|policy| policy.retry_after = Span::ZERO),
    ),
    (
        "home_back_closes_an_incident_whose_standby_is_gone",
        Off::Policy(|policy| policy.healthy_delay = Span::from_hours(10)),
    ),
    (
        "home_back_before_the_first_word_needs_no_human",
        // An old look taken for none.
        Off::Policy(|policy| policy.report_stale_after = Span::from_secs(1)),
    ),
    (
        "a_retained_standby_is_billed_when_home_is_back",
        Off::Event(|event| seen(event, |seen| (seen.role, seen.deletion_protection) = (Role::Standby, false))),
    ),
    ("a_retained_standby_that_is_gone_can_be_closed", Off::Event(nothing_is_gone)),
    ("a_restart_does_not_end_what_a_human_has_to_look_at", Off::Event(nothing_is_gone)),
    ("a_promoted_machine_is_not_adopted", Off::Event(|event| found(event, |machine| machine.role = Role::Standby))),
    (
        "a_machine_that_is_being_made_is_not_adopted",
        Off::Event(|event| found(event, |machine| machine.state = MachineState::Running)),
    ),
    (
        "attestations_without_the_process_release_nothing",
        // Taking attestations for home's.
        Off::Event(|event| {
            reading(event, |_, reading| {
                if reading.verdict == Verdict::Up {
                    reading.evidence = Evidence::Process;
                }
            })
            .and_then(|event| probe_or(event, Source::Chain))
        }),
    ),
    (
        "work_from_before_the_incident_is_no_recovery",
        Off::Event(|event| {
            reading(event, |_, reading| {
                if reading.verdict == Verdict::Up {
                    reading.about.from = reading.about.to;
                }
            })
        }),
    ),
    (
        "a_report_of_another_incident_does_not_count",
        Off::Event(|event| {
            believe(event, |report| {
                let id = ValidatorId::new("eth-0").expect("a name like every other");
                report.incident = first_incident(&id).to_string();
            })
        }),
    ),
];
