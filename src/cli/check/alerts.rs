//! Alerts: whether Alertmanager can be asked, whether anything of it has come, and, when it is asked for, whether a
//! test alert arrives. A test alert is never evidence (`adapters::alertmanager::test_alert`).

use std::time::{Duration, Instant};

use http::header::AUTHORIZATION;
use uuid::Uuid;

use super::{
    Options,
    progress::{AtWork, ProgressLine},
    watcher::RunningWatcher,
};
use crate::{
    adapters::{
        alertmanager::{Api, ReconcileError, test_alert},
        http::{PageError, read_excerpt},
        server::access::authorization,
    },
    cli::status::{ask, client_of},
    config::{AlertmanagerSettings, Config, WatchdogSettings},
    domain::{Span, Time, TimeExt, one_line},
    ports::Finding,
    runtime::status::{Status, WebhookStatus},
    sources::alerts::mappings,
};

/// How often the watcher is asked whether the test alert has come.
const EVERY: Duration = Duration::from_millis(500);
/// As much of an answer to a test alert as is shown.
const SAID: usize = 200;

pub(super) async fn check(
    config: &Config,
    running: &RunningWatcher,
    options: &Options,
    wait: Duration,
    progress: &ProgressLine,
) -> Vec<Finding> {
    let Some(settings) = &config.alertmanager else {
        let detail = "no `alertmanager` section: alerts are no signal here";
        if options.webhook || options.alertmanager {
            return vec![Finding::problem("alerts", detail, "add `alertmanager`, see docs/alertmanager.md")];
        }
        return vec![Finding::ok("alerts", detail)];
    };
    let mut findings = vec![listed(config, settings).await];
    if settings.watchdog.is_none() {
        let remedy = "add `alertmanager.watchdog.matchers`, for example {alertname=\"Watchdog\"}, and route that alert \
                      to the webhook (docs/alertmanager.md)";
        let detail = "no `alertmanager.watchdog`: a broken Alertmanager looks like a quiet one";
        findings.push(Finding::problem("Watchdog", detail, remedy));
    }
    findings.extend(arrived(settings.watchdog.as_ref(), running));
    if options.webhook {
        findings.push(to_webhook(config, settings, running).await);
    }
    if options.alertmanager {
        let at_work = progress.begin("test alert");
        findings.push(through_alertmanager(config, settings, running, options, wait, &at_work).await);
    }
    findings
}

/// By the very list that the watcher compares with.
async fn listed(config: &Config, settings: &AlertmanagerSettings) -> Finding {
    let subject = "Alertmanager";
    let Some(api) = Api::of(settings) else {
        let detail = "no `alertmanager.url`: after a restart, and for an alert that ended unnoticed, nobody can be \
                          asked what still fires";
        return Finding::problem(subject, detail, "add its address in `alertmanager.url`");
    };
    match api.list(&mappings(config)).await {
        Ok(listing) => Finding::ok(subject, format!("lists its alerts, {} of them about us", listing.alerts.len())),
        Err(error) => unlisted(subject, &error),
    }
}

fn unlisted(subject: &str, error: &ReconcileError) -> Finding {
    let remedy = match error {
        ReconcileError::Unreachable { .. } => "correct `alertmanager.url`, or let this machine reach it",
        ReconcileError::Status { status: 401 | 403, .. } => "it wants a login: give it in `alertmanager.login`",
        ReconcileError::Login(_) => "put the secret where `alertmanager.login` looks for it",
        ReconcileError::Client(_) => "correct `alertmanager.ca_file`",
        ReconcileError::Status { .. } | ReconcileError::NotTheApi { .. } => {
            "correct `alertmanager.url`: what is before /api/v2, its `--web.external-url`"
        }
        ReconcileError::NotTheHolder | ReconcileError::AlertStore(_) | ReconcileError::Closed => "run this again",
    };
    Finding::problem(subject, error.to_string(), remedy)
}

/// What has come to the watcher that runs. Without one nothing is known, which is said there.
fn arrived(watchdog: Option<&WatchdogSettings>, running: &RunningWatcher) -> Option<Finding> {
    let route = "route it to the watcher's /webhook/alertmanager as docs/alertmanager.md says; \
                 `failover check --webhook` tries address and login, `--alertmanager` the whole way";
    let (_, Status { at, webhook: Some(seen), .. }) = running.leader()? else { return None };
    let WebhookStatus { since, received, last_watchdog_at, .. } = seen;
    Some(match (watchdog, last_watchdog_at) {
        (Some(WatchdogSettings { timeout, .. }), None) if at.duration_since(*since) <= *timeout => {
            let detail =
                format!("none has come yet, and none had to: the watcher was started less than {timeout:#} ago");
            Finding::warning("Watchdog", detail, "run this again when that time is over")
        }
        (Some(_), None) => {
            let detail = format!("none has come since the watcher was started, and {received} alerts");
            Finding::problem("Watchdog", detail, route)
        }
        (Some(WatchdogSettings { timeout, .. }), Some(last)) => {
            let age = at.duration_since(*last);
            let detail = format!("came {:#} ago, {received} alerts since the start", whole(age));
            if age > *timeout {
                let remedy =
                    format!("its route needs a `repeat_interval` below `watchdog.timeout` ({timeout:#}); {route}");
                Finding::problem("Watchdog", detail, remedy)
            } else {
                Finding::ok("Watchdog", detail)
            }
        }
        (None, _) if *received == 0 => Finding::unknown("alerts", "none has come since the watcher was started", route),
        (None, _) => Finding::ok("alerts", format!("{received} have come since the watcher was started")),
    })
}

