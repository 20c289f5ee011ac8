//! What ends a command that runs on: SIGTERM, as kubelet and systemd send it, and Ctrl-C. And SIGHUP, which does not.

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Cancelled by the first of these signals, after saying in the log what happens now.
///
/// # Errors
/// When signals cannot be received.
pub(super) fn on_signal(says: &'static str) -> anyhow::Result<CancellationToken> {
    let shutdown = CancellationToken::new();
    let mut terminated = signal(SignalKind::terminate()).context("signals cannot be received")?;
    let mut interrupted = signal(SignalKind::interrupt()).context("signals cannot be received")?;
    let stop = shutdown.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminated.recv() => {}
            _ = interrupted.recv() => {}
        }
        tracing::info!("{says}");
        stop.cancel();
    });
    Ok(shutdown)
}

/// Does this at each SIGHUP, for as long as the program runs.
///
/// # Errors
/// When signals cannot be received.
pub(super) fn on_hangup(does: impl Fn() + Send + 'static) -> anyhow::Result<()> {
    let mut hung_up = signal(SignalKind::hangup()).context("signals cannot be received")?;
    tokio::spawn(async move {
        while hung_up.recv().await.is_some() {
            tracing::info!("SIGHUP: secrets and certificates are read again");
            does();
        }
    });
    Ok(())
}
