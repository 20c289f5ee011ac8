//! `failover watermark` and `failover lint-interchange`: files of slashing protection, made and judged without any key.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{BufReader, Read as _},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, anyhow, bail, ensure};

use super::{
    ConfigPath, Exit,
    ask::known,
    out::{self, complain, save, say},
};
use crate::{
    adapters::{
        beacon::{self, ChainNow, NodeConfig},
        clock::SystemClock,
    },
    config::{Config, ValidatorKind},
    domain::{
        PublicKey,
        chain::{Epoch, key_lines, written_key},
        interchange::{Export, GenesisRoot, LintExpectation, Watermark, lint, signer_state},
    },
    files,
};

/// The largest export that is read, in bytes. It is read as a stream.
const MAX_EXPORT: u64 = 1 << 30;
/// How long a beacon node may take.
const LIMIT: Duration = Duration::from_secs(10);
/// The mainnet's, and of every test network that clients know but Gnosis.
const USUAL_SLOTS: u64 = 32;
/// How many findings are printed for people: another house's file has one for each of its keys.
const MOST_FINDINGS: usize = 50;
/// How far above the chain a CometBFT signer continues.
const HEIGHTS_AHEAD: u64 = 5;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  failover watermark eth-0 --out watermark.json
  failover watermark eth-0 --out watermark.json --merge home-export.json
  failover watermark --genesis-root 0x4b36… --public-keys-file keys.txt --epoch 412345 --slots-per-epoch 32 --out w.json
  failover watermark --height 1234567 --out priv_validator_state.json

Make it only after the old signer has stopped: what it signs later is not below the mark. Import it once.
Ends with 0 when the file is there, 1 when it could not be made.")]
pub(super) struct WatermarkOptions {
    /// Whose keys: the chain's epoch is asked of the configured beacon nodes.
    #[arg(conflicts_with_all = ["genesis_root", "public_keys_file", "epoch", "height"])]
    validator: Option<String>,
    /// The file to write; it must not be there, or be the same already.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// What the old signer exported, if anybody could: the mark is above it too.
    #[arg(long, value_name = "EXPORT")]
    merge: Option<PathBuf>,
    /// The genesis validators root of the chain.
    #[arg(long, value_name = "ROOT", requires_all = ["public_keys_file", "epoch"])]
    genesis_root: Option<GenesisRoot>,
    /// The public keys, one in each line.
    #[arg(long, value_name = "FILE")]
    public_keys_file: Option<PathBuf>,
    /// The epoch after the last one in which the old signer may have signed.
    #[arg(long, value_name = "EPOCH")]
    epoch: Option<u64>,
    /// How many slots an epoch has; Gnosis has 16.
    #[arg(long, value_name = "N", default_value_t = USUAL_SLOTS, requires = "epoch")]
    slots_per_epoch: u64,
    /// The present height of a CometBFT chain: the state file of its signer, five heights above.
    #[arg(long, value_name = "HEIGHT", conflicts_with_all = ["merge", "genesis_root", "public_keys_file", "epoch"])]
    height: Option<u64>,
    #[command(flatten)]
    path: ConfigPath,
}

