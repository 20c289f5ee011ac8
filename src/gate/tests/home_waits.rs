//! What keeps a gate at home from its start, and for how long.

use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::{
    House, MINUTE, SECOND, TTL, World, at_home, eth_0,
    fakes::{Asked, Bucket, Net, start},
};
use crate::domain::{
    LedgerKey,
    gate::{GatePhase, WaitKind},
    ownership::{OnLedgerLoss, Session},
};

fn held_by(holder: u128, on_loss: OnLedgerLoss) -> Session {
    Session::free(8, Uuid::nil()).held_by(Uuid::from_u128(holder), on_loss, TTL, start(), Uuid::new_v4())
}

#[tokio::test(start_paused = true)]
async fn each_wait_says_why_and_of_which_kind_it_is() {
    type Change = fn(&World, &House);
    let cases: [(&str, Change, WaitKind, &str); 8] = [
        (
            "no grant",
            |world, _| world.bucket.remove(&LedgerKey::owner(&eth_0())),
            WaitKind::Grant,
            "`failover adopt` makes the first one",
        ),
        (
            "another site",
            |world, _| world.grant(8, crate::domain::ownership::GrantPlace::Home { site: "away".into() }),
            WaitKind::Grant,
            "grant 8 says that the site away signs",
        ),
        (
            "no session",
            |world, _| world.bucket.remove(&LedgerKey::session(&eth_0())),
            WaitKind::Ledger,
            "the ledger is damaged",
        ),
        ("moving", |world, _| world.raise(9), WaitKind::Moving, "the session's number is 9, above grant 8"),
        ("held", |world, _| world.set_session(&held_by(2, OnLedgerLoss::Stop)), WaitKind::Session, "it is free in 6h"),
        (
            "held for good",
            |world, _| world.set_session(&held_by(2, OnLedgerLoss::Run)),
            WaitKind::Session,
            "keeps it until it gives it back",
        ),
        ("no answer", |_, house| house.link.set(Net::Refuse), WaitKind::Ledger, "scripted"),
        (
            "a damaged session",
            |world, _| world.bucket.set(&LedgerKey::session(&eth_0()), b"{".to_vec()),
            WaitKind::Ledger,
            "cannot be read",
        ),
    ];
    for (what, change, kind, words) in cases {
        let world = World::new();
        let house = world.home(1);
        change(&world, &house);
        let before = world.bucket.snapshot();
        let gate = house.start(&world);
        sleep(3 * MINUTE).await;
        let (found, why) = gate.waits();
        assert!(found == kind && why.contains(words), "{what}: {found:?}, {why}");
        assert_eq!((gate.starts(), world.bucket.snapshot()), (0, before), "{what}");
        assert_eq!(gate.terminate().await, 0, "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_state_folder_that_takes_no_notes_starts_nothing() {
    let world = World::new();
    let house = world.home(1);
    *house.folder.full.lock().unwrap() = true;
    let gate = house.start(&world);
    sleep(3 * MINUTE).await;
    let (kind, why) = gate.waits();
    assert!(kind == WaitKind::Command && why.contains("no space left"), "{why}");
    assert_eq!((gate.starts(), world.session().holder), (0, None));
    *house.folder.full.lock().unwrap() = false;
    gate.until_it_runs().await;
    gate.terminate().await;
}

#[tokio::test(start_paused = true)]
async fn a_ledger_that_does_not_answer_at_the_start_is_asked_every_ten_seconds() {
    for (net, most) in [(Net::Refuse, 361), (Net::Hang, 181)] {
        let world = World::new();
        let house = world.home(1);
        house.link.set(net.clone());
        let gate = house.start(&world);
        sleep(60 * MINUTE).await;
        assert!(house.link.asked().len() <= most, "{net:?}: {}", house.link.asked().len());
        house.link.set(Net::Fine);
        sleep(21 * SECOND).await;
        assert!(gate.runs());
        gate.terminate().await;
    }
}

/// The holder was killed and never comes back.
#[tokio::test(start_paused = true)]
async fn an_old_session_is_taken_over_and_not_a_tick_earlier() {
    let old_after = TTL + TTL / 50 + 30 * SECOND;
    for has_clock in [false, true] {
        let world = World::empty(Bucket::new(has_clock));
        world.grant(8, at_home());
        world.set_session(&held_by(2, OnLedgerLoss::Stop));
        let written = Instant::now();
        // By the store's clock its age counts from the write; by the own one from when it was first seen.
        sleep(60 * MINUTE).await;
        let house = world.home(1);
        let (seen, gate) = (Instant::now(), house.start(&world));
        gate.until_it_runs().await;
        let started = gate.child.log.lock().unwrap().starts[0];
        let counts_from = if has_clock { written } else { seen };
        let waited = started.duration_since(counts_from);
        assert!(waited >= old_after && waited < old_after + 2 * SECOND, "{waited:?}, {old_after:?}");
        let asked = house.link.asked().into_iter().filter(|asked| *asked == Asked::Age).count();
        assert_eq!(asked, usize::from(has_clock), "the store is asked once about each version");
        assert_eq!(gate.terminate().await, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_renews_is_never_taken_over_and_one_that_gives_back_is_within_a_minute() {
    let world = World::new();
    let first = world.home(1).start(&world);
    first.until_it_runs().await;
    let house = world.home(2);
    let second = house.start(&world);
    sleep(24 * 60 * MINUTE).await;
    assert!(first.runs() && second.starts() == 0 && house.link.puts() == 0);
    let hour = house.link.asked().len() / 24;
    assert!(hour <= 130, "{hour} requests an hour while it waits");
    first.terminate().await;
    sleep(61 * SECOND).await;
    assert!(second.runs());
    second.terminate().await;
    assert_eq!(*world.twice.lock().unwrap(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn after_a_kill_the_same_folder_has_its_session_back_at_once_and_another_one_waits() {
    let world = World::new();
    let house = world.home(1).with_check();
    world.grant(8, at_home());
    let gate = house.start(&world);
    gate.until_it_runs().await;
    sleep(30 * MINUTE).await;
    gate.kill();
    sleep(10 * SECOND).await;
    let (again, gate) = (Instant::now(), house.start(&world));
    gate.until_it_runs().await;
    assert!(again.elapsed() <= 2 * SECOND, "{:?}", again.elapsed());
    gate.kill();
    let elsewhere = House { resumes: false, ..house };
    let gate = elsewhere.start(&world);
    sleep(60 * MINUTE).await;
    assert_eq!((gate.starts(), gate.waits().0), (0, WaitKind::Session), "a folder that may be had twice");
    gate.terminate().await;
    assert!(world.session().holder.is_some(), "not its own to give back");
}

#[tokio::test(start_paused = true)]
async fn a_folder_that_may_be_had_twice_still_has_its_own_session_while_its_time_runs() {
    let world = World::new();
    let house = House { resumes: false, ..world.home(1) };
    let gate = house.start(&world);
    gate.until_it_runs().await;
    sleep(12 * 60 * MINUTE).await;
    assert!(gate.runs(), "it renews");
    world.raise(9);
    gate.until("the stop", |gate| !gate.runs()).await;
    sleep(SECOND).await;
    assert_eq!(world.session().holder, None, "given back");
    gate.terminate().await;
}

#[tokio::test(start_paused = true)]
async fn a_session_that_it_could_not_give_back_for_a_promotion_is_given_back_later() {
    let world = World::new();
    let house = world.home(1);
    let gate = house.start(&world);
    gate.child.log.lock().unwrap().slow = 5 * SECOND;
    gate.until_it_runs().await;
    world.raise(9);
    gate.until("the stop", |gate| matches!(gate.status().state, GatePhase::Stopping { .. })).await;
    house.link.set(Net::Refuse);
    sleep(20 * MINUTE).await;
    assert!(world.session().holder.is_some());
    house.link.set(Net::Fine);
    sleep(11 * SECOND).await;
    assert_eq!((world.session().holder, gate.starts()), (None, 1));
    assert_eq!(gate.terminate().await, 0);
}

#[tokio::test(start_paused = true)]
async fn what_it_goes_by_is_noted_before_it_starts_and_a_ledger_that_was_put_back_waits() {
    let world = World::new();
    let house = world.home(1);
    world.set_session(&Session::free(12, Uuid::nil()));
    world.grant(12, at_home());
    let gate = house.start(&world);
    gate.until_it_runs().await;
    let noted = house.folder.written.lock().unwrap()[0].clone();
    assert_eq!((noted.last.unwrap().number, noted.seen, noted.started_at), (12, 12, None), "before the start");
    // A promotion to 13 that was seen, and then an older ledger.
    world.raise(13);
    gate.until("the stop", |gate| !gate.runs()).await;
    sleep(MINUTE).await;
    for number in [8, 12] {
        world.grant(number, at_home());
        world.set_session(&Session::free(number, Uuid::nil()));
        sleep(3 * MINUTE).await;
        let (kind, why) = gate.waits();
        assert!(kind == WaitKind::Ledger && why.contains("the ledger was put back"), "{number}: {why}");
    }
    assert_eq!((gate.starts(), world.session().holder), (1, None));
    world.grant(13, at_home());
    gate.until_it_runs().await;
    gate.terminate().await;
}

#[tokio::test(start_paused = true)]
async fn the_reply_to_a_take_may_be_lost_or_late() {
    let world = World::new();
    let house = world.home(1);
    house.link.set(Net::LostReply);
    let gate = house.start(&world);
    gate.until_it_runs().await;
    assert_eq!(house.link.puts(), 1);
    gate.terminate().await;
    // Longer than it waits for it, with a folder that may be had twice: the write is known by its id.
    let house = House { resumes: false, ..world.home(2) };
    house.link.set(Net::Slow(20 * SECOND));
    let gate = house.start(&world);
    sleep(MINUTE).await;
    assert_eq!(gate.starts(), 0);
    house.link.set(Net::Slow(19 * SECOND));
    sleep(MINUTE).await;
    house.link.set(Net::Fine);
    gate.until_it_runs().await;
    gate.terminate().await;
}
