//! A page of a program on this machine, fetched: bounded in time and size, without redirects. It does not know what
//! the page means.

use std::time::Duration;

use http::HeaderMap;
use url::Url;

use super::{BodyError, plain_client, read_body};
use crate::domain::brief;

/// Why there is no page. Its text is what comes after the name of the other side.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    #[error("refuses connections")]
    Refused,
    #[error("did not answer in time")]
    NoAnswer,
    /// The connection broke, or what came was no HTTP.
    #[error("did not answer ({0})")]
    Broken(String),
    #[error("sent an answer larger than {0} bytes")]
    TooLarge(usize),
}

pub struct Pages {
    http: reqwest::Client,
}

impl Pages {
    /// Prepares; nothing is sent. No answer takes longer than `timeout`.
    ///
    /// # Errors
    /// As [`plain_client`].
    pub fn new(timeout: Duration) -> reqwest::Result<Self> {
        Ok(Self { http: plain_client(timeout, HeaderMap::new())? })
    }

    /// The status and the body of what is found at this address, whatever the status is; `most` bytes at most.
    ///
    /// # Errors
    /// [`PageError`] when there is none.
    pub async fn get(&self, url: Url, most: usize) -> Result<(u16, Vec<u8>), PageError> {
        let response = self.http.get(url).send().await?;
        let status = response.status().as_u16();
        Ok((status, read_body(response, most).await?))
    }
}

impl From<BodyError> for PageError {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLarge { from: _, most } => Self::TooLarge(most),
            BodyError::NotJson { from: _, error } => Self::Broken(brief(&error.to_string())),
            BodyError::Broken(error) => error.into(),
        }
    }
}

impl From<reqwest::Error> for PageError {
    fn from(error: reqwest::Error) -> Self {
        if error.is_timeout() {
            return Self::NoAnswer;
        }
        let mut root: &dyn std::error::Error = &error;
        let mut refused = false;
        while let Some(cause) = root.source() {
            let io = cause.downcast_ref::<std::io::Error>();
            refused |= io.is_some_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused);
            root = cause;
        }
        if refused { Self::Refused } else { Self::Broken(brief(&root.to_string())) }
    }
}
