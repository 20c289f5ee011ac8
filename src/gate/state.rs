//! What both places keep: notes, clocks, and what the gate says of itself.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use super::{
    child::ChildEnd,
    folder::Notes,
    grants_in_metadata::MachineMetadata,
    timing::{NOTE, READ, RawClock, USUAL_EPOCH, WAIT, WRITE, within},
};
use crate::{
    domain::{
        Span, Time, TimeExt, ValidatorId,
        chain::Epoch,
        clock as shown,
        gate::{ChildDeadline, EpochSpan, GatePhase, GateStatus, Silence, SilenceNeeded, WaitKind, ended_early},
        ownership::{GrantPlace, VerifiedGrant},
    },
    ports::{Clock, Duties, DutySeen},
};

/// Where a gate's notes are.
pub trait GateMemory: Send + Sync {
    /// As they were last written.
    fn notes(&self) -> Notes;
    /// Returns when they would survive a power cut.
    ///
    /// # Errors
    /// Why they could not be written, in words.
    fn write(&mut self, notes: &Notes) -> Result<(), String>;
}

/// What a loop is given of the outside, wherever it runs.
pub struct GateParts {
    /// `None`: the duty check is off.
    pub duties: Option<Arc<dyn Duties>>,
    pub memory: Box<dyn GateMemory>,
    pub raw: RawClock,
    pub clock: Arc<dyn Clock>,
    pub status: watch::Sender<GateStatus>,
}

/// The first status, before anything was asked.
#[must_use]
pub fn first_status(validator: ValidatorId, place: &str, now: Time) -> GateStatus {
    let why = "it has just been started".to_owned();
    GateStatus {
        validator,
        place: place.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        state: GatePhase::Waiting { why, kind: WaitKind::Ledger, since: now, until: None },
        number: None,
        renewed_at: None,
        trouble: None,
    }
}

pub(super) struct GateState {
    parts: GateParts,
    pub notes: Notes,
    /// The count of silent epochs, while there is a wait for them.
    silence: Option<Silence>,
    /// What the last epoch that was asked about came to, when that was not silence.
    not_silent: Option<(WaitKind, String)>,
    /// The epoch that was seen to begin, with its moment on the raw clock; none before it has changed once.
    epoch_began: Option<(Epoch, Option<Duration>)>,
    /// As a beacon node has said it.
    epoch_length: Option<Duration>,
    /// By the raw clock, when the command was started.
    started: Duration,
    /// How the command that was started last has ended.
    end: Option<NotedEnd>,
    /// Whom the grant that was read last names, and since when. `None` after a grant for the same place.
    owner: Option<(GrantPlace, Option<Time>)>,
    /// Until when the session was held at home last, by anybody: duties of that time are no stranger's.
    pub held_until: Option<Time>,
}

/// The end of a command, as the notes have it.
#[derive(Clone)]
struct NotedEnd {
    early: bool,
    /// As `ran_until` and `ran_up`.
    at: Time,
    up: Option<(String, Duration)>,
}

impl GateState {
    pub fn new(parts: GateParts) -> Self {
        let notes = parts.memory.notes();
        Self {
            parts,
            epoch_length: notes.epoch,
            notes,
            silence: None,
            not_silent: None,
            epoch_began: None,
            started: Duration::ZERO,
            end: None,
            owner: None,
            held_until: None,
        }
    }

    fn epoch_length(&self) -> Duration {
        self.epoch_length.unwrap_or(USUAL_EPOCH)
    }

    /// How often it is noted that the command runs.
    pub fn note_every(&self) -> Duration {
        NOTE.min(self.epoch_length() / 4).max(Duration::from_secs(1))
    }

    pub fn raw(&self) -> Duration {
        (self.parts.raw)()
    }

    /// Each reading of the raw clock is a sign that the loop turns, so this is one too.
    pub fn wall(&self) -> Time {
        self.raw();
        self.parts.clock.now()
    }

