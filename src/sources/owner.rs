//! Who may sign, read from the ledger and verified. It writes nothing there.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;

use super::{EventSource, ticks};
use crate::{
    assembly,
    config::{Config, ValidatorSettings},
    domain::{
        Event, LedgerKey, Owner, PromotionView, ValidatorId,
        ownership::{LastGrant, OwnershipView},
    },
    ports::Ledger,
    runtime::{
        Handle,
        grants::{self, GrantRules},
    },
};

/// How often grant and session are read. What deletes a machine reads both itself.
const READ_EVERY: Duration = Duration::from_secs(60);

pub struct OwnerSource {
    ledger: Arc<dyn Ledger>,
    rules: GrantRules,
    validator: ValidatorId,
    every: Duration,
}

/// One for each validator that may have grants or be promoted.
///
/// # Errors
/// When `policy.observe_every` is no length of time.
pub fn owners(config: &Config, ledger: &Arc<dyn Ledger>) -> anyhow::Result<Vec<OwnerSource>> {
    let every = READ_EVERY.min(config.policy.observe_every.try_into().context("policy.observe_every")?);
    let rules = assembly::grant_rules(config);
    // One that signs nothing has no grant, and may be promoted all the same.
    let is_read = |it: &&ValidatorSettings| !it.signs || config.grants.is_some() && it.chain.is_some();
    let with_grants = config.validators.iter().filter(is_read);
    let source = |validator: &ValidatorId| OwnerSource {
        ledger: ledger.clone(),
        rules: rules.clone(),
        validator: validator.clone(),
        every,
    };
    Ok(with_grants.map(|it| source(&it.name)).collect())
}

impl EventSource for OwnerSource {
    fn name(&self) -> String {
        format!("the grants of {}", self.validator)
    }

    async fn run(self, engine: Handle) {
        let (mut ticks, mut last) = (ticks(self.every), None);
        let key = LedgerKey::owner(&self.validator);
        loop {
            ticks.tick().await;
            let view = match grants::view(&*self.ledger, &self.rules, &self.validator).await {
                Ok(view) => view,
                Err(error) => {
                    tracing::warn!(validator = %self.validator, %error, "who may sign could not be read");
                    continue;
                }
            };
            let seen = judge(&view, &mut last);
            let owner = seen.as_ref().err().map(|why| format!("{}: who may sign is not known: {why}", self.validator));
            let promotion = view.promotion.as_ref().err();
            let promotion = promotion.map(|why| format!("{}: what is promoted is not known: {why}", self.validator));
            // Who waits for the lease notifies nobody.
            if engine.leads() {
                engine.troubles().set(&key, owner.into_iter().chain(promotion).collect());
            }
            if let Ok(Some(owner)) = seen {
                engine.send(Event::OwnerSeen(self.validator.clone(), owner)).await;
            }
            if let Some(event) = self.promotion(&view) {
                engine.send(event).await;
            }
        }
    }
}

impl OwnerSource {
    /// What cannot be read or verified leaves what was read before.
    fn promotion(&self, view: &OwnershipView) -> Option<Event> {
        let (Ok(grant), Ok(promotion)) = (&view.grant, &view.promotion) else { return None };
        let number = grant.as_ref().map(|grant| grant.grant().number);
        let session = view.session.as_ref().ok().and_then(Option::as_ref);
        let seen = promotion.as_ref().map(|record| Box::new(PromotionView::of(record, session)));
        Some(Event::PromotionSeen(self.validator.clone(), number, seen))
    }
}

/// Who may sign, if anybody has ever signed a grant. `last` is the newest one that this process has seen.
fn judge(view: &OwnershipView, last: &mut Option<LastGrant>) -> Result<Option<Owner>, String> {
    if let Ok(Some(grant)) = &view.grant {
        grant.is_news_after(last.as_ref()).map_err(|error| error.to_string())?;
        *last = Some(grant.last());
    }
    match (view.owner()?, last) {
        (Owner::Unknown, Some(last)) => Err(format!(
            "grant {0} was seen here and there is none any more: the ledger was put back. Find out which place signs, \
             then `failover adopt --number {0}`",
            last.number
        )),
        (Owner::Unknown, None) => Ok(None),
        (owner @ (Owner::Home | Owner::Moving { .. } | Owner::Cloud { .. }), _) => Ok(Some(owner)),
    }
}
