//! The ledger as one SQLite file: for one machine, a laptop, or tests.
//!
//! It does not survive the house; `failover check` says so. One thread owns the connection and takes whatever waits into
//! one transaction, so that writes of one moment share one commit; each is judged by itself.

use std::{
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use async_trait::async_trait;
use rusqlite::{Connection, ErrorCode, OptionalExtension, TransactionBehavior, params};
use tokio::sync::{mpsc, oneshot};

use crate::ports::{Expect, Ledger, LedgerError, MAX_RECORD, PutError, Stored, Version};

/// "fail" as SQLite keeps it in the file's header: what tells our file from any other.
const APPLICATION_ID: i32 = 0x6661_696c;
/// The schema this program writes and the newest it uses.
const SCHEMA: i32 = 1;
/// How many requests are taken into one transaction.
const BATCH: usize = 1024;
/// How long another process may hold the file before we say that it is not available.
const BUSY: Duration = Duration::from_secs(5);

pub struct LedgerSqlite {
    requests: mpsc::Sender<Request>,
    path: PathBuf,
}

/// What waits for the thread, and whether it needs the lock for writing.
struct Request {
    writes: bool,
    work: Box<dyn Work>,
}

/// First done, then answered: in between the transaction is committed.
trait Work: Send {
    fn run(&mut self, connection: &Connection) -> rusqlite::Result<()>;
    fn answer(self: Box<Self>, committed: Result<(), LedgerError>);
}

struct Job<F, T, E> {
    work: Option<F>,
    result: Option<Result<T, E>>,
    answer: oneshot::Sender<Result<T, E>>,
}

impl<F, T, E> Work for Job<F, T, E>
where
    F: FnOnce(&Connection) -> rusqlite::Result<Result<T, E>> + Send,
    T: Send,
    E: From<LedgerError> + Send,
{
    fn run(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        if let Some(work) = self.work.take() {
            self.result = Some(work(connection)?);
        }
        Ok(())
    }

    fn answer(self: Box<Self>, committed: Result<(), LedgerError>) {
        let result = match committed {
            Ok(()) => self.result.expect("everything in a batch that is committed was run"),
            Err(error) => Err(error.into()),
        };
        // Whoever no longer waits for it does not need it.
        let _ = self.answer.send(result);
    }
}

impl LedgerSqlite {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    /// [`LedgerError::Unusable`] with the next step: a folder, no permission, another program's file, a newer schema.
    pub fn open(path: &Path) -> Result<Self, LedgerError> {
        Self::over(connect(path)?, path)
    }

    fn over(connection: Connection, path: &Path) -> Result<Self, LedgerError> {
        let (requests, queue) = mpsc::channel(BATCH);
        thread::Builder::new()
            .name("ledger".into())
            .spawn(move || serve(connection, queue))
            .map_err(|error| LedgerError::Unusable(format!("no thread for the ledger: {error}")))?;
        Ok(Self { requests, path: path.to_owned() })
    }

    /// Has the thread do this in its next transaction, and answers once that is committed.
    async fn ask<T, E>(
        &self,
        writes: bool,
        work: impl FnOnce(&Connection) -> rusqlite::Result<Result<T, E>> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<LedgerError> + Send + 'static,
    {
        let gone = || LedgerError::Unusable("its thread has ended".into());
        let (answer, receiver) = oneshot::channel();
        let work = Box::new(Job { work: Some(work), result: None, answer });
        self.requests.send(Request { writes, work }).await.map_err(|_| gone())?;
        receiver.await.map_err(|_| gone())?
    }
}

#[async_trait]
impl Ledger for LedgerSqlite {
    async fn get(&self, key: &str) -> Result<Option<Stored>, LedgerError> {
        let key = key.to_owned();
        self.ask(false, move |connection| get(connection, &key)).await
    }

    async fn put(&self, key: &str, bytes: Vec<u8>, expect: Expect) -> Result<Version, PutError> {
        if bytes.len() > MAX_RECORD {
            return Err(PutError::TooLarge(bytes.len()));
        }
        let key = key.to_owned();
        self.ask(true, move |connection| put(connection, &key, &bytes, &expect)).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Vec<String>, LedgerError> {
        let (prefix, after) = (prefix.to_owned(), after.map(str::to_owned));
        self.ask(false, move |connection| list(connection, &prefix, after.as_deref()).map(Ok)).await
    }

    async fn remove(&self, key: &str, version: &Version) -> Result<(), PutError> {
        let (key, version) = (key.to_owned(), version.clone());
        self.ask(true, move |connection| remove(connection, &key, &version)).await
    }

    fn describe(&self) -> String {
        format!("the file {}", self.path.display())
    }

    fn is_off_site(&self) -> bool {
        false
    }
}

fn connect(path: &Path) -> Result<Connection, LedgerError> {
    let name = path.display();
    if path.is_dir() {
        return Err(LedgerError::Unusable(format!("{name} is a folder; name a file in it")));
    }
    let connection = Connection::open(path).map_err(|error| {
        LedgerError::Unusable(format!(
            "{name} cannot be opened ({error}): does its folder exist, and may we write there?"
        ))
    })?;
    prepare(&connection).map_err(|error| explain(path, &error))?;
    match identity(&connection).map_err(|error| explain(path, &error))? {
        (APPLICATION_ID, SCHEMA) => Ok(connection),
        (APPLICATION_ID, newer) if newer > SCHEMA => Err(LedgerError::Unusable(format!(
            "{name} was written by a newer failover (schema {newer}, this one knows {SCHEMA}): upgrade failover"
        ))),
        (0, 0) => {
            create(&connection).map_err(|error| explain(path, &error))?;
            Ok(connection)
        }
        _ => Err(LedgerError::Unusable(format!("{name} is another program's database; name another file"))),
    }
}

/// A commit that was answered survives a power cut: the write-ahead log is synced at every commit.
fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY)?;
    // Read first: a file that is not ours must not be turned to another journal mode.
    let (application, schema) = identity(connection)?;
    if (application == APPLICATION_ID && schema == SCHEMA) || (application == 0 && schema == 0) {
        connection.pragma_update(None, "journal_mode", "WAL")?;
    }
    connection.pragma_update(None, "synchronous", "FULL")
}

fn identity(connection: &Connection) -> rusqlite::Result<(i32, i32)> {
    let pragma = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
    Ok((pragma("application_id")?, pragma("user_version")?))
}

/// The counter lives beside the records, so that a version is never used twice, not even after a removal.
fn create(connection: &Connection) -> rusqlite::Result<()> {
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get(0))?;
    if tables > 0 {
        // Another program's file without an identity, or a second process that was quicker.
        return match identity(connection)? {
            (APPLICATION_ID, SCHEMA) => Ok(()),
            _ => Err(rusqlite::Error::InvalidQuery),
        };
    }
    connection.execute_batch(&format!(
        "BEGIN IMMEDIATE;
         CREATE TABLE IF NOT EXISTS records (key TEXT PRIMARY KEY, version INTEGER NOT NULL, bytes BLOB NOT NULL)
             WITHOUT ROWID;
         CREATE TABLE IF NOT EXISTS counter (only INTEGER PRIMARY KEY CHECK (only = 1), last INTEGER NOT NULL);
         INSERT OR IGNORE INTO counter VALUES (1, 0);
         PRAGMA application_id = {APPLICATION_ID};
         PRAGMA user_version = {SCHEMA};
         COMMIT;"
    ))
}

