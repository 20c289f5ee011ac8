//! From the configuration to the domain's policy: the one place where the two meet.
//!
//! Prices come from a table the configuration does not know, so the ladder is given priced.

use std::collections::BTreeMap;

use super::{Config, GenericStandbySettings, NodeSettings, ValidatorKind};
use crate::domain::{OtherChain, Policy, PricedRung, ValidatorId};

/// One sensor may be broken; two that break in the same way at the same time are an outage. Not configurable, because
/// with one the whole confirmation would be gone.
const SOURCES_NEEDED: usize = 2;

impl Config {
    /// What decisions go by. Without a section `standby` a machine is only a rehearsal, and is called simulated.
    #[must_use]
    pub fn policy(&self, ladder: Vec<PricedRung>) -> Policy {
        let written = &self.policy;
        Policy {
            mode: self.mode,
            needed: SOURCES_NEEDED,
            hold_down: written.hold_down,
            suspected_mail_after: written.suspected_mail_after,
            remind_every: Policy::default().remind_every,
            healthy_delay: written.healthy_delay,
            max_unhealthy: written.max_unhealthy,
            cooldown: written.cooldown,
            max_incidents_per_day: usize::try_from(written.max_incidents_per_day).unwrap_or(usize::MAX),
            standby_ttl: written.standby_ttl,
            report_stale_after: written.report_stale_after,
            provisioning_deadline: written.provisioning_deadline,
            ready_hold: written.ready_hold,
            stuck_after: written.stuck_after,
            boot_deadline: written.boot_deadline,
            max_boot_attempts: written.max_boot_attempts,
            observe_every: written.observe_every,
            recheck_every: written.recheck_every,
            retry_after: written.retry_after,
            retry_cap: written.retry_cap,
            action_timeout: written.action_timeout,
            ladder,
            budget_per_incident: self.budget_per_incident,
            budget_per_month: self.budget_per_month,
            mail_to: self.mail.as_ref().map(|mail| mail.to.clone()).unwrap_or_default(),
            simulated: self.standby.is_none(),
            other_chains: self.other_chains(),
            min_peers: written.min_peers,
            max_head_age: written.max_head_age,
            max_clock_offset: written.max_clock_offset,
        }
    }
}

impl Config {
    /// The validators of chains that nobody here follows.
    fn other_chains(&self) -> BTreeMap<ValidatorId, OtherChain> {
        let other = self.validators.iter().filter_map(|validator| match &validator.kind {
            ValidatorKind::Generic { standby, .. } => Some((validator.name.clone(), judged_by(standby.as_deref()))),
            ValidatorKind::Ethereum { .. } => None,
        });
        other.collect()
    }
}

/// Without a standby there is nothing to judge; the placeholder of a rehearsal reports no chain.
fn judged_by(standby: Option<&GenericStandbySettings>) -> OtherChain {
    match standby.and_then(|standby| standby.node.as_ref()) {
        None => OtherChain::Probed,
        Some(NodeSettings::Cometbft(node)) => OtherChain::Read { chain_id: Some(node.network.clone()) },
        // Its metrics do not name the network; its genesis files do, which come with the release.
        Some(NodeSettings::Cardano(_)) => OtherChain::Read { chain_id: None },
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        config::{Checks, parse},
        domain::Policy,
    };

    #[test]
    fn the_defaults_of_the_file_are_the_defaults_of_the_domain() {
        let text = format!(
            "site: home\nledger: {{sqlite: {{path: x}}}}\nvalidators: [{{name: a, kind: ethereum, public_keys: \
             ['0x{}']}}]\n",
            "ab".repeat(48)
        );
        let (config, _) = parse(&text, "test", &Checks::default()).unwrap();
        let policy = config.policy(Vec::new());
        assert_eq!(format!("{policy:?}"), format!("{:?}", Policy::default()));
    }
}
