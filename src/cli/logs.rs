//! `failover logs`: what a standby's serial port has printed, from its boot on.
//!
//! It reads and changes nothing. The cloud keeps the last megabyte of a port, so there is nothing to store here.

use std::time::Duration;

use anyhow::{Context as _, bail};

use super::{
    ConfigPath, Exit,
    out::{self, complain, say},
};
use crate::{
    assembly,
    domain::{InstanceRef, ValidatorId, visible_line},
    ports::{CloudError, Inspection, Ledger, SerialPort},
    runtime::store,
};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  failover logs eth-0 --follow
  failover logs eth-0 --last 4096         only the last 4096 bytes
  failover logs eth-0 --json | jq -r .contents

Characters that would move the cursor or colour a terminal are shown, not obeyed. Lines of failover's own start-up
script begin with `failover: `.")]
pub(super) struct Options {
    /// Whose standby.
    validator: String,
    /// Go on with what is printed next, until interrupted or the machine is gone.
    #[arg(short, long)]
    follow: bool,
    /// Begin so many bytes before the end, instead of with everything the cloud has.
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(i64).range(1..=1_048_576))]
    last: Option<i64>,
    /// Print one JSON object for each part that was read: start, next and contents as they came.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    path: ConfigPath,
}

/// The cloud updates a port about every second or two; asking more often shows nothing new.
const ASK_EVERY: Duration = Duration::from_secs(2);

pub(super) async fn run(options: Options) -> anyhow::Result<Exit> {
    let config = options.path.load(false)?;
    let validator = super::ask::known(&config, &options.validator)?;
    let ledger = assembly::ledger_to_read(&config)?;
    let instance = standby(&*ledger, &validator).await?;
    let cloud = assembly::cloud::cloud(&config).await?.context("there is no `compute` section")?;
    let mut reader = Reader { next: options.last.map_or(0, |bytes| -bytes), read: false, json: options.json };
    tokio::select! {
        done = reader.run(&*cloud, &instance, options.follow) => done,
        _ = tokio::signal::ctrl_c() => Ok(Exit::Done),
    }
}

/// The machine that the ledger names, which is also right while no watcher runs.
async fn standby(ledger: &dyn Ledger, validator: &ValidatorId) -> anyhow::Result<InstanceRef> {
    let record = store::read(ledger, validator).await?.map(|(_, envelope)| envelope.validator).unwrap_or_default();
    if let Some(standby) = record.standby() {
        return Ok(standby.instance.clone());
    }
    let phase = record.phase();
    bail!("{validator} is {phase} and has no standby now, so there is no serial port to read; see `failover status`")
}

struct Reader {
    next: i64,
    read: bool,
    json: bool,
}

impl Reader {
    async fn run(&mut self, cloud: &dyn Inspection, instance: &InstanceRef, follow: bool) -> anyhow::Result<Exit> {
        loop {
            match cloud.serial_port(instance, self.next).await {
                Ok(Some(port)) => self.print(instance, &port)?,
                Ok(None) if self.read => {
                    complain!("{instance} is gone");
                    return Ok(Exit::Done);
                }
                Ok(None) => bail!("{instance} is gone, and its serial port with it"),
                // Someone who follows a machine through its boot continues when the cloud is back.
                Err(CloudError::Retry(why) | CloudError::Unknown(why)) if follow && self.read => {
                    complain!("the cloud did not answer, asking again: {}", visible_line(&why));
                }
                Err(error) => return Err(error).context(format!("the serial port of {instance} cannot be read")),
            }
            if !follow {
                return Ok(Exit::Done);
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
    }

    fn print(&mut self, instance: &InstanceRef, port: &SerialPort) -> anyhow::Result<()> {
        let missed = port.start.saturating_sub(self.next);
        let gap = self.read && missed > 0;
        if self.json {
            if !port.contents.is_empty() || !self.read {
                out::json_line(port)?;
            }
        } else {
            if gap {
                say!("\n[{missed} bytes of {instance} were overwritten before they were read]");
            }
            out::text(&port.contents);
        }
        (self.next, self.read) = (port.next, true);
        Ok(())
    }
}
