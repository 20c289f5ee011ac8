//! `failover completions`.

use clap::CommandFactory;

use super::{Cli, Exit};

#[derive(Debug, clap::Args)]
#[command(after_help = "Example: failover completions bash > /etc/bash_completion.d/failover")]
pub(super) struct Options {
    /// For which shell.
    shell: clap_complete::Shell,
}

pub(super) fn run(options: &Options) -> Exit {
    clap_complete::generate(options.shell, &mut Cli::command(), "failover", &mut std::io::stdout());
    Exit::Done
}
