//! `failover ledger`: looks at every record of the ledger, and takes away one that cannot be used.

use std::{
    fs::OpenOptions,
    io::{IsTerminal as _, Write as _, stderr},
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};

use super::{
    ConfigPath, Exit,
    check::{LINE, mark},
    out::{self, complain, say},
};
use crate::{
    assembly,
    domain::{KeyKind, LedgerKey, Time, one_line},
    records,
    runtime::verify,
};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Read every record and say what is wrong and what to do. Nothing is changed.
    #[command(after_help = "\
Examples:
  failover ledger verify --config failover.yaml
  failover ledger verify --json | jq -r '.findings[] | .subject'

Ends with 0 when all is well, 1 when something is wrong, 2 when the ledger could not be read to its end.")]
    Verify(Verify),
    /// Take away one record that `verify` names, and keep its bytes in a file.
    #[command(after_help = "\
Example: failover ledger remove validators/eth-0 --save eth-0.json

Only what cannot be used is taken away: everything else is left, and so is who owns a validator.")]
    Remove(Remove),
}

#[derive(Debug, clap::Args)]
pub(super) struct Verify {
    /// Print as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    path: ConfigPath,
}

#[derive(Debug, clap::Args)]
pub(super) struct Remove {
    /// The key, as `verify` prints it.
    key: String,
    /// Where its bytes are kept; a file that is not there yet.
    #[arg(long, value_name = "FILE")]
    save: PathBuf,
    #[command(flatten)]
    path: ConfigPath,
}

pub(super) async fn run(command: Command) -> anyhow::Result<Exit> {
    match command {
        Command::Verify(options) => match verify(&options).await {
            Ok(exit) => Ok(exit),
            Err(error) => {
                super::print(&error);
                Ok(Exit::CouldNotLook)
            }
        },
        Command::Remove(options) => remove(&options).await,
    }
}

async fn verify(options: &Verify) -> anyhow::Result<Exit> {
    let config = options.path.load(false)?;
    if let Some(path) = assembly::missing_ledger(&config) {
        bail!(
            "there is no ledger at {}: name the right file in `ledger.sqlite.path`, or start `failover serve`, which \
               makes it",
            path.display()
        );
    }
    let ledger = assembly::ledger_to_read(&config)?;
    let configured: Vec<_> = config.validators.iter().map(|validator| validator.name.clone()).collect();
    let shown = stderr().is_terminal();
    let last = std::cell::Cell::new(Instant::now());
    let progress = |records: u64| {
        if shown && last.get().elapsed() > Duration::from_millis(200) {
            last.set(Instant::now());
            // Nobody reads it if it cannot be written.
            let _ = write!(stderr(), "\r\x1b[2K{records} records looked at").and_then(|()| stderr().flush());
        }
    };
    let verified = verify::verify(&*ledger, &configured, &assembly::grant_rules(&config), Time::now(), progress).await;
    if shown {
        let _ = write!(stderr(), "\r\x1b[2K").and_then(|()| stderr().flush());
    }
    let verified = verified.context("the ledger could not be read to its end")?;
    if options.json {
        out::json(&verified)?;
    } else {
        for finding in &verified.findings {
            let text = format!("{}: {}", finding.subject, finding.detail);
            say!("{:8} {}", mark(finding.state), one_line(&text, LINE));
            finding.remedy.iter().for_each(|remedy| say!("{:8} -> {}", "", one_line(remedy, LINE)));
        }
        if verified.more > 0 {
            say!("and {} more", verified.more);
        }
        let wrong = verified.findings.len() as u64 + verified.more;
        let id = verified.id.map_or_else(|| "without an id".to_owned(), |id| format!("id {id}"));
        say!("{} ({id}): {} records, {wrong} findings", verified.ledger, verified.records);
    }
    Ok(if verified.findings.is_empty() { Exit::Done } else { Exit::Failed })
}

async fn remove(options: &Remove) -> anyhow::Result<Exit> {
    let config = options.path.load(false)?;
    if let Some(path) = assembly::missing_ledger(&config) {
        bail!("there is no ledger at {}", path.display());
    }
    let ledger = assembly::ledger(&config)?;
    let key = &options.key;
    let Some(stored) = ledger.get(key).await? else { bail!("there is no record {key}; see `failover ledger verify`") };
    match KeyKind::of(key) {
        Some(KeyKind::Owner(_) | KeyKind::OwnerHistory(..) | KeyKind::Session(_) | KeyKind::Promotion(_)) => {
            complain!("{key} says who may sign, which only you write: nothing was changed");
            return Ok(Exit::Refused);
        }
        Some(KeyKind::Lease | KeyKind::Identity) => {
            complain!("{key} is replaced by `failover serve` when nobody uses it: nothing was changed");
            return Ok(Exit::Refused);
        }
        _ => {}
    }
    if verify::is_of_a_newer_failover(key, &stored.bytes) {
        complain!("{key} was written by a newer failover: upgrade this one; nothing was changed");
        return Ok(Exit::Refused);
    }
    let identity = ledger.get(&LedgerKey::IDENTITY).await?;
    let identity = identity.and_then(|stored| records::decode(&LedgerKey::IDENTITY, &stored.bytes).ok());
    if verify::of_record(key, &stored.bytes, identity).is_none() {
        complain!("{key} can be read and is used: nothing was changed; see `failover ledger verify`");
        return Ok(Exit::Refused);
    }
    let name = options.save.display();
    let kept = OpenOptions::new().write(true).create_new(true).open(&options.save);
    let kept = kept.and_then(|mut file| file.write_all(&stored.bytes).and_then(|()| file.sync_all()));
    kept.with_context(|| format!("its bytes cannot be kept in {name}, so it was left; name a file that is not there"))?;
    ledger.remove(key, &stored.version).await.context("it was not taken away; look again")?;
    say!("{key} was taken away; its {} bytes are in {name}", stored.bytes.len());
    Ok(Exit::Done)
}
