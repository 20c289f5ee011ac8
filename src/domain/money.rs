//! Money: what a standby costs, from a table of prices with its date and source.
//!
//! Estimates, not invoices: traffic, discounts and taxes are not in it.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use super::{PricedRung, Rung, Span};

/// US dollars.
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

/// What things cost, as of a day, by somebody's word. Prices change: a configured table replaces the built-in one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PriceTable {
    /// The day, like `2026-11-21`.
    pub as_of: String,
    /// Where the numbers come from.
    pub source: String,
    /// US dollars an hour by machine type.
    pub machines: BTreeMap<String, f64>,
    /// US dollars a gigabyte and month by disk type.
    pub disks: BTreeMap<String, f64>,
    /// US dollars an hour for an external address.
    pub external_address: f64,
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
        Self {
            as_of: "2026-11-21".into(),
            source: "Google's on-demand price list for us-central1; traffic is not in it".into(),
            machines: machines.map(|(name, usd)| (name.to_owned(), usd)).into(),
            disks: disks.map(|(name, usd)| (name.to_owned(), usd)).into(),
            external_address: 0.005,
        }
    }

    /// What a standby on this rung costs. Everything is `None` when its machine or disk type is not in the table.
    #[must_use]
    pub fn price(&self, rung: &Rung, disk_type: &str, disk_gb: u32, boot_gb: u32, fuse: Span) -> PricedRung {
        let priced = self.parts(rung, disk_type, disk_gb, boot_gb);
        let hours = fuse.as_secs_f64() / 3600.0;
        PricedRung {
            rung: rung.clone(),
            per_hour: priced.map(|(machine, disks)| Usd(machine + disks)),
            until_fuse: priced.map(|(machine, disks)| Usd((machine + disks) * hours)),
            after_fuse_per_month: priced.map(|(_, disks)| Usd(disks * HOURS_PER_MONTH)),
        }
    }

    /// Machine and disks, US dollars an hour.
    fn parts(&self, rung: &Rung, disk_type: &str, disk_gb: u32, boot_gb: u32) -> Option<(f64, f64)> {
        let machine = self.machines.get(&rung.machine_type)? + self.external_address;
        let data = self.disks.get(disk_type)? * f64::from(disk_gb);
        let boot = self.disks.get("pd-balanced")? * f64::from(boot_gb);
        Some((machine, (data + boot) / HOURS_PER_MONTH))
    }
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
        assert!((priced.until_fuse.unwrap().0 - 72.0 * per_hour).abs() < 1e-9);
        assert_eq!(priced.after_fuse_per_month.unwrap().to_string(), "$209.80");
    }

    #[test]
    fn what_is_not_in_the_table_has_no_price() {
        let table = PriceTable::builtin();
        assert_eq!(table.price(&rung("z9-mystery"), "pd-balanced", 1, 1, Span::from_hours(1)).per_hour, None);
        assert_eq!(table.price(&rung("n2-standard-8"), "hyperdisk", 1, 1, Span::from_hours(1)).until_fuse, None);
    }
}
