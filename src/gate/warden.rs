//! The thread of the gate that starts keepers, and ends the command by its own reading of the clock if they do not.
//!
//! Not a task: what blocks the gate's loop must not block this.

use std::{
    ffi::OsString,
    io,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::process::CommandExt as _,
    },
    path::PathBuf,
    process::{Command, Stdio},
    sync::{
        Arc,
        mpsc::{Receiver, TryRecvError},
    },
    time::Duration,
};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::sync::{oneshot, watch};
use tracing::warn;

use super::{
    child::{ChildEnd, StartError},
    containment::{Containment, Group},
    wire::{LOOK, LOOK_CLOSELY, Line, Order, ToGate, ToKeeper, is_over, kill_children, reap, wait_for},
};
use crate::{domain::gate::ChildDeadline, raw_clock};

type Reply = oneshot::Sender<Result<(), StartError>>;

pub(super) enum Request {
    Start { deadline: ChildDeadline, reply: Reply },
    Extend(ChildDeadline),
    Stop,
}

/// How long after it was due the gate itself sends the SIGTERM that the keeper has not reported.
const KEEPER_IS_LATE: Duration = Duration::from_secs(1);

pub(super) struct Warden {
    exe: PathBuf,
    containment: Containment,
    command: Vec<OsString>,
    grace: Duration,
    requests: Receiver<Request>,
    wake: Arc<OwnedFd>,
    state: watch::Sender<CommandState>,
    run: Option<Run>,
}

/// Of the last command, from before one is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CommandState {
    MayRun,
    /// Something that it started is left.
    Over(ChildEnd),
    Gone(ChildEnd),
}

impl Warden {
    pub(super) fn new(
        exe: PathBuf,
        containment: Containment,
        command: Vec<OsString>,
        grace: Duration,
        requests: Receiver<Request>,
        wake: Arc<OwnedFd>,
        state: watch::Sender<CommandState>,
    ) -> Self {
        Self { exe, containment, command, grace, requests, wake, state, run: None }
    }

    /// Until the supervisor is gone, and whatever ran with it.
    pub(super) fn run(mut self) {
        loop {
            let goes_on = self.take_requests();
            let left = reap(|_, _| {});
            if let Some(run) = &mut self.run {
                run.kills |= !goes_on;
                run.look();
                if run.is_over() && !left {
                    self.finish();
                }
            } else if !goes_on {
                return;
            }
            self.pause();
        }
    }

    fn pause(&self) {
        let mut handles = vec![self.wake.as_fd()];
        let mut most = LOOK;
        match &self.run {
            Some(run) if run.kills => most = LOOK_CLOSELY,
            Some(run) => {
                handles.push(run.keeper.line.as_fd());
                most = most.min(run.next());
            }
            None => {}
        }
        wait_for(&handles, most);
        let _ = rustix::io::read(&self.wake, &mut [0; 8]);
    }

    /// False when nobody can ask any more.
    fn take_requests(&mut self) -> bool {
        loop {
            match (self.requests.try_recv(), &mut self.run) {
                (Ok(Request::Start { reply, .. }), Some(_)) => {
                    let _ = reply.send(Err(StartError::Keeper("one runs already".into())));
                }
                (Ok(Request::Start { deadline, reply }), None) => self.start(deadline, reply),
                (Ok(Request::Extend(deadline)), Some(run)) => run.extend(deadline),
                (Ok(Request::Stop), Some(run)) => run.stop(self.grace),
                (Ok(Request::Extend(_) | Request::Stop), None) => {}
                (Err(TryRecvError::Empty), _) => return true,
                (Err(TryRecvError::Disconnected), _) => return false,
            }
        }
    }

    fn start(&mut self, deadline: ChildDeadline, reply: Reply) {
        if raw_clock::now() >= deadline.ask {
            return self.refuse(reply, StartError::Late);
        }
        match self.spawn(deadline) {
            Ok((keeper, group)) => {
                let command = self.command.first().map(|program| program.to_string_lossy().into_owned());
                self.run = Some(Run {
                    state: self.state.clone(),
                    keeper,
                    group,
                    command: command.unwrap_or_default(),
                    process: None,
                    deadline,
                    asked: false,
                    stopping: false,
                    kills: false,
                    end: None,
                    reply: Some(reply),
                    refused: None,
                });
            }
            Err(error) => self.refuse(reply, StartError::Keeper(error.to_string())),
        }
    }

    /// Nothing was started.
    fn refuse(&self, reply: Reply, error: StartError) {
        self.state.send_replace(CommandState::Gone(ChildEnd::Stopped));
        let _ = reply.send(Err(error));
    }

