//! The configuration as it is written: the YAML file's shape, key by key.
//!
//! Nothing here is checked beyond its form, and nothing else in the program sees these types: [`super::validate`] turns
//! them into [`super::Config`]. The doc comments are the descriptions in `failover config schema`.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::values::{At, Duration, Share};
use crate::domain::{
    Evidence, Mode, Span,
    kube::{OnCrash, Thresholds},
};

mod compute;
mod probe;
mod standby;

pub use compute::*;
pub use probe::*;
pub use standby::*;

/// The configuration of `failover`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Written {
    /// The name of this home, in mail, metrics and labels.
    pub site: At<String>,
    /// Whether decisions are carried out.
    #[serde(default)]
    pub mode: At<Mode>,
    /// Where the state is kept.
    pub ledger: At<Ledger>,
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
    /// What is watched.
    pub validators: At<Vec<Validator>>,
    /// Thresholds of decisions.
    #[serde(default)]
    pub policy: Policy,
    /// Where standbys are created.
    pub compute: Option<Compute>,
    /// What a standby becomes. If missing, a machine is created that follows no chain: a rehearsal.
    pub standby: Option<At<Standby>>,
    /// Limits on money.
    #[serde(default)]
    pub budget: Budget,
    /// Who is told, and how.
    pub mail: Option<Mail>,
    /// A monitor outside of this home that notices when this program stops.
    pub monitor: Option<Monitor>,
}

/// Where the state is kept: exactly one of these.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Ledger {
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
    pub credentials: At<Credentials>,
}

/// Who we are to Google.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Credentials {
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
}

impl Default for Http {
    fn default() -> Self {
        Self { listen: "0.0.0.0:8080".to_owned().into(), address: None }
    }
}

/// The alert source.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Alertmanager {
    /// How Alertmanager shows that it is Alertmanager.
    pub auth: At<Auth>,
    /// Its address, for reading the current alerts after a start and after a shortened message.
    pub url: Option<At<String>>,
    /// An alert that always fires, routed to us: without it a silent Alertmanager looks like a quiet one.
    pub watchdog: Option<Watchdog>,
    /// An alert that was not repeated for this long is unknown. Longer than Alertmanager's `repeat_interval`.
    #[serde(default = "stale_after")]
    pub stale_after: At<Duration>,
}

fn stale_after() -> At<Duration> {
    Duration(Span::from_mins(250)).into()
}

/// How Alertmanager shows that it is Alertmanager: exactly one of these.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Auth {
    /// `Authorization: Bearer …`; the file holds the token.
    BearerFile(PathBuf),
    /// User name and password.
    Basic(Basic),
    /// Not at all. Only when `http.listen` is on loopback.
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
    #[serde(default = "watchdog_timeout")]
    pub timeout: At<Duration>,
}

fn watchdog_timeout() -> At<Duration> {
    Duration(Span::from_mins(5)).into()
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

/// What is watched: one signing process and its keys.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Validator {
    /// Its name: a DNS label of at most 32 characters.
    pub name: At<String>,
    /// What it is: `ethereum` is seen by beacon nodes, `generic` by the probes of its own ports.
    pub kind: At<String>,
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
    pub kubernetes: Option<At<Workload>>,
    /// What its standby runs. Only for kind generic; of the others the section `standby` says it.
    pub standby: Option<At<GenericStandby>>,
}

/// What a validator is in the cluster: a namespace and exactly one of statefulset, deployment and selector.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Workload {
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

