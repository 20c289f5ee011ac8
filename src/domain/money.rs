//! Money: what a standby costs, from a table of prices with its date and source.
//!
//! Estimates, not invoices: traffic, discounts and taxes are not in it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::{Deserialize, Serialize};

use super::{PricedRung, Rung, Span};

#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Usd(pub f64);

impl fmt::Display for Usd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "${:.2}", self.0)
    }
}

/// The hours of a month as Google counts them.
const HOURS_PER_MONTH: f64 = 730.0;

/// The region whose prices stand for every region that has none of its own.
const HOME_REGION: &str = "us-central1";

/// What things cost, as of a day, by somebody's word. A name alone is the price of `us-central1` and stands for every
/// region that has none of its own, `europe-west4/n2-standard-8`.
#[derive(Clone, Debug, PartialEq)]
pub struct PriceTable {
    /// The day and the source of each list that went into it, the one that wins last.
    pub sources: Vec<PriceSource>,
    /// US dollars an hour by machine type.
    pub machines: BTreeMap<String, f64>,
    /// US dollars a gigabyte and month by disk type.
    pub disks: BTreeMap<String, f64>,
    /// US dollars an hour for an external address.
    pub external_address: f64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PriceSource {
    /// The day, like `2026-11-21`.
    pub as_of: String,
    pub source: String,
}

impl PriceTable {
    /// On-demand prices of us-central1; other regions cost up to a third more.
    #[must_use]
    pub fn builtin() -> Self {
        let machines = [
            ("c3d-standard-8", 0.363_192),
            ("e2-standard-4", 0.134_022_84),
            ("e2-standard-8", 0.268_045_68),
            ("n2-standard-4", 0.194_236),
            ("n2-standard-8", 0.388_472),
            ("t2d-standard-8", 0.338),
        ];
        let disks = [("pd-balanced", 0.10), ("pd-ssd", 0.17), ("pd-standard", 0.04)];
        let source = "Google's on-demand price list for us-central1; traffic is not in it";
        Self {
            sources: vec![PriceSource { as_of: "2026-11-21".into(), source: source.into() }],
            machines: machines.map(|(name, usd)| (name.to_owned(), usd)).into(),
            disks: disks.map(|(name, usd)| (name.to_owned(), usd)).into(),
            external_address: 0.005,
        }
    }

    /// With the prices of another list over these, entry by entry.
    #[must_use]
    pub fn with(mut self, newer: Self) -> Self {
        self.sources.extend(newer.sources);
        self.machines.extend(newer.machines);
        self.disks.extend(newer.disks);
        self.external_address = newer.external_address;
        self
    }

    /// Where the prices of these rungs come from, and for which regions they are borrowed.
    #[must_use]
    pub fn describe(&self, rungs: &[Rung], disk_type: &str) -> String {
        let own = |rung: &Rung| {
            self.machines.contains_key(&in_region(rung, &rung.machine_type))
                && self.disks.contains_key(&in_region(rung, disk_type))
        };
        let borrowed: BTreeSet<&str> =
            rungs.iter().filter(|rung| rung.region() != HOME_REGION && !own(rung)).map(Rung::region).collect();
        let said = |source: &PriceSource| format!("{} (as of {})", source.source, source.as_of);
        let mut text = self.sources.iter().rev().map(said).collect::<Vec<_>>().join("; for the rest ");
        if !borrowed.is_empty() {
            let regions = borrowed.into_iter().collect::<Vec<_>>().join(", ");
            text += &format!("; {regions} at the price of {HOME_REGION}, the real one may be a third higher");
        }
        text
    }

    /// What a standby on this rung costs. Everything is `None` when its machine or disk type is not in the table.
    #[must_use]
    pub fn price(
        &self,
        rung: &Rung,
        disk_type: &str,
        disk_gb: u32,
        boot_gb: u32,
        max_run_duration: Span,
    ) -> PricedRung {
        let priced = self.parts(rung, disk_type, disk_gb, boot_gb);
        let hours = max_run_duration.as_secs_f64() / 3600.0;
        PricedRung {
            rung: rung.clone(),
            per_hour: priced.map(|(machine, disks)| Usd(machine + disks)),
            at_most: priced.map(|(machine, disks)| Usd((machine + disks) * hours)),
            stopped_per_month: priced.map(|(_, disks)| Usd(disks * HOURS_PER_MONTH)),
        }
    }

    /// Machine and disks, US dollars an hour.
    fn parts(&self, rung: &Rung, disk_type: &str, disk_gb: u32, boot_gb: u32) -> Option<(f64, f64)> {
        let disk = |kind| price_of(&self.disks, rung, kind);
        let machine = price_of(&self.machines, rung, &rung.machine_type)? + self.external_address;
        let data = disk(disk_type)? * f64::from(disk_gb);
        let boot = disk("pd-balanced")? * f64::from(boot_gb);
        Some((machine, (data + boot) / HOURS_PER_MONTH))
    }
}

fn in_region(rung: &Rung, name: &str) -> String {
    format!("{}/{name}", rung.region())
}

fn price_of(prices: &BTreeMap<String, f64>, rung: &Rung, name: &str) -> Option<f64> {
    prices.get(&in_region(rung, name)).or_else(|| prices.get(name)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rung(machine_type: &str) -> Rung {
        Rung { zone: "us-central1-a".into(), machine_type: machine_type.into() }
    }

    #[test]
    fn a_standby_costs_its_machine_and_its_disks_and_after_the_fuse_its_disks() {
        let priced = PriceTable::builtin().price(&rung("n2-standard-8"), "pd-balanced", 2048, 50, Span::from_hours(72));
        // 0.388472 + 0.005 + (204.8 + 5) / 730
        let per_hour = priced.per_hour.unwrap().0;
        assert!((per_hour - 0.680_869).abs() < 1e-5, "{per_hour}");
        assert!((priced.at_most.unwrap().0 - 72.0 * per_hour).abs() < 1e-9);
        assert_eq!(priced.stopped_per_month.unwrap().to_string(), "$209.80");
    }

    #[test]
    fn what_is_not_in_the_table_has_no_price() {
        let table = PriceTable::builtin();
        assert_eq!(table.price(&rung("z9-mystery"), "pd-balanced", 1, 1, Span::from_hours(1)).per_hour, None);
        assert_eq!(table.price(&rung("n2-standard-8"), "hyperdisk", 1, 1, Span::from_hours(1)).at_most, None);
    }

    #[test]
    fn a_price_of_the_region_wins_and_a_borrowed_one_is_said() {
        let own = PriceTable {
            sources: vec![PriceSource { as_of: "2026-11-20".into(), source: "my contract".into() }],
            machines: [("europe-west4/n2-standard-8".to_owned(), 1.0)].into(),
            disks: BTreeMap::new(),
            external_address: 0.0,
        };
        let table = PriceTable::builtin().with(own);
        let european = Rung { zone: "europe-west4-a".into(), ..rung("n2-standard-8") };
        let per_hour = |rung| table.price(rung, "pd-standard", 0, 0, Span::from_hours(1)).per_hour.unwrap().0;
        assert_eq!((per_hour(&european), per_hour(&rung("n2-standard-8"))), (1.0, 0.388_472));
        let said = table.describe(&[european, rung("n2-standard-8")], "pd-standard");
        assert!(said.starts_with("my contract (as of 2026-11-20); for the rest Google's"), "{said}");
        assert!(said.contains("europe-west4 at the price of us-central1"), "its disk is borrowed: {said}");
        assert!(!table.describe(&[rung("n2-standard-8")], "pd-standard").contains("at the price of"));
    }
}