    fn spawn(&self, ChildDeadline { ask, kill }: ChildDeadline) -> io::Result<(Keeper, Group)> {
        let (line, theirs) = Line::pair()?;
        let group = self.containment.group()?;
        let no_new_privs = self.containment.no_new_privs();
        let order = Order { group: group.clone(), no_new_privs, ask, kill, grace: self.grace };
        let mut start = Command::new(&self.exe);
        start.args(["keeper", &order.written()]).args(&self.command).stdin(Stdio::from(theirs));
        // What a terminal sends to all of its foreground is the gate's to pass on.
        let child = start.process_group(0).spawn().inspect_err(|_| group.remove())?;
        let pid = Pid::from_child(&child);
        // Only this thread collects, so the number is still its own. Without a handle no *go* is sent.
        match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(handle) => Ok((Keeper { pid, handle, line }, group)),
            Err(error) => {
                group.remove();
                Err(error.into())
            }
        }
    }

    /// Nothing is left.
    fn finish(&mut self) {
        let Some(run) = self.run.take() else { return };
        run.group.remove();
        let end = run.end.unwrap_or(ChildEnd::KeeperLost);
        self.state.send_replace(CommandState::Gone(end));
        let Some(reply) = run.reply else { return };
        let late = end == ChildEnd::Stopped && raw_clock::now() >= run.deadline.ask;
        let error = match run.refused {
            Some(error) => error,
            None if late => StartError::Late,
            None => StartError::Keeper("it ended before the command began".into()),
        };
        let _ = reply.send(Err(error));
    }
}

struct Keeper {
    pid: Pid,
    handle: OwnedFd,
    line: Line,
}

/// One start.
struct Run {
    state: watch::Sender<CommandState>,
    keeper: Keeper,
    group: Group,
    command: String,
    process: Option<OwnedFd>,
    deadline: ChildDeadline,
    /// The group has had its SIGTERM.
    asked: bool,
    /// No extension counts any more.
    stopping: bool,
    /// Nothing may run any more.
    kills: bool,
    end: Option<ChildEnd>,
    reply: Option<Reply>,
    refused: Option<StartError>,
}

impl Run {
    /// Changes nothing once the time is over: after a freeze the ledger may have said yes before anybody has looked.
    fn extend(&mut self, deadline: ChildDeadline) {
        if self.asked || self.stopping || raw_clock::now() >= self.deadline.ask {
            return;
        }
        let ChildDeadline { ask, kill } = self.deadline;
        self.deadline = ChildDeadline { ask: ask.max(deadline.ask), kill: kill.max(deadline.kill) };
        self.say(ToKeeper::Until { ask: self.deadline.ask, kill: self.deadline.kill });
    }

    fn stop(&mut self, grace: Duration) {
        if self.stopping {
            return;
        }
        self.stopping = true;
        let now = raw_clock::now();
        self.deadline = ChildDeadline { ask: now, kill: self.deadline.kill.min(now.saturating_add(grace)) };
        self.say(ToKeeper::Stop { kill: self.deadline.kill });
    }

    /// A keeper that takes no more messages, or is gone, is as good as lost.
    fn say(&mut self, what: ToKeeper) {
        if self.keeper.line.send(&what, None).is_err() {
            self.lose();
        }
    }

    fn lose(&mut self) {
        if self.end.is_none() {
            if self.refused.is_none() {
                warn!(command = self.command, "the keeper is gone: the command is ended");
            }
            self.end = Some(ChildEnd::KeeperLost);
        }
    }

    fn ask_at(&self) -> Duration {
        let late = KEEPER_IS_LATE.min(self.deadline.kill.saturating_sub(self.deadline.ask) / 2);
        self.deadline.ask.saturating_add(late)
    }

    /// How long nothing is due.
    fn next(&self) -> Duration {
        let next = if self.asked { self.deadline.kill } else { self.ask_at() };
        next.saturating_sub(raw_clock::now())
    }

    fn look(&mut self) {
        self.hear();
        // Its end of the line may be held by a process that has not become a stub yet.
        if is_over(&self.keeper.handle) {
            self.hear();
            self.lose();
        }
        let now = raw_clock::now();
        if now >= self.deadline.kill {
            self.end.get_or_insert(ChildEnd::Stopped);
        }
        if self.end.is_some() || self.kills {
            self.kills = true;
            self.end.get_or_insert(ChildEnd::Stopped);
            // The keeper first: it could start something.
            let _ = pidfd_send_signal(&self.keeper.handle, Signal::KILL);
            if let Some(process) = &self.process {
                let _ = pidfd_send_signal(process, Signal::KILL);
            }
            self.group.kill(&[]);
            kill_children();
        } else if !self.asked && now >= self.ask_at() {
            self.asked = true;
            self.group.signal(Signal::TERM, &[self.keeper.pid]);
        }
    }

    fn hear(&mut self) {
        while self.end.is_none() {
            match self.keeper.line.receive() {
                Ok(None) => return,
                Ok(Some((message, handle))) => self.take(message, handle),
                Err(_) => self.lose(),
            }
        }
    }

    fn take(&mut self, message: ToGate, handle: Option<OwnedFd>) {
        match message {
            ToGate::Forked if handle.is_some() => {
                self.process = handle;
                self.say(ToKeeper::Go);
            }
            ToGate::Forked => self.lose(),
            ToGate::Running => {
                if let Some(reply) = self.reply.take() {
                    let _ = reply.send(Ok(()));
                }
            }
            ToGate::Late => self.refused = Some(StartError::Late),
            ToGate::Refused(error) => {
                self.refused = Some(StartError::Command { command: self.command.clone(), error });
            }
            ToGate::Asked => self.asked = true,
            ToGate::Over(end) => {
                self.state.send_replace(CommandState::Over(end));
            }
            ToGate::Ended(end) => self.end = Some(end),
        }
    }

    /// Whether neither the keeper nor anything of the command is left.
    fn is_over(&self) -> bool {
        self.kills
            && is_over(&self.keeper.handle)
            && self.process.as_ref().is_none_or(is_over)
            && self.group.is_empty(&[])
    }
}
