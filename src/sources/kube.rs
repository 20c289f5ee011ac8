//! The cluster's opinions: from the configuration to a watch, and from the watch to the loop.
//!
//! What they mean is judged in [`crate::domain::kube`].

use std::{collections::BTreeMap, sync::Arc};

use anyhow::Context as _;
use tokio::sync::{broadcast, mpsc};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::EventSource;
use crate::{
    adapters::kube::{self, KubeObservation, KubeWatch, Named, PREFIX, Target, WorkloadKind},
    config::{Config, WorkloadName},
    domain::{
        Command, Event, Maintenance, Request, Source, Span, Time, TimeExt, ValidatorId, kube::PauseNote, one_line,
    },
    ports::{Clock, Finding},
    runtime::{Handle, Step},
};

/// For how long signs of a human at work hold back, after the cluster has last shown them.
const HANDS: Span = Span::from_secs(60);

/// Where each validator is in the cluster, if it is.
#[must_use]
pub fn targets(config: &Config) -> Vec<Target> {
    let target = |validator: &crate::config::ValidatorSettings| {
        let workload = validator.kubernetes.as_ref()?;
        let named = match &workload.named {
            WorkloadName::StatefulSet(name) => Named::Workload { kind: WorkloadKind::StatefulSet, name: name.clone() },
            WorkloadName::Deployment(name) => Named::Workload { kind: WorkloadKind::Deployment, name: name.clone() },
            WorkloadName::Selector(selector) => Named::Selector(selector.clone()),
        };
        let (validator, namespace) = (validator.name.clone(), workload.namespace.clone());
        Some(Target { validator, namespace, named, container: workload.container.clone() })
    };
    config.validators.iter().filter_map(target).collect()
}

pub struct KubeSource {
    client: ::kube::Client,
    targets: Vec<Target>,
    watch: KubeWatch,
    clock: Arc<dyn Clock>,
}

impl KubeSource {
    /// `None` when no validator names what it is in a cluster.
    ///
    /// # Errors
    /// When there is no way to the API server.
    pub async fn new(config: &Config, clock: &Arc<dyn Clock>) -> anyhow::Result<Option<Self>> {
        let targets = targets(config);
        if targets.is_empty() {
            return Ok(None);
        }
        let client = kube::connect(config.kubernetes.kubeconfig.as_deref()).await.context("kubernetes")?;
        let thresholds = config.kubernetes.thresholds.clone();
        let watch = KubeWatch::new(client.clone(), targets.clone(), thresholds, clock.clone());
        Ok(Some(Self { client, targets, watch, clock: clock.clone() }))
    }
}

impl EventSource for KubeSource {
    fn name(&self) -> String {
        "the cluster".into()
    }

    async fn run(self, engine: Handle) {
        let (sender, observations) = mpsc::channel(64);
        tokio::join!(
            self.watch.run(sender, CancellationToken::new()),
            note(engine.steps(), &self.client, &self.targets),
            report(observations, &engine, &*self.clock),
        );
    }
}

/// What was last seen of each validator, and what of it has become a request.
#[derive(Default)]
struct Latest {
    seen: BTreeMap<ValidatorId, (KubeObservation, Option<Maintenance>)>,
    paused: BTreeMap<ValidatorId, PauseNote>,
}

async fn report(mut observations: mpsc::Receiver<KubeObservation>, handle: &Handle, clock: &dyn Clock) {
    let (mut latest, mut leadership) = (Latest::default(), handle.leadership());
    loop {
        tokio::select! {
            observation = observations.recv() => {
                let Some(observation) = observation else { return };
                let now = clock.now();
                let fresh_until = now.plus(HANDS);
                let maintenance = observation.hold.clone().map(|why| Maintenance { why, fresh_until });
                let id = observation.validator.clone();
                latest.seen.insert(id.clone(), (observation, maintenance));
                latest.pass_on(&id, handle, now).await;
            }
            changed = leadership.changed() => {
                if changed.is_err() {
                    return;
                }
                // A new leadership has written down none of the pauses.
                latest.paused.clear();
                let all: Vec<ValidatorId> = latest.seen.keys().cloned().collect();
                for id in all {
                    latest.pass_on(&id, handle, clock.now()).await;
                }
            }
        }
    }
}

