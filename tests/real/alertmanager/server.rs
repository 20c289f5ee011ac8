//! A real Alertmanager process, and the receiver it sends to, whose answers can be waited for.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::Request,
    middleware::{self, Next},
};
use failover::{
    adapters::{
        alertmanager::{self, AlertEvent, Mapping, Mappings, Receiver, ReceiverConfig},
        http,
        ledger_sqlite::LedgerSqlite,
        server::access::Access,
    },
    config::{HttpAuth, SecretFile},
    domain::{AlertRecord, Evidence, Span, Time, ValidatorId, alerts::Freshness},
    ports::Ledger,
};
use reqwest::{Method, RequestBuilder};
use serde_json::json;
use tokio::{io::AsyncReadExt, net::TcpListener, sync::mpsc, task::JoinHandle, time::timeout};

/// Far more than anything here takes; only a failure waits so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// What guards its port, beside its configuration.
const WEB_CONFIG: &str = "web.yaml";

/// A program of a part, as the installer of real parts says.
pub fn program(part: &str, name: &str) -> PathBuf {
    let path = crate::parts::part(part).join(name);
    assert!(path.is_file(), "{part} is installed without {}", path.display());
    path
}

pub struct Alertmanager {
    pub url: String,
    process: Child,
    client: reqwest::Client,
    guarded: bool,
    folder: tempfile::TempDir,
}

impl Alertmanager {
    /// With an empty memory, on a free port, sending everything to this address, each alert by itself.
    pub async fn start(webhook: &str) -> Self {
        Self::start_grouped_by("...", webhook).await
    }

    /// The same, but alerts that agree in this label come in one message.
    pub async fn start_grouped_by(label: &str, webhook: &str) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), label, webhook).await
    }

    /// Its port speaks TLS by an authority of its own and asks for the user `failover` with the password `s3cret`.
    pub async fn start_guarded(webhook: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        crate::mail::certify(folder.path(), "IP:127.0.0.1");
        let web = json!({
            "tls_server_config": { "cert_file": "server.pem", "key_file": "server.key" },
            // Of `s3cret`, with few rounds.
            "basic_auth_users": { "failover": "$2b$04$v/BBdamcj2N985TpT5XP5erBk1OFPj2GFDNL2XIihwsdctwVyVhaq" },
        });
        std::fs::write(folder.path().join(WEB_CONFIG), web.to_string()).unwrap();
        Self::start_in(folder, "...", webhook).await
    }

    /// The authority of a guarded one.
    pub fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    async fn start_in(folder: tempfile::TempDir, label: &str, webhook: &str) -> Self {
        let config = json!({
            "route": {
                "receiver": "failover", "group_by": [label],
                "group_wait": "100ms", "group_interval": "200ms", "repeat_interval": "1h",
            },
            "receivers": [{ "name": "failover", "webhook_configs": [{
                "url": webhook, "http_config": { "authorization": { "credentials": "s3cret" } },
            }]}],
        });
        // JSON is YAML.
        let file = folder.path().join("alertmanager.yaml");
        std::fs::write(&file, config.to_string()).unwrap();
        let (process, url) = tokio::task::spawn_blocking({
            let data = folder.path().join("data");
            move || spawn(&file, &data)
        })
        .await
        .unwrap();
        let guarded = folder.path().join(WEB_CONFIG).exists();
        let ca_file = guarded.then(|| folder.path().join("ca.pem"));
        let client = http::client_trusting(PATIENCE, ca_file.as_deref(), None).unwrap();
        let url = format!("{}://{url}", if guarded { "https" } else { "http" });
        let alertmanager = Self { url, process, client, guarded, folder };
        // It listens before it is ready, and answers only then.
        let ready = alertmanager.ask(Method::GET, "/-/ready").send().await.unwrap();
        assert_eq!(ready.status(), 200);
        alertmanager
    }

    fn ask(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.client.request(method, format!("{}{path}", self.url));
        if self.guarded { request.basic_auth("failover", Some("s3cret")) } else { request }
    }

    pub fn now() -> String {
        Self::in_seconds(0)
    }

    pub fn in_seconds(seconds: i64) -> String {
        (Time::now() + Span::from_secs(seconds)).to_string()
    }

    /// What Prometheus would send.
    pub async fn fire(&self, name: &str, starts_at: &str, ends_at: Option<&str>) {
        let mut alert = json!({ "labels": { "alertname": name, "instance": "home-1" }, "startsAt": starts_at,
            "annotations": { "summary": "it is down" } });
        if let Some(ends_at) = ends_at {
            alert["endsAt"] = ends_at.into();
        }
        let response = self.ask(Method::POST, "/api/v2/alerts").json(&[alert]).send().await.unwrap();
        assert_eq!(response.status(), 200, "{}", response.text().await.unwrap());
    }

    /// As many different alerts at once.
    pub async fn fire_many(&self, name: &str, count: usize) {
        let starts_at = Self::now();
        let alert = |number: usize| json!({ "labels": { "alertname": name, "instance": format!("home-{number}") }, "startsAt": starts_at });
        let alerts: Vec<_> = (0..count).map(alert).collect();
        let response = self.ask(Method::POST, "/api/v2/alerts").json(&alerts).send().await.unwrap();
        assert_eq!(response.status(), 200, "{}", response.text().await.unwrap());
    }

    /// Answers with the silence's id.
    pub async fn silence(&self, name: &str) -> String {
        let until = Time::now() + Duration::from_secs(3_600);
        let silence = json!({ "matchers": [{ "name": "alertname", "value": name, "isRegex": false, "isEqual": true }],
            "startsAt": Self::now(), "endsAt": until.to_string(), "createdBy": "a test", "comment": "I know" });
        let response = self.ask(Method::POST, "/api/v2/silences").json(&silence).send().await.unwrap();
        let answer: serde_json::Value = response.json().await.unwrap();
        answer["silenceID"].as_str().unwrap().to_owned()
    }
}

