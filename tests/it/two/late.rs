//! What was begun under one lease and takes effect under the next: the cloud answers late, and there is one machine.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use failover::sandbox::{
    Then,
    compute::{Fault, Held, Method},
};

use super::{
    bucket,
    pair::{LEASE, Ledger, Scene, Watcher, signal, until},
};

/// Both watchers run, and the holder's creation has left it and is on its way.
async fn on_its_way(scene: &Scene) -> (Watcher, Watcher, Held) {
    let (first, second) = scene.two().await;
    first.sees("up").await;
    second.sees("up").await;
    let mut held = scene.cloud.hold_insert();
    scene.crash();
    first.alert_until_taken().await;
    assert!(held.arrived().await);
    assert_eq!(scene.cloud.machines().len(), 0);
    (first, second, held)
}

async fn followed(watcher: &Watcher) {
    watcher.shows("it is followed", |status| status.validators[0].phase == "syncing").await;
}

/// No second machine comes later: the successor has looked once more into every zone since.
async fn looked_again(scene: &Scene) {
    let is_look = |path: &str| path.contains("/aggregated/instances");
    let looks = || scene.cloud.log().iter().filter(|line| is_look(&line.path)).count();
    let before = looks();
    until("every zone was looked into once more", || looks() > before + 1).await;
}

async fn takes_effect_after_the_successors_own(ledger: Ledger) {
    let scene = Scene::on(ledger).await;
    let (first, second, held) = on_its_way(&scene).await;
    first.signal("-KILL");
    followed(&second).await;
    held.release();
    until("both creations were carried out", || scene.cloud.inserts() == 2).await;
    looked_again(&scene).await;
    scene.one_machine();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_creation_that_takes_effect_after_the_successors_own_is_the_same_machine() {
    takes_effect_after_the_successors_own(Ledger::File).await;
    let (_store, ledger) = bucket().await;
    takes_effect_after_the_successors_own(ledger).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_creation_that_takes_effect_before_the_successor_looks_is_adopted() {
    let scene = Scene::on(Ledger::File).await;
    let (first, second, held) = on_its_way(&scene).await;
    first.signal("-KILL");
    held.release();
    followed(&second).await;
    looked_again(&scene).await;
    scene.one_machine();
    assert_eq!(scene.cloud.inserts(), 1, "the successor looked first and had nothing to create");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_creation_that_no_list_shows_yet_is_known_by_its_request_and_not_made_twice() {
    let scene = Scene::on(Ledger::File).await;
    let (first, second, held) = on_its_way(&scene).await;
    first.signal("-KILL");
    scene.cloud.fault(Method::Insert, Fault::Late(3));
    held.release();
    until("the late one was carried out", || scene.cloud.inserts() == 1).await;
    followed(&second).await;
    looked_again(&scene).await;
    scene.one_machine();
    assert!(scene.cloud.inserts() >= 2, "the successor saw none, and asked for the same");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clean_stop_waits_for_the_call_that_is_on_its_way_before_it_hands_over() {
    let (_store, ledger) = bucket().await;
    let scene = Scene::on(ledger).await;
    let (mut first, second, held) = on_its_way(&scene).await;
    first.signal("-TERM");
    let since = Instant::now();
    // It ends by its own time-out, which is six tenths of the lease and began a little earlier.
    second.until("/readyz", 200).await;
    let waited = since.elapsed();
    assert!(waited > LEASE.mul_f32(0.3), "it was handed over with a creation on its way: {waited:?}");
    first.ended_well();
    held.release();
    followed(&second).await;
    looked_again(&scene).await;
    scene.one_machine();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clean_stop_need_not_follow_a_creation_to_its_end() {
    let scene = Scene::on(Ledger::File).await;
    let (mut first, second) = scene.two().await;
    first.sees("up").await;
    second.sees("up").await;
    scene.cloud.fault(Method::Insert, Fault::Slow(failover::domain::Span::from_secs(4)));
    scene.crash();
    first.alert_until_taken().await;
    until("the creation is taken", || scene.cloud.inserts() == 1).await;
    // The call has been answered and its time is over; what is left of the action only looks.
    tokio::time::sleep(LEASE.mul_f32(0.6)).await;
    first.signal("-TERM");
    let took = second.until("/readyz", 200).await;
    assert!(took < Duration::from_secs(1), "{took:?}");
    first.ended_well();
    followed(&second).await;
    scene.one_machine();
}

/// The holder is stopped the moment its intent is in the ledger, and continues long after it was replaced.
#[tokio::test(flavor = "multi_thread")]
async fn a_holder_that_was_frozen_before_its_creation_does_not_create_when_it_goes_on() {
    let (store, ledger) = bucket().await;
    let scene = Scene::on(ledger).await;
    let (first, second) = scene.two().await;
    first.sees("up").await;
    second.sees("up").await;
    let (pid, frozen) = (first.pid(), Arc::new(AtomicBool::new(false)));
    let (looks, has_frozen) = (AtomicU32::new(0), frozen.clone());
    // The look before the creation: the intent to create is written after it, and the freeze comes with that write.
    let looked = Arc::new(AtomicBool::new(false));
    let saw = looked.clone();
    scene.cloud.on_request(Box::new(move |_, path| {
        saw.fetch_or(path.contains("/aggregated/instances"), Ordering::SeqCst);
        Then::Handle
    }));
    store.on_request(Box::new(move |method, path| {
        let is_record = method == "POST" && path.contains("validators%2Feth-0");
        if is_record && looked.load(Ordering::SeqCst) && looks.fetch_add(1, Ordering::SeqCst) == 0 {
            signal(pid, "-STOP");
            has_frozen.store(true, Ordering::SeqCst);
        }
        Then::Handle
    }));
    scene.crash();
    first.alert_until_taken().await;
    until("the holder is frozen", || frozen.load(Ordering::SeqCst)).await;
    assert_eq!(scene.cloud.inserts(), 0);
    followed(&second).await;
    first.signal("-CONT");
    let status = first.shows("it knows that it was replaced", |status| !status.holds_lease).await;
    assert!(status.validators[0].incident.is_some(), "{status:#?}");
    assert_eq!(first.get("/readyz").await.0, 503);
    looked_again(&scene).await;
    scene.one_machine();
    assert_eq!(scene.cloud.inserts(), 1);
}
