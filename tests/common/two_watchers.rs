//! What two watchers on one ledger keep to, whichever ledger it is.
//!
//! The ledger is started by the test that includes this; nothing here knows what stands behind its address.

use std::time::{Duration, Instant};

use super::{
    pair::{LEASE, Ledger, Scene, kube},
    proxy::Wire,
};

/// One waits: it is alive and not ready, takes no webhook, and shows what it sees itself.
pub async fn the_one_that_waits_only_reads(ledger: Ledger) {
    let scene = Scene::on(ledger).await;
    let (first, second) = scene.two().await;
    let status = second.sees("up").await;
    assert!(!status.holds_lease);
    assert!(status.warnings.iter().any(|line| line.contains("waits for the lease")), "{:?}", status.warnings);
    assert_eq!((first.get("/readyz").await.0, second.get("/readyz").await.0), (200, 503));
    assert_eq!(second.alert().await, 503);
    let (code, page) = second.get("/").await;
    assert!(code == 200 && page.contains("waits for the lease") && page.contains("runs and is ready"), "{page}");
    let (code, metrics) = second.get("/metrics").await;
    assert!(code == 200 && metrics.contains("failover_leads 0"), "{metrics}");
    assert!(metrics.contains(r#"failover_signal{validator="eth-0",source="kube""#), "{metrics}");
    // An incident of the holder's is read from the ledger, and the waiting one does nothing about it.
    first.sees("up").await;
    scene.crash();
    first.alert_until_taken().await;
    scene.machine().await;
    let status = second.shows("an incident is open", |status| status.validators[0].incident.is_some()).await;
    assert!(!status.holds_lease && kube(&status) == "down", "{status:#?}");
    scene.one_machine();
}

/// A clean stop: within a second, with the open incident, and nothing is created again.
pub async fn a_clean_stop_hands_over_within_a_second(ledger: Ledger) {
    let scene = Scene::on(ledger).await;
    let (mut first, second) = scene.two().await;
    first.sees("up").await;
    second.sees("up").await;
    scene.crash();
    first.alert_until_taken().await;
    scene.machine().await;
    let opened = first.shows("it is followed", |status| status.validators[0].phase == "syncing").await;
    first.signal("-TERM");
    let took = second.until("/readyz", 200).await;
    assert!(took < Duration::from_secs(1), "{took:?}\n{}", first.log());
    first.ended_well();
    let status = second.shows("it leads", |status| status.holds_lease).await;
    let id = |status: &failover::runtime::status::Status| status.validators[0].incident.as_ref().map(|open| open.id);
    assert_eq!(id(&status), id(&opened), "the same incident");
    // What it saw while it waited it knows at once.
    assert_eq!(kube(&status), "down");
    scene.one_machine();
}

/// A kill: within the lease's lifetime and a second, and what happened meanwhile is acted on once.
pub async fn after_kill_9_the_other_leads_when_the_lease_has_run_out(ledger: Ledger) {
    let scene = Scene::on(ledger).await;
    let (first, second) = scene.two().await;
    second.sees("up").await;
    first.signal("-KILL");
    let took = second.until("/readyz", 200).await;
    assert!(took < LEASE + Duration::from_secs(1), "{took:?}");
    scene.crash();
    second.alert_until_taken().await;
    scene.machine().await;
    second.shows("it is followed", |status| status.validators[0].phase == "syncing").await;
    scene.one_machine();
}

/// Cut off from the bucket only: it ceases to lead before the other begins, and does not come between it afterwards.
pub async fn cut_off_from_the_bucket(ledger: Ledger, wire: Wire) {
    let scene = Scene::on(ledger).await;
    let (first, second) = scene.two().await;
    first.sees("up").await;
    second.sees("up").await;
    first.bucket(wire).await;
    scene.crash();
    let since = Instant::now();
    while second.get("/readyz").await.0 != 200 {
        assert!(since.elapsed() < Duration::from_secs(20), "{}", second.log());
    }
    assert!(since.elapsed() < LEASE + Duration::from_secs(1), "{:?}", since.elapsed());
    assert_eq!(first.get("/readyz").await.0, 503, "never two at once");
    assert_eq!(first.alert().await, 503, "and no alert is taken by one who cannot tell the other");
    second.alert_until_taken().await;
    scene.machine().await;
    let status = first.status().await.expect("it still answers");
    assert!(!status.holds_lease && kube(&status) == "down", "it sees what it still can: {status:#?}");
    first.bucket(Wire::Whole).await;
    let healed = first.shows("it reads the ledger again", |status| status.validators[0].incident.is_some()).await;
    assert!(!healed.holds_lease, "who holds it keeps it");
    second.shows("it is followed", |status| status.validators[0].phase == "syncing").await;
    scene.one_machine();
    assert_eq!(scene.cloud.inserts(), 1);
}

/// Cut off from the API server only: its signal is unknown, and it continues leading. Nothing opens for want of sight.
pub async fn cut_off_from_the_api_server(ledger: Ledger, wire: Wire) {
    let scene = Scene::on(ledger).await;
    let (first, second) = scene.two().await;
    first.sees("up").await;
    second.sees("up").await;
    first.cluster(wire).await;
    first.alert_until_taken().await;
    if wire == Wire::Refuses {
        // Silence is found out when the last proof is old; a refusal at once.
        let blind = first.sees("unknown").await;
        assert!(blind.holds_lease && blind.validators[0].incident.is_none(), "{blind:#?}");
    }
    assert_eq!(kube(&second.status().await.unwrap()), "up", "the other is not blind");
    scene.crash();
    second.sees("down").await;
    first.shows("it leads on", |status| status.holds_lease && kube(status) != "down").await;
    assert_eq!(scene.cloud.inserts(), 0, "who sees it does not lead, and who leads does not see it");
    first.cluster(Wire::Whole).await;
    scene.machine().await;
    first.shows("it is followed", |status| status.validators[0].phase == "syncing").await;
    scene.one_machine();
    assert_eq!(scene.cloud.inserts(), 1);
}

/// Cut off from both: the other takes over and acts on what it sees.
pub async fn cut_off_from_both(ledger: Ledger, wire: Wire) {
    let scene = Scene::on(ledger).await;
    let (first, second) = scene.two().await;
    first.sees("up").await;
    second.sees("up").await;
    first.bucket(wire).await;
    first.cluster(wire).await;
    scene.crash();
    second.alert_until_taken().await;
    scene.machine().await;
    assert_eq!(first.get("/readyz").await.0, 503);
    first.bucket(Wire::Whole).await;
    first.cluster(Wire::Whole).await;
    let healed = first.sees("down").await;
    assert!(!healed.holds_lease);
    second.shows("it is followed", |status| status.validators[0].phase == "syncing").await;
    scene.one_machine();
    assert_eq!(scene.cloud.inserts(), 1);
}
