//! From a configuration to running parts: the one place where adapters meet the loop.
//!
//! It decides nothing and talks to nobody; it only connects.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use tokio::{net::TcpListener, sync::mpsc, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::{
    adapters::{
        alertmanager::{
            self, Access, AlertmanagerStats, Api, Credentials, Mapping, Mappings, Receiver, ReceiverConfig, Secret,
        },
        clock::SystemClock,
        http,
        ledger_gcs::{GcsConfig, LedgerGcs},
        ledger_sqlite::LedgerSqlite,
        mail::Mailer,
        monitor, process_probe,
        web::{self, WebState, metrics::Counter},
    },
    config::{AlertmanagerSettings, Config, LedgerSettings, Login, WebhookAuth},
    domain::{Event, Source, alerts::Freshness},
    ports::{Clock, Cloud, Ledger, Notifier},
    runtime::{Engine, EngineConfig, Handle, Outside, lease::LeaseConfig},
};

mod alerts;
mod chain;
pub mod cloud;
mod kube;
mod probes;

pub use chain::{chain_evidence, probe_chain, silent_epochs};
pub use kube::{probe_kube, targets};
pub use probes::ask_once;

/// How often the validator process's own port is asked.
const PROBE_EVERY: Duration = Duration::from_secs(15);
/// How often requests of operators are looked for in the ledger: each time is a request to the bucket, and a person waits.
const REQUESTS_EVERY: Duration = Duration::from_secs(5);
/// A jump of the clock, or a gap in observation, of more than this begins every waiting time again. A busy
/// machine is late by less; more is a machine that was suspended, or a clock that was set.
const CLOCK_JUMP: Duration = Duration::from_secs(30);

/// The ledger that is configured.
///
/// # Errors
/// What is wrong with it, with the next step.
pub fn ledger(config: &Config) -> anyhow::Result<Arc<dyn Ledger>> {
    Ok(match &config.ledger {
        LedgerSettings::Sqlite { path } => Arc::new(LedgerSqlite::open(path)?),
        LedgerSettings::Gcs { bucket, prefix, endpoint, credentials } => Arc::new(LedgerGcs::new(GcsConfig {
            endpoint: endpoint.clone(),
            bucket: bucket.clone(),
            prefix: prefix.clone(),
            credentials: cloud::credentials(credentials)?,
            timeout: Duration::from_secs(10),
        })?),
    })
}

/// Who tells people, if that is configured.
///
/// # Errors
/// An address that is none.
pub fn notifier(config: &Config) -> anyhow::Result<Option<Arc<dyn Notifier>>> {
    let mailer = config.mail.clone().map(Mailer::new).transpose()?;
    Ok(mailer.map(|mailer| Arc::new(mailer) as Arc<dyn Notifier>))
}

/// Which alerts count for whom.
///
/// # Errors
/// Matchers that are none; the configuration has been checked for that.
pub fn mappings(config: &Config) -> anyhow::Result<Mappings> {
    let mut all = Vec::new();
    for validator in &config.validators {
        for alert in &validator.alerts {
            let matchers = alert.matchers.parse().map_err(|error| anyhow::anyhow!("{}: {error}", alert.matchers))?;
            all.push(Mapping { validator: validator.name.clone(), matchers, evidence: alert.evidence });
        }
    }
    let watchdog = config.alertmanager.as_ref().and_then(|settings| settings.watchdog.as_ref());
    let watchdog = watchdog.map(|watchdog| watchdog.matchers.parse()).transpose();
    Ok(Mappings::new(all, watchdog.map_err(|error| anyhow::anyhow!("watchdog: {error}"))?))
}

/// A watcher with all its parts, ready to run.
pub struct Watcher {
    engine: Engine,
    handle: Handle,
    tasks: JoinSet<()>,
    stop: CancellationToken,
    router: axum::Router,
    listener: TcpListener,
}

