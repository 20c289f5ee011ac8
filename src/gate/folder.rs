//! The state folder: who this gate is, and what it remembers. One process has it at a time.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::{
    fs::{AtFlags, FlockOperation, StatxFlags, flock, statx},
    io::{FdFlags, fcntl_setfd},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use uuid::Uuid;

use super::disk;
use crate::{
    domain::{Time, ownership::LastGrant},
    files,
};

#[cfg(test)]
mod tests;

/// What a gate remembers over its own restarts and those of the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Notes {
    /// The newest grant that it has acted on or waited for.
    pub last: Option<LastGrant>,
    /// The highest number that it has seen in any session or grant.
    pub seen: u64,
    /// When its command last ran for certain, at most a minute before it ended. By the wall clock.
    pub ran_until: Option<Time>,
    /// The same as time since boot, with the id of that boot: a wall clock may have been ahead when it was noted.
    #[serde(default)]
    pub ran_up: Option<(String, Duration)>,
    /// When its command, the last one, was started.
    pub started_at: Option<Time>,
    /// It was started, and its end is not noted.
    #[serde(default)]
    pub runs: bool,
    /// The command ended by itself within its first four epochs; while it runs, whether an end that is never noted would
    /// be such a one.
    pub ended_early: bool,
    /// The length of an epoch, as a beacon node has said it.
    #[serde(default)]
    pub epoch: Option<Duration>,
    /// Since when whole epochs have to be silent, when there is a wait.
    pub silent_since: Option<Time>,
    /// In that wait somebody else was seen signing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stranger: bool,
}

/// The file that says who this gate is, and that is locked. They are one, so that nobody takes the lock away and leaves
/// the identity.
const HOLDER: &str = "holder.json";
const NOTES: &str = "notes.json";
/// What is being written. It becomes one of the above, whole, or nothing.
const UNFINISHED: &str = "unfinished";
/// Locked while a holder is made.
const MAKING: &str = "making";

/// Whether a session may be resumed by what this folder says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resumes {
    Yes,
    /// Another machine may have the same folder, or a restart loses it: why.
    No(String),
}

/// Why there is no state folder.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    #[error(
        "the state folder {} is another process's: a gate, its keeper, or a command that one has left behind. End it \
         first; `fuser -v {}/{HOLDER}` names it", .0.display(), .0.display()
    )]
    InUse(PathBuf),
    #[error(
        "the state folder {} cannot be used: {error}; it has to be a folder where this gate may write", path.display()
    )]
    Unusable { path: PathBuf, error: io::Error },
    #[error(
        "{} is damaged ({error}), so nobody knows when its command last ran. Make sure that nothing signs, then remove \
         the state folder: two silent epochs pass before the next start", path.display()
    )]
    Damaged { path: PathBuf, error: String },
    #[error("{} cannot be written: {error}; what it said before is still there", path.display())]
    Unwritten { path: PathBuf, error: io::Error },
}

/// Who has this folder has its lock. Keeper and command inherit it: a command that outlives its gate still holds it.
#[derive(Debug)]
pub struct StateFolder {
    path: PathBuf,
    _lock: File,
    holder: Uuid,
    resumes: Resumes,
    notes: Notes,
    is_new: bool,
    differs: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Holder {
    holder: Uuid,
    on: Original,
}

/// What a copy of the file has not, as it was when the holder was made. The path is no part of it: a volume may be mounted elsewhere. Nor is the device,
/// which has another number after a boot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Original {
    inode: u64,
    made: Option<(i64, u32)>,
    /// A disk that was copied bit by bit has all of the above.
    disk: Option<String>,
    /// `/etc/machine-id`; containers have none.
    machine: Option<String>,
}

/// Notes that came with another identity, in a copied folder or by themselves, are not this gate's.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written<T> {
    holder: Uuid,
    notes: T,
}

impl StateFolder {
    /// Makes the folder if it is not there. Returns at once when another process has it.
    ///
    /// # Errors
    /// [`FolderError`], with what to do.
    pub fn open(path: &Path) -> Result<Self, FolderError> {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let unusable = |error: io::Error| FolderError::Unusable { path: path.clone(), error };
        DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(unusable)?;
        let Identity { lock, holder, original, differs } = identity(&path)?;
        let resumes = match (disk::not_kept(&lock), original.made) {
            (Some(why), _) => Resumes::No(why),
            (None, None) => Resumes::No("its file system does not say when a file was made".into()),
            (None, Some(_)) => Resumes::Yes,
        };
        let file = path.join(NOTES);
        let written = open(&file).map_err(unusable)?.map(|found| read::<Written<Notes>>(&found, &file)).transpose()?;
        let is_new = written.as_ref().is_none_or(|written| written.holder != holder);
        let notes = written.map(|written| written.notes).unwrap_or_default();
        // What was seen of grants stays true in a copy. When a command ran is about the original.
        let notes = if is_new { Notes { last: notes.last, seen: notes.seen, ..Notes::default() } } else { notes };
        // Only now: until here nothing that is started may hold it.
        fcntl_setfd(&lock, FdFlags::empty()).map_err(|error| unusable(error.into()))?;
        Ok(Self { path, _lock: lock, holder, resumes, notes, is_new, differs })
    }

    /// Random, made with the folder; a copy of it gets another one.
    #[must_use]
    pub fn holder(&self) -> Uuid {
        self.holder
    }

    #[must_use]
    pub fn resumes(&self) -> &Resumes {
        &self.resumes
    }

    /// Whether this gate has written no notes yet. Then two silent epochs come before a start.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// Why this gate is another one than the one that the folder was found to be of: what differs, in words.
    #[must_use]
    pub fn differs(&self) -> Option<&str> {
        self.differs.as_deref()
    }

