//! The loop at home: waits until grant, session and chain let the command start, renews while it runs, and gives the
//! session back when nothing of it is left.

mod running;
mod session;

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    child::{Child, ChildEnd},
    grants::{GateSigners, GrantCheck},
    start::{Started, start},
    state::{GateParts, GateState},
    timing::{GIVE_BACK, GatePace, START_AGAIN, START_AGAIN_MOST, never, within},
};
use crate::{
    domain::{
        LedgerKey, TimeExt, ValidatorId,
        gate::{ChildDeadline, HomeGate, StartDecision, StopReason, WaitKind, WaitReason, silence_before_start},
        ownership::{OnLedgerLoss, VerifiedGrant},
    },
    ports::Ledger,
};
use session::{Found, SessionStore};

pub struct HomeSettings {
    pub validator: ValidatorId,
    pub chain: String,
    pub site: String,
    /// The id in the state folder.
    pub holder: Uuid,
    /// Whether that folder cannot be had twice, so that the gate resumes its own session.
    pub resumes: bool,
    /// In whole seconds; what is beyond them is left out.
    pub gate_ttl: Duration,
    pub stop_grace: Duration,
    pub on_ledger_loss: OnLedgerLoss,
    pub allow_untouched: bool,
}

pub struct HomeLoop {
    child: Box<dyn Child>,
    core: HomeCore,
}

/// All but the child, so that its end is seen while the ledger is waited for.
struct HomeCore {
    sessions: SessionStore,
    owner: LedgerKey,
    check: GrantCheck,
    site: String,
    resumes: bool,
    /// Somebody else was found to have its id.
    has_twin: bool,
    on_loss: OnLedgerLoss,
    state: GateState,
}

/// The session is ours.
#[derive(Clone, Copy)]
struct Taken {
    deadline: ChildDeadline,
    /// Of the grant by which it was taken.
    number: u64,
}

/// How the time with a child came to its end.
enum Guarded {
    Ended(ChildEnd),
    Stopped(StopReason),
    Cancelled,
}

/// Why nothing can be started now, and for how long that is left as it is.
struct NotYet(Duration);

impl HomeLoop {
    #[must_use]
    pub fn new(
        settings: HomeSettings,
        ledger: Arc<dyn Ledger>,
        child: Box<dyn Child>,
        signers: GateSigners,
        parts: GateParts,
    ) -> Self {
        let HomeSettings { validator, chain, allow_untouched, .. } = settings;
        let session = LedgerKey::session(&validator);
        let times = [settings.gate_ttl, settings.stop_grace];
        let raw = parts.raw.clone();
        let on_loss = settings.on_ledger_loss;
        let core = HomeCore {
            sessions: SessionStore::new(ledger, session, raw, settings.holder, on_loss, times),
            owner: LedgerKey::owner(&validator),
            check: GrantCheck { validator, chain, signers, allow_untouched },
            site: settings.site,
            resumes: settings.resumes,
            has_twin: false,
            on_loss,
            state: GateState::new(parts),
        };
        Self { child, core }
    }

