//! A configuration in a folder of its own, and the program run against it.

use std::{
    fs,
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use ::failover::{adapters::ledger_sqlite::LedgerSqlite, ports::Ledger as _};
use tempfile::TempDir;

/// How a command ended.
pub struct Ended {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
    }
}

/// The program, as built for these tests.
pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_failover"));
    command.env_remove("RUST_LOG").env_remove("FAILOVER_CONFIG").stdin(Stdio::null());
    command
}

pub fn failover(arguments: &[&str]) -> Ended {
    program().args(arguments).output().unwrap().into()
}

/// One validator, a ledger in a file, and whatever else is given.
pub struct House {
    pub folder: TempDir,
}

impl House {
    pub fn new(more: &str) -> Self {
        let house = Self { folder: tempfile::tempdir().unwrap() };
        house.write(&format!("{}{more}", Self::smallest("127.0.0.1:0")));
        house
    }

    fn smallest(listen: &str) -> String {
        format!(
            "site: home\nledger: {{sqlite: {{path: ledger.sqlite}}}}\nhttp: {{listen: '{listen}'}}\n\
             alertmanager: {{auth: none}}\npolicy: {{lease: 3s}}\nvalidators:\n  \
             - name: eth-0\n    kind: ethereum\n    public_keys: ['0x{:096x}']\n    \
             alerts: [{{matchers: '{{validator=\"eth-0\"}}', evidence: process}}]\n",
            7
        )
    }

    pub fn config(&self) -> PathBuf {
        self.folder.path().join("failover.yaml")
    }

    pub fn write(&self, text: &str) {
        fs::write(self.config(), text).unwrap();
    }

    /// A file beside the configuration that only we can read.
    pub fn secret(&self, name: &str, secret: &str) {
        fs::write(self.folder.path().join(name), secret).unwrap();
    }

    pub fn run(&self, arguments: &[&str]) -> Ended {
        program().args(arguments).arg("--config").arg(self.config()).output().unwrap().into()
    }

    /// Another watcher on the same ledger, on a port of its own.
    pub fn serve(&self, name: &str) -> Watcher {
        self.serve_with(name, "")
    }

    /// The same, with more in its configuration.
    pub fn serve_with(&self, name: &str, more: &str) -> Watcher {
        self.serve_as(name, |text| text + more)
    }

    /// The same, with its configuration as this makes it.
    pub fn serve_as(&self, name: &str, change: impl FnOnce(String) -> String) -> Watcher {
        let port = free_port();
        self.serve_text(name, port, &change(Self::smallest(&format!("127.0.0.1:{port}"))))
    }

    /// A watcher with this configuration, which says that it listens on this port.
    pub fn serve_text(&self, name: &str, port: u16, text: &str) -> Watcher {
        let config = self.folder.path().join(format!("{name}.yaml"));
        fs::write(&config, text).unwrap();
        let log = self.folder.path().join(format!("{name}.log"));
        // The signal that a file limit comes with is ignored, so that writing fails as on a full disk, and kills nobody.
        let mut serve = Command::new("sh");
        serve.args(["-c", "trap '' XFSZ; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_failover")]).env_remove("RUST_LOG");
        serve.args(["serve", "--config"]).arg(config).stdout(Stdio::null()).stderr(fs::File::create(&log).unwrap());
        Watcher { child: serve.spawn().unwrap(), url: format!("http://127.0.0.1:{port}"), log }
    }

    /// The alerts that the ledger holds.
    pub async fn alerts(&self) -> usize {
        let ledger = LedgerSqlite::open(&self.folder.path().join("ledger.sqlite")).unwrap();
        ledger.list("alerts/", None).await.unwrap().len()
    }
}

pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Ends with the test.
pub struct Watcher {
    pub child: Child,
    pub url: String,
    log: PathBuf,
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Watcher {
    /// Waits until this path answers with this status.
    pub async fn until(&self, path: &str, status: u16) -> Duration {
        let (client, since) = (client(), Instant::now());
        loop {
            let answer = client.get(format!("{}{path}", self.url)).send().await;
            let answered = answer.map_or(0, |answer| answer.status().as_u16());
            if answered == status {
                return since.elapsed();
            }
            let log = || fs::read_to_string(&self.log).unwrap();
            assert!(since.elapsed() < Duration::from_secs(20), "{path} answers {answered}, not {status}\n{}", log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Sends a new alert and returns what was answered.
    pub async fn alert(&self, number: usize) -> u16 {
        let body = format!(
            r#"{{"version":"4","status":"firing","alerts":[{{"status":"firing","labels":{{"alertname":"Down","validator":"eth-0"}},"annotations":{{}},"startsAt":"2026-01-01T00:00:00Z","endsAt":"0001-01-01T00:00:00Z","fingerprint":"{number:016x}"}}]}}"#
        );
        let post =
            client().post(format!("{}/webhook/alertmanager", self.url)).header("content-type", "application/json");
        post.body(body).send().await.unwrap().status().as_u16()
    }

    pub fn runs(&self) -> bool {
        fs::read_to_string(format!("/proc/{}/stat", self.child.id())).is_ok_and(|stat| !stat.contains(") Z "))
    }

    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }
}

impl Watcher {
    /// How large a file of this process may grow, from now on: what a full disk looks like from inside.
    pub fn limit_files(&self, bytes: &str) {
        let pid = format!("--pid={}", self.child.id());
        let limit = format!("--fsize={bytes}:");
        assert!(Command::new("prlimit").args([&pid, &limit]).status().unwrap().success());
    }
}

fn client() -> reqwest::Client {
    ::failover::adapters::http::client(Duration::from_secs(5)).unwrap()
}
