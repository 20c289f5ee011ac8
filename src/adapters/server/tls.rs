//! TLS on our own port. The certificate is read again when its files change, without losing the listener.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::{ClientHello, NoServerSessionStorage, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio_rustls::TlsAcceptor;

use super::LINES;
use crate::{config::PortTlsSettings, files};

/// How old what was read may be; the handshake after that reads both files again.
const REREAD: Duration = Duration::from_secs(1);
/// Longer than any chain of certificates, shorter than a mistake such as a log file.
const MAX_FILE: u64 = 256 << 10;

/// Why there is no certificate. It names the file and nothing of what is in it.
#[derive(Debug, thiserror::Error)]
pub enum PortTlsError {
    #[error("cannot read {path}: {error}")]
    Unreadable { path: PathBuf, error: std::io::Error },
    #[error("{0} holds no certificate in PEM form")]
    NoCertificate(PathBuf),
    #[error("{0} holds no private key in PEM form")]
    NoKey(PathBuf),
    #[error("the key in {key} and the certificate in {certificate} cannot be used: {error}")]
    Unfit { certificate: PathBuf, key: PathBuf, error: rustls::Error },
}

/// What the port shows to who connects.
pub struct PortTls {
    acceptor: TlsAcceptor,
    certificate: Arc<FreshCertificate>,
}

struct FreshCertificate {
    files: PortTlsSettings,
    known: Mutex<KnownCertificate>,
}

struct KnownCertificate {
    read_at: Instant,
    key: Arc<CertifiedKey>,
    /// Why it could not be read again, if that is so.
    problem: Option<String>,
}

impl PortTls {
    /// Reads both files.
    ///
    /// # Errors
    /// [`PortTlsError`]
    pub fn read(files: &PortTlsSettings, now: Instant) -> Result<Self, PortTlsError> {
        let known = KnownCertificate { read_at: now, key: certified(files)?, problem: None };
        let certificate = Arc::new(FreshCertificate { files: files.clone(), known: Mutex::new(known) });
        let versions = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring has what the default versions need");
        let mut config = versions.with_no_client_auth().with_cert_resolver(certificate.clone());
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // Nothing is remembered of a caller: memory that grows with callers is not worth a round trip.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), certificate })
    }

    pub(super) fn acceptor(&self) -> &TlsAcceptor {
        &self.acceptor
    }

    /// Reads the files again.
    pub fn reread(&self, now: Instant) {
        self.certificate.reread(&mut self.certificate.known(), now);
    }

    /// Why the certificate that is shown is an old one, if that is so.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        self.certificate.known().problem.clone()
    }
}

impl FreshCertificate {
    fn known(&self) -> std::sync::MutexGuard<'_, KnownCertificate> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A pair that cannot be used changes nothing: while it is written, the key does not fit the certificate.
    fn reread(&self, known: &mut KnownCertificate, now: Instant) {
        known.read_at = now;
        match certified(&self.files) {
            Ok(key) => {
                if key.cert != known.key.cert {
                    tracing::info!(certificate = %self.files.certificate_file.display(), "the certificate has changed");
                }
                (known.key, known.problem) = (key, None);
            }
            Err(error) => {
                if let Some(times) = LINES.due_at("certificate", now) {
                    tracing::error!(times, %error, "the certificate read before stays in use");
                }
                known.problem = Some(error.to_string());
            }
        }
    }
}

impl ResolvesServerCert for FreshCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let (mut known, now) = (self.known(), Instant::now());
        if now.saturating_duration_since(known.read_at) >= REREAD {
            self.reread(&mut known, now);
        }
        Some(Arc::clone(&known.key))
    }
}

impl fmt::Debug for FreshCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FreshCertificate").field("files", &self.files).finish_non_exhaustive()
    }
}

fn certified(files: &PortTlsSettings) -> Result<Arc<CertifiedKey>, PortTlsError> {
    let (certificate, key) = (&files.certificate_file, &files.key_file);
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&read(certificate)?)
        .collect::<Result<_, _>>()
        .map_err(|_| PortTlsError::NoCertificate(certificate.clone()))?;
    if chain.is_empty() {
        return Err(PortTlsError::NoCertificate(certificate.clone()));
    }
    let private = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|_| PortTlsError::NoKey(key.clone()))?;
    let unfit = |error| PortTlsError::Unfit { certificate: certificate.clone(), key: key.clone(), error };
    CertifiedKey::from_der(chain, private, &ring::default_provider()).map(Arc::new).map_err(unfit)
}

fn read(path: &Path) -> Result<Vec<u8>, PortTlsError> {
    let unreadable = |error| PortTlsError::Unreadable { path: path.to_owned(), error };
    files::read(path, MAX_FILE).map_err(unreadable)
}
