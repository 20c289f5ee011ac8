//! The texts as people read them. `golden.txt` beside this file holds every mail; after a wanted change, write it again
//! with `UPDATE_GOLDEN=1 cargo test --lib domain::notice` and read the difference.

use super::*;
use crate::domain::{
    Attention, AttentionKind, InstanceRef, Rung, Span, Stuck, StuckKind, Text, Usd, hostile,
    promotion::{PromotionEffect, PromotionKind, PromotionState},
};

const GOLDEN: &str = include_str!("golden.txt");

fn at(text: &str) -> Time {
    text.parse().unwrap()
}

fn now() -> Time {
    at("2026-11-21T07:08:12Z")
}

fn rung() -> Rung {
    Rung { zone: "us-central1-a".into(), machine_type: "n2-standard-8".into() }
}

fn instance() -> InstanceRef {
    InstanceRef { zone: "us-central1-b".into(), name: "fo-eth-0-1a2b3c4d".into(), id: 42.into() }
}

fn offer(simulated: bool) -> Offer {
    Offer {
        rung: rung(),
        alternatives: 2,
        per_hour: Some(Usd(0.67)),
        at_most: Some(Usd(48.2)),
        max_run_duration: Span::from_hours(72),
        stopped_per_month: Some(Usd(204.8)),
        simulated,
    }
}

fn evidence() -> Lines {
    ["alert says down for 6m 2s: ValidatorDown (process)", "chain says down: silent in epoch 812, 30 of 32 others live"]
        .into_iter()
        .collect()
}

fn console() -> Lines {
    ["[    1.2] Kernel panic - not syncing: VFS: Unable to mount root fs", "[    1.3] ---[ end Kernel panic ]---"]
        .into_iter()
        .collect()
}

fn decision(attention: Attention) -> NoticeKind {
    NoticeKind::DecisionNeeded(DecisionNeeded { attention, instance: Some(instance()), per_hour: Some(Usd(0.67)) })
}

fn failure(failed: Failed, detail: &str) -> NoticeKind {
    NoticeKind::Failure(Failure { failed, detail: detail.into(), retry_at: Some(at("2026-11-21T07:10:00Z")) })
}

fn confirmed(plan: Plan, opened_by: Option<Text>) -> NoticeKind {
    NoticeKind::Outage(Outage::Confirmed { since: at("2026-11-21T07:02:10Z"), plan, opened_by })
}

fn ready(simulated: bool) -> NoticeKind {
    NoticeKind::Standby(StandbyNotice::Ready {
        instance: instance(),
        per_hour: Some(Usd(0.67)),
        expires_at: at("2026-11-24T07:09:00Z"),
        report: ["consensus client synced, head 4s old", "execution client verified", "52 peers"].into_iter().collect(),
        simulated,
    })
}

/// What each source says when the notice is written.
fn evidence_of(kind: &NoticeKind) -> Lines {
    match kind {
        NoticeKind::Outage(Outage::SuspectedTooLong { .. }) => {
            ["alert says down for 20m: ValidatorDown (process)", "chain unknown: its node is 9 slots behind"]
                .into_iter()
                .collect()
        }
        NoticeKind::Outage(Outage::Partial { .. }) => ["chain: 0xaaaa… and 0xbbbb… silent"].into_iter().collect(),
        NoticeKind::DecisionNeeded(_) => ["its last report is 12m old"].into_iter().collect(),
        _ => evidence(),
    }
}

fn kept() -> InstanceRef {
    InstanceRef { name: "kept-eth-0-1a2b3c4d".into(), ..instance() }
}

fn changed(kind: PromotionKind, state: PromotionState, number: u64) -> NoticeKind {
    let (instance, by, reason) = (instance(), "ann@laptop".into(), "the house is flooded".into());
    NoticeKind::Promotion(PromotionNotice::Changed { kind, state, instance, number, by, reason })
}

fn overdue(kind: PromotionKind, state: PromotionState) -> NoticeKind {
    let (step, due_at, by) = (Some(PromotionEffect::Raise), at("2026-11-21T06:50:00Z"), "ann@laptop".into());
    NoticeKind::Promotion(PromotionNotice::Overdue { kind, state, step, due_at, by })
}

fn home_signs(sign: HomeSign, stop: &str) -> NoticeKind {
    let (why, number, stop) = ("it runs the process".into(), 8, stop.into());
    NoticeKind::Promotion(PromotionNotice::HomeSigns { sign, why, number, stop })
}

fn owner(trouble: OwnerTrouble, why: &str) -> NoticeKind {
    let (why, number, machine) = (why.into(), 8, kept().to_string().as_str().into());
    NoticeKind::Promotion(PromotionNotice::Owner { trouble, why, number, machine })
}

