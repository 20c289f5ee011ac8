//! The real program, killed, frozen, and with commands that are hard to end: one client at a time, and the same one again.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use failover::domain::gate::WaitKind;
use rustix::process::Signal;

use crate::{
    local_house::{CLIENT, House, home},
    placed::{Place, is_there, places, send, skipped, until},
};

/// What may take a busy machine so long. Whatever is waited for takes ten seconds at least.
const SOON: Duration = Duration::from_secs(5);

fn starts_again_at_once(house: &House, place: Place) {
    let began = Instant::now();
    let gate = house.starts(place, "one");
    println!("{place:?}: its client runs {:?} after the gate was started again", began.elapsed());
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    assert!(!gate.is_gone(Duration::ZERO));
}

#[test]
fn a_gate_that_is_killed_takes_its_client_along_and_is_the_same_holder_at_once() {
    for place in places() {
        let Some(house) = House::granted() else { return };
        let mut one = house.starts(place, "one");
        let other = house.gate(place, "other", CLIENT).start();
        other.waits(WaitKind::Session, "another process at home holds the session");
        let holder = house.session().holder;
        send(one.gate(), Signal::KILL);
        assert!(one.is_gone(SOON));
        assert_eq!(house.clients(), 0);
        assert!(!one.ends().success());
        assert_eq!(house.session().holder, holder, "nobody could give it back");
        starts_again_at_once(&house, place);
        other.waits(WaitKind::Session, "another process at home holds the session");
        house.never_two();
    }
}

#[test]
fn a_keeper_that_is_killed_ends_the_client_and_its_gate_which_gives_the_session_back() {
    for place in places() {
        let Some(house) = House::granted() else { return };
        let mut one = house.starts(place, "one");
        send(one.keeper(), Signal::KILL);
        assert!(one.is_gone(SOON));
        assert_eq!(one.ends().code(), Some(1), "whoever has started it starts it again");
        assert_eq!(house.session().holder, None);
        starts_again_at_once(&house, place);
        house.never_two();
    }
}

#[test]
fn gate_and_keeper_killed_at_once_leave_no_client_that_a_second_one_could_meet() {
    for place in places() {
        let Some(house) = House::granted() else { return };
        let mut one = house.starts(place, "one");
        one.kill_gate_and_keeper();
        assert!(one.is_gone(SOON));
        one.ends();
        assert_eq!(house.clients(), 0);
        starts_again_at_once(&house, place);
        house.never_two();
    }
}

/// Outside of a container nothing ends what has left the command; it has the folder, and nobody starts beside it.
#[test]
fn a_client_that_outlives_gate_and_keeper_keeps_the_next_gate_waiting() {
    if !is_there(Place::Cgroup) {
        return;
    }
    let Some(house) = House::granted() else { return };
    let mut one = house.gate(Place::Cgroup, "one", "(setsid $CLIENT 1000 &) ; exec sleep 1000").start();
    one.hears_up();
    until("the daemon is there", || house.clients() == 1);
    one.kill_gate_and_keeper();
    one.ends();
    let mut again = house.gate(Place::Cgroup, "one", CLIENT).start();
    again.waits(WaitKind::Session, "is another process's");
    assert_eq!(house.clients(), 1, "the daemon");
    one.kill_orphans();
    assert!(one.is_gone(SOON));
    again.hears_up();
    house.never_two();
}

/// What it is told, and how long it may take then.
const HARD: &[(&str, &str, Duration)] = &[
    ("itself", CLIENT, Duration::ZERO),
    ("behind a shell", "$CLIENT 1000; :", Duration::ZERO),
    ("ignores SIGTERM", "trap '' TERM; $CLIENT 1000; :", Duration::from_secs(1)),
    ("became a daemon", "(setsid sh -c \"$CLIENT 1000 & :\" &) ; exec sleep 1000", Duration::ZERO),
    (
        "became one that ignores SIGTERM",
        "(trap '' TERM; setsid $CLIENT 1000 &) ; exec sleep 1000",
        Duration::from_secs(1),
    ),
    ("changed its user", "exec setpriv --reuid=65534 --regid=65534 --clear-groups $CLIENT 1000", Duration::ZERO),
];

#[test]
fn a_gate_that_is_asked_to_end_gives_the_session_back_when_no_client_is_left_however_it_hides() {
    for place in places() {
        for (name, script, at_least) in HARD {
            let Some(house) = House::granted() else { return };
            let mut one = house.gate(place, "one", script).start();
            one.hears_up();
            until("the client is there", || house.clients() == 1);
            let began = Instant::now();
            send(one.gate(), Signal::TERM);
            until("nobody holds the session", || house.session().holder.is_none());
            assert_eq!(house.clients(), 0, "{place:?}, {name}: the session was free before the client had ended");
            let took = began.elapsed();
            assert!(took >= *at_least && took < *at_least + SOON, "{place:?}, {name}: {took:?}");
            assert_eq!(one.ends().code(), Some(0));
            house.never_two();
        }
    }
}

#[test]
fn a_command_that_leaves_a_daemon_behind_ends_with_it_and_keeps_its_code() {
    for place in places() {
        let Some(house) = House::granted() else { return };
        let mut one = house.gate(place, "one", "(setsid $CLIENT 1000 &) ; exit 4").start();
        one.hears_up();
        assert_eq!(one.ends().code(), Some(4));
        assert_eq!((house.clients(), house.session().holder), (0, None));
    }
}

/// The kernel takes PDEATHSIG from who gets rights by a file's capabilities, so nothing but keeper and gate end it.
#[test]
fn a_client_with_capabilities_of_its_file_ends_with_its_gate_or_its_keeper() {
    if !is_there(Place::CgroupOfNobody) {
        return;
    }
    // Another user enters only this.
    let within = std::env::temp_dir();
    for who in ["gate", "keeper", "both"] {
        let Some(house) = House::within(&within) else { return };
        house.grant(home(), 1);
        let set = Command::new("setcap").arg("cap_net_bind_service=ep").arg(house.path("client")).status();
        if !set.is_ok_and(|status| status.success()) {
            return skipped("no file can be given capabilities here: it needs setcap (libcap2-bin), and root");
        }
        for name in ["ledger.sqlite", "."] {
            let owned = Command::new("chown").arg("65534:65534").arg(house.path(name)).status();
            assert!(owned.unwrap().success());
        }
        let mut one = house.gate(Place::CgroupOfNobody, "one", CLIENT).start();
        one.hears_up();
        until("the client is there", || house.clients() == 1);
        match who {
            "gate" => send(one.gate(), Signal::KILL),
            "keeper" => send(one.keeper(), Signal::KILL),
            _ => {
                one.kill_gate_and_keeper();
                one.ends();
                assert!(
                    !one.is_gone(Duration::from_millis(300)),
                    "then PDEATHSIG reaches it, and this test shows nothing"
                );
                let again = house.gate(Place::CgroupOfNobody, "one", CLIENT).start();
                again.waits(WaitKind::Session, "is another process's");
                drop(again);
                one.kill_orphans();
            }
        }
        assert!(one.is_gone(SOON), "{who}");
        until("nothing of it is listed", || house.clients() == 0);
        house.never_two();
    }
}
