//! The command line of `failover-gate`, each option also an environment variable. What it means is checked in
//! [`super::parts`].

use std::{ffi::OsString, net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};
use url::Url;

use super::google::LoginSource;
use crate::domain::{
    Span, ValidatorId, gate::DEFAULT_GATE_TTL, is_bucket, object_prefix, ownership::OnLedgerLoss, parse_span,
};

const EXAMPLES: &str = "\
Examples:
  failover-gate run --validator eth-0 --place home --chain 0x4b36…fe95 --ledger gs://my-ledger/failover \\
    --credentials /etc/failover/google.json --allowed-signers /etc/failover/allowed_signers \\
    --state /var/lib/failover-gate --public-keys-file /etc/failover/public_keys --beacon-node http://beacon:5052 \\
    -- lighthouse vc --datadir /keys --beacon-nodes http://beacon:5052
  failover-gate install /shared       an init container, for an image without a shell
  failover-gate status                what the gate on this machine does, and why

Every option of `run` is also an environment variable: --gate-ttl is FAILOVER_GATE_GATE_TTL, --validator is
FAILOVER_GATE_VALIDATOR. FAILOVER_LOG=json writes the log as JSON, RUST_LOG says how much of it (info, debug).";

/// Starts a process that signs only while its place may sign, and ends it when it may not.
#[derive(Debug, Parser)]
#[command(name = "failover-gate", version, after_help = EXAMPLES, disable_help_subcommand = true)]
pub struct GateCli {
    #[command(subcommand)]
    pub command: GateCommand,
}

#[derive(Debug, Subcommand)]
pub enum GateCommand {
    /// Starts the command when it may sign, watches it, and ends it when it may not.
    Run(Box<RunOptions>),
    /// Copies this program into a folder, whole or not at all.
    Install {
        /// A folder that exists.
        folder: PathBuf,
    },
    /// Asks a gate what it does. Exit code: 0 the command runs, 1 it waits or stops, 2 no answer.
    Status(StatusOptions),
}

#[derive(Args, Debug)]
pub struct StatusOptions {
    /// The gate's port.
    #[arg(long, env = "FAILOVER_GATE_URL", default_value = "http://127.0.0.1:8553")]
    pub url: Url,
    /// What the port says, as it says it.
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Clone, Debug)]
pub struct RunOptions {
    /// The validator's declared name, as in the watcher's configuration.
    #[arg(long, env = "FAILOVER_GATE_VALIDATOR", value_parser = validator)]
    pub validator: ValidatorId,
    /// Where this is. At home it asks the ledger, in the cloud its grant only.
    #[arg(long, env = "FAILOVER_GATE_PLACE")]
    pub place: PlaceName,
    /// The chain that grants have to name: its genesis validators root, or for a chain without one its id.
    #[arg(long, env = "FAILOVER_GATE_CHAIN", value_name = "ROOT_OR_ID", value_parser = chain)]
    pub chain: String,
    /// gs://BUCKET[/PREFIX], or sqlite:PATH for one machine and for tests. Needed at home.
    #[arg(long, env = "FAILOVER_GATE_LEDGER", value_name = "LEDGER", value_parser = ledger)]
    pub ledger: Option<GateLedger>,
    /// Who may sign grants, in OpenSSH's form of an allowed_signers file.
    #[arg(long, env = "FAILOVER_GATE_ALLOWED_SIGNERS", value_name = "FILE")]
    pub allowed_signers: PathBuf,
    /// A folder of its own on a local disk: who this gate is, and what it remembers.
    #[arg(long, env = "FAILOVER_GATE_STATE", value_name = "DIR")]
    pub state: PathBuf,
    /// The site that grants for this home name.
    #[arg(long, env = "FAILOVER_GATE_SITE", default_value = "home")]
    pub site: String,
    /// Takes signatures of a hardware key that nobody touched.
    #[arg(long, env = "FAILOVER_GATE_ALLOW_UNTOUCHED")]
    pub allow_untouched: bool,
    /// Who it is to Google: a credential file, `metadata` (this machine's service account), or `anonymous`.
    #[arg(long, env = "FAILOVER_GATE_CREDENTIALS", value_name = "FILE|metadata|anonymous", value_parser = credentials)]
    pub credentials: Option<LoginSource>,
    /// Another address of Cloud Storage's API.
    #[arg(long, env = "FAILOVER_GATE_LEDGER_ENDPOINT", value_name = "URL", value_parser = web)]
    pub ledger_endpoint: Option<Url>,
    /// For how long the command may run after the ledger last confirmed the session: an outage that lasts longer ends it.
    /// At least 5s longer than --stop-grace.
    #[arg(long, env = "FAILOVER_GATE_GATE_TTL", default_value = DEFAULT_GATE_TTL, value_parser = parse_span)]
    pub gate_ttl: Span,
    /// Between SIGTERM and SIGKILL.
    #[arg(long, env = "FAILOVER_GATE_STOP_GRACE", default_value = "60s", value_parser = parse_span)]
    pub stop_grace: Span,
    /// When the ledger does not answer for --gate-ttl: end the command, or let it run (then only giving the session
    /// back, or a typed statement, lets the cloud sign).
    #[arg(long, env = "FAILOVER_GATE_ON_LEDGER_LOSS", default_value = "stop")]
    pub on_ledger_loss: LossChoice,
    /// Whether the chain has to show these keys silent before a start after a pause.
    #[arg(long, env = "FAILOVER_GATE_DUTY_CHECK", default_value = "on")]
    pub duty_check: Switch,
    /// A beacon node that answers before the command runs; several times, or with commas between.
    #[arg(
        long = "beacon-node",
        env = "FAILOVER_GATE_BEACON_NODE",
        value_name = "URL",
        value_delimiter = ',',
        value_parser = web
    )]
    pub beacon_nodes: Vec<Url>,
    /// The validator's public keys, one a line; `#` begins a comment.
    #[arg(long, env = "FAILOVER_GATE_PUBLIC_KEYS_FILE", value_name = "FILE")]
    pub public_keys_file: Option<PathBuf>,
    /// Where it answers /status, /livez and /metrics.
    #[arg(long, env = "FAILOVER_GATE_LISTEN", value_name = "ADDRESS", default_value = "[::]:8553")]
    pub listen: SocketAddr,
    /// In the cloud: a file in which the grant may come, beside the machine's metadata.
    #[arg(long, env = "FAILOVER_GATE_GRANT", value_name = "FILE")]
    pub grant: Option<PathBuf>,
    /// What signs, with all that it is started with.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PlaceName {
    Home,
    Cloud,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    On,
    Off,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LossChoice {
    Stop,
    Run,
}

