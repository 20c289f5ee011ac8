//! The machine as it is asked for. Everything here is a rule: no keys, no rights, no way in, an end of its own.

use google_cloud_compute_v1::model::{
    AccessConfig, AttachedDisk, AttachedDiskInitializeParams, Duration, Instance, Metadata, NetworkInterface,
    Scheduling, ShieldedInstanceConfig, Tags, access_config, metadata, scheduling,
};

use uuid::Uuid;

use super::{APP, GceConfig};
use crate::domain::{Rung, StandbySpec};

pub(super) fn instance(config: &GceConfig, spec: &StandbySpec, ledger: Uuid) -> Instance {
    let labels = labels(config, spec, ledger);
    let zone = &spec.rung.zone;
    Instance::new()
        .set_name(spec.machine_name())
        .set_machine_type(format!("zones/{zone}/machineTypes/{}", spec.rung.machine_type))
        .set_labels(labels.clone().into_iter().chain([("role", "standby".to_owned())]))
        .set_deletion_protection(false)
        .set_disks([boot_disk(config, spec, &labels), data_disk(config, spec, &labels)])
        .set_network_interfaces([network(config, &spec.rung)])
        .set_metadata(meta(config, spec))
        // No service account: anyone who gets onto the machine can do nothing in the cloud.
        .set_shielded_instance_config(
            ShieldedInstanceConfig::new()
                .set_enable_secure_boot(true)
                .set_enable_vtpm(true)
                .set_enable_integrity_monitoring(true),
        )
        .set_scheduling(scheduling(spec))
        .set_tags(Tags::new().set_items(config.tags.clone()))
}

/// The machine's and its disks': by these a disk that is left behind is found.
type Labels = [(&'static str, String); 5];

fn labels(config: &GceConfig, spec: &StandbySpec, ledger: Uuid) -> Labels {
    [
        ("app", APP.to_owned()),
        ("site", config.site.clone()),
        ("validator", spec.validator.to_string()),
        ("incident", spec.action.incident.to_string()),
        ("ledger", ledger.to_string()),
    ]
}

/// The server's own end to the costs, even if every process of ours is dead. STOP, never DELETE.
fn scheduling(spec: &StandbySpec) -> Scheduling {
    Scheduling::new()
        .set_provisioning_model(scheduling::ProvisioningModel::Standard)
        .set_automatic_restart(true)
        .set_on_host_maintenance(scheduling::OnHostMaintenance::Migrate)
        .set_max_run_duration(Duration::new().set_seconds(spec.max_run_duration.as_secs()))
        .set_instance_termination_action(scheduling::InstanceTerminationAction::Stop)
}

/// No `diskName`, here and below: a disk of that name that exists would be attached, with whatever is on it.
fn boot_disk(config: &GceConfig, spec: &StandbySpec, labels: &Labels) -> AttachedDisk {
    let zone = &spec.rung.zone;
    AttachedDisk::new().set_boot(true).set_auto_delete(true).set_initialize_params(
        AttachedDiskInitializeParams::new()
            .set_source_image(&config.image)
            .set_disk_size_gb(i64::from(config.boot_disk_gb))
            .set_disk_type(format!("zones/{zone}/diskTypes/pd-balanced"))
            .set_labels(labels.clone()),
    )
}

fn data_disk(config: &GceConfig, spec: &StandbySpec, labels: &Labels) -> AttachedDisk {
    let zone = &spec.rung.zone;
    AttachedDisk::new().set_boot(false).set_auto_delete(true).set_device_name("chaindata").set_initialize_params(
        AttachedDiskInitializeParams::new()
            .set_disk_size_gb(i64::from(config.disk_gb))
            .set_disk_type(format!("zones/{zone}/diskTypes/{}", config.disk_type))
            .set_labels(labels.clone()),
    )
}

/// The subnetwork of this rung. A name alone is the subnetwork of that name in the rung's own region: a path names one
/// region, and a ladder has several.
pub(super) fn subnetwork(config: &GceConfig, rung: &Rung) -> Option<String> {
    let named = config.subnetwork.as_ref()?;
    Some(if named.contains('/') { named.clone() } else { format!("regions/{}/subnetworks/{named}", rung.region()) })
}

fn network(config: &GceConfig, rung: &Rung) -> NetworkInterface {
    let outside = AccessConfig::new()
        .set_name("External NAT")
        .set_type(access_config::Type::OneToOneNat)
        .set_network_tier(access_config::NetworkTier::Premium);
    let interface = NetworkInterface::new().set_access_configs([outside]);
    match subnetwork(config, rung) {
        Some(subnetwork) => interface.set_subnetwork(subnetwork),
        None => interface.set_network("global/networks/default"),
    }
}

/// Anyone who can view the machine reads this: there is no secret in it.
fn meta(config: &GceConfig, spec: &StandbySpec) -> Metadata {
    let always = [
        ("enable-oslogin", "TRUE".to_owned()),
        ("block-project-ssh-keys", "TRUE".to_owned()),
        ("enable-guest-attributes", "TRUE".to_owned()),
        ("serial-port-logging-enable", "TRUE".to_owned()),
    ];
    let items = config.bundle.metadata(&spec.validator, spec.action.incident).into_iter().chain(always);
    Metadata::new().set_items(items.map(|(key, value)| metadata::Items::new().set_key(key).set_value(value)))
}

/// Checks that every disk goes with the machine and came with it: its name begins with the machine's.
///
/// # Errors
/// Which disk is not, and why that matters.
pub(super) fn disks_are_new(found: &Instance) -> Result<(), String> {
    let name = found.name.as_deref().unwrap_or_default();
    for disk in &found.disks {
        let source = disk.source.as_deref().unwrap_or_default();
        let disk_name = source.rsplit('/').next().unwrap_or_default();
        if disk.auto_delete != Some(true) {
            return Err(format!("its disk {disk_name} would stay, and cost, after it is deleted"));
        }
        if !source.is_empty() && !disk_name.starts_with(name) {
            return Err(format!("its disk {disk_name} was there before the machine and may hold anything"));
        }
    }
    Ok(())
}
