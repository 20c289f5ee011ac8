//! The Alertmanager webhook over real HTTP: what is answered, what is in the ledger then, and what the runtime hears.

mod bad_input;
mod dialects;
mod load;
mod login;
mod reconcile;
pub mod rig;
mod store;

use failover::{
    adapters::alertmanager::AlertEvent,
    domain::{AlertBook, Verdict, alerts::Freshness},
};
use rig::{Rig, WATCHDOG, alert, body, firing, resolved};

#[tokio::test]
async fn an_alert_is_in_the_ledger_before_it_is_acknowledged_and_then_the_runtime_hears_it() {
    let mut rig = Rig::start().await;
    assert_eq!(rig.post(&firing(1)).await.0, 200);
    let ledger = rig.ledger.dump();
    assert_eq!(ledger.keys().collect::<Vec<_>>(), ["alerts/eth-0/0000000000000001"]);
    let records = rig.heard();
    assert_eq!((records.len(), records[0].state_name()), (1, "firing"));
    assert_eq!(&*records[0].0.alert.summary, "it is down");
    rig.assert_silent();
}

#[tokio::test]
async fn a_real_message_is_understood() {
    let mut rig = Rig::start().await;
    let text = r#"{"receiver":"ok","status":"firing","alerts":[{"status":"firing","labels":{"alertname":"ValidatorDown",
        "instance":"home-1","job":"validator","severity":"critical"},"annotations":{"summary":"ValidatorDown on home-1"},
        "startsAt":"2026-11-21T01:06:52.53171273Z","endsAt":"0001-01-01T00:00:00Z",
        "generatorURL":"http://prometheus.example/graph","fingerprint":"e1552dd47b7bee5f"}],
        "groupLabels":{"alertname":"ValidatorDown","instance":"home-1"},"commonLabels":{},"commonAnnotations":{},
        "externalURL":"http://vm:19093","version":"4","groupKey":"{}:{alertname=\"ValidatorDown\"}","truncatedAlerts":0}"#;
    assert_eq!(rig.post(text).await.0, 200);
    assert_eq!(rig.heard()[0].0.alert.key(), "alerts/eth-0/e1552dd47b7bee5f");
}

#[tokio::test]
async fn a_repeated_message_writes_nothing_and_is_heard_again() {
    let mut rig = Rig::start().await;
    for _ in 0..3 {
        assert_eq!(rig.post(&firing(1)).await.0, 200);
        rig.pass(10);
    }
    assert_eq!((rig.ledger.puts(), rig.ledger.gets()), (1, 0));
    let seen: Vec<_> = (0..3).map(|_| rig.heard()[0].0.seen_at).collect();
    assert!(seen[0] < seen[1] && seen[1] < seen[2]);
}

#[tokio::test]
async fn the_book_of_what_was_heard_says_down_and_then_unknown() {
    let mut rig = Rig::start().await;
    let mut book = AlertBook::default();
    let freshness = Freshness { stale_after: Freshness::STALE_AFTER, watchdog: None };
    for (message, verdict) in
        [(firing(1), Verdict::Down), (resolved(1), Verdict::Unknown), (firing(1), Verdict::Unknown)]
    {
        rig.post(&message).await;
        for heard in rig.heard() {
            book.apply(heard.0);
        }
        assert_eq!(book.readings(rig.now(), &freshness, None)[0].verdict, verdict);
    }
    rig.wants_reconciliation("an alert that came back is doubtful").await;
}

#[tokio::test]
async fn the_watchdog_is_heard_and_not_written_and_a_resolved_one_is_no_sign_of_life() {
    let mut rig = Rig::start().await;
    let ended = WATCHDOG.replace("\"firing\"", "\"resolved\"");
    assert_eq!(rig.post(&body(&ended)).await.0, 200);
    rig.assert_silent();
    assert_eq!(rig.receiver.stats().last_watchdog(), None);
    assert_eq!(rig.post(&body(WATCHDOG)).await.0, 200);
    assert!(matches!(rig.events.try_recv(), Ok(AlertEvent::WatchdogSeen(at)) if at == rig.now()));
    assert_eq!(rig.receiver.stats().last_watchdog(), Some(rig.now()));
    assert!(rig.ledger.dump().is_empty());
    rig.pass(301);
    rig.post(&body(WATCHDOG)).await;
    rig.wants_reconciliation("what was said while the Watchdog was missing may be lost").await;
}

#[tokio::test]
async fn an_unmatched_alert_is_acknowledged_counted_and_named() {
    let mut rig = Rig::start().await;
    let other = alert("firing", 7).replace("ValidatorDown", "SomethingElse");
    for _ in 0..2 {
        assert_eq!(rig.post(&body(&other)).await.0, 200);
    }
    let stats = rig.receiver.stats();
    let names: Vec<_> = stats.unmatched_names().iter().map(ToString::to_string).collect();
    assert_eq!((Rig::count(&stats.unmatched), names), (2, vec!["SomethingElse".to_owned()]));
    assert!(rig.ledger.dump().is_empty());
    rig.assert_silent();
}

/// Two Prometheus replicas without external labels to tell them apart, as recorded of Alertmanager 0.25: the start moves.
#[tokio::test]
async fn an_alert_whose_start_moves_is_one_alert_and_one_end_ends_it() {
    let mut rig = Rig::start().await;
    let earlier = |text: String| text.replace("2026-11-21T01:00:00Z", "2026-11-21T00:59:53Z");
    let over = earlier(resolved(1)).replace("0001-01-01T00:00:00Z", "2026-11-21T01:30:00Z");
    for (message, state) in [(firing(1), "firing"), (earlier(firing(1)), "firing"), (over, "resolved")] {
        assert_eq!(rig.post(&message).await.0, 200);
        assert_eq!(rig.heard()[0].state_name(), state);
    }
    assert_eq!(rig.ledger.dump().len(), 1);
}

#[tokio::test]
async fn a_truncated_message_asks_for_reconciliation() {
    let mut rig = Rig::start().await;
    let text = firing(1).replace("\"truncatedAlerts\":0", "\"truncatedAlerts\":3");
    assert_eq!(rig.post(&text).await.0, 200);
    assert_eq!(Rig::count(&rig.receiver.stats().truncated), 3);
    assert_eq!(rig.heard().len(), 1);
    rig.wants_reconciliation("three alerts are missing").await;
}
