//! The real program with a ledger, grants and nodes that misbehave. Every case has a home of its own, and they run side by
//! side, because they wait and compute nothing.

use crate::{
    damage,
    house::{can_run, together},
    inputs, losses, nodes, requests,
};

#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_ledger_does_one_command_runs_at_most_and_ends_exactly_at_its_time() {
    if can_run() {
        together([losses::cases(), damage::cases(), requests::cases()].into_iter().flatten()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_or_verified_starts_nothing_and_stops_nothing() {
    if can_run() {
        together(inputs::cases().into_iter().chain(nodes::cases())).await;
    }
}
