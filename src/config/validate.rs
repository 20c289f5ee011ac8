//! From written to usable: every value checked, contradictions refused, all problems found in one go.
//!
//! It does not know what the values are used for beyond what makes them contradict each other.

use std::{
    collections::HashMap,
    fs::File,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use super::{
    Checks, Config, ConfigError, Place, Problem, SecretFile, Warning,
    validated::*,
    values::At,
    written::{self, ConfigFile},
};
use crate::domain::{
    Mode,
    alerts::{MatcherError, Matchers},
    chain::genesis_root,
    is_bucket, is_label, object_prefix, one_line,
};

mod compute;
mod grants;
mod kubernetes;
mod mail;
mod node;
mod policy;
mod probes;
mod standby;
mod urls;
mod validators;
mod witness;

pub(super) fn validate(
    written: &ConfigFile,
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

/// Collects what is wrong. **Invariant:** a check that finds something wrong reports it, so whatever it answers then,
/// `None` or the value as it is written, is thrown away: nothing is built from a file with a problem.
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

    fn config(&mut self, written: &ConfigFile) -> Option<Config> {
        let site = self.label(&written.site, "site");
        let witness = self.witness(written);
        self.only_what_a_witness_has(written);
        let ledger = self.ledger(&written.ledger);
        let http = self.http(&written.http);
        let listen = http.as_ref().map(|http| http.listen);
        let alertmanager = written.alertmanager.as_ref().map(|section| self.alertmanager(section, listen));
        let ethereum = written.ethereum.as_ref().map(|section| self.ethereum(section));
        let kubernetes = self.kubernetes(&written.kubernetes);
        let grants = written.grants.as_ref().map(|section| self.grants(section));
        let validators = self.validators(written);
        let compute = written.compute.as_ref().map(|section| self.compute(section));
        let standby = written.standby.as_ref().and_then(|section| self.standby(section));
        self.standbys_for_all(written);
        let policy = self.policy(written, &validators, compute.as_ref());
        let mail = written.mail.as_ref().map(|section| self.mail(section));
        let monitor = written.monitor.as_ref().map(|section| self.monitor(section));
        self.runbook_needs_grants(written);
        self.armed(written);
        Some(Config {
            site,
            role: written.role.value,
            witness,
            ledger,
            http: http?,
            alertmanager,
            ethereum,
            kubernetes,
            grants,
            validators,
            policy,
            compute,
            standby,
            mail,
            monitor,
        })
    }

    /// A runbook is about keys that only a grant says where to use.
    fn runbook_needs_grants(&mut self, written: &ConfigFile) {
        if let Some(mail) = written.mail.as_ref().filter(|mail| mail.runbook.value && written.grants.is_none()) {
            let message = "mail.runbook is on, but there is no section `grants`, and runbooks are mailed for validators that \
                           have a grant: add `grants`, or remove this and use `failover runbook`";
            self.wrong(mail.runbook.place, message);
        }
    }

    /// What has to be there before anything may be created.
    fn armed(&mut self, written: &ConfigFile) {
        let Mode::Armed = written.mode.value else { return };
        if written.compute.is_none() {
            self.wrong(
                written.mode.place,
                "mode is armed, but there is no compute section to create a standby with: add one, or write 'mode: \
                 observe'",
            );
        }
        if written.mail.is_none() {
            let message = "mode is armed, but there is no mail section: nobody is notified that a standby is ready";
            self.warn(written.mode.place, message);
        }
    }

    fn ledger(&mut self, ledger: &At<written::LedgerSection>) -> LedgerSettings {
        match &ledger.value {
            written::LedgerSection::Sqlite(sqlite) => {
                if sqlite.path.as_os_str().is_empty() {
                    self.wrong(ledger.place, "ledger.sqlite.path is empty: name a file");
                }
                self.warn(
                    ledger.place,
                    "the ledger is a file on this machine: it does not survive the loss of the house; use ledger.gcs \
                     for that",
                );
                LedgerSettings::Sqlite { path: self.checks.base.join(&sqlite.path) }
            }
            written::LedgerSection::Gcs(gcs) => {
                let bucket = &gcs.bucket;
                if !is_bucket(bucket) {
                    self.wrong(bucket.place, format!("'{}' is not the name of a bucket", bucket.value));
                }
                LedgerSettings::Gcs {
                    bucket: bucket.value.clone(),
                    prefix: object_prefix(&gcs.prefix),
                    endpoint: self.optional_url(gcs.endpoint.as_ref(), "ledger.gcs.endpoint"),
                    credentials: self.credentials(&gcs.credentials, gcs.endpoint.as_ref()),
                }
            }
        }
    }

    fn http(&mut self, http: &written::Http) -> Option<HttpSettings> {
        let address = self.optional_url(http.address.as_ref(), "http.address");
        let Ok(listen) = http.listen.parse::<SocketAddr>() else {
            self.wrong(
                http.listen.place,
                format!("'{}' is not an address with a port: write 0.0.0.0:8080 or [::]:8080", http.listen.value),
            );
            return None;
        };
        let tls = http.tls.as_ref().map(|tls| self.http_tls(tls));
        if let (Some(address), Some(url)) = (&address, &http.address)
            && (address.scheme() == "https") != tls.is_some()
        {
            self.warn(
                url.place,
                "http.address and http.tls do not agree on whether it is https: right only behind a proxy that does",
            );
        }
        let login = self.optional_auth(http.login.as_ref(), "http.login.basic");
        Some(HttpSettings { listen, address, tls, login })
    }

    fn http_tls(&mut self, tls: &written::HttpTls) -> PortTlsSettings {
        let remedy = "name one in PEM form, or remove http.tls";
        let (certificate, key) = (&tls.certificate_file, &tls.key_file);
        PortTlsSettings {
            certificate_file: self.file(&certificate.value, certificate.place, "http.tls.certificate_file", remedy),
            key_file: self.file(&key.value, key.place, "http.tls.key_file", remedy),
            ca_file: tls.ca_file.as_ref().map(|file| self.ca_file(file, "http.tls.ca_file")),
        }
    }

    fn auth(&mut self, auth: &At<written::Auth>, basic_key: &str) -> HttpAuth {
        match &auth.value {
            written::Auth::BearerFile(path) => HttpAuth::Bearer(self.secret(path, auth.place)),
            written::Auth::Basic(basic) => HttpAuth::Basic(self.login(basic, auth.place, basic_key)),
            written::Auth::None => HttpAuth::None,
        }
    }

    fn optional_auth(&mut self, auth: Option<&At<written::Auth>>, basic_key: &str) -> HttpAuth {
        auth.map_or(HttpAuth::None, |auth| self.auth(auth, basic_key))
    }

    fn alertmanager(&mut self, written: &written::Alertmanager, listen: Option<SocketAddr>) -> AlertmanagerSettings {
        let place = written.auth.place;
        let auth = self.auth(&written.auth, "alertmanager.auth.basic");
        if let (HttpAuth::None, Some(listen)) = (&auth, listen.filter(|listen| !listen.ip().is_loopback())) {
            self.wrong(
                place,
                format!(
                    "alertmanager.auth is none, but http.listen is {listen}: anybody could send alerts; use bearer_file \
                     or basic, or listen on 127.0.0.1"
                ),
            );
        }
        let watchdog = written.watchdog.as_ref().map(|watchdog| WatchdogSettings {
            matchers: self.matchers(&watchdog.matchers),
            timeout: watchdog.timeout.span(),
        });
        if written.url.is_none() {
            self.warn(
                place,
                "there is no alertmanager.url: what ends without a message is believed for stale_after, and no silence \
                 is seen; name the address of Alertmanager",
            );
        }
        let url = self.optional_url(written.url.as_ref(), "alertmanager.url");
        let ca_file = written.ca_file.as_ref().map(|file| self.ca_file(file, "alertmanager.ca_file"));
        let login = self.optional_auth(written.login.as_ref(), "alertmanager.login.basic");
        AlertmanagerSettings { auth, url, ca_file, login, watchdog, stale_after: written.stale_after.span() }
    }

    fn ethereum(&mut self, written: &written::Ethereum) -> EthereumSettings {
        if written.beacon_nodes.is_empty() {
            self.wrong(written.beacon_nodes.place, "ethereum.beacon_nodes is empty: name at least one node");
        }
        let mut names = Unique::default();
        let mut beacon_nodes = Vec::new();
        for node in &written.beacon_nodes.value {
            names.take(self, &node.name.value, node.name.place, "beacon node");
            let name = self.label(&node.name, "the name of a beacon node");
            let url = self.url(&node.url, "the url of a beacon node");
            beacon_nodes.extend(url.map(|url| BeaconNodeSettings { name, url, outside: node.outside }));
        }
        let genesis_root = written.genesis_root.as_ref().map(|root| {
            genesis_root(&root.value).unwrap_or_else(|| {
                self.wrong(root.place, "ethereum.genesis_root has to be 0x and 64 hexadecimal digits");
                root.value.clone()
            })
        });
        EthereumSettings { beacon_nodes, genesis_root }
    }

    fn monitor(&mut self, written: &written::Monitor) -> MonitorSettings {
        let place = written.ping_url_file.place;
        let ping_url_file = self.secret(&written.ping_url_file.value, place);
        // One that cannot be read has been reported already.
        if self.checks.files
            && let Ok(secret) = ping_url_file.read()
            && !url::Url::parse(secret.expose()).is_ok_and(|url| matches!(url.scheme(), "http" | "https"))
        {
            self.wrong(place, format!("{} holds no http or https URL", ping_url_file.path().display()));
        }
        MonitorSettings { ping_url_file, every: written.every.span() }
    }

    fn label(&mut self, text: &At<String>, key: &str) -> String {
        if !is_label(text) {
            self.wrong(text.place, format!("{key} '{}' has to be 1 to 63 of a-z, 0-9, '-' and '_'", text.value));
        }
        text.value.clone()
    }

    fn matchers(&mut self, matchers: &At<String>) -> Matchers {
        matchers.value.parse().unwrap_or_else(|error: MatcherError| {
            self.wrong(matchers.place, error.to_string());
            Matchers::default()
        })
    }

    fn login(&mut self, basic: &written::Basic, place: Place, key: &str) -> Login {
        if basic.username.is_empty() || basic.username.contains(':') {
            self.wrong(place, format!("{key}.username has to be there and without ':'"));
        }
        Login { username: basic.username.clone(), password_file: self.secret(&basic.password_file, place) }
    }

    fn secret(&mut self, path: &Path, place: Place) -> SecretFile {
        let file = SecretFile::new(self.checks.base.join(path));
        if self.checks.files {
            if let Err(error) = file.read() {
                self.wrong(place, format!("{error}; write the secret into it, readable by this program only"));
            } else if file.is_world_readable() {
                let path = file.path().display().to_string();
                self.warn(place, format!("every user of this machine can read the secret in {path}: chmod o-r {path}"));
            }
        }
        file
    }

    /// A file that has to be there, whatever is in it.
    fn file(&mut self, path: &Path, place: Place, key: &str, remedy: &str) -> PathBuf {
        let path = self.checks.base.join(path);
        if self.checks.files
            && let Err(error) = File::open(&path)
        {
            self.wrong(place, format!("{key} {} cannot be read: {error}; {remedy}", path.display()));
        }
        path
    }

    /// A private certificate authority, for what speaks TLS.
    fn ca_file(&mut self, file: &At<PathBuf>, key: &str) -> PathBuf {
        self.file(&file.value, file.place, key, "name one in PEM form, or remove it to trust the system's alone")
    }
}

/// Finds duplicates, and says where the first one stands.
#[derive(Default)]
struct Unique(HashMap<String, Place>);

impl Unique {
    fn take(&mut self, checker: &mut Checker<'_>, name: &str, place: Place, what: &str) {
        if let Some(first) = self.0.insert(name.to_owned(), place) {
            // Only a key is longer, and its start says which one it is.
            let short = one_line(name, if name.len() > 70 { 15 } else { 70 });
            let line = first.line;
            checker.wrong(
                place,
                format!("duplicate {what} '{short}' (first defined on line {line}); change or remove one"),
            );
        }
    }
}

fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}
