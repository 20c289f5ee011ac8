//! Machines that boot slowly, never, or only to vanish: which are given up, and what that costs.

use std::{sync::Arc, time::Duration};

use failover::{
    adapters::ledger_sqlite::LedgerSqlite,
    domain::{Action, ActionId, Command, CreateOutcome, Event, LedgerKey, Outcome, Report, Request, Span, Step},
    ports::{Ledger, Machines as _},
    runtime::{
        executor::Executor,
        lease::{self, LeaseConfig, LeaseHolder},
        status::of_world,
    },
};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::Watcher;
use crate::compute::{ZONES, incident, rig, spec, validator};

#[tokio::test]
async fn a_machine_that_never_boots_is_replaced_once_with_its_console_in_the_mail() {
    let mut watcher = Watcher::with_a_standby().await;
    let first = watcher.instance();
    watcher.rig.fake.serial_write(&first.name, b"\x1b[31mKernel panic\x1b[0m - not syncing\r\n");
    watcher.passes(Span::from_mins(19)).await;
    assert_eq!(watcher.instance(), first, "it still has a minute");
    watcher.passes(Span::from_mins(2)).await;
    let second = watcher.instance();
    assert_ne!(second.id, first.id);
    assert_eq!(watcher.rig.fake.machines().len(), 1, "the first is gone");
    let told = watcher.mails().into_iter().find_map(|mail| mail["standby"].get("never_booted").cloned()).unwrap();
    assert_eq!(told["console"], json!(["Kernel panic - not syncing"]));
    watcher.passes(Span::from_mins(21)).await;
    assert_eq!((watcher.phase(), watcher.instance()), ("needs human", second));
    let asked = watcher.mails().last().unwrap()["decision_needed"]["attention"]["never_booted"].clone();
    assert_eq!(asked, json!({"attempts": 2, "console": ["its serial port has printed nothing"]}));
    for _ in 0..10 {
        watcher.passes(Span::from_hours(1)).await;
    }
    assert_eq!(watcher.rig.fake.inserts(), 2, "never a third");
}

#[tokio::test]
async fn the_bill_names_every_machine_and_adds_them_up() {
    let mut watcher = Watcher::with_a_standby().await;
    watcher.passes(Span::from_mins(20)).await;
    watcher.passes(Span::from_mins(10)).await;
    let (by, reason) = ("me".to_owned(), "a test".to_owned());
    let (command, incident) = (Command::Close, watcher.incident());
    let request = Request { id: "2".into(), validator: validator(), by, reason, command, incident, expires_at: None };
    watcher.happen(Event::Requested(validator(), request));
    watcher.settle().await;
    assert_eq!((watcher.phase(), watcher.rig.fake.inserts()), ("watching", 2));
    let bill = watcher.mails().last().unwrap()["over"]["standby"].clone();
    assert_eq!(bill["earlier"], json!([format!("n2-standard-8 in {}, ran 20m", ZONES[0])]));
    assert_eq!((&bill["ran"], &bill["cost"]), (&json!("PT10M"), &json!(0.75 / 2.0)), "half an hour in all");
}

#[tokio::test]
async fn one_report_is_enough_never_to_be_given_up() {
    let mut watcher = Watcher::with_a_standby().await;
    let first = watcher.instance();
    watcher.writes("no report at all").await;
    for _ in 0..5 {
        watcher.passes(Span::from_mins(20)).await;
    }
    assert_eq!((watcher.phase(), watcher.instance(), watcher.rig.fake.inserts()), ("syncing", first, 1));
    assert!(watcher.says().contains("stuck: it has not sent a report that counts"), "{}", watcher.says());
}

