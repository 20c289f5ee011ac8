//! What ends a command that runs on: SIGTERM, as kubelet and systemd send it, and Ctrl-C. And SIGHUP, which does not.

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
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

/// From now on a SIGHUP ends nothing and waits for [`at_each`].
///
/// # Errors
/// When signals cannot be received.
pub(super) fn hangups() -> anyhow::Result<Signal> {
    signal(SignalKind::hangup()).context("signals cannot be received")
}

/// Does this at each SIGHUP, for as long as the program runs.
pub(super) fn at_each(mut hung_up: Signal, does: impl Fn() + Send + 'static) {
    tokio::spawn(async move {
        while hung_up.recv().await.is_some() {
            tracing::info!("SIGHUP: secrets and certificates are read again");
            does();
        }
    });
}
