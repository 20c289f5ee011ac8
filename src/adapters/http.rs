//! What every TLS user of this process shares. It is not an HTTP client.

use std::{sync::LazyLock, time::Duration};

use http::{HeaderValue, header::AUTHORIZATION};
use rustls::ClientConfig;
use rustls_platform_verifier::ConfigVerifierExt;

use crate::files;

mod page;

pub use page::{PageError, Pages};

/// Installs the one TLS provider of the process; calling it again changes nothing.
pub fn install_tls_provider() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// The system's certificate authorities, read once for all clients: a client that reads its own parses 150 of them.
static SYSTEM_ROOTS: LazyLock<Result<ClientConfig, rustls::Error>> = LazyLock::new(|| {
    install_tls_provider();
    ClientConfig::with_platform_verifier()
});

/// A client that follows no redirect (a token must not travel to another host) and never waits without end.
///
/// # Errors
/// When the system has no certificate authorities at all.
pub fn client(timeout: Duration) -> reqwest::Result<reqwest::Client> {
    match &*SYSTEM_ROOTS {
        Ok(roots) => builder(timeout).tls_backend_preconfigured(roots.clone()).build(),
        // It finds none either, and says so in its own error.
        Err(_) => builder(timeout).build(),
    }
}

fn builder(timeout: Duration) -> reqwest::ClientBuilder {
    install_tls_provider();
    reqwest::Client::builder().timeout(timeout).redirect(reqwest::redirect::Policy::none()).no_proxy()
}

#[derive(Debug, thiserror::Error)]
pub enum HttpClientError {
    #[error("the certificate authority {path} cannot be read: {error}; name a file in PEM form", path = path.display())]
    CaFile { path: std::path::PathBuf, error: std::io::Error },
    #[error("no TLS with the certificates there are: {0}")]
    Tls(#[from] reqwest::Error),
}

/// The same, which also trusts the authorities in this file, and shows who we are.
///
/// # Errors
/// [`HttpClientError`]
pub fn client_trusting(
    timeout: Duration,
    ca_file: Option<&std::path::Path>,
    authorization: Option<HeaderValue>,
) -> Result<reqwest::Client, HttpClientError> {
    let headers = authorization.into_iter().map(|value| (AUTHORIZATION, value)).collect();
    let builder = builder(timeout).default_headers(headers);
    let builder = match (ca_file, &*SYSTEM_ROOTS) {
        (None, Ok(roots)) => builder.tls_backend_preconfigured(roots.clone()),
        (None, Err(_)) => builder,
        (Some(path), _) => {
            let pem = files::read(path, files::MOST)
                .map_err(|error| HttpClientError::CaFile { path: path.to_owned(), error })?;
            builder.tls_certs_merge(reqwest::Certificate::from_pem_bundle(&pem)?)
        }
    };
    Ok(builder.build()?)
}

/// A client for what is published to everybody: it follows redirects, as downloads need, because no token travels in it.
/// `silence` is how long a server may send nothing.
///
/// # Errors
/// When the system has no certificate authorities at all.
pub fn public_client(silence: std::time::Duration) -> reqwest::Result<reqwest::Client> {
    install_tls_provider();
    reqwest::Client::builder().read_timeout(silence).connect_timeout(silence).user_agent("failover").no_proxy().build()
}

/// A client for plain HTTP on this machine and the link to it: no certificate is loaded, so it works on a machine
/// without any and costs little memory. Every request carries these headers.
///
/// # Errors
/// When the TLS library refuses an empty set of authorities, which it does not.
pub fn plain_client(timeout: Duration, headers: http::HeaderMap) -> reqwest::Result<reqwest::Client> {
    builder(timeout).tls_certs_only([]).pool_max_idle_per_host(1).default_headers(headers).build()
}

/// Why an answer's body cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    #[error("{from} sends an answer larger than {most} bytes; look whether its address is the right one")]
    TooLarge { from: String, most: usize },
    #[error("{from} sends something else than expected: {error}")]
    NotJson { from: String, error: serde_json::Error },
    /// The connection broke in the middle, or the time was up.
    #[error(transparent)]
    Broken(#[from] reqwest::Error),
}

/// Reads a body to its end, but never more than `most` bytes, as they are after any decompression: anyone may answer.
/// Time is the client's to limit.
///
/// # Errors
/// [`BodyError`]; what was read until then is dropped.
pub async fn read_body(mut response: reqwest::Response, most: usize) -> Result<Vec<u8>, BodyError> {
    let too_large = |response: &reqwest::Response| BodyError::TooLarge { from: name_of(response), most };
    if response.content_length().is_some_and(|length| length > most as u64) {
        return Err(too_large(&response));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > most {
            return Err(too_large(&response));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The same as JSON.
///
/// # Errors
/// As [`read_body`], and when it is not what is expected.
pub async fn read_json<T: serde::de::DeserializeOwned>(
    response: reqwest::Response,
    most: usize,
) -> Result<T, BodyError> {
    let from = name_of(&response);
    serde_json::from_slice(&read_body(response, most).await?).map_err(|error| BodyError::NotJson { from, error })
}

/// The beginning of what came with an error, for people: a refusal is one whatever its page is like.
pub async fn read_excerpt(mut response: reqwest::Response) -> String {
    let mut page = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await
        && page.len() < EXCERPT
    {
        page.extend_from_slice(&chunk[..chunk.len().min(EXCERPT)]);
    }
    String::from_utf8_lossy(&page).into_owned()
}

/// What cuts a line out of a page has enough in it.
const EXCERPT: usize = 16 << 10;

/// Host and port: the path may have a name in it, and the query a secret.
fn name_of(response: &reqwest::Response) -> String {
    let url = response.url();
    let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
    format!("{}{port}", url.host_str().unwrap_or("the other side"))
}
