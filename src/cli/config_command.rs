//! `failover config`.

use super::{ConfigPath, Exit, checks};
use crate::config;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Say what is wrong with a configuration, with line, column and the fix.
    #[command(after_help = "Example: failover config check --config failover.yaml")]
    Check {
        #[command(flatten)]
        path: ConfigPath,
        /// Do not look for the files with secrets, which are where the watcher runs.
        #[arg(long)]
        without_files: bool,
    },
    /// Print the JSON schema, for editors.
    Schema,
    /// Print a complete configuration to start from.
    Example,
}

pub(super) fn run(command: &Command) -> anyhow::Result<Exit> {
    match command {
        Command::Check { path, without_files } => match config::load(&path.config, checks(!without_files)) {
            Ok((config, warnings)) => {
                for warning in warnings {
                    eprintln!("warning: {warning}");
                }
                println!("{} is fine: {} validators", path.config.display(), config.validators.len());
                Ok(Exit::Done)
            }
            Err(error) => {
                eprintln!("{error}");
                Ok(Exit::Failed)
            }
        },
        Command::Schema => {
            println!("{:#}", config::schema());
            Ok(Exit::Done)
        }
        Command::Example => {
            print!("{}", config::EXAMPLE);
            Ok(Exit::Done)
        }
    }
}
