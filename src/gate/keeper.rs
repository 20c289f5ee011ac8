//! The second process of the gate: the command's parent. It ends the command at its deadline, and when the gate is
//! gone.
//!
//! One thread, and it writes nothing: a process whose log pipe nobody reads sleeps, and a thread that ends takes with
//! it what is bound to it. It starts one command and ends with it.

use std::{
    ffi::OsString,
    io,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::process::ExitStatusExt as _,
    },
    panic,
    process::{Command, ExitCode, ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, PidfdFlags, Signal, getpid, pidfd_open, pidfd_send_signal, set_child_subreaper};

use super::{
    child::ChildEnd,
    wire::{LOOK, LOOK_CLOSELY, Line, Order, ToGate, ToKeeper, is_over, kill_children, reap, wait_for},
};
use crate::raw_clock;

/// Returns when neither the command nor anything that it started is left.
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    panic::set_hook(Box::new(|_| {}));
    let (Some((order, command)), Ok(gate)) = (Order::read(arguments), Line::inherited()) else {
        return ExitCode::FAILURE;
    };
    let started = if raw_clock::now() >= order.ask { Err(ToGate::Late) } else { fork(&order, &command) };
    match started {
        Ok((process, stub)) => Keeper::new(order, gate, process, stub).run(),
        Err(why) => {
            let _ = gate.send(&why, None);
        }
    }
    ExitCode::SUCCESS
}

/// The command's process.
struct Process {
    pid: Pid,
    handle: OwnedFd,
    ended: Option<ExitStatus>,
}

fn fork(order: &Order, command: &[OsString]) -> Result<(Process, Line), ToGate> {
    let failed = |error: io::Error| ToGate::Refused(format!("its process cannot be made: {error}"));
    // What the command leaves behind becomes the keeper's child.
    set_child_subreaper(Some(getpid())).map_err(|error| failed(error.into()))?;
    let (stub, theirs) = Line::pair().map_err(failed)?;
    let mut start = Command::new("/proc/self/exe");
    start.args(["stub", &order.written()]).args(command).stdin(Stdio::from(theirs));
    // systemd waits for the gate's word, not the command's.
    for name in ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"] {
        start.env_remove(name);
    }
    let child = start.spawn().map_err(failed)?;
    let pid = Pid::from_child(&child);
    // Not yet collected, so the number is still its own.
    let handle = pidfd_open(pid, PidfdFlags::empty()).map_err(|error| failed(error.into()))?;
    Ok((Process { pid, handle, ended: None }, stub))
}

struct Keeper {
    order: Order,
    gate: Line,
    process: Process,
    /// Until it has become the command.
    stub: Option<Line>,
    /// The group has had its SIGTERM.
    asked: bool,
    /// Nothing may run any more.
    killing: bool,
    /// Whether the command ended by us.
    by_us: bool,
    /// The gate knows that the command itself has ended.
    reported: bool,
}

impl Keeper {
    fn new(order: Order, gate: Line, process: Process, stub: Line) -> Self {
        Self { order, gate, process, stub: Some(stub), asked: false, killing: false, by_us: false, reported: false }
    }

    fn run(mut self) {
        let forked = self.gate.send(&ToGate::Forked, Some(self.process.handle.as_fd()));
        self.killing = forked.is_err();
        while !self.is_finished() {
            self.report();
            self.judge();
            self.pause();
            self.hear_gate();
            self.hear_stub();
        }
        self.order.group.remove();
        let _ = self.gate.send(&ToGate::Ended(self.end()), None);
    }

    /// At once, so that the gate has noted it whatever happens to both while what is left is ended.
    fn report(&mut self) {
        if self.process.ended.is_some() && self.stub.is_none() && !self.reported {
            self.reported = true;
            self.say(&ToGate::Over(self.end()));
        }
    }

    fn pause(&self) {
        if self.killing || self.process.ended.is_some() {
            return wait_for(&[], LOOK_CLOSELY);
        }
        let next = if self.asked { self.order.kill } else { self.order.ask };
        let most = next.saturating_sub(raw_clock::now()).min(LOOK);
        let handles =
            [Some(self.gate.as_fd()), Some(self.process.handle.as_fd()), self.stub.as_ref().map(|s| s.as_fd())];
        wait_for(&handles.into_iter().flatten().collect::<Vec<_>>(), most);
    }

    /// By a reading of the clock of its own.
    fn judge(&mut self) {
        let now = raw_clock::now();
        if now >= self.order.kill {
            self.by_us |= self.process.ended.is_none();
            self.killing = true;
        }
        if self.killing {
            let _ = pidfd_send_signal(&self.process.handle, Signal::KILL);
            self.order.group.kill(&[]);
            kill_children();
        } else if !self.asked && now >= self.order.ask {
            self.by_us |= self.process.ended.is_none();
            self.ask();
        } else if !self.asked && self.process.ended.is_some() {
            // What it leaves behind could sign, and nobody would know its exit code.
            self.order.kill = self.order.kill.min(now.saturating_add(self.order.grace));
            self.ask();
        }
    }

    fn ask(&mut self) {
        self.asked = true;
        self.order.group.signal(Signal::TERM, &[]);
        // It enters the group by itself; until then it is asked by itself, and never twice: many programs take a second
        // SIGTERM for impatience.
        if self.stub.is_some() {
            let _ = pidfd_send_signal(&self.process.handle, Signal::TERM);
        }
        self.say(&ToGate::Asked);
    }

    fn say(&mut self, what: &ToGate) {
        self.killing |= self.gate.send(what, None).is_err();
    }

    fn hear_gate(&mut self) {
        loop {
            match self.gate.receive() {
                Ok(None) => return,
                Ok(Some((message, _))) => self.obey(message),
                Err(_) => {
                    self.killing = true;
                    return;
                }
            }
        }
    }

    fn obey(&mut self, message: ToKeeper) {
        match message {
            ToKeeper::Go => {
                let sent = self.stub.as_ref().is_none_or(|stub| stub.send(&ToKeeper::Go, None).is_ok());
                // One that is gone already is collected below.
                self.killing |= !sent && !is_over(&self.process.handle);
            }
            // It has been asked to end, or is to be: more time would only let it end later.
            ToKeeper::Until { .. } if self.asked || raw_clock::now() >= self.order.ask => {}
            ToKeeper::Until { ask, kill } => {
                self.order.ask = self.order.ask.max(ask);
                self.order.kill = self.order.kill.max(kill);
            }
            ToKeeper::Stop { kill } => {
                self.order.ask = Duration::ZERO;
                self.order.kill = self.order.kill.min(kill);
            }
        }
    }

    fn hear_stub(&mut self) {
        let Some(stub) = &self.stub else { return };
        match stub.receive::<ToGate>() {
            Ok(None) => {}
            Ok(Some((answer, _))) => {
                self.stub = None;
                self.say(&answer);
            }
            Err(_) => {
                self.stub = None;
                self.say(&ToGate::Running);
            }
        }
    }

    fn is_finished(&mut self) -> bool {
        let process = &mut self.process;
        let left = reap(|pid, status| {
            if pid == process.pid {
                process.ended = Some(ExitStatus::from_raw(status.as_raw()));
            }
        });
        !left && self.process.ended.is_some() && self.order.group.is_empty(&[])
    }

    fn end(&self) -> ChildEnd {
        let status = self.process.ended.unwrap_or_default();
        match (self.by_us, status.signal(), status.code()) {
            (true, _, _) => ChildEnd::Stopped,
            (false, Some(signal), _) => ChildEnd::Signalled(signal),
            (false, None, code) => ChildEnd::Exited(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)),
        }
    }
}
