//! What a process knows that waits for the lease: the last word of each source, beside what the ledger says.
//!
//! It decides nothing and writes nothing. It lets the process answer questions, and begin with warm signals when it leads.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    lease::{self, LeaseRecord},
    status::{self, Status},
    store::{self, StoreError},
};
use crate::{
    domain::{Decision, Event, Evidence, Policy, Source, Time, Validator, ValidatorId, World, step},
    ports::Ledger,
    records,
};

/// Whose last word on what; a later one takes its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum About {
    Chain,
    Signal(Source, Evidence),
    Keys,
    Hands,
    Pause,
}

/// What was heard while waiting.
#[derive(Debug)]
pub(super) struct Waiting {
    site: String,
    policy: Policy,
    ids: Vec<ValidatorId>,
    said: BTreeMap<(About, Option<ValidatorId>), Event>,
    /// Signals and nothing else: its records are empty.
    world: World,
}

impl Waiting {
    pub(super) fn new(site: &str, ids: &[ValidatorId], policy: &Policy) -> Self {
        let world = World::new(ids.iter().map(|id| (id.clone(), Validator::default())));
        Self { site: site.into(), policy: policy.clone(), ids: ids.to_vec(), said: BTreeMap::new(), world }
    }

    /// Takes in what a source says. What is about an action or a mail belongs to a term that is over.
    pub(super) fn hear(&mut self, event: Event, now: Time) {
        let about = match &event {
            Event::ChainSeen(_) => About::Chain,
            Event::Observed(_, source, reading) => About::Signal(*source, reading.evidence),
            Event::KeysSeen(..) => About::Keys,
            Event::HandsSeen(..) => About::Hands,
            // From the cluster's annotations; those in the ledger are read by whoever leads.
            Event::Requested(..) => About::Pause,
            Event::Finished(..) | Event::Told(..) | Event::ClockJumped(_) | Event::Due(_) => return,
        };
        if about != About::Pause
            && let Ok(decision) = step(&self.world, &event, now, &self.policy)
        {
            // Of the decision only what is known; what it would do is for the holder to decide.
            let mut known = Decision { live: decision.live, chain: decision.chain, ..Decision::default() };
            self.world.commit(event.validator(), &mut known);
        }
        self.said.insert((about, event.validator().cloned()), event);
    }

    /// Everything that was heard, to be said again to whoever begins to lead. Signs of a human come before opinions.
    pub(super) fn into_events(self) -> Vec<Event> {
        let (opinions, first): (Vec<_>, Vec<_>) =
            self.said.into_iter().partition(|((about, _), _)| matches!(about, About::Signal(..)));
        first.into_iter().chain(opinions).map(|(_, event)| event).collect()
    }

    /// The status as this process sees it, once the ledger is read.
    pub(super) fn status(&self, ledger: Arc<dyn Ledger>, now: Time) -> impl Future<Output = Status> + Send + 'static {
        let (ids, site, policy) = (self.ids.clone(), self.site.clone(), self.policy.clone());
        let seen = self.world.clone();
        async move {
            let (mut records, mut unreadable) = (Vec::new(), Vec::new());
            let mut warnings = vec![format!("this process waits for the lease; {}", holder(&*ledger).await)];
            for id in ids {
                match store::read(&*ledger, &id).await {
                    Ok(found) => {
                        records.push((id, found.map(|(_, envelope)| envelope.validator).unwrap_or_default()));
                    }
                    Err(StoreError::Record(error)) => unreadable.push(error.to_string()),
                    Err(error) => {
                        // The others would fail in the same way, each after the same time-out.
                        warnings.push(format!("the records of the ledger are not shown: {error}"));
                        records = seen.iter().map(|(id, _)| (id.clone(), Validator::default())).collect();
                        break;
                    }
                }
            }
            let mut world = World::new(records);
            world.chain.clone_from(&seen.chain);
            for (id, subject) in seen.iter() {
                let mut known = Decision { live: Some(subject.live.clone()), ..Decision::default() };
                world.commit(Some(id), &mut known);
            }
            let mut status = status::of_world(&world, &site, &policy, now);
            (status.holds_lease, status.unreadable, status.warnings) = (false, unreadable, warnings);
            status
        }
    }
}

/// Who holds the lease, in words.
async fn holder(ledger: &dyn Ledger) -> String {
    match ledger.get(lease::KEY).await {
        Ok(None) => "nobody has held it yet".into(),
        Ok(Some(stored)) => match records::decode::<LeaseRecord>(lease::KEY, &stored.bytes) {
            Ok(lease) if lease.holder.is_empty() => "nobody holds it".into(),
            Ok(LeaseRecord { site, address: Some(address), .. }) => {
                format!("its last holder watches {site}, ask {address}")
            }
            Ok(LeaseRecord { site, address: None, .. }) => format!("its last holder watches {site}"),
            Err(error) => error.to_string(),
        },
        Err(error) => format!("who holds it is not known: {error}"),
    }
}
