//! `failover check`: reaches everything that is configured and says what would fail on the day.

use super::{
    ConfigPath, Exit,
    out::{self, say},
};
use crate::{
    adapters::http,
    assembly,
    config::{Config, ValidatorKind},
    domain::{Accuracy, gates::CLOCK, visible_line},
    ports::{Finding, FindingState},
    sources,
};

mod ledger;

#[derive(Debug, clap::Args)]
#[command(after_help = "Example: failover check --config failover.yaml

Ends with 1 when something would fail on the day.")]
pub(super) struct Options {
    /// Print as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    path: ConfigPath,
}

pub(super) async fn run(options: Options) -> anyhow::Result<Exit> {
    let config = options.path.load(true)?;
    let findings = check(&config).await?;
    if options.json {
        out::json(&findings)?;
    } else {
        for finding in &findings {
            say!("{:8} {}: {}", mark(finding.state), visible_line(&finding.subject), visible_line(&finding.detail));
        }
    }
    let bad = findings.iter().filter(|finding| finding.state == FindingState::Problem).count();
    let unknown = findings.iter().filter(|finding| finding.state == FindingState::Unknown).count();
    if !options.json {
        say!("{} looked at, {bad} would fail on the day, {unknown} could not be found out", findings.len());
    }
    Ok(if bad + unknown == 0 { Exit::Done } else { Exit::Failed })
}

fn mark(state: FindingState) -> &'static str {
    match state {
        FindingState::Ok => "ok",
        FindingState::Warning => "warning",
        FindingState::Problem => "PROBLEM",
        FindingState::Unknown => "unknown",
    }
}

fn finding(subject: impl Into<String>, state: FindingState, detail: impl Into<String>) -> Finding {
    Finding { subject: subject.into(), state, detail: detail.into() }
}

async fn check(config: &Config) -> anyhow::Result<Vec<Finding>> {
    let mut findings = Vec::new();
    findings.extend(ledger(config).await);
    findings.extend(alertmanager(config).await);
    findings.extend(sources::chain::probe_chain(config).await);
    findings.extend(sources::kube::probe_kube(config).await);
    findings.extend(process_ports(config).await);
    findings.extend(sources::probes::ask_once(config).await);
    match assembly::cloud::cloud(config).await {
        Ok(Some(cloud)) => findings.extend(cloud.check().await),
        Ok(None) => findings.push(finding(
            "cloud",
            FindingState::Problem,
            "no `compute` section: nothing could be created on the day",
        )),
        Err(error) => findings.push(finding("cloud", FindingState::Problem, format!("{error:#}"))),
    }
    findings.push(clock(config).await);
    match assembly::notifier(config)? {
        Some(notifier) => findings.extend(notifier.check().await),
        None => findings.push(finding("mail", FindingState::Problem, "no `mail` section: nobody would be told")),
    }
    findings.extend(whole_house(config));
    Ok(findings)
}

/// A wrong clock makes every verdict of the chain wrong or unknown.
async fn clock(config: &Config) -> Finding {
    let name = "this machine's clock";
    let repair = "set it (chrony, systemd-timesyncd)";
    match assembly::cloud::clock_offset(config).await {
        Err(why) => finding(name, FindingState::Unknown, why),
        Ok(offset) => match offset.accuracy(CLOCK) {
            Accuracy::Right => finding(name, FindingState::Ok, format!("the cloud's is {offset} ahead of it")),
            Accuracy::Wrong => {
                finding(name, FindingState::Problem, format!("the cloud's is {offset} ahead of it: {repair}"))
            }
            Accuracy::Unclear => finding(
                name,
                FindingState::Warning,
                format!("the cloud's is {offset} ahead of it; the way there is too slow to tell more"),
            ),
        },
    }
}

async fn ledger(config: &Config) -> Vec<Finding> {
    let name = format!("ledger {}", config.ledger);
    match assembly::ledger(config) {
        Ok(ledger) => ledger::check(&*ledger, &name).await,
        Err(error) => vec![finding(name, FindingState::Problem, format!("{error:#}"))],
    }
}

async fn alertmanager(config: &Config) -> Option<Finding> {
    let url = config.alertmanager.as_ref()?.url.as_ref()?;
    let name = format!("Alertmanager {url}");
    let ask = async {
        let client = http::client(std::time::Duration::from_secs(10))?;
        client.get(url.join("api/v2/status")?).send().await?.error_for_status()?;
        anyhow::Ok(())
    };
    Some(match ask.await {
        Ok(()) => finding(name, FindingState::Ok, "answers its API v2"),
        Err(error) => finding(name, FindingState::Problem, format!("{error:#}; correct `alertmanager.url`")),
    })
}

async fn process_ports(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    let Ok(client) = http::client(std::time::Duration::from_secs(5)) else { return findings };
    for validator in &config.validators {
        let name = format!("{}'s own process", validator.name);
        findings.push(match &validator.process {
            // Its probes show the process too.
            None if matches!(validator.kind, ValidatorKind::Generic { .. }) => continue,
            None if validator.kubernetes.is_some() => {
                finding(name, FindingState::Ok, "no `process`, its pod in the cluster shows whether it runs")
            }
            None => finding(
                name,
                FindingState::Warning,
                "no `process` and no `kubernetes`: a standby is never released by itself",
            ),
            Some(url) => match client.get(url.clone()).send().await.and_then(reqwest::Response::error_for_status) {
                Ok(_) => finding(name, FindingState::Ok, format!("{url} answers")),
                Err(error) => finding(name, FindingState::Problem, format!("{error}")),
            },
        });
    }
    findings
}

/// What is missing when the whole house is dark.
fn whole_house(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    if matches!(config.ledger, crate::config::LedgerSettings::Sqlite { .. }) {
        let detail = "the ledger is a file in the house: it does not survive it; use `ledger.gcs`";
        findings.push(finding("whole-house outage", FindingState::Warning, detail));
    }
    if config.monitor.is_none() {
        let detail = "no `monitor`: when the house is dark nobody is told, because this watcher is dark too";
        findings.push(finding("whole-house outage", FindingState::Warning, detail));
    }
    findings
}