impl Latest {
    async fn pass_on(&mut self, id: &ValidatorId, handle: &Handle, now: Time) {
        let Some((KubeObservation { reading, pause, .. }, maintenance)) = self.seen.get(id) else { return };
        // Before the opinion: nothing may open in between.
        handle.send(Event::MaintenanceSeen(id.clone(), maintenance.clone())).await;
        handle.send(Event::Observed(id.clone(), Source::Kube, reading.clone())).await;
        let Some(note) = pause else { return };
        if self.paused.get(id) == Some(note) {
            return;
        }
        match request(id, note) {
            Ok((until, request)) if until > now => handle.send(Event::Requested(id.clone(), request)).await,
            Ok(_) => {}
            Err(why) => tracing::warn!(validator = %id, "the annotation {PREFIX}pause-until is ignored: {why}"),
        }
        // Sent again until this process leads, and can write it down.
        if handle.leads() {
            self.paused.insert(id.clone(), note.clone());
        }
    }
}

/// Writes the steps of incidents on the watched objects, in order, one after the other.
async fn note(mut steps: broadcast::Receiver<Step>, client: &::kube::Client, targets: &[Target]) {
    loop {
        let step = match steps.recv().await {
            Ok(step) => step,
            Err(broadcast::error::RecvError::Closed) => return,
            Err(broadcast::error::RecvError::Lagged(lost)) => {
                tracing::warn!(lost, "steps are missing among the Kubernetes events");
                continue;
            }
        };
        let Some(target) = targets.iter().find(|target| target.validator == step.validator) else { continue };
        let Step { validator, incident, reason, at } = step;
        if let Err(error) = kube::write(client, target, &kube::Note { incident, reason, at }).await {
            tracing::warn!(%validator, %error, "a step is missing among the Kubernetes events");
        }
    }
}

/// An annotation as the request it stands for. Its id follows from what is written, so that it is applied once, and a
/// human who resumes by command is not overruled by what is still there.
fn request(validator: &ValidatorId, note: &PauseNote) -> Result<(Time, Request), String> {
    let until: Time = note
        .until
        .trim()
        .parse()
        .map_err(|_| format!("'{}' is not a time like 2026-11-21T18:00:00Z", one_line(&note.until, 40)))?;
    let reason = note.reason.clone().unwrap_or_else(|| "no reason is written beside it".into());
    let name = format!("{validator}\n{until}\n{reason}");
    let id = format!("annotation-{}", Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes()).simple());
    let by = format!("the annotation {PREFIX}pause-until");
    let (command, validator) = (Command::Pause { until }, validator.clone());
    // The same annotation is the same request, however often it is seen, so it has an end of its own.
    Ok((until, Request { id, validator, by, reason, command, incident: None, expires_at: None }))
}

/// Reaches the API server and asks it for every permission, for `check`.
pub async fn probe_kube(config: &Config) -> Vec<Finding> {
    let targets = targets(config);
    if targets.is_empty() {
        return Vec::new();
    }
    match kube::connect(config.kubernetes.kubeconfig.as_deref()).await {
        Ok(client) => kube::check(client, &targets).await,
        Err(error) => {
            vec![Finding::problem("Kubernetes API server", format!("{:#}", anyhow::Error::new(error)), kube::REACH)]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(until: &str) -> PauseNote {
        PauseNote { until: until.into(), reason: Some("new disk".into()) }
    }

    #[test]
    fn the_same_annotation_is_the_same_request() {
        let id = ValidatorId::new("eth-0").unwrap();
        let (until, one) = request(&id, &note("2026-11-21T18:00:00Z")).unwrap();
        assert_eq!(one.command, Command::Pause { until });
        assert_eq!(one, request(&id, &note("2026-11-21T18:00:00Z")).unwrap().1);
        assert_ne!(one.id, request(&id, &note("2026-11-21T19:00:00Z")).unwrap().1.id);
    }

    #[test]
    fn an_annotation_that_is_no_time_says_so() {
        let error = request(&ValidatorId::new("eth-0").unwrap(), &note("tomorrow")).unwrap_err();
        assert!(error.contains("'tomorrow' is not a time"), "{error}");
    }
}
