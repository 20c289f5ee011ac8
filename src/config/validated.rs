//! The configuration as the program uses it: every value checked, every contradiction refused.
//!
//! Only [`super::parse`] and [`super::load`] make one from a file; the fields are public so that the fake world can
//! make one without a file.

use std::{net::SocketAddr, path::PathBuf};

use url::Url;

use super::{MailTls, SecretFile};
use crate::domain::{Evidence, Mode, PriceTable, PublicKey, Rung, Span, Usd, ValidatorId, kube::Thresholds};

mod node;
mod probe;
mod standby;

pub use node::*;
pub use probe::*;
pub use standby::*;

/// Everything that is configured.
#[derive(Clone, Debug)]
pub struct Config {
    /// The name of this home.
    pub site: String,
    /// Decide only, or act as well.
    pub mode: Mode,
    /// Where the state is kept.
    pub ledger: LedgerSettings,
    /// The watcher's port.
    pub http: HttpSettings,
    /// The alert source.
    pub alertmanager: Option<AlertmanagerSettings>,
    /// The chain source.
    pub ethereum: Option<EthereumSettings>,
    /// The kube source; used when a validator names what it is in a cluster.
    pub kubernetes: KubernetesSettings,
    /// What is watched, in the order written; names and keys are unique.
    pub validators: Vec<ValidatorSettings>,
    /// Thresholds.
    pub policy: PolicySettings,
    /// Where standbys are created.
    pub compute: Option<ComputeSettings>,
    /// What a standby becomes; without it a machine is only a rehearsal.
    pub standby: Option<StandbySettings>,
    /// The most one incident may cost.
    pub budget_per_incident: Option<Usd>,
    /// The most 30 days may cost.
    pub budget_per_month: Option<Usd>,
    /// Who is told.
    pub mail: Option<MailSettings>,
    /// The monitor outside.
    pub monitor: Option<MonitorSettings>,
}

/// Where the state is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LedgerSettings {
    /// A file on this machine.
    Sqlite {
        /// The file.
        path: PathBuf,
    },
    /// A bucket.
    Gcs {
        /// Its name.
        bucket: String,
        /// Before every object's name; empty or ending with `/`.
        prefix: String,
        /// Another address of the API.
        endpoint: Option<Url>,
        /// Who we are.
        credentials: CredentialSettings,
    },
}

/// Who we are to Google.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialSettings {
    /// What the environment offers.
    ApplicationDefault,
    /// A key file or a workload identity configuration.
    KeyFile(PathBuf),
    /// None; the endpoint is on this machine.
    Anonymous,
}

/// The watcher's port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpSettings {
    /// What it listens on.
    pub listen: SocketAddr,
    /// How others reach it.
    pub address: Option<Url>,
}

/// The alert source.
#[derive(Clone, Debug)]
pub struct AlertmanagerSettings {
    /// How it shows who it is.
    pub auth: WebhookAuth,
    /// Its address, for reconciling.
    pub url: Option<Url>,
    /// The alert that always fires.
    pub watchdog: Option<WatchdogSettings>,
    /// After this long without a repetition an alert is unknown.
    pub stale_after: Span,
}

/// How the caller of the webhook shows who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WebhookAuth {
    /// A token.
    Bearer(SecretFile),
    /// User name and password.
    Basic {
        /// The user name.
        username: String,
        /// The password.
        password: SecretFile,
    },
    /// Not at all; the port is on loopback.
    None,
}

/// The alert that always fires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchdogSettings {
    /// Alertmanager's matchers, checked by the hook given to [`super::parse`].
    pub matchers: String,
    /// Without it for this long the source is unknown.
    pub timeout: Span,
}

/// The chain source.
#[derive(Clone, Debug)]
pub struct EthereumSettings {
    /// At least one; names are unique.
    pub beacon_nodes: Vec<BeaconNodeSettings>,
    /// `0x` and 64 hexadecimal digits in lower case.
    pub genesis_root: Option<String>,
}

/// A node that is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BeaconNodeSettings {
    /// Its name.
    pub name: String,
    /// Its beacon API.
    pub url: Url,
}

/// One validator.
#[derive(Clone, Debug)]
pub struct ValidatorSettings {
    /// Its name.
    pub name: ValidatorId,
    /// What it is, and by what it is seen.
    pub kind: ValidatorKind,
    /// Which alerts are about it.
    pub alerts: Vec<AlertSettings>,
    /// The process's own port.
    pub process: Option<Url>,
    /// What it is in the cluster; no two are the same.
    pub kubernetes: Option<WorkloadSettings>,
}

