//! The house: the validator client's own port, and an Alertmanager that sends what Prometheus would have it send.

use std::{io, time::Duration};

use axum::{Router, routing::get};
use serde_json::{Value, json};

use super::server::Server;
use crate::domain::Time;

/// A validator client's metrics port, which can lose its power.
pub struct FakeHome {
    server: Server,
}

impl FakeHome {
    /// Starts it on a free port.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start() -> io::Result<Self> {
        let metrics = get(|| async { "vc_validators_enabled_count 8\n" });
        Ok(Self { server: Server::http(Router::new().route("/metrics", metrics)).await? })
    }

    #[must_use]
    pub fn url(&self) -> String {
        format!("{}/metrics", self.server.url())
    }

    pub async fn unplug(&self) {
        self.server.down().await;
    }

    /// The power is back, on the same port.
    ///
    /// # Errors
    /// When somebody else has taken the port meanwhile.
    pub async fn plug_in(&self) -> io::Result<()> {
        self.server.up().await
    }
}

/// Sends webhooks as Alertmanager does: again and again until they are taken.
#[derive(Clone)]
pub struct FakeAlertmanager {
    client: reqwest::Client,
    webhook: String,
    token: String,
}

impl FakeAlertmanager {
    /// Will send to this address with this token.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn new(webhook: String, token: String) -> reqwest::Result<Self> {
        let client = crate::adapters::http::client(Duration::from_secs(5))?;
        Ok(Self { client, webhook, token })
    }

    /// Sends one alert until it is taken. Returns the status codes that were answered.
    pub async fn send(&self, alert: &str, validator: &str, starts_at: Time, ends_at: Option<Time>) -> Vec<u16> {
        let message = message(alert, validator, starts_at, ends_at);
        let mut answers = Vec::new();
        // Alertmanager gives up at its group_interval; nobody watches a story that long.
        for _ in 0..600 {
            let sent = self.client.post(&self.webhook).bearer_auth(&self.token).json(&message).send().await;
            let status = sent.map_or(0, |response| response.status().as_u16());
            answers.push(status);
            if (200..500).contains(&status) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        answers
    }
}

/// Payload v4 with one alert.
fn message(alert: &str, validator: &str, starts_at: Time, ends_at: Option<Time>) -> Value {
    let status = if ends_at.is_some() { "resolved" } else { "firing" };
    let labels = json!({"alertname": alert, "validator": validator, "severity": "critical"});
    let bits = format!("{alert}{validator}")
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    json!({
        "version": "4",
        "groupKey": format!("{{}}:{{alertname=\"{alert}\"}}"),
        "truncatedAlerts": 0,
        "status": status,
        "receiver": "failover",
        "groupLabels": {"alertname": alert},
        "commonLabels": labels,
        "commonAnnotations": {},
        "externalURL": "http://alertmanager.home",
        "alerts": [{
            "status": status,
            "labels": labels,
            "annotations": {"summary": format!("{alert} for {validator}")},
            "startsAt": starts_at.to_string(),
            "endsAt": ends_at.map_or_else(|| "0001-01-01T00:00:00Z".to_owned(), |at| at.to_string()),
            "generatorURL": "http://prometheus.home/graph",
            "fingerprint": format!("{bits:016x}"),
        }],
    })
}
