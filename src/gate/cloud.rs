//! The loop on the machine in the cloud: a grant for this very boot, and nothing else. It needs no ledger and no session;
//! the fence of this place is that the machine is TERMINATED.

use async_trait::async_trait;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{
    child::{Child, ChildEnd},
    folder::Notes,
    grants::{GateSigners, GrantCheck},
    start::{Started, start},
    state::{GateParts, GateState},
    timing::{READ, RETRY, START_AGAIN, START_AGAIN_MOST, never, within},
};
use crate::domain::{
    InstanceId, ValidatorId,
    gate::{SilenceNeeded, WaitKind, may_start_in_cloud, newest_grant, silence_before_start},
    ownership::VerifiedGrant,
};

/// Which machine this is, and which boot of it.
#[async_trait]
pub trait MachineIdentity: Send + Sync {
    /// As the metadata server says now: an image of this disk on another machine is another instance.
    ///
    /// # Errors
    /// Why it cannot be known, in words.
    async fn instance(&self) -> Result<InstanceId, String>;
    /// # Errors
    /// Why it cannot be known, in words.
    fn boot(&self) -> Result<String, String>;
}

/// Where grants reach this machine: its metadata, a file.
#[async_trait]
pub trait GrantSource: Send + Sync {
    /// The bytes of each grant that there is, and what could not be read, in words. Order and repetition do not matter.
    async fn candidates(&self) -> Vec<Result<Vec<u8>, String>>;
}

pub struct CloudSettings {
    pub validator: ValidatorId,
    pub chain: String,
    pub allow_untouched: bool,
}

pub struct CloudLoop {
    child: Box<dyn Child>,
    check: GrantCheck,
    machine: Box<dyn MachineIdentity>,
    grants: Box<dyn GrantSource>,
    state: GateState,
}

impl CloudLoop {
    #[must_use]
    pub fn new(
        settings: CloudSettings,
        child: Box<dyn Child>,
        signers: GateSigners,
        machine: Box<dyn MachineIdentity>,
        grants: Box<dyn GrantSource>,
        parts: GateParts,
    ) -> Self {
        let CloudSettings { validator, chain, allow_untouched } = settings;
        let check = GrantCheck { validator, chain, signers, allow_untouched };
        Self { child, check, machine, grants, state: GateState::new(parts) }
    }

    /// Until the command ends by itself, or until `cancel`. The exit code for this process.
    pub async fn run(mut self, cancel: CancellationToken) -> u8 {
        let mut again = START_AGAIN;
        loop {
            tokio::select! {
                biased;
                () = cancel.cancelled() => return 0,
                () = self.granted() => {}
            }
            let deadline = never(self.state.raw());
            match start(&mut *self.child, &mut self.state, deadline, &cancel).await {
                Started::Runs => return self.guard(&cancel).await,
                Started::Not(why) => self.state.waits(why, WaitKind::Command, None),
                Started::Cancelled => return 0,
            }
            tokio::select! {
                biased;
                () = cancel.cancelled() => return 0,
                () = self.state.rest(again) => again = (again * 2).min(START_AGAIN_MOST),
            }
        }
    }

    async fn guard(&mut self, cancel: &CancellationToken) -> u8 {
        self.state.runs(None);
        let mut is_over = false;
        let (end, code) = loop {
            tokio::select! {
                biased;
                end = self.child.ended() => break (end, end.exit_code()),
                end = self.child.command_ended(), if !is_over => {
                    is_over = true;
                    self.state.ended(end);
                    self.state.note_end();
                }
                () = cancel.cancelled() => {
                    self.state.stops("this gate is asked to end");
                    break (self.child.stop().await, 0);
                }
                () = sleep(self.state.note_every()) => self.state.note_running(),
            }
        };
        self.state.ended(end);
        self.state.note_end();
        code
    }

    /// Waits until a grant lets this boot start, and the chain.
    async fn granted(&mut self) {
        loop {
            let pause = match self.grant().await {
                Ok(()) if self.state.is_silent(needed).await => return,
                Ok(()) => self.state.duty_pause(),
                Err((why, kind)) => {
                    self.state.waits(why, kind, None);
                    RETRY
                }
            };
            sleep(pause).await;
        }
    }

    async fn grant(&mut self) -> Result<(), (String, WaitKind)> {
        let because = |why: String| (why, WaitKind::Grant);
        let instance = within(READ, self.machine.instance()).await;
        let instance = instance.map_err(|why| because(format!("it is not known which machine this is: {why}")))?;
        let boot = self.machine.boot();
        let boot = boot.map_err(|why| because(format!("it is not known which boot this is: {why}")))?;
        let candidates = within(READ, async { Ok::<_, String>(self.grants.candidates().await) }).await;
        let (mut grants, mut refused) = (Vec::<VerifiedGrant>::new(), Vec::new());
        for candidate in candidates.map_err(because)? {
            match candidate.and_then(|bytes| self.check.verify(&bytes)) {
                Ok(grant) => grants.push(grant),
                Err(why) => refused.push(why),
            }
        }
        let last = self.state.notes.last.clone();
        let newest = newest_grant(grants, last.as_ref()).map_err(|error| because(error.to_string()))?;
        let Some(grant) = newest else {
            let none = format!("no grant has come for this boot ({boot}) of this machine ({instance})");
            return Err(because(if refused.is_empty() { none } else { format!("{none}; {}", refused.join("; ")) }));
        };
        self.state.note_seen(Some(&grant), 0).map_err(|why| (why, WaitKind::Command))?;
        if may_start_in_cloud(&grant, &instance, &boot, last.as_ref()) {
            // Without a session nothing shows a kill but a boot.
            let was_killed = self.state.has_booted_since();
            return self.state.note_unnoted_end(was_killed).map_err(|why| (why, WaitKind::Command));
        }
        let validator = &self.check.validator;
        let number = grant.grant().number;
        Err(because(format!(
            "grant {number} is not for this boot ({boot}) of this machine ({instance}); if this machine has to sign, \
             `failover regrant {validator}`"
        )))
    }
}

/// The promotion has waited for the silence before the first start. After an end by itself, and after a time in which it did
/// not run, this machine waits as home does.
fn needed(notes: &Notes, ran: bool) -> SilenceNeeded {
    match notes.started_at {
        None => SilenceNeeded::None,
        Some(_) => silence_before_start(ran, false, notes.ended_early),
    }
}

impl ChildEnd {
    /// With which the gate ends after it.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Exited(code) => code,
            Self::Signalled(signal) => u8::try_from(signal.saturating_add(128)).unwrap_or(1),
            Self::Stopped | Self::KeeperLost => 1,
        }
    }
}
