//! A process in a place of its own, as a container or a unit is one, and what is left of all that it starts.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read as _, Write as _},
    os::unix::fs::{OpenOptionsExt as _, chown},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    process::{Pid, Signal, kill_process},
    time::Timespec,
};

/// Long enough for a busy machine; nothing waits for its end when all is well.
pub const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The gate is the first process of its PID namespace.
    Container,
    /// The same without root's rights.
    ContainerOfNobody,
    Cgroup,
    /// One that was handed to another user.
    CgroupOfNobody,
    /// Neither.
    Nowhere,
}

/// The places that this machine has. Says which are left out.
pub fn places() -> Vec<Place> {
    [Place::Container, Place::Cgroup].into_iter().filter(|place| is_there(*place)).collect()
}

pub fn is_there(place: Place) -> bool {
    let there = can_be_had(place);
    if !there {
        skipped(&format!("{place:?} cannot be had here: it needs root, or a cgroup of version 2 that may be written"));
    }
    there
}

fn can_be_had(place: Place) -> bool {
    match place {
        Place::Cgroup | Place::CgroupOfNobody => cgroups().is_some_and(|root| {
            let probe = root.join(format!("failover-test-probe-{}-{}", std::process::id(), next()));
            fs::create_dir(&probe).and_then(|()| fs::remove_dir(&probe)).is_ok()
        }),
        _ => Command::new("unshare")
            .args(["--pid", "--fork", "--mount-proc", "true"])
            .status()
            .is_ok_and(|s| s.success()),
    }
}

/// Past the test harness, which shows nothing of a test that passes.
pub fn skipped(why: &str) {
    std::io::stderr().write_all(format!("skipped: {why}\n").as_bytes()).unwrap();
}

fn next() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn cgroups() -> Option<PathBuf> {
    let mounts = failover::files::read_text(Path::new("/proc/self/mountinfo"), failover::files::MOST).ok()?;
    let line = mounts.lines().find(|line| line.contains(" - cgroup2 "))?;
    line.split(' ').nth(4).map(PathBuf::from)
}

/// A command in its place, made and not started.
pub struct Spot {
    pub command: Command,
    place: Place,
    cgroup: Option<PathBuf>,
}

pub struct Placed {
    process: Child,
    place: Place,
    cgroup: Option<PathBuf>,
}

impl Spot {
    pub fn new(place: Place) -> Self {
        // A container has one too where it can be had, so that it can be frozen at one moment.
        let cgroup = (place != Place::Nowhere && can_be_had(Place::Cgroup)).then(|| {
            let own = cgroups().unwrap().join(format!("failover-test-{}-{}", std::process::id(), next()));
            fs::create_dir(&own).unwrap();
            own
        });
        let mut command = Command::new("sh");
        command.args(["-c", "[ -z \"$0\" ] || echo $$ > \"$0/cgroup.procs\" && exec \"$@\""]);
        command.arg(cgroup.as_deref().unwrap_or(Path::new("")));
        if !matches!(place, Place::Cgroup | Place::CgroupOfNobody) {
            command.args(["unshare", "--pid", "--fork", "--mount-proc"]);
        }
        if place == Place::Nowhere {
            command.args(["sh", "-c", "\"$@\"; :", "-"]);
        }
        if !matches!(place, Place::Container | Place::Cgroup) {
            command.args(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]);
        }
        if let (Place::CgroupOfNobody, Some(own)) = (place, &cgroup) {
            for path in [own.clone(), own.join("cgroup.procs")] {
                chown(path, Some(65534), Some(65534)).unwrap();
            }
        }
        Self { command, place, cgroup }
    }

    pub fn spawn(mut self) -> Placed {
        Placed { process: self.command.spawn().unwrap(), place: self.place, cgroup: self.cgroup }
    }
}

impl Placed {
    fn is_container(&self) -> bool {
        !matches!(self.place, Place::Cgroup | Place::CgroupOfNobody)
    }

    /// As this namespace numbers it.
    pub fn gate(&self) -> Pid {
        let process = Pid::from_child(&self.process);
        if self.is_container() { children(process)[0] } else { process }
    }

    pub fn keeper(&self) -> Pid {
        self.keepers()[0]
    }

    pub fn keepers(&self) -> Vec<Pid> {
        let is_keeper = |pid: &Pid| {
            let line = failover::files::read_text(Path::new(&format!("/proc/{pid}/cmdline")), failover::files::MOST);
            line.is_ok_and(|line| line.split('\0').nth(1) == Some("keeper"))
        };
        children(self.gate()).into_iter().filter(is_keeper).collect()
    }

