//! Regional quotas: what exists is counted, and what would go beyond a limit fails in its operation.
//!
//! Only the metrics that a standby needs, and the same limits in every region.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{disks, world::World};

/// What a new project may have, about; enough for a few standbys.
const LIMITS: [(&str, f64); 6] = [
    ("CPUS", 72.0),
    ("N2_CPUS", 48.0),
    ("DISKS_TOTAL_GB", 10_240.0),
    ("SSD_TOTAL_GB", 10_240.0),
    ("IN_USE_ADDRESSES", 8.0),
    ("INSTANCES", 24.0),
];

type Amounts = BTreeMap<String, f64>;

#[derive(Debug)]
pub(super) struct Quotas(Amounts);

impl Default for Quotas {
    fn default() -> Self {
        Self(LIMITS.map(|(metric, limit)| (metric.to_owned(), limit)).into())
    }
}

impl Quotas {
    pub(super) fn set(&mut self, metric: &str, limit: f64) {
        self.0.insert(metric.to_owned(), limit);
    }
}

/// Without the last part: `us-central1` for `us-central1-a`.
pub(super) fn region_of(zone: &str) -> &str {
    zone.rsplit_once('-').map_or(zone, |(region, _)| region)
}

/// The quotas of a region as its resource shows them.
pub(super) fn shown(world: &World, region: &str) -> Value {
    let used = usage(world, region);
    let quota = |(metric, limit): (&String, &f64)| json!({"metric": metric, "limit": limit, "usage": used.get(metric).copied().unwrap_or_default()});
    world.quotas.0.iter().map(quota).collect()
}

/// Why one more machine is too much: which quota, and its limit.
pub(super) fn exceeded(world: &World, zone: &str, wanted: &Value) -> Option<String> {
    let region = region_of(zone);
    let mut needs = running(wanted);
    for disk in wanted["disks"].as_array().into_iter().flatten() {
        // A disk that exists is counted already.
        if !disk["initializeParams"].is_null() {
            add(&mut needs, disks::metric(&disk["initializeParams"]), disks::size(&disk["initializeParams"]));
        }
    }
    add(&mut needs, Some("INSTANCES"), 1.0);
    over(world, region, &needs)
}

/// Why a machine that exists cannot be started.
pub(super) fn exceeded_by_start(world: &World, zone: &str, machine: &Value) -> Option<String> {
    over(world, region_of(zone), &running(machine))
}

fn over(world: &World, region: &str, needs: &Amounts) -> Option<String> {
    let used = usage(world, region);
    needs.iter().find_map(|(metric, need)| {
        let limit = *world.quotas.0.get(metric)?;
        let used = used.get(metric).copied().unwrap_or_default();
        (used + need > limit).then(|| format!("Quota '{metric}' exceeded. Limit: {limit:.1} in region {region}."))
    })
}

/// Everything in the region. A stopped machine has no processors and no address, but its disks remain.
fn usage(world: &World, region: &str) -> Amounts {
    let mut amounts = Amounts::new();
    for machine in world.machines.iter().filter(|machine| region_of(&machine.zone) == region) {
        add(&mut amounts, Some("INSTANCES"), 1.0);
        if machine.status() != "TERMINATED" {
            for (metric, amount) in running(&machine.json) {
                add(&mut amounts, Some(&metric), amount);
            }
        }
    }
    for ((zone, _), disk) in &world.disks {
        if region_of(zone) == region {
            add(&mut amounts, disks::metric(disk), disks::size(disk));
        }
    }
    amounts
}

/// What a machine needs while it runs. Its processors count for all and for its family.
fn running(machine: &Value) -> Amounts {
    let mut amounts = Amounts::new();
    let machine_type = machine["machineType"].as_str().and_then(|url| url.rsplit('/').next()).unwrap_or_default();
    let cpus = f64::from(cpus(machine_type).unwrap_or_default());
    let family = machine_type.split('-').next().unwrap_or_default().to_uppercase();
    add(&mut amounts, Some("CPUS"), cpus);
    add(&mut amounts, Some(&format!("{family}_CPUS")), cpus);
    for interface in machine["networkInterfaces"].as_array().into_iter().flatten() {
        let outside = interface["accessConfigs"].as_array().map_or(0, Vec::len);
        add(&mut amounts, Some("IN_USE_ADDRESSES"), if outside > 0 { 1.0 } else { 0.0 });
    }
    amounts
}

/// `n2-standard-8` has 8.
pub(super) fn cpus(machine_type: &str) -> Option<u32> {
    machine_type.rsplit('-').next().and_then(|count| count.parse().ok())
}

fn add(amounts: &mut Amounts, metric: Option<&str>, amount: f64) {
    if let Some(metric) = metric {
        *amounts.entry(metric.to_owned()).or_default() += amount;
    }
}
