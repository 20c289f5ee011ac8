//! The `failover` command: reads the command line, starts the logs, hands over, and turns the end into an exit code.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    failover::adapters::http::install_tls_provider();
    let cli = failover::cli::Cli::parse();
    failover::cli::telemetry::init(&cli);
    match failover::cli::run(cli) {
        Ok(exit) => exit.into(),
        Err(error) => {
            // The whole chain once, here: nothing below prints an error and returns it too.
            eprintln!("error: {error:#}");
            failover::cli::Exit::Failed.into()
        }
    }
}
