//! The configuration as the program uses it: every value checked, every contradiction refused.
//!
//! Only [`super::parse`] and [`super::load`] make one from a file; the fields are public so that the fake world can
//! make one without a file.

use std::{fmt, net::SocketAddr, path::PathBuf};

use url::Url;

use super::{CredentialSettings, MailTls, SecretFile, WatcherRole};
use crate::domain::{
    Evidence, Policy, PriceTable, PublicKey, Rung, Span, ValidatorId, alerts::Matchers, kube::Thresholds,
};

mod node;
mod probe;
mod standby;

pub use node::*;
pub use probe::*;
pub use standby::*;

#[derive(Clone, Debug)]
pub struct Config {
    /// The home whose validators these are.
    pub site: String,
    pub role: WatcherRole,
    /// With [`WatcherRole::Witness`] our own name, else that of a witness home expects.
    pub witness: Option<String>,
    pub ledger: LedgerSettings,
    pub http: HttpSettings,
    pub alertmanager: Option<AlertmanagerSettings>,
    pub ethereum: Option<EthereumSettings>,
    /// The kube source; used when a validator names what it is in a cluster.
    pub kubernetes: KubernetesSettings,
    pub grants: Option<GrantSettings>,
    /// What is watched, in the order written; names and keys are unique.
    pub validators: Vec<ValidatorSettings>,
    /// What decisions go by, whatever section says it.
    pub policy: Policy,
    pub compute: Option<ComputeSettings>,
    /// What a standby becomes; without it a machine is only a rehearsal.
    pub standby: Option<StandbySettings>,
    pub mail: Option<MailSettings>,
    pub monitor: Option<MonitorSettings>,
}

impl Config {
    /// Our own name, if this is a witness.
    #[must_use]
    pub fn as_witness(&self) -> Option<&str> {
        match self.role {
            WatcherRole::Watcher => None,
            WatcherRole::Witness => self.witness.as_deref(),
        }
    }

    /// Under which name this process writes what it sees: a witness is a site of its own.
    #[must_use]
    pub fn own_name(&self) -> &str {
        self.as_witness().unwrap_or(&self.site)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LedgerSettings {
    Sqlite {
        path: PathBuf,
    },
    Gcs {
        bucket: String,
        /// Before every object's name; empty or ending with `/`.
        prefix: String,
        endpoint: Option<Url>,
        credentials: CredentialSettings,
    },
}

impl fmt::Display for LedgerSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite { path } => write!(f, "the file {}", path.display()),
            Self::Gcs { bucket, prefix, .. } => write!(f, "gs://{bucket}/{prefix}"),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpSettings {
    pub listen: SocketAddr,
    pub address: Option<Url>,
    pub tls: Option<PortTlsSettings>,
    /// For everything but health and the webhook.
    pub login: HttpAuth,
}

/// The files of the port's own certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortTlsSettings {
    pub certificate_file: PathBuf,
    pub key_file: PathBuf,
    /// What callers trust beside the system's authorities.
    pub ca_file: Option<PathBuf>,
}

#[derive(Clone, Debug)]
pub struct AlertmanagerSettings {
    /// How it shows who it is.
    pub auth: HttpAuth,
    pub url: Option<Url>,
    /// Authorities that are trusted for `url` beside those of the system.
    pub ca_file: Option<PathBuf>,
    pub login: HttpAuth,
    pub watchdog: Option<WatchdogSettings>,
    /// After this long without a repetition or a listing an alert is unknown.
    pub stale_after: Span,
}

/// How a caller shows who it is: one of our port, or we at Alertmanager's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HttpAuth {
    Bearer(SecretFile),
    Basic(Login),
    /// Not at all. A webhook without one is on loopback.
    None,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchdogSettings {
    pub matchers: Matchers,
    /// Without it for this long the source is unknown.
    pub timeout: Span,
}

/// Whose signature makes a grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantSettings {
    pub allowed_signers: PathBuf,
    pub allow_untouched: bool,
    /// For how much time duties have to be known, one way or the other, before a session counts as a fence.
    pub fence_records: Span,
    /// How long the keys have to be silent at least, before a session that is only old counts as a fence.
    pub silent_for: Span,
}

