//! A real Alertmanager sends to the real receiver; `amtool` and `promtool` judge what we ship and how we read matchers.

mod examples;
pub mod server;

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::Ordering},
};

use failover::{
    adapters::alertmanager::{AlertEvent, Api, ReconcileError},
    config::{HttpAuth, Login, SecretFile},
    domain::{
        AlertBook, Span, Verdict,
        alerts::{AlertState, Ending, Freshness},
    },
};
use server::{Alertmanager, Home};

fn is_firing(state: &AlertState) -> bool {
    matches!(state, AlertState::Firing { .. })
}

#[tokio::test]
async fn firing_and_resolved_arrive_and_a_restart_of_alertmanager_repeats_without_a_second_record() {
    let mut home = Home::new().await;
    home.serve();
    let alertmanager = Alertmanager::start(&home.url()).await;
    let start = Alertmanager::now();
    alertmanager.fire("ValidatorDown", &start, None).await;
    let first = home.alert().await;
    assert!(is_firing(&first.state), "{first:?}");

    // Its memory is lost with it; the alert is the same one all the same, by its key.
    drop(alertmanager);
    let alertmanager = Alertmanager::start(&home.url()).await;
    alertmanager.fire("ValidatorDown", &start, None).await;
    let again = home.alert().await;
    assert_eq!((again.alert.key(), again.revision), (first.alert.key(), 1));
    assert!(is_firing(&again.state));

    alertmanager.fire("ValidatorDown", &start, Some(&Alertmanager::now())).await;
    let ended = home.until(|record| !is_firing(&record.state)).await;
    assert!(
        matches!(ended.state, AlertState::Resolved { ending: Ending::Resolved, .. }) && ended.ends_at.is_some(),
        "{ended:?}"
    );
    assert_eq!(ended.alert.key(), first.alert.key());
}

/// With equal labels, as two Prometheus replicas have without an external label to tell them apart. Alertmanager names one
/// start first and the earlier one later.
#[tokio::test]
async fn an_alert_of_two_replicas_with_different_starts_is_one_and_ends_once() {
    let mut home = Home::new().await;
    home.serve();
    let alertmanager = Alertmanager::start(&home.url()).await;
    let (later, earlier, lasts) =
        (Alertmanager::in_seconds(-60), Alertmanager::in_seconds(-67), Alertmanager::in_seconds(240));
    alertmanager.fire("ValidatorDown", &later, Some(&lasts)).await;
    assert!(is_firing(&home.alert().await.state));
    alertmanager.fire("ValidatorDown", &earlier, Some(&lasts)).await;
    let now = Alertmanager::now();
    alertmanager.fire("ValidatorDown", &later, Some(&now)).await;
    alertmanager.fire("ValidatorDown", &earlier, Some(&now)).await;
    let ended = home.until(|record| !is_firing(&record.state)).await;
    assert!(matches!(ended.state, AlertState::Resolved { ending: Ending::Resolved, .. }), "{ended:?}");
    assert_eq!(home.ledger.list("alerts/", None).await.unwrap(), [ended.alert.key()]);

    alertmanager.fire("ValidatorDown", &Alertmanager::now(), None).await;
    let again = home.until(|record| is_firing(&record.state)).await;
    assert_eq!(again.alert.key(), ended.alert.key(), "another outage of the same alert");
}

#[tokio::test]
async fn what_ended_while_alertmanager_was_restarted_is_believed_for_stale_after_and_no_longer() {
    let mut home = Home::new().await;
    home.serve();
    let alertmanager = Alertmanager::start(&home.url()).await;
    alertmanager.fire("ValidatorDown", &Alertmanager::now(), None).await;
    let fired = home.alert().await;
    drop(alertmanager);
    let alertmanager = Alertmanager::start(&home.url()).await;
    alertmanager.fire("Watchdog", &Alertmanager::now(), None).await;
    let AlertEvent::WatchdogSeen(watchdog) = home.event().await else { panic!("a Watchdog") };
    let api = Api::new(alertmanager.url.parse().unwrap(), None, HttpAuth::None);
    let found = home.receiver.reconcile(&api).await.unwrap();
    assert_eq!((found.listed, found.ended, found.complete), (0, 0, false), "it has only just started");

    let freshness = Freshness { stale_after: Span::from_mins(15), watchdog: Some(Freshness::WATCHDOG_TIMEOUT) };
    let mut book = AlertBook::default();
    book.apply(Arc::clone(&fired));
    let edge = fired.seen_at + freshness.stale_after;
    assert_eq!(book.readings(watchdog, &freshness, Some(watchdog))[0].verdict, Verdict::Down);
    assert_eq!(book.readings(edge, &freshness, Some(edge))[0].verdict, Verdict::Down);
    let after = edge + Span::from_secs(1);
    assert_eq!(book.readings(after, &freshness, Some(after))[0].verdict, Verdict::Unknown);
}

