//! The seams: what the runtime needs of the outside, as traits. Each exists because the tests need a fake there or
//! because there are two real ones.

use async_trait::async_trait;

mod promotion;

pub use promotion::*;

use crate::domain::{
    ActionId, CreateOutcome, Delivery, IncidentId, InstanceRef, Machine, Message, Span, StandbySpec, ValidatorId,
    Written, ownership::OwnershipView,
};

// ---------------------------------------------------------------------------------------------------- ledger

/// The one store of state: small records by key, changed by compare-and-swap (its keys: [`crate::domain::LedgerKey`]).
///
/// Contract, which the conformance suite checks for every adapter: a `put` that answered `Ok` survives a crash; of
/// several writers with the same expectation exactly one wins; a reader sees every `Ok` put that ended before it began;
/// [`PutError::UnknownOutcome`] means it may have happened, and only reading again tells, as `write` does.
#[async_trait]
pub trait Ledger: Send + Sync + 'static {
    /// The record under this key, if there is one.
    async fn get(&self, key: &str) -> Result<Option<Stored>, LedgerError>;
    /// Writes if the key is as expected. `Conflict` leaves everything as it was.
    async fn put(&self, key: &str, bytes: Vec<u8>, expect: Expect) -> Result<Version, PutError>;
    /// Every key with this prefix that sorts after `after`, in order of bytes. Complete or an error.
    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Vec<String>, LedgerError>;
    /// The first keys that sort after `after`, at most so many: for walking through all of them. Empty at the end.
    async fn page(&self, after: Option<&str>, most: usize) -> Result<Vec<String>, LedgerError> {
        let mut keys = self.list("", after).await?;
        keys.truncate(most);
        Ok(keys)
    }
    /// Removes a record nobody needs any more (a request taken, an alert long resolved), if it is still this version.
    async fn remove(&self, key: &str, version: &Version) -> Result<(), PutError>;
    /// How long this version has been there at least, by a clock that the store keeps for everybody. `None` when there
    /// is no such clock, or another version by now: then only watching it by one's own clock tells.
    async fn age(&self, _key: &str, _version: &Version) -> Result<Option<Span>, LedgerError> {
        Ok(None)
    }
    /// The region that it is in, as the cloud writes it, but in small letters. `None` when it is in none.
    async fn region(&self) -> Result<Option<String>, LedgerError> {
        Ok(None)
    }
    /// Where the records are, for people: "the file /var/lib/failover/ledger.sqlite".
    fn describe(&self) -> String;
    /// Names this very store: the same at every start, and another for a copy of it.
    fn place(&self) -> String {
        self.describe()
    }
    /// Whether the records survive the loss of the whole house.
    fn is_off_site(&self) -> bool;
}

impl dyn Ledger + '_ {
    /// Writes, and finds out by reading whether a write without a reply has happened.
    ///
    /// Equal bytes are taken for our own. So they have to be bytes that no other write has (a random id, a count that
    /// grows with every try), or bytes that are as good from anybody.
    ///
    /// # Errors
    /// [`PutError::Conflict`] has what is there instead. After a lost reply that may be what was expected: then it has
    /// not happened so far. [`PutError::UnknownOutcome`] when it cannot be read either.
    pub async fn write(&self, key: &str, bytes: Vec<u8>, expect: Expect) -> Result<Version, PutError> {
        let found = match self.put(key, bytes.clone(), expect).await {
            Ok(version) => return Ok(version),
            Err(error @ (PutError::Failed(_) | PutError::TooLarge(_))) => return Err(error),
            Err(PutError::Conflict { found }) => found,
            Err(PutError::UnknownOutcome(why)) => match self.get(key).await {
                Ok(found) => found,
                Err(error) => return Err(PutError::UnknownOutcome(format!("{why}; reading it again failed: {error}"))),
            },
        };
        match found {
            Some(stored) if stored.bytes == bytes => Ok(stored.version),
            found => Err(PutError::Conflict { found }),
        }
    }
}

