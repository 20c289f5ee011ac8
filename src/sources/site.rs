//! What home's watcher and its witnesses know of each other. Each shows that it runs; a witness says that home is down when
//! its watcher is not to be seen, and gives the lease back when it is; home says when no witness is seen.
//!
//! It reads records and writes its own, `waiting/<name>`. What silence means is [`crate::domain::HomeWatch`]'s to say.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use anyhow::Context as _;
use tokio::time::Instant;

use super::{EventSource, ticks};
use crate::{
    domain::{
        Comeback, Event, HomeSight, HomeWatch, KeyKind, LedgerKey, Reading, Source, Span, Time, TimeExt, ValidatorId,
        Verdict,
    },
    ports::{Clock, Ledger, LedgerError, Stored, Version},
    records,
    runtime::{
        Deps, EngineConfig, Handle,
        lease::{LeaseHolder, LeaseRecord, longest_gap, look_every},
        waiting::{SHOWN_EVERY, WaitingRecord, WaitingWriter},
    },
};

/// A witness, or home's watcher, that was not seen for this long is worth a mail.
const UNSEEN: Span = Span::from_hours(24);
/// How often a watcher says that it wants the lease, as a part of `site_silence`: every half a minute of ten.
const WANTS: u32 = 20;

/// The side of home.
pub struct HomeSite {
    deps: SiteDeps,
    every: Duration,
    /// Whether a witness is expected even if none was ever seen.
    expects: bool,
}

/// The side of a witness.
pub struct WitnessSite {
    deps: SiteDeps,
    silence: Span,
    every: Duration,
    gap: Duration,
}

struct SiteDeps {
    ledger: Arc<dyn Ledger>,
    clock: Arc<dyn Clock>,
    about: LeaseHolder,
    validators: Vec<ValidatorId>,
}

impl SiteDeps {
    fn of(config: &EngineConfig, deps: &Deps) -> Self {
        let (ledger, clock) = (deps.ledger.clone(), deps.clock.clone());
        Self { ledger, clock, about: config.lease.about.clone(), validators: config.validators.clone() }
    }
}

/// The side of this process: exactly one of the two.
///
/// # Errors
/// When `policy.site_silence` is no length of time.
pub fn sites(
    config: &EngineConfig,
    deps: &Deps,
    expects_witness: bool,
) -> anyhow::Result<(Option<HomeSite>, Option<WitnessSite>)> {
    let silence: Duration = config.policy.site_silence.try_into().context("policy.site_silence")?;
    let deps = SiteDeps::of(config, deps);
    Ok(if deps.about.witness.is_none() {
        (Some(HomeSite { deps, every: silence / WANTS, expects: expects_witness }), None)
    } else {
        let (every, gap) = (look_every(silence), longest_gap(silence));
        (None, Some(WitnessSite { deps, silence: config.policy.site_silence, every, gap }))
    })
}

/// Shows that this process runs.
struct Shown {
    writer: WaitingWriter,
    last: Option<(Instant, bool)>,
}

impl Shown {
    fn new(deps: &SiteDeps) -> Self {
        Self { writer: WaitingWriter::new(deps.ledger.clone(), &deps.about), last: None }
    }

    /// Writes the record if that is due: at once when what it says has changed, and as often as it says.
    async fn write(&mut self, wants_lease: bool, every: Duration) {
        let every = if wants_lease { every } else { SHOWN_EVERY };
        // A tick may come a moment early.
        let is_due = |(at, wanted): (Instant, bool)| wanted != wants_lease || at.elapsed() + every / 10 >= every;
        if !self.last.is_none_or(is_due) {
            return;
        }
        match self.writer.write(wants_lease, every).await {
            Ok(()) => self.last = Some((Instant::now(), wants_lease)),
            Err(error) => tracing::warn!(%error, "the ledger does not show that this process runs"),
        }
    }
}

/// The record of the lease, if it can be read.
fn lease_of(stored: &Stored) -> Option<LeaseRecord> {
    records::decode(&LedgerKey::LEASE, &stored.bytes).ok()
}

impl EventSource for HomeSite {
    fn name(&self) -> String {
        "the witnesses".into()
    }

    async fn run(self, engine: Handle) {
        let (mut ticks, mut shown) = (ticks(self.every), Shown::new(&self.deps));
        let mut witnesses = Witnesses::new(self.expects);
        let (mut looked_at, mut said) = (None::<Instant>, None);
        loop {
            ticks.tick().await;
            let leads = engine.leads();
            shown.write(!leads && self.is_led_by_a_witness().await, self.every).await;
            if looked_at.is_none_or(|at| at.elapsed() + self.every >= SHOWN_EVERY) {
                match witnesses.look(&*self.deps.ledger).await {
                    Ok(()) => looked_at = Some(Instant::now()),
                    Err(error) => tracing::warn!(%error, "whether a witness runs is not known"),
                }
            }
            // Who waits for the lease notifies nobody.
            if !leads {
                said = None;
                continue;
            }
            let unseen = witnesses.unseen_since(self.deps.clock.now());
            if said != Some(unseen) {
                said = Some(unseen);
                for validator in &self.deps.validators {
                    engine.send(Event::WitnessSeen(validator.clone(), unseen)).await;
                }
            }
        }
    }
}

impl HomeSite {
    /// Another watcher of home needs no asking, and one that leads is no witness.
    async fn is_led_by_a_witness(&self) -> bool {
        match self.deps.ledger.get(&LedgerKey::LEASE).await {
            Ok(stored) => stored
                .and_then(|stored| lease_of(&stored))
                .is_some_and(|lease| lease.about.witness.is_some() && !lease.holder.is_empty()),
            Err(error) => {
                tracing::debug!(%error, "who leads is not known");
                false
            }
        }
    }
}