#[tokio::test]
async fn the_list_is_read_through_tls_of_ones_own_and_a_login() {
    let mut home = Home::new().await;
    home.serve();
    let alertmanager = Alertmanager::start_guarded(&home.url()).await;
    alertmanager.fire("ValidatorDown", &Alertmanager::now(), None).await;
    assert!(is_firing(&home.alert().await.state));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, "wrong").unwrap();
    let login = || HttpAuth::Basic(Login { username: "failover".into(), password_file: SecretFile::new(&file) });
    let url: url::Url = alertmanager.url.parse().unwrap();

    let distrusted = Api::new(url.clone(), None, login()).check().await;
    assert!(matches!(distrusted, Err(ReconcileError::Unreachable { .. })), "{distrusted:?}");
    let api = Api::new(url, Some(alertmanager.ca_file()), login());
    let refused = home.receiver.reconcile(&api).await;
    assert!(matches!(refused, Err(ReconcileError::Status { status: 401, .. })), "{refused:?}");
    std::fs::write(&file, "s3cret\n").unwrap();
    assert_eq!(home.receiver.reconcile(&api).await.unwrap().listed, 1, "the renewed password, without a restart");
}

#[tokio::test]
async fn a_message_answered_with_503_comes_again() {
    let mut home = Home::new().await;
    home.holds_lease.store(false, Ordering::SeqCst);
    home.serve();
    let alertmanager = Alertmanager::start(&home.url()).await;
    alertmanager.fire("ValidatorDown", &Alertmanager::now(), None).await;
    assert_eq!(home.answer().await, 503);
    home.holds_lease.store(true, Ordering::SeqCst);
    assert!(is_firing(&home.alert().await.state));
}

#[tokio::test]
async fn a_message_to_a_receiver_that_dies_before_its_answer_comes_again_to_the_next() {
    let mut home = Home::new().await;
    let alertmanager = Alertmanager::start(&home.url()).await;
    alertmanager.fire("ValidatorDown", &Alertmanager::now(), None).await;
    home.take_a_message_and_die().await;
    home.serve();
    assert!(is_firing(&home.alert().await.state));
    assert_eq!(home.answer().await, 200);
}

#[tokio::test]
async fn a_message_of_10_000_alerts_is_taken_whole() {
    let mut home = Home::new().await;
    home.serve();
    let alertmanager = Alertmanager::start_grouped_by("alertname", &home.url()).await;
    alertmanager.fire_many("ValidatorDown", 10_000).await;
    let mut heard = BTreeSet::new();
    while heard.len() < 10_000 {
        if let AlertEvent::AlertUpdate { records } = home.event().await {
            heard.extend(records.iter().map(|record| record.alert.key()));
        }
    }
    assert_eq!(home.answer().await, 200);
}

#[tokio::test]
async fn the_watchdog_arrives_as_a_sign_of_life() {
    let mut home = Home::new().await;
    home.serve();
    let alertmanager = Alertmanager::start(&home.url()).await;
    alertmanager.fire("Watchdog", &Alertmanager::now(), None).await;
    assert!(matches!(home.event().await, AlertEvent::WatchdogSeen(_)));
}

#[tokio::test]
async fn the_list_names_an_alert_as_the_message_did_and_a_silence_makes_it_unknown() {
    let mut home = Home::new().await;
    home.serve();
    let alertmanager = Alertmanager::start(&home.url()).await;
    alertmanager.fire("ValidatorDown", &Alertmanager::now(), None).await;
    let heard = home.alert().await;
    let api = Api::new(alertmanager.url.parse().unwrap(), None, HttpAuth::None);
    let found = home.receiver.reconcile(&api).await.unwrap();
    assert_eq!((found.listed, found.ended), (1, 0));
    assert!(!found.complete, "an Alertmanager that has just started does not know everything yet");
    let listed = home.until(|_| true).await;
    assert_eq!((listed.alert.key(), is_firing(&listed.state)), (heard.alert.key(), true));

    let silence = alertmanager.silence("ValidatorDown").await;
    let found = home.receiver.reconcile(&api).await.unwrap();
    assert_eq!((found.listed, found.ended), (1, 0));
    let silenced = home.until(|record| !is_firing(&record.state)).await;
    assert_eq!(silenced.state, AlertState::Silenced { by: silence.into() });
    assert_eq!(Arc::clone(&silenced).alert.key(), heard.alert.key());
}
