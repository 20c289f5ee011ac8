//! What starts, for how long, and what does not.

use std::time::{Duration, Instant};

use crate::{
    placed::{Place, is_there, places},
    world::World,
};

#[test]
fn one_command_runs_at_a_time_and_another_after_it() {
    for place in places() {
        let mut world = World::new(place, "exec sleep 1000");
        world.start();
        assert!(world.ask("start 100000 200000").contains("runs already"));
        assert!(world.has_said_nothing());
        assert_eq!(world.keepers().len(), 1);
        assert_eq!(world.ask("stop"), "Stopped");
        world.start();
        assert_eq!(world.ask("stop"), "Stopped");
        assert_eq!(world.ask("stop"), "Stopped");
    }
}

#[test]
fn a_stop_after_a_start_that_was_given_up_waits_until_nothing_of_it_is_left() {
    for place in places() {
        for _ in 0..5 {
            let mut world = World::new(place, "exec sleep 1000");
            assert_eq!(world.ask("give-up 100000 200000"), "given up");
            assert_eq!(world.ask("stop"), "Stopped");
            assert_eq!(world.keepers(), []);
            // It may have got as far as that before it was given up.
            if !world.has_said_nothing() {
                assert_eq!(world.heard(), "up\n");
            }
            world.start();
            assert_eq!(world.ask("stop"), "Stopped");
        }
    }
}

#[test]
fn a_start_whose_time_is_over_starts_nothing() {
    for place in places() {
        let mut world = World::new(place, "exec sleep 1000");
        assert_eq!(world.ask("start 0 1000"), "late");
        assert!(world.has_said_nothing());
        assert_eq!(world.keepers(), []);
    }
}

#[test]
fn a_command_that_is_not_there_is_named_and_leaves_nothing() {
    for place in places() {
        let (mut world, _) = World::begin(place, None);
        for _ in 0..2 {
            let error = world.ask("start 10000 20000");
            assert!(error.contains("/no/such/command cannot be started: No such file"), "{error}");
            assert_eq!(world.keepers(), []);
        }
    }
}

#[test]
fn codes_and_signals_are_the_commands_own() {
    for place in places() {
        let cases = [("exit 0", "Exited(0)"), ("exit 137", "Exited(137)"), ("kill -KILL $$", "Signalled(9)")];
        for (script, end) in cases {
            let mut world = World::new(place, script);
            world.start();
            assert_eq!(world.ask("ended"), end, "{place:?} {script}");
            assert_eq!(world.ask("ended"), end);
        }
    }
}

#[test]
fn a_command_is_asked_once_and_may_end_in_its_own_time() {
    for place in places() {
        let script = "trap 'echo asked >&9' TERM; while :; do sleep 0.05 9>&-; done";
        let mut world = World::new(place, script);
        assert_eq!(world.ask("start 300 2500"), "running");
        assert_eq!(world.heard(), "up\n");
        assert_eq!(world.heard(), "asked\n");
        assert_eq!(world.ask("ended"), "Stopped");
        assert!(world.has_said_nothing(), "it was asked again");
    }
}

#[test]
fn an_extension_lets_it_run_longer_and_no_shorter() {
    for place in places() {
        let mut world = World::new(place, "exec sleep 1000");
        let began = Instant::now();
        assert_eq!(world.ask("start 700 1000"), "running");
        assert_eq!(world.heard(), "up\n");
        assert_eq!(world.ask("extend 2000 2300"), "extended");
        assert_eq!(world.ask("extend 100 200"), "extended");
        assert!(!world.is_gone(Duration::from_millis(1500)));
        assert_eq!(world.ask("ended"), "Stopped");
        assert!(began.elapsed() >= Duration::from_secs(2), "{:?}", began.elapsed());
    }
}

#[test]
fn without_a_container_or_a_cgroup_nothing_starts_and_it_says_what_to_do() {
    if !is_there(Place::Nowhere) {
        return;
    }
    let (_world, said) = World::begin(Place::Nowhere, Some("exec sleep 1000"));
    assert!(said.contains("Delegate=yes") && said.contains("entrypoint"), "{said}");
}

/// Nobody could end a command that got another user's rights by a file's owner.
#[test]
fn a_gate_that_cannot_end_every_users_processes_lets_none_get_more_rights() {
    if !is_there(Place::ContainerOfNobody) {
        return;
    }
    let mut world = World::new(Place::ContainerOfNobody, "grep NoNewPrivs /proc/self/status >&9; sleep 1000; :");
    assert_eq!(world.ask("start 100000 200000"), "running");
    let mut heard = world.heard();
    while !heard.contains("NoNewPrivs") {
        heard += &world.heard();
    }
    assert_eq!(heard.split_whitespace().collect::<Vec<_>>(), ["up", "NoNewPrivs:", "1"]);
    assert_eq!(world.ask("stop"), "Stopped");
    assert!(world.is_gone(Duration::ZERO));
}
