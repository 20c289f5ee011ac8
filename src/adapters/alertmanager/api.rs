//! Alertmanager's API v2: which alerts it has now. It is asked, and told of nothing but a test alert: no silence is ever
//! made here.

use std::{path::PathBuf, sync::Arc, time::Duration};

use serde::Deserialize;
use url::Url;

use super::{
    super::{http, server::access::authorization},
    mapping::{Mappings, Taken},
    payload::{Annotations, Readable, fingerprint, is_not_evaluated, or_none, time},
};
use crate::{
    config::{AlertmanagerSettings, HttpAuth, SecretError},
    domain::{
        Span, Time,
        alerts::{Alert, Labels, MAX_TEXT, Word},
        one_line,
    },
};

/// Longer than any answer inside a cluster takes, shorter than anybody wants to wait.
const TIMEOUT: Duration = Duration::from_secs(20);
/// 64 MiB hold some 50,000 alerts.
const MAX_BODY: usize = 64 << 20;
/// After its start Alertmanager knows no alerts until Prometheus has sent them again, which takes one
/// `--rules.alert.resend-delay` (1m); before three of them what it lacks means nothing.
const WARM_UP: Span = Span::from_mins(3);

/// Where it is asked. Authority and secret are read each time, so a renewed one is used without a restart.
#[derive(Clone, Debug)]
pub struct Api {
    base: Url,
    /// Authorities that are trusted beside those of the system.
    ca_file: Option<PathBuf>,
    login: HttpAuth,
}