fn every_kind() -> Vec<NoticeKind> {
    let mut unpriced = offer(false);
    (unpriced.per_hour, unpriced.at_most, unpriced.stopped_per_month, unpriced.alternatives) = (None, None, None, 0);
    vec![
        NoticeKind::Outage(Outage::SuspectedTooLong { since: at("2026-11-21T06:48:12Z") }),
        confirmed(Plan::Create(offer(false)), None),
        confirmed(Plan::Create(offer(true)), None),
        confirmed(Plan::WouldCreate(offer(false)), None),
        confirmed(Plan::Create(unpriced), Some("mara@laptop: water in the basement".into())),
        confirmed(Plan::Nothing, None),
        ready(false),
        ready(true),
        decision(Attention::Vanished),
        decision(Attention::Stopped),
        decision(Attention::SignerSeen),
        decision(Attention::TtlEnded),
        decision(Attention::RecoveredButSilent),
        decision(Attention::TwoSigners),
        decision(Attention::DownAgain),
        decision(Attention::ObserveMode),
        decision(Attention::NeverBooted { attempts: 2, console: console() }),
        decision(Attention::Untouchable("its deletion protection is on".into())),
        failure(Failed::OutOfStock, "ZONE_RESOURCE_POOL_EXHAUSTED in us-central1-a, us-central1-b and us-east1-b"),
        failure(Failed::Quota, "QUOTA_EXCEEDED: Quota 'CPUS' exceeded. Limit: 8.0 in region us-central1."),
        failure(Failed::Refused, "Required 'compute.instances.create' permission for 'projects/p/zones/…'"),
        NoticeKind::Failure(Failure {
            failed: Failed::Place(rung()),
            detail:
                "n2-standard-8 in us-central1-a: 400 invalid: Machine type with name 'n2-standard-8' does not exist in \
                     zone 'us-central1-a'."
                    .into(),
            retry_at: None,
        }),
        failure(Failed::TooSlow, "30m since the incident was opened; last answer: 503"),
        NoticeKind::Failure(Failure { failed: Failed::Delete, detail: "403 forbidden".into(), retry_at: None }),
        NoticeKind::Blocked(Blocker::OverIncidentBudget { estimate: Usd(63.1), limit: Usd(60.0) }),
        NoticeKind::Blocked(Blocker::OverMonthBudget { estimate: Usd(48.2), spent: Usd(160.0), limit: Usd(200.0) }),
        NoticeKind::Blocked(Blocker::PriceUnknown { rung: rung() }),
        NoticeKind::Standby(StandbyNotice::TakenOver { instance: instance() }),
        NoticeKind::Standby(StandbyNotice::Orphan { instance: instance(), fate: OrphanFate::Deleted }),
        NoticeKind::Standby(StandbyNotice::Orphan { instance: instance(), fate: OrphanFate::Foreign }),
        NoticeKind::Standby(StandbyNotice::Orphan { instance: instance(), fate: OrphanFate::Kept }),
        NoticeKind::Standby(StandbyNotice::OrphanKept {
            instance: instance(),
            check: "fo-eth-0-1a2b3c4d in us-central1-a must not be deleted: it reports a process that could sign"
                .into(),
        }),
        NoticeKind::Standby(StandbyNotice::ExpiresSoon {
            instance: instance(),
            expires_at: at("2026-11-21T13:08:12Z"),
            so_far: Some(Usd(44.2)),
            stopped_per_month: Some(Usd(204.8)),
        }),
        NoticeKind::Over(Over {
            lasted: Span::from_secs(8100),
            how: "home attests again for 20m".into(),
            standby: Some(Bill {
                rung: rung(),
                ran: Span::from_secs(7890),
                earlier: Lines::default(),
                cost: Some(Usd(1.47)),
                deleted: true,
            }),
            kept: false,
            left: Lines::default(),
        }),
        NoticeKind::Over(Over {
            lasted: Span::from_secs(8100),
            how: "closed by mara@laptop: home is repaired".into(),
            standby: Some(Bill {
                rung: rung(),
                ran: Span::from_secs(7890),
                earlier: Lines::default(),
                cost: None,
                deleted: false,
            }),
            kept: true,
            left: Lines::default(),
        }),
        NoticeKind::Over(Over {
            lasted: Span::from_secs(400),
            how: "home attests again".into(),
            standby: None,
            kept: false,
            left: Lines::default(),
        }),
        NoticeKind::Over(Over {
            lasted: Span::from_secs(8100),
            how: "home attests again for 20m".into(),
            standby: Some(Bill {
                rung: rung(),
                ran: Span::from_secs(7890),
                earlier: Lines::default(),
                cost: Some(Usd(1.47)),
                deleted: true,
            }),
            kept: false,
            left: ["disk fo-eth-0-1a2b3c4d-1 in us-central1-b (2048 GB)"].into_iter().collect(),
        }),
        NoticeKind::Over(Over {
            lasted: Span::from_secs(8100),
            how: "home attests again for 20m".into(),
            standby: Some(Bill {
                rung: rung(),
                ran: Span::from_secs(5000),
                earlier: ["n2-standard-8 in us-central1-b, ran 21m"].into_iter().collect(),
                cost: Some(Usd(1.72)),
                deleted: true,
            }),
            kept: false,
            left: Lines::default(),
        }),
        NoticeKind::Standby(StandbyNotice::Stuck {
            instance: instance(),
            stuck: Stuck::DiskFull { percent: 3 },
            per_hour: Some(Usd(0.67)),
            progress: ["43 %, execution client: 18.2 of 21.9 M blocks", "it reported 20s ago"].into_iter().collect(),
        }),
        NoticeKind::Standby(StandbyNotice::NeverBooted {
            instance: instance(),
            waited: Span::from_mins(20),
            console: console(),
        }),
        NoticeKind::Outage(Outage::Partial { silent: 2, of: 5 }),
        NoticeKind::Blocked(Blocker::ChainNotFinalising { epochs: 7 }),
        NoticeKind::Outage(Outage::SiteOutage {
            down: ["eth-0", "eth-1", "bera-0"].into_iter().collect(),
            of: 4,
            plan: Plan::Create(offer(false)),
        }),
        NoticeKind::Outage(Outage::Slashed { keys: [format!("0x{}", "ab".repeat(48))].into_iter().collect() }),
        NoticeKind::Blocked(Blocker::Maintenance { why: "it was scaled to zero, is this maintenance?".into() }),
        NoticeKind::Outage(Outage::Gate {
            why: "session 7 is held by another process at home".into(),
            since: at("2026-11-21T06:20:00Z"),
            runs: false,
        }),
        NoticeKind::Outage(Outage::Gate {
            why: "the ledger has not confirmed the session for 31m".into(),
            since: at("2026-11-21T06:20:00Z"),
            runs: true,
        }),
        NoticeKind::Outage(Outage::Stranger {
            why: "SOMEBODY SIGNS WITH THESE KEYS OUTSIDE THIS GATE: 2 keys had duties in epoch 1002, which began at \
                  2026-11-21 06:20:00 UTC. Find that process and stop it. Before a start there have to be: 0 of 2 silent \
                  epochs"
                .into(),
            since: at("2026-11-21T06:27:00Z"),
        }),
        NoticeKind::Outage(Outage::HomeUnseen { since: at("2026-11-21T06:38:00Z"), works: true }),
        NoticeKind::Outage(Outage::HomeUnseen { since: at("2026-11-20T06:38:00Z"), works: false }),
        NoticeKind::Outage(Outage::WitnessUnseen { since: at("2026-11-20T06:20:00Z") }),
        NoticeKind::Blocked(Blocker::Cooldown { until: at("2026-11-21T08:00:00Z") }),
        NoticeKind::Blocked(Blocker::TooMany { limit: 3 }),
        NoticeKind::Blocked(Blocker::ClosedByOperator),
        failure(Failed::Poll, "503 backend error"),
        failure(Failed::List, "the list is not complete: us-central1-a: 503 backendError"),
        changed(PromotionKind::ToCloud, PromotionState::Open, 8),
        changed(PromotionKind::ToCloud, PromotionState::Done, 8),
        changed(PromotionKind::ToCloud, PromotionState::Done, 0),
        changed(PromotionKind::ToCloud, PromotionState::Aborting, 8),
        changed(PromotionKind::ToCloud, PromotionState::Aborted, 8),
        changed(PromotionKind::ToHome, PromotionState::Open, 9),
        changed(PromotionKind::ToHome, PromotionState::Done, 9),
        overdue(PromotionKind::ToCloud, PromotionState::Open),
        overdue(PromotionKind::ToHome, PromotionState::Aborting),
        NoticeKind::Promotion(PromotionNotice::Stranded),
        home_signs(HomeSign::Session, "kubectl -n eth scale statefulset vc --replicas=0"),
        home_signs(HomeSign::Gate, "sudo systemctl disable --now failover-gate-eth-0.service"),
        home_signs(HomeSign::Process, "kubectl -n eth scale statefulset vc --replicas=0"),
        home_signs(HomeSign::Pod, "kubectl -n eth scale statefulset vc --replicas=0"),
        home_signs(HomeSign::Duties, "sudo systemctl disable --now UNIT"),
        owner(OwnerTrouble::Gone, "a complete list of all machines does not show it"),
        owner(OwnerTrouble::Stopped, "the cloud says so"),
        owner(OwnerTrouble::AwaitsRegrant, "needs regrant: the grant is for another boot"),
        owner(OwnerTrouble::Silent, "its report has not moved for ten minutes"),
        owner(OwnerTrouble::NoDuties, "silent in epoch 812, 30 of 32 others live"),
        NoticeKind::Promotion(PromotionNotice::KeptRuns { instance: kept() }),
        NoticeKind::Blocked(Blocker::Promotion { kind: PromotionKind::ToCloud, by: "ann@laptop".into() }),
        NoticeKind::Over(Over {
            lasted: Span::from_secs(8100),
            how: "home owns its keys again".into(),
            standby: Some(Bill {
                rung: rung(),
                ran: Span::from_secs(7890),
                earlier: Lines::default(),
                cost: Some(Usd(1.47)),
                deleted: false,
            }),
            kept: false,
            left: [format!("{}: it is stopped and kept, its disk costs", kept())].into_iter().collect(),
        }),
        NoticeKind::Runbook(RunbookNotice {
            text: ["RUNBOOK --lose: home is gone (eth-0)", "", "1. See what is known.", "   failover status"]
                .map(str::to_owned)
                .to_vec()
                .into(),
        }),
    ]
}

