//! The session in the ledger, as its gate reads, takes, renews and gives it back.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use uuid::Uuid;

use crate::{
    domain::{
        LedgerKey, Time,
        gate::{ChildDeadline, RenewalId, Renewals, VersionAge},
        ownership::{MAX_GRANT_NUMBER, OnLedgerLoss, Session},
    },
    gate::timing::{GatePace, RawClock, within},
    ports::{Expect, Ledger, Stored, Version},
    records,
};

/// So many versions that this gate has replaced are remembered, those of some twenty hours, and so many writes.
const MANY: usize = 256;

/// What was read.
pub(super) struct Found {
    pub session: Session,
    pub version: Version,
}

pub(super) struct SessionStore {
    ledger: Arc<dyn Ledger>,
    key: LedgerKey,
    raw: RawClock,
    pub holder: Uuid,
    on_loss: OnLedgerLoss,
    ttl: Duration,
    pub pace: GatePace,
    renewals: Renewals,
    /// Writes whose reply has not come, by what is in them.
    asked: Vec<(Uuid, RenewalId)>,
    /// An answer with one of these is an old one.
    replaced: VecDeque<Version>,
    age: Option<VersionAge<Version>>,
    /// Whose age the store has said.
    aged: Option<Version>,
    /// By the raw clock: until then nobody else can have this session, because it is not old.
    ours_until: Duration,
    /// When the request was sent that the ledger has confirmed last.
    pub confirmed_at: Duration,
    /// What those requests have written, the last one at the end. An older one that is found again was put back.
    written: VecDeque<Uuid>,
}

impl SessionStore {
    pub fn new(
        ledger: Arc<dyn Ledger>,
        key: LedgerKey,
        raw: RawClock,
        holder: Uuid,
        on_loss: OnLedgerLoss,
        [ttl, stop_grace]: [Duration; 2],
    ) -> Self {
        // As the record has it: whole seconds.
        let ttl = Duration::from_secs(u32::try_from(ttl.as_secs()).unwrap_or(u32::MAX).into());
        Self {
            ledger,
            key,
            raw,
            holder,
            on_loss,
            ttl,
            pace: GatePace::of(ttl, stop_grace),
            renewals: Renewals::new(ttl, stop_grace),
            asked: Vec::new(),
            replaced: VecDeque::new(),
            age: None,
            aged: None,
            ours_until: Duration::ZERO,
            confirmed_at: Duration::ZERO,
            written: VecDeque::new(),
        }
    }

    pub fn ledger(&self) -> &dyn Ledger {
        &*self.ledger
    }

    /// `None` when there is no session.
    ///
    /// # Errors
    /// Why this is no answer, in words.
    pub async fn read(&self) -> Result<Option<Found>, String> {
        let Some(stored) = within(self.pace.read, self.ledger.get(&self.key)).await? else { return Ok(None) };
        if self.replaced.contains(&stored.version) {
            return Err("the ledger answers with a session that this gate has replaced".into());
        }
        let Stored { bytes, version } = stored;
        let session: Session = records::decode(&self.key, &bytes).map_err(|error| error.to_string())?;
        if session.number > MAX_GRANT_NUMBER {
            return Err(format!("the session's number {} is none that a grant can have", session.number));
        }
        Ok(Some(Found { session, version }))
    }

    /// For how long this version has been there. The store is asked once about each version; from then on the own clock
    /// counts.
    pub async fn unchanged(&mut self, found: &Found) -> Duration {
        let now = (self.raw)();
        let mut age = VersionAge::seen(self.age.take(), found.version.clone(), now);
        if self.aged.as_ref() != Some(&found.version) && found.session.holder.is_some() {
            match within(self.pace.read, self.ledger.age(&self.key, &found.version)).await {
                Ok(Some(by_store)) => {
                    age.by_store(by_store.try_into().unwrap_or_default(), (self.raw)());
                    self.aged = Some(found.version.clone());
                }
                Ok(None) => {}
                Err(error) => tracing::debug!("the store does not say how old the session is: {error}"),
            }
        }
        let unchanged = age.unchanged((self.raw)());
        self.age = Some(age);
        unchanged
    }

