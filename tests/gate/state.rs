//! The state folder as processes have it: one at a time, and on a disk that is full.

use std::{env, fs, path::PathBuf, process::Command};

use failover::gate::folder::{FolderError, Notes, StateFolder};
use tempfile::TempDir;

use crate::{
    placed::{places, skipped},
    world::World,
};

#[test]
fn a_running_gate_has_its_state_folder_alone() {
    for place in places() {
        let mut world = World::new(place, "exec sleep 1000");
        let state = world.folder.path().join("state");
        assert!(matches!(StateFolder::open(&state).unwrap_err(), FolderError::InUse(_)));
        world.start();
        assert_eq!(world.ask("stop"), "Stopped");
        assert!(matches!(StateFolder::open(&state).unwrap_err(), FolderError::InUse(_)));
    }
}

const FULL: &str = "GATE_TEST_FULL_DISK";

#[test]
fn a_full_disk_is_reported_and_the_notes_before_are_kept() {
    let folder = TempDir::new().unwrap();
    let status = Command::new("unshare")
        .args(["--mount", "sh", "-c", "mount -t tmpfs -o size=64k tmpfs \"$0\" || exit 77; exec \"$@\""])
        .arg(folder.path())
        .arg(env::current_exe().unwrap())
        .args(["state::on_a_small_disk", "--exact", "--nocapture"])
        .env(FULL, folder.path())
        .status();
    match status.map(|status| status.code()) {
        Ok(Some(0)) => {}
        Ok(Some(1 | 77)) if !rustix::process::geteuid().is_root() => skipped("a small disk needs root"),
        other => panic!("{other:?}"),
    }
}

/// Not a test by itself: it does nothing unless another one started it.
#[test]
fn on_a_small_disk() {
    let Some(disk) = env::var_os(FULL).map(PathBuf::from) else { return };
    let notes = |seen| Notes { seen, ..Notes::default() };
    let mut folder = StateFolder::open(&disk.join("state")).unwrap();
    folder.write(notes(1)).unwrap();
    let filler = disk.join("filler");
    assert!(fs::write(&filler, [0; 100_000]).is_err(), "the disk is not full");

    let error = folder.write(notes(2)).unwrap_err();
    assert!(matches!(error, FolderError::Unwritten { .. }) && error.to_string().contains("No space"), "{error}");
    assert_eq!(folder.notes(), &notes(1));
    drop(folder);
    let mut folder = StateFolder::open(&disk.join("state")).unwrap();
    assert_eq!((folder.notes(), folder.is_new()), (&notes(1), false));

    // A folder that cannot be made is not there, not even half.
    assert!(StateFolder::open(&disk.join("other")).is_err());
    fs::remove_file(filler).unwrap();
    folder.write(notes(3)).unwrap();
    assert!(StateFolder::open(&disk.join("other")).unwrap().is_new());
}
