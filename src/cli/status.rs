//! `failover status`: asks the watcher that holds the lease; without it, shows what the ledger alone knows.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use comfy_table::{ContentArrangement, Table, presets};

use super::{
    ConfigPath, Exit,
    out::{self, say},
};
use crate::{
    adapters::{
        http::{client_trusting, read_json},
        server::access::authorization,
    },
    assembly,
    config::{Config, HttpAuth, Login, SecretFile},
    domain::{LedgerKey, Time, clock, start_word, visible_json},
    ports::Ledger,
    records,
    runtime::{
        lease::LeaseRecord,
        status::{self, Status, TroubleStatus},
        store,
    },
};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  failover status --watch
  failover status --json | jq '.validators[].phase'
  failover status --url http://127.0.0.1:8080     without a configuration
  failover status --url https://failover.example --ca-file ca.crt --bearer-file token")]
pub(super) struct Options {
    /// Again whenever something changes, until interrupted.
    #[arg(short, long)]
    watch: bool,
    /// Print as JSON.
    #[arg(long)]
    json: bool,
    /// Ask this watcher instead of the one that the ledger names.
    #[arg(long)]
    url: Option<url::Url>,
    #[command(flatten)]
    entry: Entry,
    #[command(flatten)]
    path: ConfigPath,
}

/// What the watcher's port wants of a caller. Without `--url` the configuration says it.
#[derive(Debug, clap::Args)]
struct Entry {
    /// A file with the token that `http.login` asks for.
    #[arg(long, requires = "url", conflicts_with = "username")]
    bearer_file: Option<PathBuf>,
    /// The user name that `http.login` asks for.
    #[arg(long, requires_all = ["url", "password_file"])]
    username: Option<String>,
    /// A file with its password.
    #[arg(long, requires = "username")]
    password_file: Option<PathBuf>,
    /// The authority of the watcher's certificate, in PEM form.
    #[arg(long, requires = "url")]
    ca_file: Option<PathBuf>,
}

impl Entry {
    fn login(&self) -> HttpAuth {
        match (&self.bearer_file, &self.username, &self.password_file) {
            (Some(file), _, _) => HttpAuth::Bearer(SecretFile::new(file)),
            (None, Some(username), Some(file)) => {
                HttpAuth::Basic(Login { username: username.clone(), password_file: SecretFile::new(file) })
            }
            (None, _, _) => HttpAuth::None,
        }
    }
}

/// A client that the port of a watcher with this configuration lets in.
pub(super) fn client_of(config: &Config) -> anyhow::Result<reqwest::Client> {
    let tls = config.http.tls.as_ref();
    client(&config.http.login, tls.and_then(|tls| tls.ca_file.as_deref()))
}

fn client_without_login(config: &Config) -> anyhow::Result<reqwest::Client> {
    client(&HttpAuth::None, config.http.tls.as_ref().and_then(|tls| tls.ca_file.as_deref()))
}

fn client(login: &HttpAuth, ca_file: Option<&Path>) -> anyhow::Result<reqwest::Client> {
    let login = authorization(login).unwrap_or_else(|error| {
        // On an operator's machine the watcher's secrets are not there, and the ledger can be read without.
        tracing::warn!("{error}; the watcher is asked without a login");
        None
    });
    Ok(client_trusting(Duration::from_secs(5), ca_file, login)?)
}

pub(super) async fn run(options: Options) -> anyhow::Result<Exit> {
    let (source, client) = match &options.url {
        Some(url) => (Source::Url(url.clone()), client(&options.entry.login(), options.entry.ca_file.as_deref())?),
        None => {
            let config = options.path.load(false)?;
            let client = client_of(&config)?;
            (Source::Ledger(assembly::ledger_to_read(&config)?, Box::new(config)), client)
        }
    };
    let mut shown = String::new();
    loop {
        let status = source.read(&client).await?;
        let text = if options.json { visible_json(&serde_json::to_string_pretty(&status)?) } else { table(&status) };
        if text != shown {
            say!("{text}");
            shown = text;
        }
        if !options.watch {
            return Ok(Exit::Done);
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
            _ = tokio::signal::ctrl_c() => return Ok(Exit::Done),
        }
    }
}

enum Source {
    Url(url::Url),
    Ledger(std::sync::Arc<dyn Ledger>, Box<Config>),
}

impl Source {
    async fn read(&self, client: &reqwest::Client) -> anyhow::Result<Status> {
        match self {
            Self::Url(url) => ask(client, url).await.with_context(|| format!("the watcher at {url} does not answer")),
            Self::Ledger(ledger, config) => {
                let mut warnings = Vec::new();
                let stored = ledger.get(&LedgerKey::LEASE).await?;
                let lease = stored.map(|stored| records::decode::<LeaseRecord>(&LedgerKey::LEASE, &stored.bytes));
                let lease = lease.and_then(|read| read.map_err(|error| warnings.push(error.to_string())).ok());
                let address: Option<url::Url> =
                    lease.as_ref().and_then(|lease| lease.about.address.as_ref()).and_then(|url| url.parse().ok());
                if let Some(url) = address {
                    // Somebody else may have written the address, so the login goes to our own watcher's only.
                    let own = config.http.address.as_ref();
                    let without = own.is_none_or(|own| own.origin() != url.origin());
                    let nobody = without.then(|| client_without_login(config)).transpose()?;
                    match ask(nobody.as_ref().unwrap_or(client), &url).await {
                        Ok(status) => return Ok(status),
                        Err(error) => warnings.push(format!("the watcher at {url} does not answer: {error:#}")),
                    }
                } else {
                    warnings.push("no watcher says where it can be asked (`http.address`)".to_owned());
                }
                from_ledger(&**ledger, config, lease.as_ref(), warnings).await
            }
        }
    }
}

