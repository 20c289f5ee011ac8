//! The gates that start the validators' processes, each asked at its port what it does.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use tokio::time::Instant;
use url::Url;

use super::{EventSource, ticks};
use crate::{
    adapters::{gate_status, http},
    config::Config,
    domain::{Event, ValidatorId, gate::GateWatch},
    ports::Clock,
    runtime::Handle,
};

/// How often a gate is asked.
const ASK_EVERY: Duration = Duration::from_secs(30);

pub struct GatePort {
    client: reqwest::Client,
    validator: ValidatorId,
    url: Url,
    every: Duration,
    clock: Arc<dyn Clock>,
}

/// One for each validator that has a gate.
///
/// # Errors
/// When no HTTP client can be made.
pub fn gate_ports(config: &Config, clock: &Arc<dyn Clock>) -> anyhow::Result<Vec<GatePort>> {
    let client = http::client(Duration::from_secs(5))?;
    let every = ASK_EVERY.min(config.policy.observe_every.try_into().context("policy.observe_every")?);
    let ports = config.validators.iter().filter_map(|validator| {
        let (client, clock, url) = (client.clone(), clock.clone(), validator.gate.clone()?);
        Some(GatePort { client, validator: validator.name.clone(), url, every, clock })
    });
    Ok(ports.collect())
}

impl EventSource for GatePort {
    fn name(&self) -> String {
        format!("the gate of {}", self.validator)
    }

    async fn run(self, engine: Handle) {
        let (mut ticks, mut watch, start) = (ticks(self.every), GateWatch::default(), Instant::now());
        loop {
            ticks.tick().await;
            let asked_at = self.clock.now();
            let answer = gate_status::read(&self.client, &self.url).await;
            let sight = watch.judge(&self.validator, answer, (asked_at, self.clock.now()), start.elapsed());
            engine.send(Event::GateSeen(self.validator.clone(), sight)).await;
        }
    }
}
