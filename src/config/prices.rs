//! What machines cost by the price table of the configuration.

use super::{ComputeSettings, Config};
use crate::domain::PricedRung;

impl Config {
    /// The ladder with what each rung costs; empty without a cloud.
    #[must_use]
    pub fn priced_ladder(&self) -> Vec<PricedRung> {
        let Some(compute) = &self.compute else { return Vec::new() };
        let fuse = self.policy.standby_ttl;
        let price = |rung| compute.prices.price(rung, &compute.disk_type, compute.disk_gb, compute.boot_disk_gb, fuse);
        compute.ladder.iter().map(price).collect()
    }

    /// Where the prices come from; empty without a cloud.
    #[must_use]
    pub fn price_source(&self) -> String {
        let describe = |compute: &ComputeSettings| compute.prices.describe(&compute.ladder, &compute.disk_type);
        self.compute.as_ref().map(describe).unwrap_or_default()
    }
}
