//! What every TLS user of this process shares. It is not an HTTP client.

/// Installs the one TLS provider of the process; calling it again changes nothing.
pub fn install_tls_provider() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}