fn read_only(path: &Path) -> LedgerError {
    LedgerError::Unusable(format!("{} is read-only; it and its folder have to be writable", path.display()))
}

/// What SQLite says, as something to do.
fn explain(path: &Path, error: &rusqlite::Error) -> LedgerError {
    let name = path.display();
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            LedgerError::Unavailable(format!("another process holds {name}"))
        }
        Some(ErrorCode::DiskFull) => {
            LedgerError::Unavailable(format!("the disk of {name} is full: free some space, nothing is lost"))
        }
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => read_only(path),
        // The file is there, but not the ones beside it: a process that was killed left a log that only its owner may use.
        Some(ErrorCode::CannotOpen) if path.is_file() => read_only(path),
        Some(ErrorCode::CannotOpen) => {
            LedgerError::Unusable(format!("{name} cannot be opened: does its folder exist, and may we write there?"))
        }
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => LedgerError::Unusable(format!(
            "{name} is damaged or no ledger ({error}); it is left as it is: restore it from a backup or name another file"
        )),
        _ if matches!(error, rusqlite::Error::InvalidQuery) => {
            LedgerError::Unusable(format!("{name} is another program's database; name another file"))
        }
        _ => LedgerError::Unavailable(format!("{name}: {error}")),
    }
}

/// Ends when the last handle is gone; the connection closes with it.
fn serve(mut connection: Connection, mut queue: mpsc::Receiver<Request>) {
    let path = connection.path().map(PathBuf::from).unwrap_or_default();
    let mut files = OpenFiles::of(&path);
    let mut batch = Vec::with_capacity(BATCH);
    while queue.blocking_recv_many(&mut batch, BATCH) > 0 {
        let before = files.are_there(&path);
        let result = if before { apply(&mut connection, &mut batch) } else { Ok(()) };
        // What was written into a file that has gone meanwhile is not there.
        let there = before && files.are_there(&path);
        for request in batch.drain(..) {
            request.work.answer(match &result {
                _ if !there => Err(LedgerError::Unusable(format!(
                    "{} or the log beside it was removed or replaced while it was open: start again, failover then \
                     goes by what is there",
                    path.display()
                ))),
                Ok(()) => Ok(()),
                Err(error) => Err(explain(&path, error)),
            });
        }
    }
}

