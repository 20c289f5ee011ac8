//! From written to usable: every value checked, contradictions refused, all problems found in one go.
//!
//! It does not know what the values are used for beyond what makes them contradict each other.

use std::{collections::HashMap, net::SocketAddr, path::Path};

use super::{
    Checks, Config, ConfigError, Place, Problem, SecretFile, Warning,
    validated::*,
    values::{At, Duration},
    written::{self, Written},
};
use crate::domain::{
    Mode, Span, Usd,
    alerts::{MatcherError, Matchers},
    one_line,
};

mod compute;
mod kubernetes;
mod mail;
mod node;
mod policy;
mod probes;
mod standby;
mod urls;
mod validators;

pub(super) fn validate(
    written: Written,
    text: &str,
    origin: &str,
    checks: &Checks,
) -> Result<(Config, Vec<Warning>), ConfigError> {
    let mut checker = Checker { text, origin, checks, problems: Vec::new(), warnings: Vec::new() };
    let config = checker.config(written);
    let Checker { mut problems, warnings, .. } = checker;
    match config {
        Some(config) if problems.is_empty() => Ok((config, warnings)),
        Some(_) | None => {
            problems.sort_by_key(|problem| (problem.place.line, problem.place.column));
            Err(ConfigError::Invalid(problems))
        }
    }
}

/// The probes alone, without a configuration around them. Files are not looked for.
pub(super) fn probes_alone(
    written: &At<Vec<written::Probe>>,
    text: &str,
    origin: &str,
) -> Result<Vec<ProbeSettings>, ConfigError> {
    let checks = Checks { files: false, ..Checks::default() };
    let mut checker = Checker { text, origin, checks: &checks, problems: Vec::new(), warnings: Vec::new() };
    let probes = checker.probes(Some(written), written.place);
    if checker.problems.is_empty() { Ok(probes) } else { Err(ConfigError::Invalid(checker.problems)) }
}

/// Collects what is wrong. A check that fails says so and answers `None`; nothing is built from a file with a problem.
struct Checker<'a> {
    text: &'a str,
    origin: &'a str,
    checks: &'a Checks,
    problems: Vec<Problem>,
    warnings: Vec<Warning>,
}