fn whole(age: Span) -> Span {
    Span::from_secs(age.as_secs())
}

/// Everything about a test alert that can go wrong before it is on its way.
fn nobody(subject: &str, running: &RunningWatcher) -> Finding {
    let detail = match running {
        RunningWatcher::Answers(url, _) => format!("not sent: {url} does not hold the lease and takes no alerts"),
        RunningWatcher::Nobody(_) => "not sent: no watcher answers".to_owned(),
    };
    Finding::problem(subject, detail, "start a watcher with `failover serve --config …`, and run this again")
}

/// As Alertmanager would send it, with what it would show.
async fn to_webhook(config: &Config, settings: &AlertmanagerSettings, running: &RunningWatcher) -> Finding {
    let subject = "test alert to the webhook";
    let Some((url, _)) = running.leader() else { return nobody(subject, running) };
    let (id, now) = (Uuid::new_v4(), Time::now());
    let path = match url.join("webhook/alertmanager") {
        Ok(path) => path,
        Err(error) => return Finding::problem(subject, error.to_string(), "correct `http.address`"),
    };
    let sent = async {
        let client = client_of(config)?;
        let message = test_alert::message(id, now, now.plus(Span::from_mins(1)));
        let request = client.post(path.clone()).json(&message);
        // In place of the login of the pages.
        let secret = authorization(&settings.auth)?.map(|value| (AUTHORIZATION, value));
        let response = request.headers(secret.into_iter().collect()).send().await.map_err(PageError::from)?;
        let status = response.status();
        anyhow::Ok((status, one_line(&read_excerpt(response).await, SAID)))
    };
    let (status, said) = match sent.await {
        Ok(answer) => answer,
        Err(error) => return Finding::problem(subject, format!("{path}: {error:#}"), "correct `http.address`"),
    };
    let answered = format!("{path} answers {status}: {said}");
    match status.as_u16() {
        200 => {}
        401 | 403 => {
            let remedy = "the running watcher has another secret than `alertmanager.auth` names here: give both, and \
                          Alertmanager, the same";
            return Finding::problem(subject, answered, remedy);
        }
        503 => return Finding::unknown(subject, answered, "run this again, and look at the watcher's log"),
        _ => {
            let remedy = "something else answers there: correct `http.address`, or what is in front of the watcher";
            return Finding::problem(subject, answered, remedy);
        }
    }
    match shown(config, url, id).await {
        Ok(true) => Finding::ok(subject, format!("{path} took it, and the watcher shows it")),
        Ok(false) => {
            let remedy = "two watchers behind one address? The alert went to one, and the status came from another";
            Finding::problem(subject, format!("{path} answers 200, and the watcher does not show it"), remedy)
        }
        Err(error) => Finding::unknown(subject, format!("{url}: {error:#}"), "run this again"),
    }
}

async fn shown(config: &Config, url: &url::Url, id: Uuid) -> anyhow::Result<bool> {
    let status = ask(&client_of(config)?, url).await?;
    Ok(status.webhook.is_some_and(|webhook| webhook.tests.iter().any(|test| test.id == id)))
}

async fn through_alertmanager(
    config: &Config,
    settings: &AlertmanagerSettings,
    running: &RunningWatcher,
    options: &Options,
    wait: Duration,
    at_work: &AtWork<'_>,
) -> Finding {
    let subject = "test alert through Alertmanager";
    let Some((url, _)) = running.leader() else { return nobody(subject, running) };
    let Some(api) = Api::of(settings) else {
        return Finding::problem(subject, "not sent: no `alertmanager.url`", "add `alertmanager.url`");
    };
    let (id, now) = (Uuid::new_v4(), Time::now());
    // Alive for as long as it is waited for: what has ended is not sent any more.
    let until = now.plus(options.wait).plus(Span::from_mins(1));
    if let Err(error) = api.post_test(&test_alert::alert(id, &options.label, now, until)).await {
        return unlisted(subject, &error);
    }
    let since = Instant::now();
    loop {
        let waited = since.elapsed();
        if shown(config, url, id).await.unwrap_or(false) {
            return Finding::ok(subject, format!("arrived after {} s", waited.as_secs()));
        }
        if waited >= wait {
            break;
        }
        at_work.at(format!("on its way for {} of {} s", waited.as_secs(), wait.as_secs()));
        tokio::time::sleep(EVERY.min(wait.saturating_sub(waited))).await;
    }
    let name = test_alert::NAME;
    let detail = format!("Alertmanager took it, and it has not arrived within {} s", wait.as_secs());
    let remedy = format!(
        "let a route of Alertmanager's take alertname=\"{name}\" to the webhook, or give the test the labels that your \
         routes ask for (--label NAME=VALUE); a `group_wait` needs a longer --wait. `failover check --webhook` tries \
         the last part alone, and Alertmanager's log says what it was answered"
    );
    Finding::problem(subject, detail, remedy)
}
