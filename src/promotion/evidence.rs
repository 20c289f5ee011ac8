//! What the gates are judged by, read just now: the chain, what every site has written of it, the ledger, the cloud, and
//! home's workload.
//!
//! It judges nothing. What could not be read is missing, and a gate that needs it does not pass.

use std::{
    cmp::Reverse,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use futures::future::join_all;

use super::ReadyWatch;
use crate::{
    adapters::kube,
    assembly,
    config::{Config, ValidatorSettings},
    domain::{
        InstanceId, Interval, KeyKind, LedgerKey, Machine, MachinePower, MachineShape, PublicKey, Time, ValidatorId,
        chain::{ChainHealth, ChainSightings, SiteEpochs},
        gates::{FENCE_RECORDS, FenceFacts, GateEvidence},
        kube::starts_through_gate,
        ownership::{Grant, GrantPlace, OwnershipView},
        promotion::{PromotionEffect, PromotionKind, PromotionRecord},
    },
    ports::{Ledger, LedgerError, Machines, PromotionMachines, Scope},
    records,
    runtime::{
        grants::{self, GrantChain},
        lease::LeaseRecord,
        store,
    },
    sources::{self, chain},
};

/// More sites than this nobody has, and so many are kept in memory.
const SITES: usize = 32;
/// After so long without a renewal nobody is taken for alive, whatever ttl its lease has.
const LEASE: Duration = Duration::from_mins(5);
/// Looks at it within its ttl; it is renewed three times in that.
const LEASE_LOOKS: u32 = 12;
/// Longest that home's API server may take, with whatever logs in to it.
const KUBE: Duration = Duration::from_secs(15);

/// Where the evidence for one validator comes from.
pub struct EvidenceSources<'a> {
    pub config: &'a Config,
    pub validator: &'a ValidatorId,
    pub ledger: &'a dyn Ledger,
    /// Both with the operator's own rights.
    pub cloud: Option<OperatorsMachines<'a>>,
    ready: Mutex<ReadyWatch>,
}

/// The same machines, looked at and changed.
#[derive(Clone, Copy)]
pub struct OperatorsMachines<'a> {
    pub machines: &'a dyn Machines,
    pub shapes: &'a dyn PromotionMachines,
}

/// What all sites have written down of a validator on its chain.
#[derive(Debug, Default)]
pub struct SiteRecords {
    pub seen: ChainSightings,
    /// Records that are no answer, and why.
    pub problems: Vec<String>,
}

impl<'a> EvidenceSources<'a> {
    pub fn new(
        config: &'a Config,
        validator: &'a ValidatorId,
        ledger: &'a dyn Ledger,
        cloud: Option<OperatorsMachines<'a>>,
    ) -> Self {
        Self { config, validator, ledger, cloud, ready: Mutex::default() }
    }

