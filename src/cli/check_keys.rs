//! `failover promote --check-keys`: whether the client in the cloud has the keys that it is to have.

use std::path::Path;

use anyhow::Context as _;

use super::{Exit, check, out};
use crate::{
    assembly,
    config::Config,
    domain::ValidatorId,
    files,
    ports::FindingState,
    promotion::{check_keys, evidence::EvidenceSources},
    runtime::grants,
};

/// # Errors
/// The page or the ledger cannot be read.
pub(super) async fn run(config: &Config, validator: &ValidatorId, page: &Path, json: bool) -> anyhow::Result<Exit> {
    let text = match page.to_str() {
        Some("-") => files::read_text_from(std::io::stdin(), files::MOST),
        Some(_) | None => files::read_text(page, files::MOST),
    };
    let text =
        text.with_context(|| format!("{} cannot be read: name a file with the page of metrics", page.display()))?;
    let ledger = assembly::ledger_to_read(config)?;
    let view = grants::view(&*ledger, &assembly::grant_rules(config), validator).await?;
    let sources = EvidenceSources::new(config, validator, &*ledger, None);
    let findings = check_keys::run(&sources, &view, &text).await;
    if json {
        out::json(&findings)?;
    } else {
        out::text(&(check::lines_of(&findings).join("\n") + "\n"));
    }
    let is_good = |state| matches!(state, FindingState::Ok | FindingState::Warning);
    Ok(if findings.iter().all(|finding| is_good(finding.state)) { Exit::Done } else { Exit::Failed })
}