    /// `why` in the log once for each new reason.
    pub fn waits(&self, why: impl Into<String>, kind: WaitKind, until: Option<Time>) {
        let (why, now) = (why.into(), self.wall());
        self.parts.status.send_modify(|status| {
            let since = match &status.state {
                GatePhase::Waiting { why: before, kind: same, since, .. } if *same == kind => {
                    if *before != why {
                        tracing::debug!(validator = %status.validator, "still waiting: {why}");
                    }
                    *since
                }
                GatePhase::Waiting { .. } | GatePhase::Running { .. } | GatePhase::Stopping { .. } => {
                    tracing::warn!(validator = %status.validator, "nothing is started: {why}");
                    now
                }
            };
            status.state = GatePhase::Waiting { why, kind, since, until };
            status.trouble = None;
        });
    }

    /// `deadline`: when the ledger's answers end it.
    pub fn runs(&self, deadline: Option<ChildDeadline>) {
        let now = self.wall();
        let until = deadline.map(|deadline| {
            let left = deadline.ask.saturating_sub(self.raw());
            now.plus(left.try_into().unwrap_or(Span::MAX))
        });
        self.parts.status.send_modify(|status| {
            let since = match status.state {
                GatePhase::Running { since, .. } => since,
                GatePhase::Waiting { .. } | GatePhase::Stopping { .. } => now,
            };
            status.state = GatePhase::Running { since, until };
        });
    }

    pub fn stops(&self, why: &str) {
        let since = self.wall();
        tracing::warn!("the command is stopped: {why}");
        self.parts.status.send_modify(|status| status.state = GatePhase::Stopping { why: why.to_owned(), since });
    }

    pub fn confirmed(&self) {
        let now = self.wall();
        self.parts.status.send_modify(|status| {
            status.renewed_at = Some(now);
            if status.trouble.take().is_some() {
                tracing::info!("the ledger confirms the session again");
            }
        });
    }

    /// In the log once for as long as there is some.
    pub fn trouble(&self, why: &str) {
        self.raw();
        self.parts.status.send_modify(|status| {
            if status.trouble.replace(why.to_owned()).is_none() {
                tracing::error!("{why}");
            }
        });
    }

    /// Writes down what was seen, before anything is done by it.
    pub fn note_seen(&mut self, grant: Option<&VerifiedGrant>, number: u64) -> Result<(), String> {
        let mut notes = self.notes.clone();
        if let Some(grant) = grant {
            self.see_owner(&grant.grant().owner, grant.grant().issued_at);
        }
        if let Some(grant) = grant.filter(|grant| grant.is_news_after(notes.last.as_ref()).is_ok()) {
            notes.last = Some(grant.last());
            notes.seen = notes.seen.max(grant.grant().number);
            let number = Some(grant.grant().number);
            self.parts.status.send_if_modified(|status| std::mem::replace(&mut status.number, number) != number);
        }
        notes.seen = notes.seen.max(number);
        self.write(notes)
    }

    fn see_owner(&mut self, owner: &GrantPlace, since: Time) {
        let since = match &self.owner {
            Some((before, since)) if before == owner => *since,
            // What was before this process nobody knows.
            Some(_) | None => Some(since),
        };
        self.owner = Some((owner.clone(), since));
    }

    /// Before the command is started: from here on an end that is never noted is an early one. What the notes said before.
    pub fn note_start(&mut self) -> Result<Notes, String> {
        let before = self.notes.clone();
        let now = Some(self.wall());
        let (epoch, silent_since, stranger) = (self.epoch_length, None, false);
        let start = Notes { started_at: now, runs: true, ended_early: true, ..self.notes.clone() };
        self.write(Notes { silent_since, stranger, epoch, ..start })?;
        self.silence = None;
        self.started = self.raw();
        self.end = None;
        Ok(before)
    }

    /// Nothing has run after all: a command that cannot be started is no reason for a quick restart.
    pub fn note_no_start(&mut self, before: Notes) {
        self.write_or_warn(before);
    }