    #[must_use]
    pub fn notes(&self) -> &Notes {
        &self.notes
    }

    /// When it returns they survive a power cut.
    ///
    /// # Errors
    /// [`FolderError::Unwritten`]: the notes before are still there.
    pub fn write(&mut self, notes: Notes) -> Result<(), FolderError> {
        if self.is_new || notes != self.notes {
            let file = self.path.join(NOTES);
            let written = Written { holder: self.holder, notes: &notes };
            replace(&self.path, &written).and_then(|_| publish(&self.path, NOTES)).map_err(|error| {
                let _ = fs::remove_file(self.path.join(UNFINISHED));
                FolderError::Unwritten { path: file, error }
            })?;
            (self.notes, self.is_new) = (notes, false);
        }
        Ok(())
    }
}

/// The locked file, and who this gate is by it.
struct Identity {
    lock: File,
    holder: Uuid,
    original: Original,
    differs: Option<String>,
}

fn identity(folder: &Path) -> Result<Identity, FolderError> {
    let path = folder.join(HOLDER);
    let unusable = |error: io::Error| FolderError::Unusable { path: folder.to_owned(), error };
    // For as long as this function runs: only one process makes a holder.
    let making =
        OpenOptions::new().create(true).append(true).mode(0o600).open(folder.join(MAKING)).map_err(unusable)?;
    flock(&making, FlockOperation::LockExclusive).map_err(|error| unusable(error.into()))?;
    let mut differs = None;
    // Of a copy too, until it is replaced.
    let found = open(&path).map_err(unusable)?;
    if let Some(file) = &found {
        lock(file, folder)?;
        let known: Holder = read(file, &path)?;
        let original = Original::of(file).map_err(unusable)?;
        differs = known.on.differs(&original);
        if differs.is_none() {
            let lock = file.try_clone().map_err(unusable)?;
            return Ok(Identity { lock, holder: known.holder, original, differs });
        }
    }
    let holder = Uuid::new_v4();
    let file = create(folder).map_err(unusable)?;
    lock(&file, folder)?;
    let on = Original::of(&file).map_err(unusable)?;
    let made = fill(&file, &Holder { holder, on: on.clone() }).and_then(|()| publish(folder, HOLDER));
    made.map_err(|error| {
        let _ = fs::remove_file(folder.join(UNFINISHED));
        FolderError::Unwritten { path, error }
    })?;
    Ok(Identity { lock: file, holder, original: on, differs })
}

fn lock(file: &File, folder: &Path) -> Result<(), FolderError> {
    flock(file, FlockOperation::NonBlockingLockExclusive).map_err(|error| match error {
        rustix::io::Errno::WOULDBLOCK => FolderError::InUse(folder.to_owned()),
        error => FolderError::Unusable { path: folder.to_owned(), error: error.into() },
    })
}

impl Original {
    /// What shows that this is not the file of before.
    fn differs(&self, now: &Self) -> Option<String> {
        let word = |value: &Option<String>| value.clone().unwrap_or_else(|| "unknown".into());
        let is_disk = match (&self.disk, &now.disk) {
            (Some(before), Some(now)) => disk::still_has(before, now),
            (before, now) => before == now,
        };
        if (self.inode, self.made) != (now.inode, now.made) {
            Some("it was copied, or restored from a backup".into())
        } else if !is_disk {
            Some(format!("its disk was {}, and is {}", word(&self.disk), word(&now.disk)))
        } else if self.machine != now.machine {
            Some(format!("the id of its machine was {}, and is {}", word(&self.machine), word(&now.machine)))
        } else {
            None
        }
    }

    fn of(file: &File) -> io::Result<Self> {
        // By statx itself: std's creation time does not exist with the C library of the image.
        let found = statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::INO | StatxFlags::BTIME)?;
        let has_made = StatxFlags::from_bits_retain(found.stx_mask).contains(StatxFlags::BTIME);
        let machine = files::read_text(Path::new("/etc/machine-id"), 64).ok();
        let machine = machine.map(|id| id.trim().to_owned()).filter(|id| !id.is_empty());
        Ok(Self {
            inode: file.metadata()?.ino(),
            made: has_made.then_some((found.stx_btime.tv_sec, found.stx_btime.tv_nsec)),
            disk: disk::serials(file),
            machine,
        })
    }
}

fn open(path: &Path) -> io::Result<Option<File>> {
    match OpenOptions::new().read(true).write(true).open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn read<T: DeserializeOwned>(file: &File, path: &Path) -> Result<T, FolderError> {
    let damaged = |error: String| FolderError::Damaged { path: path.to_owned(), error };
    let text = files::read_text_from(file, files::MOST).map_err(|error| damaged(error.to_string()))?;
    serde_json::from_str(&text).map_err(|error| damaged(error.to_string()))
}

fn create(folder: &Path) -> io::Result<File> {
    let path = folder.join(UNFINISHED);
    // One that a power cut left; an inode of its own for each, or a link could lead elsewhere.
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
}

fn replace(folder: &Path, content: &impl Serialize) -> io::Result<()> {
    fill(&create(folder)?, content)
}

fn fill(mut file: &File, content: &impl Serialize) -> io::Result<()> {
    file.write_all(&serde_json::to_vec_pretty(content)?)?;
    file.sync_all()
}

fn publish(folder: &Path, name: &str) -> io::Result<()> {
    fs::rename(folder.join(UNFINISHED), folder.join(name))?;
    File::open(folder)?.sync_all()
}
