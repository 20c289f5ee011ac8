//! Copies the program into a folder, for images without a shell: an init container does that for the container with
//! keys.

use std::{
    fs::{self, Permissions},
    io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

const NAME: &str = "failover-gate";

/// Puts this program into `folder`, so that at every moment there is either all of it or what was there before.
///
/// # Errors
/// What the system says, with the path.
pub fn install(folder: &Path) -> Result<PathBuf, String> {
    // Not by its name: that may be another file by now.
    copy(Path::new("/proc/self/exe"), folder)
}

fn copy(program: &Path, folder: &Path) -> Result<PathBuf, String> {
    let target = folder.join(NAME);
    let failed = |error: io::Error| {
        let target = target.display();
        format!("{target} cannot be written: {error}; name a folder that exists and that this user may write to")
    };
    let file = tempfile::Builder::new().prefix(".failover-gate.").tempfile_in(folder).map_err(failed)?;
    fs::copy(program, file.path()).map_err(failed)?;
    file.as_file().set_permissions(Permissions::from_mode(0o755)).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist(&target).map_err(|error| failed(error.error))?;
    Ok(target)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files;

    #[test]
    fn it_is_copied_whole_and_replaces_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let old = folder.path().join(NAME);
        fs::write(&old, "old").unwrap();
        let running = fs::File::open(&old).unwrap();
        let target = install(folder.path()).unwrap();
        assert_eq!(target, old);
        let size = |path: &Path| fs::metadata(path).unwrap().len();
        assert_eq!(size(&target), size(Path::new("/proc/self/exe")));
        assert_eq!(fs::metadata(&target).unwrap().permissions().mode() & 0o7777, 0o755);
        assert_eq!(running.metadata().unwrap().len(), 3, "who has the old one open has it as it was");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn a_copy_that_fails_leaves_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(NAME), "old").unwrap();
        let error = copy(&folder.path().join("missing"), folder.path()).unwrap_err();
        assert!(error.contains("cannot be written"), "{error}");
        assert_eq!(files::read_text(&folder.path().join(NAME), 10).unwrap(), "old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        let error = install(Path::new("/nowhere")).unwrap_err();
        assert!(error.contains("/nowhere/failover-gate") && error.contains("a folder that exists"), "{error}");
    }
}
