//! A node of kind generic, asked at its own ports: one question, one answer.
//!
//! It judges nothing: what an answer means is [`crate::domain::probe`]'s business. Its own care is to tell apart what
//! the node does (it refuses, it is silent) from what our side or the way there may be the cause of.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use reqwest::{
    Certificate, Client,
    dns::{Addrs, Name, Resolve, Resolving},
};
use tokio::{net::TcpStream, time::timeout};

use super::http::{BodyError, install_tls_provider, read_body};
use crate::{
    config::{HttpLogin, HttpQuestion, Login, ProbeSettings, Question},
    domain::probe::ProbeAnswer,
    files,
};

mod failure;

/// More than any status answer of a node, less than what would hurt us.
const MAX_BODY: usize = 1024 * 1024;

/// Why a probe cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum GenericProbeError {
    /// The file of the private authority.
    #[error("cannot read {path}")]
    CaFile { path: PathBuf, source: std::io::Error },
    /// No certificate in it, or no client can be made.
    #[error("no HTTP client can be made")]
    Client(#[from] reqwest::Error),
    /// The times of the configuration are positive and short.
    #[error("a time is out of range")]
    Time(#[from] jiff::Error),
}

/// A probe that can be asked.
pub struct GenericProbe {
    asks: Asks,
    timeout: Duration,
}

enum Asks {
    Http { client: Client, question: HttpQuestion, found: Found },
    Tcp { address: String },
}

impl GenericProbe {
    /// Makes it; nothing is asked yet.
    ///
    /// # Errors
    /// When the private authority cannot be used.
    pub fn new(settings: &ProbeSettings) -> Result<Self, GenericProbeError> {
        let timeout = settings.timeout.try_into()?;
        let asks = match &settings.question {
            Question::Tcp { address } => Asks::Tcp { address: address.clone() },
            Question::Http(question) => {
                let found = Found::default();
                let client = client(question, found.clone(), timeout)?;
                Asks::Http { client, question: (**question).clone(), found }
            }
        };
        Ok(Self { asks, timeout })
    }

    /// Asks once. It takes no longer than twice the time-out: once for the name, once for the answer.
    pub async fn ask(&self) -> ProbeAnswer {
        match &self.asks {
            Asks::Tcp { address } => match lookup(address, self.timeout).await {
                Ok(addresses) => connect(&addresses, self.timeout).await,
                Err(why) => ProbeAnswer::Doubtful(why),
            },
            Asks::Http { client, question, found } => {
                let host = question.url.host_str().unwrap_or_default();
                let port = question.url.port_or_known_default().unwrap_or_default();
                match lookup(&format!("{host}:{port}"), self.timeout).await {
                    Ok(addresses) => found.set(addresses),
                    Err(why) => return ProbeAnswer::Doubtful(why),
                }
                match send(client, question).await {
                    Ok(answer) => answer,
                    Err(error) => failure::of_http(&error),
                }
            }
        }
    }
}

/// The name is looked up by itself, because a name that is not found, or a name server that is silent, is not the
/// node's doing; within a request it would look like a time-out of the node.
async fn lookup(address: &str, patience: Duration) -> Result<Vec<SocketAddr>, String> {
    match timeout(patience, tokio::net::lookup_host(address)).await {
        Err(_) => Err(format!("the name in {address} was not looked up in time")),
        Ok(Err(error)) => Err(format!("the name in {address} is not found ({error})")),
        Ok(Ok(found)) => {
            let found: Vec<SocketAddr> = found.collect();
            if found.is_empty() { Err(format!("the name in {address} has no address")) } else { Ok(found) }
        }
    }
}

/// Tries every address. One that takes the connection is enough; of failures the one that says most about the node.
async fn connect(addresses: &[SocketAddr], patience: Duration) -> ProbeAnswer {
    let mut failures = Vec::new();
    // All within the same time, or a node with several addresses could take several times as long.
    let until = tokio::time::Instant::now() + patience;
    for address in addresses {
        match tokio::time::timeout_at(until, TcpStream::connect(address)).await {
            Ok(Ok(_)) => return ProbeAnswer::Connected,
            Ok(Err(error)) => failures.push(failure::of_io(&error)),
            Err(_) => failures.push(ProbeAnswer::TimedOut),
        }
    }
    let says_most = failures.into_iter().max_by_key(|failure| match failure {
        ProbeAnswer::Doubtful(_) => 0,
        ProbeAnswer::TimedOut => 1,
        ProbeAnswer::Refused => 2,
        ProbeAnswer::Connected | ProbeAnswer::Http { .. } => 3,
    });
    says_most.unwrap_or_else(|| ProbeAnswer::Doubtful("there is no address to connect to".into()))
}

async fn send(client: &Client, question: &HttpQuestion) -> Result<ProbeAnswer, reqwest::Error> {
    let mut request = if question.post { client.post(question.url.clone()) } else { client.get(question.url.clone()) };
    if let Some(body) = &question.body {
        request = request.header(http::header::CONTENT_TYPE, "application/json").body(body.clone());
    }
    // Read each time, so that a renewed secret works without a restart.
    request = match &question.login {
        None => request,
        Some(HttpLogin::Bearer(file)) => match file.read() {
            Ok(token) => request.bearer_auth(token.expose()),
            Err(error) => return Ok(ProbeAnswer::Doubtful(error.to_string())),
        },
        Some(HttpLogin::Basic(Login { username, password_file })) => match password_file.read() {
            Ok(password) => request.basic_auth(username, Some(password.expose())),
            Err(error) => return Ok(ProbeAnswer::Doubtful(error.to_string())),
        },
    };
    let response = request.send().await?;
    let status = response.status();
    // The page that comes with an error says nothing that is judged.
    let body = if status.is_success() { read_body(response, MAX_BODY).await } else { Ok(Vec::new()) };
    match body {
        Ok(body) => Ok(ProbeAnswer::Http { status: status.as_u16(), body }),
        Err(BodyError::Broken(error)) => Err(error),
        Err(error @ (BodyError::TooLarge { .. } | BodyError::NotJson { .. })) => {
            Ok(ProbeAnswer::Doubtful(error.to_string()))
        }
    }
}

fn client(question: &HttpQuestion, found: Found, timeout: Duration) -> Result<Client, GenericProbeError> {
    install_tls_provider();
    // Each question makes a connection of its own: one that was left open says nothing of the port.
    let mut client = Client::builder()
        .timeout(timeout)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .pool_max_idle_per_host(0)
        .dns_resolver(Arc::new(found));
    if let Some(path) = &question.ca_file {
        let pem = files::read(path, files::MOST)
            .map_err(|source| GenericProbeError::CaFile { path: path.clone(), source })?;
        client = client.tls_certs_merge(Certificate::from_pem_bundle(&pem)?);
    }
    Ok(client.build()?)
}

/// The addresses that were just found.
#[derive(Clone, Default)]
struct Found(Arc<Mutex<Vec<SocketAddr>>>);

impl Found {
    fn set(&self, addresses: Vec<SocketAddr>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = addresses;
    }
}

impl Resolve for Found {
    fn resolve(&self, _: Name) -> Resolving {
        let addresses: Addrs = Box::new(self.0.lock().unwrap_or_else(PoisonError::into_inner).clone().into_iter());
        Box::pin(std::future::ready(Ok(addresses)))
    }
}