fn spawn(config: &Path, data: &Path) -> (Child, String) {
    let web = config.with_file_name(WEB_CONFIG);
    let guarded = web.exists().then(|| format!("--web.config.file={}", web.display()));
    let mut process = Command::new(program("alertmanager", "alertmanager"))
        .arg(format!("--config.file={}", config.display()))
        .args(guarded)
        .arg(format!("--storage.path={}", data.display()))
        .args(["--web.listen-address=127.0.0.1:0", "--cluster.listen-address=", "--log.level=info"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
    let mut said = String::new();
    let address = loop {
        let Some(Ok(line)) = lines.next() else {
            let _ = process.kill();
            panic!("alertmanager ended without listening: {said}");
        };
        said = format!("{said}\n{line}");
        if let Some((_, rest)) = line.split_once("address=").filter(|_| line.contains("Listening on")) {
            break rest.split_whitespace().next().unwrap().trim_matches('"').to_owned();
        }
    };
    // Its log is read to the end, or it would stand still when the pipe is full.
    std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
    (process, address)
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Where the messages go.
pub struct Home {
    pub receiver: Arc<Receiver>,
    pub ledger: Arc<dyn Ledger>,
    pub holds_lease: Arc<AtomicBool>,
    events: mpsc::Receiver<AlertEvent>,
    listener: std::net::TcpListener,
    answers: (mpsc::UnboundedSender<u16>, mpsc::UnboundedReceiver<u16>),
    server: Option<JoinHandle<()>>,
    _folder: tempfile::TempDir,
}

impl Home {
    /// A port that is open and that nobody serves yet.
    pub async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ledger = LedgerSqlite::open(&folder.path().join("ledger.sqlite")).unwrap();
        let secret = folder.path().join("secret");
        std::fs::write(&secret, "s3cret").unwrap();
        let holds_lease = Arc::new(AtomicBool::new(true));
        let lease = Arc::clone(&holds_lease);
        let mapping = Mapping {
            validator: ValidatorId::new("eth-0").unwrap(),
            matchers: "alertname=ValidatorDown".parse().unwrap(),
            evidence: Evidence::Process,
        };
        let config = ReceiverConfig {
            mappings: Mappings::new(vec![mapping], Some("alertname=Watchdog".parse().unwrap())),
            access: Arc::new(Access::read(&HttpAuth::Bearer(SecretFile::new(&secret)), Instant::now()).unwrap()),
            freshness: Freshness { stale_after: Freshness::STALE_AFTER, watchdog: Some(Freshness::WATCHDOG_TIMEOUT) },
            now: Arc::new(Time::now),
            holds_lease: Arc::new(move || lease.load(Ordering::SeqCst)),
        };
        let (sender, events) = mpsc::channel(64);
        let ledger: Arc<dyn Ledger> = Arc::new(ledger);
        let receiver = Arc::new(Receiver::new(config, Arc::clone(&ledger), sender));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let answers = mpsc::unbounded_channel();
        Self { receiver, ledger, holds_lease, events, listener, answers, server: None, _folder: folder }
    }

    pub fn url(&self) -> String {
        format!("http://{}/webhook/alertmanager", self.listener.local_addr().unwrap())
    }

    fn port(&self) -> TcpListener {
        TcpListener::from_std(self.listener.try_clone().unwrap()).unwrap()
    }

    pub fn serve(&mut self) {
        let answers = self.answers.0.clone();
        let note = move |request: Request, next: Next| {
            let answers = answers.clone();
            async move {
                let response = next.run(request).await;
                let _ = answers.send(response.status().as_u16());
                response
            }
        };
        let app: Router = alertmanager::routes(Arc::clone(&self.receiver)).layer(middleware::from_fn(note));
        let listener = self.port();
        self.server = Some(tokio::spawn(async move { axum::serve(listener, app).await.unwrap() }));
    }

    /// Reads some of a message and closes the connection without an answer, as a killed process does.
    pub async fn take_a_message_and_die(&self) {
        let (mut connection, _) = timeout(PATIENCE, self.port().accept()).await.expect("a message").unwrap();
        let mut some = [0; 64];
        connection.read_exact(&mut some).await.unwrap();
        assert!(some.starts_with(b"POST /webhook/alertmanager"));
    }

    pub async fn answer(&mut self) -> u16 {
        timeout(PATIENCE, self.answers.1.recv()).await.expect("an answer").unwrap()
    }

    pub async fn event(&mut self) -> AlertEvent {
        timeout(PATIENCE, self.events.recv()).await.expect("an event").unwrap()
    }

    /// The next event, which is one alert.
    pub async fn alert(&mut self) -> Arc<AlertRecord> {
        match self.event().await {
            AlertEvent::AlertUpdate { records } if records.len() == 1 => Arc::clone(&records[0]),
            other => panic!("expected one alert, got {other:?}"),
        }
    }

    /// The next alert that is so; Alertmanager may repeat others before.
    pub async fn until(&mut self, wanted: impl Fn(&AlertRecord) -> bool) -> Arc<AlertRecord> {
        loop {
            let record = self.alert().await;
            if wanted(&record) {
                return record;
            }
        }
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if let Some(server) = &self.server {
            server.abort();
        }
    }
}