impl Checker<'_> {
    fn wrong(&mut self, place: Place, message: impl Into<String>) {
        self.problems.push(Problem::new(self.origin, self.text, place, message.into()));
    }

    fn warn(&mut self, place: Place, message: impl Into<String>) {
        self.warnings.push(Warning(Problem::new(self.origin, self.text, place, message.into())));
    }

    fn config(&mut self, written: Written) -> Option<Config> {
        let site = self.label(&written.site, "site");
        let ledger = self.ledger(&written.ledger);
        let http = self.http(&written.http);
        let alertmanager =
            written.alertmanager.as_ref().map(|section| self.alertmanager(section, http.as_ref().map(|h| h.listen)));
        let ethereum = written.ethereum.as_ref().map(|section| self.ethereum(section));
        let kubernetes = self.kubernetes(&written.kubernetes);
        let validators = self.validators(&written);
        let policy = self.policy(&written.policy);
        self.boots(&written);
        let compute = written.compute.as_ref().map(|section| self.compute(section, &written.policy));
        let standby = written.standby.as_ref().map(|section| self.standby(section));
        self.standbys_for_all(&written);
        let (budget_per_incident, budget_per_month) = self.budget(&written.budget);
        let mail = written.mail.as_ref().map(|section| self.mail(section));
        let monitor = written.monitor.as_ref().map(|section| self.monitor(section));
        self.mode(&written);
        Some(Config {
            site: site?,
            mode: written.mode.value,
            ledger: ledger?,
            http: http?,
            alertmanager: section(alertmanager)?,
            ethereum: section(ethereum)?,
            kubernetes: kubernetes?,
            validators: validators?,
            policy,
            compute: section(compute)?,
            standby: section(standby)?,
            budget_per_incident,
            budget_per_month,
            mail: section(mail)?,
            monitor: section(monitor)?,
        })
    }

    /// What has to be there before anything may be created.
    fn mode(&mut self, written: &Written) {
        match written.mode.value {
            Mode::Observe => {}
            Mode::Armed => {
                if written.compute.is_none() {
                    self.wrong(
                        written.mode.place,
                        "mode is armed, but there is no compute section to create a standby with: add one, or write \
                         'mode: observe'",
                    );
                }
                if written.mail.is_none() {
                    self.warn(
                        written.mode.place,
                        "mode is armed, but there is no mail section: nobody is told that a standby is ready",
                    );
                }
            }
        }
    }

    fn label(&mut self, text: &At<String>, key: &str) -> Option<String> {
        let fits = (1..=63).contains(&text.len())
            && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_');
        if !fits {
            self.wrong(text.place, format!("{key} '{}' has to be 1 to 63 of a-z, 0-9, '-' and '_'", text.value));
        }
        fits.then(|| text.value.clone())
    }

    fn ledger(&mut self, ledger: &At<written::Ledger>) -> Option<LedgerSettings> {
        match &ledger.value {
            written::Ledger::Sqlite(sqlite) => {
                if sqlite.path.as_os_str().is_empty() {
                    self.wrong(ledger.place, "ledger.sqlite.path is empty: name a file");
                    return None;
                }
                self.warn(
                    ledger.place,
                    "the ledger is a file on this machine: it does not survive the loss of the house; use ledger.gcs \
                     for that",
                );
                Some(LedgerSettings::Sqlite { path: self.checks.base.join(&sqlite.path) })
            }
            written::Ledger::Gcs(gcs) => {
                let bucket = &gcs.bucket;
                let fits = (3..=222).contains(&bucket.len())
                    && bucket.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c));
                if !fits {
                    self.wrong(bucket.place, format!("'{}' is not the name of a bucket", bucket.value));
                }
                let prefix = gcs.prefix.trim_matches('/');
                let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
                let endpoint = gcs.endpoint.as_ref().map(|url| self.url(url, "ledger.gcs.endpoint"));
                let credentials = self.credentials(&gcs.credentials, gcs.endpoint.as_ref());
                Some(LedgerSettings::Gcs {
                    bucket: fits.then(|| bucket.value.clone())?,
                    prefix,
                    endpoint: section(endpoint)?,
                    credentials: credentials?,
                })
            }
        }
    }

    fn http(&mut self, http: &written::Http) -> Option<HttpSettings> {
        let listen = http.listen.parse::<SocketAddr>().ok();
        if listen.is_none() {
            self.wrong(
                http.listen.place,
                format!("'{}' is not an address with a port: write 0.0.0.0:8080 or [::]:8080", http.listen.value),
            );
        }
        let address = http.address.as_ref().map(|url| self.url(url, "http.address"));
        Some(HttpSettings { listen: listen?, address: section(address)? })
    }

    fn alertmanager(
        &mut self,
        written: &written::Alertmanager,
        listen: Option<SocketAddr>,
    ) -> Option<AlertmanagerSettings> {
        let place = written.auth.place;
        let auth = match &written.auth.value {
            written::Auth::BearerFile(path) => self.secret(path, place).map(WebhookAuth::Bearer),
            written::Auth::Basic(basic) => {
                if basic.username.is_empty() || basic.username.contains(':') {
                    self.wrong(place, "alertmanager.auth.basic.username has to be there and without ':'");
                }
                self.secret(&basic.password_file, place)
                    .map(|password| WebhookAuth::Basic { username: basic.username.clone(), password })
            }
            written::Auth::None => {
                if let Some(listen) = listen.filter(|listen| !listen.ip().is_loopback()) {
                    self.wrong(
                        place,
                        format!(
                            "alertmanager.auth is none, but http.listen is {listen}: anybody could send alerts; use \
                             bearer_file or basic, or listen on 127.0.0.1"
                        ),
                    );
                }
                Some(WebhookAuth::None)
            }
        };
        let url = written.url.as_ref().map(|url| self.url(url, "alertmanager.url"));
        let watchdog = written.watchdog.as_ref().map(|watchdog| {
            self.matchers(&watchdog.matchers)
                .map(|matchers| WatchdogSettings { matchers, timeout: watchdog.timeout.value.0 })
        });
        Some(AlertmanagerSettings {
            auth: auth?,
            url: section(url)?,
            watchdog: section(watchdog)?,
            stale_after: written.stale_after.value.0,
        })
    }

    fn matchers(&mut self, matchers: &At<String>) -> Option<Matchers> {
        matchers.value.parse().map_err(|error: MatcherError| self.wrong(matchers.place, error.to_string())).ok()
    }

    fn ethereum(&mut self, written: &written::Ethereum) -> Option<EthereumSettings> {
        if written.beacon_nodes.is_empty() {
            self.wrong(written.beacon_nodes.place, "ethereum.beacon_nodes is empty: name at least one node");
        }
        let mut names = Unique::default();
        let mut nodes = Vec::new();
        for node in &written.beacon_nodes.value {
            names.take(self, &node.name.value, node.name.place, "beacon node");
            let name = self.label(&node.name, "the name of a beacon node");
            let url = self.url(&node.url, "the url of a beacon node");
            nodes.extend(name.zip(url).map(|(name, url)| BeaconNodeSettings { name, url }));
        }
        let genesis_root = written.genesis_root.as_ref().map(|root| {
            let digits = root.strip_prefix("0x").unwrap_or_default();
            let fits = digits.len() == 64 && digits.chars().all(|c| c.is_ascii_hexdigit());
            if !fits {
                self.wrong(root.place, "ethereum.genesis_root has to be 0x and 64 hexadecimal digits");
            }
            fits.then(|| root.to_ascii_lowercase())
        });
        Some(EthereumSettings { beacon_nodes: nodes, genesis_root: section(genesis_root)? })
    }

    fn monitor(&mut self, written: &written::Monitor) -> Option<MonitorSettings> {
        let place = written.ping_url_file.place;
        let file = self.secret(&written.ping_url_file.value, place)?;
        if self.checks.files {
            let is_url = file.read().is_ok_and(|secret| {
                url::Url::parse(secret.expose()).is_ok_and(|url| matches!(url.scheme(), "http" | "https"))
            });
            if !is_url {
                self.wrong(place, format!("{} holds no http or https URL", file.path().display()));
                return None;
            }
        }
        Some(MonitorSettings { ping_url_file: file, every: written.every.value.0 })
    }

    fn secret(&mut self, path: &Path, place: Place) -> Option<SecretFile> {
        let file = SecretFile::new(self.checks.base.join(path));
        if self.checks.files {
            if let Err(error) = file.read() {
                self.wrong(place, format!("{error}; write the secret into it, readable by this program only"));
                return None;
            }
            if file.is_world_readable() {
                let path = file.path().display().to_string();
                self.warn(place, format!("every user of this machine can read the secret in {path}: chmod o-r {path}"));
            }
        }
        Some(file)
    }
}

/// A section that is not there is fine; one that is wrong is not.
#[allow(clippy::option_option, reason = "absent, wrong and fine are three things")]
fn section<T>(section: Option<Option<T>>) -> Option<Option<T>> {
    match section {
        None => Some(None),
        Some(None) => None,
        Some(Some(value)) => Some(Some(value)),
    }
}

/// Finds what stands twice, and says where it stood first.
#[derive(Default)]
struct Unique(HashMap<String, Place>);

impl Unique {
    fn take(&mut self, checker: &mut Checker<'_>, name: &str, place: Place, what: &str) {
        if let Some(first) = self.0.insert(name.to_owned(), place) {
            // Only a key is longer, and its start says which one it is.
            let short = one_line(name, if name.len() > 70 { 15 } else { 70 });
            checker.wrong(
                place,
                format!("{what} '{short}' stands twice, first on line {}: remove one of them", first.line),
            );
        }
    }
}

fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn span(duration: &At<Duration>) -> Span {
    duration.value.0
}

fn usd(amount: &At<f64>) -> Usd {
    Usd(amount.value)
}
