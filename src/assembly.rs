//! From a configuration to running parts: the one place where adapters meet the loop.
//!
//! It decides nothing and talks to nobody; it only connects.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    adapters::{
        alertmanager::{self, AlertmanagerStats},
        clock::SystemClock,
        ledger_gcs::{GcsConfig, LedgerGcs},
        ledger_sqlite::LedgerSqlite,
        mail::Mailer,
        server::{self, PortLimits, access::Access, tls::PortTls},
        web::{self, RefusedRequests, WebState},
    },
    config::{Config, LedgerSettings},
    domain::{LedgerKey, Policy, Time},
    ports::{Cloud, Ledger, LedgerError, Notifier},
    runtime::{
        Deps, Engine, EngineConfig, Handle,
        grants::GrantRules,
        lease::{LeaseConfig, LeaseHolder},
        status::{TestArrival, WebhookStatus},
    },
    sources::{
        Sources, alerts::AlertSource, chain::ChainSource, gate::gate_ports, kube::KubeSource, monitor::MonitorPing,
        owner::owners, probes::probes, process::process_ports, site,
    },
};

pub mod cloud;
pub mod promoted;
pub mod runbook;

/// A jump of the clock, or a gap in observation, of more than this begins every waiting time again. A busy
/// machine is late by less; more is a machine that was suspended, or a clock that was set.
const CLOCK_JUMP: Duration = Duration::from_secs(30);

/// The ledger that is configured.
///
/// # Errors
/// What is wrong with it, with the next step.
pub fn ledger(config: &Config) -> anyhow::Result<Arc<dyn Ledger>> {
    ledger_over(config, LedgerSqlite::open)
}

/// The same for commands that only look: a file that is not there is not made, and reads as an empty ledger.
///
/// # Errors
/// What is wrong with it, with the next step.
pub fn ledger_to_read(config: &Config) -> anyhow::Result<Arc<dyn Ledger>> {
    ledger_over(config, LedgerSqlite::open_to_read)
}

/// The file of the ledger that is configured, if it is to be a file and is not there.
#[must_use]
pub fn missing_ledger(config: &Config) -> Option<&Path> {
    match &config.ledger {
        LedgerSettings::Sqlite { path } => (!path.exists()).then_some(path),
        LedgerSettings::Gcs { .. } => None,
    }
}

fn ledger_over(
    config: &Config,
    open: impl FnOnce(&Path) -> Result<LedgerSqlite, LedgerError>,
) -> anyhow::Result<Arc<dyn Ledger>> {
    Ok(match &config.ledger {
        LedgerSettings::Sqlite { path } => Arc::new(open(path)?),
        LedgerSettings::Gcs { bucket, prefix, endpoint, credentials } => Arc::new(LedgerGcs::new(GcsConfig {
            endpoint: endpoint.clone(),
            bucket: bucket.clone(),
            prefix: prefix.clone(),
            login: Arc::new(cloud::credentials(credentials)?),
            timeout: Duration::from_secs(10),
        })?),
    })
}

/// Who notifies people, if that is configured.
///
/// # Errors
/// An address that is none.
pub fn notifier(config: &Config) -> anyhow::Result<Option<Arc<dyn Notifier>>> {
    let mailer = config.mail.clone().map(Mailer::new).transpose()?;
    Ok(mailer.map(|mailer| Arc::new(mailer) as Arc<dyn Notifier>))
}

/// A watcher with all its parts, ready to run.
pub struct Watcher {
    engine: Engine,
    handle: Handle,
    sources: Sources,
    router: axum::Router,
    listener: TcpListener,
    files: PortFiles,
}

/// What the port reads from files that change while it runs.
#[derive(Clone)]
pub struct PortFiles {
    access: Vec<Arc<Access>>,
    tls: Option<Arc<PortTls>>,
}

impl PortFiles {
    /// Reads all of them again, without waiting for the next request to do so.
    pub fn reread(&self) {
        let now = Instant::now();
        self.access.iter().for_each(|access| access.reread(now));
        self.tls.iter().for_each(|tls| tls.reread(now));
    }

    /// What cannot be read any more, although it is still used as it was.
    fn problems(&self) -> Vec<String> {
        let (access, tls) = (self.access.iter(), self.tls.iter());
        let all = access.filter_map(|access| access.problem()).chain(tls.filter_map(|tls| tls.problem()));
        all.map(|problem| format!("{problem}; what was read before stays in use")).collect()
    }
}