    /// From the start on: a restart is a quick one then.
    pub fn note_running(&mut self) {
        if let Some(NotedEnd { early, .. }) = self.end {
            // What it has left behind runs.
            let (at, up) = self.now();
            self.end = Some(NotedEnd { early, at, up });
            return self.note_end();
        }
        let ended_early = self.would_be_early(None);
        let notes = Notes { ended_early, ..self.ran() };
        self.write_or_warn(notes);
    }

    /// The notes, with the command running until now.
    fn ran(&self) -> Notes {
        let (now, ran_up) = self.now();
        Notes { ran_until: Some(now), ran_up, ..self.notes.clone() }
    }

    fn now(&self) -> (Time, Option<(String, Duration)>) {
        (self.wall(), this_boot().map(|boot| (boot, self.raw())))
    }

    /// How long ago the command ran last, by the clock that nobody sets. `None` after a boot.
    fn ran_ago(&self) -> Option<Duration> {
        let (boot, up) = self.notes.ran_up.as_ref()?;
        (this_boot().as_ref() == Some(boot)).then(|| self.raw().saturating_sub(*up))
    }

    /// When the command ran last, by the present wall clock: within one boot the clock that nobody sets says how long ago.
    fn ran_until(&self) -> Option<Time> {
        match self.ran_ago() {
            Some(ago) => Some(self.wall().minus(ago.try_into().unwrap_or(Span::MAX))),
            None => self.notes.ran_until,
        }
    }

    /// Whether the command ran within the length of an epoch, hence in a part of the last whole one, wherever in an epoch
    /// it is now. It takes no node and no wall clock to say so.
    fn ran_within_an_epoch(&self) -> bool {
        matches!((self.ran_ago(), self.notes.epoch), (Some(ago), Some(epoch)) if ago <= epoch)
    }

    fn would_be_early(&self, signal: Option<i32>) -> bool {
        ended_early(signal, self.raw().saturating_sub(self.started), self.epoch_length())
    }

    /// When the command has ended, and again when nothing of it is left: how it ended first is what counts.
    pub fn ended(&mut self, end: ChildEnd) {
        let early = match (&self.end, end) {
            (Some(end), _) => end.early,
            (None, ChildEnd::Exited(_)) => self.would_be_early(None),
            (None, ChildEnd::Signalled(signal)) => self.would_be_early(Some(signal)),
            (None, ChildEnd::Stopped | ChildEnd::KeeperLost) => false,
        };
        let (at, up) = self.now();
        self.end = Some(NotedEnd { early, at, up });
    }

    /// Writes it down.
    pub fn note_end(&mut self) {
        let Some(NotedEnd { early, at, up }) = self.end.clone() else { return };
        let ran = Notes { ran_until: Some(at), ran_up: up, ..self.notes.clone() };
        self.write_or_warn(Notes { runs: false, ended_early: early, ..ran });
    }

    /// Makes an end of an end that is not noted. `was_killed`: nothing was done after it that follows an end, so this gate
    /// and its command were killed at once, which is no end by itself.
    pub fn note_unnoted_end(&mut self, was_killed: bool) -> Result<(), String> {
        if !self.notes.runs {
            return Ok(());
        }
        let ended_early = self.end.as_ref().map_or(self.notes.ended_early && !was_killed, |end| end.early);
        self.write(Notes { runs: false, ended_early, ..self.notes.clone() })
    }

    /// Whether this machine has booted since the command ran.
    pub fn has_booted_since(&self) -> bool {
        self.notes.ran_up.is_some() && self.ran_ago().is_none()
    }

    fn write_or_warn(&mut self, notes: Notes) {
        if let Err(error) = self.write(notes) {
            self.trouble(&error);
        }
    }

