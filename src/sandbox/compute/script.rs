//! What a test does to the fake world behind the program's back, and what it sees there that no API shows.
//!
//! Nothing here answers a request.

use serde_json::Value;

use super::{FakeCompute, FakeMachine, MetadataFault, lock};
use crate::domain::{Report, Time};

impl FakeCompute {
    /// Another limit of this metric (`CPUS`, `SSD_TOTAL_GB` …), in every region.
    pub fn set_quota(&self, metric: &str, limit: f64) {
        lock(&self.shared.world).quotas.set(metric, limit);
    }

    /// These firewall rules and no others, as Google's JSON; what a rule leaves out is filled in.
    pub fn set_firewall(&self, rules: &[Value]) {
        lock(&self.shared.world).network.rules = rules.to_vec();
    }

    /// A region without a subnetwork.
    pub fn set_bare(&self, region: &str) {
        lock(&self.shared.world).network.bare.insert(region.to_owned());
    }

    /// A permission that is not granted.
    pub fn deny(&self, permission: &str) {
        lock(&self.shared.world).denied.insert(permission.to_owned());
    }

    /// Who comes with this token is the watcher, as `docs/gcp/setup.sh` binds it. Everybody else may do everything.
    pub fn bind_watcher(&self, token: &str) {
        lock(&self.shared.world).watchers.insert(token.to_owned());
    }

    /// Every machine there is, late ones included.
    #[must_use]
    pub fn machines(&self) -> Vec<FakeMachine> {
        let now = self.shared.clock.now();
        let mut world = lock(&self.shared.world);
        world.advance(now);
        world.machines.clone()
    }

    /// Writes what the agent on the machine would write.
    pub fn report(&self, machine: &str, report: &Report) {
        let text = serde_json::to_string(report).unwrap_or_default();
        self.guest_attribute(machine, "report", &text);
    }

    /// Writes a guest attribute of the namespace `failover`.
    pub fn guest_attribute(&self, machine: &str, key: &str, value: &str) {
        let mut world = lock(&self.shared.world);
        if let Some(machine) = world.machines.iter_mut().find(|found| found.name == machine) {
            machine.attributes.insert(("failover".to_owned(), key.to_owned()), value.to_owned());
        }
    }

    /// Takes a guest attribute of the namespace `failover` away.
    pub fn forget_guest_attribute(&self, machine: &str, key: &str) {
        let mut world = lock(&self.shared.world);
        if let Some(machine) = world.machines.iter_mut().find(|found| found.name == machine) {
            machine.attributes.remove(&("failover".to_owned(), key.to_owned()));
        }
    }

    /// The guest attributes of a machine: namespace, key and value.
    #[must_use]
    pub fn guest_attributes(&self, machine: &str) -> Vec<(String, String, String)> {
        let world = lock(&self.shared.world);
        let machine = world.machines.iter().find(|found| found.name == machine);
        let attributes = machine.map(|machine| machine.attributes.clone()).unwrap_or_default();
        attributes.into_iter().map(|((namespace, key), value)| (namespace, key, value)).collect()
    }

    /// When a machine has written guest attributes through its metadata server.
    #[must_use]
    pub fn guest_writes(&self, machine: &str) -> Vec<Time> {
        let world = lock(&self.shared.world);
        let machine = world.machines.iter().find(|found| found.name == machine);
        machine.map(|machine| machine.guest_writes.clone()).unwrap_or_default()
    }

    /// From now on this happens to every request to the machine's metadata server; `None` makes it well again.
    pub fn metadata_fault(&self, machine: &str, fault: Option<MetadataFault>) {
        let mut world = lock(&self.shared.world);
        if let Some(machine) = world.machines.iter_mut().find(|found| found.name == machine) {
            machine.metadata_fault = fault;
        }
    }

    /// Writes to the first serial port of a machine, as its console does.
    pub fn serial_write(&self, machine: &str, bytes: &[u8]) {
        let mut world = lock(&self.shared.world);
        if let Some(machine) = world.machines.iter_mut().find(|found| found.name == machine) {
            machine.console.write(bytes);
        }
    }

    /// The machine is gone, as if somebody had deleted it.
    pub fn vanish(&self, machine: &str) {
        let mut world = lock(&self.shared.world);
        let ids: Vec<u64> = world.machines.iter().filter(|found| found.name == machine).map(|found| found.id).collect();
        ids.into_iter().for_each(|id| world.remove(id));
    }

    /// Changes a machine behind everybody's back: `change` gets its JSON.
    pub fn tamper(&self, machine: &str, change: impl FnOnce(&mut Value)) {
        let mut world = lock(&self.shared.world);
        if let Some(machine) = world.machines.iter_mut().find(|found| found.name == machine) {
            change(&mut machine.json);
        }
    }
}