/// Every witness that has ever shown itself, and when it last did.
struct Witnesses {
    expects: bool,
    began: Instant,
    seen: BTreeMap<String, (Version, Instant, Span)>,
    /// Since when none was seen, said once and kept, so that it is the same at every look.
    since: Option<Time>,
}

impl Witnesses {
    fn new(expects: bool) -> Self {
        Self { expects, began: Instant::now(), seen: BTreeMap::new(), since: None }
    }

    async fn look(&mut self, ledger: &dyn Ledger) -> Result<(), LedgerError> {
        for key in ledger.list(LedgerKey::WAITING, None).await? {
            let Some(KeyKind::Waiting(name)) = KeyKind::of(&key) else { continue };
            let Some(stored) = ledger.get(&key).await? else { continue };
            if !WaitingRecord::read(&name, &stored.bytes).is_ok_and(|record| record.witness.is_some()) {
                continue;
            }
            if self.seen.get(&name).is_some_and(|(version, ..)| *version == stored.version) {
                continue;
            }
            // One that is found at the first look may be old; only the store can say how old.
            let is_news = self.seen.contains_key(&name);
            let age = if is_news { None } else { ledger.age(&key, &stored.version).await? };
            self.seen.insert(name, (stored.version, Instant::now(), age.unwrap_or(Span::ZERO)));
        }
        Ok(())
    }

    /// Since when none was seen, if none was for long.
    fn unseen_since(&mut self, now: Time) -> Option<Time> {
        let span = |at: &Instant| Span::try_from(at.elapsed()).unwrap_or(Span::MAX);
        let known = self.seen.values().map(|(_, at, age)| span(at).saturating_add(*age)).min();
        let unseen = known.or_else(|| self.expects.then(|| span(&self.began)));
        self.since = unseen.filter(|unseen| *unseen >= UNSEEN).map(|unseen| self.since.unwrap_or(now.minus(unseen)));
        self.since
    }
}

impl EventSource for WitnessSite {
    fn name(&self) -> String {
        "home's watcher".into()
    }

    async fn run(self, engine: Handle) {
        let (mut ticks, mut shown) = (ticks(self.every), Shown::new(&self.deps));
        let mut home = HomeRecords::default();
        let mut said = None;
        let fresh = Span::try_from(self.gap).unwrap_or(Span::MAX);
        loop {
            ticks.tick().await;
            let now = self.deps.clock.now();
            let looked = home.look(&self.deps, self.gap).await;
            let is_back = looked.is_ok() && home.is_back();
            let reading = match looked {
                Ok(()) => home.watch.reading(self.silence, now, fresh),
                // Without the ledger nobody is silent.
                Err(error) => {
                    let why = format!("whether home's watcher runs is not known: {error}");
                    Reading::unknown(crate::domain::Evidence::Host, now, why)
                }
            };
            if reading.verdict != Verdict::Unknown || said != Some(reading.verdict) {
                said = Some(reading.verdict);
                for validator in &self.deps.validators {
                    engine.send(Event::Observed(validator.clone(), Source::Site, reading.clone())).await;
                }
            }
            if is_back && engine.leads() {
                tracing::info!("home's watcher has asked for the lease for long enough");
                engine.hand_over().await;
            }
            shown.write(false, self.every).await;
        }
    }
}

/// The two records by which home shows itself, as they were found last.
#[derive(Default)]
struct HomeRecords {
    watch: HomeWatch,
    comeback: Comeback,
    wants_every: Option<Span>,
    lease: Option<Version>,
    waiting: Option<Version>,
    looked_at: Option<Instant>,
}

impl HomeRecords {
    async fn look(&mut self, deps: &SiteDeps, gap: Duration) -> Result<(), LedgerError> {
        let lease = deps.ledger.get(&LedgerKey::LEASE).await?;
        let waiting = deps.ledger.get(&LedgerKey::waiting(&deps.about.site)).await?;
        let now = Instant::now();
        let passed = self.looked_at.replace(now).map_or(Duration::ZERO, |before| now.duration_since(before));
        let span = |passed: Duration| Span::try_from(passed).unwrap_or(Span::MAX);

        let asks = waiting.as_ref().and_then(|stored| WaitingRecord::read(&deps.about.site, &stored.bytes).ok());
        let asks = asks.filter(|record| record.wants_lease && record.witness.is_none());
        let every = |record: WaitingRecord| span(Duration::from_millis(record.every_ms.max(1)).min(SHOWN_EVERY));
        self.wants_every = asks.map(every);
        let version = |stored: Option<&Stored>| stored.map(|stored| stored.version.clone());
        let waiting = version(waiting.as_ref());
        let waiting_changed = self.waiting.is_some() && waiting.is_some() && self.waiting != waiting;
        self.comeback.looked(self.wants_every, waiting_changed, span(passed));

        // A witness that takes or renews the lease is not home. Whoever cannot be named may be.
        let by_home = |stored: &Stored| lease_of(stored).is_none_or(|lease| lease.about.witness.is_none());
        let is_homes = lease.as_ref().is_some_and(by_home);
        let lease_version = version(lease.as_ref());
        let lease_changed = is_homes && self.lease.is_some() && self.lease != lease_version;
        let sight = match (lease_changed || waiting_changed, is_homes || waiting.is_some()) {
            (true, _) => HomeSight::Changed,
            (false, true) => HomeSight::Unchanged,
            (false, false) => HomeSight::Nothing,
        };
        self.watch.looked(sight, span(passed.min(gap)));
        (self.lease, self.waiting) = (lease_version.or(self.lease.take()), waiting.or(self.waiting.take()));
        Ok(())
    }

    fn is_back(&self) -> bool {
        self.wants_every.is_some_and(|every| self.comeback.is_back(every))
    }
}
