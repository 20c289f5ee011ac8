//! The ledger as one SQLite file: for one machine, a laptop, or tests.
//!
//! It does not survive the house; `failover check` says so. One thread owns the connection and takes whatever waits into
//! one transaction, so that writes of one moment share one commit; each is judged by itself.

use std::{
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

enum Request {
    Get(String, oneshot::Sender<Result<Option<Stored>, LedgerError>>),
    List(String, Option<String>, oneshot::Sender<Result<Vec<String>, LedgerError>>),
    Put(String, Vec<u8>, Expect, oneshot::Sender<Result<Version, PutError>>),
    Remove(String, Version, oneshot::Sender<Result<(), PutError>>),
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

    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Result<T, LedgerError> {
        let gone = || LedgerError::Unusable("its thread has ended".into());
        let (answer, receiver) = oneshot::channel();
        self.requests.send(request(answer)).await.map_err(|_| gone())?;
        receiver.await.map_err(|_| gone())
    }
}

#[async_trait]
impl Ledger for LedgerSqlite {
    async fn get(&self, key: &str) -> Result<Option<Stored>, LedgerError> {
        self.ask(|answer| Request::Get(key.to_owned(), answer)).await?
    }

    async fn put(&self, key: &str, bytes: Vec<u8>, expect: Expect) -> Result<Version, PutError> {
        if bytes.len() > MAX_RECORD {
            return Err(PutError::TooLarge(bytes.len()));
        }
        self.ask(|answer| Request::Put(key.to_owned(), bytes, expect, answer)).await?
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Vec<String>, LedgerError> {
        self.ask(|answer| Request::List(prefix.to_owned(), after.map(str::to_owned), answer)).await?
    }

    async fn remove(&self, key: &str, version: &Version) -> Result<(), PutError> {
        self.ask(|answer| Request::Remove(key.to_owned(), version.clone(), answer)).await?
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

/// What a request of a batch is to be told once the batch is committed.
enum Answer {
    Got(oneshot::Sender<Result<Option<Stored>, LedgerError>>, Option<Stored>),
    Listed(oneshot::Sender<Result<Vec<String>, LedgerError>>, Vec<String>),
    Put(oneshot::Sender<Result<Version, PutError>>, Result<Version, PutError>),
    Removed(oneshot::Sender<Result<(), PutError>>, Result<(), PutError>),
}

/// Ends when the last handle is gone; the connection closes with it.
fn serve(mut connection: Connection, mut queue: mpsc::Receiver<Request>) {
    let path = connection.path().map(PathBuf::from).unwrap_or_default();
    let mut batch = Vec::with_capacity(BATCH);
    while queue.blocking_recv_many(&mut batch, BATCH) > 0 {
        let writes = batch.iter().any(|request| matches!(request, Request::Put(..) | Request::Remove(..)));
        let mut answers = Vec::with_capacity(batch.len());
        let mut unanswered = batch.drain(..);
        let result = apply(&mut connection, writes, &mut unanswered, &mut answers);
        let rest: Vec<Request> = unanswered.collect();
        match result {
            Ok(()) => answers.into_iter().for_each(Answer::send),
            Err(error) => {
                let failed = || explain(&path, &error);
                answers.into_iter().for_each(|answer| answer.fail(failed()));
                rest.into_iter().for_each(|request| request.fail(failed()));
            }
        }
    }
}

/// All or nothing: an error rolls the whole batch back, and everyone in it is told.
fn apply(
    connection: &mut Connection,
    writes: bool,
    requests: &mut dyn Iterator<Item = Request>,
    answers: &mut Vec<Answer>,
) -> rusqlite::Result<()> {
    let behavior = if writes { TransactionBehavior::Immediate } else { TransactionBehavior::Deferred };
    let transaction = connection.transaction_with_behavior(behavior)?;
    for request in requests {
        match request {
            Request::Get(key, answer) => match get(&transaction, &key) {
                Ok(found) => answers.push(Answer::Got(answer, found)),
                Err(error) => return refuse(error, Request::Get(key, answer), answers),
            },
            Request::List(prefix, after, answer) => match list(&transaction, &prefix, after.as_deref()) {
                Ok(keys) => answers.push(Answer::Listed(answer, keys)),
                Err(error) => return refuse(error, Request::List(prefix, after, answer), answers),
            },
            Request::Put(key, bytes, expect, answer) => match put(&transaction, &key, &bytes, &expect) {
                Ok(result) => answers.push(Answer::Put(answer, result)),
                Err(error) => return refuse(error, Request::Put(key, bytes, expect, answer), answers),
            },
            Request::Remove(key, version, answer) => match remove(&transaction, &key, &version) {
                Ok(result) => answers.push(Answer::Removed(answer, result)),
                Err(error) => return refuse(error, Request::Remove(key, version, answer), answers),
            },
        }
    }
    transaction.commit()
}

/// Keeps the request that met the error among those that are told about it.
fn refuse(error: rusqlite::Error, request: Request, answers: &mut Vec<Answer>) -> rusqlite::Result<()> {
    answers.push(match request {
        Request::Get(_, answer) => Answer::Got(answer, None),
        Request::List(_, _, answer) => Answer::Listed(answer, Vec::new()),
        Request::Put(_, _, _, answer) => Answer::Put(answer, Err(PutError::UnknownOutcome(String::new()))),
        Request::Remove(_, _, answer) => Answer::Removed(answer, Err(PutError::UnknownOutcome(String::new()))),
    });
    Err(error)
}

fn version_of(version: i64) -> Version {
    Version(version.to_string())
}

fn get(connection: &Connection, key: &str) -> rusqlite::Result<Option<Stored>> {
    let mut statement = connection.prepare_cached("SELECT bytes, version FROM records WHERE key = ?1")?;
    statement.query_row([key], |row| Ok(Stored { bytes: row.get(0)?, version: version_of(row.get(1)?) })).optional()
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
        return Ok(Err(PutError::Conflict { found: get(connection, key)? }));
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
        return Ok(Err(PutError::Conflict { found: get(connection, key)? }));
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

impl Answer {
    /// Whoever no longer waits for it does not need it.
    fn send(self) {
        match self {
            Self::Got(answer, found) => drop(answer.send(Ok(found))),
            Self::Listed(answer, keys) => drop(answer.send(Ok(keys))),
            Self::Put(answer, result) => drop(answer.send(result)),
            Self::Removed(answer, result) => drop(answer.send(result)),
        }
    }

    fn fail(self, error: LedgerError) {
        match self {
            Self::Got(answer, _) => drop(answer.send(Err(error))),
            Self::Listed(answer, _) => drop(answer.send(Err(error))),
            Self::Put(answer, _) => drop(answer.send(Err(error.into()))),
            Self::Removed(answer, _) => drop(answer.send(Err(error.into()))),
        }
    }
}

impl Request {
    fn fail(self, error: LedgerError) {
        match self {
            Self::Get(_, answer) => drop(answer.send(Err(error))),
            Self::List(_, _, answer) => drop(answer.send(Err(error))),
            Self::Put(_, _, _, answer) => drop(answer.send(Err(error.into()))),
            Self::Remove(_, _, answer) => drop(answer.send(Err(error.into()))),
        }
    }
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
