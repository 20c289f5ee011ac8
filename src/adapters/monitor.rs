//! The dead man's ping: an outside monitor that raises the alarm when we fall silent.
//!
//! It covers a dark house until there is a witness: what cannot send cannot ping.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::config::SecretFile;

/// Calls the URL every so often while `well` answers yes, until told to stop. The URL is a secret and never logged.
pub async fn ping<W: Future<Output = bool>>(
    url: SecretFile,
    every: Duration,
    well: impl Fn() -> W,
    stop: CancellationToken,
) {
    let Ok(client) = super::http::client(Duration::from_secs(20)) else { return };
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = stop.cancelled() => return,
        }
        if !well().await {
            tracing::warn!("the outside monitor is not called: not all is well");
            continue;
        }
        // Read each time, so that a renewed URL works without a restart.
        let secret = match url.read() {
            Ok(secret) => secret,
            Err(error) => {
                tracing::warn!(%error, "the outside monitor cannot be called");
                continue;
            }
        };
        match client.get(secret.expose()).send().await.and_then(reqwest::Response::error_for_status) {
            Ok(_) => {}
            Err(error) => tracing::warn!(error = %error.without_url(), "the outside monitor did not answer"),
        }
    }
}