impl Watcher {
    /// Connects everything. The port is taken here, so that a second process fails at once and with a clear message.
    ///
    /// # Errors
    /// What cannot be used, with the next step.
    pub async fn build(config: &Config) -> anyhow::Result<Self> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let outside = Outside {
            ledger: ledger(config)?,
            cloud: cloud::cloud(config).await?.map(|gce| gce as Arc<dyn Cloud>),
            notifier: notifier(config)?,
            clock: clock.clone(),
        };
        let listen = config.http.listen;
        let listener = TcpListener::bind(listen).await.with_context(|| format!("the port {listen} cannot be taken"))?;
        let (engine, handle) = Engine::new(engine_config(config)?, outside.clone());
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let mut router = axum::Router::new();
        let mut stats = None;
        if let Some(settings) = &config.alertmanager {
            let (routes, counters) =
                alert_source(config, settings, &outside, &clock, &handle, &mut tasks, &stop).context("alertmanager")?;
            router = routes;
            stats = Some(counters);
        }
        chain::spawn(config, &outside, &handle, &mut tasks, &stop)?;
        kube::spawn(config, &outside, &handle, &mut tasks, &stop).await?;
        process_probes(config, &clock, &handle, &mut tasks, &stop)?;
        probes::spawn(config, &clock, &handle, &mut tasks, &stop)?;
        if let Some(settings) = &config.monitor {
            let every = settings.every.try_into().context("monitor.every")?;
            let handle = handle.clone();
            // Asking the loop itself: one that leads and is stuck is not well, nor is a validator nobody watches.
            let well = move || {
                let handle = handle.clone();
                async move { handle.status().await.is_some_and(|status| status.unreadable.is_empty()) }
            };
            tasks.spawn(monitor::ping(settings.ping_url_file.clone(), every, well, stop.clone()));
        }
        let router = router.merge(web::routes(web_state(&handle, stats)));
        Ok(Self { engine, handle, tasks, stop, router, listener })
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

    /// Runs until told to stop: first no new messages are taken, then what runs ends, then the lease is given back.
    ///
    /// # Errors
    /// When the ledger cannot be used at all.
    pub async fn run(mut self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let stop = self.stop.clone();
        let server = axum::serve(self.listener, self.router)
            .with_graceful_shutdown({
                let shutdown = shutdown.clone();
                async move { shutdown.cancelled().await }
            })
            .into_future();
        let server = tokio::spawn(server);
        let ended = self.engine.run(shutdown.clone()).await;
        stop.cancel();
        shutdown.cancel();
        // Whoever keeps a connection open does not keep us.
        let _ = tokio::time::timeout(Duration::from_secs(2), server).await;
        self.tasks.shutdown().await;
        Ok(ended?)
    }
}

fn engine_config(config: &Config) -> anyhow::Result<EngineConfig> {
    let lease = LeaseConfig {
        site: config.site.clone(),
        address: config.http.address.as_ref().map(ToString::to_string),
        ttl: config.policy.lease.try_into().context("policy.lease")?,
    };
    Ok(EngineConfig {
        site: config.site.clone(),
        validators: config.validators.iter().map(|validator| validator.name.clone()).collect(),
        policy: config.policy.clone(),
        // So that a short lease, which is a wish for a quick watcher, makes this quick as well.
        requests_every: REQUESTS_EVERY.min(lease.ttl / 6),
        call_timeout: cloud::call_timeout(config),
        clock_jump: CLOCK_JUMP,
        cli: "failover".into(),
        lease,
    })
}

fn alert_source(
    config: &Config,
    settings: &AlertmanagerSettings,
    outside: &Outside,
    clock: &Arc<dyn Clock>,
    handle: &Handle,
    tasks: &mut JoinSet<()>,
    stop: &CancellationToken,
) -> anyhow::Result<(axum::Router, Arc<AlertmanagerStats>)> {
    let freshness = match &settings.watchdog {
        Some(watchdog) => Freshness::Watchdog { timeout: watchdog.timeout },
        None => Freshness::Repetition { stale_after: settings.stale_after },
    };
    let receiving = Arc::new(AtomicBool::new(false));
    let (now, holds, leading) = (clock.clone(), receiving.clone(), handle.clone());
    let receiver_config = ReceiverConfig {
        mappings: mappings(config)?,
        access: access(&settings.auth)?,
        freshness,
        now: Arc::new(move || now.now()),
        holds_lease: Arc::new(move || holds.load(Ordering::Acquire) && leading.leads()),
    };
    let (sender, events) = mpsc::channel(1024);
    let receiver = Arc::new(Receiver::new(receiver_config, outside.ledger.clone(), sender));
    let api = match &settings.url {
        Some(url) => Some(Api::new(http::client(Duration::from_secs(20))?, url.clone())),
        None => None,
    };
    let (routes, stats) = (alertmanager::routes(receiver.clone()), receiver.stats().clone());
    let clock = clock.clone();
    let task = alerts::Alerts { receiver, events, api, freshness, clock, handle: handle.clone(), receiving };
    tasks.spawn(task.run(stop.clone()));
    Ok((routes, stats))
}