impl Watcher {
    /// Connects everything. The port is taken here, so that a second process fails at once and with a clear message.
    ///
    /// # Errors
    /// What cannot be used, with the next step.
    pub async fn build(config: &Config) -> anyhow::Result<Self> {
        let deps = Deps {
            ledger: ledger(config)?,
            cloud: cloud::cloud(config).await?.map(|gce| gce as Arc<dyn Cloud>),
            notifier: notifier(config)?,
            clock: Arc::new(SystemClock),
        };
        let listen = config.http.listen;
        let listener = server::listen(listen).with_context(|| format!("the port {listen} cannot be taken"))?;
        let engine_config = engine_config(config)?;
        let (home, witness) = site::sites(&engine_config, &deps, config.witness.is_some())?;
        let (engine, handle) = Engine::new(engine_config, deps.clone());
        let mut sources = Sources::new(handle.clone());
        let now = Instant::now();
        let tls = config.http.tls.as_ref().map(|files| PortTls::read(files, now)).transpose().context("http.tls")?;
        let login = Arc::new(Access::read(&config.http.login, now).context("http.login")?);
        let mut files = PortFiles { access: vec![Arc::clone(&login)], tls: tls.map(Arc::new) };
        let mut beside = axum::Router::new();
        let mut stats = None;
        if let Some(settings) = &config.alertmanager {
            let alerts = AlertSource::new(config, settings, &deps, &handle).context("alertmanager")?;
            beside = alertmanager::routes(alerts.receiver().clone());
            stats = Some(alerts.receiver().stats().clone());
            files.access.push(Arc::clone(alerts.receiver().access()));
            sources.spawn(alerts);
        }
        sources.spawn_all(ChainSource::new(config, &deps)?);
        sources.spawn_all(KubeSource::new(config, &deps.clock).await?);
        sources.spawn_all(process_ports(config, &deps.clock)?);
        sources.spawn_all(gate_ports(config, &deps.clock)?);
        sources.spawn_all(probes(config, &deps.clock)?);
        sources.spawn_all(owners(config, &deps.ledger)?);
        sources.spawn_all(home);
        sources.spawn_all(witness);
        sources.spawn_all(config.monitor.as_ref().map(MonitorPing::new).transpose()?);
        let router = web::routes(web_state(&handle, stats, login, files.clone()), beside);
        Ok(Self { engine, handle, sources, router, listener, files })
    }

    #[must_use]
    pub fn files(&self) -> &PortFiles {
        &self.files
    }

    /// Where it listens.
    ///
    /// # Errors
    /// What the system says.
    pub fn address(&self) -> std::io::Result<std::net::SocketAddr> {
        self.listener.local_addr()
    }

    #[must_use]
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Runs until stopped: first no new messages are taken, then what runs ends, then the lease is given back.
    ///
    /// # Errors
    /// When the ledger cannot be used at all.
    pub async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let limits = PortLimits::default().within_open_files();
        let server = server::serve(self.listener, self.files.tls, self.router, limits, shutdown.clone());
        let mut server = tokio::spawn(server);
        let ended = self.engine.run(shutdown.clone()).await;
        shutdown.cancel();
        self.sources.stop().await;
        // Whoever keeps a connection open does not keep us.
        if tokio::time::timeout(Duration::from_secs(2), &mut server).await.is_err() {
            server.abort();
        }
        Ok(ended?)
    }
}

/// By which grants are verified.
#[must_use]
pub fn grant_rules(config: &Config) -> GrantRules {
    let chains = config.validators.iter();
    GrantRules {
        allowed_signers: config.grants.as_ref().map(|grants| grants.allowed_signers.clone()),
        allow_untouched: config.grants.as_ref().is_some_and(|grants| grants.allow_untouched),
        chains: chains.filter_map(|it| Some((it.name.clone(), it.chain.clone()?))).collect(),
    }
}

fn engine_config(config: &Config) -> anyhow::Result<EngineConfig> {
    let address = config.http.address.as_ref().map(ToString::to_string);
    let lease = LeaseConfig {
        key: LedgerKey::LEASE,
        about: LeaseHolder { site: config.site.clone(), address, witness: config.as_witness().map(str::to_owned) },
        ttl: config.policy.lease.try_into().context("policy.lease")?,
        silence: config
            .as_witness()
            .map(|_| config.policy.site_silence.try_into())
            .transpose()
            .context("policy.site_silence")?,
    };
    Ok(EngineConfig {
        site: config.site.clone(),
        validators: config.validators.iter().map(|validator| validator.name.clone()).collect(),
        policy: Policy {
            runbooks: runbook::mailed(config),
            home_stops: runbook::home_stops(config),
            ..config.policy.clone()
        },
        requests_every: config.policy.requests_every.try_into().context("requests_every")?,
        call_timeout: cloud::call_timeout(config),
        clock_jump: CLOCK_JUMP,
        grants: grant_rules(config),
        cli: "failover".into(),
        lease,
    })
}

fn webhook_status(stats: &AlertmanagerStats, since: Time) -> WebhookStatus {
    let tests = stats.tests().into_iter().map(|(id, at)| TestArrival { id, at }).collect();
    let received = stats.received.get().saturating_sub(stats.tested.get());
    WebhookStatus { since, received, last_watchdog_at: stats.last_watchdog(), tests }
}

fn web_state(engine: &Handle, stats: Option<Arc<AlertmanagerStats>>, login: Arc<Access>, files: PortFiles) -> WebState {
    let mut counters = web::metrics::registry();
    let refused = Arc::new(RefusedRequests::default());
    refused.register(&mut counters);
    if let Some(stats) = &stats {
        stats.register(&mut counters);
    }
    let (shown, since) = (stats.clone(), Time::now());
    WebState {
        engine: engine.clone(),
        webhook_path: stats.is_some().then_some(alertmanager::WEBHOOK_PATH),
        arrived: Arc::new(move || shown.as_deref().map(|stats| webhook_status(stats, since))),
        warnings: Arc::new(move || {
            let names = stats.as_ref().map(|stats| stats.unmatched_names()).unwrap_or_default();
            let unmatched = || format!("alerts that no validator is mapped to: {}", names.join(", "));
            (!names.is_empty()).then(unmatched).into_iter().chain(files.problems()).collect()
        }),
        counters: Arc::new(counters),
        login,
        refused,
    }
}
