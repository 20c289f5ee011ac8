//! Whole ways in a world of memory and paused time, with everything that may happen on them.

#![allow(clippy::print_stdout, reason = "how many points there were")]

mod crash;
mod evidence;
mod hand;
mod network;
mod people;
mod signatory;
mod whole;
mod world;

use std::{sync::Arc, time::Duration};

use hand::Hand;
use world::TestWorld;

use super::{PromotionError, PromotionOutcome, PromotionWay};

/// Beside what an operator does, home's gate looks every few seconds.
async fn with_home<T>(world: &Arc<TestWorld>, work: impl Future<Output = T>) -> T {
    let gate = async {
        loop {
            tokio::time::sleep(Duration::from_secs(5)).await;
            world.gate_looks();
        }
    };
    let ended = tokio::time::timeout(Duration::from_hours(24 * 60), work);
    tokio::select! {
        ended = ended => ended.expect("every wait ends"),
        () = gate => unreachable!("it looks on"),
    }
}

/// A way that nothing interrupts.
async fn walk(world: &Arc<TestWorld>, way: PromotionWay) -> Result<PromotionOutcome, PromotionError> {
    let hand = Hand::new(world);
    let ended = with_home(world, hand.walk(way, |_| ())).await.expect("nobody kills it");
    assert_eq!(world.state().broken, [""; 0], "{:#?}", hand.said());
    ended
}

/// Home's gate gets the time to do what it may.
async fn settle(world: &Arc<TestWorld>) {
    with_home(world, tokio::time::sleep(Duration::from_mins(15))).await;
    assert_eq!(world.state().broken, [""; 0]);
}