/// The files that were opened. A file that was removed stays open and takes every write, which nobody reads again: a
/// restart, or a second watcher, would begin with another ledger.
struct OpenFiles([Option<(u64, u64)>; 2]);

impl OpenFiles {
    fn of(path: &Path) -> Self {
        let log = PathBuf::from(format!("{}-wal", path.display()));
        let inode = |path: &Path| std::fs::metadata(path).ok().map(|file| (file.dev(), file.ino()));
        Self([inode(path), inode(&log)])
    }

    /// Whether they are still under their names. The log appears with the first write.
    fn are_there(&mut self, path: &Path) -> bool {
        let now = Self::of(path);
        let there = self.0.iter().zip(&now.0).all(|(before, now)| before.is_none() || before == now);
        if there {
            *self = now;
        }
        there
    }
}

/// All or nothing: an error rolls the whole batch back, and everyone in it is told.
fn apply(connection: &mut Connection, batch: &mut [Request]) -> rusqlite::Result<()> {
    let writes = batch.iter().any(|request| request.writes);
    let behavior = if writes { TransactionBehavior::Immediate } else { TransactionBehavior::Deferred };
    let transaction = connection.transaction_with_behavior(behavior)?;
    for request in batch {
        request.work.run(&transaction)?;
    }
    transaction.commit()
}

fn version_of(version: i64) -> Version {
    Version(version.to_string())
}

/// What is larger than anything we write is not taken into memory: the length is in the header of its row.
fn get(connection: &Connection, key: &str) -> rusqlite::Result<Result<Option<Stored>, LedgerError>> {
    let mut statement = connection.prepare_cached(
        "SELECT CASE WHEN length(bytes) <= ?2 THEN bytes END, version, length(bytes) FROM records WHERE key = ?1",
    )?;
    let most = i64::try_from(MAX_RECORD).unwrap_or(i64::MAX);
    let read = |row: &rusqlite::Row<'_>| {
        Ok(match row.get(0)? {
            Some(bytes) => Ok(Stored { bytes, version: version_of(row.get(1)?) }),
            None => Err(LedgerError::Oversized(format!(
                "the record {key} has {} bytes, and nothing we write has more than {MAX_RECORD}: restore or remove it",
                row.get::<_, i64>(2)?
            ))),
        })
    };
    Ok(statement.query_row(params![key, most], read).optional()?.transpose())
}

fn conflict(connection: &Connection, key: &str) -> rusqlite::Result<PutError> {
    Ok(get(connection, key)?.map_or_else(PutError::from, |found| PutError::Conflict { found }))
}

fn current(connection: &Connection, key: &str) -> rusqlite::Result<Option<Version>> {
    let mut statement = connection.prepare_cached("SELECT version FROM records WHERE key = ?1")?;
    statement.query_row([key], |row| Ok(version_of(row.get(0)?))).optional()
}

fn put(
    connection: &Connection,
    key: &str,
    bytes: &[u8],
    expect: &Expect,
) -> rusqlite::Result<Result<Version, PutError>> {
    let found = current(connection, key)?;
    let as_expected = match expect {
        Expect::Absent => found.is_none(),
        Expect::Version(version) => found.as_ref() == Some(version),
    };
    if !as_expected {
        return Ok(Err(conflict(connection, key)?));
    }
    let next: i64 = connection
        .prepare_cached("UPDATE counter SET last = last + 1 RETURNING last")?
        .query_row([], |row| row.get(0))?;
    connection
        .prepare_cached("INSERT OR REPLACE INTO records (key, version, bytes) VALUES (?1, ?2, ?3)")?
        .execute(params![key, next, bytes])?;
    Ok(Ok(version_of(next)))
}

fn remove(connection: &Connection, key: &str, version: &Version) -> rusqlite::Result<Result<(), PutError>> {
    if current(connection, key)?.as_ref() != Some(version) {
        return Ok(Err(conflict(connection, key)?));
    }
    connection.prepare_cached("DELETE FROM records WHERE key = ?1")?.execute([key])?;
    Ok(Ok(()))
}

/// A prefix is a range of bytes: no pattern, so no character in it means anything.
fn list(connection: &Connection, prefix: &str, after: Option<&str>) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare_cached(
        "SELECT key FROM records WHERE key >= ?1 AND substr(key, 1, length(?1)) = ?1 AND key > ?2 ORDER BY key",
    )?;
    let rows = statement.query_map(params![prefix, after.unwrap_or("")], |row| row.get(0))?;
    rows.collect()
}

#[cfg(test)]
mod tests {
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
}
