//! The session as an adoption needs it before its grant is signed. What comes next is said by [`Adoption::next`] alone.
//!
//! Each step may be repeated after a crash, and each is a compare-and-swap over exactly what was read before.

use std::time::Duration;

use uuid::Uuid;

use super::{session_of, silence::SilenceWatch};
use crate::{
    domain::{
        LedgerKey, ValidatorId,
        chain::Epoch,
        ownership::{AdoptStep, Adoption, SILENT_EPOCHS, Session},
    },
    ports::{Expect, Ledger, LedgerError, PutError, Version},
    records,
};

/// How often a session is looked at while it is waited out.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// A holder that renews changes it every few minutes; more often than this it is a quarrel.
const TRIES: usize = 5;

/// Why the session is not as it has to be.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error("the session could not be written: {0}")]
    Write(#[from] PutError),
    #[error("{0}")]
    Unreadable(String),
    #[error("the session has gone meanwhile: the ledger is damaged; nothing was signed")]
    Gone,
    #[error(
        "somebody else has raised the session's number to {0} meanwhile; nothing was signed: look again with \
         `failover grants`"
    )]
    Overtaken(u64),
    #[error("the session changes all the time; nothing was signed: try again")]
    Contended,
    #[error(
        "the session was written after it was read for your statement, so something at home still runs; nothing was freed and \
         nothing was signed: find it and stop it"
    )]
    NotAsStated,
    #[error(
        "SOMEBODY SIGNS WITH THESE KEYS: {keys} had duties in epoch {epoch}. Find that process and stop it; nothing was signed"
    )]
    Signing { epoch: Epoch, keys: usize },
    #[error("nobody watches the duties of these keys; nothing was signed")]
    Unwatched,
    #[error("a machine that may hold the keys is not TERMINATED; nothing was signed")]
    Machine,
    /// After the raise.
    #[error("{0}; home is stopped, since its session's number is raised: repeat the same command with `--renew`")]
    Stopped(Box<SessionError>),
}

impl SessionError {
    /// Somebody else's number is no reason to raise it once more.
    fn after_the_raise(self) -> Self {
        match self {
            other @ (Self::Overtaken(_) | Self::Stopped(_)) => other,
            why => Self::Stopped(Box::new(why)),
        }
    }
}

/// What is waited for, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionWait {
    /// Nobody gives it back: it is old after this long.
    OldIn(Duration),
    /// Its holder continues without the ledger: it is free when that gives it back.
    GivenBack,
    /// It is missing, and a gate that was confirmed under it may still start or sign: for this long.
    MayStart(Duration),
    /// It is missing, and the chain has to show that nobody signs.
    Silence {
        /// So many whole epochs more.
        more: u32,
        /// Why the last one could not be judged.
        trouble: Option<String>,
    },
    /// The ledger does not answer.
    Ledger,
    /// The ledger refuses us: the operator's login has ended, for example, and may be renewed beside this.
    Barred,
}

/// The session as it was last read, or that it is missing.
#[derive(Clone)]
struct Found {
    is: Option<(Session, Version)>,
    /// How old this version was, by the store, when it was first read here.
    age: Duration,
    since: Duration,
}

impl Found {
    /// Reads it. What is unchanged gets older.
    async fn read(
        ledger: &dyn Ledger,
        validator: &ValidatorId,
        before: Option<&Self>,
        raw: impl Fn() -> Duration,
    ) -> Result<Self, SessionError> {
        let key = LedgerKey::session(validator);
        let stored = ledger.get(&key).await?;
        let version = stored.as_ref().map(|stored| &stored.version);
        if let Some(before) = before.filter(|before| before.is.as_ref().map(|(_, version)| version) == version) {
            return Ok(before.clone());
        }
        let Some(stored) = stored else { return Ok(Self { is: None, age: Duration::ZERO, since: raw() }) };
        let session = session_of(validator, &stored.bytes).map_err(SessionError::Unreadable)?;
        let age = ledger.age(&key, &stored.version).await?;
        let age = age.and_then(|age| Duration::try_from(age).ok()).unwrap_or_default();
        Ok(Self { is: Some((session, stored.version)), age, since: raw() })
    }

    fn session(&self) -> Option<&Session> {
        self.is.as_ref().map(|(session, _)| session)
    }
}

/// Does what `adoption` needs done to the session, until a grant of its number may be signed.
///
/// `adoption` has the session as it was read when people were asked. `raw` is a clock that nobody sets and that counts the
/// time asleep. What the store's own clock says about the age of exactly the replaced version counts: a raise extends
/// nothing, and after it nobody can renew.
///
/// # Errors
/// [`SessionError`]. The number may be raised then, which stops home until this is done again.
pub async fn prepare_session(
    ledger: &dyn Ledger,
    validator: &ValidatorId,
    adoption: Adoption<'_>,
    watch: Option<SilenceWatch>,
    raw: impl Fn() -> Duration,
    progress: impl FnMut(SessionWait),
) -> Result<(), SessionError> {
    let mut raised = false;
    let ended = prepare(ledger, validator, adoption, watch, raw, progress, &mut raised).await;
    ended.map_err(|error| if raised { error.after_the_raise() } else { error })
}