fn notice(kind: NoticeKind) -> Notice {
    let validator = ValidatorId::new("eth-0").unwrap();
    let incident = match kind {
        NoticeKind::Outage(
            Outage::SuspectedTooLong { .. }
            | Outage::Partial { .. }
            | Outage::Gate { .. }
            | Outage::Stranger { .. }
            | Outage::HomeUnseen { .. }
            | Outage::WitnessUnseen { .. },
        )
        | NoticeKind::Blocked(Blocker::ChainNotFinalising { .. })
        | NoticeKind::Runbook(_) => None,
        _ => Some(IncidentId::try_from("1a2b3c4d".to_owned()).unwrap()),
    };
    let evidence = evidence_of(&kind);
    Notice { id: Uuid::nil(), validator, incident, at: now(), first_at: None, kind, evidence }
}

fn mail(kind: NoticeKind) -> Message {
    render(&notice(kind), &Context { site: "home", cli: "failover" })
}

#[test]
fn every_mail_reads_as_it_was_agreed() {
    let mut all = String::new();
    for kind in every_kind() {
        let message = mail(kind);
        all.push_str(&format!("=== {}\n\n{}\n", message.subject, message.body));
    }
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/src/domain/notice/golden.txt"), &all).unwrap();
        return;
    }
    for (number, (found, agreed)) in all.lines().zip(GOLDEN.lines()).enumerate() {
        assert_eq!(found, agreed, "golden.txt line {}", number + 1);
    }
    assert_eq!(all.len(), GOLDEN.len(), "one of the two is longer");
}