    fn write(&mut self, notes: Notes) -> Result<(), String> {
        if notes != self.notes {
            let failed = |error| format!("the notes in the state folder cannot be written: {error}");
            self.parts.memory.write(&notes).map_err(failed)?;
            self.notes = notes;
        }
        Ok(())
    }

    /// A long pause, in which the clock is read often enough to show that this loop does not hang.
    pub async fn rest(&self, pause: Duration) {
        let until = Instant::now() + pause;
        while Instant::now() < until {
            self.raw();
            sleep_until(until.min(Instant::now() + WAIT)).await;
        }
    }

    /// How often the beacon nodes are asked while silence is waited for.
    pub fn duty_pause(&self) -> Duration {
        (self.epoch_length() / 32).clamp(Duration::from_millis(500), Duration::from_secs(10))
    }

    /// Whether the chain lets the command start now; if not, the status says why and until when. `needed` has what this
    /// place asks for, from whether its command ran in a part of the last whole epoch.
    pub async fn is_silent(&mut self, needed: impl Fn(&Notes, bool) -> SilenceNeeded + Send) -> bool {
        let Some(duties) = self.parts.duties.clone() else { return true };
        let needed = |notes: &Notes, ran| match notes.stranger {
            true => needed(notes, ran).after_a_stranger(),
            false => needed(notes, ran),
        };
        if self.silence.is_none() && self.ran_within_an_epoch() && needed(&self.notes, true) == SilenceNeeded::None {
            return true;
        }
        let now = match within(READ, duties.now()).await {
            Ok(now) => now,
            Err(why) => {
                let why = format!("no beacon node says which epoch it is: {why}");
                // Nor does it take back what was seen.
                let (kind, why) = match &self.not_silent {
                    Some((WaitKind::SomebodySigns, seen)) => (WaitKind::SomebodySigns, format!("{seen}. Now {why}")),
                    Some(_) | None => (WaitKind::Duties, why),
                };
                self.waits(why, kind, None);
                return false;
            }
        };
        self.epoch_length = now.length.try_into().ok();
        let late = self.is_late(&now);
        let mut silence = match self.silence.take() {
            Some(silence) => silence,
            None => {
                let needed = needed(&self.notes, now.ran_in_last(self.ran_until(), self.wall()));
                let Some(silence) = Silence::before_start(needed, &now, self.notes.silent_since) else { return true };
                let seen = "SOMEBODY HAS SIGNED WITH THESE KEYS OUTSIDE THIS GATE before it was started again. Find that \
                            process and stop it";
                self.not_silent = self.notes.stranger.then(|| (WaitKind::SomebodySigns, seen.to_owned()));
                // Written by the chain's time, so that a clock that is set meanwhile shortens nothing.
                let noted = self.notes.silent_since.filter(|since| *since <= now.ends_at());
                if let (SilenceNeeded::Later(_), None) = (needed, noted) {
                    self.note_silent_since(now.ends_at());
                }
                silence
            }
        };
        if let Some(epoch) = silence.due(now.epoch).filter(|_| late) {
            self.judge(&*duties, &mut silence, epoch, &now).await;
        }
        let over = silence.is_over(now.epoch);
        if !over {
            let counted = format!("{} of {} silent epochs", silence.silent().min(silence.needed()), silence.needed());
            let (kind, why) = match &self.not_silent {
                Some((kind, why)) => (*kind, format!("{why}. Before a start there have to be: {counted}")),
                None => (WaitKind::Duties, format!("before a start these keys have to be silent on chain: {counted}")),
            };
            self.waits(why, kind, Some(silence.over_at(&now)));
        }
        self.silence = Some(silence);
        over
    }

    /// Whether the last whole epoch began before home's command can have ended, this gate's or another's that held the session:
    /// after a kill the notes say until when it was seen, and it ran on for as long as it takes to write the next one. Not
    /// where epochs count from a noted moment.
    fn may_have_run_in(&self, now: &EpochSpan) -> bool {
        let after = Span::try_from(self.note_every() + READ + WRITE).unwrap_or(Span::MAX);
        let ends = self.ran_until().into_iter().chain(self.held_until.filter(|until| *until <= now.ends_at()));
        self.notes.silent_since.is_none()
            && ends.max().is_some_and(|end| now.began_at.minus(now.length) < end.plus(after))
    }

