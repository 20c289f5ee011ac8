//! The duty check before a start at home.

use tokio::time::{Instant, sleep};

use super::{
    MINUTE, Running, SECOND, World, at_home,
    fakes::{EPOCH, Net, start},
    in_cloud,
};
use crate::{
    domain::{Span, TimeExt, gate::WaitKind},
    gate::child::ChildEnd,
    ports::Clock,
};

/// Which epoch it is in the tests' first moment, of which 100 s are over.
const FIRST: u64 = 1000;

fn epoch(world: &World) -> u64 {
    world.duties.epoch().0
}

fn asked(world: &World) -> Vec<u64> {
    world.duties.state.lock().unwrap().asked.iter().map(|(epoch, _)| *epoch).collect()
}

async fn started(gate: &Running) -> Instant {
    gate.until_it_runs().await;
    *gate.child.log.lock().unwrap().starts.last().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_new_folder_waits_for_two_silent_epochs_holds_nothing_meanwhile_and_says_until_when() {
    let world = World::new();
    let house = world.home(1).with_check();
    let gate = house.start(&world);
    sleep(SECOND).await;
    let until = gate.waits_until().unwrap();
    while !gate.runs() {
        assert!(world.session().holder.is_none() || epoch(&world) == FIRST + 3);
        if !gate.runs() && gate.starts() == 0 {
            let (kind, why) = gate.waits();
            assert!(kind == WaitKind::Duties && why.contains("of 2 silent epochs"), "{why}");
        }
        sleep(SECOND).await;
    }
    assert_eq!(asked(&world), [FIRST + 1, FIRST + 2]);
    for (_, lasted) in &world.duties.state.lock().unwrap().asked {
        assert!(*lasted >= EPOCH - 24 * SECOND, "late in the next epoch: {lasted:?}");
    }
    let waited = started(&gate).await.duration_since(world.base);
    let said = until.duration_since(start()).unsigned_abs();
    assert!(waited >= said && waited <= said + 11 * SECOND, "{waited:?} {said:?}");
    assert!(waited < EPOCH * 4, "three and a half epochs and a bit: {waited:?}");
    assert!(house.link.asked().len() < 60, "{}", house.link.asked().len());
    gate.terminate().await;
}

#[tokio::test(start_paused = true)]
async fn who_ran_a_moment_ago_starts_at_once_and_who_was_away_waits_for_the_last_epoch() {
    let world = World::new();
    let house = world.home(1).with_check();
    let gate = house.start(&world);
    started(&gate).await;
    sleep(40 * MINUTE).await;
    assert_eq!(gate.terminate().await, 0);
    let (again, gate) = (Instant::now(), house.start(&world));
    assert!(started(&gate).await.duration_since(again) < 2 * SECOND);
    assert_eq!(asked(&world).len(), 2, "nobody was asked about an epoch");
    gate.terminate().await;
    sleep(60 * MINUTE).await;
    let (begun, gate) = (epoch(&world), house.start(&world));
    started(&gate).await;
    assert_eq!(asked(&world)[2..], [begun - 1], "the one before, late in this one");
    assert_eq!(epoch(&world), begun);
    gate.terminate().await;
}

#[tokio::test(start_paused = true)]
async fn an_end_by_itself_within_four_epochs_costs_one_silent_epoch_and_a_later_one_nothing() {
    let world = World::new();
    let house = world.home(1).with_check();
    let gate = house.start(&world);
    started(&gate).await;
    sleep(EPOCH * 2).await;
    gate.child.end(ChildEnd::Exited(129));
    assert_eq!(gate.task.await.unwrap(), 129);
    let (ended, gate) = (epoch(&world), house.start(&world));
    started(&gate).await;
    assert_eq!(asked(&world)[2..], [ended + 1], "one that began after the end");
    sleep(EPOCH * 5).await;
    gate.child.end(ChildEnd::Exited(1));
    assert_eq!(gate.task.await.unwrap(), 1);
    let (again, gate) = (Instant::now(), house.start(&world));
    assert!(started(&gate).await.duration_since(again) < 2 * SECOND);
    gate.terminate().await;
}

#[tokio::test(start_paused = true)]
async fn a_gate_that_is_killed_in_its_wait_waits_on_and_begins_no_longer_one() {
    let world = World::new();
    let house = world.home(1).with_check();
    let gate = house.start(&world);
    sleep(EPOCH * 2).await;
    gate.kill();
    let gate = house.start(&world);
    let waited = started(&gate).await.duration_since(world.base);
    assert!(waited < EPOCH * 5, "{waited:?}");
    gate.terminate().await;
}

#[tokio::test(start_paused = true)]
async fn unknown_never_passes() {
    let world = World::new();
    let house = world.home(1).with_check();
    world.duties.state.lock().unwrap().unknown = true;
    let gate = house.start(&world);
    sleep(EPOCH * 20).await;
    let (kind, why) = gate.waits();
    assert!(kind == WaitKind::Duties && why.contains("the control group is silent too"), "{why}");
    // Nor do nodes that cannot say which epoch it is.
    world.duties.state.lock().unwrap().away = true;
    sleep(EPOCH * 20).await;
    let (kind, why) = gate.waits();
    assert!(kind == WaitKind::Duties && why.contains("connection refused"), "{why}");
    assert_eq!((gate.starts(), house.link.puts()), (0, 0));
    {
        let mut chain = world.duties.state.lock().unwrap();
        (chain.away, chain.unknown) = (false, false);
    }
    started(&gate).await;
    gate.terminate().await;
}

#[tokio::test(start_paused = true)]
async fn a_duty_outside_this_gate_is_the_loudest_and_begins_the_count_again() {
    let world = World::new();
    let house = world.home(1).with_check();
    world.duties.state.lock().unwrap().busy.extend([FIRST + 2, FIRST + 4]);
    let gate = house.start(&world);
    gate.until("the duty", |_| asked(&world).contains(&(FIRST + 2))).await;
    sleep(SECOND).await;
    let (kind, why) = gate.waits();
    assert_eq!(kind, WaitKind::SomebodySigns);
    assert!(why.contains("SOMEBODY SIGNS WITH THESE KEYS OUTSIDE THIS GATE: 2 keys had duties in epoch 1002"), "{why}");
    // One silent epoch does not make it harmless.
    gate.until("the silent one", |_| asked(&world).contains(&(FIRST + 3))).await;
    sleep(SECOND).await;
    assert_eq!(gate.waits().0, WaitKind::SomebodySigns);
    started(&gate).await;
    assert_eq!(epoch(&world), FIRST + 7, "5 and 6 were silent");
    gate.terminate().await;
}

/// A kill right after an epoch has begun: the last note is of the epoch before, and the duties are its own.
#[tokio::test(start_paused = true)]
async fn the_last_minute_before_a_kill_is_nobody_elses() {
    let world = World::new();
    let house = world.home(1).with_check();
    let gate = house.start(&world);
    started(&gate).await;
    let began = epoch(&world);
    gate.until("the next epoch", |_| epoch(&world) > began).await;
    sleep(SECOND).await;
    let last = epoch(&world);
    world.duties.state.lock().unwrap().busy.extend([last]);
    gate.kill();
    sleep(EPOCH + MINUTE).await;
    let gate = house.start(&world);
    gate.until("its own duties", |_| asked(&world).contains(&last)).await;
    sleep(SECOND).await;
    let (kind, why) = gate.waits();
    assert!(kind == WaitKind::Duties && why.contains("may still have run"), "{kind:?} {why}");
    started(&gate).await;
    assert!(epoch(&world) <= last + 3, "one silent epoch");
    gate.terminate().await;
}

#[tokio::test(start_paused = true)]
async fn what_another_gate_of_this_home_has_just_signed_is_no_strangers() {
    let world = World::new();
    let (one, other) = (world.home(1).with_check(), world.home(2).with_check());
    for house in [&one, &other] {
        let gate = house.start(&world);
        started(&gate).await;
        sleep(60 * MINUTE).await;
        let now = epoch(&world);
        world.duties.state.lock().unwrap().busy = [now - 1, now].into();
        gate.terminate().await;
    }
    let gate = one.start(&world);
    let before = epoch(&world) - 1;
    gate.until("the other's duties", |_| asked(&world).contains(&before)).await;
    sleep(SECOND).await;
    let (kind, why) = gate.waits();
    assert!(kind == WaitKind::Duties && why.contains("home's own command may still have run"), "{kind:?} {why}");
    started(&gate).await;
    gate.terminate().await;
}

/// It is counted over a restart, and said.
#[tokio::test(start_paused = true)]
async fn a_stranger_is_not_forgotten_when_the_gate_is_started_again() {
    let world = World::new();
    let house = world.home(1).with_check();
    let gate = house.start(&world);
    started(&gate).await;
    gate.terminate().await;
    sleep(60 * MINUTE).await;
    let seen = epoch(&world) - 1;
    world.duties.state.lock().unwrap().busy.extend([seen]);
    let gate = house.start(&world);
    gate.until("the duty", |_| asked(&world).contains(&seen)).await;
    sleep(SECOND).await;
    assert_eq!(gate.waits().0, WaitKind::SomebodySigns);
    gate.until("the next epoch", |_| epoch(&world) == seen + 2).await;
    gate.kill();
    let gate = house.start(&world);
    sleep(SECOND).await;
    let (kind, why) = gate.waits();
    assert!(kind == WaitKind::SomebodySigns && why.contains("0 of 2 silent epochs"), "{kind:?} {why}");
    started(&gate).await;
    assert_eq!(asked(&world).split_off(asked(&world).len() - 2), [seen + 1, seen + 2]);
    assert!(!house.folder.written.lock().unwrap().last().unwrap().stranger, "it is over with the start");
    gate.terminate().await;
}

#[tokio::test(start_paused = true)]
async fn what_the_place_before_has_signed_until_the_grant_came_is_no_strangers() {
    let world = World::new();
    let house = world.home(1).with_check();
    let gate = house.start(&world);
    started(&gate).await;
    world.raise(9);
    gate.until("its end", |gate| !gate.runs()).await;
    world.grant(9, in_cloud("a"));
    sleep(60 * MINUTE).await;
    let last = epoch(&world);
    world.duties.state.lock().unwrap().busy.extend([last - 1, last]);
    world.raise(10);
    world.grant_at(10, at_home(), Clock::now(&house.clocks));
    for seen in [last - 1, last] {
        gate.until("its duties", |_| asked(&world).contains(&seen)).await;
        sleep(SECOND).await;
        let (kind, why) = gate.waits();
        assert_eq!(kind, WaitKind::Duties, "{why}");
        assert!(why.contains("the place that had the grant before this one may still have signed"), "{why}");
    }
    // What is signed later is.
    world.duties.state.lock().unwrap().busy.extend([last + 1]);
    gate.until("their duties", |_| asked(&world).contains(&(last + 1))).await;
    sleep(SECOND).await;
    assert_eq!(gate.waits().0, WaitKind::SomebodySigns);
    gate.terminate().await;
}

/// Home was home before, so a grant of now explains nothing.
#[tokio::test(start_paused = true)]
async fn a_renewed_grant_of_the_same_place_explains_no_duties() {
    let world = World::new();
    let house = world.home(1).with_check();
    let gate = house.start(&world);
    started(&gate).await;
    gate.terminate().await;
    sleep(60 * MINUTE).await;
    let gate = house.start(&world);
    sleep(SECOND).await;
    let last = epoch(&world);
    world.duties.state.lock().unwrap().busy.extend([last - 1]);
    world.grant_at(9, at_home(), Clock::now(&house.clocks));
    gate.until("their duties", |_| asked(&world).contains(&(last - 1))).await;
    sleep(SECOND).await;
    assert_eq!((gate.waits().0, gate.status().number), (WaitKind::SomebodySigns, Some(9)));
    gate.terminate().await;
}

/// The session is another's while the chain is silent: what was counted then says nothing about the epochs since.
#[tokio::test(start_paused = true)]
async fn the_check_is_fresh_at_the_start() {
    let world = World::new();
    let house = world.home(1).with_check();
    let gate = house.start(&world);
    // Between the last judgement and the take.
    house.link.set(Net::Slow(4 * SECOND));
    gate.until("two silent epochs", |_| asked(&world).len() == 2).await;
    world.raise(9);
    house.link.set(Net::Fine);
    sleep(EPOCH * 10 + MINUTE).await;
    assert_eq!((gate.waits().0, gate.starts()), (WaitKind::Moving, 0));
    let begun = epoch(&world);
    world.grant(9, at_home());
    started(&gate).await;
    assert_eq!(asked(&world), [FIRST + 1, FIRST + 2, begun - 1, begun]);
    gate.terminate().await;
}

#[tokio::test(start_paused = true)]
async fn a_wall_clock_that_is_wrong_is_not_believed_and_shortens_nothing() {
    for wrong in [-86_400, 86_400, 3600] {
        let world = World::new();
        let house = world.home(1).with_check();
        let gate = house.start(&world);
        started(&gate).await;
        sleep(10 * MINUTE).await;
        gate.terminate().await;
        house.folder.boot();
        house.clocks.set_wrong(wrong);
        let (begun, gate) = (epoch(&world), house.start(&world));
        started(&gate).await;
        let asked = world.duties.state.lock().unwrap().asked.clone();
        let (last, lasted) = *asked.last().unwrap();
        assert!(last >= begun - 1 && asked.len() > 2, "{wrong}: {asked:?}");
        assert!(lasted >= EPOCH - 24 * SECOND - 11 * SECOND, "{wrong}: {asked:?}");
        gate.terminate().await;
    }
    // It ran by a clock that was ahead, and the clock is right by now: the one that nobody sets says how long ago that was.
    for (ahead, pause, is_quick) in [(7200, SECOND, true), (1800, 31 * MINUTE, false)] {
        let world = World::new();
        let house = world.home(1).with_check();
        house.clocks.set_wrong(ahead);
        let gate = house.start(&world);
        started(&gate).await;
        gate.terminate().await;
        sleep(pause).await;
        house.clocks.set_wrong(0);
        let (before, gate) = (asked(&world).len(), house.start(&world));
        started(&gate).await;
        assert_eq!(asked(&world).len() == before, is_quick, "{pause:?}");
        let ran_until = house.folder.written.lock().unwrap().last().unwrap().ran_until.unwrap();
        assert!(ran_until <= crate::ports::Clock::now(&house.clocks).plus(Span::from_secs(1)));
        gate.terminate().await;
    }
}

/// It comes back after an hour, and its session is still its own.
#[tokio::test(start_paused = true)]
async fn while_it_waits_for_silence_others_at_home_need_not_wait_for_it() {
    let world = World::new();
    let house = world.home(1);
    let gate = house.start(&world);
    started(&gate).await;
    gate.kill();
    sleep(60 * MINUTE).await;
    let house = house.with_check();
    world.duties.state.lock().unwrap().unknown = true;
    let gate = house.start(&world);
    sleep(MINUTE).await;
    assert_eq!((gate.waits().0, world.session().holder), (WaitKind::Duties, None));
    let other = world.home(2).start(&world);
    started(&other).await;
    assert!(!gate.runs());
    gate.terminate().await;
    other.terminate().await;
}
