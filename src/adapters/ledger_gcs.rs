//! The ledger as objects in a Google Cloud Storage bucket, by its JSON API: what survives the house.
//!
//! A generation is the version; `ifGenerationMatch` is the compare-and-swap. Nothing is retried here that may have
//! happened: a reply that is lost is an unknown outcome, and the caller reads before writing again.

use std::{
    collections::HashMap,
    fmt::Debug,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use reqwest::{
    Method, Response, StatusCode,
    header::{DATE, HeaderMap},
};
use serde::Deserialize;
use url::Url;

use super::http::{BodyError, read_body, read_excerpt, read_json};
use crate::{
    domain::{Span, Time, one_line},
    ports::{Barred, Expect, Ledger, LedgerError, MAX_RECORD, PutError, Stored, Version},
};

const ENDPOINT: &str = "https://storage.googleapis.com";
/// One object takes about one change a second (Cloud Storage, "Object immutability"); we wait rather than be refused.
const PACE: Duration = Duration::from_secs(1);
/// Objects whose last change is remembered; older ones are past their second anyway.
const PACED: usize = 4096;
/// A page of a list: a thousand names of at most a kilobyte.
const MAX_PAGE: usize = 4 << 20;
/// Far more than a ledger ever has. A server that has always one page more is no bucket.
const MAX_KEYS: usize = 1_000_000;
const GENERATION: &str = "x-goog-generation";
/// How far the clocks of two of its servers may be apart, one that wrote and one that answers.
const CLOCKS_APART: Span = Span::from_secs(2);

/// Who we are to Google. The watcher has Google's own library for it, the gate a small one.
#[async_trait]
pub trait GoogleLogin: Debug + Send + Sync + 'static {
    /// What a request carries; empty for a server that asks for nothing.
    ///
    /// # Errors
    /// Why there is none at this moment, in words.
    async fn headers(&self) -> Result<HeaderMap, String>;
    /// They were not accepted: others are to be had the next time, if that can be done.
    fn refused(&self) {}
}

#[cfg(feature = "watcher")]
#[async_trait]
impl GoogleLogin for google_cloud_auth::credentials::Credentials {
    async fn headers(&self) -> Result<HeaderMap, String> {
        use google_cloud_auth::credentials::CacheableResource;
        match Self::headers(self, http::Extensions::new()).await {
            Ok(CacheableResource::New { data, .. }) => Ok(data),
            Ok(CacheableResource::NotModified) => Ok(HeaderMap::new()),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// Which bucket, and how it is reached.
#[derive(Clone, Debug)]
pub struct GcsConfig {
    /// Another address of the API; `None` is Google's.
    pub endpoint: Option<Url>,
    pub bucket: String,
    /// Before every object's name; empty or ending with `/`.
    pub prefix: String,
    pub login: Arc<dyn GoogleLogin>,
    /// How long one call may take.
    pub timeout: Duration,
}

pub struct LedgerGcs {
    config: GcsConfig,
    endpoint: Url,
    client: reqwest::Client,
    /// When each object was last changed by us. A real bucket only: a local one has no such limit.
    changed_at: Option<Mutex<HashMap<String, Instant>>>,
}

/// How a call failed before there was an answer.
enum Unanswered {
    /// It surely did not reach the server.
    NotSent(String),
    Lost(String),
    /// We cannot say who we are.
    NoCredentials(String),
}

#[derive(Deserialize)]
struct Listing {
    #[serde(default)]
    items: Vec<Item>,
    #[serde(rename = "nextPageToken")]
    next_page_token: Option<String>,
}

#[derive(Deserialize)]
struct Item {
    name: String,
}

#[derive(Deserialize)]
struct Metadata {
    generation: String,
    #[serde(rename = "timeCreated")]
    time_created: Time,
}

#[derive(Deserialize)]
struct BucketMetadata {
    location: String,
}

#[derive(Deserialize)]
struct Written {
    generation: String,
}

impl LedgerGcs {
    /// Takes the settings; nothing is asked yet.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn new(config: GcsConfig) -> Result<Self, LedgerError> {
        let unusable = |error: &dyn std::fmt::Display| LedgerError::Unusable(error.to_string());
        let google = Url::parse(ENDPOINT).map_err(|error| unusable(&error))?;
        let changed_at = config.endpoint.is_none().then(Mutex::default);
        let endpoint = config.endpoint.clone().unwrap_or(google);
        let client = super::http::client(config.timeout).map_err(|error| unusable(&error))?;
        Ok(Self { config, endpoint, client, changed_at })
    }

    /// `{endpoint}/{path}/b/{bucket}/o[/{object}]`, with every part encoded by itself.
    fn url(&self, path: &[&str], key: Option<&str>) -> Url {
        let mut url = self.endpoint.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path).extend(["b", &self.config.bucket, "o"]);
            if let Some(key) = key {
                segments.push(&format!("{}{key}", self.config.prefix));
            }
        }
        url
    }

