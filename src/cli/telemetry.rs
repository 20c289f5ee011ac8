//! Logs: JSON when the watcher runs without a terminal, readable otherwise, always on standard error.

use std::io::{self, IsTerminal};

use tracing_subscriber::{EnvFilter, layer::SubscriberExt, util::SubscriberInitExt};

use super::{Cli, Command};
use crate::log_lines::{machines, people};

/// Starts the logs. Commands that print for people log only warnings unless asked for more.
pub fn init(cli: &Cli) {
    let usual = match (&cli.command, cli.verbose) {
        (Command::Serve(_), 0) => "info",
        (Command::Agent(options), 0) if options.runs_on() => "info",
        (_, 0) => "warn",
        (_, 1) => "failover=debug,info",
        (_, _) => "trace",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(usual));
    let registry = tracing_subscriber::registry().with(filter);
    // Only the watcher's log is read by machines; a person who types a command reads it directly.
    let for_machines = matches!(cli.command, Command::Serve(_)) && !io::stderr().is_terminal();
    if for_machines {
        registry.with(machines(io::stderr)).init();
    } else {
        registry.with(people(io::stderr, io::stderr().is_terminal())).init();
    }
}
