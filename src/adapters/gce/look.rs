//! Looking at what is beside a machine: its serial port, and disks that no machine took with it.
//!
//! It changes nothing, here or there.

use async_trait::async_trait;
use google_cloud_compute_v1::model::{Disk, DiskAggregatedList, SerialPortOutput, disks_scoped_list};

use super::{APP, Gce, errors::Failure};
use crate::{
    domain::{InstanceRef, machine_name},
    ports::{CloudError, Disks, Inspection, Scope, SerialPort},
};

/// As much of a serial port as is taken at once. The cloud keeps a megabyte, and sends no more.
const MOST: usize = 1 << 20;

#[async_trait]
impl Inspection for Gce {
    async fn serial_port(&self, instance: &InstanceRef, start: i64) -> Result<Option<SerialPort>, CloudError> {
        let output = match self.printed(&instance.zone, &instance.name, start).await {
            // A promotion renames its machine.
            Err(Failure::NotFound(_)) => match self.get_exactly(instance).await?.and_then(|found| found.name) {
                Some(name) => self.printed(&instance.zone, &name, start).await?,
                None => return Ok(None),
            },
            output => output?,
        };
        let mut contents = output.contents.unwrap_or_default();
        let begins = output.start.unwrap_or(start).max(0);
        let length = i64::try_from(contents.len()).unwrap_or(i64::MAX);
        // A server that sends more than it keeps is not followed; what is left out is the beginning.
        let skipped = contents.ceil_char_boundary(contents.len().saturating_sub(MOST));
        contents.drain(..skipped);
        let next = output.next.unwrap_or_else(|| begins.saturating_add(length));
        let skipped = i64::try_from(skipped).unwrap_or(i64::MAX);
        Ok(Some(SerialPort { contents, start: begins.saturating_add(skipped), next }))
    }
}

impl Gce {
    async fn printed(&self, zone: &str, name: &str, start: i64) -> Result<SerialPortOutput, Failure> {
        let request = self
            .instances
            .get_serial_port_output()
            .set_project(&self.config.project)
            .set_zone(zone)
            .set_instance(name)
            .set_port(1)
            .set_start(start);
        self.bounded(self.once(request).send()).await
    }
}

#[async_trait]
impl Disks for Gce {
    async fn disks(&self, scope: &Scope) -> Result<Vec<String>, CloudError> {
        let mut found = Vec::new();
        let mut token: Option<String> = None;
        loop {
            let request = self
                .disks
                .aggregated_list()
                .set_project(&self.config.project)
                .set_filter(format!("labels.app=\"{APP}\""))
                .set_or_clear_page_token(token.clone());
            let page = self.bounded(self.once(request).send()).await?;
            complete(&page)?;
            let disks = page.items.into_values().flat_map(|scoped| scoped.disks);
            found.extend(disks.filter(|disk| in_scope(disk, scope)).map(|disk| words(&disk)));
            token = page.next_page_token.filter(|token| !token.is_empty());
            if token.is_none() {
                found.sort();
                return Ok(found);
            }
        }
    }
}

/// A zone that has not answered may hold the disk we look for.
fn complete(page: &DiskAggregatedList) -> Result<(), CloudError> {
    let unknown = |what: String| Err(CloudError::Unknown(what));
    if let Some(zone) = page.unreachables.first() {
        return unknown(format!("{zone} did not answer"));
    }
    if page.warning.is_some() {
        return unknown("the list of disks is not complete".into());
    }
    for (zone, scoped) in &page.items {
        let Some(warning) = &scoped.warning else { continue };
        if warning.code != Some(disks_scoped_list::warning::Code::NoResultsOnPage) {
            return unknown(format!("{zone} did not answer: {}", warning.message.as_deref().unwrap_or_default()));
        }
    }
    Ok(())
}

/// By its labels. An incident's also by its name, which begins with its machine's, for one that lost the other labels; one
/// without `app` is not ours, and is not even asked for.
fn in_scope(disk: &Disk, scope: &Scope) -> bool {
    let label = |key: &str| disk.labels.get(key).map(String::as_str);
    if label("app") != Some(APP) {
        return false;
    }
    match scope {
        Scope::Everything => true,
        Scope::Validator(validator) => label("validator") == Some(validator.as_str()),
        Scope::Incident(validator, incident) => {
            let labelled = label("validator") == Some(validator.as_str())
                && label("incident") == Some(incident.to_string().as_str());
            let machine = machine_name(validator, *incident);
            labelled || disk.name.as_deref().is_some_and(|name| name.starts_with(&machine))
        }
    }
}

fn words(disk: &Disk) -> String {
    let zone = disk.zone.as_deref().and_then(|zone| zone.rsplit('/').next()).unwrap_or("an unknown zone");
    let name = disk.name.as_deref().unwrap_or("without a name");
    let size = disk.size_gb.map(|size| format!(" ({size} GB)")).unwrap_or_default();
    format!("disk {name} in {zone}{size}")
}
