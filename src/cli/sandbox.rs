//! `failover sandbox`.

use std::path::PathBuf;

use anyhow::Context as _;

use super::{ConfigPath, Exit, out::say, serve};
use crate::{
    config::CredentialSettings,
    sandbox::{
        stage::hurry,
        story::{self, Narrator, STORIES},
    },
};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  failover sandbox                       the plug is pulled, and everything that comes of it
  failover sandbox --story lost-reply    another story
  failover sandbox --keep                leaves the world up for curl and `failover status`")]
pub(super) struct Options {
    /// Which story.
    #[arg(long, default_value = STORIES[0].name)]
    story: String,
    /// List the stories.
    #[arg(long)]
    list: bool,
    /// Leave the world up at the end, until interrupted.
    #[arg(long)]
    keep: bool,
    /// Be the watcher of a sandbox with this configuration: `serve`, in compressed time. The sandbox starts itself so.
    #[arg(long, value_name = "CONFIG", hide = true)]
    watcher: Option<PathBuf>,
}

pub(super) async fn run(options: Options) -> anyhow::Result<Exit> {
    if let Some(path) = options.watcher {
        let mut config = ConfigPath { config: path }.load(true)?;
        let fake = config.compute.as_ref().is_none_or(|compute| compute.credentials == CredentialSettings::Anonymous);
        anyhow::ensure!(fake, "the cloud of this configuration is not a sandbox's: use `failover serve`");
        hurry(&mut config);
        return serve::watch(&config).await;
    }
    if options.list {
        for story in STORIES {
            say!("{:16} {}", story.name, story.about);
        }
        return Ok(Exit::Done);
    }
    let program = std::env::current_exe().context("this program cannot be found to run the watcher")?;
    let stage = story::play(&options.story, &program, &Narrator::aloud()).await?;
    say!("\nThe story ended as it has to.");
    if options.keep {
        say!("\nThe world stays up until you press Ctrl-C:");
        say!("  failover status --config {}", stage.config_path().display());
        say!("  curl {}/metrics", stage.watcher_url);
        say!("  curl {}/eth/v1/node/syncing", stage.beacon.url());
        say!("  curl {}/compute/v1/projects/sandbox/aggregated/instances", stage.cloud.url());
        say!("  watcher's log: {}", stage.log_path().display());
        let mut requests = stage.cloud.subscribe();
        loop {
            tokio::select! {
                Ok(line) = requests.recv() => say!("  {} {} → {}", line.method, line.path, line.status),
                _ = tokio::signal::ctrl_c() => break,
            }
        }
    }
    Ok(Exit::Done)
}