    async fn send(&self, method: Method, url: Url, body: Option<Vec<u8>>) -> Result<Response, Unanswered> {
        let headers = self.config.login.headers().await.map_err(Unanswered::NoCredentials)?;
        let mut request = self.client.request(method, url).headers(headers);
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body);
        }
        request.send().await.map_err(|error| {
            let text = error.without_url();
            if text.is_connect() { Unanswered::NotSent(text.to_string()) } else { Unanswered::Lost(text.to_string()) }
        })
    }

    /// Waits until this object may be changed again.
    async fn pace(&self, key: &str) {
        let Some(changed_at) = &self.changed_at else { return };
        let wait = {
            let mut changed_at = changed_at.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if changed_at.len() > PACED {
                changed_at.retain(|_, at| at.elapsed() < PACE);
            }
            let now = Instant::now();
            let next = changed_at.get(key).map_or(now, |at| (*at + PACE).max(now));
            changed_at.insert(key.to_owned(), next);
            next.duration_since(now)
        };
        tokio::time::sleep(wait).await;
    }

    /// What a refusal means for reading; `None` is "there is no such object". A 401 is waited out like a 403: Google's
    /// library renews a token by itself minutes before its end and cannot be asked for another one earlier.
    async fn refused(&self, response: Response) -> Option<LedgerError> {
        let status = response.status();
        let text = one_line(&read_excerpt(response).await, 300);
        if status == StatusCode::UNAUTHORIZED {
            self.config.login.refused();
        }
        let bucket = &self.config.bucket;
        match status {
            StatusCode::NOT_FOUND if text.contains("bucket does not exist") || text.contains("bucket not found") => {
                Some(LedgerError::Unusable(format!(
                    "there is no bucket {bucket}: create it, or correct `ledger.gcs.bucket`"
                )))
            }
            StatusCode::NOT_FOUND => None,
            StatusCode::UNAUTHORIZED => Some(LedgerError::Refused(
                Barred::Login,
                format!(
                    "gs://{bucket} does not accept our login ({status}): if this lasts, look at \
                     `ledger.gcs.credentials` and this machine's clock, or log in again; {text}"
                ),
            )),
            StatusCode::FORBIDDEN => Some(LedgerError::Refused(
                Barred::Right,
                format!(
                    "gs://{bucket} knows us and does not let us ({status}): these credentials need \
                     roles/storage.objectUser on it, which takes minutes to reach every server once given \
                     (docs/gcp.md); {text}"
                ),
            )),
            StatusCode::TOO_MANY_REQUESTS => {
                Some(LedgerError::Unavailable(format!("gs://{bucket} is busy ({status})")))
            }
            status if status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT => {
                Some(LedgerError::Unavailable(format!("gs://{bucket}: {status}")))
            }
            status => Some(LedgerError::Unusable(format!("gs://{bucket} answers {status}: {text}"))),
        }
    }

    /// What a refusal means for a change. A server error may come after the change.
    async fn change_refused(&self, key: &str, response: Response) -> PutError {
        let status = response.status();
        if status == StatusCode::PRECONDITION_FAILED {
            return match self.get(key).await {
                Ok(found) => PutError::Conflict { found },
                Err(error) => error.into(),
            };
        }
        if status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT {
            return PutError::UnknownOutcome(format!("gs://{}: {status}", self.config.bucket));
        }
        match self.refused(response).await {
            Some(error) => error.into(),
            None => PutError::Conflict { found: None },
        }
    }

    /// The first keys, at most so many; the bucket lists them in order.
    async fn keys(&self, prefix: &str, after: Option<&str>, most: usize) -> Result<Vec<String>, LedgerError> {
        let mut keys = Vec::new();
        let mut token: Option<String> = None;
        loop {
            let mut url = self.url(&["storage", "v1"], None);
            {
                let mut query = url.query_pairs_mut();
                query.append_pair("prefix", &format!("{}{prefix}", self.config.prefix));
                query.append_pair("fields", "items(name),nextPageToken");
                if let Some(after) = after {
                    query.append_pair("startOffset", &format!("{}{after}", self.config.prefix));
                }
                if let Some(token) = &token {
                    query.append_pair("pageToken", token);
                }
            }
            let response = self.send(Method::GET, url, None).await.map_err(reading)?;
            if !response.status().is_success() {
                let missing = || LedgerError::Unusable(format!("there is no bucket {}", self.config.bucket));
                return Err(self.refused(response).await.unwrap_or_else(missing));
            }
            let page: Listing = read_json(response, MAX_PAGE).await.map_err(|error| unread(error, prefix))?;
            let names = page.items.into_iter().filter_map(|item| {
                item.name
                    .strip_prefix(&self.config.prefix)
                    .filter(|key| after.is_none_or(|after| *key > after))
                    .map(str::to_owned)
            });
            keys.extend(names);
            if keys.len() > MAX_KEYS {
                return Err(LedgerError::Unusable(format!(
                    "gs://{} lists more than {MAX_KEYS} keys",
                    self.config.bucket
                )));
            }
            token = page.next_page_token;
            if token.is_none() || keys.len() >= most {
                keys.sort();
                keys.truncate(most);
                return Ok(keys);
            }
        }
    }
}

