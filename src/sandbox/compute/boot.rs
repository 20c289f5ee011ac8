//! What runs on the machines: each is powered on when it runs and off when it does not, as its state says.
//!
//! It decides nothing about a machine's state but one thing: a system that has ended by itself has stopped its machine.
//! What a machine does is a [`System`]: a simulated node, or a real system that is really booted.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{FakeCompute, Servers, Shared, lock, metadata_server};

/// How often the state of the machines is looked at; much shorter than anything a machine does.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What a machine does once it is powered on.
#[async_trait]
pub trait System: Send + Sync + 'static {
    /// Runs from the power button until `machine.off` is cancelled, or until the system powers itself off. When this
    /// returns, nothing of it runs any more.
    async fn run(&self, machine: Powered);
}

/// A machine that has just been powered on, as what runs on it sees it.
#[derive(Clone)]
pub struct Powered {
    pub name: String,
    /// Its number: a machine made later under the same name is another one.
    pub id: u64,
    /// Which boot this is, from 1. A reset makes one more.
    pub boot: u64,
    pub metadata: SocketAddr,
    pub off: CancellationToken,
    shared: Shared,
}

impl Powered {
    /// Writes to its console, which is its first serial port.
    pub fn console(&self, bytes: &[u8]) {
        let mut world = lock(&self.shared.world);
        if let Some(machine) = world.machines.iter_mut().find(|machine| machine.id == self.id) {
            machine.console.write(bytes);
        }
    }
}

/// The power supply of all machines of one fake. Everything that runs on them is told to end when it is dropped.
pub struct Machines {
    stop: CancellationToken,
    supervisor: Option<JoinHandle<()>>,
}

impl Machines {
    /// From now on every machine that runs is booted with this system.
    #[must_use]
    pub fn boot(cloud: &FakeCompute, system: Arc<dyn System>) -> Self {
        let stop = CancellationToken::new();
        let supervisor = Supervisor {
            shared: cloud.shared.clone(),
            servers: cloud.servers.clone(),
            system,
            running: BTreeMap::new(),
            stop: stop.clone(),
        };
        Self { stop, supervisor: Some(tokio::spawn(supervisor.run())) }
    }

    /// Pulls every plug and waits until nothing runs any more.
    pub async fn power_off(mut self) {
        self.stop.cancel();
        if let Some(supervisor) = self.supervisor.take() {
            // One that has panicked runs nothing either.
            let _ = supervisor.await;
        }
    }
}

impl Drop for Machines {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

struct Running {
    boot: u64,
    off: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    async fn pull_the_plug(self) {
        self.off.cancel();
        // A system that panics is off as well.
        let _ = self.task.await;
    }
}

struct Supervisor {
    shared: Shared,
    servers: Arc<Mutex<Servers>>,
    system: Arc<dyn System>,
    /// By the number of the machine.
    running: BTreeMap<u64, Running>,
    stop: CancellationToken,
}

impl Supervisor {
    async fn run(mut self) {
        let stop = self.stop.clone();
        while stop.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_some() {
            self.look().await;
        }
        // All at once: each may take a while.
        let running = std::mem::take(&mut self.running);
        futures::future::join_all(running.into_values().map(Running::pull_the_plug)).await;
    }

    /// Machines that ought to run, with the number of their boot and their name.
    fn powered(&self) -> BTreeMap<u64, (u64, String)> {
        let now = self.shared.clock.now();
        let mut world = lock(&self.shared.world);
        world.advance(now);
        let running = world.machines.iter().filter(|machine| machine.status() == "RUNNING");
        running.map(|machine| (machine.id, (machine.boots, machine.name.clone()))).collect()
    }

    async fn look(&mut self) {
        let mut powered = self.powered();
        let is_over = |id: &u64, running: &Running| powered.get(id).is_none_or(|(boot, _)| *boot != running.boot);
        let over: Vec<u64> =
            self.running.iter().filter(|(id, running)| is_over(id, running)).map(|(id, _)| *id).collect();
        for id in over {
            if let Some(running) = self.running.remove(&id) {
                running.pull_the_plug().await;
            }
        }
        let ended: Vec<u64> =
            self.running.iter().filter(|(_, running)| running.task.is_finished()).map(|(id, _)| *id).collect();
        for id in ended {
            self.running.remove(&id);
            powered.remove(&id);
            self.powered_itself_off(id);
        }
        for (id, (boot, name)) in powered {
            if !self.running.contains_key(&id)
                && let Err(error) = self.power_on(id, boot, name).await
            {
                tracing::warn!(%error, "a fake machine cannot be powered on");
            }
        }
    }

    fn powered_itself_off(&self, id: u64) {
        let now = self.shared.clock.now();
        let mut world = lock(&self.shared.world);
        if let Some(machine) = world.machines.iter_mut().find(|machine| machine.id == id) {
            machine.stop(now);
        }
    }

    async fn power_on(&mut self, id: u64, boot: u64, name: String) -> io::Result<()> {
        let metadata = metadata_server(&self.shared, &self.servers, id).await?;
        let off = CancellationToken::new();
        let machine = Powered { name, id, boot, metadata, off: off.clone(), shared: self.shared.clone() };
        let system = self.system.clone();
        let task = tokio::spawn(async move { system.run(machine).await });
        self.running.insert(id, Running { boot, off, task });
        Ok(())
    }
}
