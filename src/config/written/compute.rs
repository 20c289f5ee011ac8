//! Where standbys are created, as it is written: project, ladder, disks, prices.
//!
//! Part of [`super`], and like it checked only in its form. What the machine becomes is in `standby`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::CredentialSettings;
use crate::{config::values::At, domain::Rung};

/// Where standbys are created.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Compute {
    /// The project's id.
    pub project: At<String>,
    /// Another address of the Compute API, for tests.
    pub endpoint: Option<At<String>>,
    /// Who we are to Google.
    #[serde(default)]
    pub credentials: At<CredentialSettings>,
    /// Where to create, and on what, in order of preference.
    pub ladder: At<Vec<At<Rung>>>,
    /// The disk for the chain's data.
    #[serde(default)]
    pub disk: Disk,
    /// The size of the boot disk.
    #[serde(default = "boot_disk_gb")]
    pub boot_disk_gb: At<u32>,
    /// The image it boots.
    #[serde(default = "image")]
    pub image: At<String>,
    /// Its network, `regions/…/subnetworks/…` or a name; the project's default network if it is missing.
    pub subnetwork: Option<At<String>>,
    /// Network tags, for firewall rules.
    #[serde(default)]
    pub tags: Vec<At<String>>,
    /// Prices of your own, over the built-in ones.
    pub prices: Option<Prices>,
}

/// Prices in US dollars. A name alone is the price of us-central1 and of every region that has none of its own;
/// `europe-west4/n2-standard-8` is the price of one region.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Prices {
    /// The day on which they were true, like `2026-11-21`.
    pub as_of: At<String>,
    /// Where they come from; shown beside every estimate.
    pub source: At<String>,
    /// By machine type.
    #[serde(default)]
    pub machines_per_hour: BTreeMap<String, At<f64>>,
    /// By disk type.
    #[serde(default)]
    pub disks_per_gb_month: BTreeMap<String, At<f64>>,
    /// Of an external address.
    pub external_address_per_hour: Option<At<f64>>,
}

fn boot_disk_gb() -> At<u32> {
    50.into()
}

fn image() -> At<String> {
    "projects/debian-cloud/global/images/family/debian-12".to_owned().into()
}

/// The disk for the chain's data.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Disk {
    /// For example `pd-balanced` or `pd-ssd`.
    #[serde(rename = "type")]
    pub kind: At<String>,
    /// Its size.
    pub size_gb: At<u32>,
}

impl Default for Disk {
    fn default() -> Self {
        Self { kind: "pd-balanced".to_owned().into(), size_gb: 2048.into() }
    }
}
