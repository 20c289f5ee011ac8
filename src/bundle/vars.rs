//! What is true of one standby, as the variables its playbook is run with. Every key is always there.
//!
//! The shape is read by `playbooks/standby.yml` and by people; it has no field for a secret.

use serde::Serialize;
use url::Url;

use crate::{
    config::{
        ConsensusSettings, DownloadSettings, EthereumStandbySettings, GenericStandbySettings, GethSettings,
        LighthouseSettings, PrysmSettings, StandbySettings, ValidatorKind, ValidatorSettings,
    },
    domain::IncidentId,
};

const REPORT_EVERY_SECONDS: u32 = 30;
/// The data disk, as udev names it after the machine's own description of it.
const DATA_DISK: &str = "/dev/disk/by-id/google-chaindata";
const MOUNTED_AT: &str = "/var/lib/chain";

#[derive(Clone, Debug, Serialize)]
pub(super) struct Standby {
    incident: String,
    validator: String,
    kind: &'static str,
    mirror: Option<Url>,
    genesis_root: Option<String>,
    failover: DownloadSettings,
    disk: Disk,
    agent: Agent,
    #[serde(flatten)]
    runs: Runs,
}

#[derive(Clone, Debug, Serialize)]
struct Disk {
    device: &'static str,
    mount: &'static str,
}

#[derive(Clone, Debug, Serialize)]
struct Agent {
    interval_seconds: u32,
}

#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Runs {
    clients: Vec<&'static str>,
    network: Option<String>,
    checkpoint_sync_url: Option<Url>,
    p2p_ports: Vec<u16>,
    geth: Option<GethSettings>,
    lighthouse: Option<LighthouseSettings>,
    prysm: Option<PrysmSettings>,
    generic: Option<GenericStandbySettings>,
}

impl Runs {
    pub(super) fn ethereum(settings: &EthereumStandbySettings) -> Self {
        let runs = Self {
            network: Some(settings.network.clone()),
            checkpoint_sync_url: settings.checkpoint_sync_url.clone(),
            p2p_ports: settings.p2p_ports.clone(),
            geth: Some(settings.geth.clone()),
            ..Self::default()
        };
        match &settings.consensus {
            ConsensusSettings::Lighthouse(lighthouse) => {
                Self { clients: vec!["geth", "lighthouse"], lighthouse: Some((**lighthouse).clone()), ..runs }
            }
            ConsensusSettings::Prysm(prysm) => {
                Self { clients: vec!["geth", "prysm"], prysm: Some(prysm.as_ref().clone()), ..runs }
            }
        }
    }

    pub(super) fn generic(settings: &GenericStandbySettings) -> Self {
        Self {
            clients: vec!["generic"],
            p2p_ports: settings.p2p_ports.clone(),
            generic: Some(settings.clone()),
            ..Self::default()
        }
    }
}

impl Standby {
    pub(super) fn p2p_ports(&self) -> &[u16] {
        &self.runs.p2p_ports
    }

    pub(super) fn new(
        validator: &ValidatorSettings,
        settings: &StandbySettings,
        runs: Runs,
        genesis_root: Option<String>,
    ) -> Self {
        let (kind, genesis_root) = match validator.kind {
            ValidatorKind::Ethereum { .. } => ("ethereum", genesis_root),
            ValidatorKind::Generic { .. } => ("generic", None),
        };
        Self {
            incident: String::new(),
            validator: validator.name.to_string(),
            kind,
            mirror: settings.mirror.clone(),
            genesis_root,
            failover: settings.failover.clone(),
            disk: Disk { device: DATA_DISK, mount: MOUNTED_AT },
            agent: Agent { interval_seconds: REPORT_EVERY_SECONDS },
            runs,
        }
    }

    /// The text of the metadata, for one incident.
    pub(super) fn render(&self, incident: IncidentId) -> String {
        let standby = Self { incident: incident.to_string(), ..self.clone() };
        let vars = serde_json::json!({ "standby": standby });
        serde_json::to_string_pretty(&vars).expect("text with string keys")
    }
}
