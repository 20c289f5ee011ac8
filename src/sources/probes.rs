//! The probes of generic validators: asked at their pace, judged together, sent to the loop.
//!
//! What an answer means is decided in [`crate::domain::probe`].

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context as _;
use futures::future::join_all;

use super::{EventSource, ticks};
use crate::{
    adapters::generic_probe::GenericProbe,
    config::{Config, ProbeSettings, ValidatorSettings},
    domain::{
        Event, Interval, Source, ValidatorId, one_line,
        probe::{Judge, ProbeAnswer, ProbeObservation},
    },
    ports::{Clock, Finding},
    runtime::Handle,
};

/// As much of a raw answer as is shown.
const SHOWN: usize = 200;

pub struct ProbeSource {
    validator: ValidatorId,
    number: usize,
    name: String,
    probe: GenericProbe,
    every: Duration,
    judge: Arc<Mutex<Judge>>,
    clock: Arc<dyn Clock>,
}

/// All probes. Each has a pace of its own; all of a validator are judged in one place.
///
/// # Errors
/// A probe that cannot be set up.
pub fn probes(config: &Config, clock: &Arc<dyn Clock>) -> anyhow::Result<Vec<ProbeSource>> {
    let mut probes = Vec::new();
    for validator in &config.validators {
        let rules = validator.probes().iter().map(|settings| settings.rule.clone());
        let judge = Arc::new(Mutex::new(Judge::new(rules)));
        for (number, settings) in validator.probes().iter().enumerate() {
            let name = format!("probe {} of {}", settings.rule.name, validator.name);
            probes.push(ProbeSource {
                validator: validator.name.clone(),
                number,
                probe: GenericProbe::new(settings).with_context(|| name.clone())?,
                every: settings.every.try_into().with_context(|| format!("probe {}: every", settings.rule.name))?,
                name,
                judge: judge.clone(),
                clock: clock.clone(),
            });
        }
    }
    Ok(probes)
}

impl EventSource for ProbeSource {
    fn name(&self) -> String {
        self.name.clone()
    }

    async fn run(self, engine: Handle) {
        let mut ticks = ticks(self.every);
        loop {
            ticks.tick().await;
            let from = self.clock.now();
            let answer = self.probe.ask().await;
            let reading = {
                let mut judge = self.judge.lock().unwrap_or_else(PoisonError::into_inner);
                // Read under the lock, so that what is heard later is about a later time.
                let to = self.clock.now();
                judge.observe(self.number, &answer, Interval { from: from.min(to), to })
            };
            engine.send(Event::Observed(self.validator.clone(), Source::Probe, reading)).await;
        }
    }
}

/// Asks every probe once, for `check`, and shows what was answered.
pub async fn ask_once(config: &Config) -> Vec<Finding> {
    let probes = config.validators.iter().flat_map(|validator| {
        validator.probes().iter().map(|settings| ask_probe(validator, settings)).collect::<Vec<_>>()
    });
    join_all(probes).await
}

async fn ask_probe(validator: &ValidatorSettings, settings: &ProbeSettings) -> Finding {
    let subject = format!("{}'s probe {}", validator.name, settings.rule.name);
    let remedy = "correct this probe under its `probes` by what was answered, or look at the node";
    match GenericProbe::new(settings) {
        Err(error) => Finding::problem(subject, format!("{:#}", anyhow::Error::from(error)), remedy),
        Ok(probe) => {
            let answer = probe.ask().await;
            match ProbeObservation::of(&answer, &settings.rule) {
                ProbeObservation::Works(why) => Finding::ok(subject, why + &raw(&answer)),
                ProbeObservation::Height(height) => {
                    Finding::ok(subject, format!("its height is {height}{}", raw(&answer)))
                }
                ProbeObservation::Fails(why) => Finding::problem(subject, why + &raw(&answer), remedy),
                ProbeObservation::Doubt(why) => Finding::unknown(subject, why + &raw(&answer), remedy),
            }
        }
    }
}

/// The answer as it came, for the person who has to find the right pointer in it.
fn raw(answer: &ProbeAnswer) -> String {
    match answer {
        ProbeAnswer::Connected | ProbeAnswer::Refused | ProbeAnswer::TimedOut | ProbeAnswer::Doubtful(_) => {
            String::new()
        }
        ProbeAnswer::Http { status, body } => {
            format!("; answered {status}: {}", one_line(&String::from_utf8_lossy(body), SHOWN))
        }
    }
}
