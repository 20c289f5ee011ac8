//! What the executor asks of others than the ledger and the machine, by the configuration.

use std::{path::Path, time::Duration};

use async_trait::async_trait;

use super::super::{interchange, out};
use crate::{
    domain::{Time, chain::Epoch, gates::GateEvidence, interchange::Watermark, ownership::Grant},
    ports::LedgerError,
    promotion::{GateContext, MadeWatermark, PromotionEvidence, evidence::EvidenceSources},
    runtime::grants::{self, GrantRules},
};

/// What the configured nodes, the cloud and the ledger say.
pub(super) struct ConfiguredEvidence<'a> {
    pub(super) sources: EvidenceSources<'a>,
    pub(super) rules: &'a GrantRules,
    /// Where the watermark is written, too.
    pub(super) save: Option<&'a Path>,
}

impl ConfiguredEvidence<'_> {
    async fn view(&self) -> Result<crate::domain::ownership::OwnershipView, LedgerError> {
        grants::view(self.sources.ledger, self.rules, self.sources.validator).await
    }

    async fn mark(&self, epoch: Option<u64>) -> anyhow::Result<MadeWatermark> {
        let (keys, now) = interchange::asked(self.sources.config, self.sources.validator.as_str()).await?;
        // Whatever was signed until now is in the present epoch at most.
        let epoch = epoch.unwrap_or(now.epoch.0 + 1);
        let root = now.genesis_root.parse().map_err(anyhow::Error::msg)?;
        let mark = Watermark::new(root, Epoch(epoch), now.slots_per_epoch, keys)?;
        Ok(MadeWatermark { epoch, bytes: mark.bytes() })
    }
}

#[async_trait]
impl PromotionEvidence for ConfiguredEvidence<'_> {
    async fn gates(&self, _: &GateContext<'_>) -> GateEvidence {
        match self.view().await {
            Ok(view) => self.sources.gates(&view).await,
            Err(_) => GateEvidence::default(),
        }
    }

    fn saw_ready(&self, boot: Option<&str>, at: Duration) {
        self.sources.saw_ready(boot, at);
    }

    async fn is_chain_fine(&self) -> bool {
        self.sources.is_chain_fine().await
    }

    async fn watermark(&self, epoch: Option<u64>) -> Result<MadeWatermark, String> {
        let made = self.mark(epoch).await.map_err(|error| format!("{error:#}"))?;
        // Only one that was noted: the first one that was made is not in the record yet.
        if let (Some(file), Some(_)) = (self.save, epoch) {
            out::save(file, &made.bytes).map_err(|error| format!("{error:#}"))?;
        }
        Ok(made)
    }

    async fn duty_since(&self, grant: &Grant) -> Option<Time> {
        self.sources.duty_since(&self.view().await.ok()?, grant).await
    }
}