    /// At every look at the machine: the boot by whose fresh report it is ready. Where no watcher is alive, *ready* counts
    /// from the first of them, by `at` of a clock that nobody sets.
    pub fn saw_ready(&self, boot: Option<&str>, at: Duration) {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner).saw(boot, at);
    }

    /// Everything that is not the executor's own: it knows the watermark, whether home has released the session since the
    /// raise, and how long the session's holder is silent.
    pub async fn gates(&self, view: &OwnershipView) -> GateEvidence {
        let now = Time::now();
        let mut evidence = chain::chain_evidence(self.config, self.validator).await;
        let record = view.promotion.as_ref().ok().and_then(Option::as_ref);
        let open = record.filter(|record| record.state.is_open());
        if let Ok(found) = store::read(self.ledger, self.validator).await {
            evidence.record = Some(found.map(|(_, envelope)| envelope.validator).unwrap_or_default());
        }
        let incident = evidence.record.as_ref().and_then(|record| record.incident()).map(|incident| incident.opened_at);
        let since = silent_since(open, incident);
        let sites = self.sites(view, now).await;
        sites.problems.iter().for_each(|why| tracing::warn!("what a site has written does not count: {why}"));
        if let Some(since) = since {
            evidence.silent_outside = sites.seen.silent_outside(since);
            evidence.silent_at_home = sites.seen.silent_at_home(since);
            evidence.silent_finalised = sites.seen.silent_finalised(since);
            if let Some(ours) = self.settings() {
                evidence.missed = chain::missed(self.config, ours, since).await;
            }
        }
        let noted =
            evidence.record.as_ref().and_then(|record| record.standby()).and_then(|standby| standby.ready_since);
        let is_watched = noted.is_some() && is_watched(self.ledger).await;
        evidence.ready_epochs = self.ready_epochs(&evidence, open, &sites.seen, is_watched, now);
        evidence.silent_for = self.config.grants.as_ref().map(|grants| grants.silent_for);
        evidence.stated = open.is_some_and(|record| record.statement.is_some());
        evidence.fence = self.fence(view, &sites.seen, now).await;
        evidence.clock_offset = assembly::cloud::clock_offset(self.config).await.ok();
        evidence.promoted = record.map(|record| record.promoted.clone()).unwrap_or_default();
        if let Some(OperatorsMachines { machines: cloud, shapes }) = self.cloud {
            evidence.machines = cloud.find(&Scope::Validator(self.validator.clone())).await.ok();
            evidence.terminated = terminated(shapes, evidence.machines.as_deref().unwrap_or_default()).await;
            let standby = evidence.record.as_ref().and_then(|record| record.standby());
            let instance = open.map(|record| &record.instance).or(standby.map(|standby| &standby.instance));
            if let Some(instance) = instance
                && let Some(seen) = cloud.observe(instance).await.ok().flatten()
            {
                evidence.report = seen.written.report().cloned();
            }
        }
        evidence
    }

    /// Whether the chain itself is well by a node of ours, so that *synced* means something.
    pub async fn is_chain_fine(&self) -> bool {
        match chain::chain_evidence(self.config, self.validator).await {
            GateEvidence { generic: true, .. } => true,
            evidence => evidence.chain.health == ChainHealth::Finalising,
        }
    }

    /// Since when any site has seen a duty by these keys under this grant.
    pub async fn duty_since(&self, view: &OwnershipView, grant: &Grant) -> Option<Time> {
        self.sites(view, Time::now()).await.seen.duty_since(grant.issued_at)
    }

    fn settings(&self) -> Option<&ValidatorSettings> {
        self.config.validators.iter().find(|it| it.name == *self.validator)
    }

    /// What every site has written, home or not. A record that is no answer counts for nothing.
    pub async fn sites(&self, view: &OwnershipView, now: Time) -> SiteRecords {
        let Some(settings) = self.settings() else { return SiteRecords::default() };
        let Some(chain) = settings.chain.as_deref() else { return SiteRecords::default() };
        let homes = homes(self.config, view);
        site_records(self.ledger, self.validator, chain, settings.public_keys(), &homes, now)
            .await
            .unwrap_or_else(|error| SiteRecords { problems: vec![error.to_string()], ..SiteRecords::default() })
    }

    async fn fence(&self, view: &OwnershipView, seen: &ChainSightings, now: Time) -> Option<FenceFacts> {
        let session = view.session.as_ref().ok()?.clone();
        let grant = view.grant.as_ref().ok()?.as_ref()?;
        let rules = assembly::grant_rules(self.config);
        let grants = grants::chain(self.ledger, &rules, self.validator, now).await.ok();
        let key = LedgerKey::session(self.validator);
        let times = session.as_ref().and_then(|session| Some((session.held.first()?.from, session.held.last()?.until)));
        Some(FenceFacts {
            silent: age(self.ledger, &key).await.unwrap_or_default(),
            session,
            number: grant.grant().number.saturating_add(1),
            cloud: grants.map(|grants| cloud_times(&grants, now)).unwrap_or_default(),
            duties: times.filter(|_| !seen.is_empty()).map(|(first, last)| seen.duties(first, last)),
            records_for: self.config.grants.as_ref().map_or(FENCE_RECORDS, |grants| grants.fence_records),
            behind_gate: self.behind_gate().await,
        })
    }

    /// `None` where the API does not answer, or where the configuration does not say what home is in its cluster.
    async fn behind_gate(&self) -> Option<bool> {
        let targets = sources::kube::targets(self.config);
        let target = targets.iter().find(|target| target.validator == *self.validator)?;
        let asked = async {
            let kubeconfig = self.config.kubernetes.kubeconfig.as_deref();
            let client = kube::connect_as_operator(kubeconfig).await.map_err(|error| error.to_string())?;
            kube::commands(client, target).await
        };
        match tokio::time::timeout(KUBE, asked).await {
            Ok(Ok(commands)) => starts_through_gate(&commands, target.container.as_deref()),
            Ok(Err(why)) => {
                tracing::info!("whether home starts through the gate is not known: {why}");
                None
            }
            Err(_) => None,
        }
    }

    /// By what a watcher has noted since it was last started, or by what this program has seen itself.
    fn ready_epochs(
        &self,
        evidence: &GateEvidence,
        open: Option<&PromotionRecord>,
        seen: &ChainSightings,
        is_watched: bool,
        now: Time,
    ) -> Option<u64> {
        let standby = evidence.record.as_ref()?.standby()?;
        let started = open.and_then(|record| {
            record.steps.iter().find(|step| step.effect == PromotionEffect::Start).map(|step| step.at)
        });
        // One that was noted before the start is of a watcher that has not seen it, and of one that is gone nobody knows
        // whether it lasted.
        let is_of_now = |since: &Time| is_watched && standby.ready && started.is_none_or(|started| *since > started);
        let noted = standby.ready_since.filter(is_of_now);
        let own = self.ready.lock().unwrap_or_else(PoisonError::into_inner).lasted();
        let own = own.and_then(|lasted| now.checked_sub(lasted).ok());
        let since = noted.into_iter().chain(own).min()?;
        seen.whole_epochs(since, now)
    }
}

