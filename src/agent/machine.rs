//! What the kernel says of this machine: processes, ports, memory, disk, boot. It judges nothing and changes nothing.
//!
//! Everything is read where any user may read it. Of other processes it reads the command line and the unit, never
//! their files, and it opens nothing below a home or a data folder: of the chain's folder it asks the free space alone.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use super::signer::{RunningProcess, SignerFacts};
use crate::files;

/// A command line is cut here. Java programs name their main class behind a long list of libraries.
const MAX_COMMAND: u64 = 64 << 10;
/// A file of the kernel's that is larger than this is not read on.
const MAX_TABLE: u64 = 4 << 20;

/// What the start-up script leaves when `playbooks/promoted.yml` has succeeded: the settings of that promotion. Compute
/// Engine takes no longer value.
const PROMOTED: &str = "var/lib/failover/promoted";
const MAX_SETTINGS: u64 = 256 << 10;

/// Where units are installed, in whatever way.
const UNIT_FOLDERS: [&str; 5] = [
    "etc/systemd/system",
    "etc/systemd/system/multi-user.target.wants",
    "run/systemd/system",
    "usr/lib/systemd/system",
    "usr/local/lib/systemd/system",
];

/// A machine, seen from its root folder.
#[derive(Clone, Debug)]
pub struct LocalMachine {
    root: PathBuf,
}

/// Why the machine cannot be told from another or its time cannot be counted: without that there is no report.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// A file of the kernel's cannot be read.
    #[error("cannot read {path}")]
    Unreadable { path: PathBuf, source: io::Error },
    /// It has a form no kernel writes.
    #[error("{path} has an unknown form")]
    Form { path: PathBuf },
}

impl LocalMachine {
    /// This machine, or in tests a folder that looks like one.
    #[must_use]
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Changes with every boot.
    ///
    /// # Errors
    /// When the kernel's file is hidden, for example by `ProcSubset=pid` in the agent's unit.
    pub fn boot_id(&self) -> Result<String, MachineError> {
        let (path, text) = self.read("proc/sys/kernel/random/boot_id")?;
        let id = text.trim();
        let fits = (8..=64).contains(&id.len()) && id.bytes().all(|c| c.is_ascii_hexdigit() || c == b'-');
        if fits { Ok(id.to_owned()) } else { Err(MachineError::Form { path }) }
    }

    /// How long it is up, sleep included. It never goes back within a boot, whatever becomes of the clock.
    ///
    /// # Errors
    /// As [`LocalMachine::boot_id`].
    pub fn uptime(&self) -> Result<Duration, MachineError> {
        let (path, text) = self.read("proc/uptime")?;
        let seconds = text.split_whitespace().next().and_then(|first| first.parse::<f64>().ok());
        let uptime = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        uptime.ok_or(MachineError::Form { path })
    }