pub(super) async fn watermark(options: WatermarkOptions) -> anyhow::Result<Exit> {
    if let Some(height) = options.height {
        let height = height.checked_add(HEIGHTS_AHEAD).filter(|height| i64::try_from(*height).is_ok());
        let height = height.context("no chain has such a height: take the present one")?;
        save(&options.out, signer_state(height).as_bytes())?;
        say!("{}: a signer that has it signs nothing below height {height}", options.out.display());
        return Ok(Exit::Done);
    }
    let (root, epoch, slots, keys) = match (&options.validator, &options.genesis_root) {
        (Some(name), _) => {
            let config = options.path.load(false)?;
            let (keys, now) = asked(&config, name).await?;
            // Whatever was signed until now is in the present epoch at most.
            (now.genesis_root.parse().map_err(anyhow::Error::msg)?, now.epoch.0 + 1, now.slots_per_epoch, keys)
        }
        (None, Some(root)) => {
            let file = options.public_keys_file.as_deref().context("name the keys with --public-keys-file")?;
            let epoch = options.epoch.context("name the epoch with --epoch")?;
            (root.clone(), epoch, options.slots_per_epoch, keys_in(file)?)
        }
        (None, None) => bail!(
            "whose watermark? Name a validator of the configuration, or --genesis-root, --public-keys-file and --epoch"
        ),
    };
    let mut mark = Watermark::new(root, Epoch(epoch), slots, keys)?;
    if let Some(file) = &options.merge {
        let name = file.display();
        mark = mark.above(&read(file)?, slots).with_context(|| format!("{name} cannot be merged"))?;
    }
    save(&options.out, &mark.bytes())?;
    let (file, keys, Epoch(epoch)) = (options.out.display(), mark.keys().len(), mark.epoch());
    say!("{file}: {keys} keys sign nothing up to epoch {epoch}. Import it once, before the signer starts.");
    Ok(Exit::Done)
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  failover lint-interchange home-export.json --validator eth-0
  failover lint-interchange export.json --public-keys-file keys.txt --genesis-root 0x4b36… --not-before-epoch 412300
  failover lint-interchange export.json --json | jq -r '.findings[]'

Ends with 0 when it may be imported, 3 when it may not, 1 when it cannot be read.")]
pub(super) struct LintOptions {
    /// What a signer exported (EIP-3076).
    file: PathBuf,
    /// Whose it is to be: keys, chain and epoch come from the configuration and its beacon nodes.
    #[arg(long, value_name = "NAME")]
    validator: Option<String>,
    /// The public keys that have to be in it, one in each line.
    #[arg(long, value_name = "FILE", conflicts_with = "validator")]
    public_keys_file: Option<PathBuf>,
    /// The genesis validators root of the chain.
    #[arg(long, value_name = "ROOT", conflicts_with = "validator")]
    genesis_root: Option<GenesisRoot>,
    /// The last epoch in which the chain shows a vote of these keys: an older file is refused.
    #[arg(long, value_name = "EPOCH")]
    not_before_epoch: Option<u64>,
    /// The present epoch: what is later is refused.
    #[arg(long, value_name = "EPOCH", conflicts_with = "validator")]
    now_epoch: Option<u64>,
    /// How many slots an epoch has; Gnosis has 16.
    #[arg(long, value_name = "N", default_value_t = USUAL_SLOTS, conflicts_with = "validator")]
    slots_per_epoch: u64,
    /// Print as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    path: ConfigPath,
}

/// What `--json` prints.
#[derive(serde::Serialize)]
struct Linted {
    clean: bool,
    keys: usize,
    findings: Vec<String>,
    /// What could not be judged, because nobody said what is right.
    not_checked: Vec<&'static str>,
}

pub(super) async fn lint_interchange(options: LintOptions) -> anyhow::Result<Exit> {
    let mut expected = LintExpectation {
        root: options.genesis_root,
        keys: options.public_keys_file.as_deref().map(keys_in).transpose()?,
        not_before: options.not_before_epoch.map(Epoch),
        now: options.now_epoch.map(|epoch| (Epoch(epoch), options.slots_per_epoch)),
    };
    if let Some(name) = &options.validator {
        let config = options.path.load(false)?;
        let (keys, now) = asked(&config, name).await?;
        expected.root = Some(now.genesis_root.parse().map_err(anyhow::Error::msg)?);
        expected.keys = Some(keys);
        expected.now = Some((now.epoch, now.slots_per_epoch));
    }
    let export = read(&options.file)?;
    let findings = lint(&export, &expected);
    let not_checked: Vec<_> = [
        (expected.root.is_none(), "its chain (--genesis-root)"),
        (expected.keys.is_none(), "that it has every key (--public-keys-file)"),
        (expected.not_before.is_none(), "that it is not too old (--not-before-epoch)"),
        (expected.now.is_none(), "that nothing in it is of the future (--now-epoch)"),
    ]
    .into_iter()
    .filter_map(|(missing, what)| missing.then_some(what))
    .collect();
    let linted = Linted {
        clean: findings.is_empty(),
        keys: export.data.0.len(),
        findings: findings.iter().map(ToString::to_string).collect(),
        not_checked,
    };
    if options.json {
        out::json(&linted)?;
    } else {
        linted.findings.iter().take(MOST_FINDINGS).for_each(|finding| say!("✗ {finding}"));
        if let more @ 1.. = linted.findings.len().saturating_sub(MOST_FINDINGS) {
            say!("✗ {more} more of them (--json has all)");
        }
        linted.not_checked.iter().for_each(|what| say!("- not checked: {what}"));
        let (file, keys) = (options.file.display(), linted.keys);
        match linted.findings.len() {
            0 => say!("{file}: {keys} keys, nothing is wrong with it"),
            wrong => say!("{file}: do not import it: {keys} keys, {wrong} findings"),
        }
    }
    Ok(if linted.clean { Exit::Done } else { Exit::Refused })
}

/// The keys of a configured validator, and what the chain says of itself now.
pub(super) async fn asked(config: &Config, name: &str) -> anyhow::Result<(BTreeSet<PublicKey>, ChainNow)> {
    let id = known(config, name)?;
    let validator = config.validators.iter().find(|validator| validator.name == id);
    let validator = validator.context("the configuration lost a validator")?;
    let (ValidatorKind::Ethereum { public_keys }, Some(ethereum)) = (&validator.kind, &config.ethereum) else {
        bail!("{id} is not a validator of Ethereum: for one of CometBFT use --height");
    };
    let root = ethereum.genesis_root.as_deref();
    let nodes = ethereum.beacon_nodes.iter().map(|node| async move {
        let node = NodeConfig { name: node.name.clone(), url: node.url.clone() };
        let now = beacon::present(&node, root, LIMIT, &SystemClock).await;
        (node.name, now)
    });
    let mut newest: Option<ChainNow> = None;
    for (node, now) in futures::future::join_all(nodes).await {
        match now {
            Ok(now) => {
                let same = newest.as_ref().is_none_or(|newest| newest.genesis_root == now.genesis_root);
                ensure!(same, "the beacon nodes follow different chains: set `ethereum.genesis_root`");
                newest = newest.into_iter().chain([now]).max_by_key(|now| now.epoch);
            }
            Err(trouble) => complain!("{node} was not asked: {trouble}"),
        }
    }
    let now = newest.context(
        "no beacon node can say which epoch it is: wait until one is synced, or use --genesis-root, --public-keys-file \
         and --epoch",
    )?;
    Ok((public_keys.iter().copied().collect(), now))
}

fn keys_in(file: &Path) -> anyhow::Result<BTreeSet<PublicKey>> {
    let name = file.display();
    let text = files::read_text(file, files::MOST).with_context(|| format!("{name} cannot be read"))?;
    let keys: Result<BTreeSet<_>, String> = key_lines(&text).map(written_key).collect();
    let keys = keys.map_err(|why| anyhow!("{name}: {why}"))?;
    ensure!(!keys.is_empty(), "{name} has no keys: write one in each line");
    Ok(keys)
}

fn read(file: &Path) -> anyhow::Result<Export> {
    let name = file.display();
    let open = File::open(file).with_context(|| format!("{name} cannot be read"))?;
    let size = open.metadata().map_or(0, |metadata| metadata.len());
    ensure!(size <= MAX_EXPORT, "{name} is larger than {MAX_EXPORT} bytes: no export is; name the right file");
    let read = serde_json::from_reader(BufReader::with_capacity(1 << 16, open.take(MAX_EXPORT)));
    read.with_context(|| {
        format!("{name} is not an export of slashing protection (EIP-3076): export again, and do not edit it")
    })
}
