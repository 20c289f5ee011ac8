//! A node of kind generic on a standby: its probes asked and judged as the watcher does it for the one at home.
//!
//! It knows no chain: progress is what a probe's words say, and *synced* means that all of them say *up*.

use std::time::Duration;

use futures::future::join_all;

use super::{health::NodeHealth, signer::Signs};
use crate::{
    adapters::generic_probe::{GenericProbe, GenericProbeError},
    config::ProbeSettings,
    domain::{
        Interval, Span, Verdict,
        probe::{Judge, Rule},
    },
    ports::Clock,
};

/// The probes and what they said so far.
pub struct Generic {
    probes: Vec<GenericProbe>,
    judge: Judge,
}

impl Generic {
    /// Prepares; nothing is asked. The probes are asked once in `interval`, whatever pace they name themselves, so what
    /// they say is believed for at least two and a half of those.
    ///
    /// # Errors
    /// When a probe cannot be set up.
    pub fn new(settings: &[ProbeSettings], interval: Duration) -> Result<Self, GenericProbeError> {
        let interval = Span::try_from(interval)?;
        let rules = settings.iter().map(|settings| Rule {
            believed_for: settings.rule.believed_for.max(interval * 5 / 2 + settings.timeout),
            ..settings.rule.clone()
        });
        let judge = Judge::new(rules);
        let probes = settings.iter().map(GenericProbe::new).collect::<Result<_, _>>()?;
        Ok(Self { probes, judge })
    }

    /// Asks all at once.
    pub async fn look(&mut self, clock: &dyn Clock) -> NodeHealth {
        let from = clock.now();
        let answers = join_all(self.probes.iter().map(GenericProbe::ask)).await;
        let to = clock.now();
        let about = Interval { from: from.min(to), to };
        let mut reading = None;
        for (number, answer) in answers.iter().enumerate() {
            reading = Some(self.judge.observe(number, answer, about));
        }
        let (synced, why) = match reading {
            Some(reading) => (reading.verdict == Verdict::Up, reading.why.to_string()),
            None => (false, "there is no probe".into()),
        };
        NodeHealth {
            percent: if synced { 100 } else { 0 },
            stage: why,
            seconds_to_go: None,
            synced,
            // There is no other layer that could verify anything, no head whose age is known, and nobody counts peers:
            // its probes are its own health, and a probe can ask for any of that.
            optimistic: false,
            head_age_seconds: 0,
            peers: 0,
            genesis_root: String::new(),
            chain_id: None,
            signs: Signs::default(),
            listens: true,
            versions: Vec::new(),
        }
    }
}
