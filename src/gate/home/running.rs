//! While the child runs: looks at the session, renews it, and notices that it must end. It reads no grant.

use tokio::time::{Interval, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use super::{Guarded, HomeCore, HomeLoop, session::Found};
use crate::{
    domain::{
        gate::{ChildDeadline, HomeGate, SessionLook, StopReason},
        human,
        ownership::OnLedgerLoss,
    },
    gate::timing::LOUD,
};

/// What a look at the session came to.
enum LookTurn {
    Extend(ChildDeadline),
    Nothing,
    Stop(StopReason),
}

impl HomeLoop {
    /// Until the child ends, has to be stopped, or the process is asked to end. The child is stopped by the caller.
    pub(super) async fn guard(&mut self, taken: super::Taken, cancel: &CancellationToken) -> Guarded {
        let Self { child, core } = self;
        core.runs(taken.deadline);
        let [mut looks, mut notes] = [core.sessions.pace.look, core.state.note_every()].map(|every| {
            let mut ticks = interval_at(tokio::time::Instant::now() + every, every);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        });
        let mut is_over = false;
        loop {
            let turn = tokio::select! {
                biased;
                end = child.ended() => return Guarded::Ended(end),
                end = child.command_ended(), if !is_over => {
                    // Were gate and keeper killed while what is left is ended, it would not be known.
                    is_over = true;
                    core.state.ended(end);
                    core.state.note_end();
                    continue;
                }
                () = cancel.cancelled() => return Guarded::Cancelled,
                turn = core.look(&mut looks, &mut notes, taken) => turn,
            };
            match turn {
                LookTurn::Extend(deadline) => {
                    if core.on_loss == OnLedgerLoss::Stop {
                        child.extend(deadline).await;
                    }
                    core.runs(deadline);
                }
                LookTurn::Nothing => {}
                LookTurn::Stop(reason) => return Guarded::Stopped(reason),
            }
        }
    }
}

impl HomeCore {
    async fn look(&mut self, looks: &mut Interval, notes: &mut Interval, taken: super::Taken) -> LookTurn {
        loop {
            tokio::select! {
                biased;
                _ = notes.tick() => self.state.note_running(),
                _ = looks.tick() => break,
            }
        }
        let found = match self.sessions.read().await {
            Ok(Some(found)) => found,
            // Neither ours nor free: no answer.
            Ok(None) => {
                self.state.trouble("the session is missing from the ledger, which is damaged");
                return LookTurn::Nothing;
            }
            Err(why) => return self.no_answer(&why),
        };
        if let Some(deadline) = self.sessions.confirm(&found) {
            // A renewal whose reply was lost.
            return LookTurn::Extend(deadline);
        }
        match self.judge(&found, taken.number) {
            SessionLook::Stop(reason) => LookTurn::Stop(reason),
            SessionLook::Ours => self.renew(&found).await,
        }
    }

    fn judge(&self, found: &Found, granted: u64) -> SessionLook {
        let (holder, seen) = (self.sessions.holder, self.state.notes.seen);
        let gate = HomeGate { site: &self.site, holder, resumes: self.resumes, last: None, seen };
        match gate.look(&found.session, granted) {
            SessionLook::Ours if self.sessions.is_a_twins(found) => SessionLook::Stop(StopReason::Twin),
            look => look,
        }
    }

    async fn renew(&mut self, found: &Found) -> LookTurn {
        let since = self.state.raw().saturating_sub(self.sessions.confirmed_at);
        // Half a look early, so that a slow answer does not put it off by a whole one.
        let pace = self.sessions.pace;
        if since + pace.look / 2 < pace.renew {
            return LookTurn::Nothing;
        }
        // Where the folder may be had twice, another machine has it from the deadline on.
        if !self.sessions.is_ours(found, self.resumes) {
            return self.no_answer("the time that the session gave is over");
        }
        match self.sessions.hold(found, self.state.wall()).await {
            Ok(deadline) => LookTurn::Extend(deadline),
            Err(why) => self.no_answer(&why),
        }
    }

    fn no_answer(&self, why: &str) -> LookTurn {
        tracing::debug!("the ledger does not confirm the session: {why}");
        let since = self.state.raw().saturating_sub(self.sessions.confirmed_at);
        if since >= LOUD {
            let since = human(since.try_into().unwrap_or_default());
            self.state.trouble(&format!("the ledger has not confirmed the session for {since}: {why}"));
        }
        LookTurn::Nothing
    }
}