#[test]
fn no_line_but_a_command_or_a_single_word_is_longer_than_72() {
    for kind in every_kind() {
        for line in mail(kind).body.lines() {
            let is_command =
                ["failover", "gcloud", "kubectl", "sudo"].iter().any(|it| line.starts_with(&format!("  {it} ")));
            let is_one_word = line.trim_start_matches("- ").split_whitespace().count() == 1;
            assert!(line.chars().count() <= 72 || is_command || is_one_word, "too long: {line}");
        }
    }
}

#[test]
fn nothing_is_raw_in_a_mail_whatever_its_notice_holds() {
    for kind in every_kind() {
        let message = render(&hostile::everywhere(&notice(kind)), &Context { site: "home", cli: "failover" });
        hostile::assert_plain("subject", &message.subject, "");
        // A long one goes on in the next line, which any word may begin.
        hostile::assert_plain("body", &message.body.replace('\n', " "), "");
    }
}

/// What a mail does not show is not kept for it.
#[test]
fn evidence_is_kept_for_the_mails_that_show_it() {
    for kind in every_kind() {
        let about = kind.about();
        assert_eq!(mail(kind).body.contains("What is known:"), about.evidence, "{about:?}");
    }
}

#[test]
fn every_mail_ends_with_a_command_that_can_be_copied() {
    for kind in every_kind() {
        let message = render(&notice(kind), &Context { site: "home", cli: "kubectl exec deploy/fo -- failover" });
        assert!(message.body.contains("\n  kubectl exec deploy/fo -- failover "), "{}", message.body);
    }
}

