//! What a witness has and has not: it is outside of home, so whatever is reached only there is not its own to look at.

use super::Checker;
use crate::config::written::{ConfigFile, KindName, LedgerSection, Role};

impl Checker<'_> {
    /// The name of the section `witness`, in a file of either role.
    pub(super) fn witness(&mut self, written: &ConfigFile) -> Option<String> {
        if let (Role::Witness, None) = (written.role.value, &written.witness) {
            let message = "role is witness, but it has no name: add `witness: {name: …}`, another one than the site's";
            self.wrong(written.role.place, message);
        }
        let section = written.witness.as_ref()?;
        let name = self.label(&section.name, "witness.name");
        if name == written.site.value {
            let message = format!(
                "witness.name is '{name}', the name of the site, and what home and its witness see would be one \
                 record: give the witness another name"
            );
            self.wrong(section.name.place, message);
        }
        Some(name)
    }

    pub(super) fn only_what_a_witness_has(&mut self, written: &ConfigFile) {
        let Role::Witness = written.role.value else { return };
        if let LedgerSection::Sqlite(_) = &written.ledger.value {
            let message = "role is witness, and the ledger is a file, which home does not write: name home's bucket in \
                           `ledger.gcs`, in both files";
            self.wrong(written.ledger.place, message);
        }
        if let Some(alertmanager) = &written.alertmanager {
            let message = "a witness takes no alerts, as home's Alertmanager is dark when it is needed: remove the \
                           section alertmanager";
            self.wrong(alertmanager.auth.place, message);
        }
        if let Some(kubeconfig) = &written.kubernetes.kubeconfig {
            let message = "a witness looks at no cluster: remove kubernetes.kubeconfig";
            self.wrong(kubeconfig.place, message);
        }
        for node in written.ethereum.iter().flat_map(|section| &section.beacon_nodes.value) {
            if !node.outside {
                let message = format!(
                    "a witness is to see the chain without home, and beacon node '{}' is not said to be outside of it: \
                     write `outside: true` if neither it nor the way to it is in the house, or remove it",
                    node.name.value
                );
                self.wrong(node.name.place, message);
            }
        }
        for validator in &written.validators.value {
            if let Some(alert) = validator.alerts.first() {
                self.wrong(alert.matchers.place, "a witness takes no alerts: remove the alerts of this validator");
            }
            if let Some(workload) = &validator.kubernetes {
                self.wrong(workload.place, "a witness looks at no cluster: remove kubernetes of this validator");
            }
            if validator.kind.value == KindName::Generic {
                let message = "a witness sees this validator by its probes alone, and where they do not get through \
                               from here, a dead watcher at home looks like an outage: name addresses that answer \
                               outside of home, or leave the validator out";
                self.warn(validator.kind.place, message);
            }
        }
    }
}
