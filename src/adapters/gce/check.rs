//! What would fail on the day, looked at today: permissions, zones, machine types, quotas, the image.

use std::collections::BTreeSet;

use futures::future::join_all;
use google_cloud_auth::credentials::CacheableResource;
use google_cloud_compute_v1::model::{Region, zone};
use serde::Deserialize;

use super::{Gce, errors::Failure};
use crate::{
    adapters::http::{BodyError, read_json},
    domain::Rung,
    ports::Finding,
};

mod kept;
mod network;

pub use kept::KEPT_PERMISSIONS;

/// Everything the watcher needs to act. With [`LOOKED_AT`] it is the custom role of `docs/gcp/roles/watcher.yaml`, and
/// a test holds the two equal.
pub const PERMISSIONS: &[&str] = &[
    "compute.disks.create",
    "compute.disks.list",
    "compute.disks.setLabels",
    "compute.images.getFromFamily",
    "compute.images.useReadOnly",
    "compute.instances.create",
    "compute.instances.delete",
    "compute.instances.get",
    "compute.instances.getGuestAttributes",
    "compute.instances.getSerialPortOutput",
    "compute.instances.list",
    "compute.instances.setLabels",
    "compute.instances.setMetadata",
    "compute.instances.setTags",
    "compute.machineTypes.get",
    "compute.projects.get",
    "compute.regions.get",
    "compute.subnetworks.use",
    "compute.subnetworks.useExternalIp",
    "compute.zoneOperations.get",
    "compute.zones.get",
];

/// What only the operator may do; anyone who has one of these can undo what keeps a promoted machine safe.
const WITHHELD: &[&str] = &[
    "compute.disks.createSnapshot",
    "compute.instances.setDeletionProtection",
    "compute.instances.setDiskAutoDelete",
    "compute.instances.setName",
    "compute.instances.setScheduling",
    "compute.instances.setServiceAccount",
];

/// What only `failover check` uses, to look at what others have made. Without them it says *unknown*, and all else
/// works.
pub const LOOKED_AT: &[&str] = &["compute.firewalls.list", "compute.subnetworks.get"];

/// What to do without a permission.
const ROLE: &str = "grant the custom role of docs/gcp/roles/watcher.yaml to the identity that is used here";

const RESOURCE_MANAGER: &str = "https://cloudresourcemanager.googleapis.com";

#[derive(Deserialize, Default)]
struct Granted {
    #[serde(default)]
    permissions: Vec<String>,
}

/// `next` is what to do when what was asked for is not there; the cloud's other answers have their own remedies.
fn failed(subject: String, failure: &Failure, next: &str) -> Finding {
    match failure {
        Failure::Busy(_) | Failure::Unanswered(_) | Failure::Stale(_) => {
            Finding::unknown(subject, failure.to_string(), "run this again; if it stays so, look at the way to Google")
        }
        Failure::Refused(_) => Finding::problem(subject, failure.to_string(), ROLE),
        Failure::NotFound(_)
        | Failure::Exists(_)
        | Failure::OutOfStock(_)
        | Failure::Invalid(_)
        | Failure::Quota(_) => Finding::problem(subject, failure.to_string(), next),
    }
}

impl Gce {
    /// What would fail on the day: permissions that are missing, quotas too small, zones or machine types that do not
    /// exist. One line for each thing looked at.
    pub async fn check(&self) -> Vec<Finding> {
        let mut regions = BTreeSet::new();
        let rungs = self.config.ladder.iter().map(|rung| {
            let first = regions.insert((rung.region().to_owned(), rung.machine_type.clone()));
            async move {
                let quotas = async { if first { quotas(self, rung).await } else { Vec::new() } };
                let (zone, machine_type, quotas) = tokio::join!(zone(self, rung), machine_type(self, rung), quotas);
                [vec![zone, machine_type], quotas].concat()
            }
        });
        let rungs = join_all(rungs.collect::<Vec<_>>());
        let (mut findings, image, rungs, network, kept) =
            tokio::join!(permissions(self), image(self), rungs, network::network(self), kept::kept(self));
        findings.push(image);
        findings.extend(rungs.into_iter().flatten().chain(network).chain(kept));
        findings
    }
}

async fn permissions(gce: &Gce) -> Vec<Finding> {
    let subject = format!("permissions in {}", gce.config.project);
    let granted = match granted(gce).await {
        Ok(granted) => granted,
        Err(why) => {
            let remedy = "see that the service cloudresourcemanager is enabled in the project, as docs/gcp/setup.sh \
                          does; `failover check` alone uses it";
            return vec![Finding::unknown(subject, why, remedy)];
        }
    };
    let missing: Vec<&str> = PERMISSIONS.iter().copied().filter(|wanted| !granted.contains(*wanted)).collect();
    let excess: Vec<&str> = WITHHELD.iter().copied().filter(|withheld| granted.contains(*withheld)).collect();
    let mut findings = Vec::new();
    findings.push(if missing.is_empty() {
        Finding::ok(subject.clone(), format!("all {} are granted", PERMISSIONS.len()))
    } else {
        Finding::problem(subject.clone(), format!("missing: {}", missing.join(", ")), ROLE)
    });
    if !excess.is_empty() {
        let detail = format!("granted, and should be withheld from the watcher: {}", excess.join(", "));
        let remedy = "right for you, wrong for the watcher: give it the role of docs/gcp/roles/watcher.yaml alone";
        findings.push(Finding::warning(subject, detail, remedy));
    }
    findings
}

/// Names of some dozens of permissions.
const MAX_GRANTED: usize = 256 << 10;