    /// Until the command ends by itself, or until `cancel`. The exit code for this process.
    pub async fn run(mut self, cancel: CancellationToken) -> u8 {
        let mut again = START_AGAIN;
        loop {
            let taken = tokio::select! {
                biased;
                () = cancel.cancelled() => None,
                taken = self.core.take() => Some(taken),
            };
            let Some(taken) = taken else {
                self.core.release().await;
                return 0;
            };
            let deadline = self.core.of(taken.deadline);
            match start(&mut *self.child, &mut self.core.state, deadline, &cancel).await {
                Started::Runs => again = START_AGAIN,
                Started::Not(why) => {
                    self.core.state.waits(why, WaitKind::Command, None);
                    self.core.release().await;
                    tokio::select! {
                        biased;
                        () = cancel.cancelled() => return 0,
                        () = self.core.state.rest(again) => again = (again * 2).min(START_AGAIN_MOST),
                    }
                    continue;
                }
                Started::Cancelled => {
                    self.core.release().await;
                    return 0;
                }
            }
            let mut number = None;
            let code = match self.guard(taken, &cancel).await {
                Guarded::Ended(end) => {
                    self.core.state.ended(end);
                    if end == ChildEnd::Stopped {
                        // It starts again by itself when the ledger answers.
                        self.core.state.stops("its time is over: the ledger had not confirmed the session");
                    }
                    (end != ChildEnd::Stopped).then(|| end.exit_code())
                }
                Guarded::Stopped(reason) => {
                    self.core.state.stops(&reason.to_string());
                    let end = self.child.stop().await;
                    self.core.state.ended(end);
                    number = Some(match reason {
                        StopReason::Moving { number } => number,
                        StopReason::Lost | StopReason::Twin => taken.number,
                    });
                    if reason == StopReason::Twin {
                        // Who of the two is this id's is not known, so this one waits as a stranger does.
                        self.core.resumes = false;
                        self.core.has_twin = true;
                        self.core.sessions.disown();
                    }
                    None
                }
                Guarded::Cancelled => {
                    self.core.state.stops("this gate is asked to end");
                    let end = self.child.stop().await;
                    self.core.state.ended(end);
                    Some(0)
                }
            };
            // Nothing of the child is left. The session first: a disk that hangs keeps nobody else waiting for it.
            self.core.release().await;
            self.core.state.note_end();
            if let Some(number) = number {
                self.core.note_number(number);
            }
            if let Some(code) = code {
                return code;
            }
        }
    }
}

impl HomeCore {
    /// What the child is given: with `on_ledger_loss: run` only its keeper or a stop ends it.
    fn of(&self, confirmed: ChildDeadline) -> ChildDeadline {
        match self.on_loss {
            OnLedgerLoss::Stop => confirmed,
            OnLedgerLoss::Run => never(self.state.raw()),
        }
    }

    fn runs(&self, confirmed: ChildDeadline) {
        self.state.runs((self.on_loss == OnLedgerLoss::Stop).then_some(confirmed));
        self.state.confirmed();
    }

    /// Waits until the session is ours, and the child may start.
    async fn take(&mut self) -> Taken {
        loop {
            match self.try_take().await {
                Ok(taken) => return taken,
                Err(NotYet(pause)) => sleep(pause).await,
            }
        }
    }

    async fn try_take(&mut self) -> Result<Taken, NotYet> {
        let GatePace { retry, wait, .. } = self.sessions.pace;
        let no_answer = |state: &GateState, why: String, kind| {
            state.waits(why, kind, None);
            NotYet(retry)
        };
        // Session first, then grant: a promotion that begins between the two is seen in one of them.
        let found = match self.sessions.read().await {
            Ok(found) => found,
            Err(why) => return Err(no_answer(&self.state, format!("the ledger: {why}"), WaitKind::Ledger)),
        };
        let grant = match self.grant().await {
            Ok(grant) => grant,
            Err((why, kind)) => return Err(no_answer(&self.state, why, kind)),
        };
        // A take whose reply was lost.
        let before = found.as_ref().and_then(|found| self.sessions.confirm(found));
        let decision = self.decide(found.as_ref(), grant.as_ref()).await;
        if let Some(found) = &found {
            // A session is given back when nothing of the command is left, and a kill gives nothing back.
            let was_killed = found.session.holder == Some(self.sessions.holder);
            if let Err(why) = self.state.note_unnoted_end(was_killed) {
                return Err(no_answer(&self.state, why, WaitKind::Command));
            }
        }
        let numbers = found.as_ref().map_or(0, |found| found.session.number);
        if !matches!(decision, StartDecision::Wait(WaitReason::PutBack(_)))
            && let Err(why) = self.state.note_seen(grant.as_ref(), numbers)
        {
            return Err(no_answer(&self.state, why, WaitKind::Command));
        }
        let (found, grant) = match (decision, found, grant) {
            (StartDecision::Take, Some(found), Some(grant)) => (found, grant),
            (StartDecision::Wait(reason), found, _) => {
                self.say(&reason);
                if let Some(found) = found.filter(|_| reason.gives_back()) {
                    self.give_back(&found).await;
                }
                return Err(NotYet(match reason {
                    WaitReason::Held(left) => left.min(wait),
                    _ => wait,
                }));
            }
            (StartDecision::Take, ..) => unreachable!("only what was read is taken"),
        };
        self.state.held_until = found.session.held.last().map(|held| held.until);
        // Before the take, also of the own session: silence may take epochs, and in that time nobody else at home should
        // have to wait for this gate. What is taken afterwards is started at once, so the check is still fresh; whoever
        // held the session in between has left duties that the next judgement sees.
        let until = Instant::now() + wait;
        let mut waited = false;
        while !self
            .state
            .is_silent(|notes, ran| silence_before_start(ran, notes.ran_until.is_none(), notes.ended_early))
            .await
        {
            if !waited {
                self.give_back(&found).await;
                waited = true;
            }
            if Instant::now() >= until {
                break;
            }
            sleep(self.state.duty_pause()).await;
        }
        if waited {
            return Err(NotYet(Duration::ZERO));
        }
        let number = grant.grant().number;
        if let Some(deadline) = before {
            return Ok(Taken { deadline, number });
        }
        match self.sessions.hold(&found, self.state.wall()).await {
            Ok(deadline) => Ok(Taken { deadline, number }),
            Err(why) => Err(no_answer(&self.state, format!("the session could not be taken: {why}"), WaitKind::Ledger)),
        }
    }

