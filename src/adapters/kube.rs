//! The kube source: watches what the configuration names and says what the cluster shows of each validator.
//!
//! It decides nothing ([`crate::domain::kube`] judges), writes nothing but events on what it watches, and keeps few
//! fields of few objects: one watch for the named workload, one for its pods, and one each for their nodes, leases and
//! claims.
//!
//! **Invariant:** *down* is never said from a watch alone. A watch that hangs looks like a node that is silent, so
//! everything an opinion of *down* rests on is read afresh first, and again for as long as it stands.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use kube::Client;
use tokio::{
    sync::mpsc,
    task::{AbortHandle, JoinSet},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::{
    domain::{
        Backoff, Evidence, Interval, Reading, Span, TimeExt, Verdict,
        kube::{Blindness, Cause, Health, Known, PauseNote, Thresholds, Unseen, judge},
    },
    ports::Clock,
};

mod bounds;
mod check;
mod client;
mod command;
mod convert;
mod entry;
mod events;
mod index;
mod memory;
mod target;
mod topic;

pub use check::{REACH, check};
pub use client::{ClientError, connect, connect_as_operator};
pub use command::commands;
pub use convert::PREFIX;
pub use events::{EventError, Note, write};
pub use target::{KubeObservation, Named, Target};
pub use topic::WorkloadKind;

use convert::Item;
use entry::ClockPair;
use index::{Index, Reported};
use topic::{ObjectQuery, WatchEvent};

/// What an opinion rests on has to be younger than this when *down* is said.
const PROOF: Duration = Duration::from_secs(20);

/// An opinion is sent again after this long, because it goes stale and because the leader may be new.
const REPEAT: Duration = Duration::from_secs(20);

/// For how long an opinion may be believed. Two repetitions may be lost, or one reading take its time.
const FRESH: Span = Span::from_secs(60);

/// For how long a replaced pod may look as if nothing were wrong, before that counts.
const SETTLE: Duration = Duration::from_secs(3);

/// The pauses between readings that fail, and between those of what may be read and not be watched.
const RETRY: Backoff = Backoff::new(Span::from_secs(1), Span::from_secs(10));

/// Watches all validators that are in the cluster. [`KubeWatch::run`] is one task.
pub struct KubeWatch {
    client: Client,
    clock: Arc<dyn Clock>,
    thresholds: Thresholds,
    index: Index,
    feeds: BTreeMap<ObjectQuery, AbortHandle>,
    watches: JoinSet<()>,
    reads: JoinSet<(ObjectQuery, Instant, Result<Vec<Item>, Blindness>)>,
    readings: BTreeMap<ObjectQuery, ReadState>,
}

#[derive(Default)]
struct ReadState {
    running: bool,
    /// Readings in a row that failed, or that left it as blind as it was.
    failures: u32,
    /// After one of them: when it is tried again.
    retry_at: Option<Instant>,
}

impl ReadState {
    fn pause(&mut self, now: Instant) {
        self.retry_at = Some(now + RETRY.pause(self.failures).unsigned_abs());
        self.failures = self.failures.saturating_add(1);
    }
}

impl KubeWatch {
    /// Prepares; nothing is sent before [`KubeWatch::run`].
    #[must_use]
    pub fn new(client: Client, targets: Vec<Target>, thresholds: Thresholds, clock: Arc<dyn Clock>) -> Self {
        Self {
            client,
            clock,
            thresholds,
            index: Index::new(targets),
            feeds: BTreeMap::new(),
            watches: JoinSet::new(),
            reads: JoinSet::new(),
            readings: BTreeMap::new(),
        }
    }

    /// Runs until stopped or until nobody listens.
    pub async fn run(mut self, tx: mpsc::Sender<KubeObservation>, shutdown: CancellationToken) {
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = self.watch(&tx) => {}
        }
    }

    async fn watch(&mut self, tx: &mpsc::Sender<KubeObservation>) {
        let (events_tx, mut events) = mpsc::channel(64);
        loop {
            self.settle(&events_tx);
            let Ok(wake_at) = self.review(tx).await else { return };
            tokio::select! {
                Some((topic, what)) = events.recv() => self.apply(topic, what),
                Some(read) = self.reads.join_next() => {
                    if let Ok((topic, asked_at, answer)) = read {
                        self.read(topic, asked_at, answer);
                    }
                }
                Some(_) = self.watches.join_next() => {}
                () = tokio::time::sleep_until(wake_at) => {}
            }
        }
    }

    fn now(&self) -> ClockPair {
        ClockPair { wall: self.clock.now(), mono: Instant::now() }
    }

    /// Begins the watches that are needed now and ends the others.
    fn settle(&mut self, events: &mpsc::Sender<(ObjectQuery, WatchEvent)>) {
        let (begun, ended) = self.index.settle(Instant::now());
        for topic in ended {
            if let Some(feed) = self.feeds.remove(&topic) {
                feed.abort();
            }
            self.readings.remove(&topic);
        }
        for topic in begun {
            let watch = topic.clone().watch(self.client.clone(), events.clone());
            self.feeds.insert(topic, self.watches.spawn(watch));
        }
    }

    fn apply(&mut self, topic: ObjectQuery, event: WatchEvent) {
        match event {
            WatchEvent::Doubt => self.ask(&topic),
            event @ (WatchEvent::All(_) | WatchEvent::One(_) | WatchEvent::Gone(_) | WatchEvent::Refused(_)) => {
                let now = self.now();
                self.index.apply(&topic, event, now.mono, now);
            }
        }
    }

    /// Reads a topic afresh, unless that is under way or has just failed.
    fn ask(&mut self, topic: &ObjectQuery) {
        let state = self.readings.entry(topic.clone()).or_default();
        if state.running || state.retry_at.is_some_and(|at| at > Instant::now()) {
            return;
        }
        state.running = true;
        let (topic, client, asked_at) = (topic.clone(), self.client.clone(), Instant::now());
        self.reads.spawn(async move {
            let answer = topic.read(client).await;
            (topic, asked_at, answer)
        });
    }

    fn read(&mut self, topic: ObjectQuery, asked_at: Instant, answer: Result<Vec<Item>, Blindness>) {
        let now = self.now();
        let Some(state) = self.readings.get_mut(&topic) else { return };
        state.running = false;
        match answer {
            Ok(items) => {
                if self.index.is_refused(&topic) {
                    state.pause(now.mono);
                } else {
                    (state.failures, state.retry_at) = (0, None);
                }
                // The watch has spoken while we asked, so it lives and what it said is newer.
                if self.index.proven_at(&topic).is_none_or(|proven_at| proven_at < asked_at)
                    || self.index.is_blind(&topic)
                {
                    self.index.apply(&topic, WatchEvent::All(items), asked_at, now);
                }
            }
            Err(why) => {
                state.pause(now.mono);
                self.index.blind(&topic, why);
            }
        }
    }

    /// Judges every target, reports what has changed or is due, and says when to do so again.
    async fn review(&mut self, tx: &mpsc::Sender<KubeObservation>) -> Result<Instant, ()> {
        let now = self.now();
        let mut wake_at = now.mono + REPEAT;
        for target in 0..self.index.watched.len() {
            let facts = self.index.facts(&self.index.watched[target], now);
            let health = judge(&facts, now.wall, &self.thresholds);
            if let Some(review_at) = health.review_at {
                let left = Duration::try_from(review_at.duration_since(now.wall)).unwrap_or_default();
                wake_at = wake_at.min(now.mono + left.max(Duration::from_millis(1)));
            }
            let proven_at = self.prove(target, &health, now.mono);
            if let Some(settled_at) = self.settled_at(target, &health, now.mono) {
                wake_at = wake_at.min(settled_at);
                continue;
            }
            let reported = self.index.watched[target].reported.as_ref();
            let pause = match &facts.workload {
                Some(Known::Is(workload)) => workload.pause.clone(),
                Some(Known::NotYet | Known::Missing | Known::Removed | Known::Blind(_)) | None => None,
            };
            let due_at = reported.map_or(now.mono, |reported| reported.at + REPEAT);
            let changed = reported.is_none_or(|reported| is_news(&reported.health, &health) || reported.pause != pause);
            if !changed && now.mono < due_at {
                wake_at = wake_at.min(due_at);
                continue;
            }
            let Some(proven_at) = proven_at else { continue };
            let observation = self.observation(target, health.clone(), pause.clone(), proven_at, now);
            tracing::debug!(validator = %observation.validator, verdict = %observation.reading.verdict,
                why = %observation.reading.why, "what the cluster shows");
            if tx.send(observation).await.is_err() {
                return Err(());
            }
            self.index.watched[target].reported = Some(Reported { health, pause, at: now.mono });
        }
        let retries = self.readings.values().filter(|state| !state.running).filter_map(|state| state.retry_at);
        Ok(retries.fold(wake_at, Instant::min).max(now.mono + Duration::from_millis(1)))
    }

    /// A pod that is replaced passes through moments in which nothing is wrong yet. They are not sent while it was down
    /// before: no hold would outlive an eviction. When it counts, if that is later than now.
    fn settled_at(&mut self, target: usize, health: &Health, now: Instant) -> Option<Instant> {
        let watched = &mut self.index.watched[target];
        let was_down = watched.reported.as_ref().is_some_and(|reported| reported.health.verdict == Verdict::Down);
        let passing = was_down && health.cause.is_passing();
        watched.passing_since = passing.then(|| watched.passing_since.unwrap_or(now));
        watched.passing_since.map(|since| since + SETTLE).filter(|settled_at| *settled_at > now)
    }

    /// Since when, at the earliest, what this rests on is known to be so; `None` while it has to be read first.
    fn prove(&mut self, target: usize, health: &Health, now: Instant) -> Option<Instant> {
        let watched = &mut self.index.watched[target];
        let is_grave = health.verdict == Verdict::Down || health.hold;
        let grave_since = is_grave.then(|| watched.grave_since.unwrap_or(now));
        watched.grave_since = grave_since;
        let topics = self.index.topics_of(&self.index.watched[target]);
        for topic in &topics {
            if self.index.is_blind(topic) {
                self.ask(topic);
            }
        }
        let rests_on: Vec<&ObjectQuery> = match health.verdict {
            // A claim or lease that may not be read is not what an opinion rests on. That a human did it needs proof
            // as well: it holds an incident back.
            Verdict::Down | Verdict::Unknown if is_grave => {
                topics.iter().filter(|topic| !self.index.is_blind(topic)).collect()
            }
            // The node's lease changes all the time, which shows that the server still speaks to us.
            Verdict::Up | Verdict::Partial => topics.iter().filter(|topic| self.index.is_pulse(topic)).collect(),
            Verdict::Down | Verdict::Unknown => return Some(now),
        };
        // Read after it began: what was read before only shows how it was before.
        let is_old = |at: Instant| now.duration_since(at) >= PROOF || grave_since.is_some_and(|since| at < since);
        let old: Vec<ObjectQuery> = rests_on
            .iter()
            .filter(|topic| self.index.proven_at(topic).is_none_or(is_old))
            .map(|topic| (*topic).clone())
            .collect();
        let earliest = rests_on.iter().filter_map(|topic| self.index.proven_at(topic)).min();
        if old.is_empty() {
            return Some(earliest.unwrap_or(now));
        }
        for topic in old {
            self.ask(&topic);
        }
        None
    }

    fn observation(
        &self,
        target: usize,
        health: Health,
        pause: Option<PauseNote>,
        proven_at: Instant,
        now: ClockPair,
    ) -> KubeObservation {
        let words: Arc<str> = health.cause.to_string().into();
        let proven = now.wall_at(proven_at);
        let reading = match health.verdict {
            Verdict::Unknown => Reading::unknown(Evidence::Kube, now.wall, words.clone()),
            verdict @ (Verdict::Up | Verdict::Partial | Verdict::Down) => Reading {
                verdict,
                evidence: Evidence::Kube,
                about: Interval { from: proven, to: now.wall },
                fresh_until: proven.plus(FRESH),
                why: words.clone(),
            },
        };
        let hold = health.hold.then_some(words);
        KubeObservation { validator: self.index.watched[target].target.validator.clone(), reading, hold, pause, health }
    }
}

/// Whether people would call it something else. Only a longer silence or fewer minutes left is no news.
fn is_news(reported: &Health, health: &Health) -> bool {
    let other = match (&reported.cause, &health.cause) {
        (
            Cause::Unseen(Unseen::LeasesStopped { node: reported, .. }),
            Cause::Unseen(Unseen::LeasesStopped { node, .. }),
        ) => reported != node,
        (Cause::Unseen(reported), Cause::Unseen(seen)) => reported != seen,
        (reported, seen) => std::mem::discriminant(reported) != std::mem::discriminant(seen),
    };
    other || reported.verdict != health.verdict || reported.hold != health.hold
}
