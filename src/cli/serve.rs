//! `failover serve`.

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{ConfigPath, Exit};
use crate::{assembly::Watcher, domain::Mode};

#[derive(Debug, clap::Args)]
#[command(after_help = "Example: failover serve --config /etc/failover/failover.yaml")]
pub(super) struct Options {
    #[command(flatten)]
    path: ConfigPath,
}

pub(super) async fn run(options: Options) -> anyhow::Result<Exit> {
    let config = options.path.load(true)?;
    let watcher = Watcher::build(&config).await?;
    tracing::info!(
        address = %watcher.address()?,
        validators = config.validators.len(),
        ledger = %crate::assembly::describe_ledger(&config),
        "watching"
    );
    if config.mode == Mode::Observe {
        tracing::warn!("mode is observe: decides and tells, creates nothing");
    }
    let shutdown = CancellationToken::new();
    let mut terminated = signal(SignalKind::terminate()).context("signals cannot be received")?;
    let mut interrupted = signal(SignalKind::interrupt()).context("signals cannot be received")?;
    let stop = shutdown.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminated.recv() => {}
            _ = interrupted.recv() => {}
        }
        tracing::info!("stopping: what runs may end, then the lease is given back");
        stop.cancel();
    });
    watcher.run(shutdown).await?;
    Ok(Exit::Done)
}
