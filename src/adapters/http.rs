//! What every TLS user of this process shares. It is not an HTTP client.

mod page;

pub use page::{PageError, Pages};

/// Installs the one TLS provider of the process; calling it again changes nothing.
pub fn install_tls_provider() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// A client that follows no redirect (a token must not travel to another host) and never waits without end.
///
/// # Errors
/// When the system has no certificate authorities at all.
pub fn client(timeout: std::time::Duration) -> reqwest::Result<reqwest::Client> {
    install_tls_provider();
    reqwest::Client::builder().timeout(timeout).redirect(reqwest::redirect::Policy::none()).no_proxy().build()
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
pub fn plain_client(timeout: std::time::Duration, headers: http::HeaderMap) -> reqwest::Result<reqwest::Client> {
    install_tls_provider();
    reqwest::Client::builder()
        .timeout(timeout)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .tls_certs_only([])
        .pool_max_idle_per_host(1)
        .default_headers(headers)
        .build()
}

#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// It sent more than any such answer can have.
    #[error("it sent more than {0} bytes")]
    TooLarge(usize),
    /// The connection broke in the middle.
    #[error(transparent)]
    Broken(#[from] reqwest::Error),
}

/// Reads a body to its end, but never more than `most` bytes: whoever answers may be anybody.
///
/// # Errors
/// [`BodyError`]; what was read until then is dropped.
pub async fn bounded_body(response: &mut reqwest::Response, most: usize) -> Result<Vec<u8>, BodyError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > most {
            return Err(BodyError::TooLarge(most));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
