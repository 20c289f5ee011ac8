//! The `failover` command: reads the command line, starts the logs, hands over, and turns the end into an exit code.

#![warn(clippy::print_stdout, clippy::print_stderr)]

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    failover::adapters::http::install_tls_provider();
    let cli = failover::cli::Cli::parse();
    failover::cli::telemetry::init(&cli);
    match failover::cli::run(cli) {
        Ok(exit) => exit.into(),
        Err(error) => {
            failover::cli::print(&error);
            failover::cli::Exit::Failed.into()
        }
    }
}
