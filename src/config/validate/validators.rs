//! What is watched: names, keys, alerts, and whether a validator could ever be confirmed down.

use std::fs;

use super::{AlertSettings, Checker, Unique, ValidatorSettings, section};
use crate::{
    config::{
        Place,
        values::public_key,
        written::{self, Written},
    },
    domain::{Evidence, Mode, PublicKey, ValidatorId},
};

impl Checker<'_> {
    pub(super) fn validators(&mut self, written: &Written) -> Option<Vec<ValidatorSettings>> {
        if written.validators.is_empty() {
            self.wrong(written.validators.place, "validators is empty: name at least one");
        }
        let (mut names, mut keys, mut workloads) = (Unique::default(), Unique::default(), Unique::default());
        let mut validators = Vec::new();
        for validator in &written.validators.value {
            let place = validator.name.place;
            let name = ValidatorId::new(&validator.name).map_err(|error| self.wrong(place, error.to_string())).ok();
            names.take(self, &validator.name.value, place, "validator");
            if validator.kind.value != "ethereum" {
                self.wrong(
                    validator.kind.place,
                    format!("kind '{}' is not supported yet: only 'ethereum' is", validator.kind.value),
                );
            } else if written.ethereum.is_none() {
                self.warn(
                    validator.kind.place,
                    "there is no ethereum section, so the chain is not asked about this validator",
                );
            }
            let public_keys = self.public_keys(validator, &mut keys);
            let mut alerts = Vec::new();
            for mapping in &validator.alerts {
                if written.alertmanager.is_none() {
                    self.wrong(mapping.matchers.place, "there are alerts, but no alertmanager section to take them");
                }
                alerts.extend(
                    self.matchers(&mapping.matchers)
                        .map(|matchers| AlertSettings { matchers, evidence: mapping.evidence }),
                );
            }
            self.enough_sources(validator, written);
            let process = validator.process.as_ref().map(|process| self.url(&process.url, "process.url"));
            let kubernetes = validator.kubernetes.as_ref().map(|workload| self.workload(workload, &mut workloads));
            if let (Some(name), Some(process), Some(kubernetes)) = (name, section(process), section(kubernetes)) {
                validators.push(ValidatorSettings { name, public_keys, alerts, process, kubernetes });
            }
        }
        Some(validators)
    }

    /// Two sources with different evidence have to say down. All alerts are one source, however many there are: they
    /// come through one Alertmanager. Alerts that rest on the chain alone are no second opinion to the chain, and those
    /// that rest on the cluster none to the cluster.
    fn enough_sources(&mut self, validator: &written::Validator, written: &Written) {
        let (chain, kube) = (written.ethereum.is_some(), validator.kubernetes.is_some());
        let alert_beside = |evidence: Evidence| validator.alerts.iter().any(|mapping| mapping.evidence != evidence);
        if chain && (kube || alert_beside(Evidence::Chain)) || kube && alert_beside(Evidence::Kube) {
            return;
        }
        let what = match (chain, kube, validator.alerts.is_empty()) {
            (false, false, true) => "it has none; add an ethereum section and alerts",
            (false, false, false) => "its alerts are one together; add an ethereum section",
            (true, _, true) => "it has the chain only; add alerts",
            (true, _, false) => "its alerts rest on the chain as well; add alerts with evidence host, kube or process",
            (false, true, true) => "it has the cluster only; add an ethereum section or alerts",
            (false, true, false) => {
                "its alerts rest on the cluster as well; add an ethereum section, or alerts with evidence host or \
                 process"
            }
        };
        let message = format!(
            "validator '{}' can never be confirmed down: that needs two independent sources, and {what}",
            validator.name.value
        );
        match written.mode.value {
            Mode::Armed => self.wrong(validator.name.place, message),
            Mode::Observe => self.warn(validator.name.place, message),
        }
    }

    fn public_keys(&mut self, validator: &written::Validator, seen: &mut Unique) -> Vec<PublicKey> {
        let texts: Vec<(String, Place)> = match (&validator.public_keys, &validator.public_keys_file) {
            (Some(_), Some(file)) => {
                self.wrong(file.place, "there are public_keys and public_keys_file: keep one of them");
                return Vec::new();
            }
            (None, None) => {
                self.wrong(validator.name.place, "this validator has no keys: add public_keys or public_keys_file");
                return Vec::new();
            }
            (Some(keys), None) => keys.value.iter().map(|key| (key.value.clone(), key.place)).collect(),
            (None, Some(file)) => match fs::read_to_string(self.checks.base.join(&file.value)) {
                Ok(text) => {
                    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
                    lines.filter(|line| !line.is_empty()).map(|line| (line.to_owned(), file.place)).collect()
                }
                Err(error) => {
                    self.wrong(file.place, format!("cannot read {}: {error}", file.value.display()));
                    return Vec::new();
                }
            },
        };
        if texts.is_empty() {
            self.wrong(validator.name.place, "this validator has no keys: name at least one public key");
        }
        let mut keys = Vec::new();
        for (text, place) in texts {
            match public_key(&text) {
                Ok(key) => {
                    seen.take(self, &key.to_hex(), place, "public key");
                    keys.push(key);
                }
                Err(why) => self.wrong(place, why),
            }
        }
        keys
    }
}
