//! `failover serve`.

use std::time::Duration;

use super::{ConfigPath, Exit, shutdown};
use crate::{assembly::Watcher, config::Config, domain::Mode, ports::LedgerError};

/// How soon a ledger is tried again that could not be opened.
const AGAIN: Duration = Duration::from_secs(5);

#[derive(Debug, clap::Args)]
#[command(after_help = "Example: failover serve --config /etc/failover/failover.yaml")]
pub(super) struct Options {
    #[command(flatten)]
    path: ConfigPath,
}

/// Starts this program once more with a heap that gives memory back. glibc keeps a heap for each thread, and whatever
/// it has once had for a large body: after an attack on the port that was 400 MiB. It takes these settings only from
/// the environment, at the start. The image has another C library, which gives everything back.
#[cfg(target_env = "gnu")]
pub(super) fn with_a_frugal_heap() {
    use std::os::unix::process::CommandExt as _;
    const SETTINGS: &str = "GLIBC_TUNABLES";
    // A program with file capabilities never sees the settings, so they do not show that this was done.
    const DONE: &str = "FAILOVER_HEAP_IS_SET";
    const FRUGAL: &str =
        "glibc.malloc.arena_max=2:glibc.malloc.mmap_threshold=131072:glibc.malloc.trim_threshold=131072";
    let is_set = |name| std::env::var_os(name).is_some();
    if !is_set(SETTINGS)
        && !is_set(DONE)
        && let Ok(program) = std::env::current_exe()
    {
        let mut again = std::process::Command::new(program);
        let error = again.args(std::env::args_os().skip(1)).env(SETTINGS, FRUGAL).env(DONE, "1").exec();
        tracing::warn!(%error, "this process may keep more memory than it needs");
    }
}

pub(super) async fn run(options: Options) -> anyhow::Result<Exit> {
    watch(&options.path.load(true)?).await
}

pub(super) async fn watch(config: &Config) -> anyhow::Result<Exit> {
    // First of all: as process 1 of a container a signal that nobody waits for is lost.
    let stop = shutdown::on_signal("stopping: what runs may end, then the lease is given back")?;
    let hung_up = shutdown::hangups()?;
    let watcher = tokio::select! {
        watcher = build(config) => watcher?,
        () = stop.cancelled() => return Ok(Exit::Done),
    };
    tracing::info!(
        address = %watcher.address()?,
        validators = config.validators.len(),
        ledger = %config.ledger,
        "watching"
    );
    if config.policy.mode == Mode::Observe {
        tracing::warn!("mode is observe: decides and notifies, creates nothing");
    }
    let files = watcher.files().clone();
    shutdown::at_each(hung_up, move || files.reread());
    watcher.run(stop).await?;
    Ok(Exit::Done)
}

/// Waits for a ledger that cannot be opened now: another process holds its file, or the disk is full.
async fn build(config: &Config) -> anyhow::Result<Watcher> {
    loop {
        match Watcher::build(config).await {
            Err(error) if matches!(error.downcast_ref(), Some(LedgerError::Unavailable(_))) => {
                tracing::warn!("{error:#}; trying again");
                tokio::time::sleep(AGAIN).await;
            }
            built => return built,
        }
    }
}
