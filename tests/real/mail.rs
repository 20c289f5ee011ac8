//! Mail to a real server, aiosmtpd, with TLS by an authority of our own and with a login.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
};

use failover::{
    adapters::mail::Mailer,
    config::{Login, MailSettings, MailTls, SecretFile},
    domain::{Delivery, MailFault, Message, Span, Time},
    ports::{FindingState, Notifier},
};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use serde_json::Value;
use tempfile::TempDir;
use uuid::Uuid;

use crate::parts::part;

const ID: Uuid = Uuid::from_u128(0x1234);

/// The Python that has aiosmtpd.
fn python() -> PathBuf {
    part("python").join("bin/python")
}

/// A running server with its authority; ends with the test, because its standard input does.
struct Server {
    process: Child,
    says: BufReader<ChildStdout>,
    port: u16,
    folder: TempDir,
}

impl Server {
    /// `name` is what its certificate is for.
    fn start(mode: &str, name: &str) -> Self {
        Self::start_with(mode, |folder| certify(folder, name))
    }

    fn start_with(mode: &str, certify: impl FnOnce(&Path)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        certify(folder.path());
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/real/mail/server.py");
        let mut process = Command::new(python())
            .args([script, mode])
            .args([folder.path().join("server.pem"), folder.path().join("server.key")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let says = BufReader::new(process.stdout.take().unwrap());
        let mut server = Self { process, says, port: 0, folder };
        server.port = u16::try_from(server.next()["port"].as_u64().unwrap()).unwrap();
        server
    }

    fn next(&mut self) -> Value {
        let mut line = String::new();
        self.says.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("the server ended or said {line:?}"))
    }

    /// Every mail it took, in order; ends the server.
    fn mails(mut self) -> Vec<Value> {
        drop(self.process.stdin.take());
        (&mut self.says).lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect()
    }

    fn settings(&self, tls: MailTls, password: &str) -> MailSettings {
        let password_file = self.folder.path().join("password");
        std::fs::write(&password_file, password).unwrap();
        MailSettings {
            host: "127.0.0.1".into(),
            port: self.port,
            tls,
            ca_file: Some(self.folder.path().join("ca.pem")),
            login: Some(Login { username: "fo".into(), password_file: SecretFile::new(password_file) }),
            from: "failover <failover@home.example>".into(),
            to: vec!["bad@x.example".into(), "me@x.example".into()],
            timeout: Span::from_secs(20),
            taking: Span::from_mins(10),
            runbook: false,
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Makes an authority and a certificate of it for this name.
pub fn certify(folder: &Path, name: &str) {
    let openssl = |arguments: &str| {
        let status =
            Command::new("openssl").args(arguments.split(' ')).current_dir(folder).stderr(Stdio::null()).status();
        assert!(status.expect("openssl is installed").success(), "openssl {arguments}");
    };
    let new = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(&format!("req -x509 {new} -days 2 -subj /CN=ours -keyout ca.key -out ca.pem"));
    openssl(&format!("req {new} -subj /CN=server -keyout server.key -out server.csr"));
    std::fs::write(folder.join("names"), format!("subjectAltName={name}\n")).unwrap();
    openssl("x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out server.pem");
}

/// The same with a certificate of years ago, which `openssl x509` cannot make.
fn certify_expired(folder: &Path) {
    let (ca_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    std::fs::write(folder.join("ca.pem"), authority.self_signed(&ca_key).unwrap().pem()).unwrap();
    let mut server = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    (server.not_before, server.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2020, 1, 2));
    let certificate = server.signed_by(&key, &Issuer::new(authority, ca_key)).unwrap();
    std::fs::write(folder.join("server.pem"), certificate.pem()).unwrap();
    std::fs::write(folder.join("server.key"), key.serialize_pem()).unwrap();
}

async fn send(settings: MailSettings) -> Delivery {
    let at = Time::from_second(1_800_000_000).unwrap();
    let message = Message { subject: "hello".into(), body: "one\n.two\n".into(), at };
    let mailer = Mailer::new(settings).unwrap();
    mailer.send(&message, ID, &mailer.recipients()).await
}

#[tokio::test]
async fn mail_goes_encrypted_and_with_a_login_by_both_kinds_of_tls() {
    for (mode, tls) in [("starttls", MailTls::Starttls), ("tls", MailTls::Tls)] {
        let server = Server::start(mode, "IP:127.0.0.1");
        let settings = server.settings(tls, "right\n");
        let findings = Mailer::new(settings.clone()).unwrap().check().await;
        assert_eq!(findings[0].state, FindingState::Ok, "{mode}: {findings:?}");
        let delivery = send(settings).await;
        assert_eq!(delivery.accepted, ["me@x.example"], "{mode}: {delivery:?}");
        assert_eq!(delivery.refused[0].recipient, "bad@x.example", "{mode}: {delivery:?}");
        assert_eq!(delivery.refused[0].fault, MailFault::Recipient, "{mode}: {delivery:?}");
        let mails = server.mails();
        assert_eq!(mails.len(), 1, "{mode}: checking sends nothing");
        assert_eq!(mails[0]["encrypted"], true, "{mode}");
        assert_eq!(mails[0]["login"], true, "{mode}");
        let content = mails[0]["content"].as_str().unwrap();
        assert!(content.contains("Message-ID: <00000000-0000-0000-0000-000000001234@home.example>"), "{content}");
        assert!(content.contains("\r\n.two"), "the dot is not doubled: {content}");
    }
}

#[tokio::test]
async fn a_server_that_is_not_trusted_gets_neither_password_nor_mail() {
    let server = Server::start("starttls", "IP:127.0.0.1");
    let settings = MailSettings { ca_file: None, ..server.settings(MailTls::Starttls, "right") };
    let delivery = send(settings).await;
    assert!(delivery.refused[0].remedy.as_str().contains("mail.ca_file"), "{delivery:?}");
    assert_eq!(delivery.refused.len(), 2, "nobody is given up");
    assert_eq!(server.mails(), Vec::<Value>::new());
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused() {
    let server = Server::start("starttls", "DNS:somebody.else");
    let delivery = send(server.settings(MailTls::Starttls, "right")).await;
    assert!(delivery.refused[0].why.as_str().contains("no trusted TLS"), "{delivery:?}");
    assert_eq!(server.mails(), Vec::<Value>::new());
}

#[tokio::test]
async fn a_wrong_password_keeps_the_mail_waiting_and_says_where_it_stands() {
    let server = Server::start("starttls", "IP:127.0.0.1");
    let delivery = send(server.settings(MailTls::Starttls, "wrong")).await;
    assert_eq!(delivery.refused.len(), 2, "{delivery:?}");
    assert!(delivery.refused[0].remedy.as_str().contains("mail.password_file"), "{delivery:?}");
    assert_eq!(server.mails(), Vec::<Value>::new());
}

#[tokio::test]
async fn what_the_sender_is_refused_for_waits_and_what_a_recipient_is_refused_for_is_its_own() {
    for (mode, tls) in [("starttls", MailTls::Starttls), ("tls", MailTls::Tls)] {
        let server = Server::start(mode, "IP:127.0.0.1");
        let to = ["sender@x.example", "relay@x.example", "grey@x.example", "closing@x.example", "me@x.example"];
        let to = to.map(str::to_owned).to_vec();
        let delivery = send(MailSettings { to, ..server.settings(tls, "right") }).await;
        assert_eq!(delivery.accepted, ["me@x.example"], "{mode}: {delivery:?}");
        let faults: Vec<MailFault> = delivery.refused.iter().map(|refusal| refusal.fault).collect();
        use MailFault::{Passing, Setting};
        assert_eq!(faults, [Setting, Setting, Passing, Passing], "{mode}: {delivery:?}");
        assert!(delivery.refused[0].why.as_str().contains("Sender address rejected"), "{mode}: {delivery:?}");
        assert_eq!(server.mails().len(), 1, "{mode}");
    }
}

#[tokio::test]
async fn an_expired_certificate_keeps_the_mail_waiting_and_is_named() {
    let server = Server::start_with("tls", certify_expired);
    let delivery = send(server.settings(MailTls::Tls, "right")).await;
    assert!(delivery.refused[0].why.as_str().contains("expired"), "{delivery:?}");
    assert_eq!(delivery.refused[0].fault, MailFault::Setting);
    assert_eq!(server.mails(), Vec::<Value>::new());
}
