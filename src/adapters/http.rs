//! What every TLS user of this process shares. It is not an HTTP client.

use std::{sync::LazyLock, time::Duration};

use http::{HeaderValue, header::AUTHORIZATION};
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::ConfigVerifierExt;

use crate::files;

mod page;

pub use page::{PageError, Pages};

/// Installs the one TLS provider of the process; calling it again changes nothing.
pub fn install_tls_provider() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// The certificate authorities, read once for all clients: a client that reads its own parses 150 of them.
///
/// They are the system's. Where it has none, as beside a program in a small image of somebody else's, they are
/// Mozilla's as of the build; a file of one's own in `SSL_CERT_FILE` counts as the system's.
static ROOTS: LazyLock<ClientConfig> = LazyLock::new(|| {
    install_tls_provider();
    ClientConfig::with_platform_verifier().unwrap_or_else(|error| {
        tracing::info!("this system has no certificate authorities ({error}): those of this program are used");
        let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        ClientConfig::builder().with_root_certificates(roots).with_no_client_auth()
    })
});

/// A client that follows no redirect (a token must not travel to another host) and never waits without end.
///
/// # Errors
/// When the TLS library refuses what it is made of, which it does not.
pub fn client(timeout: Duration) -> reqwest::Result<reqwest::Client> {
    builder(timeout).tls_backend_preconfigured(ROOTS.clone()).build()
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
    let builder = match ca_file {
        None => builder.tls_backend_preconfigured(ROOTS.clone()),
        Some(path) => {
            let pem = files::read(path, files::MOST)
                .map_err(|error| HttpClientError::CaFile { path: path.to_owned(), error })?;
            builder.tls_certs_merge(reqwest::Certificate::from_pem_bundle(&pem)?)
        }
    };
    Ok(builder.build()?)
}

/// A client for what is published to everybody: it follows redirects, as downloads need, because no token travels in
/// it. `silence` is how long a server may send nothing.
///
/// # Errors
/// As [`client`].
pub fn public_client(silence: std::time::Duration) -> reqwest::Result<reqwest::Client> {
    let builder = reqwest::Client::builder().read_timeout(silence).connect_timeout(silence).user_agent("failover");
    builder.no_proxy().tls_backend_preconfigured(ROOTS.clone()).build()
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

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// In a process of its own, because the roots are read once.
    const CHILD: &str = "FAILOVER_TEST_NO_ROOTS";

    #[test]
    fn a_system_without_certificate_authorities_uses_those_of_the_program() {
        if std::env::var_os(CHILD).is_some() {
            assert!(ClientConfig::with_platform_verifier().is_err(), "this system was to have none");
            client(Duration::from_secs(1)).unwrap();
            client_trusting(Duration::from_secs(1), None, None).unwrap();
            public_client(Duration::from_secs(1)).unwrap();
            return;
        }
        let nowhere = tempfile::tempdir().unwrap();
        let name = "adapters::http::tests::a_system_without_certificate_authorities_uses_those_of_the_program";
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name])
            .env("SSL_CERT_FILE", nowhere.path().join("none"))
            .env("SSL_CERT_DIR", nowhere.path())
            .env(CHILD, "1")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&child.stdout);
        assert!(child.status.success() && said.contains("1 passed"), "{said}");
    }
}
