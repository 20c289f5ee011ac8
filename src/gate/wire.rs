//! What gate, keeper and stub say to each other, and what keeper and stub are started with.

use std::{
    ffi::OsString,
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, epoll, poll},
    net::{
        AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
        SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
    },
    process::{Pid, Signal, WaitOptions, WaitStatus, kill_process, wait},
    time::Timespec,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{child::ChildEnd, containment::Group};

/// How often gate and keeper look at the clock and at what has ended, whatever happens: a machine that was suspended
/// wakes no timer of theirs.
pub(super) const LOOK: Duration = Duration::from_secs(1);
/// The same while something is being ended.
pub(super) const LOOK_CLOSELY: Duration = Duration::from_millis(10);

/// One argument of keeper and stub; the command follows.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) group: Group,
    /// The command and what it starts gets no right by a file's owner or capabilities: nobody could end it then.
    pub(super) no_new_privs: bool,
    pub(super) ask: Duration,
    pub(super) kill: Duration,
    /// For what the command leaves behind when it ends by itself.
    pub(super) grace: Duration,
}

impl Order {
    pub(super) fn written(&self) -> String {
        serde_json::to_string(self).expect("numbers and a path that came as text")
    }

    /// The order and the command that follows it.
    pub(super) fn read(mut arguments: impl Iterator<Item = OsString>) -> Option<(Self, Vec<OsString>)> {
        let order = serde_json::from_str(arguments.next()?.to_str()?).ok()?;
        let command: Vec<_> = arguments.collect();
        (!command.is_empty()).then_some((order, command))
    }
}

/// To keeper and stub.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) enum ToKeeper {
    /// The command's process is held by both.
    Go,
    Until {
        ask: Duration,
        kill: Duration,
    },
    /// Ask it to end now.
    Stop {
        kill: Duration,
    },
}

/// From the keeper; the first two also from the stub.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum ToGate {
    Late,
    Refused(String),
    /// With its pidfd.
    Forked,
    Running,
    /// The group has had its SIGTERM.
    Asked,
    /// The command itself has ended, and something that it started is left.
    Over(ChildEnd),
    /// Nothing is left.
    Ended(ChildEnd),
}

/// One end of a pair of sockets. A message arrives whole or not at all, and sending never waits.
pub(super) struct Line(OwnedFd);

impl Line {
    const LONGEST: usize = 4096;

    pub(super) fn pair() -> io::Result<(Self, OwnedFd)> {
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        Ok((Self(ours), theirs))
    }

    /// The one that this process was started with. What it starts does not inherit it.
    pub(super) fn inherited() -> io::Result<Self> {
        Ok(Self(io::stdin().as_fd().try_clone_to_owned()?))
    }

    pub(super) fn send(&self, message: &impl Serialize, handle: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let bytes = serde_json::to_vec(message)?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let handles: Vec<_> = handle.into_iter().collect();
        if !handles.is_empty() {
            ancillary.push(SendAncillaryMessage::ScmRights(&handles));
        }
        sendmsg(&self.0, &[IoSlice::new(&bytes)], &mut ancillary, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// `None` when nothing is there yet.
    ///
    /// # Errors
    /// When the other end is gone, or says what nobody understands.
    pub(super) fn receive<T: DeserializeOwned>(&self) -> io::Result<Option<(T, Option<OwnedFd>)>> {
        self.read(RecvFlags::DONTWAIT)
    }

    /// The same, and waits for it.
    pub(super) fn wait<T: DeserializeOwned>(&self) -> io::Result<T> {
        loop {
            if let Some((message, _)) = self.read(RecvFlags::empty())? {
                return Ok(message);
            }
        }
    }

    fn read<T: DeserializeOwned>(&self, flags: RecvFlags) -> io::Result<Option<(T, Option<OwnedFd>)>> {
        let mut bytes = [0; Self::LONGEST];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let read =
            recvmsg(&self.0, &mut [IoSliceMut::new(&mut bytes)], &mut ancillary, flags | RecvFlags::CMSG_CLOEXEC);
        let length = match read {
            Ok(read) if read.bytes == 0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => read.bytes,
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let handle = ancillary.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut handles) => handles.next(),
            _ => None,
        });
        Ok(Some((serde_json::from_slice(&bytes[..length])?, handle)))
    }
}

impl AsFd for Line {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Waits until one of them has something to read, or has ended, and at most this long. It ends at once when this process
/// was frozen, stopped or suspended meanwhile: `poll` the kernel takes up again then, with the rest of its time, and `epoll`
/// it interrupts (signal(7)).
pub(super) fn wait_for(handles: &[BorrowedFd<'_>], most: Duration) {
    let most = Timespec::try_from(most).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 });
    let waited = epoll::create(epoll::CreateFlags::CLOEXEC).and_then(|set| {
        for handle in handles {
            epoll::add(&set, handle, epoll::EventData::new_u64(0), epoll::EventFlags::IN)?;
        }
        epoll::wait(&set, &mut [MaybeUninit::uninit()], Some(&most)).map(|_| ())
    });
    if waited.is_err_and(|error| error != rustix::io::Errno::INTR) {
        let mut handles: Vec<_> = handles.iter().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
        let _ = poll(&mut handles, Some(&most));
    }
}

/// Whether the process is over, all of its threads included.
pub(super) fn is_over(process: &OwnedFd) -> bool {
    let mut handles = [PollFd::new(process, PollFlags::IN)];
    matches!(poll(&mut handles, Some(&Timespec::default())), Ok(1..))
}

/// Collects this process's children that have ended. Whether any is left.
pub(super) fn reap(mut each: impl FnMut(Pid, WaitStatus)) -> bool {
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) => each(pid, status),
            Ok(None) => return true,
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return false,
        }
    }
}

/// Ends this process's children, also those that became so because their own parents ended. Called by whom collects
/// them, so that none of these numbers is another process's by now.
pub(super) fn kill_children() {
    let Ok(threads) = std::fs::read_dir("/proc/self/task") else { return };
    for thread in threads.flatten() {
        let children = crate::files::read_text(&thread.path().join("children"), crate::files::MOST).unwrap_or_default();
        for pid in children.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}