/// Bytes and the version that a later `put` has to name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    pub bytes: Vec<u8>,
    /// Names this state of this key.
    pub version: Version,
}

/// Opaque to everybody but the adapter that gave it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Version(pub String);

/// What a writer believes is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Nothing.
    Absent,
    Version(Version),
}

/// The largest record an adapter takes, in bytes: far above what we write, far below what hurts.
pub const MAX_RECORD: usize = 1 << 20;

/// Why the ledger could not answer.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// Not now: network, lock, a server error. Try again.
    #[error("the ledger is not available: {0}")]
    Unavailable(String),
    /// It refuses us at this moment. Minutes may mend that (a token is renewed, a role was given a moment ago), or
    /// nobody but the operator can.
    #[error("the ledger refuses us: {1}")]
    Refused(Barred, String),
    /// Not ever, until somebody acts: a folder instead of a file, no permission, a newer schema, a corrupt file.
    #[error("the ledger cannot be used: {0}")]
    Unusable(String),
    /// This record is larger than any of ours, and was not read. The others are as they were.
    #[error("{0}")]
    Oversized(String),
}

/// What a ledger that refuses us has against us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Barred {
    /// It does not accept who we say we are.
    Login,
    /// It knows us, and we may not do this.
    Right,
}

/// Why a write did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum PutError {
    /// It is not as expected; `found` is what is there now, if anything.
    #[error("somebody else has changed it")]
    Conflict { found: Option<Stored> },
    #[error(transparent)]
    Failed(#[from] LedgerError),
    /// It may have happened: read before writing again.
    #[error("the reply was lost, it may have been written: {0}")]
    UnknownOutcome(String),
    #[error("the record has {0} bytes, more than a record may have")]
    TooLarge(usize),
}

// ---------------------------------------------------------------------------------------------------- cloud

/// A cloud that can hold standbys, as the loop uses it. Compute Engine is the one there is.
pub trait Cloud: Machines + Disks + Inspection {}

impl<T: Machines + Disks + Inspection> Cloud for T {}

#[async_trait]
pub trait Machines: Send + Sync + 'static {
    /// Every machine of this site that the scope names, in every zone in which machines are made. An answer that may
    /// lack one is an error ([`CloudError::Incomplete`]), never a shorter list.
    async fn find(&self, scope: &Scope) -> Result<Vec<Machine>, CloudError>;
    /// Creates the machine and follows the operation to its end. It never reports success that it has not seen, and a
    /// machine of the same name counts only when its labels are this incident's. The ledger's id becomes a label: by it
    /// a machine of another ledger is known, which is not ours to delete.
    async fn create(&self, spec: &StandbySpec, ledger: uuid::Uuid) -> CreateOutcome;
    /// What the machine is doing and what it last reported. `Ok(None)` when this very machine (by numeric id) is gone.
    async fn observe(&self, instance: &InstanceRef) -> Result<Option<Observed>, CloudError>;
    /// Deletes this very machine (by numeric id) with its disks, and follows the operation. `Ok` when it is gone.
    async fn delete(&self, action: &ActionId, instance: &Unpromoted) -> Result<(), CloudError>;
}

/// What a machine shows without anybody on it.
#[async_trait]
pub trait Inspection: Send + Sync + 'static {
    /// What the machine's first serial port has printed from byte `start` on; a negative one counts from the end. The
    /// cloud keeps the last megabyte. `Ok(None)` when the machine is gone.
    async fn serial_port(&self, instance: &InstanceRef, start: i64) -> Result<Option<SerialPort>, CloudError>;
}

#[async_trait]
pub trait Disks: Send + Sync + 'static {
    /// Disks that carry this scope's labels, by name and place. After the machines are gone there should be none.
    /// Complete or an error.
    async fn disks(&self, scope: &Scope) -> Result<Vec<String>, CloudError>;
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    Everything,
    Validator(ValidatorId),
    Incident(ValidatorId, IncidentId),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    pub machine: Machine,
    /// What it has written where its report belongs.
    pub written: Written,
}

