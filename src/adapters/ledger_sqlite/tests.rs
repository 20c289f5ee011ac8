//! What a file does that no bucket does: a full disk, a file that is taken away, copied or only read.

use super::*;

#[tokio::test]
async fn a_full_disk_is_not_available_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger");
    let connection = connect(&path).unwrap();
    // SQLite answers as it does when the disk is full.
    connection.pragma_update(None, "max_page_count", 12).unwrap();
    let ledger = LedgerSqlite::over(connection, &path).unwrap();
    let version = ledger.put("k", b"before".to_vec(), Expect::Absent).await.unwrap();
    let refused = ledger.put("big", vec![b'x'; 500_000], Expect::Absent).await;
    assert!(
        matches!(&refused, Err(PutError::Failed(LedgerError::Unavailable(why))) if why.contains("is full")),
        "{refused:?}"
    );
    assert_eq!(ledger.get("k").await.unwrap().unwrap().version, version);
    assert_eq!(ledger.get("big").await.unwrap(), None);
}

/// One flipped bit in the header of a row: the bytes are there, and are for their checksum to judge.
#[tokio::test]
async fn a_record_whose_type_was_changed_is_read_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger");
    let ledger = LedgerSqlite::open(&path).unwrap();
    ledger.put("k", "a record, \u{e9}".into(), Expect::Absent).await.unwrap();
    ledger.put("big", vec![b'x'; MAX_RECORD], Expect::Absent).await.unwrap();
    let other = Connection::open(&path).unwrap();
    other.execute("UPDATE records SET bytes = CAST(bytes AS TEXT)", []).unwrap();
    assert_eq!(ledger.get("k").await.unwrap().unwrap().bytes, "a record, \u{e9}".as_bytes());
    assert_eq!(ledger.get("big").await.unwrap().unwrap().bytes.len(), MAX_RECORD);
    other.execute("UPDATE records SET bytes = bytes || 'x' WHERE key = 'big'", []).unwrap();
    assert!(matches!(ledger.get("big").await, Err(LedgerError::Oversized(_))));
}

#[tokio::test]
async fn a_file_or_log_that_is_removed_or_replaced_while_open_takes_nothing_more() {
    for (name, replaced) in [("ledger", false), ("ledger", true), ("ledger-wal", false), ("ledger-wal", true)] {
        let folder = tempfile::tempdir().unwrap();
        let ledger = LedgerSqlite::open(&folder.path().join("ledger")).unwrap();
        ledger.put("k", b"before".to_vec(), Expect::Absent).await.unwrap();
        assert!(ledger.get("k").await.unwrap().is_some());
        std::fs::rename(folder.path().join(name), folder.path().join("away")).unwrap();
        if replaced {
            std::fs::copy(folder.path().join("away"), folder.path().join(name)).unwrap();
        }
        let refused = ledger.put("l", b"after".to_vec(), Expect::Absent).await;
        assert!(
            matches!(&refused, Err(PutError::Failed(LedgerError::Unusable(why))) if why.contains("start again")),
            "{name} {replaced}: {refused:?}"
        );
        assert!(ledger.get("k").await.is_err(), "{name} {replaced}: nor does it read");
    }
}

fn files(folder: &Path) -> Vec<(std::ffi::OsString, Vec<u8>)> {
    let all = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut all: Vec<_> =
        all.map(|path| (path.file_name().unwrap().to_owned(), crate::files::read(&path, 1 << 20).unwrap())).collect();
    all.sort();
    all
}

#[tokio::test]
async fn what_is_opened_to_read_is_neither_made_nor_changed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a ledger?100%#.sqlite");
    let missing = LedgerSqlite::open_to_read(&path).unwrap();
    assert_eq!((missing.list("", None).await.unwrap(), missing.get("k").await.unwrap()), (Vec::new(), None));
    assert!(missing.describe().contains("100%#") && files(folder.path()).is_empty(), "nothing was made");

    let writer = LedgerSqlite::open(&path).unwrap();
    writer.put("k", b"one".to_vec(), Expect::Absent).await.unwrap();
    let beside = LedgerSqlite::open_to_read(&path).unwrap();
    assert_eq!(beside.get("k").await.unwrap().unwrap().bytes, b"one", "while it is written to");
    drop((writer, beside));
    // Their threads end soon after; one that only reads does not clean up, so one that writes ends last.
    while log_of(&path).exists() {
        drop(connect(&path).unwrap());
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let before = files(folder.path());
    let reader = LedgerSqlite::open_to_read(&path).unwrap();
    assert_eq!(reader.page(None, 7).await.unwrap(), ["k"]);
    let refused = reader.put("l", b"two".to_vec(), Expect::Absent).await;
    assert!(matches!(refused, Err(PutError::Failed(LedgerError::Unusable(_)))), "{refused:?}");
    assert_eq!(files(folder.path()), before);
}

#[tokio::test]
async fn a_copy_has_another_place_and_a_file_that_is_renamed_has_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger");
    let place = |name: &str| LedgerSqlite::open_to_read(&folder.path().join(name)).unwrap().place();
    drop(connect(&path).unwrap());
    let original = place("ledger");
    std::fs::copy(&path, folder.path().join("copy")).unwrap();
    assert_ne!(place("copy"), original);
    std::fs::rename(&path, folder.path().join("renamed")).unwrap();
    assert_eq!(place("renamed"), original);
    std::fs::rename(folder.path().join("copy"), &path).unwrap();
    assert_ne!(place("ledger"), original, "the name says nothing");
}

#[tokio::test]
async fn a_read_only_file_says_what_has_to_change() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger");
    drop(connect(&path).unwrap());
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let ledger = LedgerSqlite::over(Connection::open_with_flags(&path, flags).unwrap(), &path).unwrap();
    let refused = ledger.put("k", b"x".to_vec(), Expect::Absent).await;
    assert!(
        matches!(&refused, Err(PutError::Failed(LedgerError::Unusable(why))) if why.contains("writable")),
        "{refused:?}"
    );
}

/// The static image has a C library with which std knows no creation time: without one every fresh volume is alike.
#[tokio::test]
async fn the_place_of_a_file_says_when_it_was_made() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = LedgerSqlite::open(&folder.path().join("ledger")).unwrap();
    let place = ledger.place();
    assert!(place.starts_with("a file with inode ") && !place.contains("inode 0"), "{place}");
    assert!(place.contains(", made 20"), "{place}");
}
