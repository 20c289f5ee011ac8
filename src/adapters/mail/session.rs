//! Opening a session with the mail server: connection, TLS, login. It sends nothing.

use std::{error::Error, io, path::PathBuf, time::Duration};

use lettre::transport::smtp::{
    authentication::{Credentials, DEFAULT_MECHANISMS},
    client::{AsyncSmtpConnection, Certificate, TlsParameters},
    extension::ClientId,
};

use super::{reply::Reply, wire};
use crate::{
    adapters::http::install_tls_provider,
    config::{MailSettings, MailTls, SecretError},
    domain::MailFault,
    files,
};

/// Why there is no session. None of these is a recipient's fault, so all of them may work later.
#[derive(Debug, thiserror::Error)]
pub(super) enum SessionError {
    #[error("cannot connect to the mail server: {0}")]
    Connect(String),
    #[error("the mail server does not take the connection now: {0}")]
    NotNow(Reply),
    #[error("the mail server does not take the connection: {0}")]
    Refused(Reply),
    #[error("the mail server does not offer STARTTLS; set mail.tls to 'tls' if it wants TLS from the start")]
    NoStartTls,
    #[error("no trusted TLS with the mail server: {0}; if it has a private authority, name it in mail.ca_file")]
    Tls(String),
    #[error("the mail server does not accept the login, see mail.username and mail.password_file: {0}")]
    Login(String),
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error("cannot read {path}: {error}")]
    CaFile { path: PathBuf, error: io::Error },
    #[error("{0} holds no certificate in PEM form")]
    CaContent(PathBuf),
    #[error("the mail server does not answer within {0:?}")]
    NoAnswer(Duration),
}

impl SessionError {
    /// A server that is not reached may come back by itself; the rest waits for somebody, if only to renew a certificate.
    pub(super) fn fault(&self) -> MailFault {
        match self {
            Self::Connect(_) | Self::NoAnswer(_) | Self::NotNow(_) => MailFault::Passing,
            Self::Refused(_) | Self::NoStartTls | Self::Tls(_) | Self::Login(_) | Self::Secret(_) => MailFault::Setting,
            Self::CaFile { .. } | Self::CaContent(_) => MailFault::Setting,
        }
    }

    pub(super) fn remedy(&self) -> &'static str {
        match self {
            Self::Connect(_) | Self::NoAnswer(_) => {
                "correct `mail.host`, `mail.port` and `mail.tls`, or let this machine reach that port"
            }
            Self::NotNow(_) => "nothing, if it passes; else ask the operator of the mail server",
            Self::Refused(_) => "let the mail server take connections of this machine, or name another in `mail.host`",
            Self::NoStartTls => "set `mail.tls` to `tls` if it wants TLS from the start",
            Self::Tls(_) => {
                "name its private authority in `mail.ca_file`, and the server as its certificate does; one that has \
                 expired is the server's to renew"
            }
            Self::Login(_) => "correct `mail.username` and the file `mail.password_file`",
            Self::Secret(_) => "correct the file `mail.password_file`",
            Self::CaFile { .. } | Self::CaContent(_) => "correct the file `mail.ca_file`",
        }
    }
}

pub(super) async fn open(settings: &MailSettings, timeout: Duration) -> Result<AsyncSmtpConnection, SessionError> {
    match tokio::time::timeout(timeout, open_in_time(settings)).await {
        Ok(session) => session,
        Err(_) => Err(SessionError::NoAnswer(timeout)),
    }
}

async fn open_in_time(settings: &MailSettings) -> Result<AsyncSmtpConnection, SessionError> {
    let tls = match settings.tls {
        MailTls::None => None,
        MailTls::Starttls | MailTls::Tls => Some(trust(settings).await?),
    };
    let hello = ClientId::default();
    let socket = wire::connect(&settings.host, settings.port).await;
    let mut wire = socket.map_err(|error| SessionError::Connect(error.to_string()))?;
    if let Some(tls) = tls.clone().filter(|_| settings.tls == MailTls::Tls) {
        wire = wire::wrap(wire, tls).await.map_err(|error| explain(&error, SessionError::Tls))?;
    }
    let session = AsyncSmtpConnection::connect_with_transport(wire, &hello).await;
    let mut session = session.map_err(|error| match Reply::of(&error) {
        Some(reply) if !reply.may_pass() => SessionError::Refused(reply),
        Some(_) | None => explain(&error, SessionError::Connect),
    })?;
    if let Some(tls) = tls.filter(|_| settings.tls == MailTls::Starttls) {
        if !session.can_starttls() {
            return Err(SessionError::NoStartTls);
        }
        session.starttls(tls, &hello).await.map_err(|error| explain(&error, SessionError::Tls))?;
    }
    if let Some(login) = &settings.login {
        let password = login.password_file.read()?;
        let credentials = Credentials::new(login.username.clone(), password.expose().to_owned());
        session.auth(DEFAULT_MECHANISMS, &credentials).await.map_err(|error| explain(&error, SessionError::Login))?;
    }
    Ok(session)
}

/// What TLS trusts: the system's authorities and the configured file. Read at every session, so a renewed one works.
async fn trust(settings: &MailSettings) -> Result<TlsParameters, SessionError> {
    install_tls_provider();
    let (host, file) = (settings.host.clone(), settings.ca_file.clone());
    let read = tokio::task::spawn_blocking(move || {
        let mut parameters = TlsParameters::builder(host);
        if let Some(path) = file {
            let pem =
                files::read(&path, files::MOST).map_err(|error| SessionError::CaFile { path: path.clone(), error })?;
            // A file without any certificate parses without an error, so it is looked for by its mark.
            let marked = pem.windows(11).any(|window| window == b"BEGIN CERTI");
            let certificate = Certificate::from_pem(&pem).ok().filter(|_| marked);
            parameters = parameters.add_root_certificate(certificate.ok_or(SessionError::CaContent(path))?);
        }
        parameters.build().map_err(|error| SessionError::Tls(error.to_string()))
    });
    read.await.expect("reading certificates does not panic and is not cancelled")
}

/// Sorts a client's error: what TLS says is TLS's wherever it came up.
fn explain(error: &lettre::transport::smtp::Error, otherwise: fn(String) -> SessionError) -> SessionError {
    match Reply::of(error) {
        Some(reply) if reply.may_pass() => return SessionError::NotNow(reply),
        Some(reply) => return otherwise(reply.to_string()),
        None => {}
    }
    let text = error.to_string();
    let mut is_tls = error.is_tls();
    let mut source = error.source();
    while let Some(cause) = source {
        let inner = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        is_tls |= cause.is::<rustls::Error>() || inner.is_some_and(|inner| inner.is::<rustls::Error>());
        source = cause.source();
    }
    // The kind is said by the variant; the client's own prefix says it a second time.
    let text = ["Connection error: ", "network error: ", "tls error: "]
        .iter()
        .fold(text.as_str(), |text, prefix| text.strip_prefix(prefix).unwrap_or(text))
        .to_owned();
    if is_tls { SessionError::Tls(text) } else { otherwise(text) }
}
