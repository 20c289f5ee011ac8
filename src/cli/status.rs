//! `failover status`: asks the watcher that holds the lease; without it, shows what the ledger alone knows.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Context as _;
use comfy_table::{ContentArrangement, Table, presets};

use super::{ConfigPath, Exit};
use crate::{
    assembly,
    config::Config,
    domain::{LedgerKey, Time, clock, start_word},
    ports::Ledger,
    records,
    runtime::{
        lease::LeaseRecord,
        status::{self, Status},
        store,
    },
};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  failover status --watch
  failover status --json | jq '.validators[].phase'
  failover status --url http://127.0.0.1:8080     without a configuration")]
pub(super) struct Options {
    /// Again whenever something changes, until interrupted.
    #[arg(short, long)]
    watch: bool,
    /// Print as JSON.
    #[arg(long)]
    json: bool,
    /// Ask this watcher instead of the one that the ledger names.
    #[arg(long)]
    url: Option<url::Url>,
    #[command(flatten)]
    path: ConfigPath,
}

pub(super) async fn run(options: Options) -> anyhow::Result<Exit> {
    let source = match &options.url {
        Some(url) => Source::Url(url.clone()),
        None => {
            let config = options.path.load(false)?;
            Source::Ledger(assembly::ledger(&config)?, Box::new(config))
        }
    };
    let client = crate::adapters::http::client(Duration::from_secs(5))?;
    let mut shown = String::new();
    loop {
        let status = source.read(&client).await?;
        let text = if options.json { serde_json::to_string_pretty(&status)? } else { table(&status) };
        if text != shown {
            println!("{text}");
            shown = text;
        }
        if !options.watch {
            return Ok(Exit::Done);
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
            _ = tokio::signal::ctrl_c() => return Ok(Exit::Done),
        }
    }
}

enum Source {
    Url(url::Url),
    Ledger(std::sync::Arc<dyn Ledger>, Box<Config>),
}

impl Source {
    async fn read(&self, client: &reqwest::Client) -> anyhow::Result<Status> {
        match self {
            Self::Url(url) => ask(client, url).await.with_context(|| format!("the watcher at {url} does not answer")),
            Self::Ledger(ledger, config) => {
                let lease = match ledger.get(&LedgerKey::LEASE).await? {
                    Some(stored) => Some(records::decode::<LeaseRecord>(&LedgerKey::LEASE, &stored.bytes)?),
                    None => None,
                };
                let address =
                    lease.as_ref().and_then(|lease| lease.about.address.as_ref()).and_then(|url| url.parse().ok());
                let mut warnings = Vec::new();
                if let Some(url) = address {
                    match ask(client, &url).await {
                        Ok(status) => return Ok(status),
                        Err(error) => warnings.push(format!("the watcher at {url} does not answer: {error:#}")),
                    }
                } else {
                    warnings.push("no watcher says where it can be asked (`http.address`)".to_owned());
                }
                from_ledger(&**ledger, config, lease.as_ref(), warnings).await
            }
        }
    }
}

pub(super) async fn ask(client: &reqwest::Client, url: &url::Url) -> anyhow::Result<Status> {
    let url = url.join("api/v1/status")?;
    Ok(client.get(url).send().await?.error_for_status()?.json().await?)
}

/// What the ledger alone knows: phases and incidents, no signals.
async fn from_ledger(
    ledger: &dyn Ledger,
    config: &Config,
    lease: Option<&LeaseRecord>,
    mut warnings: Vec<String>,
) -> anyhow::Result<Status> {
    let (policy, now) = (&config.policy, Time::now());
    let (mut validators, mut unreadable) = (BTreeMap::new(), Vec::new());
    for validator in &config.validators {
        match store::read(ledger, &validator.name).await {
            Ok(found) => {
                let record = found.map(|(_, envelope)| envelope.validator).unwrap_or_default();
                let status = status::of_record(&validator.name, &record, policy, now);
                validators.insert(validator.name.clone(), status);
            }
            Err(store::StoreError::Record(error)) => unreadable.push(error.to_string()),
            Err(error) => return Err(error.into()),
        }
    }
    if lease.is_none_or(|lease| lease.holder.is_empty()) {
        warnings.push("nobody watches: no process holds the lease".into());
    }
    Ok(Status {
        site: config.site.clone(),
        at: now,
        mode: status::mode(policy.mode),
        holds_lease: false,
        chain: "unknown".into(),
        validators: validators.into_values().collect(),
        unreadable,
        warnings,
        webhook: None,
    })
}

/// The table for people.
pub(crate) fn table(status: &Status) -> String {
    let mut lines = vec![format!(
        "{}: {}, chain {}, as of {}{}",
        status.site,
        status.mode,
        status.chain,
        clock(status.at),
        if status.holds_lease { "" } else { " (not from a process that holds the lease)" }
    )];
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(["VALIDATOR", "PHASE", "WHY", "STANDBY"]);
    for validator in &status.validators {
        let standby = validator.standby.as_ref().map_or_else(String::new, |standby| {
            let progress =
                standby.progress.as_ref().map_or_else(String::new, |progress| format!(", {}", progress.line()));
            let starting = standby.starting.as_ref().map_or_else(String::new, |word| format!(", {}", start_word(word)));
            let simulated = if standby.simulated { " (simulated)" } else { "" };
            let stuck = standby.stuck.as_ref().map_or_else(String::new, |stuck| format!(", STUCK: {}", stuck.why));
            format!("{}{progress}{starting}{stuck}{simulated}, stops {}", standby.instance, clock(standby.fuse_at))
        });
        let pause = validator.pause.as_ref().map_or_else(String::new, |pause| format!("\npaused {pause}"));
        let why = format!("{}{pause}", validator.reason);
        table.add_row([validator.name.to_string(), validator.phase.clone(), why, standby]);
    }
    lines.push(table.to_string());
    for validator in &status.validators {
        if validator.mails_waiting + validator.mails_failed > 0 {
            lines.push(format!(
                "{}: {} mails wait for the server, {} were refused by every recipient",
                validator.name, validator.mails_waiting, validator.mails_failed
            ));
        }
    }
    lines.extend(status.unreadable.iter().map(|why| format!("unreadable: {why}")));
    lines.extend(status.warnings.iter().map(|why| format!("warning: {why}")));
    lines.join("\n")
}
