//! What watches one part of the outside each, and reports to the loop what it sees there.
//!
//! A source decides nothing: what its observations mean is the domain's, and how they are made the adapter's.

use std::time::Duration;

use tokio::{
    task::JoinSet,
    time::{Interval, MissedTickBehavior},
};

use crate::runtime::Handle;

pub mod alerts;
pub mod chain;
pub mod gate;
pub mod kube;
pub mod monitor;
pub mod owner;
pub mod probes;
pub mod process;
pub mod site;

/// One source. It is stopped by dropping what [`EventSource::run`] returns, so it keeps nothing that has to be put away.
pub trait EventSource: Send + 'static {
    /// For the log.
    fn name(&self) -> String;
    /// Runs until it is dropped. One that ends by itself is a fault.
    fn run(self, engine: Handle) -> impl Future<Output = ()> + Send + 'static;
}

/// All sources of a watcher, each a task of its own.
pub struct Sources {
    engine: Handle,
    tasks: JoinSet<()>,
}

impl Sources {
    #[must_use]
    pub fn new(engine: Handle) -> Self {
        Self { engine, tasks: JoinSet::new() }
    }

    /// The one place where a source begins.
    pub fn spawn(&mut self, source: impl EventSource) {
        let name = source.name();
        let engine = self.engine.clone();
        self.tasks.spawn(async move {
            source.run(engine.clone()).await;
            if engine.is_running() {
                tracing::error!(source = name, "a source has ended by itself, nothing is seen by it any more");
            }
        });
    }

    pub fn spawn_all(&mut self, sources: impl IntoIterator<Item = impl EventSource>) {
        sources.into_iter().for_each(|source| self.spawn(source));
    }

    /// Ends them all, and waits for that.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
    }
}

/// Ticks at once and then every so often. What was missed is not made up for.
fn ticks(every: Duration) -> Interval {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
