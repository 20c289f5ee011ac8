//! The last word of each source, which a process keeps whether or not it leads.
//!
//! It decides nothing and writes nothing. It lets a process that waits answer questions, and begin with warm signals
//! when it leads. Alerts are not among them: those are the ledger's, and are read from it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::{
    lease::{LeaseHolder, LeaseRecord},
    status::{self, Status},
    store::{self, StoreError},
};
use crate::{
    domain::{Decision, Event, Evidence, LedgerKey, Policy, Source, Time, Validator, ValidatorId, World, step},
    ports::Ledger,
    records,
};

/// How long a question waits for the ledger; the caller waits no longer than two seconds for everything.
const PATIENCE: Duration = Duration::from_secs(1);

/// Whose last word on what; a later one takes its place. Signs of a human come before opinions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum About {
    Pause,
    Maintenance,
    Gate,
    Keys,
    Chain,
    Signal(Source, Evidence),
}

#[derive(Debug)]
pub(super) struct LastObservations {
    site: String,
    policy: Policy,
    ids: Vec<ValidatorId>,
    /// The word, and since when it has been this one.
    said: BTreeMap<(About, Option<ValidatorId>), (Time, Event)>,
}

impl LastObservations {
    pub(super) fn new(site: &str, ids: &[ValidatorId], policy: &Policy) -> Self {
        Self { site: site.into(), policy: policy.clone(), ids: ids.to_vec(), said: BTreeMap::new() }
    }

    /// Takes in what a source says. What is about an action or a mail belongs to one leadership.
    pub(super) fn apply(&mut self, event: &Event, now: Time) {
        let about = match event {
            Event::ChainSeen(_) => About::Chain,
            Event::Observed(_, Source::Alert, _) => return,
            Event::Observed(
                _,
                source @ (Source::Chain | Source::Kube | Source::Process | Source::Probe | Source::Gate | Source::Site),
                reading,
            ) => About::Signal(*source, reading.evidence),
            Event::KeysSeen(..) => About::Keys,
            Event::MaintenanceSeen(..) => About::Maintenance,
            Event::GateSeen(..) => About::Gate,
            // From the cluster's annotations; those in the ledger are read by the leader.
            Event::Requested(..) => About::Pause,
            Event::WitnessSeen(..)
            | Event::OwnerSeen(..)
            | Event::PromotionSeen(..)
            | Event::MachinesListed(..)
            | Event::MachinesUnlisted(..)
            | Event::Finished(..)
            | Event::MailSettled(..)
            | Event::ClockJumped(..)
            | Event::Due(_) => {
                return;
            }
        };
        let place = (about, event.validator().cloned());
        let since = match (self.said.get(&place), event) {
            (Some((since, Event::Observed(_, _, before))), Event::Observed(_, _, reading))
                if before.verdict == reading.verdict =>
            {
                *since
            }
            _ => now,
        };
        self.said.insert(place, (since, event.clone()));
    }

    /// Everything that was observed, to be applied again by the next leader. A request is made only once.
    pub(super) fn again(&mut self) -> Vec<Event> {
        let events = self.said.values().map(|(_, event)| event.clone()).collect();
        self.said.retain(|(about, _), _| *about != About::Pause);
        events
    }

    /// The records as the ledger has them, with these signals beside them and nothing decided.
    fn world(&self, records: Records) -> World {
        let mut world = World::new(records);
        for (since, event) in self.said.values() {
            if matches!(event, Event::Requested(..)) {
                continue;
            }
            if let Ok(decision) = step(&world, event, *since, &self.policy) {
                // Of the decision only what is known; what it would do is for the holder to decide.
                let mut known = Decision { live: decision.live, chain: decision.chain, ..Decision::default() };
                world.commit(event.validator(), &mut known);
            }
        }
        world
    }

    /// The status as a process sees it that waits, once the ledger is read.
    pub(super) fn status(&self, ledger: Arc<dyn Ledger>, now: Time) -> impl Future<Output = Status> + Send + 'static {
        let seen = Self { said: self.said.clone(), ..Self::new(&self.site, &self.ids, &self.policy) };
        async move {
            let read = tokio::time::timeout(PATIENCE, read(&*ledger, &seen.ids)).await;
            let (records, unreadable, warnings) = read.unwrap_or_else(|_| {
                let why = "this process waits for the lease; the ledger does not answer, its records are not shown";
                (empty(&seen.ids), Vec::new(), vec![why.into()])
            });
            let mut status = status::of_world(&seen.world(records), &seen.site, &seen.policy, now);
            (status.holds_lease, status.unreadable, status.warnings) = (false, unreadable, warnings);
            status
        }
    }
}

type Records = Vec<(ValidatorId, Validator)>;

/// The records, which of them cannot be read, and what else to say.
async fn read(ledger: &dyn Ledger, ids: &[ValidatorId]) -> (Records, Vec<String>, Vec<String>) {
    let (mut records, mut unreadable) = (Vec::new(), Vec::new());
    let mut warnings = vec![format!("this process waits for the lease; {}", holder(ledger).await)];
    for id in ids {
        match store::read(ledger, id).await {
            Ok(found) => {
                records.push((id.clone(), found.map(|(_, envelope)| envelope.validator).unwrap_or_default()));
            }
            Err(StoreError::Record(error)) => unreadable.push(error.to_string()),
            Err(error) => {
                warnings.push(format!("the records of the ledger are not shown: {error}"));
                return (empty(ids), Vec::new(), warnings);
            }
        }
    }
    (records, unreadable, warnings)
}

fn empty(ids: &[ValidatorId]) -> Records {
    ids.iter().map(|id| (id.clone(), Validator::default())).collect()
}

/// Who holds the lease, in words.
async fn holder(ledger: &dyn Ledger) -> String {
    match ledger.get(&LedgerKey::LEASE).await {
        Ok(None) => "nobody has held it yet".into(),
        Ok(Some(stored)) => match records::decode::<LeaseRecord>(&LedgerKey::LEASE, &stored.bytes) {
            Ok(lease) if lease.holder.is_empty() => "nobody holds it".into(),
            Ok(LeaseRecord { about: LeaseHolder { site, address, witness }, .. }) => {
                let who = witness.map_or_else(String::new, |name| format!(" as its witness {name}"));
                let ask = address.map_or_else(String::new, |address| format!(", ask {address}"));
                format!("its last holder watches {site}{who}{ask}")
            }
            Err(error) => error.to_string(),
        },
        Err(error) => format!("who holds it is not known: {error}"),
    }
}
