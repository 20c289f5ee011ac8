//! `failover check`: reaches everything that is configured and says what would fail on the day.
//!
//! It decides nothing: each part is asked by the code that the watcher asks it with, and says itself what its answer
//! means.

use std::time::Duration;

use futures::{FutureExt as _, future::join_all};
use serde::Serialize;

use super::{
    ConfigPath, Exit,
    out::{self, say},
};
use crate::{
    config::Config,
    domain::{Span, one_line},
    ports::{Finding, FindingState},
    sources,
};

mod alerts;
mod cloud;
mod grants;
mod house;
mod ledger;
mod process;
mod progress;
mod standby;
mod watcher;

use progress::ProgressLine;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  failover check --config failover.yaml
  failover check --webhook                       a test alert to the running watcher, as Alertmanager sends it
  failover check --alertmanager --label severity=critical --wait 5m
                                                 one through Alertmanager, with the labels that its routes ask for
  failover check --deep                          fetches every release and compares its digest
  failover check --json | jq '.groups[].findings[] | select(.state != \"ok\")'

Ends with 1 when something would fail on the day, or could not be found out.")]
pub(super) struct Options {
    /// Print as JSON, by groups.
    #[arg(long)]
    json: bool,
    /// Send a test alert to the running watcher: address, login and answer. It is never evidence.
    #[arg(long)]
    webhook: bool,
    /// Give Alertmanager a test alert, and wait until the running watcher has it.
    #[arg(long)]
    alertmanager: bool,
    /// A label that the test alert has for Alertmanager's routes; can be repeated.
    #[arg(long, value_name = "NAME=VALUE", value_parser = label, requires = "alertmanager")]
    label: Vec<(String, String)>,
    /// How long to wait for the test alert.
    #[arg(long, value_name = "DURATION", default_value = "2m")]
    wait: Span,
    /// Fetch every release of the standby, gigabytes perhaps, and compare its digest.
    #[arg(long)]
    deep: bool,
    #[command(flatten)]
    path: ConfigPath,
}

fn label(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("a label is written NAME=VALUE")?;
    Ok((name.trim().to_owned(), value.to_owned()))
}

/// What belongs together on the screen, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, strum::Display)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
enum Group {
    House,
    Ledger,
    Grants,
    Watcher,
    Alerts,
    Chain,
    Cluster,
    Process,
    Cloud,
    Standby,
    Mail,
}

#[derive(Debug, Serialize)]
struct Checked {
    group: Group,
    findings: Vec<Finding>,
}

#[derive(Debug, Serialize)]
struct CheckReport {
    groups: Vec<Checked>,
    ok: usize,
    warnings: usize,
    problems: usize,
    unknown: usize,
}

/// As much of one finding as is shown, in characters.
pub(super) const LINE: usize = 1500;

impl CheckReport {
    fn new(mut groups: Vec<Checked>) -> Self {
        groups.retain(|group| !group.findings.is_empty());
        let count = |state| {
            let all = groups.iter().flat_map(|group| &group.findings);
            all.filter(|finding| finding.state == state).count()
        };
        Self {
            ok: count(FindingState::Ok),
            warnings: count(FindingState::Warning),
            problems: count(FindingState::Problem),
            unknown: count(FindingState::Unknown),
            groups,
        }
    }

    /// What servers have said is in it, so each finding is one line of what a terminal only shows.
    fn text(&self) -> String {
        let mut lines = Vec::new();
        for Checked { group, findings } in &self.groups {
            lines.push(format!("{group}"));
            lines.extend(lines_of(findings));
        }
        let Self { ok, warnings, problems, unknown, .. } = self;
        let all = ok + warnings + problems + unknown;
        lines.push(format!(
            "{all} looked at: {problems} would fail on the day, {unknown} could not be found out, {warnings} warnings"
        ));
        lines.join("\n")
    }
}

/// A line for each, and one for its remedy.
pub(super) fn lines_of(findings: &[Finding]) -> Vec<String> {
    let mut lines = Vec::new();
    for Finding { subject, state, detail, remedy } in findings {
        lines.push(format!("  {:8} {}", mark(*state), one_line(&format!("{subject}: {detail}"), LINE)));
        lines.extend(remedy.iter().map(|remedy| format!("  {:8} -> {}", "", one_line(remedy, LINE))));
    }
    lines
}

pub(super) fn mark(state: FindingState) -> &'static str {
    match state {
        FindingState::Ok => "ok",
        FindingState::Warning => "warning",
        FindingState::Problem => "PROBLEM",
        FindingState::Unknown => "unknown",
    }
}

pub(super) async fn run(options: Options) -> anyhow::Result<Exit> {
    let config = options.path.load(true)?;
    let progress = ProgressLine::new();
    let report = CheckReport::new(check(&config, &options, &progress).await?);
    progress.end();
    if options.json {
        out::json(&report)?;
    } else {
        say!("{}", report.text());
    }
    Ok(if report.problems + report.unknown == 0 { Exit::Done } else { Exit::Failed })
}

/// For a part that asks a few questions, each of which has its own limit.
const LIMIT: Duration = Duration::from_mins(2);
/// For all releases, as long as bytes come.
const DEEP: Duration = Duration::from_hours(2);

async fn check(config: &Config, options: &Options, progress: &ProgressLine) -> anyhow::Result<Vec<Checked>> {
    let running = watcher::find(config).await;
    let wait = Duration::try_from(options.wait)?;
    let parts = [
        (Group::House, LIMIT, house::check(config).boxed()),
        (Group::Ledger, LIMIT, ledger::check(config).boxed()),
        (Group::Grants, LIMIT, grants::check(config).boxed()),
        (Group::Watcher, LIMIT, std::future::ready(watcher::findings(config, &running)).boxed()),
        (Group::Alerts, LIMIT + wait, alerts::check(config, &running, options, wait, progress).boxed()),
        (Group::Chain, LIMIT, sources::chain::probe_chain(config).boxed()),
        (Group::Cluster, LIMIT, sources::kube::probe_kube(config).boxed()),
        (Group::Process, LIMIT, process::check(config).boxed()),
        (Group::Cloud, LIMIT, cloud::check(config).boxed()),
        (
            Group::Standby,
            if options.deep { DEEP } else { LIMIT },
            standby::check(config, options.deep, progress).boxed(),
        ),
        (Group::Mail, LIMIT, house::mail(config).boxed()),
    ];
    let all = parts.into_iter().map(|(group, limit, part)| async move {
        let _at_work = progress.begin(&group.to_string());
        let findings = tokio::time::timeout(limit, part).await.unwrap_or_else(|_| {
            let detail = format!("not found out within {} s", limit.as_secs());
            vec![Finding::unknown(group.to_string(), detail, "run this again; something hangs without a word")]
        });
        Checked { group, findings }
    });
    Ok(join_all(all).await)
}
