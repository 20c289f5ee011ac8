//! From the sections that decisions go by to the domain's policy: the one place where the two meet.

use super::{Checker, ComputeSettings, GenericStandbySettings, NodeSettings, ValidatorKind, ValidatorSettings};
use crate::{
    config::{
        values::{At, Place},
        written::{Budget, ConfigFile, LedgerSection},
    },
    domain::{Contradiction, OtherChain, Policy, Usd},
};

impl Checker<'_> {
    pub(super) fn policy(
        &mut self,
        written: &ConfigFile,
        validators: &[ValidatorSettings],
        compute: Option<&ComputeSettings>,
    ) -> Policy {
        let mut thresholds = written.policy.thresholds();
        if matches!(written.ledger.value, LedgerSection::Gcs(_)) {
            thresholds.requests_every = Policy::REQUESTS_EVERY_IN_A_BUCKET;
            if written.policy.place("lease") == Place::default() {
                thresholds.lease = Policy::LEASE_IN_A_BUCKET;
            }
        }
        let priced = |compute: &ComputeSettings| {
            let ComputeSettings { prices, disk_type, disk_gb, boot_disk_gb, .. } = compute;
            let price = |rung| prices.price(rung, disk_type, *disk_gb, *boot_disk_gb, thresholds.standby_ttl);
            compute.ladder.iter().map(price).collect()
        };
        let other_chains = validators.iter().filter_map(|validator| match &validator.kind {
            ValidatorKind::Generic { standby, .. } => Some((validator.name.clone(), judged_by(standby.as_deref()))),
            ValidatorKind::Ethereum { .. } => None,
        });
        let policy = Policy {
            mode: written.mode.value,
            ladder: compute.map(priced).unwrap_or_default(),
            budget_per_incident: self.limit("budget.per_incident_usd", written.budget.per_incident_usd.as_ref()),
            budget_per_month: self.limit("budget.per_month_usd", written.budget.per_month_usd.as_ref()),
            mail_to: written.mail.iter().flat_map(|mail| &mail.to.value).map(|to| to.value.clone()).collect(),
            // Without the section a machine is only a rehearsal.
            simulated: written.standby.is_none(),
            other_chains: other_chains.collect(),
            ..thresholds
        };
        for Contradiction { keys, message } in policy.contradictions() {
            // One of two may be a default; the problem stands where somebody wrote something.
            let place = keys.into_iter().map(|key| written.policy.place(key)).find(|place| place.line > 0);
            self.wrong(place.unwrap_or_default(), message);
        }
        if let Budget { per_incident_usd: Some(incident), per_month_usd: Some(month) } = &written.budget
            && incident.value > month.value
        {
            self.wrong(incident.place, "budget.per_incident_usd is more than budget.per_month_usd: lower it");
        }
        policy
    }

    fn limit(&mut self, key: &str, limit: Option<&At<f64>>) -> Option<Usd> {
        let limit = limit?;
        if !limit.is_finite() || limit.value <= 0.0 {
            self.wrong(limit.place, format!("{key} has to be more than 0; to create nothing write 'mode: observe'"));
        }
        Some(Usd(limit.value))
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
        assert_eq!(config.policy, Policy::default());
    }
}