#[tokio::test]
async fn a_start_up_scripts_first_word_is_a_boot_and_a_report_comes_before_it() {
    let mut watcher = Watcher::with_a_standby().await;
    let first = watcher.instance();
    // Another namespace's, and another key, are nobody's word.
    watcher.rig.fake.guest_attribute(&first.name, "something-else", "x");
    watcher.passes(Span::from_secs(30)).await;
    assert!(watcher.says().contains("the machine has not reported"), "{}", watcher.says());
    watcher.rig.fake.guest_attribute(&first.name, "boot", &format!("installing\u{1b}[2J ansible {}", "x".repeat(5000)));
    for _ in 0..5 {
        watcher.passes(Span::from_mins(20)).await;
    }
    assert_eq!((watcher.phase(), watcher.instance(), watcher.rig.fake.inserts()), ("syncing", first.clone(), 1));
    let said = watcher.says();
    assert!(said.contains("stuck: it has not come to report since"), "{said}");
    assert!(said.contains("its start-up script says: installing [2J ansible x"), "{said}");
    assert!(said.len() < 500 && !said.chars().any(char::is_control), "{said:?}");
    let mails = watcher.mails();
    assert!(mails.iter().any(|mail| mail["standby"].get("stuck").is_some()), "{mails:?}");
    let shown = |watcher: &Watcher| {
        let status = of_world(&watcher.world, "home", &watcher.policy, watcher.now);
        status.validators[0].standby.as_ref().unwrap().starting.clone()
    };
    assert!(shown(&watcher).is_some_and(|word| word.starts_with("installing [2J ansible x")));
    // It continues, and its word stays where it is.
    watcher.becomes_ready(1).await;
    assert_eq!(shown(&watcher), None, "a report comes before it");
    watcher.rig.fake.guest_attribute(&first.name, "boot", "done");
    watcher.passes(Span::from_secs(30)).await;
    assert_eq!(watcher.phase(), "ready");
}

#[tokio::test]
async fn a_report_that_cannot_be_read_is_not_hidden_behind_a_start_up_scripts_word() {
    let mut watcher = Watcher::with_a_standby().await;
    let name = watcher.instance().name;
    watcher.rig.fake.guest_attribute(&name, "boot", "installing ansible");
    watcher.writes("signer_seen").await;
    assert!(watcher.says().contains("its report does not count: it cannot be read"), "{}", watcher.says());
}

#[tokio::test]
async fn a_machine_that_vanishes_or_stops_before_it_boots_is_not_replaced() {
    for stops in [false, true] {
        let mut watcher = Watcher::with_a_standby().await;
        let name = watcher.instance().name;
        if stops {
            watcher.rig.fake.tamper(&name, |json| json["status"] = json!("TERMINATED"));
        } else {
            watcher.rig.fake.vanish(&name);
        }
        watcher.passes(Span::from_mins(25)).await;
        assert_eq!(watcher.phase(), "needs human");
        watcher.passes(Span::from_hours(5)).await;
        assert_eq!(watcher.rig.fake.inserts(), 1);
    }
}

#[tokio::test]
async fn a_machine_that_has_spoken_is_not_given_up_however_late_that_is_seen() {
    let rig = rig().await;
    let CreateOutcome::Created(instance) = rig.gce.create(&spec(ZONES[0], 0), uuid::Uuid::nil()).await else {
        panic!("it is created")
    };
    let folder = tempfile::tempdir().unwrap();
    let ledger: Arc<dyn Ledger> = Arc::new(LedgerSqlite::open(&folder.path().join("ledger")).unwrap());
    let about = LeaseHolder { site: "home".into(), address: None, witness: None };
    let config = LeaseConfig { key: LedgerKey::LEASE, about, ttl: Duration::from_secs(30), silence: None };
    let (lease, _keeper) = lease::acquire(&ledger, &config, &CancellationToken::new()).await.unwrap();
    let (call_timeout, action_timeout) = (Duration::from_secs(5), Duration::from_secs(20));
    let fresh_every = Duration::from_millis(5);
    let (cloud, identity) = (Arc::new(rig.gce), uuid::Uuid::nil());
    let executor = Executor {
        cloud,
        ledger,
        grants: Default::default(),
        identity,
        lease,
        call_timeout,
        action_timeout,
        fresh_every,
    };
    let id = ActionId { incident: incident(), step: Step::Delete, attempt: 1 };
    let give_up = Action::Abandon(instance.clone());

    rig.fake.guest_attribute(&instance.name, "boot", "start");
    let outcome = executor.carry_out(&validator(), id, &give_up).await;
    assert!(matches!(&outcome, Outcome::Untouchable(why) if why.contains("has spoken since")), "{outcome:?}");
    rig.fake.report(&instance.name, &Report { incident: incident().to_string(), counter: 1, ..Report::default() });
    let outcome = executor.carry_out(&validator(), id, &give_up).await;
    assert!(matches!(&outcome, Outcome::Untouchable(why) if why.contains("has spoken since")), "{outcome:?}");
    assert_eq!(rig.fake.machines().len(), 1, "it stays");

    // A doubt is over with a report: it is asked again, and no human for it.
    let hidden = Report { signer_hidden: Some("/proc is hidden".into()), ..Report::default() };
    rig.fake.report(&instance.name, &hidden);
    let outcome = executor.carry_out(&validator(), id, &Action::Delete(instance.clone())).await;
    assert!(matches!(&outcome, Outcome::Failed(why) if why.contains("cannot be ruled out")), "{outcome:?}");
    rig.fake.report(&instance.name, &Report { signer_seen: true, ..hidden });
    let outcome = executor.carry_out(&validator(), id, &Action::Delete(instance.clone())).await;
    assert!(matches!(&outcome, Outcome::Untouchable(_)), "{outcome:?}");
    assert_eq!(rig.fake.machines().len(), 1, "it stays");
    rig.fake.report(&instance.name, &Report::default());

    // The same machine may be released, which asks for another thing.
    let outcome = executor.carry_out(&validator(), id, &Action::Delete(instance)).await;
    assert!(matches!(outcome, Outcome::Deleted), "{outcome:?}");
}

