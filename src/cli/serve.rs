//! `failover serve`.

use super::{ConfigPath, Exit, shutdown};
use crate::{assembly::Watcher, config::Config, domain::Mode};

#[derive(Debug, clap::Args)]
#[command(after_help = "Example: failover serve --config /etc/failover/failover.yaml")]
pub(super) struct Options {
    #[command(flatten)]
    path: ConfigPath,
}

pub(super) async fn run(options: Options) -> anyhow::Result<Exit> {
    watch(&options.path.load(true)?).await
}

pub(super) async fn watch(config: &Config) -> anyhow::Result<Exit> {
    let watcher = Watcher::build(config).await?;
    tracing::info!(
        address = %watcher.address()?,
        validators = config.validators.len(),
        ledger = %config.ledger,
        "watching"
    );
    if config.policy.mode == Mode::Observe {
        tracing::warn!("mode is observe: decides and notifies, creates nothing");
    }
    let shutdown = shutdown::on_signal("stopping: what runs may end, then the lease is given back")?;
    watcher.run(shutdown).await?;
    Ok(Exit::Done)
}
