//! The metadata server, as a machine in Compute Engine reaches it: a place to leave a report, and a clock to compare with.
//!
//! It needs no credential. The watcher and the agent never ask for the tokens that it can hand out; the gate of a place
//! whose ledger is reached as its machine does.

use std::{ffi::OsString, time::Duration};

use http::{HeaderMap, HeaderValue, StatusCode};
use url::Url;

use super::{
    date::{self, DateError},
    http::{BodyError, plain_client, read_body},
};
use crate::{domain::ClockOffset, ports::Clock};

/// Names another server, as Google's own libraries understand it: `host` or `host:port`.
pub const HOST_VARIABLE: &str = "GCE_METADATA_HOST";
const USUAL_HOST: &str = "metadata.google.internal";
/// Without this header the server refuses, so that a web page cannot make a browser ask it.
const FLAVOR: (&str, &str) = ("metadata-flavor", "Google");
/// Errors are told in a line; more of the page is not read.
const MAX_ANSWER: usize = 16 << 10;
/// The longest value that metadata can have (Compute Engine: 256 KB).
const MAX_VALUE: usize = 256 << 10;

#[derive(Debug, thiserror::Error)]
pub enum MetadataError {
    /// The variable does not name a host.
    #[error("{HOST_VARIABLE}={0} is not a host or host:port")]
    Host(String),
    #[error("the metadata server did not answer in time")]
    NoAnswer,
    /// No connection, or one that broke.
    #[error("the metadata server was not reached")]
    NotReached(#[source] reqwest::Error),
    /// Guest attributes are off for this machine or its project.
    #[error("the metadata server takes no guest attributes: set enable-guest-attributes to TRUE on the machine")]
    Off,
    #[error("the metadata server answered {0}")]
    Status(StatusCode),
    #[error("what answers is no metadata server: correct {HOST_VARIABLE}")]
    Other,
    #[error("the metadata server sends more than {MAX_VALUE} bytes")]
    TooLarge,
}

impl From<reqwest::Error> for MetadataError {
    fn from(error: reqwest::Error) -> Self {
        if error.is_timeout() { Self::NoAnswer } else { Self::NotReached(error) }
    }
}

pub struct MetadataServer {
    http: reqwest::Client,
    base: Url,
}

impl MetadataServer {
    /// The usual one, or the one `GCE_METADATA_HOST` names. Nothing is sent.
    ///
    /// # Errors
    /// When that is no host.
    pub fn from_environment(timeout: Duration) -> Result<Self, MetadataError> {
        Self::at(std::env::var_os(HOST_VARIABLE), timeout)
    }

    /// This one, or the usual one.
    ///
    /// # Errors
    /// When it is no host.
    pub fn at(host: Option<OsString>, timeout: Duration) -> Result<Self, MetadataError> {
        let host = host.filter(|host| !host.is_empty()).unwrap_or_else(|| USUAL_HOST.into());
        let host = host.to_string_lossy();
        let plain = host.chars().all(|c| c.is_ascii_alphanumeric() || "-._:[]".contains(c));
        let url = Url::parse(&format!("http://{host}/")).ok().filter(|_| plain);
        let base = url.ok_or_else(|| MetadataError::Host(host.into_owned()))?;
        let headers = HeaderMap::from_iter([(FLAVOR.0.parse().expect("a header"), HeaderValue::from_static(FLAVOR.1))]);
        Ok(Self { http: plain_client(timeout, headers)?, base })
    }

    #[must_use]
    pub fn address(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// What it says under this path; `None` when there is nothing.
    ///
    /// # Errors
    /// [`MetadataError`]
    pub async fn get(&self, path: &str) -> Result<Option<Vec<u8>>, MetadataError> {
        let response = self.http.get(format!("{}computeMetadata/v1/{path}", self.base)).send().await?;
        match response.status() {
            StatusCode::NOT_FOUND => Ok(None),
            // Without this header it is some other server, a login page for example.
            StatusCode::OK if response.headers().get(FLAVOR.0).is_none_or(|flavor| flavor != FLAVOR.1) => {
                Err(MetadataError::Other)
            }
            StatusCode::OK => match read_body(response, MAX_VALUE).await {
                Ok(value) => Ok(Some(value)),
                Err(BodyError::Broken(error)) => Err(error.into()),
                Err(BodyError::TooLarge { .. } | BodyError::NotJson { .. }) => Err(MetadataError::TooLarge),
            },
            status => Err(MetadataError::Status(status)),
        }
    }

    /// Writes one guest attribute of this machine.
    ///
    /// # Errors
    /// [`MetadataError`]; then the old value stands.
    pub async fn put_guest_attribute(&self, path: &str, value: Vec<u8>) -> Result<(), MetadataError> {
        let url = format!("{}computeMetadata/v1/instance/guest-attributes/{path}", self.base);
        let response = self.http.put(url).body(value).send().await?;
        let status = response.status();
        // Read, so that the connection can be used again.
        let _: Result<Vec<u8>, BodyError> = read_body(response, MAX_ANSWER).await;
        match status {
            status if status.is_success() => Ok(()),
            StatusCode::FORBIDDEN => Err(MetadataError::Off),
            status => Err(MetadataError::Status(status)),
        }
    }

    /// How far its clock is ahead of ours. It is kept by Google, outside of this machine, and reached by what is needed
    /// anyway; the kernel's own opinion (`adjtimex`) would only repeat what chrony on this machine believes.
    ///
    /// # Errors
    /// As [`date::offset`].
    pub async fn clock_offset(&self, clock: &dyn Clock) -> Result<ClockOffset, DateError> {
        date::offset(&self.http, &self.base, clock).await
    }
}
