//! Published files, looked at from here as a standby would fetch them (`ansible/library/release.py`): through
//! redirects, without a login, refusing web pages. It keeps nothing of what it reads.

use std::time::Duration;

use http::{StatusCode, header};
use sha2::{Digest, Sha256};
use url::Url;

use super::http::{PageError, public_client};

/// Without a byte for so long a server counts as gone; the same as on the machine.
const SILENCE: Duration = Duration::from_secs(60);
/// For the first bytes of a file.
const REACH: Duration = Duration::from_secs(30);
/// No release of a client is near this; what sends more is not one.
const MOST: u64 = 8 << 30;
/// What a web server that answers every path with its start page begins with.
const PAGE: [&[u8]; 2] = [b"<!doctype html", b"<html"];

pub struct Releases {
    client: reqwest::Client,
}

/// Why a file cannot be had. Its text is what comes after the address.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    #[error(transparent)]
    NotReached(#[from] PageError),
    #[error("answers {0}")]
    Status(StatusCode),
    #[error("answers a web page")]
    Page,
    #[error("answers nothing at all")]
    Empty,
    #[error("sends more than {} GiB", MOST >> 30)]
    TooLarge,
    #[error("was cut off after {read} of {all} bytes")]
    CutOff { read: u64, all: u64 },
}

impl ReleaseError {
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::NotReached(_) | Self::CutOff { .. } => {
                "correct the address, or run this again; a standby reaches it from the cloud, not from here"
            }
            Self::Status(_) => {
                "correct the address: nothing can be fetched there. A version that was taken away is replaced by \
                 another one and its digest"
            }
            Self::Page => "name the file itself, not the page that links to it",
            Self::Empty | Self::TooLarge => "correct the address: this is no release",
        }
    }
}

impl From<reqwest::Error> for ReleaseError {
    fn from(error: reqwest::Error) -> Self {
        Self::NotReached(error.without_url().into())
    }
}

impl Releases {
    /// Prepares; nothing is sent.
    ///
    /// # Errors
    /// When the system has no certificate authorities at all.
    pub fn new() -> reqwest::Result<Self> {
        Ok(Self { client: public_client(SILENCE)? })
    }

    /// Asks for the beginning only. How long the file is, if the server says.
    ///
    /// # Errors
    /// [`ReleaseError`]
    pub async fn reach(&self, url: &Url) -> Result<Option<u64>, ReleaseError> {
        let reached = async {
            let request = self.client.get(url.clone()).header(header::RANGE, "bytes=0-511");
            let mut response = request.header(header::ACCEPT, "application/octet-stream, */*").send().await?;
            if !response.status().is_success() {
                return Err(ReleaseError::Status(response.status()));
            }
            // `bytes 0-511/123456`; a server that knows no ranges sends all of it, and is left.
            let range = response.headers().get(header::CONTENT_RANGE).and_then(|range| range.to_str().ok());
            let whole = range.and_then(|range| range.rsplit('/').next()?.parse().ok());
            let partial = response.status() == StatusCode::PARTIAL_CONTENT;
            let length = whole.or_else(|| response.content_length().filter(|_| !partial));
            not_a_page(&response.chunk().await?.ok_or(ReleaseError::Empty)?)?;
            Ok(length)
        };
        tokio::time::timeout(REACH, reached).await.unwrap_or(Err(PageError::NoAnswer.into()))
    }

    /// Reads all of it and hashes it. `progress` hears how much has come, and of how much if that is known.
    ///
    /// # Errors
    /// [`ReleaseError`]
    pub async fn digest(&self, url: &Url, progress: impl Fn(u64, Option<u64>)) -> Result<String, ReleaseError> {
        let mut response = self.client.get(url.clone()).send().await?;
        if !response.status().is_success() {
            return Err(ReleaseError::Status(response.status()));
        }
        let all = response.content_length();
        if all.is_some_and(|all| all > MOST) {
            return Err(ReleaseError::TooLarge);
        }
        let (mut digest, mut read) = (Sha256::new(), 0);
        loop {
            let chunk = match response.chunk().await {
                Ok(chunk) => chunk,
                Err(_) if all.is_some_and(|all| read < all) && read > 0 => {
                    return Err(ReleaseError::CutOff { read, all: all.unwrap_or_default() });
                }
                Err(error) => return Err(error.into()),
            };
            let Some(chunk) = chunk else { break };
            if read == 0 {
                not_a_page(&chunk)?;
            }
            read += chunk.len() as u64;
            if read > MOST {
                return Err(ReleaseError::TooLarge);
            }
            digest.update(&chunk);
            progress(read, all);
        }
        if read == 0 {
            return Err(ReleaseError::Empty);
        }
        use std::fmt::Write as _;
        Ok(digest.finalize().iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").expect("a string takes everything");
            text
        }))
    }
}

fn not_a_page(start: &[u8]) -> Result<(), ReleaseError> {
    let start = start.trim_ascii_start().to_ascii_lowercase();
    if PAGE.iter().any(|page| start.starts_with(page)) { Err(ReleaseError::Page) } else { Ok(()) }
}
