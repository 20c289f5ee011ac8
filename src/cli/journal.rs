//! `failover journal`: what was decided, why, and who had asked.

use super::{
    ConfigPath, Exit,
    ask::known,
    out::{self, say},
};
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
    let ledger = assembly::ledger_to_read(&config)?;
    let validator = options.validator.as_deref().map(|name| known(&config, name)).transpose()?;
    let entries = journal::read(&*ledger, validator.as_ref(), options.last).await?;
    if options.json {
        out::json(&entries)?;
    } else if entries.is_empty() {
        say!("Nothing has been decided yet.");
    } else {
        entries.iter().for_each(|entry| say!("{}", paragraph(entry)));
    }
    Ok(Exit::Done)
}

fn paragraph(entry: &Entry) -> String {
    let entry = out::lines_of(entry);
    let step = if entry.from == entry.to { entry.to.clone() } else { format!("{} → {}", entry.from, entry.to) };
    let kind = entry.kind.map_or_else(String::new, |kind| format!("  {}", kind.as_ref()));
    let mut text = format!("{:.0}  {}  {step}{kind}", entry.at, entry.validator);
    if let (Some(by), Some(asked)) = (&entry.asked_by, &entry.asked) {
        text += &format!("\n    {by} asked to {asked}");
    }
    for reason in &entry.reasons {
        text += &format!("\n    {reason}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::{Time, ValidatorId, hostile, visible},
        runtime::journal::EntryKind,
    };

    #[test]
    fn nothing_is_raw_in_the_journal_and_no_line_is_forged() {
        let text = hostile::flood;
        let shown = paragraph(&Entry {
            at: Time::UNIX_EPOCH,
            validator: ValidatorId::new("eth-0").unwrap(),
            site: text(),
            token: 1,
            from: text(),
            to: text(),
            asked_by: Some(text()),
            asked: Some(text()),
            reasons: vec![text(), text()],
            kind: Some(EntryKind::NoticeDropped),
        });
        assert_eq!(shown.lines().count(), 4);
        hostile::assert_plain("journal", &visible(&shown), "\n");
    }
}