#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// No connection, no answer in time, an answer cut off.
    #[error("alertmanager does not answer at {url}: {error}")]
    Unreachable {
        url: String,
        /// What the client says, with its causes.
        error: String,
    },
    #[error("alertmanager answers {status} to {url}: {}", remedy(*status))]
    Status { url: String, status: u16 },
    #[error(transparent)]
    Login(#[from] SecretError),
    #[error(transparent)]
    Client(#[from] http::HttpClientError),
    /// Not what API v2 answers.
    #[error("what {url} answers is not Alertmanager's API v2: {error}")]
    NotTheApi { url: String, error: String },
    #[error("this process does not hold the lease")]
    NotTheHolder,
    /// The list is here, but not everything of it is in the ledger.
    #[error(transparent)]
    AlertStore(#[from] super::store::AlertStoreError),
    #[error("nobody takes the alerts any more")]
    Closed,
}

#[derive(Debug)]
pub struct Listing {
    /// Alerts that count for a validator, with what is said of them.
    pub alerts: Vec<(Alert, Word)>,
    /// Whether an alert that is not in it does not fire. Not so just after Alertmanager's own start.
    pub complete: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListedAlert {
    labels: Labels,
    #[serde(default, deserialize_with = "or_none")]
    annotations: Option<Annotations>,
    starts_at: Option<String>,
    fingerprint: Option<String>,
    status: Option<ListedStatus>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListedStatus {
    silenced_by: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct ServerStatus {
    /// In spite of its name, when Alertmanager started.
    uptime: String,
}

impl Api {
    /// Takes the address as in Alertmanager's `--web.external-url`.
    #[must_use]
    pub fn new(base: Url, ca_file: Option<PathBuf>, login: HttpAuth) -> Self {
        Self { base, ca_file, login }
    }

    /// As configured; `None` without `alertmanager.url`.
    #[must_use]
    pub fn of(settings: &AlertmanagerSettings) -> Option<Self> {
        let url = settings.url.clone()?;
        Some(Self::new(url, settings.ca_file.clone(), settings.login.clone()))
    }

    /// Asks whether it is there and takes our login.
    ///
    /// # Errors
    /// [`ReconcileError`] when it does not answer as Alertmanager.
    pub async fn check(&self) -> Result<(), ReconcileError> {
        self.started(&self.client()?).await.map(drop)
    }

    /// Asks for every alert, also silenced and inhibited ones.
    ///
    /// # Errors
    /// [`ReconcileError`] when there is no complete answer.
    pub async fn list(&self, mappings: &Mappings) -> Result<Listing, ReconcileError> {
        // Its start is asked for before and after: a restart in between would make an empty list look trustworthy.
        let client = self.client()?;
        let before = self.started(&client).await?;
        let url = self.url("alerts?active=true&silenced=true&inhibited=true&unprocessed=true")?;
        let (body, _) = self.get(&client, &url).await?;
        let Readable { read, unreadable } = from_json::<Readable<ListedAlert>>(&url, &body)?;
        if unreadable.count > 0 {
            tracing::warn!(
                count = unreadable.count,
                why = unreadable.why,
                "alerts in Alertmanager's list cannot be read, so what it lacks is not believed to have ended"
            );
        }
        let after = self.started(&client).await?;
        let settled = match (before, after) {
            (Some((start, _)), Some((same, now))) => start == same && now.duration_since(start) >= WARM_UP,
            _ => false,
        };
        let alerts = read.into_iter().flat_map(|alert| taken(alert, mappings)).collect();
        Ok(Listing { alerts, complete: settled && unreadable.count == 0 })
    }

    /// With the certificates and the secret as their files hold them now.
    fn client(&self) -> Result<reqwest::Client, ReconcileError> {
        Ok(http::client_trusting(TIMEOUT, self.ca_file.as_deref(), authorization(&self.login)?)?)
    }

    /// Gives it one test alert, which it sends on as its routes say.
    ///
    /// # Errors
    /// [`ReconcileError`] when it did not take it.
    pub async fn post_test(&self, alert: &serde_json::Value) -> Result<(), ReconcileError> {
        let url = self.url("alerts")?;
        let response = self.client()?.post(url.clone()).json(&[alert]).send().await.map_err(|error| {
            ReconcileError::Unreachable { url: url.to_string(), error: causes(&error.without_url()) }
        })?;
        let status = response.status();
        if status.is_success() {
            return Ok(());
        }
        Err(ReconcileError::Status { url: url.to_string(), status: status.as_u16() })
    }

    /// When it started and what time it is, both by Alertmanager's own clock. `None` when it does not say.
    async fn started(&self, client: &reqwest::Client) -> Result<Option<(Time, Time)>, ReconcileError> {
        let url = self.url("status")?;
        let (body, date) = self.get(client, &url).await?;
        let status: ServerStatus = from_json(&url, &body)?;
        Ok(time(&status.uptime).zip(date))
    }

    fn url(&self, path: &str) -> Result<Url, ReconcileError> {
        let text = format!("{}/api/v2/{path}", self.base.as_str().trim_end_matches('/'));
        Url::parse(&text).map_err(|error| ReconcileError::NotTheApi { url: text, error: error.to_string() })
    }

    async fn get(&self, client: &reqwest::Client, url: &Url) -> Result<(Vec<u8>, Option<Time>), ReconcileError> {
        let unreachable = |error: reqwest::Error| ReconcileError::Unreachable {
            url: url.to_string(),
            error: causes(&error.without_url()),
        };
        let response = client.get(url.clone()).send().await.map_err(unreachable)?;
        let status = response.status();
        if status != reqwest::StatusCode::OK {
            return Err(ReconcileError::Status { url: url.to_string(), status: status.as_u16() });
        }
        let date = response.headers().get(::http::header::DATE).and_then(|date| date.to_str().ok());
        let date = date.and_then(|date| jiff::fmt::rfc2822::parse(date).ok()).map(|date| date.timestamp());
        let body = http::read_body(response, MAX_BODY).await.map_err(|error| match error {
            http::BodyError::TooLarge { .. } | http::BodyError::NotJson { .. } => {
                ReconcileError::NotTheApi { url: url.to_string(), error: error.to_string() }
            }
            http::BodyError::Broken(error) => unreachable(error),
        })?;
        Ok((body, date))
    }
}

fn remedy(status: u16) -> &'static str {
    match status {
        401 | 403 => "give `alertmanager.login` what it asks for",
        _ => "correct `alertmanager.url`",
    }
}

fn from_json<'a, T: Deserialize<'a>>(url: &Url, body: &'a [u8]) -> Result<T, ReconcileError> {
    serde_json::from_slice(body)
        .map_err(|error| ReconcileError::NotTheApi { url: url.to_string(), error: error.to_string() })
}

fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

fn taken(listed: ListedAlert, mappings: &Mappings) -> Vec<(Alert, Word)> {
    let silenced_by = listed.status.and_then(|status| status.silenced_by).unwrap_or_default();
    // An inhibited alert still fires: a graver one only speaks in its place.
    let annotations = listed.annotations.unwrap_or_default();
    let word = match silenced_by.as_slice() {
        [] if is_not_evaluated(&listed.labels, &annotations) => Word::NotEvaluated,
        [] => Word::Listed,
        [..] => Word::ListedSilenced { by: silenced_by.join(", ").into() },
    };
    let fingerprint = fingerprint(listed.fingerprint.as_deref(), &listed.labels);
    let starts_at = listed.starts_at.as_deref().and_then(time);
    let name: Arc<str> = one_line(listed.labels.get("alertname").map_or("", String::as_str), MAX_TEXT).into();
    let summary: Arc<str> = one_line(&annotations.into_summary(), MAX_TEXT).into();
    let alert = |taken: Taken| Alert {
        validator: taken.validator,
        evidence: taken.evidence,
        mapping: taken.mapping,
        fingerprint: fingerprint.clone(),
        starts_at,
        name: Arc::clone(&name),
        summary: Arc::clone(&summary),
    };
    mappings.take(&listed.labels).into_iter().map(|taken| (alert(taken), word.clone())).collect()
}