/// Thresholds of decisions.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// For how long two independent sources have to say down without a break.
    pub hold_down: At<Duration>,
    /// One source alone, or some keys silent, for this long is worth a mail.
    pub suspected_mail_after: At<Duration>,
    /// How long home has to attest again before the standby goes.
    pub healthy_delay: At<Duration>,
    /// More than this share of the validators down together is an outage of the site.
    pub max_unhealthy: At<Share>,
    /// After an incident ended, none opens by itself for this long.
    pub cooldown: At<Duration>,
    /// No more automatic incidents of one validator than this in 24 hours.
    pub max_incidents_per_day: At<u32>,
    /// How long a standby may run undecided. Also its fuse: then the cloud itself stops it.
    pub standby_ttl: At<Duration>,
    /// A standby's report that has not changed for this long is none.
    pub report_stale_after: At<Duration>,
    /// For how long a standby has to have everything before it is called ready.
    pub ready_hold: At<Duration>,
    /// A standby that does not go on for this long is stuck, and somebody is told.
    pub stuck_after: At<Duration>,
    /// A machine that has written nothing by then has not booted: it is deleted and another one is tried.
    pub boot_deadline: At<Duration>,
    /// How many machines of one incident may fail to boot before a human is asked.
    pub max_boot_attempts: At<u32>,
    /// Without a machine by then, somebody is told; trying goes on.
    pub provisioning_deadline: At<Duration>,
    /// How long the watcher that writes may be silent before another takes over.
    pub lease: At<Duration>,
    /// How often a standby is looked at.
    pub observe_every: At<Duration>,
    /// How often all zones are searched for a second machine of an incident.
    pub recheck_every: At<Duration>,
    /// How often requests of operators are looked for.
    pub requests_every: At<Duration>,
    /// The first pause after a failed action; it doubles up to `retry_cap`.
    pub retry_after: At<Duration>,
    /// The longest pause between two tries.
    pub retry_cap: At<Duration>,
    /// How long an action may take in all; after that it is looked for instead.
    pub action_timeout: At<Duration>,
    /// A jump of the clock, or a gap in observation, of more than this begins every waiting time again.
    pub clock_jump: At<Duration>,
    /// How many consensus peers a ready standby has at least.
    pub min_peers: At<u32>,
    /// How old the head block of a ready standby may be.
    pub max_head_age: At<Duration>,
    /// How far the clock of a ready standby may be off.
    pub max_clock_offset: At<Duration>,
}

impl Default for Policy {
    fn default() -> Self {
        let seconds = |n| Duration(Span::from_secs(n)).into();
        let minutes = |n| Duration(Span::from_mins(n)).into();
        let hours = |n| Duration(Span::from_hours(n)).into();
        Self {
            hold_down: minutes(5),
            suspected_mail_after: minutes(20),
            healthy_delay: minutes(20),
            max_unhealthy: Share(0.5).into(),
            cooldown: hours(1),
            max_incidents_per_day: 3.into(),
            standby_ttl: hours(72),
            report_stale_after: minutes(10),
            ready_hold: seconds(19 * 60 + 12),
            stuck_after: minutes(30),
            boot_deadline: minutes(20),
            max_boot_attempts: 2.into(),
            provisioning_deadline: minutes(30),
            lease: seconds(30),
            observe_every: seconds(30),
            recheck_every: minutes(10),
            requests_every: seconds(5),
            retry_after: seconds(10),
            retry_cap: minutes(10),
            action_timeout: minutes(6),
            clock_jump: seconds(30),
            min_peers: 5.into(),
            max_head_age: minutes(1),
            max_clock_offset: Duration(Span::from_millis(500)).into(),
        }
    }
}

/// Limits on money, in US dollars. A standby over one of them is not created, and somebody is told.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Budget {
    /// The most that one incident may cost until its fuse.
    pub per_incident_usd: Option<At<f64>>,
    /// The most that the incidents of 30 days may cost together.
    pub per_month_usd: Option<At<f64>>,
}

/// Who is told, and how.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mail {
    /// The mail server.
    pub host: At<String>,
    /// Its port. If missing: 587 for starttls, 465 for tls, 25 for none.
    pub port: Option<At<u16>>,
    /// How the connection is protected.
    #[serde(default)]
    pub tls: At<MailTls>,
    /// A private certificate authority in PEM form, beside those of the system.
    pub ca_file: Option<At<PathBuf>>,
    /// The user name, if the server wants a login.
    pub username: Option<At<String>>,
    /// The file that holds the password.
    pub password_file: Option<At<PathBuf>>,
    /// Who writes, for example `failover <failover@example.org>`.
    pub from: At<String>,
    /// Who is told.
    pub to: At<Vec<At<String>>>,
    /// How long the server may take for one mail.
    #[serde(default = "mail_timeout")]
    pub timeout: At<Duration>,
}

fn mail_timeout() -> At<Duration> {
    Duration(Span::from_secs(30)).into()
}

/// How the connection to the mail server is protected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MailTls {
    /// STARTTLS, and nothing is sent without it.
    #[default]
    Starttls,
    /// TLS from the first byte.
    Tls,
    /// Not at all. Only to this very machine.
    None,
}

/// A monitor outside of this home.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Monitor {
    /// The file that holds the URL to call while all is well. Whoever knows the URL can pretend to be us.
    pub ping_url_file: At<PathBuf>,
    /// How often it is called.
    #[serde(default = "ping_every")]
    pub every: At<Duration>,
}

fn ping_every() -> At<Duration> {
    Duration(Span::from_mins(1)).into()
}
