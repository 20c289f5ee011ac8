//! How a start ends that does not begin, and what a restart goes by.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::{Instant, sleep};

use super::{
    House, MINUTE, Running, SECOND, World,
    fakes::{EPOCH, Net},
};
use crate::{
    domain::gate::{GatePhase, WaitKind},
    gate::child::ChildEnd,
};

fn asked(world: &World) -> usize {
    world.duties.state.lock().unwrap().asked.len()
}

/// Starts at once, and nobody is asked about an epoch.
async fn is_quick(world: &World, house: &House) -> bool {
    let (before, gate) = (asked(world), house.start(world));
    sleep(2 * SECOND).await;
    let quick = gate.runs();
    gate.until_it_runs().await;
    assert_eq!(quick, asked(world) == before);
    gate.terminate().await;
    quick
}

/// Runs for so long.
async fn ran(world: &World, house: &House, span: Duration) -> Running {
    let gate = house.start(world);
    gate.until_it_runs().await;
    sleep(span).await;
    gate
}

#[tokio::test(start_paused = true)]
async fn a_start_that_hangs_ends_when_the_gate_is_asked_to_end() {
    let world = World::new();
    let house = world.home(1);
    let gate = house.start(&world);
    {
        let mut log = gate.child.log.lock().unwrap();
        (log.hangs, log.slow) = (true, 20 * SECOND);
    }
    sleep(5 * SECOND).await;
    assert!(world.session().holder.is_some(), "it is about to start");
    let (asked, child, status) = (Instant::now(), gate.child.clone(), gate.status.clone());
    let stopping = tokio::spawn(gate.terminate());
    sleep(10 * SECOND).await;
    assert!(matches!(status.borrow().state, GatePhase::Stopping { .. }));
    assert!(world.session().holder.is_some(), "something of it may be left");
    assert_eq!(stopping.await.unwrap(), 0);
    assert!(asked.elapsed() < 21 * SECOND, "{:?}", asked.elapsed());
    assert_eq!((child.log.lock().unwrap().stops, world.session().holder), (1, None));
    let notes = house.folder.written.lock().unwrap().last().cloned().unwrap();
    assert_eq!((notes.ran_until, notes.started_at, notes.runs), (None, None, false), "it ran never");
}

#[tokio::test(start_paused = true)]
async fn a_start_that_hangs_is_given_up_and_tried_again() {
    let world = World::new();
    let house = world.home(1);
    let gate = house.start(&world);
    gate.child.log.lock().unwrap().hangs = true;
    sleep(62 * SECOND).await;
    let (kind, why) = gate.waits();
    assert!(kind == WaitKind::Command && why.contains("has not begun within 60 s"), "{why}");
    assert_eq!((gate.child.log.lock().unwrap().stops, world.session().holder), (1, None));
    gate.child.log.lock().unwrap().hangs = false;
    gate.until_it_runs().await;
    assert_eq!(gate.terminate().await, 0);
}

#[tokio::test(start_paused = true)]
async fn an_end_whose_note_is_lost_counts_as_an_early_one_and_a_kill_does_not() {
    let world = World::new();
    let house = world.home(1).with_check();
    // A kill of all at once, and a power cut, soon after the start.
    ran(&world, &house, 2 * EPOCH).await.kill();
    assert!(is_quick(&world, &house).await, "a kill");
    ran(&world, &house, EPOCH).await.kill();
    house.folder.boot();
    assert!(is_quick(&world, &house).await, "a power cut");
    for (span, costs) in [(10 * SECOND, true), (2 * EPOCH, true), (5 * EPOCH, false)] {
        let gate = ran(&world, &house, span).await;
        *house.folder.full.lock().unwrap() = true;
        gate.child.end(ChildEnd::Exited(129));
        assert_eq!(gate.task.await.unwrap(), 129);
        *house.folder.full.lock().unwrap() = false;
        assert_eq!(is_quick(&world, &house).await, !costs, "{span:?}");
    }
}

/// The machine ends gate, keeper and what is left, before the session is given back.
#[tokio::test(start_paused = true)]
async fn an_early_end_is_known_while_what_the_command_left_behind_is_ended() {
    let world = World::new();
    let house = world.home(1).with_check();
    let gate = ran(&world, &house, 10 * SECOND).await;
    gate.child.leave(ChildEnd::Exited(129));
    sleep(SECOND).await;
    assert!(gate.runs() && world.session().holder.is_some(), "something of it is left");
    gate.kill();
    assert!(!is_quick(&world, &house).await);
    // A minute later it is an early one still, and the session is kept for what is left.
    let gate = ran(&world, &house, 3 * EPOCH).await;
    gate.child.leave(ChildEnd::Exited(129));
    sleep(2 * EPOCH).await;
    assert!(gate.runs() && world.session().holder.is_some(), "something of it is left");
    gate.child.end(ChildEnd::Exited(129));
    assert_eq!(gate.task.await.unwrap(), 129);
    assert_eq!(world.session().holder, None);
    assert!(!is_quick(&world, &house).await);
}

