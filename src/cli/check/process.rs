//! What shows whether home's own process runs: its port, its pod, or its probes.

use std::time::Duration;

use futures::future::join_all;

use crate::{
    adapters::http::{self, PageError},
    config::{Config, ValidatorKind, ValidatorSettings},
    ports::Finding,
    sources,
};

pub(super) async fn check(config: &Config) -> Vec<Finding> {
    let ports = async {
        match http::client(Duration::from_secs(5)) {
            Ok(client) => join_all(config.validators.iter().map(|validator| port(validator, &client))).await,
            Err(error) => vec![Some(Finding::unknown("process", error.to_string(), "install ca-certificates"))],
        }
    };
    let (ports, probes) = tokio::join!(ports, sources::probes::ask_once(config));
    ports.into_iter().flatten().chain(probes).collect()
}

async fn port(validator: &ValidatorSettings, client: &reqwest::Client) -> Option<Finding> {
    let subject = format!("{}'s own process", validator.name);
    Some(match &validator.process {
        // Its probes show the process too.
        None if matches!(validator.kind, ValidatorKind::Generic { .. }) => return None,
        None if validator.kubernetes.is_some() => {
            Finding::ok(subject, "no `process`, its pod in the cluster shows whether it runs")
        }
        None if validator.gate.is_some() => Finding::ok(subject, "no `process`, its gate shows whether it runs"),
        None => {
            let detail = "no `process` and no `kubernetes`: a standby is never released by itself";
            Finding::warning(subject, detail, "name a port of its own in `process.url`, for example its metrics")
        }
        Some(url) => match client.get(url.clone()).send().await {
            Ok(answer) if answer.status().is_success() => Finding::ok(subject, format!("{url} answers")),
            Ok(answer) => {
                let remedy = "correct its `process.url`: an address that answers 200 while the process runs";
                Finding::problem(subject, format!("{url} answers {}", answer.status()), remedy)
            }
            Err(error) => {
                let remedy = "correct its `process.url`, or start the process";
                Finding::problem(subject, format!("{url} {}", PageError::from(error)), remedy)
            }
        },
    })
}
