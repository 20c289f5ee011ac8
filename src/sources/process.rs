//! The ports of the validators' own processes, each asked at its pace.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use url::Url;

use super::{EventSource, ticks};
use crate::{
    adapters::{http, process_probe},
    config::Config,
    domain::{Event, Source, ValidatorId},
    ports::Clock,
    runtime::Handle,
};

/// How often a port is asked.
const PROBE_EVERY: Duration = Duration::from_secs(15);

pub struct ProcessPort {
    client: reqwest::Client,
    validator: ValidatorId,
    url: Url,
    every: Duration,
    clock: Arc<dyn Clock>,
}

/// One for each validator whose process has a port.
///
/// # Errors
/// When no HTTP client can be made.
pub fn process_ports(config: &Config, clock: &Arc<dyn Clock>) -> anyhow::Result<Vec<ProcessPort>> {
    let client = http::client(Duration::from_secs(5))?;
    let every = PROBE_EVERY.min(config.policy.observe_every.try_into().context("policy.observe_every")?);
    let ports = config.validators.iter().filter_map(|validator| {
        let (client, clock, url) = (client.clone(), clock.clone(), validator.process.clone()?);
        Some(ProcessPort { client, validator: validator.name.clone(), url, every, clock })
    });
    Ok(ports.collect())
}

impl EventSource for ProcessPort {
    fn name(&self) -> String {
        format!("the process of {}", self.validator)
    }

    async fn run(self, engine: Handle) {
        let mut ticks = ticks(self.every);
        loop {
            ticks.tick().await;
            let reading = process_probe::probe(&self.client, &self.url, self.every, || self.clock.now()).await;
            engine.send(Event::Observed(self.validator.clone(), Source::Process, reading)).await;
        }
    }
}
