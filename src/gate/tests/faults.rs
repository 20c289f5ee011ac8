//! Two gates of one home through random faults: never two children at once, and one of them when the faults are over.

use std::time::Duration;

use fastrand::Rng;
use tokio::time::{Instant, sleep};

use super::{House, MINUTE, Running, SECOND, World, at_home, fakes::Clocks, fakes::Net};
use crate::gate::child::ChildEnd;

const SEEDS: u64 = 200;
const SHORT: Duration = Duration::from_secs(240);

/// Clocks that are up to two percent apart in all.
fn houses(world: &World, rng: &mut Rng) -> [House; 2] {
    [1, 2].map(|holder| House {
        ttl: SHORT,
        clocks: Clocks::new(world.base, rng.u32(990_000..=1_010_000)),
        resumes: rng.u8(..4) > 0,
        ..world.home(holder)
    })
}

fn some_net(rng: &mut Rng, house: &House) {
    match rng.u8(..10) {
        0..=3 => house.link.set(Net::Fine),
        4 => house.link.set(Net::Refuse),
        5 => house.link.set(Net::Hang),
        6 => house.link.set(Net::Late(SECOND * rng.u32(1..600))),
        7 => house.link.set(Net::LostReply),
        8 => house.link.old(),
        _ => house.link.set(Net::Slow(SECOND * rng.u32(1..18))),
    }
}

async fn play(seed: u64) -> (usize, usize) {
    let mut rng = Rng::with_seed(seed);
    let world = World::new();
    let houses = houses(&world, &mut rng);
    let mut gates: [Option<Running>; 2] = [const { None }; 2];
    let mut number = 8;
    let end = Instant::now() + SECOND * rng.u32(1800..5400);
    let mut starts = 0;
    while Instant::now() < end {
        let which = rng.usize(..2);
        match (gates[which].take(), rng.u8(..10)) {
            (None, _) => gates[which] = Some(houses[which].start(&world)),
            (Some(gate), 0) => {
                starts += gate.starts();
                gate.kill();
            }
            (Some(gate), 1) => {
                starts += gate.starts();
                assert_eq!(gate.terminate().await, 0, "seed {seed}");
            }
            (Some(gate), 2) if gate.runs() => {
                starts += gate.starts();
                gate.child.end(ChildEnd::Exited(3));
                assert_eq!(gate.task.await.unwrap(), 3, "seed {seed}");
            }
            (gate, 3) => {
                gates[which] = gate;
                // A promotion that is given up.
                number += 1;
                world.raise(number);
                if rng.bool() {
                    sleep(SECOND * rng.u32(..300)).await;
                }
                world.grant(number, at_home());
            }
            (gate, _) => {
                gates[which] = gate;
                some_net(&mut rng, &houses[which]);
            }
        }
        sleep(SECOND * rng.u32(..150) + Duration::from_millis(rng.u64(..1000))).await;
    }
    for (house, gate) in houses.iter().zip(&mut gates) {
        house.link.set(Net::Fine);
        if gate.is_none() {
            *gate = Some(house.start(&world));
        }
    }
    // What was written late may still come, then the longest wait.
    sleep(25 * MINUTE).await;
    let gates = gates.map(Option::unwrap);
    let running = gates.iter().filter(|gate| gate.runs()).count();
    for gate in gates {
        starts += gate.starts();
        assert_eq!(gate.terminate().await, 0, "seed {seed}");
    }
    assert_eq!(*world.twice.lock().unwrap(), Vec::<String>::new(), "seed {seed}");
    (running, starts)
}

#[test]
fn two_gates_of_one_home_never_have_two_children_whatever_the_ledger_does() {
    let mut starts = 0;
    for seed in 0..SEEDS {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let (running, started) = runtime.block_on(play(seed));
        assert_eq!(running, 1, "seed {seed}: home is healthy and has to sign");
        starts += started;
    }
    assert!(starts > 4 * usize::try_from(SEEDS).unwrap(), "{starts} starts: the schedules are too tame");
}
