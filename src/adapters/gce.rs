//! Compute Engine, through Google's own client: looking, creating, observing, deleting, retaining.
//!
//! It decides nothing: which rung, when to look again and what an unknown outcome means is the domain's. Nothing that
//! may have happened is sent twice from here.

use std::time::Duration;

use async_trait::async_trait;
use google_cloud_auth::credentials::Credentials;
use google_cloud_compute_v1::{
    client::{Disks, Firewalls, Images, Instances, MachineTypes, Regions, Subnetworks, ZoneOperations, Zones},
    model::Instance,
};
use google_cloud_gax::{options::RequestOptionsBuilder, retry_policy::NeverRetry};
use url::Url;

use crate::{
    bundle::Bundle,
    domain::{
        ActionId, CreateOutcome, InstanceId, InstanceRef, Machine, MachinePower, MachineState, Rung, StandbySpec,
        Written,
    },
    ports::{CloudError, Machines, Observed, Scope, Unpromoted},
};

mod body;
mod check;
mod errors;
mod look;
mod operation;
mod promotion;
mod read;
mod retain;
mod search;

pub use check::{KEPT_PERMISSIONS, LOOKED_AT, PERMISSIONS};
use errors::{Failure, classify};
pub use promotion::PROMOTION_PERMISSIONS;

/// what distinguishes our machines from others.
pub const APP: &str = "failover";
/// The guest attribute a standby reports in.
pub const REPORT: &str = "failover/report";
/// The guest attribute its start-up script says in what it does, until there is a report.
pub const BOOT: &str = "failover/boot";
/// A report is a few hundred bytes; more is not one.
const MAX_REPORT: usize = 16 * 1024;

/// Where and how machines are made.
#[derive(Clone, Debug)]
pub struct GceConfig {
    pub project: String,
    pub endpoint: Option<Url>,
    /// Another address of the Resource Manager, which knows permissions.
    pub resource_manager: Option<Url>,
    pub credentials: Credentials,
    /// Where machines are made; every zone in it is looked into.
    pub ladder: Vec<Rung>,
    pub site: String,
    /// For example `regions/us-central1/subnetworks/standby`; the default network otherwise.
    pub subnetwork: Option<String>,
    pub tags: Vec<String>,
    pub image: String,
    pub boot_disk_gb: u32,
    pub disk_type: String,
    pub disk_gb: u32,
    /// What a machine is given to become a standby. Anyone who can view the machine can read it.
    pub bundle: Bundle,
    /// How long one call may take.
    pub call_timeout: Duration,
    /// How long one operation is followed.
    pub operation_timeout: Duration,
    /// How often an operation is asked for.
    pub poll_every: Duration,
}

pub struct Gce {
    config: GceConfig,
    instances: Instances,
    disks: Disks,
    operations: ZoneOperations,
    zones: Zones,
    regions: Regions,
    machine_types: MachineTypes,
    images: Images,
    subnetworks: Subnetworks,
    firewalls: Firewalls,
}

/// Why the client cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("the Compute Engine client cannot be made: {0}")]
pub struct GceError(String);

impl Gce {
    /// Makes the clients; nothing is asked yet.
    ///
    /// # Errors
    /// [`GceError`] when the credentials or the system's certificates cannot be used.
    pub async fn new(config: GceConfig) -> Result<Self, GceError> {
        super::http::install_tls_provider();
        macro_rules! client {
            ($service:ident) => {{
                let mut builder = $service::builder().with_credentials(config.credentials.clone());
                if let Some(endpoint) = &config.endpoint {
                    builder = builder.with_endpoint(endpoint.as_str().trim_end_matches('/'));
                }
                builder.build().await.map_err(|error| GceError(error.to_string()))?
            }};
        }
        let (instances, disks, operations) = (client!(Instances), client!(Disks), client!(ZoneOperations));
        let (zones, regions) = (client!(Zones), client!(Regions));
        let (machine_types, images) = (client!(MachineTypes), client!(Images));
        let (subnetworks, firewalls) = (client!(Subnetworks), client!(Firewalls));
        Ok(Self { config, instances, disks, operations, zones, regions, machine_types, images, subnetworks, firewalls })
    }

