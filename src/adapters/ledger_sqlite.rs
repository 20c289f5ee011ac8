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
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, TransactionBehavior, params};
use rustix::fs::{AtFlags, StatxFlags};
use tokio::sync::{mpsc, oneshot};

use crate::{
    domain::Time,
    ports::{Expect, Ledger, LedgerError, MAX_RECORD, PutError, Stored, Version},
};

#[cfg(test)]
mod tests;

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

    /// Opens the file so that nothing can be changed by it. A file that is not there is an empty ledger.
    ///
    /// # Errors
    /// As [`LedgerSqlite::open`].
    pub fn open_to_read(path: &Path) -> Result<Self, LedgerError> {
        Self::over(connect_to_read(path)?, path)
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

    async fn page(&self, after: Option<&str>, most: usize) -> Result<Vec<String>, LedgerError> {
        let (after, most) = (after.map(str::to_owned), i64::try_from(most).unwrap_or(i64::MAX));
        self.ask(false, move |connection| page(connection, after.as_deref(), most).map(Ok)).await
    }

    fn describe(&self) -> String {
        format!("the file {}", self.path.display())
    }

    /// A copy has another inode, or was made at another moment. The path is no part of it: a volume may be mounted
    /// elsewhere, and a copy may take the original's name. Nor is the device, which has another number after a boot.
    fn place(&self) -> String {
        // By statx itself: std's creation time does not exist with the C library of the image.
        let asked = StatxFlags::INO | StatxFlags::BTIME;
        let Ok(file) = rustix::fs::statx(rustix::fs::CWD, &self.path, AtFlags::empty(), asked) else {
            return "a file that is not there".to_owned();
        };
        let has_made = StatxFlags::from_bits_retain(file.stx_mask).contains(StatxFlags::BTIME);
        let made = has_made.then(|| i32::try_from(file.stx_btime.tv_nsec).ok()).flatten();
        let made = made.and_then(|nanos| Time::new(file.stx_btime.tv_sec, nanos).ok());
        format!("a file with inode {}, made {}", file.stx_ino, made.map_or("?".to_owned(), |at| at.to_string()))
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
    if !is_ours(path, &connection)? {
        create(&connection).map_err(|error| explain(path, &error))?;
    }
    Ok(connection)
}

/// Nothing is made or changed, not even the files beside it, unless a process that ended without cleaning up has left
/// its log: then reading it needs the index, which SQLite makes again.
fn connect_to_read(path: &Path) -> Result<Connection, LedgerError> {
    let failed = |error: rusqlite::Error| explain(path, &error);
    if path.is_dir() {
        return Err(LedgerError::Unusable(format!("{} is a folder; name a file in it", path.display())));
    }
    if !path.exists() {
        let empty = Connection::open_in_memory().map_err(failed)?;
        create(&empty).map_err(failed)?;
        return Ok(empty);
    }
    // Without a log nobody has it open, and SQLite need not make the files by which processes find each other.
    let how = if log_of(path).exists() { "mode=ro" } else { "immutable=1" };
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(uri(path, how), flags).map_err(failed)?;
    connection.busy_timeout(BUSY).map_err(failed)?;
    if is_ours(path, &connection)? {
        return Ok(connection);
    }
    Err(LedgerError::Unusable(format!("{} is empty and no ledger yet: `failover serve` makes it one", path.display())))
}

fn uri(path: &Path, how: &str) -> String {
    use std::{fmt::Write as _, os::unix::ffi::OsStrExt as _};
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut uri = String::from("file:");
    for byte in path.as_os_str().as_bytes() {
        let plain = byte.is_ascii_alphanumeric() || b"/-._~".contains(byte);
        if plain { uri.push(char::from(*byte)) } else { write!(uri, "%{byte:02X}").expect("a string takes everything") }
    }
    uri + "?" + how
}

/// Whether this program made it; false when it is empty.
fn is_ours(path: &Path, connection: &Connection) -> Result<bool, LedgerError> {
    let name = path.display();
    match identity(connection).map_err(|error| explain(path, &error))? {
        (APPLICATION_ID, SCHEMA) => Ok(true),
        (APPLICATION_ID, newer) if newer > SCHEMA => Err(LedgerError::Unusable(format!(
            "{name} was written by a newer failover (schema {newer}, this one knows {SCHEMA}): upgrade failover"
        ))),
        (0, 0) => Ok(false),
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
    // One that is not there is read as an empty one in memory, which nobody can take away.
    let in_memory = path.as_os_str().is_empty();
    let mut files = OpenFiles::of(&path);
    let mut batch = Vec::with_capacity(BATCH);
    while queue.blocking_recv_many(&mut batch, BATCH) > 0 {
        let before = in_memory || files.are_there(&path);
        let result = if before { apply(&mut connection, &mut batch) } else { Ok(()) };
        // What was written into a file that has gone meanwhile is not there.
        let there = before && (in_memory || files.are_there(&path));
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

/// SQLite's log beside the file, while somebody has it open.
fn log_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

/// The files that were opened. A file that was removed stays open and takes every write, which nobody reads again: a
/// restart, or a second watcher, would begin with another ledger.
struct OpenFiles([Option<(u64, u64)>; 2]);

impl OpenFiles {
    fn of(path: &Path) -> Self {
        let log = log_of(path);
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

/// What is larger than anything we write is not taken into memory: the length is in the header of its row. There the type
/// is as well, and one flipped bit makes a text of it: the bytes are the same, and their checksum decides.
fn get(connection: &Connection, key: &str) -> rusqlite::Result<Result<Option<Stored>, LedgerError>> {
    let mut statement = connection.prepare_cached(
        "SELECT CASE WHEN octet_length(bytes) <= ?2 THEN CAST(bytes AS BLOB) END, version, octet_length(bytes)
         FROM records WHERE key = ?1",
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

fn page(connection: &Connection, after: Option<&str>, most: i64) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare_cached("SELECT key FROM records WHERE key > ?1 ORDER BY key LIMIT ?2")?;
    let rows = statement.query_map(params![after.unwrap_or(""), most], |row| row.get(0))?;
    rows.collect()
}