/// Epochs count from here on: those of a promotion from the incident's beginning, those of a way home from its own.
fn silent_since(open: Option<&PromotionRecord>, incident: Option<Time>) -> Option<Time> {
    match open {
        Some(record) if record.kind == PromotionKind::ToHome => Some(record.opened_at),
        Some(record) => incident.or(Some(record.opened_at)),
        None => incident,
    }
}

/// The sites that are home, whose word on silence does not count: this configuration's, and the one that may sign.
fn homes(config: &Config, view: &OwnershipView) -> Vec<String> {
    let granted = view.grant.as_ref().ok().and_then(Option::as_ref).map(|grant| grant.grant().owner.clone());
    let mut homes = vec![config.site.clone()];
    if let Some(GrantPlace::Home { site }) = granted {
        homes.push(site);
    }
    homes
}

/// One that is an answer.
struct SiteRecord<'a> {
    key: &'a str,
    is_home: bool,
    record: SiteEpochs,
}

/// Reads what every site has written of these keys of a validator: of the last 32 sites, if there are more.
///
/// # Errors
/// The ledger did not answer.
pub async fn site_records(
    ledger: &dyn Ledger,
    validator: &ValidatorId,
    chain: &str,
    public_keys: &[PublicKey],
    homes: &[String],
    now: Time,
) -> Result<SiteRecords, LedgerError> {
    let mut keys = Vec::new();
    for key in ledger.list(LedgerKey::CHAINS, None).await? {
        match KeyKind::of(&key) {
            Some(KeyKind::SiteChain(site, of)) if of == *validator => keys.push((key, homes.contains(&site))),
            _ => {}
        }
    }
    let mut all = SiteRecords::default();
    let mut good: Vec<SiteRecord<'_>> = Vec::new();
    for some in keys.chunks(SITES) {
        for ((key, is_home), stored) in some.iter().zip(join_all(some.iter().map(|(key, _)| ledger.get(key))).await) {
            let bytes = match stored {
                Ok(Some(stored)) => stored.bytes,
                Ok(None) => continue,
                Err(LedgerError::Oversized(why)) => {
                    all.problems.push(format!("{key}: {why}"));
                    continue;
                }
                Err(error) => return Err(error),
            };
            match records::decode::<SiteEpochs>(key, &bytes) {
                Err(error) => all.problems.push(error.to_string()),
                Ok(record) => match record.check(chain, public_keys, now) {
                    Err(why) => all.problems.push(format!("{key}: {why}")),
                    Ok(()) => good.push(SiteRecord { key, is_home: *is_home, record }),
                },
            }
        }
        // Homes first, then who has seen the newest epoch.
        good.sort_by_key(|it| Reverse((it.is_home, it.record.newest().map(|(epoch, ..)| epoch))));
        for SiteRecord { key, .. } in good.split_off(good.len().min(SITES)) {
            let help = "take those away that nobody writes any more: failover ledger remove";
            all.problems.push(format!("{key}: {SITES} sites have written later of {validator}; {help}"));
        }
    }
    let odd = ChainSightings::odd(&good.iter().map(|it| &it.record).collect::<Vec<_>>());
    let (odd, good): (Vec<_>, Vec<_>) = good.into_iter().zip(odd).partition(|(_, is_odd)| *is_odd);
    for (SiteRecord { key, .. }, _) in odd {
        let help = "correct that site's beacon nodes";
        all.problems.push(format!("{key}: most sites have another genesis or length of an epoch; {help}"));
    }
    match ChainSightings::of(good.iter().map(|(it, _)| (&it.record, it.is_home))) {
        Ok(seen) => all.seen = seen,
        Err(why) => all.problems.push(why),
    }
    Ok(all)
}