    /// Whether another place may have signed in the last whole epoch, by the grant before the present one. A date that
    /// lies ahead is not believed.
    fn was_handed_over_in(&self, now: &EpochSpan) -> bool {
        let since = self.owner.as_ref().and_then(|(_, since)| *since);
        since.is_some_and(|since| now.began_at.minus(now.length) < since && since <= now.ends_at())
    }

    async fn judge(&mut self, duties: &dyn Duties, silence: &mut Silence, epoch: Epoch, now: &EpochSpan) {
        let seen = within(READ, async { Ok::<_, String>(duties.in_epoch(epoch).await) }).await;
        match seen.unwrap_or_else(DutySeen::Unknown) {
            DutySeen::None => {
                silence.is_silent(epoch);
                // Who was seen signing is not gone with one silent epoch.
                self.not_silent.take_if(|(kind, _)| *kind != WaitKind::SomebodySigns);
            }
            DutySeen::Some { keys } => {
                let explained = match (self.may_have_run_in(now), self.was_handed_over_in(now)) {
                    (true, _) => Some("home's own command may still have run"),
                    (false, true) => Some("the place that had the grant before this one may still have signed"),
                    (false, false) => None,
                };
                if let Some(explained) = explained {
                    silence.is_broken(epoch);
                    let why = format!("these keys had duties in epoch {epoch}, in which {explained}");
                    tracing::warn!("{why}");
                    self.not_silent.get_or_insert((WaitKind::Duties, why));
                    self.note_silent_since(now.began_at);
                    return;
                }
                silence.is_strangers(epoch);
                let keys = if keys == 1 { "1 key".to_owned() } else { format!("{keys} keys") };
                let began = shown(now.began_at.minus(now.length));
                let why = format!(
                    "SOMEBODY SIGNS WITH THESE KEYS OUTSIDE THIS GATE: {keys} had duties in epoch {epoch}, which began at \
                     {began}. Find that process and stop it"
                );
                tracing::error!("{why}");
                self.not_silent = Some((WaitKind::SomebodySigns, why));
                let silent_since = Some(now.began_at);
                self.write_or_warn(Notes { silent_since, stranger: true, ..self.notes.clone() });
            }
            DutySeen::Unknown(why) => {
                let why = format!("nobody knows whether these keys signed in epoch {epoch}: {why}");
                if self.not_silent.as_ref().is_none_or(|(kind, _)| *kind != WaitKind::SomebodySigns) {
                    self.not_silent = Some((WaitKind::Duties, why));
                }
            }
        }
    }

    fn note_silent_since(&mut self, at: Time) {
        let notes = Notes { silent_since: Some(at), ..self.notes.clone() };
        self.write_or_warn(notes);
    }

    /// Whether it is late enough in this epoch to judge the one before. By the wall clock where that fits the epoch; else
    /// by the own raw clock, since the epoch was seen to begin.
    fn is_late(&mut self, now: &EpochSpan) -> bool {
        let raw = self.raw();
        let began = match self.epoch_began {
            Some((epoch, began)) if epoch == now.epoch => began,
            Some(_) => Some(raw),
            None => None,
        };
        self.epoch_began = Some((now.epoch, began));
        let wall = self.wall();
        if now.contains(wall) {
            wall >= now.began_at.plus(now.judged_after())
        } else {
            let after: Duration = now.judged_after().try_into().unwrap_or(Duration::MAX);
            began.is_some_and(|began| raw.saturating_sub(began) >= after)
        }
    }
}

/// `None` where the kernel does not say.
fn this_boot() -> Option<String> {
    MachineMetadata::boot_id().ok()
}
