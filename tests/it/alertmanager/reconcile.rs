//! Reconciliation with a small stand-in for API v2; the real one is in `tests/real`.

use axum::{Router, http::StatusCode, routing::get};
use failover::adapters::alertmanager::{AlertEvent, Api, ReconcileError, Reconciled};
use tokio::{net::TcpListener, task::JoinHandle};

use super::rig::{Rig, firing, resolved};

struct FakeApi {
    api: Api,
    server: JoinHandle<()>,
}

impl Drop for FakeApi {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Answers with this list and this time of start.
async fn alertmanager(alerts: String, started: &str) -> FakeApi {
    let status = format!(r#"{{"uptime":"{started}","config":{{}}}}"#);
    let date = [("date", "Sat, 21 Nov 2026 02:00:00 GMT")];
    let app = Router::new()
        .route("/am/api/v2/alerts", get(move || async move { alerts }))
        .route("/am/api/v2/status", get(move || async move { (date, status) }));
    serve(app).await
}

async fn serve(app: Router) -> FakeApi {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/am/", listener.local_addr().expect("an address"));
    let server = tokio::spawn(async move { axum::serve(listener, app).await.expect("serves") });
    FakeApi { api: Api::new(url.parse().expect("an address"), None, failover::config::HttpAuth::None), server }
}

const LONG_AGO: &str = "2026-11-20T00:00:00.000Z";

fn listed(number: u64, status: &str) -> String {
    format!(
        r#"{{"labels":{{"alertname":"ValidatorDown","n":"{number}"}},"annotations":{{}},"endsAt":"2026-11-21T02:04:00.000Z",
            "startsAt":"2026-11-21T01:00:00.000Z","fingerprint":"{number:016x}","receivers":[{{"name":"x"}}],
            "status":{{"state":"active","inhibitedBy":["1"],"mutedBy":[],"silencedBy":{status}}}}}"#
    )
}

async fn states(rig: &mut Rig, api: &FakeApi) -> (Reconciled, Vec<(String, &'static str)>) {
    rig.pass(1);
    let reconciled = rig.receiver.reconcile(&api.api).await.expect("reconciles");
    let mut states: Vec<_> =
        rig.heard().iter().map(|known| (known.0.alert.fingerprint.to_string(), known.state_name())).collect();
    states.sort();
    (reconciled, states)
}

#[tokio::test]
async fn the_list_confirms_ends_silences_and_brings_what_was_missed() {
    let mut rig = Rig::start().await;
    for message in [firing(1), firing(2), firing(3), resolved(3), firing(3)] {
        rig.post(&message).await;
        rig.heard();
    }
    let list = format!("[{},{},{}]", listed(1, "[\"4711\"]"), listed(3, "[]"), listed(4, "[]"));
    let api = alertmanager(list, LONG_AGO).await;
    let (reconciled, states) = states(&mut rig, &api).await;
    assert_eq!(reconciled, Reconciled { listed: 3, ended: 1, complete: true });
    let expected = [("1", "silenced"), ("2", "absent"), ("3", "firing"), ("4", "firing")];
    let expected: Vec<_> = expected.iter().map(|(number, state)| (format!("{number:0>16}"), *state)).collect();
    assert_eq!(states, expected);
    assert_eq!(rig.ledger.dump().len(), 4, "what was only listed is durable too");
}

#[tokio::test]
async fn what_is_missing_just_after_alertmanagers_own_start_means_nothing() {
    let mut rig = Rig::start().await;
    rig.post(&firing(1)).await;
    rig.heard();
    let api = alertmanager("[]".into(), "2026-11-21T01:58:00.000Z").await;
    let reconciled = rig.receiver.reconcile(&api.api).await.expect("reconciles");
    assert_eq!(reconciled, Reconciled { listed: 0, ended: 0, complete: false });
    rig.assert_silent();
}

#[tokio::test]
async fn an_answer_that_is_no_list_changes_nothing() {
    let mut rig = Rig::start().await;
    rig.post(&firing(1)).await;
    rig.heard();
    let html = serve(Router::new().fallback(get(|| async { "<html>" }))).await;
    assert!(matches!(rig.receiver.reconcile(&html.api).await, Err(ReconcileError::NotTheApi { .. })));
    let error = serve(Router::new().fallback(get(|| async { StatusCode::FORBIDDEN }))).await;
    assert!(matches!(rig.receiver.reconcile(&error.api).await, Err(ReconcileError::Status { status: 403, .. })));
    let half = alertmanager(format!("[{},", listed(1, "[]")), LONG_AGO).await;
    assert!(matches!(rig.receiver.reconcile(&half.api).await, Err(ReconcileError::NotTheApi { .. })));
    rig.assert_silent();
}

#[tokio::test]
async fn a_part_of_the_list_that_cannot_be_read_does_not_lose_the_rest_and_ends_nothing() {
    let mut rig = Rig::start().await;
    rig.post(&firing(1)).await;
    rig.heard();
    let api = alertmanager(format!("[7,{}]", listed(2, "[]")), LONG_AGO).await;
    let (reconciled, states) = states(&mut rig, &api).await;
    assert_eq!(reconciled, Reconciled { listed: 1, ended: 0, complete: false });
    assert_eq!(states, [("0000000000000002".to_owned(), "firing")]);
}

#[tokio::test]
async fn the_list_means_the_alert_of_a_message_although_its_start_moved() {
    let mut rig = Rig::start().await;
    rig.post(&firing(1)).await;
    rig.heard();
    let moved = listed(1, "[]").replace("2026-11-21T01:00:00.000Z", "2026-11-21T00:59:53.000Z");
    let api = alertmanager(format!("[{moved}]"), LONG_AGO).await;
    let (reconciled, states) = states(&mut rig, &api).await;
    assert_eq!((reconciled.ended, states[0].1, rig.ledger.dump().len()), (0, "firing", 1));
}

#[tokio::test]
async fn a_list_that_cannot_be_stored_is_an_error_and_the_next_one_is_taken() {
    let mut rig = Rig::start().await;
    let api = alertmanager(format!("[{}]", listed(1, "[]")), LONG_AGO).await;
    rig.ledger.script([crate::support::memory_ledger::Fault::Unavailable]);
    assert!(matches!(rig.receiver.reconcile(&api.api).await, Err(ReconcileError::AlertStore(_))));
    rig.assert_silent();
    assert_eq!(states(&mut rig, &api).await.1.len(), 1);
}

#[tokio::test]
async fn whoever_takes_the_events_may_reconcile_although_the_channel_is_full() {
    let mut rig = Rig::start().await;
    let api = alertmanager(format!("[{}]", listed(2, "[]")), LONG_AGO).await;
    let full = rig.events.max_capacity();
    for _ in 0..full {
        rig.post(&firing(1)).await;
    }
    let reconcile = tokio::time::timeout(std::time::Duration::from_secs(10), rig.receiver.reconcile(&api.api));
    reconcile.await.expect("it does not wait for itself").expect("reconciles");
    for _ in 0..full {
        rig.heard();
    }
    let Some(AlertEvent::AlertUpdate { records }) = rig.events.recv().await else { panic!("the runtime hears it") };
    assert!(records.iter().any(|record| record.alert.fingerprint.to_string().ends_with('2')));
}
