//! What a command and everything that it starts cannot leave: the container whose first process the gate is, or a
//! cgroup.
//!
//! A process group or a session would not do: what daemonises leaves it.

use std::{
    fs, io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process,
};

use rustix::{
    fs::{Access, access},
    process::{Pid, PidfdFlags, Signal, getpid, pidfd_open, pidfd_send_signal, set_child_subreaper},
    thread::{CapabilitySet, capabilities},
};
use serde::{Deserialize, Serialize};

use super::wire::is_over;
use crate::files;

/// How a gate holds its command.
#[derive(Clone, Debug)]
pub struct Containment {
    kind: Kind,
    no_new_privs: bool,
}

#[derive(Clone, Debug)]
enum Kind {
    Container,
    /// The gate's own cgroup. Each command gets one below it.
    Below(PathBuf),
}

/// Why a gate starts nothing here.
#[derive(Debug, thiserror::Error)]
pub enum NoContainment {
    #[error(
        "nothing here holds what a command starts: this gate is process {pid}, not the first of its container{hint}, \
         and has no cgroup of its own: {cgroup}. In a container make it the entrypoint; in a systemd unit set \
         Delegate=yes"
    )]
    Nowhere { pid: u32, hint: &'static str, cgroup: String },
    #[error(
        "the command could change its user, and this gate could not end it then: give the container the capability \
         KILL, or take SETUID away from it"
    )]
    MayChangeUser,
    #[error("{0}")]
    Kernel(String),
}

impl Containment {
    /// What there is here. From then on this process is the parent of whatever its descendants leave behind.
    ///
    /// # Errors
    /// When there is none; the text says what to do.
    pub fn find() -> Result<Self, NoContainment> {
        let kernel = |what: &str, error: &dyn std::fmt::Display| NoContainment::Kernel(format!("{what}: {error}"));
        let rights = capabilities(None).map_err(|error| kernel("the gate's capabilities cannot be read", &error))?;
        set_child_subreaper(Some(getpid())).map_err(|error| kernel("orphans cannot be collected", &error))?;
        let (kind, kills_any_user) = if is_first_of_container() {
            (Kind::Container, false)
        } else {
            let (own, kills) =
                own_cgroup().map_err(|cgroup| NoContainment::Nowhere { pid: process::id(), hint: hint(), cgroup })?;
            (Kind::Below(own), kills)
        };
        let no_new_privs = !kills_any_user && !rights.effective.contains(CapabilitySet::KILL);
        if no_new_privs && rights.permitted.contains(CapabilitySet::SETUID) {
            return Err(NoContainment::MayChangeUser);
        }
        Ok(Self { kind, no_new_privs })
    }

    pub(super) fn no_new_privs(&self) -> bool {
        self.no_new_privs
    }

    /// For one start.
    pub(super) fn group(&self) -> io::Result<Group> {
        let Kind::Below(own) = &self.kind else { return Ok(Group::Container) };
        // One that is left from an earlier process of this number may not be empty.
        for attempt in 0_u32.. {
            let path = own.join(format!("failover-gate-{}-{attempt}", process::id()));
            match fs::create_dir(&path) {
                Ok(()) => return Ok(Group::Cgroup(path)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Group::Cgroup(path).remove(),
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }
}

/// The processes of one command: it and all that it started.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Group {
    /// Everything that this container's processes can see, but the gate and the process that asks.
    Container,
    Cgroup(PathBuf),
}

impl Group {
    /// Moves the process that calls it into the group.
    pub(super) fn enter(&self) -> io::Result<()> {
        match self {
            Self::Container => Ok(()),
            Self::Cgroup(path) => fs::write(path.join("cgroup.procs"), "0"),
        }
    }

    pub(super) fn signal(&self, signal: Signal, except: &[Pid]) {
        for process in self.left(except).into_iter().flatten() {
            let _ = pidfd_send_signal(process, signal);
        }
    }

    /// Once. What was being started meanwhile is there the next time.
    pub(super) fn kill(&self, except: &[Pid]) {
        // Reaches every user's processes, and everything at one moment. Since Linux 5.14.
        if let Self::Cgroup(path) = self
            && fs::write(path.join("cgroup.kill"), "1").is_ok()
        {
            return;
        }
        self.signal(Signal::KILL, except);
    }

    /// Not knowing is *no*.
    pub(super) fn is_empty(&self, except: &[Pid]) -> bool {
        match self {
            Self::Container => self.left(except).is_ok_and(|left| left.is_empty()),
            // It counts what is below it as well.
            Self::Cgroup(path) => match files::read_text(&path.join("cgroup.events"), files::MOST) {
                Ok(events) => events.lines().any(|line| line == "populated 0"),
                Err(error) => error.kind() == io::ErrorKind::NotFound,
            },
        }
    }

    pub(super) fn remove(&self) {
        if let Self::Cgroup(path) = self {
            for folder in tree(path).into_iter().rev() {
                let _ = fs::remove_dir(folder);
            }
        }
    }

    /// Each held by a handle, so that no signal reaches another process that got its number.
    fn left(&self, except: &[Pid]) -> io::Result<Vec<OwnedFd>> {
        let pids = match self {
            Self::Container => numbers_in_proc()?,
            Self::Cgroup(path) => {
                let lists = tree(path).into_iter();
                let lists = lists.map(|folder| files::read_text(&folder.join("cgroup.procs"), files::MOST));
                lists.flatten().flat_map(|list| list.lines().filter_map(number).collect::<Vec<_>>()).collect()
            }
        };
        let spared = |pid: &Pid| *pid == Pid::INIT || *pid == getpid() || except.contains(pid);
        let mut left = Vec::new();
        for pid in pids.into_iter().filter(|pid| !spared(pid)) {
            match pidfd_open(pid, PidfdFlags::empty()) {
                Ok(process) if !is_over(&process) => left.push(process),
                Ok(_) | Err(rustix::io::Errno::SRCH) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(left)
    }
}

fn number(text: &str) -> Option<Pid> {
    Pid::from_raw(text.parse().ok()?)
}

fn numbers_in_proc() -> io::Result<Vec<Pid>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        found.extend(entry?.file_name().to_str().and_then(number));
    }
    Ok(found)
}

/// A cgroup and those below it, itself first.
fn tree(path: &Path) -> Vec<PathBuf> {
    let mut found = vec![path.to_owned()];
    let mut next = 0;
    while let Some(folder) = found.get(next) {
        let below = fs::read_dir(folder).into_iter().flatten().flatten();
        let below: Vec<_> = below.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).collect();
        found.extend(below.into_iter().map(|entry| entry.path()));
        next += 1;
    }
    found
}

/// The kernel ends everything in a PID namespace with its first process. Its `/proc` has to be the namespace's own, or
/// nobody could see who is left.
fn is_first_of_container() -> bool {
    getpid() == Pid::INIT && fs::read_link("/proc/self").is_ok_and(|own| own == Path::new("1"))
}

fn hint() -> &'static str {
    match files::read_text(Path::new("/proc/1/comm"), 64).unwrap_or_default().trim() {
        "pause" => " (shareProcessNamespace is on in this pod: take it away)",
        "tini" | "dumb-init" | "docker-init" | "catatonit" | "s6-svscan" => " (an init runs before it: take it away)",
        _ => "",
    }
}