/// An answer that has begun. What is no record of ours stays so until somebody looks; the rest may pass.
fn unread(error: BodyError, what: &str) -> LedgerError {
    match error {
        BodyError::TooLarge { .. } => LedgerError::Unusable(format!("{what}: {error}")),
        BodyError::NotJson { .. } => LedgerError::Unavailable(format!("{what}: {error}")),
        BodyError::Broken(error) => LedgerError::Unavailable(error.without_url().to_string()),
    }
}

fn reading(error: Unanswered) -> LedgerError {
    match error {
        Unanswered::NotSent(why) | Unanswered::Lost(why) => LedgerError::Unavailable(why),
        Unanswered::NoCredentials(why) => LedgerError::Unavailable(format!("no credentials: {why}")),
    }
}

fn changing(error: Unanswered) -> PutError {
    match error {
        Unanswered::Lost(why) => PutError::UnknownOutcome(why),
        other @ (Unanswered::NotSent(_) | Unanswered::NoCredentials(_)) => reading(other).into(),
    }
}

fn generation(version: &Version) -> &str {
    &version.0
}

#[async_trait]
impl Ledger for LedgerGcs {
    async fn get(&self, key: &str) -> Result<Option<Stored>, LedgerError> {
        let mut url = self.url(&["storage", "v1"], Some(key));
        url.set_query(Some("alt=media"));
        let response = self.send(Method::GET, url, None).await.map_err(reading)?;
        if !response.status().is_success() {
            return self.refused(response).await.map_or(Ok(None), Err);
        }
        let version = response.headers().get(GENERATION).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let Some(version) = version.map(Version) else {
            return Err(LedgerError::Unusable(format!(
                "the answer for {key} has no {GENERATION}: is that Cloud Storage?"
            )));
        };
        let bytes = read_body(response, MAX_RECORD).await.map_err(|error| match error {
            BodyError::TooLarge { .. } => LedgerError::Oversized(format!("{key}: {error}")),
            BodyError::NotJson { .. } | BodyError::Broken(_) => unread(error, key),
        })?;
        Ok(Some(Stored { bytes, version }))
    }

