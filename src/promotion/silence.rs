//! Epochs as the operator's machine sees them, while a promotion waits: nobody can be asked about them later.
//!
//! What it sees is in the ledger as the record of a site of its own, so that every machine that resumes counts it.

use std::{path::Path, sync::Arc, time::Duration};

use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    adapters::beacon::BeaconWatch,
    config::Config,
    domain::{
        ChainObservation, ValidatorId,
        chain::{Epoch, EpochRecord, EpochSeen, SiteLook},
    },
    files,
    ports::{Clock, Ledger},
    sources::chain::{self, SiteRecorder},
};

/// Where Linux keeps its name.
const HOSTNAME: &str = "/proc/sys/kernel/hostname";
/// When the ledger is asked again.
const AGAIN: Duration = Duration::from_secs(10);
/// Epochs that are kept for a ledger that does not answer.
const MOST: usize = 64;

/// Watches from now on, in a task of its own that ends with it. The first epoch that counts is the first that begins
/// after it.
pub struct EpochWatch {
    validator: ValidatorId,
    recorder: SiteRecorder,
    observations: mpsc::Receiver<ChainObservation>,
    /// Seen and not written yet, oldest first.
    unwritten: Vec<Vec<EpochRecord>>,
    seen: WatchedEpochs,
    _task: DropGuard,
}

/// What was seen so far, for people. What counts is in the ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WatchedEpochs {
    /// The last one, how it was seen, and from how many places outside of home.
    pub last: Option<(Epoch, EpochSeen, usize)>,
    /// Silent ones in a row, up to that.
    pub silent: u64,
    /// Why the last one says nothing, or is not in the ledger yet.
    pub trouble: Option<String>,
}

impl EpochWatch {
    /// # Errors
    /// What is not configured, with what to do.
    pub fn start(
        config: &Config,
        validator: &ValidatorId,
        ledger: Arc<dyn Ledger>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, String> {
        let (beacon, keys) = chain::watched(config, validator)?;
        let nodes = || config.ethereum.iter().flat_map(|ethereum| &ethereum.beacon_nodes);
        if nodes().all(|node| !node.outside) {
            return Err(
                "silence counts from outside of home only, and no beacon node is known to be there: name two in \
                        `ethereum.beacon_nodes` with `outside: true`, or run a watcher elsewhere"
                    .into(),
            );
        }
        let recorder = SiteRecorder::new(ledger, site(), nodes(), [(validator.clone(), keys.clone())]);
        let watch =
            BeaconWatch::new(beacon, vec![(validator.clone(), keys)], clock).map_err(|error| error.to_string())?;
        let (sender, observations) = mpsc::channel(MOST);
        let stop = CancellationToken::new();
        tokio::spawn(watch.run(sender, stop.clone()));
        let _task = stop.drop_guard();
        let (validator, unwritten) = (validator.clone(), Vec::new());
        Ok(Self { validator, recorder, observations, unwritten, seen: WatchedEpochs::default(), _task })
    }

    /// Waits for the next word of the nodes, and has it written. It may be dropped while it waits: nothing is lost.
    pub async fn step(&mut self) -> &WatchedEpochs {
        let waits = self.unwritten.is_empty();
        let again = async || if waits { std::future::pending().await } else { tokio::time::sleep(AGAIN).await };
        let observation = tokio::select! {
            observation = self.observations.recv() => observation,
            () = again() => None,
        };
        match observation {
            // The watch has ended, with this program.
            None if waits => std::future::pending().await,
            None => {}
            Some(observation) => {
                for seen in observation.validators.into_iter().filter(|seen| seen.validator == self.validator) {
                    match seen.records.is_empty() {
                        true => self.seen.trouble = Some(seen.reading.why.to_string()),
                        false => self.unwritten.push(seen.records),
                    }
                }
                let surplus = self.unwritten.len().saturating_sub(MOST);
                self.unwritten.drain(..surplus);
            }
        }
        while let Some(records) = self.unwritten.first() {
            match self.recorder.write(&self.validator, records).await {
                Ok(look) => {
                    let why = records.iter().find_map(|record| record.unknown_because.clone());
                    self.unwritten.remove(0);
                    self.seen.add(look, why);
                }
                Err(error) => {
                    self.seen.trouble = Some(format!("an epoch is not in the ledger yet: {error:#}"));
                    break;
                }
            }
        }
        &self.seen
    }

    #[must_use]
    pub fn seen(&self) -> &WatchedEpochs {
        &self.seen
    }
}

impl WatchedEpochs {
    fn add(&mut self, look: Option<SiteLook>, why: Option<String>) {
        let Some(look) = look else {
            self.trouble = Some(why.unwrap_or_else(|| "no node says which chain it follows".into()));
            return;
        };
        let follows = self.last.is_some_and(|(last, ..)| look.epoch.previous() == Some(last));
        self.silent = match look.seen {
            // What only nodes at home say is known and does not count.
            EpochSeen::Silent if look.nodes.is_empty() => 0,
            EpochSeen::Silent if follows => self.silent + 1,
            EpochSeen::Silent => 1,
            EpochSeen::Duty | EpochSeen::Unknown => 0,
        };
        self.trouble = why.filter(|_| look.seen == EpochSeen::Unknown);
        self.last = Some((look.epoch, look.seen, look.nodes.len()));
    }
}

/// The name of this machine as a site. A resume on the same machine continues its record. Two of one name write one
/// record together, as two watchers of one site do.
fn site() -> String {
    site_of(&files::read_text(Path::new(HOSTNAME), 4096).unwrap_or_default())
}

fn site_of(hostname: &str) -> String {
    let first = hostname.trim().split('.').next().unwrap_or_default().to_ascii_lowercase();
    let fits = |c: char| if c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' { c } else { '_' };
    let name: String = first.chars().map(fits).take(40).collect();
    if name.is_empty() { "operator".into() } else { format!("operator-{name}") }
}

#[cfg(test)]
mod tests {
    use super::site_of;
    use crate::domain::is_label;

    #[test]
    fn every_hostname_makes_the_name_of_a_site_and_the_same_one_each_time() {
        let names = [("Annas-Laptop.local\n", "operator-annas-laptop"), ("", "operator"), ("büro", "operator-b_ro")];
        for (host, site) in names {
            assert_eq!(site_of(host), site);
        }
        assert!(is_label(&site_of(&"x".repeat(500))));
    }
}