    /// Memory that programs could still get, 0 to 100.
    #[must_use]
    pub fn memory_free_percent(&self) -> Option<u8> {
        let (_, text) = self.read("proc/meminfo").ok()?;
        let kilobytes = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
            line.split_whitespace().next()?.parse::<u64>().ok()
        };
        share(kilobytes("MemAvailable")?, kilobytes("MemTotal")?)
    }

    /// What can still be written to the file system this folder is on, 0 to 100, as `df` counts it.
    #[must_use]
    pub fn disk_free_percent(&self, folder: &Path) -> Option<u8> {
        let disk = rustix::fs::statvfs(folder).ok()?;
        let used = disk.f_blocks.saturating_sub(disk.f_bfree);
        share(disk.f_bavail, used.saturating_add(disk.f_bavail))
    }

    /// The settings with which this machine was promoted; `None` when it was not.
    #[must_use]
    pub fn promotion(&self) -> Option<Vec<u8>> {
        files::read(&self.root.join(PROMOTED), MAX_SETTINGS).ok()
    }

    /// Everything by which a signer could be known.
    #[must_use]
    pub fn facts(&self) -> SignerFacts {
        let mut facts = SignerFacts::default();
        self.processes(&mut facts);
        self.ports(&mut facts);
        self.units(&mut facts);
        facts
    }

    fn processes(&self, facts: &mut SignerFacts) {
        let mut first = false;
        let mut denied = false;
        for entry in fs::read_dir(self.root.join("proc")).into_iter().flatten().flatten() {
            let Some(id) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
            let folder = entry.path();
            match files::beginning(&folder.join("cmdline"), MAX_COMMAND) {
                Ok(line) => {
                    first |= id == 1;
                    facts.processes.push(process(&folder, &line));
                }
                // It ended meanwhile.
                Err(error) if matches!(error.kind(), io::ErrorKind::NotFound) || error.raw_os_error() == Some(3) => {}
                Err(_) => denied = true,
            }
        }
        // Everybody may see the first process, unless /proc hides what is not one's own.
        if !first || denied {
            facts.hidden.push("the processes of other users are hidden from the agent".into());
        }
    }

    fn ports(&self, facts: &mut SignerFacts) {
        for (table, may_lack) in [("proc/net/tcp", false), ("proc/net/tcp6", true)] {
            match files::beginning(&self.root.join(table), MAX_TABLE) {
                Ok(text) => facts.ports.extend(listening(&String::from_utf8_lossy(&text))),
                // Without IPv6 there is no such table.
                Err(error) if may_lack && error.kind() == io::ErrorKind::NotFound => {}
                Err(_) => facts.hidden.push("open ports cannot be read".into()),
            }
        }
    }

    fn units(&self, facts: &mut SignerFacts) {
        for folder in UNIT_FOLDERS {
            match fs::read_dir(self.root.join(folder)) {
                Ok(entries) => {
                    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
                    facts.units.extend(names.filter(|name| name.ends_with(".service")));
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(_) => facts.hidden.push(format!("the units in /{folder} cannot be listed")),
            }
        }
    }

    fn read(&self, path: &str) -> Result<(PathBuf, String), MachineError> {
        let path = self.root.join(path);
        match files::beginning(&path, MAX_COMMAND) {
            Ok(bytes) => Ok((path, String::from_utf8_lossy(&bytes).into_owned())),
            Err(source) => Err(MachineError::Unreadable { path, source }),
        }
    }
}

fn process(folder: &Path, line: &[u8]) -> RunningProcess {
    let line = String::from_utf8_lossy(line);
    let arguments = line.trim_end_matches('\0').split('\0').map(str::to_owned).collect();
    let text = |name: &str| {
        files::beginning(&folder.join(name), MAX_COMMAND).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    };
    RunningProcess {
        arguments: if line.trim_end_matches('\0').is_empty() { Vec::new() } else { arguments },
        name: text("comm").unwrap_or_default().trim().to_owned(),
        unit: text("cgroup").ok().and_then(|text| unit(&text)),
    }
}

/// From `0::/system.slice/failover-geth.service`; below it there may be more.
fn unit(cgroup: &str) -> Option<String> {
    let path = cgroup.lines().find_map(|line| line.strip_prefix("0::"))?;
    path.rsplit('/').find(|part| part.ends_with(".service")).map(str::to_owned)
}

/// Local ports in the state LISTEN, which the kernel writes as 0A.
fn listening(table: &str) -> BTreeSet<u16> {
    let port = |line: &str| {
        let mut fields = line.split_whitespace().skip(1);
        let (local, _remote, state) = (fields.next()?, fields.next()?, fields.next()?);
        let (_, port) = local.rsplit_once(':')?;
        (state == "0A").then(|| u16::from_str_radix(port, 16).ok()).flatten()
    };
    table.lines().skip(1).filter_map(port).collect()
}

fn share(part: u64, whole: u64) -> Option<u8> {
    (whole > 0).then(|| u8::try_from(u128::from(part.min(whole)) * 100 / u128::from(whole)).unwrap_or(100))
}