    /// A write of this gate that was read is one that the ledger has said yes to, whatever became of the reply.
    pub fn confirm(&mut self, found: &Found) -> Option<ChildDeadline> {
        let at = self.asked.iter().position(|(write, _)| *write == found.session.write)?;
        let (_, id) = self.asked.drain(..=at).next_back()?;
        let deadline = self.renewals.confirmed(id)?;
        self.ours_until = match self.on_loss {
            OnLedgerLoss::Stop => deadline.kill,
            OnLedgerLoss::Run => Duration::MAX,
        };
        self.confirmed_at = deadline.kill.saturating_sub(self.ttl);
        remember(&mut self.written, found.session.write);
        Some(deadline)
    }

    /// Takes or renews it, over exactly the version that was read.
    ///
    /// # Errors
    /// Why it is not known to be ours, in words. It may be ours all the same.
    pub async fn hold(&mut self, found: &Found, wall: Time) -> Result<ChildDeadline, String> {
        // Before the request: whatever happens to it, the session cannot be younger than that.
        let requested = (self.raw)();
        let write = Uuid::new_v4();
        if self.asked.len() == MANY {
            self.asked.remove(0);
        }
        self.asked.push((write, self.renewals.begin(requested)));
        let session = found.session.held_by(self.holder, self.on_loss, self.ttl, wall, write);
        let version = self.replace(found, &session).await?;
        let deadline = self.confirm(&Found { session, version });
        deadline.ok_or_else(|| "the answer came after the time that it gives".into())
    }

    async fn replace(&mut self, found: &Found, session: &Session) -> Result<Version, String> {
        let bytes = records::encode(&self.key, session);
        let write = self.ledger.write(&self.key, bytes, Expect::Version(found.version.clone()));
        let version = within(self.pace.write, write).await?;
        remember(&mut self.replaced, found.version.clone());
        Ok(version)
    }

    /// Whether the session may be the own one, by what this process has asked for.
    pub fn may_be_ours(&self) -> bool {
        !self.asked.is_empty() || (self.raw)() < self.ours_until
    }

    /// Whether this is the own session for certain. `resumes`: nobody else can have the id in the state folder.
    pub fn is_ours(&self, found: &Found, resumes: bool) -> bool {
        found.session.holder == Some(self.holder) && (resumes || (self.raw)() < self.ours_until)
    }

    /// Whether somebody else has written it with this gate's id. An own write of before is none: nobody else has had the
    /// session while this gate's time lasted, so it may be renewed over a copy that was put back.
    pub fn is_a_twins(&self, found: &Found) -> bool {
        let write = found.session.write;
        let ours = self.written.contains(&write) || self.asked.iter().any(|(asked, _)| *asked == write);
        found.session.holder == Some(self.holder) && !ours
    }

    /// From now on nothing that has this gate's id counts as its own.
    pub fn disown(&mut self) {
        self.ours_until = Duration::ZERO;
        self.asked.clear();
    }

    /// Gives back what was read, when it is the own one. Nothing that was started may be left.
    ///
    /// # Errors
    /// Why it is not known to be free, in words.
    pub async fn give_back(&mut self, found: &Found, resumes: bool, wall: Time) -> Result<(), String> {
        if self.is_ours(found, resumes) {
            self.replace(found, &found.session.given_back(wall, Uuid::new_v4())).await?;
            self.ours_until = Duration::ZERO;
            self.asked.clear();
        }
        Ok(())
    }
}

fn remember<T>(many: &mut VecDeque<T>, one: T) {
    if many.len() == MANY {
        many.pop_front();
    }
    many.push_back(one);
}