/// Far more than a status of a hundred validators.
const MAX_STATUS: usize = 8 << 20;

pub(super) async fn ask(client: &reqwest::Client, url: &url::Url) -> anyhow::Result<Status> {
    let url = url.join("api/v1/status")?;
    let answer = client.get(url).send().await?;
    anyhow::ensure!(
        answer.status() != http::StatusCode::UNAUTHORIZED,
        "it wants the login in `http.login`, and what was sent is none or another one"
    );
    Ok(read_json(answer.error_for_status()?, MAX_STATUS).await?)
}

/// What the ledger alone knows: phases and incidents, no signals.
async fn from_ledger(
    ledger: &dyn Ledger,
    config: &Config,
    lease: Option<&LeaseRecord>,
    mut warnings: Vec<String>,
) -> anyhow::Result<Status> {
    let (policy, now) = (&config.policy, Time::now());
    let (mut validators, mut unreadable) = (BTreeMap::new(), Vec::new());
    for validator in &config.validators {
        match store::read(ledger, &validator.name).await {
            Ok(found) => {
                let record = found.map(|(_, envelope)| envelope.validator).unwrap_or_default();
                let status = status::of_record(&validator.name, &record, policy, now);
                validators.insert(validator.name.clone(), status);
            }
            Err(store::StoreError::Record(error)) => unreadable.push(error.to_string()),
            Err(error) => return Err(error.into()),
        }
    }
    if lease.is_none_or(|lease| lease.holder.is_empty()) {
        warnings.push("nobody watches: no process holds the lease".into());
    }
    Ok(Status {
        site: config.site.clone(),
        at: now,
        mode: status::mode(policy.mode),
        holds_lease: false,
        chain: "unknown".into(),
        validators: validators.into_values().collect(),
        unreadable,
        warnings,
        webhook: None,
    })
}

/// The table for people.
pub(crate) fn table(status: &Status) -> String {
    let status = &out::lines_of(status);
    let mut lines = vec![format!(
        "{}: {}, chain {}, as of {}{}",
        status.site,
        status.mode,
        status.chain,
        clock(status.at),
        if status.holds_lease { "" } else { " (not from a process that holds the lease)" }
    )];
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(["VALIDATOR", "PHASE", "WHY", "STANDBY"]);
    for validator in &status.validators {
        let standby = validator.standby.as_ref().map_or_else(String::new, |standby| {
            let progress =
                standby.progress.as_ref().map_or_else(String::new, |progress| format!(", {}", progress.line()));
            let starting = standby.starting.as_ref().map_or_else(String::new, |word| format!(", {}", start_word(word)));
            let simulated = if standby.simulated { " (simulated)" } else { "" };
            let stuck = standby.stuck.as_ref().map_or_else(String::new, |stuck| format!(", STUCK: {}", stuck.why));
            let stops = standby.expires_at.map_or_else(|| "never".to_owned(), clock);
            format!("{}{progress}{starting}{stuck}{simulated}, stops {stops}", standby.instance)
        });
        let pause = validator.pause.as_ref().map_or_else(String::new, |pause| format!("\npaused {pause}"));
        let why = format!("{}{pause}", validator.reason);
        table.add_row([validator.name.to_string(), validator.phase.clone(), why, standby]);
    }
    lines.push(table.to_string());
    for validator in &status.validators {
        lines.extend(validator.owner_lines().iter().map(|line| format!("{}: {line}", validator.name)));
        lines.extend(validator.gate_line().map(|line| format!("{}: {line}", validator.name)));
        lines.extend(validator.mail_lines().iter().map(|line| format!("{}: {line}", validator.name)));
    }
    for validator in &status.validators {
        for TroubleStatus { what, failures, since, answer, remedy } in &validator.troubles {
            let (name, since) = (&validator.name, clock(*since));
            lines.push(format!("{name}: {what} has failed {failures} times since {since}: {answer}"));
            lines.push(format!("    what helps: {remedy}"));
        }
    }
    lines.extend(status.unreadable.iter().map(|why| format!("unreadable: {why}")));
    lines.extend(status.warnings.iter().map(|why| format!("warning: {why}")));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{hostile, visible};

    #[test]
    fn nothing_is_raw_in_the_table_and_no_line_is_forged() {
        let shown = table(&Status::saying(&hostile::flood()));
        hostile::assert_plain("status", &visible(&shown), "\n");
    }
}