fn access(auth: &WebhookAuth) -> anyhow::Result<Access> {
    Ok(match auth {
        WebhookAuth::Bearer(file) => Access::Only(vec![Credentials::Bearer(Secret::new(file.read()?.expose())?)]),
        WebhookAuth::Basic(Login { username, password_file }) => {
            let password = Secret::new(password_file.read()?.expose())?;
            Access::Only(vec![Credentials::Basic { user: username.clone(), password }])
        }
        WebhookAuth::None => Access::Anybody,
    })
}

fn process_probes(
    config: &Config,
    clock: &Arc<dyn Clock>,
    handle: &Handle,
    tasks: &mut JoinSet<()>,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let client = http::client(Duration::from_secs(5))?;
    let every = PROBE_EVERY.min(config.policy.observe_every.try_into().context("observe_every")?);
    for validator in &config.validators {
        let Some(url) = validator.process.clone() else { continue };
        let (client, clock, handle, stop) = (client.clone(), clock.clone(), handle.clone(), stop.clone());
        let id = validator.name.clone();
        tasks.spawn(async move {
            let mut ticks = tokio::time::interval(every);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    _ = ticks.tick() => {}
                    () = stop.cancelled() => return,
                }
                let reading = process_probe::probe(&client, &url, every, || clock.now()).await;
                handle.tell(Event::Observed(id.clone(), Source::Process, reading)).await;
            }
        });
    }
    Ok(())
}

fn web_state(handle: &Handle, stats: Option<Arc<AlertmanagerStats>>) -> WebState {
    let (asking, leading) = (handle.clone(), handle.clone());
    let counted = stats.clone();
    WebState {
        ask: Arc::new(move || {
            let (handle, stats) = (asking.clone(), stats.clone());
            Box::pin(async move {
                let mut status = handle.see().await?;
                if let Some(stats) = stats {
                    let names = stats.unmatched_names();
                    if !names.is_empty() {
                        status.warnings.push(format!("alerts that no validator is mapped to: {}", names.join(", ")));
                    }
                }
                Some(status)
            })
        }),
        leads: Arc::new(move || leading.leads()),
        extra_metrics: Arc::new(move || counted.as_deref().map(counters).unwrap_or_default()),
    }
}

fn counters(stats: &AlertmanagerStats) -> Vec<Counter> {
    let counter =
        |name, help, value: &std::sync::atomic::AtomicU64| Counter { name, help, value: value.load(Ordering::Relaxed) };
    vec![
        counter("alerts_received", "Alerts received, each time", &stats.received),
        counter("alerts_matched", "Alerts that counted for a validator", &stats.matched),
        counter("alerts_unmatched", "Alerts that no mapping takes", &stats.unmatched),
        counter("alerts_truncated", "Alerts that Alertmanager left out", &stats.truncated),
        counter("webhooks_unauthorised", "Messages without the right credentials", &stats.unauthorised),
        counter("webhooks_too_large", "Messages that were too large and are lost", &stats.too_large),
        counter("webhooks_malformed", "Messages that are not payload version 4", &stats.malformed),
        counter("webhooks_refused", "Messages answered with 503, which come again", &stats.refused),
    ]
}

/// Where the state is, for the log.
#[must_use]
pub fn describe_ledger(config: &Config) -> String {
    match &config.ledger {
        LedgerSettings::Sqlite { path } => format!("the file {}", path.display()),
        LedgerSettings::Gcs { bucket, prefix, .. } => format!("gs://{bucket}/{prefix}"),
    }
}
