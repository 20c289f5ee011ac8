//! The configuration as it is written: the YAML file's shape, key by key.
//!
//! Nothing here is checked beyond its form, and nothing else in the program sees these types: [`super::validate`] turns
//! them into [`super::Config`]. The doc comments are the descriptions in `failover config schema`.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::values::{At, Duration, seconds};
use crate::domain::{
    Evidence, Mode,
    alerts::Freshness,
    gates::{FENCE_RECORDS, SILENT_FOR},
    kube::{OnCrash, Thresholds},
};

mod compute;
mod notify;
mod policy;
mod probe;
mod standby;

pub use compute::*;
pub use notify::*;
pub use policy::*;
pub use probe::*;
pub use standby::*;

/// The configuration of `failover`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConfigFile {
    /// The name of this home, in mail, metrics and labels. A witness names the home it watches.
    pub site: At<String>,
    /// Whether this is home's own watcher, or a witness elsewhere.
    #[serde(default)]
    pub role: At<WatcherRole>,
    /// The witness: which one this is, or which one home expects.
    pub witness: Option<Witness>,
    /// Whether decisions are carried out.
    #[serde(default)]
    pub mode: At<Mode>,
    /// Where the state is kept.
    pub ledger: At<LedgerSection>,
    /// The port of the watcher.
    #[serde(default)]
    pub http: Http,
    /// The alert source.
    pub alertmanager: Option<Alertmanager>,
    /// The chain source of validators of kind ethereum.
    pub ethereum: Option<Ethereum>,
    /// The kube source of validators that name what they are in a cluster.
    #[serde(default)]
    pub kubernetes: Kubernetes,
    /// Whose signature says where a validator may sign.
    pub grants: Option<Grants>,
    /// What is watched.
    pub validators: At<Vec<ValidatorSection>>,
    /// Thresholds of decisions.
    #[serde(default)]
    pub policy: PolicySection,
    /// Where standbys are created.
    pub compute: Option<Compute>,
    /// What a standby becomes. If missing, a machine is created that follows no chain: a rehearsal.
    pub standby: Option<At<StandbySection>>,
    /// Limits on money.
    #[serde(default)]
    pub budget: Budget,
    /// Who is notified, and how.
    pub mail: Option<Mail>,
    /// A monitor outside of this home that notices when this program stops.
    pub monitor: Option<Monitor>,
}

/// Which of the two a watcher is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WatcherRole {
    /// Home's own.
    #[default]
    Watcher,
    /// Outside of home: it leads only while home's watcher is not to be seen.
    Witness,
}

/// A watcher outside of home.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Witness {
    /// Its name: not that of the site, nor of another witness.
    pub name: At<String>,
}

/// Where the state is kept: exactly one of these.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum LedgerSection {
    /// A file on this machine. It does not survive the loss of the house.
    Sqlite(Sqlite),
    /// A bucket of Google Cloud Storage.
    Gcs(Gcs),
}

/// A file on this machine.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sqlite {
    /// The file; it is created if it is missing.
    pub path: PathBuf,
}

/// A bucket of Google Cloud Storage.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Gcs {
    /// The bucket's name.
    pub bucket: At<String>,
    /// Put before the name of every object, for a bucket that is used for more.
    #[serde(default)]
    pub prefix: At<String>,
    /// Another address of the storage API, for tests.
    pub endpoint: Option<At<String>>,
    /// Who we are to Google.
    #[serde(default)]
    pub credentials: At<CredentialSettings>,
}

/// Who we are to Google.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum CredentialSettings {
    /// What the environment offers: workload identity, a metadata server, gcloud's login.
    #[default]
    ApplicationDefault,
    /// The key file of a service account, or the configuration file of a workload identity pool.
    KeyFile(PathBuf),
    /// None. Only for an endpoint on this machine.
    Anonymous,
}

