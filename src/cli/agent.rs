//! `failover agent`.

use std::{path::PathBuf, sync::Arc};

use anyhow::Context as _;

use super::{Exit, out, shutdown};
use crate::{
    adapters::clock::SystemClock,
    agent::{Agent, AgentConfig},
};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  failover agent --config /etc/failover/agent.json         report until stopped; what failover-agent.service runs
  failover agent --config /etc/failover/agent.json --once  look once, print the report, leave none

GCE_METADATA_HOST names another metadata server than metadata.google.internal, as host or host:port.
docs/agent.md says what it reads, what it says, and what it never does.")]
pub(super) struct Options {
    /// What the role `agent` has written.
    #[arg(short, long, default_value = "/etc/failover/agent.json")]
    config: PathBuf,
    /// Look once and print the report as JSON.
    #[arg(long)]
    once: bool,
}

impl Options {
    /// Whether it runs on, and its log is read later.
    pub(super) fn runs_on(&self) -> bool {
        !self.once
    }
}

/// A runtime of its own, of one thread: the agent waits nearly all of the time, on a machine whose memory the clients
/// need.
pub(super) fn run(options: &Options) -> anyhow::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // Only names are looked up there; a name server that hangs must not add a thread with every try.
        .max_blocking_threads(4)
        .build()
        .context("the async runtime does not start")?;
    let done = runtime.block_on(work(options));
    // A name that is still being looked up must not keep the end waiting.
    runtime.shutdown_background();
    done
}

async fn work(options: &Options) -> anyhow::Result<Exit> {
    let config = AgentConfig::load(&options.config)?;
    let mut agent = Agent::here(config, Arc::new(SystemClock))?;
    if options.once {
        out::json(&agent.report().await?)?;
        return Ok(Exit::Done);
    }
    agent.run(shutdown::on_signal("stopping")?).await;
    Ok(Exit::Done)
}
