//! The command as the gate's loop holds it: a keeper for each start, and a thread of its own that does what the keeper
//! does.

use std::{
    ffi::OsString,
    io,
    os::fd::OwnedFd,
    path::PathBuf,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use async_trait::async_trait;
use rustix::event::{EventfdFlags, eventfd};
use tokio::sync::{oneshot, watch};

use super::{
    child::{Child, ChildEnd, StartError},
    containment::Containment,
    warden::{CommandState, Request, Warden},
};
use crate::domain::gate::ChildDeadline;

/// Collects every child of this process that ends: there is one in a process, and nothing else there starts any.
pub struct Supervisor {
    requests: Option<mpsc::Sender<Request>>,
    wake: Arc<OwnedFd>,
    state: watch::Sender<CommandState>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Supervisor {
    /// `exe`: this program, `/proc/self/exe`. `grace`: how long after SIGTERM a stop that is asked for sends SIGKILL.
    ///
    /// # Errors
    /// When there is no thread or handle for it.
    pub fn new(exe: PathBuf, containment: Containment, command: Vec<OsString>, grace: Duration) -> io::Result<Self> {
        let wake = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let (requests, queue) = mpsc::channel();
        let state = watch::Sender::new(CommandState::Gone(ChildEnd::Stopped));
        let warden = Warden::new(exe, containment, command, grace, queue, Arc::clone(&wake), state.clone());
        let thread = thread::Builder::new().name("warden".into()).spawn(move || warden.run())?;
        Ok(Self { requests: Some(requests), wake, state, thread: Some(thread) })
    }

    async fn wait(&self, end: impl Fn(CommandState) -> Option<ChildEnd>) -> ChildEnd {
        let mut state = self.state.subscribe();
        let state = state.wait_for(|state| end(*state).is_some()).await.map(|state| *state);
        match state.ok().and_then(&end) {
            Some(end) => end,
            // Without its thread nobody knows whether anything is left.
            None => std::future::pending().await,
        }
    }

    fn ask(&self, request: Request) {
        if let Some(requests) = &self.requests {
            let _ = requests.send(request);
        }
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }
}

#[async_trait]
impl Child for Supervisor {
    async fn start(&mut self, deadline: ChildDeadline) -> Result<(), StartError> {
        let (reply, answer) = oneshot::channel();
        // Before the request, so that a stop after a start that was given up waits for whatever came of it.
        self.state.send_replace(CommandState::MayRun);
        self.ask(Request::Start { deadline, reply });
        answer.await.unwrap_or_else(|_| Err(StartError::Keeper("the gate's thread for it has ended".into())))
    }

    async fn extend(&mut self, deadline: ChildDeadline) {
        self.ask(Request::Extend(deadline));
    }

    async fn stop(&mut self) -> ChildEnd {
        self.ask(Request::Stop);
        self.ended().await
    }

    async fn ended(&self) -> ChildEnd {
        self.wait(|state| match state {
            CommandState::Gone(end) => Some(end),
            CommandState::Over(_) | CommandState::MayRun => None,
        })
        .await
    }

    async fn command_ended(&self) -> ChildEnd {
        self.wait(|state| match state {
            CommandState::Gone(end) | CommandState::Over(end) => Some(end),
            CommandState::MayRun => None,
        })
        .await
    }
}

/// Ends what runs, at once, and waits for it.
impl Drop for Supervisor {
    fn drop(&mut self) {
        self.requests = None;
        self.ask(Request::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
