//! `failover journal`: what was decided, why, and who had asked.

use super::{ConfigPath, Exit, ask::known};
use crate::{
    assembly,
    runtime::journal::{self, Entry},
};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  failover journal
  failover journal eth-0 --last 5
  failover journal --json | jq -r '.[] | select(.asked_by) | .asked'")]
pub(super) struct Options {
    /// Only what was decided about this validator.
    validator: Option<String>,
    /// Only the last entries.
    #[arg(short = 'n', long, default_value_t = 50)]
    last: usize,
    /// Print as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    path: ConfigPath,
}

pub(super) async fn run(options: Options) -> anyhow::Result<Exit> {
    let config = options.path.load(false)?;
    let ledger = assembly::ledger(&config)?;
    let validator = options.validator.as_deref().map(|name| known(&config, name)).transpose()?;
    let entries = journal::read(&*ledger, validator.as_ref(), options.last).await?;
    if options.json {
        println!("{}", serde_json::to_string_pretty(&entries)?);
    } else if entries.is_empty() {
        println!("Nothing has been decided yet.");
    } else {
        entries.iter().for_each(|entry| println!("{}", paragraph(entry)));
    }
    Ok(Exit::Done)
}

fn paragraph(entry: &Entry) -> String {
    let step = if entry.from == entry.to { entry.to.clone() } else { format!("{} → {}", entry.from, entry.to) };
    let mut text = format!("{:.0}  {}  {step}", entry.at, entry.validator);
    if let (Some(by), Some(asked)) = (&entry.asked_by, &entry.asked) {
        text += &format!("\n    {by} asked to {asked}");
    }
    for reason in &entry.reasons {
        text += &format!("\n    {reason}");
    }
    text
}