#[derive(Clone, Debug)]
pub struct EthereumSettings {
    /// At least one; names are unique.
    pub beacon_nodes: Vec<BeaconNodeSettings>,
    /// `0x` and 64 hexadecimal digits in lower case.
    pub genesis_root: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BeaconNodeSettings {
    pub name: String,
    pub url: Url,
    /// Not in this home, nor reached through it.
    pub outside: bool,
}

#[derive(Clone, Debug)]
pub struct ValidatorSettings {
    pub name: ValidatorId,
    /// What it is, and by what it is seen.
    pub kind: ValidatorKind,
    pub alerts: Vec<AlertSettings>,
    pub process: Option<Url>,
    /// What it is in the cluster; no two are the same.
    pub kubernetes: Option<WorkloadSettings>,
    /// Whether it signs anything. One that does not has neither `chain` nor `gate`.
    pub signs: bool,
    /// Which chain its grants are for: a genesis validators root, or an id.
    pub chain: Option<String>,
    /// The port of the gate that starts it. Then `grants` and `chain` are there.
    pub gate: Option<Url>,
}

impl ValidatorSettings {
    /// Whether it forges blocks and is not slashable: a Cardano node.
    #[must_use]
    pub fn forges(&self) -> bool {
        let ValidatorKind::Generic { standby: Some(standby), .. } = &self.kind else { return false };
        matches!(standby.node, Some(NodeSettings::Cardano(_)))
    }

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
    Ethereum {
        /// At least one.
        public_keys: Vec<PublicKey>,
    },
    Generic {
        /// At least one; names are unique.
        probes: Vec<ProbeSettings>,
        standby: Option<Box<GenericStandbySettings>>,
    },
}

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
    pub namespace: String,
    pub named: WorkloadName,
    pub container: Option<String>,
}

/// What a validator is called in its namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WorkloadName {
    StatefulSet(String),
    Deployment(String),
    /// Labels, in the API's syntax; not empty.
    Selector(String),
}

/// Which alerts are about a validator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertSettings {
    pub matchers: Matchers,
    pub evidence: Evidence,
}

#[derive(Clone, Debug)]
pub struct ComputeSettings {
    pub project: String,
    pub endpoint: Option<Url>,
    pub credentials: CredentialSettings,
    /// At least one; none twice.
    pub ladder: Vec<Rung>,
    pub disk_type: String,
    pub disk_gb: u32,
    pub boot_disk_gb: u32,
    pub image: String,
    pub subnetwork: Option<String>,
    pub tags: Vec<String>,
    /// How long one operation is followed.
    pub operation_timeout: Span,
    pub prices: PriceTable,
}

/// The mail server and who is notified.
#[derive(Clone, Debug)]
pub struct MailSettings {
    /// Its name, which its certificate has to bear.
    pub host: String,
    pub port: u16,
    pub tls: MailTls,
    /// A private authority beside the system's.
    pub ca_file: Option<PathBuf>,
    /// The login, if it wants one.
    pub login: Option<Login>,
    /// Who writes: an address, or a name and an address in `<…>`.
    pub from: String,
    /// Plain addresses; at least one, none twice.
    pub to: Vec<String>,
    /// How long the server may take for a session, and for a mail up to its end.
    pub timeout: Span,
    /// How long it may take from the end of a mail until it says that it has it.
    pub taking: Span,
    /// Runbooks are mailed too. Then there is `grants`.
    pub runbook: bool,
}

/// User name and password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    pub username: String,
    pub password_file: SecretFile,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MonitorSettings {
    pub ping_url_file: SecretFile,
    pub every: Span,
}