impl ValidatorSettings {
    /// Its public keys; none for a generic one.
    #[must_use]
    pub fn public_keys(&self) -> &[PublicKey] {
        match &self.kind {
            ValidatorKind::Ethereum { public_keys } => public_keys,
            ValidatorKind::Generic { .. } => &[],
        }
    }

    /// Its probes; none for one of Ethereum, whose keys beacon nodes see.
    #[must_use]
    pub fn probes(&self) -> &[ProbeSettings] {
        match &self.kind {
            ValidatorKind::Ethereum { .. } => &[],
            ValidatorKind::Generic { probes, .. } => probes,
        }
    }
}

/// What a validator is, and by what it is seen.
#[derive(Clone, Debug, PartialEq)]
pub enum ValidatorKind {
    /// Beacon nodes see its keys.
    Ethereum {
        /// At least one.
        public_keys: Vec<PublicKey>,
    },
    /// Its own ports are asked.
    Generic {
        /// At least one; names are unique.
        probes: Vec<ProbeSettings>,
        /// What its standby runs.
        standby: Option<Box<GenericStandbySettings>>,
    },
}

/// The kube source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KubernetesSettings {
    /// The way to the API server; the pod's own service account if there is none.
    pub kubeconfig: Option<PathBuf>,
    /// What counts as down, and after how long.
    pub thresholds: Thresholds,
}

/// What a validator is in the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkloadSettings {
    /// In which namespace.
    pub namespace: String,
    /// What it is called there.
    pub named: WorkloadName,
    /// The container that signs.
    pub container: Option<String>,
}

/// What a validator is called in its namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WorkloadName {
    /// A statefulset.
    StatefulSet(String),
    /// A deployment.
    Deployment(String),
    /// Labels, in the API's syntax; not empty.
    Selector(String),
}

/// Which alerts are about a validator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertSettings {
    /// Alertmanager's matchers, checked by the hook given to [`super::parse`].
    pub matchers: String,
    /// What they rest on.
    pub evidence: Evidence,
}

/// Thresholds; `docs/configuration.md` says what each is for.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the same names as in `written::Policy`, where each is described")]
pub struct PolicySettings {
    pub hold_down: Span,
    pub suspected_mail_after: Span,
    pub healthy_delay: Span,
    pub max_unhealthy: f64,
    pub cooldown: Span,
    pub max_incidents_per_day: u32,
    pub standby_ttl: Span,
    pub report_stale_after: Span,
    pub ready_hold: Span,
    pub stuck_after: Span,
    pub boot_deadline: Span,
    pub max_boot_attempts: u32,
    pub provisioning_deadline: Span,
    pub lease: Span,
    pub observe_every: Span,
    pub recheck_every: Span,
    pub requests_every: Span,
    pub retry_after: Span,
    pub retry_cap: Span,
    pub action_timeout: Span,
    pub clock_jump: Span,
    pub min_peers: u32,
    pub max_head_age: Span,
    pub max_clock_offset: Span,
}

/// Where standbys are created.
#[derive(Clone, Debug)]
pub struct ComputeSettings {
    /// The project's id.
    pub project: String,
    /// Another address of the API.
    pub endpoint: Option<Url>,
    /// Who we are.
    pub credentials: CredentialSettings,
    /// At least one; none twice.
    pub ladder: Vec<Rung>,
    /// For example `pd-balanced`.
    pub disk_type: String,
    /// The data disk.
    pub disk_gb: u32,
    /// The boot disk.
    pub boot_disk_gb: u32,
    /// The image.
    pub image: String,
    /// The network.
    pub subnetwork: Option<String>,
    /// Network tags.
    pub tags: Vec<String>,
    /// How long one operation is followed.
    pub operation_timeout: Span,
    /// What things cost there.
    pub prices: PriceTable,
}

/// The mail server and who is told.
#[derive(Clone, Debug)]
pub struct MailSettings {
    /// Its name, which its certificate has to bear.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is protected.
    pub tls: MailTls,
    /// A private authority beside the system's.
    pub ca_file: Option<PathBuf>,
    /// The login, if it wants one.
    pub login: Option<MailLogin>,
    /// Who writes: an address, or a name and an address in `<…>`.
    pub from: String,
    /// Plain addresses; at least one, none twice.
    pub to: Vec<String>,
    /// How long one mail may take.
    pub timeout: Span,
}

/// User name and password of the mail server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailLogin {
    /// The user name.
    pub username: String,
    /// The password.
    pub password_file: SecretFile,
}

/// The monitor outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MonitorSettings {
    /// Holds the URL.
    pub ping_url_file: SecretFile,
    /// How often it is called.
    pub every: Span,
}
