//! The real program, serving; what it says of itself can be waited for. It ends with the test.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

/// A port nobody has now.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

pub struct Program {
    process: Child,
    url: String,
    log: PathBuf,
}

impl Program {
    /// Starts it with this configuration, which lets it listen on this port.
    pub fn serve(config: &Path, port: u16) -> Self {
        Self::serve_by(Command::new(env!("CARGO_BIN_EXE_failover")), config, port)
    }

    /// The same by a command that becomes the program, with the arguments that are given here.
    pub fn serve_by(mut command: Command, config: &Path, port: u16) -> Self {
        let log = config.with_extension("log");
        let process = command
            .args(["serve", "--config"])
            .arg(config)
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Self { process, url: format!("http://127.0.0.1:{port}"), log }
    }

    /// Where Alertmanager sends to.
    pub fn webhook(&self) -> String {
        format!("{}/webhook/alertmanager", self.url)
    }

    /// Waits until its status is so, and returns it.
    pub async fn wait_for(&self, what: &str, look: impl Fn(&str) -> bool) -> String {
        let client = failover::adapters::http::client(Duration::from_secs(5)).unwrap();
        let mut last = String::new();
        let wait = async {
            loop {
                let answer = client.get(format!("{}/api/v1/status", self.url)).send().await;
                if let Ok(answer) = answer
                    && let Ok(text) = answer.text().await
                {
                    if look(&text) {
                        return text;
                    }
                    last = text;
                }
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(240), wait).await.unwrap_or_else(|_| {
            let log = fs::read_to_string(&self.log).unwrap_or_default();
            panic!("waited in vain for this: {what}\n{last}\n{log}");
        })
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
