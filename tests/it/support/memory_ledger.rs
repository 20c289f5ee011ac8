//! A ledger in memory that can be told to fail. It keeps the contract of the trait and survives nothing.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, MutexGuard},
};

use async_trait::async_trait;
use failover::ports::{Barred, Expect, Ledger, LedgerError, PutError, Stored, Version};

/// What the next put does instead of simply succeeding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It does not happen.
    Unavailable,
    /// It happens, and the reply is lost.
    LostReply,
    /// It does not happen, and the reply is lost.
    LostRequest,
    /// Somebody else writes the same bytes first; then it is a conflict.
    Overtaken,
}

#[derive(Default)]
struct State {
    records: BTreeMap<String, Stored>,
    counter: u64,
    faults: VecDeque<Fault>,
    during_put: Option<Box<dyn Fn() + Send>>,
    puts: usize,
    gets: usize,
    /// After how many more reads they fail; `None` for never.
    reads_left: Option<usize>,
    refuses: bool,
}

/// See the module.
#[derive(Default)]
pub struct MemoryLedger(Mutex<State>);

impl MemoryLedger {
    /// The next puts meet these, in this order.
    pub fn script(&self, faults: impl IntoIterator<Item = Fault>) {
        self.state().faults.extend(faults);
    }

    /// From now on reads fail, or do not.
    pub fn fail_reads(&self, fail: bool) {
        self.state().reads_left = fail.then_some(0);
    }

    /// From now on reads are refused, or are not.
    pub fn refuse_reads(&self, refuse: bool) {
        self.state().refuses = refuse;
    }

    /// So many reads succeed from now on, and the others fail.
    pub fn fail_reads_after(&self, reads: usize) {
        self.state().reads_left = Some(reads);
    }

    /// From now on every put does this before it answers.
    pub fn during_put(&self, action: impl Fn() + Send + 'static) {
        self.state().during_put = Some(Box::new(action));
    }

    /// How many puts were asked for.
    pub fn puts(&self) -> usize {
        self.state().puts
    }

    /// How many reads were asked for.
    pub fn gets(&self) -> usize {
        self.state().gets
    }

    /// Every key with its bytes as text.
    pub fn dump(&self) -> BTreeMap<String, String> {
        let state = self.state();
        let text = |stored: &Stored| String::from_utf8(stored.bytes.clone()).expect("records are text");
        state.records.iter().map(|(key, stored)| (key.clone(), text(stored))).collect()
    }

    /// Puts without a condition.
    pub fn set(&self, key: &str, bytes: impl Into<Vec<u8>>) {
        self.state().write(key, bytes.into());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no test panics while it holds this")
    }
}

impl State {
    fn write(&mut self, key: &str, bytes: Vec<u8>) -> Version {
        self.counter += 1;
        let version = Version(self.counter.to_string());
        self.records.insert(key.to_owned(), Stored { bytes, version: version.clone() });
        version
    }

    fn put(&mut self, key: &str, bytes: Vec<u8>, expect: &Expect) -> Result<Version, PutError> {
        let found = self.records.get(key).cloned();
        let expected = match expect {
            Expect::Absent => None,
            Expect::Version(version) => Some(version),
        };
        if found.as_ref().map(|stored| &stored.version) == expected {
            Ok(self.write(key, bytes))
        } else {
            Err(PutError::Conflict { found })
        }
    }

    fn readable(&mut self) -> Result<(), LedgerError> {
        self.gets += 1;
        if self.refuses {
            return Err(LedgerError::Refused(Barred::Login, "scripted".into()));
        }
        match &mut self.reads_left {
            None => Ok(()),
            Some(0) => Err(LedgerError::Unavailable("scripted".into())),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }
}

#[async_trait]
impl Ledger for MemoryLedger {
    async fn get(&self, key: &str) -> Result<Option<Stored>, LedgerError> {
        let mut state = self.state();
        state.readable()?;
        Ok(state.records.get(key).cloned())
    }

    async fn put(&self, key: &str, bytes: Vec<u8>, expect: Expect) -> Result<Version, PutError> {
        let mut state = self.state();
        state.puts += 1;
        if let Some(action) = &state.during_put {
            action();
        }
        match state.faults.pop_front() {
            None => state.put(key, bytes, &expect),
            Some(Fault::Unavailable) => Err(LedgerError::Unavailable("scripted".into()).into()),
            Some(Fault::LostReply) => {
                state.put(key, bytes, &expect)?;
                Err(PutError::UnknownOutcome("scripted".into()))
            }
            Some(Fault::LostRequest) => Err(PutError::UnknownOutcome("scripted".into())),
            Some(Fault::Overtaken) => {
                state.write(key, bytes.clone());
                state.put(key, bytes, &expect)
            }
        }
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Vec<String>, LedgerError> {
        let mut state = self.state();
        state.readable()?;
        let wanted = |key: &&String| key.starts_with(prefix) && after.is_none_or(|after| key.as_str() > after);
        Ok(state.records.keys().filter(wanted).cloned().collect())
    }

    async fn remove(&self, key: &str, version: &Version) -> Result<(), PutError> {
        let mut state = self.state();
        let found = state.records.get(key).cloned();
        if found.as_ref().is_some_and(|found| found.version == *version) {
            state.records.remove(key);
            Ok(())
        } else {
            Err(PutError::Conflict { found })
        }
    }

    fn describe(&self) -> String {
        "memory".into()
    }

    fn is_off_site(&self) -> bool {
        false
    }
}