    async fn put(&self, key: &str, bytes: Vec<u8>, expect: Expect) -> Result<Version, PutError> {
        if bytes.len() > MAX_RECORD {
            return Err(PutError::TooLarge(bytes.len()));
        }
        self.pace(key).await;
        let expected = match &expect {
            Expect::Absent => "0",
            Expect::Version(version) => generation(version),
        };
        let mut url = self.url(&["upload", "storage", "v1"], None);
        url.query_pairs_mut()
            .append_pair("uploadType", "media")
            .append_pair("name", &format!("{}{key}", self.config.prefix))
            .append_pair("ifGenerationMatch", expected);
        let response = self.send(Method::POST, url, Some(bytes)).await.map_err(changing)?;
        if !response.status().is_success() {
            return Err(self.change_refused(key, response).await);
        }
        let lost = |error| PutError::UnknownOutcome(unread(error, key).to_string());
        let written: Written = read_json(response, MAX_PAGE).await.map_err(lost)?;
        Ok(Version(written.generation))
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Vec<String>, LedgerError> {
        self.keys(prefix, after, usize::MAX).await
    }

    async fn page(&self, after: Option<&str>, most: usize) -> Result<Vec<String>, LedgerError> {
        self.keys("", after, most).await
    }

    async fn remove(&self, key: &str, version: &Version) -> Result<(), PutError> {
        self.pace(key).await;
        let mut url = self.url(&["storage", "v1"], Some(key));
        url.query_pairs_mut().append_pair("ifGenerationMatch", generation(version));
        let response = self.send(Method::DELETE, url, None).await.map_err(changing)?;
        if response.status().is_success() { Ok(()) } else { Err(self.change_refused(key, response).await) }
    }

    /// When this generation was made: `updated` moves with the metadata, and an answer with the bytes has neither.
    async fn age(&self, key: &str, version: &Version) -> Result<Option<Span>, LedgerError> {
        let mut url = self.url(&["storage", "v1"], Some(key));
        url.query_pairs_mut().append_pair("fields", "generation,timeCreated");
        let response = self.send(Method::GET, url, None).await.map_err(reading)?;
        if !response.status().is_success() {
            return self.refused(response).await.map_or(Ok(None), Err);
        }
        let date = response.headers().get(DATE).and_then(|value| value.to_str().ok());
        let Some(date) = date.and_then(|text| jiff::fmt::rfc2822::parse(text).ok()) else { return Ok(None) };
        let found: Metadata = read_json(response, MAX_PAGE).await.map_err(|error| unread(error, key))?;
        // A bucket that keeps versions would tell the age of one that was replaced as well.
        let is_there = found.generation == version.0;
        let age = date.timestamp().duration_since(found.time_created) - CLOCKS_APART;
        Ok(is_there.then_some(age.max(Span::ZERO)))
    }

    async fn region(&self) -> Result<Option<String>, LedgerError> {
        let mut url = self.url(&["storage", "v1"], None);
        if let Ok(mut segments) = url.path_segments_mut() {
            // The bucket itself, not its objects.
            segments.pop();
        }
        url.query_pairs_mut().append_pair("fields", "location");
        let response = self.send(Method::GET, url, None).await.map_err(reading)?;
        if !response.status().is_success() {
            return self.refused(response).await.map_or(Ok(None), Err);
        }
        let found: BucketMetadata = read_json(response, MAX_PAGE).await.map_err(|error| unread(error, "its place"))?;
        Ok(Some(found.location.to_lowercase()))
    }

    fn describe(&self) -> String {
        format!("gs://{}/{}", self.config.bucket, self.config.prefix)
    }

    fn place(&self) -> String {
        let at = self.config.endpoint.as_ref().map(|url| format!(" at {url}")).unwrap_or_default();
        self.describe() + &at
    }

    fn is_off_site(&self) -> bool {
        true
    }
}