impl From<LossChoice> for OnLedgerLoss {
    fn from(choice: LossChoice) -> Self {
        match choice {
            LossChoice::Stop => Self::Stop,
            LossChoice::Run => Self::Run,
        }
    }
}

/// Where the ledger is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GateLedger {
    Sqlite(PathBuf),
    /// The prefix is empty or ends with `/`.
    Gcs {
        bucket: String,
        prefix: String,
    },
}

fn ledger(text: &str) -> Result<GateLedger, String> {
    if let Some(path) = text.strip_prefix("sqlite:") {
        return if path.is_empty() { Err("sqlite: names no file".into()) } else { Ok(GateLedger::Sqlite(path.into())) };
    }
    let place = text.strip_prefix("gs://").ok_or("it is neither gs://BUCKET[/PREFIX] nor sqlite:PATH")?;
    let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
    if !is_bucket(bucket) {
        return Err(format!("'{bucket}' is not the name of a bucket"));
    }
    Ok(GateLedger::Gcs { bucket: bucket.to_owned(), prefix: object_prefix(prefix) })
}

#[expect(clippy::unnecessary_wraps, reason = "the form of a parser")]
fn credentials(text: &str) -> Result<LoginSource, String> {
    Ok(match text {
        "metadata" => LoginSource::Metadata,
        "anonymous" => LoginSource::Anonymous,
        path => LoginSource::File(path.into()),
    })
}

fn validator(text: &str) -> Result<ValidatorId, String> {
    ValidatorId::new(text).map_err(|error| error.to_string())
}

/// Grants name it letter by letter, and a root has one form only.
fn chain(text: &str) -> Result<String, String> {
    crate::domain::chain::chain_name(text)
        .ok_or_else(|| "it is neither a genesis validators root (0x and 64 hexadecimal digits) nor a chain's id".into())
}

fn web(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("{error}; write http://HOST:PORT"))?;
    match url.scheme() {
        "http" | "https" if url.has_host() => Ok(url),
        _ => Err("it is not an http or https URL".into()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_whole() {
        GateCli::command().debug_assert();
    }

    #[test]
    fn every_option_of_run_is_an_environment_variable_of_its_name() {
        let cli = GateCli::command();
        let run = cli.find_subcommand("run").unwrap();
        for option in run.get_arguments().filter(|option| !option.is_last_set() && option.get_id() != "help") {
            let name = option.get_long().unwrap().to_uppercase().replace('-', "_");
            assert_eq!(option.get_env().unwrap().to_str().unwrap(), format!("FAILOVER_GATE_{name}"));
        }
    }

    #[test]
    fn a_ledgers_place_is_read_as_the_watcher_reads_it() {
        let gcs = |bucket: &str, prefix: &str| GateLedger::Gcs { bucket: bucket.into(), prefix: prefix.into() };
        assert_eq!(ledger("gs://my-ledger"), Ok(gcs("my-ledger", "")));
        assert_eq!(ledger("gs://my-ledger//a/b//"), Ok(gcs("my-ledger", "a/b/")));
        assert_eq!(ledger("sqlite:/var/lib/l.sqlite"), Ok(GateLedger::Sqlite("/var/lib/l.sqlite".into())));
        for bad in ["", "gs://", "gs://B", "s3://my-ledger", "/var/lib/l.sqlite", "sqlite:"] {
            assert!(ledger(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_chain_is_a_root_or_an_id_and_a_root_has_one_form() {
        let root = format!("0x{}", "aB".repeat(32));
        assert_eq!(chain(&root), Ok(root.to_ascii_lowercase()));
        assert_eq!(chain("cosmoshub-4"), Ok("cosmoshub-4".into()));
        for bad in ["", "0x1234", "a b", &"a".repeat(65)] {
            assert!(chain(bad).is_err(), "{bad}");
        }
    }
}
