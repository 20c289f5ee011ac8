//! What machines cost by the price table of the configuration.

use super::{ComputeSettings, Config};

impl Config {
    /// Where the prices come from; empty without a cloud.
    #[must_use]
    pub fn price_source(&self) -> String {
        let describe = |compute: &ComputeSettings| compute.prices.describe(&compute.ladder, &compute.disk_type);
        self.compute.as_ref().map(describe).unwrap_or_default()
    }
}
