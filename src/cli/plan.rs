//! `failover plan`: what would be created, where, and what it would cost.

use std::path::PathBuf;

use comfy_table::{Table, presets};
use serde::Serialize;

use super::{
    ConfigPath, Exit,
    out::{self, say},
};
use crate::domain::{Mode, Policy, PricedRung, Usd, human};

mod bundle;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  failover plan                                  what would be created, and what it costs
  failover plan eth-0 --show bundle              everything that machine would be given, to read
  failover plan eth-0 --show bundle --to DIR     the same as files")]
pub(super) struct Options {
    /// For one validator; the plan is the same for all.
    validator: Option<String>,
    /// Show something the plan contains instead of the plan.
    #[arg(long, value_enum)]
    show: Option<Show>,
    /// Write it into this folder instead of printing it.
    #[arg(long, requires = "show", conflicts_with = "json")]
    to: Option<PathBuf>,
    /// Print as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    path: ConfigPath,
}

/// What a plan contains.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Show {
    /// What the machine is given: start-up script, variables, roles and playbooks.
    Bundle,
}

#[derive(Serialize)]
struct Plan<'a> {
    mode: Mode,
    limit: String,
    rungs: Vec<Row<'a>>,
    budget_per_incident: Option<Usd>,
    budget_per_month: Option<Usd>,
    simulated: bool,
    prices: String,
}

#[derive(Serialize)]
struct Row<'a> {
    zone: &'a str,
    machine_type: &'a str,
    per_hour: Option<Usd>,
    at_most: Option<Usd>,
    stopped_per_month: Option<Usd>,
    within_budget: bool,
}

pub(super) async fn run(options: &Options) -> anyhow::Result<Exit> {
    let config = options.path.load(false)?;
    if let Some(name) = &options.validator {
        super::ask::known(&config, name)?;
    }
    if let Some(Show::Bundle) = options.show {
        return bundle::show(&config, options.validator.as_deref(), options.to.as_deref(), options.json);
    }
    anyhow::ensure!(
        config.compute.is_some(),
        "there is no plan: without a `compute` section nothing can be created; `failover config example` shows one"
    );
    let policy = &config.policy;
    let plan = plan(policy, config.price_source());
    if options.json {
        out::json(&plan)?;
        return Ok(Exit::Done);
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["", "ZONE", "MACHINE", "PER HOUR", "AT MOST", "THEN PER MONTH", ""]);
    for (index, row) in plan.rungs.iter().enumerate() {
        table.add_row([
            (index + 1).to_string(),
            row.zone.to_owned(),
            row.machine_type.to_owned(),
            show(row.per_hour),
            show(row.at_most),
            show(row.stopped_per_month),
            if row.within_budget { String::new() } else { "over budget".to_owned() },
        ]);
    }
    say!("{table}");
    say!(
        "Compute Engine stops the machine after {}; its disk remains until somebody or the sweeper deletes it.",
        plan.limit
    );
    say!("Prices: {}", plan.prices);
    if plan.simulated {
        say!("Simulated: the configuration has no section `standby`, so the machine would follow no chain.");
    }
    if policy.mode == Mode::Observe {
        say!("Mode is observe: nothing of this is created.");
    }
    Ok(Exit::Done)
}

fn plan(policy: &Policy, prices: String) -> Plan<'_> {
    Plan {
        mode: policy.mode,
        limit: human(policy.standby_ttl),
        rungs: policy.ladder.iter().map(|rung| row(rung, policy)).collect(),
        budget_per_incident: policy.budget_per_incident,
        budget_per_month: policy.budget_per_month,
        simulated: policy.simulated,
        prices,
    }
}

fn row<'a>(rung: &'a PricedRung, policy: &Policy) -> Row<'a> {
    let limits = [policy.budget_per_incident, policy.budget_per_month];
    let fits = |limit: &Usd| rung.at_most.is_some_and(|price| price <= *limit);
    Row {
        zone: &rung.rung.zone,
        machine_type: &rung.rung.machine_type,
        per_hour: rung.per_hour,
        at_most: rung.at_most,
        stopped_per_month: rung.stopped_per_month,
        within_budget: limits.iter().flatten().all(fits),
    }
}

fn show(usd: Option<Usd>) -> String {
    usd.map_or_else(|| "unknown".to_owned(), |usd| usd.to_string())
}
