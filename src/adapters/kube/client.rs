//! The way to the API server: from inside of a cluster, or by a kubeconfig.
//!
//! It reads tokens only through the client, which reads a rotated one again by itself.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use kube::{
    Client, Config,
    client::ClientBuilder,
    config::{KubeConfigOptions, Kubeconfig},
};

use super::bounds::Bounds;
use crate::files;

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long an answer may be silent: longer than a watch, which the server ends after a minute.
const SILENT: Duration = Duration::from_secs(75);

/// Why there is no way to the API server.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("the kubeconfig {path} cannot be used")]
    Kubeconfig { path: PathBuf, source: Box<kube::config::KubeconfigError> },
    #[error("the kubeconfig {path} cannot be read: {error}")]
    File { path: PathBuf, error: std::io::Error },
    /// There is none, and this is no pod.
    #[error("this is no pod with a service account: name a `kubernetes.kubeconfig`")]
    NotInCluster(#[source] kube::config::InClusterError),
    /// What is written there is no usable TLS or address.
    #[error("the client for the API server cannot be made")]
    Client(#[source] Box<kube::Error>),
}

/// Connects by this kubeconfig, or as the pod we are in. Nothing is sent yet.
///
/// # Errors
/// [`ClientError`] says what is missing.
pub async fn connect(kubeconfig: Option<&Path>) -> Result<Client, ClientError> {
    crate::adapters::http::install_tls_provider();
    let config = match kubeconfig {
        None => Config::incluster().map_err(ClientError::NotInCluster)?,
        Some(path) => {
            let wrong = |source| ClientError::Kubeconfig { path: path.to_owned(), source: Box::new(source) };
            // The client reads whatever the path names; what is no file of that kind is found out before.
            files::read(path, files::MOST).map_err(|error| ClientError::File { path: path.to_owned(), error })?;
            let file = Kubeconfig::read_from(path).map_err(wrong)?;
            Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.map_err(wrong)?
        }
    };
    client(config)
}

/// The same for a command that a person runs: without a kubeconfig in the configuration, by the one that kubectl uses.
///
/// # Errors
/// As [`connect`].
pub async fn connect_as_operator(kubeconfig: Option<&Path>) -> Result<Client, ClientError> {
    match connect(kubeconfig).await {
        Err(not_in_cluster @ ClientError::NotInCluster(_)) => {
            let own = Config::from_kubeconfig(&KubeConfigOptions::default()).await;
            client(own.map_err(|_| not_in_cluster)?)
        }
        made => made,
    }
}

fn client(mut config: Config) -> Result<Client, ClientError> {
    config.connect_timeout = Some(CONNECT);
    // A list or the begin of a watch has no other limit: without one, an answer that never comes blinds us for good.
    config.read_timeout = Some(SILENT);
    config.reset_reader_on_write = true;
    // Watches have a back-off of their own, and a reading is to say at once that the server does not answer.
    config.default_retry = false;
    let built = ClientBuilder::try_from(config).map_err(|error| ClientError::Client(Box::new(error)))?;
    Ok(built.with_layer(&Bounds).build())
}
