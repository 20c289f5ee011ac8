//! The dead man's ping: an outside monitor that raises the alarm when we fall silent. It reports nothing to the loop, it
//! asks it whether all is well.
//!
//! It covers a dark house until there is a witness: what cannot send cannot ping.

use std::time::Duration;

use anyhow::Context as _;

use super::{EventSource, ticks};
use crate::{
    adapters::http,
    config::{MonitorSettings, SecretFile},
    runtime::Handle,
};

pub struct MonitorPing {
    client: reqwest::Client,
    /// The URL is a secret and never logged.
    url: SecretFile,
    every: Duration,
}

impl MonitorPing {
    /// # Errors
    /// When no HTTP client can be made.
    pub fn new(settings: &MonitorSettings) -> anyhow::Result<Self> {
        let every = settings.every.try_into().context("monitor.every")?;
        Ok(Self { client: http::client(Duration::from_secs(20))?, url: settings.ping_url_file.clone(), every })
    }
}

impl EventSource for MonitorPing {
    fn name(&self) -> String {
        "the outside monitor".into()
    }

    async fn run(self, engine: Handle) {
        let mut ticks = ticks(self.every);
        loop {
            ticks.tick().await;
            // Asking the loop itself: one that leads and is stuck is not well, nor is a validator nobody watches.
            if !engine.status().await.is_some_and(|status| status.unreadable.is_empty()) {
                tracing::warn!("the outside monitor is not called: not all is well");
                continue;
            }
            // Read each time, so that a renewed URL works without a restart.
            let secret = match self.url.read() {
                Ok(secret) => secret,
                Err(error) => {
                    tracing::warn!(%error, "the outside monitor cannot be called");
                    continue;
                }
            };
            if let Err(error) =
                self.client.get(secret.expose()).send().await.and_then(reqwest::Response::error_for_status)
            {
                tracing::warn!(error = %error.without_url(), "the outside monitor did not answer");
            }
        }
    }
}
