//! A simulated standby: it boots, says so on its console as the start-up script does, and syncs as fast as it is told.
//!
//! There is no client and no chain in it. What it knows it asks its metadata server, and what it says goes through guest
//! attributes, so that the way of a report is the real one.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;

use super::compute::{Powered, System};
use crate::domain::Report;

/// What a script makes of a report before it is sent.
pub type Twist = Arc<dyn Fn(&mut Report) + Send + Sync>;

pub struct SimulatedNode {
    genesis_root: String,
    report_every: Duration,
    percent_per_report: u64,
    client: reqwest::Client,
    /// What is on the disks: reports so far, by the number of the machine.
    disks: Mutex<HashMap<u64, u64>>,
    twist: Mutex<Option<Twist>>,
    boots: Mutex<bool>,
}

impl SimulatedNode {
    /// A node that follows the chain with this root, reports this often and advances so much from one report to the
    /// next.
    ///
    /// # Errors
    /// When there can be no HTTP client.
    pub fn new(genesis_root: String, report_every: Duration, percent_per_report: u64) -> reqwest::Result<Self> {
        Ok(Self {
            genesis_root,
            report_every,
            percent_per_report,
            client: crate::adapters::http::client(Duration::from_secs(2))?,
            disks: Mutex::default(),
            twist: Mutex::default(),
            boots: Mutex::new(true),
        })
    }

    /// From now on every report is changed like this before it is sent: a signer, a foreign chain, a sync that stands.
    pub fn twist(&self, twist: Option<Twist>) {
        *self.twist.lock().unwrap_or_else(PoisonError::into_inner) = twist;
    }

    /// Whether machines that are powered on from now on come to anything. One that does not is silent.
    pub fn set_boots(&self, boots: bool) {
        *self.boots.lock().unwrap_or_else(PoisonError::into_inner) = boots;
    }

    async fn attribute(&self, machine: &Powered, key: &str) -> reqwest::Result<String> {
        let url = format!("http://{}/computeMetadata/v1/instance/attributes/{key}", machine.metadata);
        let answer = self.client.get(url).header("Metadata-Flavor", "Google").send().await?;
        answer.error_for_status()?.text().await
    }

    async fn send(&self, machine: &Powered, report: &Report) -> reqwest::Result<()> {
        self.write(machine, "report", serde_json::to_string(report).unwrap_or_default()).await
    }

    async fn write(&self, machine: &Powered, key: &str, body: String) -> reqwest::Result<()> {
        let url = format!("http://{}/computeMetadata/v1/instance/guest-attributes/failover/{key}", machine.metadata);
        self.client.put(url).header("Metadata-Flavor", "Google").body(body).send().await?.error_for_status()?;
        Ok(())
    }

    async fn node(&self, machine: &Powered) {
        let say = |line: &str| machine.console(format!("failover: {line}\n").as_bytes());
        say(&format!("boot {} of {}", machine.boot, machine.name));
        if let Err(error) = self.write(machine, "boot", "start".into()).await {
            say(&format!("what it does was not taken: {error}"));
        }
        let incident = match self.attribute(machine, "failover-incident").await {
            Ok(incident) => incident,
            Err(error) => {
                say(&format!("FAILED: the metadata server does not say which incident this is: {error}"));
                return std::future::pending().await;
            }
        };
        say("the clients are installed and run");
        say(&format!("done: incident {incident}"));
        let mut counter = 0;
        loop {
            counter += 1;
            let mut report = self.report(machine, &incident, counter);
            let twist = self.twist.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if let Some(twist) = twist {
                twist(&mut report);
            }
            if let Err(error) = self.send(machine, &report).await {
                say(&format!("the report was not taken: {error}"));
            }
            tokio::time::sleep(self.report_every).await;
        }
    }

    fn report(&self, machine: &Powered, incident: &str, counter: u64) -> Report {
        let mut disks = self.disks.lock().unwrap_or_else(PoisonError::into_inner);
        let steps = disks.entry(machine.id).or_default();
        *steps += 1;
        let percent = (*steps * self.percent_per_report).min(100);
        let left = (100 - percent).div_ceil(self.percent_per_report.max(1));
        let stage = match percent {
            0..20 => "unpacking and starting the clients",
            20..60 => "execution client: state sync",
            60..100 => "execution client: blocks",
            _ => "synced",
        };
        Report {
            incident: incident.to_owned(),
            boot_id: format!("{}-{}", machine.id, machine.boot),
            counter,
            progress_percent: u8::try_from(percent).unwrap_or(100),
            stage: stage.into(),
            seconds_to_go: Some(self.report_every.saturating_mul(u32::try_from(left).unwrap_or(u32::MAX)).as_secs()),
            synced: percent >= 100,
            optimistic: percent < 100,
            head_age_seconds: if percent < 100 { 3600 } else { 2 },
            peers: 48,
            genesis_root: self.genesis_root.clone(),
            clock_offset_ms: 3,
            disk_free_percent: Some(61),
            memory_free_percent: Some(40),
            ..Report::default()
        }
    }
}

#[async_trait]
impl System for SimulatedNode {
    async fn run(&self, machine: Powered) {
        let boots = *self.boots.lock().unwrap_or_else(PoisonError::into_inner);
        let off = machine.off.clone();
        if boots {
            off.run_until_cancelled(self.node(&machine)).await;
        } else {
            off.cancelled().await;
        }
    }
}
