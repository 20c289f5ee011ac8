//! `failover runbook`: what a person does by hand, in this operator's own names.

use std::{path::PathBuf, time::Duration};

use anyhow::Context as _;
use strum::{IntoEnumIterator as _, VariantNames as _};

use super::{
    ConfigPath, Exit,
    out::{self, save, say},
};
use crate::{
    assembly,
    config::Config,
    domain::{
        SignerClient, ValidatorId,
        runbook::{RunbookMachine, RunbookPage, RunbookSigner, RunbookTopic},
    },
    runtime::store,
};

/// It has to be readable on a day on which nothing answers.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  failover runbook eth-0                              all three pages
  failover runbook eth-0 --lose                       home is gone: in which order up to a cloud that runs
  failover runbook eth-0 --lose --client teku         the export of Teku alone, which is what runs at home
  failover runbook eth-0 --promote                    move the keys by hand
  failover runbook eth-0 --go-back                    home is repaired
  failover runbook eth-0 --markdown --out runbook.md  to print, before the day

It reads the ledger for the machine of the day, and does without it after five seconds. Nothing is changed.
What this version cannot do, each page says at its beginning.")]
pub(super) struct Options {
    /// Which validator.
    validator: String,
    /// Home is gone.
    #[arg(long, conflicts_with_all = ["promote", "go_back"])]
    lose: bool,
    /// Move the keys to the standby, by hand.
    #[arg(long, conflicts_with = "go_back")]
    promote: bool,
    /// Home is repaired and is to sign again.
    #[arg(long)]
    go_back: bool,
    /// Which validator client runs at home; without it the exports of all five are printed.
    #[arg(long, value_name = "NAME", value_parser = client)]
    client: Option<SignerClient>,
    /// As Markdown: no line is broken.
    #[arg(long)]
    markdown: bool,
    /// Write it into a new file instead of printing it.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    path: ConfigPath,
}

fn client(text: &str) -> Result<SignerClient, String> {
    text.parse().map_err(|_| format!("'{text}' is none of {}", SignerClient::VARIANTS.join(", ").to_lowercase()))
}

pub(super) async fn run(options: Options) -> anyhow::Result<Exit> {
    let config = options.path.load(false)?;
    let id = super::ask::known(&config, &options.validator)?;
    let validator = config.validators.iter().find(|validator| validator.name == id);
    let validator = validator.context("the configuration lost a validator")?;
    let mut facts = assembly::runbook::facts(&config, validator, machine(&config, &id).await);
    if let RunbookSigner::Ethereum { home, .. } = &mut facts.signer {
        *home = options.client;
    }
    let wanted = |topic: &RunbookTopic| match topic {
        RunbookTopic::Lose => options.lose,
        RunbookTopic::Promote => options.promote,
        RunbookTopic::GoBack => options.go_back,
    };
    let all = !RunbookTopic::iter().any(|topic| wanted(&topic));
    let pages = RunbookTopic::iter().filter(|topic| all || wanted(topic)).map(|topic| facts.page(topic));
    let laid_out: fn(&RunbookPage) -> String = if options.markdown { RunbookPage::markdown } else { RunbookPage::text };
    let text = pages.map(|page| laid_out(&page)).collect::<Vec<_>>().join("\n\n");
    match &options.out {
        Some(file) => {
            save(file, text.as_bytes())?;
            say!("{}: written", file.display());
        }
        None => out::text(&text),
    }
    Ok(Exit::Done)
}

async fn machine(config: &Config, validator: &ValidatorId) -> RunbookMachine {
    let asked = async {
        let ledger = assembly::ledger_to_read(config)?;
        Ok::<_, anyhow::Error>(store::read(&*ledger, validator).await?)
    };
    match tokio::time::timeout(PATIENCE, asked).await {
        Err(_) => RunbookMachine::NotRead("no answer within five seconds".to_owned()),
        Ok(Err(error)) => RunbookMachine::NotRead(format!("{error:#}")),
        Ok(Ok(found)) => {
            let record = found.map(|(_, envelope)| envelope.validator).unwrap_or_default();
            record.standby().map_or(RunbookMachine::NoneNow, |standby| RunbookMachine::Known(standby.instance.clone()))
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use crate::domain::runbook::PROMOTION_TODAY;

    /// The sentence about today is true for as long as this is: whoever takes a way away writes it again.
    #[test]
    fn what_a_runbook_says_of_promotion_is_what_promote_can_do() {
        let command = crate::cli::Cli::command();
        let promote = command.find_subcommand("promote").unwrap();
        let can_be_executed = promote.get_arguments().any(|argument| argument.get_id() == "execute");
        let demotes = command.get_subcommands().any(|command| command.get_name() == "demote");
        assert_eq!((can_be_executed, demotes), (true, PROMOTION_TODAY.contains("`failover demote` brings home back")));
    }
}