async fn granted(gce: &Gce) -> Result<BTreeSet<String>, String> {
    let base = gce.config.resource_manager.as_ref().map_or(RESOURCE_MANAGER, |url| url.as_str());
    let url = format!("{}/v3/projects/{}:testIamPermissions", base.trim_end_matches('/'), gce.config.project);
    let headers = match gce.config.credentials.headers(http::Extensions::new()).await {
        Ok(CacheableResource::New { data, .. }) => data,
        Ok(CacheableResource::NotModified) => http::HeaderMap::new(),
        Err(error) => return Err(format!("no credentials: {error}")),
    };
    let wanted: Vec<&str> = PERMISSIONS.iter().chain(LOOKED_AT).chain(WITHHELD).copied().collect();
    let ask = async {
        let client = crate::adapters::http::client(gce.config.call_timeout)?;
        let body = serde_json::json!({ "permissions": wanted });
        let response = client.post(url).headers(headers).json(&body).send().await?.error_for_status()?;
        read_json::<Granted>(response, MAX_GRANTED).await
    };
    ask.await.map(|granted| granted.permissions.into_iter().collect()).map_err(|error| match error {
        BodyError::Broken(error) => error.without_url().to_string(),
        BodyError::TooLarge { .. } | BodyError::NotJson { .. } => error.to_string(),
    })
}

async fn image(gce: &Gce) -> Finding {
    let image = &gce.config.image;
    let subject = format!("image {image}");
    let parts: Vec<&str> = image.split('/').collect();
    let ["projects", project, "global", "images", "family", family] = parts[..] else {
        let remedy = "name a family, like projects/debian-cloud/global/images/family/debian-12";
        return Finding::warning(subject, "not an image family; it is not looked at", remedy);
    };
    let request = gce.images.get_from_family().set_project(project).set_family(family);
    match gce.bounded(gce.once(request).send()).await {
        Ok(found) => Finding::ok(subject, found.name.unwrap_or_default()),
        Err(failure) => failed(subject, &failure, "correct `compute.image`"),
    }
}

async fn zone(gce: &Gce, rung: &Rung) -> Finding {
    let subject = format!("zone {}", rung.zone);
    let request = gce.zones.get().set_project(&gce.config.project).set_zone(&rung.zone);
    match gce.bounded(gce.once(request).send()).await {
        Ok(found) if found.status == Some(zone::Status::Up) => Finding::ok(subject, "up"),
        Ok(_) => {
            Finding::problem(subject, "Google says that it is down", "add a rung in another zone to `compute.ladder`")
        }
        Err(failure) => failed(subject, &failure, "correct `compute.ladder`: there is no such zone"),
    }
}

async fn machine_type(gce: &Gce, rung: &Rung) -> Finding {
    let subject = format!("machine type {rung}");
    let request = gce
        .machine_types
        .get()
        .set_project(&gce.config.project)
        .set_zone(&rung.zone)
        .set_machine_type(&rung.machine_type);
    match gce.bounded(gce.once(request).send()).await {
        Ok(found) => Finding::ok(subject, format!("{} CPUs", found.guest_cpus.unwrap_or_default())),
        Err(failure) => failed(subject, &failure, "correct `compute.ladder`: this zone has no such machine"),
    }
}

async fn quotas(gce: &Gce, rung: &Rung) -> Vec<Finding> {
    let subject = format!("quotas of {}", rung.region());
    let request = gce.regions.get().set_project(&gce.config.project).set_region(rung.region());
    match gce.bounded(gce.once(request).send()).await {
        Ok(region) => judge(gce, rung, &subject, &region),
        Err(failure) => vec![failed(subject, &failure, "correct `compute.ladder`: there is no such region")],
    }
}

/// A quota that is not listed is not limited, or not known here by that name.
fn judge(gce: &Gce, rung: &Rung, subject: &str, region: &Region) -> Vec<Finding> {
    let family = rung.machine_type.split('-').next().unwrap_or_default().to_uppercase();
    let cpus = rung.machine_type.rsplit('-').next().and_then(|count| count.parse::<f64>().ok()).unwrap_or(1.0);
    // pd-balanced, which the boot disk always is, counts as SSD, and new projects often have 500 GB of it.
    let (data, boot) = (f64::from(gce.config.disk_gb), f64::from(gce.config.boot_disk_gb));
    let (ssd, standard) = if gce.config.disk_type == "pd-standard" { (boot, data) } else { (boot + data, 0.0) };
    let needs = [
        (format!("{family}_CPUS"), cpus),
        ("CPUS".to_owned(), cpus),
        ("SSD_TOTAL_GB".to_owned(), ssd),
        ("DISKS_TOTAL_GB".to_owned(), standard),
        ("IN_USE_ADDRESSES".to_owned(), 1.0),
        ("INSTANCES".to_owned(), 1.0),
    ];
    let mut findings = Vec::new();
    for (metric, need) in needs {
        let named = |quota: &&google_cloud_compute_v1::model::Quota| {
            quota.metric.as_ref().and_then(|found| found.name()) == Some(metric.as_str())
        };
        let Some(quota) = region.quotas.iter().find(named) else { continue };
        let (limit, usage) = (quota.limit.unwrap_or_default(), quota.usage.unwrap_or_default());
        let detail = format!("{metric}: {usage} of {limit} used, a standby needs {need}");
        findings.push(if usage + need <= limit {
            Finding::ok(subject, detail)
        } else {
            Finding::problem(subject, detail, "ask Google for more today, it can take days")
        });
    }
    findings
}