    async fn grant(&self) -> Result<Option<VerifiedGrant>, (String, WaitKind)> {
        let read = within(self.sessions.pace.read, self.sessions.ledger().get(&self.owner)).await;
        let stored = read.map_err(|why| (format!("the ledger: {why}"), WaitKind::Ledger))?;
        stored.map(|stored| self.check.verify(&stored.bytes)).transpose().map_err(|why| (why, WaitKind::Grant))
    }

    async fn decide(&mut self, found: Option<&Found>, grant: Option<&VerifiedGrant>) -> StartDecision {
        let resumes = found.is_some_and(|found| self.sessions.is_ours(found, self.resumes));
        let unchanged = match found {
            Some(found) if !resumes => self.sessions.unchanged(found).await,
            Some(_) | None => Duration::ZERO,
        };
        let last = self.state.notes.last.as_ref();
        let gate =
            HomeGate { site: &self.site, holder: self.sessions.holder, resumes, last, seen: self.state.notes.seen };
        gate.start(found.map(|found| &found.session), grant, unchanged)
    }

    fn say(&self, reason: &WaitReason) {
        let until = match reason {
            WaitReason::Held(left) => Some(self.state.wall().plus((*left).try_into().unwrap_or_default())),
            _ => None,
        };
        let twin = match reason {
            WaitReason::Held(_) | WaitReason::HeldForGood if self.has_twin => {
                format!(". Its last stop was for this: {}", StopReason::Twin)
            }
            _ => String::new(),
        };
        self.state.waits(format!("{reason}{twin}"), reason.kind(), until);
    }

    fn note_number(&mut self, number: u64) {
        if let Err(why) = self.state.note_seen(None, number) {
            self.state.trouble(&why);
        }
    }

    async fn give_back(&mut self, found: &Found) {
        let wall = self.state.wall();
        if let Err(why) = self.sessions.give_back(found, self.resumes, wall).await {
            tracing::warn!("the session could not be given back: {why}");
        }
    }

    /// Gives the session back if it is ours, when nothing of the child is left. In bounded time: otherwise it gets old.
    async fn release(&mut self) {
        if !self.sessions.may_be_ours() {
            return;
        }
        let tried = async {
            loop {
                let tried = match self.sessions.read().await {
                    Ok(Some(found)) => {
                        // A take whose reply was lost.
                        self.sessions.confirm(&found);
                        self.sessions.give_back(&found, self.resumes, self.state.wall()).await
                    }
                    Ok(None) => Err("it is missing".to_owned()),
                    Err(why) => Err(why),
                };
                let Err(why) = tried else { break };
                tracing::warn!("the session could not be given back: {why}");
                sleep(Duration::from_secs(2)).await;
            }
        };
        if tokio::time::timeout(GIVE_BACK, tried).await.is_err() {
            tracing::warn!("the session is not given back; others at home have to wait until it is old");
        }
    }
}