/// The port of the watcher.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Http {
    /// Address and port it listens on.
    pub listen: At<String>,
    /// The URL under which other machines reach it; what `failover status` on a laptop asks.
    pub address: Option<At<String>>,
    /// Speak TLS, and nothing else.
    pub tls: Option<HttpTls>,
    /// What a caller has to show for the page, the status and the metrics. Health needs nothing, the webhook has its
    /// own.
    pub login: Option<At<Auth>>,
}

/// Speak TLS, and nothing else. The files are read again when they change.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpTls {
    /// The certificate and what leads from it to its authority, in PEM form.
    pub certificate_file: At<PathBuf>,
    /// Its private key, in PEM form.
    pub key_file: At<PathBuf>,
    /// Its authority, in PEM form, for `failover status`. If missing, those of the system.
    pub ca_file: Option<At<PathBuf>>,
}

impl Default for Http {
    fn default() -> Self {
        Self { listen: "0.0.0.0:8080".to_owned().into(), address: None, tls: None, login: None }
    }
}

/// The alert source.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Alertmanager {
    /// How Alertmanager shows that it is Alertmanager.
    pub auth: At<Auth>,
    /// Its address, for reading its list of alerts: only there a silence is seen, and what ended without a message.
    pub url: Option<At<String>>,
    /// A certificate authority of its own behind `url`, in PEM form.
    pub ca_file: Option<At<PathBuf>>,
    /// What `url` asks for before it answers.
    pub login: Option<At<Auth>>,
    /// An alert that always fires, routed to us: without it a silent Alertmanager looks like a quiet one.
    pub watchdog: Option<Watchdog>,
    /// An alert that was neither repeated nor listed for this long is unknown. Longer than the `repeat_interval` of the
    /// route to us.
    #[serde(default = "seconds::<{ Freshness::STALE_AFTER.as_secs() }>")]
    pub stale_after: At<Duration>,
}

/// How a caller shows who it is: exactly one of these.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Auth {
    /// `Authorization: Bearer …`; the file holds the token.
    BearerFile(PathBuf),
    /// User name and password.
    Basic(Basic),
    /// Not at all. For the webhook only when `http.listen` is on loopback.
    None,
}

/// User name and password.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Basic {
    /// The user name.
    pub username: String,
    /// The file that holds the password.
    pub password_file: PathBuf,
}

/// An alert that always fires.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Watchdog {
    /// Which alert it is, as matchers of Alertmanager.
    pub matchers: At<String>,
    /// Without it for this long the alert source is unknown.
    #[serde(default = "seconds::<{ Freshness::WATCHDOG_TIMEOUT.as_secs() }>")]
    pub timeout: At<Duration>,
}

/// The chain source of validators of kind ethereum.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ethereum {
    /// The nodes that are asked. They must agree, or the verdict is unknown.
    pub beacon_nodes: At<Vec<BeaconNode>>,
    /// The genesis validators root of the chain they have to be on.
    pub genesis_root: Option<At<String>>,
}

/// A node that is asked.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BeaconNode {
    /// Its name in reasons and metrics.
    pub name: At<String>,
    /// The address of its beacon API.
    pub url: At<String>,
    /// It is not in this home, nor reached through it: what `failover promote` sees of silence by it counts.
    #[serde(default)]
    pub outside: bool,
}

/// The kube source of validators that name what they are in a cluster.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Kubernetes {
    /// The way to the API server. If missing, the service account of the pod this runs in.
    pub kubeconfig: Option<At<PathBuf>>,
    /// What a crash loop means that began by itself. A dead disk looks like that.
    pub crash_loop: OnCrash,
    /// What a crash loop means that began with a change of the template. That needs a human more than a machine.
    pub crash_loop_after_change: OnCrash,
    /// How long a change of the template may take.
    pub rollout_grace: At<Duration>,
    /// How long a pod may take to start.
    pub start_grace: At<Duration>,
}

