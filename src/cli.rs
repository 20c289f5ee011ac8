//! The command line: one file for each command, its options beside what it does.
//!
//! It prints and asks; it decides nothing.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};

use crate::config::{self, Checks, Config};

mod adopt;
mod agent;
mod ask;
mod carry;
mod check;
mod check_keys;
mod completions;
mod config_command;
mod demote;
mod grants;
mod interchange;
mod journal;
mod keygen;
mod ledger;
mod logs;
pub(crate) mod out;
mod plan;
mod promote;
mod regrant;
mod retain;
mod runbook;
#[cfg(feature = "sandbox")]
mod sandbox;
mod serve;
mod shutdown;
mod signing;
mod simulate;
mod status;
pub mod telemetry;

/// Notices that a home validator is down, is sure, and starts a keyless standby in the cloud.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, after_help = EXAMPLES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    command: Command,
    /// More of what happens: -v debug, -vv everything. `RUST_LOG` is understood too.
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    verbose: u8,
}

const EXAMPLES: &str = "\
Examples:
  failover sandbox                        the whole story on this machine, without any account
  failover config example > failover.yaml a configuration to start from
  failover check --config failover.yaml   what would fail on the day
  failover serve --config failover.yaml   watch, decide, act
  failover status --watch                 what it sees and why it waits

Exit codes: 0 done, 1 failed, 2 wrong usage (`ledger verify`, `grants`: could not look), 3 refused for safety.";

/// Everything that can be done.
#[derive(Debug, Subcommand)]
enum Command {
    /// Watch, decide and act; what runs in the cluster.
    Serve(serve::Options),
    /// Report from a standby how far it is; what runs there.
    Agent(agent::Options),
    /// Show what the watcher sees, and why it waits.
    Status(status::Options),
    /// Show what was decided, why, and who had asked.
    Journal(journal::Options),
    /// Show what a standby's serial port has printed.
    Logs(logs::Options),
    /// Show what would be created, where, and what it would cost.
    Plan(plan::Options),
    /// Reach everything that is configured and say what would fail on the day.
    Check(check::Options),
    /// Move ownership to the standby: show every gate and step, or with --execute do them.
    Promote(promote::Options),
    /// Move ownership back home: the machine in the cloud ends, home signs.
    Demote(demote::Options),
    /// Print what to do by hand when home is gone, when the keys move, and when they come back.
    Runbook(runbook::Options),
    /// Make the file that keeps a new signer from repeating what the old one signed. No key is needed.
    Watermark(interchange::WatermarkOptions),
    /// Say whether an export of slashing protection may be imported.
    LintInterchange(interchange::LintOptions),
    /// Sign the grant that lets home sign: the first one, or after the ledger was damaged.
    Adopt(adopt::Options),
    /// Sign the grant for the next boot of the machine that signs in the cloud.
    Regrant(regrant::Options),
    /// Show who may sign, and every grant that led there.
    Grants(grants::Options),
    /// Keep a standby: no deletion, no time limit, with your own credentials.
    Retain(retain::Options),
    /// Open an incident now: your word replaces the signals, not the limits.
    Open(ask::Open),
    /// End an incident and let its machine go.
    Close(ask::Close),
    /// Ask for quiet, with a reason and an end.
    Pause(ask::Pause),
    /// End a pause.
    Resume(ask::Resume),
    /// Look at every record of the ledger, or take away one that cannot be used.
    #[command(subcommand, after_help = "Example: failover ledger verify --config failover.yaml")]
    Ledger(ledger::Command),
    /// Check, explain or print a configuration.
    #[command(subcommand)]
    Config(config_command::Command),
    /// Run a text of events and expectations against the rules. Nothing is touched.
    Simulate(simulate::Options),
    /// Tell the whole story on this machine: real traffic, fake far ends, compressed time.
    #[cfg(feature = "sandbox")]
    Sandbox(sandbox::Options),
    /// Print completions for a shell.
    Completions(completions::Options),
}

/// Where the configuration is.
#[derive(Clone, Debug, Args)]
pub struct ConfigPath {
    /// The configuration.
    #[arg(short, long, env = "FAILOVER_CONFIG", default_value = "/etc/failover/failover.yaml", global = true)]
    config: PathBuf,
}

impl ConfigPath {
    /// Reads it; warnings go to standard error. `files` says whether files with secrets have to be there.
    ///
    /// # Errors
    /// Everything that is wrong with it, with line and column.
    pub fn load(&self, files: bool) -> anyhow::Result<Config> {
        let (config, warnings) = config::load(&self.config, Checks { files, ..Checks::default() })?;
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        Ok(config)
    }
}

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Everything was done.
    Done,
    /// Something did not work.
    Failed,
    /// It could not be found out whether all is well.
    CouldNotLook,
    /// It was not done because it would not have been safe, or because a rule forbids it.
    Refused,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Done => Self::SUCCESS,
            Exit::Failed => Self::FAILURE,
            Exit::CouldNotLook => Self::from(2),
            Exit::Refused => Self::from(3),
        }
    }
}

/// The whole chain, once: nothing below prints an error and returns it too.
pub fn print(error: &anyhow::Error) {
    out::complaint(&format!("error: {error:#}"));
}

/// Does what was asked for.
///
/// # Errors
/// What went wrong, for a person, with the next step.
pub fn run(cli: Cli) -> anyhow::Result<Exit> {
    #[cfg(target_env = "gnu")]
    if let Command::Serve(_) = &cli.command {
        serve::with_a_frugal_heap();
    }
    match cli.command {
        Command::Config(command) => return config_command::run(&command),
        Command::Simulate(options) => return simulate::run(&options),
        Command::Completions(options) => return Ok(completions::run(&options)),
        Command::Agent(options) => return agent::run(&options),
        _ => {}
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .worker_threads(2)
        .build()
        .context("the async runtime does not start")?;
    runtime.block_on(async {
        match cli.command {
            Command::Serve(options) => serve::run(options).await,
            Command::Status(options) => status::run(options).await,
            Command::Journal(options) => journal::run(options).await,
            Command::Logs(options) => logs::run(options).await,
            Command::Plan(options) => plan::run(&options).await,
            Command::Check(options) => check::run(options).await,
            Command::Promote(options) => promote::run(options).await,
            Command::Demote(options) => demote::run(options).await,
            Command::Runbook(options) => runbook::run(options).await,
            Command::Watermark(options) => interchange::watermark(options).await,
            Command::LintInterchange(options) => interchange::lint_interchange(options).await,
            Command::Adopt(options) => adopt::run(options).await,
            Command::Regrant(options) => regrant::run(options).await,
            Command::Grants(options) => grants::run(options).await,
            Command::Retain(options) => retain::run(options).await,
            Command::Ledger(command) => ledger::run(command).await,
            Command::Open(options) => ask::open(options).await,
            Command::Close(options) => ask::close(options).await,
            Command::Pause(options) => ask::pause(options).await,
            Command::Resume(options) => ask::resume(options).await,
            #[cfg(feature = "sandbox")]
            Command::Sandbox(options) => sandbox::run(options).await,
            Command::Config(_) | Command::Simulate(_) | Command::Completions(_) | Command::Agent(_) => Ok(Exit::Done),
        }
    })
}
