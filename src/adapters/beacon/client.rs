//! HTTP to one beacon node: bounded in time and size, every failure a [`NodeTrouble`]. It knows no meaning of an answer.

use std::time::Duration;

use reqwest::{RequestBuilder, StatusCode, header::CONTENT_TYPE};
use serde::{Serialize, de::DeserializeOwned};
use url::Url;

use crate::{
    adapters::http::{self, PageError},
    domain::{brief, chain::NodeTrouble},
};

/// Some 20,000 validators as the API shows them: far more than we ever ask for in one call.
pub(super) const MAX_BODY: usize = 8 << 20;

#[derive(Clone, Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    base: String,
    max_body: usize,
}

impl Client {
    /// Takes the node's address; nothing is sent.
    pub(super) fn new(base: &Url, timeout: Duration) -> reqwest::Result<Self> {
        Ok(Self::with(http::client(timeout)?, base, MAX_BODY))
    }

    /// With an HTTP client of the caller's, and answers no longer than this.
    pub(super) fn with(http: reqwest::Client, base: &Url, max_body: usize) -> Self {
        Self { http, base: base.as_str().trim_end_matches('/').to_owned(), max_body }
    }

    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, NodeTrouble> {
        self.ask(self.http.get(format!("{}{path}", self.base))).await
    }

    pub(super) async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, NodeTrouble> {
        self.ask(self.http.post(format!("{}{path}", self.base)).json(body)).await
    }

    async fn ask<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, NodeTrouble> {
        let response = request.header("accept", "application/json").send().await.map_err(PageError::from)?;
        let status = response.status();
        let html = response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
        let body = http::read_body(response, self.max_body).await.map_err(PageError::from)?;
        read(status, html, &body)
    }
}

fn read<T: DeserializeOwned>(status: StatusCode, html: bool, body: &[u8]) -> Result<T, NodeTrouble> {
    let html = html || body.trim_ascii_start().starts_with(b"<");
    // 206 is how the beacon API says "syncing"; what comes with it is not a whole answer.
    if !status.is_success() || status == StatusCode::PARTIAL_CONTENT {
        let message = if html { "HTML".into() } else { message(body) };
        return Err(NodeTrouble::Status { status: status.as_u16(), message });
    }
    if html {
        return Err(NodeTrouble::Html);
    }
    serde_json::from_slice(body).map_err(|error| {
        if error.is_eof() { NodeTrouble::HalfJson } else { NodeTrouble::NotBeaconApi(brief(&error.to_string())) }
    })
}

/// The beacon API's errors are `{"code": 400, "message": "…"}`.
fn message(body: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Refusal {
        message: String,
    }
    match serde_json::from_slice::<Refusal>(body) {
        Ok(refusal) => brief(&refusal.message),
        Err(_) => brief(&String::from_utf8_lossy(&body[..body.len().min(200)])),
    }
}

impl From<PageError> for NodeTrouble {
    fn from(error: PageError) -> Self {
        match error {
            PageError::Refused => Self::Refused,
            PageError::NoAnswer => Self::NoAnswer,
            PageError::Broken(why) => Self::Broken(why),
            PageError::TooLarge(most) => Self::TooLarge(most),
        }
    }
}
