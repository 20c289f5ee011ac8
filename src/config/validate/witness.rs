//! What a witness has and has not: it is outside of home, so whatever is reached only there is not its own to look at.

use super::Checker;
use crate::config::written::{ConfigFile, KindName, LedgerSection, WatcherRole};

impl Checker<'_> {
    /// The name of the section `witness`, in a file of either role.
    pub(super) fn witness(&mut self, written: &ConfigFile) -> Option<String> {
        if let (WatcherRole::Witness, None) = (written.role.value, &written.witness) {
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
        let WatcherRole::Witness = written.role.value else { return };
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

#[cfg(test)]
mod tests {
    use crate::config::{Checks, Config, ConfigError, parse};

    fn read(more: &str) -> Result<Config, ConfigError> {
        let key = "ab".repeat(48);
        let text = format!(
            "site: home\nvalidators: [{{name: eth-0, kind: ethereum, public_keys: ['0x{key}']}}]\nledger: {{gcs: {{bucket: \
             ledger}}}}\n{more}\n"
        );
        parse(&text, "test", &Checks::default()).map(|(config, _)| config)
    }

    fn refused(more: &str) -> String {
        read(more).unwrap_err().to_string()
    }

    const WITNESS: &str = "role: witness\nwitness: {name: oslo}";

    #[test]
    fn a_witness_watches_home_and_writes_under_its_own_name() {
        let config = read(WITNESS).unwrap();
        assert_eq!((config.site.as_str(), config.own_name(), config.as_witness()), ("home", "oslo", Some("oslo")));
        let home = read("witness: {name: oslo}").unwrap();
        assert_eq!((home.own_name(), home.as_witness(), home.witness.as_deref()), ("home", None, Some("oslo")));
    }

    #[test]
    fn a_witness_has_a_name_of_its_own() {
        assert!(refused("role: witness").contains("it has no name"));
        assert!(refused("witness: {name: home}").contains("the name of the site"));
    }

    #[test]
    fn a_witness_takes_nothing_that_is_in_the_house() {
        let node = "ethereum: {beacon_nodes: [{name: n, url: 'http://n:5052'";
        assert!(refused(&format!("{WITNESS}\nalertmanager: {{auth: none}}")).contains("takes no alerts"));
        assert!(refused(&format!("{WITNESS}\n{node}}}]}}")).contains("not said to be outside"));
        assert!(read(&format!("{WITNESS}\n{node}, outside: true}}]}}")).is_ok());
        assert!(refused(&format!("{WITNESS}\nkubernetes: {{kubeconfig: /dev/null}}")).contains("no cluster"));
    }

    #[test]
    fn silence_is_longer_than_two_leases_and_shorter_than_a_day() {
        assert!(refused("policy: {site_silence: 109s}").contains("at least 1m 50s"));
        assert!(read("policy: {site_silence: 110s}").is_ok());
        assert!(refused("policy: {site_silence: 25h}").contains("at most"));
    }
}
