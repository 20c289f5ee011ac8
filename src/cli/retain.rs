//! `failover retain`: keeps a standby, with the operator's own credentials.

use anyhow::{Context as _, bail};

use super::{
    ConfigPath, Exit,
    out::{self, say},
};
use crate::{
    assembly,
    domain::{Command, Time, visible_line},
    runtime::{grants, requests, store},
};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example: failover retain eth-0 --reason 'migrating the keys tonight'

Uses your own Google credentials (gcloud auth application-default login): the watcher's may not do this.")]
pub(super) struct Options {
    /// Whose standby.
    validator: String,
    /// Why; it is in the ledger.
    #[arg(short, long)]
    reason: String,
    /// Who asks.
    #[arg(long, env = "USER", default_value = "operator")]
    by: String,
    /// Print as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    path: ConfigPath,
}

pub(super) async fn run(options: Options) -> anyhow::Result<Exit> {
    let config = options.path.load(false)?;
    let validator = super::ask::known(&config, &options.validator)?;
    let ledger = assembly::ledger(&config)?;
    let cloud = assembly::cloud::operators_cloud(&config).await?.context("there is no `compute` section")?;
    let record = store::read(&*ledger, &validator).await?.map(|(_, envelope)| envelope.validator);
    let Some(standby) = record.as_ref().and_then(|record| record.standby()) else {
        bail!("{validator} has no standby to retain; see `failover status`");
    };
    let incident = record.as_ref().and_then(|record| record.incident()).map(|incident| incident.id);
    // A promotion is to find the machine as it left it, and its label says more than this one's.
    let view = grants::view(&*ledger, &assembly::grant_rules(&config), &validator).await?;
    if let Some(why) = view.promotion_forbids(&standby.instance.id) {
        bail!("{} is not retained: {why}", standby.instance);
    }
    // The machine first: it is what matters. The watcher sees its label even if the request is lost.
    let retained = cloud.retain(&standby.instance).await?;
    requests::send(&*ledger, Time::now(), &validator, &options.by, &options.reason, Command::Retain, incident)
        .await
        .context("the machine is retained, but the watcher could not be notified; it sees the label by itself")?;
    if options.json {
        out::json(&retained)?;
    } else {
        say!("{}: deletion protection is on, automation leaves it alone", standby.instance);
        if retained.limit_cleared {
            say!("its run limit is cleared: once it runs it costs until you delete it");
        } else {
            say!("its run limit is NOT cleared: Compute Engine will stop it at its end, not deleted");
        }
        if let Some(remaining) = &retained.remaining {
            say!("left to you: {}", visible_line(remaining));
        }
    }
    Ok(if retained.protected { Exit::Done } else { Exit::Failed })
}