#[test]
fn a_standby_that_is_a_placeholder_is_called_simulated_and_a_real_one_is_not() {
    for simulated in [true, false] {
        for kind in [ready(simulated), confirmed(Plan::Create(offer(simulated)), None)] {
            assert_eq!(mail(kind).body.to_lowercase().contains("simulated"), simulated);
        }
    }
    assert!(mail(ready(true)).subject.contains("simulated"));
}

#[test]
fn observe_mode_never_says_that_something_is_created() {
    let body = mail(confirmed(Plan::WouldCreate(offer(false)), None)).body;
    assert!(body.starts_with("eth-0 is down. Nothing is created, because mode is observe."), "{body}");
    assert!(!body.contains("is being created"));
}

#[test]
fn text_from_outside_can_neither_add_a_header_nor_fill_the_ledger() {
    let text = Text::from("line one\r\nBcc: everybody@x\u{7}");
    assert_eq!(text.as_str(), "line one Bcc: everybody@x");
    let long = Text::from("x".repeat(100_000));
    assert_eq!(long.as_str().chars().count(), 400);
    let lines: Lines = (0..1000).map(|n| format!("line {n}")).collect();
    assert_eq!(lines.iter().count(), 12);
    assert_eq!(lines.iter().last(), Some("and 989 more"));
    let sick = NoticeKind::Failure(Failure { failed: Failed::Quota, detail: long, retry_at: None });
    let message = render(&notice(sick), &Context { site: "a\nBcc: b", cli: "failover" });
    assert!(!message.subject.contains('\n'));
}

#[test]
fn a_runbook_in_the_ledger_has_an_end_and_keeps_its_indents() {
    let text: RunbookText = vec![format!("   {}", "word ".repeat(1000)); 10_000].into();
    let lines: Vec<String> = text.into();
    assert_eq!(lines.len(), 400);
    assert!(lines.iter().all(|line| line.starts_with("   word") && line.chars().count() <= 80));
}

#[test]
fn every_kind_comes_back_from_the_ledger_as_it_went_in() {
    for kind in every_kind() {
        let notice = notice(kind);
        let json = serde_json::to_string(&notice).unwrap();
        assert_eq!(serde_json::from_str::<Notice>(&json).unwrap(), notice, "{json}");
    }
}

#[test]
fn a_kind_with_an_unknown_field_is_refused() {
    let json = r#"{"over":{"lasted":"PT1S","how":"x","standby":null,"kept":false,"left":[],"more":1}}"#;
    assert!(serde_json::from_str::<NoticeKind>(json).is_err());
}

/// These names stand in Message-IDs and in the ledger. A change of any of them sends a mail a second time.
#[test]
fn topics_do_not_change_when_code_is_renamed() {
    let names = |names: &mut dyn Iterator<Item = &'static str>| names.collect::<Vec<_>>().join(" ");
    use strum::IntoEnumIterator;
    assert_eq!(
        names(&mut AttentionKind::iter().map(AttentionKind::name)),
        "observe_mode ttl_ended never_booted stopped vanished down_again recovered_but_silent untouchable signer_seen \
         two_signers"
    );
    assert_eq!(
        names(&mut StuckKind::iter().map(StuckKind::name)),
        "other_chain disk_full boot_loop restart_loop clock_off signer_hidden no_peers start_up silent no_progress"
    );
    let mut topics: Vec<_> = every_kind().iter().map(NoticeKind::topic).collect();
    topics.sort();
    topics.dedup();
    let of_attention = |topic: &&Topic| !topic.as_str().starts_with("decision_needed/");
    let topics: Vec<_> = topics.iter().filter(of_attention).map(Topic::as_str).collect();
    assert_eq!(
        topics.join(" "),
        "chain_sick confirmed failure/delete/403 forbidden failure/list failure/out_of_stock failure/place/n2-standard-8 in us-central1-a \
         failure/poll failure/quota \
         failure/refused failure/too_slow gate held_back home_signs/duties home_signs/gate home_signs/pod \
         home_signs/process home_signs/session home_unseen kept_runs/42 maintenance money money/expires_soon never_booted \
         nobody_may_sign orphan/42 orphan/42/stays \
         orphan_kept/42 owner/awaits_regrant owner/gone owner/no_duties owner/silent owner/stopped partial \
         promotion/aborted promotion/aborting promotion/done promotion/open promotion_overdue recovered recovered/kept \
         runbook slashed standby_ready standby_stuck/disk_full stranger suspected_too_long taken_over \
         witness_unseen"
    );
}
