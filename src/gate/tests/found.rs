//! What went wrong once: each rule that was missing.

use std::sync::Arc;

use tokio::time::sleep;
use uuid::Uuid;

use super::{House, MINUTE, Running, SECOND, World, fakes::Link, fakes::Net};
use crate::{
    domain::{
        LedgerKey,
        gate::WaitKind,
        ownership::{MAX_GRANT_NUMBER, Session},
    },
    gate::port::HANGS,
};

/// Otherwise kubelet and systemd kill a gate that is well, and with it what it guards.
async fn turns(house: &House, what: &str) {
    for _ in 0..60 {
        sleep(MINUTE / 2).await;
        assert!(house.clocks.unread() < HANGS, "{what}: the loop has not turned for {:?}", house.clocks.unread());
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_a_loop_does_it_shows_that_it_turns() {
    let running = async |world: &World| -> (House, Running) {
        let house = world.home(1);
        let gate = house.start(world);
        gate.until_it_runs().await;
        (house, gate)
    };
    let world = World::new();
    let (house, gate) = running(&world).await;
    turns(&house, "it runs").await;
    world.bucket.remove(&LedgerKey::session(&super::eth_0()));
    turns(&house, "the session is deleted").await;
    assert!(gate.runs());

    let world = World::new();
    let (house, gate) = running(&world).await;
    house.link.set(Net::Hang);
    turns(&house, "the ledger hangs").await;
    assert!(gate.runs());

    let world = World::new();
    let house = world.home(1);
    house.link.set(Net::Hang);
    let _gate = house.start(&world);
    turns(&house, "it waits for the ledger").await;

    let house = world.home(1);
    let gate = house.start(&world);
    gate.child.log.lock().unwrap().refuses = true;
    turns(&house, "the command cannot be started").await;

    let world = World::new();
    world.duties.state.lock().unwrap().unknown = true;
    let house = world.home(1).with_check();
    let _gate = house.start(&world);
    turns(&house, "it waits for silence").await;
}

/// A disk that two machines have, or a copy of it: one of them resumes the session of the other.
#[tokio::test(start_paused = true)]
async fn of_two_gates_with_one_id_the_one_that_finds_the_others_write_ends_its_child_and_waits() {
    let world = World::new();
    let one = world.home(1);
    let other = House { folder: Arc::default(), link: Link::new(&world.bucket), ..world.home(1) };
    let first = one.start(&world);
    first.until_it_runs().await;
    let second = other.start(&world);
    second.until_it_runs().await;
    sleep(31 * SECOND).await;
    assert!(!first.runs() && second.runs());
    for _ in 0..240 {
        sleep(MINUTE).await;
        assert!(!first.runs() && second.runs());
    }
    let (kind, why) = first.waits();
    assert_eq!(kind, WaitKind::Session);
    assert!(
        why.contains("its disk is attached twice, or was copied") && why.contains("start this gate again"),
        "{why}"
    );
    assert_eq!(second.terminate().await, 0);
    first.until_it_runs().await;
}

/// Somebody has restored the bucket. Nobody else can have had the session since.
#[tokio::test(start_paused = true)]
async fn an_own_session_that_was_put_back_to_an_older_copy_is_renewed() {
    let world = World::new();
    let house = world.home(1);
    let gate = house.start(&world);
    gate.until_it_runs().await;
    let older = world.session();
    sleep(16 * MINUTE).await;
    world.set_session(&older);
    sleep(6 * MINUTE).await;
    assert!(gate.runs() && gate.starts() == 1);
    assert_ne!(world.session().write, older.write, "it is renewed");
    // What it has not written is another's, whatever is in it.
    world.set_session(&Session { write: Uuid::new_v4(), ..older });
    sleep(31 * SECOND).await;
    assert!(!gate.runs());
    gate.terminate().await;
}

/// SIGTERM comes a minute after a renewal, and once that was the second look.
#[tokio::test(start_paused = true)]
async fn with_a_short_time_renewals_may_fail_and_come_in_time() {
    let world = World::new();
    let house = House { ttl: 2 * MINUTE, ..world.home(1) };
    let gate = house.start(&world);
    gate.until_it_runs().await;
    for _ in 0..20 {
        house.link.set(Net::Refuse);
        sleep(35 * SECOND).await;
        house.link.set(Net::Fine);
        sleep(20 * SECOND).await;
        assert!(gate.runs() && gate.starts() == 1);
    }
    gate.terminate().await;
}

#[tokio::test(start_paused = true)]
async fn a_command_that_never_started_is_no_reason_for_a_quick_restart() {
    let world = World::new();
    let house = world.home(1).with_check();
    let gate = house.start(&world);
    gate.child.log.lock().unwrap().refuses = true;
    gate.until("it is tried", |gate| gate.status().trouble.is_none() && gate.waits().0 == WaitKind::Command).await;
    sleep(3 * 60 * MINUTE).await;
    let notes = house.folder.written.lock().unwrap().last().cloned().unwrap();
    assert_eq!((notes.ran_until, notes.started_at), (None, None));
    let asked = world.duties.state.lock().unwrap().asked.len();
    gate.child.log.lock().unwrap().refuses = false;
    gate.until_it_runs().await;
    assert!(world.duties.state.lock().unwrap().asked.len() > asked, "silence is asked for until it starts");
}

#[tokio::test(start_paused = true)]
async fn a_session_number_that_no_grant_can_have_is_no_answer_and_is_not_remembered() {
    let world = World::new();
    world.set_session(&Session::free(MAX_GRANT_NUMBER + 1, Uuid::nil()));
    let house = world.home(1);
    let gate = house.start(&world);
    sleep(MINUTE).await;
    assert_eq!(gate.waits().0, WaitKind::Ledger);
    world.set_session(&Session::free(8, Uuid::nil()));
    gate.until_it_runs().await;
}
