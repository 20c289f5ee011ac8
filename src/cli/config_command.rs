//! `failover config`.

use serde_json::json;

use super::{
    ConfigPath, Exit,
    out::{self, complain, say},
};
use crate::config::{self, Checks, Config, ConfigError, Warning};

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
        /// Print as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Print the JSON schema, for editors.
    Schema,
    /// Print a complete configuration to start from.
    Example,
}

pub(super) fn run(command: &Command) -> anyhow::Result<Exit> {
    match command {
        Command::Check { path, without_files, json } => {
            let loaded = config::load(&path.config, Checks { files: !without_files, ..Checks::default() });
            if *json { as_json(&loaded) } else { as_text(path, &loaded) }
        }
        Command::Schema => {
            out::json(&config::schema())?;
            Ok(Exit::Done)
        }
        Command::Example => {
            out::text(config::EXAMPLE);
            Ok(Exit::Done)
        }
    }
}

type Loaded = Result<(Config, Vec<Warning>), ConfigError>;

fn as_text(path: &ConfigPath, loaded: &Loaded) -> anyhow::Result<Exit> {
    match loaded {
        Ok((config, warnings)) => {
            warnings.iter().for_each(|warning| complain!("warning: {warning}"));
            say!("{} is fine: {} validators", path.config.display(), config.validators.len());
            Ok(Exit::Done)
        }
        Err(error) => {
            complain!("{error}");
            Ok(Exit::Failed)
        }
    }
}

fn as_json(loaded: &Loaded) -> anyhow::Result<Exit> {
    let (problems, warnings, error) = match loaded {
        Ok((_, warnings)) => (&[][..], warnings.as_slice(), None),
        Err(error) => (error.problems(), &[][..], Some(error.to_string())),
    };
    out::json(&json!({"error": error, "problems": problems, "warnings": warnings}))?;
    Ok(if loaded.is_ok() { Exit::Done } else { Exit::Failed })
}