    /// Every call is one try and bounded: what to do after a failure is not for a client library to decide.
    fn once<B: RequestOptionsBuilder>(&self, request: B) -> B {
        request.with_attempt_timeout(self.config.call_timeout).with_retry_policy(NeverRetry)
    }

    async fn bounded<T>(
        &self,
        call: impl Future<Output = google_cloud_compute_v1::Result<T>> + Send,
    ) -> Result<T, Failure> {
        match tokio::time::timeout(self.config.call_timeout, call).await {
            Ok(result) => result.map_err(|error| classify(&error)),
            Err(_) => Err(Failure::Unanswered(format!("no answer in {:?}", self.config.call_timeout))),
        }
    }

    async fn get(&self, zone: &str, name: &str) -> Result<Option<Instance>, Failure> {
        let request = self.instances.get().set_project(&self.config.project).set_zone(zone).set_instance(name);
        match self.bounded(self.once(request).send()).await {
            Ok(instance) => Ok(Some(instance)),
            Err(Failure::NotFound(_)) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// This very machine, by its numeric id: one of the same name made later is another, and a promotion renames it. It is
    /// gone only when no machine of its zone has its number. A list is not bound to names, as `get` is for the watcher.
    async fn get_exactly(&self, instance: &InstanceRef) -> Result<Option<Instance>, Failure> {
        let is_it = |found: &Instance| found.id.map(InstanceId::from).as_ref() == Some(&instance.id);
        if let Some(found) = self.get(&instance.zone, &instance.name).await?.filter(is_it) {
            return Ok(Some(found));
        }
        // Under whatever name, and also when somebody has taken its labels away: only what no list shows is gone.
        let all = self.listed_in(&instance.zone, None).await?;
        Ok(all.into_iter().find(is_it))
    }

    /// Whether this machine has ended: TERMINATED, as Compute Engine says. One that is suspended has not, it resumes with its
    /// memory. `None` when it is gone.
    ///
    /// # Errors
    /// [`CloudError`] when that cannot be told.
    pub async fn is_terminated(&self, instance: &InstanceRef) -> Result<Option<bool>, CloudError> {
        let found = self.get_exactly(instance).await?;
        Ok(found.map(|found| promotion::power(found.status.as_ref()) == MachinePower::Terminated))
    }

    /// Something of this name exists: a machine is ours only if its labels are this very incident's, and a disk
    /// alone is never ours.
    async fn already_there(&self, spec: &StandbySpec, said: &str) -> CreateOutcome {
        let (zone, name) = (&spec.rung.zone, spec.machine_name());
        let found = match self.get(zone, &name).await {
            Ok(Some(found)) => found,
            Ok(None) if said.contains("/disks/") => {
                return CreateOutcome::RefusedHere(format!(
                    "a disk in {zone} has a name that {name} needs, and may hold anything: look at it, then \
                     delete it ({said})"
                ));
            }
            Ok(None) => return CreateOutcome::Unknown(format!("{name} is said to exist in {zone}, but is not found")),
            Err(failure) => return CreateOutcome::Unknown(failure.to_string()),
        };
        if read::is_ours(&found, &spec.validator, spec.action.incident) {
            self.verified(found)
        } else {
            CreateOutcome::RefusedHere(format!(
                "a machine called {name} in {zone} is not this incident's: rename or delete it"
            ))
        }
    }

    /// What was made is looked at once more: a disk that was there before would bring whatever is on it.
    fn verified(&self, found: Instance) -> CreateOutcome {
        let Some(instance) = read::instance_ref(&found) else {
            return CreateOutcome::Unknown("the machine has no name, zone or id".into());
        };
        if let Err(why) = body::disks_are_new(&found) {
            return CreateOutcome::Refused(format!("{instance}: {why}; look at it and delete it by hand"));
        }
        match read::state(found.status.as_ref()) {
            MachineState::Running | MachineState::Stopped => CreateOutcome::Created(instance),
            // It may still fail for want of capacity, and then it vanishes; a search waits for that.
            MachineState::Starting => CreateOutcome::BeingMade(format!("{instance} is still being created")),
            MachineState::Stopping => CreateOutcome::BeingMade(format!("{instance} is being stopped or deleted")),
        }
    }

    async fn written(&self, instance: &InstanceRef) -> Result<Written, Failure> {
        let request = self
            .instances
            .get_guest_attributes()
            .set_project(&self.config.project)
            .set_zone(&instance.zone)
            .set_instance(&instance.name)
            .set_query_path("failover/");
        let attributes = match self.bounded(self.once(request).send()).await {
            Ok(attributes) => attributes,
            // Nothing was ever written.
            Err(Failure::NotFound(_)) => return Ok(Written::Nothing),
            Err(failure) => return Err(failure),
        };
        Ok(read::written(attributes.query_value.map(|value| value.items).unwrap_or_default()))
    }
}

#[async_trait]
impl Machines for Gce {
    async fn find(&self, scope: &Scope) -> Result<Vec<Machine>, CloudError> {
        match self.everywhere(scope).await {
            Ok((machines, true)) => Ok(machines),
            Ok((machines, false)) => self.in_each_zone(scope, machines).await,
            Err(Failure::Unanswered(_)) => self.in_each_zone(scope, Vec::new()).await,
            Err(failure) => Err(failure.into()),
        }
    }

    async fn create(&self, spec: &StandbySpec, ledger: uuid::Uuid) -> CreateOutcome {
        let request = self
            .instances
            .insert()
            .set_project(&self.config.project)
            .set_zone(&spec.rung.zone)
            .set_request_id(spec.action.request_id(&spec.rung.zone).to_string())
            .set_body(body::instance(&self.config, spec, ledger));
        let operation = match self.bounded(self.once(request).send()).await {
            Ok(operation) => operation,
            Err(Failure::Exists(said)) => return self.already_there(spec, &said).await,
            Err(failure) => return failure.into_create_outcome(),
        };
        if let Err(failure) = self.follow(&spec.rung.zone, operation).await {
            return match failure {
                Failure::Exists(said) => self.already_there(spec, &said).await,
                other => other.into_create_outcome(),
            };
        }
        // Success is what is seen, not what an operation says.
        match self.get(&spec.rung.zone, &spec.machine_name()).await {
            Ok(Some(found)) => self.verified(found),
            Ok(None) => CreateOutcome::BeingMade("the operation ended well, but the machine is not shown yet".into()),
            Err(failure) => CreateOutcome::BeingMade(format!("the operation ended well, but: {failure}")),
        }
    }

    async fn observe(&self, instance: &InstanceRef) -> Result<Option<Observed>, CloudError> {
        let Some(found) = self.get_exactly(instance).await? else { return Ok(None) };
        let Some(machine) = read::machine(&found, &self.config.site) else {
            let why = format!("{instance} lost its name, its zone, its id or the label of this site");
            return Err(CloudError::Unknown(why));
        };
        let written = self.written(&machine.instance).await?;
        Ok(Some(Observed { machine, written }))
    }

    async fn delete(&self, action: &ActionId, unpromoted: &Unpromoted) -> Result<(), CloudError> {
        let instance = unpromoted.instance();
        let request = self
            .instances
            .delete()
            .set_project(&self.config.project)
            .set_zone(&instance.zone)
            .set_instance(&instance.name)
            .set_request_id(action.request_id(&instance.zone).to_string());
        // Both within the time of one call: the caller expects the change to have ended by then.
        let asked = async {
            match self.get_exactly(instance).await? {
                Some(found) if found.name.as_ref() == Some(&instance.name) => {
                    self.bounded(self.once(request).send()).await.map(Some)
                }
                Some(found) => {
                    let name = found.name.unwrap_or_default();
                    Err(Failure::Refused(format!("{instance} is called {name} by now: somebody keeps it")))
                }
                None => Ok(None),
            }
        };
        let asked = tokio::time::timeout(self.config.call_timeout, asked).await;
        let unanswered = || Failure::Unanswered(format!("no answer in {:?}", self.config.call_timeout));
        let deleted = match asked.unwrap_or_else(|_| Err(unanswered())) {
            Ok(Some(operation)) => self.follow(&instance.zone, operation).await,
            Ok(None) => Ok(()),
            Err(failure) => Err(failure),
        };
        match deleted {
            Ok(()) | Err(Failure::NotFound(_)) => Ok(()),
            Err(failure) => Err(failure.into()),
        }
    }
}
