//! Whatever dies or hangs, nothing of the command outlives its time.

use std::time::{Duration, Instant};

use failover::gate::folder::{FolderError, StateFolder};
use rustix::process::Signal;

use crate::{
    placed::{PATIENCE, Place, Placed, is_there, places, send, until},
    world::World,
};

const SOON: Duration = Duration::from_secs(1);

/// Commands that are hard to end.
const HARD: &[(&str, &str)] = &[
    ("itself", "exec sleep 1000"),
    ("behind a shell", "sleep 1000; :"),
    ("ignores SIGTERM", "trap '' TERM; sleep 1000; :"),
    ("has a daemon", "(setsid sleep 1000 &) ; exec sleep 1000"),
    ("became a daemon", "(setsid sh -c 'trap \"\" TERM; sleep 1000; :' &) ; sleep 1000; :"),
    ("changed its user", "exec setpriv --reuid=65534 --regid=65534 --clear-groups sleep 1000"),
    ("forks", "while :; do sleep 0.01 & sleep 0.001; done"),
];

fn each(mut test: impl FnMut(&mut World)) {
    for place in places() {
        for (name, script) in HARD {
            println!("{place:?}: {name}");
            let mut world = World::new(place, script);
            world.start();
            test(&mut world);
        }
    }
}

#[test]
fn a_gate_that_is_killed_leaves_nothing_behind() {
    each(|world| {
        send(world.gate(), Signal::KILL);
        assert!(world.is_gone(SOON));
    });
}

#[test]
fn a_keeper_that_is_killed_takes_the_command_with_it() {
    each(|world| {
        send(world.keeper(), Signal::KILL);
        assert!(world.is_gone(SOON));
        assert_eq!(world.ask("ended"), "KeeperLost");
        assert_eq!(world.keepers(), []);
    });
}

#[test]
fn a_stop_leaves_nothing_behind() {
    each(|world| {
        assert_eq!(world.ask("stop"), "Stopped");
        assert!(world.is_gone(Duration::ZERO), "it said that nothing was left");
        assert_eq!(world.keepers(), []);
    });
}

#[test]
fn a_gate_that_hangs_does_not_let_the_command_run_longer() {
    frozen(Placed::gate);
}

#[test]
fn a_keeper_that_hangs_does_not_let_the_command_run_longer() {
    frozen(Placed::keeper);
}

fn frozen(who: fn(&Placed) -> rustix::process::Pid) {
    for place in places() {
        let mut world = World::new(place, "trap '' TERM; sleep 1000; :");
        let began = Instant::now();
        assert_eq!(world.ask("start 500 1000"), "running");
        let frozen = who(&world);
        send(frozen, Signal::STOP);
        assert_eq!(world.heard(), "up\n");
        assert!(world.is_gone(Duration::from_secs(3)));
        assert!(began.elapsed() >= Duration::from_secs(1), "it ended before its time: {:?}", began.elapsed());
        send(frozen, Signal::CONT);
        assert_eq!(world.ask("ended"), "Stopped");
        assert_eq!(world.keepers(), []);
    }
}

/// As on a machine that was suspended: nobody could end it in time, and then it is ended first of all.
#[test]
fn what_was_frozen_with_gate_and_keeper_ends_as_soon_as_any_of_them_runs() {
    for place in places() {
        let mut world = World::new(place, "trap '' TERM; sleep 1000; :");
        assert_eq!(world.ask("start 500 1000"), "running");
        assert_eq!(world.heard(), "up\n");
        world.freeze(true);
        assert!(!world.is_gone(Duration::from_millis(1500)), "it ended although nobody could act");
        world.freeze(false);
        let thawed = Instant::now();
        assert!(world.is_gone(SOON));
        println!("{place:?}: gone {:?} after it continued", thawed.elapsed());
        assert_eq!(world.ask("ended"), "Stopped");
        assert_eq!(world.keepers(), []);
    }
}

/// After a freeze the gate's loop may renew the session before gate and keeper have looked at the clock.
#[test]
fn an_extension_that_comes_after_the_time_is_over_lets_nothing_run_on() {
    for place in places() {
        let mut world = World::new(place, "exec sleep 1000");
        assert_eq!(world.ask("start 500 1000"), "running");
        assert_eq!(world.heard(), "up\n");
        world.freeze(true);
        world.say("extend 100000 200000");
        assert!(!world.is_gone(Duration::from_millis(1500)), "it ended although nobody could act");
        world.freeze(false);
        assert!(world.is_gone(SOON), "{place:?}");
        assert_eq!(world.reply(), "extended");
        assert_eq!(world.ask("ended"), "Stopped");
    }
}

/// The machine's own end of both at once. Nothing of ours is left to act, so what is left behind keeps the lock.
#[test]
fn what_outlives_gate_and_keeper_keeps_the_state_folder() {
    if !is_there(Place::Cgroup) {
        return;
    }
    let daemon = "(setsid sh -c 'echo daemon >&9; exec sleep 1000' &) ; exec sleep 1000";
    let mut world = World::new(Place::Cgroup, daemon);
    assert_eq!(world.ask("start 100000 200000"), "running");
    while !world.heard().contains("daemon") {}
    let state = world.folder.path().join("state");
    world.kill_gate_and_keeper();
    until("both are gone", || world.keepers().is_empty());
    assert!(!world.is_gone(Duration::ZERO), "the daemon is left");
    let error = StateFolder::open(&state).unwrap_err();
    assert!(matches!(error, FolderError::InUse(_)), "{error}");
    world.kill_orphans();
    assert!(world.is_gone(PATIENCE));
    until("it can be had", || StateFolder::open(&state).is_ok());
}

#[test]
fn a_container_ends_with_gate_and_keeper_at_once() {
    if !is_there(Place::Container) {
        return;
    }
    let mut world = World::new(Place::Container, "(setsid sleep 1000 &) ; exec sleep 1000");
    world.start();
    world.kill_gate_and_keeper();
    assert!(world.is_gone(SOON));
}

#[test]
fn what_a_command_leaves_behind_ends_with_it_and_its_code_is_kept() {
    for place in places() {
        let mut world = World::new(place, "(setsid sleep 1000 &) ; exit 4");
        world.start();
        assert_eq!(world.ask("ended"), "Exited(4)");
        assert!(world.is_gone(Duration::ZERO));
    }
}

#[test]
fn the_end_of_the_command_is_known_while_what_it_left_behind_is_ended() {
    for place in places() {
        let mut world = World::new(place, "(trap '' TERM; setsid sh -c 'sleep 1000; :' &) ; exit 4");
        world.start();
        assert_eq!(world.ask("over"), "Exited(4)");
        assert!(!world.is_gone(Duration::ZERO), "{place:?}: the rest has a second");
        assert_eq!(world.ask("ended"), "Exited(4)");
        assert!(world.is_gone(Duration::ZERO));
        assert_eq!(world.ask("over"), "Exited(4)");
    }
}

#[test]
fn a_log_that_nobody_reads_keeps_nobody_from_ending_the_command() {
    for place in places() {
        for hangs in [Placed::gate, Placed::keeper] {
            let mut world = World::new(place, "exec yes");
            assert_eq!(world.ask("start 700 1000"), "running");
            send(hangs(&world), Signal::STOP);
            assert!(world.is_gone_after_up(), "{place:?}");
        }
    }
}

impl World {
    fn is_gone_after_up(&mut self) -> bool {
        self.heard() == "up\n" && self.is_gone(Duration::from_secs(3))
    }
}
