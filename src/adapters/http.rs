//! What every TLS user of this process shares. It is not an HTTP client.

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
