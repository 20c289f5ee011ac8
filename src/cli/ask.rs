//! `open`, `close`, `pause`, `resume`: requests in the ledger, taken by the holder of the lease.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};

use super::{
    ConfigPath, Exit,
    out::{self, complain, say},
};
use crate::{
    assembly,
    domain::{Applied, Command, Span, Time, ValidatorId, visible_line},
    ports::Ledger,
    runtime::{requests, store},
};

#[derive(Debug, clap::Args)]
struct Common {
    /// Which validator.
    validator: String,
    /// Why; it is in the mail and in the ledger.
    #[arg(short, long)]
    reason: String,
    /// Who asks.
    #[arg(long, env = "USER", default_value = "operator")]
    by: String,
    /// Do not wait for the answer.
    #[arg(long)]
    no_wait: bool,
    /// How long to wait for the answer.
    #[arg(long, default_value = "90s")]
    timeout: Span,
    /// Print the answer as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    path: ConfigPath,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Example: failover open eth-0 --reason 'the disk is dead, I am on holiday'")]
pub(super) struct Open {
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Example: failover close eth-0 --reason 'home is repaired'")]
pub(super) struct Close {
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Example: failover pause eth-0 --for 2h --reason 'changing the UPS'")]
pub(super) struct Pause {
    #[command(flatten)]
    common: Common,
    /// For how long, like 2h or 1h30m. There is no pause without an end.
    #[arg(long = "for", value_name = "DURATION")]
    duration: Span,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Example: failover resume eth-0 --reason 'the UPS is in'")]
pub(super) struct Resume {
    #[command(flatten)]
    common: Common,
}

pub(super) async fn open(options: Open) -> anyhow::Result<Exit> {
    ask(options.common, Command::Open).await
}

pub(super) async fn close(options: Close) -> anyhow::Result<Exit> {
    ask(options.common, Command::Close).await
}

pub(super) async fn pause(options: Pause) -> anyhow::Result<Exit> {
    if options.duration <= Span::ZERO {
        bail!("--for has to be positive, like 2h");
    }
    let until = Time::now().checked_add(options.duration).context("--for is longer than time lasts")?;
    ask(options.common, Command::Pause { until }).await
}

pub(super) async fn resume(options: Resume) -> anyhow::Result<Exit> {
    ask(options.common, Command::Resume).await
}

async fn ask(options: Common, command: Command) -> anyhow::Result<Exit> {
    let config = options.path.load(false)?;
    let validator = known(&config, &options.validator)?;
    let ledger = assembly::ledger(&config)?;
    // What the operator saw: by the time the request is taken another incident may be open.
    let record = store::read(&*ledger, &validator).await?.map(|(_, envelope)| envelope.validator);
    let incident = record.as_ref().and_then(|record| record.incident()).map(|incident| incident.id);
    let id = requests::send(&*ledger, Time::now(), &validator, &options.by, &options.reason, command, incident)
        .await
        .context("the request could not be put into the ledger")?;
    if options.no_wait {
        say!("requested as {id}");
        return Ok(Exit::Done);
    }
    let patience = Duration::try_from(options.timeout).context("--timeout has to be positive")?;
    let Some(answer) = wait_for_answer(&ledger, &validator, &id, patience).await? else {
        complain!(
            "nobody has taken the request within {:#}: no watcher holds the lease, or it cannot reach the ledger.\n\
             It stays in the ledger as {id} and is taken by the next watcher; `open` and `close` within 15 minutes or not at all.\n\
             See `failover status`.",
            options.timeout
        );
        return Ok(Exit::Failed);
    };
    if options.json {
        out::json(&answer)?;
    } else {
        say!("{}: {}", if answer.accepted { "done" } else { "refused" }, visible_line(&answer.answer));
    }
    Ok(if answer.accepted { Exit::Done } else { Exit::Refused })
}

/// The validator of this name, or an error that lists those there are.
pub(super) fn known(config: &crate::config::Config, name: &str) -> anyhow::Result<ValidatorId> {
    let found = config.validators.iter().find(|validator| validator.name.as_str() == name);
    found.map(|validator| validator.name.clone()).with_context(|| {
        let names: Vec<&str> = config.validators.iter().map(|validator| validator.name.as_str()).collect();
        format!("no validator is called '{name}'; the configuration has {}", names.join(", "))
    })
}

async fn wait_for_answer(
    ledger: &Arc<dyn Ledger>,
    validator: &ValidatorId,
    id: &str,
    patience: Duration,
) -> anyhow::Result<Option<Applied>> {
    let until = Instant::now() + patience;
    loop {
        if let Some((_, envelope)) = store::read(&**ledger, validator).await?
            && let Some(applied) = envelope.validator.applied.into_iter().find(|applied| applied.id == id)
        {
            return Ok(Some(applied));
        }
        if Instant::now() >= until {
            return Ok(None);
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}
