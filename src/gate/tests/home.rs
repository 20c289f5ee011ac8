//! What a gate at home does while its child runs, and after it.

use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::{
    MINUTE, SECOND, TTL, World, at_home, eth_0,
    fakes::{Asked, Net},
    in_cloud,
};
use crate::{
    domain::{
        LedgerKey,
        gate::{ChildDeadline, GatePhase, WaitKind},
        ownership::{OnLedgerLoss, Session},
    },
    gate::child::ChildEnd,
};

#[tokio::test(start_paused = true)]
async fn an_hour_costs_a_hundred_and_twenty_reads_and_twelve_writes_of_the_session_alone() {
    let world = World::new();
    let house = world.home(1);
    let gate = house.start(&world);
    gate.until_it_runs().await;
    house.link.log.lock().unwrap().clear();
    let notes = house.folder.written.lock().unwrap().len();
    sleep(60 * MINUTE).await;
    let key = LedgerKey::session(&eth_0()).to_string();
    let asked = house.link.asked();
    let count = |what: Asked| asked.iter().filter(|asked| **asked == what).count();
    assert_eq!((count(Asked::Get(key.clone())), count(Asked::Put(key))), (120, 12));
    assert_eq!(asked.len(), 132, "and nothing else: {asked:?}");
    assert_eq!(house.folder.written.lock().unwrap().len() - notes, 60, "a note each minute");
    assert!(gate.runs() && gate.starts() == 1);
    assert_eq!(gate.terminate().await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_counts_from_before_the_request_and_a_slow_answer_shortens_it() {
    let world = World::new();
    let house = world.home(1);
    house.link.set(Net::Slow(8 * SECOND));
    let before = house.clocks.raw_now();
    let gate = house.start(&world);
    gate.until_it_runs().await;
    // Two reads of 8 s, then the request.
    let deadline = ChildDeadline::after(before + 16 * SECOND, TTL, MINUTE);
    assert_eq!(gate.child.log.lock().unwrap().deadlines, [deadline]);
    gate.until("a renewal", |gate| gate.child.log.lock().unwrap().extends.len() == 1).await;
    let extended = gate.child.log.lock().unwrap().extends[0];
    let answered = house.clocks.raw_now();
    let late = (answered + TTL).saturating_sub(extended.kill);
    assert!((8 * SECOND..9 * SECOND).contains(&late), "{late:?}");
    gate.terminate().await;
}

#[tokio::test(start_paused = true)]
async fn without_the_ledger_the_child_ends_at_its_deadline_not_before_and_is_loud_after_half_an_hour() {
    for net in [Net::Hang, Net::Refuse] {
        let world = World::new();
        let house = world.home(1);
        let gate = house.start(&world);
        gate.until_it_runs().await;
        sleep(7 * MINUTE).await;
        let deadline = *gate.child.log.lock().unwrap().extends.last().unwrap();
        house.link.set(net);
        sleep(24 * MINUTE).await;
        assert_eq!(gate.status().trouble, None);
        sleep(6 * MINUTE).await;
        let trouble = gate.status().trouble.unwrap();
        assert!(trouble.contains("has not confirmed the session for 3"), "{trouble}");
        gate.until("the end", |gate| !gate.runs()).await;
        let now = house.clocks.raw_now();
        assert!(now >= deadline.kill && now < deadline.kill + SECOND, "{now:?} {deadline:?}");
        sleep(SECOND).await;
        assert!(!matches!(gate.status().state, GatePhase::Running { .. }), "it says that it runs");
        gate.until("the wait", |gate| matches!(gate.status().state, GatePhase::Waiting { .. })).await;
        sleep(MINUTE).await;
        assert_eq!(gate.waits().0, WaitKind::Ledger);
        // It starts again by itself.
        house.link.set(Net::Fine);
        gate.until_it_runs().await;
        assert_eq!((gate.starts(), gate.status().trouble.clone()), (2, None));
        assert_eq!(gate.terminate().await, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn with_run_nothing_ends_it_for_lack_of_an_answer_and_the_session_says_so() {
    let world = World::new();
    let mut house = world.home(1);
    house.on_loss = OnLedgerLoss::Run;
    let gate = house.start(&world);
    gate.until_it_runs().await;
    assert_eq!(world.session().on_loss, OnLedgerLoss::Run);
    house.link.set(Net::Hang);
    sleep(48 * 60 * MINUTE).await;
    assert!(gate.runs());
    assert!(matches!(gate.status().state, GatePhase::Running { until: None, .. }));
    assert!(gate.status().trouble.is_some());
    // It stops for a promotion all the same.
    house.link.set(Net::Fine);
    world.raise(9);
    gate.until("the stop", |gate| !gate.runs()).await;
    gate.terminate().await;
    assert_eq!(world.session().holder, None);
}

#[tokio::test(start_paused = true)]
async fn a_raised_number_stops_the_child_within_half_a_minute_and_frees_the_session_only_when_it_is_gone() {
    let world = World::new();
    let house = world.home(1);
    let gate = house.start(&world);
    gate.child.log.lock().unwrap().slow = 40 * SECOND;
    gate.until_it_runs().await;
    sleep(17 * MINUTE).await;
    world.raise(9);
    let raised = Instant::now();
    gate.until("the stop", |gate| matches!(gate.status().state, GatePhase::Stopping { .. })).await;
    assert!(raised.elapsed() <= 31 * SECOND, "{:?}", raised.elapsed());
    while gate.runs() {
        assert!(world.session().holder.is_some(), "given back while something runs");
        sleep(SECOND / 4).await;
    }
    gate.until("the session", |_| world.session().holder.is_none()).await;
    let (ended, _) = gate.child.log.lock().unwrap().ended[0];
    assert!(ended.elapsed() < 2 * SECOND);
    assert_eq!(world.session().number, 9, "the number is kept");
    let (kind, why) = gate.waits();
    assert_eq!(kind, WaitKind::Moving, "{why}");
    // The cloud signs, then home again.
    world.grant(9, in_cloud("b"));
    sleep(2 * MINUTE).await;
    let (kind, why) = gate.waits();
    assert!(kind == WaitKind::Grant && why.contains("the machine 7 in z"), "{why}");
    assert_eq!(gate.starts(), 1);
    world.grant(10, at_home());
    gate.until_it_runs().await;
    assert_eq!(gate.status().number, Some(10));
    assert_eq!(gate.terminate().await, 0);
}

#[tokio::test(start_paused = true)]
async fn old_answers_for_a_minute_neither_stop_nor_extend() {
    let world = World::new();
    let house = world.home(1);
    house.link.old();
    let free = world.bucket.snapshot();
    house.link.set(Net::Fine);
    let gate = house.start(&world);
    gate.until_it_runs().await;
    sleep(4 * MINUTE).await;
    // What was there before it took the session: free.
    house.link.set(Net::Old(free));
    sleep(3 * MINUTE).await;
    assert!(gate.runs() && gate.child.log.lock().unwrap().extends.is_empty());
    assert_eq!(house.link.puts(), 1, "nothing is written by an old answer");
    house.link.set(Net::Fine);
    sleep(MINUTE).await;
    assert_eq!(gate.child.log.lock().unwrap().extends.len(), 1);
    gate.terminate().await;
}

#[tokio::test(start_paused = true)]
async fn old_answers_for_longer_than_its_time_end_the_child_at_its_deadline() {
    let world = World::new();
    let house = world.home(1);
    let gate = house.start(&world);
    gate.until_it_runs().await;
    sleep(11 * MINUTE).await;
    house.link.old();
    // The one answer that is old is the present one, until the number is raised.
    world.raise(9);
    let deadline = *gate.child.log.lock().unwrap().extends.last().unwrap();
    gate.until("the end", |gate| !gate.runs()).await;
    let now = house.clocks.raw_now();
    assert!(now >= deadline.kill && now < deadline.kill + SECOND, "{now:?} {deadline:?}");
    sleep(MINUTE).await;
    assert_eq!(gate.starts(), 1, "what it reads is its own session, and nothing can be written over it");
    gate.terminate().await;
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_deleted_while_it_runs_is_no_answer_and_the_deadline_runs() {
    let world = World::new();
    let house = world.home(1);
    let gate = house.start(&world);
    gate.until_it_runs().await;
    let deadline = gate.child.log.lock().unwrap().deadlines[0];
    world.bucket.remove(&LedgerKey::session(&eth_0()));
    sleep(MINUTE).await;
    assert!(gate.runs());
    assert!(gate.status().trouble.unwrap().contains("missing"));
    gate.until("the end", |gate| !gate.runs()).await;
    assert!(house.clocks.raw_now() >= deadline.kill);
    sleep(2 * MINUTE).await;
    let (kind, why) = gate.waits();
    assert!(kind == WaitKind::Ledger && why.contains("the ledger is damaged"), "{why}");
    assert_eq!(house.link.puts(), 1, "it makes none");
    gate.terminate().await;
    assert_eq!(world.bucket.get(&LedgerKey::session(&eth_0())), None);
}

#[tokio::test(start_paused = true)]
async fn the_session_of_another_holder_stops_the_child_and_is_left_as_it_is() {
    let world = World::new();
    let house = world.home(1);
    let gate = house.start(&world);
    gate.until_it_runs().await;
    let wall = super::fakes::start();
    let other =
        Session::free(8, Uuid::nil()).held_by(Uuid::from_u128(2), OnLedgerLoss::Stop, TTL, wall, Uuid::new_v4());
    world.set_session(&other);
    gate.until("the stop", |gate| !gate.runs()).await;
    sleep(2 * MINUTE).await;
    assert_eq!((world.session(), house.link.puts()), (other, 1));
    assert_eq!(gate.waits().0, WaitKind::Session);
    assert_eq!(gate.terminate().await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_renewal_whose_reply_is_lost_counts_from_its_own_request() {
    let world = World::new();
    let house = world.home(1);
    let gate = house.start(&world);
    gate.until_it_runs().await;
    // It arrives after its gate has stopped waiting for it, and is found at the next look.
    house.link.set(Net::Late(20 * SECOND));
    gate.until("the extension", |gate| !gate.child.log.lock().unwrap().extends.is_empty()).await;
    let extended = gate.child.log.lock().unwrap().extends[0];
    let since = house.clocks.raw_now().saturating_sub(extended.kill.saturating_sub(TTL));
    assert!(since >= 29 * SECOND && since <= 31 * SECOND, "{since:?}");
    assert_eq!(house.link.puts(), 2, "the take, and this one");
    // The same, noticed by the adapter.
    house.link.set(Net::LostReply);
    sleep(11 * MINUTE).await;
    assert!(gate.child.log.lock().unwrap().extends.len() >= 2);
    gate.terminate().await;
}

#[tokio::test(start_paused = true)]
async fn a_child_that_ends_by_itself_frees_the_session_and_gives_its_exit_code() {
    for (end, code, early) in [
        (ChildEnd::Exited(129), 129, true),
        (ChildEnd::Exited(0), 0, true),
        (ChildEnd::Signalled(6), 134, true),
        (ChildEnd::Signalled(9), 137, false),
        (ChildEnd::KeeperLost, 1, false),
    ] {
        let world = World::new();
        let house = world.home(1);
        let gate = house.start(&world);
        gate.until_it_runs().await;
        sleep(5 * MINUTE).await;
        gate.child.end(end);
        assert_eq!(gate.task.await.unwrap(), code, "{end:?}");
        assert_eq!(world.session().holder, None);
        let notes = house.folder.written.lock().unwrap().last().cloned().unwrap();
        assert_eq!(notes.ended_early, early, "{end:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn asked_to_end_it_stops_the_child_notes_it_and_gives_the_session_back_in_bounded_time() {
    for (net, free) in [(Net::Fine, true), (Net::Hang, false)] {
        let world = World::new();
        let house = world.home(1);
        let gate = house.start(&world);
        gate.child.log.lock().unwrap().slow = 20 * SECOND;
        gate.until_it_runs().await;
        sleep(5 * MINUTE).await;
        house.link.set(net);
        let (asked, child) = (Instant::now(), gate.child.clone());
        assert_eq!(gate.terminate().await, 0);
        assert!(!child.runs() && asked.elapsed() <= 31 * SECOND, "{:?}", asked.elapsed());
        assert_eq!(world.session().holder.is_none(), free);
        let notes = house.folder.written.lock().unwrap().last().cloned().unwrap();
        let (ended, _) = child.log.lock().unwrap().ended[0];
        let since = crate::ports::Clock::now(&house.clocks).duration_since(notes.ran_until.unwrap());
        assert_eq!(since.unsigned_abs().as_secs(), ended.elapsed().as_secs(), "until it was gone");
        assert!(!notes.ended_early);
    }
}

#[tokio::test(start_paused = true)]
async fn a_command_that_cannot_be_started_keeps_no_session_and_is_tried_less_and_less() {
    let world = World::new();
    let house = world.home(1);
    let gate = house.start(&world);
    gate.child.log.lock().unwrap().refuses = true;
    sleep(60 * MINUTE).await;
    let (kind, why) = gate.waits();
    assert!(kind == WaitKind::Command && why.contains("no such file"), "{why}");
    assert_eq!(world.session().holder, None);
    assert!(house.link.puts() <= 24, "{}", house.link.puts());
    gate.child.log.lock().unwrap().refuses = false;
    gate.until_it_runs().await;
    gate.terminate().await;
}
