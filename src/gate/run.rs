//! A gate put together: state folder, processes, and the loop of its place.

use std::{
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixDatagram},
    },
    path::{Path, PathBuf},
};

use async_trait::async_trait;
use rustix::io::{FdFlags, fcntl_setfd};
use tokio::{sync::watch, time::sleep};
use tokio_util::sync::CancellationToken;

use super::{
    cloud::{CloudLoop, CloudSettings, GrantSource, MachineIdentity},
    containment::Containment,
    folder::{FolderError, Notes, Resumes, StateFolder},
    grants_in_metadata::MachineMetadata,
    home::{HomeLoop, HomeSettings},
    parts::{Parts, PlaceParts},
    state::{GateMemory, GateParts},
    supervisor::Supervisor,
    timing::{FOLDER_AGAIN, RETRY, RawClock},
};
use crate::{
    adapters::clock::SystemClock,
    domain::{
        InstanceId, Time,
        gate::{GatePhase, GateStatus, WaitKind},
        ownership::OnLedgerLoss,
    },
    files,
};

/// The largest grant that is read from a file; a larger one is refused there anyway.
const MAX_GRANT: u64 = 128 << 10;

/// Runs until the command ends by itself, or until `stopped`. What this process ends with.
///
/// # Errors
/// Why nothing can ever be started here, and what to do.
pub async fn run(
    parts: Parts,
    status: watch::Sender<GateStatus>,
    raw: RawClock,
    stopped: CancellationToken,
) -> Result<u8, String> {
    let Some(folder) = folder(&parts.state, &status, &raw, &stopped).await? else { return Ok(0) };
    let _only = match &parts.place {
        PlaceParts::Home { .. } => None,
        PlaceParts::Cloud { .. } => Some(only_one(parts.validator.as_str())?),
    };
    let containment = Containment::find().map_err(|error| error.to_string())?;
    let child = Supervisor::new("/proc/self/exe".into(), containment, parts.command, parts.stop_grace);
    let child = Box::new(child.map_err(|error| format!("the command cannot be watched: {error}"))?);
    let (holder, differs) = (folder.holder(), folder.differs().map(str::to_owned));
    let resumes = match folder.resumes() {
        Resumes::Yes => true,
        Resumes::No(why) => {
            if matches!(parts.place, PlaceParts::Home { on_loss: OnLedgerLoss::Run, .. }) {
                return Err(format!(
                    "--on-ledger-loss run needs a state folder that only this machine can have, or a session whose holder \
                     is gone would never be free again; {} is none: {why}. Name a folder on a local disk, or use stop",
                    parts.state.display()
                ));
            }
            tracing::warn!(
                "the state folder {} does not say for certain who this gate is: {why}. After a restart it waits until \
                 its own session is old",
                parts.state.display()
            );
            false
        }
    };
    if let Some(differs) = &differs {
        tracing::warn!(
            "the state folder {} is not the one that was made here ({differs}), so this gate is a new one: it waits for two silent \
             epochs, and until the session of the gate before is given back or old. With --on-ledger-loss run that is never: \
             if nothing else can sign, `failover adopt {} --statement …` frees it",
            parts.state.display(),
            parts.validator
        );
    }
    let given = GateParts {
        duties: parts.duties,
        memory: Box::new(folder),
        raw,
        clock: std::sync::Arc::new(SystemClock),
        status,
    };
    let (validator, chain, allow_untouched) = (parts.validator, parts.chain, parts.allow_untouched);
    Ok(match parts.place {
        PlaceParts::Home { site, ledger, ttl, on_loss } => {
            let settings = HomeSettings {
                validator,
                chain,
                site,
                holder,
                resumes,
                gate_ttl: ttl,
                stop_grace: parts.stop_grace,
                on_ledger_loss: on_loss,
                allow_untouched,
            };
            HomeLoop::new(settings, ledger, child, parts.signers, given).run(stopped).await
        }
        PlaceParts::Cloud { machine, grant } => {
            let settings = CloudSettings { validator, chain, allow_untouched };
            let machine = std::sync::Arc::new(machine);
            let grants = Box::new(MachineGrants { machine: machine.clone(), file: grant });
            CloudLoop::new(settings, child, parts.signers, Box::new(ThisMachine(machine)), grants, given)
                .run(stopped)
                .await
        }
    })
}

/// Waits while another process has it: a command that was left behind, or a pod that has not ended yet. `None` when this one
/// is asked to end.
async fn folder(
    path: &Path,
    status: &watch::Sender<GateStatus>,
    raw: &RawClock,
    stopped: &CancellationToken,
) -> Result<Option<StateFolder>, String> {
    let since = Time::now();
    // What its gate has started ends within milliseconds after a kill, and then nothing keeps the next one.
    let mut pause = FOLDER_AGAIN;
    loop {
        let why = match StateFolder::open(path) {
            Ok(folder) => return Ok(Some(folder)),
            Err(error @ FolderError::InUse(_)) => error.to_string(),
            Err(error) => return Err(error.to_string()),
        };
        if pause == RETRY {
            tracing::warn!("nothing is started: {why}");
        }
        let waiting = GatePhase::Waiting { why, kind: WaitKind::Session, since, until: None };
        status.send_modify(|status| status.state = waiting);
        raw();
        tokio::select! {
            biased;
            () = stopped.cancelled() => return Ok(None),
            () = sleep(pause) => pause = (pause * 2).min(RETRY),
        }
    }
}

/// In the cloud there is no session: of all gates of a validator on one machine, whatever their folders, one runs. Its
/// command inherits this, so a command that was left behind has it still.
fn only_one(validator: &str) -> Result<UnixDatagram, String> {
    let failed = |error: std::io::Error| format!("whether another gate runs here is not known: {error}");
    let name = SocketAddr::from_abstract_name(format!("failover-gate/{validator}")).map_err(failed)?;
    let only = UnixDatagram::bind_addr(&name).map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            format!(
                "another gate of {validator} runs on this machine, or a command that one has left behind: end it first"
            )
        }
        _ => failed(error),
    })?;
    fcntl_setfd(&only, FdFlags::empty()).map_err(|error| failed(error.into()))?;
    Ok(only)
}

impl GateMemory for StateFolder {
    fn notes(&self) -> Notes {
        Self::notes(self).clone()
    }

    fn write(&mut self, notes: &Notes) -> Result<(), String> {
        Self::write(self, notes.clone()).map_err(|error| error.to_string())
    }
}

struct ThisMachine(std::sync::Arc<MachineMetadata>);

#[async_trait]
impl MachineIdentity for ThisMachine {
    async fn instance(&self) -> Result<InstanceId, String> {
        self.0.instance().await.map_err(|error| error.to_string())
    }

    fn boot(&self) -> Result<String, String> {
        MachineMetadata::boot_id().map_err(|error| error.to_string())
    }
}

/// A grant in the machine's metadata, or in a file that somebody has carried there.
struct MachineGrants {
    machine: std::sync::Arc<MachineMetadata>,
    file: Option<PathBuf>,
}

#[async_trait]
impl GrantSource for MachineGrants {
    async fn candidates(&self) -> Vec<Result<Vec<u8>, String>> {
        let left = self.machine.grant().await.map_err(|error| error.to_string()).transpose();
        let carried = self.file.as_deref().and_then(|file| carried(file).transpose());
        left.into_iter().chain(carried).collect()
    }
}

fn carried(file: &Path) -> Result<Option<Vec<u8>>, String> {
    match files::read(file, MAX_GRANT) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("the grant in {} cannot be read: {error}", file.display())),
    }
}