#[tokio::test(start_paused = true)]
async fn the_session_is_given_back_before_the_end_is_noted() {
    for how in ["ends", "is stopped", "is cancelled"] {
        let world = Arc::new(World::new());
        let house = world.home(1);
        let gate = ran(&world, &house, 10 * SECOND).await;
        let (own, noted) = (world.clone(), Arc::new(AtomicUsize::new(0)));
        let counted = noted.clone();
        *house.folder.watched.lock().unwrap() = Some(Box::new(move |notes| {
            counted.fetch_add(usize::from(!notes.runs), Ordering::SeqCst);
            assert!(notes.runs || own.session().holder.is_none(), "a disk that hangs would keep it");
        }));
        match how {
            "ends" => gate.child.end(ChildEnd::Exited(0)),
            "is stopped" => world.raise(9),
            _ => gate.cancel.cancel(),
        }
        sleep(MINUTE).await;
        assert!(noted.load(Ordering::SeqCst) > 0, "{how}");
        *house.folder.watched.lock().unwrap() = None;
        gate.cancel.cancel();
        gate.task.await.unwrap();
    }
}

/// The disk is full when the note of the start has to be taken back, and the session cannot be given back.
#[tokio::test(start_paused = true)]
async fn a_start_that_failed_and_is_still_noted_is_no_reason_for_a_quick_restart() {
    let world = World::new();
    let house = world.home(1).with_check();
    ran(&world, &house, 10 * MINUTE).await.terminate().await;
    sleep(60 * MINUTE).await;
    let gate = house.start(&world);
    gate.child.log.lock().unwrap().hangs = true;
    gate.until("it is about to start", |_| world.session().holder.is_some()).await;
    sleep(SECOND).await;
    *house.folder.full.lock().unwrap() = true;
    house.link.set(Net::Refuse);
    gate.until("it is given up", |gate| gate.child.log.lock().unwrap().stops == 1).await;
    sleep(SECOND).await;
    gate.kill();
    *house.folder.full.lock().unwrap() = false;
    house.link.set(Net::Fine);
    assert!(world.session().holder.is_some());
    assert!(!is_quick(&world, &house).await);
}

/// Its own stop is none by itself, even if it could not be noted.
#[tokio::test(start_paused = true)]
async fn within_one_process_an_end_is_known_without_its_note() {
    let world = World::new();
    let house = House { ttl: 10 * MINUTE, ..world.home(1).with_check() };
    let gate = ran(&world, &house, SECOND).await;
    let before = asked(&world);
    house.link.set(Net::Refuse);
    *house.folder.full.lock().unwrap() = true;
    gate.until("its deadline", |gate| !gate.runs()).await;
    sleep(SECOND).await;
    house.link.set(Net::Fine);
    *house.folder.full.lock().unwrap() = false;
    gate.until_it_runs().await;
    // Since the last note that was written more than an epoch has passed: the last one is judged, and no later one.
    assert_eq!((asked(&world), gate.starts()), (before + 1, 2));
    gate.terminate().await;
}

#[tokio::test(start_paused = true)]
async fn a_quick_restart_needs_no_beacon_node_and_no_wall_clock() {
    let world = World::new();
    let house = world.home(1).with_check();
    let gate = ran(&world, &house, 40 * MINUTE).await;
    gate.kill();
    world.duties.state.lock().unwrap().away = true;
    house.clocks.set_wrong(-86_400);
    assert!(is_quick(&world, &house).await);
    house.clocks.set_wrong(0);
    // After a boot only the wall clock says how long ago that was, and it may be wrong.
    house.folder.boot();
    let gate = house.start(&world);
    sleep(MINUTE).await;
    assert_eq!((gate.waits().0, gate.starts()), (WaitKind::Duties, 0));
    world.duties.state.lock().unwrap().away = false;
    gate.until_it_runs().await;
    gate.kill();
    // Nor after longer than an epoch.
    sleep(EPOCH + 2 * MINUTE).await;
    world.duties.state.lock().unwrap().away = true;
    let gate = house.start(&world);
    sleep(MINUTE).await;
    assert_eq!((gate.waits().0, gate.starts()), (WaitKind::Duties, 0));
    gate.terminate().await;
}

#[tokio::test(start_paused = true)]
async fn notes_keep_up_with_short_epochs() {
    for (epoch, notes) in [(None, 10), (Some(EPOCH), 10), (Some(48 * SECOND), 50)] {
        let world = World::new();
        let house = world.home(1);
        house.folder.change(|notes| notes.epoch = epoch);
        let gate = ran(&world, &house, SECOND).await;
        let before = house.folder.written.lock().unwrap().len();
        sleep(10 * MINUTE).await;
        assert_eq!(house.folder.written.lock().unwrap().len() - before, notes, "{epoch:?}");
        gate.terminate().await;
    }
}
