//! The compute section, and who we are to Google.

use std::collections::BTreeMap;

use super::{Checker, ComputeSettings, Unique, is_loopback};
use crate::{
    config::{
        CredentialSettings,
        values::At,
        written::{Compute, Prices},
    },
    domain::{PriceSource, PriceTable, Span},
};

/// How long one operation is followed before its outcome counts as unknown. A creation takes about a minute, and an action
/// ([`crate::ports::ACTION_TIMEOUT`]) has to outlast the operation that it waits for.
const OPERATION_TIMEOUT: Span = Span::from_mins(5);

impl Checker<'_> {
    pub(super) fn compute(&mut self, written: &Compute) -> ComputeSettings {
        let project = &written.project;
        if project.is_empty()
            || !project.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.:".contains(c))
        {
            self.wrong(project.place, format!("'{}' is not the id of a project", project.value));
        }
        if written.ladder.is_empty() {
            self.wrong(written.ladder.place, "compute.ladder is empty: name at least one zone and machine_type");
        }
        let mut rungs = Unique::default();
        for rung in &written.ladder.value {
            rungs.take(self, &rung.value.to_string(), rung.place, "rung");
            let simple = |text: &str| text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
            if !simple(&rung.zone) || rung.zone.split('-').filter(|part| !part.is_empty()).count() != 3 {
                self.wrong(rung.place, format!("'{}' is not a zone like us-central1-a", rung.zone));
            }
            if rung.machine_type.is_empty() || !simple(&rung.machine_type) {
                self.wrong(rung.place, format!("'{}' is not a machine type like n2-standard-8", rung.machine_type));
            }
        }
        for (key, size) in [("disk.size_gb", &written.disk.size_gb), ("boot_disk_gb", &written.boot_disk_gb)] {
            if !(10..=65_536).contains(&size.value) {
                self.wrong(size.place, format!("compute.{key} has to be from 10 to 65536"));
            }
        }
        for (key, text) in [("disk.type", &written.disk.kind), ("image", &written.image)] {
            if text.trim().is_empty() {
                self.wrong(text.place, format!("compute.{key} is empty: remove it to get the default"));
            }
        }
        for tag in &written.tags {
            self.label(tag, "compute.tags:");
        }
        ComputeSettings {
            project: project.value.clone(),
            endpoint: self.optional_url(written.endpoint.as_ref(), "compute.endpoint"),
            credentials: self.credentials(&written.credentials, written.endpoint.as_ref()),
            ladder: written.ladder.value.iter().map(|rung| rung.value.clone()).collect(),
            disk_type: written.disk.kind.value.clone(),
            disk_gb: written.disk.size_gb.value,
            boot_disk_gb: written.boot_disk_gb.value,
            image: written.image.value.clone(),
            subnetwork: written.subnetwork.as_ref().map(|name| name.value.clone()),
            tags: written.tags.iter().map(|tag| tag.value.clone()).collect(),
            operation_timeout: OPERATION_TIMEOUT,
            prices: written.prices.as_ref().map_or_else(PriceTable::builtin, |own| self.prices(own)),
        }
    }

    fn prices(&mut self, own: &Prices) -> PriceTable {
        let builtin = PriceTable::builtin();
        if own.as_of.parse::<jiff::civil::Date>().is_err() {
            self.wrong(own.as_of.place, format!("'{}' is not a day like 2026-11-21", own.as_of.value));
        }
        if own.source.trim().is_empty() {
            self.wrong(own.source.place, "compute.prices.source is empty: say where the prices come from");
        }
        let (mut machines, mut disks) = (BTreeMap::new(), BTreeMap::new());
        for (to, from) in [(&mut machines, &own.machines_per_hour), (&mut disks, &own.disks_per_gb_month)] {
            for (name, price) in from {
                to.insert(name.clone(), self.price(price));
            }
        }
        let external_address = own.external_address_per_hour.as_ref();
        let external_address = external_address.map_or(builtin.external_address, |price| self.price(price));
        let source = PriceSource { as_of: own.as_of.value.clone(), source: own.source.value.clone() };
        builtin.with(PriceTable { sources: vec![source], machines, disks, external_address })
    }

    fn price(&mut self, price: &At<f64>) -> f64 {
        if !price.is_finite() || price.value < 0.0 {
            self.wrong(price.place, format!("{} is not a price in US dollars", price.value));
        }
        price.value
    }

    pub(super) fn credentials(
        &mut self,
        written: &At<CredentialSettings>,
        endpoint: Option<&At<String>>,
    ) -> CredentialSettings {
        match &written.value {
            CredentialSettings::ApplicationDefault => CredentialSettings::ApplicationDefault,
            CredentialSettings::KeyFile(path) => {
                let remedy = "name the key of a service account, or use application_default";
                CredentialSettings::KeyFile(self.file(path, written.place, "key_file", remedy))
            }
            CredentialSettings::Anonymous => {
                let host = endpoint.and_then(|url| url::Url::parse(url).ok());
                if host.as_ref().and_then(url::Url::host_str).is_none_or(|host| !is_loopback(host)) {
                    self.wrong(
                        written.place,
                        "credentials are anonymous, which only works with an endpoint on this machine \
                         (http://127.0.0.1:…): use application_default or key_file",
                    );
                }
                CredentialSettings::Anonymous
            }
        }
    }
}