/// Nobody has followed a machine that no incident claims: what it wrote may be of any age.
#[tokio::test]
async fn a_machine_that_no_incident_claims_is_deleted_only_if_its_report_moves_or_it_never_wrote_anything() {
    let (rig, validator) = (rig().await, validator());
    let CreateOutcome::Created(instance) = rig.gce.create(&spec(ZONES[0], 0), uuid::Uuid::nil()).await else {
        panic!("it is created")
    };
    let folder = tempfile::tempdir().unwrap();
    let ledger: Arc<dyn Ledger> = Arc::new(LedgerSqlite::open(&folder.path().join("ledger")).unwrap());
    let about = LeaseHolder { site: "home".into(), address: None, witness: None };
    let config = LeaseConfig { key: LedgerKey::LEASE, about, ttl: Duration::from_secs(60), silence: None };
    let (lease, _keeper) = lease::acquire(&ledger, &config, &CancellationToken::new()).await.unwrap();
    let (call_timeout, action_timeout) = (Duration::from_secs(5), Duration::from_secs(20));
    let fresh_every = Duration::from_millis(20);
    let (cloud, identity) = (Arc::new(rig.gce), uuid::Uuid::nil());
    let executor = Executor {
        cloud,
        ledger,
        grants: Default::default(),
        identity,
        lease,
        call_timeout,
        action_timeout,
        fresh_every,
    };
    let id = ActionId { incident: incident(), step: Step::Reclaim, attempt: 1 };
    let reclaim = Action::Reclaim(instance.clone());
    let report = |counter| Report { incident: incident().to_string(), counter, ..Report::default() };

    rig.fake.report(&instance.name, &report(1));
    let outcome = executor.carry_out(&validator, id, &reclaim).await;
    assert!(matches!(&outcome, Outcome::Untouchable(why) if why.contains("nothing new")), "{outcome:?}");
    rig.fake.guest_attribute(&instance.name, "boot", "start");
    assert_eq!(rig.fake.machines().len(), 1, "it stays");

    // Its report moves, and says that something signs.
    let asked = executor.carry_out(&validator, id, &reclaim);
    let moves = async {
        loop {
            let looks = rig.fake.log().iter().filter(|line| line.path.contains("/getGuestAttributes")).count();
            if looks >= 8 {
                return rig.fake.report(&instance.name, &Report { signer_seen: true, ..report(2) });
            }
            tokio::task::yield_now().await;
        }
    };
    let (outcome, ()) = tokio::join!(asked, moves);
    assert!(matches!(&outcome, Outcome::Untouchable(why) if why.contains("could sign")), "{outcome:?}");
    assert_eq!(rig.fake.machines().len(), 1, "it stays");

    let asked = executor.carry_out(&validator, id, &reclaim);
    let before = rig.fake.log().iter().filter(|line| line.path.contains("/getGuestAttributes")).count();
    let moves = async {
        loop {
            let looks = rig.fake.log().iter().filter(|line| line.path.contains("/getGuestAttributes")).count();
            if looks > before {
                return rig.fake.report(&instance.name, &report(3));
            }
            tokio::task::yield_now().await;
        }
    };
    let (outcome, ()) = tokio::join!(asked, moves);
    assert!(matches!(outcome, Outcome::Deleted), "{outcome:?}");
    assert!(rig.fake.machines().is_empty());
}
