//! The golden scenarios, and for each the rule whose absence turns it red.

use std::{collections::BTreeSet, fs, path::PathBuf};

use failover::{
    domain::{
        Event, Evidence, IncidentId, OtherChain, Outcome, Policy, Reading, Source, Span, Time, Usd, ValidatorId,
        Verdict, Written,
    },
    simulate::{self, Report, Tamper},
};

fn text_of(name: &str) -> String {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    fs::read_to_string(folder.join(format!("{name}.txt"))).unwrap()
}

fn run(name: &str, tamper: &dyn Tamper) -> Report {
    let scenario = simulate::parse(&text_of(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    simulate::run_with(&scenario, tamper)
}

fn names() -> BTreeSet<String> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let stem = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().path().file_stem().unwrap().to_owned();
    fs::read_dir(folder).unwrap().map(|entry| stem(entry).into_string().unwrap()).collect()
}

struct Honest;
impl Tamper for Honest {}

#[test]
fn every_scenario_ends_as_it_expects() {
    let mut failed = Vec::new();
    for name in names() {
        let report = run(&name, &Honest);
        if !report.failures.is_empty() || !report.unused.is_empty() || report.checked == 0 {
            failed.push(format!(
                "== {name}\n{}\n{}",
                report.transcript,
                report.failures.iter().chain(&report.unused).cloned().collect::<Vec<_>>().join("\n")
            ));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// A rule switched off, from outside: by what the machine is told, or by the policy it is given.
enum Off {
    Policy(fn(&mut Policy)),
    Event(fn(Event) -> Option<Event>),
}

impl Tamper for Off {
    fn policy(&self, policy: &mut Policy) {
        if let Self::Policy(change) = self {
            change(policy);
        }
    }
    fn event(&self, event: Event) -> Option<Event> {
        match self {
            Self::Policy(_) => Some(event),
            Self::Event(change) => change(event),
        }
    }
}

fn reading(event: Event, change: impl Fn(Source, &mut Reading)) -> Option<Event> {
    Some(match event {
        Event::Observed(id, source, mut reading) => {
            change(source, &mut reading);
            Event::Observed(id, source, reading)
        }
        other => other,
    })
}

fn outcome(event: Event, change: impl Fn(Outcome) -> Outcome) -> Option<Event> {
    Some(match event {
        Event::Finished(id, action, outcome) => Event::Finished(id, action, change(outcome)),
        other => other,
    })
}

/// Taking what a probe says for what another source says.
fn probe_as(event: Event, other: Source) -> Option<Event> {
    Some(match event {
        Event::Observed(id, Source::Probe, reading) => Event::Observed(id, other, reading),
        other => other,
    })
}

/// The incident that a scenario opens after five minutes of its time.
fn first_incident(id: &ValidatorId) -> IncidentId {
    IncidentId::derive(id, Time::constant(1_767_225_600 + 300, 0))
}

fn no_unknown(event: Event) -> Option<Event> {
    reading(event, |_, reading| {
        if reading.verdict == Verdict::Unknown {
            reading.verdict = Verdict::Down;
            reading.fresh_until = reading.about.to + Span::from_hours(24);
        }
    })
}

fn never_stale(event: Event) -> Option<Event> {
    reading(event, |_, reading| reading.fresh_until = reading.about.to + Span::from_hours(240))
}

fn ignore_keys(event: Event) -> Option<Event> {
    (!matches!(event, Event::KeysSeen(..))).then_some(event)
}

fn ignore_requests(event: Event) -> Option<Event> {
    (!matches!(event, Event::Requested(..))).then_some(event)
}

fn no_budget(policy: &mut Policy) {
    policy.budget_per_incident = None;
    policy.budget_per_month = None;
}

/// An incomplete look taken for an empty one.
fn trust_every_look(event: Event) -> Option<Event> {
    outcome(event, |outcome| match outcome {
        Outcome::Failed(_) => Outcome::Found(Vec::new()),
        other => other,
    })
}

/// As if the machine had never written anything.
fn unwritten(event: Event) -> Option<Event> {
    outcome(event, |outcome| match outcome {
        Outcome::Observed(Some(mut seen)) => {
            seen.written = Written::Nothing;
            Outcome::Observed(Some(seen))
        }
        other => other,
    })
}

/// As if a look answered only where there is a report.
fn unanswered_but_reports(event: Event) -> Option<Event> {
    outcome(event, |outcome| match outcome {
        Outcome::Observed(Some(seen)) if seen.written.report().is_none() => Outcome::Failed("no answer".into()),
        other => other,
    })
}

/// Every node that is read, judged as one whose own probes say all.
fn by_its_word(policy: &mut Policy) {
    policy.other_chains.values_mut().for_each(|chain| *chain = OtherChain::Probed);
}

fn believe(event: Event, change: impl Fn(&mut failover::domain::Report)) -> Option<Event> {
    outcome(event, |outcome| match outcome {
        Outcome::Observed(Some(mut seen)) => {
            if let Written::Report(report) = &mut seen.written {
                change(report);
            }
            Outcome::Observed(Some(seen))
        }
        other => other,
    })
}

/// Every scenario, and how to switch off the rule it is about.
const RULES: &[(&str, Off)] = &[
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
        Off::Event(|event| (!matches!(event, Event::HandsSeen(..))).then_some(event)),
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
        Off::Policy(|policy| policy.ladder.iter_mut().for_each(|rung| rung.until_fuse = Some(Usd(0.0)))),
    ),
    ("after_an_incident_comes_a_cooldown", Off::Policy(|policy| policy.cooldown = Span::ZERO)),
    ("no_more_incidents_a_day_than_allowed", Off::Policy(|policy| policy.max_incidents_per_day = 1000)),
    (
        "a_resolved_alert_undoes_nothing",
        // Taking "resolved" for "recovered".
        Off::Event(|event| match event {
            Event::Observed(id, Source::Alert, reading) if reading.verdict == Verdict::Unknown => {
                let (by, reason) = ("alertmanager".to_owned(), "resolved".to_owned());
                let ask = failover::domain::Ask::Close;
                let request = failover::domain::Request {
                    id: "r".into(),
                    validator: id.clone(),
                    by,
                    reason,
                    ask,
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
            let retain = matches!(&event, Event::Requested(_, request) if request.ask == failover::domain::Ask::Retain);
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
                    instance.id += 1000;
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
];

#[test]
fn without_its_rule_every_scenario_turns_red() {
    let described: BTreeSet<String> = RULES.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(described, names(), "every scenario has a rule to switch off, and every rule a scenario");
    let green: Vec<&str> =
        RULES.iter().filter(|(name, off)| run(name, off).failures.is_empty()).map(|(name, _)| *name).collect();
    assert!(green.is_empty(), "these do not notice that their rule is off: {green:?}");
}

#[test]
fn a_scenario_that_expects_nothing_or_runs_backwards_is_not_a_test() {
    let scenario = simulate::parse("0s alert eth-0 down").unwrap();
    assert_eq!(simulate::run(&scenario).checked, 0);
    assert_eq!(simulate::parse("5m restart\n1m restart").unwrap_err().line, 2);
    assert_eq!(simulate::parse("\n0s frobnicate eth-0").unwrap_err().line, 2);
    assert_eq!(simulate::parse("policy hold_down soon").unwrap_err().line, 1);
}
