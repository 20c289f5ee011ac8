//! The command before it is the command: it waits until gate and keeper both hold it, judges the deadline, and becomes
//! it.
//!
//! There is no other place for this: what has to happen between fork and exec would be `unsafe`.

use std::{
    ffi::OsString,
    os::unix::process::CommandExt as _,
    panic,
    process::{Command, ExitCode, Stdio},
};

use rustix::{
    process::{Signal, set_parent_process_death_signal},
    thread::set_no_new_privs,
};

use super::wire::{Line, Order, ToGate, ToKeeper};
use crate::raw_clock;

/// Returns only when it does not become the command.
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    // What the command's log pipe does not take would keep us from ending.
    panic::set_hook(Box::new(|_| {}));
    let (Some((order, command)), Ok(keeper)) = (Order::read(arguments), Line::inherited()) else {
        return ExitCode::FAILURE;
    };
    let answer = become_it(&order, &command, &keeper);
    let _ = keeper.send(&answer, None);
    ExitCode::FAILURE
}

fn become_it(order: &Order, command: &[OsString], keeper: &Line) -> ToGate {
    let refused = |what: &str, error: &dyn std::fmt::Display| ToGate::Refused(format!("{what}: {error}"));
    // A belt: the kernel clears it when the command changes its user, and it does not reach what the command starts.
    // Before the wait, so that a keeper that ends earlier is noticed by the wait.
    if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
        return refused("it cannot be bound to the keeper", &error);
    }
    if let Err(error) = order.group.enter() {
        return refused("its process cannot be put into a cgroup of its own", &error);
    }
    if order.no_new_privs
        && let Err(error) = set_no_new_privs(true)
    {
        return refused("it cannot be kept from getting more rights", &error);
    }
    match keeper.wait() {
        Ok(ToKeeper::Go) => {}
        Ok(other) => return ToGate::Refused(format!("the keeper sent {other:?}")),
        Err(error) => return refused("the keeper is gone", &error),
    }
    if raw_clock::now() >= order.ask {
        return ToGate::Late;
    }
    let [program, arguments @ ..] = command else { return ToGate::Refused("it is empty".into()) };
    ToGate::Refused(Command::new(program).args(arguments).stdin(Stdio::null()).exec().to_string())
}
