use std::process::Command;

use tempfile::TempDir;

use super::*;

fn notes(seen: u64) -> Notes {
    let at = Time::new(1_700_000_000, 0).unwrap();
    Notes { seen, ran_until: Some(at), ended_early: true, ..Notes::default() }
}

fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
}

#[test]
fn the_holder_and_its_notes_survive_and_a_folder_without_notes_is_new() {
    let place = TempDir::new().unwrap();
    let path = place.path().join("a/state");
    let mut folder = StateFolder::open(&path).unwrap();
    let holder = folder.holder();
    assert!(folder.is_new());
    drop(folder);
    folder = StateFolder::open(&path).unwrap();
    assert!(folder.is_new(), "nothing was written");
    folder.write(notes(7)).unwrap();
    assert!(!folder.is_new());
    drop(folder);
    let folder = StateFolder::open(&path).unwrap();
    assert_eq!((folder.holder(), folder.is_new(), folder.notes()), (holder, false, &notes(7)));
}

#[test]
fn a_folder_that_another_has_is_refused_and_left_as_it_is() {
    let place = TempDir::new().unwrap();
    let folder = StateFolder::open(place.path()).unwrap();
    let error = StateFolder::open(place.path()).unwrap_err();
    assert!(matches!(error, FolderError::InUse(_)), "{error}");
    let holder = folder.holder();
    drop(folder);
    assert_eq!(StateFolder::open(place.path()).unwrap().holder(), holder);
}

#[test]
fn a_copied_folder_is_another_holder_and_is_new_until_it_writes() {
    let place = TempDir::new().unwrap();
    let [first, second] = ["first", "second"].map(|name| place.path().join(name));
    let mut folder = StateFolder::open(&first).unwrap();
    folder.write(notes(7)).unwrap();
    copy(&first, &second);
    let mut said = Vec::new();
    for _ in 0..2 {
        let copied = StateFolder::open(&second).unwrap();
        assert_ne!(copied.holder(), folder.holder());
        assert!(copied.is_new());
        said.push(copied.differs().map(str::to_owned));
        assert_eq!(*copied.notes(), Notes { seen: 7, ..Notes::default() }, "when the original ran says nothing");
    }
    assert_eq!(said, [Some("it was copied, or restored from a backup".to_owned()), None], "once");
    // Under the original's name as well, and moved away it is still the original.
    let holder = folder.holder();
    drop(folder);
    let third = place.path().join("third");
    fs::rename(&first, &third).unwrap();
    copy(&third, &first);
    assert_ne!(StateFolder::open(&first).unwrap().holder(), holder);
    let moved = StateFolder::open(&third).unwrap();
    assert_eq!((moved.holder(), moved.is_new()), (holder, false));
}

#[test]
fn a_holder_from_another_disk_or_machine_is_another_one() {
    let place = TempDir::new().unwrap();
    let holder = StateFolder::open(place.path()).unwrap().holder();
    let file = place.path().join(HOLDER);
    let text = files::read_text(&file, files::MOST).unwrap();
    let mut written: Holder = serde_json::from_str(&text).unwrap();
    written.on.disk = Some("another".into());
    // In place: inode and age are the same, as on a disk that was copied bit by bit.
    fs::write(&file, serde_json::to_vec(&written).unwrap()).unwrap();
    let other = StateFolder::open(place.path()).unwrap();
    assert_ne!(other.holder(), holder);
    assert!(other.differs().unwrap().contains("its disk was another, and is "), "{:?}", other.differs());
}

#[test]
fn a_holder_whose_mirror_lost_a_disk_is_another_and_one_whose_volume_grew_is_the_same() {
    let on = |disk: &str| Original { inode: 1, made: Some((2, 3)), disk: Some(disk.into()), machine: None };
    assert!(on("A B").differs(&on("A")).unwrap().contains("disk"));
    assert_eq!(on("A").differs(&on("A C")), None, "a volume that grew");
    assert!(on("A").differs(&on("C")).is_some());
    let unknown = Original { disk: None, ..on("A") };
    assert!(on("A").differs(&unknown).is_some() && unknown.differs(&on("A")).is_some());
    let elsewhere = Original { machine: Some("m".into()), ..on("A") };
    assert!(on("A").differs(&elsewhere).unwrap().contains("machine"));
}

#[test]
fn notes_without_their_holder_are_not_ours() {
    let place = TempDir::new().unwrap();
    let mut folder = StateFolder::open(place.path()).unwrap();
    folder.write(notes(7)).unwrap();
    drop(folder);
    fs::remove_file(place.path().join(HOLDER)).unwrap();
    let folder = StateFolder::open(place.path()).unwrap();
    assert!(folder.is_new() && folder.notes().ran_until.is_none());
}

#[test]
fn damaged_files_are_an_error_and_never_new() {
    for name in [NOTES, HOLDER] {
        let place = TempDir::new().unwrap();
        let mut folder = StateFolder::open(place.path()).unwrap();
        folder.write(notes(7)).unwrap();
        drop(folder);
        let file = place.path().join(name);
        let whole = files::read(&file, files::MOST).unwrap();
        for length in 0..whole.len() {
            fs::write(&file, &whole[..length]).unwrap();
            let error = StateFolder::open(place.path()).unwrap_err();
            assert!(matches!(error, FolderError::Damaged { .. }), "{name}, {length} bytes: {error}");
        }
        fs::write(&file, &whole).unwrap();
        assert!(!StateFolder::open(place.path()).unwrap().is_new());
    }
}

#[test]
fn what_a_power_cut_left_unfinished_is_not_read() {
    let place = TempDir::new().unwrap();
    let mut folder = StateFolder::open(place.path()).unwrap();
    folder.write(notes(7)).unwrap();
    fs::write(place.path().join(UNFINISHED), "{").unwrap();
    folder.write(notes(8)).unwrap();
    assert!(!place.path().join(UNFINISHED).exists());
    drop(folder);
    assert_eq!(StateFolder::open(place.path()).unwrap().notes().seen, 8);
}

#[test]
fn a_path_that_is_no_folder_is_refused_with_its_name() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = StateFolder::open(file.path()).unwrap_err();
    assert!(
        matches!(error, FolderError::Unusable { .. }) && error.to_string().contains("has to be a folder"),
        "{error}"
    );
}

/// Where two machines may have a folder, or a restart loses it, no session is resumed.
#[test]
fn a_folder_in_memory_does_not_resume() {
    let place = TempDir::new_in("/dev/shm").unwrap();
    let folder = StateFolder::open(place.path()).unwrap();
    let Resumes::No(why) = folder.resumes() else { panic!("resumes") };
    assert!(why.contains("tmpfs"), "{why}");
}
