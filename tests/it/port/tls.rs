//! TLS on the port: real handshakes, certificates that change while it runs, and those that cannot be used.

use std::{
    fs,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{Router, routing::get};
use failover::{
    adapters::server::{PortLimits, serve, tls::PortTls},
    config::PortTlsSettings,
};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use reqwest::{Certificate, Client};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::cli::rig::{House, failover};

/// Writes a certificate of a new authority, and returns that.
fn write_pair(folder: &Path) -> String {
    let ca_key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = ca.self_signed(&ca_key).unwrap().pem();
    let key = KeyPair::generate().unwrap();
    let names = CertificateParams::new(vec!["localhost".into(), "127.0.0.1".into()]).unwrap();
    let certificate = names.signed_by(&key, &Issuer::new(ca, ca_key)).unwrap();
    fs::write(folder.join("tls.crt"), certificate.pem()).unwrap();
    fs::write(folder.join("tls.key"), key.serialize_pem()).unwrap();
    fs::write(folder.join("ca.crt"), &authority).unwrap();
    authority
}

fn trusting(authority: &str) -> Client {
    failover::adapters::http::install_tls_provider();
    let certificate = Certificate::from_pem(authority.as_bytes()).unwrap();
    Client::builder().tls_certs_only([certificate]).no_proxy().timeout(Duration::from_secs(20)).build().unwrap()
}

struct Port {
    folder: TempDir,
    tls: Arc<PortTls>,
    url: String,
    authority: String,
    _stop: DropGuard,
}

impl Port {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = write_pair(folder.path());
        let files = PortTlsSettings {
            certificate_file: folder.path().join("tls.crt"),
            key_file: folder.path().join("tls.key"),
            ca_file: None,
        };
        let tls = Arc::new(PortTls::read(&files, Instant::now()).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://localhost:{}/", listener.local_addr().unwrap().port());
        let (router, stop) = (Router::new().route("/", get(async || "here")), CancellationToken::new());
        tokio::spawn(serve(listener, Some(tls.clone()), router, PortLimits::default(), stop.clone()));
        Self { folder, tls, url, authority, _stop: stop.drop_guard() }
    }

    async fn answers(&self, client: &Client) -> bool {
        client.get(&self.url).send().await.is_ok_and(|answer| answer.status() == 200)
    }
}

#[tokio::test]
async fn it_speaks_tls_with_who_trusts_its_authority_and_with_nobody_else() {
    let port = Port::start().await;
    assert!(port.answers(&trusting(&port.authority)).await);
    let other = tempfile::tempdir().unwrap();
    assert!(!port.answers(&trusting(&write_pair(other.path()))).await);
    let plain = trusting(&port.authority).get(port.url.replace("https", "http")).send().await;
    assert!(plain.is_err(), "there is no plain text on this port");
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_to_new_connections_and_old_ones_continue() {
    let port = Port::start().await;
    let before = trusting(&port.authority);
    assert!(port.answers(&before).await);
    let after = trusting(&write_pair(port.folder.path()));
    port.tls.reread(Instant::now());
    assert!(port.answers(&after).await);
    assert!(port.answers(&before).await, "on the connection it has");
    assert!(!port.answers(&trusting(&port.authority)).await);
}

#[tokio::test]
async fn a_pair_that_cannot_be_used_changes_nothing_and_is_said() {
    let port = Port::start().await;
    let good = fs::read_to_string(port.folder.path().join("tls.key")).unwrap();
    let other = KeyPair::generate().unwrap().serialize_pem();
    for (broken, why) in [("", "no private key"), ("-----BEGIN", "no private key"), (&*other, "cannot be used")] {
        fs::write(port.folder.path().join("tls.key"), broken).unwrap();
        port.tls.reread(Instant::now());
        assert!(port.tls.problem().is_some_and(|problem| problem.contains(why)), "{:?}", port.tls.problem());
        assert!(port.answers(&trusting(&port.authority)).await, "{why}");
    }
    fs::write(port.folder.path().join("tls.key"), good).unwrap();
    port.tls.reread(Instant::now());
    assert_eq!(port.tls.problem(), None);
}

#[tokio::test]
async fn the_watcher_serves_its_pages_by_tls_and_status_asks_them_so() {
    let house = House::new("");
    write_pair(house.folder.path());
    let watcher = house.serve_as("tls", |text| {
        text.replace("'}\nalertmanager", "', tls: {certificate_file: tls.crt, key_file: tls.key}}\nalertmanager")
    });
    let url = watcher.url.replace("http://127.0.0.1", "https://localhost");
    let client = trusting(&fs::read_to_string(house.folder.path().join("ca.crt")).unwrap());
    while !client.get(format!("{url}/readyz")).send().await.is_ok_and(|answer| answer.status() == 200) {
        assert!(watcher.runs(), "{}", watcher.log());
    }
    let authority = house.folder.path().join("ca.crt");
    let shown = failover(&["status", "--json", "--url", &url, "--ca-file", authority.to_str().unwrap()]);
    assert_eq!(shown.code, 0, "{}", shown.err);
    assert_eq!(failover(&["status", "--url", &url]).code, 1, "the system does not know this authority");
}
