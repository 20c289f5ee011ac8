//! What the real program costs. `GATE_TEST_EXE=PROGRAM` measures another one than that of this build, the image's say, and
//! holds it to its limits.

use std::{
    env, fs,
    path::Path,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal};

use crate::{
    driver::EXE,
    far::FarEnd,
    local_house::{CLIENT, Gate, House},
    placed::{Place, places, send},
};

/// From the gate's start to its command, on a quick restart.
const START: Duration = Duration::from_secs(2);
/// Gate and keeper together, in KiB.
const MEMORY: u64 = 12 << 10;

/// A build that is not optimised is held to nothing.
fn is_held() -> bool {
    env::var_os(EXE).is_some()
}

fn started(house: &House, place: Place, more: &[&str]) -> (Gate, Duration) {
    let start = house.gate(place, "one", CLIENT).with(more);
    let began = Instant::now();
    let mut gate = start.start();
    gate.hears_up();
    (gate, began.elapsed())
}

fn resident(pid: Pid) -> u64 {
    let status = failover::files::read_text(Path::new(&format!("/proc/{pid}/status")), failover::files::MOST).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn a_quick_restart_takes_two_seconds_at_most_and_gate_and_keeper_have_their_memory() {
    for place in places() {
        let Some(house) = House::granted() else { return };
        let beacon = FarEnd::beacon();
        let (node, keys) = (format!("http://{}", beacon.address), house.path("keys"));
        fs::write(&keys, format!("0x{:096x}\n", 7)).unwrap();
        let asks = ["--duty-check", "on", "--beacon-node", &node, "--public-keys-file", keys.to_str().unwrap()];
        let (mut gate, first) = started(&house, place, &[]);
        for (name, more) in [("without the duty check", &[][..]), ("with it", &asks[..])] {
            let mut longest = Duration::ZERO;
            for _ in 0..5 {
                send(gate.gate(), Signal::KILL);
                gate.ends();
                let took;
                (gate, took) = started(&house, place, more);
                longest = longest.max(took);
            }
            println!("{place:?}: the first start {first:?}; five quick restarts {name}: {longest:?} at most");
            assert!(!is_held() || longest <= START, "{longest:?}");
        }
        (0..50).for_each(|_| gate.runs());
        let [own, keeper] = [gate.gate(), gate.keeper()].map(resident);
        println!("{place:?}: resident: {own} KiB the gate, {keeper} KiB its keeper, {} KiB together", own + keeper);
        assert!(!is_held() || own + keeper <= MEMORY, "more than {MEMORY} KiB");
        house.never_two();
    }
}