impl Default for Kubernetes {
    fn default() -> Self {
        let Thresholds { crash, crash_after_change, rollout_grace, start_grace } = Thresholds::default();
        Self {
            kubeconfig: None,
            crash_loop: crash,
            crash_loop_after_change: crash_after_change,
            rollout_grace: Duration(rollout_grace).into(),
            start_grace: Duration(start_grace).into(),
        }
    }
}

/// Whose signature says where a validator may sign.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Grants {
    /// Who may sign, in OpenSSH's format of that name. Public keys only; read again at each use.
    pub allowed_signers: At<PathBuf>,
    /// Take signatures of a hardware key that nobody touched.
    #[serde(default)]
    pub allow_untouched: bool,
    /// For how much time it has to be known at least in which epochs a validator had duties, before its session proves
    /// that home cannot sign. One minute to seven days, and five epochs in any case.
    #[serde(default = "seconds::<{ FENCE_RECORDS.as_secs() }>")]
    pub fence_records: At<Duration>,
    /// How long a validator has to be silent at least before a promotion, beside five epochs, where home's gate has not given
    /// its session back: longer than anything at home takes to start. One minute to a day.
    #[serde(default = "seconds::<{ SILENT_FOR.as_secs() }>")]
    pub silent_for: At<Duration>,
}

/// What is watched: one signing process and its keys.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ValidatorSection {
    /// Its name: a DNS label of at most 32 characters.
    pub name: At<String>,
    /// What it is: `ethereum` is seen by beacon nodes, `generic` by the probes of its own ports.
    pub kind: At<KindName>,
    /// Its public keys, `0x…` with 48 bytes each. Only for kind ethereum.
    pub public_keys: Option<At<Vec<At<String>>>>,
    /// A file with one public key on each line, instead of `public_keys`.
    pub public_keys_file: Option<At<PathBuf>>,
    /// The questions that show whether it works. Only for kind generic.
    pub probes: Option<At<Vec<Probe>>>,
    /// Which alerts are about it.
    #[serde(default)]
    pub alerts: Vec<AlertMapping>,
    /// The process's own port. It can say that the process is up, or nothing.
    pub process: Option<Process>,
    /// What it is in the cluster.
    pub kubernetes: Option<At<WorkloadSection>>,
    /// Whether it signs anything. One that does not (a relay, an archive node) has neither a gate nor grants, and a
    /// promotion only keeps its machine. Only for kind generic.
    #[serde(default = "signs")]
    pub signs: At<bool>,
    /// The gate that starts it.
    pub gate: Option<GateSection>,
    /// Which chain its grants are for, for example `cosmoshub-4`. Only for kind generic; of the others
    /// `ethereum.genesis_root` says it.
    pub chain: Option<At<String>>,
    /// What its standby runs. Only for kind generic; of the others the section `standby` says it.
    pub standby: Option<At<GenericStandby>>,
}

fn signs() -> At<bool> {
    true.into()
}

/// The gate that starts a validator's process.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GateSection {
    /// The address of its port, for example `http://eth-0.validators.svc:8553`.
    pub url: At<String>,
}

/// What a validator is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KindName {
    Ethereum,
    Generic,
}

/// What a validator is in the cluster: a namespace and exactly one of statefulset, deployment and selector.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WorkloadSection {
    /// In which namespace.
    pub namespace: At<String>,
    /// The statefulset's name. It has one replica.
    pub statefulset: Option<At<String>>,
    /// The deployment's name. It has one replica.
    pub deployment: Option<At<String>>,
    /// Labels that match exactly one pod, for example `app=validator`.
    pub selector: Option<At<String>>,
    /// The container that signs. If missing, all containers of the pod count.
    pub container: Option<At<String>>,
}

/// Which alerts are about a validator.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AlertMapping {
    /// The alerts, as matchers of Alertmanager.
    pub matchers: At<String>,
    /// What these alerts rest on. Two opinions that rest on the same evidence are one.
    pub evidence: Evidence,
}

/// The process's own port.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Process {
    /// An address that answers while the process runs, for example its metrics.
    pub url: At<String>,
}
