//! What is watched: names, keys, alerts, and whether a validator could ever be confirmed down.

use super::{AlertSettings, Checker, Unique, ValidatorKind, ValidatorSettings};
use crate::{
    config::{
        Place,
        written::{self, ConfigFile, KindName, WatcherRole},
    },
    domain::{
        Evidence, Mode, PublicKey, ValidatorId,
        chain::{key_lines, written_key},
    },
    files,
};

impl Checker<'_> {
    pub(super) fn validators(&mut self, written: &ConfigFile) -> Vec<ValidatorSettings> {
        if written.validators.is_empty() {
            self.wrong(written.validators.place, "validators is empty: name at least one");
        }
        let (mut names, mut keys, mut workloads) = (Unique::default(), Unique::default(), Unique::default());
        let mut validators = Vec::new();
        for validator in &written.validators.value {
            let place = validator.name.place;
            let name = ValidatorId::new(&validator.name).map_err(|error| self.wrong(place, error.to_string())).ok();
            names.take(self, &validator.name.value, place, "validator");
            let kind = self.kind(validator, written, &mut keys);
            let mut alerts = Vec::new();
            for mapping in &validator.alerts {
                if written.alertmanager.is_none() {
                    self.wrong(mapping.matchers.place, "there are alerts, but no alertmanager section to take them");
                }
                let matchers = self.matchers(&mapping.matchers);
                alerts.push(AlertSettings { matchers, evidence: mapping.evidence });
            }
            self.enough_sources(validator, written);
            let process = self.optional_url(validator.process.as_ref().map(|process| &process.url), "process.url");
            let kubernetes = validator.kubernetes.as_ref().and_then(|workload| self.workload(workload, &mut workloads));
            let chain = self.chain(validator, written);
            let gate = self.optional_url(validator.gate.as_ref().map(|gate| &gate.url), "gate.url");
            let signs = validator.signs.value;
            let settings = |name| ValidatorSettings { name, kind, alerts, process, kubernetes, signs, chain, gate };
            validators.extend(name.map(settings));
        }
        validators
    }

    fn kind(
        &mut self,
        validator: &written::ValidatorSection,
        written: &ConfigFile,
        keys: &mut Unique,
    ) -> ValidatorKind {
        let place = validator.kind.place;
        match validator.kind.value {
            KindName::Ethereum => {
                if written.ethereum.is_none() {
                    self.warn(place, "there is no ethereum section, so the chain is not asked about this validator");
                }
                if let Some(probes) = &validator.probes {
                    let message = "probes go with 'kind: generic'; beacon nodes see this validator: remove the probes";
                    self.wrong(probes.place, message);
                }
                ValidatorKind::Ethereum { public_keys: self.public_keys(validator, keys) }
            }
            KindName::Generic => {
                let keys = validator.public_keys.as_ref().map(|keys| keys.place);
                for place in keys.into_iter().chain(validator.public_keys_file.as_ref().map(|file| file.place)) {
                    self.wrong(place, "a validator of kind generic has no public keys here: remove them");
                }
                let probes = self.probes(validator.probes.as_ref(), place);
                let standby = validator.standby.as_ref().and_then(|standby| self.generic_standby(standby));
                ValidatorKind::Generic { probes, standby: standby.map(Box::new) }
            }
        }
    }

    /// Two sources with different evidence have to say down. All alerts are one source, however many there are: they
    /// come through one Alertmanager. Alerts that rest on what another source rests on are no second opinion to it.
    fn enough_sources(&mut self, validator: &written::ValidatorSection, written: &ConfigFile) {
        let generic = validator.kind.value == KindName::Generic;
        let mut sources = Vec::new();
        if written.ethereum.is_some() && !generic {
            sources.push(("the chain", "chain", Evidence::Chain));
        }
        if generic {
            sources.push(("its probes", "process", Evidence::Process));
        }
        if validator.kubernetes.is_some() {
            sources.push(("the cluster", "kube", Evidence::Kube));
        }
        if written.role.value == WatcherRole::Witness {
            sources.push(("home's silence", "host", Evidence::Host));
        }
        let beside = |evidence: Evidence| validator.alerts.iter().any(|mapping| mapping.evidence != evidence);
        let what = match (sources.as_slice(), validator.alerts.is_empty()) {
            ([_, _, ..], _) => return,
            ([(_, _, evidence)], _) if beside(*evidence) => return,
            ([], true) => "it has none; add an ethereum section and alerts".to_owned(),
            ([], false) => "its alerts are one together; add an ethereum section".to_owned(),
            ([(source, ..)], true) => format!("it has {source} only; add alerts, or {}", more(generic, source)),
            ([(source, word, _)], false) => format!(
                "its alerts rest on {source} as well; add alerts with evidence other than {word}, or {}",
                more(generic, source)
            ),
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

    fn public_keys(&mut self, validator: &written::ValidatorSection, seen: &mut Unique) -> Vec<PublicKey> {
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
            (None, Some(file)) => match files::read_text(&self.checks.base.join(&file.value), files::MOST) {
                Ok(text) => key_lines(&text).map(|line| (line.to_owned(), file.place)).collect(),
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
            match written_key(&text) {
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

/// What other source a validator with this one could have.
fn more(generic: bool, source: &str) -> &'static str {
    match (generic, source) {
        (false, "the cluster") => "an ethereum section",
        _ => "say in kubernetes what it is in the cluster",
    }
}
