//! Logs: readable on a terminal, JSON otherwise, always on standard error.

use std::io::IsTerminal;

use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

use super::{Cli, Command};

/// Starts the logs. Commands that print for people log only warnings unless asked for more.
pub fn init(cli: &Cli) {
    let usual = match (&cli.command, cli.verbose) {
        (Command::Serve(_), 0) => "info",
        (_, 0) => "warn",
        (_, 1) => "failover=debug,info",
        (_, _) => "trace",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(usual));
    let registry = tracing_subscriber::registry().with(filter);
    if std::io::stderr().is_terminal() {
        registry.with(fmt::layer().with_writer(std::io::stderr).with_target(false)).init();
    } else {
        registry.with(fmt::layer().json().flatten_event(true).with_writer(std::io::stderr)).init();
    }
}
