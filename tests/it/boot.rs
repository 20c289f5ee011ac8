//! The fake machines boot: what runs on one runs exactly as long as the machine does.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use failover::{
    domain::Report,
    ports::{Machines as _, Scope},
    sandbox::{
        compute::{Machines, Powered, System},
        node::SimulatedNode,
    },
};
use tokio::sync::mpsc;

use crate::compute::{Rig, created, rig};

/// Says when it begins and ends, and ends by itself when it is told to.
struct Told {
    events: mpsc::UnboundedSender<(&'static str, u64)>,
    power_off: tokio::sync::Notify,
}

#[async_trait]
impl System for Told {
    async fn run(&self, machine: Powered) {
        self.events.send(("on", machine.boot)).unwrap();
        tokio::select! {
            () = machine.off.cancelled() => {}
            () = self.power_off.notified() => {}
        }
        self.events.send(("off", machine.boot)).unwrap();
    }
}

async fn post(rig: &Rig, machine: &str, verb: &str) -> u16 {
    let url = format!("{}/compute/v1/projects/p/zones/us-central1-a/instances/{machine}/{verb}", rig.fake.url());
    reqwest::Client::new().post(url).send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn a_system_runs_as_long_as_its_machine_and_never_twice_at_once() {
    let rig = rig().await;
    let (events, mut seen) = mpsc::unbounded_channel();
    let system = Arc::new(Told { events, power_off: tokio::sync::Notify::new() });
    let machines = Machines::boot(&rig.fake, system.clone());
    let machine = created(&rig).await.name;
    assert_eq!(seen.recv().await, Some(("on", 1)));
    assert_eq!(post(&rig, &machine, "reset").await, 200);
    assert_eq!(seen.recv().await, Some(("off", 1)));
    assert_eq!(seen.recv().await, Some(("on", 2)));
    assert_eq!(post(&rig, &machine, "stop").await, 200);
    assert_eq!(seen.recv().await, Some(("off", 2)));
    let stopped = || rig.fake.machines()[0].status() == "TERMINATED";
    while !stopped() {
        tokio::task::yield_now().await;
    }
    assert_eq!(post(&rig, &machine, "reset").await, 400, "it does not run");
    assert_eq!(post(&rig, &machine, "start").await, 200);
    assert_eq!(seen.recv().await, Some(("on", 3)));
    system.power_off.notify_one();
    assert_eq!(seen.recv().await, Some(("off", 3)));
    let until_stopped = async {
        while !stopped() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), until_stopped).await.expect("a system that ends stops its machine");
    assert_eq!(post(&rig, &machine, "start").await, 200);
    assert_eq!(seen.recv().await, Some(("on", 4)));
    machines.power_off().await;
    assert_eq!(seen.recv().await, Some(("off", 4)), "and nothing is left");
    seen.try_recv().unwrap_err();
}

/// Waits for a report that is so, as the watcher would read it.
async fn report(rig: &Rig, look: impl Fn(&Report) -> bool) -> Report {
    let instance = rig.gce.find(&Scope::Everything).await.unwrap()[0].instance.clone();
    let wait = async {
        loop {
            let seen = rig.gce.observe(&instance).await.unwrap().unwrap().written.report().cloned();
            if let Some(report) = seen.filter(|report| look(report)) {
                return report;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), wait).await.expect("such a report comes")
}

#[tokio::test]
async fn a_simulated_node_speaks_on_its_console_and_through_guest_attributes_and_goes_on_after_a_reset() {
    let rig = rig().await;
    let node = SimulatedNode::new("0x4b36".into(), Duration::from_millis(5), 20).unwrap();
    let node = Arc::new(node);
    let _machines = Machines::boot(&rig.fake, node.clone());
    let machine = created(&rig).await.name;
    let first = report(&rig, |report| report.synced).await;
    assert_eq!((first.progress_percent, first.genesis_root.as_str()), (100, "0x4b36"));
    assert_eq!(first.incident, crate::compute::incident().to_string(), "its metadata says so");
    assert!(rig.fake.guest_writes(&machine).len() >= 5, "through the metadata server");
    let boot = ("failover".to_owned(), "boot".to_owned(), "start".to_owned());
    assert!(rig.fake.guest_attributes(&machine).contains(&boot), "its first word");
    let url = format!("{}/compute/v1/projects/p/zones/us-central1-a/instances/{machine}/serialPort", rig.fake.url());
    let console: serde_json::Value = reqwest::get(url).await.unwrap().json().await.unwrap();
    let console = console["contents"].as_str().unwrap();
    assert!(console.lines().all(|line| line.starts_with("failover: ")), "{console}");
    assert!(console.contains("failover: done"), "{console}");
    assert_eq!(post(&rig, &machine, "reset").await, 200);
    let again = report(&rig, |report| report.boot_id != first.boot_id).await;
    assert_eq!(again.progress_percent, 100, "what was on the disk is still there");
    node.twist(Some(Arc::new(|report| report.signer_seen = true)));
    report(&rig, |report| report.signer_seen).await;
}

/// Tells when a machine is powered on, and leaves the rest to another system.
struct Watched<T>(mpsc::UnboundedSender<()>, Arc<T>);

#[async_trait]
impl<T: System> System for Watched<T> {
    async fn run(&self, machine: Powered) {
        self.0.send(()).unwrap();
        self.1.run(machine).await;
    }
}

#[tokio::test]
async fn a_machine_that_never_boots_runs_and_says_nothing_at_all() {
    let rig = rig().await;
    let (on, mut powered) = mpsc::unbounded_channel();
    let node = Arc::new(SimulatedNode::new("0x".into(), Duration::from_millis(1), 20).unwrap());
    node.set_boots(false);
    let machines = Machines::boot(&rig.fake, Arc::new(Watched(on, node)));
    let machine = created(&rig).await.name;
    powered.recv().await.unwrap();
    assert_eq!(rig.fake.machines()[0].status(), "RUNNING");
    machines.power_off().await;
    assert!(rig.fake.guest_attributes(&machine).is_empty());
}