/// A part of what a serial port has printed.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct SerialPort {
    /// As it was printed; what is not UTF-8 the cloud has replaced.
    pub contents: String,
    /// Where the contents begin. Later than asked for when older output has been overwritten.
    pub start: i64,
    pub next: i64,
}

/// What `retain` could and could not do.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Retained {
    /// Deletion protection and the label are set.
    pub protected: bool,
    /// The limit is cleared. When not, the machine will be *stopped* (not deleted) at its end.
    pub limit_cleared: bool,
    /// What remains to be done by hand, if anything.
    pub remaining: Option<String>,
}

/// One thing that `failover check` looked at. Whatever is not fine has its remedy.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// What was looked at: "permission compute.instances.create".
    pub subject: String,
    /// Fine, would fail on the day, or could not be found out.
    pub state: FindingState,
    /// What was seen.
    pub detail: String,
    /// What to do; nothing when it is fine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Finding {
    pub fn ok(subject: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { subject: subject.into(), state: FindingState::Ok, detail: detail.into(), remedy: None }
    }

    /// It works, and something about it is worth to be changed.
    pub fn warning(subject: impl Into<String>, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::bad(FindingState::Warning, subject, detail, remedy)
    }

    /// It would fail on the day.
    pub fn problem(subject: impl Into<String>, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::bad(FindingState::Problem, subject, detail, remedy)
    }

    /// It could not be found out.
    pub fn unknown(subject: impl Into<String>, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::bad(FindingState::Unknown, subject, detail, remedy)
    }

    fn bad(
        state: FindingState,
        subject: impl Into<String>,
        detail: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { subject: subject.into(), state, detail: detail.into(), remedy: Some(remedy.into()) }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingState {
    Ok,
    Warning,
    Problem,
    Unknown,
}

/// Why the cloud could not answer; the executor acts on the kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CloudError {
    /// Not now: 429, 5xx, no connection. Nothing has happened.
    #[error("the cloud did not answer: {0}")]
    Retry(String),
    /// Not until somebody changes something.
    #[error("the cloud refused: {0}")]
    Refused(String),
    /// Cannot be told: a lost reply. Look before acting again.
    #[error("the outcome is unknown: {0}")]
    Unknown(String),
    /// A search to which some zones of the ladder have not answered: it shows what is there, never what is not.
    #[error("the list is not complete: {}", .0.why)]
    Incomplete(Box<IncompleteList>),
}

/// What a search has found, and where it could not look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IncompleteList {
    pub found: Vec<Machine>,
    pub unseen_zones: Vec<String>,
    /// What those zones have answered.
    pub why: String,
}

/// A machine that was checked, just now, against `owners/`, `sessions/`, `promotions/`, its labels and its report, and may be deleted.
///
/// **Invariant:** only [`Unpromoted::check`] makes one, so nothing can ask the cloud to delete a machine unchecked.
#[derive(Clone, Debug)]
pub struct Unpromoted(InstanceRef);

/// Why a machine must not be touched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{machine} must not be deleted: {reason}")]
pub struct Untouchable {
    pub machine: String,
    /// The check that failed and what it saw.
    pub reason: String,
    /// It is a doubt that the machine's next report may end, so it may be asked again.
    pub for_now: bool,
}