/// When the cloud owned: from each of its grants that is verified to the next grant, whoever signed that.
pub fn cloud_times(chain: &GrantChain, now: Time) -> Vec<Interval> {
    let mut times = Vec::new();
    for (row, next) in chain.grants.iter().zip(chain.grants.iter().skip(1).map(Some).chain([None])) {
        if !matches!(row.owner, Some(GrantPlace::Cloud { .. })) || row.problem.is_some() {
            continue;
        }
        let Some(from) = row.issued_at else { continue };
        match next.map(|next| next.issued_at) {
            None => times.push(Interval { from, to: now }),
            Some(Some(to)) if to >= from => times.push(Interval { from, to }),
            // When it ended nobody can say, so it explains nothing.
            Some(_) => {}
        }
    }
    times
}

/// Whether a watcher is alive, whose word on the standby is then of now: it holds the lease and renews it.
///
/// Where the store has no clock, its next renewal is waited for.
pub async fn is_watched(ledger: &dyn Ledger) -> bool {
    let lease = async || {
        let stored = ledger.get(&LedgerKey::LEASE).await.ok()??;
        let record = records::decode::<LeaseRecord>(&LedgerKey::LEASE, &stored.bytes).ok()?;
        Some((record, stored.version)).filter(|(record, _)| !record.holder.is_empty())
    };
    let Some((first, version)) = lease().await else { return false };
    let ttl = Duration::from_millis(first.ttl_ms).min(LEASE);
    if let Ok(Some(age)) = ledger.age(&LedgerKey::LEASE, &version).await {
        return Duration::try_from(age).is_ok_and(|age| age < ttl);
    }
    for _ in 0..LEASE_LOOKS {
        tokio::time::sleep(ttl / LEASE_LOOKS).await;
        match lease().await {
            Some((next, _)) if (next.token, next.beat) == (first.token, first.beat) => {}
            other => return other.is_some(),
        }
    }
    false
}

async fn age(ledger: &dyn Ledger, key: &LedgerKey) -> Option<Duration> {
    let stored = ledger.get(key).await.ok()??;
    ledger.age(key, &stored.version).await.ok()?.and_then(|age| age.try_into().ok())
}

/// One that could not be read is not among them.
async fn terminated(shapes: &dyn PromotionMachines, machines: &[Machine]) -> Vec<InstanceId> {
    let seen = join_all(machines.iter().map(|machine| shapes.shape(&machine.instance))).await;
    let is_off = |shape: &MachineShape| shape.power == MachinePower::Terminated;
    let found =
        machines.iter().zip(seen).filter(|(_, seen)| seen.as_ref().is_ok_and(|it| it.as_ref().is_some_and(is_off)));
    found.map(|(machine, _)| machine.instance.id.clone()).collect()
}

#[cfg(test)]
mod tests;