async fn prepare(
    ledger: &dyn Ledger,
    validator: &ValidatorId,
    adoption: Adoption<'_>,
    mut watch: Option<SilenceWatch>,
    raw: impl Fn() -> Duration,
    mut progress: impl FnMut(SessionWait),
    has_raised: &mut bool,
) -> Result<(), SessionError> {
    let key = LedgerKey::session(validator);
    let (mut found, mut tries) = (Found::read(ledger, validator, None, &raw).await?, 0);
    loop {
        match found.session() {
            Some(session) if session.number > adoption.number => return Err(SessionError::Overtaken(session.number)),
            None if adoption.session.is_some() => return Err(SessionError::Gone),
            Some(_) | None => {}
        }
        // Where it is missing, the silence has to last: also over a suspend, and while the ledger was away.
        let mut trouble = None;
        if let Some(watch) = watch.as_mut().filter(|_| found.session().is_none()) {
            trouble = watch.look().await?;
        }
        let next = Adoption {
            session: found.session(),
            unchanged: found.age + raw().saturating_sub(found.since),
            silent: watch.as_ref().map_or(0, SilenceWatch::silent),
            ..adoption
        };
        let pause = match (next.next(), &found.is) {
            (AdoptStep::Sign, _) => return Ok(()),
            (AdoptStep::Terminate, _) => return Err(SessionError::Machine),
            (AdoptStep::Free, session) if session.as_ref().map(|(session, _)| session) != adoption.session => {
                return Err(SessionError::NotAsStated);
            }
            (step @ (AdoptStep::Raise | AdoptStep::Free), Some((session, version))) => {
                let raised = match step {
                    AdoptStep::Free => session.freed_at(adoption.number, Uuid::new_v4()),
                    _ => session.raised_to(adoption.number, Uuid::new_v4()),
                };
                match ledger.write(&key, records::encode(&key, &raised), Expect::Version(version.clone())).await {
                    // The age continues.
                    Ok(version) => {
                        *has_raised |= step == AdoptStep::Raise;
                        found.is = Some((raised, version));
                    }
                    Err(PutError::Conflict { .. }) if tries < TRIES => {
                        tries += 1;
                        found = Found::read(ledger, validator, Some(&found), &raw).await?;
                    }
                    Err(PutError::Conflict { .. }) => return Err(SessionError::Contended),
                    Err(error) => return Err(error.into()),
                }
                continue;
            }
            (AdoptStep::Raise | AdoptStep::Free, None) => return Err(SessionError::Gone),
            (AdoptStep::Create, _) => {
                let free = Session::free(adoption.number, Uuid::new_v4());
                match ledger.write(&key, records::encode(&key, &free), Expect::Absent).await {
                    Ok(version) => found.is = Some((free, version)),
                    Err(PutError::Conflict { .. }) => return Err(SessionError::Contended),
                    Err(error) => return Err(error.into()),
                }
                continue;
            }
            (AdoptStep::Wait(left), session) => {
                let pause = left.unwrap_or(LOOK_EVERY).clamp(Duration::from_secs(1), LOOK_EVERY);
                progress(match (left, session) {
                    (None, _) => SessionWait::GivenBack,
                    (Some(left), Some(_)) => SessionWait::OldIn(left),
                    (Some(left), None) => SessionWait::MayStart(left),
                });
                // Whoever holds a session that is there may sign.
                match watch.as_ref().filter(|_| session.is_none()) {
                    Some(watch) => pause.min(watch.pause()),
                    None => pause,
                }
            }
            (AdoptStep::Silence(_), _) => {
                let watch = watch.as_ref().ok_or(SessionError::Unwatched)?;
                let more = SILENT_EPOCHS.saturating_sub(watch.silent());
                progress(SessionWait::Silence { more, trouble });
                watch.pause()
            }
        };
        tokio::time::sleep(pause).await;
        // What was not looked at may have changed.
        found = loop {
            match Found::read(ledger, validator, Some(&found), &raw).await {
                Ok(found) => break found,
                Err(SessionError::Ledger(error @ (LedgerError::Unavailable(_) | LedgerError::Refused(..)))) => {
                    let barred = matches!(error, LedgerError::Refused(..));
                    progress(if barred { SessionWait::Barred } else { SessionWait::Ledger });
                    tokio::time::sleep(LOOK_EVERY).await;
                }
                Err(error) => return Err(error),
            }
        };
    }
}