impl Unpromoted {
    /// Lets a machine through only if nothing speaks for a signer on it.
    ///
    /// Home needs no grant while nobody has ever signed one. Once there is one, only a verified grant for home with a session
    /// that is not above it lets a machine through.
    ///
    /// # Errors
    /// [`Untouchable`] names the check that failed.
    pub fn check(
        seen: &Observed,
        validator: &ValidatorId,
        incident: IncidentId,
        view: &OwnershipView,
    ) -> Result<Self, Untouchable> {
        use crate::domain::{Owner, Role};
        let machine = &seen.machine;
        let because = |reason: String| Untouchable { machine: machine.instance.to_string(), reason, for_now: false };
        let refuse = |reason: String| Err(because(reason));
        if machine.validator != validator.as_str() || machine.incident != incident.to_string() {
            return refuse(format!("its labels name validator {} incident {}", machine.validator, machine.incident));
        }
        if machine.role != Role::Standby {
            return refuse(format!("its role is {:?}", machine.role).to_lowercase());
        }
        if machine.deletion_protection {
            return refuse("its deletion protection is on".into());
        }
        match &seen.written {
            Written::Report(report) if report.signer_seen => {
                return refuse("it reports a process that could sign".into());
            }
            Written::Report(report) if report.signer_hidden.is_some() => {
                let reason = "it reports that a process that could sign cannot be ruled out".into();
                return Err(Untouchable { for_now: true, ..because(reason) });
            }
            // It may be that very word which cannot be read.
            Written::Unreadable(why) => return refuse(format!("what it reports cannot be read: {why}")),
            // A start-up script that has not come to an agent knows of no signer, as a machine that has said nothing
            // does not.
            Written::Report(_) | Written::Starting(_) | Written::Nothing => {}
        }
        if let Some(why) = view.promotion_forbids(&machine.instance.id) {
            return refuse(why);
        }
        match view.owner() {
            Ok(Owner::Unknown | Owner::Home) => {}
            Ok(Owner::Moving { number }) => {
                return refuse(format!("a promotion is under way: the session's number is {number}"));
            }
            Ok(Owner::Cloud { number, instance, .. }) => {
                return refuse(format!("grant {number} says that the machine {instance} signs"));
            }
            Err(why) => return refuse(format!("who may sign is not known: {why}")),
        }
        Ok(Self(machine.instance.clone()))
    }

    #[must_use]
    pub fn instance(&self) -> &InstanceRef {
        &self.0
    }
}

/// How long one call to the cloud may take, so that an action ends before the lease it was started under.
pub const CALL_TIMEOUT: Span = Span::from_secs(20);

/// How long an action may take in all; after that it is looked for instead. Longer than one operation of the cloud is
/// followed.
pub const ACTION_TIMEOUT: Span = Span::from_mins(6);

// ---------------------------------------------------------------------------------------------------- mail

/// Something that notifies people. Mail is the one there is.
#[async_trait]
pub trait Notifier: Send + Sync + 'static {
    /// Everybody who is notified.
    fn recipients(&self) -> Vec<String>;
    /// Sends to these recipients, each for itself: one that is refused does not keep the others from getting it. The id
    /// makes a repetition recognisable; it never fails as a whole, what was not taken is in the answer.
    async fn send(&self, message: &Message, id: uuid::Uuid, to: &[String]) -> Delivery;
    /// What would fail on the day. Nothing is sent.
    async fn check(&self) -> Vec<Finding>;
}

/// What the chain shows of some keys, asked of beacon nodes: before a gate starts its command, and before a session that
/// is missing is made again.
#[async_trait]
pub trait Duties: Send + Sync {
    /// Which epoch it is, by what the beacon nodes say, with its times by the chain's genesis.
    ///
    /// # Errors
    /// Why nobody can say, in words.
    async fn now(&self) -> Result<crate::domain::gate::EpochSpan, String>;
    /// Whether these keys did anything in this epoch, which is over.
    async fn in_epoch(&self, epoch: crate::domain::chain::Epoch) -> DutySeen;
}

/// What an epoch shows. Only `None` proves anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DutySeen {
    /// No duty by any of them, while a control group did its own.
    None,
    /// At least one of them signed.
    Some { keys: usize },
    /// In words: a node that lags, is on another chain, has no liveness, or whose control group is silent too.
    Unknown(String),
}

/// The time, and waiting for it.
pub trait Clock: Send + Sync + 'static {
    fn now(&self) -> crate::domain::Time;
    /// Waits until the wall clock shows this.
    fn sleep_until(&self, at: crate::domain::Time) -> futures::future::BoxFuture<'static, ()>;
}