    /// Both before either could act. Not by stopping the keeper: when the gate ends then, the kernel sends SIGHUP to the
    /// keeper's process group, the command in it.
    pub fn kill_gate_and_keeper(&self) {
        let (gate, keeper) = (self.gate(), self.keeper());
        self.freeze(true);
        send(gate, Signal::KILL);
        send(keeper, Signal::KILL);
        self.freeze(false);
    }

    /// Stops everything in it as a suspended machine does, at one moment, or lets it continue. Without a cgroup its
    /// processes are stopped one after the other, the gate and its keeper first.
    pub fn freeze(&self, frozen: bool) {
        let Some(cgroup) = &self.cgroup else {
            let signal = if frozen { Signal::STOP } else { Signal::CONT };
            return tree(self.gate()).into_iter().for_each(|pid| send(pid, signal));
        };
        fs::write(cgroup.join("cgroup.freeze"), if frozen { "1" } else { "0" }).unwrap();
        until("it is frozen", || {
            let events = failover::files::read_text(&cgroup.join("cgroup.events"), failover::files::MOST).unwrap();
            // Where something has ended in it meanwhile, the kernel may leave the word there when it continues.
            !frozen || events.lines().any(|line| line == "frozen 1")
        });
    }

    pub fn kill_orphans(&self) {
        if let Some(cgroup) = &self.cgroup {
            fs::write(cgroup.join("cgroup.kill"), "1").unwrap();
        }
    }

    /// How it ended, in bounded time.
    pub fn ends(&mut self) -> ExitStatus {
        let mut ended = None;
        until("it ends", || {
            ended = self.process.try_wait().unwrap();
            ended.is_some()
        });
        ended.unwrap()
    }
}

impl Drop for Placed {
    fn drop(&mut self) {
        if self.process.try_wait().is_ok_and(|ended| ended.is_none()) {
            if self.is_container() {
                children(Pid::from_child(&self.process)).into_iter().for_each(|pid| send(pid, Signal::KILL));
            } else {
                let _ = self.process.kill();
            }
            let _ = self.process.wait();
        }
        let Some(cgroup) = &self.cgroup else { return };
        let _ = fs::write(cgroup.join("cgroup.kill"), "1");
        until("the cgroup is empty", || {
            for below in fs::read_dir(cgroup).into_iter().flatten().flatten() {
                let _ = fs::remove_dir(below.path());
            }
            fs::remove_dir(cgroup).is_ok()
        });
    }
}

/// A pipe that a command's processes hold open: it ends with the last of them.
pub struct Left(File);

impl Left {
    /// Makes the pipe, if it is not there.
    pub fn at(pipe: &Path) -> Self {
        if !pipe.exists() {
            assert!(Command::new("mkfifo").args(["-m", "666"]).arg(pipe).status().unwrap().success());
        }
        let nonblock = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap();
        Self(OpenOptions::new().read(true).custom_flags(nonblock).open(pipe).unwrap())
    }

    /// What the command has said in it, once it has said something.
    pub fn heard(&mut self) -> String {
        assert!(self.says_something(PATIENCE), "in vain: the command says something");
        let mut bytes = [0; 1000];
        let length = self.0.read(&mut bytes).unwrap();
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    }

    /// Whether nothing of the command is left, within this time.
    pub fn is_gone(&self, within: Duration) -> bool {
        self.wait(within).contains(PollFlags::HUP)
    }

    pub fn says_something(&self, within: Duration) -> bool {
        let end = Instant::now() + within;
        while !self.wait(end.saturating_duration_since(Instant::now())).contains(PollFlags::IN) {
            if Instant::now() >= end {
                return false;
            }
            // Between two commands nobody holds it, which ends a wait as well.
            std::thread::sleep(Duration::from_millis(5));
        }
        true
    }

    pub fn has_said_nothing(&self) -> bool {
        !self.wait(Duration::ZERO).contains(PollFlags::IN)
    }

    fn wait(&self, most: Duration) -> PollFlags {
        let mut handles = [PollFd::new(&self.0, PollFlags::IN)];
        poll(&mut handles, Some(&Timespec::try_from(most).unwrap())).unwrap();
        handles[0].revents()
    }
}

pub fn send(pid: Pid, signal: Signal) {
    let _ = kill_process(pid, signal);
}

pub fn children(pid: Pid) -> Vec<Pid> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = threads.map(|thread| {
        failover::files::read_text(&thread.path().join("children"), failover::files::MOST).unwrap_or_default()
    });
    lists
        .flat_map(|list| list.split_whitespace().filter_map(|n| Pid::from_raw(n.parse().ok()?)).collect::<Vec<_>>())
        .collect()
}

/// A process and all that it has started, itself first.
fn tree(pid: Pid) -> Vec<Pid> {
    let mut found = vec![pid];
    let mut next = 0;
    while let Some(pid) = found.get(next) {
        found.extend(children(*pid));
        next += 1;
    }
    found
}

pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