/// Where the gate may make cgroups, and whether one can be killed as a whole.
fn own_cgroup() -> Result<(PathBuf, bool), String> {
    let text = |path: &str| files::read_text(Path::new(path), files::MOST).map_err(|error| format!("{path}: {error}"));
    let own = cgroup_path(&text("/proc/self/cgroup")?, &text("/proc/self/mountinfo")?)?;
    let name = own.display();
    let probe = own.join(format!("failover-gate-{}-probe", process::id()));
    fs::create_dir(&probe).map_err(|error| format!("{name}: no cgroup can be made there ({error})"))?;
    let kills = access(probe.join("cgroup.kill"), Access::WRITE_OK).is_ok();
    let _ = fs::remove_dir(&probe);
    // A process is moved by whom may write both here and there.
    access(own.join("cgroup.procs"), Access::WRITE_OK)
        .map_err(|error| format!("{name}: no process can be moved from there ({error})"))?;
    Ok((own, kills))
}

/// From the texts of `/proc/self/cgroup` and `/proc/self/mountinfo`.
fn cgroup_path(own: &str, mounts: &str) -> Result<PathBuf, String> {
    let own = own.lines().find_map(|line| line.strip_prefix("0::"));
    let own = own.ok_or("this machine has no cgroup of version 2")?;
    let mount = |line: &str| {
        let (before, after) = line.split_once(" - ")?;
        let mut fields = before.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        let below = Path::new(own).strip_prefix(root).ok()?;
        after.starts_with("cgroup2 ").then(|| Path::new(&point.replace("\\040", " ")).join(below))
    };
    mounts.lines().find_map(mount).ok_or_else(|| format!("no file system of cgroups of version 2 shows {own}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n\
                          32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime shared:3 - cgroup cgroup rw,cpu\n";

    #[test]
    fn the_own_cgroup_is_found_where_it_is_mounted() {
        let own = "9:name=systemd:/\n0::/system.slice/eth.service\n";
        let found = |line: &str| cgroup_path(own, &format!("{MOUNTS}{line}"));
        let whole = "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw";
        assert_eq!(found(whole).unwrap(), Path::new("/sys/fs/cgroup/unified/system.slice/eth.service"));
        let part = "41 31 0:38 /system.slice /mnt/a\\040b rw - cgroup2 cgroup2 rw";
        assert_eq!(found(part).unwrap(), Path::new("/mnt/a b/eth.service"));
        let other = "41 31 0:38 /user.slice /mnt rw - cgroup2 cgroup2 rw";
        assert!(found(other).unwrap_err().contains("/system.slice/eth.service"));
        assert!(cgroup_path("4:memory:/x\n", MOUNTS).unwrap_err().contains("version 2"));
    }

    #[test]
    fn a_text_names_what_to_change() {
        let error = NoContainment::Nowhere { pid: 7, hint: " (x)", cgroup: "y".into() }.to_string();
        assert!(
            error.contains("Delegate=yes") && error.contains("entrypoint") && error.contains("process 7"),
            "{error}"
        );
    }
}
